package decimal

import (
	"math/big"
	"math/bits"
)

// Rat is an exact rational number, for everything between the input and the rounded amount. It is
// immutable, and its zero value is 0. No operation on it overflows or is inexact. A Rat does not
// compile with ==, because equal values may be stored differently: use Cmp.
//
// Most values of a bill are decimals, and the others are decimals divided by something small, such
// as the number of seconds of a month. So a Rat is n / (d * 10^k), with a word for d. Multiplying
// decimals multiplies n and adds k, and adding them aligns k: neither takes a greatest common
// divisor. A value is reduced only when an operation would not fit otherwise, and goes to math/big
// only if it does not fit even then.
type Rat struct {
	_   [0]func()
	n   u256     // magnitude of the numerator
	d   uint64   // divisible by neither 2 nor 5, so the decimals are those with 1; 0 means 1
	k   uint8    // at most maxExp
	neg bool     // never set on zero
	big *big.Rat // if not nil it is the value, and is shared, so it is never written to
}

// maxExp is the greatest k. It is the greatest power of ten that fits 256 bits.
const maxExp = 77

// Int returns n.
func Int(n int64) Rat {
	neg, m := absInt(n)
	return Rat{neg: neg, n: u256{w0: m}}
}

// Ratio returns n/d. It panics if d is zero.
func Ratio(n, d int64) Rat { return Int(n).Quo(Int(d)) }

// Min returns the lesser of a and b.
func Min(a, b Rat) Rat {
	if b.Cmp(a) < 0 {
		return b
	}
	return a
}

// Max returns the greater of a and b.
func Max(a, b Rat) Rat {
	if b.Cmp(a) > 0 {
		return b
	}
	return a
}

// Add returns r+o.
func (r Rat) Add(o Rat) (z Rat) {
	if !z.add(&r, &o, o.neg) {
		z.addWide(&r, &o)
	}
	return z
}

// Sub returns r-o.
func (r Rat) Sub(o Rat) (z Rat) {
	if !z.add(&r, &o, !o.neg) {
		minus := o.Neg()
		z.addWide(&r, &minus)
	}
	return z
}

// Mul returns r*o.
func (r Rat) Mul(o Rat) (z Rat) {
	if r.big == nil && o.big == nil {
		x, y := r.n, o.n
		dx, dy := r.cofactor(), o.cofactor()
		k := int(r.k) + int(o.k)
		neg := r.neg != o.neg
		if z.product(x, y, dx, dy, k, neg) {
			return z
		}
		// Reduce each numerator by both denominators.
		x, dx = x.cancel(dx)
		y, dy = y.cancel(dy)
		x, dy = x.cancel(dy)
		y, dx = y.cancel(dx)
		x, k = x.stripTens(k)
		y, k = y.stripTens(k)
		if z.product(x, y, dx, dy, k, neg) {
			return z
		}
	}
	return fromBig(new(big.Rat).Mul(r.toBig(), o.toBig()))
}

// Quo returns r/o. It panics if o is zero.
func (r Rat) Quo(o Rat) Rat {
	if o.IsZero() {
		panic("BUG: a Rat is divided by zero")
	}
	if r.big == nil && o.big == nil {
		if inv, ok := o.inverse(); ok {
			return r.Mul(inv)
		}
	}
	return fromBig(new(big.Rat).Quo(r.toBig(), o.toBig()))
}

// Neg returns -r.
func (r Rat) Neg() Rat {
	if r.big != nil {
		return Rat{big: new(big.Rat).Neg(r.big)}
	}
	r.neg = !r.neg && !r.n.isZero()
	return r
}

// Cmp returns -1, 0 or 1 as r is less than, equal to or greater than o.
func (r Rat) Cmp(o Rat) int {
	sign := r.Sign()
	if other := o.Sign(); sign != other {
		if sign < other {
			return -1
		}
		return 1
	}
	if r.big == nil && o.big == nil {
		if r.k == o.k && r.cofactor() == o.cofactor() {
			return sign * r.n.cmp(o.n)
		}
		if x, y, _, _, ok := align(&r, &o); ok {
			return sign * x.cmp(y)
		}
	}
	return r.toBig().Cmp(o.toBig())
}

// Sign returns -1, 0 or 1 as r is negative, zero or positive.
func (r Rat) Sign() int {
	if r.big != nil {
		return r.big.Sign()
	}
	if r.neg {
		return -1
	}
	if r.n.isZero() {
		return 0
	}
	return 1
}

// IsZero reports whether r is 0.
func (r Rat) IsZero() bool { return r.big == nil && r.n.isZero() }

// Append appends the canonical text of r to dst: a decimal without an exponent or trailing
// fractional zeros if that is exact, and otherwise the fraction "n/d" in its lowest terms.
func (r Rat) Append(dst []byte) []byte {
	if r.big == nil {
		if x := r.reduce(); x.cofactor() == 1 {
			return appendWide(dst, x.neg, x.n, int(x.k), false)
		}
	}
	b := r.toBig()
	if n, exact := b.FloatPrec(); exact {
		return append(dst, b.FloatString(n)...)
	}
	return append(dst, b.RatString()...)
}

// String returns the canonical text of r, as Append writes it.
func (r Rat) String() string {
	var buf [maxDigits + 2]byte
	return string(r.Append(buf[:0]))
}

// cofactor returns d, for which 0 stands for 1 so that the zero value of a Rat is 0.
func (r *Rat) cofactor() uint64 { return max(r.d, 1) }

// reduce returns r, which is not big, in the one form in which n and d are coprime and k is the
// least possible.
func (r Rat) reduce() Rat {
	n, d := r.n.cancel(r.cofactor())
	n, k := n.stripTens(int(r.k))
	return Rat{n: n, d: d, k: uint8(k), neg: r.neg}
}

// align returns the numerators of r and o over the common denominator d*10^k, and false if they
// do not fit.
func align(r, o *Rat) (x, y u256, d uint64, k uint8, ok bool) {
	x, y, d, k = r.n, o.n, r.cofactor(), r.k
	if d != o.cofactor() {
		if x, y, d, ok = alignCofactors(r, o); !ok {
			return x, y, d, k, false
		}
	}
	switch {
	case r.k == o.k:
		return x, y, d, k, true
	case r.k < o.k:
		k = o.k
		x, ok = x.timesPow10(int(o.k - r.k))
	default:
		y, ok = y.timesPow10(int(r.k - o.k))
	}
	return x, y, d, k, ok
}

// alignCofactors returns the numerators of r and o over the least common multiple d of their
// cofactors, and false if they do not fit.
func alignCofactors(r, o *Rat) (x, y u256, d uint64, ok bool) {
	dr, do := r.cofactor(), o.cofactor()
	g := gcd(dr, do)
	x, over := r.n.mulWord(do / g)
	y, more := o.n.mulWord(dr / g)
	high, d := bits.Mul64(dr/g, do)
	return x, y, d, over|more|high == 0
}

// add sets z to r+o, where o has the given sign instead of its own, and is false if either is big
// or the sum does not fit. Results are set in place, as copying a Rat takes longer than adding it.
func (z *Rat) add(r, o *Rat, oneg bool) bool {
	if r.big != nil || o.big != nil {
		return false
	}
	x, y, d, k, ok := r.n, o.n, r.cofactor(), r.k, true
	if k != o.k || d != o.cofactor() {
		if x, y, d, k, ok = align(r, o); !ok {
			return false
		}
	}
	if r.neg == oneg {
		n, carry := x.add(y)
		z.n, z.d, z.k, z.neg = n, d, k, oneg
		return carry == 0
	}
	n, less := x.sub(y)
	neg := r.neg
	if less != 0 {
		n, neg = n.neg(), oneg
	}
	// The sign may be that of a zero operand, so it is settled by the result.
	z.n, z.d, z.k, z.neg = n, d, k, neg && !n.isZero()
	return true
}

// addWide sets z to r+o when their sum does not fit as they are.
func (z *Rat) addWide(r, o *Rat) {
	if r.big == nil && o.big == nil {
		x, y := r.reduce(), o.reduce()
		if z.add(&x, &y, y.neg) {
			return
		}
	}
	*z = fromBig(new(big.Rat).Add(r.toBig(), o.toBig()))
}

// product sets z to x*y / (dx*dy*10^k) with the given sign, and is false if it does not fit.
func (z *Rat) product(x, y u256, dx, dy uint64, k int, neg bool) bool {
	high, d := bits.Mul64(dx, dy)
	if high != 0 || k > maxExp {
		return false
	}
	n, ok := x.mul(y)
	z.n, z.d, z.k, z.neg = n, d, uint8(k), neg && !n.isZero()
	return ok
}

// inverse returns 1/r for an r that is not zero nor big, and false if it does not fit.
func (r *Rat) inverse() (Rat, bool) {
	n := r.n
	tens := 0
	if !n.isWord() {
		n, tens = n.stripTens(maxDigits)
		tens = maxDigits - tens
		if !n.isWord() {
			return Rat{}, false
		}
	}
	// The inverse of n*10^tens / (d*10^k) is d*10^(k-tens) / n.
	return overWord(u256{w0: r.cofactor()}, n.w0, tens-int(r.k), r.neg)
}

// overWord returns x / (m*10^k) with the given sign, where m is any word but zero and k may be
// negative, and false if it does not fit. It takes the factors 2 and 5 out of m, which a Rat
// does not have in its cofactor.
func overWord(x u256, m uint64, k int, neg bool) (Rat, bool) {
	var twos, fives int
	for ; m%2 == 0; m /= 2 {
		twos++
	}
	for ; m%5 == 0; m /= 5 {
		fives++
	}
	tens := max(twos, fives)
	x, ok := x.times(1 << (tens - twos))
	if !ok {
		return Rat{}, false
	}
	if x, ok = x.timesPow5(tens - fives); !ok {
		return Rat{}, false
	}
	if k += tens; k < 0 {
		x, ok = x.timesPow10(-k)
		k = 0
	}
	return Rat{n: x, d: m, k: uint8(k), neg: neg}, ok && k <= maxExp
}

// toBig returns r as a rational of math/big, which must not be written to.
func (r *Rat) toBig() *big.Rat {
	if r.big != nil {
		return r.big
	}
	n := r.n.toBig()
	if r.neg {
		n.Neg(n)
	}
	den, _ := u256{w0: 1}.timesPow10(int(r.k))
	d := den.toBig()
	d.Mul(d, new(big.Int).SetUint64(r.cofactor()))
	return new(big.Rat).SetFrac(n, d)
}

// fromBig returns b as a Rat and owns it from then on. The value leaves math/big if it fits, so
// that one large step does not slow down all the steps after it.
func fromBig(b *big.Rat) Rat {
	kept := Rat{big: b}
	num, den := b.Num(), b.Denom()
	n, ok := wideOf(num)
	twos := int(den.TrailingZeroBits())
	if !ok || twos > maxExp {
		return kept
	}
	five := big.NewInt(5)
	d, fives := new(big.Int).Rsh(den, uint(twos)), 0
	for q, rem := new(big.Int), new(big.Int); fives <= maxExp; fives++ {
		if q.QuoRem(d, five, rem); rem.Sign() != 0 {
			break
		}
		d, q = q, d
	}
	if !d.IsUint64() {
		return kept
	}
	tens := max(twos, fives)
	n, ok = n.timesPow5(tens - fives)
	if !ok || tens > maxExp {
		return kept
	}
	for ; twos < tens; twos++ {
		if n, ok = n.times(2); !ok {
			return kept
		}
	}
	return Rat{n: n, d: d.Uint64(), k: uint8(tens), neg: num.Sign() < 0}
}

package decimal

import "math/big"

// Rounding says what becomes of a value that is exactly half way between two minor units.
type Rounding uint8

const (
	// HalfAway rounds a half away from zero: 0.125 becomes 0.13, and -0.125 becomes -0.13.
	HalfAway Rounding = iota
	// HalfEven rounds a half to the neighbour that is even: 0.125 becomes 0.12, and 0.135
	// becomes 0.14.
	HalfEven
)

// part is how the part of a magnitude that was cut off compares to half of a unit.
type part uint8

const (
	none part = iota
	below
	half
	above
)

// Round rounds r, which is in major units, to a whole number of minor units of a currency with so
// many minor digits, 0 to 18. A value that is not half way goes to the nearest; mode decides the
// others. It is the only function of the package that turns a value into money.
//
// The magnitude of the result is at most 10^66: beyond it the result is 10^66 minor units, with the
// sign of r. So no sum of results overflows, whatever r is: see Amount.
func (r Rat) Round(digits int, mode Rounding) Amount {
	checkDigits(digits)
	q, p, ok := r.split(digits)
	if !ok {
		var b *big.Int
		b, p = r.splitBig(digits)
		q, ok = wideOf(b)
	}
	most, _ := u256{w0: 1}.timesPow10(roundDigits)
	if !ok || q.cmp(most) >= 0 {
		q, p = most, none
	}
	if p == above || p == half && (mode == HalfAway || q.w0&1 != 0) {
		q, _ = q.add(u256{w0: 1})
	}
	a, _ := amountOf(r.Sign() < 0, q)
	return a
}

// roundDigits is how many zeros the greatest result of Round has.
const roundDigits = 66

// Floor returns the greatest integer that is not above r.
func (r Rat) Floor() Rat {
	t, p := r.trunc()
	if p != none && r.Sign() < 0 {
		return t.Sub(Int(1))
	}
	return t
}

// Ceil returns the least integer that is not below r.
func (r Rat) Ceil() Rat {
	t, p := r.trunc()
	if p != none && r.Sign() > 0 {
		return t.Add(Int(1))
	}
	return t
}

// Nearest returns the integer that is nearest to r, and of two the one away from zero.
func (r Rat) Nearest() Rat {
	t, p := r.trunc()
	if p < half {
		return t
	}
	return t.Add(Int(int64(r.Sign())))
}

// IsInt reports whether r is an integer.
func (r Rat) IsInt() bool {
	if r.big != nil {
		return r.big.IsInt()
	}
	_, p, _ := r.split(0)
	return p == none
}

// trunc returns the integer part of r, and what of its magnitude was cut off.
func (r *Rat) trunc() (Rat, part) {
	if q, p, ok := r.split(0); ok {
		return Rat{n: q, neg: r.neg && !q.isZero()}, p
	}
	b, p := r.splitBig(0)
	if r.Sign() < 0 {
		b.Neg(b)
	}
	return fromBig(new(big.Rat).SetInt(b)), p
}

// split returns the integer part of the magnitude of r*10^digits, and what was cut off. It is
// false if r is big, or if the product does not fit, which cannot be if digits is 0.
func (r *Rat) split(digits int) (q u256, p part, ok bool) {
	if r.big != nil {
		return q, p, false
	}
	q = r.n
	cut := int(r.k) - digits
	if cut < 0 {
		if q, ok = q.timesPow10(-cut); !ok {
			return q, p, false
		}
	}
	var rem uint64
	if d := r.cofactor(); d != 1 {
		if q, rem = q.divWord(d); cut <= 0 {
			return q, compareHalf(rem, d, false), true
		}
	}
	// Dividing in steps gives the same quotient as dividing once. Of the remainders only the last
	// is compared with half of its divisor; of the earlier ones it matters whether they are zero.
	// That is enough because the last divisor is a power of ten, hence even: what is below half
	// of it is so by one at least, and the earlier remainders together make up less than one.
	rest := false
	for cut > 0 {
		rest = rest || rem != 0
		step := min(cut, maxPow)
		q, rem = q.divWord(pow10[step])
		if cut -= step; cut == 0 {
			p = compareHalf(rem, pow10[step], rest)
		}
	}
	return q, p, true
}

// compareHalf compares with half of m a remainder of m, to which something less than one is added
// if rest is set.
func compareHalf(rem, m uint64, rest bool) part {
	// The other side, m-rem, avoids the overflow of doubling.
	switch other := m - rem; {
	case rem == 0 && !rest:
		return none
	case rem < other:
		return below
	case rem == other && !rest:
		return half
	}
	return above
}

// splitBig is split for every r, by math/big.
func (r *Rat) splitBig(digits int) (*big.Int, part) {
	b := r.toBig()
	scale, _ := u256{w0: 1}.timesPow10(digits)
	q := new(big.Int).Abs(b.Num())
	q.Mul(q, scale.toBig())
	rem := new(big.Int)
	q.QuoRem(q, b.Denom(), rem)
	if rem.Sign() == 0 {
		return q, none
	}
	switch rem.Lsh(rem, 1).Cmp(b.Denom()) {
	case -1:
		return q, below
	case 0:
		return q, half
	}
	return q, above
}

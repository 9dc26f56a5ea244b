package decimal

import (
	"math/big"
	"math/bits"
)

// pow10 holds the powers of ten that fit one word.
var pow10 = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// maxPow is the largest power of ten that fits one word, 10^19.
const maxPow = 19

// u256 is an unsigned 256-bit integer, or the bits of a two's complement one. It is a struct and
// not an array because the compiler keeps a struct of four words in registers.
type u256 struct{ w3, w2, w1, w0 uint64 }

func (x u256) isZero() bool { return x.w3|x.w2|x.w1|x.w0 == 0 }

// isWord reports whether x fits one word.
func (x u256) isWord() bool { return x.w3|x.w2|x.w1 == 0 }

// add returns the low 256 bits of x+y, and the carry out of them.
func (x u256) add(y u256) (z u256, carry uint64) {
	z.w0, carry = bits.Add64(x.w0, y.w0, 0)
	z.w1, carry = bits.Add64(x.w1, y.w1, carry)
	z.w2, carry = bits.Add64(x.w2, y.w2, carry)
	z.w3, carry = bits.Add64(x.w3, y.w3, carry)
	return z, carry
}

// sub returns the low 256 bits of x-y, and 1 as the borrow if x < y.
func (x u256) sub(y u256) (z u256, borrow uint64) {
	z.w0, borrow = bits.Sub64(x.w0, y.w0, 0)
	z.w1, borrow = bits.Sub64(x.w1, y.w1, borrow)
	z.w2, borrow = bits.Sub64(x.w2, y.w2, borrow)
	z.w3, borrow = bits.Sub64(x.w3, y.w3, borrow)
	return z, borrow
}

// neg returns the two's complement of x.
func (x u256) neg() u256 {
	z, _ := u256{}.sub(x)
	return z
}

// cmp compares x and y as unsigned integers.
func (x u256) cmp(y u256) int {
	_, less := x.sub(y)
	if less != 0 {
		return -1
	}
	if x == y {
		return 0
	}
	return 1
}

// mulWord returns the low 256 bits of x*m, and the word above them.
func (x u256) mulWord(m uint64) (z u256, over uint64) {
	over, z.w0 = bits.Mul64(x.w0, m)
	if x.isWord() {
		z.w1 = over
		return z, 0
	}
	over, z.w1 = mulAdd(x.w1, m, over)
	over, z.w2 = mulAdd(x.w2, m, over)
	over, z.w3 = mulAdd(x.w3, m, over)
	return z, over
}

// mulAdd returns x*m+c as two words. They always suffice: (2^64-1)^2 + (2^64-1) < 2^128.
func mulAdd(x, m, c uint64) (hi, lo uint64) {
	hi, lo = bits.Mul64(x, m)
	lo, c = bits.Add64(lo, c, 0)
	return hi + c, lo
}

// times returns x*m, and false if it does not fit.
func (x u256) times(m uint64) (u256, bool) {
	z, over := x.mulWord(m)
	return z, over == 0
}

// mul returns x*y, and false if it does not fit.
func (x u256) mul(y u256) (z u256, ok bool) {
	if y.isWord() {
		return x.times(y.w0)
	}
	if x.isWord() {
		return y.times(x.w0)
	}
	// Horner's rule over the words of y, the most significant first.
	for _, w := range [4]uint64{y.w3, y.w2, y.w1, y.w0} {
		if z.w3 != 0 {
			return u256{}, false
		}
		p, over := x.mulWord(w)
		sum, carry := u256{z.w2, z.w1, z.w0, 0}.add(p)
		if over|carry != 0 {
			return u256{}, false
		}
		z = sum
	}
	return z, true
}

// timesPow10 returns x*10^k for k >= 0, and false if it does not fit.
func (x u256) timesPow10(k int) (u256, bool) {
	for ; k > maxPow; k -= maxPow {
		z, over := x.mulWord(pow10[maxPow])
		if over != 0 {
			return u256{}, false
		}
		x = z
	}
	return x.times(pow10[k])
}

// timesPow5 returns x*5^k for k >= 0, and false if it does not fit.
func (x u256) timesPow5(k int) (u256, bool) {
	const step, pow = 27, 7450580596923828125 // 5^27 is the largest power of five in a word.
	for ; k > step; k -= step {
		z, over := x.mulWord(pow)
		if over != 0 {
			return u256{}, false
		}
		x = z
	}
	m := uint64(1)
	for ; k > 0; k-- {
		m *= 5
	}
	return x.times(m)
}

// divWord returns the quotient and the remainder of x by m, which is not zero.
func (x u256) divWord(m uint64) (q u256, r uint64) {
	if x.isWord() {
		return u256{w0: x.w0 / m}, x.w0 % m
	}
	// The hardware's division is slow, and most values have leading zero words: skip them.
	if x.w3 != 0 {
		q.w3, r = x.w3/m, x.w3%m
	}
	if r|x.w2 != 0 {
		q.w2, r = bits.Div64(r, x.w2, m)
	}
	q.w1, r = bits.Div64(r, x.w1, m)
	q.w0, r = bits.Div64(r, x.w0, m)
	return q, r
}

// stripTens divides x by ten while it is divisible and k > 0, counting k down.
func (x u256) stripTens(k int) (u256, int) {
	// A multiple of 10^s is a multiple of 2^s, which is cheap to see.
	limit := min(k, bits.TrailingZeros64(x.w0))
	for step := 16; step > 0; {
		if step <= limit {
			if q, r := x.divWord(pow10[step]); r == 0 {
				x, k = q, k-step
				limit = min(k, bits.TrailingZeros64(x.w0))
				continue
			}
		}
		step /= 2
	}
	return x, k
}

// cancel divides x and d, which is not zero, by their greatest common divisor.
func (x u256) cancel(d uint64) (u256, uint64) {
	if d == 1 {
		return x, 1
	}
	_, r := x.divWord(d)
	g := gcd(r, d)
	if g == 1 {
		return x, d
	}
	x, _ = x.divWord(g)
	return x, d / g
}

// gcd returns the greatest common divisor of a and b, of which one at least is not zero.
func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// bytes returns x as 32 bytes, the most significant first.
func (x u256) bytes() (b [32]byte) {
	for i, w := range [4]uint64{x.w3, x.w2, x.w1, x.w0} {
		for j := range 8 {
			b[8*i+j] = byte(w >> (56 - 8*j))
		}
	}
	return b
}

// toBig returns x as a new integer of math/big.
func (x u256) toBig() *big.Int {
	b := x.bytes()
	return new(big.Int).SetBytes(b[:])
}

// wideOf returns the magnitude of b, and false if it does not fit.
func wideOf(b *big.Int) (u256, bool) {
	if b.BitLen() > 256 {
		return u256{}, false
	}
	var buf [32]byte
	b.FillBytes(buf[:])
	var w [4]uint64
	for i, c := range buf {
		w[i/8] = w[i/8]<<8 | uint64(c)
	}
	return u256{w[0], w[1], w[2], w[3]}, true
}

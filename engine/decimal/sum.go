package decimal

import (
	"cmp"
	"math/bits"
)

// Sum is a running total of Decimals. It is stored as a two's complement 192-bit number of units
// of 10^-18, so it is 24 bytes, it may be compared with ==, and its zero value is 0.
//
// A Sum cannot overflow for fewer than 2^63 terms, added or subtracted in any order. The magnitude
// of a Decimal is below 10^38 units, which is below 2^127; so that of fewer than 2^63 of them is
// below 2^63 * 2^127 = 2^190, and 192 bits hold up to 2^191. A Sum added to another counts as all
// of its terms. At a thousand million events each second, 2^63 of them take 292 years.
type Sum struct {
	hi      int64
	mid, lo uint64
}

// SumOf returns the Sum of d alone.
func SumOf(d Decimal) Sum {
	sign := d.hi >> 63 // all ones if d is negative
	return Sum{sign, uint64(d.hi), d.lo}
}

// Add adds d to s.
func (s *Sum) Add(d Decimal) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, d.lo, 0)
	s.mid, carry = bits.Add64(s.mid, uint64(d.hi), carry)
	s.hi += d.hi>>63 + int64(carry)
}

// Sub subtracts d from s.
func (s *Sum) Sub(d Decimal) {
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, d.lo, 0)
	s.mid, borrow = bits.Sub64(s.mid, uint64(d.hi), borrow)
	s.hi -= d.hi>>63 + int64(borrow)
}

// AddSum adds every term of o to s.
func (s *Sum) AddSum(o Sum) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, o.lo, 0)
	s.mid, carry = bits.Add64(s.mid, o.mid, carry)
	s.hi += o.hi + int64(carry)
}

// SubSum subtracts every term of o from s.
func (s *Sum) SubSum(o Sum) {
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, o.lo, 0)
	s.mid, borrow = bits.Sub64(s.mid, o.mid, borrow)
	s.hi -= o.hi + int64(borrow)
}

// Decimal returns s as a Decimal, and false if it is out of a Decimal's range.
func (s Sum) Decimal() (Decimal, bool) {
	if s.hi != int64(s.mid)>>63 {
		return Decimal{}, false
	}
	return FromWords(int64(s.mid), s.lo)
}

// Words returns s as a number of units of 10^-18 in two's complement, the most significant word
// first.
func (s Sum) Words() [3]uint64 { return [3]uint64{uint64(s.hi), s.mid, s.lo} }

// SumFromWords is the inverse of Words. Every three words are a Sum, and the proof that it cannot
// overflow holds only for words that Words returned.
func SumFromWords(w [3]uint64) Sum { return Sum{int64(w[0]), w[1], w[2]} }

// Cmp returns -1, 0 or 1 as s is less than, equal to or greater than o.
func (s Sum) Cmp(o Sum) int {
	if s.hi != o.hi {
		return cmp.Compare(s.hi, o.hi)
	}
	if s.mid != o.mid {
		return cmp.Compare(s.mid, o.mid)
	}
	return cmp.Compare(s.lo, o.lo)
}

// Sign returns -1, 0 or 1 as s is negative, zero or positive.
func (s Sum) Sign() int {
	if s.hi < 0 {
		return -1
	}
	if s.IsZero() {
		return 0
	}
	return 1
}

// IsZero reports whether s is 0.
func (s Sum) IsZero() bool { return s == Sum{} }

// Neg returns -s.
func (s Sum) Neg() Sum {
	var n Sum
	n.SubSum(s)
	return n
}

// Append appends the canonical text of s to dst: no exponent, no trailing fractional zeros, no
// plus sign and no negative zero. A Sum out of a Decimal's range is written exactly as well.
func (s Sum) Append(dst []byte) []byte {
	neg, m := s.abs()
	if m.w2 == 0 && inRange(m.w1, m.w0) {
		return appendUnits(dst, neg, m.w1, m.w0)
	}
	return appendWide(dst, neg, m, Scale, true)
}

// String returns the canonical text of s, as Append writes it.
func (s Sum) String() string {
	var buf [64]byte
	return string(s.Append(buf[:0]))
}

// Rat returns s as a rational.
func (s Sum) Rat() Rat {
	neg, m := s.abs()
	return Rat{neg: neg, n: m, k: Scale}
}

// abs returns the sign and the magnitude of s. That of the least Sum, 2^191, fits three words
// without a sign.
func (s Sum) abs() (neg bool, m u256) {
	if s.hi < 0 {
		neg, s = true, s.Neg()
	}
	return neg, u256{w2: uint64(s.hi), w1: s.mid, w0: s.lo}
}

package decimal

import (
	"cmp"
	"math/bits"
)

// Scale is the number of fractional digits of a Decimal and of a Sum: their unit is 10^-18.
const Scale = 18

// limit is 10^38, the number of units of 10^20: the magnitude of a Decimal is below it. It is
// below 2^127, so a sign bit is left in 128 bits.
const (
	limitHi = 0x4B3B4CA85A86C47A
	limitLo = 0x098A224000000000
)

// Decimal is an exact input value: a quantity, a price or a rate. Its magnitude is below 10^20 and
// it has at most 18 fractional digits. It is stored as a two's complement 128-bit number of units
// of 10^-18, so it is 16 bytes, it may be compared with ==, and its zero value is 0.
type Decimal struct {
	hi int64
	lo uint64
}

// FromInt returns n as a Decimal. Every int64 is in range.
func FromInt(n int64) Decimal {
	neg, m := absInt(n)
	hi, lo := bits.Mul64(m, pow10[Scale])
	return decimalOf(neg, hi, lo)
}

// FromWords returns the Decimal of hi:lo units of 10^-18 in two's complement, as Words gave them.
// It is false, for a decoder to refuse, if the magnitude is 10^20 or more.
func FromWords(hi int64, lo uint64) (Decimal, bool) {
	d := Decimal{hi, lo}
	// The least 128-bit number has a magnitude of 2^127, which is out of range as well.
	_, mhi, mlo := d.abs()
	if !inRange(mhi, mlo) {
		return Decimal{}, false
	}
	return d, true
}

// Words returns d as a number of units of 10^-18, in two's complement.
func (d Decimal) Words() (hi int64, lo uint64) { return d.hi, d.lo }

// Append appends the canonical text of d to dst: no exponent, no trailing fractional zeros, no
// plus sign and no negative zero.
func (d Decimal) Append(dst []byte) []byte {
	neg, hi, lo := d.abs()
	return appendUnits(dst, neg, hi, lo)
}

// String returns the canonical text of d, as Append writes it.
func (d Decimal) String() string {
	var buf [48]byte
	return string(d.Append(buf[:0]))
}

// Cmp returns -1, 0 or 1 as d is less than, equal to or greater than o.
func (d Decimal) Cmp(o Decimal) int {
	if d.hi != o.hi {
		return cmp.Compare(d.hi, o.hi)
	}
	return cmp.Compare(d.lo, o.lo)
}

// Sign returns -1, 0 or 1 as d is negative, zero or positive.
func (d Decimal) Sign() int {
	if d.hi < 0 {
		return -1
	}
	if d.IsZero() {
		return 0
	}
	return 1
}

// IsZero reports whether d is 0.
func (d Decimal) IsZero() bool { return d == Decimal{} }

// Neg returns -d, which is always in range.
func (d Decimal) Neg() Decimal {
	lo, borrow := bits.Sub64(0, d.lo, 0)
	hi, _ := bits.Sub64(0, uint64(d.hi), borrow)
	return Decimal{int64(hi), lo}
}

// Rat returns d as a rational.
func (d Decimal) Rat() Rat {
	neg, hi, lo := d.abs()
	return Rat{neg: neg, n: u256{w1: hi, w0: lo}, k: Scale}
}

// abs returns the sign and the magnitude of d.
func (d Decimal) abs() (neg bool, hi, lo uint64) {
	if d.hi < 0 {
		m := d.Neg()
		return true, uint64(m.hi), m.lo
	}
	return false, uint64(d.hi), d.lo
}

// decimalOf is the inverse of abs, for a magnitude that is in range.
func decimalOf(neg bool, hi, lo uint64) Decimal {
	d := Decimal{int64(hi), lo}
	if neg {
		return d.Neg()
	}
	return d
}

// inRange reports whether the magnitude hi:lo is that of a Decimal.
func inRange(hi, lo uint64) bool {
	return hi < limitHi || hi == limitHi && lo < limitLo
}

// absInt returns the sign and the magnitude of n. Conversion to uint64 keeps the bits, so that
// the least int64 gives its true magnitude of 2^63.
func absInt(n int64) (neg bool, m uint64) {
	if n < 0 {
		return true, -uint64(n)
	}
	return false, uint64(n)
}

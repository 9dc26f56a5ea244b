package decimal

import "math/bits"

// Scaled returns d·10^digits, and false if that is no whole number of 64 bits; digits is 0 to 18.
// Columns of numbers are stored so where they can be.
func (d Decimal) Scaled(digits int) (int64, bool) {
	neg, hi, lo := d.abs()
	unit := pow10[Scale-digits]
	if hi >= unit {
		return 0, false
	}
	q, rest := bits.Div64(hi, lo, unit)
	if rest != 0 || q > 1<<63-1 {
		return 0, false
	}
	if neg {
		return -int64(q), true
	}
	return int64(q), true
}

// FromScaled returns n·10^-digits, which every int64 makes a Decimal; digits is 0 to 18.
func FromScaled(n int64, digits int) Decimal {
	neg, m := absInt(n)
	hi, lo := bits.Mul64(m, pow10[Scale-digits])
	return decimalOf(neg, hi, lo)
}

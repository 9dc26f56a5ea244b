package decimal

import (
	"math/bits"
	"strconv"
)

// maxDigits is the number of decimal digits of 2^256-1.
const maxDigits = 78

// appendWide appends n*10^-frac with exactly frac fractional digits, or, if trim is set, without
// trailing fractional zeros. The range of frac is 0 to maxDigits-1; neg is false when n is zero.
func appendWide(dst []byte, neg bool, n u256, frac int, trim bool) []byte {
	var buf [maxDigits]byte
	at := len(buf)
	for !n.isZero() {
		var group uint64
		n, group = n.divWord(pow10[maxPow])
		for i := 0; i < maxPow && (group != 0 || !n.isZero()); i++ {
			at--
			buf[at] = byte('0' + group%10)
			group /= 10
		}
	}
	for len(buf)-at <= frac {
		at--
		buf[at] = '0'
	}
	point, end := len(buf)-frac, len(buf)
	for trim && end > point && buf[end-1] == '0' {
		end--
	}
	if neg {
		dst = append(dst, '-')
	}
	dst = append(dst, buf[at:point]...)
	if end > point {
		dst = append(dst, '.')
		dst = append(dst, buf[point:end]...)
	}
	return dst
}

// appendUnits appends hi:lo units of 10^-18, fewer than 10^38 of them, as a canonical decimal.
// It is appendWide with one division for the values that fit a Decimal.
func appendUnits(dst []byte, neg bool, hi, lo uint64) []byte {
	if neg {
		dst = append(dst, '-')
	}
	// The integer part may have 20 digits, more than a word holds. So the cut is made above its
	// last digit, where both sides are below 10^19.
	tens, rest := bits.Div64(hi, lo, pow10[maxPow])
	if tens != 0 {
		dst = strconv.AppendUint(dst, tens, 10)
	}
	dst = append(dst, byte('0'+rest/pow10[Scale]))
	frac, n := rest%pow10[Scale], Scale
	if frac == 0 {
		return dst
	}
	for frac%1e4 == 0 {
		frac, n = frac/1e4, n-4
	}
	for frac%10 == 0 {
		frac, n = frac/10, n-1
	}
	var buf [Scale + 1]byte
	buf[0] = '.'
	for i := n; i > 0; i-- {
		buf[i] = byte('0' + frac%10)
		frac /= 10
	}
	return append(dst, buf[:n+1]...)
}

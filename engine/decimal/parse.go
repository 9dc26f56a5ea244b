package decimal

import (
	"errors"
	"math/bits"
)

// ErrSyntax is the error of Parse, ParseBytes and ParseAmount for text that is not a number of
// their grammar.
var ErrSyntax = errors.New("parse decimal: not a plain number")

// ErrRange is the error of Parse, ParseBytes and ParseAmount for a number that the result cannot
// hold: too large, or with too many fractional digits. It is never rounded to fit.
var ErrRange = errors.New("parse decimal: too large or too many fractional digits")

// Parse reads a Decimal from s, which must be a JSON number and nothing else: an optional minus
// sign, digits without a superfluous leading zero, an optional fraction and an optional exponent.
// It fails with ErrSyntax on any other text, and with ErrRange if the value is 10^20 or more in
// magnitude or needs more than 18 fractional digits once its trailing zeros are dropped. The
// value "-0" is 0. The time is linear in len(s) whatever the exponent.
func Parse(s string) (Decimal, error) { return parse(s) }

// ParseBytes is Parse of a slice of bytes. It does not allocate, not even to fail.
func ParseBytes(b []byte) (Decimal, error) { return parse(b) }

// parse reads the short numbers without an exponent, which nearly all are, and leaves the others,
// and every failure, to parseLong.
func parse[T string | []byte](s T) (Decimal, error) {
	start := 0
	if len(s) > 0 && s[0] == '-' {
		start = 1
	}
	// Within 19 bytes there are at most 19 digits, so the word below cannot overflow, and if there
	// is a point then at most 17 of them follow it.
	size := len(s) - start
	if size == 0 || size > maxPow || s[start] == '0' && size > 1 && s[start+1] != '.' {
		return parseLong(s)
	}
	var n uint64
	i := start
	for ; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			break
		}
		n = n*10 + uint64(c)
	}
	frac := 0
	if i < len(s) {
		if s[i] != '.' || i == start || i+1 == len(s) {
			return parseLong(s)
		}
		frac = len(s) - i - 1
		for i++; i < len(s); i++ {
			c := s[i] - '0'
			if c > 9 {
				return parseLong(s)
			}
			n = n*10 + uint64(c)
		}
	}
	hi, lo := bits.Mul64(n, pow10[Scale-frac])
	return decimalOf(start == 1, hi, lo), nil
}

// layout is where the parts of a number are in its text.
type layout struct {
	first int   // index of the first digit
	point int   // index of the decimal point, or of the end of the integer part
	end   int   // index after the last digit of the fraction, or of the integer part
	exp   int64 // value of the exponent, kept within +-10^18
}

// parseLong reads any number of the grammar.
func parseLong[T string | []byte](s T) (Decimal, error) {
	at, ok := scan(s)
	if !ok {
		return Decimal{}, ErrSyntax
	}
	// Only the digits from the first to the last that is not zero matter.
	first, last := at.first, at.end-1
	for first < at.end && (s[first] == '0' || s[first] == '.') {
		first++
	}
	if first == at.end {
		return Decimal{}, nil
	}
	for s[last] == '0' || s[last] == '.' {
		last--
	}
	count := last - first + 1
	if first < at.point && at.point < last {
		count--
	}
	// The last digit counts units of 10^exp.
	exp := at.exp + int64(at.point-last)
	if last < at.point {
		exp--
	}
	if exp < -Scale || int64(count)+exp > 20 {
		return Decimal{}, ErrRange
	}
	// From here on count <= 20-exp <= 38, so two words of 19 digits hold them all.
	var high, low uint64
	used := 0 // digits in low
	for i := first; i <= last; i++ {
		c := s[i] - '0'
		if c > 9 {
			continue // the point
		}
		if used == maxPow {
			high, low, used = low, 0, 0
		}
		low = low*10 + uint64(c)
		used++
	}
	hi, lo := mulAdd(high, pow10[used], low)
	n, _ := u256{w1: hi, w0: lo}.timesPow10(int(exp) + Scale)
	return decimalOf(s[0] == '-', n.w1, n.w0), nil
}

// scan checks the grammar of a JSON number and finds its parts.
func scan[T string | []byte](s T) (at layout, ok bool) {
	if len(s) > 0 && s[0] == '-' {
		at.first = 1
	}
	at.point = digits(s, at.first)
	if at.point == at.first || s[at.first] == '0' && at.point-at.first > 1 {
		return at, false
	}
	at.end = at.point
	if at.end < len(s) && s[at.end] == '.' {
		at.end = digits(s, at.point+1)
		if at.end == at.point+1 {
			return at, false
		}
	}
	i := at.end
	if i == len(s) {
		return at, true
	}
	if s[i] != 'e' && s[i] != 'E' {
		return at, false
	}
	i++
	neg := i < len(s) && s[i] == '-'
	if neg || i < len(s) && s[i] == '+' {
		i++
	}
	end := digits(s, i)
	if end == i || end != len(s) {
		return at, false
	}
	// An exponent beyond 10^17 is as good as any greater one: no text is long enough to make up
	// for it with digits.
	for ; i < end && at.exp < 1e17; i++ {
		at.exp = at.exp*10 + int64(s[i]-'0')
	}
	if neg {
		at.exp = -at.exp
	}
	return at, true
}

// digits returns the index after the run of digits of s that begins at i.
func digits[T string | []byte](s T, i int) int {
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	return i
}

package decimal

import (
	"cmp"
	"math/big"
	"slices"
)

// Amount is money: a whole number of minor units of a currency, such as cents. The currency and its
// number of minor digits are not part of it. It is stored as a two's complement 256-bit integer, so
// it may be compared with ==, and its zero value is 0.
//
// No bill can overflow it, whatever its events and prices are. Rat.Round, which alone turns a price
// into money, gives no more than 10^66 < 2^220 minor units, so the difference of two rounded
// amounts is below 2^221, and with a tax of up to 100 % below 2^222. It takes more than 2^32 lines
// of the greatest amounts to reach the limit of 2^255. An operation that would exceed it panics.
//
// 10^66 is beyond what plain prices give: 2^63 events of less than 10^20 each, at a price below
// 10^20 and with 4 minor digits, which no currency in use exceeds, are less than 10^63 minor units.
// It is reached where numbers at the ends of their ranges are multiplied several times over.
type Amount struct{ v u256 }

const (
	overflow = "BUG: an Amount exceeds 256 bits"
	badScale = "BUG: a number of minor digits is not in 0..18"
)

// AmountOf returns the Amount of so many minor units.
func AmountOf(minor int64) Amount {
	sign := uint64(minor >> 63) // all ones if minor is negative
	return Amount{u256{sign, sign, sign, uint64(minor)}}
}

// AmountFromWords is the inverse of Words. Every four words are an Amount.
func AmountFromWords(w [4]uint64) Amount { return Amount{u256{w[0], w[1], w[2], w[3]}} }

// Words returns a as a number of minor units in two's complement, the most significant word first.
func (a Amount) Words() [4]uint64 { return [4]uint64{a.v.w3, a.v.w2, a.v.w1, a.v.w0} }

// Add returns a+b.
func (a Amount) Add(b Amount) Amount {
	z, _ := a.v.add(b.v)
	// The sum of two numbers of the same sign has that sign, unless it wrapped round.
	if (a.v.w3^z.w3)&(b.v.w3^z.w3)>>63 != 0 {
		panic(overflow)
	}
	return Amount{z}
}

// Sub returns a-b.
func (a Amount) Sub(b Amount) Amount {
	z, _ := a.v.sub(b.v)
	// The difference of two numbers of opposite signs has the sign of the first, unless it wrapped.
	if (a.v.w3^b.v.w3)&(a.v.w3^z.w3)>>63 != 0 {
		panic(overflow)
	}
	return Amount{z}
}

// Neg returns -a.
func (a Amount) Neg() Amount { return Amount{}.Sub(a) }

// Cmp returns -1, 0 or 1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int {
	if a.v.w3 != b.v.w3 {
		return cmp.Compare(int64(a.v.w3), int64(b.v.w3))
	}
	return a.v.cmp(b.v)
}

// Sign returns -1, 0 or 1 as a is negative, zero or positive.
func (a Amount) Sign() int {
	if int64(a.v.w3) < 0 {
		return -1
	}
	if a.IsZero() {
		return 0
	}
	return 1
}

// IsZero reports whether a is 0.
func (a Amount) IsZero() bool { return a == Amount{} }

// Rat returns a in major units of a currency with so many minor digits, 0 to 18.
func (a Amount) Rat(digits int) Rat {
	checkDigits(digits)
	neg, m := a.abs()
	return Rat{neg: neg, n: m, k: uint8(digits)}
}

// Append appends a in major units to dst, with exactly so many fractional digits, 0 to 18, and
// without a point if that is none: "12.34", "-0.05", "7".
func (a Amount) Append(dst []byte, digits int) []byte {
	checkDigits(digits)
	neg, m := a.abs()
	return appendWide(dst, neg, m, digits, false)
}

// Text returns a in major units, as Append writes it.
func (a Amount) Text(digits int) string {
	var buf [maxDigits + 2]byte
	return string(a.Append(buf[:0], digits))
}

// ParseAmount reads an Amount from text in major units of a currency with so many minor digits,
// 0 to 18: what Append writes, and any other plain decimal with at most as many fractional digits.
// It fails with ErrSyntax on any other text, an exponent among it, and with ErrRange if there are
// more fractional digits, even zeros, or more than 256 bits.
func ParseAmount(s string, digits int) (Amount, error) {
	checkDigits(digits)
	at, ok := scan(s)
	if !ok || at.end != len(s) {
		return Amount{}, ErrSyntax
	}
	frac := max(0, at.end-at.point-1)
	if frac > digits {
		return Amount{}, ErrRange
	}
	var m u256
	for i := at.first; i < at.end; i++ {
		if i == at.point {
			continue
		}
		p, over := m.mulWord(10)
		sum, carry := p.add(u256{w0: uint64(s[i] - '0')})
		if over|carry != 0 {
			return Amount{}, ErrRange
		}
		m = sum
	}
	m, ok = m.timesPow10(digits - frac)
	if !ok {
		return Amount{}, ErrRange
	}
	a, ok := amountOf(s[0] == '-', m)
	if !ok {
		return Amount{}, ErrRange
	}
	return a, nil
}

// Spread divides a into as many parts as there are weights, proportional to them, each a whole
// number of minor units, and their sum exactly a. Each part is first the share rounded towards
// zero; the units that are left go one each to the parts with the largest remainders, and between
// equal remainders to the lower index. If all the weights are zero then the first part is all of
// a. The parts of -a are those of a, negated. A weight must not be negative, and there must be one
// at least unless a is zero.
func (a Amount) Spread(weights []Amount) []Amount {
	if len(weights) == 0 && !a.IsZero() {
		panic("BUG: an Amount is spread over no weights")
	}
	parts := make([]Amount, len(weights))
	total := new(big.Int)
	weight := make([]*big.Int, len(weights))
	for i, w := range weights {
		if w.Sign() < 0 {
			panic("BUG: an Amount is spread over a negative weight")
		}
		weight[i] = w.v.toBig()
		total.Add(total, weight[i])
	}
	if len(weights) == 0 || total.Sign() == 0 {
		if len(weights) > 0 {
			parts[0] = a
		}
		return parts
	}
	neg, m := a.abs()
	left, whole := m, m.toBig()
	share := make([]u256, len(weights))
	order := make([]int, len(weights))
	for i, w := range weight {
		order[i] = i
		q, r := new(big.Int).Mul(whole, w), w
		q.QuoRem(q, total, r) // from here on the weight is its remainder
		share[i], _ = wideOf(q)
		left, _ = left.sub(share[i])
	}
	slices.SortStableFunc(order, func(i, j int) int { return weight[j].Cmp(weight[i]) })
	// The remainders sum to left*total and each is below total, so left is less than their number.
	for _, i := range order[:left.w0] {
		share[i], _ = share[i].add(u256{w0: 1})
	}
	for i, m := range share {
		parts[i], _ = amountOf(neg, m)
	}
	return parts
}

// abs returns the sign and the magnitude of a. That of the least Amount, 2^255, fits without a
// sign.
func (a Amount) abs() (neg bool, m u256) {
	if int64(a.v.w3) < 0 {
		return true, a.v.neg()
	}
	return false, a.v
}

// amountOf is the inverse of abs. It is false if the magnitude does not fit.
func amountOf(neg bool, m u256) (Amount, bool) {
	v := m
	if neg {
		v = m.neg()
	}
	// A value that fits has its sign in the top bit. Zero has none either way.
	return Amount{v}, m.isZero() || int64(v.w3) < 0 == neg
}

// checkDigits panics unless the number of minor digits is one that the package supports.
func checkDigits(digits int) {
	if digits < 0 || digits > Scale {
		panic(badScale)
	}
}

package decimal

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// bigAmount returns the minor units of a, by way of its words and not of its methods.
func bigAmount(a Amount) *big.Int {
	b := new(big.Int)
	for i, w := range a.Words() {
		b.Lsh(b, 64)
		if i == 0 {
			b.SetInt64(int64(w))
			continue
		}
		b.Add(b, new(big.Int).SetUint64(w))
	}
	return b
}

// amountFits reports whether an Amount can hold b.
func amountFits(b *big.Int) bool {
	return b.BitLen() <= 255 || b.Sign() < 0 && b.Cmp(leastAmount) == 0
}

var leastAmount = new(big.Int).Neg(bigPow(2, 255))

// amountOfBig returns the Amount of b, which must fit.
func amountOfBig(b *big.Int) Amount {
	m, _ := wideOf(b)
	if b.Sign() < 0 {
		m = m.neg()
	}
	return AmountFromWords([4]uint64{m.w3, m.w2, m.w1, m.w0})
}

func randAmount(r *rand.Rand) Amount {
	b := randBits(r, 255)
	switch r.IntN(20) {
	case 0:
		return amountOfBig(leastAmount)
	case 1:
		b = new(big.Int).Sub(bigPow(2, 255), big.NewInt(1))
	}
	if r.IntN(2) == 0 {
		b = new(big.Int).Neg(b)
	}
	return amountOfBig(b)
}

// panics reports whether f panics with the message.
func panics(message string, f func()) (yes bool) {
	defer func() { yes = recover() == message }()
	f()
	return false
}

// TestAmountOperations compares every method of Amount with math/big, up to and over its limits.
func TestAmountOperations(t *testing.T) {
	r := newRand(10)
	for range 20000 {
		x, y := randAmount(r), randAmount(r)
		if r.IntN(8) == 0 {
			y = x
		}
		bx, by := bigAmount(x), bigAmount(y)
		if AmountFromWords(x.Words()) != x {
			t.Fatalf("the words of %v do not come back", bx)
		}
		check := func(op string, want *big.Int, f func() Amount) {
			t.Helper()
			var got Amount
			failed := panics(overflow, func() { got = f() })
			if failed == amountFits(want) || !failed && bigAmount(got).Cmp(want) != 0 {
				t.Fatalf("%s of %v and %v is %v, want %v", op, bx, by, bigAmount(got), want)
			}
		}
		check("sum", new(big.Int).Add(bx, by), func() Amount { return x.Add(y) })
		check("difference", new(big.Int).Sub(bx, by), func() Amount { return x.Sub(y) })
		check("negation", new(big.Int).Neg(bx), func() Amount { return x.Neg() })
		if x.Cmp(y) != bx.Cmp(by) || (x == y) != (bx.Cmp(by) == 0) {
			t.Fatalf("comparison of %v and %v is wrong", bx, by)
		}
		if x.Sign() != bx.Sign() || x.IsZero() != (bx.Sign() == 0) {
			t.Fatalf("the sign of %v is wrong", bx)
		}
		digits := r.IntN(Scale + 1)
		value := new(big.Rat).SetFrac(bx, bigPow(10, int64(digits)))
		sameRat(t, "Amount.Rat", x.Rat(digits), value)
		text := x.Text(digits)
		if want := value.FloatString(digits); text != want {
			t.Fatalf("text of %v is %s, want %s", bx, text, want)
		}
		if back, err := ParseAmount(text, digits); err != nil || back != x {
			t.Fatalf("%s is read back as %v, %v", text, bigAmount(back), err)
		}
	}
	for _, n := range []int64{0, 1, -1, 1<<63 - 1, -1 << 63} {
		if got := bigAmount(AmountOf(n)); got.Cmp(big.NewInt(n)) != 0 {
			t.Errorf("AmountOf(%d) is %v", n, got)
		}
	}
}

// TestAmountText covers the text of small amounts.
func TestAmountText(t *testing.T) {
	for _, c := range []struct {
		minor  int64
		digits int
		want   string
	}{
		{1234, 2, "12.34"}, {-5, 2, "-0.05"}, {0, 2, "0.00"}, {0, 0, "0"}, {7, 0, "7"}, {-7, 0, "-7"},
		{100, 2, "1.00"}, {1, 18, "0.000000000000000001"}, {-10, 1, "-1.0"}, {1000, 3, "1.000"},
	} {
		if got := AmountOf(c.minor).Text(c.digits); got != c.want {
			t.Errorf("%d with %d digits is %s, want %s", c.minor, c.digits, got, c.want)
		}
	}
	for _, digits := range []int{-1, 19} {
		for name, f := range map[string]func(){
			"Text":        func() { AmountOf(1).Text(digits) },
			"Rat":         func() { AmountOf(1).Rat(digits) },
			"ParseAmount": func() { ParseAmount("1", digits) },
			"Round":       func() { Int(1).Round(digits, HalfAway) },
		} {
			if !panics(badScale, f) {
				t.Errorf("%s takes %d digits", name, digits)
			}
		}
	}
}

// TestParseAmount covers the accepted and the refused forms.
func TestParseAmount(t *testing.T) {
	greatest := new(big.Int).Sub(bigPow(2, 255), big.NewInt(1))
	for _, c := range []struct {
		in     string
		digits int
		want   string
		err    error
	}{
		{"12.34", 2, "1234", nil}, {"12.3", 2, "1230", nil}, {"12", 2, "1200", nil},
		{"-0.05", 2, "-5", nil}, {"-0.00", 2, "0", nil}, {"0", 0, "0", nil}, {"7", 0, "7", nil},
		{"1", 18, "1000000000000000000", nil},
		{greatest.String(), 0, greatest.String(), nil},
		{leastAmount.String(), 0, leastAmount.String(), nil},
		{bigPow(2, 255).String(), 0, "", ErrRange},
		{new(big.Int).Sub(leastAmount, big.NewInt(1)).String(), 0, "", ErrRange},
		{bigPow(2, 256).String(), 0, "", ErrRange}, {bigPow(10, 78).String(), 0, "", ErrRange},
		{bigPow(10, 60).String(), 18, "", ErrRange}, {strings.Repeat("9", 500), 0, "", ErrRange},
		{"12.345", 2, "", ErrRange}, {"12.340", 2, "", ErrRange}, {"7.0", 0, "", ErrRange},
		{"", 2, "", ErrSyntax}, {"-", 2, "", ErrSyntax}, {"1e2", 2, "", ErrSyntax},
		{"1.", 2, "", ErrSyntax}, {".5", 2, "", ErrSyntax}, {"01.00", 2, "", ErrSyntax},
		{"+1", 2, "", ErrSyntax}, {"1 ", 2, "", ErrSyntax}, {"1,00", 2, "", ErrSyntax},
		{"$1", 2, "", ErrSyntax}, {"1.2.3", 2, "", ErrSyntax}, {"1.0e0", 2, "", ErrSyntax},
	} {
		a, err := ParseAmount(c.in, c.digits)
		if !errors.Is(err, c.err) || err == nil && bigAmount(a).String() != c.want {
			t.Errorf("ParseAmount(%.40q, %d) = %v, %v", c.in, c.digits, bigAmount(a), err)
		}
	}
}

// TestSpread compares with a direct statement of the largest remainder method, and checks that
// nothing is lost.
func TestSpread(t *testing.T) {
	minor := func(n ...int64) (list []Amount) {
		for _, m := range n {
			list = append(list, AmountOf(m))
		}
		return list
	}
	for _, c := range []struct {
		whole         int64
		weights, want []Amount
	}{
		{100, minor(1, 1, 1), minor(34, 33, 33)}, {-100, minor(1, 1, 1), minor(-34, -33, -33)},
		{101, minor(1, 1, 1), minor(34, 34, 33)}, {5, minor(0, 0), minor(5, 0)},
		{-5, minor(0, 0, 0), minor(-5, 0, 0)}, {0, minor(1, 2), minor(0, 0)}, {0, nil, nil},
		{10, minor(0, 3, 0, 3), minor(0, 5, 0, 5)}, {1, minor(0, 1, 1), minor(0, 1, 0)},
		{10, minor(1, 2, 4), minor(1, 3, 6)}, {3, minor(1, 5), minor(1, 2)}, {7, minor(9), minor(7)},
	} {
		got := AmountOf(c.whole).Spread(c.weights)
		for i := range max(len(got), len(c.want)) {
			if len(got) != len(c.want) || got[i] != c.want[i] {
				t.Errorf("%d over %v is %v, want %v", c.whole, c.weights, got, c.want)
				break
			}
		}
	}
	r := newRand(11)
	for range 5000 {
		a := randAmount(r)
		weights := make([]Amount, 1+r.IntN(9))
		for i := range weights {
			if w := randAmount(r); r.IntN(5) != 0 && w.Sign() > 0 {
				weights[i] = w
			} else if r.IntN(2) == 0 {
				weights[i] = AmountOf(int64(r.IntN(5)))
			}
		}
		checkSpread(t, a, weights)
	}
	if !panics("BUG: an Amount is spread over a negative weight", func() {
		AmountOf(1).Spread(minor(1, -1))
	}) || !panics("BUG: an Amount is spread over no weights", func() { AmountOf(1).Spread(nil) }) {
		t.Error("bad weights are taken")
	}
}

// checkSpread states the method without sorting: a part is the share rounded towards zero, plus
// one if fewer parts than there are units left have a greater remainder, or an equal one at a
// lower index.
func checkSpread(t *testing.T, a Amount, weights []Amount) {
	t.Helper()
	parts := a.Spread(weights)
	whole, total, sum := bigAmount(a), new(big.Int), new(big.Int)
	for i, w := range weights {
		total.Add(total, bigAmount(w))
		sum.Add(sum, bigAmount(parts[i]))
	}
	if sum.Cmp(whole) != 0 {
		t.Fatalf("the parts of %v sum to %v", whole, sum)
	}
	if total.Sign() == 0 {
		return
	}
	left := new(big.Int).Abs(whole)
	share, rem := make([]*big.Int, len(weights)), make([]*big.Int, len(weights))
	for i, w := range weights {
		share[i] = new(big.Int).Mul(new(big.Int).Abs(whole), bigAmount(w))
		share[i], rem[i] = share[i].QuoRem(share[i], total, new(big.Int))
		left.Sub(left, share[i])
	}
	for i := range weights {
		ahead := int64(0)
		for j := range weights {
			if c := rem[j].Cmp(rem[i]); c > 0 || c == 0 && j < i {
				ahead++
			}
		}
		if big.NewInt(ahead).Cmp(left) < 0 {
			share[i].Add(share[i], big.NewInt(1))
		}
		if whole.Sign() < 0 {
			share[i].Neg(share[i])
		}
		if bigAmount(parts[i]).Cmp(share[i]) != 0 {
			t.Fatalf("part %d of %v is %v, want %v", i, whole, bigAmount(parts[i]), share[i])
		}
	}
}

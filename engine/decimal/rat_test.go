package decimal

import (
	"flag"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/apd/v3"
)

var rounds = flag.Int("rounds", 15_000, "random `numbers` that each operation is compared on")

// sameRat checks that got is want, and that got is well formed: in the small form whenever its
// canonical form fits it.
func sameRat(t testing.TB, op string, got Rat, want *big.Rat) {
	t.Helper()
	if got.toBig().Cmp(want) != 0 {
		t.Fatalf("%s = %v, want %v", op, got.toBig(), want)
	}
	if got.big != nil {
		if back := fromBig(new(big.Rat).Set(got.big)); back.big == nil {
			t.Fatalf("%s = %v is left in math/big", op, got.big)
		}
		return
	}
	d := got.cofactor()
	if d%2 == 0 || d%5 == 0 || got.k > maxExp || got.neg && got.n.isZero() {
		t.Fatalf("%s = %+v is malformed", op, got)
	}
}

// randRat returns a value of one of the kinds that differ inside: a decimal of any width, a
// fraction of words, one at the limit of the small form, and one beyond it.
func randRat(t testing.TB, r *rand.Rand) (Rat, *big.Rat) {
	var x *big.Rat
	switch r.IntN(9) {
	case 0, 1:
		d := randDecimal(t, r)
		return d.Rat(), bigRatOf(d)
	case 2:
		s := randSum(r)
		return s.Rat(), new(big.Rat).SetFrac(bigSum(s), bigPow(10, Scale))
	case 3:
		a, digits := randAmount(r), r.IntN(Scale+1)
		return a.Rat(digits), new(big.Rat).SetFrac(bigAmount(a), bigPow(10, int64(digits)))
	case 4:
		n, d := int64(randBits(r, 64).Uint64()), int64(randBits(r, 64).Uint64())
		if d == 0 {
			d = 1
		}
		return Ratio(n, d), big.NewRat(n, d)
	case 5:
		n, d := int64(r.IntN(200)-100), int64(r.IntN(40)+1)
		return Ratio(n, d), big.NewRat(n, d)
	case 6:
		// At the limit: 256 bits over a word and up to 78 powers of ten.
		d := new(big.Int).Mul(bigPow(10, int64(r.IntN(79))), new(big.Int).Add(randBits(r, 65), one))
		x = new(big.Rat).SetFrac(randBits(r, 257), d)
	case 7:
		d := new(big.Int).Mul(bigPow(2, int64(r.IntN(80))), bigPow(5, int64(r.IntN(80))))
		x = new(big.Rat).SetFrac(randBits(r, 256), d)
	default:
		x = new(big.Rat).SetFrac(randBits(r, 600), new(big.Int).Add(randBits(r, 300), one))
	}
	if r.IntN(2) == 0 {
		x.Neg(x)
	}
	return fromBig(new(big.Rat).Set(x)), x
}

var one = big.NewInt(1)

// TestRatOperations compares every operation of Rat with math/big, within the small form, at its
// limit and beyond.
func TestRatOperations(t *testing.T) {
	r := newRand(30)
	for range *rounds {
		x, bx := randRat(t, r)
		y, by := randRat(t, r)
		if r.IntN(10) == 0 {
			// The same value in another form.
			f, bf := randRat(t, r)
			if !f.IsZero() {
				y, by = x.Mul(f).Quo(f), new(big.Rat).Mul(bx, bf)
				by.Quo(by, bf)
			}
		}
		checkRats(t, x, y, bx, by)
	}
}

// checkRats compares every operation on x and y with that on bx and by.
func checkRats(t testing.TB, x, y Rat, bx, by *big.Rat) {
	t.Helper()
	sameRat(t, "x", x, bx)
	sameRat(t, "y", y, by)
	sameRat(t, "Add", x.Add(y), new(big.Rat).Add(bx, by))
	sameRat(t, "Sub", x.Sub(y), new(big.Rat).Sub(bx, by))
	sameRat(t, "Mul", x.Mul(y), new(big.Rat).Mul(bx, by))
	sameRat(t, "Neg", x.Neg(), new(big.Rat).Neg(bx))
	if by.Sign() != 0 {
		sameRat(t, "Quo", x.Quo(y), new(big.Rat).Quo(bx, by))
	}
	c := bx.Cmp(by)
	if got := x.Cmp(y); got != c {
		t.Fatalf("%v.Cmp(%v) = %d", bx, by, got)
	}
	least, greatest := bx, by
	if c > 0 {
		least, greatest = by, bx
	}
	sameRat(t, "Min", Min(x, y), least)
	sameRat(t, "Max", Max(x, y), greatest)
	if x.Sign() != bx.Sign() || x.IsZero() != (bx.Sign() == 0) || x.IsInt() != bx.IsInt() {
		t.Fatalf("the sign or IsInt of %v is wrong", bx)
	}
	if x.String() != plain(bx) {
		t.Fatalf("text is %v, want %v", x, plain(bx))
	}
	floor := new(big.Int).Div(bx.Num(), bx.Denom()) // Div rounds down, as the divisor is positive.
	ceil := new(big.Int).Neg(new(big.Int).Div(new(big.Int).Neg(bx.Num()), bx.Denom()))
	sameRat(t, "Floor", x.Floor(), new(big.Rat).SetInt(floor))
	sameRat(t, "Ceil", x.Ceil(), new(big.Rat).SetInt(ceil))
	sameRat(t, "Nearest", x.Nearest(), new(big.Rat).SetInt(roundBigRat(bx, 0, HalfAway)))
}

// roundBigRat rounds x*10^digits by adding a half and rounding down.
func roundBigRat(x *big.Rat, digits int, mode Rounding) *big.Int {
	y := new(big.Rat).Mul(x, new(big.Rat).SetInt(bigPow(10, int64(digits))))
	neg := y.Sign() < 0
	y.Abs(y)
	y.Add(y, big.NewRat(1, 2))
	q := new(big.Int).Div(y.Num(), y.Denom())
	if y.IsInt() && mode == HalfEven {
		q.AndNot(q, one)
	}
	if neg {
		q.Neg(q)
	}
	return q
}

// TestRound compares Round with math/big and, where the value is a finite decimal, with apd.
func TestRound(t *testing.T) {
	r := newRand(31)
	over := 0
	for range *rounds {
		x, bx := randRat(t, r)
		digits := r.IntN(Scale + 1)
		if r.IntN(3) == 0 {
			// Exactly half way, or next to it by the smallest step of a Decimal squared.
			unit, step := AmountOf(1).Rat(digits), AmountOf(1).Rat(Scale)
			x = unit.Mul(Int(int64(r.IntN(2001) - 1000)).Add(Ratio(1, 2)))
			x = x.Add(step.Mul(step).Mul(Int(int64(r.IntN(3) - 1))))
			bx = x.toBig()
		}
		for _, mode := range []Rounding{HalfAway, HalfEven} {
			want := roundBigRat(bx, digits, mode)
			beyond := want.CmpAbs(bigPow(10, 66)) > 0
			if beyond {
				over++
				want = new(big.Int).Mul(bigPow(10, 66), big.NewInt(int64(want.Sign())))
			}
			got := x.Round(digits, mode)
			if bigAmount(got).Cmp(want) != 0 {
				t.Fatalf("%v to %d digits in mode %d is %v, want %v", bx, digits, mode, got, want)
			}
			if _, exact := bx.FloatPrec(); !exact || beyond {
				continue
			}
			if peer := roundApd(t, bx, digits, mode); peer != got.Text(digits) {
				t.Fatalf("%v to %d digits in mode %d is %v, and apd gives %v",
					bx, digits, mode, got.Text(digits), peer)
			}
		}
	}
	if over == 0 {
		t.Error("no case went beyond 10^66")
	}
}

// roundApd rounds a finite decimal with apd, and returns its text.
func roundApd(t testing.TB, x *big.Rat, digits int, mode Rounding) string {
	t.Helper()
	peer, _, err := apd.NewFromString(plain(x))
	if err != nil {
		t.Fatal(err)
	}
	ctx := apd.BaseContext.WithPrecision(2000)
	ctx.Rounding = apd.RoundHalfUp // by magnitude, so away from zero
	if mode == HalfEven {
		ctx.Rounding = apd.RoundHalfEven
	}
	var out apd.Decimal
	if _, err := ctx.Quantize(&out, peer, -int32(digits)); err != nil {
		t.Fatal(err)
	}
	if out.IsZero() {
		out.Negative = false
	}
	return out.Text('f')
}

// TestRoundTable covers the halves and their neighbours by hand.
func TestRoundTable(t *testing.T) {
	for _, c := range []struct {
		x          Rat
		digits     int
		away, even string
	}{
		{Ratio(1, 8), 2, "0.13", "0.12"}, {Ratio(-1, 8), 2, "-0.13", "-0.12"},
		{Ratio(27, 200), 2, "0.14", "0.14"}, {Ratio(5, 2), 0, "3", "2"}, {Ratio(7, 2), 0, "4", "4"},
		{Ratio(1, 2), 0, "1", "0"}, {Ratio(-1, 2), 0, "-1", "0"}, {Ratio(-3, 2), 0, "-2", "-2"},
		{Ratio(1, 3), 2, "0.33", "0.33"}, {Ratio(2, 3), 2, "0.67", "0.67"},
		{Ratio(124999999999, 1000000000000), 2, "0.12", "0.12"},
		{Ratio(125000000001, 1000000000000), 2, "0.13", "0.13"},
		{Ratio(1, 3).Add(Ratio(1, 6)), 0, "1", "0"}, {Ratio(1, 200), 2, "0.01", "0.00"},
		{Ratio(5, 1).Mul(Ratio(1, 1000)).Add(Ratio(1, 7).Mul(Ratio(1, 1e15))), 2, "0.01", "0.01"},
		{Ratio(5, 1).Mul(Ratio(1, 1000)).Sub(Ratio(1, 7).Mul(Ratio(1, 1e15))), 2, "0.00", "0.00"},
		{Int(0), 2, "0.00", "0.00"}, {Int(-3), 2, "-3.00", "-3.00"}, {Rat{}, 0, "0", "0"},
	} {
		if got := c.x.Round(c.digits, HalfAway).Text(c.digits); got != c.away {
			t.Errorf("%v to %d digits, half away, is %s, want %s", c.x, c.digits, got, c.away)
		}
		if got := c.x.Round(c.digits, HalfEven).Text(c.digits); got != c.even {
			t.Errorf("%v to %d digits, half even, is %s, want %s", c.x, c.digits, got, c.even)
		}
	}
}

// TestRatTable covers constructors and text by hand.
func TestRatTable(t *testing.T) {
	for _, c := range []struct {
		x    Rat
		want string
	}{
		{Rat{}, "0"}, {Int(0), "0"}, {Int(-7), "-7"}, {Ratio(0, -5), "0"}, {Ratio(25, 2), "12.5"},
		{Ratio(1, 3), "1/3"}, {Ratio(-2, 6), "-1/3"}, {Ratio(2, -6), "-1/3"}, {Ratio(-2, -6), "1/3"},
		{Ratio(6, 3), "2"}, {Ratio(1, 6), "1/6"}, {Ratio(1, 30), "1/30"}, {Ratio(3, 30), "0.1"},
		{Ratio(-1<<63, 1), "-9223372036854775808"}, {Ratio(1, -1<<63), plain(big.NewRat(1, -1<<63))},
		{Ratio(-1<<63, -1<<63), "1"}, {Ratio(1, 1e18), "0.000000000000000001"},
		{Int(-3).Neg(), "3"}, {Int(0).Neg(), "0"}, {Int(5).Sub(Int(5)), "0"},
		{Int(-5).Mul(Int(0)), "0"}, {Ratio(-1, 3).Ceil(), "0"}, {Ratio(-1, 3).Nearest(), "0"},
		{Ratio(-1, 2).Nearest(), "-1"}, {Ratio(-1, 3).Floor(), "-1"}, {Min(Int(1), Int(2)), "1"},
		{Max(Int(1), Int(2)), "2"}, {Ratio(1, 8).Quo(Ratio(1, 10)), "1.25"},
	} {
		if c.x.String() != c.want {
			t.Errorf("got %v, want %s", c.x, c.want)
		}
	}
	if !panics("BUG: a Rat is divided by zero", func() { Int(1).Quo(Rat{}) }) ||
		!panics("BUG: a Rat is divided by zero", func() { Ratio(1, 0) }) {
		t.Error("division by zero does not panic")
	}
}

// TestRatForms checks that bills stay within the small form, and that what goes beyond it comes
// back.
func TestRatForms(t *testing.T) {
	greatest, _ := Parse("99999999999999999999.999999999999999999")
	x := greatest.Rat()
	if x.Mul(x).big != nil {
		t.Error("a product of two Decimals is beyond the small form")
	}
	third := Ratio(1, 86400*31)
	if x.Mul(Ratio(12, 100)).Mul(third).big != nil {
		t.Error("a prorated price is beyond the small form")
	}
	square := x.Mul(x)
	wide := square.Mul(square)
	if wide.big == nil {
		t.Error("a product of four of the greatest Decimals is in the small form")
	}
	back := wide.Quo(square)
	if back.big != nil || back.Cmp(square) != 0 {
		t.Error("a quotient that fits is left beyond the small form")
	}
	// Trailing zeros are given up before the small form is.
	whole, _ := Parse("10000000000000000000")
	if y := whole.Rat().Mul(whole.Rat()); y.Mul(y).big != nil {
		t.Error("10^76 is beyond the small form")
	}
}

// FuzzRat applies every operation to two values made of the input.
func FuzzRat(f *testing.F) {
	f.Add([]byte{1}, uint64(3), uint8(2), []byte{5}, uint64(1), uint8(18))
	f.Add([]byte{0xff, 0xff}, uint64(0), uint8(77), []byte{}, uint64(1<<63), uint8(0))
	f.Fuzz(func(t *testing.T, n []byte, d uint64, k uint8, m []byte, e uint64, l uint8) {
		value := func(n []byte, d uint64, k uint8) (Rat, *big.Rat) {
			num := new(big.Int).SetBytes(n[:min(len(n), 80)])
			if k&1 != 0 {
				num.Neg(num)
			}
			den := new(big.Int).SetUint64(max(d, 1))
			x := new(big.Rat).SetFrac(num, den.Mul(den, bigPow(10, int64(k/2))))
			return fromBig(new(big.Rat).Set(x)), x
		}
		x, bx := value(n, d, k)
		y, by := value(m, e, l)
		checkRats(t, x, y, bx, by)
		for digits := range Scale + 1 {
			for _, mode := range []Rounding{HalfAway, HalfEven} {
				want := roundBigRat(bx, digits, mode)
				if want.CmpAbs(bigPow(10, 66)) > 0 {
					want = new(big.Int).Mul(bigPow(10, 66), big.NewInt(int64(want.Sign())))
				}
				if bigAmount(x.Round(digits, mode)).Cmp(want) != 0 {
					t.Fatalf("%v to %d digits in mode %d is not %v", bx, digits, mode, want)
				}
			}
		}
	})
}

package decimal

import (
	"math/big"
	"testing"

	"github.com/cockroachdb/apd/v3"
)

// Results are kept here so that the compiler does not drop the work.
var (
	keepDecimal Decimal
	keepSum     Sum
	keepAmount  Amount
	keepRat     Rat
	keepBytes   []byte
)

// mustParse returns the value of text that is known to be good.
func mustParse(tb testing.TB, s string) Decimal {
	tb.Helper()
	d, err := Parse(s)
	if err != nil {
		tb.Fatalf("Parse(%q): %v", s, err)
	}
	return d
}

var numbers = []struct{ name, text string }{
	{"int", "512"}, {"frac", "0.125"}, {"exp", "1.5e3"}, {"long", "123456789.123456789012345678"},
}

func BenchmarkParse(b *testing.B) {
	for _, n := range numbers {
		text := []byte(n.text)
		b.Run(n.name+"/decimal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				keepDecimal, _ = ParseBytes(text)
			}
		})
		b.Run(n.name+"/apd", func(b *testing.B) {
			b.ReportAllocs()
			var d apd.Decimal
			for b.Loop() {
				_, _, _ = d.SetString(n.text)
			}
		})
		b.Run(n.name+"/big", func(b *testing.B) {
			b.ReportAllocs()
			var x big.Rat
			for b.Loop() {
				_, _ = x.SetString(n.text)
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range numbers {
		b.Run(n.name+"/decimal", func(b *testing.B) {
			b.ReportAllocs()
			d, buf := mustParse(b, n.text), make([]byte, 0, 64)
			for b.Loop() {
				keepBytes = d.Append(buf)
			}
		})
		b.Run(n.name+"/apd", func(b *testing.B) {
			b.ReportAllocs()
			d, _, _ := apd.NewFromString(n.text)
			buf := make([]byte, 0, 64)
			for b.Loop() {
				keepBytes = d.Append(buf, 'f')
			}
		})
	}
}

func BenchmarkSumAdd(b *testing.B) {
	d := mustParse(b, "-12.125")
	b.Run("decimal", func(b *testing.B) {
		b.ReportAllocs()
		// The time of b.Loop itself is as long as that of an addition.
		var s Sum
		terms := [...]Decimal{d, d.Neg(), d, d}
		for i := range b.N {
			s.Add(terms[i%len(terms)])
		}
		keepSum = s
	})
	b.Run("apd", func(b *testing.B) {
		b.ReportAllocs()
		x, _, _ := apd.NewFromString(d.String())
		ctx := apd.BaseContext.WithPrecision(60)
		var s apd.Decimal
		for b.Loop() {
			_, _ = ctx.Add(&s, &s, x)
		}
	})
	b.Run("big", func(b *testing.B) {
		b.ReportAllocs()
		x, s := bigRatOf(d), new(big.Rat)
		for b.Loop() {
			s.Add(s, x)
		}
	})
}

// tiers is a graduated price list: each part of the quantity has the price of its tier.
var tiers = []struct{ size, price string }{
	{"1000", "0.1"}, {"9000", "0.085"}, {"90000", "0.0725"}, {"1000000", "0.06125"},
}

const rated = "123456.789"

func graduated(quantity Decimal, size, price []Rat) Amount {
	rest, total := quantity.Rat(), Rat{}
	for i := range size {
		part := Min(rest, size[i])
		total = total.Add(part.Mul(price[i]))
		rest = rest.Sub(part)
	}
	return total.Round(2, HalfAway)
}

func graduatedRats(tb testing.TB) (size, price []Rat) {
	for _, tier := range tiers {
		size = append(size, mustParse(tb, tier.size).Rat())
		price = append(price, mustParse(tb, tier.price).Rat())
	}
	return size, price
}

func BenchmarkGraduated(b *testing.B) {
	b.Run("decimal", func(b *testing.B) {
		b.ReportAllocs()
		quantity := mustParse(b, rated)
		size, price := graduatedRats(b)
		for b.Loop() {
			keepAmount = graduated(quantity, size, price)
		}
	})
	b.Run("apd", func(b *testing.B) {
		b.ReportAllocs()
		ctx := apd.BaseContext.WithPrecision(80)
		ctx.Rounding = apd.RoundHalfUp
		quantity, _, _ := apd.NewFromString(rated)
		var size, price [4]apd.Decimal
		for i, tier := range tiers {
			_, _, _ = size[i].SetString(tier.size)
			_, _, _ = price[i].SetString(tier.price)
		}
		for b.Loop() {
			var rest, total, line apd.Decimal
			rest.Set(quantity)
			for i := range size {
				part := size[i]
				if rest.Cmp(&part) < 0 {
					part.Set(&rest)
				}
				_, _ = ctx.Mul(&line, &part, &price[i])
				_, _ = ctx.Add(&total, &total, &line)
				_, _ = ctx.Sub(&rest, &rest, &part)
			}
			_, _ = ctx.Quantize(&total, &total, -2)
		}
	})
	b.Run("big", func(b *testing.B) {
		b.ReportAllocs()
		quantity := bigRatOf(mustParse(b, rated))
		var size, price [4]*big.Rat
		for i, tier := range tiers {
			size[i] = bigRatOf(mustParse(b, tier.size))
			price[i] = bigRatOf(mustParse(b, tier.price))
		}
		for b.Loop() {
			rest, total, line := new(big.Rat).Set(quantity), new(big.Rat), new(big.Rat)
			for i := range size {
				part := size[i]
				if rest.Cmp(part) < 0 {
					part = new(big.Rat).Set(rest)
				}
				total.Add(total, line.Mul(part, price[i]))
				rest.Sub(rest, part)
			}
			roundBigRat(total, 2, HalfAway)
		}
	})
}

func BenchmarkRat(b *testing.B) {
	x, y := mustParse(b, "123456.789").Rat(), mustParse(b, "0.0725").Rat()
	size, month := mustParse(b, "1000").Rat(), Ratio(86400*7, 86400*31)
	product := x.Mul(y)
	prorated := product.Mul(month)
	for name, f := range map[string]func(){
		"Mul":      func() { keepRat = x.Mul(y) },
		"Add":      func() { keepRat = x.Add(product) },
		"Quo":      func() { keepRat = x.Quo(size) },
		"Ceil":     func() { keepRat = x.Ceil() },
		"Round":    func() { keepAmount = product.Round(2, HalfAway) },
		"Prorate":  func() { keepRat = product.Mul(month) },
		"RoundOdd": func() { keepAmount = prorated.Round(2, HalfEven) },
		"AddOdd":   func() { keepRat = prorated.Add(product) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

// TestAllocations checks that the hot paths do not allocate.
func TestAllocations(t *testing.T) {
	size, price := graduatedRats(t)
	quantity, month := mustParse(t, rated), Ratio(86400*7, 86400*31)
	long := []byte("123456789.123456789012345678e-0")
	bad, large := []byte("1x"), []byte("1e20")
	buf := make([]byte, 0, 128)
	sum := SumOf(quantity)
	wide := SumFromWords([3]uint64{1 << 60, 1, 2})
	x := quantity.Rat()
	// Their product fits 256 bits only once the 3 is cancelled.
	triple := AmountFromWords([4]uint64{0, 3, 0, 0}).Rat(0)
	third := AmountFromWords([4]uint64{0, 0, 1 << 63, 0}).Rat(0).Mul(Ratio(1, 3))
	for name, f := range map[string]func(){
		"ParseBytes":       func() { keepDecimal, _ = ParseBytes(long[:12]) },
		"ParseBytes long":  func() { keepDecimal, _ = ParseBytes(long) },
		"ParseBytes bad":   func() { keepDecimal, _ = ParseBytes(bad) },
		"ParseBytes large": func() { keepDecimal, _ = ParseBytes(large) },
		"Decimal.Append":   func() { keepBytes = quantity.Append(buf) },
		"Sum.Add":          func() { keepSum.Add(quantity); keepSum.SubSum(sum) },
		"Sum.Append":       func() { keepBytes = wide.Append(buf) },
		"Amount.Append":    func() { keepBytes = AmountOf(1234).Append(buf, 2) },
		"Rat.Append":       func() { keepBytes = x.Append(buf) },
		"graduated":        func() { keepAmount = graduated(quantity, size, price) },
		"prorated":         func() { keepAmount = x.Mul(price[2]).Mul(month).Round(2, HalfEven) },
		"odd sum":          func() { keepRat = x.Mul(month).Add(Ratio(1, 7)).Sub(x) },
		"reduced product":  func() { keepRat = triple.Mul(third); keepRat = third.Mul(triple) },
		"packages":         func() { keepRat = x.Quo(size[0]).Ceil() },
		"integers":         func() { keepRat = Max(x.Floor(), Min(x.Nearest(), x.Ceil())) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

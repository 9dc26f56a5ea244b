package engine

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/engine/decimal"
)

// samplesOf reads "amount" or "amount*rows", one instant after the other.
func samplesOf(text string) []Sample {
	var list []Sample
	for i, word := range strings.Fields(text) {
		amount, rows, many := strings.Cut(word, "*")
		s := Sample{Time: Micros(i), Value: decimal.SumOf(dec(amount)), Rows: 1}
		if many {
			fmt.Sscan(rows, &s.Rows)
		}
		list = append(list, s)
	}
	return list
}

func TestPercentage(t *testing.T) {
	rate := Price{Rate: dec("1.2"), Fixed: dec("0.30")}
	plain := Price{Rate: dec("10")}
	with := func(p Price, change func(*Price)) Price {
		change(&p)
		return p
	}
	events := func(n int64) func(*Price) { return func(p *Price) { p.FreeEvents = n } }
	amount := func(s string) func(*Price) { return func(p *Price) { p.FreeAmount = dec(s) } }
	both := with(with(rate, events(3)), amount("100"))
	clamped := with(rate, func(p *Price) { p.MinEach, p.MaxEach = ptr("0.50"), ptr("20") })
	for _, c := range []struct {
		name   string
		price  Price
		events string
		want   string // exact, billable
	}{
		{"none", rate, "", "0 0"},
		{"rate and fixed of each", rate, "100 50", "2.4 150"},
		{"many equal ones", rate, "100*4", "6 400"},
		{"fractions", rate, "0.01", "0.30012 0.01"},
		{"an event of nothing pays the fixed amount", rate, "0", "0.3 0"},
		{"money back", rate, "100 -50", "0.9 50"},
		{"clamps", clamped, "1 100 5000", "22 5101"},
		{"clamps, beside the bounds", clamped, "16 17 1641 1642", "40.996 3316"},
		{"least of an event of nothing", clamped, "0", "0.5 0"},
		{"money back has no clamp", clamped, "-1 -5000", "-60.012 -5001"},
		{"free events", with(plain, events(2)), "10 20 30", "3 30"},
		{"free events, equal", with(plain, events(2)), "10*5", "3 30"},
		{"free events of nothing count", with(plain, events(2)), "0 0 30", "3 30"},
		{"more free events than there are", with(plain, events(9)), "10 20 30*2", "0 0"},
		{"free amount, reached exactly", with(plain, amount("30")), "10 20 30", "3 30"},
		{"free amount, crossed", with(plain, amount("25")), "10 20 30", "3.5 35"},
		{"the crossing event pays the whole fixed amount", with(rate, amount("25")), "10 20 30",
			"1.02 35"},
		{"the crossing event has its least", with(clamped, amount("25")), "25.01", "0.5 0.01"},
		{"free amount, equal events", with(plain, amount("25")), "10*5", "2.5 25"},
		{"free amount, equal events, exactly", with(plain, amount("30")), "10*5", "2 20"},
		{"events of nothing use up no free amount", with(rate, amount("25")), "0*9 25 0", "0.3 0"},
		{"an event above the free amount", with(plain, amount("25")), "100", "7.5 75"},
		{"money back uses up nothing free", with(plain, amount("25")), "20 -10 10", "-0.5 -5"},
		{"money back among free events", with(plain, events(2)), "10 -10 10 10", "0 0"},
		{"both, the events end first", both, "10 10 10 10", "0.42 10"},
		{"both, the amount ends first", both, "60 60 10", "0.96 30"},
		{"both, the amount ends exactly", both, "60 40 10", "0.42 10"},
		{"both, the last free event crosses", both, "10 10 100 10", "0.96 30"},
		{"both, equal events", both, "40*4", "1.32 60"},
	} {
		c.price.Model = Percentage
		r := c.price.rate(&total{samples: samplesOf(c.events)})
		if got := fmt.Sprint(r.exact, r.billable); got != c.want {
			t.Errorf("%s: %s costs %s, want %s", c.name, c.events, got, c.want)
		}
	}
}

// TestPercentageAgainstReference compares random prices and events with the rule for one event
// after the other, in math/big. The seeds are all of 0 to 2999.
func TestPercentageAgainstReference(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 5))
		value := func(most int64) decimal.Decimal {
			return dec(fmt.Sprintf("%d.%02d", random.Int64N(most), random.IntN(4)*25))
		}
		p := Price{Model: Percentage, Rate: value(20), Fixed: value(2)}
		if random.IntN(2) == 0 {
			p.FreeEvents = random.Int64N(8)
		}
		if random.IntN(2) == 0 {
			p.FreeAmount = value(60)
		}
		if random.IntN(2) == 0 {
			least := value(2)
			p.MinEach = &least
		}
		if random.IntN(2) == 0 {
			most := value(4)
			p.MaxEach = &most
		}
		var samples []Sample
		for i := range random.IntN(8) {
			v := value(12)
			if random.IntN(6) == 0 {
				v = v.Neg()
			}
			samples = append(samples, Sample{Time: Micros(i), Value: decimal.SumOf(v),
				Rows: uint64(random.IntN(5) + 1)})
		}
		exact, billable := referencePercentage(&p, samples)
		r := p.rate(&total{samples: samples})
		if ratOf(r.exact).Cmp(exact) != 0 || ratOf(r.billable).Cmp(billable) != 0 {
			t.Fatalf("seed %d: the events cost %s for %s, want %s for %s\n%+v\n%v", seed, r.exact,
				r.billable, exact.RatString(), billable.RatString(), p, samples)
		}
	}
}

func referencePercentage(p *Price, samples []Sample) (exact, billable *big.Rat) {
	exact, billable = new(big.Rat), new(big.Rat)
	rate := bigMul(bigOf(p.Rate), big.NewRat(1, 100))
	count, amount := p.FreeEvents, bigOf(p.FreeAmount)
	over := p.FreeEvents == 0 && p.FreeAmount.IsZero()
	one := func(a *big.Rat) {
		switch {
		case a.Sign() < 0:
			exact, billable = bigAdd(exact, bigMul(a, rate)), bigAdd(billable, a)
			return
		case !over && p.FreeAmount.IsZero(): // events only
			count--
			over = count == 0
			return
		case !over:
			count--
			left := bigAdd(amount, bigNeg(a))
			over = p.FreeEvents > 0 && count == 0 || left.Sign() <= 0
			if left.Sign() >= 0 {
				amount = left
				return
			}
			a = bigNeg(left)
		}
		pays := bigAdd(bigMul(a, rate), bigOf(p.Fixed))
		if p.MaxEach != nil && pays.Cmp(bigOf(*p.MaxEach)) > 0 {
			pays = bigOf(*p.MaxEach)
		}
		if p.MinEach != nil && pays.Cmp(bigOf(*p.MinEach)) < 0 {
			pays = bigOf(*p.MinEach)
		}
		exact, billable = bigAdd(exact, pays), bigAdd(billable, a)
	}
	for _, s := range samples {
		v, _ := s.Value.Decimal()
		for range s.Rows {
			one(bigOf(v))
		}
	}
	return exact, billable
}

package engine

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"billctl/engine/decimal"
)

func dec(s string) decimal.Decimal {
	d, err := decimal.Parse(s)
	if err != nil {
		panic(fmt.Sprintf("BUG: test value %q: %v", s, err))
	}
	return d
}

func ptr(s string) *decimal.Decimal {
	d := dec(s)
	return &d
}

// tiers reads "up_to unit flat" triples; the last bound is "-".
func tiers(triples ...[3]string) []Tier {
	var list []Tier
	for _, t := range triples {
		tier := Tier{Last: t[0] == "-", Unit: dec(t[1]), Flat: dec(t[2])}
		if !tier.Last {
			tier.UpTo = dec(t[0])
		}
		list = append(list, tier)
	}
	return list
}

var (
	// steps has the tiers of an example that several products share.
	steps = tiers([3]string{"5", "0", "1"}, [3]string{"10", "1", "2"}, [3]string{"-", "2", "0"})
	boxes = []Tier{
		{UpTo: dec("1000"), Size: dec("100"), Amount: dec("1")},
		{Last: true, Size: dec("1000"), Amount: dec("0.90")},
	}
	// rates are of an amount, in percent: 2 up to 1000, with 0.50 at the start, and 1 beyond.
	rates   = tiers([3]string{"1000", "2", "0.5"}, [3]string{"-", "1", "0"})
	tenfold = &Convert{Multiply: dec("1"), Divide: dec("1000"), Round: RoundUp}
)

func TestRate(t *testing.T) {
	for _, c := range []struct {
		name  string
		price Price
		want  map[string]string // quantity -> exact amount after bounds
	}{
		{"flat", Price{Model: Flat, Amount: dec("29")}, map[string]string{"0": "29", "7": "29"}},
		{"unit", Price{Model: Unit, Unit: dec("0.003")},
			map[string]string{"0": "0", "1000": "3", "0.5": "0.0015", "-10": "-0.03"}},
		{"graduated", Price{Model: Graduated, Tiers: steps}, map[string]string{
			"-1": "1", "0": "1", "3": "1", "5": "1", "5.001": "3.001", "7": "5", "10": "8",
			"10.5": "9", "12": "12"}},
		{"graduated, zero is free", Price{Model: Graduated, Tiers: steps, ZeroFree: true},
			map[string]string{"-1": "0", "0": "0", "0.001": "1", "5": "1", "7": "5"}},
		{"volume", Price{Model: Volume, Tiers: steps}, map[string]string{
			"-2": "1", "0": "1", "5": "1", "5.001": "7.001", "10": "12", "10.001": "20.002"}},
		{"volume, zero is free", Price{Model: Volume, Tiers: steps, ZeroFree: true},
			map[string]string{"0": "0", "0.001": "1"}},
		{"one tier", Price{Model: Volume, Tiers: tiers([3]string{"-", "2", "1"})},
			map[string]string{"-3": "-5", "0": "1", "3": "7"}},
		{"package", Price{Model: Package, Size: dec("100"), Amount: dec("5")}, map[string]string{
			"0": "0", "0.001": "5", "100": "5", "100.001": "10", "-99": "0", "-250": "-10"}},
		{"package in tiers", Price{Model: Package, Tiers: boxes}, map[string]string{
			"0": "0", "1": "1", "1000": "10", "1000.5": "10.9", "5325": "14.5", "-250": "-2"}},
		{"free", Price{Model: Unit, Unit: dec("2"), Free: dec("10")},
			map[string]string{"0": "0", "10": "0", "10.5": "1", "-3": "-6"}},
		{"free leaves tiers at zero", Price{Model: Graduated, Tiers: steps, Free: dec("10")},
			map[string]string{"4": "1", "16": "4"}},
		{"convert, round up", Price{Model: Unit, Unit: dec("1"), Convert: tenfold},
			map[string]string{"0": "0", "1": "1", "1000": "1", "1001": "2", "-1500": "-1"}},
		{"round, then free", Price{Model: Unit, Unit: dec("1"), Convert: tenfold, Free: dec("1")},
			map[string]string{"1000": "0", "1001": "1"}},
		{"round down", Price{Model: Unit, Unit: dec("1"),
			Convert: &Convert{dec("1"), dec("60"), RoundDown}},
			map[string]string{"59": "0", "119": "1", "120": "2", "-1": "-1"}},
		{"round to nearest", Price{Model: Unit, Unit: dec("1"),
			Convert: &Convert{dec("1"), dec("60"), RoundNearest}},
			map[string]string{"29": "0", "30": "1", "90": "2", "-30": "-1"}},
		{"convert keeps thirds", Price{Model: Unit, Unit: dec("3"),
			Convert: &Convert{dec("2"), dec("3"), KeepFraction}}, map[string]string{"1": "2"}},
		{"bounds", Price{Model: Unit, Unit: dec("1"), Minimum: ptr("5"), Maximum: ptr("9")},
			map[string]string{"-4": "5", "0": "5", "5": "5", "7": "7", "9": "9", "50": "9"}},
		{"discount before maximum", Price{Model: Unit, Unit: dec("1"), Discount: dec("10"),
			Maximum: ptr("9")}, map[string]string{"10": "9", "9": "8.1", "11": "9", "-10": "-9"}},
		{"discount before minimum", Price{Model: Unit, Unit: dec("1"), Discount: dec("50"),
			Minimum: ptr("5")}, map[string]string{"8": "5", "12": "6"}},
		{"minimum wins over maximum", Price{Model: Unit, Unit: dec("1"), Minimum: ptr("9"),
			Maximum: ptr("5")}, map[string]string{"1": "9", "20": "9"}},
		{"all is discounted", Price{Model: Unit, Unit: dec("1"), Discount: dec("100")},
			map[string]string{"8": "0"}},
		{"stairstep", Price{Model: Stairstep, Tiers: steps}, map[string]string{
			"-7": "1", "0": "1", "5": "1", "5.001": "2", "10": "2", "10.5": "0", "900": "0"}},
		{"stairstep, zero is free", Price{Model: Stairstep, Tiers: steps, ZeroFree: true},
			map[string]string{"-7": "0", "0": "0", "0.001": "1", "6": "2"}},
		{"stairstep of begun thousands", Price{Model: Stairstep, Tiers: steps, Convert: tenfold},
			map[string]string{"5000": "1", "5001": "2"}},
		{"graduated percentage", Price{Model: GraduatedPercentage, Tiers: rates}, map[string]string{
			"-100": "-1.5", "0": "0.5", "100": "2.5", "1000": "20.5", "1000.5": "20.505",
			"3000": "40.5"}},
		{"graduated percentage, zero is free",
			Price{Model: GraduatedPercentage, Tiers: rates, ZeroFree: true},
			map[string]string{"-100": "-2", "0": "0", "0.01": "0.5002"}},
		{"dynamic", Price{Model: Dynamic, Multiplier: dec("1.2")},
			map[string]string{"0": "0", "10": "12", "-2.5": "-3", "0.01": "0.012"}},
		{"dynamic, in cents", Price{Model: Dynamic, Multiplier: dec("1"), Free: dec("1"),
			Convert: &Convert{dec("1"), dec("100"), KeepFraction}},
			map[string]string{"250": "1.5", "99": "0", "-100": "-1"}},
	} {
		for q, want := range c.want {
			r := c.price.rate(&total{quantity: dec(q).Rat()})
			if got := c.price.bound(r.exact, true).exact; got.Cmp(dec(want).Rat()) != 0 {
				t.Errorf("%s: %s costs %s, want %s", c.name, q, got, want)
			}
		}
	}
}

// TestBound: a price of 1 for one, so the quantity is what the discounts, the commitment and the
// bounds begin with.
func TestBound(t *testing.T) {
	const open, so = true, false // a period that is over; what was used so far
	commit := func(amount, overage string) *Commitment {
		return &Commitment{dec(amount), dec(overage)}
	}
	for _, c := range []struct {
		name  string
		price Price
		x     string
		over  bool
		want  string // exact, off, bound
	}{
		{"off", Price{Off: dec("3")}, "10", open, "7 3 0"},
		{"off, no further than to zero", Price{Off: dec("3")}, "2.5", open, "0 3 0"},
		{"off, exactly to zero", Price{Off: dec("3")}, "3", open, "0 3 0"},
		{"nothing off nothing", Price{Off: dec("3")}, "0", open, "0 0 0"},
		{"nothing off money back", Price{Off: dec("3")}, "-4", open, "-4 0 0"},
		{"percent, then off", Price{Off: dec("3"), Discount: dec("50")}, "10", open, "2 3 0"},
		{"off thirds", Price{Off: dec("0.5"), Discount: dec("33.3")}, "1", so, "0.167 0.5 0"},
		{"below", Price{Commitment: commit("100", "1.5")}, "40", open, "100 0 3"},
		{"below, so far", Price{Commitment: commit("100", "1.5")}, "40", so, "40 0 0"},
		{"unused", Price{Commitment: commit("100", "1.5")}, "0", open, "100 0 3"},
		{"money back", Price{Commitment: commit("100", "1.5")}, "-5", open, "100 0 3"},
		{"reached", Price{Commitment: commit("100", "1.5")}, "100", open, "100 0 0"},
		{"beyond", Price{Commitment: commit("100", "1.5")}, "110", open, "115 0 3"},
		{"beyond, so far", Price{Commitment: commit("100", "1.5")}, "110", so, "115 0 3"},
		{"beyond, at list", Price{Commitment: commit("100", "1")}, "110", open, "110 0 0"},
		{"beyond is free", Price{Commitment: commit("100", "0")}, "110", open, "100 0 3"},
		{"off before the commitment", Price{Off: dec("15"), Commitment: commit("100", "2")},
			"110", open, "100 15 3"},
		{"commitment before the maximum", Price{Maximum: ptr("112"), Commitment: commit("100", "2")},
			"110", open, "112 0 2"},
		{"commitment before the minimum", Price{Minimum: ptr("130"), Commitment: commit("100", "2")},
			"110", open, "130 0 1"},
		{"commitment above the maximum", Price{Maximum: ptr("90"), Commitment: commit("100", "2")},
			"10", open, "90 0 2"},
		{"so far has no minimum", Price{Minimum: ptr("130")}, "110", so, "110 0 0"},
	} {
		c.price.Model, c.price.Unit = Unit, dec("1")
		b := c.price.bound(c.price.rate(&total{quantity: dec(c.x).Rat()}).exact, c.over)
		if got := fmt.Sprint(b.exact, b.off, int(b.by)); got != c.want {
			t.Errorf("%s: %s becomes %s, want %s", c.name, c.x, got, c.want)
		}
	}
}

func TestRateTiers(t *testing.T) {
	for _, c := range []struct {
		price Price
		q     string
		want  string
	}{
		{Price{Model: Graduated, Tiers: steps}, "12", "0:5=1 1:5=7 2:2=4 "},
		{Price{Model: Graduated, Tiers: steps}, "5", "0:5=1 "},
		{Price{Model: Graduated, Tiers: steps}, "0", "0:0=1 "},
		{Price{Model: Graduated, Tiers: steps, ZeroFree: true}, "0", ""},
		{Price{Model: Volume, Tiers: steps}, "12", "2:12=24 "},
		{Price{Model: Package, Tiers: boxes}, "1001", "0:1000=10 1:1=0.9 "},
		{Price{Model: Package, Size: dec("10"), Amount: dec("1")}, "11", ""},
		{Price{Model: Unit, Unit: dec("1")}, "11", ""},
		{Price{Model: Stairstep, Tiers: steps}, "7", "1:7=2 "},
		{Price{Model: Stairstep, Tiers: steps}, "0", "0:0=1 "},
		{Price{Model: Stairstep, Tiers: steps, ZeroFree: true}, "0", ""},
		{Price{Model: GraduatedPercentage, Tiers: rates}, "1100", "0:1000=20.5 1:100=1 "},
	} {
		got := ""
		for _, u := range c.price.rate(&total{quantity: dec(c.q).Rat()}).tiers {
			got += fmt.Sprintf("%d:%s=%s ", u.Tier, u.Quantity, u.Amount)
		}
		if got != c.want {
			t.Errorf("model %d: tiers of %s are %q, want %q", c.price.Model, c.q, got, c.want)
		}
	}
}

// TestOverride: each field replaces what it names, and nothing else.
func TestOverride(t *testing.T) {
	base := Price{Key: "p", Model: Package, Amount: dec("1"), Unit: dec("2"), Size: dec("3"),
		Tiers: steps, Free: dec("4"), Discount: dec("5"), Minimum: ptr("6"), Maximum: ptr("7"),
		Rate: dec("8"), Fixed: dec("9"), FreeEvents: 10, FreeAmount: dec("11"), MinEach: ptr("12"),
		MaxEach: ptr("13"), Multiplier: dec("14"), Off: dec("15"), Commitment: &Commitment{}}
	other := Price{Key: "x", Model: Unit, Amount: dec("10"), Unit: dec("20"), Size: dec("30"),
		Tiers: boxes, Free: dec("40"), Discount: dec("50"), Maximum: ptr("70"), ZeroFree: true,
		Rate: dec("80"), Fixed: dec("90"), FreeEvents: 100, FreeAmount: dec("110"),
		MaxEach: ptr("130"), Multiplier: dec("140"), Off: dec("150"), Matrix: &Matrix{}}
	show := func(p Price) string {
		return fmt.Sprint(p.Key, p.Model, p.Amount, p.Unit, p.Size, len(p.Tiers), p.Free, p.Discount,
			p.Minimum, p.Maximum, p.ZeroFree, p.Rate, p.Fixed, p.FreeEvents, p.FreeAmount, p.MinEach,
			p.MaxEach, p.Multiplier, p.Off, p.Commitment, p.Matrix)
	}
	seen := map[string]bool{show(base): true}
	for f := OverrideAmount; f <= OverrideMatrix; f <<= 1 {
		got := base.with(&Override{Fields: f, Value: other})
		if got.Key != "p" || got.Model != Package || seen[show(got)] {
			t.Errorf("field %#x: the override gives %s", f, show(got))
		}
		seen[show(got)] = true
	}
	all := base.with(&Override{Fields: OverrideMatrix<<1 - 1, Value: other})
	other.Key, other.Model = "p", Package
	if show(all) != show(other) {
		t.Errorf("all fields: the override gives %s, want %s", show(all), show(other))
	}
}

// TestRateAgainstReference compares random prices and quantities with a reference that follows the
// formulas of docs/semantics.md with math/big and nothing of ours. The seeds are all of 0 to 2999,
// so `go test ./engine -run TestRateAgainstReference` repeats a failure.
func TestRateAgainstReference(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 2))
		p := randomPrice(random)
		for range 8 {
			q := randomQuantity(random, &p)
			r := p.rate(&total{quantity: q.Rat()})
			got := p.bound(r.exact, true).exact
			sum := decimal.Rat{}
			for _, u := range r.tiers {
				sum = sum.Add(u.Amount)
			}
			want := reference(&p, ratOf(q.Rat()))
			if ratOf(got).Cmp(want) != 0 {
				t.Fatalf("seed %d: model %d: %s costs %s, want %s\n%+v", seed, p.Model, q, got,
					want.RatString(), p)
			}
			if len(p.Tiers) > 0 && p.Model >= Graduated && p.Model != Dynamic && sum.Cmp(r.exact) != 0 {
				t.Fatalf("seed %d: the tiers' amounts sum to %s, want %s", seed, sum, r.exact)
			}
		}
	}
}

func randomPrice(random *rand.Rand) Price {
	value := func(most int64) decimal.Decimal {
		return dec(fmt.Sprintf("%d.%03d", random.Int64N(most), random.IntN(1000)))
	}
	models := []Model{Flat, Unit, Graduated, Volume, Package, Stairstep, GraduatedPercentage, Dynamic}
	p := Price{Model: models[random.IntN(len(models))], Amount: value(50), Unit: value(3),
		Size: value(40), ZeroFree: random.IntN(2) == 0, Multiplier: value(4)}
	p.Size = decimalAtLeastOne(p.Size)
	if n := random.IntN(5); n > 0 || p.Model != Package {
		bound := int64(0)
		for i := range n + 1 {
			bound += 1 + random.Int64N(30)
			tier := Tier{UpTo: decimal.FromInt(bound), Unit: value(3), Flat: value(9),
				Size: decimalAtLeastOne(value(12)), Amount: value(9)}
			if tier.Last = i == n; tier.Last {
				tier.UpTo = decimal.Decimal{}
			}
			p.Tiers = append(p.Tiers, tier)
		}
	}
	if random.IntN(2) == 0 {
		p.Convert = &Convert{decimal.FromInt(random.Int64N(3) + 1),
			decimal.FromInt(random.Int64N(9) + 1), ConvertRound(random.IntN(4))}
	}
	if random.IntN(2) == 0 {
		p.Free = value(20)
	}
	if random.IntN(3) == 0 {
		p.Discount = value(100)
	}
	if random.IntN(3) == 0 {
		p.Off = value(10)
	}
	if random.IntN(3) == 0 {
		p.Commitment = &Commitment{value(30), value(3)}
	}
	if random.IntN(3) == 0 {
		v := value(40)
		p.Maximum = &v
	}
	if random.IntN(3) == 0 {
		v := value(40)
		p.Minimum = &v
	}
	return p
}

func decimalAtLeastOne(d decimal.Decimal) decimal.Decimal {
	if d.Cmp(decimal.FromInt(1)) < 0 {
		return decimal.FromInt(1)
	}
	return d
}

// randomQuantity is often a bound, or just beside one.
func randomQuantity(random *rand.Rand, p *Price) decimal.Decimal {
	n := random.Int64N(160) - 20
	if len(p.Tiers) > 0 && random.IntN(2) == 0 {
		for i := range n {
			if d := p.Tiers[random.IntN(len(p.Tiers))].UpTo; i == 0 && !d.IsZero() {
				return [...]decimal.Decimal{d, dec(d.String() + ".001"), dec("0")}[random.IntN(3)]
			}
		}
	}
	if random.IntN(2) == 0 {
		return decimal.FromInt(n)
	}
	return dec(fmt.Sprintf("%d.%04d", n, random.IntN(10000)))
}

// reference is the price of q by the formulas: bounds are looked up anew for every tier.
func reference(p *Price, q *big.Rat) *big.Rat {
	zero := new(big.Rat)
	q = referenceQuantity(p, q)
	amount := new(big.Rat)
	first := func(i int) bool { return i == 0 && (q.Sign() > 0 || !p.ZeroFree) }
	lower := zero
	holding := func(i int) bool {
		return (i == 0 || q.Cmp(lower) > 0) && (p.Tiers[i].Last || q.Cmp(bigOf(p.Tiers[i].UpTo)) <= 0)
	}
	part := func(i int) *big.Rat {
		if holding(i) {
			return bigAdd(q, bigNeg(lower))
		}
		if q.Cmp(lower) <= 0 {
			return zero
		}
		return bigAdd(bigOf(p.Tiers[i].UpTo), bigNeg(lower))
	}
	switch {
	case p.Model == Flat:
		amount = bigOf(p.Amount)
	case p.Model == Unit:
		amount = bigMul(q, bigOf(p.Unit))
	case p.Model == Package && len(p.Tiers) == 0:
		amount = bigMul(bigCeil(new(big.Rat).Quo(q, bigOf(p.Size))), bigOf(p.Amount))
	case p.Model == Dynamic:
		amount = bigMul(q, bigOf(p.Multiplier))
	}
	for i, tier := range p.Tiers {
		entered := i > 0 && q.Cmp(lower) > 0 || first(i)
		switch p.Model {
		case Graduated, GraduatedPercentage:
			unit := bigOf(tier.Unit)
			if p.Model == GraduatedPercentage {
				unit = bigMul(unit, big.NewRat(1, 100))
			}
			amount = bigAdd(amount, bigMul(part(i), unit))
			if entered {
				amount = bigAdd(amount, bigOf(tier.Flat))
			}
		case Stairstep:
			if holding(i) && entered {
				amount = bigOf(tier.Flat)
			}
		case Volume:
			if holding(i) {
				amount = bigMul(q, bigOf(tier.Unit))
				if entered {
					amount = bigAdd(amount, bigOf(tier.Flat))
				}
			}
		case Package:
			begun := bigCeil(new(big.Rat).Quo(part(i), bigOf(tier.Size)))
			amount = bigAdd(amount, bigMul(begun, bigOf(tier.Amount)))
		}
		lower = bigOf(tier.UpTo)
	}
	return referenceBound(p, amount)
}

func referenceBound(p *Price, amount *big.Rat) *big.Rat {
	amount = bigAdd(amount, bigNeg(bigMul(amount, bigMul(bigOf(p.Discount), big.NewRat(1, 100)))))
	if amount.Sign() > 0 {
		amount = bigAdd(amount, bigNeg(bigOf(p.Off)))
		if amount.Sign() < 0 {
			amount = new(big.Rat)
		}
	}
	if c := p.Commitment; c != nil {
		used := bigAdd(amount, bigNeg(bigOf(c.Amount)))
		amount = bigOf(c.Amount)
		if used.Sign() > 0 {
			amount = bigAdd(amount, bigMul(used, bigOf(c.Overage)))
		}
	}
	if p.Maximum != nil && amount.Cmp(bigOf(*p.Maximum)) > 0 {
		amount = bigOf(*p.Maximum)
	}
	if p.Minimum != nil && amount.Cmp(bigOf(*p.Minimum)) < 0 {
		amount = bigOf(*p.Minimum)
	}
	return amount
}

func referenceQuantity(p *Price, q *big.Rat) *big.Rat {
	if c := p.Convert; c != nil {
		q = bigMul(q, new(big.Rat).Quo(bigOf(c.Multiply), bigOf(c.Divide)))
		half := big.NewRat(1, 2)
		switch c.Round {
		case RoundUp:
			q = bigCeil(q)
		case RoundDown:
			q = bigNeg(bigCeil(bigNeg(q)))
		case RoundNearest:
			if q.Sign() < 0 {
				q = bigCeil(bigAdd(q, bigNeg(half)))
			} else {
				q = bigNeg(bigCeil(bigNeg(bigAdd(q, half))))
			}
		}
	}
	if q.Sign() <= 0 {
		return q
	}
	if q = bigAdd(q, bigNeg(bigOf(p.Free))); q.Sign() < 0 {
		return new(big.Rat)
	}
	return q
}

func bigOf(d decimal.Decimal) *big.Rat {
	r, _ := new(big.Rat).SetString(d.String())
	return r
}

func bigCeil(r *big.Rat) *big.Rat {
	n := new(big.Int).Neg(r.Num())
	n.Div(n, r.Denom()) // Euclidean, so it is the floor
	return new(big.Rat).SetInt(n.Neg(n))
}

func bigNeg(r *big.Rat) *big.Rat    { return new(big.Rat).Neg(r) }
func bigAdd(a, b *big.Rat) *big.Rat { return new(big.Rat).Add(a, b) }
func bigMul(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }

func ratOf(r decimal.Rat) *big.Rat {
	b, ok := new(big.Rat).SetString(r.String())
	if !ok {
		panic("BUG: a Rat's text is no rational")
	}
	return b
}

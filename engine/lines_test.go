package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"billctl/engine/decimal"
)

var (
	lineCalls  = &Meter{Key: "calls", Aggregate: Count, Unit: "call"}
	lineTokens = &Meter{Key: "tokens", Aggregate: Total, Unit: "token",
		GroupBy: []Dimension{{Name: "model"}, {Name: "region"}}}
	lineLeast = &Meter{Key: "low", Aggregate: Least, GroupBy: []Dimension{{Name: "model"}}}
	lineMost  = &Meter{Key: "high", Aggregate: Most, GroupBy: []Dimension{{Name: "model"}}}
)

// groupOf reads "model=large region"; a name alone is an absent value.
func groupOf(text string) []GroupValue {
	var group []GroupValue
	for _, part := range strings.Fields(text) {
		dim, value, ok := strings.Cut(part, "=")
		group = append(group, GroupValue{Dim: dim, Value: value, Absent: !ok})
	}
	return group
}

func use(m *Meter, group string, rows uint64, value string) Usage {
	f := Fold{Rows: rows, Value: decimal.SumOf(dec(value))}
	return Usage{Meter: m, Group: groupOf(group), Fold: f}
}

// october is the input for all of October 2024 in UTC, and November after it.
func october(prices []Price, usage ...Usage) lineInput {
	oct, nov, dez := at(2024, 10, 1, 0, 0), at(2024, 11, 1, 0, 0), at(2024, 12, 1, 0, 0)
	return lineInput{
		Zone: &Zone{Name: "UTC"}, Digits: 2, Usage: usage,
		Meters: []*Meter{lineCalls, lineTokens, lineLeast, lineMost},
		Period: lineSpan{Prices: prices, Start: oct, End: nov, FullStart: oct, FullEnd: nov},
		Next:   lineSpan{Prices: prices, Start: nov, End: dez, FullStart: nov, FullEnd: dez},
	}
}

func showLines(lines []Line, digits int) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s %s\n", lineKey(l.Price, l.Group), l.Quantity, l.Amount.Text(digits))
	}
	return b.String()
}

func unitPrice(key, meter, unit string, per ...string) Price {
	return Price{Key: key, Model: Unit, Meter: meter, Unit: dec(unit), Per: per}
}

func TestLinesOfUsage(t *testing.T) {
	usage := []Usage{
		use(lineTokens, "model=large region=eu", 2, "10"),
		use(lineTokens, "model=small region=eu", 1, "5"),
		use(lineTokens, "model=large region=us", 1, "7"),
		use(lineTokens, "model region=us", 1, "1"),
		use(lineTokens, "model= region=us", 1, "2"),
		use(lineTokens, "model=gone region=us", 0, "0"),
		use(lineTokens, "model=idle region=us", 3, "0"),
		use(lineCalls, "", 4, "0"), use(lineCalls, "", 5, "0"), // two parts of one fold
	}
	minimum := unitPrice("p", "tokens", "1", "model")
	minimum.Minimum = ptr("6")
	large := unitPrice("p", "tokens", "1")
	large.Match = []Match{{Dim: "model", Values: []string{"", "large"}}}
	both := unitPrice("p", "tokens", "1", "region", "model")
	both.Match = []Match{{Dim: "model", Values: []string{"large", "small"}},
		{Dim: "region", Values: []string{"eu"}}}
	none := unitPrice("p", "tokens", "1")
	none.Match = []Match{{Dim: "model", Values: []string{"huge"}}}
	noneAtLeast := none
	noneAtLeast.Minimum = ptr("3")
	nonePer := noneAtLeast
	nonePer.Per = []string{"model"}
	free := unitPrice("p", "tokens", "0")
	for _, c := range []struct {
		name  string
		price Price
		want  string
	}{
		{"all groups are one line", unitPrice("p", "tokens", "1"), "p 25 25.00\n"},
		{"count is rows", unitPrice("p", "calls", "2"), "p 9 18.00\n"},
		{"per value, absent first, without usage no line", unitPrice("p", "tokens", "1", "model"),
			"p/model 1 1.00\np/model= 2 2.00\np/model=idle 0 0.00\np/model=large 17 17.00\n" +
				"p/model=small 5 5.00\n"},
		{"bounds of each line", minimum,
			"p/model 1 6.00\np/model= 2 6.00\np/model=idle 0 6.00\np/model=large 17 17.00\n" +
				"p/model=small 5 6.00\n"},
		{"match", large, "p 19 19.00\n"},
		{"match and per", both, "p/region=eu/model=large 10 10.00\np/region=eu/model=small 5 5.00\n"},
		{"nothing matched", none, ""},
		{"nothing matched, minimum", noneAtLeast, "p 0 3.00\n"},
		{"nothing matched, minimum of each", nonePer, ""},
		{"free of charge", free, "p 25 0.00\n"},
	} {
		in := october([]Price{c.price}, usage...)
		if got := showLines(rateLines(in), 2); got != c.want {
			t.Errorf("%s: lines\n%swant\n%s", c.name, got, c.want)
		}
		slices.Reverse(in.Usage)
		if got := showLines(rateLines(in), 2); got != c.want {
			t.Errorf("%s, usage reversed: lines\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// TestLinesOfLeastAndMost: totals come from merged folds, and a fold without rows has no value.
func TestLinesOfLeastAndMost(t *testing.T) {
	in := october([]Price{unitPrice("low", "low", "1"), unitPrice("high", "high", "1")},
		use(lineLeast, "model=c", 0, "0"), use(lineLeast, "model=a", 1, "7"),
		use(lineLeast, "model=b", 2, "3"), use(lineLeast, "model=d", 0, "0"),
		use(lineMost, "model=c", 0, "0"), use(lineMost, "model=a", 1, "-7"),
		use(lineMost, "model=b", 2, "-3"), use(lineMost, "model=d", 0, "0"))
	if got, want := showLines(rateLines(in), 2), "low 3 3.00\nhigh -3 -3.00\n"; got != want {
		t.Errorf("lines\n%swant\n%s", got, want)
	}
}

// TestLinesOfFlats: arrears pay for the period, advance for the next by its own terms and after
// all lines of the period.
func TestLinesOfFlats(t *testing.T) {
	flat := func(key, amount string, advance, prorate bool) Price {
		return Price{Key: key, Model: Flat, Amount: dec(amount), Advance: advance, Prorate: prorate}
	}
	prices := []Price{flat("base", "31", true, true), unitPrice("calls", "calls", "1"),
		flat("support", "62", false, true), flat("card", "5", false, false),
		flat("none", "0", false, false)}
	usage := use(lineCalls, "", 2, "0")
	next := []Price{flat("new", "9", true, false), flat("support", "60", true, true),
		flat("base", "30", true, true), flat("card", "7", false, false)}
	for _, c := range []struct {
		name   string
		change func(in *lineInput)
		want   string
	}{
		{"whole month", func(*lineInput) {},
			"calls 2 2.00\nsupport 0 62.00\ncard 0 5.00\nbase 0 31.00\n"},
		{"the last period", func(in *lineInput) { in.Next = lineSpan{} },
			"calls 2 2.00\nsupport 0 62.00\ncard 0 5.00\n"},
		{"the start", func(in *lineInput) { in.Period = lineSpan{} }, "base 0 31.00\n"},
		{"begun on the 17th", func(in *lineInput) { in.Period.Start += 16 * OneDay },
			"calls 2 2.00\nsupport 0 30.00\ncard 0 5.00\nbase 0 31.00\n"},
		{"goes on to the 11th", func(in *lineInput) { in.Next.End = in.Next.Start + 10*OneDay },
			"calls 2 2.00\nsupport 0 62.00\ncard 0 5.00\nbase 0 10.33\n"},
		{"no whole day", func(in *lineInput) {
			in.Period.Start += 5 * Hour
			in.Period.End = in.Period.Start + Hour
		}, "calls 2 2.00\ncard 0 5.00\nbase 0 31.00\n"},
		{"new terms", func(in *lineInput) { in.Next.Prices = next },
			"calls 2 2.00\nsupport 0 62.00\ncard 0 5.00\nnew 0 9.00\nsupport 0 60.00\nbase 0 30.00\n"},
	} {
		in := october(prices, usage)
		c.change(&in)
		lines := rateLines(in)
		if got := showLines(lines, 2); got != c.want {
			t.Errorf("%s: lines\n%swant\n%s", c.name, got, c.want)
		}
		for _, l := range lines {
			s := &in.Period
			if l.Price == "base" || l.Price == "new" {
				s = &in.Next
			}
			if l.Price != "support" && (l.From != s.Start || l.To != s.End) {
				t.Errorf("%s: %s is for [%d, %d), want [%d, %d)", c.name, l.Price, l.From, l.To,
					s.Start, s.End)
			}
		}
	}
}

// TestSoFar: a preview of an open period leaves the minimum out, and nothing else.
func TestSoFar(t *testing.T) {
	p := unitPrice("p", "calls", "1")
	p.Minimum, p.Maximum, p.Discount = ptr("50"), ptr("3"), dec("10")
	in := october([]Price{p}, use(lineCalls, "", 9, "0"))
	in.SoFar = true
	if got, want := showLines(rateLines(in), 2), "p 9 3.00\n"; got != want {
		t.Errorf("so far: lines\n%swant\n%s", got, want)
	}
	in.SoFar = false
	if got, want := showLines(rateLines(in), 2), "p 9 50.00\n"; got != want {
		t.Errorf("if closed now: lines\n%swant\n%s", got, want)
	}
}

// TestRoundingHeals: what is booked after each of two runs sums to the rounded whole, 0.33 + 0.34.
func TestRoundingHeals(t *testing.T) {
	booked := decimal.Amount{}
	for i, want := range []string{"0.33", "0.34", "0.33"} {
		in := october([]Price{unitPrice("p", "calls", "0.334")}, use(lineCalls, "", uint64(i+1), "0"))
		rated := rateLines(in)[0].Amount
		if got := rated.Sub(booked).Text(2); got != want {
			t.Errorf("run %d bills %s, want %s", i+1, got, want)
		}
		booked = rated
	}
}

// TestLineRounding: a line is rounded once, by the plan's rounding and digits.
func TestLineRounding(t *testing.T) {
	for _, c := range []struct {
		unit   string
		digits int
		mode   decimal.Rounding
		want   string
	}{
		{"0.125", 2, decimal.HalfAway, "0.13"}, {"0.125", 2, decimal.HalfEven, "0.12"},
		{"-0.125", 2, decimal.HalfAway, "-0.13"}, {"0.5", 0, decimal.HalfAway, "1"},
		{"0.0005", 3, decimal.HalfAway, "0.001"}, {"0.004", 2, decimal.HalfAway, "0.00"},
	} {
		in := october([]Price{unitPrice("p", "calls", c.unit)}, use(lineCalls, "", 1, "0"))
		in.Digits, in.Rounding = c.digits, c.mode
		if got := rateLines(in)[0].Amount.Text(c.digits); got != c.want {
			t.Errorf("%s in %d digits is %s, want %s", c.unit, c.digits, got, c.want)
		}
	}
	// Tiers are not rounded on their own: 0.004 + 0.004 is 0.01.
	p := Price{Key: "p", Model: Graduated, Meter: "calls",
		Tiers: tiers([3]string{"1", "0.004", "0"}, [3]string{"-", "0.004", "0"})}
	in := october([]Price{p}, use(lineCalls, "", 2, "0"))
	if got := rateLines(in)[0].Amount.Text(2); got != "0.01" {
		t.Errorf("two tiers of 0.004 are %s, want 0.01", got)
	}
}

// TestProrationIsConserved: however a month is cut, the exact amounts of its parts sum to the flat
// amount, in zones that are random within a day.
func TestProrationIsConserved(t *testing.T) {
	flat := Price{Key: "p", Model: Flat, Amount: dec("29.99"), Prorate: true}
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 3))
		zone := &Zone{Name: "Random", Offset: int32(random.IntN(86_400) - 43_200)}
		for sec := int64(0); sec < 400*daySeconds; {
			sec += 1 + random.Int64N(60*daySeconds)
			zone.Transitions = append(zone.Transitions,
				Transition{sec, int32(random.IntN(86_400) - 43_200)})
		}
		start, end := zone.Month(Micros(random.Int64N(int64(300 * OneDay))))
		cuts := []Micros{start, end}
		for range random.IntN(5) {
			cuts = append(cuts, start+Micros(random.Int64N(int64(end-start))))
		}
		slices.Sort(cuts)
		sum := decimal.Rat{}
		for i := range len(cuts) - 1 {
			in := lineInput{Zone: zone, Digits: 2,
				Period: lineSpan{
					Prices: []Price{flat}, Start: cuts[i], End: cuts[i+1], FullStart: start, FullEnd: end,
				}}
			for _, l := range rateLines(in) {
				if l.Exact.Sign() < 0 {
					t.Fatalf("seed %d: a part of the month costs %s", seed, l.Exact)
				}
				sum = sum.Add(l.Exact)
			}
		}
		if sum.Cmp(flat.Amount.Rat()) != 0 {
			t.Fatalf("seed %d: the parts of the month sum to %s, want %s", seed, sum, flat.Amount)
		}
	}
}

// TestProrationByLocalDays: days are those of the account's zone, never hours divided by 24.
func TestProrationByLocalDays(t *testing.T) {
	spring := int64(at(2024, 3, 31, 1, 0) / Second)
	autumn := int64(at(2024, 10, 27, 1, 0) / Second)
	berlin := &Zone{Name: "Berlin", Offset: 3600,
		Transitions: []Transition{{spring, 7200}, {autumn, 3600}}}
	flat := Price{Key: "p", Model: Flat, Amount: dec("31"), Prorate: true}
	for _, c := range []struct {
		from, to Micros // UTC
		want     string
	}{
		{at(2024, 9, 30, 22, 0), at(2024, 10, 31, 23, 0), "31.00"},
		{at(2024, 10, 26, 22, 0), at(2024, 10, 27, 23, 0), "1.00"}, // 25 hours
		{at(2024, 10, 26, 21, 59), at(2024, 10, 27, 23, 0), "2.00"},
		{at(2024, 10, 26, 22, 0), at(2024, 10, 27, 22, 59), ""},
		{at(2024, 10, 16, 22, 0), at(2024, 10, 31, 23, 0), "15.00"},
	} {
		start, end := berlin.Month(c.from)
		in := lineInput{Zone: berlin, Digits: 2,
			Period: lineSpan{
				Prices: []Price{flat}, Start: c.from, End: c.to, FullStart: start, FullEnd: end,
			}}
		got := ""
		for _, l := range rateLines(in) {
			got += l.Amount.Text(2)
		}
		if got != c.want {
			t.Errorf("[%d, %d) costs %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

func TestLineKeysDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, price := range []string{"p", "p/model", "p/model=a", "p%2F", "%", "p=", "p/"} {
		for _, group := range []string{"", "model", "model=", "model=a", "model=a/b", "model=a region",
			"model=a/region", "model=a=b", "a=b", "model=%2F", "region model=a", "model=a%2Fregion"} {
			key, what := lineKey(price, groupOf(group)), fmt.Sprintf("%q %q", price, group)
			if other, ok := seen[key]; ok {
				t.Errorf("%s and %s have the same key %q", what, other, key)
			}
			seen[key] = what
		}
	}
	if got := lineKey("output", groupOf("model=large region")); got != "output/model=large/region" {
		t.Errorf("the key of a plain line is %q", got)
	}
}

// BenchmarkRateLines has a plan as in the documents: a flat, a price in tiers, one for each value.
func BenchmarkRateLines(b *testing.B) {
	tiered := Price{Key: "calls", Meter: "calls", Model: Graduated, Tiers: steps, Minimum: ptr("5")}
	in := october([]Price{{Key: "base", Model: Flat, Amount: dec("29"), Advance: true, Prorate: true},
		tiered, unitPrice("tokens", "tokens", "0.002", "model")},
		use(lineCalls, "", 900, "0"), use(lineTokens, "model=a region=eu", 5, "1234.5"),
		use(lineTokens, "model=b region=eu", 5, "77.25"))
	b.ReportAllocs()
	for b.Loop() {
		rateLines(in)
	}
}

package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"billctl/engine/decimal"
)

// TestDaysOf compares each day of a month with an engine that has the rows until its end alone, and
// the last day with the preview. Rows come in any order, some are taken back, and the state is
// restored between.
func TestDaysOf(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 9))
		meters := slices.DeleteFunc(everyMeter(seed%2 == 0), func(m Meter) bool {
			latest := m.Aggregate == Latest && !m.Correctable
			kept := m.Correctable && (m.Aggregate == Least || m.Aggregate == Most)
			return latest || kept || m.Aggregate == Unique || m.Aggregate == Percentile
		})
		rows := randomRows(r, 20+r.IntN(150), 28)
		watermark := Micros(r.IntN(29)) * OneDay
		c := newCounting(meters)
		half := len(rows) / 2
		c.count(r, rows[:half], nil)
		c = c.restored()
		c.count(r, rows[half:], nil)
		if seed%2 == 0 { // all can be taken back
			for range 10 {
				c.takeBack(rows[len(rows)-1])
				rows = rows[:len(rows)-1]
			}
		}
		c.put(0, &Watermark{watermark})
		view := Pin([]*Engine{c.Engine})
		days, ok := view.DaysOf("acme", "main", 0, true)
		if !ok {
			t.Fatalf("seed %d: no days", seed)
		}
		uses := uint64(0)
		for i, d := range days {
			if want := fmt.Sprintf("1970-01-%02d", i+1); d.Date != want {
				t.Fatalf("seed %d: day %d is %s, want %s", seed, i, d.Date, want)
			}
			uses += d.Uses
			if want := soFarThrough(r, meters, rows, Micros(i+1)*OneDay, watermark); d.SoFar != want {
				t.Errorf("seed %d: %s comes to %s, want %s", seed, d.Date, d.SoFar.Text(2), want.Text(2))
			}
		}
		bill, _ := view.Bill("acme")
		if last := days[len(days)-1]; last.SoFar != bill.Open[0].SoFar.Total {
			t.Errorf("seed %d: the last day comes to %s, so far is %s",
				seed, last.SoFar.Text(2), bill.Open[0].SoFar.Total.Text(2))
		}
		want := uint64(0)
		for _, u := range bill.Open[0].Usage {
			want += u.Fold.Rows
		}
		if uses != want {
			t.Errorf("seed %d: the days have %d uses, the period %d", seed, uses, want)
		}
		bare, _ := view.DaysOf("acme", "main", 0, false)
		for i := range bare {
			days[i].SoFar = decimal.Amount{}
		}
		if !slices.Equal(bare, days) {
			t.Errorf("seed %d: without amounts the days are others", seed)
		}
	}
}

// soFarThrough bills the rows before an instant alone.
func soFarThrough(
	r *rand.Rand, meters []Meter, rows []rowOf, until, watermark Micros,
) decimal.Amount {
	c := newCounting(meters)
	c.count(r, slices.DeleteFunc(slices.Clone(rows), func(x rowOf) bool { return x.at >= until }), nil)
	c.put(0, &Watermark{min(until, watermark)})
	bill, _ := Pin([]*Engine{c.Engine}).Bill("acme")
	if bill.Open[0].SoFar == nil {
		return decimal.Amount{}
	}
	return bill.Open[0].SoFar.Total
}

// TestDaysOfNothing says no where there is no such period, and gives the days of one without usage.
func TestDaysOfNothing(t *testing.T) {
	c := newCounting(everyMeter(true))
	c.put(0, &Watermark{3*OneDay + Hour})
	view := Pin([]*Engine{c.Engine})
	for _, tt := range []struct {
		account, subscription string
		start                 Micros
	}{{"other", "main", 0}, {"acme", "other", 0}, {"acme", "main", OneDay}} {
		if _, ok := view.DaysOf(tt.account, tt.subscription, tt.start, true); ok {
			t.Errorf("%v has days", tt)
		}
	}
	days, ok := view.DaysOf("acme", "main", 0, true)
	if !ok || len(days) != 4 || days[3].Date != "1970-01-04" || days[3].Uses != 0 {
		t.Errorf("an empty period has %v, %v", days, ok)
	}
}

// TestShortSums writes sums in few bytes and reads them again.
func TestShortSums(t *testing.T) {
	parse := func(s string) decimal.Sum {
		d, err := decimal.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return decimal.SumOf(d)
	}
	wide := parse("99999999999999999999")
	for range 40 {
		wide.AddSum(wide)
	}
	for _, tt := range []struct {
		sum  decimal.Sum
		size int
	}{
		{parse("0"), 2}, {parse("1"), 2}, {parse("127"), 2}, {parse("-128"), 3}, {parse("0.5"), 4},
		{parse("-0.000001"), 2}, {parse("18446744073709551615"), 11}, {parse("0.0000001"), 25},
		{parse("18446744073709551616"), 25}, {parse("-99999999999999999999"), 25},
		{wide, 25}, {wide.Neg(), 25},
	} {
		b := appendShort(nil, tt.sum)
		r := newReader(b)
		if got := readShort(r); got != tt.sum || r.err != nil || len(r.b) > 0 {
			t.Errorf("%s came back as %s (%v)", tt.sum, got, r.err)
		}
		if len(b) != tt.size {
			t.Errorf("%s takes %d bytes, want %d", tt.sum, len(b), tt.size)
		}
	}
}

// TestMatcher compares the uses that the engine reports of each line's rows with what a matcher
// says.
func TestMatcher(t *testing.T) {
	matched := 0
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 10))
		c := newCounting(everyMeter(seed%2 == 0))
		c.Watch("acme")
		for i := range c.terms[0].prices {
			switch p := &c.terms[0].prices[i]; p.Key {
			case "sum@", "level@", "rated@":
				p.Per = []string{"k"}
			case "avg@", "tags@":
				p.Match = []Match{{Dim: "k", Values: []string{"a", "c"}}}
			}
		}
		rows := randomRows(r, 100, 60)
		b, first := batchOfRows(rows, int(c.Seq())), c.Seq()+1
		c.put(200*OneDay, b)
		view := Pin([]*Engine{c.Engine})
		bill, _ := view.Bill("acme")
		for i := range bill.Open {
			o := &bill.Open[i]
			for j := range o.SoFar.Lines {
				l := &o.SoFar.Lines[j]
				m := view.Matcher("acme", "main", o.Start, LineKey(l.Price, l.Group))
				if (m == nil) != (l.Model == Flat) {
					t.Fatalf("seed %d: line %s has the matcher %v", seed, l.Price, m)
				}
				for row := 0; m != nil && row < len(rows); row++ {
					v, text, ok := m.Match(first+Seq(row), b, row)
					if used := usedBy(c.fx.Uses, m, first+Seq(row), l, v, text); used != ok {
						t.Fatalf("seed %d: row %d counts for %s: %v, the matcher says %v",
							seed, row, LineKey(l.Price, l.Group), used, ok)
					}
					matched += one(ok)
				}
			}
		}
		if m := view.Matcher("acme", "main", 0, "nothing"); m != nil {
			t.Errorf("seed %d: a line that is not there has a matcher", seed)
		}
	}
	if matched == 0 {
		t.Error("nothing matched")
	}
}

// usedBy reports whether uses have a row for a line, with the value and text that go with it.
func usedBy(uses []Use, m *Matcher, seq Seq, l *Line, v decimal.Decimal, text string) bool {
	return slices.ContainsFunc(uses, func(u Use) bool {
		start, _ := m.Span()
		if u.Seq != seq || u.Meter != m.Meter() || u.Start != start {
			return false
		}
		if u.Meter.Aggregate == Count {
			u.Value = decimal.FromInt(1)
		}
		usage := Usage{Meter: u.Meter, Group: u.Group}
		return m.price.covers(&usage) && !slices.ContainsFunc(l.Group, func(g GroupValue) bool {
			return usage.value(g.Dim) != g
		}) && u.Value == v && u.Text == text
	})
}

// TestWholeDays takes days that rise and have the rows of their series, and no others.
func TestWholeDays(t *testing.T) {
	day := func(n Day, rows uint64) dayTally { return dayTally{n, tally{Rows: rows}} }
	for _, tt := range []struct {
		list []dayTally
		rows uint64
		want bool
	}{
		{nil, 0, true}, {nil, 1, false},
		{[]dayTally{day(-3, 1), day(7, 2)}, 3, true},
		{[]dayTally{day(7, 1), day(7, 2)}, 3, false},
		{[]dayTally{day(8, 1), day(7, 2)}, 3, false},
		{[]dayTally{day(7, 0), day(8, 3)}, 3, false},
		{[]dayTally{day(7, 1), day(8, 3)}, 3, false},
		{[]dayTally{day(7, 1), day(8, ^uint64(0))}, 0, false},
	} {
		if got := wholeDays(tt.list, tt.rows); got != tt.want {
			t.Errorf("%v with %d rows: %v", tt.list, tt.rows, got)
		}
	}
}

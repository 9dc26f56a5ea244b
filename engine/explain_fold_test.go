package engine

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"billctl/engine/decimal"
)

// refoldMeters is a meter of each kind of fold.
func refoldMeters() []*Meter {
	var out []*Meter
	for how := Count; how <= Percentile; how++ {
		m := &Meter{Key: fmt.Sprint("m", how), Event: "use", Aggregate: how, Value: "data.v"}
		m.Percent = decimal.FromInt(90)
		out = append(out, m)
		other := *m
		other.Window, other.Of, other.Correctable = Hour, Most, true
		out = append(out, &other)
	}
	return out
}

// randomUses returns uses of one meter, in an order that is not that of time.
func randomUses(r *rand.Rand, m *Meter, n int, each bool) []Use {
	out := make([]Use, n)
	for i := range out {
		u := &out[i]
		u.Seq, u.Meter, u.Each = Seq(i+1), m, each && m.Aggregate <= Total
		u.Time = Micros(r.IntN(40)) * Hour / 2
		switch m.Aggregate {
		case Count:
		case Unique:
			u.Text = fmt.Sprint("t", r.IntN(90))
		default:
			u.Value = decimal.FromInt(int64(r.IntN(300) - 100))
		}
	}
	return out
}

// TestRefold folds hundreds of uses one by one, and in parts that are merged: the folds are equal,
// also where values repeat, and those that are taken back are as if they had not been there.
func TestRefold(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, m := range refoldMeters() {
		for _, n := range []int{1, 63, 64, 65, 700} {
			uses := randomUses(r, m, n, r.IntN(2) == 0)
			var all, first, second Refold
			for i := range uses {
				all.Add(&uses[i])
				if i < n/2 {
					first.Add(&uses[i])
				} else {
					second.Add(&uses[i])
				}
			}
			got, one, two := all.Usage(), first.Usage(), second.Usage()
			merged := two
			merged.Fold = Fold{}
			merged.Fold.Merge(m, two.Each, one.Fold)
			merged.Fold.Merge(m, two.Each, two.Fold)
			if !reflect.DeepEqual(got, merged) {
				t.Fatalf("%s of %d: one by one %+v, in parts %+v", m.Key, n, got, merged)
			}
			if parts := FoldOf(m, []Usage{one, two}); !reflect.DeepEqual(parts, got.Fold) {
				t.Fatalf("%s of %d: FoldOf gives %+v, want %+v", m.Key, n, parts, got.Fold)
			}
			log := append([]Use{}, uses...)
			for _, u := range uses[n/2:] {
				u.Back, u.Seq = u.Seq, u.Seq+Seq(n)
				log = append(log, u)
			}
			var want []Usage
			if n/2 > 0 {
				want = []Usage{one}
			}
			if left := UsageOf(log); len(left)+len(want) > 0 && !reflect.DeepEqual(left, want) {
				t.Fatalf("%s of %d: after all was taken back %+v, want %+v", m.Key, n, left, want)
			}
		}
	}
}

// TestLevelsAddUp sums up the levels of random folds: they are what Level integrates.
func TestLevelsAddUp(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	m := &Meter{Key: "level", Aggregate: TimeWeighted, Per: Hour}
	for range 300 {
		var fold Refold
		for _, u := range randomUses(r, m, 1+r.IntN(8), false) {
			fold.Add(&u)
		}
		f := fold.Usage().Fold
		if r.IntN(2) == 0 {
			f.Carried = &Sample{Value: decimal.SumOf(decimal.FromInt(7)), Rows: 1}
		}
		const end = 15 * Hour
		var area decimal.Rat
		last := Micros(0)
		for _, s := range f.Levels(0, end) {
			if s.From < last || s.To <= s.From || s.To > end || s.Level.IsZero() {
				t.Fatalf("level %+v of %+v", s, f)
			}
			last = s.To
			area = area.Add(s.Level.Rat().Mul(decimal.Int(int64(s.To - s.From))))
		}
		got := area.Quo(decimal.Int(int64(Hour)))
		if want := f.Level(m, 0, end, 0, end); got.Cmp(want) != 0 {
			t.Fatalf("the levels of %+v come to %v, want %v", f, got, want)
		}
	}
}

// TestFirstEvents adds up what single events pay: it is what the price comes to.
func TestFirstEvents(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	m := &Meter{Key: "paid", Aggregate: Total}
	least, most := decimal.FromInt(2), decimal.FromInt(9)
	for range 200 {
		p := Price{
			Model: Percentage, Rate: decimal.FromInt(10), Fixed: decimal.FromInt(1), MinEach: &least,
			MaxEach: &most, FreeEvents: int64(r.IntN(4)), FreeAmount: decimal.FromInt(int64(r.IntN(3) * 90)),
		}
		var fold Refold
		n := 1 + r.IntN(15)
		for _, u := range randomUses(r, m, n, true) {
			fold.Add(&u)
		}
		samples := fold.Usage().Fold.Samples
		var paid, cost decimal.Rat
		list := p.FirstEvents(samples, n)
		for i := range list {
			paid, cost = paid.Add(list[i].Paid), cost.Add(list[i].Cost)
		}
		want := p.percentage(samples)
		if len(list) != n || paid.Cmp(want.billable) != 0 || cost.Cmp(want.exact) != 0 {
			t.Fatalf("%d of %d events pay %v for %v, want %v for %v", len(list), n, cost, paid,
				want.exact, want.billable)
		}
		if some := p.FirstEvents(samples, n-1); len(some) != n-1 {
			t.Fatalf("%d events, want %d", len(some), n-1)
		}
	}
}

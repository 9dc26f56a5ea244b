package live

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
)

// writeMetered makes a state directory of a case of ruleset 2, with marks between its entries.
func writeMetered(seed uint64, has fixtures.Features, r *rand.Rand) (*written, error) {
	c, _ := fixtures.MeteredCase(seed, has)
	entries, _, err := c.Journal(2, func(rows int) int { return 1 + r.IntN(rows) })
	if err != nil {
		return nil, err
	}
	return writeEntries(entries, func(*engine.View, *engine.Entry) engine.Body {
		if r.IntN(6) == 0 {
			return &engine.Mark{}
		}
		return nil
	})
}

// TestExplainMetered explains every invoice of random logs with all aggregations, models,
// intervals, trials, coupons, taxes, credits and corrections: everything reconciles, from a state
// and from an archive, and every line has its events.
func TestExplainMetered(t *testing.T) {
	figures := map[string]int{}
	eachSeed(t, 44, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1ad))
		w, err := writeMetered(seed, fixtures.AllFeatures, r)
		if err != nil || len(w.keys) == 0 {
			return err
		}
		x, err := w.explainAll(t, ExplainOptions{Shards: 1 + r.IntN(3)})
		if err != nil {
			return err
		}
		for i := range x.Documents {
			if err := tallyMetered(&x.Documents[i], figures); err != nil {
				return err
			}
		}
		return nil
	})
	t.Log(figures)
	for _, what := range []string{
		"aggregate 1", "aggregate 2", "aggregate 3", "aggregate 4", "aggregate 5", "aggregate 6",
		"aggregate 7", "aggregate 8", "aggregate 9", "model 1", "model 2", "model 3", "model 4",
		"model 5", "model 6", "model 7", "model 8", "model 9", "matrix", "carried", "taken back",
		"amended", "coupon", "coupon of lines", "credit", "tax", "trial", "commitment", "off",
		"adjustment",
	} {
		if figures[what] == 0 {
			t.Errorf("no %s in any case", what)
		}
	}
}

// tallyMetered counts what a document has, and checks its lines by arithmetic of its own.
func tallyMetered(d *ExplainedDocument, figures map[string]int) error {
	count := func(what string, n int) { figures[what] += n }
	inv := d.Invoice
	if n := len(inv.Lines) + len(inv.Adjustments); len(d.Lines) != n || !d.Outbox {
		return fmt.Errorf("%s: %d lines are explained, want %d", d.Key, len(d.Lines), n)
	}
	count("document", 1)
	count("coupon", len(inv.Coupons))
	count("credit", len(inv.Credits))
	count("tax", len(inv.Taxes))
	for i := range d.Lines {
		l := &d.Lines[i]
		if err := checkEvents(l); err != nil {
			return fmt.Errorf("%s#%s: %w", d.Key, l.Key, err)
		}
		count(fmt.Sprint("model ", l.Line.Model), 1)
		count("taken back", l.BackCount)
		count("coupon of lines", len(l.Line.Coupons))
		count("trial", one(l.Line.Trial))
		count("off", one(!l.Line.Off.IsZero()))
		count("matrix", one(l.Price.Matrix != nil))
		count("commitment", one(l.Line.Bound == engine.ByCommitment))
		count("adjustment", one(l.Adjustment != nil))
		for j := range l.Usage {
			count("carried", one(l.Usage[j].Fold.Carried != nil))
		}
		for j := range l.Events {
			count("amended", one(l.Events[j].Amends != nil))
		}
		if l.Meter != nil && l.Line.Model != 0 {
			count(fmt.Sprint("aggregate ", l.Meter.Aggregate), 1)
		}
	}
	return nil
}

// checkEvents folds the events of a line again, where that takes no more than a few lines.
func checkEvents(l *ExplainedLine) error {
	if len(l.Events) != l.Count || len(l.Back) != l.BackCount {
		return fmt.Errorf("%d events and %d back, says %d and %d", len(l.Events), len(l.Back), l.Count,
			l.BackCount)
	}
	if l.Meter == nil || l.Line.Model == 0 {
		return nil
	}
	gone := map[engine.Seq]bool{}
	for i := range l.Back {
		gone[l.Back[i].Seq] = true
	}
	var sum, area decimal.Rat
	texts := map[string]bool{}
	for i := range l.Events {
		e := &l.Events[i]
		sum = sum.Add(e.Value.Rat())
		texts[e.Text] = true
		if gone[e.Seq] || e.Amends != nil && e.Amends.By != e.Seq || i > 0 && l.Events[i-1].Seq > e.Seq {
			return fmt.Errorf("event %d is out of order or does not count", e.Seq)
		}
	}
	want := l.Line.Quantity
	switch l.Meter.Aggregate {
	case engine.Count:
		sum = decimal.Int(int64(l.Count))
	case engine.Total:
	case engine.Average:
		if l.Count > 0 {
			sum = sum.Quo(decimal.Int(int64(l.Count)))
		}
	case engine.Unique:
		sum = decimal.Int(int64(len(texts)))
	case engine.TimeWeighted:
		for i := range l.Usage {
			for _, s := range l.Usage[i].Fold.Levels(l.Terms.Start, l.Terms.End) {
				area = area.Add(s.Level.Rat().Mul(decimal.Int(int64(s.To - s.From))))
			}
		}
		per := l.Meter.Per
		if per == 0 {
			per = l.Terms.FullEnd - l.Terms.FullStart
		}
		sum = area.Quo(decimal.Int(int64(per)))
	default:
		return nil
	}
	if sum.Cmp(want) != 0 {
		return fmt.Errorf("%d events come to %v, not %v", l.Count, sum, want)
	}
	return nil
}

// TestExplainMeteredAlone explains every invoice by itself, from an opening where one is early
// enough, and from an archive: as in one replay of the state.
func TestExplainMeteredAlone(t *testing.T) {
	from, archived := 0, 0
	eachSeed(t, 7, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1ae))
		w, err := writeMetered(seed, fixtures.AllFeatures, r)
		if err != nil || len(w.keys) == 0 {
			return err
		}
		all, err := w.explainAll(t, ExplainOptions{})
		if err != nil {
			return err
		}
		h, err := OpenHistory(w.dir)
		if err != nil {
			return err
		}
		archive, err := w.archive(t)
		if err != nil {
			return err
		}
		copied, err := Explain(t.Context(), archive, ExplainOptions{Keys: w.keys})
		if err != nil {
			return err
		}
		for i, key := range w.keys {
			alone, err := Explain(t.Context(), h, ExplainOptions{Keys: []string{key}})
			if err != nil {
				return err
			}
			from += one(alone.Opening != nil)
			want := answerText(&all.Documents[i])
			if got := answerText(&alone.Documents[0]); got != want {
				return fmt.Errorf("%s alone is\n%s\nwant\n%s", key, got, want)
			}
			a, b := map[string]int{}, map[string]int{}
			copied.Documents[i].Outbox = true
			if err := tallyMetered(&copied.Documents[i], a); err != nil {
				return err
			}
			if err := tallyMetered(&all.Documents[i], b); err != nil {
				return err
			}
			archived += a["taken back"]
			if !maps.Equal(a, b) {
				return fmt.Errorf("%s of the archive has %v, want %v", key, a, b)
			}
		}
		return nil
	})
	t.Logf("%d documents from an opening, %d corrections in archives", from, archived)
	if from == 0 || archived == 0 {
		t.Error("nothing was explained from an opening, or no correction from an archive")
	}
}

// meteredFaults change what a replay sees of aggregations, corrections and sums.
func meteredFaults() map[string]func(*explaining, *engine.Invoice) bool {
	row := func(how engine.Aggregate, change func(*explaining, *usedRow)) func(
		*explaining, *engine.Invoice) bool {
		return func(x *explaining, inv *engine.Invoice) bool {
			p := periodOf(x, inv)
			for i := range p.rows {
				r := &p.rows[i]
				if r.series >= 0 && p.series[r.series].Meter.Aggregate == how {
					change(x, r)
					return true
				}
			}
			return false
		}
	}
	other := func(_ *explaining, r *usedRow) { r.value = decimal.FromInt(987654321) }
	return map[string]func(*explaining, *engine.Invoice) bool{
		"a value of an average":   row(engine.Average, other),
		"a value of a percentile": row(engine.Percentile, other),
		"a value of a level":      row(engine.TimeWeighted, other),
		"a text of unique": row(engine.Unique, func(x *explaining, r *usedRow) {
			r.text = x.intern("?")
		}),
		"the time of a level": row(engine.TimeWeighted, func(_ *explaining, r *usedRow) { r.time++ }),
		"a level from before": func(x *explaining, inv *engine.Invoice) bool {
			for i := range inv.Lines {
				l := &inv.Lines[i]
				if m := x.view.Meter(l.Meter); m != nil && m.Aggregate == engine.TimeWeighted {
					l.Quantity = l.Quantity.Add(decimal.Int(1))
					return true
				}
			}
			return false
		},
		"a correction is lost": func(x *explaining, inv *engine.Invoice) bool {
			p := periodOf(x, inv)
			for i := range p.back {
				for j := range p.rows {
					if p.rows[j].seq == p.back[i].of && p.rows[j].series < 0 {
						p.rows[j].series = p.back[i].series
						return true
					}
				}
			}
			return false
		},
		"a coupon": func(_ *explaining, inv *engine.Invoice) bool {
			inv.Coupons = append(inv.Coupons, engine.CouponUse{ID: "other"})
			return true
		},
		"a tax": func(_ *explaining, inv *engine.Invoice) bool {
			if len(inv.Taxes) == 0 {
				return false
			}
			inv.Taxes = append([]engine.TaxUse{}, inv.Taxes...)
			inv.Taxes[0].Base = inv.Taxes[0].Base.Add(decimal.AmountOf(1))
			return true
		},
		"a trial": func(_ *explaining, inv *engine.Invoice) bool {
			if len(inv.Lines) == 0 {
				return false
			}
			inv.Lines[0].Trial = !inv.Lines[0].Trial
			return true
		},
	}
}

// TestExplainMeteredFaults changes what a replay sees, and none of it reconciles.
func TestExplainMeteredFaults(t *testing.T) {
	faults, found := meteredFaults(), map[string]int{}
	eachSeed(t, 9, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1af))
		w, err := writeMetered(seed, fixtures.AllFeatures, r)
		if err != nil {
			return err
		}
		for name, plant := range faults {
			if found[name] > 1 {
				continue
			}
			planted, err := w.explainWith(t, plant)
			var e *UnreconciledError
			if planted && !errors.As(err, &e) {
				return fmt.Errorf("%s: %v", name, err)
			}
			found[name] += one(planted)
		}
		return nil
	})
	t.Log(found)
	for name := range faults {
		if found[name] == 0 {
			t.Errorf("%s: never planted", name)
		}
	}
}

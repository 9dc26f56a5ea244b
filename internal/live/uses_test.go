package live

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
)

// usesOf applies a state's journal from the first entry on, and returns what counted for each
// period of the accounts, and not any more.
func usesOf(dir *History, accounts []string) (map[periodID][]engine.Use, error) {
	shards := NewShards(1)
	shards.Watch(accounts)
	out := map[periodID][]engine.Use{}
	r := dir.Read(1)
	defer r.Close() // read only
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		err = shards.Apply(e, func(fx *engine.Effects) error {
			for _, u := range fx.Uses {
				id := periodID{subscriptionID{u.Account, u.Subscription}, u.Start}
				out[id] = append(out[id], u)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
}

// lineUses returns the uses that a line of a price is rated by.
func lineUses(uses []engine.Use, price *engine.Price, l *engine.Line) []engine.Use {
	dims := slices.Clone(l.Group)
	for i := range dims {
		dims[i] = engine.GroupValue{Dim: dims[i].Dim, Absent: true}
	}
	var out []engine.Use
	for _, u := range engine.Counting(uses) {
		if price.Covers(&engine.Usage{Meter: u.Meter, Group: u.Group}) &&
			slices.Equal(valuesOf(u.Group, dims), l.Group) {
			out = append(out, u)
		}
	}
	slices.SortStableFunc(out, func(a, b engine.Use) int { return cmp.Compare(b.Seq, a.Seq) })
	return out
}

// usedText is the value of a use as an answer has it.
func usedText(u *engine.Use) string {
	switch u.Meter.Aggregate {
	case engine.Count:
		return "1"
	case engine.Unique:
		return u.Text
	}
	return u.Value.String()
}

// checkLineUses compares what a desk says of a line with what the engine counted, and pages of it
// with all of it.
func checkLineUses(
	t *testing.T, r *rand.Rand, d *Desk, f UseFilter, want []engine.Use,
) (corrected int, err error) {
	all, more, err := d.Uses(t.Context(), d.view, f)
	if err != nil || more {
		return 0, fmt.Errorf("all: more %v, %w", more, err)
	}
	var got []*Use
	for i := range all {
		if all[i].Counts() {
			got = append(got, &all[i])
		}
		if i > 0 && all[i].Seq >= all[i-1].Seq {
			return 0, fmt.Errorf("position %d comes behind %d", all[i].Seq, all[i-1].Seq)
		}
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i == len(got):
			return 0, fmt.Errorf("the use of position %d is not there", want[i].Seq)
		case i == len(want) || got[i].Seq != want[i].Seq || got[i].Time != want[i].Time:
			return 0, fmt.Errorf("position %d of %s does not count, or not so", got[i].Seq, got[i].Time)
		case got[i].Value != usedText(&want[i]):
			return 0, fmt.Errorf("position %d has the value %s, want %s", got[i].Seq, got[i].Value,
				usedText(&want[i]))
		}
	}
	seqs := func(list []Use) (out []engine.Seq) {
		for i := range list {
			out = append(out, list[i].Seq)
		}
		return out
	}
	var paged []Use
	for more := true; more; {
		f.Limit = 1 + r.IntN(1+len(all))
		var page []Use
		if page, more, err = d.Uses(t.Context(), d.view, f); err != nil {
			return 0, err
		}
		if paged = append(paged, page...); more {
			f.Before = page[len(page)-1].Seq
		}
	}
	if !slices.Equal(seqs(paged), seqs(all)) {
		return 0, fmt.Errorf("pages have %v, want %v", seqs(paged), seqs(all))
	}
	return len(all) - len(got), nil
}

// TestUses asks for the events of every line of random logs, of open periods and of closed ones,
// and compares them with what the engine counted: with all aggregations, groups, models, late rows,
// corrections and ends of subscriptions.
func TestUses(t *testing.T) {
	figures := map[string]int{}
	eachSeed(t, 16, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x5e5))
		w, err := writeMetered(seed, fixtures.AllFeatures, r)
		if err != nil {
			return err
		}
		d, err := ReadDesk(w.dir)
		if err != nil {
			return err
		}
		defer d.Close() // read only
		v := d.view
		accounts := v.AccountIDs("")
		used, err := usesOf(journalOf(w.dir), accounts)
		if err != nil {
			return err
		}
		for id, uses := range used {
			usage := v.Usage(id.account, id.key, id.start)
			terms, ok := v.Terms(id.account, id.key, id.start)
			if !ok || len(usage) == 0 {
				figures["forgotten"]++
				continue
			}
			lines := v.Rate(id.account, id.key, id.start, usage)
			for i := range lines {
				l := &lines[i]
				at := slices.IndexFunc(terms.Prices, func(p engine.Price) bool { return p.Key == l.Price })
				f := UseFilter{
					Account: id.account, Subscription: id.key, Start: id.start,
					Line: engine.LineKey(l.Price, l.Group),
				}
				if at < 0 || terms.Prices[at].Meter == "" {
					if _, _, err := d.Uses(t.Context(), v, f); !errors.Is(err, ErrNoLine) {
						return fmt.Errorf("%+v: %w", f, err)
					}
					continue
				}
				price := &terms.Prices[at]
				want := lineUses(uses, price, l)
				n, err := checkLineUses(t, r, d, f, want)
				if err != nil {
					return fmt.Errorf("%+v: %w", f, err)
				}
				figures["line"]++
				figures["use"] += len(want)
				figures["corrected"] += n
				figures["matrix"] += one(price.Matrix != nil)
				figures[fmt.Sprint("aggregate ", v.Meter(price.Meter).Aggregate)]++
				figures["group"] += one(len(l.Group) > 0)
			}
		}
		return nil
	})
	t.Log(figures)
	for _, what := range []string{
		"use", "corrected", "matrix", "group", "aggregate 1", "aggregate 2", "aggregate 3",
		"aggregate 4", "aggregate 5", "aggregate 6", "aggregate 7", "aggregate 8", "aggregate 9",
	} {
		if figures[what] == 0 {
			t.Errorf("no %s in any case", what)
		}
	}
}

package live

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"billctl/engine"
	"billctl/formats"
)

var (
	lawSeeds = flag.Int("law.seeds", 0, "random logs of each law; 0: as many as take some seconds")
	lawFirst = flag.Uint64("law.first", 1, "the seed of the first")
	lawTimes = flag.Int("law.times", 1, "times as many of each as usual")
)

// eachSeed calls f with n seeds, or as many as the command line says. n is what a run of all tests
// has the time for; `make laws` takes many times as many.
func eachSeed(t *testing.T, n int, f func(seed uint64) error) {
	t.Helper()
	n *= *lawTimes
	if *lawSeeds > 0 {
		n = *lawSeeds
	}
	for i := range n {
		seed := *lawFirst + uint64(i)
		if err := f(seed); err != nil {
			t.Fatalf("seed %d: %v\nrepeat with: go test ./internal/live -run '%s$' -law.seeds 1 "+
				"-law.first %d", seed, err, t.Name(), seed)
		}
	}
}

// half is n, and half of it under the race detector, which finds no more in more logs.
func half(n int) int {
	if raced {
		return n / 2
	}
	return n
}

// fold is a state and everything that it said.
type fold struct {
	shards *Shards
	keys   []engine.Key // of all checkpoints so far
	said   []string     // an effect each, in order
	bills  []*engine.Invoice

	alerts    []engine.Alert
	rejected  int
	takenBack int // rows, by corrections without a new version
}

func newFold(n int) *fold { return &fold{shards: NewShards(n)} }

// apply folds an entry that went through its bytes.
func (f *fold) apply(e *engine.Entry) error {
	e, err := engine.DecodeEntry(engine.AppendEntry(nil, e))
	if err != nil {
		return err
	}
	v, correction := e.Body.(*engine.Void)
	if correction && v.Amend == nil {
		f.takenBack++
	}
	return f.shards.Apply(e, func(fx *engine.Effects) error {
		if correction && v.Amend == nil {
			f.takenBack -= len(fx.Rejections)
		}
		f.alerts = append(f.alerts, fx.Alerts...)
		f.rejected += len(fx.Rejections)
		for _, r := range fx.Rejections {
			f.said = append(f.said, fmt.Sprint(r.Seq, " ", r.Reason))
		}
		for _, r := range fx.Refusals {
			f.said = append(f.said, fmt.Sprint(r.Seq, " ", r.What))
		}
		for _, a := range fx.Alerts {
			f.said = append(f.said, fmt.Sprintf("%+v", a))
		}
		for _, inv := range fx.Invoices {
			f.said = append(f.said, fmt.Sprintf("%d %s", e.Seq, formats.AppendInvoice(nil, inv)))
			f.bills = append(f.bills, inv)
		}
		return nil
	})
}

// restore brings the state through the bytes of a checkpoint into another number of shards.
func (f *fold) restore(n int) error {
	v := f.shards.Pin()
	var state bytes.Buffer
	if err := writeState(&state, v); err != nil {
		return err
	}
	for _, list := range f.shards.drain() {
		f.keys = append(f.keys, list...)
	}
	if floor := v.Standing().Floor; floor > engine.MinTime {
		f.keys = slices.DeleteFunc(f.keys, func(k engine.Key) bool {
			return k.Day < engine.DayOf(floor)
		})
	}
	f.shards = NewShards(n)
	if err := f.shards.readState(bufio.NewReader(&state)); err != nil {
		return err
	}
	return f.shards.loadKeys(f.keys)
}

// digests returns both digests of the state.
func (f *fold) digests() (d [2]engine.Digest) {
	d[0], d[1] = engine.NewDigester().Digests(f.shards.Pin(), engine.AllBuckets())
	return d
}

// lawJournal returns a journal: every fourth one of a simulated process, the others of a random
// case of either ruleset with marks, credits and budgets in between.
func lawJournal(seed uint64, r *rand.Rand) ([]*engine.Entry, error) {
	if seed%4 == 0 {
		m, err := newMachine(seed, false)
		if err != nil {
			return nil, err
		}
		if err := m.play(); err != nil {
			return nil, err
		}
		return m.final.entries, nil
	}
	c := lawCase(seed)
	entries, err := lawEntries(c, func(rows int) int { return 1 + r.IntN(rows) })
	if err != nil {
		return nil, err
	}
	return withGrants(c, entries, r), nil
}

// TestSameJournalSameBytes is the first law: the effects and digests of a journal depend on nothing
// but the journal: not on processors, shards, or where a process ended and was restored.
func TestSameJournalSameBytes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	cases, effects := 0, 0
	eachSeed(t, half(12), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a1))
		entries, err := lawJournal(seed, r)
		if err != nil {
			return err
		}
		runtime.GOMAXPROCS(1)
		want := newFold(1)
		for _, e := range entries {
			if err := want.apply(e); err != nil {
				return err
			}
		}
		digests := want.digests()
		effects += len(want.said)
		for _, procs := range []int{1, 2, 8} {
			runtime.GOMAXPROCS(procs)
			for _, shards := range []int{1, 2, 4, 7} {
				kill := r.IntN(2 * len(entries)) // half of them never
				got, err := foldWithKill(entries, shards, kill)
				if err != nil {
					return err
				}
				what := fmt.Sprintf("%d processors, %d shards, restored before entry %d of %d",
					procs, shards, kill, len(entries))
				if err := firstDifference("effect", got.said, want.said); err != nil {
					return fmt.Errorf("%s: %w", what, err)
				}
				if got.digests() != digests {
					return fmt.Errorf("%s: the digests differ", what)
				}
				cases++
			}
		}
		return nil
	})
	t.Logf("%d replays, %d effects in a journal on average", cases, effects*12/max(cases, 1))
}

// foldWithKill applies entries; before one of them the state is restored, into other shards.
func foldWithKill(entries []*engine.Entry, shards, kill int) (*fold, error) {
	f := newFold(shards)
	for i, e := range entries {
		if i == kill || i == kill+3 {
			if err := f.restore(1 + (shards+i)%7); err != nil {
				return nil, err
			}
		}
		if err := f.apply(e); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// TestEveryKillPoint restores before every single entry.
func TestEveryKillPoint(t *testing.T) {
	cases := 0
	eachSeed(t, half(10), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a2))
		entries, err := lawJournal(seed, r)
		if err != nil {
			return err
		}
		want, got := newFold(1), newFold(1)
		for i, e := range entries {
			if err := errors.Join(want.apply(e), got.restore(1+r.IntN(7)), got.apply(e)); err != nil {
				return err
			}
			if sumOf(got.shards.Pin()) != sumOf(want.shards.Pin()) {
				return fmt.Errorf("restored before entry %d the state differs", i)
			}
			cases++
		}
		if got.digests() != want.digests() {
			return errors.New("the digests differ")
		}
		return firstDifference("effect", got.said, want.said)
	})
	t.Logf("%d restores", cases)
}

// TestPreviewIsFinal is the third law: what the view right before a close calls the invoice, if the
// period closed now, is the invoice to the byte.
func TestPreviewIsFinal(t *testing.T) {
	invoices, adjusted, credited, unseen := 0, 0, 0, 0
	eachSeed(t, half(300), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a3))
		c := lawCase(seed)
		entries, err := lawEntries(c, func(rows int) int { return 1 + r.IntN(rows) })
		if err != nil {
			return err
		}
		f := newFold(1 + r.IntN(3))
		for _, e := range withGrants(c, entries, r) {
			v, before := f.shards.Pin(), len(f.bills)
			if err := f.apply(e); err != nil {
				return err
			}
			// Documents that no view shows yet, of one entry with others, use up credits as well.
			spent := map[string]bool{}
			for _, inv := range f.bills[before:] {
				preview, ok := previewOf(v, inv)
				if !ok || spent[inv.Account] {
					unseen++
					spent[inv.Account] = spent[inv.Account] || len(inv.Credits) > 0
					continue
				}
				got, want := formats.AppendInvoice(nil, preview), formats.AppendInvoice(nil, inv)
				if !bytes.Equal(got, want) {
					return fmt.Errorf("entry %d issues %s\nits preview was %s", e.Seq, want, got)
				}
				invoices++
				adjusted += len(inv.Adjustments)
				credited += len(inv.Credits)
			}
		}
		return nil
	})
	t.Logf("%d invoices equal their previews, with %d adjustments and %d uses of credits; "+
		"%d documents had no preview", invoices, adjusted, credited, unseen)
}

// previewOf returns what a view calls the invoice of a period if it closed now; false if the view
// does not show the period.
func previewOf(v *engine.View, inv *engine.Invoice) (*engine.Invoice, bool) {
	bill, ok := v.Bill(inv.Account)
	if !ok || inv.Kind != engine.PeriodInvoice {
		return nil, false
	}
	for _, o := range bill.Open {
		if o.Subscription == inv.Subscription && o.Start == inv.Start {
			return o.IfClosedNow, o.IfClosedNow != nil
		}
	}
	return nil, false
}

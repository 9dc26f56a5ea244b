package engine_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"billctl/engine"
)

// TestUsesExplainUsage watches every account of random logs: the uses of each open period, folded
// again, are its usage, and rated again they are the lines of its preview.
func TestUsesExplainUsage(t *testing.T) {
	periods, uses := 0, 0
	for seed := *firstSeed; seed < *firstSeed+uint64(min(*seeds, 300)); seed++ {
		entries, err := randomLog(seed, func(rows int) int { return rows })
		if err != nil {
			t.Fatal(err)
		}
		all := watched(entries)
		e := engine.New(0, 1, newMapKeys())
		e.Watch(all...)
		of := map[string][]engine.Use{}
		for _, entry := range entries {
			var fx engine.Effects
			for more := e.Apply(entry, &fx); more; {
				more = e.Resume(&fx)
			}
			for _, u := range fx.Uses {
				of[periodName(u.Account, u.Subscription, u.Start)] = append(
					of[periodName(u.Account, u.Subscription, u.Start)], u)
				uses++
			}
		}
		v := engine.Pin([]*engine.Engine{e})
		for _, id := range v.AccountIDs("") {
			bill, _ := v.Bill(id)
			for i := range bill.Open {
				o := &bill.Open[i]
				periods++
				counted := engine.UsageOf(of[periodName(id, o.Subscription, o.Start)])
				got := engine.Carry(counted, o.Usage)
				if !sameUsage(got, o.Usage) {
					t.Fatalf("-seed %d: %s %s: uses fold to %v, the usage is %v", seed, id, o.StartDate,
						got, o.Usage)
				}
				checkRate(t, seed, v, id, o, got)
			}
		}
	}
	if periods == 0 || uses == 0 {
		t.Fatalf("%d periods and %d uses: nothing was compared", periods, uses)
	}
	t.Logf("%d open periods, %d uses", periods, uses)
}

// watched returns the ids of all accounts that the log names.
func watched(entries []*engine.Entry) (ids []string) {
	for _, e := range entries {
		switch b := e.Body.(type) {
		case *engine.Change:
			for i := range b.Accounts {
				ids = append(ids, b.Accounts[i].ID)
			}
		case *engine.Batch:
			ids = append(ids, b.Subject.Values...) // a default opens accounts of these names
		}
	}
	return ids
}

func periodName(account, sub string, start engine.Micros) string {
	return fmt.Sprintf("%q %q %d", account, sub, start)
}

func sameUsage(a, b []engine.Usage) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Meter.Key != b[i].Meter.Key || !reflect.DeepEqual(a[i].Fold, b[i].Fold) ||
			engine.LineKey("", a[i].Group) != engine.LineKey("", b[i].Group) {
			return false
		}
	}
	return true
}

// checkRate compares the lines of the usage with those of the preview.
func checkRate(
	t *testing.T, seed uint64, v *engine.View, id string, o *engine.OpenPeriod, usage []engine.Usage,
) {
	t.Helper()
	if o.IfClosedNow == nil {
		return
	}
	terms, ok := v.Terms(id, o.Subscription, o.Start)
	if !ok || terms.Start != o.Start || terms.End != o.End {
		t.Fatalf("-seed %d: %s: terms of [%d, %d), want [%d, %d)", seed, id, terms.Start, terms.End,
			o.Start, o.End)
	}
	rated := map[string]engine.Line{}
	for _, l := range v.Rate(id, o.Subscription, o.Start, usage) {
		rated[engine.LineKey(l.Price, l.Group)] = l
	}
	for _, l := range o.IfClosedNow.Lines {
		if l.Meter == "" {
			continue
		}
		if got := rated[engine.LineKey(l.Price, l.Group)]; !reflect.DeepEqual(got.Exact.String(),
			l.Exact.String()) || got.Amount != l.Amount {
			t.Fatalf("-seed %d: %s: %s is rated %s, the preview says %s", seed, id, l.Price,
				got.Exact.String(), l.Exact.String())
		}
	}
}

// TestWatchingChangesNothing compares the state of a watched engine with that of another.
func TestWatchingChangesNothing(t *testing.T) {
	entries, err := randomLog(*firstSeed, func(rows int) int { return rows })
	if err != nil {
		t.Fatal(err)
	}
	var states [2][]byte
	for i := range states {
		e := engine.New(0, 1, newMapKeys())
		if i == 1 {
			e.Watch(watched(entries)...)
		}
		var fx engine.Effects
		for _, entry := range entries {
			for more := e.Apply(entry, &fx); more; {
				more = e.Resume(&fx)
			}
		}
		v := engine.Pin([]*engine.Engine{e})
		states[i] = v.AppendGlobals(nil)
		err := v.EachAccount(func(b []byte) error { states[i] = append(states[i], b...); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(states[0], states[1]) {
		t.Error("watching changes the state")
	}
}

package live

import (
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
)

// told is what Options.Refused was told.
type told struct{ name, why string }

// TestControlFiles puts control files that build on each other: each is seen at once by the next.
// Of one that is refused nothing counts, whatever of it would have been good, and it is told once.
func TestControlFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := func(from engine.Micros) engine.AccountChange {
			return engine.AccountChange{ID: "b", Zone: "UTC", Subscriptions: []engine.Subscription{
				{Key: "main", Plan: "plan", From: from, To: engine.Future},
			}}
		}
		gift := &engine.Credit{ID: "gift", Account: "a", Currency: "EUR"}
		gift.Amount, _ = decimal.ParseAmount("1.00", 2)
		bad := EncodeControl(gift, &engine.Change{
			Meters: []engine.Meter{{Key: "good", Event: "good", Aggregate: engine.Count}},
			Accounts: []engine.AccountChange{sub(utc(2026, 1, 1)), {
				ID: "thief", Zone: "UTC", Attach: []engine.Ownership{
					{Subject: "a", Account: "thief", From: utc(2026, 3, 1), To: engine.Future},
				},
			}},
		})
		var list []told
		clock := newBubbleClock(utc(2026, 1, 10))
		p, err := plainRun(fixtures.NewSimFS(), plainControl("a"), func(o *Options) {
			o.Clock = clock
			o.Refused = func(name, why string) { list = append(list, told{name, why}) }
		})
		if err != nil {
			t.Fatal(err)
		}
		put := func(payloads ...[]byte) (name string, v *engine.View) {
			for _, b := range payloads {
				if name, _, err = p.dir.PutControl(b); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * controlPoll)
			synctest.Wait()
			if v, err = p.View(t.Context()); err != nil {
				t.Fatal(err)
			}
			return name, v
		}
		name, v := put(bad)
		_, thief := v.Account("thief")
		_, b := v.Account("b")
		a, _ := v.Account("a")
		if thief || b || len(a.Credits) > 0 || v.Meter("good") != nil {
			t.Errorf("of a refused file something counts: %v %v %v", thief, b, a.Credits)
		}
		why, ok := p.Refused(name)
		if len(list) != 1 || list[0] != (told{name, why}) || !ok || why == "" {
			t.Errorf("told %v; %q, %v", list, why, ok)
		}
		if name, v = put(EncodeControl(&engine.Change{
			Accounts: []engine.AccountChange{sub(utc(2026, 1, 1))},
		})); len(list) != 1 {
			t.Errorf("%s is refused: %v", name, list)
		}
		if _, b := v.Account("b"); !b {
			t.Error("the second file does not count")
		}
		if name, _ = put(EncodeControl(&engine.Change{
			Accounts: []engine.AccountChange{sub(utc(2026, 2, 1))},
		})); len(list) != 2 || list[1].name != name {
			t.Errorf("a subscription that overlaps the one of the file before: %v", list)
		}
		// Two that wait together, in whatever order they are taken.
		owner := func(id string) []byte {
			return EncodeControl(&engine.Change{Accounts: []engine.AccountChange{{
				ID: id, Zone: "UTC", Attach: []engine.Ownership{
					{Subject: "new", Account: id, From: engine.Past, To: engine.Future},
				},
			}}})
		}
		_, v = put(owner("c"), owner("d"))
		if owners, _ := v.Subject("new"); len(owners) != 1 || len(list) != 3 {
			t.Errorf("two files give one subject away: owners %v, refused %v", owners, list)
		}
		if names, err := p.dir.Controls(); err != nil || len(names) > 0 {
			t.Errorf("%v are left: %v", names, err)
		}
		entries, err := p.stop()
		if n := countOf[*engine.Change](entries); err != nil || n != 3 {
			t.Errorf("%d changes are journaled: %v", n, err)
		}
		if n := countOf[*engine.Credit](entries); n != 0 {
			t.Errorf("%d credits of a refused file are journaled", n)
		}
	})
}

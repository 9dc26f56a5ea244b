package engine_test

import (
	"strings"
	"testing"

	"billctl/engine"
)

const checkCatalog = `
meters:
  - {key: calls, event: call, aggregate: count}
plans:
  - key: pro
    currency: EUR
    prices:
      - {key: call, meter: calls, model: unit, unit: "1"}
accounts:
  - {id: acme, subjects: [s], subscriptions: [{key: a, plan: pro, from: 2026-08-01}]}
  - {id: beta, subscriptions: [{key: a, plan: pro, from: 2026-08-01}]}
`

// checkStory begins a journal with checkCatalog, and accepts an event of subject s.
func checkStory(t *testing.T, shards int) *story {
	t.Helper()
	s := &story{
		cluster: newCluster(shards), files: map[string][]byte{"catalog.yaml": []byte(checkCatalog)},
		seq: 1,
	}
	s.at = at(t, "2026-09-05T10:00:00Z")
	if err := s.begin(); err != nil {
		t.Fatal(err)
	}
	s.event(t, "2026-09-05T10:00:00Z", 1)
	return s
}

func at(t *testing.T, text string) engine.Micros {
	t.Helper()
	m, err := instant(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *story) event(t *testing.T, when string, id int) {
	t.Helper()
	words := []string{"s", "call", "id=" + string(rune('0'+id)), "time=" + when}
	if err := s.line(words, ""); err != nil {
		t.Fatal(err)
	}
}

// TestCheckLead holds the instant from which on a change may change what is billed: events up to
// Lead ahead, or up to MaxFuture where that is more, may have been accepted, so a move or an end
// at exactly that instant is refused, and a microsecond later it is not.
func TestCheckLead(t *testing.T) {
	start := at(t, "2026-08-01T00:00:00Z")
	sub := func(to engine.Micros) engine.Subscription {
		return engine.Subscription{Key: "a", Plan: "pro", From: start, To: to}
	}
	change := func(accounts ...engine.AccountChange) *engine.Change {
		return &engine.Change{Accounts: accounts}
	}
	cut := func(from engine.Micros) engine.AccountChange {
		return engine.AccountChange{ID: "acme", Zone: "UTC", Detach: []engine.Ownership{
			{Subject: "s", Account: "acme", From: engine.Past, To: from},
		}}
	}
	for _, future := range []engine.Micros{0, 5 * engine.Minute, engine.Hour} {
		lead := max(future, 5*engine.Minute)
		for _, tt := range []struct {
			name string
			at   func(engine.Micros) *engine.Change
		}{
			{"move", func(m engine.Micros) *engine.Change {
				return change(cut(m), engine.AccountChange{
					ID: "beta", Zone: "UTC", Attach: []engine.Ownership{owned("s", "beta", m)},
				})
			}},
			{"take up", func(m engine.Micros) *engine.Change {
				return change(engine.AccountChange{
					ID: "acme", Zone: "UTC", Attach: []engine.Ownership{owned("s", "acme", m)},
				})
			}},
			{"give up", func(m engine.Micros) *engine.Change { return change(cut(m)) }},
			{"end", func(m engine.Micros) *engine.Change {
				return change(engine.AccountChange{
					ID: "acme", Zone: "UTC", Subscriptions: []engine.Subscription{sub(m)},
				})
			}},
		} {
			for _, shards := range []int{1, 3} {
				s := checkStory(t, shards)
				settings := engine.DefaultSettings
				settings.MaxFuture = future
				s.say("settings", &settings)
				v := engine.Pin(s.engines)
				if err := v.Check(tt.at(s.at+lead), s.at); err == nil {
					t.Errorf("%s at the lead, future %v: not refused", tt.name, future)
				} else if !strings.Contains(err.Error(), (s.at + lead).String()) {
					t.Errorf("%s at the lead: %v", tt.name, err)
				}
				if err := v.Check(tt.at(s.at+lead+1), s.at); err != nil {
					t.Errorf("%s behind the lead, future %v: %v", tt.name, future, err)
				}
			}
		}
	}
}

// TestCheckExtends moves the end of a subscription that has one: it must still be to come, and so
// must the new one. An end that stays where it is, is none of both.
func TestCheckExtends(t *testing.T) {
	s := checkStory(t, 1)
	end := func(to engine.Micros) *engine.Change {
		return &engine.Change{File: engine.Digest{1}, Accounts: []engine.AccountChange{{
			ID: "acme", Zone: "UTC", Subscriptions: []engine.Subscription{
				{Key: "a", Plan: "pro", From: at(t, "2026-08-01T00:00:00Z"), To: to},
			},
		}}}
	}
	to := s.at + engine.Hour
	s.say("end", end(to))
	v := engine.Pin(s.engines)
	for _, tt := range []struct {
		name    string
		at, to  engine.Micros
		refused bool
	}{
		{"later, in time", to - engine.Lead - 1, engine.Future, false},
		{"later, when the lead has reached the end", to - engine.Lead, engine.Future, true},
		{"unchanged, when it has passed", to + engine.OneDay, to, false},
		{"earlier, in time", to - engine.Lead - 2, to - 1, false},
		{"earlier, too late", to - engine.Lead - 1, to - 1, true},
	} {
		if err := v.Check(end(tt.to), tt.at); (err != nil) != tt.refused {
			t.Errorf("%s: refused: %v", tt.name, err)
		}
	}
}

// TestCheckEarliest holds the day from which on a further version of a plan can be effective: one
// that has not begun anywhere, five minutes on. A first version can be of any day.
func TestCheckEarliest(t *testing.T) {
	s := checkStory(t, 1)
	v := engine.Pin(s.engines)
	plan := func(key string, version int, day engine.Day) *engine.Change {
		p := *v.Plan("pro", 1)
		p.Key, p.Version, p.Effective = key, version, day
		return &engine.Change{Plans: []engine.Plan{p}}
	}
	for _, now := range []string{
		"2026-09-05T00:00:00Z", "2026-09-05T08:54:59.999999Z", "2026-09-05T08:55:00Z",
		"2026-09-05T23:59:59Z",
	} {
		now := at(t, now)
		day := engine.Earliest(now)
		if err := v.Check(plan("pro", 2, day), now); err != nil {
			t.Errorf("at %v from %v: %v", now, day, err)
		}
		if err := v.Check(plan("pro", 2, day-1), now); err == nil {
			t.Errorf("at %v from %v: not refused", now, day-1)
		}
		if err := v.Check(plan("new", 1, 0), now); err != nil {
			t.Errorf("at %v a first version: %v", now, err)
		}
		// The easternmost zone is 15 hours ahead.
		const east = 15 * engine.Hour
		begins := engine.Micros(day)*engine.OneDay - east
		if begins <= now+engine.Lead || begins > now+engine.Lead+engine.OneDay {
			t.Errorf("at %v the earliest day %v begins at %v", now, day, begins)
		}
	}
}

// TestCloseAhead closes at an instant to come: only what had ended by the entry's own instant
// closes, so usage and terms that come later still count.
func TestCloseAhead(t *testing.T) {
	for _, shards := range []int{1, 3} {
		s := checkStory(t, shards)
		s.say("close", &engine.Close{T: at(t, "2027-01-01T00:00:00Z")})
		bill, _ := engine.Pin(s.engines).Bill("acme")
		if len(bill.Open) != 1 || bill.Open[0].StartDate != "2026-09-01" || bill.Open[0].Rows != 1 {
			t.Fatalf("%d shards: open are %+v", shards, bill.Open)
		}
		s.at = at(t, "2026-09-30T23:59:59Z")
		s.event(t, "2026-09-30T23:59:59Z", 2)
		s.say("close again", &engine.Close{T: at(t, "2026-10-01T00:00:00Z")})
		if bill, _ = engine.Pin(s.engines).Bill("acme"); len(bill.Open) != 1 ||
			bill.Open[0].Rows != 2 {
			t.Errorf("%d shards: a second before its end, open are %+v", shards, bill.Open)
		}
		s.at = at(t, "2026-10-01T00:00:00Z")
		s.out.Reset()
		s.say("close at the end", &engine.Close{T: at(t, "2026-12-01T00:00:00Z")})
		for _, want := range []string{
			"acme/a/2026-09-01/period", "2.00  EUR",
		} {
			if !strings.Contains(s.out.String(), want) {
				t.Errorf("%d shards: no %q in\n%s", shards, want, s.out.String())
			}
		}
		if strings.Contains(s.out.String(), "2026-10-01/period") {
			t.Errorf("%d shards: a period closed that has just begun:\n%s", shards, s.out.String())
		}
	}
}

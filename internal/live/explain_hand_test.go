package live

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
)

// acmeCase is a world of one account with one price, from the start of a month on.
func acmeCase(from engine.Micros, p engine.Price) *fixtures.Case {
	return &fixtures.Case{Start: from - engine.OneDay, World: fixtures.World{
		Settings: engine.DefaultSettings,
		Meters: []engine.Meter{{
			Key: "high", Event: "disk", Aggregate: engine.Most, Value: "data.gb",
		}},
		Plans: []engine.Plan{{
			Key: "p", Version: 1, Effective: engine.Always, Currency: "EUR", Digits: 2,
			Interval: engine.Month, Prices: []engine.Price{p},
		}},
		Accounts: []fixtures.Account{{ID: "acme", Zone: "UTC", Subscriptions: []engine.Subscription{
			{Key: "main", Plan: "p", From: from, To: engine.Future},
		}}},
		Owners: []engine.Ownership{{
			Subject: "s", Account: "acme", From: engine.Past, To: engine.Future,
		}},
	}}
}

// TestExplainFurtherBack adjusts a period that had begun before the opening at which an explanation
// begins. The lost events would not show in the greatest value, only in their number.
func TestExplainFurtherBack(t *testing.T) {
	day := func(month time.Month, n int) engine.Micros {
		return fixtures.DayStart(2026, month, n, time.UTC)
	}
	c := acmeCase(day(1, 1), engine.Price{
		Key: "gb", Meter: "high", Model: engine.Unit, Unit: decimal.FromInt(1),
	})
	use := func(at, used engine.Micros, gb string) {
		c.Items = append(c.Items, fixtures.Item{At: at, Body: &fixtures.Event{
			Source: "app", ID: fmt.Sprint("e", len(c.Items)), Type: "disk", Subject: "s", Time: used,
			Props: map[string]fixtures.Prop{"data.gb": {Kind: engine.NumberColumn, Text: gb}},
		}}, fixtures.Item{At: at, Body: fixtures.Watermark{W: at}})
	}
	for n, at := range []engine.Micros{day(1, 10), day(1, 20), day(2, 20)} {
		use(at, at, fmt.Sprint(n+1))
	}
	use(day(3, 1), day(1, 24), "60") // adjusted by the invoice of February
	use(day(3, 4), day(3, 4), "4")
	use(day(3, 5), day(1, 25), "70")
	use(day(4, 3), day(4, 3), "5")
	entries, err := c.Entries(func(rows int) int { return rows })
	if err != nil {
		t.Fatal(err)
	}
	w, err := writeEntries(entries, func(v *engine.View, e *engine.Entry) engine.Body {
		if _, row := e.Body.(*engine.Batch); row {
			return &engine.Mark{} // the opening of January is behind its first usage
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	state, err := OpenHistory(w.dir)
	archive, copied := w.archive(t)
	if err = errors.Join(err, copied); err != nil {
		t.Fatal(err)
	}
	for again, h := range []*History{state, archive} { // the outbox says what is adjusted
		notes := 0
		x, err := Explain(t.Context(), h, ExplainOptions{
			Keys: []string{"acme/main/2026-03-01/period#gb"}, Note: func(string) { notes++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		lines := x.Documents[0].Lines
		if notes != again || x.Opening != nil || len(lines) != 2 || lines[1].Adjustment == nil ||
			lines[1].Count != 4 || lines[1].Adjustment.Booked.Text(2) != "60.00" ||
			lines[1].Line.Amount.Text(2) != "70.00" {
			t.Errorf("read again %d times, from %v: %+v", notes, x.Opening, lines)
		}
	}
}

// TestExplainAdvance ends a subscription in a period that was billed in advance: its invoice
// adjusts the amount, without any event.
func TestExplainAdvance(t *testing.T) {
	from := fixtures.DayStart(2026, time.January, 1, time.UTC)
	c := acmeCase(from, engine.Price{
		Key: "base", Model: engine.Flat, Amount: decimal.FromInt(31), Advance: true, Prorate: true,
	})
	for _, days := range []engine.Micros{1, 10, 40} {
		at := from + days*engine.OneDay
		c.Items = append(c.Items, fixtures.Item{At: at, Body: fixtures.Watermark{W: at}})
	}
	entries, err := c.Entries(func(rows int) int { return rows })
	if err != nil {
		t.Fatal(err)
	}
	w, err := writeEntries(entries, func(v *engine.View, e *engine.Entry) engine.Body {
		if e.At != from+10*engine.OneDay {
			return nil
		}
		s := c.World.Accounts[0].Subscriptions[0]
		s.To = from + 16*engine.OneDay
		return &engine.Change{File: engine.Digest{0: 99, 31: 1}, Accounts: []engine.AccountChange{{
			ID: "acme", Zone: "UTC", Subscriptions: []engine.Subscription{s},
		}}}
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	x, err := Explain(t.Context(), h, ExplainOptions{Keys: w.keys})
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Documents) != 2 || len(x.Documents[1].Lines) != 1 {
		t.Fatalf("%d documents, %+v", len(x.Documents), x.Documents[1].Lines)
	}
	l := &x.Documents[1].Lines[0]
	a := l.Adjustment
	if a == nil || a.Booked.Text(2) != "31.00" || a.Rated.Text(2) != "16.00" || l.Count != 0 ||
		l.Terms.Days != 16 || l.Terms.FullDays != 31 {
		t.Errorf("%+v", l)
	}
}

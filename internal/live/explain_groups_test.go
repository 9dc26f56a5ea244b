package live

import (
	"fmt"
	"testing"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
)

// TestExplainManyGroups explains an invoice with a line for each of 20,000 groups, and one line
// that has them all. Looking at all of them for each takes minutes.
func TestExplainManyGroups(t *testing.T) {
	const groups = 20_000
	from := fixtures.DayStart(2026, time.January, 1, time.UTC)
	c := acmeCase(from, engine.Price{
		Key: "gb", Meter: "high", Model: engine.Unit, Unit: decimal.FromInt(1), Per: []string{"disk"},
	})
	c.World.Meters[0].GroupBy = []engine.Dimension{{Name: "disk", Path: "data.disk"}}
	plan := &c.World.Plans[0]
	plan.Prices = append(plan.Prices, engine.Price{
		Key: "all", Meter: "high", Model: engine.Unit, Unit: decimal.FromInt(2),
	})
	at := from + engine.OneDay
	for i := range groups {
		c.Items = append(c.Items, fixtures.Item{At: at, Body: &fixtures.Event{
			Source: "app", ID: fmt.Sprint("e", i), Type: "disk", Subject: "s", Time: at,
			Props: map[string]fixtures.Prop{
				"data.gb":   {Kind: engine.NumberColumn, Text: "3"},
				"data.disk": {Kind: engine.TextColumn, Text: fmt.Sprint("d", i)},
			},
		}})
	}
	end := from + 40*engine.OneDay
	c.Items = append(c.Items, fixtures.Item{At: end, Body: fixtures.Watermark{W: end}})
	entries, err := c.Entries(func(rows int) int { return rows })
	if err != nil {
		t.Fatal(err)
	}
	w, err := writeEntries(entries, func(*engine.View, *engine.Entry) engine.Body { return nil })
	if err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	x, err := Explain(t.Context(), h, ExplainOptions{Keys: w.keys[:1]})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("%d lines in %s", len(x.Documents[0].Lines), took)
	lines := x.Documents[0].Lines
	if len(lines) != groups+1 {
		t.Fatalf("%d lines", len(lines))
	}
	for i := range lines {
		l, want := &lines[i], 1
		if l.Line.Price == "all" {
			want = groups
		}
		if l.Count != want || len(l.Events) != want ||
			len(l.Line.Group) == 1 && l.Events[0].Group[0] != l.Line.Group[0] {
			t.Fatalf("%s: %d events", l.Key, l.Count)
		}
	}
	// Half a second on two idle cores, some on busy ones under the race detector.
	if took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

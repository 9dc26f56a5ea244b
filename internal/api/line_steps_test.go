package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/internal/live"
)

// booked are the amounts that invoices billed, by account, subscription, period and line.
type booked map[string]decimal.Amount

func (b booked) take(inv *engine.Invoice) {
	at := func(start engine.Micros, price string, group []engine.GroupValue) string {
		return bookedAt(inv.Account, inv.Subscription, start, engine.LineKey(price, group))
	}
	for i := range inv.Lines {
		l := &inv.Lines[i]
		k := at(l.From, l.Price, l.Group)
		b[k] = b[k].Add(l.Amount)
	}
	for i := range inv.Adjustments {
		a := &inv.Adjustments[i]
		k := at(a.Start, a.Price, a.Group)
		b[k] = b[k].Add(a.Amount)
	}
}

func bookedAt(account, subscription string, start engine.Micros, key string) string {
	return fmt.Sprintf("%q %q %d %s", account, subscription, start, key)
}

// TestLinesReconcile asks for every line of both previews as an answer about the account has them,
// after parts of random logs: the amount is that of the account, its steps come to it and name the
// bound that made it. The lines of closed periods are what was booked and what is pending.
func TestLinesReconcile(t *testing.T) {
	figures := map[string]int{}
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 3))
		c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures)
		entries, _, err := c.Journal(engine.Ruleset, func(rows int) int { return 1 + r.IntN(rows) })
		if err != nil {
			t.Fatal(err)
		}
		shards, bills := live.NewShards(1), booked{}
		for i, e := range entries {
			err := shards.Apply(e, func(fx *engine.Effects) error {
				for _, inv := range fx.Invoices {
					bills.take(inv)
				}
				return nil
			})
			if err == nil && (i == len(entries)-1 || r.IntN(1+len(entries)/4) == 0) {
				err = reconcile(shards.Pin(), bills, figures)
			}
			if err != nil {
				t.Fatalf("seed %d, entry %d: %v", seed, i, err)
			}
		}
	}
	t.Log(figures)
	for _, what := range []string{
		"so_far", "if_closed_now", "closed", "late", "minimum", "maximum", "commitment", "unbound",
	} {
		if figures[what] == 0 {
			t.Errorf("no line with %s", what)
		}
	}
}

// reconcile asks for the lines of all accounts of a view.
func reconcile(v *engine.View, bills booked, figures map[string]int) error {
	var h handler
	for _, id := range v.AccountIDs("") {
		q := url.Values{"id": {id}}
		got, err := h.account(httptest.NewRequest("GET", "/?"+q.Encode(), nil), v, Position{})
		if err != nil {
			return err
		}
		a := got.(Account)
		for i := range a.Periods {
			p := &a.Periods[i]
			for view, doc := range map[string]json.RawMessage{
				viewSoFar: p.SoFar, viewClosed: p.IfClosedNow,
			} {
				n, err := previewLines(&h, v, id, p, view, doc)
				if err != nil {
					return fmt.Errorf("%s/%s of %s, %s: %w", id, p.Subscription, p.StartDate, view, err)
				}
				for k := range n {
					figures[k] += n[k]
				}
			}
		}
		for _, s := range a.Subscriptions {
			if err := closedLines(&h, v, id, s.Key, bills, figures); err != nil {
				return fmt.Errorf("%s/%s: %w", id, s.Key, err)
			}
		}
	}
	return nil
}

type lineText struct {
	Price string
	Model string
	Group []struct {
		Dimension string
		Value     *string
	}
	Bound  string
	Exact  string
	Amount string
	Trial  bool
}

func (l *lineText) key() string {
	var group []engine.GroupValue
	for _, g := range l.Group {
		if g.Value == nil {
			group = append(group, engine.GroupValue{Dim: g.Dimension, Absent: true})
		} else {
			group = append(group, engine.GroupValue{Dim: g.Dimension, Value: *g.Value})
		}
	}
	return engine.LineKey(l.Price, group)
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		panic("BUG: " + err.Error())
	}
	return b.String()
}

func askLine(h *handler, v *engine.View, params ...string) (*Line, error) {
	q := url.Values{}
	for i, name := range []string{"account", "subscription", "start_date", "view", "line"} {
		q.Set(name, params[i])
	}
	got, err := h.line(httptest.NewRequest("GET", "/?"+q.Encode(), nil), v, Position{})
	if err != nil {
		return nil, err
	}
	return got.(*Line), nil
}

func previewLines(
	h *handler, v *engine.View, id string, p *Period, view string, doc json.RawMessage,
) (map[string]int, error) {
	var d *struct{ Lines []json.RawMessage }
	if err := json.Unmarshal(doc, &d); err != nil || d == nil {
		return nil, err
	}
	n, seen := map[string]int{}, map[string]bool{}
	for _, raw := range d.Lines {
		var l lineText
		if err := json.Unmarshal(raw, &l); err != nil {
			return nil, err
		}
		key := l.key()
		if seen[key] {
			n["twice"]++
			continue
		}
		seen[key] = true
		got, err := askLine(h, v, id, p.Subscription, p.StartDate, view, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if one, other := compact(got.Line), compact(raw); one != other {
			return nil, fmt.Errorf("%s is %s, not %s", key, one, other)
		}
		if err := stepsAgree(got.Steps, &l); err != nil {
			return nil, fmt.Errorf("%s: %w in %q of %s", key, err, got.Steps, raw)
		}
		n[view]++
		n[cmp.Or(l.Bound, "unbound")]++
	}
	return n, nil
}

// stepsAgree checks that the steps name the bound that made a line, no other, and its amount.
func stepsAgree(steps []string, l *lineText) error {
	has := func(word string) bool {
		return slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(s, word+" ") })
	}
	if has("minimum") != (l.Bound == "minimum") {
		return fmt.Errorf("minimum: %v", has("minimum"))
	}
	if l.Bound != "minimum" && has("maximum") != (l.Bound == "maximum") {
		return fmt.Errorf("maximum: %v", has("maximum"))
	}
	if has("commitment") != (l.Bound == "commitment") && l.Bound != "minimum" && l.Bound != "maximum" {
		return fmt.Errorf("commitment: %v", has("commitment"))
	}
	last := steps[len(steps)-1]
	if !strings.HasPrefix(last, l.Exact) || !strings.Contains(last, " rounded: "+l.Amount+" ") {
		return fmt.Errorf("the last step is not that of %s", l.Amount)
	}
	return levelsAgree(steps)
}

// levelsAgree checks that levels and the time that they held come to the quantity.
func levelsAgree(steps []string) error {
	rat := func(s string) *big.Rat {
		s, _, _ = strings.Cut(strings.ReplaceAll(s, ",", ""), " (about ")
		x, ok := new(big.Rat).SetString(strings.TrimSuffix(s, " s"))
		if !ok {
			panic("BUG: no number: " + s)
		}
		return x
	}
	for _, s := range steps {
		area, rest, ok := strings.Cut(strings.TrimPrefix(s, "together "), " / ")
		per, quantity, level := strings.Cut(strings.TrimPrefix(rest, "the whole period of "), " = ")
		if !ok || !level || !strings.HasPrefix(s, "together ") {
			continue
		}
		if want := new(big.Rat).Quo(rat(area), rat(per)); want.Cmp(rat(quantity)) != 0 {
			return fmt.Errorf("%s is %s", s, want)
		}
		if !strings.HasPrefix(steps[0], quantity) {
			return fmt.Errorf("%s, but the line begins with %s", s, steps[0])
		}
	}
	return nil
}

func closedLines(
	h *handler, v *engine.View, id, sub string, bills booked, figures map[string]int,
) error {
	start, _, ok := v.LastClosed(id, sub)
	if !ok {
		return nil
	}
	t, _ := v.Terms(id, sub, start)
	bill, _ := v.Bill(id)
	for _, l := range v.Rate(id, sub, start, v.Usage(id, sub, start)) {
		key := engine.LineKey(l.Price, l.Group)
		got, err := askLine(h, v, id, sub, t.StartDate, "so_far", key)
		if err != nil {
			return fmt.Errorf("%s of %s, closed: %w", key, t.StartDate, err)
		}
		want := bills[bookedAt(id, sub, start, key)]
		for i := range bill.Pending {
			p := &bill.Pending[i]
			if p.Subscription == sub && p.Start == start && engine.LineKey(p.Price, p.Group) == key {
				want = want.Add(p.Amount)
				figures["late"]++
			}
		}
		var text lineText
		if err := json.Unmarshal(got.Line, &text); err != nil {
			return err
		}
		if !got.Closed || text.Amount != want.Text(t.Plan.Digits) {
			return fmt.Errorf("%s of %s, closed %v: %s, but %s was booked", key, t.StartDate, got.Closed,
				text.Amount, want.Text(t.Plan.Digits))
		}
		if err := stepsAgree(got.Steps, &text); err != nil {
			return fmt.Errorf("%s of %s, closed: %w in %q", key, t.StartDate, err, got.Steps)
		}
		// Without a subscription it is the first one's that has the line in such a period.
		unnamed, err := askLine(h, v, id, "", t.StartDate, "so_far", key)
		if err == nil && unnamed.Subscription != sub {
			figures["of another"]++
			got, err = askLine(h, v, id, unnamed.Subscription, t.StartDate, "so_far", key)
		}
		if err != nil {
			return fmt.Errorf("%s of %s, of any subscription: %w", key, t.StartDate, err)
		}
		if one, other := compact(unnamed.Line), compact(got.Line); one != other {
			return fmt.Errorf("%s of %s, of any subscription: %s, not %s", key, t.StartDate, one, other)
		}
		figures["closed"]++
	}
	return nil
}

package api

import (
	"encoding/json"
	"errors"
	"math/big"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/live"
)

// TestLines asks for every line of both previews and of the last closed periods, after parts of
// random logs: it is the line of the document, its tiers add up, and they are as full as they say.
func TestLines(t *testing.T) {
	figures := map[string]int{}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures)
		entries, _, err := c.Journal(engine.Ruleset, func(rows int) int { return 1 + r.IntN(rows) })
		if err != nil {
			t.Fatal(err)
		}
		shards := live.NewShards(1)
		for i, entry := range entries {
			err := shards.Apply(entry, func(*engine.Effects) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			if i%(1+len(entries)/4) == 0 || i == len(entries)-1 {
				checkLines(t, seed, shards.Pin(), figures)
			}
		}
	}
	for _, what := range []string{
		"so_far", "if_closed_now", "closed", "flat", "tiers", "next", "full",
	} {
		if figures[what] == 0 {
			t.Errorf("no line with %s: %v", what, figures)
		}
	}
	t.Log(figures)
}

// checkLines asks for all lines of a view.
func checkLines(t *testing.T, seed uint64, v *engine.View, figures map[string]int) {
	t.Helper()
	for _, id := range v.AccountIDs("") {
		bill, _ := v.Bill(id)
		for i := range bill.Open {
			o := &bill.Open[i]
			ask := lineAsk{account: id, subscription: o.Subscription, date: o.StartDate}
			for view, doc := range map[string]*engine.Invoice{
				viewSoFar: o.SoFar, viewClosed: o.IfClosedNow,
			} {
				if ask.view = view; doc != nil {
					checkDocument(t, seed, v, ask, doc.Lines, doc, figures)
				}
			}
			start, _, ok := v.LastClosed(id, o.Subscription)
			if terms, _ := v.Terms(id, o.Subscription, start); ok {
				ask.view, ask.date = viewSoFar, terms.StartDate
				lines := v.Rate(id, o.Subscription, start, v.Usage(id, o.Subscription, start))
				inv := engine.Invoice{Kind: engine.PeriodInvoice, Account: id,
					Currency: terms.Plan.Currency, Digits: terms.Plan.Digits}
				if ask.date != o.StartDate {
					checkDocument(t, seed, v, ask, lines, &inv, figures)
					figures["closed"] += len(lines)
				}
			}
		}
	}
}

func checkDocument(
	t *testing.T, seed uint64, v *engine.View, ask lineAsk, lines []engine.Line,
	doc *engine.Invoice, figures map[string]int,
) {
	t.Helper()
	all := *doc
	all.Lines, all.Adjustments = lines, nil
	var want struct{ Lines []json.RawMessage }
	if err := json.Unmarshal(formats.AppendInvoice(nil, &all), &want); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range lines {
		a := ask
		a.key = engine.LineKey(lines[i].Price, lines[i].Group)
		if seen[a.key] {
			continue // in advance, for the period itself and for the next one
		}
		seen[a.key] = true
		if err := a.find(v); err != nil {
			t.Fatalf("seed %d: %s of %s: %v", seed, a.key, a.account, err)
		}
		got := a.answer(v, Position{})
		if string(got.Line) != string(want.Lines[i]) {
			t.Fatalf("seed %d: line\n%s, want\n%s", seed, got.Line, want.Lines[i])
		}
		if err := tiersAgree(got, &lines[i], figures); err != nil {
			t.Fatalf("seed %d: %s of %s: %v", seed, a.key, a.account, err)
		}
		if last := got.Steps[len(got.Steps)-1]; !strings.Contains(last,
			lines[i].Amount.Text(got.digits(v))+" "+got.Currency) {
			t.Fatalf("seed %d: %s: the steps end with %q", seed, a.key, last)
		}
		figures[ask.view]++
	}
}

// digits returns those of the answer's currency.
func (l *Line) digits(v *engine.View) int { return v.Plan(l.Plan, l.Version).Digits }

// tiersAgree checks the tiers of a line with arithmetic of its own.
func tiersAgree(got *Line, l *engine.Line, figures map[string]int) error {
	if l.Meter == "" {
		figures["flat"]++
	}
	if len(got.Tiers) == 0 {
		return nil
	}
	figures["tiers"]++
	rat := func(s string) *big.Rat {
		x, ok := new(big.Rat).SetString(s)
		if !ok {
			panic("BUG: no number: " + s)
		}
		return x
	}
	billable, sum := rat(l.Billable.String()), new(big.Rat)
	end := "0"
	for i := range got.Tiers {
		x := &got.Tiers[i]
		sum.Add(sum, rat(x.Amount))
		if got.Price.Model != "package" || len(got.Tiers) > 1 {
			if x.From != end {
				return errors.New("a tier does not begin where the one before ends")
			}
		}
		if x.To == nil {
			if x.Fill != nil || i != len(got.Tiers)-1 {
				return errors.New("a tier in the middle has no end")
			}
			continue
		}
		end = *x.To
		width := new(big.Rat).Sub(rat(*x.To), rat(x.From))
		full := new(big.Rat).Sub(billable, rat(x.From))
		full.Quo(full, width)
		if full.Sign() < 0 {
			full.SetInt64(0)
		}
		if full.Cmp(big.NewRat(1, 1)) > 0 {
			full.SetInt64(1)
		}
		off := new(big.Rat).Sub(full, rat(*x.Fill))
		if off.Sign() < 0 || off.Cmp(big.NewRat(1, 10_000)) >= 0 {
			return errors.New("tier " + x.From + " is as full as " + *x.Fill + ", not " + full.String())
		}
		if *x.Fill == "1" {
			figures["full"]++
		}
	}
	if sum.Cmp(rat(l.Rated.String())) != 0 {
		return errors.New("the tiers add up to " + sum.String() + ", not " + l.Rated.String())
	}
	if n := got.NextTier; n != nil {
		figures["next"]++
		if left := rat(n.In); left.Sign() < 0 || left.Add(left, billable).Cmp(rat(n.At)) != 0 {
			return errors.New("the next tier is at " + n.At + ", in " + n.In)
		}
	}
	return nil
}

// TestNextTier holds where tiers end, at their bounds and beside them.
func TestNextTier(t *testing.T) {
	tiers := []engine.Tier{{UpTo: decimal.FromInt(10)}, {UpTo: decimal.FromInt(30)}, {Last: true}}
	for _, tt := range []struct {
		billable decimal.Rat
		fill     []string
		next     string
	}{
		{decimal.Int(0), []string{"0", "0"}, "10 in 10"},
		{decimal.Int(10), []string{"1", "0"}, "10 in 0"},
		{decimal.Ratio(101, 10), []string{"1", "0.005"}, "30 in 19.9"},
		{decimal.Ratio(59999, 2000), []string{"1", "0.9999"}, "30 in 0.0005"},
		{decimal.Int(30), []string{"1", "1"}, "30 in 0"},
		{decimal.Int(31), []string{"1", "1"}, ""},
		{decimal.Int(-5), []string{"0", "0"}, "10 in 15"},
	} {
		p := engine.Price{Model: engine.Volume, Tiers: tiers}
		got, next := tiersOf(&p, &engine.Line{Billable: tt.billable, Unit: "call"})
		text := ""
		if next != nil {
			text = next.At + " in " + next.In
		}
		if text != tt.next || *got[0].Fill != tt.fill[0] || *got[1].Fill != tt.fill[1] {
			t.Errorf("%s: next %q, filled %s and %s", tt.billable, text, *got[0].Fill, *got[1].Fill)
		}
	}
	p := engine.Price{Model: engine.Package, Size: decimal.FromInt(1000), Amount: decimal.FromInt(2)}
	for q, want := range map[int64]string{0: "0 1000 0", 1: "0 1000 0.001", 1000: "0 1000 1",
		1001: "1000 2000 0.001"} {
		got, _ := tiersOf(&p, &engine.Line{Billable: decimal.Int(q)})
		if text := got[0].From + " " + *got[0].To + " " + *got[0].Fill; text != want {
			t.Errorf("%d in packages: %s, want %s", q, text, want)
		}
	}
}

// TestLineAnswers holds what is said where there is no such line.
func TestLineAnswers(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	for _, tt := range []struct {
		path   string
		status int
		says   string
	}{
		{"/v1/line?account=acme&line=call", http.StatusOK, `"steps":["1 call from 1 event"`},
		{"/v1/line?account=acme&line=call&start_date=2026-08-01", http.StatusOK, `"closed":true`},
		{"/v1/line?account=acme&line=call&view=x", http.StatusBadRequest, "none of so_far"},
		{"/v1/line?account=no&line=call", http.StatusNotFound, `there is no account \"no\"`},
		{"/v1/line?account=acme&line=no", http.StatusNotFound, "billctl query account shows"},
		{"/v1/line?account=acme&line=call&subscription=x", http.StatusNotFound, "no such line"},
	} {
		if code, text, _ := ask(t, h, tt.path); code != tt.status || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %d %s", tt.path, code, text)
		}
	}
}

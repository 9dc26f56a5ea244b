package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/live"
)

// The two previews that a line can be of.
const (
	viewSoFar  = "so_far"
	viewClosed = "if_closed_now"
)

// Line answers how a line of a period comes to its amount.
type Line struct {
	Schema       string          `json:"schema"`
	Position     Position        `json:"position"`
	Account      string          `json:"account"`
	AccountName  string          `json:"account_name"`
	Subscription string          `json:"subscription"`
	Plan         string          `json:"plan"`
	Version      int             `json:"version"`
	StartDate    string          `json:"start_date"`
	Start        string          `json:"start"`
	End          string          `json:"end"`
	Currency     string          `json:"currency"`
	Closed       bool            `json:"closed"`
	View         string          `json:"view"`
	Key          string          `json:"key"`             // engine.LineKey
	Line         json.RawMessage `json:"line"`            // as a document has it
	Meter        *Meter          `json:"meter,omitempty"` // absent for flat
	Price        Price           `json:"price"`
	Tiers        []Tier          `json:"tiers"`
	NextTier     *NextTier       `json:"next_tier"` // null: there is none
	Steps        []string        `json:"steps"`
}

// Tier is a range of what is billable, with what it priced.
type Tier struct {
	From     string  `json:"from"`
	To       *string `json:"to"`   // inclusive; null: no end
	Unit     string  `json:"unit"` // price of one, of a package, or percent; by the model
	Flat     string  `json:"flat"` // for the tier
	Quantity string  `json:"quantity"`
	Amount   string  `json:"amount"` // exact, in major units
	Fill     *string `json:"fill"`   // how much of the range is reached, from 0 to 1; null: no end
}

// NextTier is where the next tier begins.
type NextTier struct {
	At   string `json:"at"`
	In   string `json:"in"`   // what is left until there
	Unit string `json:"unit"` // "": what is billable is converted, and no longer in the meter's unit
}

// lineAsk is a line that is asked for, and what was found of it.
type lineAsk struct {
	account, subscription, date, key, view string

	bill   *engine.Bill
	start  engine.Micros
	closed bool
	line   engine.Line
	doc    engine.Invoice // that the line is of
	usage  []engine.Usage // of the period
}

func (h *handler) line(r *http.Request, v *engine.View, p Position) (any, error) {
	a := lineAsk{
		account: r.FormValue("account"), subscription: r.FormValue("subscription"),
		date: r.FormValue("start_date"), key: r.FormValue("line"), view: r.FormValue("view"),
	}
	if a.view == "" {
		a.view = viewSoFar
	}
	if a.view != viewSoFar && a.view != viewClosed {
		return nil, badRequest("view %q is none of so_far, if_closed_now", a.view)
	}
	if err := a.find(v); err != nil {
		return nil, err
	}
	return a.answer(v, p), nil
}

// find looks for the line in the open periods, and then in the closed ones that are still kept.
func (a *lineAsk) find(v *engine.View) error {
	var ok bool
	if a.bill, ok = v.Bill(a.account); !ok {
		return notFound("there is no account %q", a.account)
	}
	for i := range a.bill.Open {
		o := &a.bill.Open[i]
		doc := o.SoFar
		if a.view == viewClosed {
			doc = o.IfClosedNow
		}
		if a.of(o.Subscription, o.StartDate) && doc != nil && a.among(doc.Lines) {
			a.doc, a.start, a.usage, a.subscription = *doc, o.Start, o.Usage, o.Subscription
			return nil
		}
	}
	for i := range a.bill.Subscriptions {
		key := a.bill.Subscriptions[i].Key
		start, _, ok := v.LastClosed(a.account, key)
		if !ok || a.view == viewClosed || a.date == "" {
			continue
		}
		if t, _ := v.Terms(a.account, key, start); !a.of(key, t.StartDate) {
			continue
		}
		a.usage = v.Usage(a.account, key, start)
		if a.among(v.Rate(a.account, key, start, a.usage)) {
			a.start, a.closed, a.subscription = start, true, key
			a.doc = engine.Invoice{Kind: engine.PeriodInvoice, Account: a.account}
			return nil
		}
	}
	return &problem{
		http.StatusNotFound, NotFound, "there is no such line in this preview now",
		"billctl query account shows the lines of both previews; billctl explain those of invoices",
	}
}

// of reports whether a period is asked for.
func (a *lineAsk) of(subscription, date string) bool {
	return (a.subscription == "" || a.subscription == subscription) && (a.date == "" || a.date == date)
}

// among takes the line if it is there.
func (a *lineAsk) among(lines []engine.Line) bool {
	i := slices.IndexFunc(lines, func(l engine.Line) bool {
		return engine.LineKey(l.Price, l.Group) == a.key
	})
	if i < 0 {
		return false
	}
	a.line = lines[i]
	return true
}

func (a *lineAsk) answer(v *engine.View, p Position) *Line {
	period, ok := v.Terms(a.account, a.subscription, a.start)
	t, found := v.Terms(a.account, a.subscription, a.line.From) // of a flat amount the next period's
	i := slices.IndexFunc(t.Prices, func(x engine.Price) bool { return x.Key == a.line.Price })
	if !ok || !found || i < 0 {
		panic("BUG: a line has no terms")
	}
	price, plan := &t.Prices[i], period.Plan
	out := &Line{
		Schema: "billctl.line.v1", Position: p, Account: a.account, AccountName: a.bill.Name,
		Subscription: a.subscription, Plan: plan.Key, Version: plan.Version,
		StartDate: period.StartDate, Start: period.Start.String(), End: period.End.String(),
		Currency: plan.Currency, Closed: a.closed, View: a.view, Key: a.key, Price: makePrice(price),
		Tiers: []Tier{},
	}
	a.doc.Currency, a.doc.Digits = plan.Currency, plan.Digits
	out.Line = a.json()
	explained := &live.ExplainedLine{Key: a.key, Line: a.line, Price: *price, Terms: t}
	if a.line.Meter != "" {
		m := v.Meter(a.line.Meter)
		meter := makeMeter(m)
		out.Meter, explained.Meter = &meter, m
		explained.Usage = a.covered(price)
		for i := range explained.Usage {
			explained.Count += int(explained.Usage[i].Fold.Rows)
		}
		if a.view == viewSoFar { // levels are integrated up to here
			explained.Terms.End = max(t.Start, min(t.End, v.Standing().Watermark))
		}
		out.Tiers, out.NextTier = tiersOf(price, &a.line)
	}
	out.Steps = stepsOf(explained, &a.doc, a.view == viewSoFar && !a.closed)
	return out
}

// json returns the line as documents have it.
func (a *lineAsk) json() json.RawMessage {
	doc := a.doc
	doc.Lines, doc.Adjustments = []engine.Line{a.line}, nil
	var out struct{ Lines []json.RawMessage }
	err := json.Unmarshal(formats.AppendInvoice(nil, &doc), &out)
	if err != nil || len(out.Lines) != 1 {
		panic("BUG: a document of ours is no JSON")
	}
	return out.Lines[0]
}

// covered returns the usage that the line bills.
func (a *lineAsk) covered(p *engine.Price) (out []engine.Usage) {
	for i := range a.usage {
		u := &a.usage[i]
		if p.Covers(u) && !slices.ContainsFunc(a.line.Group, func(g engine.GroupValue) bool {
			return !slices.Contains(u.Group, g)
		}) {
			out = append(out, *u)
		}
	}
	return out
}

// tiersOf returns the ranges of a price with what the line has in each, and where the next begins.
// A package without tiers is the range of the package that was begun last.
func tiersOf(p *engine.Price, l *engine.Line) (tiers []Tier, next *NextTier) {
	tiers = []Tier{}
	if p.Model == engine.Package && len(p.Tiers) == 0 {
		size := p.Size.Rat()
		end := decimal.Max(l.Billable.Quo(size).Ceil(), decimal.Int(1)).Mul(size)
		to, fill := end.String(), fillOf(l.Billable, end.Sub(size), end)
		return append(tiers, Tier{
			From: end.Sub(size).String(), To: &to, Unit: p.Amount.String(), Flat: "0",
			Quantity: l.Billable.String(), Amount: l.Rated.String(), Fill: &fill,
		}), nextTier(p, l, end)
	}
	var from decimal.Rat
	for i := range p.Tiers {
		x := &p.Tiers[i]
		t := Tier{
			From: from.String(), Unit: unitOf(p.Model, x).String(), Flat: flatOf(p.Model, x).String(),
			Quantity: "0", Amount: "0",
		}
		for _, u := range l.Tiers {
			if u.Tier == i {
				t.Quantity, t.Amount = u.Quantity.String(), u.Amount.String()
			}
		}
		if !x.Last {
			end := x.UpTo.Rat()
			to, fill := end.String(), fillOf(l.Billable, from, end)
			t.To, t.Fill = &to, &fill
			if next == nil && l.Billable.Cmp(end) <= 0 {
				next = nextTier(p, l, end)
			}
			from = end
		}
		tiers = append(tiers, t)
	}
	return tiers, next
}

func unitOf(m engine.Model, t *engine.Tier) decimal.Decimal {
	if m == engine.Package {
		return t.Amount
	}
	return t.Unit
}

func flatOf(m engine.Model, t *engine.Tier) decimal.Decimal {
	if m == engine.Package {
		return decimal.Decimal{}
	}
	return t.Flat
}

func nextTier(p *engine.Price, l *engine.Line, at decimal.Rat) *NextTier {
	n := &NextTier{At: at.String(), In: at.Sub(l.Billable).String(), Unit: l.Unit}
	if p.Convert != nil {
		n.Unit = ""
	}
	return n
}

// fillOf returns how much of (from, to] a quantity has reached, cut to four digits.
func fillOf(q, from, to decimal.Rat) string {
	part := q.Sub(from).Quo(to.Sub(from))
	part = decimal.Max(decimal.Min(part, decimal.Int(1)), decimal.Rat{})
	scale := decimal.Int(10_000)
	return part.Mul(scale).Floor().Quo(scale).String()
}

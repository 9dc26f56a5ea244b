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
	For          string          `json:"for"`             // start date of the period it is for
	Adjusts      bool            `json:"adjusts"`         // it is an adjustment
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

	about string // start date of the period that the line is for; "": any

	bill   *engine.Bill
	start  engine.Micros
	closed bool
	line   engine.Line
	doc    engine.Invoice // that the line is of
	usage  []engine.Usage // of the period that the line is for

	// adjustment is what was found in place of a line, which then is that of the closed period as it
	// is now; zero if there is none any more.
	adjustment *engine.Adjustment
}

func (h *handler) line(r *http.Request, v *engine.View, p Position) (any, error) {
	a := lineAsk{
		account: r.FormValue("account"), subscription: r.FormValue("subscription"),
		date: r.FormValue("start_date"), key: r.FormValue("line"), view: r.FormValue("view"),
		about: r.FormValue("for"),
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

// find looks for the line in the open periods, then for an adjustment there, and then in the closed
// periods that are still kept.
func (a *lineAsk) find(v *engine.View) error {
	var ok bool
	if a.bill, ok = v.Bill(a.account); !ok {
		return notFound("there is no account %q", a.account)
	}
	for _, in := range []func(*engine.View, *engine.OpenPeriod, *engine.Invoice) bool{
		a.inLines, a.inAdjustments,
	} {
		for i := range a.bill.Open {
			o := &a.bill.Open[i]
			doc := o.SoFar
			if a.view == viewClosed {
				doc = o.IfClosedNow
			}
			if a.of(o.Subscription, o.StartDate) && doc != nil && in(v, o, doc) {
				a.doc, a.start, a.subscription = *doc, o.Start, o.Subscription
				return nil
			}
		}
	}
	if a.findClosed(v) {
		return nil
	}
	return &problem{
		http.StatusNotFound, NotFound, "there is no such line in this preview now",
		"billctl query account shows the lines of both previews; billctl explain those of invoices",
	}
}

// inLines takes the line of a preview, if it is there.
func (a *lineAsk) inLines(v *engine.View, o *engine.OpenPeriod, doc *engine.Invoice) bool {
	a.usage = o.Usage
	return a.among(v, o.Subscription, doc.Lines)
}

// inAdjustments takes an adjustment of a preview, if it is there.
func (a *lineAsk) inAdjustments(v *engine.View, o *engine.OpenPeriod, doc *engine.Invoice) bool {
	i := slices.IndexFunc(doc.Adjustments, func(x engine.Adjustment) bool {
		return engine.LineKey(x.Price, x.Group) == a.key && (a.about == "" || a.about == x.StartDate)
	})
	if i < 0 {
		return false
	}
	a.adjustment = &doc.Adjustments[i]
	start := a.adjustment.Start
	// That of the period itself is of an amount in advance: the subscription's end has moved since.
	lines := v.Advance(a.account, o.Subscription, start)
	if start != o.Start {
		a.usage = v.Usage(a.account, o.Subscription, start)
		lines = v.Rate(a.account, o.Subscription, start, a.usage)
	}
	a.among(v, o.Subscription, lines)
	return true
}

// findClosed looks for the line in the last closed periods of subscriptions.
func (a *lineAsk) findClosed(v *engine.View) bool {
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
		if a.among(v, key, v.Rate(a.account, key, start, a.usage)) {
			a.start, a.closed, a.subscription = start, true, key
			a.doc = engine.Invoice{Kind: engine.PeriodInvoice, Account: a.account}
			return true
		}
	}
	return false
}

// of reports whether a period is asked for.
func (a *lineAsk) of(subscription, date string) bool {
	return (a.subscription == "" || a.subscription == subscription) && (a.date == "" || a.date == date)
}

// among takes the line of a subscription if it is there.
func (a *lineAsk) among(v *engine.View, subscription string, lines []engine.Line) bool {
	i := slices.IndexFunc(lines, func(l engine.Line) bool {
		if engine.LineKey(l.Price, l.Group) != a.key || a.about == "" {
			return engine.LineKey(l.Price, l.Group) == a.key
		}
		t, _ := v.Terms(a.account, subscription, l.From)
		return t.StartDate == a.about
	})
	if i < 0 {
		return false
	}
	a.line = lines[i]
	return true
}

// priced returns what the line is of: the start of its period, which of an amount in advance is the
// next one, its price, and its group.
func (a *lineAsk) priced() (start engine.Micros, price string, group []engine.GroupValue) {
	if x := a.adjustment; x != nil {
		return x.Start, x.Price, x.Group
	}
	return a.line.From, a.line.Price, a.line.Group
}

func (a *lineAsk) answer(v *engine.View, p Position) *Line {
	start, key, group := a.priced()
	period, ok := v.Terms(a.account, a.subscription, a.start)
	t, found := v.Terms(a.account, a.subscription, start)
	i := slices.IndexFunc(t.Prices, func(x engine.Price) bool { return x.Key == key })
	if !ok || !found || i < 0 {
		panic("BUG: a line has no terms")
	}
	price, plan := &t.Prices[i], period.Plan
	out := &Line{
		Schema: "billctl.line.v1", Position: p, Account: a.account, AccountName: a.bill.Name,
		Subscription: a.subscription, Plan: plan.Key, Version: plan.Version,
		StartDate: period.StartDate, Start: period.Start.String(), End: period.End.String(),
		Currency: plan.Currency, Closed: a.closed, View: a.view, Key: a.key, For: t.StartDate,
		Adjusts: a.adjustment != nil, Price: makePrice(price), Tiers: []Tier{},
	}
	a.doc.Currency, a.doc.Digits = plan.Currency, plan.Digits
	out.Line = a.json()
	soFar := a.view == viewSoFar && !out.Closed && !out.Adjusts
	explained := &live.ExplainedLine{
		Key: a.key, Line: a.line, Adjustment: a.adjustment, Price: *price, Terms: t,
	}
	if price.Meter != "" {
		m := v.Meter(price.Meter)
		meter := makeMeter(m)
		out.Meter, explained.Meter = &meter, m
		explained.Usage = a.covered(price, group)
		for i := range explained.Usage {
			explained.Count += int(explained.Usage[i].Fold.Rows)
		}
		if soFar { // levels are integrated up to here
			explained.Terms.End = max(t.Start, min(t.End, v.Standing().Watermark))
		}
		if a.line.Model != 0 {
			out.Tiers, out.NextTier = tiersOf(price, &a.line)
		}
	}
	if out.Closed || out.Adjusts {
		out.NextTier = nil // nothing is to come
	}
	out.Steps = stepsOf(explained, &a.doc, soFar)
	return out
}

// json returns the line or the adjustment as documents have it.
func (a *lineAsk) json() json.RawMessage {
	doc := a.doc
	doc.Lines, doc.Adjustments = []engine.Line{a.line}, nil
	if a.adjustment != nil {
		doc.Lines, doc.Adjustments = nil, []engine.Adjustment{*a.adjustment}
	}
	var out struct{ Lines, Adjustments []json.RawMessage }
	err := json.Unmarshal(formats.AppendInvoice(nil, &doc), &out)
	all := append(out.Lines, out.Adjustments...)
	if err != nil || len(all) != 1 {
		panic("BUG: a document of ours is no JSON")
	}
	return all[0]
}

// covered returns the usage that a line of the price and the group bills.
func (a *lineAsk) covered(p *engine.Price, group []engine.GroupValue) (out []engine.Usage) {
	for i := range a.usage {
		u := &a.usage[i]
		if p.Covers(u) && !slices.ContainsFunc(group, func(g engine.GroupValue) bool {
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

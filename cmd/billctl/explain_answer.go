package main

import (
	"encoding/hex"
	"fmt"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/api"
	"billctl/internal/live"
)

// explainAnswer is the answer of explain.
type explainAnswer struct {
	Schema    string            `json:"schema"`
	Journal   string            `json:"journal"`
	Read      explainRead       `json:"read"`
	Documents []explainDocument `json:"documents"`
}

// explainRead says what of the history was read.
type explainRead struct {
	Opening  *string `json:"opening"` // month; null: the first entry
	First    uint64  `json:"first_seq"`
	Last     uint64  `json:"last_seq"`
	Seals    int     `json:"seals"` // that agree
	SealedTo uint64  `json:"sealed_to"`
}

type explainDocument struct {
	Key          string          `json:"key"`
	Seq          uint64          `json:"seq"`
	At           string          `json:"at"`
	Kind         string          `json:"kind"`
	Account      string          `json:"account"`
	AccountName  string          `json:"account_name"`
	Subscription string          `json:"subscription"`
	Plan         string          `json:"plan"`
	Version      int             `json:"version"`
	Currency     string          `json:"currency"`
	Period       explainPeriod   `json:"period"`
	Lines        []explainLine   `json:"lines"`
	Coupons      []explainCredit `json:"coupons,omitempty"`
	Subtotal     string          `json:"subtotal"`
	Credits      []explainCredit `json:"credits"`
	Taxes        []explainTax    `json:"taxes,omitempty"`
	Total        string          `json:"total"`
	Outbox       bool            `json:"outbox"` // it holds the same bytes
}

type explainPeriod struct {
	Start     string `json:"start"`
	End       string `json:"end"`
	Zone      string `json:"zone"`
	StartDate string `json:"start_date"`
}

// explainCredit is what a credit or a coupon took off.
type explainCredit struct {
	ID     string `json:"id"`
	Amount string `json:"amount"`
}

type explainTax struct {
	Code    string `json:"code"`
	Percent string `json:"percent"`
	Base    string `json:"base"`
	Amount  string `json:"amount"`
}

// explainLine is a line, or an adjustment: then the figures are those of the closed period now.
type explainLine struct {
	Line       string         `json:"line"`
	Adjusts    *explainPeriod `json:"adjusts"` // null: a line
	Price      string         `json:"price"`
	Model      string         `json:"model"`
	Meter      string         `json:"meter,omitempty"`
	Aggregate  string         `json:"aggregate,omitempty"`
	Unit       string         `json:"unit,omitempty"`
	Group      []dimValue     `json:"group"`
	From       string         `json:"from"`
	To         string         `json:"to"`
	Days       int64          `json:"days"`
	FullDays   int64          `json:"full_days"`
	Steps      []string       `json:"steps"`
	Quantity   string         `json:"quantity,omitempty"`
	Billable   string         `json:"billable,omitempty"`
	Tiers      []explainTier  `json:"tiers,omitempty"`
	Rated      string         `json:"rated"`
	Discount   string         `json:"discount,omitempty"`
	Off        string         `json:"off,omitempty"`
	Bound      string         `json:"bound,omitempty"`
	Coupons    []explainOff   `json:"coupons,omitempty"`
	Trial      bool           `json:"trial,omitempty"`
	TaxCode    string         `json:"tax_code,omitempty"` // of an invoice with taxes
	Exact      string         `json:"exact"`
	RatedNow   string         `json:"rated_now,omitempty"` // adjustments: the closed period's line
	Booked     string         `json:"booked,omitempty"`    // by the documents before
	Amount     string         `json:"amount"`              // on the document
	Reconciles bool           `json:"reconciles"`
	Count      uint64         `json:"count"` // events
	Events     []explainEvent `json:"events"`
	BackCount  uint64         `json:"taken_back_count,omitempty"`
	Back       []explainBack  `json:"taken_back,omitempty"`
	Carried    []explainLevel `json:"carried,omitempty"`
}

// explainOff is a percentage that a coupon takes off a line.
type explainOff struct {
	ID      string `json:"id"`
	Percent string `json:"percent"`
}

// explainBack is an event that no longer counts for a line.
type explainBack struct {
	Seq     uint64 `json:"seq"`
	By      uint64 `json:"by"` // the correction
	At      string `json:"at"`
	Actor   string `json:"actor"`
	Reason  string `json:"reason"`
	Amended bool   `json:"amended"`
}

// explainLevel is a level that goes on from before the period.
type explainLevel struct {
	Group []dimValue `json:"group"`
	Level string     `json:"level"`
	Since string     `json:"since"`
}

type explainTier struct {
	Tier     int    `json:"tier"`
	Quantity string `json:"quantity"`
	Amount   string `json:"amount"`
}

type explainEvent struct {
	Seq     uint64     `json:"seq"`
	At      string     `json:"at"`
	Time    string     `json:"time"`
	ID      string     `json:"id"`
	Subject string     `json:"subject"`
	Value   string     `json:"value"`
	Group   []dimValue `json:"group"`
	Origin  api.Origin `json:"origin"`
	Place   string     `json:"place"` // in the journal or in an archive file

	Amends *explainBack `json:"amends,omitempty"` // the version in whose place it stands
}

// text says what was read, for people.
func (r *explainRead) text() string {
	from := "the first entry"
	if r.Opening != nil {
		from = "the opening of " + *r.Opening
	}
	return fmt.Sprintf("%s on, positions %s to %s; %s, the last of position %s", from,
		grouped(r.First), grouped(r.Last), agree(r.Seals), grouped(r.SealedTo))
}

func agree(seals int) string {
	if seals == 1 {
		return "1 seal agrees"
	}
	return grouped(uint64(seals)) + " seals agree"
}

func explainAnswerOf(x *live.Explanation) *explainAnswer {
	a := &explainAnswer{
		Schema: "billctl.explain.v1", Journal: hex.EncodeToString(x.Journal[:]),
		Read: explainRead{
			First: uint64(x.First), Last: uint64(x.Last), Seals: x.Seals, SealedTo: uint64(x.Sealed),
		},
		Documents: []explainDocument{},
	}
	if x.Opening != nil {
		a.Read.Opening = &x.Opening.Month
	}
	for i := range x.Documents {
		a.Documents = append(a.Documents, explainDocumentOf(&x.Documents[i]))
	}
	return a
}

func explainDocumentOf(d *live.ExplainedDocument) explainDocument {
	inv := d.Invoice
	out := explainDocument{
		Key: d.Key, Seq: uint64(d.Seq), At: d.At.String(), Kind: inv.Kind.String(),
		Account: inv.Account, AccountName: inv.AccountName, Subscription: inv.Subscription,
		Plan: inv.Plan, Version: inv.Version, Currency: inv.Currency, Outbox: d.Outbox,
		Period: explainPeriod{inv.Start.String(), inv.End.String(), inv.Zone, inv.StartDate},
		Lines:  []explainLine{}, Credits: []explainCredit{},
		Subtotal: inv.Subtotal.Text(inv.Digits), Total: inv.Total.Text(inv.Digits),
	}
	for _, c := range inv.Credits {
		out.Credits = append(out.Credits, explainCredit{c.ID, c.Amount.Text(inv.Digits)})
	}
	for _, c := range inv.Coupons {
		out.Coupons = append(out.Coupons, explainCredit{c.ID, c.Amount.Text(inv.Digits)})
	}
	for _, t := range inv.Taxes {
		out.Taxes = append(out.Taxes, explainTax{
			t.Code, t.Percent.String(), t.Base.Text(inv.Digits), t.Amount.Text(inv.Digits),
		})
	}
	for i := range d.Lines {
		out.Lines = append(out.Lines, explainLineOf(&d.Lines[i], inv))
	}
	return out
}

func explainLineOf(l *live.ExplainedLine, inv *engine.Invoice) explainLine {
	out := explainLine{
		Line: l.Key, Price: l.Line.Price, Model: modelOf(&l.Line), Group: dimValues(l.Line.Group),
		From: l.Terms.Start.String(), To: l.Terms.End.String(), Days: l.Terms.Days,
		FullDays: l.Terms.FullDays, Rated: l.Line.Rated.String(), Exact: l.Line.Exact.String(),
		Amount: l.Line.Amount.Text(inv.Digits), Reconciles: true, Count: uint64(l.Count),
		Events: []explainEvent{}, Steps: api.Steps(l, inv),
	}
	if l.Meter != nil {
		out.Meter, out.Unit = l.Meter.Key, l.Meter.Unit
		out.Aggregate = formats.AggregateWord(l.Meter.Aggregate)
		out.Quantity, out.Billable = l.Line.Quantity.String(), l.Line.Billable.String()
	}
	if !l.Line.Discount.IsZero() {
		out.Discount = l.Line.Discount.String()
	}
	if !l.Line.Off.IsZero() {
		out.Off = l.Line.Off.String()
	}
	out.Bound, out.Trial = formats.BoundWord(l.Line.Bound), l.Line.Trial
	for _, c := range l.Line.Coupons {
		out.Coupons = append(out.Coupons, explainOff{c.ID, c.Percent.String()})
	}
	if len(inv.Taxes) > 0 {
		out.TaxCode = l.Price.TaxCode
	}
	for _, t := range l.Line.Tiers {
		out.Tiers = append(out.Tiers, explainTier{t.Tier + 1, t.Quantity.String(), t.Amount.String()})
	}
	if a := l.Adjustment; a != nil {
		out.Price, out.Group = a.Price, dimValues(a.Group)
		out.Adjusts = &explainPeriod{a.Start.String(), a.End.String(), inv.Zone, a.StartDate}
		out.RatedNow, out.Booked = a.Rated.Text(inv.Digits), a.Booked.Text(inv.Digits)
		out.Amount = a.Amount.Text(inv.Digits)
	}
	for i := range l.Events {
		out.Events = append(out.Events, explainEventOf(&l.Events[i], l.Meter))
	}
	out.BackCount = uint64(l.BackCount)
	for i := range l.Back {
		out.Back = append(out.Back, *explainBackOf(&l.Back[i]))
	}
	for i := range l.Usage {
		u := &l.Usage[i]
		if c := u.Fold.Carried; c != nil {
			out.Carried = append(out.Carried, explainLevel{
				dimValues(u.Group), c.Value.Rat().String(), c.Time.String(),
			})
		}
	}
	return out
}

func explainBackOf(b *live.ExplainedBack) *explainBack {
	return &explainBack{
		uint64(b.Seq), uint64(b.By), b.At.String(), b.Actor, b.Reason, b.Amended,
	}
}

func explainEventOf(e *live.ExplainedEvent, m *engine.Meter) explainEvent {
	value := e.Value.String()
	switch m.Aggregate {
	case engine.Count:
		value = "1"
	case engine.Unique:
		value = e.Text
	}
	out := explainEvent{
		Seq: uint64(e.Seq), At: e.At.String(), Time: e.Time.String(), ID: e.ID, Subject: e.Subject,
		Value: value, Group: dimValues(e.Group),
		Origin: api.Origin{Source: e.Source, Partition: e.Partition, Offset: e.Offset},
		Place:  e.Place.String(),
	}
	if e.Amends != nil {
		out.Amends = explainBackOf(e.Amends)
	}
	return out
}

// modelOf returns the word of a line's charge model; an adjustment to nothing has none.
func modelOf(l *engine.Line) string {
	if l.Model == 0 {
		return ""
	}
	return formats.ModelWord(l.Model)
}

func dimValues(group []engine.GroupValue) []dimValue {
	out := []dimValue{}
	for i := range group {
		v := dimValue{Dimension: group[i].Dim}
		if !group[i].Absent {
			v.Value = &group[i].Value
		}
		out = append(out, v)
	}
	return out
}

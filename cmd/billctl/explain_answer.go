package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
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
	Subtotal     string          `json:"subtotal"`
	Credits      []explainCredit `json:"credits"`
	Total        string          `json:"total"`
	Outbox       bool            `json:"outbox"` // it holds the same bytes
}

type explainPeriod struct {
	Start     string `json:"start"`
	End       string `json:"end"`
	Zone      string `json:"zone"`
	StartDate string `json:"start_date"`
}

type explainCredit struct {
	ID     string `json:"id"`
	Amount string `json:"amount"`
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
	Bound      string         `json:"bound,omitempty"`
	Exact      string         `json:"exact"`
	RatedNow   string         `json:"rated_now,omitempty"` // adjustments: the closed period's line
	Booked     string         `json:"booked,omitempty"`    // by the documents before
	Amount     string         `json:"amount"`              // on the document
	Reconciles bool           `json:"reconciles"`
	Count      uint64         `json:"count"` // events
	Events     []explainEvent `json:"events"`
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
		Events: []explainEvent{}, Steps: explainSteps(l, inv),
	}
	if l.Meter != nil {
		out.Meter, out.Unit = l.Meter.Key, l.Meter.Unit
		out.Aggregate = formats.AggregateWord(l.Meter.Aggregate)
		out.Quantity, out.Billable = l.Line.Quantity.String(), l.Line.Billable.String()
	}
	if !l.Line.Discount.IsZero() {
		out.Discount = l.Line.Discount.String()
	}
	out.Bound = boundWord(l.Line.Bound)
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
	return out
}

func explainEventOf(e *live.ExplainedEvent, m *engine.Meter) explainEvent {
	value := e.Value.String()
	if m.Aggregate == engine.Count {
		value = "1"
	}
	return explainEvent{
		Seq: uint64(e.Seq), At: e.At.String(), Time: e.Time.String(), ID: e.ID, Subject: e.Subject,
		Value: value, Group: dimValues(e.Group),
		Origin: api.Origin{Source: e.Source, Partition: e.Partition, Offset: e.Offset},
		Place:  e.Place.String(),
	}
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

func boundWord(b engine.Bound) string {
	switch b {
	case engine.ByMinimum:
		return "minimum"
	case engine.ByMaximum:
		return "maximum"
	}
	return ""
}

// explainSteps says how a line comes from its events, a step a sentence.
func explainSteps(l *live.ExplainedLine, inv *engine.Invoice) []string {
	var steps []string
	if l.Line.Model != 0 {
		steps = append(steps, lineSteps(l, inv)...)
	} else {
		steps = append(steps, "the period has no such line any more: 0")
	}
	a := l.Adjustment
	if a == nil {
		return steps
	}
	return append(steps, fmt.Sprintf("now %s, booked before %s: difference %s %s",
		a.Rated.Text(inv.Digits), a.Booked.Text(inv.Digits), a.Amount.Text(inv.Digits), inv.Currency))
}

func lineSteps(l *live.ExplainedLine, inv *engine.Invoice) []string {
	var steps []string
	if l.Meter == nil {
		steps = append(steps, flatStep(l))
	} else {
		steps = append(steps, quantityStep(l))
		steps = append(steps, billableSteps(l)...)
		steps = append(steps, priceSteps(l)...)
	}
	exact := l.Line.Rated
	if !l.Line.Discount.IsZero() {
		hundred := decimal.Int(100)
		less := exact.Mul(hundred.Sub(l.Line.Discount.Rat())).Quo(hundred)
		steps = append(steps, fmt.Sprintf("discount %s %%: %s -> %s", l.Line.Discount,
			ratText(exact), ratText(less)))
		exact = less
	}
	if word := boundWord(l.Line.Bound); word != "" {
		steps = append(steps, fmt.Sprintf("%s %s: %s -> %s", word, l.Line.Exact, ratText(exact),
			l.Line.Exact))
	}
	return append(steps, fmt.Sprintf("%s rounded: %s %s", ratText(l.Line.Exact),
		l.Line.Amount.Text(inv.Digits), inv.Currency))
}

func quantityStep(l *live.ExplainedLine) string {
	text := strings.TrimSpace(commas(l.Line.Quantity.String())+" "+l.Meter.Unit) + " from " +
		counted(uint64(l.Count), "event")
	switch l.Meter.Aggregate {
	case engine.Total:
		text += ": the sum of their values"
	case engine.Least:
		text += ": the least of their values"
	case engine.Most:
		text += ": the greatest of their values"
	}
	return text
}

// billableSteps say how a quantity becomes the one that is priced.
func billableSteps(l *live.ExplainedLine) []string {
	var steps []string
	q := l.Line.Quantity
	if c := l.Price.Convert; c != nil {
		text := commas(q.String())
		if c.Multiply.Cmp(decimal.FromInt(1)) != 0 {
			text += " x " + c.Multiply.String()
		}
		if c.Divide.Cmp(decimal.FromInt(1)) != 0 {
			text += " / " + c.Divide.String()
		}
		q = q.Mul(c.Multiply.Rat()).Quo(c.Divide.Rat())
		switch c.Round {
		case engine.RoundUp:
			text, q = text+", rounded up", q.Ceil()
		case engine.RoundDown:
			text, q = text+", rounded down", q.Floor()
		case engine.RoundNearest:
			text, q = text+", rounded", q.Nearest()
		}
		steps = append(steps, "convert: "+text+" = "+commas(q.String()))
	}
	if !l.Price.Free.IsZero() && q.Sign() > 0 {
		steps = append(steps, fmt.Sprintf("%s free: %s -> %s", commas(l.Price.Free.String()),
			commas(q.String()), commas(l.Line.Billable.String())))
	}
	return steps
}

// priceSteps say what the model makes of the billable quantity.
func priceSteps(l *live.ExplainedLine) []string {
	p := &l.Price
	switch {
	case p.Model == engine.Unit:
		return []string{fmt.Sprintf("%s at %s = %s", commas(l.Line.Billable.String()), p.Unit,
			ratText(l.Line.Rated))}
	case p.Model == engine.Package && len(p.Tiers) == 0:
		return []string{packageStep(l.Line.Billable, p.Size, p.Amount, l.Line.Rated)}
	}
	var steps []string
	for _, u := range l.Line.Tiers {
		t := &p.Tiers[u.Tier]
		if p.Model == engine.Package {
			steps = append(steps, packageStep(u.Quantity, t.Size, t.Amount, u.Amount))
			continue
		}
		text := commas(u.Quantity.String()) + " at " + t.Unit.String()
		if flat := u.Amount.Sub(u.Quantity.Mul(t.Unit.Rat())); !flat.IsZero() {
			text += " and " + flat.String() + " for the tier"
		}
		if t.Last || p.Model == engine.Volume {
			text += tierText(p, u.Tier)
		}
		steps = append(steps, text+" = "+ratText(u.Amount))
	}
	switch len(steps) {
	case 0:
		steps = append(steps, "nothing to price = 0")
	case 1:
	default:
		steps = append(steps, "together "+ratText(l.Line.Rated))
	}
	return steps
}

// tierText names the tier that prices a whole quantity, or what is beyond the last bound.
func tierText(p *engine.Price, tier int) string {
	switch {
	case !p.Tiers[tier].Last:
		return " (tier up to " + commas(p.Tiers[tier].UpTo.String()) + ")"
	case tier > 0:
		return " (above " + commas(p.Tiers[tier-1].UpTo.String()) + ")"
	}
	return ""
}

func packageStep(q decimal.Rat, size, price decimal.Decimal, amount decimal.Rat) string {
	return fmt.Sprintf("%s in packages of %s: %s begun at %s = %s", commas(q.String()), size,
		commas(q.Quo(size.Rat()).Ceil().String()), price, ratText(amount))
}

func flatStep(l *live.ExplainedLine) string {
	when := "in arrears"
	if l.Price.Advance {
		when = "in advance"
	}
	days := fmt.Sprintf(" for %s to %s, %s", l.Terms.Start, l.Terms.End, when)
	if !l.Price.Prorate || l.Terms.Days == l.Terms.FullDays {
		return l.Price.Amount.String() + days
	}
	return fmt.Sprintf("%s x %d of %d days%s = %s", l.Price.Amount, l.Terms.Days, l.Terms.FullDays,
		days, ratText(l.Line.Rated))
}

// ratText writes an exact number; one that is no decimal with what it is about.
func ratText(r decimal.Rat) string {
	text := r.String()
	if !strings.Contains(text, "/") {
		return text
	}
	return text + " (about " + r.Round(6, decimal.HalfAway).Text(6) + ")"
}

// commas groups the digits before the point of a number.
func commas(text string) string {
	if strings.Contains(text, "/") {
		return text
	}
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	whole, rest, point := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + rest
	}
	return sign + whole
}

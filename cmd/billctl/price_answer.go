package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// priceReport is the answer of price eval (docs/formats/price.md).
type priceReport struct {
	Schema   string `json:"schema"`
	Model    string `json:"model"`
	Currency string `json:"currency"`
	Digits   int    `json:"digits"`
	Rounding string `json:"rounding"`

	Uncovered int `json:"uncovered,omitempty"` // events, or 1 for a quantity

	priceLine
	Lines []priceLine `json:"lines,omitempty"`
}

// priceLine is one line, or the sum of all. A flat price has no quantity.
type priceLine struct {
	Group    []dimValue   `json:"group,omitempty"`
	Quantity *string      `json:"quantity"`
	Billable *string      `json:"billable"`
	Tiers    []priceTier  `json:"tiers"`
	Events   []priceEvent `json:"events,omitempty"`
	Rated    string       `json:"rated"`
	Discount string       `json:"discount"`
	Off      string       `json:"off"`
	Bound    *string      `json:"bound"`
	Exact    string       `json:"exact"`
	Amount   string       `json:"amount"`
}

// priceTier is a tier that priced something. Unit and Flat, or of packages Size and Package, are
// the catalog's; the unit of graduated_percentage is a percent.
type priceTier struct {
	Tier     int     `json:"tier"`
	From     string  `json:"from"`
	UpTo     *string `json:"up_to"`
	Quantity string  `json:"quantity"`
	Unit     *string `json:"unit,omitempty"`
	Flat     *string `json:"flat,omitempty"`
	Size     *string `json:"size,omitempty"`
	Package  *string `json:"package,omitempty"`
	Amount   string  `json:"amount"`
}

type priceEvent struct {
	Event  uint64  `json:"event"` // its number in the file, from 1
	Time   *string `json:"time"`
	Value  string  `json:"value"`
	Amount string  `json:"amount"`
}

func (s *session) priceJSON(e *evaluation) error {
	p := &e.price.Price
	out := priceReport{
		Schema: "billctl.price_eval.v1", Model: formats.ModelWord(p.Model), Currency: e.price.Currency,
		Digits: e.price.Digits, Rounding: roundingWord(e.price.Rounding), Uncovered: e.uncovered,
	}
	if !e.split {
		out.priceLine = e.report(&e.lines[0])
		return json.NewEncoder(s.stdout).Encode(out)
	}
	sum := e.sum()
	out.priceLine = e.report(&sum)
	out.Events = nil
	out.Lines = []priceLine{}
	for i := range e.lines {
		out.Lines = append(out.Lines, e.report(&e.lines[i]))
	}
	return json.NewEncoder(s.stdout).Encode(out)
}

// sum adds up lines, as a subtotal does.
func (e *evaluation) sum() engine.Line {
	sum := engine.Line{Model: e.price.Price.Model, Discount: e.price.Price.Discount}
	for i := range e.lines {
		l := &e.lines[i]
		sum.Quantity = sum.Quantity.Add(l.Quantity)
		sum.Billable = sum.Billable.Add(l.Billable)
		sum.Rated = sum.Rated.Add(l.Rated)
		sum.Exact = sum.Exact.Add(l.Exact)
		sum.Amount = sum.Amount.Add(l.Amount)
	}
	return sum
}

// report writes a line.
func (e *evaluation) report(l *engine.Line) priceLine {
	out := priceLine{
		Tiers: []priceTier{}, Rated: l.Rated.String(), Discount: l.Discount.String(),
		Off: l.Off.String(), Exact: l.Exact.String(), Amount: l.Amount.Text(e.price.Digits),
	}
	out.Group = dimValues(l.Group)
	if word := priceBound(l.Bound); word != "" {
		out.Bound = &word
	}
	p := &e.price.Price
	if p.Model == engine.Flat {
		return out
	}
	out.Quantity, out.Billable = textOf(l.Quantity), textOf(l.Billable)
	for i := range l.Tiers {
		out.Tiers = append(out.Tiers, tierOf(p, &l.Tiers[i]))
	}
	if p.Model == engine.Percentage {
		out.Events = []priceEvent{}
		for _, x := range e.paid(e.usesOf(l), maxPaid) {
			out.Events = append(out.Events, priceEvent{
				uint64(x.use.Seq), timeOf(x.use), x.use.Value.String(), x.amount.String(),
			})
		}
	}
	return out
}

func textOf(r decimal.Rat) *string {
	text := r.String()
	return &text
}

// timeOf returns the time of an event; nil where its file gave none.
func timeOf(u *engine.Use) *string {
	if u.Time < engine.MinTime+engine.Second {
		return nil
	}
	text := u.Time.String()
	return &text
}

func tierOf(p *engine.Price, use *engine.TierUse) priceTier {
	t := &p.Tiers[use.Tier]
	out := priceTier{
		Tier: use.Tier + 1, From: "0", Quantity: use.Quantity.String(), Amount: use.Amount.String(),
	}
	if use.Tier > 0 {
		out.From = p.Tiers[use.Tier-1].UpTo.String()
	}
	text := func(d decimal.Decimal) *string {
		text := d.String()
		return &text
	}
	if !t.Last {
		out.UpTo = text(t.UpTo)
	}
	if p.Model == engine.Package {
		out.Size, out.Package = text(t.Size), text(t.Amount)
	} else {
		out.Unit, out.Flat = text(t.Unit), text(t.Flat)
	}
	return out
}

// priceBound names the bound that made an amount.
func priceBound(b engine.Bound) string {
	if b == engine.ByCommitment {
		return "commitment"
	}
	return formats.BoundWord(b)
}

func roundingWord(r decimal.Rounding) string {
	if r == decimal.HalfEven {
		return "half_even"
	}
	return "half_away"
}

// priceTable shows how the amount comes about.
func (s *session) priceTable(e *evaluation) error {
	p := &e.price.Price
	title := "price"
	if p.Key != title {
		title += " " + p.Key
	}
	if err := s.lines(title + ": " + formats.ModelWord(p.Model)); err != nil {
		return err
	}
	if e.idle() {
		return s.lines("", "nothing to bill: no usage has the values that the price covers")
	}
	for i := range e.lines {
		if err := s.priceLine(e, &e.lines[i]); err != nil {
			return err
		}
	}
	if len(e.lines) < 2 {
		return nil
	}
	sum := e.sum()
	return s.lines("", fmt.Sprintf("sum of %d lines: %s %s", len(e.lines),
		sum.Amount.Text(e.price.Digits), e.price.Currency))
}

func (s *session) priceLine(e *evaluation, l *engine.Line) error {
	p := &e.price.Price
	if err := s.lines(""); err != nil {
		return err
	}
	if len(l.Group) > 0 {
		if err := s.lines(formats.Visible(rateGroup(l.Group))); err != nil {
			return err
		}
	}
	uses := e.usesOf(l)
	if p.Model != engine.Flat {
		if err := s.steps(e.quantitySteps(l, uses)); err != nil {
			return err
		}
		if err := s.priceParts(e, l, uses); err != nil {
			return err
		}
	}
	steps := e.amountSteps(l, uses)
	t := newTable("", ">", "")
	for _, x := range steps {
		t.add(x.what, x.value.String(), x.how)
	}
	made := "rounded to " + counted(uint64(e.price.Digits), "digit") + ", " +
		roundingWord(e.price.Rounding)
	t.add("amount", l.Amount.Text(e.price.Digits)+" "+e.price.Currency, made)
	return t.write(s.stdout, "")
}

func (s *session) steps(steps []step) error {
	t := newTable("", ">", "")
	for _, x := range steps {
		t.add(x.what, x.value.String(), x.how)
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	return s.lines("")
}

// fewPaid is how many events the table shows one by one.
const fewPaid = 20

// priceParts shows tiers, and what single events pay.
func (s *session) priceParts(e *evaluation, l *engine.Line, uses []engine.Use) error {
	p := &e.price.Price
	t := newTable(">tier", ">above", ">up to", ">quantity", ">unit", ">flat", ">amount")
	switch p.Model {
	case engine.Package:
		t.head[4], t.head[5] = ">size", ">a package"
	case engine.GraduatedPercentage:
		t.head[4] = ">percent"
	case engine.Percentage:
		return s.pricePaid(e, uses)
	}
	for i := range l.Tiers {
		r := tierOf(p, &l.Tiers[i])
		first, second := r.Unit, r.Flat
		if p.Model == engine.Package {
			first, second = r.Size, r.Package
		}
		upTo := "open"
		if r.UpTo != nil {
			upTo = *r.UpTo
		}
		t.add(strconv.Itoa(r.Tier), r.From, upTo, r.Quantity, *first, *second, r.Amount)
	}
	if len(t.rows) == 0 {
		return nil
	}
	if err := t.write(s.stdout, "  "); err != nil {
		return err
	}
	return s.lines("")
}

// pricePaid shows what the first events pay.
func (s *session) pricePaid(e *evaluation, uses []engine.Use) error {
	t := newTable(">event", "time", ">value", ">pays")
	for _, x := range e.paid(uses, fewPaid) {
		at := ""
		if text := timeOf(x.use); text != nil {
			at = *text
		}
		t.add(strconv.FormatUint(uint64(x.use.Seq), 10), at, x.use.Value.String(), x.amount.String())
	}
	if err := t.write(s.stdout, "  "); err != nil {
		return err
	}
	if n := len(uses) - fewPaid; n > 0 {
		return s.lines(fmt.Sprintf("  and %s more", grouped(uint64(n))), "")
	}
	return s.lines("")
}

// quantityWords says where a quantity comes from.
func (e *evaluation) quantityWords(events int) string {
	if events == 1 {
		return ""
	}
	return formats.AggregateWord(e.price.Meter.Aggregate) + " of " +
		counted(uint64(events), "event")
}

func convertText(c *engine.Convert) string {
	text := ""
	one := decimal.FromInt(1)
	if c.Multiply != one {
		text += "× " + c.Multiply.String() + " "
	}
	if c.Divide != one {
		text += "÷ " + c.Divide.String() + " "
	}
	switch c.Round {
	case engine.RoundUp:
		text += "rounded up"
	case engine.RoundDown:
		text += "rounded down"
	case engine.RoundNearest:
		text += "rounded to the nearest"
	}
	return text
}

// modelText says how the model prices the billable quantity.
func modelText(p *engine.Price, l *engine.Line) string {
	b := l.Billable.String()
	switch p.Model {
	case engine.Flat:
		return "flat"
	case engine.Unit:
		if p.Matrix != nil {
			return b + " × " + matrixUnit(p.Matrix, l.Group)
		}
		return b + " × " + p.Unit.String()
	case engine.Graduated, engine.GraduatedPercentage:
		return "each tier's part by its own price"
	case engine.Volume:
		return "all by the tier that holds the quantity"
	case engine.Stairstep:
		return "the flat amount of the tier that holds the quantity"
	case engine.Package:
		if len(p.Tiers) > 0 {
			return "each package that was begun, by tier"
		}
		return p.Amount.String() + " for each " + p.Size.String() + " that were begun"
	case engine.Percentage:
		return p.Rate.String() + " % of each event" + fixedText(p)
	case engine.Dynamic:
		return b + " × " + p.Multiplier.String()
	}
	return ""
}

// matrixUnit returns the unit price of the row that priced a line.
func matrixUnit(m *engine.Matrix, group []engine.GroupValue) string {
	for i := range m.Rows {
		same := len(group) == len(m.Dims)
		for j := range group {
			same = same && m.Rows[i].Values[j] == group[j].Value
		}
		if same {
			return m.Rows[i].Unit.String()
		}
	}
	return "the unit price of its row"
}

// fixedText says what else there is to a percentage.
func fixedText(p *engine.Price) string {
	text := ""
	if !p.Fixed.IsZero() {
		text += " + " + p.Fixed.String()
	}
	if p.MinEach != nil {
		text += ", at least " + p.MinEach.String()
	}
	if p.MaxEach != nil {
		text += ", at most " + p.MaxEach.String()
	}
	if p.FreeEvents > 0 {
		text += ", free: the first " + counted(uint64(p.FreeEvents), "event")
	}
	if !p.FreeAmount.IsZero() {
		text += ", free: the first " + p.FreeAmount.String()
	}
	return text
}

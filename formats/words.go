package formats

import (
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// PeriodText describes the periods of a plan: "month", "month from its start", "week from monday".
func PeriodText(p *engine.Plan) string {
	if p.Anchor == engine.CalendarAnchor {
		return intervalWord(p.Interval)
	}
	return intervalWord(p.Interval) + " from " + anchorWord(p)
}

// AggregateText describes how a meter aggregates what it reads.
func AggregateText(m *engine.Meter) string {
	words := AggregateWord(m.Aggregate)
	switch {
	case m.Aggregate == engine.TimeWeighted:
		words += " per " + timeUnitWord(m.Per)
	case m.Aggregate == engine.Percentile:
		words += " " + m.Percent.String()
		if m.Window != 0 {
			words += fmt.Sprintf(" of %s by %s", ofWord(m.Of), spanWord(m.Window))
		}
	}
	if m.RoundEach != nil {
		words += ", each " + roundEachWords(m.RoundEach)
	}
	return words
}

// ValueText describes what a meter reads of an event: a path, a constant, or nothing.
func ValueText(m *engine.Meter) string {
	if m.Constant != nil {
		return m.Constant.String()
	}
	return m.Value
}

// WhereText describes which events of its type a meter counts: "" for all.
func WhereText(m *engine.Meter) string {
	words := make([]string, len(m.Where))
	for i, f := range m.Where {
		words[i] = f.Path + " is " + strings.Join(f.Values, " or ")
	}
	return strings.Join(words, ", ")
}

// PriceText describes the terms of a price in one line: what it is of, what it costs, and what
// changes that. Amounts are in major units of the plan's currency.
func PriceText(p *engine.Price) string {
	words := costWords(p)
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if p.Convert != nil {
		add("quantity %s", convertWords(p.Convert))
	}
	if !p.Free.IsZero() {
		add("the first %s are free", p.Free)
	}
	for _, m := range p.Match {
		add("where %s is %s", m.Dim, strings.Join(m.Values, " or "))
	}
	if len(p.Per) > 0 {
		add("per %s", strings.Join(p.Per, ", "))
	}
	if !p.Discount.IsZero() {
		add("discount %s %%", p.Discount)
	}
	if !p.Off.IsZero() {
		add("discount %s", p.Off)
	}
	if c := p.Commitment; c != nil {
		add("commitment %s, beyond it * %s", c.Amount, c.Overage)
	}
	if p.Minimum != nil {
		add("minimum %s", p.Minimum)
	}
	if p.Maximum != nil {
		add("maximum %s", p.Maximum)
	}
	if p.ZeroFree {
		add("nothing without usage")
	}
	if p.TaxCode != "" {
		add("tax code %s", p.TaxCode)
	}
	return strings.Join(words, "; ")
}

// costWords describes what the model of a price makes of a quantity.
func costWords(p *engine.Price) []string {
	switch p.Model {
	case engine.Flat:
		words := []string{p.Amount.String() + " in " + timingWord(p.Advance)}
		if p.Prorate {
			words = append(words, "prorated by days")
		}
		return words
	case engine.Package:
		if len(p.Tiers) == 0 {
			return []string{packageWords(p.Amount, p.Size)}
		}
	case engine.Percentage:
		return percentageWords(p)
	case engine.Dynamic:
		if p.Multiplier == decimal.FromInt(1) {
			return []string{"the amounts of the events"}
		}
		return []string{"the amounts of the events * " + p.Multiplier.String()}
	case engine.Unit:
		if p.Matrix != nil {
			dims := strings.Join(p.Matrix.Dims, ", ")
			return []string{plural(len(p.Matrix.Rows), "price") + " by " + dims}
		}
		return []string{p.Unit.String() + " each"}
	}
	parts := make([]string, len(p.Tiers))
	for i := range p.Tiers {
		parts[i] = tierWords(p, i)
	}
	return []string{strings.Join(parts, ", ")}
}

func tierWords(p *engine.Price, i int) string {
	t := &p.Tiers[i]
	var cost string
	switch p.Model {
	case engine.Stairstep:
		cost = t.Flat.String()
	case engine.Package:
		cost = packageWords(t.Amount, t.Size)
	case engine.GraduatedPercentage:
		cost = t.Unit.String() + " %"
	default:
		cost = "at " + t.Unit.String()
	}
	if !t.Flat.IsZero() && p.Model != engine.Stairstep {
		cost += " and " + t.Flat.String()
	}
	switch {
	case t.Last && i == 0:
		return cost
	case t.Last:
		return "then " + cost
	}
	return "up to " + t.UpTo.String() + " " + cost
}

func packageWords(amount, size decimal.Decimal) string {
	return amount.String() + " for each " + size.String() + " begun"
}

func percentageWords(p *engine.Price) []string {
	words := []string{p.Rate.String() + " %"}
	if !p.Fixed.IsZero() {
		words[0] += " and " + p.Fixed.String() + " for each event"
	}
	for _, w := range []struct {
		name string
		at   *decimal.Decimal
	}{{"at least", p.MinEach}, {"at most", p.MaxEach}} {
		if w.at != nil {
			words = append(words, fmt.Sprintf("%s %s for an event", w.name, w.at))
		}
	}
	if p.FreeEvents > 0 {
		words = append(words, plural(int(p.FreeEvents), "event")+" free")
	}
	if !p.FreeAmount.IsZero() {
		words = append(words, "the first "+p.FreeAmount.String()+" free")
	}
	return words
}

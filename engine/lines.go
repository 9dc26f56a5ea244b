package engine

import (
	"cmp"
	"slices"
	"strings"

	"billctl/engine/decimal"
)

// lineInput is what the lines of one document are made of.
//
// A period's invoice has Period, and Next if the subscription goes on. A start invoice has only
// Next, which is then the first period. A closed period is rated again with Period alone.
type lineInput struct {
	Zone     *Zone
	Digits   int // of the currency's minor unit
	Rounding decimal.Rounding
	Meters   []*Meter // at least those that the prices name
	Usage    []Usage  // of Period, in any order; a meter and group may come in several parts
	SoFar    bool     // a preview of what was used so far: minimums are left out

	Period lineSpan // pays for usage, and flat amounts in arrears
	Next   lineSpan // pays flat amounts in advance, by its own terms
}

// lineSpan is the part [Start, End) of the calendar period [FullStart, FullEnd) that a
// subscription covers, and the prices of its terms.
type lineSpan struct {
	Prices             []Price
	Start, End         Micros
	FullStart, FullEnd Micros
}

// rateLines returns the lines: Period's, in the order of its prices and then of the groups, and
// after them the flat amounts of Next in advance, in the order of its prices.
//
// A line exists if its quantity, its amount or its exact amount is not zero, or if accepted usage
// matched its price.
func rateLines(in lineInput) []Line {
	lines := make([]Line, 0, len(in.Period.Prices))
	for i := range in.Period.Prices {
		p := &in.Period.Prices[i]
		switch {
		case p.Model != Flat:
			lines = in.usageLines(lines, p)
		case !p.Advance:
			lines = in.flatLine(lines, p, &in.Period)
		}
	}
	for i := range in.Next.Prices {
		if p := &in.Next.Prices[i]; p.Model == Flat && p.Advance {
			lines = in.flatLine(lines, p, &in.Next)
		}
	}
	return lines
}

// lineKey names a line within the documents of one subscription and period: the price's key, then
// "/dim=value" for each value of the group, or "/dim" where events carry none. The three marks are
// escaped inside the parts, so two lines never share a key.
func lineKey(price string, group []GroupValue) string {
	if len(group) == 0 {
		return escapeLinePart(price)
	}
	var b strings.Builder
	b.WriteString(escapeLinePart(price))
	for _, g := range group {
		b.WriteByte('/')
		b.WriteString(escapeLinePart(g.Dim))
		if !g.Absent {
			b.WriteByte('=')
			b.WriteString(escapeLinePart(g.Value))
		}
	}
	return b.String()
}

// flatLine adds the line of a flat amount for the span.
func (in *lineInput) flatLine(lines []Line, p *Price, s *lineSpan) []Line {
	r := rated{exact: p.Amount.Rat()}
	if p.Prorate {
		days, full := in.Zone.days(s.Start, s.End), in.Zone.days(s.FullStart, s.FullEnd)
		if days != full {
			r.exact = r.exact.Mul(decimal.Ratio(days, full))
		}
	}
	line := Line{Price: p.Key, Model: Flat, From: s.Start, To: s.End}
	return in.settle(lines, line, p, &r, false)
}

// usageLines adds the line of a price on a meter, or one for each value of its Per dimensions.
func (in *lineInput) usageLines(lines []Line, p *Price) []Line {
	m := in.meter(p.Meter)
	if len(p.Per) == 0 {
		var total Fold
		for i := range in.Usage {
			if u := &in.Usage[i]; p.covers(u) {
				total.Merge(m.Aggregate, u.Fold)
			}
		}
		return in.usageLine(lines, p, m, nil, total)
	}
	var covered []*Usage
	for i := range in.Usage {
		if u := &in.Usage[i]; p.covers(u) && u.Fold.Rows > 0 {
			covered = append(covered, u)
		}
	}
	slices.SortFunc(covered, func(a, b *Usage) int { return comparePer(p.Per, a, b) })
	for len(covered) > 0 {
		first, n := covered[0], 0
		var total Fold
		for n < len(covered) && comparePer(p.Per, first, covered[n]) == 0 {
			total.Merge(m.Aggregate, covered[n].Fold)
			n++
		}
		group := make([]GroupValue, len(p.Per))
		for i, dim := range p.Per {
			group[i] = first.value(dim)
		}
		lines = in.usageLine(lines, p, m, group, total)
		covered = covered[n:]
	}
	return lines
}

func (in *lineInput) usageLine(
	lines []Line, p *Price, m *Meter, group []GroupValue, total Fold,
) []Line {
	line := Line{
		Price: p.Key, Group: group, Meter: m.Key, Unit: m.Unit, Model: p.Model,
		From: in.Period.Start, To: in.Period.End,
	}
	line.Quantity = total.Quantity(m)
	r := p.rate(line.Quantity)
	return in.settle(lines, line, p, &r, total.Rows > 0)
}

// settle bounds and rounds the line, its only rounding, and adds it unless it says nothing.
func (in *lineInput) settle(lines []Line, line Line, p *Price, r *rated, used bool) []Line {
	line.Billable, line.Tiers = r.billable, r.tiers
	line.Rated, line.Discount = r.exact, p.Discount
	line.Exact, line.Bound = p.bound(r.exact, !in.SoFar)
	line.Amount = line.Exact.Round(in.Digits, in.Rounding)
	if !used && line.Quantity.IsZero() && line.Exact.IsZero() {
		return lines
	}
	return append(lines, line)
}

func (in *lineInput) meter(key string) *Meter {
	for _, m := range in.Meters {
		if m.Key == key {
			return m
		}
	}
	panic("BUG: a price is rated without its meter")
}

// covers reports whether the price is on the meter and every Match lets the group pass. A group
// without a value at a matched dimension does not pass.
func (p *Price) covers(u *Usage) bool {
	if u.Meter.Key != p.Meter {
		return false
	}
	for i := range p.Match {
		v := u.value(p.Match[i].Dim)
		if v.Absent || !slices.Contains(p.Match[i].Values, v.Value) {
			return false
		}
	}
	return true
}

// value returns the group's value of the dimension, absent if the meter has no such dimension.
func (u *Usage) value(dim string) GroupValue {
	for _, g := range u.Group {
		if g.Dim == dim {
			return g
		}
	}
	return GroupValue{Dim: dim, Absent: true}
}

// comparePer orders groups by their values of the dimensions: absent first, then by bytes.
func comparePer(per []string, a, b *Usage) int {
	for _, dim := range per {
		v, w := a.value(dim), b.value(dim)
		if v.Absent != w.Absent {
			if v.Absent {
				return -1
			}
			return 1
		}
		if c := cmp.Compare(v.Value, w.Value); c != 0 && !v.Absent {
			return c
		}
	}
	return 0
}

func escapeLinePart(s string) string {
	if !strings.ContainsAny(s, "%/=") {
		return s
	}
	return strings.NewReplacer("%", "%25", "/", "%2F", "=", "%3D").Replace(s)
}

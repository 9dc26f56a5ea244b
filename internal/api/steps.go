package api

import (
	"fmt"
	"strconv"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/internal/live"
)

// Steps says how a line comes from its events, a step a sentence. inv is the document that it is
// of.
func Steps(l *live.ExplainedLine, inv *engine.Invoice) []string { return stepsOf(l, inv, false) }

// stepsOf are Steps; soFar of a preview of what was used so far.
func stepsOf(l *live.ExplainedLine, inv *engine.Invoice, soFar bool) []string {
	var steps []string
	if l.Line.Model != 0 {
		steps = append(steps, lineSteps(l, inv, soFar)...)
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

func lineSteps(l *live.ExplainedLine, inv *engine.Invoice, soFar bool) []string {
	var steps []string
	if l.Meter == nil {
		steps = append(steps, flatStep(l))
	} else {
		steps = append(steps, quantitySteps(l)...)
		steps = append(steps, billableSteps(l)...)
		steps = append(steps, priceSteps(l)...)
	}
	more, _ := boundSteps(l, soFar)
	steps = append(steps, more...)
	return append(steps, fmt.Sprintf("%s rounded: %s %s", ratText(l.Line.Exact),
		l.Line.Amount.Text(inv.Digits), inv.Currency))
}

// boundSteps say how the exact amount comes from the rated one, and what they come to. So far means
// that the minimum, and what lifts an amount to the commitment, are left out.
func boundSteps(l *live.ExplainedLine, soFar bool) (steps []string, exact decimal.Rat) {
	exact = l.Line.Rated
	step := func(what string, to decimal.Rat) {
		steps = append(steps, what+": "+ratText(exact)+" -> "+ratText(to))
		exact = to
	}
	hundred := decimal.Int(100)
	if d := l.Line.Discount; !d.IsZero() {
		step("discount "+d.String()+" %", exact.Mul(hundred.Sub(d.Rat())).Quo(hundred))
	}
	if off := l.Line.Off; !off.IsZero() {
		step("discount "+off.String(), decimal.Max(exact.Sub(off.Rat()), decimal.Rat{}))
	}
	if c := l.Price.Commitment; c != nil {
		amount := c.Amount.Rat()
		switch beyond := exact.Sub(amount); {
		case beyond.Sign() < 0 && !soFar:
			step("commitment "+c.Amount.String(), amount)
		case beyond.Sign() > 0 && c.Overage != decimal.FromInt(1):
			step(fmt.Sprintf("commitment %s and %s x %s beyond it", c.Amount, ratText(beyond), c.Overage),
				amount.Add(beyond.Mul(c.Overage.Rat())))
		}
	}
	if m := l.Price.Maximum; m != nil && exact.Cmp(m.Rat()) > 0 {
		step("maximum "+m.String(), m.Rat())
	}
	if m := l.Price.Minimum; m != nil && !soFar && exact.Cmp(m.Rat()) < 0 {
		step("minimum "+m.String(), m.Rat())
	}
	for _, c := range l.Line.Coupons {
		step("coupon "+c.ID+", "+c.Percent.String()+" % off",
			exact.Mul(hundred.Sub(c.Percent.Rat())).Quo(hundred))
	}
	if l.Line.Trial {
		step("trial, which is free", decimal.Rat{})
	}
	return steps, exact
}

// billableSteps say how a quantity becomes the one that is priced.
func billableSteps(l *live.ExplainedLine) []string {
	var steps []string
	q := l.Line.Quantity
	if c := l.Price.Convert; c != nil {
		text := number(q)
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
		steps = append(steps, "convert: "+text+" = "+number(q))
	}
	if !l.Price.Free.IsZero() && q.Sign() > 0 {
		steps = append(steps, fmt.Sprintf("%s free: %s -> %s", commas(l.Price.Free.String()),
			number(q), number(l.Line.Billable)))
	}
	return steps
}

// priceSteps say what the model makes of the billable quantity.
func priceSteps(l *live.ExplainedLine) []string {
	p, q := &l.Price, number(l.Line.Billable)
	switch {
	case p.Model == engine.Percentage:
		return percentageSteps(l)
	case p.Model == engine.Dynamic && p.Multiplier == decimal.FromInt(1):
		return []string{q + " as the events have it"}
	case p.Model == engine.Dynamic:
		return []string{q + " x " + p.Multiplier.String() + " = " + ratText(l.Line.Rated)}
	case p.Matrix != nil:
		group := groupText(l.Line.Group)
		return []string{fmt.Sprintf("%s at %s (%s) = %s", q, p.Matrix.UnitOf(l.Line.Group), group,
			ratText(l.Line.Rated))}
	case p.Model == engine.Unit:
		return []string{fmt.Sprintf("%s at %s = %s", q, p.Unit, ratText(l.Line.Rated))}
	case p.Model == engine.Package && len(p.Tiers) == 0:
		return []string{packageStep(l.Line.Billable, p.Size, p.Amount, l.Line.Rated)}
	}
	var steps []string
	for i := range l.Line.Tiers {
		steps = append(steps, tierStep(p, &l.Line.Tiers[i]))
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

// tierStep says what a tier makes of its part of a quantity.
func tierStep(p *engine.Price, u *engine.TierUse) string {
	t := &p.Tiers[u.Tier]
	text, cost := number(u.Quantity)+" at "+t.Unit.String(), t.Unit.Rat()
	switch p.Model {
	case engine.Package:
		return packageStep(u.Quantity, t.Size, t.Amount, u.Amount)
	case engine.Stairstep:
		return number(u.Quantity) + tierText(p, u.Tier) + ": the tier costs " + ratText(u.Amount)
	case engine.GraduatedPercentage:
		text, cost = text+" %", cost.Quo(decimal.Int(100))
	}
	if flat := u.Amount.Sub(u.Quantity.Mul(cost)); !flat.IsZero() {
		text += " and " + flat.String() + " for the tier"
	}
	if t.Last || p.Model == engine.Volume {
		text += tierText(p, u.Tier)
	}
	return text + " = " + ratText(u.Amount)
}

// percentageSteps say what single events pay, the first of them by time.
func percentageSteps(l *live.ExplainedLine) []string {
	p := &l.Price
	each := "each event pays " + p.Rate.String() + " % of its amount"
	if !p.Fixed.IsZero() {
		each += " and " + p.Fixed.String()
	}
	if p.MinEach != nil {
		each += ", at least " + p.MinEach.String()
	}
	if p.MaxEach != nil {
		each += ", at most " + p.MaxEach.String()
	}
	var free []string
	if p.FreeEvents > 0 {
		free = append(free, "the first "+counted(uint64(p.FreeEvents), "event"))
	}
	if p.FreeAmount.Sign() > 0 {
		free = append(free, "the first "+commas(p.FreeAmount.String()))
	}
	if len(free) > 0 {
		each += "; free: " + strings.Join(free, " or ")
	}
	if len(free) > 1 {
		each += ", whichever is used up first"
	}
	steps := []string{each}
	fold := engine.FoldOf(l.Meter, l.Usage)
	for _, e := range p.FirstEvents(fold.Samples, stepParts) {
		amount := e.Amount.Rat()
		text := e.Time.String() + ": " + number(amount)
		if part := amount.Sub(e.Paid); !part.IsZero() {
			text += ", " + number(part) + " free"
		}
		steps = append(steps, text+" = "+ratText(e.Cost))
	}
	if fold.Rows > stepParts {
		steps = append(steps, "... "+grouped(fold.Rows-stepParts)+" more")
	}
	if fold.Rows != 1 {
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
	return fmt.Sprintf("%s in packages of %s: %s begun at %s = %s", number(q), size,
		number(q.Quo(size.Rat()).Ceil()), price, ratText(amount))
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
		return text // a fraction
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

// number writes an exact number for people.
func number(r decimal.Rat) string { return commas(ratText(r)) }

// grouped writes a count with commas between thousands.
func grouped(n uint64) string { return commas(strconv.FormatUint(n, 10)) }

// counted writes a count of things.
func counted(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}

// groupText writes the values of a group.
func groupText(group []engine.GroupValue) string {
	parts := make([]string, len(group))
	for i, g := range group {
		if parts[i] = g.Dim + "=" + g.Value; g.Absent {
			parts[i] = g.Dim + " absent"
		}
	}
	return strings.Join(parts, " ")
}

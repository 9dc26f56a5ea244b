package engine

import "billctl/engine/decimal"

// rated is what one price makes of what its usage adds up to.
type rated struct {
	billable decimal.Rat // the quantity that was priced: after conversion and free units
	exact    decimal.Rat // the amount before discount and bounds
	tiers    []TierUse   // parts with a quantity or an amount, by rising tier
}

// bounded is what discounts, a commitment and bounds make of an amount.
type bounded struct {
	exact decimal.Rat
	off   decimal.Decimal // the price's Off where it took anything
	by    Bound           // what made exact, if it was not the discounts
}

// rate prices a total, exactly. The order of the steps is fixed (docs/semantics.md, "Prices"):
// convert and round, free units, price. A Flat price is its amount, whatever the quantity, and
// Percentage looks at the samples of the total alone. Of a Matrix it is called with a copy of the
// price that has a row's unit price.
//
// The catalog holds no price without the tiers, sizes and divisors that its model needs.
func (p *Price) rate(t *total) rated {
	if p.Model == Percentage {
		return p.percentage(t.samples)
	}
	r := rated{billable: p.billable(t.quantity)}
	switch p.Model {
	case Flat:
		r.exact = p.Amount.Rat()
	case Unit:
		r.exact = r.billable.Mul(p.Unit.Rat())
	case Graduated, GraduatedPercentage:
		p.graduated(&r)
	case Volume:
		p.volume(&r)
	case Package:
		p.packages(&r)
	case Stairstep:
		p.stairstep(&r)
	case Dynamic:
		r.exact = r.billable.Mul(p.Multiplier.Rat())
	default:
		panic("BUG: a price has an unknown model")
	}
	return r
}

// hundred is what a percentage is divided by.
const hundred = 100

// bound applies the discount, the amount off, the commitment, the maximum and the minimum, in this
// order. Where the minimum is above the maximum it wins. A preview of what was used so far leaves
// out what the end of the period may make unnecessary: the minimum, and what lifts an amount to the
// commitment.
func (p *Price) bound(exact decimal.Rat, minimum bool) bounded {
	b := bounded{exact: exact}
	if !p.Discount.IsZero() {
		b.exact = b.exact.Mul(decimal.Int(1).Sub(percent(p.Discount)))
	}
	if p.Off.Sign() > 0 && b.exact.Sign() > 0 {
		b.exact, b.off = decimal.Max(b.exact.Sub(p.Off.Rat()), decimal.Rat{}), p.Off
	}
	if c := p.Commitment; c != nil {
		if due := c.due(b.exact, minimum); due.Cmp(b.exact) != 0 {
			b.exact, b.by = due, ByCommitment
		}
	}
	if p.Maximum != nil && b.exact.Cmp(p.Maximum.Rat()) > 0 {
		b.exact, b.by = p.Maximum.Rat(), ByMaximum
	}
	if p.Minimum != nil && minimum && b.exact.Cmp(p.Minimum.Rat()) < 0 {
		b.exact, b.by = p.Minimum.Rat(), ByMinimum
	}
	return b
}

// due returns what is due of usage that costs exact. Without trueUp it is not raised to the
// commitment.
func (c *Commitment) due(exact decimal.Rat, trueUp bool) decimal.Rat {
	amount := c.Amount.Rat()
	switch beyond := exact.Sub(amount); {
	case beyond.Sign() > 0:
		return amount.Add(beyond.Mul(c.Overage.Rat()))
	case trueUp:
		return amount
	}
	return exact
}

// billable converts and rounds a quantity and takes the free units off. Free units are not added
// to a quantity below zero, and do not make one.
func (p *Price) billable(q decimal.Rat) decimal.Rat {
	if c := p.Convert; c != nil {
		q = c.round(q.Mul(c.Multiply.Rat()).Quo(c.Divide.Rat()))
	}
	if q.Sign() <= 0 || p.Free.IsZero() {
		return q
	}
	return decimal.Max(q.Sub(p.Free.Rat()), decimal.Rat{})
}

func (c *Convert) round(q decimal.Rat) decimal.Rat {
	switch c.Round {
	case RoundUp:
		return q.Ceil()
	case RoundDown:
		return q.Floor()
	case RoundNearest:
		return q.Nearest()
	}
	return q
}

// graduated prices every tier's part of the quantity by that tier, and adds the flat amounts of
// the tiers that the quantity entered.
func (p *Price) graduated(r *rated) {
	p.eachTier(r, func(i int, part decimal.Rat) decimal.Rat {
		unit := p.Tiers[i].Unit.Rat()
		if p.Model == GraduatedPercentage {
			unit = percent(p.Tiers[i].Unit)
		}
		amount := part.Mul(unit)
		if i > 0 || p.paysFirstFlat(r.billable) {
			amount = amount.Add(p.Tiers[i].Flat.Rat())
		}
		return amount
	})
}

// volume prices the whole quantity by the one tier that holds it.
func (p *Price) volume(r *rated) {
	i := p.holding(r.billable)
	amount := r.billable.Mul(p.Tiers[i].Unit.Rat())
	if i > 0 || p.paysFirstFlat(r.billable) {
		amount = amount.Add(p.Tiers[i].Flat.Rat())
	}
	r.add(i, r.billable, amount)
}

// stairstep is the flat amount of the one tier that holds the quantity.
func (p *Price) stairstep(r *rated) {
	i, amount := p.holding(r.billable), decimal.Rat{}
	if i > 0 || p.paysFirstFlat(r.billable) {
		amount = p.Tiers[i].Flat.Rat()
	}
	r.add(i, r.billable, amount)
}

// holding returns the index of the tier that holds the quantity.
func (p *Price) holding(q decimal.Rat) int {
	i := 0
	for i < p.lastTier() && q.Cmp(p.Tiers[i].UpTo.Rat()) > 0 {
		i++
	}
	return i
}

// packages prices the packages that were begun; in tiers, those begun in each.
func (p *Price) packages(r *rated) {
	if len(p.Tiers) == 0 {
		r.exact = begun(r.billable, p.Size).Mul(p.Amount.Rat())
		return
	}
	p.eachTier(r, func(i int, part decimal.Rat) decimal.Rat {
		return begun(part, p.Tiers[i].Size).Mul(p.Tiers[i].Amount.Rat())
	})
}

// eachTier prices the part of the billable quantity that lies in each tier it entered. The first
// is always entered, and holds the whole of a quantity below zero.
func (p *Price) eachTier(r *rated, price func(tier int, part decimal.Rat) decimal.Rat) {
	q, lower := r.billable, decimal.Rat{}
	for i := range p.Tiers {
		if i > 0 && q.Cmp(lower) <= 0 {
			return
		}
		upper := q
		if i < p.lastTier() {
			upper = decimal.Min(q, p.Tiers[i].UpTo.Rat())
		}
		part := upper.Sub(lower)
		r.add(i, part, price(i, part))
		lower = upper
	}
}

// lastTier returns the index of the tier that has no upper bound.
func (p *Price) lastTier() int {
	if len(p.Tiers) == 0 {
		panic("BUG: a price in tiers has none")
	}
	return len(p.Tiers) - 1
}

// paysFirstFlat reports whether the quantity pays the first tier's flat amount: a quantity of zero
// or below does unless the price says otherwise.
func (p *Price) paysFirstFlat(q decimal.Rat) bool { return q.Sign() > 0 || !p.ZeroFree }

// begun returns how many packages the quantity begins. Below zero it is rounded up as well, so
// that only whole packages are given back.
func begun(q decimal.Rat, size decimal.Decimal) decimal.Rat { return q.Quo(size.Rat()).Ceil() }

// add adds a tier's part to the amount, and lists it unless it is nothing.
func (r *rated) add(tier int, quantity, amount decimal.Rat) {
	if quantity.IsZero() && amount.IsZero() {
		return
	}
	r.exact = r.exact.Add(amount)
	r.tiers = append(r.tiers, TierUse{Tier: tier, Quantity: quantity, Amount: amount})
}

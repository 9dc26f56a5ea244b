package engine

import "billctl/engine/decimal"

// rated is what one price makes of one quantity.
type rated struct {
	billable decimal.Rat // the quantity that was priced: after conversion and free units
	exact    decimal.Rat // the amount before discount and bounds
	tiers    []TierUse   // parts with a quantity or an amount, by rising tier
}

// rate prices a quantity, exactly. The order of the steps is fixed (docs/semantics.md, "Prices"):
// convert and round, free units, price. A Flat price is its amount, whatever the quantity.
//
// The catalog holds no price without the tiers, sizes and divisors that its model needs.
func (p *Price) rate(q decimal.Rat) rated {
	r := rated{billable: p.billable(q)}
	switch p.Model {
	case Flat:
		r.exact = p.Amount.Rat()
	case Unit:
		r.exact = r.billable.Mul(p.Unit.Rat())
	case Graduated:
		p.graduated(&r)
	case Volume:
		p.volume(&r)
	case Package:
		p.packages(&r)
	default:
		panic("BUG: a price has an unknown model")
	}
	return r
}

// bound applies discount, maximum and minimum, in this order. Where the minimum is above the
// maximum it wins. A preview of what was used so far leaves the minimum out.
func (p *Price) bound(exact decimal.Rat, minimum bool) (decimal.Rat, Bound) {
	by := NoBound
	if !p.Discount.IsZero() {
		hundred := decimal.Int(100)
		exact = exact.Mul(hundred.Sub(p.Discount.Rat())).Quo(hundred)
	}
	if p.Maximum != nil && exact.Cmp(p.Maximum.Rat()) > 0 {
		exact, by = p.Maximum.Rat(), ByMaximum
	}
	if p.Minimum != nil && minimum && exact.Cmp(p.Minimum.Rat()) < 0 {
		exact, by = p.Minimum.Rat(), ByMinimum
	}
	return exact, by
}

// with returns the price with the fields replaced that the override names.
func (p Price) with(o *Override) Price {
	replace := func(f PriceFields) bool { return o.Fields&f != 0 }
	if replace(OverrideAmount) {
		p.Amount = o.Value.Amount
	}
	if replace(OverrideUnit) {
		p.Unit = o.Value.Unit
	}
	if replace(OverrideSize) {
		p.Size = o.Value.Size
	}
	if replace(OverrideTiers) {
		p.Tiers = o.Value.Tiers
	}
	if replace(OverrideFree) {
		p.Free = o.Value.Free
	}
	if replace(OverrideDiscount) {
		p.Discount = o.Value.Discount
	}
	if replace(OverrideMinimum) {
		p.Minimum = o.Value.Minimum
	}
	if replace(OverrideMaximum) {
		p.Maximum = o.Value.Maximum
	}
	if replace(OverrideZeroUsage) {
		p.ZeroFree = o.Value.ZeroFree
	}
	return p
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
		amount := part.Mul(p.Tiers[i].Unit.Rat())
		if i > 0 || p.paysFirstFlat(r.billable) {
			amount = amount.Add(p.Tiers[i].Flat.Rat())
		}
		return amount
	})
}

// volume prices the whole quantity by the one tier that holds it.
func (p *Price) volume(r *rated) {
	i := 0
	for i < p.lastTier() && r.billable.Cmp(p.Tiers[i].UpTo.Rat()) > 0 {
		i++
	}
	amount := r.billable.Mul(p.Tiers[i].Unit.Rat())
	if i > 0 || p.paysFirstFlat(r.billable) {
		amount = amount.Add(p.Tiers[i].Flat.Rat())
	}
	r.add(i, r.billable, amount)
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

package engine

import "billctl/engine/decimal"

// percentage prices each event by its amount, in the order of time (docs/semantics.md, "Prices").
// The samples are by rising (Time, Value); one of many rows is as many equal events.
//
// The first events are free: as long as free events are left, if the price has any, and free amount
// is left, if it has any. The event that crosses the end of the free amount pays for the rest of
// its amount and the whole of Fixed. An amount below zero is money back: it gives back its
// percentage and nothing else, and uses up nothing that is free.
func (p *Price) percentage(samples []Sample) rated {
	e := events{
		price: p, rate: percent(p.Rate), fixed: p.Fixed.Rat(),
		left: decimal.Int(p.FreeEvents), leftAmount: p.FreeAmount.Rat(),
	}
	e.free = p.FreeEvents > 0 || p.FreeAmount.Sign() > 0
	for i := range samples {
		amount, n := samples[i].Value.Rat(), decimal.Int(int64(samples[i].Rows))
		switch {
		case amount.Sign() < 0:
			e.add(amount, amount.Mul(e.rate), n)
		case e.free:
			e.begin(amount, n)
		default:
			e.add(amount, e.pay(amount), n)
		}
	}
	return e.rated
}

// percent returns a percentage as the number by which something is multiplied.
func percent(d decimal.Decimal) decimal.Rat { return d.Rat().Quo(decimal.Int(hundred)) }

// events is how far the rating of single events has come.
type events struct {
	rated
	price       *Price
	rate, fixed decimal.Rat // of an amount; of each event that pays
	free        bool        // the first events, which are free, are not over
	left        decimal.Rat // free events, if the price has any
	leftAmount  decimal.Rat // free amount, if the price has any
}

// begin rates n events of an amount of which the first at least may be free.
func (e *events) begin(amount, n decimal.Rat) {
	skip := n
	if e.price.FreeEvents > 0 {
		skip = decimal.Min(skip, e.left)
	}
	limited := e.price.FreeAmount.Sign() > 0
	if limited && amount.Sign() > 0 {
		skip = decimal.Min(skip, e.leftAmount.Quo(amount).Floor())
	}
	e.left = e.left.Sub(skip)
	e.leftAmount = e.leftAmount.Sub(skip.Mul(amount))
	e.free = (e.price.FreeEvents == 0 || e.left.Sign() > 0) && (!limited || e.leftAmount.Sign() > 0)
	n = n.Sub(skip)
	if e.free && n.Sign() > 0 { // the next event is greater than the free amount that is left
		rest := amount.Sub(e.leftAmount)
		e.add(rest, e.pay(rest), decimal.Int(1))
		e.free, n = false, n.Sub(decimal.Int(1))
	}
	e.add(amount, e.pay(amount), n)
}

// pay returns what one event pays for an amount. The least of an event wins over its most.
func (e *events) pay(amount decimal.Rat) decimal.Rat {
	cost := amount.Mul(e.rate).Add(e.fixed)
	if e.price.MaxEach != nil {
		cost = decimal.Min(cost, e.price.MaxEach.Rat())
	}
	if e.price.MinEach != nil {
		cost = decimal.Max(cost, e.price.MinEach.Rat())
	}
	return cost
}

// add adds n events that pay cost each, for an amount each.
func (e *events) add(amount, cost, n decimal.Rat) {
	e.billable = e.billable.Add(amount.Mul(n))
	e.exact = e.exact.Add(cost.Mul(n))
}

package live

import (
	"cmp"
	"slices"

	"billctl/engine"
	"billctl/engine/decimal"
)

// Rehearsal is what corrections would do if they were journaled now.
type Rehearsal struct {
	Events  []RehearsedEvent  // in the order of the corrections
	Periods []RehearsedPeriod // that would change, by account, subscription and Start
}

// RehearsedEvent is what one correction would do.
type RehearsedEvent struct {
	Reason  engine.Reason // engine.Accepted: it would count
	Account string        // that owns the event; "": none does
	Periods []string      // start dates of the periods in which the event counts, old and new
}

// RehearsedPeriod is a period whose usage would change.
type RehearsedPeriod struct {
	Account, Subscription string
	StartDate             string
	Start, End            engine.Micros
	Closed                bool
	Meters                []RehearsedMeter
	Currency              string
	Digits                int
	// Before and After are what the next invoice would adjust for the period; 0 while it is open.
	Before, After decimal.Amount
}

// RehearsedMeter is a meter and group whose rows or quantity would change.
type RehearsedMeter struct {
	Meter         *engine.Meter
	Group         []engine.GroupValue
	Before, After engine.Usage // their Meter is nil where nothing is counted
	// QuantityBefore and QuantityAfter are over the whole period, 0 where nothing is counted.
	QuantityBefore, QuantityAfter decimal.Rat
}

// Rehearse says what corrections would do at an instant, behind the control files that wait. The
// desk, one of ReadDesk, is of no use afterwards: its state has the corrections.
func (d *Desk) Rehearse(voids []*engine.Void, at engine.Micros) (*Rehearsal, error) {
	before, err := d.WithControls(at)
	if err != nil {
		return nil, err
	}
	out := &Rehearsal{Events: make([]RehearsedEvent, len(voids))}
	touched := map[rehearsedID]bool{}
	for i, v := range voids {
		e := &out.Events[i]
		e.Account = ownerOf(before, v.Row)
		var list []rehearsedID
		for _, b := range []*engine.Batch{v.Row, v.Amend} {
			if b != nil {
				list = append(list, periodsOf(before, b)...)
			}
		}
		rejected, err := d.try(v, at)
		if err != nil {
			return nil, err
		}
		for _, r := range rejected {
			e.Reason = r.Reason
		}
		for _, id := range list {
			touched[id] = touched[id] || e.Reason == engine.Accepted
			e.Periods = append(e.Periods, id.date)
		}
		slices.Sort(e.Periods)
		e.Periods = slices.Compact(e.Periods)
	}
	after := d.st.Shards.Pin()
	bills := map[string][2]*engine.Bill{}
	for id, accepted := range touched {
		if accepted {
			out.Periods = append(out.Periods, id.compare(before, after, bills))
		}
	}
	slices.SortFunc(out.Periods, func(a, b RehearsedPeriod) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Subscription, b.Subscription),
			cmp.Compare(a.Start, b.Start))
	})
	return out, nil
}

// ownerOf returns the account that owns the subject of a row at its time; "" if none does.
func ownerOf(v *engine.View, row *engine.Batch) string {
	subject, _ := row.Subject.At(0)
	owners, _ := v.Subject(subject)
	for _, o := range owners {
		if o.From <= row.Time[0] && row.Time[0] < o.To {
			return o.Account
		}
	}
	return ""
}

type rehearsedID struct {
	account, subscription string
	start                 engine.Micros
	date                  string
}

// periodsOf returns the periods that a row may count in.
func periodsOf(v *engine.View, row *engine.Batch) []rehearsedID {
	a, _ := v.Account(ownerOf(v, row))
	var out []rehearsedID
	for i := range a.Subscriptions {
		b := &a.Subscriptions[i]
		if t := row.Time[0]; b.From <= t && t < b.To {
			terms, _ := v.Terms(a.ID, b.Key, t)
			out = append(out, rehearsedID{a.ID, b.Key, terms.Start, terms.StartDate})
		}
	}
	return out
}

// compare says what of a period differs between two views. bills keeps those that were asked for.
func (id rehearsedID) compare(
	before, after *engine.View, bills map[string][2]*engine.Bill,
) RehearsedPeriod {
	terms, _ := before.Terms(id.account, id.subscription, id.start)
	p := RehearsedPeriod{
		Account: id.account, Subscription: id.subscription, StartDate: id.date, Start: terms.Start,
		End: terms.End, Currency: terms.Plan.Currency, Digits: terms.Plan.Digits,
		Closed: before.Issued(id.account, id.subscription, id.date, engine.PeriodInvoice),
	}
	old := before.Usage(id.account, id.subscription, id.start)
	now := after.Usage(id.account, id.subscription, id.start)
	at := map[string]int{}
	place := func(u *engine.Usage) *RehearsedMeter {
		key := engine.LineKey(u.Meter.Key, u.Group)
		i, found := at[key]
		if !found {
			i, at[key] = len(p.Meters), len(p.Meters)
			p.Meters = append(p.Meters, RehearsedMeter{Meter: u.Meter, Group: u.Group})
		}
		return &p.Meters[i]
	}
	for i := range old {
		place(&old[i]).Before = old[i]
	}
	for i := range now {
		place(&now[i]).After = now[i]
	}
	for i := range p.Meters {
		m := &p.Meters[i]
		m.QuantityBefore, m.QuantityAfter = quantity(&m.Before, &terms), quantity(&m.After, &terms)
	}
	p.Meters = slices.DeleteFunc(p.Meters, func(m RehearsedMeter) bool {
		return m.Before.Fold.Rows == m.After.Fold.Rows && m.QuantityBefore.Cmp(m.QuantityAfter) == 0
	})
	if !p.Closed {
		return p
	}
	pair, known := bills[id.account]
	if !known {
		pair[0], _ = before.Bill(id.account)
		pair[1], _ = after.Bill(id.account)
		bills[id.account] = pair
	}
	p.Before, p.After = id.pending(pair[0]), id.pending(pair[1])
	return p
}

// pending sums what the next invoice adjusts for the period.
func (id rehearsedID) pending(b *engine.Bill) (sum decimal.Amount) {
	for i := range b.Pending {
		if a := &b.Pending[i]; a.Subscription == id.subscription && a.Start == id.start {
			sum = sum.Add(a.Amount)
		}
	}
	return sum
}

// quantity returns the quantity of usage in the whole of its period, 0 where nothing is counted.
func quantity(u *engine.Usage, t *engine.Terms) decimal.Rat {
	switch {
	case u.Meter == nil:
		return decimal.Rat{}
	case u.Meter.Aggregate == engine.TimeWeighted:
		return u.Fold.Level(u.Meter, t.Start, t.End, t.FullStart, t.FullEnd)
	}
	return u.Fold.Quantity(u.Meter)
}

package engine

import (
	"slices"

	"billctl/engine/decimal"
)

// Use is one fold of an accepted row: that the row at Seq counts with Value for a meter, in a group
// and in the period of a subscription. A row that several subscriptions or meters count has many.
type Use struct {
	Seq          Seq
	Account      string
	Subscription string
	Start, End   Micros // of the period
	Meter        *Meter
	Group        []GroupValue
	Value        decimal.Decimal // 0 for Count
}

// Watch makes Apply report the uses of accepted rows of the accounts from now on; without an id of
// none. It changes nothing else.
func (e *Engine) Watch(accounts ...string) {
	e.watched = nil
	for _, id := range accounts {
		if e.watched == nil {
			e.watched = map[string]bool{}
		}
		e.watched[id] = true
	}
}

// use reports a fold of a watched account.
func (e *Engine) use(seq Seq, l *leg, m *bound, group int32, v decimal.Decimal) {
	b := e.subs.at(l.sub)
	account := e.accounts.at(b.account).id
	if !e.watched[account] {
		return
	}
	e.uses = append(e.uses, Use{
		Seq: seq, Account: account, Subscription: b.Key, Start: l.start, End: l.end,
		Meter: m.meter, Group: e.appendGroup(nil, m.meter, group), Value: v,
	})
}

// UsageOf folds uses, which are of one period, as Apply did.
func UsageOf(uses []Use) []Usage {
	var out []Usage
	places := map[string]int{}
	for i := range uses {
		u := &uses[i]
		key := lineKey(u.Meter.Key, u.Group)
		at, found := places[key]
		if !found {
			at = len(out)
			places[key] = at
			out = append(out, Usage{Meter: u.Meter, Group: u.Group})
		}
		out[at].Fold.add(u.Meter.Aggregate, u.Value)
	}
	slices.SortFunc(out, compareUsage)
	return out
}

// Terms are what a period of a subscription is rated by.
type Terms struct {
	Plan               *Plan
	Prices             []Price // the plan's with the subscription's overrides
	Zone               string
	Start, End         Micros // of the period, as far as the subscription covers it
	FullStart, FullEnd Micros // of the calendar period
	Days, FullDays     int64  // calendar days in each
	StartDate          string // of Start, as keys of documents have it
}

// Terms returns the terms of the period of a subscription that begins at an instant; false if there
// is no such subscription then.
func (v *View) Terms(account, subscription string, start Micros) (Terms, bool) {
	s, b := v.subscription(account, subscription, start)
	if b == nil {
		return Terms{}, false
	}
	t := s.termsFor(b, start)
	out := Terms{Plan: t.plan, Prices: t.prices}
	out.Start, out.End, out.FullStart, out.FullEnd = s.around(b, start)
	z := s.zones[s.accounts.at(b.account).zone]
	out.Zone, out.StartDate = z.Name, z.dateText(out.Start)
	out.Days, out.FullDays = z.days(out.Start, out.End), z.days(out.FullStart, out.FullEnd)
	return out, true
}

// Rate rates usage as that of the period of a subscription that begins at an instant: the lines for
// its usage and its flat amounts in arrears. It is the rating of invoices.
func (v *View) Rate(account, subscription string, start Micros, usage []Usage) []Line {
	s, b := v.subscription(account, subscription, start)
	if b == nil {
		return nil
	}
	t := s.termsFor(b, start)
	from, end, fullStart, fullEnd := s.around(b, start)
	in := s.lineInput(b, t)
	in.Usage = usage
	in.Period = lineSpan{t.prices, from, end, fullStart, fullEnd}
	return rateLines(in)
}

// Issued reports whether the state has decided on the document of a subscription that has this
// start date in its key: then it is issued, or never will be. Of corrections it knows the last.
func (v *View) Issued(account, subscription, date string, kind DocumentKind) bool {
	s := v.shardOf(account)
	i := s.findAccount(account)
	if i < 0 {
		return false
	}
	found := false
	for _, index := range s.accounts.at(i).subs {
		b := s.subs.at(index)
		if b.Key != subscription {
			continue
		}
		z := s.zones[s.accounts.at(i).zone]
		if kind == StartInvoice && b.started && z.dateText(b.From) == date {
			return true
		}
		s.eachClosed(b, func(start Micros) bool {
			found = found || z.dateText(start) == date && (kind == PeriodInvoice || b.corrected)
			return !found
		})
	}
	return found && kind != StartInvoice
}

// DecidedIn returns how many periods that begin in a month ("2026-04"), or in one behind it, are
// closed, and how many invoices of first flat amounts in advance were issued to subscriptions that
// begin in the month and have no closed period.
func (v *View) DecidedIn(month string) (closed, started int) {
	for _, s := range v.shards {
		for i := range s.accounts.len() {
			a := s.accounts.at(i)
			monthOf := func(t Micros) string { return s.zones[a.zone].dateText(t)[:len(month)] }
			for _, index := range a.subs {
				b := s.subs.at(index)
				s.eachClosed(b, func(start Micros) bool {
					if monthOf(start) < month {
						return false
					}
					closed++
					return true
				})
				if b.issued > 0 && b.next <= b.From && monthOf(b.From) == month {
					started++
				}
			}
		}
	}
	return closed, started
}

// eachClosed calls f with the starts of the subscription's closed periods, falling, until it
// returns false.
func (s *state) eachClosed(b *sub, f func(start Micros) bool) {
	for t := min(b.next, b.To); t > b.From; {
		start, _, _, _ := s.around(b, t-1)
		if !f(start) {
			return
		}
		t = start
	}
}

// Usage returns the usage of the period of a subscription that begins at an instant, by meter and
// group; none if no usage counted, or if the period was forgotten.
func (v *View) Usage(account, subscription string, start Micros) []Usage {
	s, b := v.subscription(account, subscription, start)
	if b == nil {
		return nil
	}
	return s.usage(s.retained(b, start))
}

// Advance returns the flat amounts that are billed in advance for the period of a subscription that
// begins at an instant, as its start invoice or the invoice of the period before has them.
func (v *View) Advance(account, subscription string, start Micros) []Line {
	s, b := v.subscription(account, subscription, start)
	if b == nil {
		return nil
	}
	return s.advanceLines(b, start)
}

// subscription returns the subscription with a key that covers an instant, nil if there is none.
func (v *View) subscription(account, key string, at Micros) (*state, *sub) {
	s := v.shardOf(account)
	i := s.findAccount(account)
	if i < 0 {
		return s, nil
	}
	for _, index := range s.accounts.at(i).subs {
		if b := s.subs.at(index); b.Key == key && b.From <= at && at < b.To {
			return s, b
		}
	}
	return s, nil
}

// Covers reports whether the price counts usage of a meter in a group.
func (p *Price) Covers(u *Usage) bool { return p.covers(u) }

// LineKey names a line within the documents of one subscription and period: the price's key, then
// "/dim=value" for each value of the group, or "/dim" where events carry none. The three marks are
// escaped inside the parts, so two lines never share a key.
func LineKey(price string, group []GroupValue) string { return lineKey(price, group) }

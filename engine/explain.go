package engine

import (
	"slices"
	"strings"

	"billctl/engine/decimal"
)

// Use is one fold of an accepted row: that the row at Seq counts with Value for a meter, in a group
// and in the period of a subscription. A row that several subscriptions or meters count has many.
type Use struct {
	Seq          Seq
	Account      string
	Subscription string
	Start, End   Micros // of the period
	FullStart    Micros // of the whole period, from which windows are counted
	Meter        *Meter
	Group        []GroupValue
	Value        decimal.Decimal // 0 for Count and Unique
	Time         Micros          // of the row
	Text         string          // Unique
	Each         bool            // see Usage
	// Back says that a use no longer counts: that of the row with this Seq, as the Void names it. If
	// it names another one with the same id, any use that is equal otherwise. 0: the use counts.
	Back Seq
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

// use reports that a row counts in a series of a watched account.
func (e *Engine) use(seq Seq, t Micros, m *bound, index int32, row int) {
	s := e.series.at(index)
	p := e.periods.at(s.period)
	b := e.subs.at(p.sub)
	account := e.accounts.at(b.account).id
	if !e.watched[account] {
		return
	}
	v, _ := m.value(row) // the row counts
	u := Use{
		Seq: seq, Account: account, Subscription: b.Key, Start: p.start, End: p.end,
		FullStart: p.full, Meter: m.meter, Group: e.appendGroup(nil, m.meter, s.group), Value: v,
		Time: t, Each: e.keepsEach(s.period, m.index),
	}
	if s.keep == keepTexts {
		u.Text = strings.Clone(m.scalar(row)) // the batch does not stay
	}
	e.uses = append(e.uses, u)
}

// useBack reports that a row no longer counts in a series of a watched account.
func (e *Engine) useBack(seq Seq, v *Void, t *target) {
	from := len(e.uses)
	if e.use(seq, v.Row.Time[0], &t.bound, t.series, 0); len(e.uses) > from {
		e.uses[from].Back = v.Of
	}
}

// Counting returns the uses that were not taken back. Uses are in the order in which Apply gave
// them, and each is taken back behind it.
func Counting(uses []Use) []Use {
	if !slices.ContainsFunc(uses, func(u Use) bool { return u.Back != 0 }) {
		return uses
	}
	out := make([]Use, 0, len(uses))
	for i := range uses {
		u := &uses[i]
		if u.Back == 0 {
			out = append(out, *u)
			continue
		}
		at := slices.IndexFunc(out, func(o Use) bool { return o.Seq == u.Back && o.same(u) })
		if at < 0 {
			at = slices.IndexFunc(out, func(o Use) bool { return o.same(u) })
		}
		if at >= 0 {
			out = slices.Delete(out, at, at+1)
		}
	}
	return out
}

// same reports whether two uses do the same to one fold.
func (u *Use) same(o *Use) bool {
	keep := u.Meter.keeps(u.Each)
	return u.Account == o.Account && u.Subscription == o.Subscription && u.Start == o.Start &&
		u.Meter == o.Meter && slices.Equal(u.Group, o.Group) && u.Value == o.Value &&
		u.sample(keep) == o.sample(keep)
}

// sample is what the fold of the use remembers of it.
func (u *Use) sample(keep keeping) Sample {
	s := Sample{Rows: 1, Text: u.Text, Value: decimal.SumOf(u.Value)}
	switch keep {
	case keepRows, keepLast:
		s.Time = u.Time
	case keepWindows:
		s.Time = u.Meter.windowOf(u.Time, u.FullStart)
	}
	return s
}

// UsageOf folds uses, which are of one period, as Apply did. The levels that go on from before the
// period are not in uses: see Carry.
func UsageOf(uses []Use) []Usage {
	var folds []Refold
	places := map[string]int{}
	uses = Counting(uses)
	for i := range uses {
		u := &uses[i]
		key := lineKey(u.Meter.Key, u.Group)
		at, found := places[key]
		if !found {
			at = len(folds)
			places[key] = at
			folds = append(folds, Refold{})
		}
		folds[at].Add(u)
	}
	out := make([]Usage, 0, len(folds))
	for i := range folds {
		out = append(out, folds[i].Usage())
	}
	slices.SortFunc(out, compareUsage)
	return out
}

// Refold folds the uses of one meter and group in one period one by one, as Apply did. What it
// remembers of them is at most twice what their fold does. The zero value has none.
type Refold struct {
	usage Usage
	full  int // samples at which they are joined
}

// Add folds one use in, which was not taken back.
func (r *Refold) Add(u *Use) {
	o := &r.usage
	if o.Meter == nil {
		o.Meter, o.Group, o.Each = u.Meter, u.Group, u.Each
	}
	f := &o.Fold
	t := tally{f.Rows, f.Value}
	t.add(u.Meter.Aggregate, u.Value)
	f.Rows, f.Value = t.Rows, t.Value
	keep := u.Meter.keeps(o.Each)
	if keep == keepNothing {
		return
	}
	if len(f.Samples) >= max(r.full, 64) {
		f.Samples = compact(o.Meter, keep, f.Samples)
		r.full = 2 * len(f.Samples)
	}
	f.Samples = append(f.Samples, u.sample(keep))
}

// Usage returns what the uses fold to; without any, one without a meter. More may be added to it.
func (r *Refold) Usage() Usage {
	if o := &r.usage; len(o.Fold.Samples) > 0 {
		o.Fold.Samples = compact(o.Meter, o.Meter.keeps(o.Each), o.Fold.Samples)
	}
	out := r.usage
	out.Fold.Samples = slices.Clone(out.Fold.Samples)
	return out
}

// FoldOf merges usage of one meter, each group once: what it is rated by, unless it is of levels,
// which do not merge.
func FoldOf(m *Meter, usage []Usage) Fold {
	var t tally
	var samples []Sample
	each := false
	for i := range usage {
		f := &usage[i].Fold
		t.merge(m.Aggregate, tally{f.Rows, f.Value})
		samples = append(samples, f.Samples...)
		each = each || usage[i].Each
	}
	if len(samples) > 0 {
		samples = compact(m, m.keeps(each), samples)
	}
	return Fold{Rows: t.Rows, Value: t.Value, Samples: samples}
}

// LevelSpan is a level of a TimeWeighted meter and how long it held.
type LevelSpan struct {
	From, To Micros
	Level    decimal.Sum
}

// Levels returns the levels in [start, end) by time, none where it is 0: those that Level
// integrates.
func (f *Fold) Levels(start, end Micros) []LevelSpan {
	var out []LevelSpan
	now := LevelSpan{From: start}
	if f.Carried != nil {
		now.Level = f.Carried.Value
	}
	hold := func(to Micros) {
		if now.To = to; now.To > now.From && !now.Level.IsZero() {
			out = append(out, now)
		}
	}
	for i := range f.Samples {
		s := &f.Samples[i]
		if s.Time >= end {
			break
		}
		if s.Value != now.Level {
			hold(s.Time)
			now.From, now.Level = max(s.Time, start), s.Value
		}
	}
	hold(end)
	return out
}

// EventShare is what one event pays by a Percentage price.
type EventShare struct {
	Time   Micros
	Amount decimal.Sum
	Paid   decimal.Rat // the part of the amount that is not free
	Cost   decimal.Rat
}

// FirstEvents returns what the first events of a Percentage price pay, in the order in which they
// use up what is free. most is small: the time that this takes grows with its square.
func (p *Price) FirstEvents(samples []Sample, most int) []EventShare {
	var out []EventShare
	var first []Sample
	var before rated
	for i := range samples {
		one := samples[i]
		one.Rows = 1
		for n := uint64(0); n < samples[i].Rows; n++ {
			if len(out) == most {
				return out
			}
			first = append(first, one)
			now := p.percentage(first)
			out = append(out, EventShare{
				one.Time, one.Value, now.billable.Sub(before.billable), now.exact.Sub(before.exact),
			})
			before = now
		}
	}
	return out
}

// UnitOf returns the unit price of a line's group, by its values of Dims.
func (m *Matrix) UnitOf(group []GroupValue) decimal.Decimal { return m.unit(group) }

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
	in := s.lineInput(b, t)
	in.Usage = usage
	in.Period = s.span(b, t, start)
	return rateLines(in)
}

// Resum returns an invoice with its coupons, its sums and its taxes made again of its lines, its
// adjustments and what credits pay of it; false if there is no such subscription at its start.
func (v *View) Resum(inv *Invoice) (*Invoice, bool) {
	s, b := v.subscription(inv.Account, inv.Subscription, inv.Start)
	if b == nil {
		return nil, false
	}
	out := s.newInvoice(inv.Kind, b, s.termsFor(b, inv.Start), inv.Start, inv.End)
	out.Lines, out.Adjustments = inv.Lines, inv.Adjustments
	credits := make([]credit, len(inv.Credits))
	for i, c := range inv.Credits {
		credits[i] = credit{Credit: Credit{ID: c.ID, Currency: out.Currency}, left: c.Amount}
	}
	s.sum(out, b, credits)
	return out, true
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
	return s.usage(b, s.termsFor(b, start), start)
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

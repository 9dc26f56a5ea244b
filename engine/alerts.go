package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"billctl/engine/decimal"
)

// fired is an alert that was given: once for each period and percentage of a budget.
type fired struct {
	budget  string
	sub     string
	start   Micros
	percent decimal.Decimal
}

// setBudget sets a budget, or ends it. Every shard knows all of them.
func (e *Engine) setBudget(b *Budget, fx *Effects) {
	if err := b.Validate(); err != nil {
		e.refuseGlobal(fx, "%v", err)
		return
	}
	if err := e.state.knowsOf(b); err != nil {
		e.refuseGlobal(fx, "%v", err)
		return
	}
	next := slices.Clone(e.budgets)
	at, found := slices.BinarySearchFunc(next, b.Key, func(o Budget, key string) int {
		return strings.Compare(o.Key, key)
	})
	switch {
	case found && b.Limit.IsZero():
		next = slices.Delete(next, at, at+1)
	case found:
		next[at] = *b
	case !b.Limit.IsZero():
		next = slices.Insert(next, at, *b)
	}
	e.budgets = next
	for i := range e.accounts.len() {
		e.spends(i) // it may be reached already
	}
}

// knowsOf returns why there is nothing that a budget can be measured by.
func (s *state) knowsOf(b *Budget) error {
	switch {
	case b.Plan != "" && !s.hasPlan(b.Plan):
		return fmt.Errorf("budget %s: there is no plan %s", b.Key, b.Plan)
	case b.Meter != "" && s.meterIndex(b.Meter) < 0:
		return fmt.Errorf("budget %s: there is no meter %s", b.Key, b.Meter)
	}
	return nil
}

// spends notes that usage came for an account, so that its budgets are looked at.
func (e *Engine) spends(index int32) {
	if len(e.budgets) == 0 || e.accounts.at(index).touched {
		return
	}
	e.accounts.mut(index).touched = true
	e.spenders = append(e.spenders, index)
}

// alert gives the alerts of the accounts for which usage came since it was called before. It is
// called at watermarks and closes, which are in the journal, so that batches do not show.
func (e *Engine) alert(fx *Effects) {
	slices.SortFunc(e.spenders, func(x, y int32) int {
		return strings.Compare(e.accounts.at(x).id, e.accounts.at(y).id)
	})
	for _, index := range e.spenders {
		e.accounts.mut(index).touched = false
		for _, i := range e.accounts.at(index).subs {
			e.alertOf(index, e.subs.at(i), fx)
		}
	}
	e.spenders = e.spenders[:0]
}

// alertOf gives the alerts of one subscription's open periods.
func (e *Engine) alertOf(index int32, b *sub, fx *Effects) {
	id := e.accounts.at(index).id
	for i := range e.budgets {
		budget := &e.budgets[i]
		if budget.Account != "" && budget.Account != id || budget.Plan != "" && budget.Plan != b.Plan {
			continue
		}
		for _, start := range e.openStarts(b) {
			a, measured := e.measure(budget, b, start)
			if measured {
				e.fire(index, budget, &a, fx)
			}
		}
	}
}

// measure returns an alert that holds how far a period has come; false if the budget is about
// another currency, or a meter that the plan does not have.
func (s *state) measure(budget *Budget, b *sub, start Micros) (Alert, bool) {
	t := s.termsFor(b, start)
	begin, end, _, _ := s.around(b, start)
	a := Alert{
		Seq: s.seq, At: s.at, Budget: budget.Key, Account: s.accounts.at(b.account).id,
		Subscription: b.Key,
		Plan:         b.Plan, Meter: budget.Meter, Start: begin, End: end, Limit: budget.Limit,
		StartDate: s.zones[s.accounts.at(b.account).zone].dateText(begin),
	}
	if budget.Meter == "" {
		a.Currency = t.plan.Currency
		if inv := s.draftPeriod(b, start, nil, true).invoice; inv != nil {
			a.Value = inv.Subtotal.Rat(inv.Digits)
		}
		return a, a.Currency == budget.Currency
	}
	meter := s.meterIndex(budget.Meter)
	if !slices.Contains(t.meters, meter) {
		return a, false
	}
	in := s.lineInput(b, t)
	in.Until = s.watermark
	in.Usage = s.usage(b, t, start)
	a.Value = in.quantity(s.meters[meter], s.span(b, t, start))
	a.Unit = s.meters[meter].Unit
	return a, true
}

// quantity returns the total of a meter over all groups.
func (in *lineInput) quantity(m *Meter, span lineSpan) decimal.Rat {
	var covered []*Usage
	for i := range in.Usage {
		if in.Usage[i].Meter == m {
			covered = append(covered, &in.Usage[i])
		}
	}
	return totalOf(m, covered, &span, in.Until).quantity
}

// fire gives the alerts of the percentages that were reached and not given for the period before.
func (e *Engine) fire(index int32, budget *Budget, a *Alert, fx *Effects) {
	at := budget.At
	if len(at) == 0 {
		at = []decimal.Decimal{decimal.FromInt(100)}
	}
	for _, percent := range at {
		mark := fired{budget.Key, a.Subscription, a.Start, percent}
		list := e.accounts.at(index).fired
		if a.Value.Cmp(share(budget.Limit, percent)) < 0 || slices.Contains(list, mark) {
			continue
		}
		// Marks of periods that are over for long are let go.
		next := slices.DeleteFunc(slices.Clone(list), func(o fired) bool {
			return o.start.plus(maxPeriod) < e.floor
		})
		e.accounts.mut(index).fired = append(next, mark)
		given := *a
		given.Percent = percent
		fx.Alerts = append(fx.Alerts, given)
	}
}

// maxPeriod is longer than any period.
const maxPeriod = 400 * OneDay

// share returns so many percent of a limit.
func share(limit, percent decimal.Decimal) decimal.Rat {
	return limit.Rat().Mul(percent.Rat()).Quo(decimal.Int(100))
}

// CompareAlerts orders the alerts of one entry as they are given. Shards are merged by it.
func CompareAlerts(a, b Alert) int {
	return cmp.Or(
		strings.Compare(a.Account, b.Account), strings.Compare(a.Subscription, b.Subscription),
		strings.Compare(a.Budget, b.Budget), cmp.Compare(a.Start, b.Start), a.Percent.Cmp(b.Percent),
	)
}

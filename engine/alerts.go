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

// setBudgets sets budgets, or ends them. Every shard knows all of them. Alerts that were given stay
// given: a percentage that was reached in a period is not told again, whatever else the budget says
// now, since the key of an alert is that of one document for ever.
func (e *Engine) setBudgets(list []Budget, fx *Effects) {
	next := slices.Clone(e.budgets)
	for i := range list {
		b := &list[i]
		err := b.Validate()
		if err == nil {
			err = e.state.knowsOf(b)
		}
		if err != nil {
			e.refuseGlobal(fx, "%v", err)
			continue
		}
		next = append(next, *b)
	}
	if len(next) == len(e.budgets) {
		return
	}
	slices.SortStableFunc(next, func(x, y Budget) int { return strings.Compare(x.Key, y.Key) })
	n := 0
	for i := range next {
		last := i+1 == len(next) || next[i+1].Key != next[i].Key // of one key the last counts
		if last && !next[i].Limit.IsZero() {
			next[n] = next[i]
			n++
		}
	}
	clear(next[n:])
	e.budgets = next[:n:n]
	for i := range e.accounts.len() {
		e.spends(i) // one may be reached already
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
	if len(e.spenders) == 0 {
		return
	}
	slices.SortFunc(e.spenders, func(x, y int32) int {
		return strings.Compare(e.accounts.at(x).id, e.accounts.at(y).id)
	})
	of := e.budgetIndex()
	for _, index := range e.spenders {
		e.accounts.mut(index).touched = false
		w := watch{Engine: e, account: index, fx: fx}
		for _, i := range e.accounts.at(index).subs {
			b := e.subs.at(i)
			w.look(b, of.budgets(e.accounts.at(index).id, b.Plan))
		}
	}
	e.spenders = e.spenders[:0]
}

// budgetIndex has the places of budgets by the account and the plan that they name, each "" if
// none, so that an account is not held against the budgets of all others.
type budgetIndex map[[2]string][]int

func (s *state) budgetIndex() budgetIndex {
	of := budgetIndex{}
	for i := range s.budgets {
		key := [2]string{s.budgets[i].Account, s.budgets[i].Plan}
		of[key] = append(of[key], i)
	}
	return of
}

// budgets returns the places of the budgets for a plan of an account, by rising key.
func (of budgetIndex) budgets(account, plan string) []int {
	list := slices.Concat(of[[2]string{account, plan}], of[[2]string{account, ""}],
		of[[2]string{"", plan}], of[[2]string{"", ""}])
	slices.Sort(list)
	return list
}

// watch gives the alerts of one account.
type watch struct {
	*Engine
	account int32
	fx      *Effects
	given   map[fired]bool // the account's marks; nil before the first is asked for
	own     bool           // the account's list was replaced, so it may grow
}

// look gives the alerts of one subscription's open periods.
func (w *watch) look(b *sub, budgets []int) {
	if len(budgets) == 0 {
		return
	}
	starts := w.openStarts(b)
	soFar := make([]progress, len(starts))
	for _, i := range budgets {
		for j, start := range starts {
			if a, measured := w.measure(&soFar[j], &w.budgets[i], b, start); measured {
				w.fire(&w.budgets[i], &a)
			}
		}
	}
}

// progress is how far an open period has come, for all budgets that measure it: it is drafted once.
type progress struct {
	known      bool
	terms      *terms
	begin, end Micros
	startDate  string
	drafted    bool
	money      decimal.Rat // the subtotal
	input      *lineInput  // nil before the first meter
	quantities map[int32]decimal.Rat
}

// measure returns an alert that holds how far a period has come; false if the budget is about
// another currency, or a meter that the plan does not have.
func (s *state) measure(p *progress, budget *Budget, b *sub, start Micros) (Alert, bool) {
	if !p.known {
		p.known, p.terms = true, s.termsFor(b, start)
		p.begin, p.end, _, _ = s.around(b, start)
		p.startDate = s.zones[s.accounts.at(b.account).zone].dateText(p.begin)
	}
	a := Alert{
		Seq: s.seq, At: s.at, Budget: budget.Key, Account: s.accounts.at(b.account).id,
		Subscription: b.Key, Plan: b.Plan, Meter: budget.Meter, Start: p.begin, End: p.end,
		Limit: budget.Limit, StartDate: p.startDate,
	}
	if budget.Meter == "" {
		if a.Currency = p.terms.plan.Currency; a.Currency != budget.Currency {
			return a, false
		}
		a.Value = s.moneySoFar(p, b, start)
		return a, true
	}
	meter := s.meterIndex(budget.Meter)
	if !slices.Contains(p.terms.meters, meter) {
		return a, false
	}
	a.Value = s.quantitySoFar(p, meter, b, start)
	a.Unit = s.meters[meter].Unit
	return a, true
}

func (s *state) moneySoFar(p *progress, b *sub, start Micros) decimal.Rat {
	if !p.drafted {
		p.drafted = true
		if inv := s.draftPeriod(b, start, nil, true).invoice; inv != nil {
			p.money = inv.Subtotal.Rat(inv.Digits)
		}
	}
	return p.money
}

func (s *state) quantitySoFar(p *progress, meter int32, b *sub, start Micros) decimal.Rat {
	if q, found := p.quantities[meter]; found {
		return q
	}
	if p.input == nil {
		in := s.lineInput(b, p.terms)
		in.Until = s.watermark
		in.Usage = s.usage(b, p.terms, start)
		p.input, p.quantities = &in, map[int32]decimal.Rat{}
	}
	q := p.input.quantity(s.meters[meter], s.span(b, p.terms, start))
	p.quantities[meter] = q
	return q
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
func (w *watch) fire(budget *Budget, a *Alert) {
	at := budget.At
	if len(at) == 0 {
		at = []decimal.Decimal{decimal.FromInt(100)}
	}
	for _, percent := range at {
		if a.Value.Cmp(share(budget.Limit, percent)) < 0 {
			return // they rise
		}
		if mark := (fired{budget.Key, a.Subscription, a.Start, percent}); w.marks(mark) {
			given := *a
			given.Percent = percent
			w.fx.Alerts = append(w.fx.Alerts, given)
		}
	}
}

// marks notes an alert, and is false if it was given before.
func (w *watch) marks(mark fired) bool {
	list := w.accounts.at(w.account).fired
	if w.given == nil {
		w.given = make(map[fired]bool, len(list))
		for _, o := range list {
			w.given[o] = true
		}
	}
	if w.given[mark] {
		return false
	}
	w.given[mark] = true
	if !w.own {
		w.own, list = true, slices.DeleteFunc(slices.Clone(list), w.isOver)
	}
	w.accounts.mut(w.account).fired = append(list, mark)
	return true
}

// isOver reports whether a mark can be let go: its period is over for long, and is not open still,
// as it may be where periods close very late.
func (w *watch) isOver(o fired) bool {
	if o.start.plus(maxPeriod) >= w.floor {
		return false
	}
	return !slices.ContainsFunc(w.accounts.at(w.account).subs, func(i int32) bool {
		b := w.subs.at(i)
		return b.Key == o.sub && b.next <= o.start && b.next < b.To
	})
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

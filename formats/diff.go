package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
)

// Margins of a change. The engine takes a change of owner or an end only if it takes effect more
// than 5 minutes after it is accepted (docs/semantics.md, "Ownership" and
// "Terms"). Owners move with a margin over that, as a person reads a difference before applying it.
const (
	leadTime = engine.Lead
	moveTime = 10 * engine.Minute
)

// Current is what the engine has, as Diff needs to know it; *engine.View is one.
type Current interface {
	Meter(key string) *engine.Meter                // nil if there is none
	Plan(key string, version int) *engine.Plan     // nil if there is none
	PlanVersions(key string) []int                 // rising
	Defaults() []engine.Default                    // in any order
	ZoneKnown(name string) bool                    // whether its rules are journaled
	Account(id string) (engine.AccountState, bool) // false if there is none
	Budgets() []engine.Budget                      // in any order
	// Subject returns all ownerships and whether an event of the subject ever counted.
	Subject(name string) (owners []engine.Ownership, used bool)
}

var _ Current = (*engine.View)(nil)

// Difference is what must be journaled so that the engine has what a catalog says.
type Difference struct {
	// Zones are used for the first time, by name. They are journaled before Change.
	Zones []*engine.Zone
	// Change lacks File, Actor and Reason, which the caller knows.
	Change engine.Change
	// Words say what changes for whom, a sentence each, without a full stop.
	Words []string

	// moving is how many accounts at the front of Change.Accounts exchange subjects.
	moving int
}

// Empty reports whether there is nothing to journal.
func (d *Difference) Empty() bool {
	c := &d.Change
	return len(d.Zones)+len(c.Meters)+len(c.Plans)+len(c.Defaults)+len(c.Accounts)+
		len(c.Coupons)+len(c.Taxes)+len(c.Budgets) == 0
}

// Split cuts the change into changes of at most maxAccounts accounts each, at least 1, to be
// journaled in their order. The first holds everything that accounts build on. Accounts between
// which subjects move stay together in the first, whatever the limit: a subject that is taken from
// one account by one entry and given to the other by the next would be nobody's if the second got
// lost. Coupons and taxes come with their account if it changes too, otherwise, as budgets, in the
// last: by then all that they name is journaled.
func (d *Difference) Split(maxAccounts int) []engine.Change {
	if d.Empty() {
		return nil
	}
	maxAccounts = max(1, maxAccounts)
	first := d.Change
	first.Coupons, first.Taxes, first.Budgets = nil, nil, nil
	accounts := first.Accounts
	cut := min(len(accounts), max(maxAccounts, d.moving))
	first.Accounts = accounts[:cut:cut]
	changes := []engine.Change{first}
	for accounts = accounts[cut:]; len(accounts) > 0; accounts = accounts[cut:] {
		cut = min(len(accounts), maxAccounts)
		changes = append(changes, engine.Change{Accounts: accounts[:cut:cut]})
	}
	d.splitTerms(changes)
	return changes
}

// splitTerms puts coupons, taxes and budgets where Split says.
func (d *Difference) splitTerms(changes []engine.Change) {
	last := &changes[len(changes)-1]
	in := map[string]*engine.Change{}
	for i := range changes {
		for j := range changes[i].Accounts {
			in[changes[i].Accounts[j].ID] = &changes[i]
		}
	}
	of := func(account string) *engine.Change {
		if c := in[account]; c != nil {
			return c
		}
		return last
	}
	for i := range d.Change.Coupons {
		c := of(d.Change.Coupons[i].Account)
		c.Coupons = append(c.Coupons, d.Change.Coupons[i])
	}
	for i := range d.Change.Taxes {
		c := of(d.Change.Taxes[i].Account)
		c.Taxes = append(c.Taxes, d.Change.Taxes[i])
	}
	last.Budgets = d.Change.Budgets
}

// Diff compares what the engine has with what the catalog says. now is the wall clock; the
// difference may be journaled until 5 minutes after it.
//
// It fails with Faults where the catalog contradicts what is journaled and never changes. What the
// catalog does not name stays as it is: absence ends nothing.
func Diff(current Current, c *Catalog, now engine.Micros) (*Difference, error) {
	d := &differ{current: current, c: c, now: now, faults: &faultList{}, out: &Difference{}}
	for i := range c.Meters {
		d.meter(&c.Meters[i])
	}
	d.plans()
	d.defaults()
	d.accounts()
	d.budgets()
	if err := d.faults.err(); err != nil {
		return nil, err
	}
	return d.out, nil
}

type differ struct {
	current Current
	c       *Catalog
	now     engine.Micros
	faults  *faultList
	out     *Difference
}

func (d *differ) say(format string, args ...any) {
	d.out.Words = append(d.out.Words, fmt.Sprintf(format, args...))
}

// meter adds a new meter; one that exists must be equal.
func (d *differ) meter(m *engine.Meter) {
	old := d.current.Meter(m.Key)
	if old == nil {
		d.out.Change.Meters = append(d.out.Change.Meters, *m)
		d.say("meter %s is new: %s", m.Key, meterWords(m))
		return
	}
	if diff := meterDiff(old, m); len(diff) > 0 {
		d.faults.add(d.c.meterAt[m.Key],
			"a meter never changes: give the new definition a new key",
			"meter %s differs from the journal: %s", m.Key, strings.Join(diff, "; "))
	}
}

// plans adds new plan versions; those that exist must be equal.
func (d *differ) plans() {
	for i := range d.c.Plans {
		p := &d.c.Plans[i]
		at := d.c.planAt[planID{p.Key, p.Version}]
		versions := d.current.PlanVersions(p.Key)
		if old := d.current.Plan(p.Key, p.Version); old != nil {
			d.samePlan(old, p, at)
			continue
		}
		before := d.before(i, versions)
		if d.newVersion(p, at, versions, before) {
			d.out.Change.Plans = append(d.out.Change.Plans, *p)
			d.sayPlan(p, before)
		}
	}
}

// samePlan reports how a plan version differs from the journaled one, at the price that does.
func (d *differ) samePlan(old, p *engine.Plan, at *planPlaces) {
	const hint = "a plan version never changes: add a version with a later effective"
	id := planID{p.Key, p.Version}
	if diff := planDiff(old, p); len(diff) > 0 {
		d.faults.add(at.plan, hint, "%s differs from the journal: %s", id, strings.Join(diff, "; "))
	}
	for i := range p.Prices {
		price := &p.Prices[i]
		where, ok := at.prices[price.Key]
		if !ok {
			where = at.plan
		}
		was := priceOf(old, price.Key)
		if was == nil {
			d.faults.add(where, hint, "price %s is not in the journal's %s", price.Key, id)
			continue
		}
		if diff := priceDiff(was, price); len(diff) > 0 {
			d.faults.add(where, hint, "price %s differs from the journal: %s",
				price.Key, strings.Join(diff, "; "))
		}
	}
	for i := range old.Prices {
		if priceOf(p, old.Prices[i].Key) == nil {
			d.faults.add(at.plan, hint, "price %s of the journal's %s is missing",
				old.Prices[i].Key, id)
		}
	}
	if !slices.EqualFunc(old.Prices, p.Prices, samePriceKey) && len(old.Prices) == len(p.Prices) &&
		len(d.faults.list) == 0 {
		d.faults.add(at.plan, hint, "the prices of %s stand in another order in the journal", id)
	}
}

func samePriceKey(a, b engine.Price) bool { return a.Key == b.Key }

// before returns the version that the i-th plan of the catalog follows, or nil.
func (d *differ) before(i int, journaled []int) *engine.Plan {
	p := &d.c.Plans[i]
	var before *engine.Plan
	if i > 0 && d.c.Plans[i-1].Key == p.Key {
		before = &d.c.Plans[i-1]
	}
	for _, v := range journaled {
		if v < p.Version && (before == nil || v > before.Version) {
			before = d.current.Plan(p.Key, v)
		}
	}
	return before
}

// newVersion checks a new version against the journaled ones.
func (d *differ) newVersion(p *engine.Plan, at *planPlaces, journaled []int,
	before *engine.Plan) bool {
	if len(journaled) == 0 {
		return true
	}
	if last := journaled[len(journaled)-1]; p.Version < last {
		d.faults.add(at.version, fmt.Sprintf("the next version is %d", last+1),
			"plan %s has version %d already", p.Key, last)
		return false
	}
	if p.Currency != before.Currency {
		d.faults.add(at.currency, "use another plan key for another currency",
			"plan %s is in %s in the journal", p.Key, before.Currency)
		return false
	}
	if p.Digits != before.Digits {
		d.faults.add(at.currency, "use another code for a currency with other digits",
			"%s has %s in the journal, not %d", p.Currency, plural(before.Digits, "digit"), p.Digits)
		return false
	}
	if p.Interval != before.Interval || p.Anchor != before.Anchor {
		d.faults.add(at.anchor, "use another plan key for other periods",
			"plan %s has %s in the journal, not %s", p.Key, periodWords(before), periodWords(p))
		return false
	}
	if earliest := engine.Earliest(d.now); p.Effective < earliest {
		d.faults.add(at.effective, fmt.Sprintf(
			"bills that may exist never change: choose %s or later", earliest),
			"version %d of plan %s takes effect too soon", p.Version, p.Key)
		return false
	}
	if p.Effective <= before.Effective {
		d.faults.add(at.effective, "a later version takes effect later",
			"version %d takes effect no later than version %d", p.Version, before.Version)
		return false
	}
	return true
}

// sayPlan says what a new version of a plan changes.
func (d *differ) sayPlan(p, before *engine.Plan) {
	if before == nil {
		words := fmt.Sprintf("plan %s is new: %s, %s", p.Key, p.Currency, plural(len(p.Prices), "price"))
		if p.Interval != engine.Month || p.Anchor != engine.CalendarAnchor {
			words += ", " + periodWords(p)
		}
		d.say("%s", words)
		return
	}
	parts := pricesDiff(before, p)
	if before.Rounding != p.Rounding {
		parts = append(parts, "rounding "+roundingWord(p.Rounding))
	}
	if len(parts) == 0 {
		parts = []string{"nothing else changes"}
	}
	d.say("plan %s gets version %d from %s: %s; %s", p.Key, p.Version,
		p.Effective, strings.Join(parts, ", "), d.movers(p))
}

// movers says how many of the catalog's subscriptions a new version will rate.
func (d *differ) movers(p *engine.Plan) string {
	n := 0
	for i := range d.c.Accounts {
		for _, s := range d.c.Accounts[i].Subscriptions {
			if s.Plan == p.Key && s.Pin == 0 && s.From < p.Effective.Start() && p.Effective.Start() < s.To {
				n++
			}
		}
	}
	switch n {
	case 0:
		return "no subscription of the catalog moves to it"
	case 1:
		return "1 subscription moves to it"
	}
	return fmt.Sprintf("%d subscriptions move to it", n)
}

// defaults sets the defaults that differ.
func (d *differ) defaults() {
	have := map[string]string{}
	for _, o := range d.current.Defaults() {
		have[o.Event] = o.Plan
	}
	for _, o := range d.c.Defaults {
		was := have[o.Event]
		switch {
		case was == o.Plan:
			continue
		case o.Plan == "":
			d.say("events %s of unknown subjects no longer get plan %s", o.Event, was)
		case was == "":
			d.say("events %s of unknown subjects get plan %s", o.Event, o.Plan)
		default:
			d.say("events %s of unknown subjects get plan %s instead of %s", o.Event, o.Plan, was)
		}
		d.out.Change.Defaults = append(d.out.Change.Defaults, o)
	}
}

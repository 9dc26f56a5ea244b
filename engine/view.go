package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"billctl/engine/decimal"
)

// View is an immutable picture of all shards at one position. Any number of goroutines may read it
// while the engines go on. Holding one costs the pages that change in the meantime.
type View struct {
	shards   []*state
	once     sync.Once
	subjects map[string]subjectState // see subjectIndex
}

// Pin returns the picture of the engines, which are all shards of one state between two entries.
// It takes well under a millisecond and copies no account.
func Pin(engines []*Engine) *View {
	v := &View{shards: make([]*state, len(engines))}
	for i, e := range engines {
		v.shards[i] = e.pin()
	}
	return v
}

// TakeDirty returns the buckets that changed since the call before and starts a new set. It belongs
// to the Pin right before or after it.
func TakeDirty(engines []*Engine) Dirty {
	all := make(Dirty, Buckets/64)
	for _, e := range engines {
		for i, w := range e.dirty {
			all[i] |= w
		}
		clear(e.dirty)
	}
	return all
}

func (v *View) first() *state { return v.shards[0] }

func (v *View) shardOf(account string) *state {
	return v.shards[int(BucketOf(account))%len(v.shards)]
}

// Standing is the position that a view is a picture of.
type Standing struct {
	Journal   [16]byte
	Seq       Seq // of the last row or control entry
	At        Micros
	Watermark Micros // Past before the first
	Floor     Micros
	Frozen    bool
	Ruleset   uint16
	LastSeal  Digest
}

// Standing returns the view's position.
func (v *View) Standing() Standing {
	s := v.first()
	return Standing{
		s.genesis.Journal, s.seq, s.at, s.watermark, s.floor, s.frozen, s.ruleset, s.lastSeal,
	}
}

// Genesis returns the journal's first entry.
func (v *View) Genesis() Genesis { return v.first().genesis }

// Settings returns the settings in force.
func (v *View) Settings() Settings { return v.first().settings }

// Positions returns where reading goes on, by source and partition.
func (v *View) Positions() []Position {
	out := slices.Clone(v.first().positions)
	slices.SortFunc(out, func(a, b Position) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

// Control is the control total of a source: every row that was read has one reason.
type Control struct {
	Source Source
	Read   uint64
	Counts [NumReasons]uint64
	// Greatest is the greatest event time of a row that was not after its arrival; Past before the
	// first.
	Greatest Micros
}

// Controls returns the control totals, by source name.
func (v *View) Controls() []Control {
	var out []Control
	for i := range v.first().sources {
		c := Control{Source: v.first().sources[i].Source, Greatest: v.first().sources[i].greatest}
		for _, s := range v.shards {
			c.Read += s.sources[i].read
			for r, n := range s.sources[i].counts {
				c.Counts[r] += n
			}
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Control) int {
		return strings.Compare(a.Source.Name, b.Source.Name)
	})
	return out
}

// CheckControls returns an error unless every source's read rows equal the sum over the reasons.
func (v *View) CheckControls() error {
	for _, c := range v.Controls() {
		sum := uint64(0)
		for _, n := range c.Counts {
			sum += n
		}
		if sum != c.Read {
			return fmt.Errorf("check control total of source %s: read %d rows, reasons add up to %d",
				c.Source.Name, c.Read, sum)
		}
	}
	return nil
}

// Meter returns a meter, nil if there is none.
func (v *View) Meter(key string) *Meter {
	if i := v.first().meterIndex(key); i >= 0 {
		return v.first().meters[i]
	}
	return nil
}

// Meters returns all meters, by key.
func (v *View) Meters() []*Meter {
	out := slices.Clone(v.first().meters)
	slices.SortFunc(out, func(a, b *Meter) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// Plans returns how many plan versions there are.
func (v *View) Plans() int { return len(v.first().plans) }

// Plan returns one version of a plan, nil if there is none.
func (v *View) Plan(key string, version int) *Plan {
	if i := v.first().planIndex(key, version); i >= 0 {
		return v.first().plans[i]
	}
	return nil
}

// AllPlans returns every version of every plan, by key and version.
func (v *View) AllPlans() []*Plan {
	out := slices.Clone(v.first().plans)
	slices.SortFunc(out, func(a, b *Plan) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version))
	})
	return out
}

// PlanOn returns the version of a plan that rates the periods which start on a local day, where
// none is pinned; nil if there is no such plan.
func (v *View) PlanOn(key string, day Day) *Plan {
	if i := v.first().planFor(&Subscription{Plan: key}, day); i >= 0 {
		return v.first().plans[i]
	}
	return nil
}

// PlanVersions returns the versions of a plan, rising.
func (v *View) PlanVersions(key string) []int {
	var out []int
	for _, p := range v.first().plans {
		if p.Key == key {
			out = append(out, p.Version)
		}
	}
	slices.Sort(out)
	return out
}

// Defaults returns the default plans, by event type.
func (v *View) Defaults() []Default {
	var out []Default
	for _, d := range v.first().defaults {
		if !d.ended {
			out = append(out, d.Default)
		}
	}
	return out
}

// Budgets returns the budgets, by rising Key.
func (v *View) Budgets() []Budget { return slices.Clone(v.first().budgets) }

// Coupons returns the coupons of an account, by rising ID.
func (v *View) Coupons(account string) []Coupon {
	a, _ := v.Account(account)
	return a.Coupons
}

// Taxes returns what taxes an account, by rising From.
func (v *View) Taxes(account string) []AccountTaxes {
	a, _ := v.Account(account)
	return a.Taxes
}

// Fired returns the percentages of a budget that were reached in a period of a subscription, and of
// which an Alert was given.
func (v *View) Fired(account, budget, subscription string, start Micros) []decimal.Decimal {
	s := v.shardOf(account)
	i := s.findAccount(account)
	if i < 0 {
		return nil
	}
	var out []decimal.Decimal
	for _, f := range s.accounts.at(i).fired {
		if f.budget == budget && f.sub == subscription && f.start == start {
			out = append(out, f.percent)
		}
	}
	slices.SortFunc(out, decimal.Decimal.Cmp)
	return out
}

// ZoneKnown reports whether the journal has the zone's rules.
func (v *View) ZoneKnown(name string) bool { return v.first().zoneIndex(name) >= 0 }

// Applied reports whether a control file is in the journal.
func (v *View) Applied(file Digest) bool { return slices.Contains(v.first().files, file) }

// AccountState is an account as the journal has it.
type AccountState struct {
	ID, Name, Zone string
	Auto           bool        // opened by a default
	Subjects       []Ownership // present and past, by subject and From
	Subscriptions  []Subscription
	Credits        []CreditState
	Coupons        []Coupon       // by rising ID
	Taxes          []AccountTaxes // by rising From
}

// CreditState is a grant and what is left of it.
type CreditState struct {
	Credit
	Left AmountText
}

// AmountText is an amount as decimal text in major units, or in minor units where the engine does
// not know the currency's digits.
type AmountText = string

// Account returns an account; false if there is none.
func (v *View) Account(id string) (AccountState, bool) {
	s := v.shardOf(id)
	i := s.findAccount(id)
	if i < 0 {
		return AccountState{}, false
	}
	return s.accountState(i), true
}

func (s *state) accountState(i int32) AccountState {
	a := s.accounts.at(i)
	out := AccountState{ID: a.id, Name: a.name, Zone: s.zones[a.zone].Name, Auto: a.auto}
	for _, o := range a.owners {
		w := s.owners.at(o)
		if w.from >= w.to {
			continue // it moved on before it owned anything
		}
		out.Subjects = append(out.Subjects, Ownership{w.subject, w.account, w.from, w.to})
	}
	slices.SortFunc(out.Subjects, func(x, y Ownership) int {
		return cmp.Or(cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.From, y.From))
	})
	for _, b := range a.subs {
		out.Subscriptions = append(out.Subscriptions, s.subs.at(b).Subscription)
	}
	for i := range a.credits {
		c := &a.credits[i]
		out.Credits = append(out.Credits, CreditState{c.Credit, c.left.Text(s.digits(c.Currency))})
	}
	out.Coupons, out.Taxes = slices.Clone(a.coupons), slices.Clone(a.taxes)
	return out
}

// digits returns the minor digits of a currency that some plan has, 0 for others.
func (s *state) digits(currency string) int {
	for _, p := range s.plans {
		if p.Currency == currency {
			return p.Digits
		}
	}
	return 0
}

// Subject returns the ownerships of a subject, by From, and whether one of its events ever counted.
func (v *View) Subject(name string) (owners []Ownership, used bool) {
	s := v.subjectIndex()[name]
	return s.owners, s.used
}

type subjectState struct {
	owners []Ownership
	used   bool
}

// subjectIndex is made on first use: rows are resolved by the engine, people ask rarely.
func (v *View) subjectIndex() map[string]subjectState {
	v.once.Do(func() {
		v.subjects = map[string]subjectState{}
		for _, s := range v.shards {
			for i := range s.owners.len() {
				w := s.owners.at(i)
				if w.index < 0 {
					continue
				}
				t := v.subjects[w.subject]
				t.owners = append(t.owners, Ownership{w.subject, w.account, w.from, w.to})
				t.used = t.used || w.used
				slices.SortFunc(t.owners, func(x, y Ownership) int { return cmp.Compare(x.From, y.From) })
				v.subjects[w.subject] = t
			}
		}
	})
	return v.subjects
}

// AccountIDs returns the ids of all accounts that begin with prefix, rising.
func (v *View) AccountIDs(prefix string) []string {
	var out []string
	for _, s := range v.shards {
		for i := range s.accounts.len() {
			if id := s.accounts.at(i).id; strings.HasPrefix(id, prefix) {
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Accounts returns how many accounts there are.
func (v *View) Accounts() int {
	n := int32(0)
	for _, s := range v.shards {
		n += s.accounts.len()
	}
	return int(n)
}

// Bill is what an account owes that no invoice has billed yet.
type Bill struct {
	AccountState
	Open []OpenPeriod // by subscription key and start
	// Pending are the adjustments that the next invoices of the subscriptions will have.
	Pending []PendingAdjustment
}

// PendingAdjustment is an adjustment that no invoice has yet.
type PendingAdjustment struct {
	Adjustment
	Subscription string
	Currency     string
	Digits       int
}

// OpenPeriod is a period before its close.
type OpenPeriod struct {
	Subscription string
	Plan         string
	Version      int
	Terms        Digest // of the plan version with the subscription's overrides
	Currency     string
	Digits       int
	Start, End   Micros
	StartDate    string
	Rows         uint64 // accepted
	Usage        []Usage
	SoFar        *Invoice // rated up to here, without minimums and what is billed in advance
	IfClosedNow  *Invoice // the invoice that a close would issue; nil if it would issue none
}

// Bill returns an account's open periods: those with usage, and of each subscription the first that
// is not closed, if it has begun. false if there is no such account.
func (v *View) Bill(id string) (*Bill, bool) {
	s := v.shardOf(id)
	i := s.findAccount(id)
	if i < 0 {
		return nil, false
	}
	bill := &Bill{AccountState: s.accountState(i)}
	var drafts []openDraft
	open := 0
	for _, index := range s.accounts.at(i).subs {
		b := s.subs.at(index)
		for _, a := range s.adjustments(b) {
			t := s.termsFor(b, a.Start)
			bill.Pending = append(bill.Pending, PendingAdjustment{
				a, b.Key, t.plan.Currency, t.plan.Digits,
			})
		}
		if !b.started {
			drafts = append(drafts, openDraft{b, b.From, b.From, b.From, -1})
		}
		for _, start := range s.openStarts(b) {
			_, end, _, _ := s.around(b, start)
			drafts = append(drafts, openDraft{b, start, end, end.plus(s.settings.Grace), open})
			open++
		}
	}
	// The periods use up credits in the order in which they will close.
	slices.SortStableFunc(drafts, func(x, y openDraft) int {
		return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.end, y.end),
			cmp.Compare(x.sub.Key, y.sub.Key), cmp.Compare(min(x.place, 0), min(y.place, 0)))
	})
	bill.Open = make([]OpenPeriod, open)
	credits := slices.Clone(s.accounts.at(i).credits)
	for _, d := range drafts {
		if d.place < 0 {
			spend(credits, s.draftStart(d.sub, credits))
		} else {
			bill.Open[d.place] = s.openPeriod(d.sub, d.start, credits)
		}
	}
	return bill, true
}

// openDraft is an open period and its place in a Bill, or a start invoice to come, with none.
type openDraft struct {
	sub        *sub
	start, end Micros // of the period; both of a start invoice: the beginning of the subscription
	at         Micros // the watermark that brings it about
	place      int    // -1: a start invoice
}

// openStarts returns the starts of a subscription's open periods, rising.
func (s *state) openStarts(b *sub) []Micros {
	var starts []Micros
	for p := b.newest; p >= 0; p = s.periods.at(p).older {
		if r := s.periods.at(p); r.closedAt == Past {
			starts = append(starts, r.start)
		}
	}
	if b.next < b.To && b.next <= s.at && !slices.Contains(starts, b.next) {
		starts = append(starts, b.next)
	}
	slices.Sort(starts)
	return starts
}

// openPeriod draws up one open period, which uses up credits as its close would.
func (s *state) openPeriod(b *sub, start Micros, credits []credit) OpenPeriod {
	begin, end, _, _ := s.around(b, start)
	t := s.termsFor(b, start)
	o := OpenPeriod{
		Subscription: b.Key, Plan: t.plan.Key, Version: t.plan.Version, Terms: t.digest(),
		Currency: t.plan.Currency, Digits: t.plan.Digits, Start: begin, End: end,
		StartDate: s.zones[s.accounts.at(b.account).zone].dateText(begin),
	}
	if p := s.retained(b, start); p >= 0 {
		o.Rows = s.periods.at(p).rows
	}
	o.Usage = s.usage(b, t, start)
	o.SoFar = s.draftPeriod(b, start, nil, true).invoice
	o.IfClosedNow = s.draftPeriod(b, start, credits, false).invoice
	spend(credits, o.IfClosedNow)
	return o
}

// spend takes what an invoice uses off the credits.
func spend(credits []credit, inv *Invoice) {
	if inv == nil {
		return
	}
	for _, u := range inv.Credits {
		for i := range credits {
			if credits[i].ID == u.ID {
				credits[i].left = credits[i].left.Sub(u.Amount)
			}
		}
	}
}

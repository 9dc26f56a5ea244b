package engine

import (
	"fmt"
	"slices"
)

// Lead is how far ahead of its journaling a change of what is billed must take effect.
const Lead = 5 * Minute

// Earliest returns the first day that begins in no time zone before at and Lead: from which on a
// further version of a plan can be effective.
func Earliest(at Micros) Day {
	const east = 15 * Hour // no zone was ever further from UTC
	return DayOf(at.plus(Lead+east)) + 1
}

// Check returns why a change may not be journaled at an instant, nil if it may. It holds the rules
// that need more than one shard or the present state; the sequencer asks before it journals, so
// that nothing of a refused change is applied (docs/semantics.md, "Changes").
func (v *View) Check(c *Change, at Micros) error {
	k := checker{View: v, change: c, at: at}
	for i := range c.Meters {
		if err := k.meter(&c.Meters[i]); err != nil {
			return err
		}
	}
	for i := range c.Plans {
		if err := k.plan(&c.Plans[i]); err != nil {
			return err
		}
	}
	for i := range c.Defaults {
		if p := c.Defaults[i].Plan; p != "" && !k.planKnown(p, 0) {
			return fmt.Errorf("default for %s: there is no plan %s", c.Defaults[i].Event, p)
		}
	}
	for i := range c.Accounts {
		if err := k.account(&c.Accounts[i]); err != nil {
			return err
		}
	}
	return k.grants()
}

type checker struct {
	*View
	change *Change
	at     Micros
}

// lead is the last instant whose events may have been accepted already: what is billed of them must
// not change.
func (k *checker) lead() Micros { return k.at.plus(max(Lead, k.Settings().MaxFuture)) }

func (k *checker) meter(m *Meter) error {
	if old := k.Meter(m.Key); old != nil && !equalCanonical(appendMeter, old, m) {
		return fmt.Errorf("meter %s exists and never changes", m.Key)
	}
	return m.Validate()
}

func (k *checker) plan(p *Plan) error {
	if old := k.Plan(p.Key, p.Version); old != nil {
		if !equalCanonical(appendPlan, old, p) {
			return fmt.Errorf("plan %s version %d exists and never changes", p.Key, p.Version)
		}
		return nil
	}
	if len(k.PlanVersions(p.Key)) > 0 && p.Effective < Earliest(k.at) {
		return fmt.Errorf("plan %s version %d: effective %s: the day must not have begun anywhere, "+
			"so it can be %s or later", p.Key, p.Version, p.Effective, Earliest(k.at))
	}
	if err := p.Validate(); err != nil {
		return err
	}
	for i := range p.Prices {
		if p.Prices[i].Meter == "" {
			continue
		}
		m := k.meterNamed(p.Prices[i].Meter)
		if m == nil {
			return fmt.Errorf("plan %s version %d: there is no meter %s", p.Key, p.Version,
				p.Prices[i].Meter)
		}
		if err := p.Prices[i].fits(m); err != nil {
			return fmt.Errorf("plan %s version %d, price %s: %w", p.Key, p.Version, p.Prices[i].Key, err)
		}
	}
	return k.siblings(p)
}

// siblings checks a plan version against the others of the plan.
func (k *checker) siblings(p *Plan) error {
	for _, version := range k.PlanVersions(p.Key) {
		if err := p.follows(k.Plan(p.Key, version)); err != nil {
			return err
		}
	}
	for i := range k.change.Plans {
		if o := &k.change.Plans[i]; o.Key == p.Key && o.Version != p.Version {
			if err := p.follows(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// meterNamed returns a meter of the journal or of the change, nil if there is none.
func (k *checker) meterNamed(key string) *Meter {
	for i := range k.change.Meters {
		if k.change.Meters[i].Key == key {
			return &k.change.Meters[i]
		}
	}
	return k.Meter(key)
}

// planKnown reports whether a plan, or one version of it, is in the journal or in the change.
func (k *checker) planKnown(key string, version int) bool {
	return slices.ContainsFunc(k.change.Plans, func(p Plan) bool {
		return p.Key == key && (version == 0 || p.Version == version)
	}) || version != 0 && k.Plan(key, version) != nil ||
		version == 0 && len(k.PlanVersions(key)) > 0
}

func (k *checker) account(c *AccountChange) error {
	old, exists := k.Account(c.ID)
	switch {
	case !k.ZoneKnown(c.Zone):
		return fmt.Errorf("account %s: the journal does not have zone %s", c.ID, c.Zone)
	case exists && old.Zone != c.Zone:
		return fmt.Errorf("account %s: its time zone %s never changes", c.ID, old.Zone)
	}
	for i := range c.Attach {
		if err := k.attach(&c.Attach[i]); err != nil {
			return err
		}
	}
	for i := range c.Detach {
		o := &c.Detach[i]
		if _, used := k.Subject(o.Subject); used && o.To <= k.lead() {
			return fmt.Errorf("subject %s: it has usage, so it can be given up after %s only",
				o.Subject, k.lead())
		}
	}
	for i := range c.Subscriptions {
		if err := k.subscription(c.ID, &old, &c.Subscriptions[i]); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) attach(o *Ownership) error {
	owners, used := k.Subject(o.Subject)
	if used && o.From <= k.lead() {
		return fmt.Errorf("subject %s: it has usage, so it can move after %s only",
			o.Subject, k.lead())
	}
	for _, other := range owners {
		end := other.To
		for i := range k.change.Accounts {
			for _, d := range k.change.Accounts[i].Detach {
				if d.Subject == o.Subject && d.Account == other.Account && d.From == other.From {
					end = min(end, d.To)
				}
			}
		}
		if other.Account != o.Account && other.From < o.To && o.From < end {
			return fmt.Errorf("subject %s: account %s owns it then", o.Subject, other.Account)
		}
	}
	return nil
}

func (k *checker) subscription(account string, old *AccountState, c *Subscription) error {
	where := fmt.Sprintf("account %s, subscription %s", account, c.Key)
	switch {
	case c.From >= c.To:
		return fmt.Errorf("%s: it ends before it begins", where)
	case !k.planKnown(c.Plan, c.Pin):
		return fmt.Errorf("%s: there is no such version of plan %s", where, c.Plan)
	}
	for i := range old.Subscriptions {
		b := &old.Subscriptions[i]
		switch {
		case b.Key != c.Key:
		case b.From == c.From:
			if c.To != b.To && min(c.To, b.To) <= k.lead() {
				return fmt.Errorf("%s: its end can move after %s only", where, k.lead())
			}
			same := *b
			same.To = c.To
			if !equalCanonical(appendSubscription, &same, c) {
				return fmt.Errorf("%s: it exists; end it and begin another", where)
			}
		case b.From < c.To && c.From < b.To:
			return fmt.Errorf("%s: it overlaps the one from %s", where, b.From)
		case c.From < b.From && k.closed(account, b):
			return fmt.Errorf("%s: the one from %s has closed periods, so another can only begin "+
				"behind it", where, b.From)
		}
	}
	return nil
}

// closed reports whether a period of the subscription has closed: an interval before it would
// change what its periods began with, and which of them coupons are for.
func (k *checker) closed(account string, c *Subscription) bool {
	s, b := k.View.subscription(account, c.Key, c.From)
	return s != nil && b != nil && b.next > b.From
}

// follows returns why p can't be a version of the same plan as o: periods and money of a
// subscription must not depend on which version rates it.
func (p *Plan) follows(o *Plan) error {
	switch {
	case p.Interval != o.Interval || p.Anchor != o.Anchor:
		return fmt.Errorf("plan %s version %d: its periods differ from those of version %d", p.Key,
			p.Version, o.Version)
	case p.Currency != o.Currency || p.Digits != o.Digits:
		return fmt.Errorf("plan %s version %d: its currency differs from that of version %d", p.Key,
			p.Version, o.Version)
	}
	return nil
}

package engine

import (
	"fmt"
	"slices"
	"strings"
)

// control folds an entry that says how to bill.
func (e *Engine) control(entry *Entry, fx *Effects) {
	switch b := entry.Body.(type) {
	case *Genesis:
		e.genesis, e.hash = *b, newKeyHash(b.HashKey)
	case *Rules:
		e.ruleset = b.Ruleset
	case *Settings:
		e.settings = *b
		e.scheduleAll()
	case *Source:
		e.sources[e.sourceOf(b.Name)].Source = *b
	case *Zone:
		e.addZone(b)
	case *Clock:
		e.frozen = b.Frozen
	case *Credit:
		e.grant(b, fx)
	case *Change:
		e.change(b, fx)
	default:
		panic(fmt.Sprintf("BUG: no such entry: %T", b))
	}
}

// refuse says that a part of a control entry has no effect. Shard 0 speaks for what all shards see.
func (e *Engine) refuse(fx *Effects, format string, args ...any) {
	fx.Refusals = append(fx.Refusals, Refusal{Seq: e.seq, What: fmt.Sprintf(format, args...)})
}

func (e *Engine) refuseGlobal(fx *Effects, format string, args ...any) {
	if e.shard == 0 {
		e.refuse(fx, format, args...)
	}
}

// addZone keeps the first rules that a zone is given: periods must not move.
func (e *Engine) addZone(z *Zone) {
	if e.zoneIndex(z.Name) < 0 {
		e.zones = append(e.zones, z)
	}
}

func (e *Engine) change(c *Change, fx *Effects) {
	if slices.Contains(e.files, c.File) {
		e.refuseGlobal(fx, "control file %x was applied before", c.File[:4])
		return
	}
	e.files = append(slices.Clip(e.files), c.File)
	for i := range c.Meters {
		e.addMeter(&c.Meters[i], fx)
	}
	for i := range c.Plans {
		e.addPlan(&c.Plans[i], fx)
	}
	for i := range c.Defaults {
		e.setDefault(c.Defaults[i], fx)
	}
	// Detach first, so that a subject can move between accounts in one change.
	for i := range c.Accounts {
		for _, o := range c.Accounts[i].Detach {
			e.detach(o, fx)
		}
	}
	for i := range c.Accounts {
		e.changeAccount(&c.Accounts[i], fx)
	}
	for i := range c.Coupons {
		e.addCoupon(&c.Coupons[i], fx)
	}
	for i := range c.Taxes {
		e.setTaxes(&c.Taxes[i], fx)
	}
	e.setBudgets(c.Budgets, fx)
}

func (e *Engine) addMeter(m *Meter, fx *Effects) {
	if i := e.meterIndex(m.Key); i >= 0 {
		if !equalCanonical(appendMeter, e.meters[i], m) {
			e.refuseGlobal(fx, "meter %s exists and never changes", m.Key)
		}
		return
	}
	if err := m.Validate(); err != nil {
		e.refuseGlobal(fx, "%v", err)
		return
	}
	e.meters = append(e.meters, m)
}

func (e *Engine) addPlan(p *Plan, fx *Effects) {
	if i := e.planIndex(p.Key, p.Version); i >= 0 {
		if !equalCanonical(appendPlan, e.plans[i], p) {
			e.refuseGlobal(fx, "plan %s version %d exists and never changes", p.Key, p.Version)
		}
		return
	}
	if err := p.Validate(); err != nil {
		e.refuseGlobal(fx, "version %d: %v", p.Version, err)
		return
	}
	for _, o := range e.plans {
		if err := p.follows(o); o.Key == p.Key && e.ruleset > 1 && err != nil {
			e.refuseGlobal(fx, "%v", err)
			return
		}
	}
	for i := range p.Prices {
		m := p.Prices[i].Meter
		if m == "" {
			continue
		}
		at := e.meterIndex(m)
		if at < 0 {
			e.refuseGlobal(fx, "plan %s version %d: no meter %s", p.Key, p.Version, m)
			return
		}
		if err := p.Prices[i].fits(e.meters[at]); err != nil {
			e.refuseGlobal(fx, "plan %s version %d, price %s: %v", p.Key, p.Version, p.Prices[i].Key, err)
			return
		}
	}
	e.plans = append(e.plans, p)
	e.base = append(e.base, e.addTerms(e.makeTerms(p, nil)))
}

func (e *Engine) setDefault(d Default, fx *Effects) {
	if d.Plan != "" && !e.hasPlan(d.Plan) {
		e.refuseGlobal(fx, "default for %s: no plan %s", d.Event, d.Plan)
		return
	}
	next := slices.Clone(e.defaults)
	at, found := slices.BinarySearchFunc(next, d.Event, func(o defaultRule, event string) int {
		return strings.Compare(o.Event, event)
	})
	switch {
	case found && d.Plan == "":
		next[at].ended = true
	case found:
		next[at] = defaultRule{Default: d}
	case d.Plan != "":
		next = slices.Insert(next, at, defaultRule{Default: d})
	}
	e.defaults = next
	if d.Plan != "" {
		e.opened = append(slices.Clip(e.opened), opened{e.seq, d})
	}
}

// changeAccount applies a change to an account; other shards learn of its subjects only, so what
// keeps a subject from being attached must be known to all of them.
func (e *Engine) changeAccount(c *AccountChange, fx *Effects) {
	bucket := BucketOf(c.ID)
	zone := e.zoneIndex(c.Zone)
	if zone < 0 {
		if e.mine(bucket) {
			e.refuse(fx, "account %s: zone %s is not in the journal", c.ID, c.Zone)
		}
		return
	}
	index := int32(-1)
	if e.mine(bucket) {
		index = e.openAccount(c, bucket, zone, fx)
		e.touch(bucket)
	}
	for _, o := range c.Attach {
		if e.attach(index, o) < 0 && index >= 0 && !e.owns(o) {
			e.refuse(fx, "subject %s: it has another owner from %s on", o.Subject, o.From)
		}
	}
	if index < 0 {
		return
	}
	for i := range c.Subscriptions {
		e.changeSubscription(index, &c.Subscriptions[i], fx)
	}
}

func (e *Engine) openAccount(c *AccountChange, bucket uint16, zone int32, fx *Effects) int32 {
	index := e.findAccount(c.ID)
	if index < 0 {
		return e.addAccount(account{id: c.ID, name: c.Name, zone: zone, bucket: bucket})
	}
	a := e.accounts.mut(index)
	if a.zone != zone {
		e.refuse(fx, "account %s: its zone %s never changes", c.ID, e.zones[a.zone].Name)
	}
	a.name = c.Name
	return index
}

// attach gives an account a subject from an instant on. A subject has one owner at a time: what is
// taken already stays as it is. It returns the ownership's index, -1 if it was not given.
func (e *Engine) attach(index int32, o Ownership) int32 {
	list := e.subjects[o.Subject]
	for _, i := range list {
		other := e.owners.at(i)
		// An ownership that was taken back before it held any time takes nothing.
		if other.from >= other.to || o.From >= o.To || other.from >= o.To || o.From >= other.to {
			continue
		}
		if !e.automatic(other) || o.Account == other.account {
			return -1
		}
		// Only the shard of a default's account knows of it, so it can't keep the subject.
		e.owners.mut(i).to = max(other.from, o.From)
	}
	i := e.owners.add(owner{
		subject: o.Subject, account: o.Account, index: index, from: o.From, to: o.To,
	})
	list = append(slices.Clone(list), i)
	slices.SortFunc(list, func(a, b int32) int {
		if e.owners.at(a).from < e.owners.at(b).from {
			return -1
		}
		return 1
	})
	e.subjects[o.Subject] = list
	if index >= 0 {
		a := e.accounts.mut(index)
		a.owners = append(slices.Clone(a.owners), i)
	}
	return i
}

// automatic reports whether a default made the ownership, with its account.
func (e *Engine) automatic(o *owner) bool {
	return o.index >= 0 && e.accounts.at(o.index).auto && o.subject == o.account && o.from == Past
}

// owns reports whether the ownership is so already, as far as its beginning.
func (e *Engine) owns(o Ownership) bool {
	return slices.ContainsFunc(e.subjects[o.Subject], func(i int32) bool {
		w := e.owners.at(i)
		return w.account == o.Account && w.from == o.From
	})
}

// detach ends an ownership.
func (e *Engine) detach(o Ownership, fx *Effects) {
	for _, i := range e.subjects[o.Subject] {
		if w := e.owners.at(i); w.account == o.Account && w.from == o.From && o.To < w.to {
			e.owners.mut(i).to = max(o.To, w.from)
			return
		}
	}
	if e.mine(BucketOf(o.Account)) {
		e.refuse(fx, "subject %s: account %s does not own it", o.Subject, o.Account)
	}
}

func (e *Engine) changeSubscription(index int32, c *Subscription, fx *Effects) {
	a := e.accounts.at(index)
	if c.From >= c.To {
		e.refuse(fx, "account %s, subscription %s: it ends before it begins", a.id, c.Key)
		return
	}
	if !e.hasPlan(c.Plan) {
		e.refuse(fx, "account %s, subscription %s: no plan %s", a.id, c.Key, c.Plan)
		return
	}
	if c.Pin != 0 && e.planIndex(c.Plan, c.Pin) < 0 {
		e.refuse(fx, "account %s, subscription %s: no version %d", a.id, c.Key, c.Pin)
		return
	}
	same := int32(-1)
	for _, i := range a.subs {
		b := e.subs.at(i)
		switch {
		case b.Key != c.Key:
		case b.From == c.From:
			same = i
		case b.From < c.To && c.From < b.To:
			e.refuse(fx, "account %s, subscription %s: overlaps another interval", a.id, c.Key)
			return
		}
	}
	if same >= 0 {
		e.moveEnd(same, c.To)
		return
	}
	e.subscribe(index, *c, false)
}

// moveEnd changes the end of a subscription that is not closed to its end, nor beyond the new one.
func (e *Engine) moveEnd(index int32, to Micros) {
	b := e.subs.at(index)
	if to != b.To && to > b.From && to >= b.next && b.next < b.To {
		e.subs.mut(index).To = to
		e.cutOpen(index)
		e.schedule(index)
	}
}

// cutOpen moves the end of the open period that holds a subscription's new end.
func (e *Engine) cutOpen(index int32) {
	b := e.subs.at(index)
	for i := b.newest; i >= 0; i = e.periods.at(i).older {
		if p := e.periods.at(i); p.closedAt == Past && p.start < b.To {
			_, end, _, _ := e.around(b, p.start)
			e.periods.mut(i).end = end
		}
	}
}

// subscribe adds a subscription to an account of this shard.
func (e *Engine) subscribe(index int32, c Subscription, auto bool) {
	t := sub{
		Subscription: c, account: index, auto: auto, started: auto, next: c.From, newest: -1,
		since: e.seq,
	}
	if auto {
		t.since = 0 // it is made by the first event that it counts
	}
	e.setPeriods(&t)
	i := e.subs.add(t)
	a := e.accounts.mut(index)
	subs := append(slices.Clone(a.subs), i)
	slices.SortFunc(subs, func(x, y int32) int {
		p, q := e.subs.at(x), e.subs.at(y)
		if k := strings.Compare(p.Key, q.Key); k != 0 {
			return k
		}
		if p.From < q.From {
			return -1
		}
		return 1
	})
	a.subs = subs
	e.schedule(i)
}

// setPeriods takes over how long the subscription's periods are and where they begin. That is the
// same in all versions of a plan. Automatic subscriptions begin with a period, so they have no
// start to be anchored at.
func (e *Engine) setPeriods(b *sub) {
	plan := e.plans[e.planFor(&b.Subscription, Always)]
	b.interval, b.anchor = plan.Interval, plan.Anchor
	if b.auto && b.anchor == StartAnchor {
		b.anchor = CalendarAnchor
	}
	if b.From != Past {
		b.fromDay = e.localDay(b, b.From)
	}
}

func (e *Engine) grant(c *Credit, fx *Effects) {
	bucket := BucketOf(c.Account)
	if !e.mine(bucket) {
		return
	}
	index := e.findAccount(c.Account)
	if index < 0 {
		e.refuse(fx, "credit %s: no account %s", c.ID, c.Account)
		return
	}
	if err := c.Validate(); err != nil {
		e.refuse(fx, "%v", err)
		return
	}
	a := e.accounts.at(index)
	if slices.ContainsFunc(a.credits, func(o credit) bool { return o.ID == c.ID }) {
		e.refuse(fx, "account %s: credit %s was granted before", c.Account, c.ID)
		return
	}
	e.accounts.mut(index).credits = append(slices.Clone(a.credits), credit{*c, c.Amount})
	e.touch(bucket)
}

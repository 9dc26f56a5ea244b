package engine

import "slices"

// route says where the rows of one subject go while their time is in [lo, hi): resolved once per
// subject and interval in a batch, so that no map is touched per row.
type route struct {
	lo, hi  Micros
	next    int32 // route of the same subject for another interval; -1: none
	account int32 // -1: none
	owner   int32 // the ownership that holds; -1: none
	bucket  uint16
	mine    bool // this shard decides the rows
	late    bool // a period is closed for too long
	unowned bool // no account ever named the subject
	legs    int32
	legsEnd int32
}

// leg is one subscription that a route's rows count for.
type leg struct {
	sub        int32
	late       bool  // its period is closed for too long
	auto       bool  // counts only the types that have the subscription's plan by default
	period     int32 // -1 until the first row counts
	zone       int32 // of the account
	terms      int32
	start, end Micros
}

// routeOf returns the route of the batch's subject for an instant, as an index in routes.
func (e *Engine) routeOf(b *Batch, subject uint32, t Micros) int32 {
	for i := e.heads[subject]; i >= 0; i = e.routes[i].next {
		if r := &e.routes[i]; r.lo <= t && t < r.hi {
			return i
		}
	}
	r := e.resolve(b.Subject.Values[subject], t)
	r.next = e.heads[subject]
	e.heads[subject] = e.addRoute(r)
	return e.heads[subject]
}

func (e *Engine) addRoute(r route) int32 {
	e.routes = append(e.routes, r)
	return int32(len(e.routes) - 1)
}

// resolve finds the owner of a subject at t and the subscriptions that are active then.
func (e *Engine) resolve(subject string, t Micros) route {
	// While nobody owns the subject, its rows go where an account of its name would be: only that
	// shard knows whether a default has made one.
	r := route{lo: Past, hi: Future, account: -1, owner: -1, mine: e.mine(BucketOf(subject))}
	r.unowned = len(e.subjects[subject]) == 0
	r.legs = int32(len(e.legs))
	r.legsEnd = r.legs
	for _, i := range e.subjects[subject] {
		o := e.owners.at(i)
		switch {
		case t < o.from:
			r.hi = min(r.hi, o.from)
		case t >= o.to:
			r.lo = max(r.lo, o.to)
		default:
			r.lo, r.hi = max(r.lo, o.from), min(r.hi, o.to)
			r.owner, r.account, r.mine = i, o.index, o.index >= 0
		}
	}
	if r.account < 0 {
		return r
	}
	a := e.accounts.at(r.account)
	r.bucket = a.bucket
	for _, s := range a.subs {
		e.addLeg(&r, s, t)
	}
	r.legsEnd = int32(len(e.legs))
	return r
}

// addLeg adds the subscription to the route if it is active at t, and narrows the route to where
// the answer holds.
func (e *Engine) addLeg(r *route, index int32, t Micros) {
	b := e.subs.at(index)
	from := b.From
	if b.auto && b.next == b.From {
		from = e.earliest(b, t)
	}
	switch {
	case t < from:
		r.hi = min(r.hi, from)
		if b.auto {
			// Where an automatic subscription reaches back to depends on the period of t.
			start, end := e.whole(b, t)
			r.lo, r.hi = max(r.lo, start), min(r.hi, end)
		}
		return
	case t >= b.To:
		r.lo = max(r.lo, b.To)
		return
	}
	wide := *b
	wide.From = from
	l := leg{
		sub: index, auto: b.auto, period: -1, terms: -1, zone: e.accounts.at(b.account).zone,
	}
	l.start, l.end, _, _ = e.around(&wide, t)
	r.lo, r.hi = max(r.lo, l.start), min(r.hi, l.end)
	l.late = b.corrected
	if p := e.retained(b, l.start); p >= 0 {
		l.period, l.terms = p, e.periods.at(p).terms
		closed := e.periods.at(p).closedAt
		l.late = l.late || closed != Past && e.watermark >= closed.plus(e.settings.Reopen)
	} else {
		l.terms = e.bind(index, l.start)
		// Closed, and forgotten since; unless an automatic subscription reaches back to it.
		l.late = l.late || l.end <= b.next && from == b.From
	}
	r.late = r.late || l.late
	e.legs = append(e.legs, l)
}

// whole returns the calendar period around t, as far as no subscription cuts it.
func (e *Engine) whole(b *sub, t Micros) (start, end Micros) {
	return e.zones[e.accounts.at(b.account).zone].Period(b.interval, b.anchor, b.fromDay, t)
}

// earliest returns the start of t's period if an automatic subscription of which nothing is closed
// may still begin there: while that period could not have been closed. Otherwise its From.
func (e *Engine) earliest(b *sub, t Micros) Micros {
	if t >= b.From {
		return b.From
	}
	start, end := e.whole(b, t)
	if e.watermark >= end.plus(e.settings.Grace) || e.tooOldToOpen(end) {
		return b.From
	}
	return start
}

// tooOldToOpen reports whether a period ended too long before an event's arrival to be opened by a
// default: before the first watermark there is no floor, and one wrong clock must not bill years.
func (e *Engine) tooOldToOpen(end Micros) bool { return end <= e.at.plus(-e.settings.Horizon) }

// lacksDefault reports whether rows of the subject and type open an account, or a subscription on
// the account that the subject opened before: the plan, or "". Only the subject that an account is
// named after opens anything; others that a catalog gives to it count for what is open.
func (e *Engine) lacksDefault(r *route, subject, event string) string {
	plan := e.defaultPlan(event)
	if plan == "" || r.unowned {
		return plan
	}
	if r.account < 0 || !e.accounts.at(r.account).auto || e.accounts.at(r.account).id != subject {
		return ""
	}
	for _, i := range e.accounts.at(r.account).subs {
		if b := e.subs.at(i); b.auto && b.Plan == plan {
			return ""
		}
	}
	return plan
}

// judgeAutomatic handles a row whose type has a default plan that its subject lacks. A row that
// will count makes the account and subscription at once. It returns the route to judge the row by,
// or -1 for another shard's row.
func (e *Engine) judgeAutomatic(b *Batch, row int, plan string) int32 {
	subject, t := b.Subject.Index[row], b.Time[row]
	name := b.Subject.Values[subject]
	bucket := BucketOf(name)
	if !e.mine(bucket) {
		return -1
	}
	if a := e.findAccount(name); a >= 0 && !e.accounts.at(a).auto {
		// The id is taken by an account that does not name the subject.
		return e.addRoute(route{account: -1, owner: -1, mine: true})
	}
	version := e.planFor(&Subscription{Plan: plan}, Always)
	if version < 0 {
		return e.addRoute(route{account: -1, owner: -1, mine: true})
	}
	every := sub{Subscription: Subscription{Plan: plan, From: Past}, auto: true}
	e.setPeriods(&every)
	start, end := e.zones[utc].Period(every.interval, every.anchor, 0, t)
	version = e.planFor(&every.Subscription, DayOf(start))
	trial := route{account: 0, owner: -1, mine: true, bucket: bucket, legs: int32(len(e.legs))}
	trial.late = e.watermark >= end.plus(e.settings.Grace) || e.tooOldToOpen(end)
	e.legs = append(e.legs, leg{sub: -1, period: -1, terms: e.base[version]})
	trial.legsEnd = int32(len(e.legs))
	index := e.addRoute(trial)
	if e.judgeTime(&trial, t) != Accepted {
		return index
	}
	cands, hits := len(e.cands), len(e.hits)
	reason := e.judgeMeters(b, row, index)
	e.cands, e.hits = e.cands[:cands], e.hits[:hits]
	if reason != Accepted {
		return index
	}
	account := e.findAccount(name)
	if account >= 0 && e.dedupe && e.remembered(b, row, account) {
		return e.routeOf(b, subject, t) // a duplicate or conflict opens nothing
	}
	e.makeAutomatic(name, plan, bucket, start)
	if account >= 0 {
		e.heads = fill(e.heads, len(e.heads), -1) // the account's other subjects count for it too
	}
	e.heads[subject] = -1
	return e.routeOf(b, subject, t)
}

// remembered reports whether the row's id has counted for the account, or is about to in this
// batch. It is asked only before a default opens a further subscription.
func (e *Engine) remembered(b *Batch, row int, account int32) bool {
	source, _ := b.Source.At(row)
	id := b.ID.At(row)
	if _, found := e.keys.Find(e.key(e.accounts.at(account).id, source, id)); found {
		return true
	}
	return slices.ContainsFunc(e.cands, func(c candidate) bool {
		other, _ := b.Source.At(int(c.row))
		return e.routes[c.route].account == account && other == source &&
			string(b.ID.At(int(c.row))) == string(id)
	})
}

// makeAutomatic opens the subject's account, if it has none, and its subscription from start.
func (e *Engine) makeAutomatic(subject, plan string, bucket uint16, start Micros) {
	index := e.findAccount(subject)
	if index < 0 {
		index = e.addAccount(account{id: subject, zone: utc, bucket: bucket, auto: true})
		e.attach(index, Ownership{Subject: subject, Account: subject, From: Past, To: Future})
	}
	e.subscribe(index, Subscription{Key: plan, Plan: plan, From: start, To: Future}, true)
	e.touch(bucket)
}

// utc is the index of the zone that every engine knows.
const utc = 0

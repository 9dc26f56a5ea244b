package engine

import (
	"cmp"
	"slices"
)

// Canonical bytes of the state: what a checkpoint holds. The globals come first, then one record an
// account. They do not tell the number of shards: any number can restore them. A checkpoint can be
// made anew from the journal, so these bytes may change from version to version.

// AppendGlobals appends everything that belongs to no account, merged over the shards.
func (v *View) AppendGlobals(b []byte) []byte {
	s := v.first()
	b = v.appendGlobals(appendBool(b, v.wide()))
	b = append(b, s.lastSeal[:]...)
	b = appendList(b, s.opened, func(b []byte, o *opened) []byte {
		return appendString(appendString(appendUint(b, uint64(o.since)), o.Event), o.Plan)
	})
	b = appendList(b, s.zones, func(b []byte, z **Zone) []byte { return appendZone(b, *z) })
	b = appendList(b, s.meters, func(b []byte, m **Meter) []byte { return appendMeter(b, *m) })
	return appendList(b, s.plans, func(b []byte, p **Plan) []byte { return appendPlan(b, *p) })
}

// appendGlobals appends what the journal digest covers beside the billing digest.
func (v *View) appendGlobals(b []byte) []byte {
	s := v.first()
	b = appendInt(appendUint(b, uint64(s.seq)), int64(s.at))
	b = appendInt(appendInt(b, int64(s.watermark)), int64(s.floor))
	b = appendUint(appendBool(b, s.frozen), uint64(s.ruleset))
	b = AppendEntry(b, &Entry{Body: &s.genesis})
	b = appendSettings(b, &s.settings)
	b = appendList(b, s.defaults, func(b []byte, d *defaultRule) []byte {
		return appendBool(appendString(appendString(b, d.Event), d.Plan), d.ended)
	})
	b = appendList(b, v.Controls(), func(b []byte, c *Control) []byte {
		b = appendUint(appendSource(b, &c.Source), c.Read)
		b = appendInt(b, int64(c.Greatest))
		for _, n := range c.Counts[:firstReasons] {
			b = appendUint(b, n)
		}
		return b
	})
	b = appendList(b, s.files, func(b []byte, d *Digest) []byte { return append(b, d[:]...) })
	var rejected multiset
	for _, s := range v.shards {
		rejected.merge(s.rejected)
	}
	b = appendMultiset(b, &rejected)
	b = appendList(b, v.keyDays(), appendKeyDay)
	b = appendList(b, v.Positions(), func(b []byte, p *Position) []byte {
		return appendInt(appendString(appendString(b, p.Source), p.Partition), p.Resume)
	})
	if v.wide() {
		b = v.appendWide(b)
	}
	return b
}

// firstReasons is how many reasons ruleset 1 had: their counts stand where they always did.
const firstReasons = int(ReasonUnknownEvent)

// wide reports whether there is more than ruleset 1 could say.
func (v *View) wide() bool {
	if len(v.first().budgets)+len(v.voidedDays()) > 0 {
		return true
	}
	for _, c := range v.Controls() {
		for _, n := range c.Counts[firstReasons:] {
			if n > 0 {
				return true
			}
		}
	}
	return false
}

// appendWide appends what belongs to no account and was not there in ruleset 1.
func (v *View) appendWide(b []byte) []byte {
	b = appendList(b, v.first().budgets, appendBudget)
	b = appendList(b, v.voidedDays(), appendKeyDay)
	for _, c := range v.Controls() {
		for _, n := range c.Counts[firstReasons:] {
			b = appendUint(b, n)
		}
	}
	return b
}

func appendKeyDay(b []byte, d *keyDay) []byte {
	return appendMultiset(appendInt(b, int64(d.day)), &d.multiset)
}

func readKeyDay(r *reader) keyDay { return keyDay{Day(r.int32()), readMultiset(r)} }

func (v *View) keyDays() []keyDay {
	return v.mergeDays(func(s *state) []keyDay { return s.keyDays })
}

func (v *View) voidedDays() []keyDay {
	return v.mergeDays(func(s *state) []keyDay { return s.voidDays })
}

// mergeDays adds up what the shards counted by day.
func (v *View) mergeDays(of func(*state) []keyDay) []keyDay {
	var all []keyDay
	for _, s := range v.shards {
		for _, d := range of(s) {
			i := slices.IndexFunc(all, func(o keyDay) bool { return o.day == d.day })
			if i < 0 {
				all = append(all, d)
			} else {
				all[i].merge(d.multiset)
			}
		}
	}
	slices.SortFunc(all, func(a, b keyDay) int { return cmp.Compare(a.day, b.day) })
	return all
}

func appendMultiset(b []byte, m *multiset) []byte {
	return appendUint(appendUint(appendUint(b, m.n), m.hi), m.lo)
}

func readMultiset(r *reader) multiset { return multiset{r.uint(), r.uint(), r.uint()} }

// RestoreGlobals reads what AppendGlobals wrote into a new engine. Shard 0 takes the counts.
func (e *Engine) RestoreGlobals(b []byte) error {
	r := newReader(b)
	wide := r.bool()
	e.seq, e.at = Seq(r.uint()), r.micros()
	e.watermark, e.floor = r.micros(), r.micros()
	e.frozen, e.ruleset = r.bool(), uint16(r.upTo(1<<16-1, "ruleset"))
	r.take(1) // kind, sequence number and time of an entry that holds the genesis
	r.uint()
	r.int()
	if g, ok := readBody(r, kindGenesis).(*Genesis); ok {
		e.genesis, e.hash = *g, newKeyHash(g.HashKey)
	}
	e.settings = *readSettings(r)
	e.defaults = readList(r, 3, func(r *reader) defaultRule {
		return defaultRule{Default{r.string(), r.string()}, r.bool()}
	})
	e.sources = readList(r, 6+firstReasons, func(r *reader) source {
		s := source{Source: *readSource(r), read: r.uint(), greatest: r.micros()}
		for i := range firstReasons {
			s.counts[i] = r.uint()
		}
		return s
	})
	e.files = readList(r, 32, (*reader).digest)
	e.rejected = readMultiset(r)
	e.keyDays = readList(r, 4, readKeyDay)
	e.positions = readList(r, 3, func(r *reader) Position {
		return Position{r.string(), r.string(), r.int()}
	})
	if wide {
		e.readWide(r)
	}
	e.lastSeal = r.digest()
	e.opened = readList(r, 3, func(r *reader) opened {
		return opened{Seq(r.uint()), Default{r.string(), r.string()}}
	})
	e.zones = readList(r, 3, func(r *reader) *Zone { return readZone(r) })
	e.meters = readList(r, 7, func(r *reader) *Meter { m := readMeter(r); return &m })
	for _, p := range readList(r, 8, readPlan) {
		for i := range p.Prices {
			if m := p.Prices[i].Meter; m != "" && e.meterIndex(m) < 0 {
				r.fail("price without its meter")
				return r.err
			}
		}
		e.plans = append(e.plans, &p)
		e.base = append(e.base, e.addTerms(e.makeTerms(&p, nil)))
	}
	if e.shard != 0 {
		e.rejected, e.keyDays, e.positions, e.voidDays = multiset{}, nil, nil, nil
		for i := range e.sources {
			e.sources[i].read, e.sources[i].counts = 0, [NumReasons]uint64{}
		}
	}
	return r.end()
}

// readWide reads what appendWide wrote. Sources stand by name, as Controls gave them.
func (e *Engine) readWide(r *reader) {
	e.budgets = readList(r, 22, readBudget)
	e.voidDays = readList(r, 4, readKeyDay)
	for i := range e.sources {
		for n := firstReasons; n < NumReasons; n++ {
			e.sources[i].counts[n] = r.uint()
		}
	}
}

// EachAccount calls f with the canonical bytes of every account, which f must not keep. It stops at
// the first error.
func (v *View) EachAccount(f func(record []byte) error) error {
	var buf []byte
	for _, s := range v.shards {
		for i := range s.accounts.len() {
			buf = s.appendAccount(buf[:0], i)
			if err := f(buf); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *state) appendAccount(b []byte, index int32) []byte {
	a := s.accounts.at(index)
	b = appendString(appendString(b, a.id), a.name)
	b = appendBool(appendString(b, s.zones[a.zone].Name), a.auto)
	b = appendList(b, a.owners, func(b []byte, i *int32) []byte {
		o := s.owners.at(*i)
		b = appendInt(appendInt(appendString(b, o.subject), int64(o.from)), int64(o.to))
		return appendBool(b, o.used)
	})
	b = appendList(b, a.credits, func(b []byte, c *credit) []byte {
		return appendAmount(appendCredit(appendBool(b, c.kind() == kindGrant), &c.Credit), c.left)
	})
	b = appendList(appendList(b, a.coupons, appendCoupon), a.taxes, appendTaxes)
	b = appendList(appendList(b, s.voidedOf(a), appendVoided), a.fired, appendFired)
	b = appendBool(b, a.touched)
	return appendList(b, a.subs, func(b []byte, i *int32) []byte { return s.appendSub(b, *i) })
}

func appendVoided(b []byte, m *voided) []byte {
	b = appendUint(appendUint(appendUint(b, m.hi), m.lo), m.digest)
	return appendBool(appendInt(appendInt(b, int64(m.day)), int64(m.last)), m.gone)
}

func readVoided(r *reader) voided {
	return voided{
		hi: r.uint(), lo: r.uint(), digest: r.uint(), day: Day(r.int32()), last: Day(r.int32()),
		gone: r.bool(),
	}
}

func appendFired(b []byte, f *fired) []byte {
	b = appendString(appendString(b, f.budget), f.sub)
	return appendDecimal(appendInt(b, int64(f.start)), f.percent)
}

func readFired(r *reader) fired {
	return fired{budget: r.string(), sub: r.string(), start: r.micros(), percent: r.decimal()}
}

func (s *state) appendSub(b []byte, index int32) []byte {
	t := s.subs.at(index)
	b = appendSubscription(b, &t.Subscription)
	b = appendUint(b, uint64(t.since))
	b = appendBool(appendBool(appendBool(b, t.auto), t.started), t.corrected)
	b = appendList(appendInt(b, int64(t.next)), t.paid, appendBooked)
	b = append(appendUint(b, uint64(t.issued)), t.history[:]...)
	b = s.appendLevels(b, t.levels)
	var periods []int32
	for p := t.newest; p >= 0; p = s.periods.at(p).older {
		periods = append(periods, p)
	}
	slices.Reverse(periods)
	return appendList(b, periods, func(b []byte, p *int32) []byte { return s.appendPeriod(b, *p) })
}

func (s *state) appendPeriod(b []byte, index int32) []byte {
	p := s.periods.at(index)
	b = appendInt(appendInt(b, int64(p.start)), int64(p.end))
	b = appendUint(b, uint64(s.terms[p.terms].plan.Version))
	b = appendUint(appendInt(b, int64(p.closedAt)), p.rows)
	b = appendBool(b, p.dirty)
	b = appendList(b, p.booked, appendBooked)
	var list []placedFold
	for i := p.first; i >= 0; i = s.series.at(i).next {
		if s.series.at(i).Rows > 0 {
			list = append(list, placedFold{series: i})
		}
	}
	for i, u := range s.unsortedFolds(index, s.terms[p.terms], nil, s.foldOf) {
		list[i].Usage = u
	}
	slices.SortFunc(list, func(a, b placedFold) int { return compareUsage(a.Usage, b.Usage) })
	return appendList(b, list, func(b []byte, f *placedFold) []byte {
		b = appendList(appendTally(b, &f.Usage), f.Fold.Samples, appendSample)
		r, before := s.series.at(f.series), Day(0)
		how := r.keep.daysAdd(f.Meter.Aggregate)
		return appendList(b, r.daysOf(f.Meter), func(b []byte, d *dayTally) []byte {
			b = appendDay(b, how, before, d)
			before = d.day
			return b
		})
	})
}

// placedFold is a fold with the place of its series.
type placedFold struct {
	Usage
	series int32
}

func appendBooked(b []byte, o *booked) []byte {
	b = appendString(appendString(b, o.key), o.price)
	return appendAmount(appendList(b, o.group, appendGroupValue), o.amount)
}

func readBooked(r *reader) booked {
	return booked{
		key: r.string(), price: r.string(), group: readList(r, 3, readGroupValue),
		amount: r.amount(),
	}
}

// RestoreAccount reads a record of EachAccount. Of another shard's account it takes the subjects.
func (e *Engine) RestoreAccount(record []byte) error {
	r := newReader(record)
	a := account{id: r.string(), name: r.string(), zone: e.zoneIndex(r.string()), auto: r.bool()}
	if a.zone < 0 {
		r.fail("zone")
		return r.err
	}
	a.bucket = BucketOf(a.id)
	mine, id := e.mine(a.bucket), a.id
	index := int32(-1)
	if mine {
		index = e.addAccount(a)
	}
	for range r.count(4) {
		o := Ownership{Subject: r.string(), Account: id, From: r.micros(), To: r.micros()}
		used := r.bool()
		if !mine && a.auto && o.Subject == id {
			continue // known to the account's own shard only, as before
		}
		if i := e.attach(index, o); i >= 0 && used {
			e.owners.mut(i).used = true
		}
	}
	if !mine {
		return r.err
	}
	m := e.accounts.mut(index)
	m.credits = readList(r, 38, readCreditLeft)
	m.coupons, m.taxes = readList(r, 38, readCoupon), readList(r, 4, readTaxes)
	for _, v := range readList(r, 6, readVoided) {
		e.addVoided(index, v)
	}
	m.fired = readList(r, 19, readFired)
	if r.bool() {
		m.touched = true
		e.spenders = append(e.spenders, index)
	}
	var subs []int32
	for range r.count(42) {
		subs = append(subs, e.restoreSub(r, index))
	}
	e.accounts.mut(index).subs = subs
	return r.end()
}

func readCreditLeft(r *reader) credit {
	return credit{*readCredit(r, r.bool()), r.amount()}
}

func (e *Engine) restoreSub(r *reader, account int32) int32 {
	t := sub{
		Subscription: readSubscription(r), account: account, since: Seq(r.uint()),
		auto: r.bool(), started: r.bool(), corrected: r.bool(), next: r.micros(),
		paid:   readList(r, 35, readBooked),
		issued: uint32(r.uint()), history: r.digest(), levels: e.readLevels(r), newest: -1,
	}
	if r.err == nil && e.planFor(&t.Subscription, Always) < 0 {
		r.fail("plan")
	}
	if r.err == nil {
		e.setPeriods(&t)
	}
	index := e.subs.add(t)
	for range r.count(8) {
		e.restorePeriod(r, index)
	}
	return index
}

func (e *Engine) restorePeriod(r *reader, index int32) {
	start, end, version := r.micros(), r.micros(), int(r.uint())
	closedAt, rows, dirty := r.micros(), r.uint(), r.bool()
	lines := readList(r, 35, readBooked)
	if r.err != nil {
		return
	}
	plan := e.planIndex(e.subs.at(index).Plan, version)
	if plan < 0 {
		r.fail("plan version")
		return
	}
	p := e.periodOf(index, start, end)
	m := e.periods.mut(p)
	m.terms = e.bindTo(index, plan)
	m.closedAt, m.rows, m.dirty, m.booked = closedAt, rows, dirty, lines
	for range r.count(28) {
		e.restoreSeries(r, p)
	}
}

func (e *Engine) restoreSeries(r *reader, p int32) {
	meter, group := e.readSeriesName(r)
	t := tally{Rows: r.uint(), Value: r.sum()}
	samples := readList(r, 27, readSample)
	if r.err != nil {
		return
	}
	keep := e.meters[meter].keeps(e.keepsEach(p, meter))
	how, before := keep.daysAdd(e.meters[meter].Aggregate), int64(0)
	days := readList(r, 2, func(r *reader) dayTally {
		d := readDay(r, how, before)
		before = int64(d.day)
		return d
	})
	if r.err != nil {
		return
	}
	if !wholeDays(days, t.Rows) {
		r.fail("days")
		return
	}
	i := e.seriesOf(p, meter, group)
	s := e.series.mut(i)
	if s.Rows > 0 || s.keep == keepNothing && len(samples) > 0 {
		r.fail("samples")
		return
	}
	s.tally, s.days = t, packDays(how, days)
	for _, x := range samples {
		e.remember(i, e.meters[meter], x)
	}
}

// readSeriesName reads a meter and the values of a group.
func (e *Engine) readSeriesName(r *reader) (meter, group int32) {
	meter = e.meterIndex(r.string())
	values := readList(r, 3, readGroupValue)
	if r.err != nil {
		return -1, 0
	}
	if meter < 0 || len(values) != len(e.meters[meter].GroupBy) {
		r.fail("meter")
		return -1, 0
	}
	ids := make([]uint32, len(values))
	for i, g := range values {
		if !g.Absent {
			ids[i] = e.value(g.Value)
		}
	}
	return meter, e.group(ids)
}

func readSample(r *reader) Sample {
	return Sample{Time: r.micros(), Text: r.string(), Value: r.sum(), Rows: r.uint()}
}

// RestoreDone ends a restore: what waits for the watermark waits again.
func (e *Engine) RestoreDone() { e.scheduleAll() }

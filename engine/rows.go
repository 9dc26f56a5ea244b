package engine

import (
	"encoding/binary"
	"slices"
)

// scratch is memory that Apply uses again for every batch.
type scratch struct {
	heads    []int32 // by subject of the batch: its newest route
	routes   []route
	legs     []leg
	bounds   []bound
	boundOf  []int32  // by meter: index in bounds, or -1
	progAt   []span   // by (slot of the terms, type): in progs
	progs    []int32  // bounds that listen to a type under some terms, one list after another
	slotOf   []int32  // by terms: slot, or -1
	reasons  []Reason // by row; notMine for rows of another shard
	cands    []candidate
	hits     []hit
	keyBuf   []byte
	keyRow   []Key
	verdicts []Verdict
	dedupe   bool // of the batch's source
	ids      []uint32
	number   []byte
	uses     []Use      // of watched accounts
	dayAt    []daySpan  // by zone
	days     []dayTally // of one series
	asOf     Seq        // rows are judged by the defaults before it; 0: by the present ones
}

const notMine Reason = 255

// candidate is a row that counts unless its key says otherwise.
type candidate struct {
	row     int32
	route   int32
	hits    int32 // in scratch.hits, up to the next candidate's
	hitsEnd int32
}

// hit is one fold that a candidate goes into.
type hit struct {
	leg   int32
	bound int32
}

// span is a part of a slice of the scratch; unknown where from is below 0.
type span struct{ from, to int32 }

// rows folds a batch: resolve and judge every row, ask the keys, fold what counts.
func (e *Engine) rows(first Seq, b *Batch, fx *Effects) {
	e.prepare(b)
	src := e.sourceOf(b.Origin.Source)
	e.dedupe = e.sources[src].Dedupe
	e.judge(b)
	e.admit(b)
	for i := range e.cands {
		if c := &e.cands[i]; e.reasons[c.row] == Accepted {
			e.foldRow(first, b, c)
		}
	}
	fx.Uses = append(fx.Uses, e.uses...)
	s := &e.sources[src]
	for row, reason := range e.reasons {
		if reason == notMine {
			continue
		}
		s.counts[reason]++
		if reason != Accepted {
			seq := first + Seq(row)
			fx.Rejections = append(fx.Rejections, Rejection{Seq: seq, Reason: reason})
			e.rejected.add(mix(uint64(seq), uint64(reason)), mix(uint64(reason)+1, uint64(seq)))
		}
	}
	if e.shard == 0 {
		s.read += uint64(b.Len)
		s.greatest = max(s.greatest, b.GreatestTime(e.at))
		e.keepPositions(b)
	}
}

func (e *Engine) prepare(b *Batch) {
	e.heads = fill(e.heads, len(b.Subject.Values), -1)
	e.routes, e.legs, e.bounds = e.routes[:0], e.legs[:0], e.bounds[:0]
	e.boundOf = fill(e.boundOf, len(e.meters), -1)
	e.progs, e.progAt = e.progs[:0], e.progAt[:0]
	e.slotOf = fill(e.slotOf, len(e.terms), -1)
	e.reasons = fill(e.reasons, b.Len, notMine)
	e.cands, e.hits = e.cands[:0], e.hits[:0]
	e.uses = e.uses[:0]
}

// fill returns s with n elements of value v.
func fill[T any](s []T, n int, v T) []T {
	s = slices.Grow(s[:0], n)[:n]
	for i := range s {
		s[i] = v
	}
	return s
}

// sourceOf returns the index of a source; one that was never declared counts with dedupe.
func (e *Engine) sourceOf(name string) int {
	for i := range e.sources {
		if e.sources[i].Name == name {
			return i
		}
	}
	e.sources = append(e.sources, source{
		Source: Source{Name: name, Dedupe: true}, greatest: Past,
	})
	return len(e.sources) - 1
}

func (e *Engine) keepPositions(b *Batch) {
	for i, part := range b.Origin.Partition.Values {
		at := slices.IndexFunc(e.positions, func(p Position) bool {
			return p.Partition == part && p.Source == b.Origin.Source
		})
		if at < 0 {
			at = len(e.positions)
			e.positions = append(e.positions, Position{b.Origin.Source, part, 0})
		}
		e.positions[at].Resume = b.Origin.Resume[i]
	}
}

// judge gives every row its reason as far as it does not depend on keys, in the order of
// precedence, and collects what could count.
func (e *Engine) judge(b *Batch) {
	bad := b.Malformed
	for row := range b.Len {
		if len(bad) > 0 && bad[0].Row == row {
			bad = bad[1:]
			if e.shard == 0 {
				e.reasons[row] = ReasonMalformed
			}
			continue
		}
		e.judgeRow(b, row)
	}
}

func (e *Engine) judgeRow(b *Batch, row int) {
	typ, t := b.Type.Index[row], b.Time[row]
	index := e.routeOf(b, b.Subject.Index[row], t)
	if len(e.defaults) > 0 {
		if plan := e.lacksDefault(
			&e.routes[index], b.Subject.Values[b.Subject.Index[row]], b.Type.Values[typ]); plan != "" {
			index = e.judgeAutomatic(b, row, plan)
		}
	}
	if index < 0 || !e.routes[index].mine {
		return
	}
	r := &e.routes[index]
	reason := e.judgeTime(r, t)
	if reason == Accepted {
		reason = e.judgeMeters(b, row, index)
	}
	e.reasons[row] = reason
}

// judgeTime judges what depends on the row's subject and time alone.
func (e *Engine) judgeTime(r *route, t Micros) Reason {
	switch {
	case r.account < 0:
		return ReasonUnknownAccount
	case t < e.floor || r.late:
		return ReasonTooLate
	case t > e.at.plus(e.settings.MaxFuture):
		return ReasonTooEarly
	case r.legs == r.legsEnd:
		return ReasonNoSubscription
	}
	return Accepted
}

// countsNow reports whether events of the type count for automatic subscriptions to the plan.
func (e *Engine) countsNow(event, plan string) bool {
	if e.asOf != 0 {
		return e.countedFor(event, plan, e.asOf)
	}
	return e.countsFor(event, plan)
}

// judgeMeters finds the folds that the row goes into: all of them or none.
func (e *Engine) judgeMeters(b *Batch, row int, index int32) Reason {
	from := int32(len(e.hits))
	worst := Accepted
	matched := false
	for l := e.routes[index].legs; l < e.routes[index].legsEnd; l++ {
		if leg := &e.legs[l]; leg.auto &&
			!e.countsNow(b.Type.Values[b.Type.Index[row]], e.subs.at(leg.sub).Plan) {
			continue
		}
		for _, i := range e.programOf(b, e.legs[l].terms, b.Type.Index[row]) {
			m := &e.bounds[i]
			if !m.passes(row) {
				continue
			}
			matched = true
			if _, reason := m.value(row); reason != Accepted && (worst == Accepted || reason < worst) {
				worst = reason
			}
			e.hits = append(e.hits, hit{leg: l, bound: i})
		}
	}
	if !matched {
		worst = ReasonUnmatched
	}
	if worst != Accepted {
		e.hits = e.hits[:from]
		return worst
	}
	e.cands = append(e.cands, candidate{
		row: int32(row), route: index, hits: from, hitsEnd: int32(len(e.hits)),
	})
	return Accepted
}

// admit asks the keys about the candidates.
func (e *Engine) admit(b *Batch) {
	if !e.dedupe {
		return
	}
	e.keyRow = slices.Grow(e.keyRow[:0], len(e.cands))
	for i := range e.cands {
		c := &e.cands[i]
		row := int(c.row)
		r := &e.routes[c.route]
		source, _ := b.Source.At(row)
		hi, lo := e.key(e.accounts.at(r.account).id, source, b.ID.At(row))
		e.keyRow = append(e.keyRow, Key{
			Hi: hi, Lo: lo, Digest: b.Digest[row], Day: DayOf(b.Time[row]), Bucket: r.bucket,
		})
	}
	e.verdicts = slices.Grow(e.verdicts[:0], len(e.keyRow))[:len(e.keyRow)]
	e.keys.Admit(e.keyRow, e.verdicts)
	for i, v := range e.verdicts {
		switch v {
		case Fresh:
			e.keyDays = countKey(e.keyDays, &e.keyRow[i])
		case Duplicate:
			e.reasons[e.cands[i].row] = ReasonDuplicate
		case Conflict:
			e.reasons[e.cands[i].row] = ReasonConflict
		}
	}
}

// key is the identity of an event: ids are unique per account and source.
func (e *Engine) key(account, source string, id []byte) (hi, lo uint64) {
	buf := binary.AppendUvarint(e.keyBuf[:0], uint64(len(account)))
	buf = append(buf, account...)
	buf = binary.AppendUvarint(buf, uint64(len(source)))
	buf = append(buf, source...)
	buf = append(buf, id...)
	e.keyBuf = buf
	return e.hash.sum(buf)
}

// foldRow adds an accepted row to all its folds.
func (e *Engine) foldRow(first Seq, b *Batch, c *candidate) {
	r := &e.routes[c.route]
	e.touch(r.bucket)
	e.spends(r.account)
	if !e.owners.at(r.owner).used {
		e.owners.mut(r.owner).used = true
	}
	for l := r.legs; l < r.legsEnd; l++ {
		e.foldLeg(first, b, c, l)
	}
}

func (e *Engine) foldLeg(first Seq, b *Batch, c *candidate, l int32) {
	counted := false
	day := e.localDayOf(e.legs[l].zone, b.Time[c.row])
	for _, h := range e.hits[c.hits:c.hitsEnd] {
		if h.leg != l {
			continue
		}
		period := e.openLeg(&e.legs[l])
		if !counted {
			counted = true
			p := e.periods.mut(period)
			p.rows++
			p.dirty = p.dirty || p.closedAt != Past
		}
		e.foldHit(first, b, int(c.row), period, &e.bounds[h.bound], day)
	}
}

// foldHit adds an accepted row, of a local day, to the fold of one meter and its group in a period.
func (e *Engine) foldHit(
	first Seq, b *Batch, row int, period int32, m *bound, day Day,
) {
	group := e.groupOf(m, row)
	i := e.seriesOf(period, m.index, group)
	s := e.series.mut(i)
	v, _ := m.value(row)
	s.add(m.meter.Aggregate, v)
	e.countDay(s, m.meter, day, v)
	if s.keep != keepNothing {
		x := m.sample(s.keep, row, b.Time[row], e.periods.at(period).full, v)
		e.remember(i, m.meter, x)
		e.levelMoved(period, m)
	}
	if e.watched != nil {
		e.use(first+Seq(row), b.Time[row], m, i, row)
	}
}

// openLeg returns the leg's period, made with the first row that counts.
func (e *Engine) openLeg(l *leg) int32 {
	if l.period >= 0 {
		return l.period
	}
	if b := e.subs.at(l.sub); l.start < b.From {
		m := e.subs.mut(l.sub)
		m.From, m.next = l.start, l.start
		e.schedule(l.sub)
	}
	l.period = e.periodOf(l.sub, l.start, l.end)
	return l.period
}

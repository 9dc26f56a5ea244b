package engine

import (
	"cmp"
	"math"
	"slices"

	"billctl/engine/decimal"
)

// Corrections is the source under whose name the rows of Void entries are counted.
const Corrections = "corrections"

// voided is an event of an account that a Void took back or changed. Its key stays remembered, so
// that the event does not come again.
type voided struct {
	hi, lo uint64
	day    Day    // of the key
	last   Day    // of the version that counts; the key is remembered until it is forgotten too
	digest uint64 // of the version that counts, or was the last to
	gone   bool   // none counts
	next   int32  // the account's next, + 1; 0: none
}

// findVoided returns the place of an event in voids, -1 if nothing became of it, and the slot where
// it belongs.
func (e *Engine) findVoided(hi, lo uint64) (at int32, slot int) {
	return e.voidAt.find(mix(hi, lo), func(i int32) bool {
		m := e.voids.at(i)
		return m.hi == hi && m.lo == lo
	})
}

// addVoided remembers an event of an account of which nothing is remembered yet.
func (e *Engine) addVoided(account int32, m voided) {
	a := e.accounts.mut(account)
	m.next = a.voided
	var at int32
	if n := len(e.freeVoids); n > 0 {
		at, e.freeVoids = e.freeVoids[n-1], e.freeVoids[:n-1]
		*e.voids.mut(at) = m
	} else {
		at = e.voids.add(m)
	}
	_, slot := e.findVoided(m.hi, m.lo) // in any case a place of its own: an empty slot
	e.voidAt.put(mix(m.hi, m.lo), slot, at)
	a.voided = at + 1
	e.oldestVoid = min(e.oldestVoid, m.day)
}

// voidedOf returns what became of events of an account, by key.
func (s *state) voidedOf(a *account) []voided {
	var out []voided
	for i := a.voided; i > 0; i = s.voids.at(i - 1).next {
		out = append(out, *s.voids.at(i - 1))
	}
	slices.SortFunc(out, func(x, y voided) int {
		return cmp.Or(cmp.Compare(x.hi, y.hi), cmp.Compare(x.lo, y.lo))
	})
	return out
}

// target is a fold that a row is taken out of.
type target struct {
	period int32
	series int32
	bound  bound
}

// void takes an event back, and lets its new version count in its place. Either both happen, or the
// entry is rejected as one row.
func (e *Engine) void(seq Seq, v *Void, fx *Effects) {
	src := e.sourceOf(Corrections)
	if e.shard == 0 {
		e.sources[src].read++
	}
	reason := ReasonMalformed
	if whole := len(v.Row.Malformed) == 0 && (v.Amend == nil || len(v.Amend.Malformed) == 0); whole {
		e.prepare(v.Row)
		index := e.routeOf(v.Row, v.Row.Subject.Index[0], v.Row.Time[0])
		if !e.routes[index].mine {
			return
		}
		reason = e.correct(seq, v, index)
	} else if e.shard != 0 {
		return
	}
	e.sources[src].counts[reason]++
	fx.Uses = append(fx.Uses, e.uses...)
	e.uses = e.uses[:0]
	if reason != Accepted {
		fx.Rejections = append(fx.Rejections, Rejection{Seq: seq, Reason: reason})
		e.rejected.add(mix(uint64(seq), uint64(reason)), mix(uint64(reason)+1, uint64(seq)))
	}
}

// correct judges a Void whose row is of this shard, and carries it out if nothing is against it.
func (e *Engine) correct(seq Seq, v *Void, index int32) Reason {
	index = e.routeThen(index, v.Of)
	r := e.routes[index]
	if reason := e.judgeTime(&r, v.Row.Time[0]); reason != Accepted {
		return reason
	}
	if v.Of >= seq {
		return ReasonUnknownEvent
	}
	mark, reason := e.judgeOriginal(v, &r)
	if reason != Accepted {
		return reason
	}
	targets, reason := e.targetsOf(v, index)
	if reason != Accepted {
		return reason
	}
	if v.Amend != nil {
		if reason := e.judgeAmend(v, &r); reason != Accepted {
			return reason
		}
	}
	e.touch(r.bucket)
	e.spends(r.account)
	e.takeBack(seq, v, &r, targets)
	mark.gone = v.Amend == nil
	if v.Amend != nil {
		mark.digest, mark.last = v.Amend.Digest[0], DayOf(v.Amend.Time[0])
		e.foldRow(seq, v.Amend, &e.cands[0])
	}
	e.keepVoided(r.account, mark)
	return Accepted
}

// routeThen returns a route with the subscriptions of another that were there before a position.
func (e *Engine) routeThen(index int32, of Seq) int32 {
	r := e.routes[index]
	from, to := r.legs, r.legsEnd
	r.legs, r.late = int32(len(e.legs)), false
	for i := from; i < to; i++ {
		if l := e.legs[i]; e.subs.at(l.sub).since < of {
			e.legs = append(e.legs, l)
			r.late = r.late || l.late
		}
	}
	r.legsEnd = int32(len(e.legs))
	return e.addRoute(r)
}

// judgeOriginal checks that the row is the version of its event that counts, and returns what is
// remembered of it.
func (e *Engine) judgeOriginal(v *Void, r *route) (voided, Reason) {
	source, _ := v.Row.Source.At(0)
	a := e.accounts.at(r.account)
	m := voided{day: DayOf(v.Row.Time[0])}
	m.last = m.day
	m.hi, m.lo = e.key(a.id, source, v.Row.ID.At(0))
	k, found := e.keys.Find(m.hi, m.lo)
	if !found {
		return m, ReasonUnknownEvent
	}
	m.digest = k.Digest
	// The digest leaves out a time that is the row's arrival: it may be a repetition, which came
	// another day and never counted.
	repeated := k.Day != m.day
	if at, _ := e.findVoided(m.hi, m.lo); at >= 0 {
		m, repeated = *e.voids.at(at), false
	}
	switch {
	case v.Row.Digest[0] != m.digest || !genuine(v.Row):
		return m, ReasonConflict
	case repeated:
		return m, ReasonUnknownEvent
	case m.gone:
		return m, ReasonVoided
	}
	return m, Accepted
}

// targetsOf returns the folds that the original is in: those of the subscriptions that were there
// when it came.
func (e *Engine) targetsOf(v *Void, index int32) ([]target, Reason) {
	e.asOf = v.Of
	reason := e.judgeMeters(v.Row, 0, index)
	e.asOf = 0
	if reason != Accepted {
		return nil, reason
	}
	var out []target
	for _, h := range e.hits {
		l := &e.legs[h.leg]
		m := e.bounds[h.bound]
		if l.period < 0 {
			return nil, ReasonUnknownEvent
		}
		s := e.findSeries(l.period, m.index, e.groupOf(&e.bounds[h.bound], 0))
		if s >= 0 && !correctable(m.meter, e.keepsEach(l.period, m.index)) {
			return nil, ReasonNotCorrectable
		}
		if s < 0 || !e.holds(s, &m, 0, v.Row.Time[0]) {
			return nil, ReasonUnknownEvent
		}
		out = append(out, target{l.period, s, m})
	}
	return out, Accepted
}

// judgeAmend judges the new version as any row: it is the event of the same id, and of the same
// account. Its hits are then those of the first candidate.
func (e *Engine) judgeAmend(v *Void, r *route) Reason {
	e.prepare(v.Amend)
	index := e.routeOf(v.Amend, v.Amend.Subject.Index[0], v.Amend.Time[0])
	to := e.routes[index]
	if to.account != r.account {
		return ReasonUnknownAccount
	}
	if reason := e.judgeTime(&to, v.Amend.Time[0]); reason != Accepted {
		return reason
	}
	if reason := e.judgeMeters(v.Amend, 0, index); reason != Accepted {
		return reason
	}
	source, _ := v.Row.Source.At(0)
	subject, _ := v.Row.Subject.At(0)
	newSource, _ := v.Amend.Source.At(0)
	newSubject, _ := v.Amend.Subject.At(0)
	if source != newSource || subject != newSubject ||
		string(v.Row.ID.At(0)) != string(v.Amend.ID.At(0)) || !genuine(v.Amend) {
		return ReasonConflict
	}
	return Accepted
}

// genuine reports whether the digest of a row is that of what it says.
func genuine(b *Batch) bool {
	digest, ok := digestOf(b)
	return ok && uint64(digest) == b.Digest[0]
}

// takeBack takes the row out of its folds. A period counts it once.
func (e *Engine) takeBack(seq Seq, v *Void, r *route, targets []target) {
	var seen []int32
	for i := range targets {
		t := &targets[i]
		e.subtract(t.series, &t.bound, 0, v.Row.Time[0])
		if !slices.Contains(seen, t.period) {
			seen = append(seen, t.period)
			p := e.periods.mut(t.period)
			p.rows--
			p.dirty = p.dirty || p.closedAt != Past
		}
		if e.watched != nil {
			e.useBack(seq, v, t)
		}
	}
}

// keepVoided remembers what became of an event.
func (e *Engine) keepVoided(account int32, m voided) {
	if at, _ := e.findVoided(m.hi, m.lo); at >= 0 {
		*e.voids.mut(at) = m
	} else {
		e.addVoided(account, m)
	}
	e.countVoided(&m)
}

// moved returns the keys whose day will be forgotten before that of the version that counts: with
// the later day and the digest that they are remembered with.
func (e *Engine) moved(d Day) []Key {
	if e.oldestVoid >= d {
		return nil
	}
	var out []Key
	for i := range e.accounts.len() {
		for v := e.accounts.at(i).voided; v > 0; v = e.voids.at(v - 1).next {
			if m := e.voids.at(v - 1); m.day < d && m.last >= d {
				k, _ := e.keys.Find(m.hi, m.lo)
				k.Day = m.last
				out = append(out, k)
			}
		}
	}
	return out
}

// forgetVoided forgets the events of days whose keys are forgotten. moved are the keys that stay.
func (e *Engine) forgetVoided(d Day, moved []Key) {
	n := 0
	for n < len(e.voidDays) && e.voidDays[n].day < d {
		n++
	}
	if n > 0 {
		e.voidDays = slices.Clone(e.voidDays[n:])
	}
	if e.oldestVoid >= d {
		return
	}
	e.oldestVoid = noVoid
	for i := range e.accounts.len() {
		if e.accounts.at(i).voided > 0 {
			e.forgetVoidedOf(i, d)
		}
	}
	e.keys.Admit(moved, make([]Verdict, len(moved)))
	for i := range moved {
		e.keyDays = countKey(e.keyDays, &moved[i])
	}
}

// forgetVoidedOf forgets the events of an account of which no version is of the day or behind it.
func (e *Engine) forgetVoidedOf(account int32, d Day) {
	kept := int32(0)
	for v := e.accounts.at(account).voided; v > 0; {
		at, m := v-1, *e.voids.at(v - 1)
		v = m.next
		if m.day < d && m.last < d {
			_, slot := e.voidAt.find(mix(m.hi, m.lo), func(i int32) bool { return i == at })
			e.voidAt.remove(slot)
			*e.voids.mut(at) = voided{}
			e.freeVoids = append(e.freeVoids, at)
			continue
		}
		if m.day < d {
			m.day = m.last
			e.countVoided(&m)
		}
		m.next, kept = kept, at+1
		*e.voids.mut(at) = m
		e.oldestVoid = min(e.oldestVoid, m.day)
	}
	e.accounts.mut(account).voided = kept
}

// noVoid is the oldest day of events that were taken back where there are none.
const noVoid = Day(math.MaxInt32)

// countVoided adds to what the journal digest covers of corrections.
func (e *Engine) countVoided(m *voided) {
	e.voidDays = countKey(slices.Clone(e.voidDays), &Key{
		Hi: mix(m.hi, uint64(one(m.gone))), Lo: m.lo, Digest: m.digest, Day: m.day,
	})
}

// OneRow returns a batch of one row of another, with all that the row says.
func OneRow(b *Batch, row int) *Batch {
	out := &Batch{
		Len: 1, Source: b.Source.one(row), Type: b.Type.one(row), Subject: b.Subject.one(row),
		ID: b.ID.one(row), Rest: b.Rest.one(row), Time: []Micros{b.Time[row]},
		Digest: []uint64{b.Digest[row]},
		Origin: Origins{
			Source: b.Origin.Source, Partition: b.Origin.Partition.one(row),
			Offset: []int64{b.Origin.Offset[row]},
		},
	}
	if i := b.Origin.Partition.Index[row]; i != Absent {
		out.Origin.Resume = []int64{b.Origin.Resume[i]}
	}
	if b.TimeDefaulted.Has(row) {
		out.TimeDefaulted.Set(0)
	}
	for i := range b.Props {
		if c, has := b.Props[i].one(row); has {
			out.Props = append(out.Props, c)
		}
	}
	for _, m := range b.Malformed {
		if m.Row == row {
			m.Row = 0
			out.Malformed = append(out.Malformed, m)
		}
	}
	return out
}

func (d *Dict) one(row int) Dict {
	if v, ok := d.At(row); ok {
		return Dict{Values: []string{v}, Index: []uint32{0}}
	}
	return Dict{Index: []uint32{Absent}}
}

func (s *Strings) one(row int) Strings {
	v := slices.Clone(s.At(row))
	return Strings{Bytes: v, End: []uint32{uint32(len(v))}}
}

// one returns the column with one row, false if the row has no value in it.
func (c *Column) one(row int) (Column, bool) {
	out := Column{Path: c.Path, Kind: c.Kind}
	switch c.Kind {
	case TextColumn, WideColumn:
		out.Text = c.Text.one(row)
		return out, len(out.Text.Values) > 0
	case NumberColumn:
		out.Numbers = []decimal.Decimal{c.Numbers[row]}
	case BoolColumn:
		if c.Bools.Has(row) {
			out.Bools.Set(0)
		}
	}
	out.Present.Set(0)
	return out, c.Present.Has(row)
}

package engine

import (
	"cmp"
	"slices"

	"billctl/engine/decimal"
)

// A level holds until the next row changes it, also beyond the period of its row: a period begins
// with the level that the subscription's key had before (docs/semantics.md,
// "Aggregations").

// level is the last row of a TimeWeighted meter and group in some stretch of time.
type level struct {
	meter, group int32
	at           Micros
	value        decimal.Sum
}

// levelsInto returns the level of each meter of the terms and group as it is right before start: of
// the subscription itself and of the earlier intervals of its key. By meter and group.
func (s *state) levelsInto(b *sub, t *terms, start Micros) []level {
	g := gathered{places: map[[2]int32]int{}}
	for _, i := range s.accounts.at(b.account).subs {
		if o := s.subs.at(i); o.Key == b.Key && o.From <= b.From {
			s.gatherLevels(&g, o, start, t)
		}
	}
	slices.SortFunc(g.list, func(x, y level) int { return x.compare(y.meter, y.group) })
	return g.list
}

// compare orders levels by meter and group.
func (l level) compare(meter, group int32) int {
	return cmp.Or(cmp.Compare(l.meter, meter), cmp.Compare(l.group, group))
}

// takeLevel returns the level of a meter and group as a fold carries it, nil if it is 0. It sets
// the level to 0, so that what is left has no fold in the period.
func takeLevel(list []level, meter, group int32) *Sample {
	i, found := slices.BinarySearchFunc(list, level{meter: meter, group: group},
		func(l, want level) int { return l.compare(want.meter, want.group) })
	if !found || list[i].value.IsZero() {
		return nil
	}
	s := &Sample{Time: list[i].at, Value: list[i].value}
	list[i].value = decimal.Sum{}
	return s
}

// Carry returns usage with the levels that other usage of the same period begins with, which the
// rows of the period alone do not tell. It is by meter and group.
func Carry(usage, from []Usage) []Usage {
	out := slices.Clone(usage)
	for i := range from {
		u := &from[i]
		if u.Fold.Carried == nil {
			continue
		}
		same := func(o Usage) bool { return compareUsage(o, *u) == 0 }
		if at := slices.IndexFunc(out, same); at >= 0 {
			out[at].Fold.Carried = u.Fold.Carried
		} else {
			out = append(out, Usage{
				Meter: u.Meter, Group: u.Group, Each: u.Each, Fold: Fold{Carried: u.Fold.Carried},
			})
		}
	}
	slices.SortFunc(out, compareUsage)
	return out
}

// lastLevels returns the levels that the closed periods of a subscription leave behind, as what is
// billed later depends on them, by meter and group.
func (s *state) lastLevels(b *sub) []level {
	var g gathered
	s.gatherLevels(&g, b, b.next, nil)
	s.sortLevels(g.list)
	return g.list
}

// gathered are the latest of the levels that were offered.
type gathered struct {
	list   []level
	places map[[2]int32]int // by meter and group
}

func (g *gathered) add(l level) {
	key := [2]int32{l.meter, l.group}
	at, found := g.places[key]
	switch {
	case !found:
		if g.places == nil {
			g.places = map[[2]int32]int{}
		}
		g.places[key] = len(g.list)
		g.list = append(g.list, l)
	case l.at > g.list[at].at || l.at == g.list[at].at && l.value.Cmp(g.list[at].value) > 0:
		g.list[at] = l
	}
}

// after reports whether a level at or after an instant is known.
func (g *gathered) after(meter, group int32, t Micros) bool {
	at, found := g.places[[2]int32{meter, group}]
	return found && g.list[at].at >= t
}

// gatherLevels adds the subscription's own levels before an instant, of the meters of the terms, or
// of all without terms.
func (s *state) gatherLevels(g *gathered, b *sub, before Micros, t *terms) {
	has := func(meter int32) bool { return t == nil || slices.Contains(t.meters, meter) }
	for i := range b.levels {
		if l := b.levels[i]; l.at < before && has(l.meter) {
			g.add(l)
		}
	}
	for i := b.newest; i >= 0; i = s.periods.at(i).older {
		p := s.periods.at(i)
		if p.start >= before || !s.terms[p.terms].levels {
			continue
		}
		for j := p.first; j >= 0; j = s.series.at(j).next {
			r := s.series.at(j)
			if s.meters[r.meter].Aggregate != TimeWeighted || !has(r.meter) ||
				g.after(r.meter, r.group, min(before, p.end)) {
				continue
			}
			if l, ok := s.lastLevel(r, min(before, p.end, b.To)); ok {
				g.add(l)
			}
		}
	}
}

// lastLevel returns the last row of a series before an instant; of those at one time the greatest.
func (s *state) lastLevel(r *series, before Micros) (level, bool) {
	l := level{meter: r.meter, group: r.group, at: Past}
	for i := r.bag; i >= 0; i = s.bag.at(i).next {
		b := s.bag.at(i)
		if b.rows > 0 && b.time < before &&
			(b.time > l.at || b.time == l.at && b.value.Cmp(l.value) > 0) {
			l.at, l.value = b.time, b.value
		}
	}
	return l, l.at != Past
}

// levelMoved makes the closed periods behind a closed one due to be billed again, after a row of a
// TimeWeighted meter came into it or was taken back: they may begin with another level.
func (e *Engine) levelMoved(index int32, m *bound) {
	p := e.periods.at(index)
	if m.meter.Aggregate != TimeWeighted || p.closedAt == Past {
		return
	}
	b := e.subs.at(p.sub)
	for _, i := range e.accounts.at(b.account).subs {
		o := e.subs.at(i)
		if o.Key != b.Key || o.From < b.From || e.done(o) {
			continue
		}
		for j := o.newest; j >= 0; j = e.periods.at(j).older {
			q := e.periods.at(j)
			if q.start > p.start && q.closedAt != Past && !q.dirty &&
				slices.Contains(e.terms[q.terms].meters, m.index) {
				e.periods.mut(j).dirty = true
			}
		}
	}
}

// done reports whether no document will follow for a subscription: its correction has been decided
// on.
func (s *state) done(b *sub) bool {
	return b.corrected || b.next >= b.To && b.newest >= 0 &&
		s.watermark >= s.periods.at(b.newest).closedAt.plus(s.settings.Reopen)
}

// keepLevels keeps the last level of each group of a period that is about to be forgotten. The
// period is no longer in the subscription's list.
func (e *Engine) keepLevels(p *period) {
	b := e.subs.at(p.sub)
	if len(b.levels) == 0 && !e.terms[p.terms].levels {
		return
	}
	list := slices.Clone(b.levels)
	for i := p.first; i >= 0; i = e.series.at(i).next {
		r := e.series.at(i)
		if e.meters[r.meter].Aggregate != TimeWeighted {
			continue
		}
		if l, ok := e.lastLevel(r, min(p.end, b.To)); ok {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(x, y level) int {
		return cmp.Or(x.compare(y.meter, y.group), cmp.Compare(x.at, y.at))
	})
	kept := list[:0]
	for i, l := range list {
		last := i == len(list)-1 || list[i+1].meter != l.meter || list[i+1].group != l.group
		if last || e.beginsBetween(b, l.at, list[i+1].at) {
			kept = append(kept, l)
		}
	}
	e.subs.mut(p.sub).levels = kept
}

// beginsBetween reports whether a kept period begins after one instant and not after the other: it
// waits for an adjustment while a later period is forgotten, and needs the level of its own start.
func (s *state) beginsBetween(b *sub, after, until Micros) bool {
	for i := b.newest; i >= 0; i = s.periods.at(i).older {
		if p := s.periods.at(i); after < p.start && p.start <= until {
			return true
		}
	}
	return false
}

// sortLevels puts levels in the order of their bytes, which no order of arrival changes.
func (s *state) sortLevels(list []level) {
	slices.SortFunc(list, func(x, y level) int {
		u, v := s.levelUsage(&x), s.levelUsage(&y)
		if c := compareUsage(u, v); c != 0 {
			return c
		}
		return cmp.Compare(x.at, y.at)
	})
}

func (s *state) levelUsage(l *level) Usage {
	m := s.meters[l.meter]
	return Usage{Meter: m, Group: s.appendGroup(nil, m, l.group)}
}

func (s *state) appendLevels(b []byte, list []level) []byte {
	list = slices.Clone(list)
	s.sortLevels(list)
	return appendList(b, list, func(b []byte, l *level) []byte {
		u := s.levelUsage(l)
		b = appendList(appendString(b, u.Meter.Key), u.Group, appendGroupValue)
		return appendSum(appendInt(b, int64(l.at)), l.value)
	})
}

func (e *Engine) readLevels(r *reader) []level {
	return readList(r, 27, func(r *reader) level {
		meter, group := e.readSeriesName(r)
		return level{meter, group, r.micros(), r.sum()}
	})
}

package engine

import "slices"

// value interns a group value.
func (e *Engine) value(s string) uint32 {
	if i, ok := e.names[s]; ok {
		return i
	}
	i := uint32(len(e.values))
	e.values = append(e.values, s)
	e.names[s] = i
	return i
}

// group interns a tuple of values.
func (e *Engine) group(ids []uint32) int32 {
	if len(ids) == 0 {
		return 0
	}
	h := hashIDs(ids)
	g, slot := e.groupTable.find(h, func(i int32) bool { return slices.Equal(e.groups[i], ids) })
	if g < 0 {
		g = int32(len(e.groups))
		e.groups = append(e.groups, slices.Clone(ids))
		e.groupTable.put(h, slot, g)
	}
	return g
}

func hashIDs(ids []uint32) uint64 {
	h := uint64(len(ids))
	for _, id := range ids {
		h = mix(h, uint64(id))
	}
	return h
}

// seriesOf returns the fold of a meter and group in a period, made where there is none.
func (e *Engine) seriesOf(p, meter, group int32) int32 {
	h := hashSeries(p, meter, group)
	i, slot := e.seriesAt.find(h, func(i int32) bool {
		s := e.series.at(i)
		return s.period == p && s.meter == meter && s.group == group
	})
	if i >= 0 {
		return i
	}
	period := e.periods.mut(p)
	i = e.newSeries(series{
		period: p, meter: meter, group: group, next: period.first, bag: -1,
		keep: e.meters[meter].keeps(e.keepsEach(p, meter)),
	})
	period.first = i
	e.seriesAt.put(h, slot, i)
	return i
}

// findSeries returns the fold of a meter and group in a period, -1 if there is none.
func (e *Engine) findSeries(p, meter, group int32) int32 {
	i, _ := e.seriesAt.find(hashSeries(p, meter, group), func(i int32) bool {
		s := e.series.at(i)
		return s.period == p && s.meter == meter && s.group == group
	})
	return i
}

func hashSeries(p, meter, group int32) uint64 {
	return mix(uint64(uint32(p))<<32|uint64(uint32(group)), uint64(uint32(meter)))
}

// keepsEach reports whether a price of the period's terms rates every row of the meter.
func (e *Engine) keepsEach(period, meter int32) bool {
	return e.terms[e.periods.at(period).terms].rates(meter)
}

func (e *Engine) newSeries(s series) int32 {
	if n := len(e.freeSeries); n > 0 {
		i := e.freeSeries[n-1]
		e.freeSeries = e.freeSeries[:n-1]
		*e.series.mut(i) = s
		return i
	}
	return e.series.add(s)
}

// periodOf returns the record of the subscription's period [start, end), made where there is none.
func (e *Engine) periodOf(subIndex int32, start, end Micros) int32 {
	if p := e.retained(e.subs.at(subIndex), start); p >= 0 {
		return p
	}
	b := e.subs.mut(subIndex)
	_, _, full, _ := e.around(b, start)
	p := e.newPeriod(period{
		sub: subIndex, terms: e.bind(subIndex, start), start: start, end: end, full: full,
		closedAt: Past, first: -1,
	})
	// The list is by falling start.
	link := &b.newest
	for *link >= 0 && e.periods.at(*link).start > start {
		link = &e.periods.mut(*link).older
	}
	e.periods.mut(p).older = *link
	*link = p
	return p
}

func (e *Engine) newPeriod(p period) int32 {
	if n := len(e.freePeriod); n > 0 {
		i := e.freePeriod[n-1]
		e.freePeriod = e.freePeriod[:n-1]
		*e.periods.mut(i) = p
		return i
	}
	return e.periods.add(p)
}

// dropPeriod forgets a period and its usage.
func (e *Engine) dropPeriod(index int32) {
	p := *e.periods.at(index)
	link := &e.subs.mut(p.sub).newest
	for *link != index {
		link = &e.periods.mut(*link).older
	}
	*link = p.older
	e.keepLevels(&p)
	for i := p.first; i >= 0; {
		s := *e.series.at(i)
		_, slot := e.seriesAt.find(hashSeries(index, s.meter, s.group),
			func(j int32) bool { return j == i })
		e.seriesAt.remove(slot)
		e.emptyBag(i)
		*e.series.mut(i) = series{period: -1, bag: -1}
		e.freeSeries = append(e.freeSeries, i)
		i = s.next
	}
	*e.periods.mut(index) = period{sub: -1, first: -1, older: -1}
	e.freePeriod = append(e.freePeriod, index)
}

// bind returns the terms of the subscription for a period that starts at t.
func (e *Engine) bind(index int32, t Micros) int32 {
	b := e.subs.at(index)
	return e.bindTo(index, e.planFor(&b.Subscription, e.localDay(b, t)))
}

// bindTo returns the terms of the subscription under one plan version.
func (e *Engine) bindTo(index, plan int32) int32 {
	b := e.subs.at(index)
	if len(b.Overrides) == 0 {
		return e.base[plan]
	}
	key := customTerms{plan, index}
	i, ok := e.custom[key]
	if !ok {
		i = e.addTerms(e.makeTerms(e.plans[plan], b.Overrides))
		e.custom[key] = i
	}
	return i
}

func (e *Engine) addTerms(t *terms) int32 {
	e.terms = append(e.terms, t)
	return int32(len(e.terms) - 1)
}

// customTerms finds the terms of a subscription with overrides; looked up once per new period.
type customTerms struct{ plan, sub int32 }

// measures reports whether the price can be on its meter.
func (s *state) measures(p *Price) bool {
	return p.Meter == "" || p.fits(s.meters[s.meterIndex(p.Meter)]) == nil
}

func (s *state) makeTerms(plan *Plan, overrides []Override) *terms {
	t := &terms{plan: plan, prices: slices.Clone(plan.Prices)}
	for i := range overrides {
		for j := range t.prices {
			if t.prices[j].Key == overrides[i].Price {
				// An override that a price can't take, or of one that is gone, changes nothing.
				if p := t.prices[j].with(&overrides[i]); p.validate() == nil && s.measures(&p) {
					t.prices[j] = p
				}
			}
		}
	}
	for i := range t.prices {
		if m := t.prices[i].Meter; m != "" {
			// A damaged state may lack the meter: whoever reads it refuses it.
			if k := s.meterIndex(m); k >= 0 && !slices.Contains(t.meters, k) {
				t.meters = append(t.meters, k)
			}
		}
	}
	slices.Sort(t.meters)
	t.each = make([]bool, len(t.meters))
	for i, k := range t.meters {
		m := s.meters[k]
		t.levels = t.levels || m.Aggregate == TimeWeighted
		t.each[i] = slices.ContainsFunc(t.prices, func(p Price) bool {
			return p.Model == Percentage && p.Meter == m.Key
		})
	}
	return t
}

// rates reports whether a price of the terms rates every row of the meter.
func (t *terms) rates(meter int32) bool {
	i, found := slices.BinarySearch(t.meters, meter)
	return found && t.each[i]
}

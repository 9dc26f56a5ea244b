package engine

import (
	"slices"
	"strings"

	"billctl/engine/decimal"
)

// bagEntry is one Sample of a series. The entries of a series are a list that grows at its head, so
// that a row costs the same however many there are.
type bagEntry struct {
	series, next int32 // next: of the same series; -1: none
	time         Micros
	value        decimal.Sum
	text         string
	rows         uint64 // 0: all were taken back; it stays for the next of its kind
}

// sample returns what a row is for a series that keeps so. Windows are counted from full.
func (m *bound) sample(keep keeping, row int, t, full Micros, v decimal.Decimal) Sample {
	s := Sample{Rows: 1}
	switch keep {
	case keepTexts:
		s.Text = m.scalar(row)
		return s
	case keepRows, keepLast:
		s.Time = t
	case keepWindows:
		s.Time = m.meter.windowOf(t, full)
	}
	s.Value = decimal.SumOf(v)
	return s
}

// windowOf returns where the window begins that holds t; windows are counted from full.
func (m *Meter) windowOf(t, full Micros) Micros {
	return full + Micros(floorDiv(int64(t-full), int64(m.Window)))*m.Window
}

// remember adds a sample to what a series remembers.
func (e *Engine) remember(index int32, m *Meter, x Sample) {
	s := e.series.mut(index)
	if s.keep == keepLast {
		e.rememberLast(index, s, &x)
		return
	}
	h := e.hashSample(index, s.keep, &x)
	i, slot := e.findSample(h, index, s.keep, &x)
	if i >= 0 {
		b := e.bag.mut(i)
		b.value = joined(m, s.keep, b.value, x.Value)
		b.rows += x.Rows
		return
	}
	s.bag = e.newEntry(bagEntry{
		series: index, next: s.bag, time: x.Time, value: x.Value, rows: x.Rows,
		text: strings.Clone(x.Text), // the batch does not stay
	})
	e.bagAt.put(h, slot, s.bag)
}

// rememberLast keeps the later of two samples, in one entry that no table needs to find.
func (e *Engine) rememberLast(index int32, s *series, x *Sample) {
	if s.bag < 0 {
		s.bag = e.newEntry(bagEntry{
			series: index, next: -1, time: x.Time, value: x.Value, rows: x.Rows,
		})
		return
	}
	switch c := compareSamples(*x, e.bag.at(s.bag).sample()); {
	case c == 0:
		e.bag.mut(s.bag).rows += x.Rows
	case c > 0:
		b := e.bag.mut(s.bag)
		b.time, b.value, b.rows = x.Time, x.Value, x.Rows
	}
}

func (b *bagEntry) sample() Sample { return Sample{b.time, b.text, b.value, b.rows} }

// newEntry stores an entry, in the place of one that was freed if there is one.
func (e *Engine) newEntry(b bagEntry) int32 {
	if n := len(e.freeBag); n > 0 {
		i := e.freeBag[n-1]
		e.freeBag = e.freeBag[:n-1]
		*e.bag.mut(i) = b
		return i
	}
	return e.bag.add(b)
}

// findSample returns the entry of a series that a sample joins, or -1 and its slot in the table.
func (e *Engine) findSample(h uint64, index int32, keep keeping, x *Sample) (i int32, slot int) {
	return e.bagAt.find(h, func(i int32) bool {
		b := e.bag.at(i)
		return b.series == index && b.time == x.Time && b.text == x.Text &&
			(keep == keepWindows || b.value == x.Value)
	})
}

// hashSample is keyed, as customers choose the texts.
func (e *Engine) hashSample(index int32, keep keeping, x *Sample) uint64 {
	h := mix(e.hash.k0^uint64(uint32(index)), uint64(x.Time))
	switch keep {
	case keepTexts:
		return hash64(h, x.Text)
	case keepWindows:
		return h
	}
	w := x.Value.Words()
	return mix(h^w[1], w[2])
}

// emptyBag frees all that a series remembers.
func (e *Engine) emptyBag(index int32) {
	s := e.series.at(index)
	for i := s.bag; i >= 0; {
		b := e.bag.at(i)
		next := b.next
		x := b.sample()
		if s.keep != keepLast {
			_, slot := e.bagAt.find(e.hashSample(index, s.keep, &x),
				func(j int32) bool { return j == i })
			e.bagAt.remove(slot)
		}
		*e.bag.mut(i) = bagEntry{series: -1, next: -1}
		e.freeBag = append(e.freeBag, i)
		i = next
	}
}

// holds reports whether a series has a row that can be taken back.
func (e *Engine) holds(index int32, m *bound, row int, t Micros) bool {
	s := e.series.at(index)
	v, reason := m.value(row)
	if s.Rows == 0 || reason != Accepted {
		return false
	}
	if s.keep == keepNothing {
		return true
	}
	if s.keep == keepLast || s.keep == keepWindows {
		return false
	}
	x := m.sample(s.keep, row, t, e.periods.at(s.period).full, v)
	i, _ := e.findSample(e.hashSample(index, s.keep, &x), index, s.keep, &x)
	return i >= 0 && e.bag.at(i).rows > 0
}

// subtract takes one row back from a series that holds it.
func (e *Engine) subtract(index int32, m *bound, row int, t Micros) {
	if !e.holds(index, m, row, t) {
		panic("BUG: a row is taken back that does not count")
	}
	s := e.series.mut(index)
	v, _ := m.value(row) // it holds the row, so there is one
	s.tally.sub(m.meter.Aggregate, v)
	e.takeBackDay(s, m.meter, e.localDayOf(e.zoneOf(s.period), t), v)
	left := uint64(0) // rows that are equal to it
	if s.keep != keepNothing {
		x := m.sample(s.keep, row, t, e.periods.at(s.period).full, v)
		i, _ := e.findSample(e.hashSample(index, s.keep, &x), index, s.keep, &x)
		b := e.bag.mut(i)
		b.rows--
		left = b.rows
	}
	how := m.meter.Aggregate
	if (how == Least || how == Most) && left == 0 && s.Value == decimal.SumOf(v) {
		s.Value = e.extreme(s, how)
	}
	e.levelMoved(s.period, m)
}

// extreme returns the least or the greatest value that a series remembers, 0 if none. It looks at
// all of them, so it is for the row alone that was the last to hold the extreme: any other row that
// is taken back costs the same however many there are. To take back n rows one by one from the
// extreme on costs n looks at what is left.
func (s *state) extreme(of *series, how Aggregate) decimal.Sum {
	var t tally
	for i := of.bag; i >= 0; i = s.bag.at(i).next {
		if b := s.bag.at(i); b.rows > 0 {
			t.merge(how, tally{b.rows, b.value})
		}
	}
	return t.Value
}

// samples returns what a series remembers, in the order of folds.
func (s *state) samples(of *series) []Sample {
	n := 0
	for i := of.bag; i >= 0; i = s.bag.at(i).next {
		n += one(s.bag.at(i).rows > 0)
	}
	if n == 0 {
		return nil
	}
	out := make([]Sample, 0, n)
	for i := of.bag; i >= 0; i = s.bag.at(i).next {
		if b := s.bag.at(i); b.rows > 0 {
			out = append(out, b.sample())
		}
	}
	slices.SortFunc(out, compareSamples)
	return out
}

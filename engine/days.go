package engine

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"billctl/engine/decimal"
)

// Every series keeps what each local day of its account added, for pictures of a period's course.
// No bill needs it: the billing digest leaves it out. The day of the row before is held unpacked in
// the series, the others as a few bytes each (docs/capacity.md).

// dayTally is what rows of one local day added to a series. It has a value for Total and Average,
// and for a Least and Most of which no row can be taken back: the extreme of the day.
type dayTally struct {
	day Day
	tally
}

// daySpan is the local day of a zone that was asked for last.
type daySpan struct {
	lo, hi Micros
	day    Day
}

// localDayOf returns the local day of a zone, by its index, that holds t.
func (e *Engine) localDayOf(zone int32, t Micros) Day {
	for int(zone) >= len(e.dayAt) {
		e.dayAt = append(e.dayAt, daySpan{})
	}
	d := &e.dayAt[zone]
	if t < d.lo || t >= d.hi {
		z := e.zones[zone]
		n := z.dayNumber(t)
		*d = daySpan{Micros(z.startOfDay(n)) * Second, Micros(z.startOfDay(n+1)) * Second, Day(n)}
	}
	return d.day
}

// zoneOf returns the zone of a period's account.
func (s *state) zoneOf(period int32) int32 {
	return s.accounts.at(s.subs.at(s.periods.at(period).sub).account).zone
}

// countDay adds a row to its day.
func (e *Engine) countDay(s *series, m *Meter, day Day, v decimal.Decimal) {
	how := s.keep.daysAdd(m.Aggregate)
	if s.day != day || s.today.Rows == 0 {
		e.openDay(s, how, day)
	}
	s.today.add(how, v)
}

// takeBackDay takes a row back from its day.
func (e *Engine) takeBackDay(s *series, m *Meter, day Day, v decimal.Decimal) {
	how := s.keep.daysAdd(m.Aggregate)
	if s.day != day || s.today.Rows == 0 {
		e.openDay(s, how, day)
	}
	if s.today.Rows == 0 {
		panic("BUG: a row is taken back from a day that has none")
	}
	s.today.sub(how, v)
}

// openDay packs the day that a series holds, and unpacks another one in its place.
func (e *Engine) openDay(s *series, how Aggregate, day Day) {
	e.days = unpackDays(e.days[:0], how, s.days)
	i := slices.IndexFunc(e.days, func(d dayTally) bool { return d.day == day })
	held := dayTally{s.day, s.today}
	s.day, s.today = day, tally{}
	switch {
	case i >= 0:
		s.today = e.days[i].tally
		e.days = slices.Delete(e.days, i, i+1)
		if held.Rows > 0 {
			e.days = append(e.days, held)
		}
		s.days = packDays(how, e.days)
	case held.Rows > 0:
		before := Day(0)
		if n := len(e.days); n > 0 {
			before = e.days[n-1].day
		}
		// Views may hold the old bytes.
		s.days = appendDay(slices.Clip(s.days), how, before, &held)
	}
}

// daysOf returns what each day added to a series of the meter, by rising day.
func (s *series) daysOf(m *Meter) []dayTally {
	how := s.keep.daysAdd(m.Aggregate)
	list := unpackDays(nil, how, s.days)
	if s.today.Rows > 0 {
		list = append(list, dayTally{s.day, s.today})
	}
	slices.SortFunc(list, func(a, b dayTally) int { return cmp.Compare(a.day, b.day) })
	return list
}

// wholeDays reports whether days rise, and have so many rows together.
func wholeDays(list []dayTally, rows uint64) bool {
	for i := range list {
		if list[i].Rows == 0 || list[i].Rows > rows || i > 0 && list[i].day <= list[i-1].day {
			return false
		}
		rows -= list[i].Rows
	}
	return rows == 0
}

func packDays(how Aggregate, list []dayTally) []byte {
	if len(list) == 0 {
		return nil
	}
	var b []byte
	before := Day(0)
	for i := range list {
		b = appendDay(b, how, before, &list[i])
		before = list[i].day
	}
	return b
}

func unpackDays(list []dayTally, how Aggregate, b []byte) []dayTally {
	r := newReader(b)
	before := int64(0)
	for len(r.b) > 0 {
		d := readDay(r, how, before)
		before = int64(d.day)
		list = append(list, d)
	}
	if r.err != nil {
		panic("BUG: packed days: " + r.err.Error())
	}
	return list
}

// daysAdd returns what the days of a series add up by: Count where they are rows alone.
func (k keeping) daysAdd(how Aggregate) Aggregate {
	switch how {
	case Total, Average:
		return how
	case Least, Most:
		if k == keepNothing {
			return how
		}
	}
	return Count
}

// appendDay appends a day as the distance from the one before it.
func appendDay(b []byte, how Aggregate, before Day, d *dayTally) []byte {
	b = appendUint(appendInt(b, int64(d.day)-int64(before)), d.Rows)
	if how != Count {
		b = appendShort(b, d.Value)
	}
	return b
}

func readDay(r *reader, how Aggregate, before int64) dayTally {
	day := before + r.int()
	if day != int64(Day(day)) {
		r.fail("day")
	}
	d := dayTally{Day(day), tally{Rows: r.uint()}}
	if how != Count {
		d.Value = readShort(r)
	}
	return d
}

// The forms of a short sum: most are whole numbers, or have six digits behind the point at most.
const (
	shortWhole = iota
	shortMicro
	shortFull
	shortNegative = 4 // is added to the others
)

// appendShort appends a sum in few bytes.
func appendShort(b []byte, v decimal.Sum) []byte {
	sign := byte(0)
	if v.Sign() < 0 {
		v, sign = v.Neg(), shortNegative
	}
	w := v.Words()
	for form, unit := range [...]uint64{shortWhole: 1e18, shortMicro: 1e12} {
		if w[0] != 0 || w[1] >= unit {
			continue
		}
		if n, rest := bits.Div64(w[1], w[2], unit); rest == 0 {
			return binary.AppendUvarint(append(b, byte(form)+sign), n)
		}
	}
	return appendSum(append(b, shortFull+sign), v)
}

func readShort(r *reader) decimal.Sum {
	form := r.upTo(shortFull+shortNegative, "sum")
	var v decimal.Sum
	switch form &^ shortNegative {
	case shortWhole:
		hi, lo := bits.Mul64(r.uint(), 1e18)
		v = decimal.SumFromWords([3]uint64{0, hi, lo})
	case shortMicro:
		hi, lo := bits.Mul64(r.uint(), 1e12)
		v = decimal.SumFromWords([3]uint64{0, hi, lo})
	case shortFull:
		v = r.sum()
	default:
		r.fail("sum")
	}
	if form&shortNegative != 0 {
		v = v.Neg()
	}
	return v
}

// PeriodDay is a local day of a period.
type PeriodDay struct {
	Date string // "2026-04-01", of the account's zone
	// Uses is how often rows of the day counted: a row that two meters count has two.
	Uses uint64
	// SoFar is what the period had come to by the end of the day, by the time of its events: the total
	// of the preview so far, with what has become of older periods until now.
	SoFar decimal.Amount
}

// DaysOf returns the local days of a period of a subscription, from its first to that of the
// watermark, or to the last with usage if that is later; false if there is no open or kept period
// that begins at start. Without amounts SoFar is 0, which spares a rating for each day.
//
// The amounts are exact, but for usage of which days do not tell enough: a Unique, a Percentile
// without windows, and a Least or Most that is Correctable stand at their present quantity from the
// first day with usage on, a Latest from the day of its row; a window is on the day that it begins.
// The last day always is the preview itself.
func (v *View) DaysOf(
	account, subscription string, start Micros, amounts bool,
) ([]PeriodDay, bool) {
	s, b := v.subscription(account, subscription, start)
	if b == nil {
		return nil, false
	}
	begin, end, _, _ := s.around(b, start)
	p := s.retained(b, start)
	if begin != start || p < 0 && start < b.next {
		return nil, false
	}
	c := s.courseOf(b, p, start)
	z := s.zones[s.accounts.at(b.account).zone]
	now := s.watermark
	if now == Past {
		now = s.at
	}
	first := Day(z.dayNumber(begin))
	last := max(first, min(c.last, Day(z.dayNumber(end-1))))
	last = max(last, Day(z.dayNumber(max(begin, min(now, end-1)))))
	var out []PeriodDay
	for day := first; day <= last; day++ {
		d := PeriodDay{Date: day.String(), Uses: c.uses[day]}
		if amounts {
			until := Future
			if day < last {
				until = Micros(z.startOfDay(int64(day)+1)) * Second
			}
			d.SoFar = c.amount(day, until)
		}
		out = append(out, d)
	}
	return out, true
}

// course is how a period came about, day by day.
type course struct {
	s      *state
	b      *sub
	p      int32
	start  Micros
	terms  *terms
	levels []level
	days   map[int32][]dayTally // by series
	uses   map[Day]uint64
	last   Day // with usage
}

func (s *state) courseOf(b *sub, p int32, start Micros) *course {
	c := &course{
		s: s, b: b, p: p, start: start, terms: s.termsFor(b, start),
		days: map[int32][]dayTally{}, uses: map[Day]uint64{}, last: Always,
	}
	if c.terms.levels {
		c.levels = s.levelsInto(b, c.terms, start)
	}
	if p < 0 {
		return c
	}
	for i := s.periods.at(p).first; i >= 0; i = s.series.at(i).next {
		r := s.series.at(i)
		c.days[i] = r.daysOf(s.meters[r.meter])
		for _, d := range c.days[i] {
			c.uses[d.day] += d.Rows
			c.last = max(c.last, d.day)
		}
	}
	return c
}

// amount returns what the period had come to by the end of a day, which is until; Future for the
// last one.
func (c *course) amount(day Day, until Micros) decimal.Amount {
	usage := c.s.foldsBy(c.p, c.terms, slices.Clone(c.levels), func(i int32) Fold {
		if until == Future {
			return c.s.foldOf(i)
		}
		return c.foldThrough(i, day, until)
	})
	d := c.s.draftUsage(c.b, c.start, nil, usage, min(until, c.s.watermark))
	if d.invoice == nil {
		return decimal.Amount{}
	}
	return d.invoice.Total
}

// foldThrough returns the fold of a series as far as its rows are of a day, which is until, or of
// those before it.
func (c *course) foldThrough(i int32, day Day, until Micros) Fold {
	r := c.s.series.at(i)
	m := c.s.meters[r.meter]
	var t tally
	for _, d := range c.days[i] {
		if d.day <= day {
			t.merge(r.keep.daysAdd(m.Aggregate), d.tally)
		}
	}
	f := Fold{Rows: t.Rows, Value: t.Value}
	if t.Rows == 0 {
		return f
	}
	f.Samples = c.s.samples(r)
	switch extreme := m.Aggregate == Least || m.Aggregate == Most; {
	case r.keep == keepRows, r.keep == keepWindows, r.keep == keepLast:
		f.Samples = slices.DeleteFunc(f.Samples, func(x Sample) bool { return x.Time >= until })
		if extreme {
			f.Value = extremeOf(m.Aggregate, f.Samples)
		}
	case extreme && r.keep == keepValues:
		f.Value = r.Value
	}
	return f
}

func extremeOf(how Aggregate, samples []Sample) decimal.Sum {
	var t tally
	for i := range samples {
		t.merge(how, tally{samples[i].Rows, samples[i].Value})
	}
	return t.Value
}

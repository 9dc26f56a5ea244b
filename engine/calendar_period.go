package engine

import "fmt"

// Takes reports whether periods of this length can begin at the anchor: weeks on one of seven days,
// months, quarters and years on one of 31. Each takes the calendar's anchor and the subscription's
// start; days have no other.
func (i Interval) Takes(a Anchor) bool {
	if a == CalendarAnchor || a == StartAnchor {
		return OfDay <= i && i <= Year
	}
	switch i {
	case Week:
		return a <= 7
	case Month, Quarter, Year:
		return a <= 31
	}
	return false
}

// Period returns the whole period [start, end) of the zone that holds t. It starts at the
// StartOfDay of its first local day, and ends where the next one starts, so every instant is in
// exactly one. t is in [MinTime, MaxTime).
//
// from is the local day on which the subscription begins; only StartAnchor reads it. It may be
// later than t: the periods go on without end both ways, and the caller cuts them.
//
// The first period may start before MinTime, by a year at most, and the last one may end as far
// after MaxTime: there the zone's first and last offsets hold. It panics if the interval does not
// take the anchor; Plan.Validate refuses such a plan (docs/semantics.md, "Periods").
func (z *Zone) Period(interval Interval, anchor Anchor, from Day, t Micros) (start, end Micros) {
	if !interval.Takes(anchor) {
		panic(fmt.Sprintf("BUG: periods %d with anchor %d", interval, anchor))
	}
	day := z.dayNumber(t)
	first, next := day, day+1
	switch interval {
	case Week:
		first = day - floorMod(weekday(day)-weekAnchor(anchor, from), 7)
		next = first + 7
	case Month:
		first, next = monthsAround(1, anchor, from, day)
	case Quarter:
		first, next = monthsAround(3, anchor, from, day)
	case Year:
		first, next = monthsAround(12, anchor, from, day)
	}
	// A first day that the zone skipped starts with the day after it, which is not after t, and
	// the next period starts after t because the day after t's does. So none is empty.
	return Micros(z.startOfDay(first)) * Second, Micros(z.startOfDay(next)) * Second
}

// weekday numbers the days of a week from 0, Monday.
func weekday(day int64) int64 { return floorMod(day+3, 7) } // 1970-01-01 was a Thursday

// weekAnchor returns the weekday on which weeks begin.
func weekAnchor(anchor Anchor, from Day) int64 {
	switch anchor {
	case CalendarAnchor:
		return 0
	case StartAnchor:
		return weekday(int64(from))
	}
	return int64(anchor) - 1
}

// monthsAround returns the first day of the period of so many months, 1, 3 or 12, that holds the
// day, and the first day of the next one.
func monthsAround(months int, anchor Anchor, from Day, day int64) (first, next int64) {
	on, phase := int(anchor), 0
	switch anchor {
	case CalendarAnchor:
		on = 1
	case StartAnchor:
		c := civilOf(int64(from))
		on, phase = c.day, c.month-1
	}
	c := civilOf(day)
	month := c.month - (c.month-1-phase+12)%months
	if first = dayOn(c.year, month, on); first > day {
		return dayOn(c.year, month-months, on), first
	}
	return first, dayOn(c.year, month+months, on)
}

// dayOn returns day `on` of the month, or its last day if the month is shorter. Months go from -22
// to 24: those before January and after December are of the years beside.
func dayOn(year, month, on int) int64 {
	for month < 1 {
		year, month = year-1, month+12
	}
	if month > 12 {
		year, month = year+1, month-12
	}
	first := daysOf(civil{year, month, 1})
	if on <= 28 {
		return first + int64(on) - 1
	}
	return min(first+int64(on)-1, dayOn(year, month+1, 1)-1)
}

// floorMod is what floorDiv leaves, 0 to d-1; d > 0.
func floorMod(n, d int64) int64 { return n - floorDiv(n, d)*d }

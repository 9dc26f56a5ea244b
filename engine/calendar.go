package engine

import (
	"errors"
	"fmt"
	"sort"
)

// maxOffset bounds the distance of a zone's local time from UTC, in seconds. It is wider than any
// offset in use (15 h) and than the 24 h that POSIX allows, so that no zone is refused for it.
const maxOffset = 26 * 60 * 60

const daySeconds = 24 * 60 * 60

// Validate checks that the calendar can work with the zone: it has a name, its transitions rise
// within [MinTime, MaxTime), and its local time is never more than 26 hours from UTC.
func (z *Zone) Validate() error {
	if z.Name == "" {
		return errors.New("read zone: it has no name")
	}
	if !validOffset(z.Offset) {
		return fmt.Errorf("read zone %q: offset %d s is beyond 26 hours", z.Name, z.Offset)
	}
	for i, t := range z.Transitions {
		switch {
		case t.At < int64(MinTime/Second) || t.At >= int64(MaxTime/Second):
			return fmt.Errorf("read zone %q: transition %d is not in the years 1970 to 2199", z.Name, i)
		case i > 0 && t.At <= z.Transitions[i-1].At:
			return fmt.Errorf("read zone %q: transition %d is not after the one before", z.Name, i)
		case !validOffset(t.Offset):
			return fmt.Errorf("read zone %q: offset %d s of transition %d is beyond 26 hours",
				z.Name, t.Offset, i)
		}
	}
	return nil
}

// Month returns the calendar month [start, end) of the zone that holds t: the Period of that
// length and anchor. t is in [MinTime, MaxTime).
//
// Where clocks go back across midnight of the 1st, the new month has begun although clocks show
// the last day of the old one again (docs/semantics.md, "Periods").
func (z *Zone) Month(t Micros) (start, end Micros) {
	return z.Period(Month, CalendarAnchor, 0, t)
}

// Date returns the local calendar day that holds t: days are half-open, from StartOfDay to the
// StartOfDay of the next day. t is in [MinTime, MaxTime], and month and day count from 1.
func (z *Zone) Date(t Micros) (year, month, day int) {
	c := civilOf(z.dayNumber(t))
	return c.year, c.month, c.day
}

// StartOfDay returns the earliest instant at which the zone's clocks show the midnight that begins
// the day, or more. It is not the clocks' midnight where that is skipped, and it is the first of
// the two where it comes twice. A day that the zone skipped begins when the next one does. The
// year is in 1970 to 2200, month and day count from 1.
func (z *Zone) StartOfDay(year, month, day int) Micros {
	return Micros(z.startOfDay(daysOf(civil{year, month, day}))) * Second
}

// days returns how many local days begin after from and not after to. So days over adjacent
// intervals add up, and a month has as many as the calendar says.
func (z *Zone) days(from, to Micros) int64 { return z.dayNumber(to) - z.dayNumber(from) }

// dayNumber returns the number of the local day that holds t, counted from 1970-01-01: the
// greatest whose start is not after t. It never falls as t rises, as the clocks' date does where
// they go back across midnight.
func (z *Zone) dayNumber(t Micros) int64 {
	sec := floorDiv(int64(t), int64(Second))
	day := floorDiv(sec+z.offset(z.segment(sec)), daySeconds)
	for z.startOfDay(day+1) <= sec {
		day++
	}
	return day
}

// startOfDay is StartOfDay by the day's number, in seconds since 1970.
func (z *Zone) startOfDay(day int64) int64 {
	midnight := day * daySeconds
	// No offset shows midnight earlier than maxOffset before UTC does. From there on, the first
	// stretch of one offset that reaches midnight holds the answer.
	for i := z.segment(midnight - maxOffset); ; i++ {
		at := midnight - z.offset(i)
		if i > 0 {
			at = max(at, z.Transitions[i-1].At)
		}
		if i == len(z.Transitions) || at < z.Transitions[i].At {
			return at
		}
	}
}

// segment returns how many transitions are at or before the second.
func (z *Zone) segment(sec int64) int {
	return sort.Search(len(z.Transitions), func(i int) bool { return z.Transitions[i].At > sec })
}

// offset returns the seconds east of UTC after so many transitions.
func (z *Zone) offset(segment int) int64 {
	if segment == 0 {
		return int64(z.Offset)
	}
	return int64(z.Transitions[segment-1].Offset)
}

func validOffset(seconds int32) bool { return -maxOffset <= seconds && seconds <= maxOffset }

// civil is a date of the proleptic Gregorian calendar; month and day count from 1.
type civil struct{ year, month, day int }

// An era is 400 years, after which the calendar repeats. The algorithms count years from 1 March,
// so that the leap day is a year's last, and eras from 0000-03-01.
const (
	eraDays   = 146_097
	epochDays = 719_468 // from 0000-03-01 to 1970-01-01
)

// civilOf returns the date of a number of days since 1970-01-01. It is civil_from_days of Howard
// Hinnant, "chrono-Compatible Low-Level Date Algorithms".
func civilOf(days int64) civil {
	days += epochDays
	era := floorDiv(days, eraDays)
	doe := days - era*eraDays                              // day of era, 0 to 146,096
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365 // year of era, 0 to 399
	doy := doe - (365*yoe + yoe/4 - yoe/100)               // day of year, 0 to 365
	mp := (5*doy + 2) / 153                                // month, 0 is March
	c := civil{year: int(yoe + era*400), month: int(mp + 3), day: int(doy - (153*mp+2)/5 + 1)}
	if mp >= 10 {
		c.month -= 12
		c.year++
	}
	return c
}

// daysOf is the inverse of civilOf: days_from_civil of the same work.
func daysOf(c civil) int64 {
	year, mp := int64(c.year), int64(c.month)-3
	if c.month <= 2 {
		year--
		mp += 12
	}
	era := floorDiv(year, 400)
	yoe := year - era*400
	doy := (153*mp+2)/5 + int64(c.day) - 1
	return era*eraDays + yoe*365 + yoe/4 - yoe/100 + doy - epochDays
}

// floorDiv divides rounding down; d > 0.
func floorDiv(n, d int64) int64 {
	q := n / d
	if n%d < 0 {
		q--
	}
	return q
}

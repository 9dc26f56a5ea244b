package engine

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // where the machine has no time zones of its own
)

// day reads a date as a local day number.
func day(t *testing.T, date string) Day {
	t.Helper()
	at, err := time.Parse(time.DateOnly, date)
	if err != nil {
		t.Fatal(err)
	}
	return Day(at.Unix() / daySeconds)
}

// zoneOf returns a zone with the rules that package time has, and these.
func zoneOf(t *testing.T, name string) (*Zone, *time.Location) {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	// Bounds may be too early for ever, so each step is 20 minutes at least; no stretch is shorter.
	zone := &Zone{Name: name}
	offset := func(sec int64) int32 {
		_, o := time.Unix(sec, 0).In(loc).Zone()
		return int32(o)
	}
	last := offset(0)
	zone.Offset = last
	for sec := int64(0); sec < int64(MaxTime/Second); {
		_, bound := time.Unix(sec, 0).In(loc).ZoneBounds()
		if sec = max(sec+1200, bound.Unix()); bound.IsZero() {
			break
		}
		if o := offset(sec); o != last && sec < int64(MaxTime/Second) {
			zone.Transitions = append(zone.Transitions, Transition{sec, o})
			last = o
		}
	}
	if err := zone.Validate(); err != nil {
		t.Fatal(err)
	}
	return zone, loc
}

// TestPeriodStarts lists the local days on which periods begin. Each line is walked: the periods
// begin at the starts of these days, in this order, with none between them.
func TestPeriodStarts(t *testing.T) {
	for _, c := range []struct {
		zone     string
		interval Interval
		anchor   Anchor
		from     string // the subscription's first day
		starts   string // MM-DD, or a date; the first is a date
	}{
		{"UTC", Month, CalendarAnchor, "2024-05-17", "2024-01-01 02-01 03-01 04-01 05-01"},
		{"UTC", Month, 31, "2024-05-17", "2023-12-31 2024-01-31 02-29 03-31 04-30 05-31 06-30 " +
			"07-31 08-31 09-30 10-31 11-30 12-31 2025-01-31 02-28 03-31"},
		{"Europe/Berlin", Month, 31, "2024-05-17", "2099-12-31 2100-01-31 02-28 03-31 04-30"},
		{"UTC", Month, 30, "2024-05-17", "2024-01-30 02-29 03-30 04-30"},
		{"UTC", Month, 29, "2024-05-17", "2024-01-29 02-29 03-29"},
		{"UTC", Month, 29, "2024-05-17", "2023-01-29 02-28 03-29"},
		{"UTC", Month, 28, "2024-05-17", "2024-01-28 02-28 03-28"},
		{"UTC", Month, StartAnchor, "2024-01-31", "2024-01-31 02-29 03-31 04-30"},
		{"UTC", Month, StartAnchor, "2024-03-15", "2023-12-15 2024-01-15 02-15 03-15 04-15"},

		{"Europe/Berlin", Week, CalendarAnchor, "2024-05-17", "2024-03-25 04-01 04-08"},
		{"Europe/Berlin", Week, CalendarAnchor, "2024-05-17", "2024-10-21 10-28 11-04"},
		{"Europe/Berlin", Week, 7, "2024-05-17", "2024-03-24 03-31 04-07"},
		{"America/New_York", Week, 7, "2024-05-17", "2024-10-27 11-03 11-10"},
		{"Europe/Berlin", Week, 1, "2024-05-17", "2023-12-25 2024-01-01 01-08"},
		{"Europe/Berlin", Week, StartAnchor, "2024-05-17", "2024-05-10 05-17 05-24 05-31"}, // Friday
		{"UTC", Week, 4, "2024-05-17", "1970-01-01 01-08"},

		{"UTC", Quarter, CalendarAnchor, "2024-05-17", "2023-10-01 2024-01-01 04-01 07-01 10-01"},
		{"UTC", Quarter, 31, "2024-05-17", "2023-10-31 2024-01-31 04-30 07-31 10-31 2025-01-31"},
		{"UTC", Quarter, 15, "2024-05-17", "2023-10-15 2024-01-15 04-15"},
		{"UTC", Quarter, StartAnchor, "2023-11-30", "2023-11-30 2024-02-29 05-30 08-30 11-30 " +
			"2025-02-28 05-30"},
		{"UTC", Quarter, StartAnchor, "2024-03-31", "2023-12-31 2024-03-31 06-30 09-30 12-31"},

		{"UTC", Year, CalendarAnchor, "2024-05-17", "2023-01-01 2024-01-01 2025-01-01"},
		{"UTC", Year, 31, "2024-05-17", "2023-01-31 2024-01-31 2025-01-31"},
		{"UTC", Year, StartAnchor, "2024-02-29", "2023-02-28 2024-02-29 2025-02-28 2026-02-28 " +
			"2027-02-28 2028-02-29 2029-02-28"},
		{"UTC", Year, StartAnchor, "2023-02-28", "2023-02-28 2024-02-28 2025-02-28"},
		{"UTC", Year, StartAnchor, "2024-12-31", "2023-12-31 2024-12-31 2025-12-31"},

		{"UTC", OfDay, CalendarAnchor, "2024-05-17", "2024-02-28 02-29 03-01"},
		{"Europe/Berlin", OfDay, StartAnchor, "2024-05-17", "2024-03-30 03-31 04-01"},
		// The day that Apia skipped has no period of its own, and begins with the next one.
		{"Pacific/Apia", OfDay, CalendarAnchor, "2024-05-17", "2011-12-29 12-31 2012-01-01"},
		{"Pacific/Apia", Month, 30, "2024-05-17", "2011-11-30 12-31 2012-01-30"},
		{"Pacific/Apia", Month, 31, "2024-05-17", "2011-11-30 12-31 2012-01-31"},
		{"Pacific/Apia", Week, 5, "2024-05-17", "2011-12-23 12-31 2012-01-06"},
		{"Pacific/Apia", Year, StartAnchor, "2010-12-30", "2010-12-30 2011-12-31 2012-12-30"},
		// Midnight is skipped, and comes twice.
		{"America/Asuncion", Month, CalendarAnchor, "2024-05-17", "2017-09-01 10-01 11-01"},
		{"America/St_Johns", Month, CalendarAnchor, "2024-05-17", "2009-10-01 11-01 12-01"},
	} {
		zone, loc := zoneOf(t, c.zone)
		var starts []Micros
		var year string
		for i, date := range strings.Fields(c.starts) {
			if len(date) == 10 {
				year = date[:5]
			} else {
				date = year + date
			}
			d, err := time.Parse(time.DateOnly, date)
			if err != nil || i == 0 && len(date) != 10 {
				t.Fatalf("%q: %v", date, err)
			}
			starts = append(starts, firstInstant(loc, d))
		}
		for i := range len(starts) - 1 {
			start, end := zone.Period(c.interval, c.anchor, day(t, c.from), starts[i])
			if start != starts[i] || end != starts[i+1] {
				t.Errorf("%s, interval %d, anchor %d, from %s: period %d is %s to %s, want %s to %s",
					c.zone, c.interval, c.anchor, c.from, i, start, end, starts[i], starts[i+1])
			}
		}
	}
}

// combinations calls with every anchor of every interval, and days on which a subscription starts.
func combinations(froms []Day, call func(Interval, Anchor, Day)) (n int) {
	for interval := Interval(0); interval <= Year+1; interval++ {
		for a := range 256 {
			anchor := Anchor(a)
			if !interval.Takes(anchor) {
				continue
			}
			for i, from := range froms {
				if i > 0 && anchor != StartAnchor {
					break
				}
				call(interval, anchor, from)
				n++
			}
		}
	}
	return n
}

// TestPeriodByWalkingDays compares the periods of every combination with an oracle that has only
// package time: it walks from date to date, finds the first instant of each by going through the
// time around it, and asks of each date whether a period begins on it.
func TestPeriodByWalkingDays(t *testing.T) {
	const seed = 11
	random := rand.New(rand.NewPCG(seed, 0))
	var combos, periods int
	for _, c := range []struct {
		zone  string
		years [2]int
	}{
		{"UTC", [2]int{1998, 2001}}, // 2000 is a leap year
		{"Europe/Berlin", [2]int{2023, 2025}},
		{"Europe/Berlin", [2]int{2099, 2101}}, // 2100 is none
		{"Pacific/Apia", [2]int{2010, 2012}},  // has no 2011-12-30
		{"Pacific/Kwajalein", [2]int{1992, 1994}},
		{"America/Asuncion", [2]int{2016, 2018}},
		{"America/St_Johns", [2]int{2008, 2010}},
		{"Africa/Monrovia", [2]int{1971, 1973}}, // offsets of seconds
		{"Asia/Amman", [2]int{2011, 2013}},
	} {
		zone, loc := zoneOf(t, c.zone)
		dates, starts := walk(loc, c.years[0], c.years[1])
		froms := []Day{day(t, "2024-02-29"), day(t, "2023-08-31"), day(t, "1999-11-30"),
			day(t, "2051-01-01"), Day(random.IntN(80_000))}
		combos += combinations(froms, func(interval Interval, anchor Anchor, from Day) {
			last := Past
			for i, date := range dates {
				// Of a day that the zone skipped and the next one, the second has the period.
				if !begins(interval, anchor, from, date) || i+1 < len(starts) &&
					starts[i+1] == starts[i] && interval == OfDay {
					continue
				}
				if start := starts[i]; last != Past && start != last {
					for _, in := range []Micros{last, start - 1,
						last + Micros(random.Int64N(int64(start-last)))} {
						s, e := zone.Period(interval, anchor, from, in)
						if s != last || e != start {
							t.Fatalf("%s, interval %d, anchor %d, from %s: %s is in %s to %s, want %s to %s",
								c.zone, interval, anchor, from, in, s, e, last, start)
						}
					}
					periods++
				}
				last = starts[i]
			}
		})
	}
	t.Logf("seed %d: %d periods of %d combinations", seed, periods, combos)
	if periods < 30_000 {
		t.Errorf("only %d periods", periods)
	}
}

// walk returns the dates of the years and the first instant of each.
func walk(loc *time.Location, first, last int) (dates []time.Time, starts []Micros) {
	end := time.Date(last+1, 1, 1, 0, 0, 0, 0, time.UTC)
	for d := time.Date(first, 1, 1, 0, 0, 0, 0, time.UTC); d.Before(end); d = d.AddDate(0, 0, 1) {
		dates = append(dates, d)
		starts = append(starts, firstInstant(loc, d))
	}
	return dates, starts
}

// firstInstant goes through the time around a date (of UTC) for the first second at which clocks of
// the zone show its midnight or more: by quarters of an hour, then by minutes, then by seconds.
func firstInstant(loc *time.Location, date time.Time) Micros {
	sec := date.Unix() - 16*3600
	for _, step := range []int64{900, 60, 1} {
		for {
			_, offset := time.Unix(sec+step, 0).In(loc).Zone()
			if sec+step+int64(offset) >= date.Unix() {
				break
			}
			sec += step
		}
	}
	return Micros(sec+1) * Second
}

// begins reports whether a period begins on the date, as the anchors are defined.
func begins(interval Interval, anchor Anchor, from Day, date time.Time) bool {
	start := time.Unix(int64(from)*daySeconds, 0).UTC()
	want, month := int(anchor), time.January
	switch anchor {
	case CalendarAnchor:
		want = 1
	case StartAnchor:
		want, month = start.Day(), start.Month()
	}
	lastOfMonth := date.AddDate(0, 0, 1).Day() == 1
	onDay := date.Day() == want || lastOfMonth && date.Day() < want
	switch interval {
	case OfDay:
		return true
	case Week:
		if anchor == StartAnchor {
			return date.Weekday() == start.Weekday()
		}
		return date.Weekday() == time.Weekday(want%7)
	case Month:
		return onDay
	case Quarter:
		return onDay && (date.Month()-month+12)%3 == 0
	}
	return onDay && date.Month() == month
}

// TestPeriodTiles goes through random zones, with offsets that no place has, by every combination:
// each instant is in its period, all of a period agree on it, the next one begins at its end, and
// a period starts at the start of a day.
func TestPeriodTiles(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 2))
		zone := &Zone{Name: "Random", Offset: int32(random.IntN(2*maxOffset+1)) - maxOffset}
		for sec := int64(0); sec < 3*366*daySeconds; {
			sec += 1 + random.Int64N(40*daySeconds)
			offset := int32(random.IntN(2*maxOffset+1)) - maxOffset
			zone.Transitions = append(zone.Transitions, Transition{sec, offset})
		}
		froms := []Day{0, 59, Day(random.IntN(80_000)), Day(random.IntN(80_000))}
		combinations(froms, func(interval Interval, anchor Anchor, from Day) {
			at := Micros(random.Int64N(int64(2 * 366 * OneDay)))
			for range 4 {
				start, end := zone.Period(interval, anchor, from, at)
				if start > at || at >= end {
					t.Fatalf("seed %d, interval %d, anchor %d, from %s: %s is in %s to %s", seed,
						interval, anchor, from, at, start, end)
				}
				for _, in := range []Micros{start, end - 1,
					start + Micros(random.Int64N(int64(end-start)))} {
					if s, e := zone.Period(interval, anchor, from, in); s != start || e != end {
						t.Fatalf("seed %d, interval %d, anchor %d, from %s: %s is in %s to %s, %s in %s to %s",
							seed, interval, anchor, from, at, start, end, in, s, e)
					}
				}
				if y, m, d := zone.Date(start); zone.StartOfDay(y, m, d) != start {
					t.Fatalf("seed %d: %s is no start of a day", seed, start)
				}
				if _, e := zone.Period(interval, anchor, from, start-1); e != start {
					t.Fatalf("seed %d: before %s ends %s", seed, start, e)
				}
				at = end
			}
		})
	}
}

// TestPeriodAtTheEdges: the first and the last instant of the range are in whole periods, though
// these go beyond it. The zone's first and last offset hold there.
func TestPeriodAtTheEdges(t *testing.T) {
	west := &Zone{Name: "West", Offset: -5 * 3600}
	utc := &Zone{Name: "UTC"}
	for _, c := range []struct {
		zone       *Zone
		interval   Interval
		anchor     Anchor
		from       Day
		t          Micros
		start, end Micros
	}{
		{utc, OfDay, 0, 0, MinTime, 0, OneDay},
		{utc, Week, 0, 0, MinTime, at(1969, 12, 29, 0, 0), at(1970, 1, 5, 0, 0)},
		{utc, Month, 0, 0, MinTime, 0, at(1970, 2, 1, 0, 0)},
		{utc, Month, 31, 0, MinTime, at(1969, 12, 31, 0, 0), at(1970, 1, 31, 0, 0)},
		{utc, Quarter, StartAnchor, 40, MinTime, at(1969, 11, 10, 0, 0), at(1970, 2, 10, 0, 0)},
		{utc, Year, 0, 0, MinTime, 0, at(1971, 1, 1, 0, 0)},
		{west, OfDay, 0, 0, MinTime, at(1969, 12, 31, 5, 0), at(1970, 1, 1, 5, 0)},
		{west, Month, 0, 0, MinTime, at(1969, 12, 1, 5, 0), at(1970, 1, 1, 5, 0)},
		{west, Year, StartAnchor, 0, MinTime, at(1969, 1, 1, 5, 0), at(1970, 1, 1, 5, 0)},
		{utc, Week, 0, 0, MaxTime - 1, at(2199, 12, 30, 0, 0), at(2200, 1, 6, 0, 0)},
		{utc, Month, 15, 0, MaxTime - 1, at(2199, 12, 15, 0, 0), at(2200, 1, 15, 0, 0)},
		{utc, Year, 31, 0, MaxTime - 1, at(2199, 1, 31, 0, 0), at(2200, 1, 31, 0, 0)},
		{west, Year, StartAnchor, 364, MaxTime - 1, at(2199, 12, 31, 5, 0), at(2200, 12, 31, 5, 0)},
	} {
		start, end := c.zone.Period(c.interval, c.anchor, c.from, c.t)
		if start != c.start || end != c.end {
			t.Errorf("%s, interval %d, anchor %d: %s is in %s to %s, want %s to %s", c.zone.Name,
				c.interval, c.anchor, c.t, start, end, c.start, c.end)
		}
	}
}

// TestIntervalTakes: no other interval, and no anchor that a length cannot have, gives a period.
func TestIntervalTakes(t *testing.T) {
	zone := zoneWith()
	counts := map[Interval]int{}
	for i := range 256 {
		for a := range 256 {
			interval, anchor := Interval(i), Anchor(a)
			takes := interval.Takes(anchor)
			if takes {
				counts[interval]++
			}
			func() {
				defer func() {
					if r := recover(); (r == nil) != takes {
						t.Errorf("interval %d takes anchor %d: %t, panic: %v", i, a, takes, r)
					}
				}()
				zone.Period(interval, anchor, 0, 0)
			}()
		}
	}
	for interval, want := range map[Interval]int{OfDay: 2, Week: 9, Month: 33, Quarter: 33, Year: 33} {
		if counts[interval] != want {
			t.Errorf("interval %d takes %d anchors, want %d", interval, counts[interval], want)
		}
		delete(counts, interval)
	}
	if len(counts) > 0 {
		t.Errorf("also %v take anchors", counts)
	}
}

// BenchmarkPeriod is called per route and per period that may be due. Month is the yardstick.
func BenchmarkPeriod(b *testing.B) {
	zone := &Zone{Name: "Bench"}
	for i := range int64(460) {
		zone.Transitions = append(zone.Transitions, Transition{i * 182 * daySeconds, int32(i%2) * 3600})
	}
	for _, c := range []struct {
		name     string
		interval Interval
		anchor   Anchor
	}{
		{"day", OfDay, CalendarAnchor}, {"week", Week, CalendarAnchor},
		{"month", Month, CalendarAnchor}, {"month-31", Month, 31},
		{"quarter-start", Quarter, StartAnchor}, {"year-start", Year, StartAnchor},
	} {
		b.Run(c.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				zone.Period(c.interval, c.anchor, 60, Micros(i%2000)*40*OneDay)
			}
		})
	}
}

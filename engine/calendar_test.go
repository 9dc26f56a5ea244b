package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestCivil compares dates with package time over 20,000 years, every day of the engine's range.
func TestCivil(t *testing.T) {
	check := func(day int64) {
		want := time.Unix(day*daySeconds, 0).UTC()
		y, m, d := want.Date()
		c := civilOf(day)
		if c != (civil{y, int(m), d}) || daysOf(c) != day {
			t.Fatalf("day %d is %v and back %d, want %s", day, c, daysOf(c), want)
		}
	}
	for day := int64(-1000); day < 85_000; day++ {
		check(day)
	}
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200_000 {
		check(random.Int64N(7_300_000) - 3_650_000)
	}
}

// zoneWith returns a zone that is at UTC before the transitions.
func zoneWith(transitions ...Transition) *Zone {
	return &Zone{Name: "Test/Zone", Transitions: transitions}
}

func at(year, month, day, hour, minute int) Micros {
	return Micros(time.Date(year, time.Month(month), day, hour, minute, 0, 0, time.UTC).UnixMicro())
}

// TestMonthStart has one case a way in which a midnight can be odd. Times are UTC.
func TestMonthStart(t *testing.T) {
	forward := func(at Micros) Transition { return Transition{int64(at / Second), 3600} }
	summer := Transition{0, 3600}
	back := func(at Micros) Transition { return Transition{int64(at / Second), 0} }
	for _, c := range []struct {
		name string
		zone *Zone
		want Micros // start of 2024-10
	}{
		{"UTC", zoneWith(), at(2024, 10, 1, 0, 0)},
		{"behind UTC", &Zone{Name: "W", Offset: -5 * 3600}, at(2024, 10, 1, 5, 0)},
		{"offset of seconds", &Zone{Name: "S", Offset: -2670}, at(2024, 10, 1, 0, 44) + 30*Second},
		{"midnight is skipped, 00:00 to 01:00", zoneWith(forward(at(2024, 10, 1, 0, 0))),
			at(2024, 10, 1, 0, 0)},
		{"midnight is skipped, 23:30 to 00:30", zoneWith(forward(at(2024, 9, 30, 23, 30))),
			at(2024, 9, 30, 23, 30)},
		{"midnight comes twice, 01:00 to 00:00", zoneWith(summer, back(at(2024, 10, 1, 0, 0))),
			at(2024, 9, 30, 23, 0)},
		{"midnight comes twice, 00:01 to 23:01", zoneWith(summer, back(at(2024, 9, 30, 23, 1))),
			at(2024, 9, 30, 23, 0)},
		{"midnight comes once, 00:00 to 23:00", zoneWith(summer, back(at(2024, 9, 30, 23, 0))),
			at(2024, 10, 1, 0, 0)},
		{"the 1st is skipped", zoneWith(Transition{0, -10 * 3600},
			Transition{int64(at(2024, 10, 1, 10, 0) / Second), 14 * 3600}), at(2024, 10, 1, 10, 0)},
		{"the 1st comes twice", zoneWith(Transition{0, 12 * 3600},
			Transition{int64(at(2024, 10, 1, 12, 0) / Second), -12 * 3600}),
			at(2024, 9, 30, 12, 0)},
	} {
		start, end := c.zone.Month(c.want)
		if got := c.zone.StartOfDay(2024, 10, 1); got != c.want || start != c.want {
			t.Errorf("%s: the month begins at %d, its first instant is in one from %d, want %d",
				c.name, got, start, c.want)
		}
		if _, before := c.zone.Month(c.want - 1); before != c.want {
			t.Errorf("%s: the month before ends at %d, want %d", c.name, before, c.want)
		}
		for in := c.want; in < c.want+36*Hour; in += 10 * Minute {
			if s, e := c.zone.Month(in); s != start || e != end {
				t.Errorf("%s: %d is in [%d, %d), want [%d, %d)", c.name, in, s, e, start, end)
			}
		}
		if n := c.zone.days(start, end); n != 31 {
			// A month that begins on the 2nd has 30 days.
			if _, _, day := c.zone.Date(start); int64(day)+n != 32 {
				t.Errorf("%s: October has %d days", c.name, n)
			}
		}
	}
}

// TestDaysNeverFall walks through random zones: day numbers rise with time, and each day begins
// where StartOfDay says.
func TestDaysNeverFall(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		zone := &Zone{Name: "Random", Offset: int32(random.IntN(2*maxOffset+1)) - maxOffset}
		for sec := int64(0); sec < 60*daySeconds; {
			sec += 1 + random.Int64N(9*daySeconds)
			offset := int32(random.IntN(2*maxOffset+1)) - maxOffset
			zone.Transitions = append(zone.Transitions, Transition{sec, offset})
		}
		if err := zone.Validate(); err != nil {
			t.Fatal(err)
		}
		last := zone.dayNumber(0)
		for in := Micros(0); in < 70*OneDay; in += 7*Minute + 13*Second {
			day := zone.dayNumber(in)
			if start := Micros(zone.startOfDay(day)) * Second; day < last || start > in {
				t.Fatalf("seed %d: %d is on day %d from %d, day %d was before", seed, in, day, start,
					last)
			}
			if next := Micros(zone.startOfDay(day+1)) * Second; next <= in {
				t.Fatalf("seed %d: %d is on day %d, the next begins at %d", seed, in, day, next)
			}
			last = day
		}
	}
}

func TestZoneValidate(t *testing.T) {
	limit := int64(MaxTime / Second)
	for _, c := range []struct {
		name string
		zone *Zone
		ok   bool
	}{
		{"plain", zoneWith(), true},
		{"widest", zoneWith(Transition{0, maxOffset}, Transition{limit - 1, -maxOffset}), true},
		{"no name", &Zone{}, false},
		{"first offset", &Zone{Name: "X", Offset: maxOffset + 1}, false},
		{"later offset", zoneWith(Transition{5, -maxOffset - 1}), false},
		{"before 1970", zoneWith(Transition{-1, 0}), false},
		{"from 2200", zoneWith(Transition{limit, 0}), false},
		{"equal times", zoneWith(Transition{5, 0}, Transition{5, 60}), false},
		{"falling times", zoneWith(Transition{5, 0}, Transition{4, 60}), false},
	} {
		if err := c.zone.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: error %v, want none: %t", c.name, err, c.ok)
		}
	}
}

// BenchmarkMonth is called a few times per account and month.
func BenchmarkMonth(b *testing.B) {
	zone := &Zone{Name: "Bench"}
	for i := range int64(460) {
		zone.Transitions = append(zone.Transitions, Transition{i * 182 * daySeconds, int32(i%2) * 3600})
	}
	for i := 0; b.Loop(); i++ {
		zone.Month(Micros(i%2000) * 40 * OneDay)
	}
}

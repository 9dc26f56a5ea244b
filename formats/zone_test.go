package formats_test

import (
	"archive/zip"
	"go/build"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/formats"
)

// awkward are zones with skipped and doubled midnights, skipped days, offsets of seconds or of
// odd minutes, negative summer time, and rules that end or that change far in the future.
var awkward = []string{
	"America/Asuncion", "Africa/Cairo", "America/Havana", "Asia/Beirut", "Asia/Amman",
	"Asia/Gaza", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Kwajalein", "Africa/Monrovia",
	"Europe/Dublin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Scoresbysund",
	"Asia/Tehran", "America/Sao_Paulo", "Atlantic/Azores", "Pacific/Chatham",
	"Africa/Casablanca", "Asia/Pyongyang", "Antarctica/Troll", "America/St_Johns",
	"Europe/Berlin", "UTC",
}

// TestMonthsOfAwkwardZones compares every month of the engine's range with the definition, taken
// literally from package time: the first second whose local time is at or after the midnight.
func TestMonthsOfAwkwardZones(t *testing.T) {
	months := 0
	for _, name := range awkward {
		zone, loc := load(t, name)
		start := zone.StartOfDay(1970, 1, 1)
		for year := 1970; year < 2200; year++ {
			for month := 1; month <= 12; month++ {
				months++
				at := zone.StartOfDay(year, month, 1)
				if want := firstSecond(loc, year, month, 1); at != want {
					t.Fatalf("%s %d-%02d begins at %s, want %s", name, year, month,
						clock(at, loc), clock(want, loc))
				}
				if at != start {
					t.Fatalf("%s %d-%02d begins at %s, the month before ends at %s", name, year,
						month, clock(at, loc), clock(start, loc))
				}
				start = checkMonth(t, zone, year, month)
			}
		}
	}
	t.Logf("%d months of %d zones begin where package time says", months, len(awkward))
}

// checkMonth checks that the month's first and last microseconds are in it and that the ones
// beside them are not, and returns its end.
func checkMonth(t *testing.T, zone *engine.Zone, year, month int) engine.Micros {
	t.Helper()
	at := zone.StartOfDay(year, month, 1)
	start, end := zone.Month(at)
	if _, before := zone.Month(at - 1); start != at || before != at || end <= start {
		t.Fatalf("%s %d-%02d is [%d, %d), the month before ends at %d, want %d", zone.Name,
			year, month, start, end, before, at)
	}
	if s, e := zone.Month(end - 1); s != start || e != end {
		t.Fatalf("%s %d-%02d: its last microsecond is in [%d, %d), want [%d, %d)", zone.Name,
			year, month, s, e, start, end)
	}
	if y, m, d := zone.Date(at); y != year || m != month || d != 1 {
		t.Fatalf("%s %d-%02d begins on %d-%02d-%02d", zone.Name, year, month, y, m, d)
	}
	return end
}

// TestDaysOfAwkwardZones checks every day of the years in which the zones are odd in some way.
func TestDaysOfAwkwardZones(t *testing.T) {
	for _, name := range awkward {
		zone, loc := load(t, name)
		for _, year := range []int{1972, 1993, 1994, 2009, 2011, 2015, 2017, 2018, 2023, 2024} {
			for day := 1; day <= 366; day++ {
				date := time.Date(year, 1, day, 0, 0, 0, 0, time.UTC)
				y, m, d := date.Date()
				at := zone.StartOfDay(y, int(m), d)
				if want := firstSecond(loc, y, int(m), d); at != want {
					t.Fatalf("%s %s begins at %s, want %s", name, date.Format(time.DateOnly),
						clock(at, loc), clock(want, loc))
				}
				next := date.AddDate(0, 0, 1)
				end := zone.StartOfDay(next.Year(), int(next.Month()), next.Day())
				if at == end {
					t.Logf("%s skipped %s", name, date.Format(time.DateOnly))
					continue
				}
				for _, in := range []engine.Micros{at, at + 30*engine.Minute, (at + end) / 2, end - 1} {
					if y2, m2, d2 := zone.Date(in); y2 != y || m2 != int(m) || d2 != d {
						t.Fatalf("%s: %s is on %d-%02d-%02d, want %s", name, clock(in, loc),
							y2, m2, d2, date.Format(time.DateOnly))
					}
				}
			}
		}
	}
}

// TestMonthsOfAllZones walks every zone of Go's database through every month of 1970 to 2100. Each
// month begins at the earliest instant whose local time is at or after midnight of the 1st, by
// package time and not by our own table of the zone, and ends where the next begins. Its first and
// last microseconds are in it, and so is the time around each change of the clocks; between these
// local days only rise, so every instant is in exactly one month.
func TestMonthsOfAllZones(t *testing.T) {
	names := zoneNames(t)
	var months, notGo, odd, twice int
	for _, name := range names {
		zone, loc := load(t, name)
		at := zone.StartOfDay(1970, 1, 1)
		for i := range 131 * 12 {
			year, month := 1970+i/12, i%12+1
			if at != zone.StartOfDay(year, month, 1) {
				t.Fatalf("%s %d-%02d does not begin at %s, where the month before ends", name, year,
					month, clock(at, loc))
			}
			checkEarliest(t, loc, at, year, month)
			end := checkMonth(t, zone, year, month)
			months++
			if time.Date(year, time.Month(month), 1, 0, 0, 0, 0, loc).UnixMicro() != int64(at) {
				notGo++
			}
			if (end-at)%engine.OneDay != 0 {
				odd++
			}
			if y, m, _ := local(at+30*engine.Minute, loc).Date(); y*12+int(m) < year*12+month {
				twice++
			}
			at = end
		}
		checkChanges(t, zone, at)
	}
	t.Logf("%d zones, %d months: time.Date differs in %d, %d are not whole days of 24 hours, "+
		"in %d the old month's date comes again", len(names), months, notGo, odd, twice)
	if len(names) < 400 {
		t.Errorf("only %d zones: the database has more", len(names))
	}
}

// checkEarliest checks that clocks show the midnight of the 1st or more at that instant, and that
// they never did before. In a stretch of one offset they show the most at its end, so the ends of
// the stretches in the two days before are enough; no offset is as much as two days from another.
func checkEarliest(t *testing.T, loc *time.Location, at engine.Micros, year, month int) {
	t.Helper()
	midnight := time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC).Unix()
	if !reached(loc, at, midnight) {
		t.Fatalf("%s %d-%02d begins at %s, before midnight", loc, year, month, clock(at, loc))
	}
	for before := at - engine.Second; before > at-2*engine.OneDay; {
		if reached(loc, before, midnight) {
			t.Fatalf("%s %d-%02d begins at %s, but %s is midnight or later", loc, year, month,
				clock(at, loc), clock(before, loc))
		}
		start, _ := local(before, loc).ZoneBounds()
		if start.IsZero() {
			return
		}
		before = engine.Micros(start.UnixMicro()) - engine.Second
	}
}

// checkChanges checks that the moments beside each change of the zone's clocks before the limit are
// in the month that their own begins and ends around.
func checkChanges(t *testing.T, zone *engine.Zone, limit engine.Micros) {
	t.Helper()
	for _, change := range zone.Transitions {
		at := engine.Micros(change.At) * engine.Second
		if at >= limit {
			return
		}
		for _, in := range []engine.Micros{at - 1, at, at + engine.Hour} {
			start, end := zone.Month(in)
			if again, _ := zone.Month(start); start > in || in >= end || again != start {
				t.Fatalf("%s: %d is in the month [%d, %d), which begins in one from %d", zone.Name, in,
					start, end, again)
			}
		}
	}
}

// TestLoadZoneAgrees compares offsets at and around every transition, and at random between them.
func TestLoadZoneAgrees(t *testing.T) {
	for _, name := range awkward {
		zone, loc := load(t, name)
		again, _ := load(t, name)
		if !reflect.DeepEqual(zone, again) {
			t.Fatalf("%s: loading it twice gives two results", name)
		}
		at, offset := int64(0), zone.Offset
		for i := range len(zone.Transitions) + 1 {
			end := int64(engine.MaxTime / engine.Second)
			if i < len(zone.Transitions) {
				end = zone.Transitions[i].At
			}
			for k := int64(0); k <= 20; k++ {
				s := at + (end-1-at)*k/20
				if _, want := time.Unix(s, 0).In(loc).Zone(); int32(want) != offset {
					t.Fatalf("%s: offset %d at %d, want %d", name, offset, s, want)
				}
			}
			if i < len(zone.Transitions) {
				if zone.Transitions[i].Offset == offset {
					t.Fatalf("%s: the transition at %d changes nothing", name, end)
				}
				at, offset = end, zone.Transitions[i].Offset
			}
		}
	}
}

func TestLoadZoneRefuses(t *testing.T) {
	for _, c := range []struct{ name, say string }{
		{"", "no zone"},
		{"Local", "no zone"},
		{"localtime", "no zone"},
		{"right/Europe/Berlin", "no zone"},
		{"../etc/passwd", "unknown zone"},
		{"/etc/localtime", "no zone"},
		{"Europe/Nowhere", "unknown zone; names look like"},
		{"Berlin", "do you mean Europe/Berlin?"},
		{"new york", "do you mean America/New_York?"},
		{"indianapolis", "do you mean America/Indianapolis or America/Indiana/Indianapolis?"},
		{"europe/berlin ", "unknown zone"},
		{"America/Berlin", "do you mean Europe/Berlin?"},
		{"PORTO-NOVO", "do you mean Africa/Porto-Novo?"},
	} {
		zone, err := formats.LoadZone(c.name)
		if err == nil {
			t.Errorf("%q: got zone %q, want an error", c.name, zone.Name)
		} else if !strings.Contains(err.Error(), c.say) {
			t.Errorf("%q: error %q does not say %q", c.name, err, c.say)
		}
	}
}

func load(t *testing.T, name string) (*engine.Zone, *time.Location) {
	t.Helper()
	zone, err := formats.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone, loc
}

// firstSecond searches the two days around a date for the first second whose local time is at or
// after its midnight: by quarters of an hour, then by minutes, then by seconds.
func firstSecond(loc *time.Location, year, month, day int) engine.Micros {
	midnight := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix()
	at := engine.Micros(midnight)*engine.Second - 16*engine.Hour
	for _, step := range []engine.Micros{15 * engine.Minute, engine.Minute, engine.Second} {
		for !reached(loc, at+step, midnight) {
			at += step
		}
	}
	return at + engine.Second
}

// reached reports whether local clocks show at least the midnight.
func reached(loc *time.Location, at engine.Micros, midnight int64) bool {
	_, offset := local(at, loc).Zone()
	return int64(at/engine.Second)+int64(offset) >= midnight
}

func local(at engine.Micros, loc *time.Location) time.Time {
	return time.UnixMicro(int64(at)).In(loc)
}

func clock(at engine.Micros, loc *time.Location) string {
	return local(at, loc).Format("2006-01-02T15:04:05.999999-07:00:00")
}

// zoneNames returns the names of Go's database, without the links that repeat a zone.
func zoneNames(t *testing.T) []string {
	t.Helper()
	path := filepath.Join(build.Default.GOROOT, "lib", "time", "zoneinfo.zip")
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Skipf("needs the time zones of the Go installation: %v", err)
	}
	defer z.Close()
	var names []string
	seen := map[uint32]bool{}
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") || f.Name == "Factory" || seen[f.CRC32] {
			continue
		}
		seen[f.CRC32] = true
		names = append(names, f.Name)
	}
	return names
}

package engine

import "math"

// Seq is the position of a row or control entry in one journal, gap-free from 1.
type Seq uint64

// Micros is an instant: microseconds since 1970-01-01T00:00:00Z.
type Micros int64

// Instants that stand for no bound. They compare like any other instant.
const (
	Past   Micros = math.MinInt64 // before every event
	Future Micros = math.MaxInt64 // after every event
)

// Event times outside [MinTime, MaxTime) are malformed: zones are journaled for this range only.
const (
	MinTime Micros = 0                         // 1970-01-01T00:00:00Z
	MaxTime Micros = 7_258_118_400 * 1_000_000 // 2200-01-01T00:00:00Z
	Second  Micros = 1_000_000
	Minute         = 60 * Second
	Hour           = 60 * Minute
	OneDay         = 24 * Hour
)

// Day numbers days since 1970-01-01: of UTC for keys, of the account's zone for plan versions.
type Day int32

// DayOf returns the UTC day that holds t, for t in [MinTime, MaxTime).
func DayOf(t Micros) Day { return Day(t / OneDay) }

// Always is before every day.
const Always Day = math.MinInt32

// String writes the day as a date, "always" for Always.
func (d Day) String() string {
	if d == Always {
		return "always"
	}
	c := civilOf(int64(d))
	return string(appendDate(nil, c.year, c.month, c.day))
}

// Start returns the first instant of the day in UTC.
func (d Day) Start() Micros { return Micros(d) * OneDay }

// plus adds a duration to an instant; the unbounded instants stay what they are.
func (t Micros) plus(d Micros) Micros {
	if t == Past || t == Future {
		return t
	}
	return t + d
}

// String writes the instant in RFC 3339, UTC, with as many fractional digits as it needs.
func (t Micros) String() string {
	switch t {
	case Past:
		return "past"
	case Future:
		return "future"
	}
	day := floorDiv(int64(t), int64(OneDay))
	c := civilOf(day)
	b := appendDate(nil, c.year, c.month, c.day)
	rest := t - Micros(day)*OneDay
	b = append(b, 'T')
	b = appendPadded(b, int64(rest/Hour), 2)
	b = append(b, ':')
	b = appendPadded(b, int64(rest%Hour/Minute), 2)
	b = append(b, ':')
	b = appendPadded(b, int64(rest%Minute/Second), 2)
	if us := rest % Second; us != 0 {
		b = append(b, '.')
		b = appendPadded(b, int64(us), 6)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return string(append(b, 'Z'))
}

func appendDate(b []byte, year, month, day int) []byte {
	b = appendPadded(b, int64(year), 4)
	b = append(b, '-')
	b = appendPadded(b, int64(month), 2)
	b = append(b, '-')
	return appendPadded(b, int64(day), 2)
}

func appendPadded(b []byte, n int64, width int) []byte {
	at := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := at + width - 1; i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

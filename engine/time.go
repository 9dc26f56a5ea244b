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

// Day numbers UTC days since 1970-01-01; keys are remembered and forgotten by it.
type Day int32

// DayOf returns the UTC day that holds t, for t in [MinTime, MaxTime).
func DayOf(t Micros) Day { return Day(t / OneDay) }

// Start returns the first instant of the day.
func (d Day) Start() Micros { return Micros(d) * OneDay }

// plus adds a duration to an instant; the unbounded instants stay what they are.
func (t Micros) plus(d Micros) Micros {
	if t == Past || t == Future {
		return t
	}
	return t + d
}

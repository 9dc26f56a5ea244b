package live

import (
	"fmt"
	"time"

	"billctl/engine"
)

// Clock tells the time of day and a time that only runs on. Everything that the process decides by
// a clock goes through one, and becomes an entry before it can change a bill.
type Clock interface {
	Now() (wall time.Time, running time.Duration)
}

// SystemClock returns the clock of the machine.
func SystemClock() Clock { return systemClock{time.Now()} }

type systemClock struct{ start time.Time }

func (c systemClock) Now() (time.Time, time.Duration) {
	now := time.Now()
	return now.Round(0), now.Sub(c.start)
}

// Limits of what a clock may do before watermark and closes are frozen until a person has looked
// (docs/semantics.md, "Clock").
const (
	maxJump     = time.Minute
	maxStartGap = 7 * 24 * time.Hour
)

// watch notices a clock that jumps: time of day against running time.
type watch struct {
	clock   Clock
	wall    time.Time
	running time.Duration
}

func newWatch(c Clock) *watch {
	w := &watch{clock: c}
	w.wall, w.running = c.Now()
	return w
}

// now returns the time of day, and what is wrong with it or "".
func (w *watch) now() (engine.Micros, string) {
	wall, running := w.clock.Now()
	jump := wall.Sub(w.wall) - (running - w.running)
	w.wall, w.running = wall, running
	if jump > maxJump || jump < -maxJump {
		return engine.Micros(wall.UnixMicro()), fmt.Sprintf(
			"the clock jumped by %s to %s", jump.Round(time.Second), wall.UTC().Format(time.RFC3339))
	}
	return engine.Micros(wall.UnixMicro()), ""
}

// startFault returns what is wrong with the clock at a start after the journal's last entry, or "".
func startFault(last, now engine.Micros) string {
	if last <= 0 {
		return ""
	}
	gap := time.Duration(now-last) * time.Microsecond
	switch {
	case gap < -maxJump:
		return fmt.Sprintf("the clock says %s, which is %s before the journal's last entry",
			now, (-gap).Round(time.Second))
	case gap > maxStartGap:
		return fmt.Sprintf("the clock says %s, which is %d days after the journal's last entry",
			now, gap/(24*time.Hour))
	}
	return ""
}

package live

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
)

// clockRun runs a process for a while and returns its journal. meanwhile, if not nil, is called
// after half of the time.
func clockRun(
	fs *fixtures.SimFS, clock *bubbleClock, ok bool, d time.Duration, meanwhile func(),
) ([]*engine.Entry, error) {
	p, err := plainRun(fs, plainControl("acme"), func(o *Options) { o.Clock, o.ClockOK = clock, ok })
	if err != nil {
		return nil, err
	}
	time.Sleep(d / 2)
	if meanwhile != nil {
		meanwhile()
	}
	time.Sleep(d / 2)
	return p.stop()
}

// clockEntries returns the clock entries of a journal: true for frozen; how many watermarks and
// closes stand behind a frozen one before the next; and the watermark at the end.
func clockEntries(entries []*engine.Entry) (clocks []bool, bad int, w engine.Micros) {
	w = engine.Past
	for _, e := range entries {
		switch b := e.Body.(type) {
		case *engine.Clock:
			clocks = append(clocks, b.Frozen)
		case *engine.Watermark:
			w = b.W
			if n := len(clocks); n > 0 && clocks[n-1] {
				bad++
			}
		case *engine.Close:
			if n := len(clocks); n > 0 && clocks[n-1] {
				bad++
			}
		}
	}
	return clocks, bad, w
}

// TestClockFreezes shows that a clock that jumps, or is far off at a start, closes nothing until a
// person says that it is right, and that then everything due closes.
func TestClockFreezes(t *testing.T) {
	before := utc(2026, 1, 31) + 12*engine.Hour
	for _, tt := range []struct {
		name    string
		restart engine.Micros // what the clock says at the second start, less what it should
		jump    engine.Micros // what it is set by while the second run goes on
		frozen  bool
	}{
		{"right", 0, 0, false},
		{"set back by a day", 0, -engine.OneDay, true},
		{"set forward by a month", 0, 31 * engine.OneDay, true},
		{"set back by a minute", 0, -engine.Minute, false},
		{"set back by more than a minute", 0, -engine.Minute - engine.Second, true},
		{"set forward by a minute", 0, engine.Minute, false},
		{"set forward by more than a minute", 0, engine.Minute + engine.Second, true},
		{"off for six days", 6 * engine.OneDay, 0, false},
		{"off for eight days", 8 * engine.OneDay, 0, true},
		{"started a day before the last entry", -engine.OneDay, 0, true},
		{"started half a minute before the last entry", -engine.Minute / 2, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := freezes(t, before, tt.restart, tt.jump, tt.frozen); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func freezes(t *testing.T, at, restart, jump engine.Micros, frozen bool) error {
	fs := fixtures.NewSimFS()
	clock := newBubbleClock(at)
	entries, err := clockRun(fs, clock, false, 4*time.Second, nil)
	if err != nil {
		return err
	}
	if clocks, _, w := clockEntries(entries); len(clocks) > 0 || w < at-2*engine.Second {
		t.Errorf("the first run has %d clock entries and the watermark %v", len(clocks), w)
	}
	_, _, first := clockEntries(entries)

	clock.set(restart)
	entries, err = clockRun(fs, clock, false, 3*time.Minute, func() { clock.set(jump) })
	if err != nil {
		return err
	}
	clocks, bad, w := clockEntries(entries)
	switch {
	case bad > 0:
		t.Errorf("%d watermarks or closes while the clock was frozen", bad)
	case frozen && (len(clocks) != 1 || !clocks[0]):
		t.Errorf("clock entries %v, want one that it is frozen", clocks)
	case !frozen && len(clocks) != 0:
		t.Errorf("clock entries %v, want none", clocks)
	case restart != 0 && frozen && w != first:
		t.Errorf("the watermark rose to %v", w)
	}
	// Time goes on and the clock is right again; without a word nothing happens.
	clock = newBubbleClock(utc(2026, 2, 1) + engine.Hour)
	entries, err = clockRun(fs, clock, false, 3*time.Second, nil)
	if err != nil {
		return err
	}
	_, bad, w = clockEntries(entries)
	if frozen && (bad > 0 || w > utc(2026, 2, 1)) {
		t.Errorf("still frozen, the watermark is %v, %d entries are bad", w, bad)
	}
	if !frozen {
		return nil
	}
	if issued, err := documentsIn(fs); err != nil || issued != 1 { // the start invoice
		return errors.Join(err, fmt.Errorf("%d documents while frozen, want 1", issued))
	}
	entries, err = clockRun(fs, clock, true, 3*time.Second, nil)
	if err != nil {
		return err
	}
	clocks, bad, w = clockEntries(entries)
	if clocks[len(clocks)-1] || bad > 0 || w < utc(2026, 2, 1) {
		t.Errorf("freed: clock entries %v, %d are bad, watermark %v", clocks, bad, w)
	}
	if issued, err := documentsIn(fs); err != nil || issued != 2 {
		return errors.Join(err, fmt.Errorf("%d documents in the end, want 2", issued))
	}
	return nil
}

// TestProgress holds the watermark rules of docs/semantics.md against the type that keeps them.
func TestProgress(t *testing.T) {
	const now = 1000 * engine.Hour
	rows := func(times ...engine.Micros) *engine.Batch {
		return &engine.Batch{Len: len(times), Time: times}
	}
	look := func(at engine.Micros, caughtUp, eof bool) Status {
		return Status{At: time.UnixMicro(int64(at)), CaughtUp: caughtUp, EOF: eof}
	}
	two := func(finite bool) *progress {
		p := &progress{finite: finite, greatest: engine.Past}
		for _, s := range []sourceProgress{
			{name: "a", stream: true, disorder: engine.Minute, idle: engine.Hour, greatest: engine.Past},
			{name: "b", disorder: 2 * engine.Minute, greatest: engine.Past},
		} {
			s.last, s.through = now-30*engine.Minute, engine.Past // the start
			p.sources = append(p.sources, s)
		}
		return p
	}
	for _, tt := range []struct {
		name   string
		finite bool
		steps  func(p *progress)
		want   engine.Micros
	}{
		{"after a start", false, func(*progress) {}, engine.Past},
		{"one source caught up", false, func(p *progress) {
			p.status(0, look(now, true, false))
		}, engine.Past},
		{"both caught up: the least", false, func(p *progress) {
			p.status(0, look(now, true, false))
			p.status(1, look(now-engine.Second, true, false))
		}, now - engine.Second - 2*engine.Minute},
		{"caught up after now", false, func(p *progress) {
			p.status(0, look(now+engine.Hour, true, false))
			p.status(1, look(now+engine.Hour, true, false))
		}, now - 2*engine.Minute},
		{"rows after the look: it lags, and stays where it was", false, func(p *progress) {
			p.status(0, look(now, true, false))
			p.status(1, look(now-engine.Hour, true, false))
			p.rows(1, rows(now-9*engine.Hour, now-engine.Minute), now)
			p.status(1, look(now, false, false))
		}, now - engine.Hour - 2*engine.Minute},
		{"a lagging source without rows", false, func(p *progress) {
			p.status(0, look(now, true, false))
			p.status(1, look(now, false, false))
		}, engine.Past},
		{"finite: rows from the future and malformed ones have no time", true, func(p *progress) {
			b := rows(now-engine.Hour, now, now+engine.Hour)
			b.Malformed = []engine.Malformed{{Row: 1}}
			p.rows(1, b, now)
			p.status(0, look(now, true, true))
			p.status(1, look(now, true, true))
		}, now - engine.Hour - 2*engine.Minute},
		{"a stream that is silent for its idle time", false, func(p *progress) {
			p.sources[0].last = now - engine.Hour
			p.status(1, look(now, true, false))
		}, now - 2*engine.Minute},
		{"a stream that has ended holds nothing", false, func(p *progress) {
			p.status(0, look(now-engine.Hour, true, true))
			p.status(1, look(now, true, false))
		}, now - 2*engine.Minute},
		{"files that are silent", false, func(p *progress) {
			p.status(0, look(now, true, false))
			p.sources[1].last = now - 1000*engine.Hour
		}, engine.Past},
		{"finite: one has not ended", true, func(p *progress) {
			p.rows(0, rows(now-engine.Hour), now)
			p.status(0, look(now, true, true))
			p.status(1, look(now, true, false))
		}, engine.Past},
		{"finite: all have ended", true, func(p *progress) {
			p.rows(0, rows(now-engine.Hour), now)
			p.rows(1, rows(now-3*engine.Hour), now)
			p.status(0, look(now, true, true))
			p.status(1, look(now, true, true))
		}, now - engine.Hour - 2*engine.Minute},
		{"finite: nothing was read", true, func(p *progress) {
			p.status(0, look(now, true, true))
			p.status(1, look(now, true, true))
		}, engine.Past},
	} {
		p := two(tt.finite)
		tt.steps(p)
		if got := p.watermark(now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if w := (&progress{}).watermark(now); w != engine.Past {
		t.Errorf("no sources: %v", w)
	}
}

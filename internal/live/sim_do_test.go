package live

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/internal/store"
)

// bubbleClock is a Clock over the time of a synctest bubble, which can be set.
type bubbleClock struct {
	start time.Time
	wall  atomic.Int64 // what it showed at start, in microseconds
}

func newBubbleClock(wall engine.Micros) *bubbleClock {
	c := &bubbleClock{start: time.Now()}
	c.set(wall)
	return c
}

// set sets the clock by d.
func (c *bubbleClock) set(d engine.Micros) { c.wall.Add(int64(d)) }

func (c *bubbleClock) Now() (time.Time, time.Duration) {
	running := time.Since(c.start)
	return time.UnixMicro(c.wall.Load()).Add(running), running
}

// TestSimDo runs whole processes with all their goroutines, over complete files and until power is
// lost. Which goroutine goes first is not decided by the seed; TestSim decides that as well.
func TestSimDo(t *testing.T) {
	var total simFigures
	seeds := 0
	for seed := *simFirst; seeds < max(*simSeeds/8, 1); seed++ {
		m, err := newMachine(seed, false)
		if err != nil {
			t.Fatal(err)
		}
		if m.w.mode != simFinite {
			continue
		}
		seeds++
		synctest.Test(t, func(t *testing.T) { err = m.playDo() })
		if err != nil {
			t.Fatalf("seed %d: %v\n%s\nrepeat, perhaps more than once, with: go test ./internal/live "+
				"-run 'TestSimDo$' -sim.seeds 1 -sim.first %d", seed, err, m.story(), seed)
		}
		total.add(&m.figures)
	}
	t.Logf("%d seeds: %v", seeds, total)
}

// playDo sets up, then runs process after process until all is read and delivered.
func (m *machine) playDo() error {
	m.ending = true
	for !m.up || m.r != nil {
		if _, err := m.step(); err != nil {
			return err
		}
	}
	for runs := 0; runs < 200; runs++ {
		if runs < 12 {
			m.arm([]int{20, 100, 300}[m.rng.IntN(3)])
		}
		m.r = nil
		left, err := m.do()
		if err != nil {
			if err = m.fell(err); err != nil {
				return err
			}
			continue
		}
		m.figures[figStops]++
		m.r = nil
		m.disarm()
		switch {
		case left == 0:
			return m.check()
		case runs >= 12:
			for _, s := range m.sinks {
				s.calm = true
			}
		}
		if err := m.unparkClosed(); err != nil {
			return err
		}
	}
	return errors.New("it does not end")
}

// do is the life of one process. It returns how many documents were not delivered.
func (m *machine) do() (left int, err error) {
	dir, err := store.Open(m.fs, m.options)
	if err != nil {
		return 0, err
	}
	st, err := Restore(dir, 1+m.rng.IntN(3), true, nil)
	if err != nil {
		return 0, err
	}
	o := m.runOptions(st)
	clock := newBubbleClock(m.clock.wall)
	o.Clock, o.CheckpointEvery, o.ClockOK = clock, 20*time.Millisecond, true
	o.Say = func(string) {}
	for i := range o.Sources {
		name := o.Sources[i].Entry.Name
		o.Sources[i].Open = func(positions map[string]int64) (Source, error) {
			return m.w.open(name, clock, m.rng, positions)
		}
	}
	r, err := NewRun(o)
	if err != nil {
		return 0, err
	}
	m.r = r
	err = r.Do(context.Background())
	for _, s := range m.sinks {
		for _, key := range s.parking {
			s.parked[key] = err == nil // else nobody knows whether that was written down
			m.figures[figParked]++
		}
		s.parking = nil
	}
	m.clock.wall += engine.Minute
	m.note("ran to %d: %v", st.Shards.Seq(), err)
	if err != nil {
		return 0, err
	}
	return r.Undelivered(), errors.Join(st.Outbox.Close(), dir.Close())
}

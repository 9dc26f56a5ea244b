package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"billctl/engine"
	"billctl/internal/store"
)

// step does one random thing. It reports whether nothing is left to do.
func (m *machine) step() (done bool, err error) {
	if m.r == nil {
		if m.one(2) && m.w.mode != simFinite { // the machine was off for a while
			d := engine.Micros(m.rng.Int64N(int64(3 * engine.OneDay)))
			m.clock.pass(min(d, max(0, m.w.end-m.clock.wall)))
		}
		return false, m.start()
	}
	if m.armed && m.fs.Ops() > m.armedAt {
		m.disarm() // an error that nobody minded
	}
	if !m.armed && m.one(12) {
		m.arm([]int{4, 30, 150}[m.rng.IntN(3)])
	}
	switch {
	case m.one(150):
		m.figures[figKills]++
		m.note("killed")
		m.fs, m.r, m.save, m.armed = m.fs.Restart(), nil, nil, false
		return false, nil
	case m.one(100) || m.one(3) && m.r.frozen:
		m.figures[figStops]++
		return false, m.stop()
	case m.one(40) && m.w.mode == simWild:
		m.jump()
	}
	if m.r.frozen && (m.ending || m.calm) {
		return false, m.stop()
	}
	if m.calm || m.ending {
		return m.sweep()
	}
	return false, m.chance()
}

// jump sets the clock.
func (m *machine) jump() {
	by := []engine.Micros{-engine.OneDay, -engine.Hour, engine.Hour, 40 * engine.OneDay}
	d := by[m.rng.IntN(len(by))]
	m.figures[figFreezes]++
	m.note("clock set by %d", d)
	m.clock.wall += d
}

// chance does one of the things that the goroutines of a process do.
func (m *machine) chance() error {
	switch m.rng.IntN(10) {
	case 0, 1:
		return m.read(m.rng.IntN(len(m.parcels)))
	case 2:
		f := m.r.feeds[m.rng.IntN(len(m.parcels))]
		f.flush(context.Background(), Status{})
	case 3, 4:
		return m.receive()
	case 5:
		if m.save != nil {
			return m.seal()
		}
	case 6:
		return m.deliver(m.rng.IntN(len(m.sinks)))
	case 7:
		m.look()
	case 8:
		return m.tick()
	case 9:
		if m.w.corrects && m.rng.IntN(2) == 0 {
			return m.correct()
		}
		return m.archive()
	}
	return nil
}

// archive does what the archivist does when it is woken.
func (m *machine) archive() error {
	var status ArchiveStatus
	err := m.r.archivist.catchUp(context.Background(), &status)
	m.figures[figArchived] += status.Files
	return err
}

// sweep does everything that is to be done, and lets some time pass.
func (m *machine) sweep() (done bool, err error) {
	for i := range m.parcels {
		s := m.r.feeds[i].source.(*simSource)
		for again := true; again; again = len(s.ready(m.clock.wall)) > 0 {
			if err := m.read(i); err != nil {
				return false, err
			}
		}
		if err := m.read(i); err != nil { // only how things stand
			return false, err
		}
	}
	for m.waiting() {
		if err := m.receive(); err != nil {
			return false, err
		}
	}
	if m.save != nil {
		if err := m.seal(); err != nil {
			return false, err
		}
	}
	for i := range m.sinks {
		m.sinks[i].calm = true
		if err := m.deliver(i); err != nil {
			return false, err
		}
	}
	if err := m.archive(); err != nil {
		return false, err
	}
	if m.clock.wall >= m.w.end && m.r.Undelivered() == 0 && !m.r.saving && m.read1() {
		return true, m.stop()
	}
	if err := m.unpark(); err != nil || m.r == nil {
		return false, err
	}
	return false, m.tick()
}

// read1 reports whether everything was read and sequenced.
func (m *machine) read1() bool {
	for _, f := range m.r.feeds {
		if s := f.source.(*simSource); !s.ended() {
			return false
		}
	}
	return !m.waiting() && (m.w.mode != simFinite || m.r.done())
}

func (m *machine) waiting() bool {
	return slices.ContainsFunc(m.parcels, func(c chan parcel) bool { return len(c) > 0 })
}

// read lets a feed read and parse once.
func (m *machine) read(i int) error {
	f := m.r.feeds[i]
	if len(m.parcels[i]) > 500 {
		return nil // back-pressure
	}
	c, st, err := f.source.Next(context.Background())
	if !f.take(context.Background(), arrival{c, st, err}) {
		return errors.New("the feed ended")
	}
	return nil
}

// receive lets the loop sequence what feeds have handed on.
func (m *machine) receive() error {
	r := m.r
	for range 1 + m.rng.IntN(cap(r.parcels)) {
		select {
		case p := <-m.parcels[m.rng.IntN(len(m.parcels))]:
			r.parcels <- p
		default:
		}
	}
	if len(r.parcels) == 0 {
		return nil
	}
	if err := r.receive(<-r.parcels); err != nil {
		return err
	}
	return r.advance()
}

// seal lets the checkpoint be written that was begun, and the loop end it.
func (m *machine) seal() error {
	save := m.save
	m.save = nil
	save()
	if err := m.r.seal(<-m.r.saved); err != nil {
		return err
	}
	m.figures[figCheckpoints]++
	return m.r.advance()
}

func (m *machine) deliver(i int) error {
	c, s := m.r.couriers[i], m.sinks[i]
	s.parking = nil
	if _, err := c.step(context.Background()); err != nil {
		return err
	}
	for _, key := range s.parking {
		s.parked[key] = true
		m.figures[figParked]++
	}
	return nil
}

// tick lets time pass and the loop look at its clocks.
func (m *machine) tick() error {
	most := []engine.Micros{engine.Second, engine.Hour, 2 * engine.OneDay, 4 * engine.OneDay}
	d := engine.Micros(m.rng.Int64N(int64(most[m.rng.IntN(len(most))])))
	if left := m.w.end - m.clock.wall; d > left {
		d = max(left, engine.Minute) // undisturbed runs end on the same day
	}
	m.clock.pass(d)
	if err := m.r.onTick(); err != nil {
		return err
	}
	return m.r.advance()
}

// look asks for a picture and remembers what it shows.
func (m *machine) look() {
	v := m.r.st.Shards.Pin()
	m.figures[figViews]++
	m.seen = append(m.seen, sighting{v.Standing().Seq, sumOf(v)})
}

// sumOf returns a digest of everything in a view.
func sumOf(v *engine.View) (sum [sha256.Size]byte) {
	var list [][]byte
	// It fails with the function only.
	_ = v.EachAccount(func(record []byte) error {
		list = append(list, bytes.Clone(record))
		return nil
	})
	slices.SortFunc(list, bytes.Compare)
	h := sha256.New()
	h.Write(v.AppendGlobals(nil))
	for _, record := range list {
		h.Write(record)
	}
	h.Sum(sum[:0])
	return sum
}

// unpark says, as a person does, that parked documents are to be sent again.
func (m *machine) unpark() error {
	parked := 0
	for _, s := range m.r.Sinks() {
		parked += s.Parked
	}
	if parked == 0 {
		return nil
	}
	if err := m.stop(); err != nil {
		return err
	}
	return m.unparkClosed()
}

// unparkClosed is unpark while no process runs.
func (m *machine) unparkClosed() error {
	dir, err := store.Open(m.fs, m.options)
	if err != nil {
		return err
	}
	for i, s := range m.sinks {
		if err := m.unparkSink(dir, fmt.Sprintf("sink%d", i), s); err != nil {
			return err
		}
	}
	return dir.Close()
}

func (m *machine) unparkSink(dir *store.Dir, name string, s *simSink) error {
	_, list, err := dir.ReadCursor(name)
	if err != nil {
		return err
	}
	cursor, err := dir.OpenCursor(name)
	if err != nil {
		return err
	}
	for _, d := range list {
		if d.State == store.Parked {
			if err := cursor.Attempt(m.clock.wall, d.Position); err != nil {
				return err
			}
			delete(s.parked, d.Key)
		}
	}
	return cursor.Close()
}

// knowsAttempts checks that a document that was sent, and perhaps taken over, is never taken for
// one that was not.
func (m *machine) knowsAttempts(name string, s *simSink) error {
	if len(s.open) == 0 {
		return nil
	}
	_, list, err := m.dir.ReadCursor(name)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(s.open)) {
		if !slices.ContainsFunc(list, func(d store.Delivery) bool {
			return d.Key == key && d.Attempts > 0
		}) {
			return fmt.Errorf("%s was sent to %s, whose log does not know", key, name)
		}
	}
	return nil
}

package live

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

var (
	simSeeds = flag.Int("sim.seeds", 4, "simulations of TestSim; negative: no end")
	simFirst = flag.Uint64("sim.first", 1, "the seed of the first simulation")
)

// TestSim runs the whole process, step by step and without goroutines, so that a seed decides
// everything: what is read and when, the clock, where the disk loses power, what sinks answer,
// shards and batches and checkpoints, and how all of these interleave. See machine.check for what
// must hold in the end.
func TestSim(t *testing.T) {
	var total simFigures
	var mu sync.Mutex
	var wg sync.WaitGroup
	seeds := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range seeds {
				f, err := simulate(seed)
				if err != nil {
					t.Errorf("seed %d: %v\nrepeat with: go test ./internal/live -run 'TestSim$' "+
						"-sim.seeds 1 -sim.first %d", seed, err, seed)
					continue
				}
				mu.Lock()
				total.add(f)
				mu.Unlock()
			}
		})
	}
	for i := 0; i != *simSeeds && !t.Failed(); i++ {
		seeds <- *simFirst + uint64(i)
	}
	close(seeds)
	wg.Wait()
	t.Logf("%d seeds: %v", *simSeeds, total)
	if *simSeeds >= 100 && slices.Min(total[:]) == 0 {
		t.Error("something never happened")
	}
}

// simFigures count what happened.
type simFigures [numFigures]int

const (
	figCrashes = iota
	figRecoveryCrashes
	figKills
	figDiskErrors
	figStops
	figFreezes
	figCheckpoints
	figRows
	figDocuments
	figAlerts
	figAttempts
	figParked
	figViews
	figArchived
	figOpenings
	figTakenBack
	figAmended
	figUncorrected
	numFigures
)

func (f *simFigures) add(o *simFigures) {
	for i := range f {
		f[i] += o[i]
	}
}

func (f simFigures) String() string {
	names := [numFigures]string{"power cuts", "of them in recovery", "kills", "disk errors", "stops",
		"frozen clocks", "checkpoints", "rows", "documents", "alerts",
		"attempts", "parked", "answers",
		"archive files", "openings replayed", "taken back", "amended", "corrections refused"}
	parts := make([]string, len(f))
	for i, n := range f {
		parts[i] = fmt.Sprintf("%d %s", n, names[i])
	}
	return strings.Join(parts, ", ")
}

// simulate runs one seed; usage that comes in time runs a second time undisturbed, and must come
// to the same.
func simulate(seed uint64) (f *simFigures, err error) {
	m, err := newMachine(seed, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, m.story())
		}
	}()
	if err := m.play(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, m.story())
	}
	if m.w.mode == simWild || m.w.corrects {
		return &m.figures, nil
	}
	calm, err := newMachine(seed, true)
	if err != nil {
		return nil, err
	}
	if err := calm.play(); err != nil {
		return nil, fmt.Errorf("undisturbed: %w", err)
	}
	if err := calm.same(m); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, m.story())
	}
	return &m.figures, nil
}

// machine is the computer that a simulation runs on: a disk, and now and then a process.
type machine struct {
	w       *simWorld
	calm    bool // nothing goes wrong
	ending  bool // nothing goes wrong any more
	rng     *rand.Rand
	clock   *simClock
	fs      *fixtures.SimFS
	options store.Options
	genesis store.Genesis
	sinks   []*simSink
	figures simFigures
	log     []string

	dir     *store.Dir
	r       *Run // nil: no process
	save    func()
	parcels []chan parcel // by source: parsed and not sequenced
	up      bool          // the control files are journaled
	armed   bool          // the disk will lose power or fail
	armedAt int
	seen    []sighting

	amends    map[string]*fixtures.Event // new versions, by the reason of their corrections
	puts      int                        // control files with corrections
	corrected map[engine.Seq]bool        // versions that corrections were put for
	promised  map[string]string          // by the reason of a correction: the file it was put with

	final *finalState
}

// sighting is an answer that somebody was given.
type sighting struct {
	seq engine.Seq
	sum [sha256.Size]byte
}

func newMachine(seed uint64, calm bool) (*machine, error) {
	w, err := newSimWorld(seed)
	if err != nil {
		return nil, err
	}
	m := &machine{
		w: w, calm: calm, rng: rand.New(rand.NewPCG(seed, 0x51a)), fs: fixtures.NewSimFS(),
		clock: &simClock{wall: w.c.Start},
	}
	m.amends, m.promised = map[string]*fixtures.Event{}, map[string]string{}
	m.corrected = map[engine.Seq]bool{}
	m.options = store.Options{Floor: -1, Segment: []int64{2000, 9000, 0}[m.rng.IntN(3)]}
	m.genesis.Genesis = engine.Genesis{Journal: [16]byte{1}, HashKey: [16]byte{2}, Format: 1}
	for i := range 1 + m.rng.IntN(2) {
		m.sinks = append(m.sinks, newSimSink(seed+uint64(i)<<32, calm))
	}
	return m, nil
}

func (m *machine) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%v op %d: ", m.clock.wall, m.fs.Ops())+
		fmt.Sprintf(format, args...))
}

func (m *machine) story() string {
	return fmt.Sprintf("mode %d, %d lines, %d sources; the last of %d steps:\n%s", m.w.mode, m.w.lines,
		len(m.w.sources), len(m.log), strings.Join(m.log[max(0, len(m.log)-60):], "\n"))
}

func (m *machine) one(in int) bool { return !m.calm && !m.ending && m.rng.IntN(in) == 0 }

// play lets the machine work until everything is read and delivered, and checks the end.
func (m *machine) play() error {
	for steps := 0; ; steps++ {
		if steps == 600 {
			m.ending = true
			m.disarm()
		}
		if steps > 20_000 {
			return errors.New("it does not end")
		}
		done, err := m.step()
		if err != nil {
			if err = m.fell(err); err != nil {
				return err
			}
			continue
		}
		if done && (m.ending || m.calm) {
			return m.check()
		}
	}
}

// fell is what follows an error of the process: after one that the simulation made, a new disk.
func (m *machine) fell(err error) error {
	recovering := m.r == nil
	m.r, m.save = nil, nil
	switch {
	case !m.armed:
		return err
	case errors.Is(err, fixtures.ErrCrashed):
		m.figures[figCrashes]++
		if recovering {
			m.figures[figRecoveryCrashes]++
		}
		tear := fixtures.Tear(m.rng.IntN(fixtures.NumTears))
		m.note("power cut (%v): %v", tear, err)
		m.fs = m.fs.Crash(tear, m.rng)
	case errors.Is(err, syscall.EIO):
		m.figures[figDiskErrors]++
		m.note("disk error: %v", err)
		m.fs = m.fs.Restart()
	default:
		return err
	}
	m.armed = false
	return nil
}

// arm makes the disk lose power, or fail once, at one of the next operations.
func (m *machine) arm(within int) {
	at := m.fs.Ops() + m.rng.IntN(within)
	m.armed, m.armedAt = true, at+1
	if m.rng.IntN(8) == 0 {
		m.fs.FailAt(at+1, syscall.EIO)
		return
	}
	m.fs.CrashAt(at + 1)
}

func (m *machine) disarm() {
	m.armed = false
	m.fs.CrashAt(0)
	m.fs.FailFrom(0, nil)
}

// start begins a process.
func (m *machine) start() error {
	if m.one(3) {
		m.arm([]int{10, 60}[m.rng.IntN(2)])
	}
	var err error
	m.dir, err = store.Open(m.fs, m.options)
	if errors.Is(err, store.ErrNoState) {
		m.dir, err = store.Create(m.fs, m.genesis, m.options)
	}
	if err != nil {
		return err
	}
	shards := 1
	if !m.calm {
		shards = []int{1, 1, 2, 3, 5}[m.rng.IntN(5)]
	}
	st, err := Restore(m.dir, shards, true, nil)
	if err != nil {
		return err
	}
	if n := len(m.seen); n > 0 && st.Shards.Seq() < m.seen[n-1].seq {
		return fmt.Errorf("restored to %d, but an answer was given at %d", st.Shards.Seq(),
			m.seen[n-1].seq)
	}
	if len(st.Notices) > 0 {
		return fmt.Errorf("restore says %q", st.Notices)
	}
	for i, s := range m.sinks {
		if err := m.knowsAttempts(fmt.Sprintf("sink%d", i), s); err != nil {
			return err
		}
	}
	r, err := NewRun(m.runOptions(st))
	if err != nil {
		return err
	}
	m.parcels = nil
	for _, f := range r.feeds {
		out := make(chan parcel, 1000)
		f.out = out
		m.parcels = append(m.parcels, out)
	}
	r.beside = func(f func()) { m.save = f }
	if err := r.begin(); err != nil {
		return err
	}
	m.note("started at %d with %d shards, checkpoint %d", st.Shards.Seq(), shards, st.Checkpoint)
	m.r = r
	return m.setUp()
}

// runOptions draws what may differ from run to run and must not show.
func (m *machine) runOptions(st *State) Options {
	const day = 24 * time.Hour
	every := []time.Duration{4 * day, 15 * day, 40 * day, 1000 * day}
	o := Options{
		State: st, Settings: m.w.c.World.Settings, Clock: m.clock, CloseAt: engine.Past,
		CheckpointEvery: every[m.rng.IntN(len(every))],
		BatchRows:       []int{1, 3, 7, 0}[m.rng.IntN(4)],
		KeepJournal:     m.rng.IntN(4) == 0,
		UntilEOF:        m.w.mode == simFinite && m.up,
		Say:             func(s string) { m.note("says: %s", s) },
		Refused:         m.refuse,
		ClockOK:         m.calm || m.ending || m.rng.IntN(2) == 0,
	}
	if m.w.mode == simFinite && m.up {
		o.CloseAt = m.w.end
	}
	for i := range m.w.sources {
		e := m.w.sources[i]
		o.Sources = append(o.Sources, SourceOptions{
			Entry: e, Format: 1, Open: func(positions map[string]int64) (Source, error) {
				return m.w.open(e.Name, m.clock, m.rng, positions)
			},
		})
	}
	for i, s := range m.sinks {
		o.Sinks = append(o.Sinks, SinkOptions{Name: fmt.Sprintf("sink%d", i), Sink: s})
	}
	return o
}

// setUp gives the catalog, a control file after the other.
func (m *machine) setUp() error {
	if m.up {
		return nil
	}
	for _, payload := range m.w.controls {
		for !m.r.st.Shards.Pin().Applied(sha256.Sum256(payload)) {
			name, _, err := m.dir.PutControl(payload)
			if err != nil {
				return err
			}
			m.clock.pass(engine.Second)
			if err := m.r.readControls(m.clock.wall); err != nil {
				return err
			}
			if why, ok := m.r.Refused(name); ok {
				return fmt.Errorf("control file: %s", why)
			}
		}
	}
	m.up = true
	if m.w.mode != simFinite {
		return nil
	}
	err := m.stop() // files are read long after, also if it ends in a crash
	m.clock.pass(m.w.end + engine.OneDay - m.clock.wall)
	return err
}

// stop ends the process in good order.
func (m *machine) stop() error {
	r := m.r
	if m.save != nil {
		m.save()
		m.save = nil
	}
	r.beside = func(f func()) { f() }
	if err := r.finish(); err != nil {
		return err
	}
	for _, c := range r.couriers {
		c.stop()
		if err := c.close(); err != nil {
			return err
		}
	}
	if err := errors.Join(r.st.Outbox.Close(), m.dir.Close()); err != nil {
		return err
	}
	m.r = nil
	m.note("stopped")
	return nil
}

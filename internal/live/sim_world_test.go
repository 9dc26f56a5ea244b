package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
)

// The world of a simulation: what sources hold and when it can be read, the clock, and sinks that
// fail. None of it is lost in a crash of the process.

// simMode is what the usage of a world is like.
type simMode int

const (
	simTimely simMode = iota // in order within the disorder bounds and free of conflicts
	simWild                  // anything, and the clock jumps
	simFinite                // as simTimely, but in complete files, in any order
	simModes
)

// simWorld is what a seed says of everything outside the process.
type simWorld struct {
	mode     simMode
	c        *fixtures.Case
	controls [][]byte // control files, in the order in which they must be journaled
	sources  []engine.Source
	parts    map[string][]simLine // by source and partition
	end      engine.Micros        // of the simulation
	lines    int
	corrects bool // corrections are put while it runs
}

// simLine is a line of a partition.
type simLine struct {
	event *fixtures.Event
	from  engine.Micros // when it can be read
	text  []byte
	at    int64 // offset
}

func newSimWorld(seed uint64) (*simWorld, error) {
	r := rand.New(rand.NewPCG(seed, 0x517))
	w := &simWorld{c: simCase(seed), parts: map[string][]simLine{}}
	w.mode = simMode(r.IntN(int(simModes)))
	w.corrects = corrects(r, w.c)
	if err := w.controlFiles(); err != nil {
		return nil, err
	}
	for i := range 1 + r.IntN(3) {
		disorder := []engine.Micros{0, engine.Minute, engine.Hour, engine.OneDay}[r.IntN(4)]
		w.sources = append(w.sources, engine.Source{
			Name: fmt.Sprintf("s%d", i), Disorder: disorder, Dedupe: true,
		})
	}
	var lines []simLine
	known := map[string]string{} // by source and id
	last := w.c.Start + 60*engine.OneDay
	for _, item := range w.c.Items {
		e, ok := item.Body.(*fixtures.Event)
		if !ok {
			continue
		}
		if e.Subject == "" {
			e.Subject = "nobody" // as a line it is malformed
		}
		l := simLine{event: e, from: item.At, text: append(e.Line(), '\n')}
		if id := e.Source + "\n" + e.ID; w.mode != simWild && !e.Malformed {
			if e.Defaulted || e.Time < w.c.Start+engine.OneDay ||
				known[id] != "" && known[id] != string(l.text) {
				continue
			}
			known[id] = string(l.text)
			l.from = e.Time
		}
		last = max(last, l.from)
		lines = append(lines, l)
	}
	set := w.c.World.Settings
	w.end = last + set.Grace + set.Reopen + 70*engine.OneDay
	w.deal(r, lines)
	return w, nil
}

// deal gives every line its place in a source.
func (w *simWorld) deal(r *rand.Rand, lines []simLine) {
	w.lines = len(lines)
	source := make([]int, len(lines))
	for i := range lines {
		source[i] = r.IntN(len(w.sources))
		if d := w.sources[source[i]].Disorder; w.mode == simTimely && d > 0 {
			lines[i].from += engine.Micros(r.Int64N(int64(d) + 1))
		}
	}
	order := r.Perm(len(lines))
	if w.mode != simFinite {
		slices.SortFunc(order, func(a, b int) int {
			return int(min(max(lines[a].from-lines[b].from, -1), 1))
		})
	}
	// A source that lags promises by its greatest event time, which holds for one partition only.
	split := r.IntN(3) == 0 && w.mode != simTimely
	for _, i := range order {
		name := w.sources[source[i]].Name + "/0"
		if split && r.IntN(2) == 0 {
			name = w.sources[source[i]].Name + "/1"
		}
		l := lines[i]
		if old := w.parts[name]; len(old) > 0 {
			l.at = old[len(old)-1].at + int64(len(old[len(old)-1].text))
		}
		if w.mode == simFinite {
			l.from = engine.Past
		}
		w.parts[name] = append(w.parts[name], l)
	}
}

// controlFiles makes control files of what stands before the first row of the case.
func (w *simWorld) controlFiles() error {
	entries, err := lawEntries(w.c, func(rows int) int { return rows })
	if err != nil {
		return err
	}
	var bodies []engine.Body
	for _, e := range entries {
		switch e.Body.(type) {
		case *engine.Zone:
			bodies = append(bodies, e.Body)
		case *engine.Change:
			budget(e.Body.(*engine.Change))
			w.controls = append(w.controls, EncodeControl(append(bodies, e.Body)...))
			bodies = nil
		}
	}
	return nil
}

// budget gives a change budgets that little usage reaches, of what it brings.
func budget(c *engine.Change) {
	at := []decimal.Decimal{decimal.FromInt(1), decimal.FromInt(50), decimal.FromInt(1000)}
	for i := range c.Meters {
		c.Budgets = append(c.Budgets, engine.Budget{
			Key: "meter " + c.Meters[i].Key, Meter: c.Meters[i].Key, Limit: decimal.FromInt(2), At: at,
		})
	}
	for i := range c.Plans {
		p := &c.Plans[i]
		key := "plan " + p.Key
		if !slices.ContainsFunc(c.Budgets, func(b engine.Budget) bool { return b.Key == key }) {
			c.Budgets = append(c.Budgets, engine.Budget{
				Key: key, Plan: p.Key, Currency: p.Currency, Limit: decimal.FromInt(5), At: at,
			})
		}
	}
}

// line returns the line that begins at an offset.
func (w *simWorld) line(part string, at int64) *simLine {
	lines := w.parts[part]
	i := slices.IndexFunc(lines, func(l simLine) bool { return l.at == at })
	if i < 0 {
		return nil
	}
	return &lines[i]
}

// simClock is a Clock that moves when it is told to.
type simClock struct {
	wall    engine.Micros
	running time.Duration
}

func (c *simClock) Now() (time.Time, time.Duration) {
	return time.UnixMicro(int64(c.wall)), c.running
}

// pass lets time pass.
func (c *simClock) pass(d engine.Micros) {
	c.wall += d
	c.running += time.Duration(d) * time.Microsecond
}

// simSource hands out the lines of one source that can be read by now.
type simSource struct {
	w     *simWorld
	clock Clock
	r     *rand.Rand
	names []string // of partitions, sorted
	next  map[string]int
	most  int // lines in a chunk
}

func (w *simWorld) open(
	source string, clock Clock, r *rand.Rand, positions map[string]int64,
) (*simSource, error) {
	s := &simSource{w: w, clock: clock, next: map[string]int{}, most: 1 + r.IntN(12)}
	s.r = rand.New(rand.NewPCG(r.Uint64(), 0))
	for _, name := range slices.Sorted(maps.Keys(w.parts)) {
		if name[:len(name)-2] != source {
			continue
		}
		s.names = append(s.names, name)
		lines, at := w.parts[name], positions[name]
		end := lines[len(lines)-1]
		i := slices.IndexFunc(lines, func(l simLine) bool { return l.at == at })
		if at == end.at+int64(len(end.text)) {
			i = len(lines)
		}
		if i < 0 {
			return nil, fmt.Errorf("partition %s goes on at %d, where no line begins", name, at)
		}
		s.next[name] = i
	}
	for name := range positions {
		if s.w.parts[name] == nil {
			return nil, fmt.Errorf("there is no partition %s", name)
		}
	}
	return s, nil
}

// Next returns some lines of a partition. It never waits.
func (s *simSource) Next(context.Context) (formats.Chunk, Status, error) {
	wall, _ := s.clock.Now()
	st := Status{At: wall}
	now := engine.Micros(wall.UnixMicro())
	ready := s.ready(now)
	var c formats.Chunk
	if len(ready) == 0 {
		st.CaughtUp = true
		st.EOF = s.w.mode == simFinite
		return c, st, nil
	}
	name := ready[s.r.IntN(len(ready))]
	lines := s.w.parts[name]
	c.Partition, c.Offset = name, lines[s.next[name]].at
	for n := 1 + s.r.IntN(s.most); n > 0; n-- {
		i := s.next[name]
		if i == len(lines) || lines[i].from > now {
			break
		}
		c.Data = append(c.Data, lines[i].text...)
		s.next[name]++
	}
	st.CaughtUp = s.w.mode != simFinite && len(s.ready(now)) == 0
	if !st.CaughtUp {
		st = Status{} // as a source that has more to say
	}
	return c, st, nil
}

// ready returns the partitions that have a line that can be read by now.
func (s *simSource) ready(now engine.Micros) []string {
	var list []string
	for _, name := range s.names {
		if n := s.next[name]; n < len(s.w.parts[name]) && s.w.parts[name][n].from <= now {
			list = append(list, name)
		}
	}
	return list
}

// ended reports whether nothing is left to read.
func (s *simSource) ended() bool {
	return !slices.ContainsFunc(s.names, func(n string) bool { return s.next[n] < len(s.w.parts[n]) })
}

func (s *simSource) Recycle(c formats.Chunk) {
	for i := range c.Data { // whoever still looks at it will see
		c.Data[i] = '#'
	}
}

// simSink takes documents over as it likes and remembers everything.
type simSink struct {
	r        *rand.Rand
	calm     bool
	bodies   map[string][]byte   // of every attempt, by key
	has      map[string]bool     // what it took over
	order    map[string][]string // keys by account, as they were taken over
	parking  []string            // said to be permanent since the courier's last whole step
	parked   map[string]bool     // and so until a person says otherwise
	open     map[string]bool     // sent, and the newest answer was an error
	attempts int
	faults   []string
}

func newSimSink(seed uint64, calm bool) *simSink {
	return &simSink{
		r: rand.New(rand.NewPCG(seed, 0x51c)), calm: calm, bodies: map[string][]byte{},
		has: map[string]bool{}, order: map[string][]string{}, parked: map[string]bool{},
		open: map[string]bool{},
	}
}

var errSimSink = errors.New("the sink is down")

func (s *simSink) Deliver(_ context.Context, d Delivery) error {
	s.attempts++
	if old, ok := s.bodies[d.Key]; ok && !bytes.Equal(old, d.Body) {
		s.faults = append(s.faults, fmt.Sprintf("%s came with other bytes", d.Key))
	}
	if s.parked[d.Key] {
		s.faults = append(s.faults, fmt.Sprintf("%s is parked and came again", d.Key))
	}
	s.bodies[d.Key] = bytes.Clone(d.Body)
	s.open[d.Key] = true
	luck := s.r.IntN(10)
	if s.calm {
		luck = 9
	}
	switch luck {
	case 0, 1:
		return errSimSink
	case 2:
		s.parking = append(s.parking, d.Key)
		return fmt.Errorf("refuse %s: %w", d.Key, ErrPermanent)
	}
	if !s.has[d.Key] {
		s.has[d.Key] = true
		s.order[d.Account] = append(s.order[d.Account], d.Key)
	}
	if luck <= 4 {
		return errSimSink // and its answer is lost
	}
	delete(s.open, d.Key)
	return nil
}

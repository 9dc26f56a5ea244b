package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// Options of a Run. State is needed; a Run without sources and sinks only sequences control files.
type Options struct {
	State    *State
	Settings engine.Settings
	Sources  []SourceOptions
	Sinks    []SinkOptions
	UntilEOF bool          // end when every source was read to its end
	CloseAt  engine.Micros // close periods that end at or before it, once caught up; Past: none
	Actor    string        // of the Close entry
	ClockOK  bool          // a person says that the clock is right

	CheckpointEvery time.Duration // 0: 10 s
	CheckpointBytes int64         // of journal; 0: 64 MiB
	BatchRows       int           // 0: engine.MaxRows
	KeepJournal     bool          // segments stay although the archive holds them

	// Refused is told why a control file was refused, in the loop's goroutine; nil: nobody.
	Refused func(name, why string)
	// Judged is told which corrections of a control file were rejected, likewise.
	Judged func(name string, rejected []Judged)

	Clock Clock        // nil: SystemClock
	Say   func(string) // what people must hear, a sentence each; nil: nobody
}

// SourceOptions are one configured source, open for reading.
type SourceOptions struct {
	Entry  engine.Source // as it is journaled
	Format formats.Format
	Map    *formats.Mapping // nil: CloudEvents
	Stream bool             // it has an end but no present: standard input
	Open   func(positions map[string]int64) (Source, error)
}

// Run is the running process: it sequences what the sources give, journals it, applies it, and
// hands documents to the sinks. One goroutine owns journal, outbox and shards.
type Run struct {
	opts      Options
	st        *State
	journal   *store.Journal
	watch     *watch
	progress  progress
	parcels   chan parcel
	feeds     []*feed
	views     chan chan *engine.View
	settles   chan chan struct{}
	wanted    atomic.Bool             // somebody asked for a picture since the last one was taken
	picture   atomic.Pointer[picture] // taken behind a commit, for those whom the loop keeps waiting
	stopped   chan struct{}           // closed when the loop has ended
	fed       chan struct{}           // closed when every feed has ended
	stopFeeds context.CancelFunc      // ends reading; what was read still comes
	couriers  []*courier
	archivist *archivist

	next    engine.Seq
	at      engine.Micros // of the last entry
	chain   engine.Digest // of the last seal
	payload []byte
	frozen  bool

	rows     int // since the last watermark
	markedAt time.Duration
	marked   int64      // journal bytes at the last mark
	sealed   engine.Seq // last sequence number when the last seal was written
	saving   bool
	saved    chan saved
	beside   func(func())  // begins the writing of a checkpoint, which the loop does not wait for
	watered  time.Duration // when the last watermark was written
	closed   bool          // CloseAt was done
	quiet    bool          // nothing was appended since the last tick
	highAt   time.Duration
	month    engine.Micros // end of the month of the newest opening; Past before the first
	looked   time.Duration // when control files were looked for last

	controls controls

	mu      sync.Mutex
	metrics Metrics
	refused map[string]string // control files, and why they were refused
}

// Metrics are counts of this process since it started.
type Metrics struct {
	Started    time.Time
	Rows       uint64 // journaled
	Entries    uint64
	Batches    uint64
	Documents  uint64
	Alerts     uint64
	Bytes      int64 // journaled
	Checkpoint engine.Seq
	SavedAt    time.Time     // of the checkpoint
	Billing    engine.Digest // of the checkpoint's seal
	Journal    engine.Digest // of the checkpoint's seal
	Sources    []SourceStatus
	Notices    []string // the newest last, at most 20
	Archive    ArchiveStatus
}

// SourceStatus is how far one source was read.
type SourceStatus struct {
	Name            string
	CaughtUp, EOF   bool
	LagBytes        int64
	LagTime         time.Duration // -1: not known yet
	CompleteThrough engine.Micros
}

// NewRun returns a run of a state that is open for writing.
func NewRun(opts Options) (*Run, error) {
	if opts.Clock == nil {
		opts.Clock = SystemClock()
	}
	if opts.Say == nil {
		opts.Say = func(string) {}
	}
	if opts.CheckpointEvery == 0 {
		opts.CheckpointEvery = 10 * time.Second
	}
	if opts.CheckpointBytes == 0 {
		opts.CheckpointBytes = 64 << 20
	}
	standing := opts.State.Shards.Pin().Standing()
	r := &Run{
		opts: opts, st: opts.State, journal: opts.State.Dir.Journal(),
		watch: newWatch(opts.Clock), parcels: make(chan parcel, 4),
		views: make(chan chan *engine.View), settles: make(chan chan struct{}),
		stopped: make(chan struct{}), fed: make(chan struct{}),
		saved: make(chan saved, 1), beside: func(f func()) { go f() }, refused: map[string]string{},
		next: standing.Seq + 1, at: standing.At, chain: standing.LastSeal, frozen: standing.Frozen,
		sealed: standing.Seq,
	}
	r.archivist = &archivist{
		dir: opts.State.Dir, keep: opts.KeepJournal, wake: make(chan struct{}, 1), say: r.say,
		note: r.noteArchive,
	}
	r.metrics.Started, _ = opts.Clock.Now()
	if standing.Seq > r.st.Checkpoint+1 {
		r.sealed = 0 // the journal goes on behind the last checkpoint and its seal
	}
	if err := r.findMonth(); err != nil {
		return nil, err
	}
	if err := r.openSources(); err != nil {
		return nil, err
	}
	return r, r.openSinks()
}

func (r *Run) openSources() error {
	positions := map[string]map[string]int64{}
	for _, p := range r.st.Shards.Pin().Positions() {
		if positions[p.Source] == nil {
			positions[p.Source] = map[string]int64{}
		}
		positions[p.Source][p.Partition] = p.Resume
	}
	greatest := map[string]engine.Micros{}
	for _, c := range r.st.Shards.Pin().Controls() {
		greatest[c.Source.Name] = c.Greatest
	}
	wall, _ := r.opts.Clock.Now()
	r.progress = progress{finite: r.opts.UntilEOF, greatest: engine.Past}
	for i := range r.opts.Sources {
		o := &r.opts.Sources[i]
		d, err := formats.NewDecoder(o.Format, o.Entry.Name, o.Map)
		if err != nil {
			return err
		}
		src, err := o.Open(positions[o.Entry.Name])
		if err != nil {
			return fmt.Errorf("open source %s: %w", o.Entry.Name, err)
		}
		limits := formats.Limits{Rows: r.opts.BatchRows}
		r.feeds = append(r.feeds, &feed{
			index: i, source: src, decoder: d, out: r.parcels,
			builder: formats.NewBuilder(o.Entry.Name, limits), used: make(chan *engine.Batch, 4),
		})
		s := sourceProgress{
			name: o.Entry.Name, disorder: o.Entry.Disorder, idle: o.Entry.Idle,
			greatest: engine.Past, through: engine.Past, last: engine.Micros(wall.UnixMicro()),
			stream: o.Stream,
		}
		if g, known := greatest[s.name]; known {
			s.greatest = g
		}
		r.progress.greatest = max(r.progress.greatest, s.greatest)
		r.progress.sources = append(r.progress.sources, s)
	}
	return nil
}

// Do runs until ctx ends, until everything was read (UntilEOF), or until something fails. Ended by
// ctx or by the end of its sources it has written a checkpoint and its seal. Any other error means
// that the process stopped where it was: the next start recovers.
func (r *Run) Do(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	reading, stop := context.WithCancel(work)
	r.stopFeeds = stop
	var wg, feeding sync.WaitGroup
	for _, f := range r.feeds {
		feeding.Go(func() { f.run(reading, work) })
	}
	wg.Go(func() { feeding.Wait(); close(r.fed) })
	for _, c := range r.couriers {
		wg.Go(func() { c.run(work) })
	}
	archiving, stopArchive := context.WithCancel(work)
	archived := make(chan struct{})
	go func() { r.archivist.run(archiving); close(archived) }()
	err := r.loop(ctx)
	if err == nil {
		err = r.finish()
	}
	close(r.stopped)
	if err != nil && r.saving {
		<-r.saved // it writes to the directory, whose lock we are about to give back
	}
	if err == nil && ctx.Err() == nil {
		r.awaitCouriers(ctx)
	}
	stopArchive()
	<-archived
	if err == nil && ctx.Err() == nil {
		r.endArchive(ctx)
	}
	cancel()
	wg.Wait()
	for _, c := range r.couriers {
		err = errors.Join(err, c.close())
	}
	return err
}

// tick is how often the loop looks at clocks and control files while nothing comes.
const tick = 50 * time.Millisecond

func (r *Run) loop(ctx context.Context) error {
	if err := r.begin(); err != nil {
		return err
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return r.drain()
		case p := <-r.parcels:
			err = r.receive(p)
		case s := <-r.saved:
			err = r.seal(s)
		case reply := <-r.views:
			r.wanted.Store(true)
			if err = r.show(); err == nil {
				reply <- r.picture.Load().view
			}
		case reply := <-r.settles:
			if err = r.st.Outbox.Sync(); err == nil {
				close(reply)
			}
		case <-ticker.C:
			err = r.onTick()
		}
		if err == nil {
			err = r.advance()
		}
		if err != nil || r.done() {
			return err
		}
	}
}

// drain stops the sources and takes in what they have read.
func (r *Run) drain() error {
	r.stopFeeds()
	for {
		select {
		case p := <-r.parcels:
			if err := r.receive(p); err != nil {
				return err
			}
			continue
		case <-r.fed:
		}
		break
	}
	for {
		select {
		case p := <-r.parcels:
			if err := r.receive(p); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	for i := range r.progress.sources {
		if s := &r.progress.sources[i]; s.stream && !s.eof {
			r.say(fmt.Sprintf("source %s was not read to its end: lines that were on their way are "+
				"lost here; send them again, ids tell what has counted", s.name))
		}
	}
	return nil
}

// begin journals the settings and sources where they changed, and judges the clock.
func (r *Run) begin() error {
	if err := r.resumeControls(); err != nil {
		return err
	}
	now, _ := r.watch.now()
	v := r.st.Shards.Pin()
	reads := len(r.opts.Sources) > 0
	if fault := startFault(r.at, now); reads && fault != "" && !r.opts.ClockOK {
		if err := r.freeze(fault); err != nil {
			return err
		}
	}
	if r.frozen && r.opts.ClockOK {
		free := &engine.Clock{Reason: "a person says that the clock is right"}
		if err := r.commit(now, free); err != nil {
			return err
		}
		r.frozen = false
	}
	if r.frozen {
		r.opts.Say("the clock is frozen: no period closes until a run with --clock-ok")
	}
	var bodies []engine.Body
	if r.next == 1 {
		g := r.st.Dir.Genesis().Genesis
		bodies = append(bodies, &g, &engine.Rules{Ruleset: engine.Ruleset})
	} else if v.Standing().Ruleset < engine.Ruleset {
		bodies = append(bodies, &engine.Rules{Ruleset: engine.Ruleset})
		r.say(fmt.Sprintf("the billing rules of this program hold from now on: ruleset %d",
			engine.Ruleset))
	}
	if old := v.Settings(); r.next == 1 || reads && old != r.opts.Settings {
		bodies = append(bodies, &r.opts.Settings)
		if r.next > 1 {
			r.say("the settings of the configuration are not those of the journal: they hold from now on")
		}
	}
	bodies = append(bodies, r.newSources(v)...)
	if err := r.commit(now, bodies...); err != nil {
		return err
	}
	return r.readControls(now)
}

// newSources returns the sources that the journal does not have as the configuration says, and
// warns of one that may only have another name: its files would be read again from their start.
func (r *Run) newSources(v *engine.View) []engine.Body {
	known := map[string]engine.Source{}
	gone := map[string]bool{}
	for _, c := range v.Controls() {
		known[c.Source.Name] = c.Source
		gone[c.Source.Name] = c.Read > 0 && c.Source.Name != engine.Corrections
	}
	var bodies []engine.Body
	var fresh []string
	for i := range r.opts.Sources {
		e := &r.opts.Sources[i].Entry
		delete(gone, e.Name)
		if old, ok := known[e.Name]; !ok {
			fresh = append(fresh, e.Name)
			bodies = append(bodies, e)
		} else if old != *e {
			bodies = append(bodies, e)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		if gone[name] && len(fresh) > 0 {
			r.say(fmt.Sprintf("source %s of the journal is not configured any more, and %s is new: if "+
				"it is the same log under another name, it is read again from its start, and rows "+
				"count again unless their source attribute is the same", name, strings.Join(fresh, ", ")))
		}
	}
	return bodies
}

// freeze stops watermark and closes until a person has looked at the clock.
func (r *Run) freeze(fault string) error {
	if r.frozen {
		return nil
	}
	r.opts.Say(fault + ": no period closes until a run with --clock-ok")
	r.frozen = true
	return r.commit(r.at, &engine.Clock{Frozen: true, Reason: fault})
}

// groupRows bounds a group commit: what is applied together holds up everything else.
const groupRows = 8192

// receive journals and applies a parcel, and those that wait behind it, in one group commit.
func (r *Run) receive(first parcel) error {
	group := []parcel{first}
	rows := first.rows()
	for len(group) < cap(r.parcels) && rows < groupRows {
		select {
		case p := <-r.parcels:
			group = append(group, p)
			rows += p.rows()
			continue
		default:
		}
		break
	}
	now, err := r.now()
	if err != nil {
		return err
	}
	var bodies []engine.Body
	for i := range group {
		if group[i].batch != nil {
			bodies = append(bodies, group[i].batch)
		}
	}
	if err := r.commit(now, bodies...); err != nil {
		return err
	}
	for i := range group {
		if err := r.note(&group[i]); err != nil {
			return err
		}
	}
	return nil
}

// note takes in what a parcel said beside its rows.
func (r *Run) note(p *parcel) error {
	name := r.progress.sources[p.source].name
	if p.err != nil {
		return fmt.Errorf("read source %s: %w", name, p.err)
	}
	if p.batch != nil {
		r.progress.rows(p.source, p.batch, r.at)
		r.rows += p.batch.Len
		select {
		case r.feeds[p.source].used <- p.batch:
		default:
		}
	}
	r.progress.status(p.source, p.status)
	for _, n := range p.status.Notices {
		r.say(fmt.Sprintf("source %s: %s", name, n.Text))
	}
	return nil
}

func (r *Run) say(text string) {
	r.opts.Say(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.Notices = append(r.metrics.Notices, text)
	if n := len(r.metrics.Notices); n > 20 {
		r.metrics.Notices = r.metrics.Notices[n-20:]
	}
}

// now returns the time of day for the next entry, and freezes where the clock jumped.
func (r *Run) now() (engine.Micros, error) {
	now, fault := r.watch.now()
	if fault != "" {
		if err := r.freeze(fault); err != nil {
			return 0, err
		}
	}
	return now, nil
}

// commit gives the bodies their place in the journal, makes them durable together, and applies
// them. Only what is durable is applied, so no answer is ever taken back.
func (r *Run) commit(now engine.Micros, bodies ...engine.Body) error {
	if len(bodies) == 0 {
		return nil
	}
	r.at = max(r.at, now)
	entries := make([]*engine.Entry, len(bodies))
	for i, b := range bodies {
		e := &engine.Entry{Seq: r.next, At: r.at, Body: b}
		if batch, ok := b.(*engine.Batch); ok {
			arrive(batch, r.at)
		}
		r.payload = engine.AppendEntry(r.payload[:0], e)
		if err := r.journal.Append(e.Seq, e.Seqs(), r.payload); err != nil {
			return err
		}
		r.next += e.Seqs()
		entries[i] = e
	}
	if err := r.journal.Sync(); err != nil {
		return err
	}
	r.quiet = false
	var all given
	for _, e := range entries {
		n, err := r.apply(e)
		if err != nil {
			return err
		}
		all.add(n)
	}
	r.count(entries, all)
	if err := r.show(); err != nil || all == (given{}) {
		return err
	}
	if err := r.st.Outbox.Sync(); err != nil {
		return err
	}
	for _, c := range r.couriers {
		c.wake()
	}
	return nil
}

// arrive fills the times of rows that carry none.
func arrive(b *engine.Batch, at engine.Micros) {
	if len(b.TimeDefaulted) == 0 {
		return
	}
	for row := range b.Time {
		if b.TimeDefaulted.Has(row) {
			b.Time[row] = at
		}
	}
}

func (r *Run) apply(e *engine.Entry) (all given, err error) {
	_, void := e.Body.(*engine.Void)
	err = r.st.Shards.Apply(e, func(fx *engine.Effects) error {
		if void {
			r.controls.voids = append(r.controls.voids, fx.Rejections...)
		}
		n, err := putEffects(r.st.Outbox, e.Seq, fx)
		all.add(n)
		for _, f := range fx.Refusals {
			r.say(fmt.Sprintf("entry %d: %s", f.Seq, f.What))
		}
		return err
	})
	return all, err
}

func (r *Run) count(entries []*engine.Entry, all given) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range entries {
		if b, ok := e.Body.(*engine.Batch); ok {
			r.metrics.Rows += uint64(b.Len)
			r.metrics.Batches++
		}
	}
	r.metrics.Entries += uint64(len(entries))
	r.metrics.Documents += uint64(all.documents)
	r.metrics.Alerts += uint64(all.alerts)
	r.metrics.Bytes = r.journal.Bytes()
}

// ErrStopped says that the run has ended.
var ErrStopped = errors.New("the run has ended")

// Metrics returns the counts of this process.
func (r *Run) Metrics() Metrics {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.metrics
	m.Sources = append([]SourceStatus(nil), m.Sources...)
	m.Notices = append([]string(nil), m.Notices...)
	return m
}

// Refused returns why a control file was refused.
func (r *Run) Refused(name string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	why, ok := r.refused[name]
	return why, ok
}

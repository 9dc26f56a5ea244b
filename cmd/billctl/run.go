package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/internal/api"
	"billctl/internal/live"
	"billctl/internal/sink"
	"billctl/internal/store"
)

// runFlags are the flags of run.
type runFlags struct {
	untilEOF, clockOK, strict bool
	closeAt                   string
	shards, batchRows         int
}

// maxShards bounds the shards of an engine.
const maxShards = 256

func newRun(s *session) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Read the sources, keep the subtotals, issue and deliver invoices",
		Long: `Reads the configured sources, journals every row, keeps the subtotals of every account,
closes periods and hands their invoices to the sinks. It follows the sources until it is told to
stop (SIGINT or SIGTERM: it drains, writes a checkpoint and exits with 130), or with --until-eof
reads what is there and ends.

With --until-eof event times are complete through the latest event less the disorder bound, so the
last period stays open; --close-at closes it.`,
		Example: `  billctl run
  billctl run --until-eof --close-at 2026-10-01`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return s.run(&f) },
	}
	c.Flags().BoolVar(&f.untilEOF, "until-eof", false, "end when every source was read to its end")
	c.Flags().StringVar(&f.closeAt, "close-at", "",
		"close the periods that end at or before this `time` (2026-10-01, or RFC 3339), without grace")
	c.Flags().BoolVar(&f.clockOK, "clock-ok", false,
		"say that the clock is right after it jumped: watermark and closes go on")
	c.Flags().BoolVar(&f.strict, "strict", false, "exit with 3 if rows were rejected")
	c.Flags().IntVar(&f.shards, "shards", 0,
		"shards of the engine (default: the configuration's, or 1)")
	c.Flags().IntVar(&f.batchRows, "batch-rows", 0, "rows of a batch at most (default 65536)")
	return c
}

func (s *session) run(f *runFlags) error {
	if err := s.load(); err != nil {
		return err
	}
	closeAt, err := parseInstant("--close-at", f.closeAt)
	if err != nil {
		return err
	}
	if f.batchRows < 0 || f.batchRows > engine.MaxRows {
		return usageError(fmt.Sprintf("--batch-rows %d is not from 1 to %d", f.batchRows,
			engine.MaxRows))
	}
	if f.shards < 0 || f.shards > maxShards {
		return usageError(fmt.Sprintf("--shards %d is not from 1 to %d", f.shards, maxShards))
	}
	if len(s.config.Sources) == 0 {
		return &exitError{
			code: exitUsage, text: "the configuration names no sources",
			hint: "begin with: billctl init",
		}
	}
	if closeAt > engine.Micros(time.Now().UnixMicro()) {
		return usageError("--close-at " + f.closeAt + " is still to come: only what is over can close")
	}
	s.noteEmpty()
	return s.withRun(f, false, func(o *live.Options) error {
		if err := noPlan(o.State); err != nil {
			return err
		}
		o.CloseAt, o.UntilEOF, o.ClockOK = closeAt, f.untilEOF, f.clockOK
		o.BatchRows = f.batchRows
		s.addSources(o, f.untilEOF)
		return s.addSinks(o)
	})
}

// noPlan refuses to read into a journal that can accept nothing: rows are judged once.
func noPlan(st *live.State) error {
	waiting, err := st.Dir.Controls()
	if err != nil || len(waiting) > 0 || st.Shards.Pin().Plans() > 0 {
		return err
	}
	return &exitError{
		code: exitUsage, text: "the journal has no plan, so every row would be rejected",
		hint: "apply the catalog first: billctl catalog apply",
	}
}

// noteEmpty says which patterns match no file: that may be right, or a slip of the pen.
func (s *session) noteEmpty() {
	for i := range s.config.Sources {
		c := &s.config.Sources[i]
		if c.Stdin {
			continue
		}
		if files, err := filepath.Glob(s.path(c.Tail)); err == nil && len(files) == 0 {
			s.say("note: source %s: no file matches %s", c.Name, s.path(c.Tail))
		}
	}
}

// withRun opens the state, restores it, and does a run with the options that add sets.
func (s *session) withRun(
	f *runFlags, create bool, add func(*live.Options) error,
) (err error) {
	dir, err := s.openState(create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	shards := f.shards
	if shards == 0 {
		shards = max(s.config.Shards, 1)
	}
	bar := newProgress(s)
	st, err := live.Restore(dir, shards, true, bar.restoring)
	bar.clear()
	if err != nil {
		return s.inState(err)
	}
	defer func() { err = errors.Join(err, st.Outbox.Close()) }()
	for _, n := range st.Notices {
		s.say("note: %s", n)
	}
	o := live.Options{
		State: st, Settings: s.config.Settings, CloseAt: engine.Past, Actor: actor(),
		CheckpointEvery: s.config.Checkpoint.Every, CheckpointBytes: s.config.Checkpoint.Bytes,
		KeepJournal: s.config.KeepJournal,
		Say:         func(text string) { bar.clear(); s.say("%s", text) },
	}
	if err := add(&o); err != nil {
		return err
	}
	r, err := live.NewRun(o)
	if err != nil {
		return err
	}
	return s.do(r, &o, st, f, bar)
}

// do runs beside the socket and the progress line, then says what came of it.
func (s *session) do(
	r *live.Run, o *live.Options, st *live.State, f *runFlags, bar *progress,
) error {
	beside, stop := context.WithCancel(context.WithoutCancel(s.ctx))
	var wg sync.WaitGroup
	if len(o.Sources) > 0 {
		defer spareThreads()()
		wg.Go(func() {
			if err := api.Serve(beside, s.socket(), api.Handler(r.Desk(), nil)); err != nil {
				o.Say("queries will read the directory: " + err.Error())
			}
		})
		wg.Go(func() { bar.running(beside, r) })
	}
	err := r.Do(s.ctx)
	stop()
	wg.Wait()
	bar.clear()
	if store.DiskFull(err) || store.DiskFault(err) || errors.Is(err, store.ErrCorrupt) {
		err = s.inState(err) // its paths are relative to the directory
	}
	if err != nil {
		return err
	}
	return s.conclude(r, o, st, f)
}

// spareThreads lets two more goroutines run than there are processors, unless GOMAXPROCS says how
// many, until the function that it returns is called. A query that arrives while ingest has all
// processors then waits for the system's scheduler, which is fair within a millisecond, and not
// for Go's, which lets a busy goroutine run for ten.
func spareThreads() (restore func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	before := runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	return func() { runtime.GOMAXPROCS(before) }
}

// conclude says what a run has done and chooses its exit code.
func (s *session) conclude(r *live.Run, o *live.Options, st *live.State, f *runFlags) error {
	if len(o.Sources) == 0 {
		return nil
	}
	m := r.Metrics()
	var read, rejected uint64
	var reasons []string
	first := ""
	for _, c := range st.Shards.Pin().Controls() {
		read += c.Read
		for reason, n := range c.Counts {
			if reason != int(engine.Accepted) && n > 0 {
				rejected += n
				first = cmp.Or(first, engine.Reason(reason).String())
				reasons = append(reasons, fmt.Sprintf("%s %s %s", grouped(n),
					engine.Reason(reason), "("+c.Source.Name+")"))
			}
		}
	}
	s.say("read %s, %s in all: %s accepted, %s rejected", counted(m.Rows, "row"), grouped(read),
		grouped(read-rejected), grouped(rejected))
	if len(reasons) > 0 {
		s.say("rejected: %s", strings.Join(reasons, ", "))
	}
	if m.Documents > 0 {
		s.say("issued %s", counted(m.Documents, "invoice"))
	}
	if m.Alerts > 0 {
		s.say("gave %s", counted(m.Alerts, "alert"))
	}
	if m.Checkpoint > 0 {
		s.say("checkpoint at %d; billing digest %x", m.Checkpoint, m.Billing)
	}
	switch n := r.Undelivered(); {
	case s.ctx.Err() == nil && o.CloseAt != engine.Past && !r.Closed():
		return &exitError{
			code: exitFailed, text: "nothing was closed: the clock is frozen",
			hint: "look at the clock of this machine; if it is right: billctl run --clock-ok ...",
		}
	case s.ctx.Err() != nil:
		s.say("stopped cleanly: the next run goes on from here")
		return &exitError{code: exitInterrupted}
	case n > 0:
		for _, k := range r.Sinks() {
			if k.Waiting+k.Parked > 0 {
				text := fmt.Sprintf("sink %s: %d waiting, %d parked", k.Name, k.Waiting, k.Parked)
				if k.LastError != "" {
					text += ": " + k.LastError
				}
				s.say("%s", text)
			}
		}
		return &exitError{
			code: exitUndelivered, text: "not delivered: " + counted(uint64(n), "document"),
			hint: "billctl query status names the sinks; what waits is tried again by a later run, " +
				"what is parked needs you",
		}
	case f.strict && rejected > 0:
		return &exitError{
			code: exitRejected, text: "rejected: " + counted(rejected, "row"),
			hint: "list them by reason: billctl query event --outcome " + first,
		}
	}
	return nil
}

func (s *session) addSources(o *live.Options, untilEOF bool) {
	for i := range s.config.Sources {
		c := &s.config.Sources[i]
		src := live.SourceOptions{
			Entry: engine.Source{
				Name: c.Name, Disorder: c.Disorder, Idle: c.Idle, Dedupe: c.Dedupe,
			},
			Format: c.Format, Map: c.Mapping, Stream: c.Stdin,
		}
		if c.Mapping != nil {
			src.Entry.Mapping = c.Mapping.Text()
		}
		src.Open = func(positions map[string]int64) (live.Source, error) {
			if c.Stdin {
				return live.NewStdin(s.stdin), nil
			}
			s.say("source %s: %s", c.Name, reads(untilEOF, s.path(c.Tail)))
			// Patterns of one source are joined by the configuration's directory, so that partitions
			// keep their names when it moves.
			root, glob := s.root, c.Tail
			if filepath.IsAbs(glob) {
				root = "/"
				glob = strings.TrimPrefix(glob, "/")
			}
			return live.NewTail(live.TailOptions{
				Root: root, Globs: []string{glob}, Positions: positions, UntilEOF: untilEOF,
			})
		}
		o.Sources = append(o.Sources, src)
	}
}

// reads says what a run does with a pattern.
func reads(untilEOF bool, pattern string) string {
	if untilEOF {
		return "reading " + pattern
	}
	return "following " + pattern + "; stop with Ctrl-C"
}

func (s *session) addSinks(o *live.Options) error {
	for _, c := range s.config.Sinks {
		d, err := sink.NewDir(s.path(c.Dir))
		if err != nil {
			return &exitError{
				code: exitFailed, text: fmt.Sprintf("open sink %s: %v", c.Name, err),
				hint: "its directory is made if its parent exists, and must be writable; the " +
					"configuration names it", err: err,
			}
		}
		o.Sinks = append(o.Sinks, live.SinkOptions{Name: c.Name, Sink: d, Width: dirWidth})
	}
	return nil
}

// dirWidth is how many documents are written to a directory side by side. Each waits for the disk
// twice; the waits of several become few: a run that issued 3,836 invoices took 6.4 s one by one
// and 4.4 s so, 1.3 s without a sink; on a busy disk 12.8 s and 5.0 s.
const dirWidth = 16

// parseInstant reads a flag: a date is its UTC midnight. "" is engine.Past.
func parseInstant(flag, text string) (engine.Micros, error) {
	if text == "" {
		return engine.Past, nil
	}
	for _, layout := range []string{"2006-01-02", time.RFC3339Nano} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		at := engine.Micros(t.UnixMicro())
		if at < engine.MinTime || at >= engine.MaxTime {
			return 0, usageError(fmt.Sprintf("%s %s is not in 1970 to 2199", flag, text))
		}
		return at, nil
	}
	return 0, usageError(fmt.Sprintf("%s %q is neither a date (2026-10-01) nor an RFC 3339 time",
		flag, text))
}

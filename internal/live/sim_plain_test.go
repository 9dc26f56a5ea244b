package live

import (
	"context"
	"errors"
	"io"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/store"
)

// A small process in a synctest bubble, for tests that look at one thing.

// plainControl returns the control file of accounts that pay 10 EUR a month in advance and 1 EUR a
// call, from the start of 2026.
func plainControl(accounts ...string) []byte {
	plan := engine.Plan{
		Key: "plan", Version: 1, Effective: 0, Currency: "EUR", Digits: 2,
		Interval: engine.Month, Prices: []engine.Price{
			{Key: "base", Model: engine.Flat, Amount: decimal.FromInt(10), Advance: true},
			{Key: "calls", Meter: "calls", Model: engine.Unit, Unit: decimal.FromInt(1)},
		},
	}
	c := &engine.Change{
		Actor: "test", Plans: []engine.Plan{plan},
		Meters: []engine.Meter{{Key: "calls", Event: "llm", Aggregate: engine.Count}},
	}
	for _, id := range accounts {
		c.Accounts = append(c.Accounts, engine.AccountChange{
			ID: id, Zone: "UTC",
			Subscriptions: []engine.Subscription{
				{Key: "main", Plan: "plan", From: utc(2026, 1, 1), To: engine.Future},
			},
			Attach: []engine.Ownership{
				{Subject: id, Account: id, From: engine.Past, To: engine.Future},
			},
		})
	}
	return EncodeControl(c)
}

func utc(year int, month time.Month, day int) engine.Micros {
	return engine.Micros(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).UnixMicro())
}

// plainSource is a source that has nothing, or the lines that it was given.
type plainSource struct {
	clock  Clock
	finite bool
	lines  []byte
}

func (s *plainSource) Next(ctx context.Context) (c formats.Chunk, st Status, err error) {
	if len(s.lines) > 0 {
		c.Partition, c.Data, s.lines = "p", s.lines, nil
		return c, st, nil
	}
	if !s.finite {
		select {
		case <-ctx.Done():
			return c, st, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	at, _ := s.clock.Now()
	return c, Status{At: at, CaughtUp: true, EOF: s.finite}, nil
}

func (s *plainSource) Recycle(formats.Chunk) {}

// plain is a process in a bubble.
type plain struct {
	*Run
	st     *State
	dir    *store.Dir
	cancel context.CancelFunc
	ended  chan error
}

// plainRun opens the state in fs, or makes it, and begins a process.
func plainRun(fs store.FS, control []byte, change func(*Options)) (*plain, error) {
	p := &plain{ended: make(chan error, 1)}
	var err error
	options := store.Options{Floor: -1}
	if p.dir, err = store.Open(fs, options); errors.Is(err, store.ErrNoState) {
		g := store.Genesis{Genesis: engine.Genesis{Journal: [16]byte{7}, Format: engine.Format}}
		if p.dir, err = store.Create(fs, g, options); err == nil {
			_, _, err = p.dir.PutControl(control)
		}
	}
	if err != nil {
		return nil, err
	}
	if p.st, err = Restore(p.dir, 2, true, nil); err != nil {
		return nil, err
	}
	settings := engine.DefaultSettings
	settings.Grace = 0
	o := Options{State: p.st, Settings: settings, CloseAt: engine.Past}
	change(&o)
	clock := o.Clock
	if len(o.Sources) == 0 {
		o.Sources = []SourceOptions{{
			Entry: engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true}, Format: 1,
			Open: func(map[string]int64) (Source, error) {
				return &plainSource{clock: clock, finite: o.UntilEOF}, nil
			},
		}}
	}
	if p.Run, err = NewRun(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.ended <- p.Do(ctx) }()
	return p, nil
}

// stop ends the process in good order and returns its journal.
func (p *plain) stop() ([]*engine.Entry, error) {
	p.cancel()
	if err := <-p.ended; err != nil {
		return nil, err
	}
	entries, err := readEntries(p.dir)
	return entries, errors.Join(err, p.st.Outbox.Close(), p.dir.Close())
}

// documentsIn returns how many documents the outbox in fs has.
func documentsIn(fs store.FS) (n int, err error) {
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		return 0, err
	}
	outbox, err := dir.OpenOutbox()
	if err != nil {
		return 0, err
	}
	defer outbox.Close() // read only
	r := outbox.Read(0)
	defer r.Close() // read only
	for {
		rec, _, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		case rec.Kind == store.DocumentRecord:
			n++
		}
	}
}

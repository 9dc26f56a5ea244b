package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/store"
)

// alertBody returns a change of accounts a and b with budgets. b has two subscriptions whose keys
// do not rise as they were made.
func alertBody(t *testing.T) *engine.Change {
	bodies, err := decodeControl(plainControl("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	c := bodies[len(bodies)-1].(*engine.Change)
	for i := range c.Accounts {
		if c.Accounts[i].ID == "b" {
			first := c.Accounts[i].Subscriptions[0]
			first.Key = "extra"
			c.Accounts[i].Subscriptions = append(c.Accounts[i].Subscriptions, first)
		}
	}
	at := []decimal.Decimal{decimal.FromInt(50), decimal.FromInt(100)}
	c.Budgets = []engine.Budget{
		{Key: "calls", Meter: "calls", Limit: decimal.FromInt(4), At: at},
		{Key: "spend", Plan: "plan", Currency: "EUR", Limit: decimal.FromInt(4), At: at},
	}
	return c
}

// alertLines are calls of both accounts, in January.
func alertLines(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"specversion":"1.0","id":"%d","source":"s","type":"llm","subject":"%c",`+
			`"time":"2026-01-%02dT00:00:00Z"}`+"\n", i, "ab"[i%2], i+2)
	}
	return []byte(b.String())
}

// alertRun runs a process over the calls until it ends by itself.
func alertRun(fs store.FS, control []byte, lines []byte, sink Sink) error {
	p, err := plainRun(fs, control, func(o *Options) {
		o.Clock = newBubbleClock(utc(2026, 2, 1) + engine.Hour)
		o.UntilEOF, o.CloseAt = true, utc(2026, 2, 1)
		o.Sinks = []SinkOptions{{Name: "sink", Sink: sink}}
		clock := o.Clock
		o.Sources = []SourceOptions{{
			Entry: engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true}, Format: 1,
			Open: func(positions map[string]int64) (Source, error) {
				return &plainSource{
					clock: clock, finite: true, lines: lines[positions["p"]:],
				}, nil
			},
		}}
	})
	if err != nil {
		return err
	}
	err = <-p.ended
	p.cancel()
	return errors.Join(err, p.st.Outbox.Close(), p.dir.Close())
}

// outboxKeys returns the keys of what sinks get, in their order.
func outboxKeys(t *testing.T, fs store.FS) (keys []string) {
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	outbox, err := dir.OpenOutbox()
	if err != nil {
		t.Fatal(err)
	}
	defer outbox.Close() // read only
	r := outbox.Read(0)
	defer r.Close() // read only
	for {
		rec, _, err := nextRecord(r, store.RecordKind.Delivered)
		if errors.Is(err, io.EOF) {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, rec.Key)
	}
}

// TestAlertsSurvive cuts the power in the middle of a run: alerts stand in the outbox once, before
// the invoices of their entry, and the sink gets each with the same bytes.
func TestAlertsSurvive(t *testing.T) {
	control, lines := EncodeControl(alertBody(t)), alertLines(8)
	run := func(fs store.FS, sink Sink) (err error) {
		synctest.Test(t, func(*testing.T) { err = alertRun(fs, control, lines, sink) })
		return err
	}
	accept := func(Delivery, int) error { return nil }
	whole := fixtures.NewSimFS()
	calm := newScriptSink(accept)
	if err := run(whole, calm); err != nil {
		t.Fatal(err)
	}
	want := outboxKeys(t, whole)
	alerts := 0
	for _, key := range want {
		if strings.Contains(key, "/alert-") {
			alerts++
		}
	}
	// 4 of a, 4 of each subscription of b; a start and a period invoice for each subscription.
	if alerts != 12 || len(want) != 18 || len(calm.took) != len(want) {
		t.Fatalf("%d alerts among %v, the sink has %d", alerts, want, len(calm.took))
	}
	made := fixtures.NewSimFS() // plainRun puts the control file only where it makes the state
	dir, err := store.Create(made, store.Genesis{
		Genesis: engine.Genesis{Journal: [16]byte{7}, Format: engine.Format},
	}, store.Options{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dir.PutControl(control); err != nil {
		t.Fatal(err)
	}
	crashes := 0
	for op := made.Ops() + 1; op <= whole.Ops(); op += 7 {
		fs, sink := fixtures.NewSimFS(), newScriptSink(accept)
		fs.CrashAt(op)
		if err := run(fs, sink); err == nil {
			continue
		}
		crashes++
		tear := fixtures.Tear(op % int(fixtures.NumTears))
		fs = fs.Crash(tear, rand.New(rand.NewPCG(uint64(op), 0)))
		if err := run(fs, sink); err != nil {
			t.Fatalf("after a crash at operation %d: %v", op, err)
		}
		if got := outboxKeys(t, fs); !slices.Equal(got, want) {
			t.Fatalf("crash at operation %d: the outbox has %v\nwant %v", op, got, want)
		}
		for _, key := range want {
			tries := sink.of(key)
			if len(tries) == 0 || slices.ContainsFunc(tries, func(a attempt) bool {
				return a.body != tries[0].body
			}) {
				t.Errorf("crash at operation %d: the sink got %s %d times, or not the same", op, key,
					len(tries))
			}
		}
	}
	if crashes < 10 {
		t.Errorf("only %d crashes", crashes)
	}
	t.Logf("%d crashes of %d operations, %d alerts", crashes, whole.Ops(), alerts)
}

// lateSource has its lines from a time on.
type lateSource struct {
	plainSource
	from  time.Time
	later []byte
}

func (s *lateSource) Next(ctx context.Context) (formats.Chunk, Status, error) {
	if time.Now().After(s.from) {
		s.lines, s.later = s.later, nil
	}
	return s.plainSource.Next(ctx)
}

// TestAlertsAtOnce shows that alerts go out while a process runs, though no invoice goes with them.
func TestAlertsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newBubbleClock(utc(2026, 1, 20))
		sink := newScriptSink(func(Delivery, int) error { return nil })
		src := &lateSource{plainSource{clock: clock}, time.Now().Add(time.Minute), alertLines(4)}
		p, err := plainRun(fixtures.NewSimFS(), EncodeControl(alertBody(t)), func(o *Options) {
			o.Clock, o.Sinks = clock, []SinkOptions{{Name: "sink", Sink: sink}}
			o.Sources = []SourceOptions{{
				Entry:  engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true},
				Format: 1, Open: func(map[string]int64) (Source, error) { return src, nil },
			}}
		})
		if err != nil {
			t.Fatal(err)
		}
		took := func() int {
			sink.mu.Lock()
			defer sink.mu.Unlock()
			return len(sink.took)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		invoices := took() // in advance
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := took() - invoices; invoices != 3 || n != 6 || p.Undelivered() != 0 {
			t.Errorf("the sink took %d alerts, want 6: %v", n, sink.took)
		}
		if m := p.Metrics(); m.Documents != 3 || m.Alerts != 6 {
			t.Errorf("%d documents and %d alerts are counted", m.Documents, m.Alerts)
		}
		if _, err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestAlertsOfShards shows that any number of shards gives the alerts of an entry in one order.
func TestAlertsOfShards(t *testing.T) {
	fs := fixtures.NewSimFS()
	synctest.Test(t, func(t *testing.T) {
		sink := newScriptSink(func(Delivery, int) error { return nil })
		if err := alertRun(fs, EncodeControl(alertBody(t)), alertLines(8), sink); err != nil {
			t.Fatal(err)
		}
	})
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := readEntries(dir)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for n := 1; n <= 4; n++ {
		var got []string
		s := NewShards(n)
		for _, e := range entries {
			err := s.Apply(e, func(fx *engine.Effects) error {
				for i := range fx.Alerts {
					got = append(got, formats.AlertKey(&fx.Alerts[i]))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if n == 1 {
			want = got
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%d shards give %v\none gives %v", n, got, want)
		}
		h, err := OpenHistory(dir)
		if err != nil {
			t.Fatal(err)
		}
		audit, err := Replay(context.Background(), h, ReplayOptions{Shards: n})
		if err != nil || audit.Alerts != uint64(len(want)) || audit.Documents != 6 ||
			audit.Outbox != 6 {
			t.Errorf("a replay by %d shards: %+v, %v", n, audit, err)
		}
	}
}

// TestAlertMismatch shows that a replay finds an alert that the journal does not give.
func TestAlertMismatch(t *testing.T) {
	fs := fixtures.NewSimFS()
	synctest.Test(t, func(t *testing.T) {
		sink := newScriptSink(func(Delivery, int) error { return nil })
		if err := alertRun(fs, EncodeControl(alertBody(t)), alertLines(8), sink); err != nil {
			t.Fatal(err)
		}
	})
	key := changeAlert(t, fs)
	dir, err := store.Open(fs, store.Options{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Replay(context.Background(), h, ReplayOptions{})
	var mismatch *store.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Key != key {
		t.Errorf("replay: %v, want a difference at %s", err, key)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
}

// changeAlert writes the outbox anew with another value in one alert, whose key it returns.
func changeAlert(t *testing.T, fs *fixtures.SimFS) (key string) {
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	outbox, err := dir.OpenOutbox()
	if err != nil {
		t.Fatal(err)
	}
	var list []store.OutboxRecord
	r := outbox.Read(0)
	for rec, _, err := r.Next(); err == nil; rec, _, err = r.Next() {
		if rec.Kind == store.AlertRecord && key == "" {
			key = rec.Key
			rec.Body = []byte(strings.Replace(string(rec.Body), `"limit": "4"`, `"limit": "5"`, 1))
		}
		list = append(list, rec)
	}
	if err := errors.Join(r.Close(), outbox.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range fs.Files() {
		if strings.HasPrefix(name, "outbox/") {
			if err := fs.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if dir, err = store.Open(fs, store.Options{Floor: -1}); err != nil {
		t.Fatal(err)
	}
	if outbox, err = dir.OpenOutbox(); err != nil {
		t.Fatal(err)
	}
	for _, rec := range list {
		if _, err := outbox.Append(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(outbox.Sync(), outbox.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	return key
}

package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/store"
)

// monthSource is a finite source of the lines that it was given.
type monthSource struct {
	clock     Clock
	partition string
	lines     []byte
}

func (s *monthSource) Next(context.Context) (c formats.Chunk, st Status, err error) {
	at, _ := s.clock.Now()
	if len(s.lines) > 0 {
		c.Partition, c.Data, s.lines = s.partition, s.lines, nil
		return c, Status{At: at}, nil
	}
	return c, Status{At: at, CaughtUp: true, EOF: true}, nil
}

func (s *monthSource) Recycle(formats.Chunk) {}

// monthsControl is the catalog of monthsState: tokens at 2 EUR, kept apart by model, and 10 EUR a
// month in advance, for accounts in UTC and the farthest zone that is ahead of it.
func monthsControl() []byte {
	model := []engine.Dimension{{Name: "model", Path: "data.model"}}
	c := &engine.Change{
		Actor: "test",
		Plans: []engine.Plan{
			monthsPlan(1, 0, "output"), monthsPlan(2, engine.DayOf(utc(2026, 5, 20)), "tokens"),
		},
		Meters: []engine.Meter{{
			Key: "tokens", Event: "llm", Aggregate: engine.Total, Value: "data.n", GroupBy: model,
		}},
	}
	moved := utc(2026, 4, 1) // from acme to initech
	for _, id := range []string{"acme", "initech", "kiri"} {
		zone := "UTC"
		if id == "kiri" {
			zone = "Pacific/Kiritimati"
		}
		from := utc(2026, 3, 1)
		if zone != "UTC" {
			from -= 14 * engine.Hour
		}
		c.Accounts = append(c.Accounts, engine.AccountChange{
			ID: id, Zone: zone,
			Subscriptions: []engine.Subscription{{Key: "main", Plan: "plan", From: from, To: engine.Future}},
			Attach: []engine.Ownership{
				{Subject: id, Account: id, From: engine.Past, To: engine.Future},
			},
		})
	}
	c.Accounts[0].Attach = append(c.Accounts[0].Attach,
		engine.Ownership{Subject: "moved", Account: "acme", From: engine.Past, To: moved})
	c.Accounts[1].Attach = append(c.Accounts[1].Attach,
		engine.Ownership{Subject: "moved", Account: "initech", From: moved, To: engine.Future})
	return EncodeControl(&engine.Zone{Name: "Pacific/Kiritimati", Offset: 14 * 3600}, c)
}

func monthsPlan(version int, from engine.Day, price string) engine.Plan {
	return engine.Plan{
		Key: "plan", Version: version, Effective: from, Currency: "EUR", Digits: 2,
		Interval: engine.Month, Prices: []engine.Price{
			{Key: "base", Model: engine.Flat, Amount: decimal.FromInt(10), Advance: true},
			{Key: price, Meter: "tokens", Model: engine.Unit, Unit: decimal.FromInt(2),
				Per: []string{"model"}},
		},
	}
}

// monthsState makes a state directory of runs in March, April, May, two each, and June: a month's
// second run has usage behind its opening, and every first one closes the month before.
// It returns the directory and an archive of all of it.
func monthsState(t *testing.T) (state, archive string) {
	t.Helper()
	state, archive = filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "archive")
	fsys, err := store.MakeOS(state)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := store.Create(fsys, store.Genesis{Genesis: NewGenesis()}, store.Options{Floor: -1})
	if err == nil {
		_, _, err = dir.PutControl(monthsControl())
	}
	if err == nil {
		err = dir.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, run := range []struct {
		month time.Month
		day   int
	}{{3, 2}, {3, 7}, {4, 2}, {4, 7}, {5, 2}, {5, 7}, {6, 2}} {
		var lines strings.Builder
		for day := run.day; day < run.day+5 && run.month < 6; day++ {
			for _, id := range []string{"acme", "initech", "kiri"} {
				fmt.Fprintf(&lines, `{"specversion":"1.0","id":"%s-%d-%d","source":"s","type":"llm",`+
					`"subject":%q,"time":"2026-%02d-%02dT10:00:00Z","data":{"n":%d,"model":"%c"}}`+"\n",
					id, run.month, day, id, run.month, day, int(run.month)*day, 'a'+day%2)
			}
		}
		clock := &simClock{wall: utc(2026, run.month, run.day+5), running: time.Duration(i) * time.Hour}
		if err := monthRun(fsys, clock, lines.String(), utc(2026, run.month, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(archive, 0o700); err != nil {
		t.Fatal(err)
	}
	to, err := store.OS(archive)
	if err != nil {
		t.Fatal(err)
	}
	dir, err = store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close() // read only
	if _, err := CopyArchive(t.Context(), dir, to, nil); err != nil {
		t.Fatal(err)
	}
	return state, archive
}

// monthRun is one process that reads the lines and closes what ended by then.
func monthRun(fsys store.FS, clock *simClock, lines string, closeAt engine.Micros) error {
	dir, err := store.Open(fsys, store.Options{Floor: -1})
	if err != nil {
		return err
	}
	st, err := Restore(dir, 1, true, nil)
	if err != nil {
		return err
	}
	settings := engine.DefaultSettings
	r, err := NewRun(Options{
		State: st, Settings: settings, UntilEOF: true, CloseAt: closeAt, Clock: clock, ClockOK: true,
		Sources: []SourceOptions{{
			Entry: engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true}, Format: 1,
			Open: func(map[string]int64) (Source, error) {
				return &monthSource{clock, fmt.Sprint(clock.wall), []byte(lines)}, nil
			},
		}},
	})
	if err == nil {
		err = r.Do(context.Background())
	}
	return errors.Join(err, st.Outbox.Close(), dir.Close())
}

// replayed is one replay of archive files, of a month if it is given, against a reference.
func replayed(t *testing.T, month string, against []string, paths ...string) (
	*Audit, *Comparison, []string, error,
) {
	t.Helper()
	h, err := OpenArchive(paths)
	if err != nil {
		return nil, nil, nil, err
	}
	o := ReplayOptions{}
	var m *MonthReplay
	if month != "" {
		if m, err = h.Month(month); err != nil {
			return nil, nil, nil, err
		}
		if m.Note != "" {
			t.Log(m.Note)
		}
		if o.Opening = m.Opening; against == nil {
			o.Until = m.Until
		}
	}
	var r *Reference
	if against != nil {
		if r, err = OpenReference(t.Context(), against, m, 1, nil); err != nil {
			return nil, nil, nil, err
		}
	}
	var keys []string
	o.Emit = func(_ *engine.Entry, inv *engine.Invoice) error {
		if m == nil || m.Has(inv.StartDate) {
			keys = append(keys, formats.InvoiceKey(inv))
			if r != nil {
				r.Compare(formats.InvoiceKey(inv), formats.AppendInvoice(nil, inv))
			}
		}
		return nil
	}
	a, err := Replay(t.Context(), h, o)
	if err != nil || r == nil {
		return a, nil, keys, err
	}
	c, err := r.Result(t.Context())
	return a, c, keys, err
}

// deliver writes the documents of a state as a directory sink lays them out.
func deliver(t *testing.T, state string) string {
	t.Helper()
	out := t.TempDir()
	err := eachDocument(state, 0, func(rec *store.OutboxRecord, _ int64) error {
		parts := strings.Split(rec.Key, "/")
		dir := filepath.Join(out, parts[0], parts[1])
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, parts[2]+"."+parts[3]+".json"), rec.Body, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rewrite writes an archive file anew, under its name, after a change of its entries. The digests
// of the rows stay what they were.
func rewrite(t *testing.T, path string, change func(e *engine.Entry)) {
	t.Helper()
	p, err := openPart(path, func() (archiveFile, error) {
		f, err := os.Open(path)
		return osArchiveFile{f}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	var entries []*engine.Entry
	for {
		e, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		// The reader may use its memory again.
		if e, err = engine.DecodeEntry(engine.AppendEntry(nil, e)); err != nil {
			t.Fatal(err)
		}
		change(e)
		entries = append(entries, e)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	g := engine.Genesis{Journal: p.Info().Journal, Partition: p.Info().Partition}
	_, err = formats.WriteArchive(&b, g, func(yield func(*engine.Entry) error) error {
		for _, e := range entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fileOf returns the archive files of a directory, and of these the one with an event.
func partWith(t *testing.T, archive, id string) string {
	t.Helper()
	h, err := OpenArchive([]string{archive})
	if err != nil {
		t.Fatal(err)
	}
	entries := h.Read(1)
	defer entries.Close() // read only
	for {
		e, err := entries.Next()
		if err != nil {
			t.Fatalf("find event %s: %v", id, err)
		}
		if b, ok := batchOf(e); ok {
			for row := range b.Len {
				if string(b.ID.At(row)) == id {
					return entries.Place().Path
				}
			}
		}
	}
}

// TestReplayMonth replays one month from its opening, without the files before it.
func TestReplayMonth(t *testing.T) {
	state, archive := monthsState(t)
	a, c, all, err := replayed(t, "", []string{state}, archive)
	if err != nil || a.Diverged != nil || !c.Same() || c.Equal != 12 || a.Seals == 0 {
		t.Fatalf("all: %+v, %+v: %v", a, c, err)
	}
	for _, month := range []string{"2026-03", "2026-04", "2026-05"} {
		want := 0
		for _, key := range all {
			if strings.Contains(key, "/"+month) {
				want++
			}
		}
		a, c, keys, err := replayed(t, month, []string{state}, archive)
		if err != nil || a.Diverged != nil || !c.Same() || a.Seals == 0 {
			t.Fatalf("%s: %+v, %+v: %v", month, a, c, err)
		}
		if int(c.Equal+c.Outside) != want || len(keys) < 3 {
			t.Errorf("%s: %d documents of %d, %d outside", month, len(keys), want, c.Outside)
		}
		t.Logf("%s: %v, opening %v, %d entries, %d outside", month, keys, a.Opening != nil, a.Entries,
			c.Outside)
	}
	first, march := partWith(t, archive, "acme-3-2"), partWith(t, archive, "acme-3-11")
	april := partWith(t, archive, "acme-4-11")
	var missing *ArchiveError
	if err := os.Rename(april, april+".away"); err != nil {
		t.Fatal(err)
	}
	for _, month := range []string{"", "2026-04"} {
		_, _, _, err = replayed(t, month, nil, archive)
		if !errors.As(err, &missing) || missing.Hint == "" ||
			!strings.Contains(err.Error(), "are missing") {
			t.Errorf("%q with a gap: %v", month, err)
		}
		t.Log(err)
	}
	if err := os.Rename(april+".away", april); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{first, march} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := replayed(t, "", nil, archive); !errors.As(err, &missing) ||
		!strings.Contains(err.Error(), "positions 1 to") {
		t.Errorf("without the first file: %v", err)
	}
	for month, want := range map[string]uint64{"2026-04": 3, "2026-05": 3} {
		a, c, _, err = replayed(t, month, []string{state}, archive)
		if err != nil || a.Diverged != nil || a.Opening == nil || !c.Same() || c.Equal != want {
			t.Errorf("%s alone: %+v, %+v: %v", month, a, c, err)
		}
	}
}

// TestReplayAgainst compares a replay with delivered documents of which some were changed.
func TestReplayAgainst(t *testing.T) {
	state, archive := monthsState(t)
	edit := func(old, by string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "acme/main/2026-04-01.period.json")
			body, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(body), old) {
				t.Fatalf("%s does not hold %s:\n%s", path, old, body)
			}
			if err == nil {
				err = os.WriteFile(path, []byte(strings.Replace(string(body), old, by, 1)), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string // of the first difference
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"an amount", edit(`"amount": "280.00"`, `"amount": "280.10"`),
			"acme main 2026-04-01 line output/model=b amount: 280.00 280.10"},
		{"a line's quantity", edit(`"quantity": "140"`, `"quantity": "14"`),
			"acme main 2026-04-01 line output/model=b quantity: 140 14"},
		{"the total", edit(`"total": "530.00"`, `"total": "53.00"`),
			"acme main 2026-04-01 total  : 530.00 53.00"},
		{"another line", edit(`"price": "base"`, `"price": "bass"`),
			"acme main 2026-04-01 line base 2026-05-01T00:00:00Z :  "},
		{"a member", edit(`"currency": "EUR"`, `"currency": "USD"`),
			"acme main 2026-04-01 currency  : EUR USD"},
		{"white space", edit("\n", "\n\n"), "acme main 2026-04-01 bytes  : "},
		{"no JSON", edit("{", "["), "acme main 2026-04-01 document  : "},
		{"a key that is another's", edit(`"key": "acme/`, `"key": "evil/`),
			"acme main 2026-04-01 key  : acme/main/2026-04-01/period evil/main/2026-04-01/period"},
		{"another adjustment", edit(`"adjustments": []`, `"adjustments": [{"price": "output", `+
			`"period": {"start_date": "2026-03-01"}, "amount": "1.00"}]`),
			"acme main 2026-04-01 adjustment output 2026-03-01 :  "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := deliver(t, state)
			tt.change(t, dir)
			_, c, _, err := replayed(t, "", []string{dir}, archive)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if !c.Same() || c.Equal != 12 {
					t.Errorf("%+v", c)
				}
				return
			}
			if c.First == nil || c.Equal != 11 || c.Differing != 1 || c.Lacking+c.Extra > 0 {
				t.Fatalf("%+v", c)
			}
			d := c.First
			got := strings.TrimSpace(d.Line + " " + d.For)
			got = fmt.Sprintf("%s %s %s %s %s %s: %s %s", d.Account, d.Subscription, d.Period, d.Part,
				got, d.Member, d.Here.Value, d.There.Value)
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if tt.name == "another line" && (!d.There.Missing || d.Here.Amount != "10.00") {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestReplayAgainstCounts takes documents away on both sides.
func TestReplayAgainstCounts(t *testing.T) {
	state, archive := monthsState(t)
	dir := deliver(t, state)
	gone := filepath.Join(dir, "acme/main/2026-04-01.period.json")
	body, err := os.ReadFile(gone)
	if err == nil {
		err = os.Rename(gone, filepath.Join(dir, "acme/main/2026-04-09.period.json"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "acme/README"), []byte("ours"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, c, _, err := replayed(t, "", []string{dir}, archive)
	if err != nil || c.Equal != 11 || c.Lacking != 1 || c.Extra != 1 ||
		c.FirstLacking != "acme/main/2026-04-01/period" || c.FirstExtra != "acme/main/2026-04-09/period" {
		t.Fatalf("%+v: %v", c, err)
	}
	if err := os.WriteFile(gone, body, 0o600); err != nil {
		t.Fatal(err)
	}
	_, c, _, err = replayed(t, "2026-05", []string{dir}, archive)
	if err != nil || !c.Same() {
		t.Errorf("another month: %+v: %v", c, err)
	}
	if _, err := OpenReference(t.Context(), []string{t.TempDir()}, nil, 1, nil); err == nil {
		t.Error("an empty directory is a reference")
	}
}

// TestReplayAgainstArchive compares the replays of two archives.
func TestReplayAgainstArchive(t *testing.T) {
	_, archive := monthsState(t)
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(archive)); err != nil {
		t.Fatal(err)
	}
	_, c, _, err := replayed(t, "", []string{other}, archive)
	if err != nil || !c.Same() || c.Equal != 12 {
		t.Fatalf("%+v: %v", c, err)
	}
	rewrite(t, partWith(t, other, "acme-4-11"), func(e *engine.Entry) { alter(e, "acme-4-11", 1000) })
	for _, month := range []string{"", "2026-04"} {
		_, c, _, err = replayed(t, month, []string{other}, archive)
		if err != nil || c.Differing != 1 || c.First.Key != "acme/main/2026-04-01/period" {
			t.Fatalf("%q: %+v: %v", month, c, err)
		}
		d := c.First
		if d.Line != "output/model=b" || d.Here.Amount != "280.00" || d.There.Amount != "2192.00" {
			t.Errorf("%q: %+v", month, d)
		}
	}
	_, c, _, err = replayed(t, "2026-05", []string{other}, archive)
	if err != nil || !c.Same() {
		t.Errorf("another month: %+v: %v", c, err)
	}
}

// TestKeyOfFile reads keys back from the names of a directory sink.
func TestKeyOfFile(t *testing.T) {
	for name, want := range map[string]string{
		"acme/main/2026-04-01.period.json":             "acme/main/2026-04-01/period",
		"%2E/%2E./2026-04-01.start.json":               "./../2026-04-01/start",
		"a%20b/m/2026-04-01T10:00:00.5Z.period.json":   "a%20b/m/2026-04-01T10:00:00.5Z/period",
		"xx~0123456789abcdef/m/2026-04-01.period.json": "long/m/2026-04-01/period",
	} {
		got, err := keyOfFile(name, []byte(`{"key":"long/m/2026-04-01/period"}`))
		if err != nil || got != want {
			t.Errorf("%s: %q, want %q: %v", name, got, want, err)
		}
	}
	for _, name := range []string{"a~b/m/2026-04-01.period.json", "a/m/2026-04-01.json"} {
		if key, err := keyOfFile(name, []byte(`[]`)); err == nil {
			t.Errorf("%s: %q", name, key)
		}
	}
}

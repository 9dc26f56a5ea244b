package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// rowsState is a random state of many small segments: rows that count and rows that are rejected,
// corrections of old ones, and, unless it keeps its journal, a trimmed one.
func rowsState(t *testing.T, r *rand.Rand, keep bool, rounds int) *fixtures.SimFS {
	t.Helper()
	fs := fixtures.NewSimFS()
	options := store.Options{Floor: -1, Segment: 4096}
	dir, err := store.Create(fs, store.Genesis{Genesis: NewGenesis()}, options)
	if err == nil {
		_, _, err = dir.PutControl(monthsControl())
	}
	if err == nil {
		err = dir.Close()
	}
	for round := range rounds {
		if err == nil && round > 0 {
			correctSome(t, r, fs)
		}
		if err == nil {
			err = rowsRound(r, fs, round, keep)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// rowsRound bills the usage of some days.
func rowsRound(r *rand.Rand, fs store.FS, round int, keep bool) error {
	var lines strings.Builder
	subjects := []string{"acme", "acme", "acme", "initech", "moved", "kiri", "stranger"}
	for i := range 20 + r.IntN(120) {
		switch r.IntN(30) {
		case 0:
			lines.WriteString("no event\n")
			continue
		case 1:
			i = r.IntN(i + 1) // that id again
		}
		value := fmt.Sprint(r.IntN(50))
		if r.IntN(25) == 0 {
			value = `"many"`
		}
		day := min(28, 1+round*7+r.IntN(7))
		fmt.Fprintf(&lines, `{"specversion":"1.0","id":"e-%d-%d","source":"s","type":"llm",`+
			`"subject":"%s","time":"2026-03-%02dT10:00:00Z","data":{"n":%s,"model":"x%d"}}`+"\n",
			round, i, subjects[r.IntN(len(subjects))], day, value, r.IntN(3))
	}
	clock := &simClock{wall: utc(2026, 3, 10+7*round), running: time.Duration(round) * time.Hour}
	dir, err := store.Open(fs, store.Options{Floor: -1, Segment: 4096})
	if err != nil {
		return err
	}
	st, err := Restore(dir, 1+r.IntN(2), true, nil)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	run, err := NewRun(Options{
		State: st, Settings: engine.DefaultSettings, UntilEOF: true, CloseAt: engine.Past,
		Clock: clock, ClockOK: true, KeepJournal: keep, BatchRows: 1 + r.IntN(40),
		CheckpointBytes: 8 << 10,
		Sources: []SourceOptions{{
			Entry: engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true}, Format: 1,
			Open: func(map[string]int64) (Source, error) {
				return &monthSource{clock, fmt.Sprint(clock.wall), []byte(lines.String())}, nil
			},
		}},
	})
	if err == nil {
		err = run.Do(context.Background())
	}
	return errors.Join(err, st.Outbox.Close(), dir.Close())
}

// correctSome leaves a control file that takes back or changes some rows, old ones too, and some
// again that were corrected before.
func correctSome(t *testing.T, r *rand.Rand, fs store.FS) {
	t.Helper()
	desk, dir := readDesk(t, fs)
	rows, _, err := desk.Rows(t.Context(), desk.view, RowFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var wants []Wanted
	for i := range rows {
		if rows[i].Outcome == engine.Accepted && r.IntN(12) == 0 {
			wants = append(wants, Wanted{ID: rows[i].ID, Source: "s"})
		}
	}
	found, _, err := desk.FindEvents(t.Context(), wants, nil)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []engine.Body
	for i, f := range found {
		if len(f.Versions) == 0 {
			continue
		}
		v := &engine.Void{
			Of: f.Versions[0].Of, Row: f.Versions[0].Row, Actor: "test", Reason: fmt.Sprint(i),
		}
		if r.IntN(3) == 0 {
			v.Amend = engine.OneRow(v.Row, 0)
			v.Amend.Time[0] += engine.Second
			v.Amend.Digest[0] += uint64(engine.DigestTime(v.Amend.Time[0])) -
				uint64(engine.DigestTime(v.Row.Time[0]))
		}
		bodies = append(bodies, v)
	}
	if len(bodies) > 0 {
		if _, _, err := dir.PutControl(EncodeControl(bodies...)); err != nil {
			t.Fatal(err)
		}
	}
}

// paged returns the rows of a filter by falling Seq, page after page, turned round.
func paged(t *testing.T, d *Desk, v *engine.View, f RowFilter, limit int) []Row {
	t.Helper()
	var all []Row
	f.Newest, f.Limit = true, limit
	for {
		rows, more, err := d.Rows(t.Context(), v, f)
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		if len(rows) > limit || more && len(rows) < limit {
			t.Fatalf("%+v: %d rows, more: %v", f, len(rows), more)
		}
		all = append(all, rows...)
		if !more {
			slices.Reverse(all)
			return all
		}
		if next := rows[len(rows)-1].Seq; f.Before != 0 && next >= f.Before {
			t.Fatalf("%+v: a page goes on to position %d", f, next)
		} else {
			f.Before = next
		}
	}
}

// rowFilters are the filters that a state is asked with.
func rowFilters(all []Row, r *rand.Rand) []RowFilter {
	list := []RowFilter{
		{}, {Rejected: true}, {Account: "acme"}, {Account: "initech"}, {Account: "nobody"},
		{Subject: "moved"}, {Subject: "kiri", Rejected: true}, {Account: "acme", Rejected: true},
		{ID: all[r.IntN(len(all))].ID}, {ID: "nothing"},
	}
	for i := range engine.ReasonNames() {
		reason := engine.Reason(i)
		list = append(list, RowFilter{Outcome: &reason})
	}
	return list
}

// checkNewest compares what a desk says by falling Seq, and of single positions, with what it says
// by rising Seq. With a view it is the desk of a process.
func checkNewest(t *testing.T, r *rand.Rand, d *Desk) (rows, corrected int) {
	t.Helper()
	v, err := d.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := d.Rows(t.Context(), v, RowFilter{})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d rows: %v", len(all), err)
	}
	for _, f := range rowFilters(all, r) {
		want, _, err := d.Rows(t.Context(), v, f)
		if err != nil {
			t.Fatal(err)
		}
		got := paged(t, d, v, f, 1+r.IntN(30))
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v: %d rows back, %d forward, or others", f, len(got), len(want))
		}
	}
	for range 40 {
		want := all[r.IntN(len(all))]
		got, more, err := d.Rows(t.Context(), v, RowFilter{Seq: want.Seq, Limit: 1 + r.IntN(3)})
		if err != nil || more || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Fatalf("position %d: %+v, want %+v: %v", want.Seq, got, want, err)
		}
	}
	for i := range all {
		if all[i].CorrectedBy != nil {
			corrected++
		}
	}
	checkUses(t, r, d, v, all)
	return len(all), corrected
}

// checkUses compares the uses of every line with the rows, and those that count with the usage that
// the line is rated by.
func checkUses(t *testing.T, r *rand.Rand, d *Desk, v *engine.View, all []Row) {
	t.Helper()
	rowAt := map[engine.Seq]Row{}
	for i := range all {
		rowAt[all[i].Seq] = all[i]
	}
	for _, id := range v.AccountIDs("") {
		bill, _ := v.Bill(id)
		for i := range bill.Open {
			o := &bill.Open[i]
			for j := range o.Usage {
				line := engine.LineKey("output", o.Usage[j].Group)
				f := UseFilter{Account: id, Subscription: o.Subscription, Start: o.Start, Line: line}
				want, _, err := d.Uses(t.Context(), v, f)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				counting := uint64(0)
				for k := range want {
					if want[k].Counts() {
						counting++
					}
					if row := rowAt[want[k].Seq]; !reflect.DeepEqual(row, want[k].Row) ||
						want[k].Value != row.Data["n"] {
						t.Fatalf("%s: use %+v of row %+v", line, want[k], row)
					}
				}
				if n := o.Usage[j].Fold.Rows; counting != n {
					t.Fatalf("%s %s: %d uses count, want %d", id, line, counting, n)
				}
				var got []Use
				for more := true; more; {
					f.Limit = 1 + r.IntN(20)
					var page []Use
					if page, more, err = d.Uses(t.Context(), v, f); err != nil {
						t.Fatal(err)
					}
					if got = append(got, page...); more {
						f.Before = page[len(page)-1].Seq
					}
				}
				if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
					t.Fatalf("%s: pages of %d uses, want %d", line, len(got), len(want))
				}
			}
		}
	}
}

// TestNewestRows puts pages of rows by falling Seq together: of directories with and without their
// journal, by one desk and by fresh ones, and of a process.
func TestNewestRows(t *testing.T) {
	times := 4 * *lawTimes
	for n := range times {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0x20))
		fs := rowsState(t, r, n%2 == 0, 2+r.IntN(2))
		desk, dir := readDesk(t, fs)
		rows, corrected := checkNewest(t, r, desk)
		segments, err := dir.Segments()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d rows, %d corrected, %d segments from position %d on", rows, corrected,
			len(segments), segments[0].First)
		if trimmed := segments[0].First > 1; trimmed == (n%2 == 0) {
			t.Errorf("trimmed: %v", trimmed)
		}
		if t.Failed() {
			return
		}
		checkLive(t, r, fs, n < 2)
	}
}

// movingClock goes on from an instant.
type movingClock struct {
	from  engine.Micros
	start time.Time
}

func (c movingClock) Now() (time.Time, time.Duration) {
	running := time.Since(c.start)
	return time.UnixMicro(int64(c.from)).Add(running), running
}

// checkLive asks the process that runs on a state. Where it is to go on, rows are corrected between
// two questions.
func checkLive(t *testing.T, r *rand.Rand, fs store.FS, goesOn bool) {
	t.Helper()
	dir, err := store.Open(fs, store.Options{Floor: -1, Segment: 4096})
	if err != nil {
		t.Fatal(err)
	}
	st, err := Restore(dir, 2, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	run, err := NewRun(Options{
		State: st, Settings: engine.DefaultSettings, CloseAt: engine.Past, ClockOK: true,
		Clock: movingClock{utc(2026, 4, 20), time.Now()},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.Do(ctx) }()
	desk := run.Desk()
	_, before := checkNewest(t, r, desk)
	if goesOn {
		correctSome(t, r, fs)
		for after, until := before, time.Now().Add(10*time.Second); after == before; {
			if time.Now().After(until) {
				t.Fatal("no correction is taken up")
			}
			time.Sleep(20 * time.Millisecond)
			_, after = checkNewest(t, r, desk)
		}
	}
	cancel()
	if err := errors.Join(<-ended, st.Outbox.Close(), dir.Close()); err != nil {
		t.Error(err)
	}
}

// TestNewestBehindOutbox reads a directory whose process died before the outbox had anything: what
// was rejected is known by the restore alone.
func TestNewestBehindOutbox(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0x22))
	fs := rowsState(t, r, true, 2)
	for _, name := range fs.Files() {
		if strings.HasPrefix(name, "outbox/") || strings.HasPrefix(name, "checkpoint/") {
			if err := fs.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, err := fs.ReadDir("checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := fs.Remove("checkpoint/" + name); err != nil {
			t.Fatal(err)
		}
	}
	desk, _ := readDesk(t, fs)
	if desk.st.Checkpoint != 0 || len(desk.st.tail) == 0 || desk.st.Outbox.End() != 0 {
		t.Fatalf("checkpoint %d, %d rejections", desk.st.Checkpoint, len(desk.st.tail))
	}
	checkNewest(t, r, desk)
}

// openedFS notes which files are opened.
type openedFS struct {
	store.FS
	names []string
}

func (f *openedFS) Open(name string) (store.File, error) {
	f.names = append(f.names, name)
	return f.FS.Open(name)
}

// TestNewestOpens looks at which files pages open: no segment before the one that holds the row
// behind the page, nor, once the corrections are known, one behind its first row; and no archive
// file but for rows that the journal has let go.
func TestNewestOpens(t *testing.T) {
	const limit = 5
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0x21))
	for _, keep := range []bool{true, false} {
		fs := &openedFS{FS: rowsState(t, r, keep, 6)}
		desk, dir := readDesk(t, fs)
		segments, err := dir.Segments()
		if err != nil || len(segments) < 3 {
			t.Fatalf("%d segments: %v", len(segments), err)
		}
		pathOf := func(seq engine.Seq) string {
			path := ""
			for _, s := range segments {
				if s.First <= seq {
					path = s.Path
				}
			}
			return path
		}
		for _, f := range []RowFilter{
			{}, {Account: "acme"}, {Before: segments[1].First + 3}, {Before: segments[1].First + 3}, {},
		} {
			f.Newest, f.Limit = true, limit+1
			rows, _, err := desk.Rows(t.Context(), desk.view, f)
			if err != nil || len(rows) < limit {
				t.Fatalf("%+v: %d rows, %v", f, len(rows), err)
			}
			first, last := pathOf(rows[len(rows)-1].Seq), pathOf(desk.view.Standing().Seq)
			if f.Before != 0 {
				last = pathOf(f.Before - 1)
			}
			fs.names, f.Limit = nil, limit
			if _, _, err := desk.Rows(t.Context(), desk.view, f); err != nil {
				t.Fatal(err)
			}
			opened := 0
			for _, name := range fs.names {
				switch {
				case strings.HasPrefix(name, "archive/"):
					if rows[len(rows)-1].Seq >= segments[0].First {
						t.Errorf("%+v of %d segments opens %s", f, len(segments), name)
					}
				case strings.HasPrefix(name, "journal/"):
					if opened++; name < first || name > last {
						t.Errorf("%+v opens %s, but its rows are from %s to %s", f, name, first, last)
					}
				}
			}
			if opened == 0 && first != "" {
				t.Errorf("%+v opens no segment", f)
			}
		}
	}
}

// TestUsesKept gives a page back as long as the account's figures stay, and keeps only so many.
func TestUsesKept(t *testing.T) {
	var k usesKept
	for i := range engine.Seq(100) {
		f := UseFilter{Account: "acme", Before: i}
		k.keep(f, usesPage{stamp: 7, more: true})
		if p, known := k.find(f, 7); !known || !p.more {
			t.Fatalf("page %d is not known", i)
		}
		if _, known := k.find(f, 8); known {
			t.Fatalf("page %d is given of other figures", i)
		}
		if len(k.pages) > maxUsesPages {
			t.Fatalf("%d pages", len(k.pages))
		}
	}
}

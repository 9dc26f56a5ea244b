package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/internal/store"
)

// readDesk opens a state and a desk on it.
func readDesk(t *testing.T, fs store.FS) (*Desk, *store.Dir) {
	t.Helper()
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := ReadDesk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(desk.Close(), dir.Close()); err != nil {
			t.Error(err)
		}
	})
	return desk, dir
}

// controlRun begins a run on a state, which takes up what waits, and ends it in good order.
func controlRun(fs store.FS, change func(*Options)) error {
	dir, err := store.Open(fs, store.Options{Floor: -1})
	if err != nil {
		return err
	}
	st, err := Restore(dir, 2, true, nil)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	o := Options{
		State: st, Settings: engine.DefaultSettings, UntilEOF: true, CloseAt: engine.Past,
		Clock: &simClock{wall: utc(2026, 3, 16), running: time.Hour},
	}
	if change != nil {
		change(&o)
	}
	r, err := NewRun(o)
	if err == nil && len(o.Sources) > 0 {
		err = r.Do(context.Background())
	} else if err == nil {
		r.beside = func(f func()) { f() }
		if err = r.begin(); err == nil {
			err = r.finish()
		}
	}
	return errors.Join(err, st.Outbox.Close(), dir.Close())
}

// voidsOf returns corrections of events; every third of them has a new version.
func voidsOf(t *testing.T, desk *Desk, ids ...string) []engine.Body {
	t.Helper()
	var wants []Wanted
	for _, id := range ids {
		wants = append(wants, Wanted{ID: id, Source: "s"})
	}
	found, _, err := desk.FindEvents(t.Context(), wants, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []engine.Body
	for i, f := range found {
		if len(f.Versions) != 1 || f.Versions[0].Voided != 0 {
			t.Fatalf("event %s: %+v", ids[i], f)
		}
		v := &engine.Void{
			Of: f.Versions[0].Of, Row: f.Versions[0].Row, Actor: "test", Reason: fmt.Sprint(i),
		}
		if i%3 == 2 {
			v.Amend = engine.OneRow(v.Row, 0)
			v.Amend.Time[0] += engine.Second
			v.Amend.Digest[0] += uint64(engine.DigestTime(v.Amend.Time[0])) -
				uint64(engine.DigestTime(v.Row.Time[0]))
		}
		out = append(out, v)
	}
	return out
}

// fewRows is a state with six events of acme.
func fewRows(t *testing.T) *fixtures.SimFS {
	t.Helper()
	fs := fixtures.NewSimFS()
	dir, err := store.Create(fs, store.Genesis{Genesis: NewGenesis()}, store.Options{Floor: -1})
	if err == nil {
		_, _, err = dir.PutControl(monthsControl())
	}
	if err == nil {
		err = dir.Close()
	}
	var lines strings.Builder
	for i := range 6 {
		fmt.Fprintf(&lines, `{"specversion":"1.0","id":"e%d","source":"s","type":"llm","subject":"acme",`+
			`"time":"2026-03-02T10:00:00Z","data":{"n":%d}}`+"\n", i, i)
	}
	if err == nil {
		err = controlRun(fs, func(o *Options) {
			o.Sources = []SourceOptions{{
				Entry: engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true}, Format: 1,
				Open: func(map[string]int64) (Source, error) {
					return &plainSource{clock: o.Clock, finite: true, lines: []byte(lines.String())}, nil
				},
			}}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// TestControlCrash cuts the power at every operation of the run that takes up a control file: of
// whatever the journal kept, every entry of the file is journaled once in the end, and in order.
func TestControlCrash(t *testing.T) {
	base := fewRows(t)
	desk, _ := readDesk(t, base)
	bodies := voidsOf(t, desk, "e0", "e1", "e2", "e3")
	gift := &engine.Credit{ID: "gift", Account: "acme", Currency: "EUR", Amount: decimal.AmountOf(5)}
	late := &engine.Credit{ID: "gift", Account: "new", Currency: "EUR", Amount: decimal.AmountOf(7)}
	change := &engine.Change{Accounts: []engine.AccountChange{{ID: "new", Zone: "UTC"}}}
	for _, list := range [][]engine.Body{
		{bodies[0], gift, change, late, bodies[1], bodies[2], bodies[3]},
		{bodies[3], gift, bodies[2], bodies[1], bodies[0]},
	} {
		crashes, partial := 0, 0
		crashed := func(n int, tear fixtures.Tear, seed uint64) (left *fixtures.SimFS, write bool) {
			fs := base.Clone()
			putControl(t, fs, EncodeControl(list...))
			last := fs.Ops() + n
			fs.CrashAt(last)
			if controlRun(fs, nil) == nil {
				return nil, false
			}
			crashes++
			write = strings.HasPrefix(fs.Trace()[last-1], "write journal/")
			return fs.Crash(tear, rand.New(rand.NewPCG(uint64(n), seed))), write
		}
		for n := 1; ; n++ {
			left, write := crashed(n, fixtures.TearKeep, 0)
			if left == nil {
				break
			}
			checkTaken(t, fmt.Sprintf("operation %d", n), left, list)
			for seed := uint64(0); write && seed < 12; seed++ {
				tear := []fixtures.Tear{fixtures.TearByte, fixtures.TearSector, fixtures.TearMix}[seed%3]
				left, _ := crashed(n, tear, seed)
				if tornControl(t, left, list) {
					partial++
				}
				checkTaken(t, fmt.Sprintf("operation %d, %s, seed %d", n, tear, seed), left, list)
			}
		}
		t.Logf("%d crashes, %d of their outcomes had a part of the file", crashes, partial)
		if crashes < 10 || partial == 0 {
			t.Error("the crashes are not those that this is for")
		}
	}
}

func putControl(t *testing.T, fs store.FS, payload []byte) {
	t.Helper()
	dir, err := store.OpenReadOnly(fs)
	if err == nil {
		_, _, err = dir.PutControl(payload)
		err = errors.Join(err, dir.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tornControl reports whether the journal has some of the bodies and not all.
func tornControl(t *testing.T, fs *fixtures.SimFS, list []engine.Body) bool {
	t.Helper()
	fs = fs.Clone()
	dir, err := store.Open(fs, store.Options{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := readEntries(dir)
	if err = errors.Join(err, dir.Close()); err != nil {
		t.Fatal(err)
	}
	n := len(bodiesAmong(entries, list))
	return n > 0 && n < len(list)
}

// bodiesAmong returns the entries that are of a list, as places in the list.
func bodiesAmong(entries []*engine.Entry, list []engine.Body) (places []int) {
	for _, e := range entries {
		body := e.Body
		if c, ok := body.(*engine.Change); ok {
			bare := *c
			bare.File = engine.Digest{}
			body = &bare
		}
		have := engine.AppendEntry(nil, &engine.Entry{Body: body})
		for i, b := range list {
			if bytes.Equal(have, engine.AppendEntry(nil, &engine.Entry{Body: b})) {
				places = append(places, i)
			}
		}
	}
	return places
}

// checkTaken runs what a crash left, and again with the file put once more, and looks at what the
// journal has of it.
func checkTaken(t *testing.T, what string, fs *fixtures.SimFS, list []engine.Body) {
	t.Helper()
	for range 2 {
		putControl(t, fs, EncodeControl(list...))
		err := controlRun(fs, func(o *Options) {
			o.Judged = func(_ string, list []Judged) { t.Errorf("%s: rejected %v", what, list) }
			o.Refused = func(_, why string) { t.Errorf("%s: refused: %s", what, why) }
		})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	desk, dir := readDesk(t, fs)
	entries, err := readEntries(dir)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	places := bodiesAmong(entries, list)
	right := len(places) == len(list)
	for i := range places {
		right = right && places[i] == i
	}
	if !right {
		t.Errorf("%s: the journal has %v of the file", what, places)
	}
	for _, c := range desk.view.Controls() {
		if c.Source.Name == engine.Corrections && (c.Read != 4 || c.Counts[engine.Accepted] != 4) {
			t.Errorf("%s: control totals %+v", what, c)
		}
	}
}

// TestCorrectionsTold gives corrections of which some can't count: the writer is told which and
// why, in the order of the file, and the others count.
func TestCorrectionsTold(t *testing.T) {
	fs := fewRows(t)
	desk, _ := readDesk(t, fs)
	bodies := voidsOf(t, desk, "e0", "e1", "e2")
	forged := *bodies[1].(*engine.Void)
	forged.Row = engine.OneRow(forged.Row, 0)
	forged.Row.Digest[0]++
	strange := *bodies[1].(*engine.Void)
	strange.Row = engine.OneRow(strange.Row, 0)
	strange.Row.ID.Bytes[0] = 'x'
	list := []engine.Body{bodies[0], &forged, bodies[1], bodies[0], &strange, bodies[2]}
	name := ""
	var got []Judged
	putControl(t, fs, EncodeControl(list...))
	err := controlRun(fs, func(o *Options) {
		o.Judged = func(of string, list []Judged) { name, got = of, list }
	})
	if err != nil || name == "" {
		t.Fatalf("%q: %v", name, err)
	}
	want := []Judged{
		{1, 0, engine.ReasonConflict}, {3, 0, engine.ReasonVoided}, {4, 0, engine.ReasonUnknownEvent},
	}
	// Whoever asks when that process has ended reads it in the journal.
	desk, _ = readDesk(t, fs)
	file := engine.Digest(sha256.Sum256(EncodeControl(list...)))
	told, err := desk.Rejected(t.Context(), name, file)
	if err != nil || fmt.Sprint(told) != fmt.Sprint(got) || len(got) == 0 {
		t.Errorf("the journal says %v, the process said %v: %v", told, got, err)
	}
	for i := range got {
		if i > 0 && got[i].Seq <= got[i-1].Seq || got[i].Seq == 0 {
			t.Errorf("positions %v", got)
		}
		got[i].Seq = 0
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("rejected %v, want %v", got, want)
	}
}

// TestFindEvents finds every event of a journal and its archive as a plain reading does, rejected
// and corrected ones too, and without the journal's old segments.
func TestFindEvents(t *testing.T) {
	fs := archivedState(t)
	desk, dir := readDesk(t, fs)
	list := voidsOf(t, desk, "a-2-0", "a-2-1", "a-3-2")
	putControl(t, fs, EncodeControl(list...))
	if err := controlRun(fs, nil); err != nil {
		t.Fatal(err)
	}
	if err := archivedRun(fs, 4, false, nil); err != nil { // the rows of a day before, all duplicates
		t.Fatal(err)
	}
	segments, err := dir.Segments()
	if err != nil || len(segments) == 0 || segments[0].First == 1 {
		t.Fatalf("the journal goes back to its start: %v, %v", segments, err)
	}
	desk, _ = readDesk(t, fs)
	var wants []Wanted
	for day := 2; day < 5; day++ {
		for i := range 300 {
			wants = append(wants, Wanted{ID: fmt.Sprintf("a-%d-%d", day, i)})
		}
	}
	wants = append(wants, Wanted{ID: "nix"}, Wanted{ID: "a-2-0", Source: "other"})
	found, since, err := desk.FindEvents(t.Context(), wants, nil)
	if err != nil || since != engine.Past {
		t.Fatalf("since %s: %v", since, err)
	}
	for i := range found[:900] {
		f, id := &found[i], wants[i].ID
		if len(f.Versions) != 1 || string(f.Versions[0].Row.ID.At(0)) != id {
			t.Fatalf("event %s: %+v", id, f)
		}
		v := &f.Versions[0]
		if voided := id == "a-2-0" || id == "a-2-1"; voided != (v.Voided != 0) {
			t.Errorf("event %s is taken back by %d", id, v.Voided)
		}
		if amended := id == "a-3-2"; amended != (v.Row.Time[0]%(60*engine.Second) == engine.Second) {
			t.Errorf("event %s is of %s", id, v.Row.Time[0])
		}
		again := id[:4] == "a-4-"
		if (f.Rejected == 1) != again || again && f.Why != engine.ReasonDuplicate {
			t.Errorf("event %s: %d rejected, %s", id, f.Rejected, f.Why)
		}
	}
	if n := len(found[900].Versions) + len(found[901].Versions); n != 0 {
		t.Errorf("%d events that are not there", n)
	}
}

// TestArrivedSince begins to read at any instant: nothing that came then or later is left out, and
// the end of the history is not read from its start.
func TestArrivedSince(t *testing.T) {
	for _, pruned := range []bool{false, true} {
		fs := archivedState(t)
		if pruned {
			if err := archivedRun(fs, 5, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		_, dir := readDesk(t, fs)
		entries, err := readEntries(dir)
		if err != nil {
			t.Fatal(err)
		}
		h, err := OpenHistory(dir)
		if err != nil {
			t.Fatal(err)
		}
		late := 0
		for _, e := range entries {
			for _, at := range []engine.Micros{e.At, e.At + 1} {
				from, _, err := h.arrivedSince(at)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range entries {
					if o.Seq < from && o.At >= at {
						t.Fatalf("pruned %v: from %d leaves out %d of %s, for %s", pruned, from, o.Seq, o.At, at)
					}
				}
				if from > 1 {
					late++
				}
			}
		}
		if late == 0 {
			t.Error("everything is read from the start")
		}
	}
}

package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// archivedState is a state of five runs on small segments; all that is finished is archived, and
// nothing is trimmed.
func archivedState(t *testing.T) *fixtures.SimFS {
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
	for day := 2; day < 5 && err == nil; day++ {
		err = archivedRun(fs, day, true, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// archivedRun bills the usage of one day in March.
func archivedRun(fs store.FS, day int, keep bool, say func(string)) error {
	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, `{"specversion":"1.0","id":"a-%d-%d","source":"s","type":"llm",`+
			`"subject":"acme","time":"2026-03-%02dT10:00:00Z","data":{"n":%d,"model":"x%d"}}`+"\n",
			day, i, day, i, i%7)
	}
	clock := &simClock{wall: utc(2026, 3, 10+day), running: time.Duration(day) * time.Hour}
	dir, err := store.Open(fs, store.Options{Floor: -1, Segment: 4096})
	if err != nil {
		return err
	}
	st, err := Restore(dir, 1, true, nil)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	r, err := NewRun(Options{
		State: st, Settings: engine.DefaultSettings, UntilEOF: true, CloseAt: engine.Past,
		Clock: clock, ClockOK: true, Say: say, KeepJournal: keep, BatchRows: 100,
		Sources: []SourceOptions{{
			Entry: engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true}, Format: 1,
			Open: func(map[string]int64) (Source, error) {
				return &monthSource{clock, fmt.Sprint(clock.wall), []byte(lines.String())}, nil
			},
		}},
	})
	if err == nil {
		err = r.Do(context.Background())
	}
	return errors.Join(err, st.Outbox.Close(), dir.Close())
}

// replayAll proves a state directory from its first entry.
func replayAll(fs store.FS) error {
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		return err
	}
	h, err := OpenHistory(dir)
	if err != nil {
		return err
	}
	a, err := Replay(context.Background(), h, ReplayOptions{})
	if err == nil {
		err = a.Diverged
	}
	return err
}

func archiveNames(t *testing.T, fs *fixtures.SimFS) (parts []string) {
	t.Helper()
	names, err := fs.ReadDir("archive")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, _, ok := store.ParseArchiveName(name); ok {
			parts = append(parts, name)
		}
	}
	if len(parts) < 3 {
		t.Fatalf("%d archive files", len(parts))
	}
	return parts
}

// TestTrimNeedsTheArchive harms the archive before a run may trim: the journal keeps what the
// archive does not hold, and what can be is archived again.
func TestTrimNeedsTheArchive(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, fs *fixtures.SimFS)
		says string // the run says so; "": nothing
		heal bool   // the archive is whole again
	}{
		{"nothing", func(*testing.T, *fixtures.SimFS) {}, "", true},
		{"a file is gone", func(t *testing.T, fs *fixtures.SimFS) {
			if err := fs.Remove("archive/" + archiveNames(t, fs)[1]); err != nil {
				t.Fatal(err)
			}
		}, "", true},
		{"a file has rotted", func(t *testing.T, fs *fixtures.SimFS) {
			name := "archive/" + archiveNames(t, fs)[0]
			b := slices.Clone(fs.Bytes(name))
			for i := range 60 {
				b[len(b)/4+i] ^= 0xff
			}
			fs.SetBytes(name, b)
		}, "written anew from the journal", true},
		{"a file of a foreign name says that it holds all", func(t *testing.T, fs *fixtures.SimFS) {
			for _, name := range archiveNames(t, fs) {
				if err := fs.Remove("archive/" + name); err != nil {
					t.Fatal(err)
				}
			}
			fs.SetBytes("archive/"+store.ArchiveName(1, 1_000_000), []byte("of another"))
		}, "move it out of the archive|it is no file of this journal's segments", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := archivedState(t)
			tt.harm(t, fs)
			var said []string
			for day := 8; day < 11; day++ {
				err := archivedRun(fs, day, false, func(s string) { said = append(said, s) })
				if err != nil {
					t.Fatal(err)
				}
			}
			text := strings.Join(said, "\n")
			if tt.says != "" && !slices.ContainsFunc(strings.Split(tt.says, "|"), func(s string) bool {
				return strings.Contains(text, s)
			}) {
				t.Errorf("the runs say %q, want %q", text, tt.says)
			}
			if tt.heal {
				if err := replayAll(fs); err != nil {
					t.Error(err)
				}
				return
			}
			if err := fs.Remove("archive/" + store.ArchiveName(1, 1_000_000)); err != nil {
				t.Fatal(err)
			}
			if err := replayAll(fs); err != nil {
				t.Errorf("without the foreign file: %v", err)
			}
		})
	}
}

// TestTrimNeedsDurableNames lets every operation of the archivist fail, or the process die there,
// then another one goes on, then the power is cut: the history is whole each time. By default it
// draws a third of these; with -law.times it takes all.
func TestTrimNeedsDurableNames(t *testing.T) {
	base := archivedState(t)
	for _, name := range archiveNames(t, base) {
		if err := base.Remove("archive/" + name); err != nil {
			t.Fatal(err)
		}
	}
	if err := base.SyncDir("archive"); err != nil {
		t.Fatal(err)
	}
	archive := func(fs store.FS) error {
		dir, err := store.Open(fs, store.Options{Floor: -1, Segment: 4096})
		if err != nil {
			return err
		}
		a := &archivist{dir: dir, say: func(string) {}, note: func(ArchiveStatus) {}}
		var status ArchiveStatus
		return a.catchUp(context.Background(), &status)
	}
	calm := base.Clone()
	if err := archive(calm); err != nil {
		t.Fatal(err)
	}
	seed, points := rand.Uint64(), 0
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0xa7c))
	for _, dies := range []bool{false, true} {
		for n := 1; n <= calm.Ops(); n++ {
			// What gives and takes names.
			if op := calm.Trace()[n-1]; !strings.HasPrefix(op, "rename") &&
				!strings.HasPrefix(op, "syncdir") && !strings.HasPrefix(op, "remove") {
				continue
			}
			if *lawTimes == 1 && r.IntN(3) > 0 {
				continue
			}
			fs := base.Clone()
			if dies {
				fs.CrashAt(n)
			} else {
				fs.FailAt(n, syscall.EIO)
			}
			if err := archive(fs); err == nil {
				continue // nobody minds that this failed
			}
			points++
			op := fs.Trace()[n-1]
			fs = fs.Restart() // what is not durable is still there
			if err := archive(fs); err != nil {
				t.Fatalf("after a failure at op %d (%s): %v", n, op, err)
			}
			left := fs.Crash(fixtures.TearLose, rand.New(rand.NewPCG(uint64(n), 1)))
			if err := replayAll(left); err != nil {
				t.Fatalf("a failure at op %d (%s; the process dies: %v), then a power cut: %v", n, op,
					dies, err)
			}
		}
	}
	if points < 10 {
		t.Fatalf("%d points", points)
	}
	t.Logf("%d points", points)
}

// TestArchiveLeavesRoom archives on a volume that is nearly full: the room that the journal's floor
// keeps is left, with as much again.
func TestArchiveLeavesRoom(t *testing.T) {
	fs := archivedState(t)
	for _, name := range archiveNames(t, fs) {
		if err := fs.Remove("archive/" + name); err != nil {
			t.Fatal(err)
		}
	}
	used := int64(0)
	for _, name := range fs.Files() {
		used += int64(len(fs.Bytes(name)))
	}
	const floor = 64 << 10
	fs.Limit(used + 2*floor + 100)
	dir, err := store.Open(fs, store.Options{Floor: floor, Segment: 4096})
	if err != nil {
		t.Fatal(err)
	}
	a := &archivist{dir: dir, keep: true, say: func(string) {}, note: func(ArchiveStatus) {}}
	var status ArchiveStatus
	err = a.catchUp(t.Context(), &status)
	var full *store.FullError
	if !errors.As(err, &full) || status.Files == 0 {
		t.Errorf("archived %d files, then %v", status.Files, err)
	}
	if free, err := fs.Free("."); err != nil || free < 2*floor-16<<10 {
		t.Errorf("%d bytes are free: %v", free, err)
	}
	for _, name := range fs.Files() {
		if strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s is left", name)
		}
	}
}

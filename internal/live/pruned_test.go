package live

import (
	"path"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// hookFS calls before, once, when something is about to be done to a checkpoint's file.
type hookFS struct {
	store.FS
	do     string // "open state", "stat state", "open manifest"
	before func()
}

func (h *hookFS) hook(do, name string) {
	if f := h.before; f != nil && strings.HasPrefix(name, "checkpoint/") &&
		do+" "+path.Base(name) == h.do {
		h.before = nil
		f()
	}
}

func (h *hookFS) Open(name string) (store.File, error) {
	h.hook("open", name)
	return h.FS.Open(name)
}

func (h *hookFS) Stat(name string) (store.FileInfo, error) {
	h.hook("stat", name)
	return h.FS.Stat(name)
}

// TestReadBesidePruning restores a directory read-only while a process beside it writes checkpoints
// until the one that was about to be read is gone: then a newer one is read, and nothing is amiss.
func TestReadBesidePruning(t *testing.T) {
	fs, clock := fixtures.NewSimFS(), &simClock{wall: utc(2026, 1, 1)}
	g := store.Genesis{Genesis: NewGenesis()}
	dir, err := store.Create(fs, g, store.Options{Floor: -1})
	if err == nil {
		err = dir.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	write := func(times int) (end engine.Seq) {
		for range times {
			clock.pass(engine.Hour)
			change := &engine.Change{Reason: clock.wall.String()}
			entries, _, err := sequence(fs, clock, engine.DefaultSettings, EncodeControl(change))
			if err != nil {
				t.Fatal(err)
			}
			end = entries[len(entries)-1].Seq
		}
		return end
	}
	for _, do := range []string{"open state", "stat state", "open manifest"} {
		t.Run(do, func(t *testing.T) {
			first := write(1)
			var end engine.Seq
			hook := &hookFS{FS: fs, do: do, before: func() { end = write(6) }}
			dir, err := store.OpenReadOnly(hook)
			if err != nil {
				t.Fatal(err)
			}
			desk, err := ReadDesk(dir)
			if err != nil || hook.before != nil {
				t.Fatalf("left %v: %v", hook.before != nil, err)
			}
			at, seq := desk.st.Checkpoint, desk.view.Standing().Seq
			if at <= first || seq != end || len(desk.Notices()) > 0 {
				t.Errorf("restored checkpoint %d and on to %d of %d, notices %q", at, seq, end,
					desk.Notices())
			}
			if err := desk.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

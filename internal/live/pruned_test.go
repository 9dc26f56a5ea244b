package live

import (
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// openHook calls before, once, when a file with a suffix is about to be opened.
type openHook struct {
	store.FS
	suffix string
	before func()
}

func (h *openHook) Open(name string) (store.File, error) {
	if f := h.before; f != nil && strings.HasSuffix(name, h.suffix) {
		h.before = nil
		f()
	}
	return h.FS.Open(name)
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
			credit := &engine.Credit{ID: clock.wall.String(), Account: "a", Currency: "EUR"}
			entries, _, err := sequence(fs, clock, engine.DefaultSettings, EncodeControl(credit))
			if err != nil {
				t.Fatal(err)
			}
			end = entries[len(entries)-1].Seq
		}
		return end
	}
	first := write(1)
	for _, suffix := range []string{"/state", "/manifest"} {
		var end engine.Seq
		hook := &openHook{FS: fs, suffix: suffix, before: func() { end = write(6) }}
		if dir, err = store.OpenReadOnly(hook); err != nil {
			t.Fatal(err)
		}
		desk, err := ReadDesk(dir)
		if err != nil {
			t.Fatalf("gone at %s: %v", suffix, err)
		}
		if hook.before != nil {
			t.Fatalf("no file %s was opened", suffix)
		}
		if at := desk.st.Checkpoint; at <= first || len(desk.Notices()) > 0 {
			t.Errorf("gone at %s: restored checkpoint %d of a journal of %d, notices %q", suffix, at,
				end, desk.Notices())
		}
		if seq := desk.view.Standing().Seq; seq != end {
			t.Errorf("gone at %s: restored to %d of %d", suffix, seq, end)
		}
		if err := desk.Close(); err != nil {
			t.Error(err)
		}
		first = desk.st.Checkpoint
	}
}

package live

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// TestOpeningWithOtherKeys changes what an opening says of one event that counted: it would take
// the event, sent again, for another one.
func TestOpeningWithOtherKeys(t *testing.T) {
	_, archive := monthsState(t)
	h, err := OpenArchive([]string{archive})
	if err != nil {
		t.Fatal(err)
	}
	o := &h.openings[1]
	r, err := openOpening(o.Name, o.open)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() // read only
	forged := filepath.Join(t.TempDir(), store.OpeningName(o.Seq))
	f, err := os.Create(forged)
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	keys := func(yield func([]engine.Key) error) error {
		return r.Keys(func(keys []engine.Key) error {
			keys[0].Digest++
			changed = true
			return yield(keys)
		})
	}
	_, err = formats.WriteOpening(f, o.OpeningInfo, r.Records, keys)
	if err = errors.Join(err, f.Close()); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if h, err = OpenArchive([]string{forged, h.parts[0].Name}); err != nil {
		t.Fatal(err)
	}
	st := &State{Shards: NewShards(1), prover: newProver()}
	if err := st.restoreOpening(&h.openings[0]); err == nil ||
		!strings.Contains(err.Error(), "its keys are not those") {
		t.Errorf("restored: %v", err)
	}
}

// TestTimeGoesBack gives the second file of an archive arrivals before those of the first.
func TestTimeGoesBack(t *testing.T) {
	_, archive := monthsState(t)
	h, err := OpenArchive([]string{archive})
	if err != nil {
		t.Fatal(err)
	}
	p := &h.parts[1]
	forged := filepath.Join(t.TempDir(), store.ArchiveName(p.First, p.Last))
	f, err := os.Create(forged)
	if err != nil {
		t.Fatal(err)
	}
	g := engine.Genesis{Journal: p.Journal, Partition: p.Partition}
	_, err = formats.WriteArchive(f, g, func(yield func(*engine.Entry) error) error {
		return eachEntry(t.Context(), h, p.First, p.Last, func(e *engine.Entry) error {
			return yield(&engine.Entry{Seq: e.Seq, At: e.At - 300*engine.OneDay, Body: e.Body})
		})
	})
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	paths := []string{h.parts[0].Name, forged}
	for i := range h.parts[2:] {
		paths = append(paths, h.parts[2+i].Name)
	}
	if h, err = OpenArchive(paths); err != nil {
		t.Fatal(err)
	}
	_, err = Replay(t.Context(), h, ReplayOptions{})
	var fault *formats.FileError
	if !errors.As(err, &fault) || fault.Column != "at" || fault.Name != forged {
		t.Errorf("replayed: %v", err)
	}
}

// TestDeviceIsNoArchive names what is no regular file: to open a pipe would wait for ever.
func TestDeviceIsNoArchive(t *testing.T) {
	h, err := OpenArchive([]string{os.DevNull})
	if err != nil || len(h.Faults()) != 1 ||
		!strings.Contains(h.Faults()[0].Error(), "not a regular file") {
		t.Errorf("a device is opened: %v", err)
	}
}

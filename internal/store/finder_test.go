package store_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// TestFindFrames finds every position of a journal of several segments, from the last to the first
// and in any order, beside the writer, and of one that was trimmed.
func TestFindFrames(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	fs := fixtures.NewSimFS()
	d, h := newDir(t, fs, small), &history{}
	finder := d.Frames()
	check := func(seq engine.Seq) {
		t.Helper()
		first, count, err := finder.Span(seq)
		if err != nil {
			t.Fatalf("position %d: %v", seq, err)
		}
		if rng.IntN(4) == 0 {
			seq = first // Find alone, or behind Span
		}
		got, err := finder.Find(seq)
		if err != nil {
			t.Fatalf("position %d: %v", seq, err)
		}
		for _, want := range h.appended {
			if want.First <= seq && seq < want.First+want.Count && (got.First != want.First ||
				got.Count != want.Count || first != want.First || count != want.Count ||
				!bytes.Equal(got.Payload, want.Payload) || finder.Segment() > seq) {
				t.Fatalf("position %d: frame %d of %d, span %d of %d", seq, got.First, got.Count, first, count)
			}
		}
	}
	for range 6 { // the finder goes on while the journal grows
		if err := errors.Join(h.append(d.Journal(), rng, 8), h.sync(d.Journal())); err != nil {
			t.Fatal(err)
		}
		for seq := h.next() - 1; seq >= 1; seq-- {
			check(seq)
		}
		for range 20 {
			check(1 + engine.Seq(rng.Uint64N(uint64(h.next()-1))))
		}
	}
	segments, err := d.Segments()
	if err != nil || len(segments) < 4 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	cut := segments[2].First
	if err := d.Trim(cut); err != nil {
		t.Fatal(err)
	}
	check(cut)
	if _, err := finder.Find(cut - 1); !errors.Is(err, store.ErrTrimmed) {
		t.Errorf("position %d was trimmed: %v", cut-1, err)
	}
	if err := errors.Join(finder.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}

// TestFindDamage changes bytes of a segment: whatever the finder gives is what was written, and the
// damage is named where it matters.
func TestFindDamage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	whole := fixtures.NewSimFS()
	d, h := newDir(t, whole, store.Options{Floor: -1}), &history{}
	if err := errors.Join(h.append(d.Journal(), rng, 12), h.sync(d.Journal()), d.Close()); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for range 150 {
		fs := whole.Clone()
		for _, name := range fs.Files() {
			if strings.HasPrefix(name, "journal/") {
				b := bytes.Clone(fs.Bytes(name))
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				fs.SetBytes(name, b)
			}
		}
		d, err := store.OpenReadOnly(fs)
		if err != nil {
			t.Fatal(err)
		}
		finder := d.Frames()
		for _, want := range h.appended {
			got, err := finder.Find(want.First)
			if errors.Is(err, store.ErrCorrupt) {
				refused++
			} else if err != nil || !bytes.Equal(got.Payload, want.Payload) || got.First != want.First {
				t.Fatalf("position %d: %d bytes, %v", want.First, len(got.Payload), err)
			}
		}
		if err := errors.Join(finder.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if refused < 100 {
		t.Errorf("%d frames were refused", refused)
	}
}

package live

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/store"
)

// simHistory opens the history of a state on a simulated disk.
func simHistory(t *testing.T, fs store.FS) *History {
	t.Helper()
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// another returns a copy of an entry, whose first number is another if alter says so.
func another(e *engine.Entry, alter bool) (*engine.Entry, bool, error) {
	e, err := engine.DecodeEntry(engine.AppendEntry(nil, e))
	if err != nil || !alter {
		return e, false, err
	}
	b, ok := e.Body.(*engine.Batch)
	if !ok || b.Len == 0 {
		return e, false, nil
	}
	for i := range b.Props {
		if p := &b.Props[i]; p.Kind == engine.NumberColumn {
			p.Numbers[0] = decimal.FromInt(77_777)
			b.Digest = formats.RowDigests(b, nil)
			return e, true, nil
		}
	}
	return e, false, nil
}

// forgePart writes an archive file anew with another quantity in it: everything that the file says
// of itself is right. It returns nil where the part has no quantity.
func forgePart(t *testing.T, h *History, p *Part) []byte {
	t.Helper()
	var w bytes.Buffer
	done := false
	g := engine.Genesis{Journal: p.Journal, Partition: p.Partition}
	_, err := formats.WriteArchive(&w, g, func(yield func(*engine.Entry) error) error {
		done = false // it is asked twice
		return eachEntry(t.Context(), h, p.First, p.Last, func(e *engine.Entry) error {
			e, altered, err := another(e, !done)
			done = done || altered
			return errors.Join(err, yield(e))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if !done {
		return nil
	}
	return w.Bytes()
}

// TestForgedPartOfState forges every archive file of a state whose journal still holds everything,
// row digests and all: only a replay of the archive files themselves sees it.
func TestForgedPartOfState(t *testing.T) {
	fs := archivedState(t)
	h := simHistory(t, fs)
	p, err := ProveArchive(t.Context(), h, nil)
	if err != nil || p.Seals == 0 || p.Waiting > 0 || p.Last != h.parts[len(h.parts)-1].Last {
		t.Fatalf("the archive proves %+v: %v", p, err)
	}
	forged := 0
	for i := range h.parts {
		part := &h.parts[i]
		b := forgePart(t, h, part)
		if b == nil {
			continue
		}
		forged++
		harmed := fs.Clone()
		harmed.SetBytes(part.Name, b)
		v, err := VerifyArchive(t.Context(), simHistory(t, harmed), true, nil)
		if err != nil || len(v.Faults) > 0 {
			t.Errorf("%s: the files themselves show it: %v, %v", part.Name, v.Faults, err)
		}
		var diverged *DivergedError
		if _, err := ProveArchive(t.Context(), simHistory(t, harmed), nil); !errors.As(err, &diverged) {
			t.Errorf("%s: %v", part.Name, err)
		}
	}
	t.Logf("%d of %d files forged", forged, len(h.parts))
	if forged < 3 {
		t.Error("too few")
	}
}

// TestForgedEndOfArchive forges the last archive file where no seal of the archive speaks of what
// was changed: the journal behind it has the seal.
func TestForgedEndOfArchive(t *testing.T) {
	fs := archivedState(t)
	h := simHistory(t, fs)
	tried := 0
	for n := 1; n < len(h.parts); n++ {
		short := fs.Clone()
		for _, p := range h.parts[n:] {
			if err := short.Remove(p.Name); err != nil {
				t.Fatal(err)
			}
		}
		p, err := ProveArchive(t.Context(), simHistory(t, short), nil)
		if err != nil || p.Waiting > 0 || p.Last != h.parts[n-1].Last {
			t.Fatalf("%d files prove %+v: %v", n, p, err)
		}
		b := forgePart(t, h, &h.parts[n-1])
		if b == nil || h.parts[n-1].Seals > 0 {
			continue
		}
		tried++
		short.SetBytes(h.parts[n-1].Name, b)
		var diverged *DivergedError
		if _, err := ProveArchive(t.Context(), simHistory(t, short), nil); !errors.As(err, &diverged) {
			t.Errorf("%d files: %v", n, err)
		}
	}
	if tried == 0 {
		t.Error("every file has a seal")
	}
}

// rewriteOpening writes an opening anew with something else in what it says of itself.
func rewriteOpening(t *testing.T, o *Opening, change func(*formats.OpeningInfo)) []byte {
	t.Helper()
	r, err := openOpening(o.Name, o.open)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() // read only
	info := o.OpeningInfo
	change(&info)
	var w bytes.Buffer
	if _, err := formats.WriteOpening(&w, info, r.Records, r.Keys); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

// forgeOpening makes an opening of a history in which one quantity before it is another. All that
// the file says of itself is true of its state.
func forgeOpening(t *testing.T, h *History, o *Opening) []byte {
	t.Helper()
	s, prover, done := NewShards(1), newProver(), false
	err := eachEntry(t.Context(), h, 1, o.Seq, func(e *engine.Entry) error {
		e, altered, err := another(e, !done)
		done = done || altered
		return errors.Join(err, s.Apply(e, func(*engine.Effects) error { return nil }))
	})
	if err != nil || !done {
		t.Fatal(done, err)
	}
	prover.pin(s)
	info := o.OpeningInfo
	info.Billing, info.Sealed = prover.digests()
	var w bytes.Buffer
	_, err = formats.WriteOpening(&w, info, func(yield func([]byte) error) error {
		return errors.Join(yield(prover.view.AppendGlobals(nil)), prover.view.EachAccount(yield))
	}, func(yield func([]engine.Key) error) error {
		for _, keys := range s.drain() {
			if err := yield(keys); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

// lateOpening returns a state and an opening of it before which there was usage.
func lateOpening(t *testing.T) (*fixtures.SimFS, *History, *Opening) {
	t.Helper()
	fs := archivedState(t)
	h := simHistory(t, fs)
	if len(h.openings) == 0 {
		t.Fatal("no opening")
	}
	return fs, h, &h.openings[len(h.openings)-1]
}

// TestOpeningSaysOther changes what an opening says of itself and no seal speaks of, and then its
// whole state: who verifies, restores it, or asks as of its month hears of it.
func TestOpeningSaysOther(t *testing.T) {
	fs, h, o := lateOpening(t)
	for _, tt := range []struct {
		name string
		make func() []byte
		says string
	}{
		{"month", func() []byte {
			return rewriteOpening(t, o, func(i *formats.OpeningInfo) { i.Month = "2026-07" })
		}, "it says that it is of 2026-07, its usage has come to 2026-03"},
		{"instant", func() []byte {
			return rewriteOpening(t, o, func(i *formats.OpeningInfo) { i.At++ })
		}, "its state is of "},
		{"seal before", func() []byte {
			return rewriteOpening(t, o, func(i *formats.OpeningInfo) { i.Before[3]++ })
		}, "another seal"},
		{"state", func() []byte { return forgeOpening(t, h, o) }, "has another billing digest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			harmed := fs.Clone()
			harmed.SetBytes(o.Name, tt.make())
			h := simHistory(t, harmed)
			v, err := VerifyArchive(t.Context(), h, false, nil)
			if err != nil || len(v.Faults) != 1 || !strings.Contains(v.Faults[0].Error(), tt.says) {
				t.Errorf("verified: %v, %v", v.Faults, err)
			}
			month := h.openings[len(h.openings)-1].Month
			_, err = DeskAsOf(h.dir, month)
			var fault *formats.FileError
			if !errors.As(err, &fault) {
				t.Errorf("as of %s: %v", month, err)
			}
		})
	}
}

// TestOpeningWithoutSeal has an opening whose run died before its seal was there: a state waits for
// it and says so, files alone can't be trusted.
func TestOpeningWithoutSeal(t *testing.T) {
	fs, h, o := lateOpening(t)
	died := fixtures.NewSimFS()
	dir, err := store.Create(died, store.Genesis{Genesis: engine.Genesis{Journal: h.journal}},
		store.Options{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	err = eachEntry(t.Context(), h, 1, o.Seq, func(e *engine.Entry) error {
		return dir.Journal().Append(e.Seq, e.Seqs(), engine.AppendEntry(nil, e))
	})
	if err == nil {
		staged, serr := dir.StageArchive(store.OpeningName(o.Seq), func(w io.Writer) error {
			_, err := w.Write(fs.Bytes(o.Name))
			return err
		})
		if serr != nil {
			t.Fatal(serr)
		}
		err = errors.Join(staged.Commit(), dir.Journal().Promise(), dir.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	state := simHistory(t, died)
	v, err := VerifyArchive(t.Context(), state, false, nil)
	if err != nil || len(v.Faults) > 0 || len(v.Notes) != 1 || v.Openings != 1 ||
		!strings.Contains(v.Notes[0].Error(), "no seal behind it yet confirms it") {
		t.Errorf("a state: %+v, %v", v, err)
	}
	var none *UnconfirmedError
	if _, err := DeskAsOf(state.dir, o.Month); !errors.As(err, &none) {
		t.Errorf("as of: %v", err)
	}
	alone := &History{name: "x", journal: h.journal, openings: state.openings}
	v, err = VerifyArchive(t.Context(), alone, false, nil)
	if err != nil || len(v.Faults) != 1 || len(v.Notes) > 0 || v.Openings != 0 {
		t.Errorf("files: %+v, %v", v, err)
	}
	if damage, way := DamageOf(v.Faults[0]); damage != ArchiveDamage || way == "" {
		t.Errorf("it is damage %d, the way out is %q", damage, way)
	}
}

// TestVerifyNamesEveryFault damages several files in several ways.
func TestVerifyNamesEveryFault(t *testing.T) {
	fs, h, o := lateOpening(t)
	fs.SetBytes(h.parts[0].Name, nil)
	fs.SetBytes(h.parts[2].Name, []byte("no Parquet"))
	b := bytes.Clone(fs.Bytes(h.parts[4].Name))
	for i := range 60 {
		b[len(b)/4+i] ^= 0xff
	}
	fs.SetBytes(h.parts[4].Name, b)
	fs.SetBytes(o.Name, nil)
	v, err := VerifyArchive(t.Context(), simHistory(t, fs), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{h.parts[0].Name, h.parts[2].Name, h.parts[4].Name, o.Name} {
		n := 0
		for _, fault := range v.Faults {
			if strings.HasPrefix(fault.Error(), name) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s is named %d times in %q", name, n, v.Faults)
		}
	}
}

package live

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"billctl/fixtures"
	"billctl/internal/store"
)

// copyOf copies the archive of a state into a directory.
func copyOf(t *testing.T, fs, to store.FS) (*Copied, error) {
	t.Helper()
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	return CopyArchive(t.Context(), dir, to, nil)
}

// copiedState is a state with an archive, and a copy of it.
func copiedState(t *testing.T) (fs, to *fixtures.SimFS) {
	t.Helper()
	fs, to = archivedState(t), fixtures.NewSimFS()
	if _, err := copyOf(t, fs, to); err != nil {
		t.Fatal(err)
	}
	return fs, to
}

// sameFiles compares the Parquet files of two directories.
func sameFiles(t *testing.T, got, want *fixtures.SimFS) {
	t.Helper()
	names := func(fs *fixtures.SimFS) []string {
		return slices.DeleteFunc(fs.Files(), func(s string) bool {
			return !strings.HasSuffix(s, ".parquet")
		})
	}
	if a, b := names(got), names(want); !slices.Equal(a, b) {
		t.Fatalf("files %v, want %v", a, b)
	}
	for _, name := range names(want) {
		if !bytes.Equal(got.Bytes(name), want.Bytes(name)) {
			t.Errorf("%s is another", name)
		}
	}
}

// TestCopyMendsItself harms every file of a copy, in several ways: the next call writes it anew.
func TestCopyMendsItself(t *testing.T) {
	fs, want := copiedState(t)
	h, err := archiveOf(want)
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string][]byte{}
	for i := range h.parts {
		forged[h.parts[i].Name] = forgePart(t, h, &h.parts[i])
	}
	harms := map[string]func(name string, b []byte) []byte{
		"empty":  func(string, []byte) []byte { return nil },
		"cut":    func(_ string, b []byte) []byte { return b[:len(b)/2] },
		"rotted": func(_ string, b []byte) []byte { b[len(b)/3] ^= 0x20; return b },
		"footer": func(_ string, b []byte) []byte { b[len(b)-20] ^= 0x20; return b },
		"forged": func(name string, _ []byte) []byte { return forged[name] },
	}
	done := 0
	for _, name := range want.Files() {
		if name == copyLock {
			continue
		}
		for what, harm := range harms {
			b := harm(name, bytes.Clone(want.Bytes(name)))
			if what == "forged" && b == nil {
				continue
			}
			to := want.Clone()
			to.SetBytes(name, b)
			c, err := copyOf(t, fs, to)
			if err != nil || c.Made != 1 {
				t.Errorf("%s, %s: %+v, %v", name, what, c, err)
				continue
			}
			sameFiles(t, to, want)
			done++
		}
	}
	t.Logf("%d files harmed", done)
}

// TestCopyIntoOthersFiles names files that are in the way of a copy, and changes nothing.
func TestCopyIntoOthersFiles(t *testing.T) {
	fs, want := copiedState(t)
	_, other := copiedState(t)
	stray := store.ArchiveName(900_000, 900_001)
	for _, tt := range []struct {
		name string
		put  func(to *fixtures.SimFS)
		says string
	}{
		{"damaged and not of this copy", func(to *fixtures.SimFS) { to.SetBytes(stray, nil) },
			stray + ": it can't be read, and nothing of this copy has its name"},
		{"of another journal", func(to *fixtures.SimFS) {
			name := other.Files()[1]
			to.SetBytes(name, other.Bytes(name))
		}, "it is of journal"},
	} {
		to := want.Clone()
		tt.put(to)
		was := to.Clone()
		_, err := copyOf(t, fs, to)
		var archive *ArchiveError
		if !errors.As(err, &archive) || archive.Hint == "" || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
		sameFiles(t, to, was)
	}
}

// TestCopyOfDamage damages files of the state's archive. What the journal holds is written from it;
// else the damage is named and nothing of it is copied. A damaged opening is left out.
func TestCopyOfDamage(t *testing.T) {
	fs, want := copiedState(t)
	parts := archiveNames(t, fs)
	rot := func(fs *fixtures.SimFS, name string) {
		b := bytes.Clone(fs.Bytes(name))
		for i := range 60 {
			b[len(b)/4+i] ^= 0xff
		}
		fs.SetBytes(name, b)
	}
	for i, harm := range []func(fs *fixtures.SimFS, name string){
		rot,
		func(fs *fixtures.SimFS, name string) { fs.SetBytes(name, nil) },
		func(fs *fixtures.SimFS, name string) {
			if err := fs.Remove(name); err != nil {
				t.Fatal(err)
			}
		},
	} {
		harmed, to := fs.Clone(), fixtures.NewSimFS()
		for _, n := range []int{0, 2, 3} {
			harm(harmed, "archive/"+parts[n])
		}
		if _, err := copyOf(t, harmed, to); err != nil {
			t.Errorf("harm %d: %v", i, err)
			continue
		}
		sameFiles(t, to, want)
		// Once the journal has let go of the entries, there is no other place.
		trimmed := fs.Clone()
		if err := archivedRun(trimmed, 8, false, nil); err != nil {
			t.Fatal(err)
		}
		gone := trimmedPart(t, trimmed)
		harm(trimmed, "archive/"+gone)
		to = fixtures.NewSimFS()
		_, err := copyOf(t, trimmed, to)
		if damage, way := DamageOf(err); damage != ArchiveDamage || way == "" {
			t.Errorf("harm %d, trimmed: %v", i, err)
		}
		if slices.Contains(to.Files(), gone) {
			t.Errorf("harm %d: what is damaged was copied", i)
		}
	}
	h := simHistory(t, fs)
	name := h.openings[0].Name
	harmed := fs.Clone()
	rot(harmed, name)
	to := fixtures.NewSimFS()
	c, err := copyOf(t, harmed, to)
	if err != nil || len(c.LeftOut) != 1 || c.Openings != len(h.openings)-1 ||
		!strings.Contains(c.LeftOut[0].Error(), name) {
		t.Errorf("a damaged opening: %+v, %v", c, err)
	}
	// A good one of an earlier call stays.
	to = want.Clone()
	harmed.SetBytes(name, nil)
	if c, err = copyOf(t, harmed, to); err != nil || len(c.LeftOut) != 1 {
		t.Errorf("an opening that can't be read: %+v, %v", c, err)
	}
	sameFiles(t, to, want)
}

// trimmedPart is the last archive file whose entries the journal has let go. Where segments end
// hangs on the journal's random key, so which file that is does too.
func trimmedPart(t *testing.T, fs *fixtures.SimFS) (name string) {
	t.Helper()
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	segments, err := dir.Segments()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range archiveNames(t, fs) {
		if _, last, _ := store.ParseArchiveName(part); last < segments[0].First {
			name = part
		}
	}
	if name == "" {
		t.Fatalf("nothing was trimmed: the journal begins at %d", segments[0].First)
	}
	return name
}

// TestCopyAlone refuses a second call into the same directory at the same time.
func TestCopyAlone(t *testing.T) {
	fs, to := copiedState(t)
	lock, err := to.Lock(copyLock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copyOf(t, fs, to); !errors.Is(err, store.ErrLocked) {
		t.Errorf("beside another call: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := copyOf(t, fs, to); err != nil || c.Made != 0 {
		t.Errorf("after it: %+v, %v", c, err)
	}
}

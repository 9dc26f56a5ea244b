package store_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

func TestArchiveNames(t *testing.T) {
	for _, c := range []struct{ first, last engine.Seq }{{1, 1}, {7, 99}, {1, 1<<64 - 1}} {
		name := store.ArchiveName(c.first, c.last)
		first, last, ok := store.ParseArchiveName(name)
		if !ok || first != c.first || last != c.last {
			t.Errorf("%s is read as %d to %d, %v", name, first, last, ok)
		}
		if _, ok := store.ParseOpeningName(name); ok {
			t.Errorf("%s is taken for an opening", name)
		}
		opening := store.OpeningName(c.last)
		if mark, ok := store.ParseOpeningName(opening); !ok || mark != c.last {
			t.Errorf("%s is read as %d, %v", opening, mark, ok)
		}
		if _, _, ok := store.ParseArchiveName(opening); ok {
			t.Errorf("%s is taken for an archive file", opening)
		}
	}
	good := store.ArchiveName(5, 9)
	for _, name := range []string{
		"", "x.parquet", strings.TrimSuffix(good, ".parquet"), good + ".tmp", store.ArchiveName(9, 5),
		store.ArchiveName(0, 5), "0" + good, strings.Replace(good, "-", "_", 1), "opening-1.parquet",
		"opening-.parquet", "00000000000000000001-99999999999999999999.parquet",
	} {
		if _, _, ok := store.ParseArchiveName(name); ok {
			t.Errorf("%q is taken for an archive file", name)
		}
		if _, ok := store.ParseOpeningName(name); ok {
			t.Errorf("%q is taken for an opening", name)
		}
	}
}

// stageTwice writes one file of the archive, replaces it, and drops a third.
func stageTwice(fs store.FS) (stage int, err error) {
	d, err := store.Open(fs, small)
	if err != nil {
		return 0, err
	}
	for stage, text := range []string{"first", "second, which is longer"} {
		s, err := d.StageArchive(store.ArchiveName(1, 9), func(w io.Writer) error {
			for _, c := range []byte(text) { // in pieces, as a writer of columns does
				if _, err := w.Write([]byte{c}); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = s.Commit()
		}
		if err != nil {
			return stage, err
		}
	}
	_, err = d.StageArchive(store.OpeningName(4), func(w io.Writer) error {
		return errors.Join(errors.New("not written"), fmt.Errorf("at all"))
	})
	if errors.Is(err, fixtures.ErrCrashed) {
		return 2, err
	}
	if err == nil || !strings.Contains(err.Error(), "not written") {
		return 2, fmt.Errorf("a file whose writing fails: %v", err)
	}
	return 2, d.Close()
}

// TestStageCrash cuts the power at every operation: a file of the archive is whole or not there, a
// replaced one is the old or the new one, and nothing unfinished is left after the next opening.
func TestStageCrash(t *testing.T) {
	base := fixtures.NewSimFS()
	d, err := store.Create(base, testGenesis(1), small)
	if err == nil {
		err = d.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	whole := base.Clone()
	if _, err := stageTwice(whole); err != nil {
		t.Fatal(err)
	}
	if names := archived(t, whole); !slices.Equal(names, []string{"second, which is longer"}) {
		t.Fatalf("archived is %q", names)
	}
	points := 0
	for op := 1; op <= whole.Ops(); op++ {
		for tear := fixtures.Tear(0); tear < fixtures.NumTears; tear++ {
			fs := base.Clone()
			fs.CrashAt(op)
			stage, err := stageTwice(fs)
			if err == nil {
				continue // it had ended before
			}
			if !errors.Is(err, fixtures.ErrCrashed) {
				t.Fatal(err)
			}
			left := fs.Crash(tear, rand.New(rand.NewPCG(uint64(op), uint64(tear))))
			points++
			allowed := [][]string{nil, {"first"}, {"second, which is longer"}}
			got := archived(t, left)
			// What Commit returned from is there; what it had begun may be.
			if !slices.Equal(got, allowed[stage]) && !slices.Equal(got, allowed[min(stage+1, 2)]) {
				t.Fatalf("crash at op %d (%s), tear %v: archived is %q after %d commits", op,
					fs.Trace()[op-1], tear, got, stage)
			}
			for _, name := range left.Files() {
				if strings.HasSuffix(name, ".tmp") {
					t.Fatalf("crash at op %d, tear %v: %s is left", op, tear, name)
				}
			}
		}
	}
	if points == 0 {
		t.Fatal("nothing crashed")
	}
	t.Logf("%d crash points", points)
}

// archived opens the directory and returns the contents of its archive files.
func archived(t *testing.T, fs *fixtures.SimFS) []string {
	t.Helper()
	d, err := store.Open(fs, small)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() // nothing was written
	names, err := d.ArchiveNames()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		out = append(out, string(fs.Bytes(store.ArchivePath(name))))
	}
	return out
}

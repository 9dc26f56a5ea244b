package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/fixtures"
	"billctl/internal/store"
)

// openDamaged opens and reads a damaged state directory, with or without the lock. It returns what
// was read, and the first error.
func openDamaged(fs store.FS, write bool) ([]store.Frame, error) {
	if !write {
		d, err := store.OpenReadOnly(fs)
		if err != nil {
			return nil, err
		}
		return readAll(d, 1)
	}
	d, err := store.Open(fs, small)
	if err != nil {
		return nil, err
	}
	frames, err := readAll(d, 1)
	return frames, errors.Join(err, d.Close())
}

// tally judges one damage: refused with a place at or before it, or harmless.
type tally struct {
	h               *history
	least           int // frames that may not be lost without an error
	refused, passed int
}

func (c *tally) judge(frames []store.Frame, err error, name string, pos int) error {
	var corrupt *store.CorruptError
	var version *store.VersionError
	switch {
	case errors.As(err, &corrupt):
		c.refused++
		if corrupt.Path != name || corrupt.Offset > int64(pos) {
			return fmt.Errorf("the place is wrong: %w", err)
		}
		return c.h.prefix(frames, 0)
	case errors.As(err, &version):
		return fmt.Errorf("a damaged byte is no newer version: %w", err)
	case err != nil:
		return err
	}
	c.passed++
	return c.h.prefix(frames, c.least)
}

// TestDamage flips every bit of every byte, and cuts every file at every length, of a directory
// after a clean stop and of one after a kill. Whatever was promised is there or the damage is
// refused by its place.
func TestDamage(t *testing.T) {
	for _, clean := range []bool{true, false} {
		fs, c := fixtures.NewSimFS(), &tally{h: &history{}}
		rng := rand.New(rand.NewPCG(9, 9))
		d, err := store.Create(fs, testGenesis(1), small)
		if err == nil {
			err = c.h.append(d.Journal(), rng, 6)
		}
		if err == nil {
			err = errors.Join(c.h.sync(d.Journal()), d.Journal().Promise())
		}
		c.least = len(c.h.appended)
		if err == nil && clean {
			err = d.Close()
		} else if err == nil {
			err = errors.Join(c.h.append(d.Journal(), rng, 2), c.h.sync(d.Journal()))
		}
		if err != nil {
			t.Fatal(err)
		}
		size, write := 0, false
		for _, name := range fs.Files() {
			if name == "LOCK" {
				continue
			}
			whole := fs.Bytes(name)
			size += len(whole)
			try := func(what string, pos int, b []byte) {
				disk := fs.Clone()
				disk.SetBytes(name, b)
				write = !write // one damage with the lock, the next without
				frames, err := openDamaged(disk, write)
				if err := c.judge(frames, err, name, pos); err != nil {
					t.Fatalf("clean %v, write %v, %s %s at %d: %v",
						clean, write, what, name, pos, err)
				}
			}
			for pos := range whole {
				if name == "journal/high" && pos%4096 >= 64 {
					continue // between the marks
				}
				for bit := range 8 {
					b := append([]byte{}, whole...)
					b[pos] ^= 1 << bit
					try("flip in", pos, b)
				}
				try("cut of", pos, whole[:pos])
			}
		}
		t.Logf("clean stop %v: %d bytes, %d refused, %d harmless", clean, size, c.refused, c.passed)
		if clean && c.refused == 0 || c.passed == 0 {
			t.Error("the test tells nothing")
		}
	}
}

// TestDamageClean shows that after a clean stop no flip in a segment passes.
func TestDamageClean(t *testing.T) {
	fs, h := fixtures.NewSimFS(), &history{}
	if err := h.run(fs, 5); err != nil {
		t.Fatal(err)
	}
	fs = fs.Restart()
	d, err := store.Open(fs, small)
	if err == nil {
		err = d.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, name := range fs.Files() {
		if !strings.HasSuffix(name, ".jnl") && name != "genesis" {
			continue
		}
		whole := fs.Bytes(name)
		for pos := range whole {
			disk := fs.Clone()
			b := append([]byte{}, whole...)
			b[pos] ^= byte(1 + pos%255)
			disk.SetBytes(name, b)
			tried++
			if _, err := openDamaged(disk, pos%2 == 0); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("flip in %s at %d: %v", name, pos, err)
			}
		}
	}
	t.Logf("%d flips", tried)
}

// TestLostFile removes each file and directory of a state directory.
func TestLostFile(t *testing.T) {
	fs, h := fixtures.NewSimFS(), &history{}
	if err := h.run(fs, 6); err != nil {
		t.Fatal(err)
	}
	fs = fs.Restart()
	d, failed, wrong := h.recover(fs)
	if err := errors.Join(failed, wrong); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	names := append(fs.Files(), "outbox", "control")
	for i, name := range names {
		disk := fs.Clone()
		if err := disk.Remove(name); err != nil {
			t.Fatal(err)
		}
		frames, err := openDamaged(disk, true)
		switch {
		case name == "LOCK":
			if err != nil || len(frames) != len(h.appended) {
				t.Errorf("without %s: %d frames, %v", name, len(frames), err)
			}
		case i > 0 && strings.HasSuffix(name, "0001.jnl"):
			if !errors.Is(err, store.ErrTrimmed) {
				t.Errorf("without %s: %v", name, err)
			}
		default:
			var corrupt *store.CorruptError
			if !errors.As(err, &corrupt) {
				t.Errorf("without %s: %d frames, %v", name, len(frames), err)
			}
		}
	}
}

// TestHighWater: the loss of a whole tail, promises and all, is noticed by either mark.
func TestHighWater(t *testing.T) {
	fs, h := fixtures.NewSimFS(), &history{}
	d := newDir(t, fs, store.Options{Floor: -1})
	rng := rand.New(rand.NewPCG(4, 4))
	for range 4 {
		err := errors.Join(h.append(d.Journal(), rng, 2), h.sync(d.Journal()),
			d.Journal().HighWater())
		if err != nil {
			t.Fatal(err)
		}
	}
	const segment = "journal/00000000000000000001.jnl"
	high := fs.Bytes("journal/high")
	fs.SetBytes(segment, fs.Bytes(segment)[:64])
	for _, spoiled := range []int{-1, 10, 4096 + 10} {
		for _, write := range []bool{true, false} {
			disk := fs.Clone()
			if b := append([]byte{}, high...); spoiled >= 0 {
				b[spoiled] ^= 1
				disk.SetBytes("journal/high", b)
			}
			var corrupt *store.CorruptError
			_, err := openDamaged(disk, write)
			if !errors.As(err, &corrupt) || corrupt.Path != segment || corrupt.Offset != 64 {
				t.Errorf("write %v, mark spoiled at %d: %v", write, spoiled, err)
			}
		}
	}
}

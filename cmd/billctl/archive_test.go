package main

import (
	"strings"
	"testing"

	"billctl/internal/store"
)

// TestVerifyForgedState changes a quantity in an archive file of a state, row digests and all,
// while the journal still holds what was written: the replay is that of the archive.
func TestVerifyForgedState(t *testing.T) {
	twoMonths(t)
	out, _ := command(t, 0, "archive", "verify", "--deep")
	if !strings.Contains(out, "replayed from the first entry") {
		t.Fatal(out)
	}
	alterMinutes(t, "state/archive", "1", 99, true)
	command(t, 0, "archive", "verify")
	_, words := command(t, exitDiffers, "archive", "verify", "--deep")
	if !strings.Contains(words, "error: the archive diverged: billing digest at mark ") {
		t.Error(words)
	}
	out, _ = command(t, exitDiffers, "archive", "verify", "--deep", "-o", "json")
	if !strings.Contains(out, `"faults":["the archive diverged: `) ||
		!strings.Contains(out, `"replay":null`) {
		t.Error(out)
	}
}

// TestArchiveWriteAlone refuses a second call into the same directory.
func TestArchiveWriteAlone(t *testing.T) {
	twoMonths(t)
	fs, err := store.OS("copy")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := fs.Lock(".archive-write.lock")
	if err != nil {
		t.Fatal(err)
	}
	_, words := command(t, exitLocked, "archive", "write", "copy")
	if !strings.Contains(words, "error: another archive write is at work in copy\n") ||
		!strings.Contains(words, "hint: wait for its end") {
		t.Error(words)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	command(t, 0, "archive", "write", "copy")
}

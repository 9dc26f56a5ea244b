package live

import (
	"bytes"
	"context"
	"fmt"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// checkArchive copies the history into an archive and replays that alone: from its first entry, and
// from every opening. A second archive, written from the first, is the same.
func (m *machine) checkArchive(dir *store.Dir, audit *Audit) error {
	ctx := context.Background()
	to := fixtures.NewSimFS()
	copied, err := CopyArchive(ctx, dir, to, nil)
	if err != nil {
		return fmt.Errorf("copy archive: %w", err)
	}
	if copied.Left != 0 || copied.Through != audit.Last {
		return fmt.Errorf("the archive ends at %d of %d, %d left", copied.Through, audit.Last,
			copied.Left)
	}
	again, err := CopyArchive(ctx, dir, to, nil)
	if err != nil || again.Made != 0 || again.Removed != 0 || again.Files != copied.Files {
		return fmt.Errorf("copied again: %+v (%v), want %+v without work", again, err, copied)
	}
	h, err := archiveOf(to)
	if err != nil {
		return fmt.Errorf("open copy: %w", err)
	}
	whole, err := Replay(ctx, h, ReplayOptions{})
	if err == nil {
		err = whole.Diverged
	}
	if err != nil {
		return fmt.Errorf("replay archive: %w", err)
	}
	if whole.Billing != audit.Billing || whole.Journal != audit.Journal ||
		whole.Seals != audit.Seals || whole.Rows != audit.Rows ||
		whole.Documents != audit.Documents || whole.Alerts != audit.Alerts || len(whole.Altered) > 0 {
		return fmt.Errorf("the archive gives %+v, the journal %+v", whole, audit)
	}
	if n := len(h.Openings()); n > 0 { // each takes as long as a replay
		o := &h.Openings()[m.rng.IntN(n)]
		part, err := Replay(ctx, h, ReplayOptions{Opening: o, Shards: 2})
		if err == nil {
			err = part.Diverged
		}
		if err != nil {
			return fmt.Errorf("replay from the opening of %s: %w", o.Month, err)
		}
		if part.Billing != audit.Billing || part.Journal != audit.Journal {
			return fmt.Errorf("the opening of %s comes to other digests", o.Month)
		}
		m.figures[figOpenings]++
	}
	if m.rng.IntN(4) == 0 {
		verified, err := VerifyArchive(ctx, h, true, nil)
		if err != nil || len(verified.Faults) > 0 {
			return fmt.Errorf("verify archive: %w, %v", err, verified.Faults)
		}
	}
	return sameAgain(ctx, h, to)
}

// sameAgain writes every file of an archive from what the archive says.
func sameAgain(ctx context.Context, h *History, fs *fixtures.SimFS) error {
	for _, p := range h.Parts() {
		var w bytes.Buffer
		g := engine.Genesis{Journal: p.Journal, Partition: p.Partition}
		if _, err := writePart(ctx, &w, g, h, p.First, p.Last); err != nil {
			return fmt.Errorf("write archive file again: %w", err)
		}
		if !bytes.Equal(w.Bytes(), fs.Bytes(p.Name)) {
			return fmt.Errorf("%s has other bytes when it is written from itself", p.Name)
		}
	}
	return nil
}

// archiveOf returns the history of archive files in a directory.
func archiveOf(fs store.FS) (*History, error) {
	names, err := fs.ReadDir(".")
	if err != nil {
		return nil, err
	}
	h := &History{name: "."}
	for _, name := range names {
		if name == copyLock {
			continue
		}
		err := h.add(name, name, func() (archiveFile, error) { return fs.Open(name) })
		if err != nil {
			return nil, err
		}
	}
	return h, h.order()
}

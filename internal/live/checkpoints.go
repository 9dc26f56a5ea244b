package live

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"

	"billctl/engine"
	"billctl/internal/store"
)

// Kept is what a state directory keeps beside its journal.
type Kept struct {
	Checkpoints []KeptCheckpoint // the newest first
	Through     engine.Seq       // the last position of the archive; 0: it is empty
	Files       int              // of the archive, openings aside
	Bytes       int64            // of these files
	Failed      string           // why the archive's last try failed; "": it did not, or none runs
	Openings    []KeptOpening    // the newest first
	Seal        *KeptSeal        // the last one; nil: there is none yet
}

// KeptCheckpoint is one checkpoint.
type KeptCheckpoint struct {
	Seq    engine.Seq
	At     engine.Micros
	Bytes  int64  // its state, and the files of keys that it needs, which others share
	Keys   uint64 // that it remembers
	Damage string // what is wrong with it; "" if nothing is known to be
}

// KeptOpening is one opening.
type KeptOpening struct {
	Month  string // "2026-04"; "" if the file can't be read
	Seq    engine.Seq
	Bytes  int64
	Damage string // why the file can't be read
}

// KeptSeal is the last seal of a view.
type KeptSeal struct {
	Seq    engine.Seq // of the seal
	Of     engine.Seq // the mark that it speaks of
	Digest engine.Digest
}

// Kept returns what the directory keeps. ErrNoRows: the desk is not of a directory as it is now.
func (d *Desk) Kept(ctx context.Context, v *engine.View) (*Kept, error) {
	if d.asOf != nil || d.past != nil {
		return nil, ErrNoRows
	}
	k := &Kept{}
	checkpoints, err := d.st.Dir.Checkpoints()
	if err != nil {
		return nil, err
	}
	for i := range checkpoints {
		k.Checkpoints = append(k.Checkpoints, keptCheckpoint(&checkpoints[i]))
	}
	if err := d.keptArchive(k); err != nil {
		return nil, err
	}
	if metrics, _, running := d.Live(); running {
		k.Failed = metrics.Archive.Failed
	}
	k.Seal, err = d.lastSeal(ctx, v)
	return k, err
}

func keptCheckpoint(c *store.CheckpointInfo) KeptCheckpoint {
	out := KeptCheckpoint{Seq: c.Meta.Seq, At: c.Meta.At, Keys: c.Keys(), Bytes: c.State.Size}
	for i := range c.Runs {
		out.Bytes += c.Runs[i].File.Size
	}
	if c.Err != nil {
		out.Damage = c.Err.Error()
	}
	return out
}

// keptArchive looks at the files of the archive.
func (d *Desk) keptArchive(k *Kept) error {
	names, err := d.st.Dir.ArchiveNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		path := store.ArchivePath(name)
		st, err := d.st.Dir.FS().Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a process that writes has replaced it
		}
		if err != nil {
			return err
		}
		if _, last, ok := store.ParseArchiveName(name); ok {
			k.Files++
			k.Bytes += st.Size
			k.Through = max(k.Through, last)
		}
		if mark, ok := store.ParseOpeningName(name); ok {
			o := KeptOpening{Seq: mark, Bytes: st.Size}
			o.Month, o.Damage = d.kept.openings.month(d.st.Dir, name)
			k.Openings = append(k.Openings, o)
		}
	}
	slices.SortFunc(k.Openings, func(a, b KeptOpening) int { return cmp.Compare(b.Seq, a.Seq) })
	return nil
}

// openingsKept remembers the months of openings, by name: the files never change.
type openingsKept struct {
	mu     sync.Mutex
	months map[string]string
}

// month returns the month of an opening, or why its file can't be read.
func (k *openingsKept) month(dir *store.Dir, name string) (month, damage string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if month, known := k.months[name]; known {
		return month, ""
	}
	path := store.ArchivePath(name)
	o, err := openOpening(path, func() (archiveFile, error) { return dir.FS().Open(path) })
	if err != nil {
		return "", err.Error()
	}
	defer o.Close() // read only
	if k.months == nil {
		k.months = map[string]string{}
	}
	month = o.Info().Month
	k.months[name] = month
	return month, ""
}

// sealKept remembers the last seal that was looked for.
type sealKept struct {
	mu   sync.Mutex
	seal KeptSeal
}

// lastSeal finds the last seal of a view: it is never far from the end.
func (d *Desk) lastSeal(ctx context.Context, v *engine.View) (*KeptSeal, error) {
	standing := v.Standing()
	if standing.LastSeal == (engine.Digest{}) {
		return nil, nil
	}
	d.kept.seal.mu.Lock()
	defer d.kept.seal.mu.Unlock()
	if d.kept.seal.seal.Digest != standing.LastSeal {
		b := d.newBackScan()
		b.singles, b.most = true, 1
		b.pick = func(e *engine.Entry, _ int) ([]foundRow, error) {
			if s, ok := e.Body.(*engine.Seal); !ok || s.Chain() != standing.LastSeal {
				return nil, nil
			}
			return []foundRow{{entry: e}}, nil
		}
		if err := b.run(ctx, standing.Seq); err != nil || len(b.found) == 0 {
			return nil, err
		}
		e := b.found[0].entry
		d.kept.seal.seal = KeptSeal{e.Seq, e.Body.(*engine.Seal).Of, standing.LastSeal}
	}
	seal := d.kept.seal.seal
	return &seal, nil
}

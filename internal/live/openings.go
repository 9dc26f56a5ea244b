package live

import (
	"context"
	"time"

	"billctl/engine"
	"billctl/internal/store"
)

// findMonth finds out which month the newest opening is of.
func (r *Run) findMonth() error {
	r.month = engine.Past
	names, err := r.opts.State.Dir.ArchiveNames()
	if err != nil {
		return err
	}
	mark := engine.Seq(0)
	for _, name := range names {
		if m, ok := store.ParseOpeningName(name); ok {
			mark = max(mark, m)
		}
	}
	if mark == 0 {
		return nil
	}
	path := store.ArchivePath(store.OpeningName(mark))
	fs := r.opts.State.Dir.FS()
	o, err := openOpening(path, func() (archiveFile, error) { return fs.Open(path) })
	if err != nil {
		r.say("the newest opening can't be read, a new one is written at the next month: " + err.Error())
		r.month = monthEnd(newest(r.st.Shards.Pin()))
		return nil
	}
	defer o.Close() // read only
	begin, err := time.Parse("2006-01", o.Info().Month)
	if err != nil {
		return &ArchiveError{Name: path, Reason: "its month is " + o.Info().Month}
	}
	r.month = monthEnd(engine.Micros(begin.UnixMicro()))
	return nil
}

// opens reports whether the usage has come to a month that has no opening yet.
func (r *Run) opens() bool {
	g := r.progress.greatest
	return g != engine.Past && g >= r.month
}

// wakeArchivist never waits.
func (r *Run) wakeArchivist() {
	select {
	case r.archivist.wake <- struct{}{}:
	default:
	}
}

func (r *Run) noteArchive(s ArchiveStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.Archive = s
}

// endArchive archives what is finished, at the end of a run that ends by itself.
func (r *Run) endArchive(ctx context.Context) {
	var status ArchiveStatus
	if err := r.archivist.catchUp(ctx, &status); err != nil && ctx.Err() == nil {
		r.say("archive: " + fault(err) + "; what is not in it stays in the journal, and the next run " +
			"tries again")
	}
}

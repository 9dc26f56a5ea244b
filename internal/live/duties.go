package live

import (
	"errors"
	"fmt"
	"io"
	"time"

	"billctl/engine"
	"billctl/internal/store"
)

// The duties of the loop beside rows: watermark, closes, control files, checkpoints, promises.

// How often a watermark is journaled: at once when something closes by it, otherwise while rows
// come, and rarely while none do.
const (
	watermarkBusy = time.Second
	watermarkIdle = time.Minute
	highWater     = 500 * time.Millisecond
	controlPoll   = 250 * time.Millisecond
)

// onTick does what is due without rows.
func (r *Run) onTick() error {
	now, err := r.now()
	if err != nil {
		return err
	}
	_, running := r.opts.Clock.Now()
	if r.quiet {
		if err := r.journal.Promise(); err != nil {
			return err
		}
	}
	r.quiet = true
	r.unpin()
	if running-r.highAt >= highWater {
		r.highAt = running
		if err := r.journal.HighWater(); err != nil {
			return err
		}
	}
	if running-r.looked >= controlPoll {
		r.looked = running
		if err := r.readControls(now); err != nil {
			return err
		}
	}
	r.noteSources(now)
	return nil
}

func (r *Run) noteSources(now engine.Micros) {
	list := make([]SourceStatus, len(r.progress.sources))
	for i := range list {
		s := &r.progress.sources[i]
		list[i] = SourceStatus{
			Name: s.name, CaughtUp: s.status.CaughtUp && !s.fed, EOF: s.eof, LagBytes: s.status.Lag,
			LagTime: s.lag(now), CompleteThrough: s.complete(now),
		}
	}
	r.mu.Lock()
	r.metrics.Sources = list
	r.mu.Unlock()
}

// advance writes a watermark where one is due, the close that was asked for, and a mark. The mark
// of an opening comes first: an opening is of use to those who replay its month only if nothing of
// the month has closed.
func (r *Run) advance() error {
	_, running := r.opts.Clock.Now()
	if r.opens() {
		if r.saving {
			return nil
		}
		if err := r.mark(); err != nil {
			return err
		}
	}
	if !r.frozen {
		if err := r.water(running); err != nil {
			return err
		}
		if err := r.closeAt(); err != nil {
			return err
		}
	}
	due := running-r.markedAt >= r.opts.CheckpointEvery ||
		r.journal.Bytes()-r.marked >= r.opts.CheckpointBytes
	if due && !r.saving && r.next-1 > r.sealed {
		return r.mark()
	}
	return nil
}

// water journals the watermark if it has risen and somebody waits for it.
func (r *Run) water(running time.Duration) error {
	now, err := r.now()
	if err != nil || r.frozen {
		return err
	}
	w := r.progress.watermark(now)
	if w <= r.st.Shards.Watermark() {
		return nil
	}
	since := running - r.watered
	closes := w >= r.st.Shards.NextDue()
	if !closes && !r.progress.ended() && since < watermarkIdle &&
		(r.rows == 0 || since < watermarkBusy) {
		return nil
	}
	r.watered, r.rows = running, 0
	return r.commit(now, &engine.Watermark{W: w})
}

// closeAt journals the close that was asked for, once everything that is there was read.
func (r *Run) closeAt() error {
	if r.closed || r.opts.CloseAt == engine.Past || !r.progress.caughtUp() {
		return nil
	}
	now, err := r.now()
	if err != nil || r.frozen {
		return err
	}
	if r.opts.CloseAt > now {
		return fmt.Errorf("close at %s: that is still to come", r.opts.CloseAt)
	}
	r.closed = true
	return r.commit(now, &engine.Close{T: r.opts.CloseAt, Actor: r.opts.Actor, Reason: "--close-at"})
}

// done reports whether a run that ends by itself has nothing left to do.
func (r *Run) done() bool {
	return r.progress.ended() && !r.opens() &&
		(r.closed || r.frozen || r.opts.CloseAt == engine.Past)
}

// Closed reports whether the close that the options ask for was done.
func (r *Run) Closed() bool { return r.closed }

// saved is the result of a checkpoint.
type saved struct {
	mark             engine.Seq
	billing, journal engine.Digest
	opening          *store.Staged // that waits for the seal; nil: none
	month            engine.Micros // end of the opening's month; 0: no opening was due
	closed           error         // why there is no opening although one was due
	err              error
}

// mark begins a checkpoint: a Mark entry, and the picture right after it, which is hashed and
// written while the stream goes on.
func (r *Run) mark() error {
	now, err := r.now()
	if err != nil {
		return err
	}
	if err := r.commit(now, &engine.Mark{}); err != nil {
		return err
	}
	_, r.markedAt = r.opts.Clock.Now()
	r.marked = r.journal.Bytes()
	opens := r.opens()
	if opens {
		// What lies before the month ends its segment here, so that it can go to the archive, and
		// who has the opening needs nothing of it.
		if err := r.journal.Roll(); err != nil {
			return err
		}
	}
	if err := r.st.Outbox.Sync(); err != nil {
		return err
	}
	r.st.prover.pin(r.st.Shards)
	keys := r.st.Shards.drain()
	outbox := r.st.Outbox.End()
	r.saving = true
	r.beside(func() { r.saved <- r.save(keys, outbox, opens) })
	return nil
}

// save hashes and writes the pinned picture. It runs beside the loop, which does not touch the
// prover meanwhile.
func (r *Run) save(keys [][]engine.Key, outbox int64, opens bool) saved {
	p := r.st.prover
	s := saved{mark: p.mark}
	if s.err = p.view.CheckControls(); s.err != nil {
		return s
	}
	s.billing, s.journal = p.digests()
	standing := p.view.Standing()
	minDay := engine.Day(0)
	if standing.Floor > engine.MinTime {
		minDay = engine.DayOf(standing.Floor)
	}
	var info *store.CheckpointInfo
	info, s.err = r.st.Dir.WriteCheckpoint(store.CheckpointMeta{
		Journal: standing.Journal, Seq: p.mark, At: standing.At, Billing: s.billing,
		JournalDigest: s.journal, MinDay: minDay, Outbox: outbox, Base: r.st.base,
	}, func(w io.Writer) error { return writeState(w, p.view) }, keys)
	if s.err == nil && opens {
		s.month = monthEnd(newest(p.view))
		s.opening, s.closed = stageOpening(r.st.Dir, *info, p.view)
	}
	p.view = nil
	return s
}

// seal ends a checkpoint: a Seal entry with the digests that every replay must reach.
func (r *Run) seal(s saved) error {
	r.saving = false
	if s.err != nil {
		return fmt.Errorf("write checkpoint %d: %w", s.mark, s.err)
	}
	r.st.base = s.mark
	seal := &engine.Seal{Of: s.mark, Billing: s.billing, Journal: s.journal, Before: r.chain}
	if err := r.commit(r.at, seal); err != nil {
		return err
	}
	r.chain = seal.Chain()
	if s.opening != nil {
		s.closed = s.opening.Commit()
	}
	if s.month != 0 {
		r.month = s.month
	}
	if s.closed != nil {
		// Billing needs no opening: who proves this month replays from further back.
		r.say("this month gets no opening: " + s.closed.Error())
	}
	r.wakeArchivist() // segments may be finished, and checkpoints have moved on
	if r.next-2 == s.mark {
		r.sealed = r.next - 1 // nothing but the seal since the mark
	}
	wall, _ := r.opts.Clock.Now()
	r.mu.Lock()
	r.metrics.Checkpoint, r.metrics.SavedAt = s.mark, wall
	r.metrics.Billing, r.metrics.Journal = s.billing, s.journal
	r.mu.Unlock()
	return nil
}

// finish writes a checkpoint of everything that was applied, its seal, and the last promises.
func (r *Run) finish() error {
	if r.saving {
		if err := r.seal(<-r.saved); err != nil {
			return err
		}
	}
	if r.next-1 > r.sealed {
		if err := r.mark(); err != nil {
			return err
		}
		if err := r.seal(<-r.saved); err != nil {
			return err
		}
	}
	return errors.Join(r.journal.Promise(), r.journal.HighWater(), r.st.Outbox.Sync())
}

package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"billctl/engine"
	"billctl/internal/store"
)

// ArchiveDesk replays archive files and returns the desk of what they came to: from the first entry
// where they have it, else from the newest opening that they go on behind. Every seal on the way is
// compared; one that does not agree is a *DivergedError. progress, if not nil, is called now and
// then.
//
// What the replay says (documents, alerts, rejections) lies in a temporary directory until Close.
// Sinks and checkpoints are not in an archive, so such a desk has none.
func ArchiveDesk(
	ctx context.Context, h *History, progress func(engine.Seq),
) (d *Desk, err error) {
	scratch, err := os.MkdirTemp("", "billctl-archive-")
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(scratch))
		}
	}()
	fsys, err := store.OS(scratch)
	if err != nil {
		return nil, err
	}
	genesis := engine.Genesis{Format: engine.Format, Journal: h.Journal()}
	dir, err := store.Create(fsys, store.Genesis{Genesis: genesis}, store.Options{})
	if err != nil {
		return nil, err
	}
	st := &State{Dir: dir, Shards: NewShards(1), prover: newProver()}
	past := &past{history: h, first: 1, scratch: scratch}
	err = past.begin(st)
	if err == nil {
		st.Outbox, err = dir.OpenOutbox()
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	if err := past.replay(ctx, st, progress); err != nil {
		return nil, errors.Join(err, st.Outbox.Close(), dir.Close())
	}
	return &Desk{st: st, view: st.Shards.Pin(), past: past}, nil
}

// past is what a desk of ArchiveDesk answers from.
type past struct {
	history *History
	first   engine.Seq // of what was replayed: of rows before it the outcome is not known
	scratch string     // directory of the outbox
}

// begin brings the shards to where the replay begins.
func (p *past) begin(st *State) error {
	h := p.history
	if len(h.parts) > 0 && h.parts[0].First == 1 {
		return nil
	}
	for i := len(h.openings) - 1; i >= 0; i-- {
		o := &h.openings[i]
		if !h.holds(o.Seq+1, o.Seq+1) {
			continue
		}
		if err := confirmOpening(h, o); err != nil {
			return err
		}
		p.first = o.Seq + 1
		st.Notices = append(st.Notices, fmt.Sprintf("the files begin at the opening of %s, position %d: "+
			"documents and events before it are not shown", o.Month, o.Seq))
		return st.restoreOpening(o)
	}
	if len(h.parts) == 0 {
		return &ArchiveError{
			Name: h.name, Reason: "there are openings alone: nothing vouches for what they say",
			Hint: "name the archive files behind the opening as well",
		}
	}
	return nil // to read the first entry says what is missing
}

// replay applies the history and keeps what it says.
func (p *past) replay(ctx context.Context, st *State, progress func(engine.Seq)) error {
	const syncEvery = 1024 // entries
	read := p.history.Read(p.first)
	read.content = true
	entries := readAhead(read)
	defer entries.close()
	altered := 0
	for n := 1; ctx.Err() == nil; n++ {
		d := entries.next()
		for _, err := range d.changed {
			st.Notices = append(st.Notices, err.Error())
		}
		altered += len(d.altered)
		if errors.Is(d.err, io.EOF) {
			if altered > 0 {
				st.Notices = append(st.Notices, fmt.Sprintf(
					"%d rows were changed after they were journaled: billctl replay names them", altered))
			}
			return st.Outbox.Sync()
		}
		if d.err != nil {
			return d.err
		}
		err := st.apply(d.entry, func(fx *engine.Effects) error {
			_, err := putEffects(st.Outbox, d.entry.Seq, fx)
			return err
		})
		if err == nil && n%syncEvery == 0 {
			err = st.Outbox.Sync()
		}
		if err != nil {
			return err
		}
		if progress != nil && n%64 == 0 {
			progress(st.Shards.Seq())
		}
	}
	return ctx.Err()
}

// close removes what the replay kept.
func (p *past) close(st *State) error {
	return errors.Join(st.Dir.Close(), os.RemoveAll(p.scratch))
}

// entries returns the entries that the desk knows the outcome of, from a position on.
func (d *Desk) entries(from engine.Seq) *Entries {
	if d.past != nil {
		return d.past.history.Read(max(from, d.past.first))
	}
	return journalOf(d.st.Dir).Read(from)
}

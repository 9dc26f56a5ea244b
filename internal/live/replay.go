package live

import (
	"context"
	"errors"
	"fmt"
	"io"

	"billctl/engine"
	"billctl/internal/store"
)

// Audit is what a replay found.
type Audit struct {
	Opening   *Opening // that it began from; nil: the first entry
	First     engine.Seq
	Entries   uint64
	Rows      uint64
	Seals     int
	Documents uint64
	Outbox    uint64 // documents of the state's outbox, compared byte for byte
	Alerts    uint64 // those of the outbox are compared too
	Last      engine.Seq
	Sealed    engine.Seq // the mark that the last seal speaks of; 0: none
	Unsealed  uint64     // rows behind that mark: nothing vouches for them yet
	Billing   engine.Digest
	Journal   engine.Digest
	View      *engine.View // at the end, or where an entry could not be applied
	Altered   []Altered    // rows that were changed after they were journaled, at most 10
	Changed   []error      // archive files that hold other entries than they were written with
	Diverged  error        // the first seal that does not agree; the replay went on behind it
	Anchored  engine.Seq   // where the billing digest of ReplayOptions.Expect was reached; 0: nowhere
}

// Altered is a row of an archive file whose digest does not fit what the row says.
type Altered struct {
	Seq     engine.Seq
	Place   Place
	ID      string
	Type    string
	Subject string
	Time    engine.Micros
}

// maxAltered is how many altered rows an audit names.
const maxAltered = 10

// ReplayOptions say what a replay does. The zero value applies the whole history to one shard.
type ReplayOptions struct {
	Shards  int      // 0: one
	Opening *Opening // to begin from; nil: the first entry
	// Until ends the replay after the entry for which it returns true. It is asked at every seal.
	Until func(*engine.View) bool
	// Emit gets every document in order, with the entry that brought it about.
	Emit func(*engine.Entry, *engine.Invoice) error
	// Due gets the state before every entry that may issue documents.
	Due func(*engine.View) error
	// Watch are accounts whose uses Uses gets.
	Watch []string
	Uses  func([]engine.Use) error
	// Batch gets every batch, and every correction, with its place, before it is applied.
	Batch    func(*engine.Entry, Place) error
	Expect   *engine.Digest   // a billing digest that was written down elsewhere
	Progress func(engine.Seq) // is called now and then
}

// Replay applies a history to a new engine, from its first entry or from an opening. It compares
// every seal, the digest of every row that comes from an archive file, and every document with the
// outbox of the state directory, where there is one and the replay begins at the first entry. It
// writes nothing and has no sink.
//
// A seal that does not agree is no error here: Audit.Diverged is it, and the replay goes on, so
// that documents can be compared. An error is damage, a *store.MismatchError, or one of a callback;
// the audit says how far the replay came.
func Replay(ctx context.Context, h *History, o ReplayOptions) (*Audit, error) {
	r := &replay{h: h, o: o, audit: &Audit{First: 1}}
	if err := r.begin(); err != nil {
		return r.audit, err
	}
	defer r.close()
	err := r.run(ctx)
	return r.audit, err
}

// replay is one run of Replay.
type replay struct {
	h         *History
	o         ReplayOptions
	audit     *Audit
	state     *State
	documents *store.OutboxReader
	outbox    *store.Outbox
	marked    uint64 // rows up to the last mark
	done      bool
}

func (r *replay) begin() error {
	r.state = &State{Shards: NewShards(max(1, r.o.Shards)), prover: newProver()}
	if r.o.Opening != nil {
		if err := r.state.restoreOpening(r.o.Opening); err != nil {
			return err
		}
		r.audit.Opening, r.audit.First = r.o.Opening, r.o.Opening.Seq+1
		r.audit.Last = r.o.Opening.Seq
	} else if r.h.dir != nil {
		outbox, err := r.h.dir.OpenOutbox()
		if err != nil {
			return err
		}
		r.outbox, r.documents = outbox, outbox.Read(0)
	}
	r.state.Shards.Watch(r.o.Watch)
	return nil
}

func (r *replay) close() {
	if r.outbox != nil {
		_ = r.documents.Close() // read only
		_ = r.outbox.Close()    // read only
	}
}

func (r *replay) run(ctx context.Context) error {
	read := r.h.Read(r.audit.First)
	read.content = true
	entries := readAhead(read)
	defer entries.close()
	for ctx.Err() == nil && !r.done {
		d := entries.next()
		r.audit.Changed = append(r.audit.Changed, d.changed...)
		if errors.Is(d.err, io.EOF) {
			break
		}
		if d.err != nil {
			return d.err
		}
		r.note(&d)
		if err := r.apply(d.entry, d.place); err != nil {
			r.audit.View = r.state.Shards.Pin() // who owns the rows that were altered
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.finish()
	return nil
}

func (r *replay) apply(e *engine.Entry, place Place) error {
	a := r.audit
	if err := r.rows(e, place); err != nil {
		return err
	}
	if r.o.Due != nil && r.mayIssue(e) {
		if err := r.o.Due(r.state.Shards.Pin()); err != nil {
			return err
		}
	}
	err := r.state.apply(e, func(fx *engine.Effects) error {
		if len(fx.Uses) > 0 && r.o.Uses != nil {
			if err := r.o.Uses(fx.Uses); err != nil {
				return err
			}
		}
		return r.compare(e, fx)
	})
	var diverged *DivergedError
	if errors.As(err, &diverged) {
		if a.Diverged == nil {
			a.Diverged = err
		}
		err = nil
	}
	if err != nil {
		return err
	}
	a.Entries++
	a.Last = r.state.Shards.Seq()
	a.Seals = r.state.prover.seals
	switch b := e.Body.(type) {
	case *engine.Batch:
		a.Rows += uint64(b.Len)
		a.Unsealed += uint64(b.Len)
	case *engine.Mark:
		r.marked = a.Rows
	case *engine.Seal:
		a.Sealed, a.Unsealed = b.Of, a.Rows-r.marked
		if r.o.Expect != nil && r.state.prover.billing == *r.o.Expect {
			a.Anchored = b.Of
		}
		r.done = r.o.Until != nil && r.o.Until(r.state.Shards.Pin())
	}
	if r.o.Progress != nil && a.Entries%64 == 0 {
		r.o.Progress(a.Last)
	}
	return nil
}

// rows hands on an entry that has rows of usage.
func (r *replay) rows(e *engine.Entry, place Place) error {
	switch e.Body.(type) {
	case *engine.Batch, *engine.Void:
		if r.o.Batch != nil {
			return r.o.Batch(e, place)
		}
	}
	return nil
}

// mayIssue reports whether an entry may issue documents.
func (r *replay) mayIssue(e *engine.Entry) bool {
	switch b := e.Body.(type) {
	case *engine.Watermark:
		return b.W >= r.state.Shards.NextDue()
	case *engine.Close:
		return true
	}
	return false
}

// note remembers altered rows.
func (r *replay) note(d *decoded) {
	b, _ := d.entry.Body.(*engine.Batch)
	for _, row := range d.altered {
		if len(r.audit.Altered) == maxAltered {
			return
		}
		a := Altered{
			Seq: d.entry.Seq + engine.Seq(row), Place: d.place, ID: string(b.ID.At(row)),
			Time: b.Time[row],
		}
		a.Place.Row += int64(row)
		a.Type, _ = b.Type.At(row)
		a.Subject, _ = b.Subject.At(row)
		r.audit.Altered = append(r.audit.Altered, a)
	}
}

// compare holds the alerts and documents of an entry against the outbox. What the outbox does not
// have yet is no difference: a crash may have come between journal and outbox.
func (r *replay) compare(e *engine.Entry, fx *engine.Effects) error {
	r.audit.Alerts += uint64(len(fx.Alerts))
	for i := range fx.Alerts {
		if r.documents == nil {
			break
		}
		if _, err := r.match(alertRecord(e.Seq, &fx.Alerts[i])); err != nil {
			return err
		}
	}
	for _, inv := range fx.Invoices {
		r.audit.Documents++
		if r.o.Emit != nil {
			if err := r.o.Emit(e, inv); err != nil {
				return err
			}
		}
		if r.documents == nil {
			continue
		}
		there, err := r.match(documentRecord(e.Seq, inv))
		if err != nil {
			return err
		}
		if there {
			r.audit.Outbox++
		}
	}
	return nil
}

// match compares a record with the next of the outbox that sinks get, and reports whether there is
// one.
func (r *replay) match(want store.OutboxRecord) (bool, error) {
	rec, pos, err := nextRecord(r.documents, store.RecordKind.Delivered)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if rec.Kind != want.Kind || rec.Key != want.Key || string(rec.Body) != string(want.Body) {
		return true, &store.MismatchError{
			Position: pos, Key: rec.Key, Seq: want.Seq, What: "the journal gives " + want.Key,
		}
	}
	return true, nil
}

// nextDocument returns the next invoice of an outbox.
func nextDocument(r *store.OutboxReader) (store.OutboxRecord, int64, error) {
	return nextRecord(r, func(k store.RecordKind) bool { return k == store.DocumentRecord })
}

func nextRecord(
	r *store.OutboxReader, wanted func(store.RecordKind) bool,
) (store.OutboxRecord, int64, error) {
	for {
		rec, pos, err := r.Next()
		if err != nil || wanted(rec.Kind) {
			return rec, pos, err
		}
	}
}

// finish takes the digests of the end.
func (r *replay) finish() {
	p := r.state.prover
	if r.o.Opening != nil && p.seals == 0 && r.audit.Diverged == nil {
		r.audit.Diverged = &ArchiveError{
			Name:   r.o.Opening.Name,
			Reason: fmt.Sprintf("no seal behind it speaks of its position %d", r.o.Opening.Seq),
			Hint:   "name the archive files behind the opening as well",
		}
	}
	p.pin(r.state.Shards)
	r.audit.View = p.view
	r.audit.Billing, r.audit.Journal = p.digests()
	if r.o.Expect != nil && r.audit.Billing == *r.o.Expect {
		r.audit.Anchored = r.audit.Last
	}
}

package live

import (
	"context"
	"errors"
	"io"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// Audit is what a replay of a journal found.
type Audit struct {
	Entries, Rows uint64
	Seals         int
	Documents     uint64
	Outbox        uint64 // documents of the state's outbox, compared byte for byte
	Last          engine.Seq
	Sealed        engine.Seq // the mark that the last seal speaks of; 0: none
	Billing       engine.Digest
	Journal       engine.Digest
	View          *engine.View // at the end
}

// Replay applies a journal from its genesis to n shards, compares every seal, and every document
// with the outbox. It writes nothing and has no sink. A difference is a *DivergedError or a
// *store.MismatchError; the audit says how far it came.
func Replay(
	ctx context.Context, dir *store.Dir, n int, emit func(*engine.Invoice) error,
	progress func(engine.Seq),
) (*Audit, error) {
	a := &Audit{}
	outbox, err := dir.OpenOutbox()
	if err != nil {
		return a, err
	}
	defer outbox.Close() // read only
	st := &State{Dir: dir, Outbox: outbox, Shards: NewShards(n), prover: newProver()}
	documents := outbox.Read(0)
	defer documents.Close() // read only
	r := dir.Read(1)
	defer r.Close() // read only
	entries := readAhead(r)
	defer entries.close()
	for ctx.Err() == nil {
		e, err := entries.next()
		if errors.Is(err, io.EOF) {
			a.finish(st)
			return a, nil
		}
		if err != nil {
			return a, err
		}
		err = st.apply(e, func(fx *engine.Effects) error {
			return a.compare(e.Seq, fx, documents, emit)
		})
		if err != nil {
			return a, err
		}
		a.note(e, st)
		if progress != nil && a.Entries%64 == 0 {
			progress(st.Shards.Seq())
		}
	}
	return a, ctx.Err()
}

func (a *Audit) note(e *engine.Entry, st *State) {
	a.Entries++
	a.Last = st.Shards.Seq()
	a.Seals = st.prover.seals
	switch b := e.Body.(type) {
	case *engine.Batch:
		a.Rows += uint64(b.Len)
	case *engine.Seal:
		a.Sealed = b.Of
	}
}

// compare holds the documents of an entry against the outbox. What the outbox does not have yet is
// no difference: a crash may have come between journal and outbox.
func (a *Audit) compare(
	seq engine.Seq, fx *engine.Effects, documents *store.OutboxReader,
	emit func(*engine.Invoice) error,
) error {
	for _, inv := range fx.Invoices {
		a.Documents++
		if emit != nil {
			if err := emit(inv); err != nil {
				return err
			}
		}
		rec, pos, err := nextDocument(documents)
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return err
		}
		a.Outbox++
		key := formats.InvoiceKey(inv)
		if rec.Key != key || string(rec.Body) != string(formats.AppendInvoice(nil, inv)) {
			return &store.MismatchError{
				Position: pos, Key: rec.Key, Seq: seq, What: "the journal gives " + key,
			}
		}
	}
	return nil
}

func nextDocument(r *store.OutboxReader) (store.OutboxRecord, int64, error) {
	for {
		rec, pos, err := r.Next()
		if err != nil || rec.Kind == store.DocumentRecord {
			return rec, pos, err
		}
	}
}

// finish takes the digests of the end.
func (a *Audit) finish(st *State) {
	st.prover.pin(st.Shards)
	a.View = st.prover.view
	a.Billing, a.Journal = st.prover.digests()
}

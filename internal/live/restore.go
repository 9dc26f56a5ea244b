package live

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// State is a state directory's shards at the end of its durable journal.
type State struct {
	Dir    *store.Dir
	Outbox *store.Outbox
	Shards *Shards

	Checkpoint engine.Seq // that was restored; 0: none
	Rows       uint64     // of the journal behind it
	Seals      int        // compared on the way
	Notices    []string   // what people must hear: checkpoints that were refused

	tail []engine.Rejection // of the journal behind the checkpoint, where it is read only

	prover  *prover
	records int64      // of the outbox that the checkpoint is built on
	base    engine.Seq // of the next checkpoint's keys
	chain   engine.Digest
}

// Restore brings n shards to the end of the directory's journal: from the newest checkpoint that is
// whole, then by the journal behind it. Where the directory is open for writing, the effects of
// these entries are compared with the outbox, and what it lacks is appended; otherwise the outbox
// is left alone. progress, if not nil, is called now and then with the last Seq.
func Restore(dir *store.Dir, n int, writing bool, progress func(engine.Seq)) (*State, error) {
	st := &State{Dir: dir, prover: newProver()}
	if err := st.restoreCheckpoint(n, writing); err != nil {
		return nil, err
	}
	outbox, err := dir.OpenOutbox()
	if err != nil {
		return nil, err
	}
	st.Outbox = outbox
	if end := outbox.End(); end < st.records {
		err := &store.CorruptError{Path: "outbox", Reason: fmt.Sprintf(
			"it has %d records, checkpoint %d was written after %d", end, st.Checkpoint, st.records)}
		return nil, errors.Join(err, outbox.Close())
	}
	if writing {
		if err := outbox.Resume(st.Checkpoint + 1); err != nil {
			return nil, errors.Join(err, outbox.Close())
		}
	}
	if err := st.applyTail(writing, progress); err != nil {
		return nil, errors.Join(err, outbox.Close())
	}
	return st, nil
}

// restoreCheckpoint loads the newest checkpoint that is whole. Beside a writer, which prunes, what
// was listed may be gone when it is opened: then there is a newer one.
func (st *State) restoreCheckpoint(n int, writing bool) error {
	for tries := 1; ; tries++ {
		last := writing || tries == maxListings
		st.Notices = nil
		err := st.tryCheckpoints(n, writing, last)
		if last || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

const maxListings = 10

// tryCheckpoints takes the first of the list that is whole. A file that is missing is damage at
// the last try only.
func (st *State) tryCheckpoints(n int, writing, last bool) error {
	list, err := st.Dir.Checkpoints()
	if err != nil {
		return err
	}
	for _, info := range list {
		st.Shards = NewShards(n)
		err := info.Err
		if err == nil {
			err = st.loadCheckpoint(info)
		}
		if err == nil {
			st.Checkpoint, st.base = info.Meta.Seq, info.Meta.Seq
			st.records = info.Meta.Outbox
			st.prover.from = info.Meta.Seq
			return nil
		}
		if !last && errors.Is(err, fs.ErrNotExist) || !errors.Is(err, store.ErrCorrupt) {
			return err
		}
		st.Notices = append(st.Notices, unused(info.Meta.Seq, err))
		if writing {
			if err := st.Dir.SetAside(info); err != nil {
				return err
			}
		}
	}
	st.Shards = NewShards(n)
	return nil
}

// unused says that a checkpoint was not used: what it holds is read from the journal.
func unused(seq engine.Seq, err error) string {
	var old *store.OldError
	if errors.As(err, &old) {
		return fmt.Sprintf("checkpoint %d was not used, the journal is applied instead: %v", seq, err)
	}
	return fmt.Sprintf("checkpoint %d is damaged and was not used: %v", seq, err)
}

func (st *State) loadCheckpoint(info store.CheckpointInfo) error {
	r, err := st.Dir.OpenCheckpoint(info)
	if err != nil {
		return err
	}
	defer r.Close() // read only
	state := bufio.NewReaderSize(r.State(), 1<<20)
	if err := st.Shards.readState(state); err != nil {
		return corrupt(info.Path, err)
	}
	if _, err := state.ReadByte(); err != io.EOF {
		return corrupt(info.Path, fmt.Errorf("read state: no end (%v)", err))
	}
	if err := r.Keys(st.Shards.loadKeys); err != nil {
		return err
	}
	if st.Shards.Seq() != info.Meta.Seq {
		return corrupt(info.Path, fmt.Errorf("state is at %d", st.Shards.Seq()))
	}
	return nil
}

// corrupt says that bytes with right checksums mean nothing.
func corrupt(path string, err error) error {
	var newer *store.VersionError
	if errors.Is(err, store.ErrCorrupt) || errors.As(err, &newer) {
		return err
	}
	return &store.CorruptError{Path: path, Reason: err.Error()}
}

func (st *State) applyTail(writing bool, progress func(engine.Seq)) error {
	r := journalOf(st.Dir).Read(st.Shards.Seq() + 1)
	defer r.Close() // read only
	st.chain = st.Shards.Pin().Standing().LastSeal
	for n := 0; ; n++ {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if b, ok := e.Body.(*engine.Batch); ok {
			st.Rows += uint64(b.Len)
		}
		put := func(fx *engine.Effects) error { st.tail = append(st.tail, fx.Rejections...); return nil }
		if writing {
			put = func(fx *engine.Effects) error { _, err := putEffects(st.Outbox, e.Seq, fx); return err }
		}
		if err := st.apply(e, put); err != nil {
			return err
		}
		if progress != nil && n%64 == 0 {
			progress(st.Shards.Seq())
		}
	}
	st.Seals = st.prover.seals
	if writing {
		if n := st.Outbox.Unmatched(); n > 0 {
			return fmt.Errorf("compare outbox: it has %d effects that the journal does not give", n)
		}
		return st.Outbox.Sync()
	}
	return nil
}

// apply applies an entry and compares what its seal says.
func (st *State) apply(e *engine.Entry, emit func(*engine.Effects) error) error {
	if err := st.Shards.Apply(e, emit); err != nil {
		return err
	}
	if err := st.prover.after(e, st.chain, st.Shards); err != nil {
		return err
	}
	if s, ok := e.Body.(*engine.Seal); ok {
		st.chain = s.Chain()
	}
	return nil
}

// decodeFrame returns the entry of a frame.
func decodeFrame(f *store.Frame) (*engine.Entry, error) {
	e, err := engine.DecodeEntry(f.Payload)
	if err == nil && (e.Seq != f.First || e.Seqs() != f.Count) {
		err = fmt.Errorf("entry %d of %d rows in a frame of %d at %d",
			e.Seq, e.Seqs(), f.Count, f.First)
	}
	if err != nil {
		return nil, &store.CorruptError{Path: f.Path, Offset: f.Offset, Reason: err.Error()}
	}
	if rules, ok := e.Body.(*engine.Rules); ok && rules.Ruleset > engine.Ruleset {
		return nil, &store.VersionError{
			Path: f.Path + ": billing rules", Found: int(rules.Ruleset), Known: engine.Ruleset,
		}
	}
	return e, nil
}

// given counts what an entry gave to deliver.
type given struct{ documents, alerts int }

func (g *given) add(o given) {
	g.documents += o.documents
	g.alerts += o.alerts
}

// putEffects gives the effects of an entry their place in the outbox and returns how many of them
// are for sinks. Alerts come before the documents of their entry, as the engine has looked at
// budgets before it closed anything.
func putEffects(o *store.Outbox, seq engine.Seq, fx *engine.Effects) (given, error) {
	if len(fx.Rejections) > 0 {
		_, err := o.Put(store.OutboxRecord{
			Seq: seq, Kind: store.RejectionsRecord, Body: store.AppendRejections(nil, fx.Rejections),
		})
		if err != nil {
			return given{}, err
		}
	}
	for i := range fx.Alerts {
		if _, err := o.Put(alertRecord(seq, &fx.Alerts[i])); err != nil {
			return given{}, err
		}
	}
	for _, inv := range fx.Invoices {
		if _, err := o.Put(documentRecord(seq, inv)); err != nil {
			return given{}, err
		}
	}
	return given{len(fx.Invoices), len(fx.Alerts)}, nil
}

func documentRecord(seq engine.Seq, inv *engine.Invoice) store.OutboxRecord {
	return store.OutboxRecord{
		Seq: seq, Kind: store.DocumentRecord, Key: formats.InvoiceKey(inv), Account: inv.Account,
		Body: formats.AppendInvoice(nil, inv),
	}
}

func alertRecord(seq engine.Seq, a *engine.Alert) store.OutboxRecord {
	return store.OutboxRecord{
		Seq: seq, Kind: store.AlertRecord, Key: formats.AlertKey(a), Account: a.Account,
		Body: formats.AppendAlert(nil, a),
	}
}

package live

import (
	"context"
	"errors"
	"io"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// Desk answers questions about a state: of the running process, or of a directory that no process
// writes to. Its methods may be called by many goroutines.
type Desk struct {
	st   *State
	run  *Run // nil: the directory is read only
	view *engine.View
	asOf *formats.OpeningInfo // nil: the answers show what is there now
	past *past                // nil: the directory has the history; else archive files have it

	accounts accountIndex
	kept     kept
}

// Desk returns the desk of a running process.
func (r *Run) Desk() *Desk { return &Desk{st: r.st, run: r} }

// ReadDesk restores a directory that was opened read-only and returns its desk. The answers show
// what was durable when it was restored.
func ReadDesk(dir *store.Dir) (*Desk, error) {
	st, err := Restore(dir, 1, false, nil)
	if err != nil {
		return nil, err
	}
	return &Desk{st: st, view: st.Shards.Pin()}, nil
}

// Notices returns what people must hear of the restore.
func (d *Desk) Notices() []string { return d.st.Notices }

// Close ends a desk that is not a process's.
func (d *Desk) Close() error {
	d.accounts.close()
	err := d.st.Outbox.Close()
	if d.past != nil {
		err = errors.Join(err, d.past.close(d.st))
	}
	return err
}

// View returns a picture of what is durable.
func (d *Desk) View(ctx context.Context) (*engine.View, error) {
	if d.run == nil {
		return d.view, nil
	}
	return d.run.View(ctx)
}

// Live returns the counts and sinks of the running process; false for a directory.
func (d *Desk) Live() (Metrics, []SinkStatus, bool) {
	if d.run == nil {
		return Metrics{}, nil, false
	}
	return d.run.Metrics(), d.run.Sinks(), true
}

// Sinks returns how far the named sinks have come, from their cursor logs.
func (d *Desk) Sinks(names []string) ([]SinkStatus, error) {
	var out []SinkStatus
	for _, name := range names {
		done, list, err := d.st.Dir.ReadCursor(name)
		if err != nil {
			return nil, err
		}
		s := SinkStatus{Name: name, Done: done}
		for _, l := range list {
			switch l.State {
			case store.Parked:
				s.Parked++
				s.LastError = l.Reason
			case store.Done:
			default:
				s.Waiting++
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// Refused returns why the running process refused a control file.
func (d *Desk) Refused(name string) (string, bool) {
	if d.run == nil {
		return "", false
	}
	return d.run.Refused(name)
}

// Applied reports whether a control file is in the journal and everything of it is known.
func (d *Desk) Applied(v *engine.View, name string, file engine.Digest) bool {
	return v.Applied(file) && (d.run == nil || !d.run.applying(name))
}

// Rejected returns the corrections of an applied control file that were rejected, by Index: as the
// running process told them, or by the journal where another one applied the file.
func (d *Desk) Rejected(ctx context.Context, name string, file engine.Digest) ([]Judged, error) {
	if d.run != nil {
		if list, known := d.run.judged(name); known {
			return list, nil
		}
		if err := d.run.settle(ctx); err != nil {
			return nil, err
		}
	}
	seqs, err := d.correctionsOf(ctx, file)
	if err != nil {
		return nil, err
	}
	reasons := d.reasons()
	defer reasons.r.Close() // read only
	var out []Judged
	for i, seq := range seqs {
		reason, err := reasons.of(seq)
		if err != nil {
			return nil, err
		}
		if reason != engine.Accepted {
			out = append(out, Judged{i, seq, reason})
		}
	}
	return out, nil
}

// correctionsOf returns where the corrections of a control file stand in the journal: between the
// change that ends it, which names it, and the one that ends the file before.
func (d *Desk) correctionsOf(ctx context.Context, file engine.Digest) ([]engine.Seq, error) {
	segments, err := d.st.Dir.Segments()
	if err != nil || len(segments) == 0 {
		return nil, err
	}
	r := journalOf(d.st.Dir).Read(segments[0].First)
	defer r.Close() // read only
	r.wants = func(frame *store.Frame) bool { return frame.Count == 1 }
	var seqs []engine.Seq
	for ctx.Err() == nil {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		switch b := e.Body.(type) {
		case *engine.Void:
			seqs = append(seqs, e.Seq)
		case *engine.Change:
			if b.File == file {
				return seqs, nil
			}
			seqs = nil
		}
	}
	return nil, ctx.Err()
}

// Document is an issued document.
type Document struct {
	Key     string
	Account string
	Seq     engine.Seq // of the entry that closed it
	Body    []byte
}

// Document returns an issued document; false if there is none with this key.
func (d *Desk) Document(key string) (Document, bool, error) {
	rec, _, found, err := d.st.Outbox.Find(key)
	if rec.Seq > d.through() {
		return Document{}, false, err // it was issued later
	}
	return Document{rec.Key, rec.Account, rec.Seq, rec.Body}, found, err
}

// Documents calls f with the issued documents in their order until it returns false. It reads the
// whole outbox.
func (d *Desk) Documents(f func(Document) bool) error {
	return d.records(store.DocumentRecord, f)
}

// records calls f with the records of a kind.
func (d *Desk) records(kind store.RecordKind, f func(Document) bool) error {
	r := d.st.Outbox.Read(0)
	defer r.Close() // read only
	for {
		rec, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Seq > d.through() {
			return nil
		}
		if rec.Kind == kind && !f(Document{rec.Key, rec.Account, rec.Seq, rec.Body}) {
			return nil
		}
	}
}

// WithControls returns a picture of the state as it will be when the control files that wait are
// journaled. It is for comparing: nothing is written. Only a desk of ReadDesk can say.
func (d *Desk) WithControls(at engine.Micros) (*engine.View, error) {
	names, err := d.st.Dir.Controls()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		payload, err := d.st.Dir.Control(name)
		if err != nil {
			return nil, err
		}
		bodies, err := decodeControl(payload)
		if err != nil {
			continue // the sequencer will refuse it
		}
		if err := d.applyWaiting(bodies, at); err != nil {
			return nil, err
		}
	}
	return d.st.Shards.Pin(), nil
}

// applyWaiting applies the bodies of a control file to the shards of a desk of ReadDesk, unless the
// sequencer will leave the file out.
func (d *Desk) applyWaiting(bodies []engine.Body, at engine.Micros) error {
	zones, rest := splitZones(bodies)
	for _, z := range zones {
		if _, err := d.try(z, at); err != nil {
			return err
		}
	}
	v := d.st.Shards.Pin()
	for _, b := range rest {
		if c, ok := b.(*engine.Change); ok && v.Applied(c.File) {
			return nil
		}
	}
	if checkControl(v, rest, at) != nil {
		return nil
	}
	for _, b := range rest {
		if _, err := d.try(b, at); err != nil {
			return err
		}
	}
	return nil
}

// try applies a body to the shards of a desk of ReadDesk, which nobody else sees, and returns what
// was rejected of it.
func (d *Desk) try(b engine.Body, at engine.Micros) (rejected []engine.Rejection, err error) {
	e := &engine.Entry{
		Seq: d.st.Shards.Seq() + 1, At: max(d.st.Shards.Pin().Standing().At, at), Body: b,
	}
	err = d.st.Shards.Apply(e, func(fx *engine.Effects) error {
		rejected = append(rejected, fx.Rejections...)
		return nil
	})
	return rejected, err
}

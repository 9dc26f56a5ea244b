package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
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

// Close ends a desk of ReadDesk.
func (d *Desk) Close() error { return d.st.Outbox.Close() }

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
		if rec.Kind == store.DocumentRecord && !f(Document{rec.Key, rec.Account, rec.Seq, rec.Body}) {
			return nil
		}
	}
}

// Row is one row of the journal with its outcome.
type Row struct {
	Seq       engine.Seq
	At        engine.Micros
	Origin    string // configured source
	Partition string
	Offset    int64
	Source    string // attributes; "" for a malformed row
	Type      string
	Subject   string
	ID        string
	Time      engine.Micros
	Defaulted bool // Time is the arrival
	Data      map[string]string
	Rest      string
	Outcome   engine.Reason
	Account   string // that owns the subject at Time; "" if none does
	Fault     string // of a malformed row, or of a value that a meter could not read
	Raw       []byte
	Size      int64
}

// RowFilter says which rows are wanted. Zero fields say nothing.
type RowFilter struct {
	ID      string
	Seq     engine.Seq
	Subject string
	Outcome *engine.Reason
	Limit   int // 0: no limit
}

// Rows returns the rows that pass the filter, by rising Seq, and whether there are more. It reads
// the journal, and the archive before it, from the first row: the time it takes grows with them.
func (d *Desk) Rows(ctx context.Context, f RowFilter) (rows []Row, more bool, err error) {
	v, err := d.View(ctx)
	if err != nil {
		return nil, false, err
	}
	end := v.Standing().Seq
	reasons := &reasonReader{r: d.st.Outbox.Read(0)}
	defer reasons.r.Close() // read only
	r := journalOf(d.st.Dir).Read(1)
	defer r.Close() // read only
	r.wants = func(frame *store.Frame) bool {
		if f.Seq != 0 {
			return frame.First > end || f.Seq >= frame.First && f.Seq < frame.First+frame.Count
		}
		return frame.First > end || f.ID == "" || bytes.Contains(frame.Payload, []byte(f.ID))
	}
	for ctx.Err() == nil {
		e, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && e.Seq > end {
			return rows, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		b, ok := e.Body.(*engine.Batch)
		if !ok {
			continue
		}
		for row := range b.Len {
			if !f.wants(e.Seq+engine.Seq(row), b, row) {
				continue
			}
			reason, err := reasons.of(e.Seq + engine.Seq(row))
			if err != nil {
				return nil, false, err
			}
			if f.Outcome != nil && reason != *f.Outcome {
				continue
			}
			if f.Limit > 0 && len(rows) == f.Limit {
				return rows, true, nil
			}
			rows = append(rows, makeRow(v, e, b, row, reason))
		}
	}
	return nil, false, ctx.Err()
}

func (f *RowFilter) wants(seq engine.Seq, b *engine.Batch, row int) bool {
	if f.Seq != 0 && f.Seq != seq || f.ID != "" && string(b.ID.At(row)) != f.ID {
		return false
	}
	if f.Subject == "" {
		return true
	}
	subject, _ := b.Subject.At(row)
	return subject == f.Subject
}

// reasonReader goes through the rejections of the outbox beside the rows of the journal.
type reasonReader struct {
	r    *store.OutboxReader
	list []engine.Rejection
	done bool
}

func (r *reasonReader) of(seq engine.Seq) (engine.Reason, error) {
	for {
		for len(r.list) > 0 && r.list[0].Seq < seq {
			r.list = r.list[1:]
		}
		if len(r.list) > 0 {
			if r.list[0].Seq == seq {
				return r.list[0].Reason, nil
			}
			return engine.Accepted, nil
		}
		if r.done {
			return engine.Accepted, nil
		}
		rec, _, err := r.r.Next()
		switch {
		case errors.Is(err, io.EOF):
			r.done = true
		case err != nil:
			return 0, err
		case rec.Kind == store.RejectionsRecord:
			if r.list, err = store.DecodeRejections(rec.Body); err != nil {
				return 0, fmt.Errorf("read rejections of entry %d: %w", rec.Seq, err)
			}
		}
	}
}

func makeRow(v *engine.View, e *engine.Entry, b *engine.Batch, row int, reason engine.Reason) Row {
	out := Row{
		Seq: e.Seq + engine.Seq(row), At: e.At, Origin: b.Origin.Source, Outcome: reason,
		Offset: b.Origin.Offset[row],
	}
	out.Partition, _ = b.Origin.Partition.At(row)
	for i := range b.Malformed {
		if m := &b.Malformed[i]; m.Row == row {
			out.Fault, out.Raw, out.Size = m.Fault, m.Raw, m.Size
			return out
		}
	}
	out.Source, _ = b.Source.At(row)
	out.Type, _ = b.Type.At(row)
	out.Subject, _ = b.Subject.At(row)
	out.ID = string(b.ID.At(row))
	out.Time, out.Defaulted = b.Time[row], b.TimeDefaulted.Has(row)
	out.Rest = string(b.Rest.At(row))
	out.Data = map[string]string{}
	for i := range b.Props {
		if text, ok := cell(&b.Props[i], row); ok {
			out.Data[strings.TrimPrefix(b.Props[i].Path, "data.")] = text
		}
	}
	if reason == engine.ReasonBadValue || reason == engine.ReasonOverflow {
		out.Fault = valueFault(v, b, row, out.Type)
	}
	owners, _ := v.Subject(out.Subject)
	for _, o := range owners {
		if o.From <= out.Time && out.Time < o.To {
			out.Account = o.Account
		}
	}
	return out
}

// valueFault says which meters of the row's type could not read their value, and why.
func valueFault(v *engine.View, b *engine.Batch, row int, event string) string {
	var faults []string
	for _, m := range v.Meters() {
		if m.Event != event || m.Aggregate == engine.Count {
			continue
		}
		text, found := "", false
		for i := range b.Props {
			if c := &b.Props[i]; c.Path == m.Value && !found {
				text, found = cell(c, row)
			}
		}
		_, err := decimal.Parse(text)
		switch {
		case !found:
			faults = append(faults, fmt.Sprintf("meter %s: %s is absent or no number", m.Key, m.Value))
		case errors.Is(err, decimal.ErrRange):
			faults = append(faults, fmt.Sprintf(
				"meter %s: %s is beyond 20 digits before or 18 behind the point", m.Key, m.Value))
		case err != nil:
			faults = append(faults, fmt.Sprintf("meter %s: %s is no number", m.Key, m.Value))
		}
	}
	return strings.Join(faults, "; ")
}

// cell returns the text of a property of a row.
func cell(c *engine.Column, row int) (string, bool) {
	switch c.Kind {
	case engine.TextColumn, engine.WideColumn:
		return c.Text.At(row)
	case engine.NumberColumn:
		return c.Numbers[row].String(), c.Present.Has(row)
	}
	if c.Bools.Has(row) {
		return "true", c.Present.Has(row)
	}
	return "false", c.Present.Has(row)
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
			return nil, err
		}
		for _, b := range bodies {
			v := d.st.Shards.Pin()
			if c, ok := b.(*engine.Change); ok && (v.Applied(c.File) || v.Check(c, at) != nil) {
				continue // the sequencer will leave it out
			}
			e := &engine.Entry{
				Seq: d.st.Shards.Seq() + 1, At: max(v.Standing().At, at), Body: b,
			}
			if err := d.st.Shards.Apply(e, func(*engine.Effects) error { return nil }); err != nil {
				return nil, err
			}
		}
	}
	return d.st.Shards.Pin(), nil
}

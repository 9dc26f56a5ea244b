package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	// Corrects is what a correction of an earlier row does; nil: the row was read by a source. The
	// row then is the new version, or the one that is taken back.
	Corrects *Correction
	// CorrectedBy is the correction that took the row back or changed it; nil: none.
	CorrectedBy *Correction
}

// Correction says how a correction and the row that it corrects belong together.
type Correction struct {
	Seq    engine.Seq // of the other of the two
	At     engine.Micros
	Amends bool // the row has another version; false: it is taken back
	Actor  string
	Reason string
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
	if d.run != nil {
		if err := d.run.settle(ctx); err != nil {
			return nil, false, err
		}
	}
	end := v.Standing().Seq
	s := &rowScan{v: v, f: f, reasons: d.reasons()}
	defer s.reasons.r.Close() // read only
	r := journalOf(d.st.Dir).Read(1)
	defer r.Close() // read only
	r.wants = func(frame *store.Frame) bool { return frame.First > end || s.looks(frame) }
	for ctx.Err() == nil {
		e, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && e.Seq > end {
			return s.rows, s.more, nil
		}
		if err != nil {
			return nil, false, err
		}
		switch b := e.Body.(type) {
		case *engine.Batch:
			err = s.batch(e, b)
		case *engine.Void:
			err = s.void(e, b)
		}
		if err != nil {
			return nil, false, err
		}
	}
	return nil, false, ctx.Err()
}

// rowScan is one reading of the journal for rows.
type rowScan struct {
	v       *engine.View
	f       RowFilter
	reasons *reasonReader
	rows    []Row
	more    bool
}

// looks reports whether a frame may hold a row that is wanted, or a correction of one that was
// found.
func (s *rowScan) looks(frame *store.Frame) bool {
	switch {
	case s.f.Seq != 0 && len(s.rows) == 0:
		return s.f.Seq >= frame.First && s.f.Seq < frame.First+frame.Count
	case s.f.Seq != 0:
		return bytes.Contains(frame.Payload, []byte(s.rows[0].ID))
	case s.more: // nothing but corrections is of interest any more
		return frame.Count == 1
	}
	return s.f.ID == "" || bytes.Contains(frame.Payload, []byte(s.f.ID))
}

func (s *rowScan) batch(e *engine.Entry, b *engine.Batch) error {
	for row := range b.Len {
		seq := e.Seq + engine.Seq(row)
		if s.more || !s.f.wants(seq, b, row) {
			continue
		}
		reason, err := s.reasons.of(seq)
		if err != nil {
			return err
		}
		if s.takes(reason) {
			s.rows = append(s.rows, makeRow(s.v, e, b, row, reason))
		}
	}
	return nil
}

// void takes a correction in as a row, and notes it at the row that it corrects.
func (s *rowScan) void(e *engine.Entry, v *engine.Void) error {
	reason, err := s.reasons.of(e.Seq)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(s.rows, func(r Row) bool { return r.Seq == v.Of })
	if at >= 0 && reason == engine.Accepted {
		s.rows[at].CorrectedBy = &Correction{e.Seq, e.At, v.Amend != nil, v.Actor, v.Reason}
	}
	shown := v.Row
	if v.Amend != nil {
		shown = v.Amend
	}
	if s.more || !s.f.wants(e.Seq, shown, 0) || !s.takes(reason) {
		return nil
	}
	row := makeRow(s.v, e, shown, 0, reason)
	row.Origin = engine.Corrections
	row.Corrects = &Correction{v.Of, 0, v.Amend != nil, v.Actor, v.Reason}
	s.rows = append(s.rows, row)
	return nil
}

// takes reports whether one more row with this outcome is wanted, and notes that there are more.
func (s *rowScan) takes(reason engine.Reason) bool {
	if s.f.Outcome != nil && reason != *s.f.Outcome {
		return false
	}
	s.more = s.f.Limit > 0 && len(s.rows) == s.f.Limit
	return !s.more
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

// reasonReader goes through the rejections of the outbox beside the rows of the journal. Those
// behind the checkpoint of a desk of ReadDesk come from its restore: the outbox may lack the last.
type reasonReader struct {
	r    *store.OutboxReader
	list []engine.Rejection
	done bool
	tail []engine.Rejection
	last engine.Seq // before the tail
}

// reasons returns a reader from the first rejection on.
func (d *Desk) reasons() *reasonReader {
	r := &reasonReader{r: d.st.Outbox.Read(0), last: ^engine.Seq(0)}
	if d.run == nil && d.asOf == nil {
		r.tail, r.last = d.st.tail, d.st.Checkpoint
	}
	return r
}

// of returns what became of an entry or row; seq only rises from call to call.
func (r *reasonReader) of(seq engine.Seq) (engine.Reason, error) {
	if seq > r.last && !r.done {
		r.list, r.done = r.tail, true
	}
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
		if m.Event != event || m.Value == "" {
			continue // it counts, or takes a constant
		}
		text, found := "", false
		for i := range b.Props {
			if c := &b.Props[i]; c.Path == m.Value && !found {
				text, found = cell(c, row)
			}
		}
		_, err := decimal.Parse(text)
		switch {
		case m.Aggregate == engine.Unique:
			if !found {
				faults = append(faults, fmt.Sprintf("meter %s: %s is absent", m.Key, m.Value))
			}
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

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
	"billctl/internal/store"
)

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

	version uint64 // its digest where it counted, or did; 0: it never did
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
	ID       string
	Seq      engine.Seq
	Subject  string
	Account  string // that owns the subject at the row's time
	Outcome  *engine.Reason
	Rejected bool       // with any outcome but accepted
	Newest   bool       // by falling Seq
	Before   engine.Seq // only rows before this position; 0: all
	Limit    int        // 0: no limit
}

// ErrNoRows says that a desk has no rows to show: its state is that of an opening.
var ErrNoRows = errors.New("an opening holds no events")

// Rows returns the rows of a view that pass the filter, and whether there are more. By rising Seq
// it reads the journal, and the archive before it, from the first row: the time it takes grows with
// them. By falling Seq, and for one position, it reads no more than it has to. ErrNoRows: there are
// none to read.
func (d *Desk) Rows(
	ctx context.Context, v *engine.View, f RowFilter,
) (rows []Row, more bool, err error) {
	if err := d.beginRows(ctx); err != nil {
		return nil, false, err
	}
	test := newRowTest(v, f)
	if f.Newest || f.Seq != 0 {
		return d.newestRows(ctx, v, test)
	}
	end := v.Standing().Seq
	s := &rowScan{v: v, f: test, reasons: d.reasons()}
	defer s.reasons.r.Close() // read only
	r := d.entries(1)
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

// beginRows makes what was said of rows readable: of all rows of the views that were taken before.
func (d *Desk) beginRows(ctx context.Context) error {
	if d.asOf != nil {
		return ErrNoRows
	}
	if d.run == nil {
		return nil
	}
	return d.run.settle(ctx)
}

// rowScan is one reading of the journal for rows.
type rowScan struct {
	v       *engine.View
	f       *rowTest
	reasons *reasonReader
	rows    []Row
	more    bool
}

// looks reports whether a frame may hold a row that is wanted, or a correction of one that was
// found.
func (s *rowScan) looks(frame *store.Frame) bool {
	if s.more { // nothing but corrections is of interest any more
		return frame.Count == 1
	}
	return s.f.looks(frame.Payload) // a correction holds the row that it corrects
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
	for at := len(s.rows) - 1; at >= 0 && reason == engine.Accepted; at-- {
		if r := &s.rows[at]; r.CorrectedBy == nil && r.counted() == countedBy(v) {
			r.CorrectedBy = &Correction{e.Seq, e.At, v.Amend != nil, v.Actor, v.Reason}
			break
		}
	}
	if !s.more && s.f.wants(e.Seq, shownBy(v), 0) && s.takes(reason) {
		s.rows = append(s.rows, correctionRow(s.v, e, v, reason))
	}
	return nil
}

// countedVersion tells versions of events that counted from each other. A correction may name a
// repetition of the row that it takes back, so its position does not tell.
type countedVersion struct {
	source, id string
	digest     uint64
}

// counted returns the version that the row is; of a row that never counted one that nothing takes
// back.
func (r *Row) counted() countedVersion { return countedVersion{r.Source, r.ID, r.version} }

// countedBy returns the version that an accepted correction takes back.
func countedBy(v *engine.Void) countedVersion {
	source, _ := v.Row.Source.At(0)
	return countedVersion{source, string(v.Row.ID.At(0)), v.Row.Digest[0]}
}

// shownBy returns what a correction shows as a row: the new version, or what it takes back.
func shownBy(v *engine.Void) *engine.Batch {
	if v.Amend != nil {
		return v.Amend
	}
	return v.Row
}

func correctionRow(
	v *engine.View, e *engine.Entry, void *engine.Void, reason engine.Reason,
) Row {
	row := makeRow(v, e, shownBy(void), 0, reason)
	row.Origin = engine.Corrections
	row.Corrects = &Correction{void.Of, 0, void.Amend != nil, void.Actor, void.Reason}
	if void.Amend == nil {
		row.version = 0
	}
	return row
}

// takes reports whether one more row with this outcome is wanted, and notes that there are more.
func (s *rowScan) takes(reason engine.Reason) bool {
	if !s.f.has(reason) {
		return false
	}
	s.more = s.f.Limit > 0 && len(s.rows) == s.f.Limit
	return !s.more
}

// rowTest is a filter with the ownerships of its account.
type rowTest struct {
	RowFilter
	owners []engine.Ownership
	texts  [][]byte // a frame without any of them holds no row that is wanted; none: any frame may
}

// maxTexts is how many texts a frame is looked through for; with more it is decoded.
const maxTexts = 16

func newRowTest(v *engine.View, f RowFilter) *rowTest {
	t := &rowTest{RowFilter: f}
	switch {
	case f.ID != "":
		t.texts = [][]byte{[]byte(f.ID)}
	case f.Subject != "":
		t.texts = [][]byte{[]byte(f.Subject)}
	}
	if f.Account != "" {
		a, _ := v.Account(f.Account)
		if t.owners = a.Subjects; t.texts == nil {
			t.texts = subjectTexts(t.owners)
		}
	}
	return t
}

// subjectTexts returns what stands in every frame that has a row of some subjects; none: they are
// too many to look for.
func subjectTexts(owners []engine.Ownership) (texts [][]byte) {
	for i := range owners {
		if i > 0 && owners[i].Subject == owners[i-1].Subject {
			continue
		}
		if len(texts) == maxTexts {
			return nil
		}
		texts = append(texts, []byte(owners[i].Subject))
	}
	return texts
}

// mayHold reports whether the payload of a frame has any of some texts.
func mayHold(payload []byte, texts [][]byte) bool {
	return texts == nil || slices.ContainsFunc(texts, func(t []byte) bool {
		return bytes.Contains(payload, t)
	})
}

func (f *rowTest) looks(payload []byte) bool { return mayHold(payload, f.texts) }

func (f *rowTest) wants(seq engine.Seq, b *engine.Batch, row int) bool {
	if f.Before != 0 && seq >= f.Before || f.Seq != 0 && f.Seq != seq ||
		f.ID != "" && string(b.ID.At(row)) != f.ID {
		return false
	}
	if f.Subject == "" && f.Account == "" {
		return true
	}
	subject, ok := b.Subject.At(row)
	if !ok || f.Subject != "" && subject != f.Subject {
		return false
	}
	return f.Account == "" || slices.ContainsFunc(f.owners, func(o engine.Ownership) bool {
		return o.Subject == subject && o.From <= b.Time[row] && b.Time[row] < o.To
	})
}

// has reports whether an outcome is wanted.
func (f *rowTest) has(reason engine.Reason) bool {
	if f.Rejected && reason == engine.Accepted {
		return false
	}
	return f.Outcome == nil || reason == *f.Outcome
}

// selects reports whether only rejected rows are wanted.
func (f *rowTest) selects() bool {
	return f.Rejected || f.Outcome != nil && *f.Outcome != engine.Accepted
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
	if d.run == nil && d.asOf == nil && d.past == nil {
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
	if reason == engine.Accepted {
		out.version = b.Digest[row]
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

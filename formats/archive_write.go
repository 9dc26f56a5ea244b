package formats

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"billctl/engine"
)

// The kinds of rows that are no control entries. A batch without rows takes no sequence number; its
// row has that of the entry behind it.
const (
	rowOfEvent     = "event"
	rowOfMalformed = "malformed"
	rowOfPositions = "position"
)

// WriteArchive writes entries as one archive file (docs/formats/archive.md). entries is called
// twice, once to plan the columns and once to write, and must give the same entries both times,
// with sequence numbers without a gap. They are kept for no longer than their yield. The bytes
// depend on nothing else. It fails if there are no entries, if one says what no reader of events
// writes, and with the errors of w and entries. Its memory is that of a row group, 262,144 rows,
// packed, and a page of 1 MiB for each column.
func WriteArchive(
	w io.Writer, g engine.Genesis, entries func(yield func(*engine.Entry) error) error,
) (*ArchiveInfo, error) {
	plan, err := planColumns(func(yield func(*engine.Batch) error) error {
		return entries(func(e *engine.Entry) error {
			if b, ok := e.Body.(*engine.Batch); ok {
				return yield(b)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("plan archive: %w", err)
	}
	a := newArchiveSink(w, g, plan)
	if err := entries(a.add); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	if a.info.Entries == 0 {
		return nil, errors.New("write archive: there are no entries")
	}
	if err := a.close(); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	return &a.info, nil
}

// writeEventsParquet writes the events of batches as a Parquet file without the journal's columns:
// source, type, subject, id, time, the properties and rest. Malformed rows are left out. batches is
// called twice, as WriteArchive calls its entries.
func writeEventsParquet(
	w io.Writer, batches func(yield func(*engine.Batch) error) error,
) error {
	plan, err := planColumns(batches)
	if err != nil {
		return err
	}
	s := newEventSink(plan, false)
	columns := append([]*sinkColumn{s.source, s.kind, s.subject, s.id, s.time_}, s.props...)
	file := newSink(w, "events", append(columns, s.rest))
	err = batches(func(b *engine.Batch) error {
		b = Normalize(b)
		n := b.Len - len(b.Malformed)
		if !file.fits(n) {
			if err := file.flush(); err != nil {
				return err
			}
		}
		r, err := s.rows(b)
		if err == nil {
			err = s.write(r, true)
		}
		if err != nil {
			return err
		}
		return file.end(n, batchBytes(b))
	})
	if err != nil {
		return err
	}
	_, err = file.close(nil)
	return err
}

// batchBytes returns about how many bytes the rows of a batch have in columns.
func batchBytes(b *engine.Batch) int {
	n := b.Len*(64+8*len(b.Props)) + len(b.ID.Bytes) + len(b.Rest.Bytes)
	for i := range b.Props {
		for _, s := range b.Props[i].Text.Values {
			n += len(s)
		}
	}
	for i := range b.Malformed {
		n += len(b.Malformed[i].Raw)
	}
	return n
}

// archiveSink is an archive file that is written.
type archiveSink struct {
	info    ArchiveInfo
	file    *sink
	events  *eventSink
	content hash.Hash
	buf     []byte
	next    engine.Seq
	columns string

	seq, entry, at, what                                                    *sinkColumn
	defaulted, origin, partition, offset, digest, control, fault, raw, size *sinkColumn
}

func newArchiveSink(w io.Writer, g engine.Genesis, plan *columnPlan) *archiveSink {
	bytes := func(name string) *sinkColumn {
		return &sinkColumn{
			name: name, optional: true, unbound: true,
			node: parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.Plain),
		}
	}
	a := &archiveSink{
		info:    ArchiveInfo{Version: ArchiveVersion, Journal: g.Journal, Partition: g.Partition},
		events:  newEventSink(plan, true),
		content: sha256.New(),
		columns: plan.schema(),
		seq:     intColumn("seq", false), entry: intColumn("entry", false),
		at: timeColumn("at", false), what: wordColumn("kind"),
		defaulted: &sinkColumn{
			name: "time_defaulted", optional: true,
			node: parquet.Encoded(parquet.Leaf(parquet.BooleanType), &parquet.Plain),
		},
		origin: wordColumn("origin"), partition: wordColumn("partition"),
		offset: intColumn("offset", true), digest: wordSizeColumn("digest", true),
		control: bytes("control"), fault: wordColumn("fault"), raw: bytes("raw"),
		size: intColumn("size", true),
	}
	a.what.optional, a.fault.unbound = false, true
	e := a.events
	columns := []*sinkColumn{
		a.seq, a.entry, a.at, a.what, e.source, e.kind, e.subject, e.id, e.idText, e.time_,
		a.defaulted, a.origin, a.partition, a.offset, a.digest,
	}
	columns = append(append(columns, e.props...), e.rest, a.control, a.fault, a.raw, a.size)
	a.file = newSink(w, archiveRoot, columns)
	return a
}

// schema returns the property columns as the metadata's checksum of them has it.
func (p *columnPlan) schema() string {
	lines := []string{"at " + timeWhat + "\n", "time " + timeWhat + "\n"}
	for i := range p.columns {
		lines = append(lines, p.columns[i].path+" "+p.columns[i].what()+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// add writes one entry.
func (a *archiveSink) add(e *engine.Entry) error {
	if a.info.Entries == 0 {
		a.info.First, a.info.FirstAt, a.next = e.Seq, e.At, e.Seq
	}
	if e.Seq != a.next || e.At < a.info.LastAt && a.info.Entries > 0 {
		return fmt.Errorf("entry %d at %s comes where entry %d is next, at %s or later", e.Seq, e.At,
			a.next, a.info.LastAt)
	}
	a.info.Entries++
	a.info.LastAt = e.At
	a.next += e.Seqs()
	a.info.Last = a.next - 1
	var err error
	if b, ok := e.Body.(*engine.Batch); ok {
		err = a.batch(e, Normalize(b))
	} else {
		err = a.controlEntry(e)
	}
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	return nil
}

func (a *archiveSink) close() (err error) {
	a.content.Sum(a.info.Content[:0])
	a.info.Bytes, err = a.file.close(archivePairs(&a.info, a.columns))
	return err
}

// hash adds the entry to the digest of the content, and returns the size of its canonical bytes.
func (a *archiveSink) hash(e *engine.Entry) int {
	a.buf = engine.AppendEntry(a.buf[:0], e)
	a.content.Write(a.buf)
	return len(a.buf)
}

// controlEntry writes the row of an entry that is no batch.
func (a *archiveSink) controlEntry(e *engine.Entry) error {
	if s, ok := e.Body.(*engine.Seal); ok {
		if a.info.Seals == 0 {
			a.info.Before = s.Before
		}
		a.info.Seals++
		a.info.Head = s.Chain()
	}
	size := a.hash(e)
	if err := a.bare(e, kindName(e.Body), a.buf); err != nil {
		return err
	}
	return a.file.end(1, size)
}

// bare writes a row that has a kind and bytes in control, and nothing else.
func (a *archiveSink) bare(e *engine.Entry, kind string, control []byte) error {
	if !a.file.fits(1) {
		if err := a.file.flush(); err != nil {
			return err
		}
	}
	for _, c := range a.file.columns {
		var err error
		switch c {
		case a.seq, a.entry:
			err = c.int(int64(e.Seq))
		case a.at:
			err = c.int(int64(e.At))
		case a.what:
			err = c.text(kind)
		case a.control:
			err = c.put(control)
		case a.origin:
			if b, ok := e.Body.(*engine.Batch); ok {
				err = c.text(b.Origin.Source)
			} else {
				err = c.null()
			}
		default:
			err = c.null()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// misdated returns the first row whose defaulted time is not when its batch arrived; Len for none.
func misdated(b *engine.Batch, at engine.Micros) int {
	row := firstBit(b.TimeDefaulted, 0, b.Len)
	for row < b.Len && b.Time[row] == at {
		row = firstBit(b.TimeDefaulted, row+1, b.Len)
	}
	return row
}

// batch writes the rows of a normalized batch.
func (a *archiveSink) batch(e *engine.Entry, b *engine.Batch) error {
	if row := misdated(b, e.At); row < b.Len {
		return fmt.Errorf("row %d: the event had no time, and %s is not its arrival", row, b.Time[row])
	}
	size := a.hash(&engine.Entry{Seq: e.Seq, At: e.At, Body: b})
	a.info.Rows += uint64(b.Len)
	a.info.Malformed += uint64(len(b.Malformed))
	if b.Len == 0 {
		at := engine.Entry{Seq: e.Seq, At: e.At, Body: b}
		if err := a.bare(&at, rowOfPositions, appendPositions(nil, &b.Origin)); err != nil {
			return err
		}
		return a.file.end(1, size)
	}
	if !a.file.fits(b.Len) {
		if err := a.file.flush(); err != nil {
			return err
		}
	}
	r, err := a.events.rows(b)
	if err == nil {
		err = a.events.write(r, false)
	}
	if err == nil {
		err = a.journal(e, b)
	}
	if err == nil {
		err = a.readings(r)
	}
	if err == nil {
		err = a.malformed(b)
	}
	if err != nil {
		return err
	}
	return a.file.end(b.Len, size)
}

// journal writes the columns that every row of a batch has.
func (a *archiveSink) journal(e *engine.Entry, b *engine.Batch) error {
	if err := checkTexts([]string{b.Origin.Source}); err != nil {
		return err
	}
	a.what.begin([]string{rowOfEvent, rowOfMalformed})
	a.origin.begin([]string{b.Origin.Source})
	names := make([]string, len(b.Origin.Partition.Values))
	for i, name := range b.Origin.Partition.Values {
		names[i] = partitionText(name)
	}
	a.partition.begin(names)
	bad := b.Malformed
	for row := range b.Len {
		kind := uint32(0)
		if len(bad) > 0 && bad[0].Row == row {
			bad, kind = bad[1:], 1
		}
		for _, err := range [...]error{
			a.seq.int(int64(e.Seq) + int64(row)), a.entry.int(int64(e.Seq)), a.at.int(int64(e.At)),
			a.what.word(kind), a.origin.word(0), a.partition.word(b.Origin.Partition.Index[row]),
			a.offset.int(b.Origin.Offset[row]),
		} {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// readings writes the columns that only events have, beside those of eventSink.
func (a *archiveSink) readings(r *eventRows) (err error) {
	for row := 0; row < r.b.Len && err == nil; row++ {
		if r.bad.Has(row) {
			if err = a.defaulted.null(); err == nil {
				err = a.digest.null()
			}
			continue
		}
		if err = a.defaulted.bool(r.b.TimeDefaulted.Has(row)); err == nil {
			err = a.digest.int(int64(r.b.Digest[row]))
		}
	}
	return err
}

// malformed writes the columns of malformed rows, and control.
func (a *archiveSink) malformed(b *engine.Batch) error {
	err := a.control.put(appendPositions(nil, &b.Origin))
	if err == nil {
		err = a.control.nulls(b.Len - 1)
	}
	if err != nil {
		return err
	}
	bad := b.Malformed
	if len(bad) == 0 {
		for _, c := range []*sinkColumn{a.fault, a.raw, a.size} {
			if err := c.nulls(b.Len); err != nil {
				return err
			}
		}
		return nil
	}
	for row := range b.Len {
		fault, raw, size := a.fault.null, a.raw.null, a.size.null
		if len(bad) > 0 && bad[0].Row == row {
			m := bad[0]
			bad = bad[1:]
			fault = func() error { return a.fault.text(partitionText(m.Fault)) }
			raw = func() error { return a.raw.put(m.Raw) }
			size = func() error { return a.size.int(m.Size) }
		}
		for _, put := range [...]func() error{fault, raw, size} {
			if err := put(); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendPositions appends where reading goes on after a batch: the positions of the partitions that
// its rows have, in the order of their appearance, then those of others with their names.
func appendPositions(b []byte, o *engine.Origins) []byte {
	used := 0
	for _, i := range o.Partition.Index {
		if i != engine.Absent {
			used = max(used, int(i)+1)
		}
	}
	b = binary.AppendUvarint(b, uint64(used))
	for _, at := range o.Resume[:used] {
		b = binary.AppendVarint(b, at)
	}
	b = binary.AppendUvarint(b, uint64(len(o.Resume)-used))
	for i, at := range o.Resume[used:] {
		name := o.Partition.Values[used+i]
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		b = binary.AppendVarint(b, at)
	}
	return b
}

// kindName returns the word for a control entry in the column kind.
func kindName(body engine.Body) string {
	switch body.(type) {
	case *engine.Genesis:
		return "genesis"
	case *engine.Rules:
		return "rules"
	case *engine.Settings:
		return "settings"
	case *engine.Source:
		return "source"
	case *engine.Zone:
		return "zone"
	case *engine.Change:
		return "change"
	case *engine.Void:
		return "void"
	case *engine.Credit:
		return "credit"
	case *engine.Watermark:
		return "watermark"
	case *engine.Close:
		return "close"
	case *engine.Clock:
		return "clock"
	case *engine.Mark:
		return "mark"
	case *engine.Seal:
		return "seal"
	}
	panic(fmt.Sprintf("BUG: no such entry: %T", body))
}

package formats

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"

	"billctl/engine"
)

// archiveRun is how many rows of a file are held in columns at once.
const archiveRun = 16 << 10

// ArchiveReader gives the entries of an archive file back, normalized. It is used by one goroutine.
type ArchiveReader struct {
	info ArchiveInfo
	file *parquetFile
	cols archiveColumns

	run  *run
	pos  int // next row of the run
	next engine.Seq
	seen ArchiveInfo // counted so far

	maker   *batchMaker
	kinds   []rowKind // of the values of the column kind
	words   []string  // that kinds is of
	content hash.Hash // if asked for
	buf     []byte
	group   int
	row     int64
	err     error
}

// rowKind is what the column kind says of a row.
type rowKind uint8

const (
	unknownRow rowKind = iota
	eventOfBatch
	malformedOfBatch
	positionsOfBatch
	controlOfEngine
)

// OpenArchive opens an archive file. Its entries follow from Next. A file that another program
// wrote anew, without our metadata, is read as well; then Info has Version 0. Whatever is wrong is
// a *FileError. r must stay open while the file is read.
func OpenArchive(name string, r io.ReaderAt, size int64) (*ArchiveReader, error) {
	f, err := openParquet(name, r, size)
	if err != nil {
		return nil, err
	}
	a := &ArchiveReader{file: f, maker: newBatchMaker()}
	if err := a.open(size); err != nil {
		f.close() // nothing was read yet
		return nil, err
	}
	return a, nil
}

func (a *ArchiveReader) open(size int64) error {
	found, ok, err := readArchivePairs(a.file, schemaOf(a.file.columns()))
	if err != nil {
		return err
	}
	a.info = found
	a.info.Bytes = size
	if err := a.cols.find(a.file, ok); err != nil {
		return err
	}
	if !ok {
		if err := a.findEnds(); err != nil {
			return err
		}
	} else if n := uint64(a.info.Last) - uint64(a.info.First) + 1; n > uint64(a.file.rows()) {
		return a.fault(-1, "", fmt.Sprintf("it has %d rows for the entries %d to %d: rows are missing",
			a.file.rows(), a.info.First, a.info.Last))
	}
	a.next = a.info.First
	for _, p := range a.cols.props {
		a.maker.props = append(a.maker.props, propReader{path: p.name, at: p.at, kind: p.kind})
	}
	return a.file.read(a.cols.read)
}

// findEnds takes first and last sequence number from the rows.
func (a *ArchiveReader) findEnds() error {
	if err := a.file.read([]int{a.cols.read[colSeq], a.cols.read[colKind]}); err != nil {
		return err
	}
	first := true
	for {
		r, err := a.file.next(engine.MaxRows)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if first {
			a.info.First, first = engine.Seq(r.vectors[0].ints[0]), false
		}
		a.info.Last = engine.Seq(r.vectors[0].ints[r.rows-1])
		if kind, _ := r.vectors[1].text.At(r.rows - 1); kind == rowOfPositions {
			a.info.Last--
		}
	}
	if first {
		return a.fault(-1, "", "it has no rows")
	}
	return nil
}

// Info returns what the file says of itself.
func (a *ArchiveReader) Info() ArchiveInfo { return a.info }

// CheckContent makes Next compare the digest of all entries with the one in the metadata, when it
// comes to the end: if they differ, the *FileError has ErrContent. It is called before the first
// Next. A file of Version 0 has none.
func (a *ArchiveReader) CheckContent() {
	if a.info.Version > 0 {
		a.content = sha256.New()
	}
}

// Place returns the row group and the row in the file of the entry that Next returned last, from 0.
func (a *ArchiveReader) Place() (group int, row int64) { return a.group, a.row }

// Close ends the reading. It does not close what the file is read from.
func (a *ArchiveReader) Close() error { return a.file.close() }

// Next returns the next entry, which owns its memory, and io.EOF behind the last.
func (a *ArchiveReader) Next() (*engine.Entry, error) {
	if a.err != nil {
		return nil, a.err
	}
	e, err := a.read()
	if err != nil {
		a.err = err
		return nil, err
	}
	return e, nil
}

func (a *ArchiveReader) read() (*engine.Entry, error) {
	more, err := a.fill()
	if err != nil {
		return nil, err
	}
	if !more {
		if err := a.finish(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	a.group, a.row = a.run.group, a.run.first+int64(a.pos)
	seq := engine.Seq(a.ints(colSeq)[a.pos])
	at := engine.Micros(a.ints(colAt)[a.pos])
	if seq != a.next || engine.Seq(a.ints(colEntry)[a.pos]) != seq {
		return nil, a.fault(a.pos, "seq", fmt.Sprintf(
			"sequence number %d of entry %d, where entry %d begins", seq, a.ints(colEntry)[a.pos], a.next))
	}
	if at < a.seen.LastAt && a.seen.Entries > 0 {
		return nil, a.fault(a.pos, "at", fmt.Sprintf("%s is before %s, of the entry before", at,
			a.seen.LastAt))
	}
	var e *engine.Entry
	switch kind, word := a.kind(a.pos); kind {
	case eventOfBatch, malformedOfBatch:
		e, err = a.batch(seq, at)
	case positionsOfBatch:
		e, err = a.positions(seq, at)
	case controlOfEngine:
		e, err = a.control(seq, at, word)
	default:
		err = a.fault(a.pos, "kind", fmt.Sprintf("there is no kind %s", quoted(word)))
	}
	if err != nil {
		return nil, err
	}
	a.count(e)
	return e, nil
}

// count adds an entry to what was seen.
func (a *ArchiveReader) count(e *engine.Entry) {
	if a.seen.Entries == 0 {
		a.seen.FirstAt = e.At
	}
	a.seen.Entries++
	a.seen.LastAt = e.At
	a.next += e.Seqs()
	switch b := e.Body.(type) {
	case *engine.Batch:
		a.seen.Rows += uint64(b.Len)
		a.seen.Malformed += uint64(len(b.Malformed))
	case *engine.Seal:
		if a.seen.Seals == 0 {
			a.seen.Before = b.Before
		}
		a.seen.Seals++
		a.seen.Head = b.Chain()
	}
	if a.content != nil {
		a.buf = engine.AppendEntry(a.buf[:0], e)
		a.content.Write(a.buf)
	}
}

// finish compares what was read with what the metadata promised.
func (a *ArchiveReader) finish() error {
	if a.next-1 != a.info.Last {
		return a.fault(-1, "seq", fmt.Sprintf("its entries end at %d, not at %d", a.next-1,
			a.info.Last))
	}
	if a.info.Version == 0 {
		return nil
	}
	want := a.info
	want.Version, want.Journal, want.Partition, want.Bytes = 0, [16]byte{}, 0, 0
	want.First, want.Last, want.Content = 0, 0, engine.Digest{}
	if a.seen != want {
		return a.fault(-1, "", "its entries are not those that its metadata counts")
	}
	if a.content == nil {
		return nil
	}
	if sum := a.content.Sum(nil); engine.Digest(sum) != a.info.Content {
		fault := a.fault(-1, "", fmt.Sprintf(
			"its content has the digest %x…, its metadata says %x…: the file was changed", sum[:4],
			a.info.Content[:4]))
		fault.Err = ErrContent
		return fault
	}
	return nil
}

// fill makes sure that there is a row; false at the end of the file.
func (a *ArchiveReader) fill() (bool, error) {
	for a.run == nil || a.pos >= a.run.rows {
		r, err := a.file.next(archiveRun)
		if err == io.EOF {
			a.run = nil
			return false, nil
		}
		if err != nil {
			return false, err
		}
		a.run, a.pos = r, 0
		for _, col := range [...]int{colSeq, colEntry, colAt} {
			if row := firstBit(r.vectors[col].null, 0, r.rows); row < r.rows {
				return false, a.fault(row, fixedColumns[col].name, "there is no value")
			}
		}
		a.learnKinds(&r.vectors[colKind].text)
	}
	return true, nil
}

// learnKinds looks the words of the column kind up once for each row group.
func (a *ArchiveReader) learnKinds(d *engine.Dict) {
	if sameStrings(a.words, d.Values) {
		return
	}
	a.words, a.kinds = d.Values, a.kinds[:0]
	for _, word := range d.Values {
		kind := unknownRow
		switch word {
		case rowOfEvent:
			kind = eventOfBatch
		case rowOfMalformed:
			kind = malformedOfBatch
		case rowOfPositions:
			kind = positionsOfBatch
		default:
			if slices.Contains(controlWords(), word) {
				kind = controlOfEngine
			}
		}
		a.kinds = append(a.kinds, kind)
	}
}

func (a *ArchiveReader) kind(row int) (rowKind, string) {
	i := a.run.vectors[colKind].text.Index[row]
	if i == engine.Absent {
		return unknownRow, ""
	}
	return a.kinds[i], a.words[i]
}

func (a *ArchiveReader) ints(col int) []int64 { return a.run.vectors[col].ints }

// control reads the entry of a row that is no part of a batch.
func (a *ArchiveReader) control(
	seq engine.Seq, at engine.Micros, word string,
) (*engine.Entry, error) {
	e, err := engine.DecodeEntry(a.run.vectors[colControl].bytes.At(a.pos))
	if err != nil {
		return nil, a.fault(a.pos, "control", err.Error())
	}
	if _, ok := e.Body.(*engine.Batch); ok || kindName(e.Body) != word || e.Seq != seq || e.At != at {
		return nil, a.fault(a.pos, "control", "the bytes are of another entry than the row says")
	}
	if g, ok := e.Body.(*engine.Genesis); ok && a.info.Version > 0 &&
		(g.Journal != a.info.Journal || g.Partition != a.info.Partition) {
		return nil, a.fault(a.pos, "control", "the entry is of another journal than the metadata says")
	}
	a.pos++
	return e, nil
}

// positions reads a batch that has no rows.
func (a *ArchiveReader) positions(seq engine.Seq, at engine.Micros) (*engine.Entry, error) {
	a.maker.begin(0, false)
	m := a.maker
	if err := a.origin(); err != nil {
		return nil, err
	}
	b := m.batch
	b.Origin.Resume = []int64{}
	if !readPositions(a.run.vectors[colControl].bytes.At(a.pos), &b.Origin) {
		return nil, a.fault(a.pos, "control", "the positions can't be read")
	}
	a.pos++
	return &engine.Entry{Seq: seq, At: at, Body: b}, nil
}

// origin takes the configured source of the batch from its first row.
func (a *ArchiveReader) origin() error {
	text := &a.run.vectors[colOrigin].text
	name, ok := text.At(a.pos)
	if !ok {
		return a.fault(a.pos, "origin", "there is no value")
	}
	a.maker.batch.Origin.Source = name
	return nil
}

// batch reads the rows of one batch.
func (a *ArchiveReader) batch(seq engine.Seq, at engine.Micros) (*engine.Entry, error) {
	m := a.maker
	end := a.batchEnd(seq)
	m.begin(end-a.pos, end == a.run.rows)
	if err := a.origin(); err != nil {
		return nil, err
	}
	positions := slices.Clone(a.run.vectors[colControl].bytes.At(a.pos))
	for {
		if m.batch.Len+end-a.pos > engine.MaxRows {
			return nil, a.fault(a.pos, "entry", fmt.Sprintf("a batch of more than %d rows",
				engine.MaxRows))
		}
		if err := a.checkRows(seq, at, end); err != nil {
			return nil, err
		}
		if row, column, reason := m.append(a.run, a.pos, end, at); reason != "" {
			return nil, a.fault(row, column, reason)
		}
		if a.pos = end; end < a.run.rows {
			break
		}
		more, err := a.fill()
		if err != nil {
			return nil, err
		}
		if !more || engine.Seq(a.ints(colEntry)[0]) != seq {
			break
		}
		if kind, _ := a.kind(0); kind == positionsOfBatch || kind == controlOfEngine {
			break
		}
		end = a.batchEnd(seq)
	}
	b := m.end()
	if !readPositions(positions, &b.Origin) {
		return nil, a.placed("control", "the positions can't be read")
	}
	if n := len(b.Props); n > engine.MaxColumns || n*b.Len > engine.MaxCells {
		return nil, a.placed("", fmt.Sprintf("a batch of %d rows and %d property columns is too large",
			b.Len, n))
	}
	return &engine.Entry{Seq: seq, At: at, Body: b}, nil
}

// batchEnd returns the row behind those of the entry that begins or goes on where the reader is.
func (a *ArchiveReader) batchEnd(seq engine.Seq) int {
	entry := a.ints(colEntry)
	end := a.pos
	for end < a.run.rows && engine.Seq(entry[end]) == seq {
		end++
	}
	return end
}

// checkRows checks what the rows of a batch have in common.
func (a *ArchiveReader) checkRows(seq engine.Seq, at engine.Micros, end int) error {
	seqs, ats := a.ints(colSeq), a.ints(colAt)
	next := int64(seq) + int64(a.maker.batch.Len)
	for row := a.pos; row < end; row++ {
		if seqs[row] != next {
			return a.fault(row, "seq", fmt.Sprintf("sequence number %d, where %d is next", seqs[row],
				next))
		}
		next++
		if ats[row] != int64(at) {
			return a.fault(row, "at", "the rows of one entry differ")
		}
		if kind, word := a.kind(row); kind != eventOfBatch && kind != malformedOfBatch {
			return a.fault(row, "kind", fmt.Sprintf("a row of the kind %s in a batch", quoted(word)))
		}
	}
	return nil
}

// fault makes an error at a row of the run, or of the file if it is -1.
func (a *ArchiveReader) fault(row int, column, reason string) *FileError {
	e := &FileError{Name: a.file.name, Group: -1, Row: -1, Column: column, Reason: reason}
	if row >= 0 {
		e.Group, e.Row = a.run.group, a.run.first+int64(row)
	}
	return e
}

// placed makes an error at the first row of the entry.
func (a *ArchiveReader) placed(column, reason string) *FileError {
	return &FileError{
		Name: a.file.name, Group: a.group, Row: a.row, Column: column, Reason: reason,
	}
}

package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Limits of Arrow files. What a file claims is compared with its size before memory is taken.
const (
	maxArrowMeta  = 16 << 20 // bytes of the metadata of one message, or of the footer
	maxArrowBatch = 1 << 30  // bytes of the columns of one batch that are read
	maxArrowDicts = 1 << 30  // bytes of all dictionaries that are read
	arrowAlways   = 64 << 20 // compressed data may become this long at any ratio,
	arrowRatio    = 200      // and this many times as long beyond that
)

const (
	arrowMagic  = "ARROW1"
	arrowStream = "\xff\xff\xff\xff" // first bytes of a message, so of a stream
)

// The kinds of messages that files have.
const (
	arrowSchemaMessage     = 1
	arrowDictionaryMessage = 2
	arrowBatchMessage      = 3
)

// arrowFile is an Arrow IPC file or stream. The library's reader is not used for it: it takes the
// memory that a file asks for, and a schema that contains itself makes it overflow the stack,
// which ends the process. See docs/formats/columns.md.
type arrowFile struct {
	name   string
	r      io.ReaderAt
	size   int64
	fields []*arrowField
	all    []*arrowField // the columns
	start  int64         // of the first message after a stream's schema
	blocks []arrowBlock  // record batches of a file,
	dicts  []arrowBlock  // and its dictionaries; a stream has neither list
	stream bool

	wanted  []*arrowField
	held    map[int64]*arrowDict
	budget  int64 // bytes that dictionaries may still take
	block   int
	offset  int64
	group   int
	first   int64
	batch   []arrowData // of the wanted columns
	rows    int         // of the batch
	at      int         // rows of it that were given out
	vectors []vector
	done    bool
	zstd    *zstd.Decoder
}

// arrowBlock is where a message stands.
type arrowBlock struct{ offset, meta, body int64 }

// arrowMessage is a message before its body is read.
type arrowMessage struct {
	kind    int
	version int64
	header  flatTable
	from    int64 // of the body in the file
	body    int64
}

// openArrow opens an Arrow file or stream of size bytes. It fails with a *FileError if the file is
// not one, or if it is damaged.
func openArrow(name string, r io.ReaderAt, size int64) (table, error) {
	f := &arrowFile{name: name, r: r, size: size}
	head, err := f.bytes(0, min(size, 8))
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte(arrowMagic)) {
		err = f.openFile()
	} else {
		f.stream = true
		err = f.openStream()
	}
	if err != nil {
		return nil, err
	}
	for _, field := range f.fields {
		f.all = field.leaves(f.all)
	}
	return f, nil
}

func (f *arrowFile) openFile() error {
	const tail = 4 + len(arrowMagic)
	if f.size < 8+int64(tail) {
		return f.fault("the file is cut: an Arrow file ends with a footer", cutHint)
	}
	b, err := f.bytes(f.size-int64(tail), int64(tail))
	if err != nil {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(b))
	if string(b[4:]) != arrowMagic || length > f.size-8-int64(tail) {
		return f.fault("the file is cut: an Arrow file ends with a footer", cutHint)
	}
	if length > maxArrowMeta {
		return f.fault(fmt.Sprintf("its footer has %d bytes", length), "")
	}
	if b, err = f.bytes(f.size-int64(tail)-length, length); err != nil {
		return err
	}
	fb := &flat{b: b}
	footer := fb.root()
	schema, _ := footer.child(1)
	if err := f.schema(schema); err != nil {
		return err
	}
	// Blocks that overlap would make much of a small file.
	left := f.size
	for i, to := range []*[]arrowBlock{&f.dicts, &f.blocks} {
		at, count := footer.list(2+i, 24)
		for i := range count {
			b := arrowBlock{
				int64(fb.word(at+24*i, 8)), int64(int32(fb.word(at+24*i+8, 4))),
				int64(fb.word(at+24*i+16, 8)),
			}
			if b.offset < 8 || b.meta < 8 || b.body < 0 || b.meta > left || b.body > left-b.meta ||
				b.offset > f.size-b.meta-b.body {
				return f.fault("the footer names places that the file does not have", cutHint)
			}
			left -= b.meta + b.body
			*to = append(*to, b)
		}
	}
	if fb.bad {
		return f.fault("the footer is damaged", cutHint)
	}
	return nil
}

const cutHint = "copy the file again, or have it written anew"

func (f *arrowFile) openStream() error {
	m, next, err := f.message(0)
	if err != nil {
		return err
	}
	if m.kind != arrowSchemaMessage {
		return f.fault("an Arrow stream begins with a schema, and this does not", cutHint)
	}
	f.start = next
	return f.schema(m.header)
}

// schema reads the schema of a file.
func (f *arrowFile) schema(t flatTable) error {
	if t.at == 0 || t.f.bad {
		return f.fault("the schema is damaged", cutHint)
	}
	if t.number(0, 2, 0) != 0 {
		return f.fault("its numbers are big-endian", "write it on another machine, or as Parquet")
	}
	s := &arrowSchema{left: maxArrowFields}
	f.fields = s.fields(t, 1, "", 0)
	if s.reason == "" && t.f.bad {
		s.reason = "the schema is damaged"
	}
	if s.reason != "" {
		return f.fault(s.reason, "")
	}
	return nil
}

// columns implements table.
func (f *arrowFile) columns() []tableColumn {
	var out []tableColumn
	for _, c := range f.all {
		out = append(out, tableColumn{name: c.name, kind: c.kind, what: c.what})
	}
	return out
}

// read implements table. Only the buffers of the wanted columns are read.
func (f *arrowFile) read(columns []int) error {
	for _, field := range f.fields {
		field.forget()
	}
	f.wanted = f.wanted[:0]
	for _, i := range columns {
		c := f.all[i]
		if c.kind == noVector {
			panic("BUG: a column without vectors is read: " + c.name)
		}
		c.wanted = true
		f.wanted = append(f.wanted, c)
	}
	for _, field := range f.fields {
		field.spread()
	}
	f.held, f.budget = map[int64]*arrowDict{}, maxArrowDicts
	f.block, f.offset, f.group, f.first = 0, f.start, -1, 0
	f.rows, f.at, f.done = 0, 0, false
	for _, b := range f.dicts {
		m, err := f.blockMessage(b)
		if err != nil {
			return err
		}
		if m.kind != arrowDictionaryMessage {
			return f.fault("the footer names a dictionary where there is none", cutHint)
		}
		if err := f.dictionary(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *arrowField) forget() {
	f.wanted = false
	for _, c := range f.children {
		c.forget()
	}
}

// spread marks the structs above wanted columns: where a struct is null, so are its columns.
func (f *arrowField) spread() bool {
	for _, c := range f.children {
		if c.spread() {
			f.wanted = true
		}
	}
	return f.wanted
}

// next implements table.
func (f *arrowFile) next(most int) (*run, error) {
	for f.at == f.rows {
		if f.done {
			return nil, io.EOF
		}
		f.first += int64(f.rows)
		f.rows, f.at = 0, 0
		if err := f.nextBatch(); err != nil {
			return nil, err
		}
	}
	n := min(most, f.rows-f.at)
	if f.vectors == nil || len(f.vectors) != len(f.wanted) {
		f.vectors = make([]vector, len(f.wanted))
	}
	for i, c := range f.wanted {
		d := &f.batch[i]
		if reason, row := d.vector(c, f.held[c.dictID], f.at, n, &f.vectors[i]); reason != "" {
			return nil, f.place(c.name, f.first+int64(f.at+row), reason)
		}
	}
	out := &run{rows: n, group: f.group, first: f.first + int64(f.at), vectors: f.vectors}
	f.at += n
	return out, nil
}

// close implements table.
func (f *arrowFile) close() error {
	if f.zstd != nil {
		f.zstd.Close()
	}
	f.batch, f.held, f.vectors = nil, nil, nil
	return nil
}

// nextBatch reads on to the next record batch, or sets done.
func (f *arrowFile) nextBatch() error {
	if !f.stream {
		if f.block == len(f.blocks) {
			f.done = true
			return nil
		}
		f.group++
		m, err := f.blockMessage(f.blocks[f.block])
		f.block++
		if err != nil {
			return err
		}
		if m.kind != arrowBatchMessage {
			return f.fault("the footer names a record batch where there is none", cutHint)
		}
		return f.load(m.header, m)
	}
	if f.offset == f.size {
		return f.fault("the stream is cut: its end mark is missing", cutHint)
	}
	m, next, err := f.message(f.offset)
	if err != nil {
		return err
	}
	f.offset = next
	switch m.kind {
	case 0:
		if f.done = true; next != f.size {
			return f.fault(fmt.Sprintf("%d bytes follow the end of the stream", f.size-next),
				"store streams in files of their own")
		}
		return nil
	case arrowDictionaryMessage:
		return f.dictionary(m)
	case arrowBatchMessage:
		f.group++
		return f.load(m.header, m)
	}
	return f.fault("a message is neither a record batch nor a dictionary", cutHint)
}

func (f *arrowFile) blockMessage(b arrowBlock) (arrowMessage, error) {
	m, next, err := f.message(b.offset)
	if err == nil && (m.kind == 0 || m.from != b.offset+b.meta || next != m.from+b.body) {
		err = f.fault("the footer and a message do not agree", cutHint)
	}
	return m, err
}

// message reads the metadata of the message at an offset, and returns where the next one begins.
// Its kind is 0 at the end of a stream.
func (f *arrowFile) message(at int64) (m arrowMessage, next int64, err error) {
	b, err := f.bytes(at, min(8, f.size-at))
	if err != nil {
		return m, 0, err
	}
	if len(b) < 8 && !(len(b) == 4 && string(b) == "\x00\x00\x00\x00") {
		return m, 0, f.fault("the file is cut", cutHint)
	}
	length, from := int64(binary.LittleEndian.Uint32(b)), at+4
	if string(b[:4]) == arrowStream { // files from before 2019 have no such mark
		length, from = int64(binary.LittleEndian.Uint32(b[4:])), at+8
	}
	if length == 0 {
		return m, from, nil
	}
	if length > maxArrowMeta || length > f.size-from {
		return m, 0, f.fault(fmt.Sprintf("a message at byte %d claims %d bytes of metadata", at, length),
			cutHint)
	}
	meta, err := f.bytes(from, length)
	if err != nil {
		return m, 0, err
	}
	fb := &flat{b: meta}
	t := fb.root()
	m.kind, m.body = int(t.number(1, 1, 0)), t.number(3, 8, 0)
	m.header, _ = t.child(2)
	m.version = t.number(0, 2, 0)
	m.from = from + length
	if fb.bad || m.kind == 0 || m.header.at == 0 {
		return m, 0, f.fault(fmt.Sprintf("the message at byte %d is damaged", at), cutHint)
	}
	if m.body < 0 || m.body > f.size-m.from {
		return m, 0, f.fault(fmt.Sprintf("the message at byte %d claims %d bytes of data", at, m.body),
			cutHint)
	}
	return m, m.from + m.body, nil
}

// bytes reads a part of the file into new memory; the caller has compared n with its size.
func (f *arrowFile) bytes(at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if err := f.fill(b, at); err != nil {
		return nil, err
	}
	return b, nil
}

func (f *arrowFile) fill(b []byte, at int64) error {
	n, err := f.r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return f.fault("the file became shorter while it was read", "")
	}
	return fmt.Errorf("read %s: %w", f.name, err)
}

func (f *arrowFile) fault(reason, hint string) error {
	group := f.group
	if f.held == nil {
		group = -1
	}
	return &FileError{Name: f.name, Group: group, Row: -1, Reason: reason, Hint: hint}
}

func (f *arrowFile) place(column string, row int64, reason string) error {
	return &FileError{
		Name: f.name, Group: f.group, Column: column, Row: row, Reason: reason, Hint: cutHint,
	}
}

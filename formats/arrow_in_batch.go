package formats

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"

	"billctl/engine"
)

// arrowData is a column of a record batch, or the values of a dictionary, in Arrow's buffers.
type arrowData struct {
	nulls   [][]byte // bitmaps of what is there: of the column and of the structs around it
	offsets []byte
	data    []byte
	more    [][]byte // data of views
}

// arrowDict is a dictionary. Its text values are texts, those of other kinds ints.
type arrowDict struct {
	text []string
	ints []int64
	null engine.Bits // values that are null
	size int
}

// arrowBody reads the buffers of one message.
type arrowBody struct {
	f       *arrowFile
	m       arrowMessage
	t       flatTable // the record batch
	nodes   int       // where they stand, and how many there are
	nodesN  int
	node    int
	bufs    int
	bufsN   int
	buf     int
	views   int
	viewsN  int
	view    int
	codec   int // -1: none
	left    int64
	loaded  int64
	column  string
	parents [][]byte // bitmaps of the structs around
}

// arrowPart is a buffer of a body.
type arrowPart struct{ from, length int64 }

func (f *arrowFile) body(m arrowMessage, t flatTable, left int64) (*arrowBody, error) {
	b := &arrowBody{f: f, m: m, t: t, codec: -1}
	b.nodes, b.nodesN = t.list(1, 16)
	b.bufs, b.bufsN = t.list(2, 16)
	b.views, b.viewsN = t.list(4, 8)
	b.left = left
	if c, ok := t.child(3); ok {
		b.codec = int(c.number(0, 1, 0))
		b.left = min(left, arrowAlways+arrowRatio*m.body)
		if b.codec > 1 || b.codec < 0 || c.number(1, 1, 0) != 0 {
			return nil, f.fault(fmt.Sprintf("unknown compression %d", b.codec),
				"write it without compression, or with zstd or lz4")
		}
	}
	if t.f.bad {
		return nil, f.fault("a message is damaged", cutHint)
	}
	return b, nil
}

// load reads the wanted columns of a record batch.
func (f *arrowFile) load(t flatTable, m arrowMessage) error {
	rows := t.number(0, 8, 0)
	if rows < 0 {
		return f.fault("a record batch is damaged", cutHint)
	}
	b, err := f.body(m, t, maxArrowBatch)
	if err != nil {
		return err
	}
	byField := map[*arrowField]arrowData{}
	for _, field := range f.fields {
		if err := b.field(field, rows, byField); err != nil {
			return err
		}
	}
	if b.node != b.nodesN || b.buf != b.bufsN || t.f.bad {
		return f.fault("a record batch has other columns than the schema", cutHint)
	}
	// A column of nulls takes no bytes, so the number of its rows could be anything.
	if rows/8 > max(b.loaded, m.body) {
		return f.fault(fmt.Sprintf("a record batch claims %d rows in %d bytes", rows, m.body), cutHint)
	}
	f.rows, f.at = int(rows), 0
	f.batch = f.batch[:0]
	for _, c := range f.wanted {
		f.batch = append(f.batch, byField[c])
	}
	return nil
}

// dictionary reads a dictionary, or a part that is added to one.
func (f *arrowFile) dictionary(m arrowMessage) error {
	id, delta := m.header.number(0, 8, 0), m.header.flag(2)
	t, ok := m.header.child(1)
	if !ok {
		return f.fault("a dictionary is damaged", cutHint)
	}
	var field *arrowField
	for _, c := range f.wanted {
		if c.dict == nil || c.dictID != id {
			continue
		}
		if field != nil && (field.typ != c.typ || field.bits != c.bits || field.unit != c.unit ||
			field.signed != c.signed) {
			return f.fault("columns of two types have one dictionary", cutHint)
		}
		field = c
	}
	if field == nil {
		return nil // of a column that is not read
	}
	held := f.held[id]
	if delta && held == nil {
		return f.fault("a part of a dictionary comes before the dictionary", cutHint)
	}
	if !delta && held != nil && !f.stream {
		return f.fault("a dictionary is there twice", cutHint)
	}
	b, err := f.body(m, t, min(maxArrowBatch, f.budget))
	if err != nil {
		return err
	}
	rows := t.number(0, 8, 0)
	if rows < 0 {
		return f.fault("a dictionary is damaged", cutHint)
	}
	values := *field
	values.dict = nil
	byField := map[*arrowField]arrowData{}
	if err := b.field(&values, rows, byField); err != nil {
		return err
	}
	if b.node != b.nodesN || b.buf != b.bufsN || t.f.bad {
		return f.fault("a dictionary has another type than its column", cutHint)
	}
	if rows/8 > max(b.loaded, m.body) || rows > math.MaxInt32/2 {
		return f.fault(fmt.Sprintf("a dictionary claims %d values in %d bytes", rows, m.body), cutHint)
	}
	f.budget -= b.loaded + 16*rows
	if f.budget < 0 {
		return f.fault(fmt.Sprintf("dictionaries of more than %d MiB", maxArrowDicts>>20), "")
	}
	d := byField[&values]
	var v vector
	if reason, row := d.vector(&values, nil, 0, int(rows), &v); reason != "" {
		return f.place(field.name, -1, fmt.Sprintf("value %d of the dictionary: %s", row, reason))
	}
	f.held[id] = held.with(&v, int(rows), delta)
	return nil
}

// with returns the dictionary after a message about it.
func (d *arrowDict) with(v *vector, rows int, delta bool) *arrowDict {
	if d == nil || !delta {
		d = &arrowDict{}
	}
	for i := range rows {
		if v.null.Has(i) {
			d.null.Set(d.size + i)
		}
		if v.kind == textVector {
			s, _ := v.text.At(i)
			d.text = append(d.text, s)
		}
	}
	d.ints = append(d.ints, v.ints...)
	d.size += rows
	return d
}

// field goes over a field in the order in which its parts are written, and reads what is wanted.
func (b *arrowBody) field(f *arrowField, rows int64, out map[*arrowField]arrowData) error {
	b.column = f.name
	if b.node >= b.nodesN {
		return b.f.fault("a record batch has fewer columns than the schema", cutHint)
	}
	fb := b.t.f
	length := int64(fb.word(b.nodes+16*b.node, 8))
	nulls := int64(fb.word(b.nodes+16*b.node+8, 8))
	b.node++
	if rows >= 0 && length != rows {
		return b.fault(fmt.Sprintf("it has %d rows of %d", length, rows))
	}
	if f.dict != nil {
		return b.values(f, f.dict.bits, rows, nulls, out)
	}
	switch f.typ {
	case arrowStruct:
		bitmap, err := b.bitmap(f.wanted, rows, nulls)
		if err != nil {
			return err
		}
		depth := len(b.parents)
		if bitmap != nil {
			b.parents = append(b.parents, bitmap)
		}
		for _, c := range f.children {
			if err := b.field(c, rows, out); err != nil {
				return err
			}
		}
		b.parents = b.parents[:depth]
		return nil
	case arrowNull:
		out[f] = arrowData{}
		return nil
	case arrowUtf8, arrowBinary:
		return b.strings(f, 4, rows, nulls, out)
	case arrowLargeUtf8, arrowLargeBinary:
		return b.strings(f, 8, rows, nulls, out)
	case arrowUtf8View, arrowBinaryView:
		return b.viewed(f, rows, nulls, out)
	case arrowFixedBinary:
		return b.values(f, 8*f.width, rows, nulls, out)
	}
	if bits := f.fixedBits(); bits > 0 {
		return b.values(f, bits, rows, nulls, out)
	}
	return b.skip(f, out)
}

// fixedBits returns the size of a value, 0 for other types.
func (f *arrowField) fixedBits() int {
	switch f.typ {
	case arrowInt, arrowFloat, arrowDecimal, arrowTime:
		return f.bits
	case arrowBool:
		return 1
	case arrowDate:
		return 32 << f.unit
	case arrowTimestamp, arrowDuration:
		return 64
	case arrowInterval:
		return []int{32, 64, 128, 0}[f.unit&3]
	}
	return 0
}

// skip goes over a field that can't be read, and what is below it.
func (b *arrowBody) skip(f *arrowField, out map[*arrowField]arrowData) error {
	switch f.typ {
	case arrowList, arrowLargeList, arrowMap:
		b.buf += 2
	case arrowListView, arrowLargeListView:
		b.buf += 3
	case arrowFixedList:
		b.buf++
	case arrowUnion:
		b.buf += 1 + f.unit&1
		if b.m.version < 4 { // before 2020 with a bitmap
			b.buf++
		}
	case arrowRunEnds:
	default:
		return b.fault("its type " + f.what + " is not known, so nothing behind it can be read")
	}
	for _, c := range f.children {
		if err := b.field(c, -1, out); err != nil {
			return err
		}
	}
	return nil
}

// values reads a column whose values have one size.
func (b *arrowBody) values(
	f *arrowField, bits int, rows, nulls int64, out map[*arrowField]arrowData,
) error {
	bitmap, err := b.bitmap(f.wanted, rows, nulls)
	if err != nil {
		return err
	}
	if rows > math.MaxInt64/256 || bits > 256 && rows > math.MaxInt64/int64(bits) {
		return b.fault(fmt.Sprintf("it claims %d rows", rows))
	}
	data, err := b.buffer(f.wanted, (rows*int64(bits)+7)/8)
	if f.wanted {
		out[f] = arrowData{nulls: b.around(bitmap), data: data}
	}
	return err
}

// strings reads a column of strings with offsets of size bytes.
func (b *arrowBody) strings(
	f *arrowField, size, rows, nulls int64, out map[*arrowField]arrowData,
) error {
	bitmap, err := b.bitmap(f.wanted, rows, nulls)
	if err != nil {
		return err
	}
	need := int64(0)
	if rows > 0 {
		if rows > math.MaxInt64/16 {
			return b.fault(fmt.Sprintf("it claims %d rows", rows))
		}
		need = size * (rows + 1)
	}
	offsets, err := b.buffer(f.wanted, need)
	if err != nil {
		return err
	}
	end := int64(0)
	if f.wanted && rows > 0 {
		if end = arrowOffset(offsets, int(size), int(rows)); end < 0 {
			return b.fault("a string ends before it begins")
		}
	}
	data, err := b.buffer(f.wanted, end)
	if f.wanted {
		out[f] = arrowData{nulls: b.around(bitmap), offsets: offsets, data: data}
	}
	return err
}

// viewed reads a column of views.
func (b *arrowBody) viewed(
	f *arrowField, rows, nulls int64, out map[*arrowField]arrowData,
) error {
	bitmap, err := b.bitmap(f.wanted, rows, nulls)
	if err != nil {
		return err
	}
	if b.view >= b.viewsN || rows > math.MaxInt64/16 {
		return b.fault("the number of its buffers is missing")
	}
	more := int64(b.t.f.word(b.views+8*b.view, 8))
	b.view++
	if more < 0 || more > int64(b.bufsN) {
		return b.fault("it claims more buffers than there are")
	}
	d := arrowData{nulls: b.around(bitmap)}
	if d.data, err = b.buffer(f.wanted, 16*rows); err != nil {
		return err
	}
	for range more {
		if b.buf >= b.bufsN {
			return b.fault("it claims more buffers than there are")
		}
		part, err := b.buffer(f.wanted, -1)
		if err != nil {
			return err
		}
		d.more = append(d.more, part)
	}
	if f.wanted {
		out[f] = d
	}
	return nil
}

// around returns the bitmaps that tell where a column is null.
func (b *arrowBody) around(bitmap []byte) [][]byte {
	nulls := slices.Clone(b.parents)
	if bitmap != nil {
		nulls = append(nulls, bitmap)
	}
	return nulls
}

// bitmap reads which rows are there; nil: all.
func (b *arrowBody) bitmap(wanted bool, rows, nulls int64) ([]byte, error) {
	if nulls == 0 || rows <= 0 {
		b.buf++
		return nil, nil
	}
	if wanted && (nulls < -1 || nulls > rows) {
		return nil, b.fault(fmt.Sprintf("it claims %d nulls in %d rows", nulls, rows))
	}
	if part, ok := b.part(b.buf); ok && part.length == 0 && nulls < 0 {
		b.buf++
		return nil, nil
	}
	return b.buffer(wanted, (rows-1)/8+1)
}

func (b *arrowBody) part(i int) (arrowPart, bool) {
	if i >= b.bufsN {
		return arrowPart{}, false
	}
	p := arrowPart{int64(b.t.f.word(b.bufs+16*i, 8)), int64(b.t.f.word(b.bufs+16*i+8, 8))}
	return p, p.from >= 0 && p.length >= 0 && p.from <= b.m.body && p.length <= b.m.body-p.from
}

// buffer reads need bytes of the next buffer, all of it if need is -1, and fewer never.
func (b *arrowBody) buffer(wanted bool, need int64) ([]byte, error) {
	p, ok := b.part(b.buf)
	b.buf++
	if !wanted || need == 0 {
		return nil, nil
	}
	if !ok {
		return nil, b.fault("it claims data that the file does not have")
	}
	if b.codec >= 0 && p.length > 0 {
		return b.unpack(p, need)
	}
	if need < 0 {
		need = p.length
	}
	if need > p.length {
		return nil, b.fault(fmt.Sprintf("its data has %d bytes instead of %d", p.length, need))
	}
	if err := b.take(need); err != nil {
		return nil, err
	}
	return b.f.bytes(b.m.from+p.from, need)
}

// take counts bytes that are about to be read.
func (b *arrowBody) take(n int64) error {
	if n > b.left {
		return b.f.fault(fmt.Sprintf("a message has too much data: more than %d bytes", b.left),
			"write the file in batches of 65,536 rows")
	}
	b.left -= n
	b.loaded += n
	return nil
}

// unpack reads need bytes of a compressed buffer. Memory is taken as bytes come out of it.
func (b *arrowBody) unpack(p arrowPart, need int64) ([]byte, error) {
	if p.length < 8 {
		return nil, b.fault("a compressed buffer is cut")
	}
	head, err := b.f.bytes(b.m.from+p.from, 8)
	if err != nil {
		return nil, err
	}
	size := int64(binary.LittleEndian.Uint64(head))
	plain := size == -1 // it would not have become shorter
	if plain {
		size = p.length - 8
	}
	if need < 0 && size >= 0 {
		need = size
	}
	if size < max(need, 0) {
		return nil, b.fault(fmt.Sprintf("its data has %d bytes instead of %d", size, need))
	}
	if err := b.take(need); err != nil {
		return nil, err
	}
	if plain {
		return b.f.bytes(b.m.from+p.from+8, need)
	}
	in := io.NewSectionReader(b.f.r, b.m.from+p.from+8, p.length-8)
	var src io.Reader
	if b.codec == 1 {
		if src, err = b.f.zstdReader(in); err != nil {
			return nil, b.fault("zstd: " + err.Error())
		}
	} else {
		src = newLZ4Reader(in)
	}
	var to bytes.Buffer
	to.Grow(int(min(need, 64<<10)))
	if n, err := io.CopyN(&to, src, need); err != nil {
		if err == io.EOF {
			return nil, b.fault(fmt.Sprintf("its data has %d bytes instead of %d", n, need))
		}
		return nil, b.fault("its compressed data is damaged: " + err.Error())
	}
	return to.Bytes(), nil
}

func (f *arrowFile) zstdReader(in io.Reader) (io.Reader, error) {
	if f.zstd != nil {
		return f.zstd, f.zstd.Reset(in)
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindow))
	f.zstd = z
	return z, err
}

func (b *arrowBody) fault(reason string) error {
	group := b.f.group
	return &FileError{
		Name: b.f.name, Group: group, Column: b.column, Row: -1, Reason: reason, Hint: cutHint,
	}
}

// arrowOffset returns offset i; the offsets have size bytes each.
func arrowOffset(b []byte, size, i int) int64 {
	if size == 4 {
		return int64(int32(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return int64(binary.LittleEndian.Uint64(b[8*i:]))
}

package formats

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"billctl/engine"
	"billctl/engine/decimal"
)

// batchMaker makes batches of rows of an archive file. What it learns of a row group's dictionaries
// it keeps from batch to batch; the memory of a batch is the batch's own.
type batchMaker struct {
	batch *engine.Batch
	room  int    // rows that there is memory for
	last  int    // rows of the batch before
	epoch uint32 // number of the batch; what a remap says of another epoch is void

	source, kind, subject, partition remap
	props                            []propReader
	sparse                           map[columnKey]*sparseColumn
	rest                             restReader
}

// propReader reads one property column of the file.
type propReader struct {
	path  string
	at    int // in a run
	kind  vectorKind
	words remap
	epoch uint32 // the last batch that has the column,
	prop  int    // and where in its Props
}

// sparseColumn is a property column of the batch whose values are in rest.
type sparseColumn struct {
	prop  int // in Props
	words map[string]uint32
}

func newBatchMaker() *batchMaker { return &batchMaker{sparse: map[columnKey]*sparseColumn{}} }

// begin starts a batch of n rows, or of more if it may go on in the next run: then it is likely to
// be as long as the one before.
func (m *batchMaker) begin(n int, more bool) {
	m.epoch++
	if more {
		n = max(n, m.last+m.last/16)
	}
	m.room = n
	index := func() []uint32 { return make([]uint32, 0, n) }
	m.batch = &engine.Batch{
		Source: engine.Dict{Index: index()}, Type: engine.Dict{Index: index()},
		Subject: engine.Dict{Index: index()}, Time: make([]engine.Micros, 0, n),
		ID: engine.Strings{End: index()}, Rest: engine.Strings{End: index()},
		Digest: make([]uint64, 0, n),
		Origin: engine.Origins{
			Partition: engine.Dict{Index: index()}, Offset: make([]int64, 0, n),
		},
	}
	clear(m.sparse)
}

// end returns the batch.
func (m *batchMaker) end() *engine.Batch {
	b := m.batch
	for i := range b.Props {
		c := &b.Props[i]
		switch c.Kind {
		case engine.TextColumn, engine.WideColumn:
			c.Text.Index = padAbsent(c.Text.Index, b.Len)
		case engine.NumberColumn:
			c.Numbers = padZero(c.Numbers, b.Len)
		}
	}
	slices.SortFunc(b.Props, compareColumns)
	m.last = b.Len
	return b
}

// append adds rows of a run to the batch of an entry that was accepted at a time. If they can't be,
// it says which row of the run is at fault, and why.
func (m *batchMaker) append(
	r *run, from, to int, at engine.Micros,
) (row int, column, reason string) {
	b, v := m.batch, r.vectors
	if n := b.Len + to - from; n > m.room {
		m.room = min(max(n, 2*m.room), engine.MaxRows)
	}
	bad, row, column, reason := m.appendMalformed(r, from, to)
	if reason != "" {
		return row, column, reason
	}
	m.appendWords(&m.source, &b.Source, &v[colSource].text, from, to)
	m.appendWords(&m.kind, &b.Type, &v[colType].text, from, to)
	m.appendWords(&m.subject, &b.Subject, &v[colSubject].text, from, to)
	m.appendWords(&m.partition, &b.Origin.Partition, &v[colPartition].text, from, to)
	if row, column = missing(r, bad, from, to); row < to {
		return row, column, "there is no value"
	}
	appendIDs(&b.ID, &v[colID], &v[colIDText], from, to)
	b.Origin.Offset = append(b.Origin.Offset, v[colOffset].ints[from:to]...)
	for i, t := range v[colTime].ints[from:to] {
		if t := engine.Micros(t); t < engine.MinTime || t >= engine.MaxTime {
			return from + i, "time", fmt.Sprintf("%s is no time of an event", t)
		}
		b.Time = append(b.Time, engine.Micros(t))
	}
	defaulted := v[colDefaulted].bools
	for row := firstBit(defaulted, from, to); row < to; row = firstBit(defaulted, row+1, to) {
		// No digest of a row covers its arrival; that of its entry does.
		if t := b.Time[b.Len+row-from]; t != at {
			return row, "time", fmt.Sprintf("%s is not %s, when the event without a time arrived", t, at)
		}
	}
	appendBitRange(&b.TimeDefaulted, b.Len, defaulted, from, to)
	for i, d := range v[colDigest].numbers[from:to] {
		word, ok := wholeWord(d)
		if !ok {
			return from + i, "digest", "it is no 64-bit number"
		}
		b.Digest = append(b.Digest, word)
	}
	for i := range m.props {
		if row, reason := m.appendProperty(&m.props[i], &v[m.props[i].at], from, to); reason != "" {
			return row, m.props[i].path, reason
		}
	}
	if row, reason := m.appendRest(&v[colRest].text, from, to); reason != "" {
		return row, "rest", reason
	}
	b.Len += to - from
	return 0, "", ""
}

// missing returns the first row that lacks what every row of its kind has; to if there is none.
func missing(r *run, bad engine.Bits, from, to int) (row int, column string) {
	row = to
	for _, col := range [...]int{colOffset} {
		if at := firstBit(r.vectors[col].null, from, to); at < row {
			row, column = at, fixedColumns[col].name
		}
	}
	for _, col := range [...]int{colTime, colDefaulted, colDigest} {
		v := &r.vectors[col]
		if v.kind == textVector {
			continue
		}
		for at := firstBit(v.null, from, to); at < row; at = firstBit(v.null, at+1, to) {
			if !bad.Has(at - from) {
				row, column = at, fixedColumns[col].name
			}
		}
	}
	for _, col := range [...]int{colSource, colType, colSubject} {
		v := &r.vectors[col]
		for i, x := range v.text.Index[from:to] {
			if x == engine.Absent && from+i < row && !bad.Has(i) {
				row, column = from+i, fixedColumns[col].name
			}
		}
	}
	id, text := &r.vectors[colID], &r.vectors[colIDText]
	for at := from; at < row; at++ {
		if id.null.Has(at) && text.null.Has(at) && !bad.Has(at-from) {
			return at, fixedColumns[colID].name
		}
	}
	return row, column
}

// appendMalformed reads what only malformed rows have, and returns them as a set that begins with
// row from.
func (m *batchMaker) appendMalformed(r *run, from, to int) (
	bad engine.Bits, row int, column, reason string,
) {
	kinds, v := &r.vectors[colKind].text, r.vectors
	word := uint32(engine.Absent)
	for i, s := range kinds.Values {
		if s == rowOfMalformed {
			word = uint32(i)
		}
	}
	if word == engine.Absent {
		return nil, 0, "", ""
	}
	for i, x := range kinds.Index[from:to] {
		if x != word {
			continue
		}
		row := from + i
		bad.Set(i)
		fault, ok := v[colFault].text.At(row)
		if ok {
			fault, ok = partitionName(fault)
		}
		if !ok {
			return nil, row, "fault", "there is no such text"
		}
		raw := v[colRaw].bytes.At(row)
		if v[colRaw].null.Has(row) || len(raw) > engine.MaxRaw {
			return nil, row, "raw", fmt.Sprintf("there is no value of up to %d bytes", engine.MaxRaw)
		}
		if v[colSize].null.Has(row) {
			return nil, row, "size", "there is no value"
		}
		m.batch.Malformed = append(m.batch.Malformed, engine.Malformed{
			Row: m.batch.Len + i, Fault: fault, Raw: slices.Clone(raw), Size: v[colSize].ints[row],
		})
	}
	return bad, 0, "", ""
}

// appendProperty reads a property column; a column without a value in the batch is not there.
func (m *batchMaker) appendProperty(p *propReader, v *vector, from, to int) (
	row int, reason string,
) {
	if v.kind == textVector {
		if first := firstWord(v.text.Index, from, to); first == to {
			return 0, ""
		}
		c := m.property(p, engine.TextColumn)
		c.Text.Index = padAbsent(slices.Grow(c.Text.Index, m.room-len(c.Text.Index)), m.batch.Len)
		m.appendWords(&p.words, &c.Text, &v.text, from, to)
		return 0, ""
	}
	if countBits(v.null, from, to) == to-from {
		return 0, ""
	}
	n := m.batch.Len
	if v.kind == boolVector {
		c := m.property(p, engine.BoolColumn)
		appendBitRange(&c.Bools, n, v.bools, from, to)
		appendPresent(&c.Present, n, v.null, from, to)
		return 0, ""
	}
	if len(v.wide) > 0 {
		for row := from; row < to; row++ {
			if _, ok := v.wide[row]; ok {
				return row, "a number of 10^20 or more, or of more than 18 fractional digits"
			}
		}
	}
	c := m.property(p, engine.NumberColumn)
	appendPresent(&c.Present, n, v.null, from, to)
	c.Numbers = padZero(slices.Grow(c.Numbers, m.room-len(c.Numbers)), n)
	if v.kind == intVector {
		for _, x := range v.ints[from:to] {
			c.Numbers = append(c.Numbers, decimal.FromInt(x))
		}
		return 0, ""
	}
	c.Numbers = append(c.Numbers, v.numbers[from:to]...)
	return 0, ""
}

// property returns the batch's column for a column of the file.
func (m *batchMaker) property(p *propReader, kind engine.ColumnKind) *engine.Column {
	if p.epoch != m.epoch {
		p.epoch, p.prop = m.epoch, len(m.batch.Props)
		m.batch.Props = append(m.batch.Props, engine.Column{Path: p.path, Kind: kind})
	}
	return &m.batch.Props[p.prop]
}

// appendRest reads the column rest: what the engine keeps there, and properties without a column.
func (m *batchMaker) appendRest(d *engine.Dict, from, to int) (row int, reason string) {
	b := m.batch
	for i, x := range d.Index[from:to] {
		if x != engine.Absent {
			var ok bool
			at := b.Len + i
			b.Rest.Bytes, ok = m.rest.split([]byte(d.Values[x]), b.Rest.Bytes,
				func(p *restProperty) bool { return m.sparseProperty(p, at) })
			if !ok {
				return from + i, fmt.Sprintf("it is no list of members: %s", quoted(d.Values[x]))
			}
		}
		b.Rest.End = append(b.Rest.End, uint32(len(b.Rest.Bytes)))
	}
	return 0, ""
}

// sparseProperty adds a property of rest to a row. It is false if the row has it already.
func (m *batchMaker) sparseProperty(p *restProperty, row int) bool {
	b := m.batch
	key := columnKey{string(p.path), p.kind}
	from := m.sparse[key]
	if from == nil {
		if len(b.Props) > engine.MaxColumns || m.hasColumn(key) {
			return false
		}
		from = &sparseColumn{prop: len(b.Props), words: map[string]uint32{}}
		b.Props = append(b.Props, engine.Column{Path: key.path, Kind: key.kind})
		m.sparse[key] = from
	}
	c := &b.Props[from.prop]
	switch c.Kind {
	case engine.BoolColumn, engine.NumberColumn:
		if c.Present.Has(row) {
			return false
		}
		c.Present.Set(row)
		if p.yes {
			c.Bools.Set(row)
		}
		if c.Kind == engine.NumberColumn {
			c.Numbers = append(padZero(c.Numbers, row), p.number)
		}
		return true
	}
	if len(c.Text.Index) > row {
		return false
	}
	i, ok := from.words[string(p.text)]
	if !ok {
		i = uint32(len(c.Text.Values))
		c.Text.Values = append(c.Text.Values, string(p.text))
		from.words[c.Text.Values[i]] = i
	}
	c.Text.Index = append(padAbsent(c.Text.Index, row), i)
	return true
}

// hasColumn reports whether the file has a column for such values.
func (m *batchMaker) hasColumn(key columnKey) bool {
	for i := range m.props {
		kind := engine.NumberColumn
		switch m.props[i].kind {
		case textVector:
			kind = engine.TextColumn
		case boolVector:
			kind = engine.BoolColumn
		}
		if m.props[i].path == key.path && kind == key.kind {
			return true
		}
	}
	return false
}

// appendIDs appends ids: UUIDs, which another program may have written as text, and texts.
func appendIDs(out *engine.Strings, v, text *vector, from, to int) {
	if out.Bytes == nil {
		out.Bytes = make([]byte, 0, 36*cap(out.End))
	}
	for row := from; row < to; row++ {
		switch {
		case v.null.Has(row):
			if x := text.text.Index[row]; x != engine.Absent {
				out.Bytes = append(out.Bytes, text.text.Values[x]...)
			}
		case v.kind == textVector:
			out.Bytes = append(out.Bytes, v.text.Values[v.text.Index[row]]...)
		default:
			out.Bytes = archiveUUID(out.Bytes, v.bytes.At(row))
		}
		out.End = append(out.End, uint32(len(out.Bytes)))
	}
}

// archiveUUID appends the text of a UUID.
func archiveUUID(dst, id []byte) []byte {
	const digits = "0123456789abcdef"
	n := len(dst)
	dst = append(dst, "00000000-0000-0000-0000-000000000000"...)
	out, at := dst[n:n+36:n+36], 0
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			at++
		}
		out[at], out[at+1] = digits[c>>4], digits[c&15]
		at += 2
	}
	return dst
}

// remap turns the indices of a row group's dictionary into those of a batch's, without looking at
// a text again that the batch has already.
type remap struct {
	values []string // of the dictionary
	first  []uint32 // where the same text is first, if texts are there twice
	to     []uint64 // epoch and index in the batch
	seen   map[string]uint32
	// A batch that goes on in another dictionary finds its texts here.
	words map[string]uint32
	epoch uint32 // of words
}

// appendWords appends rows of a column of texts to a column of the batch.
func (m *batchMaker) appendWords(r *remap, out, d *engine.Dict, from, to int) {
	if !sameStrings(r.values, d.Values) {
		r.learn(d.Values)
		if len(out.Values) > 0 {
			r.goOn(out.Values, m.epoch)
		}
	}
	stamp := uint64(m.epoch) << 32
	index := slices.Grow(out.Index, max(m.room-len(out.Index), to-from))
	for _, x := range d.Index[from:to] {
		if x == engine.Absent {
			index = append(index, engine.Absent)
			continue
		}
		if r.first != nil {
			x = r.first[x]
		}
		e := r.to[x]
		if e&^(1<<32-1) != stamp {
			e = stamp | uint64(r.add(d.Values[x], out, m.epoch))
			r.to[x] = e
		}
		index = append(index, uint32(e))
	}
	out.Index = index
}

// learn prepares for a dictionary.
func (r *remap) learn(values []string) {
	r.values, r.first = values, nil
	r.to = slices.Grow(r.to[:0], len(values))[:len(values)]
	clear(r.to)
	if r.seen == nil {
		r.seen = map[string]uint32{}
	}
	clear(r.seen)
	for i, s := range values {
		if first, ok := r.seen[s]; ok {
			if r.first == nil {
				r.first = make([]uint32, len(values))
				for j := range r.first {
					r.first[j] = uint32(j)
				}
			}
			r.first[i] = first
		} else {
			r.seen[s] = uint32(i)
		}
	}
}

// goOn prepares for a batch that has texts of another dictionary.
func (r *remap) goOn(values []string, epoch uint32) {
	if r.words == nil {
		r.words = map[string]uint32{}
	}
	clear(r.words)
	r.epoch = epoch
	for i, s := range values {
		r.words[s] = uint32(i)
	}
}

// add returns the index of a text in the batch, where it may be new.
func (r *remap) add(s string, out *engine.Dict, epoch uint32) uint32 {
	i := uint32(len(out.Values))
	if r.epoch == epoch {
		if at, ok := r.words[s]; ok {
			return at
		}
		r.words[s] = i
	}
	out.Values = append(out.Values, s)
	return i
}

// sameStrings reports whether two slices are one piece of memory.
func sameStrings(a, b []string) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}

// readPositions reads what appendPositions wrote, for a batch whose rows are there. It names the
// partitions by their names again.
func readPositions(b []byte, o *engine.Origins) bool {
	ok := true
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	varint := func() int64 {
		u := uvarint()
		return int64(u>>1) ^ -int64(u&1)
	}
	names := o.Partition.Values
	for i := range names {
		if names[i], ok = partitionName(names[i]); !ok {
			return false
		}
	}
	if uvarint() != uint64(len(names)) || !ok {
		return false
	}
	o.Resume = make([]int64, 0, len(names))
	for range names {
		o.Resume = append(o.Resume, varint())
	}
	others := uvarint()
	for ; others > 0 && ok; others-- {
		n := uvarint()
		if !ok || n > uint64(len(b)) {
			return false
		}
		o.Partition.Values = append(o.Partition.Values, string(b[:n]))
		b = b[n:]
		o.Resume = append(o.Resume, varint())
	}
	return ok && len(b) == 0
}

// wholeWord returns a decimal as the 64-bit number that it is.
func wholeWord(d decimal.Decimal) (uint64, bool) {
	const unit = 1_000_000_000_000_000_000
	hi, lo := d.Words()
	if hi < 0 || hi >= unit {
		return 0, false
	}
	word, rest := bits.Div64(uint64(hi), lo, unit)
	return word, rest == 0
}

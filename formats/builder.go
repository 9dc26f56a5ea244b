package formats

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// Limits say when a batch is full. A zero field stands for the greatest value.
type Limits struct {
	Rows  int // at most engine.MaxRows
	Bytes int // of the lines behind the rows; at most MaxBatchBytes, passed by less than one line
}

// MaxBatchBytes is how many bytes of lines one batch takes before it is full.
const MaxBatchBytes = 4 << 20

// maxCells bounds rows times columns of a batch, so that a source whose events all differ in
// their properties does not make a batch that is nothing but gaps. 1 Mi numbers are 16 MiB.
const maxCells = 1 << 20

// What a builder keeps from batch to batch is forgotten when it grows beyond these.
const (
	keptValues  = 16 << 10 // values of a dictionary
	keptBytes   = 4 << 20  // bytes of a dictionary's values
	keptColumns = 4 * engine.MaxColumns
	keptBatches = 4
	keptCells   = 2 * maxCells // in the storage of columns that waits for use
	fewColumns  = 32           // of a batch; memory for more is not made before it is needed
)

// Builder collects the rows of one source into batches of columns. It is used by one goroutine.
// A Decoder fills it; its memory is reused from batch to batch.
type Builder struct {
	source string
	limits Limits
	batch  *engine.Batch
	epoch  uint64 // number of the batch; what a table says of another epoch is void
	bytes  int
	cut    bool // the next row does not fit, for its columns
	part   int  // partition of the rows that are being added

	sources, types, subjects, partitions dictTable

	columns map[columnKey]*column
	paths   pathTable
	row     eventRow
	spare   spares
}

type columnKey struct {
	path string
	kind engine.ColumnKind
}

// column is what a builder remembers of one (path, kind) over all batches.
type column struct {
	columnKey
	seed   uint64
	values dictTable // TextColumn, WideColumn
	epoch  uint64    // the last batch that has the column,
	at     int       // and where in its Props
}

// NewBuilder returns an empty builder for rows of the source with this name in the configuration.
func NewBuilder(source string, limits Limits) *Builder {
	b := &Builder{source: source, limits: limits, columns: map[columnKey]*column{}}
	if n := b.limits.Rows; n <= 0 || n > engine.MaxRows {
		b.limits.Rows = engine.MaxRows
	}
	if n := b.limits.Bytes; n <= 0 || n > MaxBatchBytes {
		b.limits.Bytes = MaxBatchBytes
	}
	b.paths.reset(nil)
	b.begin()
	return b
}

// Len returns how many rows the builder holds.
func (b *Builder) Len() int { return b.batch.Len }

// Full reports whether the batch takes no further row: it has reached a limit, or the next row's
// columns do not fit. Batch empties the builder.
func (b *Builder) Full() bool {
	return b.cut || b.batch.Len >= b.limits.Rows || b.bytes >= b.limits.Bytes
}

// Moved reports whether a batch would say anything: it has a row, or blank lines or a header were
// read, so that it has no row but a place to go on from.
func (b *Builder) Moved() bool { return len(b.batch.Origin.Partition.Values) > 0 }

// Batch returns the rows so far and empties the builder. The batch belongs to the caller, and may
// be used by other goroutines: the builder never looks at it again, unless it is given back by
// Recycle. Where the time of a row is defaulted, Time is 0 and the sequencer fills it.
func (b *Builder) Batch() *engine.Batch {
	out := b.batch
	b.spare.rows = 0
	if b.Full() && len(out.Props) <= fewColumns {
		b.spare.rows = out.Len + out.Len/8
	}
	for i := range out.Props {
		c := &out.Props[i]
		switch c.Kind {
		case engine.TextColumn, engine.WideColumn:
			c.Text.Index = padAbsent(c.Text.Index, out.Len)
		case engine.NumberColumn:
			c.Numbers = padZero(c.Numbers, out.Len)
		}
	}
	b.begin()
	return out
}

// Recycle gives a batch back that nobody uses any more, so that its memory becomes that of a later
// one. It is optional. Strings of the batch stay valid, all its slices do not. Like every method
// it is for the goroutine that uses the builder.
func (b *Builder) Recycle(batch *engine.Batch) { b.spare.give(batch) }

// begin starts the next batch.
func (b *Builder) begin() {
	b.batch = b.spare.take()
	b.batch.Origin.Source = b.source
	b.epoch++
	b.bytes = 0
	b.cut = false
	for _, t := range []*dictTable{&b.sources, &b.types, &b.subjects, &b.partitions} {
		t.trim()
	}
	if len(b.columns) > keptColumns {
		clear(b.columns)
		b.paths.reset(b.paths.owner)
	}
}

// enter makes a partition the one whose rows follow.
func (b *Builder) enter(partition string, offset int64) {
	o := &b.batch.Origin
	e := b.partitions.lookup([]byte(partition))
	if e.epoch != b.epoch {
		o.Resume = append(o.Resume, offset)
	}
	b.part = int(e.use(b.epoch, &o.Partition))
	o.Resume[b.part] = offset
}

// resume says that everything before the offset was read from the partition last entered.
func (b *Builder) resume(offset int64) { b.batch.Origin.Resume[b.part] = offset }

// add appends b.row as a row of size bytes at an offset. It is false if the row needs columns for
// which this batch has no room; then nothing has changed except that the builder is full.
func (b *Builder) add(offset int64, size int) bool {
	if !b.columnsFit() {
		b.cut = true
		return false
	}
	r, out, n := &b.row, b.batch, b.batch.Len
	src := b.sources.again(r.source)
	out.Source.Index = append(out.Source.Index, src.use(b.epoch, &out.Source))
	typ := b.types.again(r.kind)
	if typ.part == 0 {
		typ.part = engine.DigestType(typ.text)
	}
	out.Type.Index = append(out.Type.Index, typ.use(b.epoch, &out.Type))
	sub := b.subjects.lookup(r.subject)
	if sub.part == 0 {
		sub.part = engine.DigestSubject(sub.text)
	}
	out.Subject.Index = append(out.Subject.Index, sub.use(b.epoch, &out.Subject))
	digest := typ.part + sub.part

	out.ID.Bytes = append(out.ID.Bytes, r.id...)
	out.ID.End = append(out.ID.End, uint32(len(out.ID.Bytes)))
	out.Time = append(out.Time, r.time)
	if r.timed {
		digest += engine.DigestTime(r.time)
	} else {
		out.TimeDefaulted.Set(n)
	}
	for i := range r.cells {
		digest += b.addCell(&r.cells[i], n)
	}
	digest += b.addRest()
	out.Rest.End = append(out.Rest.End, uint32(len(out.Rest.Bytes)))
	out.Digest = append(out.Digest, uint64(digest))
	b.place(offset, size)
	return true
}

// addMalformed appends a row that is no event; raw is what was read of its size bytes.
func (b *Builder) addMalformed(offset, size int64, fault string, raw []byte) {
	out := b.batch
	if len(raw) > engine.MaxRaw {
		raw = raw[:engine.MaxRaw]
	}
	out.Malformed = append(out.Malformed, engine.Malformed{
		Row: out.Len, Fault: fault, Raw: slices.Clone(raw), Size: size,
	})
	out.Source.Index = append(out.Source.Index, engine.Absent)
	out.Type.Index = append(out.Type.Index, engine.Absent)
	out.Subject.Index = append(out.Subject.Index, engine.Absent)
	out.ID.End = append(out.ID.End, uint32(len(out.ID.Bytes)))
	out.Rest.End = append(out.Rest.End, uint32(len(out.Rest.Bytes)))
	out.Time = append(out.Time, 0)
	out.Digest = append(out.Digest, 0)
	b.place(offset, len(raw))
}

func (b *Builder) place(offset int64, size int) {
	o := &b.batch.Origin
	o.Partition.Index = append(o.Partition.Index, uint32(b.part))
	o.Offset = append(o.Offset, offset)
	b.bytes += size
	b.batch.Len++
}

// columnsFit finds the columns of the row's cells, and says whether the batch has room for those
// that it does not have yet. An empty batch has room for any row.
func (b *Builder) columnsFit() bool {
	fresh := 0
	for i := range b.row.cells {
		c := &b.row.cells[i]
		col := c.node.cols[c.kind]
		if col == nil {
			col = b.column(c.node, c.kind)
		}
		if col.epoch != b.epoch {
			fresh++
		}
	}
	have := len(b.batch.Props)
	if b.batch.Len == 0 {
		return true
	}
	return (have+fresh)*(b.batch.Len+1) <= maxCells && have+fresh <= engine.MaxColumns
}

// column finds or makes the column of a property and remembers it at the property's path.
func (b *Builder) column(node *pathNode, kind engine.ColumnKind) *column {
	key := columnKey{node.path, kind}
	col := b.columns[key]
	if col == nil {
		col = &column{columnKey: key, seed: engine.PathSeed(node.path)}
		b.columns[key] = col
	}
	node.cols[kind] = col
	return col
}

// addCell writes one property of row n, and returns its part of the row's digest.
func (b *Builder) addCell(c *cell, n int) engine.RowDigest {
	col := c.node.cols[c.kind]
	if col.epoch != b.epoch {
		col.epoch, col.at = b.epoch, len(b.batch.Props)
		col.values.trim()
		b.batch.Props = append(b.batch.Props, b.spare.column(col.path, col.kind))
	}
	out := &b.batch.Props[col.at]
	switch c.kind {
	case engine.NumberColumn:
		out.Numbers = append(padZero(out.Numbers, n), c.number)
		out.Present.Set(n)
		return engine.DigestNumber(col.seed, c.number)
	case engine.BoolColumn:
		out.Present.Set(n)
		if c.yes {
			out.Bools.Set(n)
		}
		return engine.DigestBool(col.seed, c.yes)
	}
	e := col.values.lookup(c.text)
	if e.part == 0 && c.kind == engine.WideColumn {
		e.part = engine.DigestWide(col.seed, e.text)
	} else if e.part == 0 {
		e.part = engine.DigestText(col.seed, e.text)
	}
	out.Text.Index = append(padAbsent(out.Text.Index, n), e.use(b.epoch, &out.Text))
	return e.part
}

// addRest writes what no column holds, and returns its part of the row's digest.
func (b *Builder) addRest() engine.RowDigest {
	r := &b.row
	if len(r.rest) == 0 {
		return 0
	}
	slices.SortFunc(r.rest, func(x, y restMember) int {
		return cmp.Compare(x.node.path, y.node.path)
	})
	var digest engine.RowDigest
	out := append(b.batch.Rest.Bytes, '{')
	for i, m := range r.rest {
		if i > 0 {
			out = append(out, ',')
		}
		text := r.json[m.from:m.to]
		out = appendJSONString(out, m.node.path)
		out = append(out, ':')
		out = append(out, text...)
		// The conversion allocates; rows with members that no column holds are rare.
		digest += engine.DigestRest(m.node.pathSeed(), string(text))
	}
	b.batch.Rest.Bytes = append(out, '}')
	return digest
}

// eventRow is one event between reading and adding. Its slices alias the chunk or its own buffers.
type eventRow struct {
	id, source, kind, subject []byte

	time  engine.Micros
	timed bool
	cells []cell
	rest  []restMember
	text  []byte // strings after their escapes are resolved
	json  []byte // texts of the members that no column holds
}

func (r *eventRow) reset() {
	r.id, r.source, r.kind, r.subject = nil, nil, nil, nil
	r.time, r.timed = 0, false
	r.cells, r.rest = r.cells[:0], r.rest[:0]
	r.text, r.json = r.text[:0], r.json[:0]
}

// cell is one scalar property of a row.
type cell struct {
	node   *pathNode
	kind   engine.ColumnKind
	yes    bool            // BoolColumn
	text   []byte          // TextColumn, WideColumn
	number decimal.Decimal // NumberColumn
}

// restMember is one member that no column holds; its text is json[from:to].
type restMember struct {
	node     *pathNode
	from, to int
}

// dictTable gives strings out for bytes, one for equal bytes, by open addressing. It outlives the
// batch, so that a value which every batch has is copied once.
type dictTable struct {
	seed    maphash.Seed
	slots   []uint64 // upper half of the hash, and entry + 1; 0 is empty
	entries []dictEntry
	arena   strings.Builder
	bytes   int
	last    int // entry that again returned
}

// dictEntry is one value. The batch of the epoch has it at Values[index].
type dictEntry struct {
	text  string
	part  engine.RowDigest // 0: not computed yet
	epoch uint64
	index uint32

	number uint32 // of the entry in the table
}

// use returns the value's index in the dictionary of the batch, entering it at its first use.
func (e *dictEntry) use(epoch uint64, d *engine.Dict) uint32 {
	if e.epoch != epoch {
		e.epoch, e.index = epoch, uint32(len(d.Values))
		d.Values = append(d.Values, e.text)
	}
	return e.index
}

// lookup returns the entry of the value. It is valid until the next call.
func (t *dictTable) lookup(b []byte) *dictEntry {
	if len(t.entries)*2 >= len(t.slots) {
		t.grow()
	}
	h := maphash.Bytes(t.seed, b)
	tag, mask := h&^(1<<32-1), uint64(len(t.slots)-1)
	i := h & mask
	for ; t.slots[i] != 0; i = (i + 1) & mask {
		s := t.slots[i]
		if s&^(1<<32-1) != tag {
			continue
		}
		if e := &t.entries[uint32(s)-1]; e.text == string(b) {
			return e
		}
	}
	t.entries = append(t.entries, dictEntry{text: t.copy(b), number: uint32(len(t.entries))})
	t.slots[i] = tag | uint64(len(t.entries))
	return &t.entries[len(t.entries)-1]
}

// again is lookup for values of which many rows in a row have the same.
func (t *dictTable) again(b []byte) *dictEntry {
	if t.last < len(t.entries) && t.entries[t.last].text == string(b) {
		return &t.entries[t.last]
	}
	e := t.lookup(b)
	t.last = int(e.number)
	return e
}

// grow makes the table twice as large and enters everything anew.
func (t *dictTable) grow() {
	if t.slots == nil {
		t.seed = maphash.MakeSeed()
	}
	t.slots = make([]uint64, max(16, 2*len(t.slots)))
	mask := uint64(len(t.slots) - 1)
	for e := range t.entries {
		h := maphash.String(t.seed, t.entries[e].text)
		i := h & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = h&^(1<<32-1) | uint64(e+1)
	}
}

// copy returns the bytes as a string that shares a block with others. What was written to a
// strings.Builder never changes, so the string is safe for ever.
func (t *dictTable) copy(b []byte) string {
	t.bytes += len(b)
	if len(b) > 8<<10 {
		return string(b)
	}
	if t.arena.Cap()-t.arena.Len() < len(b) {
		size := min(max(256, 2*t.arena.Cap()), 64<<10)
		t.arena.Reset()
		t.arena.Grow(max(size, len(b)))
	}
	t.arena.Write(b)
	s := t.arena.String()
	return s[len(s)-len(b):]
}

// trim forgets all values if they have become many. It is for the start of a batch only.
func (t *dictTable) trim() {
	if len(t.entries) <= keptValues && t.bytes <= keptBytes {
		return
	}
	clear(t.slots)
	clear(t.entries)
	t.entries, t.bytes, t.last = t.entries[:0], 0, 0
	t.arena.Reset()
}

// spares is memory of batches that were given back.
type spares struct {
	batches []*engine.Batch
	indexes [][]uint32
	numbers [][]decimal.Decimal
	bits    []engine.Bits
	values  [][]string
	cells   int // capacity of indexes and numbers
	rows    int // of the last batch that was full: new memory has room for as many
}

// take returns an empty batch.
func (s *spares) take() *engine.Batch {
	n := len(s.batches)
	if n == 0 {
		return s.make()
	}
	b := s.batches[n-1]
	s.batches = s.batches[:n-1]
	return b
}

// make returns a new batch with room for as many rows as full ones had. Their memory grows by
// doubling otherwise, which copies all of it.
func (s *spares) make() *engine.Batch {
	n := s.rows
	if n == 0 {
		return new(engine.Batch)
	}
	index := func() []uint32 { return make([]uint32, 0, n) }
	return &engine.Batch{
		Source: engine.Dict{Index: index()}, Type: engine.Dict{Index: index()},
		Subject: engine.Dict{Index: index()}, Time: make([]engine.Micros, 0, n),
		ID: engine.Strings{End: index()}, Rest: engine.Strings{End: index()},
		Digest: make([]uint64, 0, n),
		Origin: engine.Origins{
			Partition: engine.Dict{Index: index()}, Offset: make([]int64, 0, n),
		},
	}
}

// give takes a batch apart. Strings are cleared, so that they do not outlive their use.
func (s *spares) give(b *engine.Batch) {
	if b == nil || len(s.batches) >= keptBatches {
		return
	}
	for i := range b.Props {
		s.giveColumn(&b.Props[i])
	}
	clear(b.Props)
	clear(b.Malformed)
	*b = engine.Batch{
		Source: emptyDict(b.Source), Type: emptyDict(b.Type), Subject: emptyDict(b.Subject),
		ID:   engine.Strings{Bytes: b.ID.Bytes[:0], End: b.ID.End[:0]},
		Time: b.Time[:0], TimeDefaulted: b.TimeDefaulted[:0], Props: b.Props[:0],
		Rest:   engine.Strings{Bytes: b.Rest.Bytes[:0], End: b.Rest.End[:0]},
		Digest: b.Digest[:0],
		Origin: engine.Origins{
			Partition: emptyDict(b.Origin.Partition),
			Offset:    b.Origin.Offset[:0], Resume: b.Origin.Resume[:0],
		},
		Malformed: b.Malformed[:0],
	}
	s.batches = append(s.batches, b)
}

func (s *spares) giveColumn(c *engine.Column) {
	for _, bits := range []engine.Bits{c.Present, c.Bools} {
		if cap(bits) > 0 && len(s.bits) < 2*engine.MaxColumns {
			s.bits = append(s.bits, bits[:0])
		}
	}
	if n := cap(c.Numbers); n > 0 && s.cells+n <= keptCells {
		s.numbers, s.cells = append(s.numbers, c.Numbers[:0]), s.cells+n
	}
	if n := cap(c.Text.Index); n > 0 && s.cells+n <= keptCells {
		s.indexes, s.cells = append(s.indexes, c.Text.Index[:0]), s.cells+n
		clear(c.Text.Values)
		s.values = append(s.values, c.Text.Values[:0])
	}
}

// column returns an empty column.
func (s *spares) column(path string, kind engine.ColumnKind) engine.Column {
	c := engine.Column{Path: path, Kind: kind}
	switch kind {
	case engine.NumberColumn:
		c.Numbers = pop(&s.numbers)
		s.cells -= cap(c.Numbers)
		c.Numbers = slices.Grow(c.Numbers, s.rows)
		c.Present = pop(&s.bits)
	case engine.BoolColumn:
		c.Bools, c.Present = pop(&s.bits), pop(&s.bits)
	default:
		c.Text = engine.Dict{Values: pop(&s.values), Index: pop(&s.indexes)}
		s.cells -= cap(c.Text.Index)
		c.Text.Index = slices.Grow(c.Text.Index, s.rows)
	}
	return c
}

func pop[T any](list *[]T) (last T) {
	if n := len(*list); n > 0 {
		last = (*list)[n-1]
		*list = (*list)[:n-1]
	}
	return last
}

func emptyDict(d engine.Dict) engine.Dict {
	clear(d.Values)
	return engine.Dict{Values: d.Values[:0], Index: d.Index[:0]}
}

// padAbsent extends the index to n rows that have no value.
func padAbsent(index []uint32, n int) []uint32 {
	from := len(index)
	if from >= n {
		return index
	}
	index = slices.Grow(index, n-from)[:n]
	for i := from; i < n; i++ {
		index[i] = engine.Absent
	}
	return index
}

// padZero extends the numbers to n rows; Present tells that they are not there.
func padZero(numbers []decimal.Decimal, n int) []decimal.Decimal {
	from := len(numbers)
	if from >= n {
		return numbers
	}
	numbers = slices.Grow(numbers, n-from)[:n]
	clear(numbers[from:])
	return numbers
}

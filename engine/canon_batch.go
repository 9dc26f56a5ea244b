package engine

import (
	"encoding/binary"
	"slices"

	"billctl/engine/decimal"
)

// Canonical bytes of a batch: column after column, so that a reader can go through a column in one
// run. Dictionary indices are as wide as they must be, times and offsets are differences.

func appendBatch(b []byte, v *Batch) []byte {
	b = appendUint(b, uint64(v.Len))
	b = appendDict(b, &v.Source)
	b = appendDict(b, &v.Type)
	b = appendDict(b, &v.Subject)
	b = appendColumnStrings(b, &v.ID, v.Len)
	last := int64(0)
	for _, t := range v.Time {
		b = appendInt(b, int64(t)-last)
		last = int64(t)
	}
	b = appendBits(b, v.TimeDefaulted, v.Len)
	b = appendUint(b, uint64(len(v.Props)))
	for i := range v.Props {
		b = appendColumn(b, &v.Props[i], v.Len)
	}
	b = appendColumnStrings(b, &v.Rest, v.Len)
	for _, d := range v.Digest {
		b = binary.BigEndian.AppendUint64(b, d)
	}
	b = appendOrigins(b, &v.Origin)
	return appendList(b, v.Malformed, func(b []byte, m *Malformed) []byte {
		b = appendString(appendUint(b, uint64(m.Row)), m.Fault)
		return appendInt(appendBytes(b, m.Raw), m.Size)
	})
}

func readBatch(r *reader) *Batch {
	v := &Batch{Len: int(r.upTo(MaxRows, "rows"))}
	v.Source = readDict(r, v.Len)
	v.Type = readDict(r, v.Len)
	v.Subject = readDict(r, v.Len)
	v.ID = readColumnStrings(r, v.Len)
	if r.err != nil {
		return v
	}
	v.Time = make([]Micros, v.Len)
	last := int64(0)
	for i := range v.Time {
		last += r.int()
		v.Time[i] = Micros(last)
	}
	v.TimeDefaulted = readBits(r, v.Len)
	n := int(r.upTo(MaxColumns, "columns"))
	if n*v.Len > MaxCells {
		r.fail("cells")
		return v
	}
	if n > 0 {
		v.Props = make([]Column, n)
		for i := range v.Props {
			v.Props[i] = readColumn(r, v.Len)
		}
	}
	v.Rest = readColumnStrings(r, v.Len)
	if raw := r.take(8 * v.Len); raw != nil {
		v.Digest = make([]uint64, v.Len)
		for i := range v.Digest {
			v.Digest[i] = binary.BigEndian.Uint64(raw[8*i:])
		}
	}
	v.Origin = readOrigins(r, v.Len)
	v.Malformed = readList(r, 4, func(r *reader) Malformed {
		return Malformed{
			Row: int(r.upTo(MaxRows, "row")), Fault: r.string(), Raw: append([]byte(nil), r.bytes()...),
			Size: r.int(),
		}
	})
	v.check(r)
	return v
}

// check refuses a batch on which the engine could trip: every readable row has its attributes and
// a time in range.
func (b *Batch) check(r *reader) {
	bad := b.Malformed
	for row := 0; row < b.Len && r.err == nil; row++ {
		if len(bad) > 0 && bad[0].Row == row {
			bad = bad[1:]
			continue
		}
		switch {
		case b.Type.Index[row] == Absent, b.Subject.Index[row] == Absent,
			b.Source.Index[row] == Absent:
			r.fail("row without an attribute")
		case b.Time[row] < MinTime || b.Time[row] >= MaxTime:
			r.fail("time out of range")
		}
	}
	if len(bad) > 0 {
		r.fail("malformed rows out of order")
	}
}

func appendDict(b []byte, d *Dict) []byte {
	b = appendStrings(b, d.Values)
	return appendIndices(b, d.Index, len(d.Values))
}

func readDict(r *reader, rows int) Dict {
	d := Dict{Values: readStrings(r)}
	if len(d.Values) > rows {
		r.fail("dictionary longer than its column")
	}
	d.Index = readIndices(r, rows, len(d.Values))
	return d
}

// indexWidth is the number of bytes that holds indices below n and the mark for absent rows.
func indexWidth(n int) int {
	switch {
	case n == 0:
		return 0
	case n < 1<<8:
		return 1
	case n < 1<<16:
		return 2
	}
	return 4
}

// appendIndices writes index+1, 0 for absent; nothing at all where there are no values.
func appendIndices(b []byte, index []uint32, n int) []byte {
	switch indexWidth(n) {
	case 1:
		for _, i := range index {
			b = append(b, byte(i+1))
		}
	case 2:
		for _, i := range index {
			b = binary.BigEndian.AppendUint16(b, uint16(i+1))
		}
	case 4:
		for _, i := range index {
			b = binary.BigEndian.AppendUint32(b, i+1)
		}
	}
	return b
}

func readIndices(r *reader, rows, n int) []uint32 {
	width := indexWidth(n)
	raw := r.take(rows * width)
	if r.err != nil {
		return nil
	}
	index := make([]uint32, rows)
	top := uint32(0)
	for i := range index {
		var v uint32
		switch width {
		case 1:
			v = uint32(raw[i])
		case 2:
			v = uint32(binary.BigEndian.Uint16(raw[2*i:]))
		case 4:
			v = binary.BigEndian.Uint32(raw[4*i:])
		}
		index[i] = v - 1
		top = max(top, v)
	}
	if int(top) > n {
		r.fail("index beyond the dictionary")
	}
	return index
}

func appendColumnStrings(b []byte, s *Strings, rows int) []byte {
	if len(s.Bytes) == 0 {
		return append(b, 0)
	}
	b = append(b, 1)
	from := uint32(0)
	for _, end := range s.End[:rows] {
		b = appendUint(b, uint64(end-from))
		from = end
	}
	return append(b, s.Bytes[:from]...)
}

func readColumnStrings(r *reader, rows int) Strings {
	some := r.bool()
	if r.err != nil || some && rows > len(r.b) {
		r.fail("strings")
		return Strings{}
	}
	s := Strings{End: make([]uint32, rows)}
	if !some {
		return s
	}
	total := uint64(0)
	for i := range s.End {
		total += r.upTo(MaxEntry, "string length")
		s.End[i] = uint32(min(total, MaxEntry+1))
	}
	if total == 0 {
		r.fail("strings without bytes")
	}
	s.Bytes = append([]byte(nil), r.take(int(min(total, MaxEntry+1)))...)
	return s
}

func appendBits(b []byte, bits Bits, rows int) []byte {
	n := 0
	for i := range rows {
		n += one(bits.Has(i))
	}
	if n == 0 {
		return append(b, 0)
	}
	b = append(b, 1)
	for i := range (rows + 63) / 64 {
		w := uint64(0)
		if i < len(bits) {
			w = bits[i]
		}
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

func readBits(r *reader, rows int) Bits {
	if !r.bool() {
		return nil
	}
	words := (rows + 63) / 64
	raw := r.take(8 * words)
	if raw == nil {
		return nil
	}
	bits := make(Bits, words)
	some := uint64(0)
	for i := range bits {
		bits[i] = binary.BigEndian.Uint64(raw[8*i:])
		some |= bits[i]
	}
	if some == 0 {
		r.fail("bits without a row")
	} else if rows%64 != 0 && bits[words-1]>>(rows%64) != 0 {
		r.fail("bits beyond the rows")
	}
	return bits
}

func appendColumn(b []byte, c *Column, rows int) []byte {
	b = append(appendString(b, c.Path), byte(c.Kind))
	switch c.Kind {
	case TextColumn, WideColumn:
		return appendDict(b, &c.Text)
	case BoolColumn:
		return appendBits(appendBits(b, c.Present, rows), c.Bools, rows)
	}
	return appendNumbers(appendBits(b, c.Present, rows), c, rows)
}

func readColumn(r *reader, rows int) Column {
	c := Column{
		Path: r.string(),
		Kind: ColumnKind(r.between(uint64(TextColumn), uint64(BoolColumn), "kind of column")),
	}
	switch c.Kind {
	case TextColumn, WideColumn:
		c.Text = readDict(r, rows)
	case BoolColumn:
		c.Present, c.Bools = readBits(r, rows), readBits(r, rows)
	case NumberColumn:
		c.Present = readBits(r, rows)
		readNumbers(r, &c, rows)
	}
	return c
}

// appendNumbers writes the present numbers as multiples of 10^-fraction where all of them are
// small enough, which nearly all are, otherwise as words.
func appendNumbers(b []byte, c *Column, rows int) []byte {
	for _, fraction := range [...]int{0, 3, 6} {
		at := len(b)
		b = append(b, byte(1+fraction))
		ok := true
		for i := range rows {
			if !c.Present.Has(i) {
				continue
			}
			var n int64
			if n, ok = c.Numbers[i].Scaled(fraction); !ok {
				break
			}
			b = appendInt(b, n)
		}
		if ok {
			return b
		}
		b = b[:at]
	}
	b = append(b, 0)
	for i := range rows {
		if c.Present.Has(i) {
			b = appendDecimal(b, c.Numbers[i])
		}
	}
	return b
}

func readNumbers(r *reader, c *Column, rows int) {
	form := int(r.upTo(7, "form of numbers"))
	if form != 0 && form != 1 && form != 4 && form != 7 {
		r.fail("form of numbers")
	}
	if r.err != nil {
		return
	}
	c.Numbers = make([]decimal.Decimal, rows)
	shortest := form == 1
	for i := range rows {
		switch {
		case !c.Present.Has(i):
		case form == 0:
			c.Numbers[i] = r.decimal()
		default:
			n := r.int()
			c.Numbers[i] = decimal.FromScaled(n, form-1)
			shortest = shortest || n%1000 != 0
		}
	}
	if form == 0 {
		shortest = !slices.ContainsFunc([]int{0, 3, 6}, c.scales)
	}
	if !shortest {
		r.fail("numbers in a longer form than they need")
	}
}

// scales reports whether every number is a small enough multiple of 10^-fraction.
func (c *Column) scales(fraction int) bool {
	for i := range c.Numbers {
		if _, ok := c.Numbers[i].Scaled(fraction); !ok {
			return false
		}
	}
	return true
}

func appendOrigins(b []byte, o *Origins) []byte {
	b = appendDict(appendString(b, o.Source), &o.Partition)
	last := int64(0)
	for _, at := range o.Offset {
		b = appendInt(b, at-last)
		last = at
	}
	for _, at := range o.Resume {
		b = appendInt(b, at)
	}
	return b
}

func readOrigins(r *reader, rows int) Origins {
	o := Origins{Source: r.string()}
	// Partitions may outnumber rows: one with nothing but blank lines still moves on.
	o.Partition.Values = readStrings(r)
	o.Partition.Index = readIndices(r, rows, len(o.Partition.Values))
	if r.err != nil {
		return o
	}
	o.Offset = make([]int64, rows)
	last := int64(0)
	for i := range o.Offset {
		last += r.int()
		o.Offset[i] = last
	}
	o.Resume = make([]int64, len(o.Partition.Values))
	for i := range o.Resume {
		o.Resume[i] = r.int()
	}
	return o
}

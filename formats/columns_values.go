package formats

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// text returns what a row has in a column as text, which is good until the next call; nil for null.
func (w *rowBatch) text(f *rowField, row int) (s []byte, fault string) {
	v, out := &w.vec[f.at], w.scratch[:0]
	if v.null.Has(row) {
		return nil, ""
	}
	switch f.kind {
	case textVector:
		out = append(out, v.text.Values[v.text.Index[row]]...)
	case intVector:
		out = appendInt(out, v.ints[row])
	case numberVector:
		if wide, ok := v.wide[row]; ok {
			out = append(out, wide...)
		} else {
			out = v.numbers[row].Append(out)
		}
	case floatVector:
		if out, fault = appendFloat(out, v.floats[row], f.short); fault != "" {
			fault += " in column " + quoted(f.name)
		}
	case boolVector:
		out = strconv.AppendBool(out, v.bools.Has(row))
	case uuidVector:
		out = appendUUID(out, v.bytes.At(row))
	case bytesVector:
		if out = append(out, v.bytes.At(row)...); !utf8.Valid(out) {
			fault = "bytes that are no text in UTF-8 in column " + quoted(f.name)
		} else if len(out) > MaxLine {
			fault = fmt.Sprintf("text of %d bytes in column %s is longer than %d", len(out),
				quoted(f.name), MaxLine)
		} else if strings.IndexByte(string(out), 0) >= 0 {
			fault = "NUL character in column " + quoted(f.name)
		}
	case dateVector:
		out = append(out, dateText(v.ints[row])...)
	case timeVector:
		out = append(out, f.timeText(v.ints[row])...)
	}
	w.scratch = out
	return out, fault
}

// appendFloat writes the shortest number that reads back as the same floating point number, in the
// form that programs write to JSON.
func appendFloat(dst []byte, x float64, short bool) ([]byte, string) {
	bits, size := 64, math.Abs(x)
	if short {
		bits = 32
	}
	if math.IsNaN(size) || math.IsInf(size, 0) {
		return dst, fmt.Sprintf("%v, which is no number,", x)
	}
	if size != 0 && (size < 1e-6 || size >= 1e21) {
		dst = strconv.AppendFloat(dst, x, 'e', -1, bits)
		if n := len(dst); dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
			dst[n-2] = dst[n-1] // 1e-09 is written 1e-9
			dst = dst[:n-1]
		}
		return dst, ""
	}
	return strconv.AppendFloat(dst, x, 'f', -1, bits), ""
}

func appendUUID(dst, b []byte) []byte {
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// dateText writes days since 1970 as a date.
func dateText(days int64) string {
	const most = 1 << 32 // a calendar beyond all years, without an overflow
	return time.Unix(max(-most, min(days, most))*86_400, 0).UTC().Format(time.DateOnly)
}

// timeText writes microseconds since 1970 in RFC 3339.
func timeText(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339Nano) }

// timeText writes a time of the field's column, without a zone where the column has none.
func (f *rowField) timeText(us int64) string {
	s := timeText(us)
	if f.local {
		s = strings.TrimSuffix(s, "Z")
	}
	return s
}

// column returns a property's column of the batch, as long as the batch has rows.
func (w *rowBatch) column(node *pathNode, kind engine.ColumnKind) *column {
	b := w.b
	col := node.cols[kind]
	if col == nil {
		col = b.column(node, kind)
	}
	if col.epoch == b.epoch {
		return col
	}
	col.epoch, col.at = b.epoch, len(b.batch.Props)
	col.values.trim()
	out := b.spare.column(col.path, col.kind)
	switch kind {
	case engine.NumberColumn:
		out.Numbers = padZero(out.Numbers, w.out.Len)
	case engine.TextColumn, engine.WideColumn:
		out.Text.Index = padAbsent(out.Text.Index, w.out.Len)
	}
	b.batch.Props = append(b.batch.Props, out)
	return col
}

// writeData writes the rows' values of a property.
func (w *rowBatch) writeData(d *rowData) {
	v := &w.vec[d.at]
	if d.kind == textVector {
		w.writeTexts(d, v)
		return
	}
	for i, row := range w.rows {
		if v.null.Has(row) || w.bad.Has(i) {
			continue
		}
		c := cell{node: d.node}
		switch d.kind {
		case intVector:
			c.kind, c.number = engine.NumberColumn, decimal.FromInt(v.ints[row])
		case numberVector:
			c.kind, c.number = engine.NumberColumn, v.numbers[row]
			if wide, ok := v.wide[row]; ok {
				c.kind, c.text = engine.WideColumn, []byte(wide)
			}
		case floatVector:
			c.kind = engine.NumberColumn
			c.text, _ = w.text(&d.rowField, row)
			var err error
			if c.number, err = decimal.ParseBytes(c.text); err != nil {
				c.kind = engine.WideColumn
			}
		case boolVector:
			c.kind, c.yes = engine.BoolColumn, v.bools.Has(row)
		default:
			c.kind = engine.TextColumn
			c.text, _ = w.text(&d.rowField, row)
		}
		w.put(&c, i)
	}
}

// put writes one property of a row.
func (w *rowBatch) put(c *cell, i int) {
	col := w.column(c.node, c.kind)
	out := &w.out.Props[col.at]
	var part engine.RowDigest
	switch c.kind {
	case engine.NumberColumn:
		out.Numbers[i] = c.number
		out.Present.Set(i)
		part = engine.DigestNumber(col.seed, c.number)
	case engine.BoolColumn:
		out.Present.Set(i)
		if c.yes {
			out.Bools.Set(i)
		}
		part = engine.DigestBool(col.seed, c.yes)
	default:
		e := col.values.lookup(c.text)
		if e.part == 0 && c.kind == engine.WideColumn {
			e.part = engine.DigestWide(col.seed, e.text)
		} else if e.part == 0 {
			e.part = engine.DigestText(col.seed, e.text)
		}
		out.Text.Index[i] = e.use(w.b.epoch, &out.Text)
		part = e.part
	}
	w.out.Digest[i] += uint64(part)
}

// writeTexts writes a property that is text. A value of the run's dictionary is looked up once.
func (w *rowBatch) writeTexts(d *rowData, v *vector) {
	var col *column
	for i, row := range w.rows {
		at := v.text.Index[row]
		if at == engine.Absent || w.bad.Has(i) {
			continue
		}
		if col == nil {
			col = w.column(d.node, engine.TextColumn)
		}
		out, t := &w.out.Props[col.at].Text, &d.texts[at]
		if t.at == engine.Absent {
			w.scratch = append(w.scratch[:0], v.text.Values[at]...)
			e := col.values.lookup(w.scratch)
			if e.part == 0 {
				e.part = engine.DigestText(col.seed, e.text)
			}
			t.at, t.part = e.use(w.b.epoch, out), e.part
		}
		out.Index[i] = t.at
		w.out.Digest[i] += uint64(t.part)
	}
}

// readRest takes the column rest apart: properties, and what no column of a batch holds.
func (w *rowBatch) readRest() {
	f := &w.r.plan.rest
	for i, row := range w.rows {
		if f.at >= 0 && !w.bad.Has(i) {
			if s, ok := w.vec[f.at].text.At(row); ok && s != "" {
				if fault := w.restOf(i, row, s); fault != "" {
					w.fail(i, fault)
				}
			}
		}
		w.rest.End = append(w.rest.End, uint32(len(w.rest.Bytes)))
	}
}

// restOf reads the column rest of one row.
func (w *rowBatch) restOf(i, row int, s string) string {
	r, p := w.r, &w.r.parser
	w.scratch = append(append(w.scratch[:0], s...), '\n')
	p.begin(w.b, w.scratch, 0, len(s))
	if len(s) > MaxLine {
		return fmt.Sprintf("rest has %d bytes, more than %d", len(s), MaxLine)
	}
	if p.space() != '{' {
		return "rest is no JSON object"
	}
	if !p.copy(p.paths.top, '{', 0) || !p.finish() {
		return "rest: " + p.fault
	}
	if string(p.row.json) == "{}" {
		return ""
	}
	begin, first, fault := len(w.rest.Bytes), len(w.cells), ""
	var ok bool
	w.rest.Bytes, ok = r.split.split(p.row.json, w.rest.Bytes, func(m *restProperty) bool {
		fault = w.restCell(i, row, first, m)
		return fault == ""
	})
	if fault == "" && !ok {
		fault = "rest has names or texts with other escapes than billctl writes"
	}
	if own := w.rest.Bytes[begin:]; fault == "" && len(own) > 0 {
		eachMember(own, func(key, _ []byte) bool {
			if attributeOf(string(key)) != extension {
				fault = "rest holds " + quoted(string(key)) + ", which has a column of its own"
			}
			return fault == ""
		})
	}
	if fault != "" {
		w.rest.Bytes, w.cells = w.rest.Bytes[:begin], w.cells[:first]
	}
	return fault
}

// restCell notes a property that stands in rest.
func (w *rowBatch) restCell(i, row, first int, m *restProperty) string {
	path := string(m.path)
	if len(path) > engine.MaxName || !validPath(path) {
		return "rest: no path of a property: " + quoted(path)
	}
	c := rowCell{row: i, from: len(w.texts)}
	c.node, c.kind, c.yes, c.number = w.r.node(path), m.kind, m.yes, m.number
	count := len(w.cells) - first + 1
	for _, d := range w.r.plan.data {
		if w.vec[d.at].null.Has(row) {
			continue
		}
		if count++; d.node == c.node {
			return "property " + quoted(path) + " is in rest and in a column"
		}
	}
	for _, other := range w.cells[first:] {
		if other.node == c.node {
			return "property " + quoted(path) + " is in rest twice"
		}
	}
	if count > engine.MaxColumns {
		return fmt.Sprintf("event has more than %d properties", engine.MaxColumns)
	}
	w.texts = append(w.texts, m.text...)
	c.to = len(w.texts)
	w.cells = append(w.cells, c)
	return ""
}

// writeCell writes a property that stood in rest.
func (w *rowBatch) writeCell(c *rowCell) {
	if w.bad.Has(c.row) {
		return
	}
	c.text = w.texts[c.from:c.to]
	w.put(&c.cell, c.row)
}

// writeRest writes what no column holds of a row.
func (w *rowBatch) writeRest(i int) (digest engine.RowDigest) {
	text := w.rest.At(i)
	if len(text) == 0 {
		return 0
	}
	w.out.Rest.Bytes = append(w.out.Rest.Bytes, text...)
	eachMember(text, func(key, value []byte) bool {
		w.scratch, _ = unquoteJSON(w.scratch[:0], key)
		digest += engine.DigestRest(engine.PathSeed(string(w.scratch)), string(value))
		return true
	})
	return digest
}

// What is kept of a malformed row.
const (
	keptValue = 256     // bytes of one value
	keptRaw   = 4 << 10 // bytes of all
)

// raw writes what the columns that are read hold of a row as a JSON object, for people.
func (w *rowBatch) raw(row int) []byte {
	out := []byte{'{'}
	for at, c := range w.r.plan.read {
		if len(out) > keptRaw {
			break
		}
		if at > 0 {
			out = append(out, ',')
		}
		column := &w.r.all[c]
		f := rowField{at: at}
		f.describe(column)
		out = append(appendJSONString(out, column.name), ':')
		if w.vec[at].null.Has(row) {
			out = append(out, "null"...)
			continue
		}
		s, fault := w.text(&f, row)
		switch f.kind {
		case intVector, numberVector, boolVector:
			out = append(out, s...)
			continue
		case floatVector:
			if fault != "" {
				s = strconv.AppendFloat(s[:0], w.vec[at].floats[row], 'g', -1, 64)
			}
		}
		text := strings.ToValidUTF8(string(s[:min(len(s), keptValue)]), "\uFFFD")
		out = appendJSONString(out, text)
	}
	return append(out, '}')
}

package engine

import (
	"errors"
	"slices"

	"billctl/engine/decimal"
)

// bound is a meter tied to the columns of one batch: every name and repeating value is resolved
// once, so that a row costs loads from tables.
type bound struct {
	meter   *Meter
	index   int32
	filters []boundFilter
	number  *Column
	texts   []numeral // of a text column, by dictionary index: numeric strings are numbers
	always  bool      // every row has the number every
	every   numeral
	text    *Column
	wide    *Column
	flag    *Column
	dims    []boundDim
}

// numeral is a string read as a number.
type numeral struct {
	value  decimal.Decimal
	reason Reason
}

// boundFilter tells which values of a property pass.
type boundFilter struct {
	text, wide, number, flag *Column
	textPass, widePass       []bool
	numbers                  []decimal.Decimal
	flagPass                 [2]bool
}

// boundDim maps the values of a property to interned values.
type boundDim struct {
	text, wide, number, flag *Column
	textID, wideID           []uint32
	numberID                 []numberID // open addressing
	flagID                   [2]uint32
}

type numberID struct {
	value decimal.Decimal
	id    uint32 // 0: empty slot
}

// programOf returns the bound meters that listen to the batch's type under the terms.
func (e *Engine) programOf(b *Batch, terms int32, typ uint32) []int32 {
	for int(terms) >= len(e.slotOf) {
		e.slotOf = append(e.slotOf, -1)
	}
	types := int32(len(b.Type.Values))
	slot := e.slotOf[terms]
	if slot < 0 {
		slot = int32(len(e.progAt)) / types
		e.slotOf[terms] = slot
		for range types {
			e.progAt = append(e.progAt, span{-1, -1})
		}
	}
	p := &e.progAt[slot*types+int32(typ)]
	if p.from < 0 {
		p.from = int32(len(e.progs))
		for _, m := range e.terms[terms].meters {
			if e.meters[m].Event == b.Type.Values[typ] {
				e.progs = append(e.progs, e.boundMeter(b, m))
			}
		}
		p.to = int32(len(e.progs))
	}
	return e.progs[p.from:p.to]
}

func (e *Engine) boundMeter(b *Batch, index int32) int32 {
	if i := e.boundOf[index]; i >= 0 {
		return i
	}
	m := e.meters[index]
	o := bound{meter: m, index: index}
	for i := range m.Where {
		o.filters = append(o.filters, bindFilter(b, &m.Where[i]))
	}
	for i := range m.GroupBy {
		o.dims = append(o.dims, e.bindDim(b, m.GroupBy[i].Path))
	}
	o.bindValue(b)
	e.bounds = append(e.bounds, o)
	e.boundOf[index] = int32(len(e.bounds) - 1)
	return e.boundOf[index]
}

// bindValue ties the meter to what it reads of each row.
func (m *bound) bindValue(b *Batch) {
	switch {
	case m.meter.Aggregate == Count:
		m.always = true
		return
	case m.meter.Constant != nil && m.meter.Aggregate != Unique:
		m.always, m.every = true, m.meter.rounded(*m.meter.Constant)
		return
	}
	m.text, m.wide, m.number, m.flag = columnsOf(b, m.meter.Value)
	if m.text == nil || m.meter.Aggregate == Unique {
		return
	}
	m.texts = make([]numeral, len(m.text.Text.Values))
	for i, s := range m.text.Text.Values {
		n := readNumeral(s)
		if n.reason == Accepted {
			n = m.meter.rounded(n.value)
		}
		m.texts[i] = n
	}
}

// rounded returns the number of a row as the meter counts it.
func (m *Meter) rounded(v decimal.Decimal) numeral {
	if m.RoundEach == nil {
		return numeral{value: v}
	}
	var ok bool
	switch m.RoundEach.Round {
	case RoundUp:
		v, ok = v.CeilTo(m.RoundEach.To)
	case RoundDown:
		v, ok = v.FloorTo(m.RoundEach.To)
	default:
		v, ok = v.NearestTo(m.RoundEach.To)
	}
	if !ok {
		return numeral{reason: ReasonOverflow}
	}
	return numeral{value: v}
}

func readNumeral(s string) numeral {
	v, err := decimal.Parse(s)
	switch {
	case err == nil:
		return numeral{value: v}
	case errors.Is(err, decimal.ErrRange):
		return numeral{reason: ReasonOverflow}
	}
	return numeral{reason: ReasonBadValue}
}

// columnsOf returns the columns of a path, nil for kinds that the batch does not have. The event's
// own attributes are found by their names.
func columnsOf(b *Batch, path string) (text, wide, number, flag *Column) {
	switch path {
	case "source":
		return &Column{Kind: TextColumn, Text: b.Source}, nil, nil, nil
	case "subject":
		return &Column{Kind: TextColumn, Text: b.Subject}, nil, nil, nil
	}
	for i := range b.Props {
		if c := &b.Props[i]; c.Path == path {
			switch c.Kind {
			case TextColumn:
				text = c
			case WideColumn:
				wide = c
			case NumberColumn:
				number = c
			case BoolColumn:
				flag = c
			}
		}
	}
	return text, wide, number, flag
}

// value returns the number that the row adds to the meter; of Unique, whether it has a value.
func (m *bound) value(row int) (decimal.Decimal, Reason) {
	switch {
	case m.always:
		return m.every.value, m.every.reason
	case m.meter.Aggregate == Unique:
		if !m.hasScalar(row) {
			return decimal.Decimal{}, ReasonBadValue
		}
		return decimal.Decimal{}, Accepted
	case m.number != nil && m.number.Present.Has(row):
		if m.meter.RoundEach != nil {
			n := m.meter.rounded(m.number.Numbers[row])
			return n.value, n.reason
		}
		return m.number.Numbers[row], Accepted
	case m.text != nil && m.text.Text.Index[row] != Absent:
		n := &m.texts[m.text.Text.Index[row]]
		return n.value, n.reason
	case m.wide != nil && m.wide.Text.Index[row] != Absent:
		return decimal.Decimal{}, ReasonOverflow
	}
	return decimal.Decimal{}, ReasonBadValue
}

// hasScalar reports whether the row has a value of any kind at the meter's path.
func (m *bound) hasScalar(row int) bool {
	return m.text != nil && m.text.Text.Index[row] != Absent ||
		m.number != nil && m.number.Present.Has(row) ||
		m.flag != nil && m.flag.Present.Has(row) ||
		m.wide != nil && m.wide.Text.Index[row] != Absent
}

// scalar returns the text of the row's value, as values of dimensions are written.
func (m *bound) scalar(row int) string {
	switch {
	case m.text != nil && m.text.Text.Index[row] != Absent:
		return m.text.Text.Values[m.text.Text.Index[row]]
	case m.number != nil && m.number.Present.Has(row):
		return m.number.Numbers[row].String()
	case m.flag != nil && m.flag.Present.Has(row):
		return [2]string{"false", "true"}[one(m.flag.Bools.Has(row))]
	case m.wide != nil && m.wide.Text.Index[row] != Absent:
		return m.wide.Text.Values[m.wide.Text.Index[row]]
	}
	panic("BUG: a row without a value counts")
}

// passes reports whether the row is one of those that the meter counts.
func (m *bound) passes(row int) bool {
	for i := range m.filters {
		if !m.filters[i].passes(row) {
			return false
		}
	}
	return true
}

func bindFilter(b *Batch, f *Filter) boundFilter {
	var o boundFilter
	o.text, o.wide, o.number, o.flag = columnsOf(b, f.Path)
	if o.text != nil {
		o.textPass = passTable(o.text.Text.Values, f.Values)
	}
	if o.wide != nil {
		o.widePass = passTable(o.wide.Text.Values, f.Values)
	}
	for _, v := range f.Values {
		// The number 5 and the string "5" are one value; "5.0" is another string.
		if d, err := decimal.Parse(v); err == nil && d.String() == v {
			o.numbers = append(o.numbers, d)
		}
	}
	o.flagPass[0] = slices.Contains(f.Values, "false")
	o.flagPass[1] = slices.Contains(f.Values, "true")
	return o
}

func passTable(values, pass []string) []bool {
	t := make([]bool, len(values))
	for i, v := range values {
		t[i] = slices.Contains(pass, v)
	}
	return t
}

func (f *boundFilter) passes(row int) bool {
	switch {
	case f.text != nil && f.text.Text.Index[row] != Absent:
		return f.textPass[f.text.Text.Index[row]]
	case f.number != nil && f.number.Present.Has(row):
		return slices.Contains(f.numbers, f.number.Numbers[row])
	case f.flag != nil && f.flag.Present.Has(row):
		return f.flagPass[one(f.flag.Bools.Has(row))]
	case f.wide != nil && f.wide.Text.Index[row] != Absent:
		return f.widePass[f.wide.Text.Index[row]]
	}
	return false
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (e *Engine) bindDim(b *Batch, path string) boundDim {
	var o boundDim
	o.text, o.wide, o.number, o.flag = columnsOf(b, path)
	if o.text != nil {
		o.textID = fill(o.textID, len(o.text.Text.Values), unknownID)
	}
	if o.wide != nil {
		o.wideID = fill(o.wideID, len(o.wide.Text.Values), unknownID)
	}
	if o.flag != nil {
		o.flagID = [2]uint32{e.value("false"), e.value("true")}
	}
	return o
}

// groupOf returns the interned tuple of the row's values of the meter's dimensions.
func (e *Engine) groupOf(m *bound, row int) int32 {
	if len(m.dims) == 0 {
		return 0
	}
	e.ids = e.ids[:0]
	for i := range m.dims {
		e.ids = append(e.ids, e.dimValue(&m.dims[i], row))
	}
	return e.group(e.ids)
}

func (e *Engine) dimValue(d *boundDim, row int) uint32 {
	switch {
	case d.text != nil && d.text.Text.Index[row] != Absent:
		return e.textValue(&d.text.Text, d.textID, row)
	case d.number != nil && d.number.Present.Has(row):
		return e.numberValue(d, d.number.Numbers[row])
	case d.flag != nil && d.flag.Present.Has(row):
		return d.flagID[one(d.flag.Bools.Has(row))]
	case d.wide != nil && d.wide.Text.Index[row] != Absent:
		return e.textValue(&d.wide.Text, d.wideID, row)
	}
	return 0
}

// unknownID stands for a dictionary value that no accepted row has had yet: only values that count
// are interned.
const unknownID = ^uint32(0)

func (e *Engine) textValue(d *Dict, ids []uint32, row int) uint32 {
	i := d.Index[row]
	if ids[i] == unknownID {
		ids[i] = e.value(d.Values[i])
	}
	return ids[i]
}

// numberValue interns a number as its canonical text, through a table of the batch's numbers.
func (e *Engine) numberValue(d *boundDim, v decimal.Decimal) uint32 {
	if d.numberID == nil {
		size := 64
		for size < 2*len(d.number.Numbers) {
			size *= 2
		}
		d.numberID = make([]numberID, size)
	}
	hi, lo := v.Words()
	mask := len(d.numberID) - 1
	for i := int(mix(uint64(hi), lo)) & mask; ; i = (i + 1) & mask {
		switch slot := &d.numberID[i]; {
		case slot.id == 0:
			e.number = v.Append(e.number[:0])
			*slot = numberID{v, e.value(string(e.number))}
			return slot.id
		case slot.value == v:
			return slot.id
		}
	}
}

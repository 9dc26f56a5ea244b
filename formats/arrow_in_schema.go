package formats

import (
	"fmt"
	"strings"

	"billctl/engine"
)

// Limits of a schema. Fields may be nested in few bytes, and one may stand in several places.
const (
	maxArrowFields = 10_000
	maxArrowDepth  = 64
)

// arrowType is the type of a field by its number in Arrow's Schema.fbs.
type arrowType uint8

const (
	arrowNull arrowType = iota + 1
	arrowInt
	arrowFloat
	arrowBinary
	arrowUtf8
	arrowBool
	arrowDecimal
	arrowDate
	arrowTime
	arrowTimestamp
	arrowInterval
	arrowList
	arrowStruct
	arrowUnion
	arrowFixedBinary
	arrowFixedList
	arrowMap
	arrowDuration
	arrowLargeBinary
	arrowLargeUtf8
	arrowLargeList
	arrowRunEnds
	arrowBinaryView
	arrowUtf8View
	arrowListView
	arrowLargeListView
)

// arrowField is a field of a schema. The values of a field with a dictionary are numbers of the
// dictionary's values, whose type is that of the field.
type arrowField struct {
	name     string // path, joined by points
	typ      arrowType
	bits     int  // of a number, a decimal or a number of a dictionary's value
	signed   bool // of an integer
	unit     int  // of a date or timestamp: see arrowUnits; of a union: 1 is dense
	scale    int
	width    int    // bytes of a fixed binary
	zone     string // of a timestamp
	uuid     bool
	dict     *arrowField // how the numbers of the dictionary's values are written
	dictID   int64
	children []*arrowField

	kind   vectorKind
	what   string
	wanted bool // the field is read, or one below it
}

// arrowUnits are the units of time by their number in Schema.fbs.
func arrowUnit(unit int) string { return []string{"s", "ms", "us", "ns"}[unit&3] }

// arrowSchema reads fields.
type arrowSchema struct {
	left   int // fields that may still come
	reason string
}

// fields reads the fields of a schema, or the children of a field.
func (s *arrowSchema) fields(t flatTable, slot int, prefix string, depth int) []*arrowField {
	at, count := t.list(slot, 4)
	if s.left -= count; s.left < 0 {
		s.fail(fmt.Sprintf("more than %d columns", maxArrowFields))
	}
	if depth > maxArrowDepth {
		s.fail(fmt.Sprintf("columns nested deeper than %d", maxArrowDepth))
	}
	var out []*arrowField
	for i := 0; i < count && s.reason == ""; i++ {
		c := t.f.table(t.f.follow(at + 4*i))
		out = append(out, s.field(c, prefix, depth))
		if t.f.bad {
			s.fail("the schema is damaged")
		}
	}
	return out
}

func (s *arrowSchema) fail(reason string) {
	if s.reason == "" {
		s.reason = reason
	}
}

func (s *arrowSchema) field(t flatTable, prefix string, depth int) *arrowField {
	name := t.bytes(0)
	if len(prefix)+len(name) >= 2*engine.MaxName {
		s.fail("a column's name is too long: " + quoted(string(name)))
		return &arrowField{}
	}
	f := &arrowField{name: prefix + string(name), typ: arrowType(t.number(2, 1, 0))}
	data, _ := t.child(3)
	s.typed(f, data)
	if d, ok := t.child(4); ok {
		f.dictID = d.number(0, 8, 0)
		index, _ := d.child(1)
		f.dict = &arrowField{typ: arrowInt, bits: 32, signed: true}
		if index.at != 0 {
			s.typed(f.dict, index)
		}
	}
	at, count := t.list(6, 4) // what programs say of the field
	for i := range count {
		kv := t.f.table(t.f.follow(at + 4*i))
		if string(kv.bytes(0)) == "ARROW:extension:name" && string(kv.bytes(1)) == "arrow.uuid" {
			f.uuid = f.typ == arrowFixedBinary && f.width == 16
		}
	}
	below := f.name
	if f.typ != arrowStruct {
		below += ".?"
	}
	f.children = s.fields(t, 5, below+".", depth+1)
	f.kind, f.what = f.vector(), f.describe()
	return f
}

// typed reads what belongs to the type of a field.
func (s *arrowSchema) typed(f *arrowField, t flatTable) {
	switch f.typ {
	case arrowInt:
		f.bits, f.signed = int(t.number(0, 4, 0)), t.flag(1)
	case arrowFloat:
		f.bits = 16 << (t.number(0, 2, 0) & 3)
	case arrowDecimal:
		f.scale, f.bits = int(t.number(1, 4, 0)), int(t.number(2, 4, 128))
		f.width = int(t.number(0, 4, 0)) // digits, for people
	case arrowDate:
		f.unit = int(t.number(0, 2, 1)) & 1
	case arrowTime:
		f.unit, f.bits = int(t.number(0, 2, 1))&3, int(t.number(1, 4, 32))
	case arrowTimestamp:
		f.unit, f.zone = int(t.number(0, 2, 0))&3, string(t.bytes(1)[:min(len(t.bytes(1)), 64)])
	case arrowDuration:
		f.unit = int(t.number(0, 2, 1)) & 3
	case arrowInterval:
		f.unit = int(t.number(0, 2, 0))
	case arrowFixedBinary:
		f.width = int(t.number(0, 4, 0))
	case arrowUnion:
		f.unit = int(t.number(0, 2, 0))
	}
	least, most := 0, 0
	switch f.typ {
	case arrowInt:
		least, most = 8, 64
	case arrowDecimal:
		least, most = 32, 256
	case arrowTime:
		least, most = 32, 64
	case arrowFloat:
		least, most = 16, 64
	}
	if f.bits < least || f.bits > most || f.bits&(f.bits-1) != 0 {
		s.fail(fmt.Sprintf("column %s has numbers of %d bits", quoted(f.name), f.bits))
	}
	if f.typ == arrowFixedBinary && (f.width < 0 || f.width > 1<<20) {
		s.fail(fmt.Sprintf("column %s has values of %d bytes", quoted(f.name), f.width))
	}
}

// vector returns as what the field is read.
func (f *arrowField) vector() vectorKind {
	kind := noVector
	switch f.typ {
	case arrowNull, arrowUtf8, arrowLargeUtf8, arrowUtf8View:
		kind = textVector
	case arrowInt:
		kind = intVector
		if f.bits == 64 && !f.signed {
			kind = numberVector
		}
	case arrowFloat:
		kind = floatVector
	case arrowDecimal:
		if kind = numberVector; f.scale < -76 || f.scale > 76 {
			kind = noVector
		}
	case arrowBool:
		kind = boolVector
	case arrowDate:
		kind = dateVector
	case arrowTimestamp:
		kind = timeVector
	case arrowFixedBinary:
		if kind = bytesVector; f.uuid {
			kind = uuidVector
		}
	case arrowBinary, arrowLargeBinary, arrowBinaryView:
		kind = bytesVector
	}
	if f.dict != nil {
		switch kind {
		case textVector, intVector, dateVector, timeVector:
		default:
			return noVector // no program is known to write such
		}
	}
	return kind
}

// describe names the type as Arrow's own programs do.
func (f *arrowField) describe() string {
	name := ""
	switch f.typ {
	case arrowInt:
		if name = fmt.Sprintf("int%d", f.bits); !f.signed {
			name = "u" + name
		}
	case arrowFloat:
		name = fmt.Sprintf("float%d", f.bits)
	case arrowDecimal:
		name = fmt.Sprintf("decimal%d(%d, %d)", f.bits, f.width, f.scale)
	case arrowDate:
		name = []string{"date32[day]", "date64[ms]"}[f.unit]
	case arrowTimestamp:
		name = "timestamp[" + arrowUnit(f.unit)
		if f.zone != "" {
			name += ", tz=" + f.zone
		}
		if name += "]"; f.zone == "" {
			name += noZone
		}
	case arrowFixedBinary:
		if name = fmt.Sprintf("fixed_size_binary[%d]", f.width); f.uuid {
			name = "uuid"
		}
	case arrowList, arrowLargeList, arrowFixedList, arrowListView, arrowLargeListView:
		if name = "list"; len(f.children) == 1 {
			name += " of " + f.children[0].what
		}
	default:
		names := []string{
			arrowNull: "null", arrowBinary: "binary", arrowUtf8: "string", arrowBool: "bool",
			arrowTime: "time", arrowInterval: "interval", arrowStruct: "struct",
			arrowUnion: "union", arrowMap: "map", arrowDuration: "duration",
			arrowLargeBinary: "large_binary", arrowLargeUtf8: "large_string",
			arrowRunEnds: "run_end_encoded", arrowBinaryView: "binary_view",
			arrowUtf8View: "string_view",
		}
		if int(f.typ) < len(names) {
			name = names[f.typ]
		}
	}
	if name == "" {
		name = fmt.Sprintf("type %d", f.typ)
	}
	if f.dict != nil {
		name = "dictionary of " + name
	}
	if len(name) > 200 { // lists of lists of lists
		name = strings.ToValidUTF8(name[:200], "") + "..."
	}
	return name
}

// leaves appends the columns of a field.
func (f *arrowField) leaves(out []*arrowField) []*arrowField {
	if f.typ != arrowStruct || f.dict != nil {
		return append(out, f)
	}
	for _, c := range f.children {
		out = c.leaves(out)
	}
	return out
}

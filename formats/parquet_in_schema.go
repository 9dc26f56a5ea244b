package formats

import "fmt"

// physicalType is how the values of a column lie in its pages.
type physicalType int

const (
	physicalBool   physicalType = 0
	physicalInt32  physicalType = 1
	physicalInt64  physicalType = 2
	physicalInt96  physicalType = 3
	physicalFloat  physicalType = 4
	physicalDouble physicalType = 5
	physicalBytes  physicalType = 6
	physicalFixed  physicalType = 7
)

func (p physicalType) String() string {
	names := []string{"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY",
		"FIXED_LEN_BYTE_ARRAY"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("type %d", int(p))
	}
	return names[p]
}

// logicalID is a member of the union of the logical types; 0 is none.
type logicalID int

const (
	logicalString    logicalID = 1
	logicalMap       logicalID = 2
	logicalList      logicalID = 3
	logicalEnum      logicalID = 4
	logicalDecimal   logicalID = 5
	logicalDate      logicalID = 6
	logicalTime      logicalID = 7
	logicalTimestamp logicalID = 8
	logicalInterval  logicalID = 9 // of converted types only
	logicalInteger   logicalID = 10
	logicalUnknown   logicalID = 11
	logicalJSON      logicalID = 12
	logicalBSON      logicalID = 13
	logicalUUID      logicalID = 14
	logicalFloat16   logicalID = 15
	logicalVariant   logicalID = 16
	logicalGeometry  logicalID = 17
	logicalGeography logicalID = 18
)

func (id logicalID) String() string {
	names := []string{"", "STRING", "MAP", "LIST", "ENUM", "DECIMAL", "DATE", "TIME", "TIMESTAMP",
		"INTERVAL", "INT", "UNKNOWN", "JSON", "BSON", "UUID", "FLOAT16", "VARIANT", "GEOMETRY",
		"GEOGRAPHY"}
	if id < 0 || int(id) >= len(names) {
		return fmt.Sprintf("logical type %d", int(id))
	}
	return names[id]
}

type timeUnit int

const (
	millis timeUnit = 1
	micros timeUnit = 2
	nanos  timeUnit = 3
)

// logicalType is what the values of a column mean.
type logicalType struct {
	id               logicalID
	scale, precision int
	bits             int
	signed           bool
	utc              bool
	unit             timeUnit
}

// parquetLeaf is a column of the schema.
type parquetLeaf struct {
	tableColumn
	physical physicalType
	width    int // bytes of a value that has a fixed number of them, else 0
	levels   int // the definition level of a value that is there
	logical  logicalType
}

// readSchema returns the leaves of a schema.
func readSchema(elements []schemaElement) ([]parquetLeaf, error) {
	if len(elements) == 0 {
		return nil, fmt.Errorf("there is no schema")
	}
	w := &schemaWalk{elements: elements}
	if err := w.walk(schemaPlace{}); err != nil {
		return nil, err
	}
	if w.at != len(elements) {
		return nil, fmt.Errorf("%d parts of the schema belong to nothing", len(elements)-w.at)
	}
	return w.leaves, nil
}

type schemaWalk struct {
	elements []schemaElement
	at       int
	leaves   []parquetLeaf
}

// schemaPlace is where in the tree an element is.
type schemaPlace struct {
	path   string
	depth  int
	levels int
	within string // words for a group around it that makes it no column of single values
}

// walk reads an element and what is below it.
func (w *schemaWalk) walk(p schemaPlace) error {
	if w.at >= len(w.elements) || p.depth > maxLevels {
		return fmt.Errorf("the schema is cut, or nested deeper than %d", maxLevels)
	}
	e := &w.elements[w.at]
	w.at++
	if p.depth > 0 {
		if p.depth > 1 {
			p.path += "."
		}
		p.path += e.name
		switch e.repetition {
		case 0:
		case 1:
			p.levels++
		case 2:
			p.levels++
			if p.within == "" {
				p.within = "repeated"
			}
		default:
			return fmt.Errorf("column %s is neither required, optional nor repeated",
				quoted(p.path))
		}
	}
	t := e.meaning()
	if e.physical >= 0 && e.children == 0 && p.depth > 0 {
		return w.leaf(e, t, p)
	}
	switch t.id {
	case logicalList:
		p.within = "list"
	case logicalMap:
		p.within = "map"
	case logicalVariant:
		p.within = "variant"
	}
	p.depth++
	for range e.children {
		if err := w.walk(p); err != nil {
			return err
		}
	}
	return nil
}

func (w *schemaWalk) leaf(e *schemaElement, t logicalType, p schemaPlace) error {
	if len(w.leaves) == maxLeaves {
		return fmt.Errorf("there are more than %d columns", maxLeaves)
	}
	l := parquetLeaf{physical: e.physical, levels: p.levels, logical: t}
	l.name = p.path
	switch e.physical {
	case physicalBool, physicalBytes:
	case physicalInt32, physicalFloat:
		l.width = 4
	case physicalInt64, physicalDouble:
		l.width = 8
	case physicalInt96:
		l.width = 12
	case physicalFixed:
		l.width = e.width
		if e.width < 1 || e.width > maxFixed {
			return fmt.Errorf("column %s: a value of %d bytes; 1 to %d are possible",
				quoted(p.path), e.width, maxFixed)
		}
	default:
		return fmt.Errorf("column %s: there is no %s", quoted(p.path), e.physical)
	}
	l.kind = l.vectorKind()
	l.what = l.words()
	if p.within != "" {
		l.kind, l.what = noVector, p.within+" of "+l.what
	}
	w.leaves = append(w.leaves, l)
	return nil
}

// meaning returns the logical type of an element, from the older converted type if it has no other.
func (e *schemaElement) meaning() logicalType {
	t := e.logical
	if t.id != 0 {
		return t
	}
	switch e.converted {
	case 0:
		t.id = logicalString
	case 1, 2:
		t.id = logicalMap
	case 3:
		t.id = logicalList
	case 4:
		t.id = logicalEnum
	case 5:
		t = logicalType{id: logicalDecimal, scale: max(e.scale, 0), precision: e.precision}
	case 6:
		t.id = logicalDate
	case 7, 8:
		t = logicalType{id: logicalTime, utc: true, unit: timeUnit(e.converted - 6)}
	case 9, 10:
		t = logicalType{id: logicalTimestamp, utc: true, unit: timeUnit(e.converted - 8)}
	case 11, 12, 13, 14:
		t = logicalType{id: logicalInteger, bits: 8 << (e.converted - 11)}
	case 15, 16, 17, 18:
		t = logicalType{id: logicalInteger, bits: 8 << (e.converted - 15), signed: true}
	case 19:
		t.id = logicalJSON
	case 20:
		t.id = logicalBSON
	case 21:
		t.id = logicalInterval
	}
	return t
}

// vectorKind is what the values of a leaf come down to. A logical type on a physical type that it
// is not for has no kind.
func (l *parquetLeaf) vectorKind() vectorKind {
	t := &l.logical
	switch {
	case t.id == 0:
		return [...]vectorKind{boolVector, intVector, intVector, timeVector, floatVector,
			floatVector, bytesVector, bytesVector}[l.physical]
	case l.physical == physicalBytes &&
		(t.id == logicalString || t.id == logicalEnum || t.id == logicalJSON):
		return textVector
	case t.id == logicalDecimal && l.decimal():
		return numberVector
	case t.id == logicalDate && l.physical == physicalInt32:
		return dateVector
	case t.id == logicalTimestamp && l.physical == physicalInt64 &&
		t.unit >= millis && t.unit <= nanos:
		return timeVector
	case t.id == logicalInteger && l.physical == physicalInt64 && t.bits == 64 && !t.signed:
		return numberVector
	case t.id == logicalInteger && (l.physical == physicalInt64 && t.bits == 64 ||
		l.physical == physicalInt32 && (t.bits == 8 || t.bits == 16 || t.bits == 32)):
		return intVector
	case t.id == logicalUUID && l.physical == physicalFixed && l.width == 16:
		return uuidVector
	case t.id == logicalFloat16 && l.physical == physicalFixed && l.width == 2:
		return floatVector
	}
	return noVector
}

// decimal reports whether a DECIMAL can be read.
func (l *parquetLeaf) decimal() bool {
	t := &l.logical
	if t.scale < 0 || t.scale > maxScale || t.precision < 1 || t.scale > t.precision {
		return false
	}
	switch l.physical {
	case physicalInt32, physicalInt64, physicalBytes:
		return true
	case physicalFixed:
		return l.width <= maxDecimal
	}
	return false
}

// words names the type of a leaf for people.
func (l *parquetLeaf) words() string {
	t := &l.logical
	name := l.physical.String()
	if l.physical == physicalFixed {
		name = fmt.Sprintf("%s(%d)", name, l.width)
	}
	var text string
	switch t.id {
	case 0:
		return name
	case logicalDecimal:
		text = fmt.Sprintf("DECIMAL(%d,%d)", t.precision, t.scale)
	case logicalInteger:
		text = fmt.Sprintf("INT%d", t.bits)
		if !t.signed {
			text = "U" + text
		}
	case logicalTime, logicalTimestamp:
		unit := "an unknown unit"
		if t.unit >= millis && t.unit <= nanos {
			unit = [...]string{"milliseconds", "microseconds", "nanoseconds"}[t.unit-millis]
		}
		text = fmt.Sprintf("%s in %s", t.id, unit)
		if !t.utc {
			text += " without a zone"
		}
	default:
		text = t.id.String()
	}
	if l.kind == noVector && t.id != logicalTime {
		text += " on " + name
	}
	return text
}

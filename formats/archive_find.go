package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
)

// The columns of an archive file that every file has, by their place in a run.
const (
	colSeq = iota
	colEntry
	colAt
	colKind
	colSource
	colType
	colSubject
	colID
	colIDText
	colTime
	colDefaulted
	colOrigin
	colPartition
	colOffset
	colDigest
	colRest
	colControl
	colFault
	colRaw
	colSize
	numFixed
)

// fixedColumn is a column and the kinds that it may have. Another program may give a column a type
// that says less.
type fixedColumn struct {
	name  string
	kinds []vectorKind
}

var fixedColumns = [numFixed]fixedColumn{
	colSeq:       {"seq", []vectorKind{intVector}},
	colEntry:     {"entry", []vectorKind{intVector}},
	colAt:        {"at", []vectorKind{timeVector}},
	colKind:      {"kind", []vectorKind{textVector}},
	colSource:    {"source", []vectorKind{textVector}},
	colType:      {"type", []vectorKind{textVector}},
	colSubject:   {"subject", []vectorKind{textVector}},
	colID:        {"id", []vectorKind{textVector, uuidVector, bytesVector}},
	colIDText:    {"id_text", []vectorKind{textVector}},
	colTime:      {"time", []vectorKind{timeVector}},
	colDefaulted: {"time_defaulted", []vectorKind{boolVector}},
	colOrigin:    {"origin", []vectorKind{textVector}},
	colPartition: {"partition", []vectorKind{textVector}},
	colOffset:    {"offset", []vectorKind{intVector}},
	colDigest:    {"digest", []vectorKind{numberVector}},
	colRest:      {"rest", []vectorKind{textVector}},
	colControl:   {"control", []vectorKind{bytesVector}},
	colFault:     {"fault", []vectorKind{textVector}},
	colRaw:       {"raw", []vectorKind{bytesVector}},
	colSize:      {"size", []vectorKind{intVector}},
}

// controlWords are the kinds of rows of control entries.
func controlWords() []string {
	var words []string
	for _, body := range []engine.Body{
		&engine.Genesis{}, &engine.Rules{}, &engine.Settings{}, &engine.Source{}, &engine.Zone{},
		&engine.Change{}, &engine.Credit{}, &engine.Void{}, &engine.Watermark{}, &engine.Close{},
		&engine.Clock{}, &engine.Mark{}, &engine.Seal{},
	} {
		words = append(words, kindName(body))
	}
	return words
}

// archiveColumns says where in a file the columns are.
type archiveColumns struct {
	read  []int // indices in the file: the fixed columns, then the properties
	props []foundProperty
}

// foundProperty is a property column of a file.
type foundProperty struct {
	name string
	kind vectorKind
	at   int // in a run
}

// find looks all columns up. ours says that the file has our metadata.
func (c *archiveColumns) find(f *parquetFile, ours bool) error {
	columns := f.columns()
	at := map[string]int{}
	for i, col := range columns {
		if _, twice := at[col.name]; twice {
			return &FileError{
				Name: f.name, Group: -1, Row: -1, Column: col.name, Reason: "there are two such columns",
			}
		}
		at[col.name] = i
	}
	if !ours {
		for _, name := range []string{"seq", "entry", "kind"} {
			if _, ok := at[name]; !ok {
				return &FileError{
					Name: f.name, Group: -1, Row: -1, Reason: "it is no archive file",
					Hint: "billctl rate reads Parquet files of other programs",
				}
			}
		}
	}
	for _, fixed := range fixedColumns {
		i, ok := at[fixed.name]
		fault := &FileError{Name: f.name, Group: -1, Row: -1, Column: fixed.name}
		if !ok {
			fault.Reason = "the column is missing"
			return fault
		}
		if !slices.Contains(fixed.kinds, columns[i].kind) {
			fault.Reason = fmt.Sprintf("it is %s, which it is not in an archive", columns[i].what)
			return fault
		}
		c.read = append(c.read, i)
	}
	for i, col := range columns {
		if !strings.HasPrefix(col.name, "data.") {
			continue
		}
		switch col.kind {
		case textVector, boolVector, intVector, numberVector:
		default:
			return &FileError{
				Name: f.name, Group: -1, Row: -1, Column: col.name,
				Reason: fmt.Sprintf("it is %s, which no property is in an archive", col.what),
			}
		}
		if len(c.props) == MaxArchiveColumns {
			return &FileError{
				Name: f.name, Group: -1, Row: -1, Column: col.name,
				Reason: fmt.Sprintf("there are more than %d property columns", MaxArchiveColumns),
			}
		}
		c.props = append(c.props, foundProperty{col.name, col.kind, len(c.read)})
		c.read = append(c.read, i)
	}
	return nil
}

// schemaOf returns what columnPlan.schema returned when the file was written.
func schemaOf(columns []tableColumn) string {
	var lines []string
	for _, c := range columns {
		// Of a time, the unit must be right: another one gives other times.
		if !strings.HasPrefix(c.name, "data.") && c.kind != timeVector {
			continue
		}
		what := c.what
		switch c.kind {
		case textVector:
			what = "STRING"
		case boolVector:
			what = "BOOLEAN"
		case intVector:
			what = "INT64"
		}
		lines = append(lines, c.name+" "+what+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

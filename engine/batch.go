package engine

import "billctl/engine/decimal"

// Limits of one batch. A builder cuts a batch before it would pass any of them.
const (
	MaxRows    = 65_536
	MaxColumns = 256      // distinct (path, kind) pairs; an event with more is malformed
	MaxCells   = 1 << 21  // rows × columns, so that a batch has a bounded size in memory
	MaxRaw     = 64 << 10 // bytes kept of a malformed line
	MaxName    = 1 << 10  // bytes of a source, type, subject, id or property path
)

// Absent is the index of a row that has no value in a dictionary; absent is not "".
const Absent = ^uint32(0)

// Batch is up to MaxRows rows in columns: the unit of the journal, of group commit and of Apply.
// Rows stand in the order in which they were read. Where the rows of one stream are cut into
// batches must not show in any result.
type Batch struct {
	Len int

	Source  Dict // CloudEvents source
	Type    Dict // CloudEvents type
	Subject Dict // CloudEvents subject
	ID      Strings

	Time          []Micros // in [MinTime, MaxTime); arrival (Entry.At) where TimeDefaulted
	TimeDefaulted Bits

	Props  []Column // scalar members of data, one column a (path, kind)
	Rest   Strings  // what no column holds, as a JSON object {"escaped.path": exact text}, or empty
	Digest []uint64 // see RowDigest

	Origin    Origins
	Malformed []Malformed // rows that could not be read, by rising Row; their columns hold nothing
}

// Dict is a column of repeating strings: a row's value is Values[Index[row]], or none if Absent.
// Values are distinct. Len(Index) is the batch's Len.
type Dict struct {
	Values []string
	Index  []uint32
}

// At returns the row's value and whether there is one.
func (d *Dict) At(row int) (string, bool) {
	if i := d.Index[row]; i != Absent {
		return d.Values[i], true
	}
	return "", false
}

// Strings is a column of strings laid end to end: row r is Bytes[End[r-1]:End[r]].
type Strings struct {
	Bytes []byte
	End   []uint32
}

// At returns the bytes of a row; they alias the column.
func (s *Strings) At(row int) []byte {
	from := uint32(0)
	if row > 0 {
		from = s.End[row-1]
	}
	return s.Bytes[from:s.End[row]:s.End[row]]
}

// Bits is a set of rows; a nil or short set holds no row beyond its end.
type Bits []uint64

// Has reports whether the row is in the set.
func (b Bits) Has(row int) bool {
	w := row >> 6
	return w < len(b) && b[w]&(1<<(row&63)) != 0
}

// Set adds the row, growing the set where needed.
func (b *Bits) Set(row int) {
	for len(*b) <= row>>6 {
		*b = append(*b, 0)
	}
	(*b)[row>>6] |= 1 << (row & 63)
}

// ColumnKind tells how a property was written.
type ColumnKind uint8

// The kinds of a column. A property that is written in two ways in one batch has two columns of
// one path; at most one of them has a value in any row.
const (
	TextColumn   ColumnKind = 1 // JSON string
	NumberColumn ColumnKind = 2 // JSON number that is a decimal.Decimal
	WideColumn   ColumnKind = 3 // JSON number beyond decimal.Decimal, kept as its text
	BoolColumn   ColumnKind = 4
)

// Column is one scalar property of data over the rows of a batch.
//
// Path is the property's full path: "data." and the names of the members joined by points, with
// '.' and '\' inside a name escaped by '\'.
type Column struct {
	Path    string
	Kind    ColumnKind
	Text    Dict              // TextColumn, WideColumn
	Numbers []decimal.Decimal // NumberColumn, Len values, 0 where not Present
	Bools   Bits              // BoolColumn
	Present Bits              // NumberColumn, BoolColumn
}

// Origins tell where the rows of a batch were read. One batch has rows of one configured source.
type Origins struct {
	Source    string  // name of the source in the configuration
	Partition Dict    // what was read: a file's identity, "stdin", ...; every row has one
	Offset    []int64 // where the row begins in its partition: bytes, or a row number
	Resume    []int64 // by Partition.Values: where reading goes on after this batch
}

// Malformed is a row that is no event.
type Malformed struct {
	Row   int
	Fault string // why, for people: "duplicate key \"id\" at byte 31"
	Raw   []byte // the line, cut to MaxRaw
	Size  int64  // the line's length before the cut
}

// GreatestTime returns the greatest event time of the rows that is not after their arrival, Past if
// there is none. A single event from the future must not move a watermark.
func (b *Batch) GreatestTime(at Micros) Micros {
	greatest, bad := Past, b.Malformed
	for row, t := range b.Time {
		if len(bad) > 0 && bad[0].Row == row {
			bad = bad[1:]
		} else if t <= at {
			greatest = max(greatest, t)
		}
	}
	return greatest
}

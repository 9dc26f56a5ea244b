package formats

import (
	"billctl/engine"
	"billctl/engine/decimal"
)

// table is a file of columns, Parquet or Arrow, that is read in runs of rows.
type table interface {
	// columns returns the leaf columns of the file.
	columns() []tableColumn
	// read begins to read the columns with these indices, from the first row on.
	read(columns []int) error
	// next returns the next run of at most max rows, which never crosses a row group. The run is
	// good until the call after it. io.EOF comes behind the last row, a *FileError otherwise.
	next(max int) (*run, error)
	close() error
}

// tableColumn is a leaf column of a file.
type tableColumn struct {
	// name is the path of the column, its parts joined by points; an archive's columns have points
	// in the names themselves, which gives the same.
	name string
	kind vectorKind
	what string // its type for people: "DECIMAL(18,3)", "list of INT32"
}

// run is some rows of a file in columns.
type run struct {
	rows    int
	group   int      // row group of Parquet, record batch of Arrow; from 0
	first   int64    // number of the first row in the file, from 0
	vectors []vector // of the columns that are read, in their order
}

type vectorKind uint8

// The kinds of vectors: what the types of Parquet and Arrow come down to.
const (
	noVector     vectorKind = iota // a list, a map, an unknown type: it can't be read
	textVector                     // strings, enums, JSON
	intVector                      // integers that fit 64 bits with a sign
	numberVector                   // DECIMAL, UINT64
	floatVector                    // binary floating point
	boolVector
	timeVector  // an instant, or a time without a zone, in microseconds since 1970, floored
	dateVector  // days since 1970, in ints
	bytesVector // byte strings without a meaning
	uuidVector  // 16 bytes each, in bytes
)

// vector is one column of a run. Its fields outside of its kind are empty. Rows that are null are
// in null, and their value is zero; in text their index is engine.Absent.
type vector struct {
	kind    vectorKind
	null    engine.Bits
	text    engine.Dict // values may be there that no row has; they are not always distinct
	ints    []int64
	numbers []decimal.Decimal
	wide    map[int]string // of a numberVector: rows beyond decimal.Decimal, by their text
	floats  []float64
	bools   engine.Bits
	bytes   engine.Strings
}

package formats

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"

	"billctl/engine/decimal"
)

// ReportKind is what the cells of a report's column are.
type ReportKind uint8

// The kinds of a report's column, and how a cell is written.
const (
	ReportText    ReportKind = iota // UTF-8
	ReportWhole                     // a number of 64 bits: "-12"
	ReportDecimal                   // a plain decimal: "-0.05"; what follows its point is kept
	ReportInstant                   // RFC 3339 in UTC, of whole microseconds: "2026-04-01T00:00:00Z"
)

// Report is an answer in rows, for programs (docs/formats/whatif.md, "Rows").
type Report struct {
	Schema  string // name and version of the answer: "billctl.whatif_line.v1"
	Columns []ReportColumn
	Rows    [][]string // a cell for each column; "" where there is none
}

// ReportColumn is a column of a report.
type ReportColumn struct {
	Name string
	Kind ReportKind
}

// ReportNumber returns the cell of an exact number in a ReportDecimal column. One that has more
// than 18 digits behind the point, such as an average of 1/3, is rounded to them, half away from
// zero: columns of numbers hold no fractions.
func ReportNumber(r decimal.Rat) string {
	text := r.String()
	_, behind, _ := strings.Cut(text, ".")
	if len(behind) <= decimal.Scale && !strings.Contains(text, "/") {
		return text
	}
	text = r.Round(decimal.Scale, decimal.HalfAway).Text(decimal.Scale)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// reportForms are the forms of WriteReport.
const reportForms = "csv, jsonl, parquet, arrow"

// WriteReport writes a report as "csv", "jsonl", "parquet" or "arrow". The same report gives the
// same bytes. It fails, before it writes anything, if the form is none of these or if a cell is not
// of its column's kind or has no place in the form; and if w fails.
func WriteReport(w io.Writer, form string, r *Report) error {
	shapes, err := r.shapes()
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	switch form {
	case "csv":
		err = r.csv(w)
	case "jsonl":
		err = r.jsonl(w)
	case "parquet":
		if err = r.narrow(shapes); err == nil {
			err = r.parquet(w, shapes)
		}
	case "arrow":
		if err = r.narrow(shapes); err == nil {
			err = r.arrow(w, shapes)
		}
	default:
		err = fmt.Errorf("form %q is none of: %s", form, reportForms)
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// reportShape is what the cells of a column need together.
type reportShape struct {
	scale int // digits behind the point of a decimal
	whole int // digits before it
	row   int // that has the most of them
}

// Digits of a decimal that an INT64 and a decimal of 128 bits hold.
const (
	smallDigits = 18
	wideDigits  = 38
)

func (s *reportShape) digits() int { return s.scale + s.whole }

// shapes checks every cell and returns the shapes of the columns.
func (r *Report) shapes() ([]reportShape, error) {
	shapes := make([]reportShape, len(r.Columns))
	for row, cells := range r.Rows {
		if len(cells) != len(r.Columns) {
			return nil, fmt.Errorf("row %d has %d cells, not %d", row+1, len(cells), len(r.Columns))
		}
		for i, cell := range cells {
			if cell == "" {
				continue
			}
			if err := shapes[i].take(r.Columns[i].Kind, cell, row); err != nil {
				return nil, fmt.Errorf("row %d, column %s: %s %w", row+1, r.Columns[i].Name, quoted(cell), err)
			}
		}
	}
	return shapes, nil
}

func (s *reportShape) take(kind ReportKind, cell string, row int) error {
	switch kind {
	case ReportText:
		if !utf8.ValidString(cell) {
			return errors.New("is not UTF-8")
		}
	case ReportWhole:
		if n, err := strconv.ParseInt(cell, 10, 64); err != nil || strconv.FormatInt(n, 10) != cell {
			return errors.New("is not a number of 64 bits")
		}
	case ReportInstant:
		if _, ok := reportMicros(cell); !ok {
			return errors.New("is not an instant in UTC of whole microseconds")
		}
	case ReportDecimal:
		whole, fraction, point := strings.Cut(strings.TrimPrefix(cell, "-"), ".")
		if !allDigits(whole) || point && !allDigits(fraction) {
			return errors.New("is not a plain decimal")
		}
		s.scale = max(s.scale, len(fraction))
		if n := len(strings.TrimLeft(whole, "0")); n > s.whole {
			s.whole, s.row = n, row
		}
	default:
		panic(fmt.Sprintf("BUG: no such kind of column: %d", kind))
	}
	return nil
}

func allDigits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c < '0' || c > '9' })
}

// reportMicros reads an instant.
func reportMicros(cell string) (int64, bool) {
	t, err := time.Parse(time.RFC3339Nano, cell)
	us := t.UnixMicro()
	return us, err == nil && strings.HasSuffix(cell, "Z") && time.UnixMicro(us).Equal(t)
}

// timesTen returns a decimal times 10^scale, which is at least the decimal's own scale.
func timesTen(cell string, scale int) *big.Int {
	whole, fraction, _ := strings.Cut(cell, ".")
	n, ok := new(big.Int).SetString(whole+fraction+strings.Repeat("0", scale-len(fraction)), 10)
	if !ok {
		panic("BUG: a checked decimal is none: " + cell)
	}
	return n
}

// narrow refuses decimals that have no column type.
func (r *Report) narrow(shapes []reportShape) error {
	for i := range shapes {
		if s := &shapes[i]; s.digits() > wideDigits {
			return fmt.Errorf("row %d, column %s: the column needs %d digits, such a file holds %d; "+
				"csv and jsonl hold any number", s.row+1, r.Columns[i].Name, s.digits(), wideDigits)
		}
	}
	return nil
}

// csv writes a header and the rows as RFC 4180 has them. Cells are written as they are: nothing is
// put before one that a spreadsheet would take for a formula.
func (r *Report) csv(w io.Writer) error {
	out := bufio.NewWriter(w)
	record := func(n int, cell func(i int) string) {
		for i := range n {
			if i > 0 {
				out.WriteByte(',')
			}
			s := cell(i)
			// A record of one empty cell would be an empty line, which readers pass over.
			if strings.ContainsAny(s, "\",\r\n") || s == "" && n == 1 {
				s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
			}
			out.WriteString(s)
		}
		out.WriteString("\r\n")
	}
	record(len(r.Columns), func(i int) string { return r.Columns[i].Name })
	for _, cells := range r.Rows {
		record(len(cells), func(i int) string { return cells[i] })
	}
	return out.Flush() // which says what any write before it could not do
}

// jsonl writes an object a row: the schema, then the columns in their order. Decimals are strings.
func (r *Report) jsonl(w io.Writer) error {
	out := bufio.NewWriter(w)
	var line []byte
	for _, cells := range r.Rows {
		line = appendJSONString(append(line[:0], `{"schema":`...), r.Schema)
		for i, cell := range cells {
			line = append(appendJSONString(append(line, ','), r.Columns[i].Name), ':')
			switch {
			case cell == "":
				line = append(line, "null"...)
			case r.Columns[i].Kind == ReportWhole:
				line = append(line, cell...)
			default:
				line = appendJSONString(line, cell)
			}
		}
		out.Write(append(line, '}', '\n'))
	}
	return out.Flush() // which says what any write before it could not do
}

// reportMeta is the key under which Parquet and Arrow files have the schema's name.
const reportMeta = "billctl.schema"

// parquet writes a Parquet file. Every column is optional.
func (r *Report) parquet(w io.Writer, shapes []reportShape) error {
	columns := make([]*sinkColumn, len(r.Columns))
	for i, c := range r.Columns {
		columns[i] = reportParquet(c, &shapes[i])
	}
	out := newSink(w, "report", columns)
	for _, cells := range r.Rows {
		size := 0
		for i, cell := range cells {
			size += len(cell)
			if err := r.put(columns[i], i, cell, shapes[i].scale); err != nil {
				return err
			}
		}
		if err := out.end(1, size); err != nil {
			return err
		}
	}
	_, err := out.close([]metaPair{{reportMeta, r.Schema}})
	return err
}

func reportParquet(c ReportColumn, s *reportShape) *sinkColumn {
	out := &sinkColumn{name: c.Name, optional: true}
	code := encoding.Encoding(&parquet.DeltaBinaryPacked)
	switch {
	case c.Kind == ReportText:
		out.node, code = parquet.String(), &parquet.RLEDictionary
	case c.Kind == ReportWhole:
		out.node = parquet.Leaf(parquet.Int64Type)
	case c.Kind == ReportInstant:
		out.node = parquet.Timestamp(parquet.Microsecond)
	case s.digits() <= smallDigits:
		out.node = parquet.Decimal(s.scale, smallDigits, parquet.Int64Type)
	default:
		// The library compares such values without their sign: a least value would be wrong.
		out.unbound, out.fixed = true, true
		out.node = parquet.Decimal(s.scale, wideDigits, parquet.FixedLenByteArrayType(16))
		code = &parquet.Plain
	}
	out.node = parquet.Encoded(out.node, code)
	return out
}

// put adds a cell to a column.
func (r *Report) put(c *sinkColumn, i int, cell string, scale int) error {
	switch kind := r.Columns[i].Kind; {
	case cell == "":
		return c.null()
	case kind == ReportText:
		return c.text(cell)
	case kind == ReportDecimal && c.fixed:
		n := timesTen(cell, scale)
		if n.Sign() < 0 {
			n.Add(n, new(big.Int).Lsh(big.NewInt(1), 128)) // two's complement
		}
		return c.put(n.FillBytes(make([]byte, 16)))
	default:
		return c.int(r.int(i, cell, scale))
	}
}

// int returns what a checked cell of a number or an instant is in 64 bits.
func (r *Report) int(i int, cell string, scale int) int64 {
	switch r.Columns[i].Kind {
	case ReportWhole:
		n, err := strconv.ParseInt(cell, 10, 64)
		if err != nil {
			panic("BUG: a checked number is none: " + cell)
		}
		return n
	case ReportInstant:
		us, _ := reportMicros(cell)
		return us
	}
	return timesTen(cell, scale).Int64()
}

// arrowRows is how many rows of a report are in one record of an Arrow file.
const arrowRows = 64 << 10

// arrow writes an Arrow IPC file, not compressed.
func (r *Report) arrow(w io.Writer, shapes []reportShape) (err error) {
	fields := make([]arrow.Field, len(r.Columns))
	for i, c := range r.Columns {
		fields[i] = arrow.Field{Name: c.Name, Nullable: true}
		switch c.Kind {
		case ReportText:
			fields[i].Type = arrow.BinaryTypes.String
		case ReportWhole:
			fields[i].Type = arrow.PrimitiveTypes.Int64
		case ReportInstant:
			fields[i].Type = arrow.FixedWidthTypes.Timestamp_us
		case ReportDecimal:
			fields[i].Type = &arrow.Decimal128Type{Precision: wideDigits, Scale: int32(shapes[i].scale)}
		}
	}
	meta := arrow.NewMetadata([]string{reportMeta}, []string{r.Schema})
	schema := arrow.NewSchema(fields, &meta)
	file, err := ipc.NewFileWriter(&writeSeeker{out: w}, ipc.WithSchema(schema))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	rows := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer rows.Release()
	for chunk := range slices.Chunk(r.Rows, arrowRows) {
		for _, cells := range chunk {
			for i, cell := range cells {
				r.build(rows.Field(i), i, cell, shapes[i].scale)
			}
		}
		record := rows.NewRecord()
		err := file.Write(record)
		record.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// build adds a cell to a column.
func (r *Report) build(b array.Builder, i int, cell string, scale int) {
	if cell == "" {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(cell)
	case *array.Int64Builder:
		b.Append(r.int(i, cell, scale))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(r.int(i, cell, scale)))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(timesTen(cell, scale)))
	default:
		panic(fmt.Sprintf("BUG: no such column: %T", b))
	}
}

// writeSeeker tells a writer of files where it is: it asks, and goes nowhere else.
type writeSeeker struct {
	out io.Writer
	at  int64
}

func (w *writeSeeker) Write(b []byte) (int, error) {
	n, err := w.out.Write(b)
	w.at += int64(n)
	return n, err
}

// Seek returns the present offset; it fails for any other.
func (w *writeSeeker) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("seek: it is written from its beginning to its end")
	}
	return w.at, nil
}

package formats

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/parquet-go/parquet-go"

	"billctl/engine/decimal"
)

// TestReportNumber wants every exact number to have a cell that all forms take.
func TestReportNumber(t *testing.T) {
	one := decimal.Int(1)
	for _, c := range []struct {
		number decimal.Rat
		want   string
	}{
		{decimal.Ratio(1234567, 1), "1234567"}, {decimal.Ratio(-5, 4), "-1.25"},
		{decimal.Ratio(1, 3), "0.333333333333333333"}, {decimal.Ratio(-2, 3), "-0.666666666666666667"},
		{one.Quo(decimal.Int(1 << 40)), "0.000000000000909495"},
		{decimal.Int(7).Quo(decimal.Int(1e18)).Quo(decimal.Int(30)), "0"},
		{decimal.Int(99).Add(one.Quo(decimal.Int(-3e18))), "99"}, {decimal.Rat{}, "0"},
	} {
		cell := ReportNumber(c.number)
		if cell != c.want {
			t.Errorf("%s has the cell %s, want %s", c.number, cell, c.want)
		}
		for _, form := range strings.Split(reportForms, ", ") {
			err := WriteReport(io.Discard, form, &Report{
				Schema: "s", Columns: []ReportColumn{{"n", ReportDecimal}}, Rows: [][]string{{cell}},
			})
			if err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
	}
}

// randomReport returns a report of every kind of column. Decimals have up to digits digits.
func randomReport(r *rand.Rand, digits int) *Report {
	out := &Report{
		Schema: "billctl.test.v1",
		Columns: []ReportColumn{
			{"zone", ReportText}, {"account", ReportText}, {"lines", ReportWhole},
			{"difference", ReportDecimal}, {"at", ReportInstant}, {"billed", ReportDecimal},
		},
	}
	texts := []string{"", "acme", `a "b", c`, "two\nlines", "=1+1", "é\u2028", " padded "}
	decimalText := func(digits int) string {
		n := make([]byte, 1+r.IntN(digits))
		for i := range n {
			n[i] = byte('0' + r.IntN(10))
		}
		at := r.IntN(len(n))
		s := strings.TrimLeft(string(n[:len(n)-at]), "0")
		if s == "" {
			s = "0"
		}
		if at > 0 {
			s += "." + string(n[len(n)-at:])
		}
		if r.IntN(2) == 0 && strings.Trim(s, "0.") != "" {
			s = "-" + s
		}
		return s
	}
	for range r.IntN(300) {
		at := time.UnixMicro(r.Int64N(4e15)).UTC().Format(time.RFC3339Nano)
		cells := []string{
			texts[r.IntN(len(texts))], fmt.Sprint("acct", r.IntN(20)),
			fmt.Sprint(r.Int64() - r.Int64()), decimalText(digits/2 + 1), at, decimalText(6),
		}
		if r.IntN(10) == 0 {
			cells[2+r.IntN(4)] = ""
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}

// same compares cells as numbers where they are numbers: files have one scale for a column.
func same(kind ReportKind, a, b string) bool {
	if kind != ReportDecimal || a == "" || b == "" {
		return a == b
	}
	x, ok := new(big.Rat).SetString(a)
	y, good := new(big.Rat).SetString(b)
	return ok && good && x.Cmp(y) == 0
}

func TestReportReadBack(t *testing.T) {
	for seed := range uint64(30 * *randomTimes) {
		r := rand.New(rand.NewPCG(seed, 0x5e90))
		want := randomReport(r, []int{4, 18, 36}[seed%3])
		for form, read := range map[string]func([]byte) ([][]string, error){
			"csv": readReportCSV, "jsonl": readReportJSONL, "parquet": readReportParquet,
			"arrow": readReportArrow,
		} {
			var b, again bytes.Buffer
			if err := errors.Join(WriteReport(&b, form, want), WriteReport(&again, form, want)); err != nil {
				t.Fatalf("seed %d, %s: %v", seed, form, err)
			}
			if !bytes.Equal(b.Bytes(), again.Bytes()) {
				t.Errorf("seed %d: %s differs from itself", seed, form)
			}
			got, err := read(b.Bytes())
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, form, err)
			}
			if len(got) != len(want.Rows) {
				t.Fatalf("seed %d, %s: %d rows, want %d", seed, form, len(got), len(want.Rows))
			}
			for i := range got {
				for j, c := range want.Columns {
					if !same(c.Kind, got[i][j], want.Rows[i][j]) {
						t.Fatalf("seed %d, %s, row %d, %s: %q, want %q", seed, form, i+1, c.Name, got[i][j],
							want.Rows[i][j])
					}
				}
			}
		}
	}
}

func readReportCSV(b []byte) ([][]string, error) {
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || strings.Join(rows[0], ",") != "zone,account,lines,difference,at,billed" {
		return nil, fmt.Errorf("header %q: %w", rows, err)
	}
	return rows[1:], nil
}

func readReportJSONL(b []byte) (rows [][]string, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		var o map[string]any
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return nil, err
		}
		if o["schema"] != "billctl.test.v1" || len(o) != 7 {
			return nil, fmt.Errorf("an object is %v", o)
		}
		var cells []string
		for _, name := range []string{"zone", "account", "lines", "difference", "at", "billed"} {
			cell := ""
			switch v := o[name].(type) {
			case string:
				cell = v
			case json.Number:
				cell = v.String()
				if name != "lines" {
					return nil, fmt.Errorf("%s is a number", name)
				}
			}
			cells = append(cells, cell)
		}
		rows = append(rows, cells)
	}
}

// readReportParquet reads a file as it describes itself.
func readReportParquet(b []byte) ([][]string, error) {
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	if v, _ := f.Lookup(reportMeta); v != "billctl.test.v1" {
		return nil, fmt.Errorf("the schema is %q", v)
	}
	var names []string
	fields := f.Schema().Fields()
	for _, field := range fields {
		names = append(names, field.Name())
	}
	if strings.Join(names, " ") != "zone account lines difference at billed" {
		return nil, fmt.Errorf("columns %q", names)
	}
	var rows [][]string
	r := parquet.NewReader(f)
	buf := make([]parquet.Row, 10)
	for {
		n, err := r.ReadRows(buf)
		for _, row := range buf[:n] {
			cells := make([]string, len(fields))
			for _, v := range row {
				if cells[v.Column()], err = parquetCell(fields[v.Column()].Type(), v); err != nil {
					return nil, err
				}
			}
			rows = append(rows, cells)
		}
		if errors.Is(err, io.EOF) || n == 0 {
			return rows, r.Close()
		}
	}
}

func parquetCell(t parquet.Type, v parquet.Value) (string, error) {
	if v.IsNull() {
		return "", nil
	}
	text := t.String()
	if strings.HasPrefix(text, "DECIMAL") {
		i := strings.Index(text, ",")
		scale, err := strconv.Atoi(strings.Trim(text[i+1:], ") "))
		if err != nil {
			return "", err
		}
		n := big.NewInt(v.Int64())
		if v.Kind() == parquet.FixedLenByteArray {
			n.SetBytes(v.ByteArray())
			if n.Bit(127) == 1 {
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 128))
			}
		}
		power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
		return new(big.Rat).SetFrac(n, power).FloatString(scale), nil
	}
	switch {
	case text == "STRING":
		return v.String(), nil
	case text == "INT(64,true)":
		return fmt.Sprint(v.Int64()), nil
	case strings.Contains(text, "isAdjustedToUTC=true") && strings.Contains(text, "MICROS"):
		return time.UnixMicro(v.Int64()).UTC().Format(time.RFC3339Nano), nil
	}
	return "", fmt.Errorf("a column is %s", text)
}

func readReportArrow(b []byte) ([][]string, error) {
	f, err := ipc.NewFileReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if v, _ := f.Schema().Metadata().GetValue(reportMeta); v != "billctl.test.v1" {
		return nil, fmt.Errorf("the schema is %q", v)
	}
	var rows [][]string
	for i := range f.NumRecords() {
		rec, err := f.Record(i)
		if err != nil {
			return nil, err
		}
		for row := range int(rec.NumRows()) {
			var cells []string
			for _, c := range rec.Columns() {
				cells = append(cells, arrowCell(c, row))
			}
			rows = append(rows, cells)
		}
	}
	return rows, f.Close()
}

func arrowCell(c arrow.Array, row int) string {
	switch {
	case c.IsNull(row):
		return ""
	case c.DataType().ID() == arrow.TIMESTAMP:
		us := int64(c.(*array.Timestamp).Value(row))
		return time.UnixMicro(us).UTC().Format(time.RFC3339Nano)
	case c.DataType().ID() == arrow.DECIMAL128:
		scale := c.DataType().(*arrow.Decimal128Type).Scale
		return c.(*array.Decimal128).Value(row).ToString(scale)
	}
	return c.ValueStr(row)
}

// TestReportBounds: least and greatest values of decimals are right or are not there.
func TestReportBounds(t *testing.T) {
	for _, tt := range []struct {
		cells []string
		bound bool
	}{
		{[]string{"0.01", "-0.08", ""}, true},
		{[]string{"0.01", "-0.08", "12345678901234567890"}, false},
	} {
		r := &Report{Columns: []ReportColumn{{"d", ReportDecimal}}}
		for _, c := range tt.cells {
			r.Rows = append(r.Rows, []string{c})
		}
		var b bytes.Buffer
		if err := WriteReport(&b, "parquet", r); err != nil {
			t.Fatal(err)
		}
		f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		chunk := f.Metadata().RowGroups[0].Columns[0].MetaData
		if got := len(chunk.Statistics.MinValue) > 0; got != tt.bound {
			t.Errorf("%q: bounds %v, want %v", tt.cells, got, tt.bound)
		}
		if tt.bound {
			least := parquet.Int64Type // little-endian, as plain values are
			if v := least.Kind().Value(chunk.Statistics.MinValue); v.Int64() != -8 {
				t.Errorf("the least is %v", v)
			}
		}
	}
}

func TestReportBytes(t *testing.T) {
	one := &Report{Schema: "s.v1", Columns: []ReportColumn{{"a", ReportText}}, Rows: [][]string{
		{""}, {"x"}, {"a\r\nb"}, {"=cmd"}, {`q"`}, {"a\rb"},
	}}
	none := &Report{Schema: "s.v1", Columns: []ReportColumn{{"a", ReportText}, {"b", ReportWhole}}}
	for _, tt := range []struct {
		report     *Report
		form, want string
	}{
		{one, "csv", "a\r\n\"\"\r\nx\r\n\"a\r\nb\"\r\n=cmd\r\n\"q\"\"\"\r\n\"a\rb\"\r\n"},
		{one, "jsonl", `{"schema":"s.v1","a":null}` + "\n" + `{"schema":"s.v1","a":"x"}` + "\n" +
			`{"schema":"s.v1","a":"a\u000d\u000ab"}` + "\n" + `{"schema":"s.v1","a":"=cmd"}` + "\n" +
			`{"schema":"s.v1","a":"q\""}` + "\n" + `{"schema":"s.v1","a":"a\u000db"}` + "\n"},
		{none, "csv", "a,b\r\n"},
		{none, "jsonl", ""},
	} {
		var b bytes.Buffer
		if err := WriteReport(&b, tt.form, tt.report); err != nil || b.String() != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.form, b.String(), err, tt.want)
		}
	}
	for _, form := range []string{"parquet", "arrow"} {
		var b bytes.Buffer
		if err := WriteReport(&b, form, none); err != nil || b.Len() == 0 {
			t.Errorf("%s of no rows: %d bytes, %v", form, b.Len(), err)
		}
	}
}

// failing is a writer that holds so many bytes.
type failing int

func (f *failing) Write(b []byte) (int, error) {
	if *f -= failing(len(b)); *f < 0 {
		return 0, errors.New("no room")
	}
	return len(b), nil
}

func TestReportFaults(t *testing.T) {
	columns := []ReportColumn{
		{"text", ReportText}, {"whole", ReportWhole}, {"decimal", ReportDecimal}, {"at", ReportInstant},
	}
	good := []string{"t", "1", "1.00", "2026-04-01T00:00:00Z"}
	for _, tt := range []struct {
		at         int
		cell, form string
		want       string
	}{
		{0, "\xff", "csv", `row 2, column text: "\xff" is not UTF-8`},
		{1, "1.5", "csv", `row 2, column whole: "1.5" is not a number of 64 bits`},
		{1, "9223372036854775808", "jsonl", "is not a number of 64 bits"},
		{1, "+1", "jsonl", "is not a number of 64 bits"},
		{2, "1e3", "csv", `row 2, column decimal: "1e3" is not a plain decimal`},
		{2, ".5", "csv", "is not a plain decimal"},
		{2, "5.", "csv", "is not a plain decimal"},
		{2, "--5", "csv", "is not a plain decimal"},
		{2, strings.Repeat("9", 37), "parquet", "row 2, column decimal: the column needs 39 digits"},
		{2, strings.Repeat("9", 37), "arrow", "csv and jsonl hold any number"},
		{2, strings.Repeat("9", 37), "csv", ""},
		{2, strings.Repeat("9", 36), "arrow", ""},
		{3, "2026-04-01", "csv", "is not an instant in UTC of whole microseconds"},
		{3, "2026-04-01T00:00:00+02:00", "csv", "is not an instant in UTC"},
		{3, "2026-04-01T00:00:00.0000001Z", "csv", "is not an instant in UTC"},
		{0, "t", "xml", `form "xml" is none of: csv, jsonl, parquet, arrow`},
	} {
		bad := slices.Clone(good)
		bad[tt.at] = tt.cell
		var b bytes.Buffer
		err := WriteReport(&b, tt.form, &Report{Columns: columns, Rows: [][]string{good, bad}})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%q as %s: %v", tt.cell, tt.form, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || b.Len() > 0):
			t.Errorf("%q as %s: %v with %d bytes, want %s", tt.cell, tt.form, err, b.Len(), tt.want)
		}
	}
	r := &Report{Columns: columns, Rows: [][]string{good, good[:3]}}
	if err := WriteReport(io.Discard, "csv", r); err == nil {
		t.Error("a row without its last cell is taken")
	}
	for _, form := range strings.Split(reportForms, ", ") {
		var whole bytes.Buffer
		r := &Report{Columns: columns, Rows: [][]string{good, good}}
		if err := WriteReport(&whole, form, r); err != nil {
			t.Fatal(err)
		}
		for room := 0; room < whole.Len(); room += 1 + whole.Len()/1000 {
			w := failing(room)
			if err := WriteReport(&w, form, r); err == nil {
				t.Fatalf("%s: a writer of %d bytes takes %d", form, room, whole.Len())
			}
		}
	}
}

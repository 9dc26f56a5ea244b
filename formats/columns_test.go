package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"billctl/engine"
)

// columnFile writes a stream of columns "name type", each with its values in JSON.
func columnFile(t testing.TB, columns ...any) []byte {
	t.Helper()
	mem := memory.NewGoAllocator()
	var fields []arrow.Field
	var arrays []arrow.Array
	for i := 0; i < len(columns); i += 3 {
		typ := columns[i+1].(arrow.DataType)
		fields = append(fields, arrow.Field{Name: columns[i].(string), Type: typ, Nullable: true})
		a, _, err := array.FromJSON(mem, typ, strings.NewReader(columns[i+2].(string)))
		if err != nil {
			t.Fatalf("%v: %v", columns[i], err)
		}
		arrays = append(arrays, a)
	}
	schema := arrow.NewSchema(fields, nil)
	record := array.NewRecord(schema, arrays, int64(arrays[0].Len()))
	return writeArrow(t, schema, true, []ipc.Option{ipc.WithAllocator(mem)}, func(w arrowWriter) {
		if err := w.Write(record); err != nil {
			t.Fatal(err)
		}
	})
}

// showMapped writes events and malformed rows.
func showMapped(batches []*engine.Batch) string {
	var s strings.Builder
	for _, b := range batches {
		bad := badRows(b)
		for row := range b.Len {
			if !bad.Has(row) {
				one := *b
				one.Malformed = nil
				fmt.Fprintf(&s, "%d %s %s", b.Origin.Offset[row], b.ID.At(row), "")
				v, _ := b.Source.At(row)
				typ, _ := b.Type.At(row)
				subject, _ := b.Subject.At(row)
				at := b.Time[row].String()
				if b.TimeDefaulted.Has(row) {
					at = "arrival"
				}
				fmt.Fprintf(&s, "%s %s %s %s", v, typ, subject, at)
				props := rowProps(b, row)
				for _, path := range sortedKeys(props) {
					fmt.Fprintf(&s, " %s=%s", path, props[path])
				}
				s.WriteByte('\n')
			}
		}
		for _, m := range b.Malformed {
			fmt.Fprintf(&s, "%d MALFORMED %s %s\n", b.Origin.Offset[m.Row], m.Fault, m.Raw)
		}
	}
	return s.String()
}

func text() arrow.DataType { return arrow.BinaryTypes.String }

// TestRowsMapped reads a foreign file with every kind of fault.
func TestRowsMapped(t *testing.T) {
	p := arrow.PrimitiveTypes
	data := columnFile(t,
		"order", p.Int64, `[1,2,3,4,5,6,7,8]`,
		"line", text(), `["a/b","b","c","d",null,"f","g","h"]`,
		"who", text(), `["u","u","",null,"u","v","v","v"]`,
		"ts", &arrow.TimestampType{Unit: arrow.Microsecond}, `["2026-07-01 00:00:00",`+
			`"2026-03-29 02:30:00","2026-01-01 00:00:00","2026-01-01 00:00:00","2026-01-01 00:00:00",`+
			`null,"2250-01-01 00:00:00","2026-01-01 00:00:00"]`,
		"n", p.Float32, `[0.1,0.1,1,1,1,1e9,1,2]`,
		"usage", arrow.StructOf(
			arrow.Field{Name: "in", Type: p.Uint64, Nullable: true},
			arrow.Field{Name: "deep", Nullable: true, Type: arrow.StructOf(
				arrow.Field{Name: "x.y", Type: arrow.FixedWidthTypes.Boolean, Nullable: true})},
		), `[{"in":1,"deep":{"x.y":true}},null,null,null,null,{"in":null,"deep":null},null,`+
			`{"in":"18446744073709551615","deep":{"x.y":false}}]`,
	)
	m := &Mapping{
		ID: []string{"$.order", "$.line"}, Type: MappedValue{Const: "sale"},
		Subject: MappedValue{Path: "$.who"},
		Time:    MappedTime{Path: "$.ts", Layout: "2006-01-02 15:04:05", Zone: "Europe/Berlin"},
		Data:    map[string]string{"n": "$.n", "u.v": "$.usage"},
	}
	want := `0 1/a\/b usage sale u 2026-06-30T22:00:00Z data.n=number 0.1 ` +
		`data.u\.v.deep.x.y=bool true data.u\.v.in=number 1
5 6/f usage sale v arrival data.n=number 1000000000
7 8/h usage sale v 2025-12-31T23:00:00Z data.n=number 2 ` +
		`data.u\.v.deep.x.y=bool false data.u\.v.in=number 18446744073709551615
1 MALFORMED time "2026-03-29T02:30:00" does not exist in Europe/Berlin in $.ts
2 MALFORMED row has no subject: nothing in $.who
3 MALFORMED row has no subject: nothing in $.who
4 MALFORMED row has no id: nothing in $.line
6 MALFORMED time "2250-01-01T00:00:00" is not in 1970 to 2199 in $.ts
`
	o := RowOptions{Source: "usage", Partition: "p", Mapping: m}
	got := showMapped(allBatches(t, data, o))
	plain := ""
	for line := range strings.Lines(got) {
		line, _, _ = strings.Cut(line, " {")
		plain += strings.TrimSuffix(line, "\n") + "\n"
	}
	if plain != want {
		t.Errorf("got\n%s\nwant\n%s", plain, want)
	}
	if raw := `{"order":2,"line":"b","who":"u","ts":"2026-03-29T02:30:00","n":"0.1",` +
		`"usage.in":null,"usage.deep.x.y":null}`; !strings.Contains(got, raw) {
		t.Errorf("no %s in\n%s", raw, got)
	}
}

// TestRowsOfFarDates reads dates of events as far as the type goes. Some are whole turns of 64 bits
// away in microseconds.
func TestRowsOfFarDates(t *testing.T) {
	days := []int64{
		20454, 0, 84005, 84006, -1, -365, -213482000, -106751992, 106751992, 213503982,
		213503983, 213524000, -213504000, math.MinInt32, math.MaxInt32,
	}
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York"} {
		for _, day := range days {
			one := func(s string) string { return `["` + s + `"]` }
			data := columnFile(t, "id", text(), one("1"), "who", text(), one("u"),
				"on", arrow.PrimitiveTypes.Date32, fmt.Sprintf("[%d]", day))
			m := &Mapping{
				ID: []string{"$.id"}, Type: MappedValue{Const: "sale"},
				Subject: MappedValue{Path: "$.who"},
				Time:    MappedTime{Path: "$.on", Layout: "2006-01-02", Zone: zone},
			}
			got := showMapped(allBatches(t, data, RowOptions{Source: "s", Mapping: m}))
			// 84005 is the last day of 2199. Midnight in Berlin is in UTC still on the day before.
			good := day >= 0 && day <= 84005
			if zone == "Europe/Berlin" {
				good = day > 0 && day <= 84006
			}
			if bad := strings.Contains(got, "is not in 1970 to 2199"); bad == good {
				t.Errorf("day %d in %s: %s", day, zone, got)
			}
			if far := fmt.Sprintf("%q", dateText(day)); !good && !strings.Contains(got, far) {
				t.Errorf("day %d in %s: no %s in %s", day, zone, far, got)
			}
		}
	}
}

// TestRowsAreThoseOfLines reads the same rows from columns and from JSON, by the same mapping.
func TestRowsAreThoseOfLines(t *testing.T) {
	p := arrow.PrimitiveTypes
	data := columnFile(t, "id", text(), `["a","b","c"]`, "s", text(), `["u","v","u"]`,
		"k", text(), `["t","t","x"]`, "ts", p.Int64, `["1767225600","1767225601",null]`,
		"n", p.Float64, `[0.1,1e-9,1e300]`, "t", text(), `["x","",null]`,
		"b", arrow.FixedWidthTypes.Boolean, `[true,null,false]`,
		"d", &arrow.Decimal128Type{Precision: 20, Scale: 2}, `["1.50","-2","0"]`)
	lines := `{"id":"a","s":"u","k":"t","ts":1767225600,"n":0.1,"t":"x","b":true,"d":1.50}
{"id":"b","s":"v","k":"t","ts":"1767225601","n":1e-9,"t":"","d":-2.00}
{"id":"c","s":"u","k":"x","n":1e+300,"b":false,"d":0}
`
	m := &Mapping{
		ID: []string{"$.id"}, Type: MappedValue{Path: "$.k"}, Subject: MappedValue{Path: "$.s"},
		Source: MappedValue{Const: "fix"}, Time: MappedTime{Path: "$.ts", Layout: UnixSeconds},
		Data: map[string]string{"n": "$.n", "t": "$.t", "b": "$.b", "d": "$.d"},
	}
	want := showEvents(decodeEvents(t, newEventDecoder(t, NDJSON, m), NewBuilder("usage", Limits{}),
		Chunk{Partition: "p", Data: []byte(lines), Last: true}))
	for rows := 1; rows < 4; rows++ {
		got := showEvents(allBatches(t, data, RowOptions{
			Source: "usage", Partition: "p", Mapping: m, Limits: Limits{Rows: rows},
		}))
		sameRows(t, fmt.Sprint("rows ", rows), got, want)
	}
}

// TestRowsRefused shows what a file lacks, in words.
func TestRowsRefused(t *testing.T) {
	p := arrow.PrimitiveTypes
	list := arrow.ListOf(p.Int32)
	data := columnFile(t, "id", text(), `["1"]`, "f", p.Float64, `[1]`, "l", list, `[[1]]`,
		"n", p.Int64, `[1]`, "x", text(), `["1"]`, "x", text(), `["1"]`)
	base := func(change func(*Mapping)) *Mapping {
		m := &Mapping{
			ID: []string{"$.id"}, Type: MappedValue{Const: "t"}, Subject: MappedValue{Path: "$.id"},
		}
		change(m)
		return m
	}
	for _, c := range []struct {
		m    *Mapping
		want string
	}{
		{nil, `u.arrow: no column "source", so the rows are no CloudEvents; the columns are "id", ` +
			`"f", "l", "n", "x", "x" | say by a mapping which columns make an event`},
		{base(func(m *Mapping) { m.Subject.Path = "$.who" }),
			`u.arrow: no column "who"; the columns are "id", "f", "l", "n", "x", "x" | correct the mapping`},
		{base(func(m *Mapping) { m.Subject.Path = "$.l" }), `u.arrow: column "l": list of int32 ` +
			`can't be the subject | write it as text or an integer, or name another column`},
		{base(func(m *Mapping) { m.ID[0] = "$.f" }), `u.arrow: column "f": float64 can't be ` +
			`the part of the id | write it as text or an integer, or name another column`},
		{base(func(m *Mapping) { m.Data = map[string]string{"a": "$.l"} }),
			`u.arrow: column "l": list of int32 can't be the property "data.a" ` +
				`| write its values as columns of their own, or as text`},
		{base(func(m *Mapping) { m.Time.Path = "$.n" }), `u.arrow: column "n": int64 can't be the ` +
			`time | say by the mapping what it counts: layout: unix or layout: unix_ms`},
		{base(func(m *Mapping) { m.Type = MappedValue{Path: "$.x"} }),
			`u.arrow: column "x": the column is there twice | rename one of them`},
		{base(func(m *Mapping) { m.ID[0] = FilePart }),
			"read u.arrow: ids from the file's content need its identity | "},
		{&Mapping{}, "read u.arrow: check mapping: id is missing: name the fields that make it, " +
			"or use [$.file, $.row] for finite files | "},
	} {
		_, err := OpenRows("u.arrow", bytes.NewReader(data), int64(len(data)), RowOptions{Mapping: c.m})
		var fault *FileError
		hint := ""
		if errors.As(err, &fault) {
			hint = fault.Hint
		}
		if got := fmt.Sprintf("%v | %s", err, hint); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	for _, s := range []string{
		"", "PAR", "hello, world", "\x1f\x8b\x08\x00\x00\x00\x00\x00", "ARROW1\x00\x00",
	} {
		_, err := OpenRows("u", strings.NewReader(s), int64(len(s)), RowOptions{})
		if err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// TestRowsOfEvents reads CloudEvents: a struct data, rest, rows of other kinds, and faults.
func TestRowsOfEvents(t *testing.T) {
	p := arrow.PrimitiveTypes
	data := columnFile(t,
		"kind", text(), `["event","seal","event",null,"event","event","event","event","event"]`,
		"id", text(), `["1","2","3","4","5",null,"","8","9"]`,
		"source", text(), `["/s","/s","/s","/s","/s","/s","/s","/s","/s"]`,
		"type", text(), `["t","t","t","t","t","t","t","t","t"]`,
		"subject", text(), `["u","u","u","u","u","u","u","u","u"]`,
		"time", text(), `["2026-01-01T00:00:00Z",null,null,null,"yesterday",null,null,null,null]`,
		"data", arrow.StructOf(arrow.Field{Name: "n", Type: p.Int64, Nullable: true}),
		`[{"n":1},{"n":1},null,{"n":1},{"n":1},{"n":1},{"n":1},{"n":1},{"n":1}]`,
		"rest", text(), `["{\"data.x\": 5, \"data.tags\":[1, 2], \"tenant\":\"a\"}",null,"{}",null,null,`+
			`null,null,"{\"data.n\":1}","{\"id\":1}"]`,
		"other", list(), `[[],[],[],[],[],[],[],[],[]]`)
	got := showMapped(allBatches(t, data, RowOptions{Source: "usage", Partition: "p"}))
	for _, want := range []string{
		"0 1 /s t u 2026-01-01T00:00:00Z data.n=number 1 data.x=number 5\n",
		"2 3 /s t u arrival\n",
		"4 MALFORMED time \"yesterday\" is not YYYY-MM-DDThh:mm:ss {",
		"5 MALFORMED event has no id {", "6 MALFORMED id is empty {",
		`7 MALFORMED property "data.n" is in rest and in a column {`,
		`8 MALFORMED rest holds "id", which has a column of its own {`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 7 {
		t.Errorf("%d rows:\n%s", n, got)
	}
	b := allBatches(t, data, RowOptions{})[0]
	if rest := string(b.Rest.At(0)); rest != `{"data.tags":[1,2],"tenant":"a"}` {
		t.Error(rest)
	}
}

func list() arrow.DataType { return arrow.ListOf(arrow.PrimitiveTypes.Int32) }

// TestRowsOfArchive bills an archive: its events, and nothing of the journal's own.
func TestRowsOfArchive(t *testing.T) {
	batches := eventBatches(t, []byte(handmadeEvents()), Limits{Rows: 5})
	const at = 1_800_000_000_000_000
	entries := []*engine.Entry{{Seq: 1, At: at, Body: &engine.Watermark{W: 5}}}
	next := engine.Seq(2)
	for _, b := range batches {
		entries = append(entries, &engine.Entry{Seq: next, At: at, Body: b})
		next += engine.Seq(b.Len)
	}
	entries = append(entries, &engine.Entry{Seq: next, At: at, Body: &engine.Mark{}})
	var out bytes.Buffer
	_, err := WriteArchive(&out, engine.Genesis{}, func(yield func(*engine.Entry) error) error {
		for _, e := range entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := showEvents(allBatches(t, out.Bytes(), RowOptions{Source: "x", Limits: Limits{Rows: 3}}))
	sameRows(t, "archive", got, showEvents(batches))
}

// TestRowsOfManyProperties cuts a run into batches that hold its columns, and refuses an event with
// too many.
func TestRowsOfManyProperties(t *testing.T) {
	var ids, rest []string
	for i := range 40 {
		ids = append(ids, fmt.Sprintf("%q", fmt.Sprint(i)))
		n := 20
		if i == 7 {
			n = engine.MaxColumns
		}
		object := "{"
		for j := range n {
			object += fmt.Sprintf(`%s"data.p%d":%d`, strings.Repeat(",", min(j, 1)), i*20+j, j)
		}
		rest = append(rest, fmt.Sprintf("%q", object+"}"))
	}
	array := func(s []string) string { return "[" + strings.Join(s, ",") + "]" }
	same := array(ids)
	data := columnFile(t, "id", text(), same, "source", text(), same, "type", text(), same,
		"subject", text(), same, "rest", text(), array(rest),
		"data.one", text(), same)
	batches := allBatches(t, data, RowOptions{Source: "usage", Partition: "p"})
	got := showMapped(batches)
	if len(batches) < 4 || strings.Count(got, "MALFORMED") != 1 ||
		!strings.Contains(got, "7 MALFORMED event has more than 256 properties") {
		t.Errorf("%d batches:\n%s", len(batches), got)
	}
	for i, b := range batches {
		last := b.Origin.Offset[b.Len-1] + 1
		if b.Origin.Resume[0] != last || i > 0 && batches[i-1].Origin.Resume[0] != b.Origin.Offset[0] {
			t.Errorf("batch %d: rows %d to %d, resume %v", i, b.Origin.Offset[0], last, b.Origin.Resume)
		}
	}
}

// TestFloatText compares with the rules of JSON writers.
func TestFloatText(t *testing.T) {
	for _, c := range []struct {
		x     float64
		short bool
		want  string
	}{
		{0, false, "0"}, {0.1, false, "0.1"}, {float64(float32(0.1)), true, "0.1"}, {1e20, false,
			"100000000000000000000"}, {1e21, false, "1e+21"}, {1e-7, false, "1e-7"}, {1e-10, false, "1e-10"},
		{5e-324, false, "5e-324"}, {-2.5, false, "-2.5"}, {1 << 53, false, "9007199254740992"},
	} {
		got, fault := appendFloat(nil, c.x, c.short)
		if string(got) != c.want || fault != "" {
			t.Errorf("%v: got %s %s, want %s", c.x, got, fault, c.want)
		}
	}
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, fault := appendFloat(nil, x, false); !strings.Contains(fault, "is no number") {
			t.Error(x, fault)
		}
	}
}

// TestRowsDamaged damages files of events: rows are refused or read, and there is no panic.
func TestRowsDamaged(t *testing.T) {
	r := eventRand(t)
	batches := eventBatches(t, []byte(handmadeEvents()), Limits{})
	for _, format := range []Format{Arrow, Parquet} {
		var out bytes.Buffer
		if _, _, err := WriteEvents(&out, format, yielding(batches)); err != nil {
			t.Fatal(err)
		}
		for range 600 {
			data := bytes.Clone(out.Bytes())
			data[r.IntN(len(data))] ^= byte(1 + r.IntN(255))
			rows, err := OpenRows("x", bytes.NewReader(data), int64(len(data)), RowOptions{Source: "s"})
			if err != nil {
				continue
			}
			for err == nil {
				var b *engine.Batch
				if b, err = rows.Next(); err == nil {
					checkBatch(t, b)
				}
			}
			var fault *FileError
			if err != io.EOF && !errors.As(err, &fault) {
				t.Fatalf("%s: not a FileError: %v", format, err)
			}
			closeRows(t, rows)
		}
	}
}

func BenchmarkOpenRows(b *testing.B) {
	const rows = 200_000
	batches := eventBatches(b, benchmarkLines(rows), Limits{})
	for _, format := range []Format{Arrow, Parquet} {
		var out bytes.Buffer
		if _, _, err := WriteEvents(&out, format, yielding(batches)); err != nil {
			b.Fatal(err)
		}
		b.Run(format.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := OpenRows("x", bytes.NewReader(out.Bytes()), int64(out.Len()), RowOptions{})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for {
					batch, err := r.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					n += batch.Len
					r.Recycle(batch)
				}
				if n != rows {
					b.Fatal(n)
				}
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

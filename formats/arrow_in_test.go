package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"billctl/engine"
)

// arrowCase is a column as the library writes it, and what we read, one text a row.
type arrowCase struct {
	name   string
	typ    arrow.DataType
	values string // JSON
	want   string // nil where null
	what   string
}

func arrowCases() []arrowCase {
	dict := func(index, value arrow.DataType) arrow.DataType {
		return &arrow.DictionaryType{IndexType: index, ValueType: value}
	}
	p, f := arrow.PrimitiveTypes, arrow.FixedWidthTypes
	return []arrowCase{
		{"i8", p.Int8, `[-128,null,127]`, "-128 nil 127", "int8"},
		{"i16", p.Int16, `[-32768,null,32767]`, "-32768 nil 32767", "int16"},
		{"i32", p.Int32, `[-2147483648,null,7]`, "-2147483648 nil 7", "int32"},
		{"i64", p.Int64, `["-9223372036854775808",null,"7"]`, "-9223372036854775808 nil 7", "int64"},
		{"u8", p.Uint8, `[255,null,0]`, "255 nil 0", "uint8"},
		{"u16", p.Uint16, `[65535,null,0]`, "65535 nil 0", "uint16"},
		{"u32", p.Uint32, `[4294967295,null,0]`, "4294967295 nil 0", "uint32"},
		{"u64", p.Uint64, `["18446744073709551615",null,"1"]`, "18446744073709551615 nil 1", "uint64"},
		{"f32", p.Float32, `[0.1,null,-1.5]`, "0.1 nil -1.5", "float32"},
		{"f64", p.Float64, `[0.1,null,1e-9]`, "0.1 nil 1e-9", "float64"},
		{"f16", f.Float16, `[0.5,null,-2]`, "0.5 nil -2", "float16"},
		{"b", f.Boolean, `[true,null,false]`, "true nil false", "bool"},
		{"s", arrow.BinaryTypes.String, `["",null,"é"]`, " nil é", "string"},
		{"ls", arrow.BinaryTypes.LargeString, `["x",null,"yy"]`, "x nil yy", "large_string"},
		{"sv", arrow.BinaryTypes.StringView, `["short",null,"a text of more than twelve bytes"]`,
			"short nil a text of more than twelve bytes", "string_view"},
		{"bin", arrow.BinaryTypes.Binary, `["eA==",null,"eXo="]`, "x nil yz", "binary"},
		{"lbin", arrow.BinaryTypes.LargeBinary, `["eA==",null,"eXo="]`, "x nil yz", "large_binary"},
		{"fix", &arrow.FixedSizeBinaryType{ByteWidth: 2}, `["eHk=",null,"enc="]`, "xy nil zw",
			"fixed_size_binary[2]"},
		{"d128", &arrow.Decimal128Type{Precision: 38, Scale: 3}, `["-1.250",null,"1e30"]`,
			"-1.25 nil 1000000000000000000000000000000", "decimal128(38, 3)"},
		{"d256", &arrow.Decimal256Type{Precision: 60, Scale: 30}, `["0.5",null,"-7"]`, "0.5 nil -7",
			"decimal256(60, 30)"},
		{"date", f.Date32, `["2026-01-31",null,"1969-12-31"]`, "2026-01-31 nil 1969-12-31",
			"date32[day]"},
		{"date64", f.Date64, `["2026-01-31",null,"1969-12-31"]`, "2026-01-31 nil 1969-12-31",
			"date64[ms]"},
		{"ts", f.Timestamp_s, `["2026-01-31 10:00:00",null,"1969-12-31 23:59:59"]`,
			"2026-01-31T10:00:00Z nil 1969-12-31T23:59:59Z", "timestamp[s, tz=UTC]"},
		{"tms", f.Timestamp_ms, `["2026-01-31 10:00:00.5",null,"1970-01-01 00:00:00"]`,
			"2026-01-31T10:00:00.5Z nil 1970-01-01T00:00:00Z", "timestamp[ms, tz=UTC]"},
		{"tus", f.Timestamp_us, `["2026-01-31 10:00:00.123456",null,"1970-01-01 00:00:00"]`,
			"2026-01-31T10:00:00.123456Z nil 1970-01-01T00:00:00Z", "timestamp[us, tz=UTC]"},
		{"tns", &arrow.TimestampType{Unit: arrow.Nanosecond},
			`["2026-01-31 10:00:00.123456789",null,"1969-12-31 23:59:59.999999999"]`,
			"2026-01-31T10:00:00.123456 nil 1969-12-31T23:59:59.999999", "timestamp[ns] without a zone"},
		{"ds", dict(p.Int8, arrow.BinaryTypes.String), `["a","b"]|[0,null,1]`, "a nil b",
			"dictionary of string"},
		{"dls", dict(p.Uint32, arrow.BinaryTypes.LargeString), `["z","a"]|[1,null,1]`, "a nil a",
			"dictionary of large_string"},
		{"di", dict(p.Int16, p.Int64), `[5]|[0,null,0]`, "5 nil 5", "dictionary of int64"},
		{"dd", dict(p.Uint16, f.Date32), `["2026-01-31"]|[0,null,0]`,
			"2026-01-31 nil 2026-01-31", "dictionary of date32[day]"},
		{"null", arrow.Null, `[null,null,null]`, "nil nil nil", "null"},
		{"st", arrow.StructOf(arrow.Field{Name: "a", Type: p.Int32, Nullable: true},
			arrow.Field{Name: "b.c", Type: arrow.StructOf(
				arrow.Field{Name: "d", Type: arrow.BinaryTypes.String, Nullable: true}), Nullable: true}),
			`[{"a":1,"b.c":{"d":"x"}},null,{"a":null,"b.c":null}]`, "1 nil nil|x nil nil", "int32|string"},
		{"list", arrow.ListOf(p.Int32), `[[1],null,[]]`, "", "list of int32"},
		{"map", arrow.MapOf(arrow.BinaryTypes.String, p.Int32), `[[{"key":"a","value":1}],null,[]]`, "",
			"map"},
		{"fl", arrow.FixedSizeListOf(2, p.Int32), `[[1,2],null,[3,4]]`, "", "list of int32"},
		{"dur", f.Duration_s, `["1s",null,"2s"]`, "", "duration"},
		{"t32", f.Time32s, `["10:00:00",null,"11:00:00"]`, "", "time"},
		{"last", p.Int32, `[1,2,3]`, "1 2 3", "int32"},
	}
}

// writeArrowCases writes all cases in one file or stream, as several batches of the same rows.
func writeArrowCases(t testing.TB, stream bool, batches int, opts ...ipc.Option) []byte {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	if t, ok := t.(*testing.T); ok && stream { // the writer of files keeps its dictionaries
		defer mem.AssertSize(t, 0)
	}
	var fields []arrow.Field
	var columns []arrow.Array
	for _, c := range arrowCases() {
		fields = append(fields, arrow.Field{Name: c.name, Type: c.typ, Nullable: true})
		a := c.array(t, mem)
		defer a.Release()
		columns = append(columns, a)
	}
	schema := arrow.NewSchema(fields, nil)
	record := array.NewRecord(schema, columns, 3)
	defer record.Release()
	return writeArrow(t, schema, stream, append(opts, ipc.WithAllocator(mem)), func(w arrowWriter) {
		for range batches {
			if err := w.Write(record); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// array makes the column; that of a dictionary is written as its values, '|' and the numbers.
func (c *arrowCase) array(t testing.TB, mem memory.Allocator) arrow.Array {
	parse := func(typ arrow.DataType, s string) arrow.Array {
		a, _, err := array.FromJSON(mem, typ, strings.NewReader(s))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		return a
	}
	typ, ok := c.typ.(*arrow.DictionaryType)
	if !ok {
		return parse(c.typ, c.values)
	}
	values, index, _ := strings.Cut(c.values, "|")
	v, i := parse(typ.ValueType, values), parse(typ.IndexType, index)
	defer v.Release()
	defer i.Release()
	return array.NewDictionaryArray(typ, i, v)
}

type arrowWriter interface {
	Write(arrow.Record) error
	Close() error
}

func writeArrow(
	t testing.TB, schema *arrow.Schema, stream bool, opts []ipc.Option, write func(arrowWriter),
) []byte {
	var out bytes.Buffer
	var w arrowWriter
	var err error
	if opts = append(opts, ipc.WithSchema(schema)); stream {
		w = ipc.NewWriter(&out, opts...)
	} else if w, err = ipc.NewFileWriter(&arrowSink{w: &out}, opts...); err != nil {
		t.Fatal(err)
	}
	write(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// arrowTexts reads all columns that can be read; the texts of a column are joined by spaces.
func arrowTexts(data []byte, most int) (texts, what map[string]string, err error) {
	t, err := openArrow("x.arrow", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	texts, what = map[string]string{}, map[string]string{}
	all := map[string][]byte{}
	defer func() {
		for name, b := range all {
			texts[name] = string(b)
		}
	}()
	var want []int
	r := &RowReader{all: t.columns()}
	for i, c := range r.all {
		what[c.name] += c.what
		if c.kind != noVector {
			want = append(want, i)
		}
	}
	if err := t.read(want); err != nil {
		return nil, nil, err
	}
	w := &rowBatch{r: r}
	next := int64(0)
	for {
		run, err := t.next(most)
		if err == io.EOF {
			return texts, what, nil
		}
		if err != nil {
			return texts, what, err
		}
		if run.first != next || run.rows < 1 || run.rows > most {
			return nil, nil, fmt.Errorf("BUG: run of %d rows at %d of %d", run.rows, run.first, next)
		}
		next += int64(run.rows)
		w.vec = run.vectors
		for at, i := range want {
			c := r.all[i]
			f := rowField{at: at, kind: c.kind, local: strings.HasSuffix(c.what, noZone),
				short: c.what == "float32" || c.what == "float16"}
			for row := range run.rows {
				s, _ := w.text(&f, row)
				if s = append(append(all[c.name], ' '), s...); w.vec[at].null.Has(row) {
					s = append(s, "nil"...)
				}
				all[c.name] = s
			}
		}
	}
}

// TestArrowTypes reads every type as a file and as a stream, plain and compressed, in small runs.
func TestArrowTypes(t *testing.T) {
	for name, opts := range map[string][]ipc.Option{
		"plain": nil, "zstd": {ipc.WithZstd()}, "lz4": {ipc.WithLZ4()},
	} {
		for _, stream := range []bool{false, true} {
			data := writeArrowCases(t, stream, 3, opts...)
			for _, most := range []int{1, 2, 1000} {
				texts, what, err := arrowTexts(data, most)
				if err != nil {
					t.Fatalf("%s, stream %t: %v", name, stream, err)
				}
				for _, c := range arrowCases() {
					checkArrowCase(t, fmt.Sprint(name, stream, most), c, texts, what)
				}
			}
		}
	}
}

func checkArrowCase(t *testing.T, how string, c arrowCase, texts, what map[string]string) {
	names := []string{c.name}
	if c.name == "st" {
		names = []string{"st.a", "st.b.c.d"}
	}
	whats := strings.Split(c.what, "|")
	for i, want := range strings.Split(c.want, "|") {
		if want != "" {
			want = strings.Repeat(" "+want, 3)
		}
		if got := texts[names[i]]; got != want || what[names[i]] != whats[i] {
			t.Errorf("%s: %s: got %q of %q, want %q of %q", how, c.name, got, what[names[i]], want,
				whats[i])
		}
	}
}

// TestArrowDictionaries writes a stream whose dictionaries grow by deltas and are replaced.
func TestArrowDictionaries(t *testing.T) {
	typ := &arrow.DictionaryType{
		IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String,
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "d", Type: typ, Nullable: true}}, nil)
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	parts := [][2]string{
		{`["a","b"]`, `[0,1,null]`}, {`["a","b","c"]`, `[2,0]`}, {`["z",null,"y"]`, `[0,1,2]`},
	}
	for _, deltas := range []bool{true, false} {
		opts := []ipc.Option{ipc.WithAllocator(mem), ipc.WithDictionaryDeltas(deltas)}
		data := writeArrow(t, schema, true, opts, func(w arrowWriter) {
			for _, p := range parts {
				values, _, err := array.FromJSON(mem, typ.ValueType, strings.NewReader(p[0]))
				if err != nil {
					t.Fatal(err)
				}
				index, _, err := array.FromJSON(mem, typ.IndexType, strings.NewReader(p[1]))
				if err != nil {
					t.Fatal(err)
				}
				a := array.NewDictionaryArray(typ, index, values)
				record := array.NewRecord(schema, []arrow.Array{a}, int64(a.Len()))
				if err := w.Write(record); err != nil {
					t.Fatal(err)
				}
				for _, x := range []interface{ Release() }{record, a, index, values} {
					x.Release()
				}
			}
		})
		texts, _, err := arrowTexts(data, 2)
		if want := " a b nil c a z nil y"; err != nil || texts["d"] != want {
			t.Errorf("deltas %t: got %q, %v, want %q", deltas, texts["d"], err, want)
		}
	}
}

// TestArrowDamaged cuts files and flips bytes: they are read as before, differently where a value
// changed, or refused; there is no panic, and memory and time are bounded.
func TestArrowDamaged(t *testing.T) {
	r := eventRand(t)
	worst := uint64(0)
	begin := time.Now()
	refused, accepted := 0, 0
	for _, stream := range []bool{false, true} {
		for _, opts := range [][]ipc.Option{nil, {ipc.WithZstd()}, {ipc.WithLZ4()}} {
			whole := writeArrowCases(t, stream, 2, opts...)
			want, _, err := arrowTexts(whole, 100)
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; n < len(whole); n += 1 + r.IntN(24) {
				if got, _, err := arrowTexts(whole[:n], 100); err == nil {
					t.Fatalf("stream %t: %d of %d bytes are taken: %v, not %v", stream, n, len(whole), got,
						want)
				}
			}
			for range 250 {
				b := bytes.Clone(whole)
				for range 1 + r.IntN(3) {
					b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
				}
				used := allocatedBytes(func() { _, _, err = arrowTexts(b, 100) })
				worst = max(worst, used)
				var fault *FileError
				switch {
				case err == nil:
					accepted++
				case errors.As(err, &fault):
					refused++
				default:
					t.Fatalf("not a FileError: %v", err)
				}
			}
		}
	}
	t.Logf("%d refused, %d accepted, at most %d KiB, %s", refused, accepted, worst>>10,
		time.Since(begin).Round(time.Millisecond))
	// A frame of zstd may ask for a window of 64 MiB, and data may become 64 MiB at any ratio.
	if worst > 256<<20 {
		t.Errorf("a small file took %d bytes", worst)
	}
}

func allocatedBytes(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzArrow reads anything: an error or rows, and never a panic.
func FuzzArrow(f *testing.F) {
	f.Add(writeArrowCases(f, false, 1))
	f.Add(writeArrowCases(f, true, 1))
	f.Add(writeArrowCases(f, true, 1, ipc.WithLZ4()))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := arrowTexts(data, 100)
		var fault *FileError
		if err != nil && !errors.As(err, &fault) {
			t.Fatal(err)
		}
	})
}

// TestArrowBombs shows files that are small and claim much.
func TestArrowBombs(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	mem := memory.NewGoAllocator()
	write := func(rows int, opts ...ipc.Option) []byte {
		b := array.NewInt64Builder(mem)
		b.AppendValues(make([]int64, rows), nil)
		record := array.NewRecord(schema, []arrow.Array{b.NewArray()}, int64(rows))
		return writeArrow(t, schema, false, opts, func(w arrowWriter) {
			if err := w.Write(record); err != nil {
				t.Fatal(err)
			}
		})
	}
	data := write(12<<20, ipc.WithZstd()) // 96 MiB of zeros
	used := allocatedBytes(func() {
		_, _, err := arrowTexts(data, 100)
		if err == nil || !strings.Contains(err.Error(), "too much data") {
			t.Errorf("%d bytes: %v", len(data), err)
		}
	})
	if used > 1<<20 {
		t.Errorf("a file of %d bytes took %d", len(data), used)
	}
	// All rows null, of a type without data.
	nulls := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.Null, Nullable: true}}, nil)
	const rows = 1 << 40
	a := array.NewNull(0)
	data = writeArrow(t, nulls, true, nil, func(w arrowWriter) {
		long := array.MakeFromData(array.NewData(arrow.Null, rows, nil, nil, rows, 0))
		if err := w.Write(array.NewRecord(nulls, []arrow.Array{long}, rows)); err != nil {
			t.Fatal(err)
		}
	})
	a.Release()
	if _, _, err := arrowTexts(data, 100); err == nil || !strings.Contains(err.Error(), "claims") {
		t.Errorf("rows without data: %v", err)
	}
}

// TestFloors shows times before 1970: they are floored like those after it.
func TestFloors(t *testing.T) {
	for _, c := range [][3]int64{
		{-1, 1000, -1}, {-1000, 1000, -1}, {-1001, 1000, -2}, {999, 1000, 0}, {0, 7, 0},
		{math.MinInt64, 1000, -9223372036854776},
	} {
		if got := floorDiv(c[0], c[1]); got != c[2] {
			t.Errorf("%d/%d: got %d, want %d", c[0], c[1], got, c[2])
		}
	}
	if arrowMicros(math.MaxInt64, 0) != math.MaxInt64 ||
		arrowMicros(math.MinInt64, 1) != math.MinInt64 {
		t.Error("times overflow")
	}
}

// TestArrowCycle shows a schema that contains itself: the offset of a field's child leads back.
func TestArrowCycle(t *testing.T) {
	typ := arrow.StructOf(arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int64})
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: typ}}, nil)
	data := writeArrow(t, schema, true, nil, func(arrowWriter) {})
	f := &flat{b: data[8:]}
	message := f.root()
	header, _ := message.child(2)
	at, _ := header.list(1, 4)
	field := f.follow(at)
	children, count := f.table(field).list(5, 4)
	if count != 1 {
		t.Fatal("no child")
	}
	back := uint32(field - children)
	for i := range 4 {
		f.b[children+i] = byte(back >> (8 * i))
	}
	_, _, err := arrowTexts(data, 100)
	if err == nil || !strings.Contains(err.Error(), "nested deeper than 64") &&
		!strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}

// TestLZ4 reads frames of other shapes than the library writes: checksums, blocks that are linked
// and not compressed, several frames.
func TestLZ4(t *testing.T) {
	block := []byte{0x1a, 'a', 1, 0, 0x50, 'b', 'c', 'd', 'e', 'f'} // 15 times a, then bcdef
	frame := func(flags byte, blocks ...[]byte) []byte {
		out := []byte{0x04, 0x22, 0x4d, 0x18, 0x40 | flags, 0x40}
		var h xxHash32
		h.reset()
		h.write(out[4:])
		out = append(out, byte(h.sum()>>8))
		for i, b := range blocks {
			size := len(b)
			out = append(out, byte(size), 0, 0, byte(0x80*(i&1)))
			out = append(out, b...)
			if flags&lz4BlockSum != 0 {
				h.reset()
				h.write(b)
				out = append(out, byte(h.sum()), byte(h.sum()>>8), byte(h.sum()>>16), byte(h.sum()>>24))
			}
		}
		return append(out, 0, 0, 0, 0)
	}
	text := "aaaaaaaaaaaaaaabcdef"
	for _, flags := range []byte{0, lz4Alone, lz4BlockSum} {
		data := append(frame(flags, block, []byte("plain"), block), frame(flags, block)...)
		got, err := io.ReadAll(newLZ4Reader(bytes.NewReader(data)))
		if want := text + "plain" + text + text; err != nil || string(got) != want {
			t.Errorf("flags %d: %q, %v", flags, got, err)
		}
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 0x55
			_, _ = io.ReadAll(newLZ4Reader(bytes.NewReader(bad)))
			_, _ = io.ReadAll(newLZ4Reader(bytes.NewReader(data[:i])))
		}
	}
	for text, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff,
		"Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		var h xxHash32
		h.reset()
		h.write([]byte(text))
		if h.sum() != want {
			t.Errorf("hash of %q is %x, not %x", text, h.sum(), want)
		}
	}
}

// TestArrowAgainstLibrary reads random numbers and texts as the library reads them.
func TestArrowAgainstLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	mem := memory.NewGoAllocator()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	want := map[string]string{}
	data := writeArrow(t, schema, true, []ipc.Option{ipc.WithLZ4()}, func(w arrowWriter) {
		for range 5 {
			n, s := array.NewInt64Builder(mem), array.NewStringBuilder(mem)
			for range 1 + r.IntN(70_000) {
				if r.IntN(5) == 0 {
					n.AppendNull()
					s.AppendNull()
					continue
				}
				n.Append(r.Int64N(math.MaxInt64) >> r.IntN(60))
				s.Append(strings.Repeat("x", r.IntN(9)))
			}
			a, b := n.NewArray(), s.NewArray()
			for i := range a.Len() {
				for name, x := range map[string]arrow.Array{"n": a, "s": b} {
					if x.IsNull(i) {
						want[name] = foldText(want[name], "nil")
					} else {
						want[name] = foldText(want[name], x.ValueStr(i))
					}
				}
			}
			if err := w.Write(array.NewRecord(schema, []arrow.Array{a, b}, int64(a.Len()))); err != nil {
				t.Fatal(err)
			}
		}
	})
	got := map[string]string{}
	texts, _, err := arrowTexts(data, 4096)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range texts {
		for _, x := range strings.Split(s[1:], " ") {
			got[name] = foldText(got[name], x)
		}
	}
	if got["n"] != want["n"] || got["s"] != want["s"] {
		t.Errorf("got %v, want %v", got, want)
	}
}

// foldText folds texts into one that depends on all of them.
func foldText(sum, s string) string { return fmt.Sprint(uint64(engine.DigestType(sum + "," + s))) }

package formats

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"

	"billctl/engine"
	"billctl/engine/decimal"
)

// testColumn is a column of a file that a test writes: its type, and a value with the text that a
// cell of it must have.
type testColumn struct {
	name      string
	node      parquet.Node
	kind      vectorKind
	encodings []encoding.Encoding
	value     func(r *rand.Rand) (parquet.Value, string)
}

func testColumns() []testColumn {
	plain, dict := encoding.Encoding(&parquet.Plain), encoding.Encoding(&parquet.RLEDictionary)
	delta := encoding.Encoding(&parquet.DeltaBinaryPacked)
	split := encoding.Encoding(&parquet.ByteStreamSplit)
	ints := []encoding.Encoding{plain, dict, delta}
	texts := []encoding.Encoding{plain, dict, &parquet.DeltaLengthByteArray, &parquet.DeltaByteArray}
	fixed := []encoding.Encoding{plain, dict, &parquet.DeltaByteArray}
	floats := []encoding.Encoding{plain, dict, split}
	word := func(r *rand.Rand) (parquet.Value, string) {
		s := []string{"", "a", "größe", "日本"}[r.IntN(4)]
		if r.IntN(2) == 0 {
			s += strconv.Itoa(r.IntN(300))
		}
		return parquet.ByteArrayValue([]byte(s)), s
	}
	int32s := func(text func(int32) string) func(r *rand.Rand) (parquet.Value, string) {
		return func(r *rand.Rand) (parquet.Value, string) {
			n := int32(r.Uint64() >> r.IntN(64))
			return parquet.Int32Value(n), text(n)
		}
	}
	int64s := func(text func(int64) string) func(r *rand.Rand) (parquet.Value, string) {
		return func(r *rand.Rand) (parquet.Value, string) {
			n := int64(r.Uint64()) >> r.IntN(64)
			return parquet.Int64Value(n), text(n)
		}
	}
	same64 := func(n int64) string { return strconv.FormatInt(n, 10) }
	out := []testColumn{
		{"text", parquet.String(), textVector, texts, word},
		{"enum", parquet.Enum(), textVector, texts, word},
		{"json", parquet.JSON(), textVector, texts, word},
		{"int32", parquet.Leaf(parquet.Int32Type), intVector, append(ints, split),
			int32s(func(n int32) string { return same64(int64(n)) })},
		{"int64", parquet.Int(64), intVector, append(ints, split), int64s(same64)},
		{"uint32", parquet.Uint(32), intVector, ints,
			int32s(func(n int32) string { return same64(int64(uint32(n))) })},
		{"uint64", parquet.Uint(64), numberVector, ints,
			int64s(func(n int64) string { return strconv.FormatUint(uint64(n), 10) })},
		{"date", parquet.Date(), dateVector, ints,
			int32s(func(n int32) string { return same64(int64(n)) })},
		{"millis", parquet.Timestamp(parquet.Millisecond), timeVector, ints,
			func(r *rand.Rand) (parquet.Value, string) {
				n := int64(r.Uint64()) >> (11 + r.IntN(40))
				return parquet.Int64Value(n), same64(n * 1000)
			}},
		{"micros", parquet.Timestamp(parquet.Microsecond), timeVector, ints, int64s(same64)},
		{"nanos", parquet.TimestampAdjusted(parquet.Nanosecond, false), timeVector, ints,
			int64s(func(n int64) string { return floored(n, 1000) })},
		{"int96", parquet.Leaf(parquet.Int96Type), timeVector, []encoding.Encoding{plain, dict},
			func(r *rand.Rand) (parquet.Value, string) {
				day, n := uint32(2_440_588+r.IntN(50_000)-10_000), uint64(r.Int64N(86_400_000_000_000))
				v := deprecated.Int96{uint32(n), uint32(n >> 32), day}
				return parquet.Int96Value(v),
					same64((int64(day)-2_440_588)*86_400_000_000 + int64(n/1000))
			}},
		{"float", parquet.Leaf(parquet.FloatType), floatVector, floats,
			func(r *rand.Rand) (parquet.Value, string) {
				x := math.Float32frombits(r.Uint32())
				return parquet.FloatValue(x), fmt.Sprint(float64(x))
			}},
		{"double", parquet.Leaf(parquet.DoubleType), floatVector, floats,
			func(r *rand.Rand) (parquet.Value, string) {
				x := math.Float64frombits(r.Uint64())
				return parquet.DoubleValue(x), fmt.Sprint(x)
			}},
		{"bool", parquet.Leaf(parquet.BooleanType), boolVector,
			[]encoding.Encoding{plain},
			func(r *rand.Rand) (parquet.Value, string) {
				b := r.IntN(3) == 0
				return parquet.BooleanValue(b), strconv.FormatBool(b)
			}},
		{"bytes", parquet.Leaf(parquet.ByteArrayType), bytesVector, texts,
			func(r *rand.Rand) (parquet.Value, string) {
				b := binary.LittleEndian.AppendUint64(nil, r.Uint64N(400))[:r.IntN(9)]
				return parquet.ByteArrayValue(b), hex.EncodeToString(b)
			}},
		{"fixed", parquet.Leaf(parquet.FixedLenByteArrayType(5)), bytesVector, fixed,
			func(r *rand.Rand) (parquet.Value, string) {
				b := binary.LittleEndian.AppendUint64(nil, r.Uint64N(400))[:5]
				return parquet.FixedLenByteArrayValue(b), hex.EncodeToString(b)
			}},
		{"uuid", parquet.UUID(), uuidVector, fixed,
			func(r *rand.Rand) (parquet.Value, string) {
				b := binary.LittleEndian.AppendUint64(make([]byte, 8), r.Uint64())
				return parquet.FixedLenByteArrayValue(b), hex.EncodeToString(b)
			}},
	}
	return append(out, decimalColumns(ints, texts, fixed)...)
}

func decimalColumns(ints, texts, fixed []encoding.Encoding) (out []testColumn) {
	for _, scale := range []int{0, 3, 9} {
		out = append(out, testColumn{fmt.Sprintf("dec32_%d", scale),
			parquet.Decimal(scale, 9, parquet.Int32Type), numberVector, ints,
			func(r *rand.Rand) (parquet.Value, string) {
				n := r.Int32N(1_999_999_999) - 999_999_999
				return parquet.Int32Value(n), scaledText(big.NewInt(int64(n)), scale)
			}})
	}
	for _, scale := range []int{0, 6, 18} {
		out = append(out, testColumn{fmt.Sprintf("dec64_%d", scale),
			parquet.Decimal(scale, 18, parquet.Int64Type), numberVector, ints,
			func(r *rand.Rand) (parquet.Value, string) {
				n := int64(r.Uint64()) >> r.IntN(64)
				return parquet.Int64Value(n), scaledText(big.NewInt(n), scale)
			}})
	}
	for _, scale := range []int{0, 2, 18, 30, 37} {
		out = append(out, testColumn{fmt.Sprintf("dec128_%d", scale),
			parquet.Decimal(scale, 38, parquet.FixedLenByteArrayType(16)), numberVector, fixed,
			func(r *rand.Rand) (parquet.Value, string) {
				n, b := randomBig(r, 16)
				return parquet.FixedLenByteArrayValue(b), scaledText(n, scale)
			}}, testColumn{fmt.Sprintf("decbytes_%d", scale),
			parquet.Decimal(scale, 60, parquet.ByteArrayType), numberVector, texts,
			func(r *rand.Rand) (parquet.Value, string) {
				n, b := randomBig(r, 1+r.IntN(24))
				return parquet.ByteArrayValue(b), scaledText(n, scale)
			}})
	}
	return out
}

// randomBig returns a number of any size and its bytes, big-endian in two's complement.
func randomBig(r *rand.Rand, size int) (*big.Int, []byte) {
	n := new(big.Int)
	for range size/8 + 1 {
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(r.Uint64()))
	}
	n.Rsh(n, uint(n.BitLen())-min(uint(n.BitLen()), uint(r.IntN(8*size))))
	b := n.FillBytes(make([]byte, size))
	if r.IntN(2) == 0 {
		n.Neg(n)
		mod := new(big.Int).Lsh(big.NewInt(1), uint(8*size))
		b = new(big.Int).Mod(n, mod).FillBytes(make([]byte, size))
	}
	return n, b
}

// scaledText is the text of n/10^scale, by big.Rat.
func scaledText(n *big.Int, scale int) string {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	s := new(big.Rat).SetFrac(n, unit).FloatString(scale)
	if scale > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func floored(n, d int64) string {
	q, m := new(big.Int).DivMod(big.NewInt(n), big.NewInt(d), new(big.Int))
	_ = m // Euclid's division floors for d > 0
	return q.String()
}

// cellText is the text of a row of a vector.
func cellText(v *vector, row int) string {
	if v.null.Has(row) {
		return "null"
	}
	switch v.kind {
	case textVector:
		s, ok := v.text.At(row)
		if !ok {
			return "absent"
		}
		return s
	case numberVector:
		if s, ok := v.wide[row]; ok {
			return s
		}
		return v.numbers[row].String()
	case floatVector:
		return fmt.Sprint(v.floats[row])
	case boolVector:
		return strconv.FormatBool(v.bools.Has(row))
	case bytesVector:
		return hex.EncodeToString(v.bytes.At(row))
	case uuidVector:
		return hex.EncodeToString(v.bytes.Bytes[16*row : 16*row+16])
	}
	return strconv.FormatInt(v.ints[row], 10)
}

// zero checks what a row that is null must hold.
func zero(v *vector, row int) bool {
	switch v.kind {
	case textVector:
		return v.text.Index[row] == engine.Absent
	case numberVector:
		return v.numbers[row] == decimal.Decimal{} && v.wide[row] == ""
	case floatVector:
		return v.floats[row] == 0
	case boolVector:
		return !v.bools.Has(row)
	case bytesVector:
		return len(v.bytes.At(row)) == 0
	case uuidVector:
		return bytes.Equal(v.bytes.At(row), make([]byte, 16))
	}
	return v.ints[row] == 0
}

// testFile is a file that a test wrote, and what its cells must be, column by column.
type testFile struct {
	data  []byte
	names []string
	kinds []vectorKind
	cells [][]string
}

var testCodecs = []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip,
	&parquet.Zstd, &parquet.Lz4Raw}

// writeFile writes random rows of random columns in a random way.
func writeFile(t testing.TB, r *rand.Rand, columns []testColumn, rows int) *testFile {
	t.Helper()
	group, out := parquet.Group{}, &testFile{}
	type leaf struct {
		testColumn
		levels int
		nulls  int // in 10 values
	}
	leaves := map[string]leaf{}
	for i, c := range columns {
		l := leaf{testColumn: c, nulls: []int{0, 1, 5, 9, 10}[r.IntN(5)]}
		node := parquet.Encoded(c.node, c.encodings[r.IntN(len(c.encodings))])
		node = parquet.Compressed(node, testCodecs[r.IntN(len(testCodecs))])
		name := fmt.Sprintf("%s_%d", c.name, i)
		if r.IntN(3) > 0 {
			node, l.levels = parquet.Optional(node), 1
		}
		if r.IntN(5) == 0 {
			node = parquet.Group{"in": node}
			if r.IntN(2) == 0 {
				node, l.levels = parquet.Optional(node), l.levels+1
			}
			group[name] = node
			name += ".in"
		} else {
			group[name] = node
		}
		leaves[name] = l
		out.names = append(out.names, name)
	}
	slices.Sort(out.names)
	for _, name := range out.names {
		out.kinds = append(out.kinds, leaves[name].kind)
		out.cells = append(out.cells, nil)
	}
	var buf bytes.Buffer
	w := parquet.NewWriter(&buf, parquet.NewSchema("test", group),
		parquet.DataPageVersion(1+r.IntN(2)), parquet.PageBufferSize(1<<(6+r.IntN(10))),
		parquet.MaxRowsPerRowGroup(int64(1+r.IntN(rows+1))),
		parquet.DictionaryMaxBytes(1<<(6+r.IntN(12))), parquet.KeyValueMetadata("k", "v"))
	for range rows {
		row := parquet.Row{}
		for i, name := range out.names {
			l := leaves[name]
			value, text := l.value(r)
			level := l.levels
			if level > 0 && r.IntN(10) < l.nulls {
				value, text, level = parquet.Value{}, "null", r.IntN(l.levels)
			}
			row = append(row, value.Level(0, level, i))
			out.cells[i] = append(out.cells[i], text)
		}
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out.data = buf.Bytes()
	return out
}

// open opens bytes as a file.
func (f *testFile) open() (*parquetFile, error) {
	return openParquet("test.parquet", bytes.NewReader(f.data), int64(len(f.data)))
}

// compare reads columns of a file in runs of random sizes and compares all cells.
func (f *testFile) compare(r *rand.Rand, in *parquetFile, columns []int) error {
	if err := in.read(columns); err != nil {
		return err
	}
	row := 0
	for {
		got, err := in.next(1 + r.IntN(1<<r.IntN(12)))
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if got.first != int64(row) {
			return fmt.Errorf("a run begins at %d, want %d", got.first, row)
		}
		for i, c := range columns {
			v := &got.vectors[i]
			if v.kind != f.kinds[c] {
				return fmt.Errorf("column %s has kind %d", f.names[c], v.kind)
			}
			for k := range got.rows {
				want := f.cells[c][row+k]
				if g := cellText(v, k); g != want || g == "null" && !zero(v, k) {
					return fmt.Errorf("column %s, row %d: %s, want %s", f.names[c], row+k, g, want)
				}
			}
		}
		row += got.rows
	}
	if len(f.cells) > 0 && row != len(f.cells[0]) {
		return fmt.Errorf("%d rows, want %d", row, len(f.cells[0]))
	}
	return nil
}

// TestParquetRandom writes random files and reads them back: all kinds, encodings, codecs, page
// versions, nulls, and chunks whose dictionary became too large in the middle.
func TestParquetRandom(t *testing.T) {
	all := testColumns()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	cells := 0
	for round := range 60 * *randomTimes {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		var columns []testColumn
		for range 1 + r.IntN(8) {
			columns = append(columns, all[r.IntN(len(all))])
		}
		f := writeFile(t, r, columns, r.IntN(1<<r.IntN(12)))
		in, err := f.open()
		if err != nil {
			t.Fatalf("seed %d round %d: %v", seed, round, err)
		}
		var names []string
		for _, c := range in.columns() {
			names = append(names, c.name)
		}
		if !slices.Equal(names, f.names) {
			t.Fatalf("columns %q, want %q", names, f.names)
		}
		for range 2 { // a file may be read again, in other columns
			picked := r.Perm(len(f.names))[:r.IntN(len(f.names)+1)]
			if err := f.compare(r, in, picked); err != nil {
				t.Fatalf("seed %d round %d: %v", seed, round, err)
			}
		}
		cells += len(f.cells) * len(f.cells[0])
		if err := in.close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cells", cells)
}

// TestParquetEmpty reads files without rows, without columns, and without a selection.
func TestParquetEmpty(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	all := testColumns()
	f := writeFile(t, r, all[:4], 0)
	in, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.compare(r, in, []int{3, 0}); err != nil || in.rows() != 0 {
		t.Errorf("no rows: %d, %v", in.rows(), err)
	}
	if v, ok := in.metadata("k"); v != "v" || !ok {
		t.Errorf("metadata: %q, %v", v, ok)
	}
	if _, ok := in.metadata("none"); ok {
		t.Error("there is no such key")
	}
	f = writeFile(t, r, all[:4], 100)
	if in, err = f.open(); err != nil {
		t.Fatal(err)
	}
	if err := f.compare(r, in, nil); err != nil {
		t.Errorf("no columns: %v", err)
	}
	footer := new(thrift).open().list(2, wireStruct, 1).open().text(4, "root").close().
		int(3, 0).close()
	if err := drainRows(wrap(nil, footer.b), 1); err != nil {
		t.Errorf("no schema: %v", err)
	}
}

// TestParquetText refuses text that is no UTF-8, and says where it is; and only where a row has it.
func TestParquetText(t *testing.T) {
	for _, enc := range []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary,
		&parquet.DeltaByteArray} {
		for _, bad := range []int{0, 7, 999} {
			var buf bytes.Buffer
			w := parquet.NewWriter(&buf, parquet.NewSchema("test", parquet.Group{
				"s": parquet.Optional(parquet.Encoded(parquet.String(), enc))}))
			for row := range 1000 {
				v := parquet.ByteArrayValue([]byte(strconv.Itoa(row%10))).Level(0, 1, 0)
				if row%3 == 1 && row != bad {
					v = parquet.Value{}.Level(0, 0, 0)
				}
				if row == bad {
					v = parquet.ByteArrayValue([]byte("a\xff")).Level(0, 1, 0)
				}
				if _, err := w.WriteRows([]parquet.Row{{v}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			err := drainRows(buf.Bytes(), 1000)
			fault, ok := err.(*FileError)
			if !ok || fault.Row != int64(bad) || fault.Column != "s" || fault.Group != 0 ||
				!strings.Contains(fault.Reason, `"a\xff" is not valid UTF-8`) {
				t.Errorf("%s, row %d: %v", enc, bad, err)
			}
		}
	}
}

// TestParquetSharedDict checks that the runs of a row group share their dictionary, and that values
// of a run may be kept.
func TestParquetSharedDict(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var buf bytes.Buffer
	w := parquet.NewWriter(&buf, parquet.NewSchema("test", parquet.Group{
		"d": parquet.Encoded(parquet.String(), &parquet.RLEDictionary), "p": parquet.String()}))
	for range 1000 {
		s := parquet.ByteArrayValue([]byte(strconv.Itoa(r.IntN(50))))
		if _, err := w.WriteRows([]parquet.Row{{s.Level(0, 0, 0), s.Level(0, 0, 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in, err := openParquet("test", bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.read([]int{0, 1}); err != nil {
		t.Fatal(err)
	}
	var shared, first []string
	var kept string
	for {
		got, err := in.next(100)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		dict, plain := got.vectors[0].text.Values, got.vectors[1].text.Values
		if shared == nil {
			shared, first, kept = dict, plain, strings.Join(plain, " ")
		}
		if &dict[0] != &shared[0] || len(dict) != len(shared) {
			t.Error("a run has another dictionary")
		}
		if len(plain) > 50 {
			t.Errorf("%d values of 50 texts", len(plain))
		}
	}
	if strings.Join(first, " ") != kept {
		t.Error("the values of the first run were written over")
	}
}

// TestParquetKinds names the columns that can't be read.
func TestParquetKinds(t *testing.T) {
	var buf bytes.Buffer
	w := parquet.NewWriter(&buf, parquet.NewSchema("test", parquet.Group{
		"list": parquet.List(parquet.Int(32)), "map": parquet.Map(parquet.String(), parquet.Int(8)),
		"many": parquet.Repeated(parquet.String()), "time": parquet.Time(parquet.Millisecond),
		"interval": parquet.IntervalNode(), "small": parquet.Uint(16),
		"in":    parquet.Group{"when": parquet.Timestamp(parquet.Nanosecond)},
		"money": parquet.Decimal(2, 18, parquet.Int64Type)}))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in, err := openParquet("test", bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, c := range in.columns() {
		got = append(got, fmt.Sprintf("%s %d %s", c.name, c.kind, c.what))
		if err := in.read([]int{i}); (err == nil) != (c.kind != noVector) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	want := []string{"in.when 6 TIMESTAMP in nanoseconds", "interval 0 INTERVAL on " +
		"FIXED_LEN_BYTE_ARRAY(12)", "list.list.element 0 list of INT32", "many 0 repeated of STRING",
		"map.key_value.key 0 map of STRING", "map.key_value.value 0 map of INT8",
		"money 3 DECIMAL(18,2)", "small 2 UINT16", "time 0 TIME in milliseconds"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestHalf holds numbers of 16 bits against their definition.
func TestHalf(t *testing.T) {
	for h, want := range map[uint16]string{0: "0", 0x8000: "-0", 0x3c00: "1", 0xc000: "-2",
		0x7bff: "65504", 1: "5.960464477539063e-08", 0x03ff: "6.097555160522461e-05",
		0x0400: "6.103515625e-05", 0x7c00: "+Inf", 0xfc00: "-Inf", 0x7e00: "NaN",
		0x3555: "0.333251953125",
	} {
		if got := fmt.Sprint(half(h)); got != want {
			t.Errorf("%#04x: %s, want %s", h, got, want)
		}
	}
}

package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
)

// drain reads all that can be read of a file in bytes, at most so many rows, and returns what went
// wrong and how much was allocated for it.
func drain(data []byte, rows int64) (allocated uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = drainRows(data, rows)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

func drainRows(data []byte, rows int64) error {
	f, err := openParquet("forged", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	defer f.close() // read only
	f.unsummed = true
	var columns []int
	for i, c := range f.columns() {
		if c.kind != noVector {
			columns = append(columns, i)
		}
	}
	if err := f.read(columns); err != nil {
		return err
	}
	for rows > 0 {
		r, err := f.next(4096)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		rows -= int64(r.rows)
		for i := range r.vectors {
			for row := range r.rows {
				cellText(&r.vectors[i], row) // every value must be there to be used
			}
		}
	}
	return nil
}

// TestParquetForged changes bytes of good files: the footer, the headers of pages, anything. Each
// gives rows or a *FileError, soon and with little memory.
func TestParquetForged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	all := testColumns()
	const allowed = 96 << 20 // bytes that may be allocated for a file of some kilobytes
	read, refused, most, slowest := 0, 0, uint64(0), time.Duration(0)
	deadline := time.Now().Add(15 * time.Second)
	for round := 0; round < 16 && time.Now().Before(deadline); round++ {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		var columns []testColumn
		for range 1 + r.IntN(5) {
			columns = append(columns, all[r.IntN(len(all))])
		}
		f := writeFile(t, r, columns, 1+r.IntN(300))
		footer := int(binary.LittleEndian.Uint32(f.data[len(f.data)-8:])) + 8
		for range 150 {
			forged := bytes.Clone(f.data)
			for range 1 + r.IntN(3) {
				at := 4 + r.IntN(len(forged)-footer-4)
				if r.IntN(3) == 0 {
					at = len(forged) - footer + r.IntN(footer)
				}
				switch r.IntN(3) {
				case 0:
					forged[at] ^= 1 << r.IntN(8)
				case 1:
					forged[at] = byte(r.Uint32())
				default: // a large number in varint
					copy(forged[at:], binary.AppendUvarint(nil, r.Uint64()>>r.IntN(64)))
				}
			}
			start := time.Now()
			used, err := drain(forged, 1<<17)
			took := time.Since(start)
			var fault *FileError
			switch {
			case err == nil:
				read++
			case errors.As(err, &fault):
				refused++
			default:
				t.Fatalf("seed %d round %d: %T %v", seed, round, err, err)
			}
			most, slowest = max(most, used), max(slowest, took)
			if used > allowed || took > 5*time.Second {
				t.Errorf("seed %d round %d: %d MiB in %v: %v", seed, round, used>>20, took, err)
			}
		}
	}
	t.Logf("%d read, %d refused; at most %.1f MiB and %v for one", read, refused,
		float64(most)/(1<<20), slowest)
	if read < 100 || refused < 1000 {
		t.Error("too few of one kind")
	}
}

// thrift writes the compact protocol for forged files.
type thrift struct {
	b    []byte
	last []int
}

func (w *thrift) field(id int, t wire) *thrift {
	n := len(w.last) - 1
	w.b = append(w.b, byte(id-w.last[n])<<4|byte(t))
	w.last[n] = id
	return w
}

func (w *thrift) int(id int, n int64) *thrift {
	w.field(id, wireI64)
	w.b = binary.AppendVarint(w.b, n)
	return w
}

func (w *thrift) text(id int, s string) *thrift {
	w.field(id, wireBytes)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...)
	return w
}

func (w *thrift) list(id int, t wire, n uint64) *thrift {
	w.field(id, wireList)
	w.b = binary.AppendUvarint(append(w.b, 0xf0|byte(t)), n)
	return w
}

func (w *thrift) open() *thrift { w.last = append(w.last, 0); return w }

func (w *thrift) close() *thrift {
	w.b, w.last = append(w.b, 0), w.last[:len(w.last)-1]
	return w
}

// forgery is a file of one INT64 column, made of parts that may lie.
type forgery struct {
	rows, chunkValues int64
	physical          int64 // 0: INT64
	codec             pageCodec
	optional, text    bool
	before            []byte // pages
	header            pageHeader
	body              []byte
}

// page returns a page of data of version 1, or a dictionary.
func (h *pageHeader) page(body []byte) []byte {
	w := new(thrift).open()
	w.int(1, int64(h.kind)).int(2, int64(h.full)).int(3, int64(h.size))
	w.field(h.kind+5, wireStruct).open().int(1, int64(h.values)).int(2, int64(h.encoding))
	if h.kind == pageData {
		w.int(3, 3).int(4, 3)
	}
	return append(w.close().close().b, body...)
}

func (g *forgery) bytes() []byte {
	page := append(bytes.Clone(g.before), g.header.page(g.body)...)
	repetition := int64(0)
	if g.optional {
		repetition = 1
	}
	f := new(thrift).open().int(1, 1).list(2, wireStruct, 2)
	f.open().text(4, "root").int(5, 1).close()
	physical := max(g.physical, 2)
	f.open().int(1, physical).int(3, repetition).text(4, "n")
	if g.text {
		f.int(6, 0)
	}
	f.close().int(3, g.rows).list(4, wireStruct, 1).open().list(1, wireStruct, 1).open().int(2, 4)
	f.field(3, wireStruct).open().int(1, physical).list(2, wireI32, 1)
	f.b = append(f.b, 0)
	f.list(3, wireBytes, 1)
	f.b = append(f.b, 1, 'n')
	f.int(4, int64(g.codec)).int(5, g.chunkValues).int(6, 1).int(7, int64(len(page))).int(9, 4)
	f.close().close().int(2, 1).int(3, g.rows).close().close()
	return wrap(page, f.b)
}

// wrap makes a file of pages and a footer.
func wrap(pages, footer []byte) []byte {
	out := append([]byte("PAR1"), pages...)
	out = append(out, footer...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(footer)))
	return append(out, "PAR1"...)
}

// TestParquetBombs are files of some bytes that claim much.
func TestParquetBombs(t *testing.T) {
	good := forgery{rows: 2, chunkValues: 2, header: pageHeader{full: 16, size: 16, values: 2},
		body: make([]byte, 16)}
	if _, err := drain(good.bytes(), 10); err != nil {
		t.Fatalf("the file that the others are made of: %v", err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	large := z.EncodeAll(make([]byte, 64<<20), nil)
	runs := binary.AppendUvarint(nil, 1<<32)
	level := append(binary.LittleEndian.AppendUint32(nil, uint32(len(runs)+1)), append(runs, 0)...)
	delta := binary.AppendUvarint([]byte{128, 1, 4}, 1<<31-1)
	for _, c := range []struct {
		name, want string
		change     func(*forgery)
	}{
		{"rows of the file", "2 values in", func(g *forgery) { g.rows = 1 << 40 }},
		{"negative rows", "negative", func(g *forgery) { g.rows = -1 }},
		{"values of the chunk", "values in 2 rows", func(g *forgery) { g.chunkValues = 1 << 40 }},
		{"rows without pages", "at most", func(g *forgery) {
			g.rows, g.chunkValues, g.header.values = 1<<31-1, 1<<31-1, 1<<31-1
		}},
		{"rows that pages lack", "pages end", func(g *forgery) { g.rows, g.chunkValues = 1<<40, 1<<40 }},
		{"more values than rows", "left", func(g *forgery) { g.rows, g.chunkValues = 1, 1 }},
		{"a page too many", "has 0 left", func(g *forgery) { g.before = g.header.page(g.body) }},
		{"values that are not there", "do not hold", func(g *forgery) {
			g.rows, g.chunkValues, g.header.values = 1<<24, 1<<24, 1<<24
		}},
		{"compressed size", "has 16 left", func(g *forgery) { g.header.size = 17 }},
		{"negative size", "claims -1", func(g *forgery) { g.header.size = -1 }},
		{"unpacked size", "unpacked", func(g *forgery) { g.header.full = maxPageBytes + 1 }},
		{"negative values", "claims -1", func(g *forgery) { g.header.values = -1 }},
		{"zstd that gives more", "can't be unpacked", func(g *forgery) {
			g.codec, g.body, g.header.size = codecZstd, large, len(large)
		}},
		{"zstd that gives less", "can't give", func(g *forgery) {
			g.codec, g.body = codecZstd, z.EncodeAll(make([]byte, 16), nil)
			g.header.size, g.header.full = len(g.body), maxPageBytes
		}},
		{"snappy that claims more", "can't be unpacked", func(g *forgery) {
			g.codec, g.body = codecSnappy, binary.AppendUvarint(nil, 1<<31)
			g.header.size = len(g.body)
		}},
		{"gzip that gives less", "can't give", func(g *forgery) {
			g.codec, g.header.full = codecGzip, maxPageBytes
		}},
		{"lz4 that gives less", "can't give", func(g *forgery) {
			g.codec, g.header.full = codecLZ4Raw, maxPageBytes
		}},
		{"brotli", "BROTLI", func(g *forgery) { g.codec = 4 }},
		{"a run of levels", "a run claims", func(g *forgery) {
			g.optional, g.body = true, level
			g.header.size, g.header.full = len(level), len(level)
		}},
		{"levels that are cut", "too early", func(g *forgery) { g.optional, g.body[0] = true, 200 }},
		{"a count of deltas", "were claimed", func(g *forgery) {
			g.body, g.header.encoding = delta, encodingDelta
			g.header.size, g.header.full = len(delta), len(delta)
		}},
		{"a beginning that is shared too often", "more than 268435456", func(g *forgery) {
			prefixes, lengths := make([]int32, 300), make([]int32, 300)
			for i := range prefixes {
				prefixes[i] = 1 << 20
			}
			prefixes[0], lengths[0] = 0, 1<<20
			g.body = append(deltas(t, prefixes), deltas(t, lengths)...)
			g.body = append(g.body, make([]byte, 1<<20)...)
			g.rows, g.chunkValues, g.physical = 300, 300, 6
			g.header = pageHeader{full: len(g.body), size: len(g.body), values: 300,
				encoding: encodingDeltaBytes}
		}},
		{"snappy that can't give so much", "can't give", func(g *forgery) {
			g.codec, g.body = codecSnappy, binary.AppendUvarint(nil, maxPageBytes)
			g.header.size, g.header.full = len(g.body), maxPageBytes
		}},
		{"no dictionary", "no dictionary", func(g *forgery) { g.header.encoding = encodingDict }},
		{"an encoding", "encoding 77", func(g *forgery) { g.header.encoding = 77 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := good
			g.body = bytes.Clone(good.body)
			c.change(&g)
			data := g.bytes()
			used, err := drain(data, 1<<20)
			t.Logf("%d bytes: %.2f MiB allocated: %v", len(data), float64(used)/(1<<20), err)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if used > 1<<20+uint64(8*len(data)) {
				t.Errorf("%d bytes were allocated for %d", used, len(data))
			}
		})
	}
}

// TestParquetMixed reads a chunk whose pages are partly in its dictionary, in runs of all sizes.
func TestParquetMixed(t *testing.T) {
	plain := func(texts ...string) (out []byte) {
		for _, s := range texts {
			out = append(binary.LittleEndian.AppendUint32(out, uint32(len(s))), s...)
		}
		return out
	}
	var pages []byte
	for _, p := range []struct {
		kind     int
		encoding pageEncoding
		values   int
		body     []byte
	}{
		{pageDict, encodingPlain, 2, plain("a", "b")},
		{pageData, encodingPlain, 2, plain("c", "c")},
		{pageData, encodingDict, 3, []byte{1, 3, 0b010}}, // one group of packed bits
		{pageData, encodingPlain, 4, plain("d", "a", "", "d")},
		{pageData, encodingPlain, 0, nil},
		{pageData, encodingPlainDict, 5, []byte{1, 10, 1}}, // a run
	} {
		h := pageHeader{kind: p.kind, encoding: p.encoding, values: p.values, full: len(p.body),
			size: len(p.body)}
		pages = append(pages, h.page(p.body)...)
	}
	last := plain("e")
	g := forgery{rows: 15, chunkValues: 15, physical: 6, text: true, before: pages, body: last,
		header: pageHeader{values: 1, full: len(last), size: len(last)}}
	f := &testFile{data: g.bytes(), names: []string{"n"}, kinds: []vectorKind{textVector},
		cells: [][]string{strings.Split("c c a b a d a  d b b b b b e", " ")}}
	in, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(200) {
		if err := f.compare(rand.New(rand.NewPCG(seed, 0)), in, []int{0}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	for max := 1; max <= 16; max++ {
		if err := in.read([]int{0}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			r, err := in.next(max)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for row := range r.rows {
				got = append(got, cellText(&r.vectors[0], row))
			}
		}
		if s := strings.Join(got, " "); s != strings.Join(f.cells[0], " ") {
			t.Errorf("runs of %d: %s", max, s)
		}
	}
}

// TestParquetChecksum flips each byte of a page that has a checksum.
func TestParquetChecksum(t *testing.T) {
	c := testColumns()
	at := slices.IndexFunc(c, func(c testColumn) bool { return c.name == "int64" })
	c[at].encodings = c[at].encodings[:1]
	f := writeFile(t, rand.New(rand.NewPCG(5, 5)), c[at:at+1], 50)
	h, n, err := readPageHeader(f.data[4:], int64(len(f.data)))
	if err != nil || !h.summed || h.size < 8 {
		t.Fatalf("%+v, %v", h, err)
	}
	for i := range h.size {
		f.data[4+n+i] ^= 4
		in, err := f.open()
		if err != nil {
			t.Fatal(err)
		}
		err = f.compare(rand.New(rand.NewPCG(1, 1)), in, []int{0})
		if err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("byte %d: %v", i, err)
		}
		f.data[4+n+i] ^= 4
	}
}

func deltas(t *testing.T, n []int32) []byte {
	t.Helper()
	out, err := new(delta.BinaryPackedEncoding).EncodeInt32(nil, n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestParquetFooterBombs are footers that claim more than there is.
func TestParquetFooterBombs(t *testing.T) {
	nested := append(bytes.Repeat([]byte{0x1c}, 1000), bytes.Repeat([]byte{0}, 1000)...)
	lists := bytes.Repeat([]byte{0x19}, 1000)
	tail := func(n uint32) []byte {
		out := binary.LittleEndian.AppendUint32([]byte("PAR1aaaaaaaa"), n)
		return append(out, "PAR1"...)
	}
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "no Parquet file", nil},
		{"short", "no Parquet file", []byte("PAR1PAR1")},
		{"head", "begin", []byte("PARQ\x00\x00\x00\x00\x00\x00\x00\x00PAR1")},
		{"tail", "cut", []byte("PAR1\x00\x00\x00\x00\x00\x00\x00\x00PARR")},
		{"encrypted", "encrypted", []byte("PARE\x00\x00\x00\x00\x00\x00\x00\x00PARE")},
		{"no footer", "no number of rows", wrap(nil, []byte{0})},
		{"footer too long", "claims 9 bytes", tail(9)},
		{"footer of 4 GiB", "claims 4294967295 bytes", tail(1<<32 - 1)},
		{"a list of schema", "claims 2000000000", wrap(nil,
			new(thrift).open().list(2, wireStruct, 2e9).close().b)},
		{"a list of groups", "claims 99999999", wrap(nil,
			new(thrift).open().int(3, 1).list(4, wireStruct, 99999999).close().b)},
		{"a list of nothing known", "claims", wrap(nil,
			new(thrift).open().list(15, wireI32, 1<<60).close().b)},
		{"a map", "map claims", wrap(nil, append(binary.AppendUvarint([]byte{0xfb}, 1<<50), 0x88))},
		{"a string", "byte string claims", wrap(nil,
			append([]byte{0xf8}, binary.AppendUvarint(nil, 1<<63)...))},
		{"structures in structures", "deep", wrap(nil, append([]byte{0xfc}, nested...))},
		{"lists in lists", "deep", wrap(nil, append([]byte{0xf9}, lists...))},
		{"an endless number", "too many bytes", wrap(nil,
			append([]byte{0x36}, bytes.Repeat([]byte{0xff}, 100)...))},
		{"empty chunks", "lacks", wrap(nil, manyChunks())},
	} {
		t.Run(c.name, func(t *testing.T) {
			used, err := drain(c.data, 1)
			t.Logf("%d bytes: %.2f MiB allocated: %v", len(c.data), float64(used)/(1<<20), err)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if used > 256<<10+uint64(8*len(c.data)) {
				t.Errorf("%d bytes were allocated for %d", used, len(c.data))
			}
		})
	}
}

// manyChunks is a footer whose row group has very many columns of a byte each.
func manyChunks() []byte {
	const n = 100_000
	w := new(thrift).open().list(2, wireStruct, 2)
	w.open().text(4, "root").int(5, 1).close()
	w.open().int(1, 2).int(3, 0).text(4, "n").close()
	w.int(3, 1).list(4, wireStruct, 1).open().list(1, wireStruct, n)
	for range n {
		w.b = append(w.b, 0x3c, 0, 0) // an empty description
	}
	return append(w.b, 0, 0)
}

func FuzzParquet(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range testColumns() {
		f.Add(writeFile(f, r, []testColumn{c}, 40).data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		used, err := drain(data, 1<<16)
		var fault *FileError
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("%T %v", err, err)
		}
		if limit := uint64(512 << 20); used > limit {
			t.Fatalf("%s: %d MiB for %d bytes", fmt.Sprint(err), used>>20, len(data))
		}
	})
}

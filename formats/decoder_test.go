package formats

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
)

var eventSeed = flag.Uint64("eventseed", 0, "seed of the random tests of events; 0: by the clock")

// eventRand returns a source of randomness, and says how to have the same again.
func eventRand(t testing.TB) *rand.Rand {
	seed := *eventSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat: go test ./formats -run '^%s$' -eventseed %d", t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

func newEventDecoder(t testing.TB, format Format, m *Mapping) *Decoder {
	t.Helper()
	d, err := NewDecoder(format, "usage", m)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// decodeEvents reads data as one chunk, and returns all batches.
func decodeEvents(t testing.TB, d *Decoder, b *Builder, c Chunk) []*engine.Batch {
	t.Helper()
	var batches []*engine.Batch
	for {
		n, err := d.Decode(c, b)
		if err != nil {
			t.Fatal(err)
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		if b.Full() {
			batches = append(batches, b.Batch())
			continue
		}
		if len(c.Data) > 0 {
			t.Fatalf("%d bytes not read by a builder that is not full", len(c.Data))
		}
		return append(batches, b.Batch())
	}
}

// showRow writes everything that a batch says of one row, but nothing of the batch's own.
func showRow(b *engine.Batch, row int) string {
	var s strings.Builder
	part, _ := b.Origin.Partition.At(row)
	fmt.Fprintf(&s, "%s@%d ", part, b.Origin.Offset[row])
	for _, m := range b.Malformed {
		if m.Row == row {
			fmt.Fprintf(&s, "MALFORMED %s %d %q ", m.Fault, m.Size, m.Raw)
		}
	}
	for _, d := range []*engine.Dict{&b.Source, &b.Type, &b.Subject} {
		v, ok := d.At(row)
		fmt.Fprintf(&s, "%q %t ", v, ok)
	}
	fmt.Fprintf(&s, "%q %d %t %s %x", b.ID.At(row), int64(b.Time[row]), b.TimeDefaulted.Has(row),
		b.Rest.At(row), b.Digest[row])
	props := rowProps(b, row)
	for _, path := range sortedKeys(props) {
		fmt.Fprintf(&s, " %s=%s", path, props[path])
	}
	return s.String()
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	// Insertion keeps the test free of what it tests.
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// rowProps returns the properties of a row by path: kind and text.
func rowProps(b *engine.Batch, row int) map[string]string {
	props := map[string]string{}
	for i := range b.Props {
		c := &b.Props[i]
		text, ok := "", false
		switch c.Kind {
		case engine.TextColumn:
			text, ok = c.Text.At(row)
			text = "text " + text
		case engine.WideColumn:
			text, ok = c.Text.At(row)
			text = "wide " + text
		case engine.NumberColumn:
			ok = c.Present.Has(row)
			text = "number " + c.Numbers[row].String()
		case engine.BoolColumn:
			ok = c.Present.Has(row)
			text = fmt.Sprint("bool ", c.Bools.Has(row))
		}
		if ok && props[c.Path] != "" {
			props[c.Path] += " TWICE"
		} else if ok {
			props[c.Path] = text
		}
	}
	return props
}

// checkBatch checks what must hold of every batch.
func checkBatch(t testing.TB, b *engine.Batch) {
	t.Helper()
	dicts := []*engine.Dict{&b.Source, &b.Type, &b.Subject, &b.Origin.Partition}
	paths := map[string]bool{}
	for i := range b.Props {
		c := &b.Props[i]
		key := fmt.Sprint(c.Kind, c.Path)
		if paths[key] {
			t.Fatalf("column %s is there twice", key)
		}
		paths[key] = true
		switch c.Kind {
		case engine.TextColumn, engine.WideColumn:
			dicts = append(dicts, &c.Text)
		case engine.NumberColumn:
			if len(c.Numbers) != b.Len {
				t.Fatalf("column %s has %d of %d rows", c.Path, len(c.Numbers), b.Len)
			}
		}
	}
	for _, d := range dicts {
		if len(d.Index) != b.Len {
			t.Fatalf("a dictionary has %d of %d rows", len(d.Index), b.Len)
		}
		seen := map[string]bool{}
		for _, v := range d.Values {
			if seen[v] {
				t.Fatalf("value %q is there twice", v)
			}
			seen[v] = true
		}
		for _, i := range d.Index {
			if i != engine.Absent && int(i) >= len(d.Values) {
				t.Fatalf("index %d of %d values", i, len(d.Values))
			}
		}
	}
	if len(b.Time) != b.Len || len(b.Digest) != b.Len || len(b.ID.End) != b.Len ||
		len(b.Rest.End) != b.Len || len(b.Origin.Offset) != b.Len {
		t.Fatal("columns of different length")
	}
	if len(b.Origin.Resume) != len(b.Origin.Partition.Values) || len(b.Props) > engine.MaxColumns {
		t.Fatal("wrong number of partitions or columns")
	}
	last := -1
	for _, m := range b.Malformed {
		if m.Row <= last || m.Row >= b.Len || m.Fault == "" || b.Digest[m.Row] != 0 {
			t.Fatalf("malformed row %d after %d: %q", m.Row, last, m.Fault)
		}
		last = m.Row
	}
}

// randomLine returns a line that is an event, or nearly one.
func randomLine(r *rand.Rand) []byte {
	line := []byte(randomEvent(r))
	switch r.IntN(12) {
	case 0: // one byte damaged
		line[r.IntN(len(line))] = byte(1 + r.IntN(255))
	case 1: // one byte lost
		i := r.IntN(len(line))
		line = append(line[:i], line[i+1:]...)
	case 2:
		line = line[:r.IntN(len(line))]
	case 3:
		hole := bytes.Repeat([]byte{0}, r.IntN(40))
		i := r.IntN(len(line) + 1)
		line = append(line[:i:i], append(hole, line[i:]...)...)
	case 4:
		line = bytes.Repeat([]byte(" "), r.IntN(3))
	}
	return bytes.ReplaceAll(line, []byte("\n"), []byte("?"))
}

// TestChunksDoNotShow holds the law that the cuts of chunks and batches show in no row.
func TestChunksDoNotShow(t *testing.T) {
	r := eventRand(t)
	mapping := &Mapping{
		ID: []string{FilePart, RowPart}, Type: MappedValue{Const: "call"},
		Subject: MappedValue{Path: "$.subject"}, Data: map[string]string{"a": "$.data", "b": "$.id"},
	}
	for round := range 60 {
		var data []byte
		for range 1 + r.IntN(120) {
			data = append(append(data, randomLine(r)...), '\n')
		}
		if r.IntN(2) == 0 {
			data = data[:len(data)-1]
		}
		m := mapping
		if round%2 == 0 {
			m = nil
		}
		whole := Chunk{Partition: "p", Ident: "f", Data: data, Last: true}
		var want []string
		d, fresh := newEventDecoder(t, NDJSON, m), NewBuilder("usage", Limits{})
		for _, b := range decodeEvents(t, d, fresh, whole) {
			checkBatch(t, b)
			for row := range b.Len {
				want = append(want, showRow(b, row))
			}
		}
		got := decodeCut(t, r, newEventDecoder(t, NDJSON, m), data)
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || want[i] != got[i] {
				t.Fatalf("row %d of %d and %d:\n%s\n%s", i, len(want), len(got),
					at(want, i), at(got, i))
			}
		}
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "none"
}

// decodeCut reads data in random chunks, builders and limits, and recycles some batches.
func decodeCut(t *testing.T, r *rand.Rand, d *Decoder, data []byte) (rows []string) {
	limits := Limits{Rows: 1 + r.IntN(9), Bytes: 1 + r.IntN(2000)}
	b := NewBuilder("usage", limits)
	resume := int64(0)
	cut := func() {
		moved := b.Moved()
		batch := b.Batch()
		checkBatch(t, batch)
		for row := range batch.Len {
			rows = append(rows, showRow(batch, row))
		}
		if moved {
			resume = batch.Origin.Resume[0]
		}
		switch r.IntN(4) {
		case 0:
			b = NewBuilder("usage", limits)
		case 1:
			b.Recycle(batch)
		}
	}
	for pos := 0; pos < len(data); {
		end := pos + r.IntN(len(data)-pos) + 1
		if n := bytes.LastIndexByte(data[:end], '\n'); n >= pos && end < len(data) {
			end = n + 1
		} else {
			end = len(data)
		}
		n, err := d.Decode(Chunk{
			Partition: "p", Ident: "f", Offset: int64(pos), Data: data[pos:end:end],
			Last: end == len(data),
		}, b)
		if err != nil {
			t.Fatal(err)
		}
		if pos += n; b.Full() || r.IntN(5) == 0 {
			cut()
			if resume != int64(pos) {
				t.Fatalf("resume at %d instead of %d", resume, pos)
			}
		}
	}
	cut()
	return rows
}

// TestColumnsCutBatches holds that rows with new columns go to the next batch, whole.
func TestColumnsCutBatches(t *testing.T) {
	var data []byte
	for i := range 700 {
		data = fmt.Appendf(data, `{"id":"%d","source":"s","type":"t","subject":"x",`+
			`"data":{"a":1,"k%d":2,"j%d":"v","r":[%d]}}`+"\n", i, i, i, i)
	}
	rows := 0
	batches := decodeEvents(t, newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{}),
		Chunk{Partition: "p", Data: data, Last: true})
	for _, b := range batches {
		checkBatch(t, b)
		for row := range b.Len {
			want := map[string]string{"data.a": "number 1", fmt.Sprintf("data.k%d", rows): "number 2",
				fmt.Sprintf("data.j%d", rows): "text v"}
			if got := rowProps(b, row); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("row %d: %v", rows, got)
			}
			if got, want := string(b.Rest.At(row)), fmt.Sprintf(`{"data.r":[%d]}`, rows); got != want {
				t.Fatalf("row %d: rest %s", rows, got)
			}
			rows++
		}
	}
	if rows != 700 || len(batches) != 6 {
		t.Fatalf("%d rows in %d batches", rows, len(batches))
	}
}

// TestCellsCutBatches holds the bound of rows times columns.
func TestCellsCutBatches(t *testing.T) {
	var data []byte
	for i := range 12_000 {
		data = fmt.Appendf(data, `{"id":"%d","source":"s","type":"t","subject":"x",`+
			`"data":{"k%d":2}}`+"\n", i, i%200)
	}
	rows := 0
	for _, b := range decodeEvents(t, newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{}),
		Chunk{Partition: "p", Data: data, Last: true}) {
		checkBatch(t, b)
		if b.Len*len(b.Props) > maxCells {
			t.Fatalf("%d rows of %d columns", b.Len, len(b.Props))
		}
		rows += b.Len
	}
	if rows != 12_000 {
		t.Fatal(rows)
	}
}

// TestLinesThatAreNoEvents reads blank lines, holes, marks and overlong lines.
func TestLinesThatAreNoEvents(t *testing.T) {
	event := `{"id":"1","source":"s","type":"t","subject":"x"}`
	nul := func(n int) string { return strings.Repeat("\x00", n) }
	for _, c := range []struct {
		name, data string
		want       string // of each row: offset, and its fault or ok
	}{
		{"blank", "\n \t\r\n\n", ""},
		{"no newline", event, "0 ok"},
		{"crlf", event + "\r\n\r\n" + event + "\r\n", "0 ok, 52 ok"},
		{"mark", "\xef\xbb\xbf" + event + "\n", "3 ok"},
		{"only a hole", nul(20), "0 hole of 20 NUL bytes"},
		{"hole before", nul(4096) + event + "\n", "0 hole of 4096 NUL bytes, 4096 ok"},
		{"hole after", event + nul(9) + " \n" + event, "0 ok, 48 hole of 9 NUL bytes, 59 ok"},
		{"hole inside", event[:9] + nul(8) + event + "\n",
			"0 line ends where a comma or the end of the object is expected, " +
				"9 hole of 8 NUL bytes, 17 ok"},
		{"no hole", nul(7) + event + "\n",
			`0 '\x00' instead of an event, which is a JSON object, at byte 1`},
		{"two holes", nul(8) + "\n" + nul(9) + " " + nul(10) + "\n",
			"0 hole of 8 NUL bytes, 9 hole of 9 NUL bytes, 19 hole of 10 NUL bytes"},
		{"overlong", `{"id":"` + strings.Repeat("a", MaxLine) + "\n" + event,
			"0 line of 1048583 bytes is longer than 1048576, 1048584 ok"},
		{"longest", event + strings.Repeat(" ", MaxLine-len(event)) + "\n", "0 ok"},
	} {
		var got []string
		b := NewBuilder("usage", Limits{})
		for _, batch := range decodeEvents(t, newEventDecoder(t, NDJSON, nil), b,
			Chunk{Partition: "p", Data: []byte(c.data), Last: true}) {
			checkBatch(t, batch)
			for row := range batch.Len {
				what := "ok"
				for _, m := range batch.Malformed {
					if m.Row == row {
						what = m.Fault
					}
				}
				got = append(got, fmt.Sprint(batch.Origin.Offset[row], " ", what))
			}
			if batch.Origin.Resume[0] != int64(len(c.data)) {
				t.Errorf("%s: resume at %d", c.name, batch.Origin.Resume[0])
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, s, c.want)
		}
	}
}

// TestRealTrace reads the Azure LLM inference traces of 2023; the figures are DuckDB's.
func TestRealTrace(t *testing.T) {
	m := &Mapping{
		ID: []string{FilePart, RowPart}, Type: MappedValue{Const: "llm.request"},
		Subject: MappedValue{Const: "azure"},
		Time:    MappedTime{Path: "$.TIMESTAMP", Layout: "2006-01-02 15:04:05.9999999", Zone: "UTC"},
		Data:    map[string]string{"input": "$.ContextTokens", "output": "$.GeneratedTokens"},
	}
	for _, c := range []struct {
		name                string
		rows, input, output int64
		first               string
	}{
		{"conv", 19_366, 22_361_870, 4_088_665, "2023-11-16T18:15:46.68059Z"},
		{"code", 8_819, 18_059_974, 245_896, "2023-11-16T18:17:03.97996Z"},
	} {
		name := filepath.Join("../../shared/data/azure-llm", "AzureLLMInferenceTrace_"+c.name+".csv")
		data, err := os.ReadFile(name)
		if err != nil {
			t.Skip("the public traces are not on this machine: ", err)
		}
		var rows, input, output int64
		for _, b := range decodeEvents(t, newEventDecoder(t, CSV, m), NewBuilder("usage", Limits{}),
			Chunk{Partition: c.name, Ident: c.name, Data: data, Last: true}) {
			checkBatch(t, b)
			if len(b.Malformed) > 0 {
				t.Fatal(b.Malformed[0])
			}
			for row := range b.Len {
				at := time.UnixMicro(int64(b.Time[row])).UTC().Format(time.RFC3339Nano)
				if rows == 0 && at != c.first {
					t.Errorf("%s: first row at %s", c.name, at)
				}
				rows++
				for path, text := range rowProps(b, row) {
					n, err := decimal.Parse(strings.TrimPrefix(text, "text "))
					v, err2 := strconv.ParseInt(n.String(), 10, 64)
					if err != nil || err2 != nil {
						t.Fatal(err, err2)
					}
					if path == "data.input" {
						input += v
					} else {
						output += v
					}
				}
			}
		}
		if rows != c.rows || input != c.input || output != c.output {
			t.Errorf("%s: %d rows, %d in, %d out", c.name, rows, input, output)
		}
	}
}

// TestWireCaptures reads what the CloudEvents SDK for JavaScript really sends.
func TestWireCaptures(t *testing.T) {
	data, err := os.ReadFile("../../shared/data/wire-captures/cloudevents-js-10.0.0.json")
	if err != nil {
		t.Skip("the wire captures are not on this machine: ", err)
	}
	var requests []struct {
		Headers map[string]string
		Body    string
	}
	if err := json.Unmarshal(data, &requests); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range requests {
		if !strings.HasPrefix(r.Headers["content-type"], "application/cloudevents+json") {
			continue
		}
		seen++
		b := decodeEvents(t, newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{}),
			Chunk{Partition: "http", Data: []byte(r.Body), Last: true})[0]
		want := `"/svc" true "prompt" true "customer-1" true "ce-1" 1767225600000000 false ` +
			`{"tenant":"t1"}`
		if got := showRow(b, 0); !strings.Contains(got, want) ||
			!strings.HasSuffix(got, " data.tokens=number 7") {
			t.Error(got)
		}
	}
	if seen == 0 {
		t.Error("no structured event in the captures")
	}
}

// benchmarkLines returns events of about 200 bytes with four properties.
func benchmarkLines(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var data []byte
	for i := range n {
		at := time.UnixMilli(1_772_323_794_777 + int64(i)*13).UTC().Format("2006-01-02T15:04:05.000Z")
		data = fmt.Appendf(data, `{"id":"%08x-%04x-4%03x-8%03x-%012x","source":"/svc",`+
			`"type":"llm.request","subject":"cust-%05d","time":"%s",`+
			`"data":{"input_tokens":%d,"output_tokens":%d,"model":"large-%d","region":"eu"}}`+"\n",
			r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xfff,
			r.Uint32()&0xfff, r.Uint64()&0xffffffffffff, r.IntN(20_000), at, r.IntN(5000), r.IntN(900),
			r.IntN(4))
	}
	return data
}

// decodeAll reads the data from its start to its end with a builder that recycles.
func decodeAll(tb testing.TB, d *Decoder, b *Builder, data []byte) (rows int) {
	for pos := 0; pos < len(data); {
		n, err := d.Decode(Chunk{Partition: "p", Ident: "f", Offset: int64(pos), Data: data[pos:]}, b)
		if err != nil {
			tb.Fatal(err)
		}
		if pos += n; b.Full() || pos == len(data) {
			batch := b.Batch()
			rows += batch.Len
			if len(batch.Malformed) > 0 {
				tb.Fatal(batch.Malformed[0].Fault)
			}
			b.Recycle(batch)
		}
	}
	return rows
}

// TestDecodeDoesNotAllocate allows what does not grow with the rows of a batch: the blocks of the
// values that a dictionary forgot, at most one a thousand rows.
func TestDecodeDoesNotAllocate(t *testing.T) {
	const rows = 50_000
	data := benchmarkLines(rows)
	d, b := newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{})
	decodeAll(t, d, b, data)
	n := testing.AllocsPerRun(3, func() {
		if got := decodeAll(t, d, b, data); got != rows {
			t.Fatal(got)
		}
	})
	if n > rows/1000 {
		t.Errorf("%.0f allocations for %d rows", n, rows)
	}
}

func BenchmarkDecode(b *testing.B) {
	const rows = 100_000
	data := benchmarkLines(rows)
	perRow := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		b.ReportMetric(float64(len(data))/rows, "B/row")
	}
	b.Run("billctl", func(b *testing.B) {
		d, builder := newEventDecoder(b, NDJSON, nil), NewBuilder("usage", Limits{})
		decodeAll(b, d, builder, data)
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			decodeAll(b, d, builder, data)
		}
		perRow(b)
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			for line := range bytes.Lines(data) {
				var e struct {
					ID, Source, Type, Subject string
					Time                      time.Time
					Data                      map[string]any
				}
				if err := json.Unmarshal(line, &e); err != nil {
					b.Fatal(err)
				}
			}
		}
		perRow(b)
	})
}

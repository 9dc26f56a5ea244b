package formats

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
)

var randomTimes = flag.Int("random.times", 1, "times as many random files and reports as usual")

// handmadeEvents are lines in which everything is that files could lose.
func handmadeEvents() string {
	event := func(id, more string) string {
		return `{"id":"` + id + `","source":"/s","type":"t","subject":"u"` + more + "}\n"
	}
	return event("1", `,"time":"2026-01-02T03:04:05.678901Z","data":{"n":5,"t":"x","b":true}`) +
		event("2", `,"time":"2026-01-02T03:04:05Z","data":{"n":"5","t":7.25,"b":null}`) +
		event("3", `,"data":{"n":-0.000000000000000001,"big":123456789012345678901234567890}`) +
		event("4", `,"data":{"a":{"b":{"c":1,"d":[1, 2,{"x":null}]},"e":{}},"tags":["ä","\u00e9"]}`) +
		event("5", `,"data":{"a.b":1,"a\\b":"back","":"empty name","a":{"":2},"ümlaut":"日本"}`) +
		event("6", `,"tenant":"x","traceparent":null,"n":5,"list":[1.50],"data":{"n":1e30,"b":false}`) +
		event("7", `,"data":{"t":"","q":"a \"quoted\", text\twith\\all","n":99999999999999999999.5}`) +
		event("8", `,"data":{"t":"line\nbreak","u":"\u0001"},"a.b":{"c":[]}`) +
		event("9", ``) +
		event("10", `,"data":{"n":1e-18,"N":1,"deep":{"deep":{"deep":{"deep":{"v":"w"}}}}}`) +
		event(strings.Repeat("i", 1024), `,"data":{"x, y":1,"exp":1E+3}`) +
		event("broken", `,"data":{`) +
		event("13", `,"x":{"data":5,"data.n":6},"data.n":7,"\\p":1,"\\w":"2","\\rx":3,"data":{"z":1e-30}`)
}

// eventBatches decodes lines, and gives rows without a time their arrival.
func eventBatches(t testing.TB, data []byte, limits Limits) []*engine.Batch {
	d, b := newEventDecoder(t, NDJSON, nil), NewBuilder("usage", limits)
	batches := decodeEvents(t, d, b, Chunk{Partition: "p", Data: data, Last: true})
	for _, b := range batches {
		bad := badRows(b)
		for row := range b.Len {
			if b.TimeDefaulted.Has(row) && !bad.Has(row) {
				b.Time[row] = 1_800_000_000_000_000
			}
		}
	}
	return batches
}

func yielding(batches []*engine.Batch) func(yield func(*engine.Batch) error) error {
	return func(yield func(*engine.Batch) error) error {
		for _, b := range batches {
			if err := yield(b); err != nil {
				return err
			}
		}
		return nil
	}
}

// showEvents writes the events of batches, each with the time that files give it. Members of rest
// are in the order of their paths.
func showEvents(batches []*engine.Batch) (rows []string) {
	for _, b := range batches {
		bad := badRows(b)
		for row := range b.Len {
			if bad.Has(row) {
				continue
			}
			digest := b.Digest[row]
			if b.TimeDefaulted.Has(row) {
				digest += uint64(engine.DigestTime(b.Time[row]))
			}
			source, _ := b.Source.At(row)
			typ, _ := b.Type.At(row)
			subject, _ := b.Subject.At(row)
			s := fmt.Sprintf("%q %q %q %q %v %x %s", b.ID.At(row), source, typ, subject, b.Time[row],
				digest, b.Rest.At(row))
			props := rowProps(b, row)
			for _, path := range sortedKeys(props) {
				s += fmt.Sprintf(" %s=%s", path, props[path])
			}
			rows = append(rows, s)
		}
	}
	return rows
}

// allBatches reads all batches of a file of columns.
func allBatches(t testing.TB, data []byte, o RowOptions) []*engine.Batch {
	t.Helper()
	r, err := OpenRows("usage", bytes.NewReader(data), int64(len(data)), o)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRows(t, r)
	return nextRows(t, r)
}

func closeRows(t testing.TB, r *RowReader) {
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func nextRows(t testing.TB, r *RowReader) (batches []*engine.Batch) {
	t.Helper()
	for {
		b, err := r.Next()
		if err == io.EOF {
			return batches
		}
		if err != nil {
			t.Fatal(err)
		}
		checkBatch(t, b)
		batches = append(batches, b)
	}
}

func sameRows(t testing.TB, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if at(got, i) != at(want, i) {
			t.Fatalf("%s: row %d of %d and %d:\ngot  %s\nwant %s", what, i, len(got), len(want),
				at(got, i), at(want, i))
		}
	}
}

// TestEventsOut writes events in each format and reads the same rows again.
func TestEventsOut(t *testing.T) {
	r := eventRand(t)
	total := 0
	for round := range 20 * *randomTimes {
		var data []byte
		switch round {
		case 0:
			data = []byte(handmadeEvents())
		case 1:
			data = benchmarkLines(3000)
		default:
			for range r.IntN(300) {
				data = append(append(data, randomLine(r)...), '\n')
			}
		}
		batches := eventBatches(t, data, Limits{Rows: 1 + r.IntN(400)})
		want := showEvents(batches)
		left := 0
		for _, b := range batches {
			left += len(b.Malformed)
		}
		for _, format := range []Format{NDJSON, Parquet, Arrow} {
			var out bytes.Buffer
			rows, bad, err := WriteEvents(&out, format, yielding(batches))
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if int(rows) != len(want) || int(bad) != left {
				t.Fatalf("%s: %d rows and %d left out of %d and %d", format, rows, bad, len(want), left)
			}
			var again []*engine.Batch
			if format == NDJSON {
				again = eventBatches(t, out.Bytes(), Limits{})
			} else {
				again = allBatches(t, out.Bytes(), RowOptions{
					Source: "usage", Partition: "p", Limits: Limits{Rows: 1 + r.IntN(500), Bytes: r.IntN(9000)},
				})
			}
			sameRows(t, fmt.Sprintf("round %d: %s", round, format), showEvents(again), want)
			total += len(want)
		}
	}
	t.Logf("%d rows", total)
}

// TestEventsOutCSV reads by a mapping what text can say.
func TestEventsOutCSV(t *testing.T) {
	data := benchmarkLines(500)
	batches := eventBatches(t, data, Limits{Rows: 100})
	for _, format := range []Format{CSV, TSV} {
		var out bytes.Buffer
		if _, _, err := WriteEvents(&out, format, yielding(batches)); err != nil {
			t.Fatal(err)
		}
		m := &Mapping{
			ID: []string{"$.id"}, Source: MappedValue{Path: "$.source"}, Type: MappedValue{Path: "$.type"},
			Subject: MappedValue{Path: "$.subject"}, Time: MappedTime{Path: "$.time"},
			Data: map[string]string{
				"model": "$.data.model", "region": "$.data.region", "input_tokens": "$.data.input_tokens",
				"output_tokens": "$.data.output_tokens",
			},
		}
		again := decodeEvents(t, newEventDecoder(t, format, m), NewBuilder("usage", Limits{}),
			Chunk{Partition: "p", Data: out.Bytes(), Last: true})
		clean := func(rows []string) []string {
			for i, s := range rows { // numbers are text in CSV, so digests differ
				fields := strings.Fields(strings.ReplaceAll(s, "=number ", "=text "))
				rows[i] = strings.Join(slices.Delete(fields, 5, 6), " ")
			}
			return rows
		}
		sameRows(t, format.String(), clean(showEvents(again)), clean(showEvents(batches)))
	}
	var out bytes.Buffer
	if _, _, err := WriteEvents(&out, CSV, yielding(eventBatches(t, []byte(
		`{"id":"1","source":"/s","type":"t","subject":"u","time":"2026-01-01T00:00:00Z",`+
			`"data":{"a":"x, \"y\"","b":"","c":[1],"n":1e40}}`+"\n"+
			`{"id":"2","source":"/s","type":"t","subject":"u","time":"2026-01-01T00:00:00.5Z",`+
			`"ext":1,"data":{"a":true,"b":2.50}}`+"\n"), Limits{}))); err != nil {
		t.Fatal(err)
	}
	want := "id,source,type,subject,time,data.a,data.b,rest\n" +
		`1,/s,t,u,2026-01-01T00:00:00Z,"x, ""y""","","{""data.c"":[1],""data.n"":1e40}"` + "\n" +
		`2,/s,t,u,2026-01-01T00:00:00.5Z,true,2.5,"{""ext"":1}"` + "\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestEventsOutRefused shows rows that a format can't hold, and a writer that fails.
func TestEventsOutRefused(t *testing.T) {
	b := eventBatches(t, []byte(handmadeEvents()), Limits{})[0]
	both := *b
	both.Props = append(slices.Clone(b.Props), engine.Column{
		Path: "data.n.x", Kind: engine.BoolColumn, Present: engine.Bits{1}, Bools: engine.Bits{1},
	})
	_, _, err := WriteEvents(io.Discard, NDJSON, yielding([]*engine.Batch{&both}))
	if err == nil || !strings.Contains(err.Error(), `"data.n" and "data.n.x" can't be in one`) {
		t.Error(err)
	}
	if _, _, err := WriteEvents(io.Discard, 9, yielding(nil)); err == nil {
		t.Error("format 9 is written")
	}
	for _, format := range []Format{NDJSON, CSV, Parquet, Arrow} {
		for _, size := range []int{0, 10, 400} {
			_, _, err := WriteEvents(&fullDisk{size}, format, yielding([]*engine.Batch{b}))
			if err == nil || !strings.Contains(err.Error(), "disk is full") {
				t.Errorf("%s after %d bytes: %v", format, size, err)
			}
		}
	}
}

// TestEventsOutGrown gives more events in the second run than in the first, as a journal does that
// is written meanwhile. What the planned columns can't hold exactly must end the writing.
func TestEventsOutGrown(t *testing.T) {
	batch := func(id, number string) *engine.Batch {
		return eventBatches(t, []byte(`{"id":"`+id+`","source":"/s","type":"t","subject":"u",`+
			`"time":"2026-01-02T03:04:05Z","data":{"n":`+number+`}}`+"\n"), Limits{})[0]
	}
	const uuid = "0a000000-0000-4000-8000-000000000000"
	for _, test := range []struct {
		what, planned, later, id string
		fits                     bool
		formats                  []Format
	}{
		{"wide", "99999999999999999999.25", "0.12", "x", true, []Format{Parquet, Arrow}},
		{"wide, finer", "99999999999999999999.25", "0.129", "x", false, []Format{Parquet, Arrow}},
		{"wide, finer below 0", "99999999999999999999.25", "-0.129", "x", false,
			[]Format{Parquet, Arrow}},
		{"small", "0.25", "9999999999999999.99", "x", true, []Format{Parquet, Arrow}},
		{"small, greater", "0.25", "10000000000000000", "x", false, []Format{Parquet, Arrow}},
		{"small, least", "0.25", "-10000000000000000", "x", false, []Format{Parquet, Arrow}},
		{"small, finer", "0.25", "0.129", "x", false, []Format{Parquet, Arrow}},
		{"whole", "5", "-9223372036854775807", "x", true, []Format{Parquet, Arrow}},
		{"whole, finer", "5", "0.5", "x", false, []Format{Parquet, Arrow}},
		{"whole, greater", "5", "9223372036854775808", "x", false, []Format{Parquet, Arrow}},
		{"text for a UUID", "5", "5", "", false, []Format{Parquet}},
		{"another case", "5", "5", strings.ToUpper(uuid), false, []Format{Parquet}},
		{"more than a UUID", "5", "5", uuid + "!", false, []Format{Parquet}},
	} {
		id := uuid
		if test.id == "" {
			test.id = "text"
		} else if test.id == "x" {
			id = "1"
		}
		for _, format := range test.formats {
			first, calls := batch(id, test.planned), 0
			later := batch(test.id, test.later)
			var out bytes.Buffer
			_, _, err := WriteEvents(&out, format, func(yield func(*engine.Batch) error) error {
				batches := []*engine.Batch{first}
				if calls++; calls == 2 {
					batches = append(batches, first, later)
					if format == Arrow { // its texts are in dictionaries
						batches = []*engine.Batch{first, batch(id, test.later)}
					}
				}
				return yielding(batches)(yield)
			})
			if test.fits != (err == nil) || err != nil && !errors.Is(err, errPlan) {
				t.Errorf("%s as %s: %v", test.what, format, err)
			}
		}
	}
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if len(b) > d.left {
		return 0, fmt.Errorf("the disk is full")
	}
	d.left -= len(b)
	return len(b), nil
}

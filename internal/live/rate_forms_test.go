package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
)

// batchesOf reads the lines of the house as batches of the given size, as a source does.
func (h *rateHouse) batchesOf(t *testing.T, size int) []*engine.Batch {
	t.Helper()
	d, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := formats.NewBuilder("usage", formats.Limits{Rows: size})
	c := formats.Chunk{Partition: "all", Data: bytes.Join(h.lines, nil), Last: true}
	var out []*engine.Batch
	for len(c.Data) > 0 {
		n, err := d.Decode(c, b)
		if err != nil {
			t.Fatal(err)
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		out = append(out, b.Batch())
	}
	return out
}

// export writes the batches as a file of the house and returns how many rows it left out.
func (h *rateHouse) export(t *testing.T, name string, batches []*engine.Batch) int64 {
	t.Helper()
	f, err := os.Create(h.path(name))
	if err != nil {
		t.Fatal(err)
	}
	_, left, err := formats.WriteEvents(f, formats.FormatOf(name),
		func(yield func(*engine.Batch) error) error {
			for _, b := range batches {
				if err := yield(b); err != nil {
					return err
				}
			}
			return nil
		})
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return int64(left)
}

// TestRateForms rates the same events in all forms that we write: the digest is one, so are the
// invoices, and but for malformed lines, which no such file has, so is the control total.
func TestRateForms(t *testing.T) {
	seed := rand.Uint64N(1 << 32)
	t.Logf("seed %d", seed)
	h := newRateHouse(t, 12_000, seed)
	o := RateOptions{CloseAt: utc(2026, 5, 2)}
	one := h.rate(t, o, "all.ndjson")
	batches := h.batchesOf(t, 2500)
	for _, name := range []string{"out.ndjson", "out.parquet", "out.arrow"} {
		if n := h.export(t, name, batches); n != h.truth.Count("malformed") {
			t.Errorf("%s: %d rows were left out, want %d", name, n, h.truth.Count("malformed"))
		}
		for _, shards := range []int{1, 2, 4} {
			o.Shards, o.BatchRows = shards, 1000*shards
			got := h.rate(t, o, name)
			one.same(t, name, got)
			want := one.Files[0].Counts
			want[engine.ReasonMalformed] = 0
			if got.Files[0].Counts != want {
				t.Errorf("%s: counts are %v, want %v", name, got.Files[0].Counts, want)
			}
			if f := got.Files[0].Format; !strings.HasSuffix(name, f) {
				t.Errorf("%s: format is %s", name, f)
			}
		}
	}
	// In parts, of several forms, in another order.
	half := len(batches) / 2
	h.export(t, "x.parquet", batches[half:])
	h.export(t, "y.arrow", batches[:half])
	one.same(t, "in parts", h.rate(t, o, "x.parquet", "y.arrow", "b"))
}

// duckdb returns DuckDB, or skips the test.
func duckdb(t *testing.T) *fixtures.DuckDB {
	t.Helper()
	db, err := fixtures.NewDuckDB()
	if errors.Is(err, fixtures.ErrNoDuckDB) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestRateDuckDB rates what DuckDB makes of the lines: it reads them as JSON and writes Parquet.
// Its columns have other types than ours: a struct, floating point, timestamps without a zone.
func TestRateDuckDB(t *testing.T) {
	db := duckdb(t)
	seed := rand.Uint64N(1 << 32)
	t.Logf("seed %d", seed)
	// Without values that are no numbers: they would make texts of their whole column.
	h := newRateHouseOf(t, 6000, seed, fixtures.Rates{
		DuplicateNear: 8000, Unknown: 1000, TooEarly: 100, NoSubscription: 500, Unmatched: 2000,
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	h.export(t, "ours.parquet", h.batchesOf(t, 4000))
	_, err := db.Query(ctx, h.dir,
		// status is a number or a text: DuckDB makes JSON of it, whose texts have quotes.
		"COPY (SELECT * REPLACE (struct_update(data, status := data.status->>'$') AS data) "+
			"FROM read_json('all.ndjson', format='newline_delimited')) "+
			"TO 'snappy.parquet' (FORMAT parquet, COMPRESSION snappy)",
		"COPY (SELECT * FROM 'ours.parquet' ORDER BY id) "+
			"TO 'zstd.parquet' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 2048)",
		"COPY (SELECT * FROM 'ours.parquet' ORDER BY subject) "+
			"TO 'v2.parquet' (FORMAT parquet, PARQUET_VERSION v2)",
		"COPY (SELECT * REPLACE (CASE WHEN id = (SELECT max(id) FROM 'ours.parquet') THEN NULL "+
			"ELSE time END AS time) FROM 'ours.parquet' ORDER BY id) TO 'untimed.parquet'")
	if err != nil {
		t.Fatal(err)
	}
	o := RateOptions{CloseAt: utc(2026, 5, 2)}
	one := h.rate(t, o, "all.ndjson")
	for _, name := range []string{"zstd.parquet", "v2.parquet", "snappy.parquet"} {
		one.same(t, name, h.rate(t, o, name))
	}
	o.Files, o.Catalog = []string{h.path("untimed.parquet")}, h.catalog
	_, err = Rate(ctx, o)
	if err == nil || !strings.Contains(err.Error(), "untimed.parquet at row ") ||
		!strings.Contains(err.Error(), "the row has no time") {
		t.Errorf("a row without a time: %v", err)
	}
}

// TestRateForeign rates tables that were never events, by a mapping: Parquet and CSV of DuckDB give
// one digest. Two files that begin alike have other ids all the same.
func TestRateForeign(t *testing.T) {
	db := duckdb(t)
	h := &rateHouse{dir: t.TempDir()}
	var err error
	h.catalog, err = formats.ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(`
meters:
  - {key: minutes, event: call, aggregate: sum, value: data.minutes, group_by: {to: data.to}}
plans: [{key: payg, version: 1, currency: EUR, period: month,
  prices: [{key: minutes, meter: minutes, model: unit, unit: "0.0137", per: [to]}]}]
defaults: {call: payg}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := formats.ReadMapping("m.yaml", []byte(`
id: [$.file, $.row]
type: {const: call}
subject: $.who
time: {field: $.at, layout: unix}
data: {minutes: $.m, to: $.to}
`))
	if err != nil {
		t.Fatal(err)
	}
	const rows = "SELECT md5(i::VARCHAR) AS pad, 'c' || (i %% 7) AS who, 1772323200 + i * 60 AS at, " +
		"((i * 7919 + %d) %% 100000)::DECIMAL(9, 3) / 1000::DECIMAL(9, 3) AS m, " +
		"['de', 'fr', NULL][1 + i %% 3] AS to FROM range(20000) r(i)"
	a, b := fmt.Sprintf(rows, 1), fmt.Sprintf(rows, 55)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	_, err = db.Query(ctx, h.dir,
		"COPY ("+a+") TO 'a.parquet' (COMPRESSION uncompressed)",
		"COPY ("+b+") TO 'b.parquet' (COMPRESSION uncompressed)",
		"COPY ("+a+") TO 'a.csv'", "COPY ("+b+" ORDER BY m) TO 'b.csv.gz' (FORMAT csv, COMPRESSION gzip)")
	if err != nil {
		t.Fatal(err)
	}
	o := RateOptions{CloseAt: utc(2026, 3, 10), Mapping: m}
	one := h.rate(t, o, "a.parquet", "b.parquet")
	if n := one.View.Controls()[0].Counts[engine.Accepted]; n != 40_000 {
		t.Errorf("%d rows count, want 40000: %v", n, one.Files)
	}
	o.Shards = 2
	one.same(t, "CSV", h.rate(t, o, "b.csv.gz", "a.csv"))
	one.same(t, "both", h.rate(t, o, "b.parquet", "a.csv"))
	m.Subject.Path = "$.whom"
	o.Files, o.Catalog = []string{h.path("a.parquet")}, h.catalog
	var file *formats.FileError
	if _, err = Rate(ctx, o); !errors.As(err, &file) || !strings.Contains(err.Error(), `"whom"`) {
		t.Errorf("a column that is not there: %v", err)
	}
}

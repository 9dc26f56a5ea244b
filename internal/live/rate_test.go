package live

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
)

// rateHouse is usage in files, and the catalog that prices it.
type rateHouse struct {
	dir      string
	accounts []byte
	catalog  *formats.Catalog
	truth    fixtures.Truth
	lines    [][]byte // of the usage, as NDJSON
}

// rateMapping reads the CSV of fixtures, or with other paths the NDJSON (docs/formats/fixtures.md).
const rateMapping = `
id: [$.id]
source: $.source
type: $.type
subject: $.subject
time: {field: $.time}
data: {model: $.model, region: $.region, input_tokens: $.input_tokens, gpu_type: $.gpu_type,
  output_tokens: $.output_tokens, endpoint: $.endpoint, status: $.status, gigabytes: $.gigabytes,
  minutes: $.minutes}
`

// mapped returns a mapping for the CSV of fixtures; flat is false for the NDJSON.
func mapped(t *testing.T, flat bool) *formats.Mapping {
	t.Helper()
	text := rateMapping
	if !flat {
		at := strings.Index(text, "data:") + 5
		nested := strings.ReplaceAll(text[at:], "$.", "$.data.")
		text = text[:at] + strings.Replace(nested, "$.data.gpu_type", "$.data.gpu.type", 1)
	}
	m, err := formats.ReadMapping("mapping.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newRateHouse(t *testing.T, events int64, seed uint64) *rateHouse {
	t.Helper()
	rates := fixtures.DefaultRates
	rates.Conflict = 0 // of two contradicting events the first counts, so their order matters
	rates.TooEarly = 2000
	return newRateHouseOf(t, events, seed, rates)
}

func newRateHouseOf(t *testing.T, events int64, seed uint64, rates fixtures.Rates) *rateHouse {
	t.Helper()
	u := fixtures.NewUsage(fixtures.UsageConfig{
		Seed: seed, Events: events, Accounts: 12, Rates: &rates,
	})
	h := &rateHouse{dir: t.TempDir()}
	h.accounts = fixtures.AccountsYAML(u.Accounts())
	h.catalog = rateCatalog(t, h.accounts, false)
	var all, table bytes.Buffer
	var err error
	if h.truth, err = u.WriteNDJSON(&all); err != nil {
		t.Fatal(err)
	}
	if _, err = u.WriteCSV(&table); err != nil {
		t.Fatal(err)
	}
	h.lines = slices.Collect(bytes.Lines(all.Bytes()))
	h.write(t, "all.ndjson", all.Bytes())
	h.write(t, "all.csv", table.Bytes())
	n := len(h.lines)
	for name, part := range map[string][][]byte{
		"a.ndjson": h.lines[:n/3], "b": h.lines[n/3 : n/2], "c.json": h.lines[n/2:],
	} {
		h.write(t, name, bytes.Join(part, nil))
	}
	return h
}

// rateCatalog is the demo's catalog with accounts. flat: properties have one name.
func rateCatalog(t *testing.T, accounts []byte, flat bool) *formats.Catalog {
	t.Helper()
	fsys := fstest.MapFS{"accounts.yaml": &fstest.MapFile{Data: accounts}}
	err := fs.WalkDir(fixtures.Catalog(), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			data, err := fs.ReadFile(fixtures.Catalog(), name)
			if flat {
				data = bytes.ReplaceAll(data, []byte("data.gpu.type"), []byte("data.gpu_type"))
			}
			fsys[name] = &fstest.MapFile{Data: data}
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := formats.ReadCatalog(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *rateHouse) path(name string) string { return filepath.Join(h.dir, name) }

func (h *rateHouse) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(h.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rated is what a rating came to.
type rated struct {
	*RateResult
	invoices string
}

// rate rates files of the house as of June 2026.
func (h *rateHouse) rate(t *testing.T, o RateOptions, files ...string) rated {
	t.Helper()
	for _, f := range files {
		o.Files = append(o.Files, h.path(f))
	}
	var out rated
	o.Catalog, o.Now = h.catalog, utc(2026, 6, 1)
	o.Emit = func(inv *engine.Invoice) error {
		out.invoices += formats.InvoiceKey(inv) + "\n" + string(formats.AppendInvoice(nil, inv))
		return nil
	}
	var err error
	if out.RateResult, err = Rate(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if err := out.View.CheckControls(); err != nil {
		t.Error(err)
	}
	return out
}

// same holds two ratings of the same usage against each other.
func (r rated) same(t *testing.T, what string, o rated) {
	t.Helper()
	if r.Billing != o.Billing {
		t.Errorf("%s: billing digest %x, want %x", what, o.Billing[:6], r.Billing[:6])
	}
	if r.invoices != o.invoices {
		t.Errorf("%s: the invoices differ", what)
	}
	if o.View.Standing().Watermark != engine.Past {
		t.Errorf("%s: there is a watermark", what)
	}
}

// TestRate rates the same usage in several orders, forms and numbers of shards: invoices are equal
// to the byte, so is the billing digest, and what counts is what the generator says.
func TestRate(t *testing.T) {
	seed := rand.Uint64N(1 << 32)
	t.Logf("seed %d", seed)
	h := newRateHouse(t, 20_000, seed)
	for _, closing := range []bool{false, true} {
		closeAt := engine.Past
		if closing {
			closeAt = utc(2026, 5, 2)
		}
		one := h.rate(t, RateOptions{CloseAt: closeAt}, "all.ndjson")
		for _, reason := range engine.ReasonNames() {
			r, _ := engine.ReasonOf(reason)
			if n := int64(one.Files[0].Counts[r]); n != h.truth.Count(reason) {
				t.Errorf("%d rows are %s, want %d", n, reason, h.truth.Count(reason))
			}
		}
		if got := one.Invoices > 0; got != closing {
			t.Errorf("%d invoices with a close: %v", one.Invoices, closing)
		}
		for _, w := range []struct {
			files string
			o     RateOptions
		}{
			{"a.ndjson b c.json", RateOptions{Shards: 2}},
			{"c.json a.ndjson b", RateOptions{Shards: 4, BatchRows: 1000}},
			{"b c.json a.ndjson", RateOptions{BatchRows: 7}},
			{"a.ndjson all.ndjson b", RateOptions{Shards: 3}},
		} {
			w.o.CloseAt = closeAt
			one.same(t, w.files, h.rate(t, w.o, strings.Fields(w.files)...))
		}
	}
}

// TestRateMapped rates the same usage as CSV and as JSON by mappings: numbers that are texts count
// as numbers do. A property of a mapping has one name, so the catalog has to take it so.
func TestRateMapped(t *testing.T) {
	seed := rand.Uint64N(1 << 32)
	t.Logf("seed %d", seed)
	h := newRateHouse(t, 20_000, seed)
	plain := h.rate(t, RateOptions{CloseAt: engine.Past}, "all.ndjson")
	h.catalog = rateCatalog(t, h.accounts, true)
	for _, closeAt := range []engine.Micros{engine.Past, utc(2026, 5, 2)} {
		json := h.rate(t, RateOptions{CloseAt: closeAt, Mapping: mapped(t, false)}, "all.ndjson")
		table := h.rate(t, RateOptions{CloseAt: closeAt, Mapping: mapped(t, true)}, "all.csv")
		json.same(t, "all.csv", table)
		if n := table.Files[0].Counts[engine.Accepted]; table.Files[0].Format != RateCSV ||
			table.Rows != plain.Rows || n != plain.Files[0].Counts[engine.Accepted] {
			t.Errorf("%d of %d rows of format %s count", n, table.Rows, table.Files[0].Format)
		}
	}
}

// TestRateShuffled rates the same lines in a random order, through pipes that are packed or not.
func TestRateShuffled(t *testing.T) {
	seed := rand.Uint64N(1 << 32)
	t.Logf("seed %d", seed)
	h := newRateHouse(t, 5000, seed)
	o := RateOptions{CloseAt: utc(2026, 4, 20)}
	one := h.rate(t, o, "all.ndjson")
	rng := rand.New(rand.NewPCG(seed, 1))
	for i, pack := range []func([]byte) []byte{gzipped, zstdOf, slices.Clone[[]byte]} {
		lines := slices.Clone(h.lines)
		rng.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		o := o
		o.Files, o.Shards = []string{"-"}, i+1
		o.Stdin = iotest.HalfReader(bytes.NewReader(pack(bytes.Join(lines, nil))))
		one.same(t, fmt.Sprintf("pipe %d", i), h.rate(t, o))
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // memory takes everything
	_ = z.Close()     // as above
	return out.Bytes()
}

func zstdOf(b []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return z.EncodeAll(b, nil)
}

// TestRateDefaults shows that accounts which a default opens do not depend on the order of events,
// however old they are.
func TestRateDefaults(t *testing.T) {
	const catalog = `
meters: [{key: calls, event: call, aggregate: count, unit: call}]
plans: [{key: payg, version: 1, currency: EUR, period: month,
  prices: [{key: calls, meter: calls, model: unit, unit: "0.10"}]}]
defaults: {call: payg}
`
	c, err := formats.ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(catalog)}})
	if err != nil {
		t.Fatal(err)
	}
	h := &rateHouse{dir: t.TempDir(), catalog: c}
	line := func(id int, date string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"s","type":"call","subject":"x",`+
			`"time":"%sT00:00:00Z"}`+"\n", id, date)
	}
	old, young := line(1, "2009-03-01"), line(2, "2026-05-01")
	h.write(t, "1.ndjson", []byte(old+young))
	h.write(t, "2.ndjson", []byte(young+old))
	one := h.rate(t, RateOptions{}, "1.ndjson")
	one.same(t, "the other way round", h.rate(t, RateOptions{}, "2.ndjson"))
	if n := one.Files[0].Counts[engine.Accepted]; n != 2 {
		t.Errorf("%d rows count, want 2", n)
	}
}

// TestRateInput shows what is said of files that can't be rated.
func TestRateInput(t *testing.T) {
	const event = `{"specversion":"1.0","id":"1","source":"s","type":"llm.request",` +
		`"subject":"acct_0001","time":"2026-03-02T00:00:00Z","data":{}}`
	h := newRateHouse(t, 100, 1)
	untimed := strings.Replace(event, `"time":"2026-03-02T00:00:00Z",`, "", 1)
	packed := gzipped([]byte(strings.Repeat(event+"\n", 5000)))
	for name, text := range map[string]string{
		"untimed.ndjson": event + "\n" + untimed + "\n", "list.json": "[" + event + "]",
		"table.csv": "when,who\n1,2\n", "strange": "when,who\n1,2\n",
		"cut.ndjson.gz": string(packed[:99]), "packed.gz": string(gzipped([]byte("PAR1"))),
		"other.csv": "id,source\n1,2\n",
	} {
		h.write(t, name, []byte(text))
	}
	m := mapped(t, true)
	for _, c := range []struct {
		file, format string
		mapped       bool
		text, hint   string
	}{
		{"untimed.ndjson", "", false, "untimed.ndjson at byte 127: the row has no time", "give every"},
		{"list.json", "", false, "list.json: it is one JSON list", "jq -c"},
		{"table.csv", "", false, "table.csv: a table is no events", "the columns are: when,who"},
		{"table.csv", RateTSV, false, "table.csv: a table is no events", "--mapping"},
		{"strange", "", false, "strange: neither its name nor", "--format ndjson|csv|tsv|parquet|arrow"},
		{"other.csv", "", true, `other.csv:1: no column "endpoint"; the columns are`, "of their own"},
		{"cut.ndjson.gz", "", false, "cut.ndjson.gz: gzip, after", "fetch it again"},
		{"packed.gz", "", false, "packed.gz: it is a packed file of columns", "unpack it"},
		{"nothing.ndjson", "", false, "nothing.ndjson: there is no such file", "standard input"},
		{"no*.ndjson", "", false, "no*.ndjson: there is no such file", "no file matches the pattern"},
		{"", "", false, "it is a directory", "name its files"},
	} {
		o := RateOptions{
			Files: []string{h.path(c.file)}, Catalog: h.catalog, CloseAt: engine.Past, Format: c.format,
		}
		if c.mapped {
			o.Mapping = m
		}
		_, err := Rate(context.Background(), o)
		var input *InputError
		if !errors.As(err, &input) {
			t.Errorf("%s: error is %v", c.file, err)
		} else if !strings.Contains(err.Error(), c.text) || !strings.Contains(input.Hint, c.hint) {
			t.Errorf("%s: error is %v; hint: %s", c.file, err, input.Hint)
		}
	}
	m.Time = formats.MappedTime{}
	o := RateOptions{Files: []string{"x"}, Catalog: h.catalog, Mapping: m}
	_, err := Rate(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "names no time") {
		t.Errorf("a mapping without a time: %v", err)
	}
}

// TestRateCutter cuts random lines by readers that give as little as they like.
func TestRateCutter(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 200 {
		var text []byte
		for range rng.IntN(20) {
			text = append(text, bytes.Repeat([]byte("x"), rng.IntN(1<<rng.IntN(19)))...)
			text = append(text, '\n')
		}
		if rng.IntN(2) == 0 {
			text = append(text, "the end"...)
		}
		in := io.Reader(bytes.NewReader(text))
		if rng.IntN(2) == 0 {
			in = iotest.DataErrReader(in)
		}
		var got []byte
		c := &rateCutter{in: in}
		for {
			chunk, err := c.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			whole := bytes.HasSuffix(chunk.Data, []byte("\n"))
			if chunk.Offset != int64(len(got)) || len(chunk.Data) == 0 || !whole && !chunk.Last {
				t.Fatalf("chunk of %d bytes at %d behind %d", len(chunk.Data), chunk.Offset, len(got))
			}
			got = append(got, chunk.Data...)
		}
		if !bytes.Equal(got, text) {
			t.Fatalf("%d bytes of %d, or other ones", len(got), len(text))
		}
	}
}

// TestRateLongLine shows that a line of any length is one malformed row, and the next one counts.
func TestRateLongLine(t *testing.T) {
	for _, n := range []int{formats.MaxLine + 1, maxLine - 1, maxLine, 3*maxLine + 5} {
		h := newRateHouse(t, 10, 1)
		long := append(bytes.Repeat([]byte("x"), n), '\n')
		h.write(t, "long.ndjson", slices.Concat(h.lines[0], long, h.lines[1]))
		short := h.rate(t, RateOptions{CloseAt: engine.Past}, "long.ndjson")
		if f := short.Files[0]; f.Read != 3 || f.Counts[engine.ReasonMalformed] != 1 {
			t.Errorf("a line of %d bytes: read %d, %v", n, f.Read, f.Counts)
		}
		want := fmt.Sprintf("long.ndjson at byte %d", len(h.lines[0]))
		if p := short.Rejected[0].Place; !strings.HasSuffix(p, want) {
			t.Errorf("place is %s, want %s", p, want)
		}
	}
}

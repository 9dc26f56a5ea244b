package live

import (
	"bytes"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
)

// shop is a journal of the demo: two months, closed.
type shop struct {
	entries  []*engine.Entry
	history  *History
	billed   map[string]decimal.Amount
	fold     *fold
	accounts []fixtures.DemoAccount
}

const (
	shopAccounts = 12
	shopCredit   = "welcome"
)

// newShop makes a journal of generated usage. Without close, April is still open.
func newShop(t *testing.T, accounts []byte, closed bool) *shop {
	t.Helper()
	usage := fixtures.NewUsage(fixtures.UsageConfig{Seed: 5, Events: 6000, Accounts: shopAccounts})
	s := &shop{accounts: usage.Accounts()}
	if accounts == nil {
		accounts = fixtures.AccountsYAML(s.accounts)
	}
	begin := fixtures.DemoFrom - 20*engine.OneDay
	s.add(begin, &engine.Genesis{Journal: [16]byte{3}, HashKey: [16]byte{4}, Format: engine.Format},
		&engine.Rules{Ruleset: engine.Ruleset}, &engine.Settings{
			Grace: engine.OneDay, Reopen: 35 * engine.OneDay, Horizon: 70 * engine.OneDay,
			MaxFuture: engine.Minute,
		}, &engine.Source{Name: "usage", Disorder: 2 * engine.Minute, Dedupe: true})
	files := catalogFiles(t, nil)
	name := "accounts.yaml"
	if bytes.HasPrefix(accounts, []byte("id,")) {
		name = "accounts.csv"
	}
	files[name] = &fstest.MapFile{Data: accounts}
	c := readCatalog(t, files)
	d, err := formats.Diff(engine.Pin([]*engine.Engine{engine.New(0, 1, nil)}), c, begin)
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range d.Zones {
		s.add(begin, z)
	}
	d.Change.File = engine.Digest{5}
	s.add(begin, &d.Change, &engine.Credit{
		ID: shopCredit, Account: s.accounts[0].ID, Currency: "EUR", Amount: decimal.AmountOf(500),
	})
	later := engine.Plan{
		Key: "later", Version: 1, Currency: "EUR", Digits: 2, Interval: engine.Month,
		Prices: []engine.Price{{Key: "flat", Model: engine.Flat}},
	}
	// A plan that no catalog of a what-if has, and a file that every run refuses.
	s.add(begin, &engine.Change{File: engine.Digest{6}, Plans: []engine.Plan{later}},
		&engine.Change{File: engine.Digest{5}})
	for _, b := range shopBatches(t, usage) {
		at := max(s.at(), b.GreatestTime(engine.Future/2))
		at = min(at, fixtures.DemoTo)
		arrive(b, at)
		s.add(at, b, &engine.Watermark{W: at - engine.Hour}, &engine.Mark{})
		s.add(at, &engine.Seal{Of: s.entries[len(s.entries)-1].Seq})
	}
	if closed {
		s.add(fixtures.DemoTo+2*engine.OneDay, &engine.Close{T: fixtures.DemoTo + engine.OneDay})
	}
	if s.billed, s.fold, err = billedLines(s.entries); err != nil {
		t.Fatal(err)
	}
	if s.history, err = historyOf(s.entries); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shop) at() engine.Micros { return s.entries[len(s.entries)-1].At }

func (s *shop) add(at engine.Micros, bodies ...engine.Body) {
	for _, b := range bodies {
		seq := engine.Seq(1)
		if n := len(s.entries); n > 0 {
			seq = s.entries[n-1].Seq + s.entries[n-1].Seqs()
		}
		s.entries = append(s.entries, &engine.Entry{Seq: seq, At: at, Body: b})
	}
}

func shopBatches(t *testing.T, usage *fixtures.Usage) []*engine.Batch {
	t.Helper()
	var buf bytes.Buffer
	if _, err := usage.WriteNDJSON(&buf); err != nil {
		t.Fatal(err)
	}
	decoder, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		t.Fatal(err)
	}
	builder := formats.NewBuilder("usage", formats.Limits{Rows: 500})
	var out []*engine.Batch
	for c := (formats.Chunk{Partition: "usage", Data: buf.Bytes()}); len(c.Data) > 0; {
		n, err := decoder.Decode(c, builder)
		if err != nil {
			t.Fatal(err)
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		out = append(out, builder.Batch())
	}
	return out
}

// catalogFiles returns the demo's catalog with texts replaced: file, old, new, ...
func catalogFiles(t *testing.T, replace []string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range []string{"meters.yaml", "payg.yaml", "pro.yaml", "japan.yaml"} {
		data, err := fs.ReadFile(fixtures.Catalog(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	for i := 0; i < len(replace); i += 3 {
		f := files[replace[i]]
		text := strings.ReplaceAll(string(f.Data), replace[i+1], replace[i+2])
		if text == string(f.Data) {
			t.Fatalf("%s does not have %q", replace[i], replace[i+1])
		}
		f.Data = []byte(text)
	}
	return files
}

func readCatalog(t *testing.T, files fs.FS) *formats.Catalog {
	t.Helper()
	c, err := formats.ReadCatalog(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *shop) whatIf(t *testing.T, files fs.FS, accounts []byte, month string) *WhatIfResult {
	t.Helper()
	o := WhatIfOptions{Catalog: readCatalog(t, files), Month: month}
	if accounts != nil {
		var err error
		if o.Accounts, err = formats.ReadAccounts(files, "new.csv", accounts); err != nil {
			t.Fatal(err)
		}
	}
	got, err := WhatIf(t.Context(), s.history, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sumsAgree(got); err != nil {
		t.Error(err)
	}
	again, err := WhatIf(t.Context(), s.history, o)
	if err != nil || !reflect.DeepEqual(got, again) {
		t.Errorf("a second what-if gives something else (%v)", err)
	}
	return got
}

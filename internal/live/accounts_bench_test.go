package live

import (
	"bytes"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
)

const manyAccounts = 200_000

// BenchmarkAccountsPage asks the desk of a state with the demo's catalog, 200,000 accounts and
// 1,000,000 rows for pages of 50: the first one by id, others by id and with a filter, the first
// ordering by so_far, a page after it, and the order anew after 10,000 events of as many accounts,
// of which pass-ms is the rating. Bill and Stamp are what one account costs. An id's rows are not
// formatted here: that is 50 times Bill. index-B is what the index takes for an account.
func BenchmarkAccountsPage(b *testing.B) {
	l := newManyListed(b)
	v := l.show()
	ids := v.AccountIDs("")
	each := func(name string, f func(id string)) {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				f(ids[i*7919%len(ids)])
			}
		})
	}
	each("Bill", func(id string) { v.Bill(id) })
	each("Stamp", func(id string) { v.Stamp(id) })
	page := func(name string, q AccountQuery) {
		q.Limit = 50
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := l.desk.Accounts(b.Context(), l.desk.view, q)
				if err != nil || p.Rating || len(p.IDs) == 0 {
					b.Fatal(err, p)
				}
			}
		})
	}
	b.Run("first-by-id", func(b *testing.B) {
		for b.Loop() {
			l.desk = &Desk{view: v}
			if _, err := l.desk.Accounts(b.Context(), v, AccountQuery{Limit: 50}); err != nil {
				b.Fatal(err)
			}
		}
	})
	filter, err := ParseAccountFilter("9 !8 plan:pro")
	if err != nil {
		b.Fatal(err)
	}
	page("by-id", AccountQuery{Offset: 150_000})
	page("filter", AccountQuery{Filter: filter})
	soFar := AccountQuery{Sort: BySoFar, Descending: true, Wait: true, Limit: 50}
	b.Run("first-by-so_far", func(b *testing.B) {
		for b.Loop() {
			l.desk.accounts.close()
			l.desk = &Desk{view: v}
			if _, err := l.desk.Accounts(b.Context(), v, soFar); err != nil {
				b.Fatal(err)
			}
		}
	})
	page("by-so_far", soFar)
	b.Run("index", func(b *testing.B) {
		l.desk.accounts.close()
		l.desk = &Desk{view: v}
		begin := heapInUse()
		for b.Loop() {
			if _, err := l.desk.Accounts(b.Context(), v, soFar); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heapInUse()-begin)/manyAccounts, "index-B")
	})
	seed := uint64(100)
	b.Run("refresh-10000", func(b *testing.B) {
		var pass time.Duration
		for b.Loop() {
			b.StopTimer()
			seed++
			l.feed(b, seed, 10_000)
			v := l.show()
			b.StartTimer()
			l.await(b, v, soFar)
			pass += l.desk.accounts.lastPass
		}
		b.ReportMetric(float64(pass.Nanoseconds())/float64(b.N)/1e6, "pass-ms/op")
	})
	l.desk.accounts.close()
}

// heapInUse returns the bytes of what is reachable.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// await asks until the order is of the view.
func (l *manyListed) await(b *testing.B, v *engine.View, q AccountQuery) {
	for {
		p, err := l.desk.Accounts(b.Context(), v, q)
		if err != nil {
			b.Fatal(err)
		}
		if p.OrderedAt == v.Standing().Seq {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// manyListed is a listed with the demo's catalog.
type manyListed struct{ listed }

func newManyListed(b *testing.B) *manyListed {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	l := &manyListed{listed{Shards: NewShards(1), desk: &Desk{}, at: fixtures.DemoFrom}}
	settings := engine.DefaultSettings
	l.apply(b, &engine.Genesis{Format: engine.Format, Journal: [16]byte{7}})
	l.apply(b, &engine.Rules{Ruleset: engine.Ruleset})
	l.apply(b, &settings)
	l.apply(b, &engine.Source{Name: "usage", Dedupe: true})
	files := fstest.MapFS{}
	for _, name := range []string{"meters.yaml", "payg.yaml", "pro.yaml", "japan.yaml"} {
		data, err := fs.ReadFile(fixtures.Catalog(), name)
		must(err)
		files[name] = &fstest.MapFile{Data: data}
	}
	n := 0
	for part := range slices.Chunk(fixtures.Accounts(manyAccounts, 0), 10_000) {
		n++
		files[fmt.Sprintf("accounts-%d.yaml", n)] = &fstest.MapFile{Data: fixtures.AccountsYAML(part)}
	}
	catalog, err := formats.ReadCatalog(files)
	must(err)
	d, err := formats.Diff(l.Pin(), catalog, l.at)
	must(err)
	for _, z := range d.Zones {
		l.apply(b, z)
	}
	for i, change := range d.Split(10_000) {
		change.File = engine.Digest{byte(i + 1)}
		l.apply(b, &change)
	}
	for seed := range uint64(10) {
		l.feed(b, seed+1, 100_000)
	}
	return l
}

// feed counts rows that no feed before had.
func (l *manyListed) feed(b *testing.B, seed uint64, lines int64) {
	b.Helper()
	var buf bytes.Buffer
	usage := fixtures.NewUsage(fixtures.UsageConfig{Seed: seed, Events: lines, Accounts: manyAccounts})
	if _, err := usage.WriteNDJSON(&buf); err != nil {
		b.Fatal(err)
	}
	decoder, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		b.Fatal(err)
	}
	builder := formats.NewBuilder("usage", formats.Limits{})
	c := formats.Chunk{Partition: "usage", Data: buf.Bytes()}
	for len(c.Data) > 0 {
		n, err := decoder.Decode(c, builder)
		if err != nil {
			b.Fatal(err)
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		batch := builder.Batch()
		e := &engine.Entry{Seq: l.Seq() + 1, At: fixtures.DemoTo, Body: batch}
		if err := l.Apply(e, func(*engine.Effects) error { return nil }); err != nil {
			b.Fatal(err)
		}
		builder.Recycle(batch)
	}
}

package live

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/store"
)

// BenchmarkCheckpoint marks, hashes and writes a checkpoint of 10,000 accounts after a million
// rows, with 20,000 new rows before each. An operation is a checkpoint from its Mark to its Seal.
// pause is for how long it stops the loop: the Mark with its fsync, the picture, and the Seal. Its
// peers are pin, the picture alone, and save, the work beside the loop.
func BenchmarkCheckpoint(b *testing.B) {
	r := newBenchRun(b)
	seed := uint64(1)
	for range 10 {
		r.feed(b, seed, 100_000)
		seed++
	}
	var pause, pin, save time.Duration
	for b.Loop() {
		b.StopTimer()
		r.feed(b, seed, 20_000)
		seed++
		b.StartTimer()
		begin := time.Now()
		r.st.Shards.Pin()
		pin += time.Since(begin)
		begin = time.Now()
		if err := r.mark(); err != nil {
			b.Fatal(err)
		}
		marked := time.Now()
		s := <-r.saved
		saved := time.Now()
		if err := r.seal(s); err != nil {
			b.Fatal(err)
		}
		pause += marked.Sub(begin) + time.Since(saved)
		save += saved.Sub(marked)
	}
	n := float64(b.N) * 1000
	keys, _ := r.st.Shards.Keys()
	b.ReportMetric(float64(pause.Nanoseconds())/n, "pause-µs/op")
	b.ReportMetric(float64(pin.Nanoseconds())/n, "pin-µs/op")
	b.ReportMetric(float64(save.Nanoseconds())/n, "save-µs/op")
	b.ReportMetric(float64(keys), "keys")
	b.ReportMetric(pause.Seconds()/save.Seconds(), "pause/save-ratio")
}

// benchRun is a run without sources that gets its rows from the benchmark.
type benchRun struct {
	*Run
	decoder *formats.Decoder
	builder *formats.Builder
}

const benchAccounts = 10_000

func newBenchRun(b *testing.B) *benchRun {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	fsys, err := store.MakeOS(filepath.Join(b.TempDir(), "state"))
	must(err)
	dir, err := store.Create(fsys, store.Genesis{Genesis: NewGenesis()}, store.Options{})
	must(err)
	b.Cleanup(func() { must(dir.Close()) })
	st, err := Restore(dir, 1, true, nil)
	must(err)
	b.Cleanup(func() { must(st.Outbox.Close()) })
	run, err := NewRun(Options{State: st, Settings: engine.DefaultSettings, CloseAt: engine.Past})
	must(err)
	must(run.begin())
	catalog, err := formats.ReadCatalog(benchCatalog(b))
	must(err)
	now, _ := run.watch.now()
	d, err := formats.Diff(st.Shards.Pin(), catalog, now)
	must(err)
	for _, z := range d.Zones {
		must(run.commit(now, z))
	}
	for _, change := range d.Split(benchAccounts) {
		must(run.commit(now, &change))
	}
	r := &benchRun{Run: run, builder: formats.NewBuilder("usage", formats.Limits{})}
	r.decoder, err = formats.NewDecoder(formats.NDJSON, "usage", nil)
	must(err)
	return r
}

// benchCatalog is the demo's, with more accounts.
func benchCatalog(b *testing.B) fs.FS {
	files := fstest.MapFS{"accounts.yaml": {
		Data: fixtures.AccountsYAML(fixtures.Accounts(benchAccounts, 0)),
	}}
	for _, name := range []string{"meters.yaml", "payg.yaml", "pro.yaml", "japan.yaml"} {
		data, err := fs.ReadFile(fixtures.Catalog(), name)
		if err != nil {
			b.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	return files
}

// feed journals and applies rows that no feed before had.
func (r *benchRun) feed(b *testing.B, seed uint64, lines int64) {
	b.Helper()
	var buf bytes.Buffer
	usage := fixtures.NewUsage(fixtures.UsageConfig{
		Seed: seed, Events: lines, Accounts: benchAccounts,
	})
	if _, err := usage.WriteNDJSON(&buf); err != nil {
		b.Fatal(err)
	}
	c := formats.Chunk{Partition: "usage", Data: buf.Bytes()}
	for len(c.Data) > 0 {
		n, err := r.decoder.Decode(c, r.builder)
		if err != nil {
			b.Fatal(err)
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		batch := r.builder.Batch()
		if err := r.commit(r.at, batch); err != nil {
			b.Fatal(err)
		}
		r.builder.Recycle(batch)
	}
}

package tidy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

// More than the 262,144 rows that a row group has at most.
const archiveRows = 300_000

// BenchmarkCapacityArchive measures what an archive file, an opening and an explanation take.
func BenchmarkCapacityArchive(b *testing.B) {
	for _, m := range []struct {
		name    string
		measure func(*testing.B)
	}{{"file", measureArchive}, {"opening", measureOpening}, {"explain", measureExplain}} {
		b.Run(m.name, func(b *testing.B) {
			for b.Loop() {
				m.measure(b)
			}
			b.ReportMetric(0, "ns/op") // memory and disk are what is measured
		})
	}
}

// peak is the greatest of the heaps that it was told of, less that of its making.
type peak struct{ empty, most float64 }

func newPeak() *peak { return &peak{empty: heap()} }

func (p *peak) look() { p.most = max(p.most, heap()-p.empty) }

func measureArchive(b *testing.B) {
	entries := usageEntries(b, usageText(b, archiveRows), formats.Limits{})
	f, err := os.Create(filepath.Join(b.TempDir(), "archive.parquet"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close() // read back below
	writes := newPeak()
	genesis := engine.Genesis{Format: engine.Format}
	info, err := formats.WriteArchive(f, genesis, func(yield func(*engine.Entry) error) error {
		for _, e := range entries {
			if err := yield(e); err != nil {
				return err
			}
			writes.look()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	reads := newPeak()
	r, err := formats.OpenArchive(f.Name(), f, info.Bytes)
	for err == nil {
		_, err = r.Next()
		reads.look()
	}
	if !errors.Is(err, io.EOF) {
		b.Fatal(err)
	}
	runtime.KeepAlive(entries) // so that they are in both heaps
	b.ReportMetric(float64(info.Bytes)/archiveRows, "archive-B/row")
	b.ReportMetric(writes.most/(1<<20), "write-MiB")
	b.ReportMetric(reads.most/(1<<20), "read-MiB")
}

// measureOpening writes openings of the accounts of measureEngine, without and with a period of
// capacityGroups series, and of keys.
func measureOpening(b *testing.B) {
	j, names := capacityEngine()
	bare := openingBytes(b, j, 0)
	for group := range capacityGroups {
		j.use(names, group)
	}
	full := openingBytes(b, j, 0)
	const keys = 1_000_000
	keyed := openingBytes(b, j, keys)
	b.ReportMetric(bare/capacityAccounts, "opening-B/account")
	b.ReportMetric((full-bare)/(capacityAccounts*capacityGroups), "opening-B/series")
	b.ReportMetric((keyed-full)/keys, "opening-B/key")
}

func openingBytes(b *testing.B, j *journal, keys int) float64 {
	b.Helper()
	v := engine.Pin([]*engine.Engine{j.engine})
	records := func(yield func([]byte) error) error {
		if err := yield(v.AppendGlobals(nil)); err != nil {
			return err
		}
		return v.EachAccount(yield)
	}
	r := rand.New(rand.NewPCG(1, 0))
	list := make([]engine.Key, keys)
	for i := range list {
		list[i] = engine.Key{
			Hi: r.Uint64(), Lo: r.Uint64(), Digest: r.Uint64(), Day: engine.Day(20_000 + i*70/keys),
			Bucket: uint16(r.Uint32()),
		}
	}
	info, err := formats.WriteOpening(io.Discard, formats.OpeningInfo{}, records,
		func(yield func([]engine.Key) error) error { return yield(list) })
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Bytes)
}

// measureExplain explains an invoice of many rows, and replays as much without explaining it. What
// the explanation takes more is for the uses that it keeps.
func measureExplain(b *testing.B) {
	var lines bytes.Buffer
	r := rand.New(rand.NewPCG(1, 0))
	for i := range archiveRows {
		fmt.Fprintf(&lines, `{"specversion":"1.0","id":"%08x-0000-4000-8000-%012x","source":"/svc",`+
			`"type":"call","subject":"account-000000","time":"2026-01-%02dT00:00:00Z",`+
			`"data":{"tokens":%d,"model":"model-%d"}}`+"\n",
			r.Uint32(), i, 1+i*30/archiveRows, r.IntN(10_000), r.IntN(capacityGroups))
	}
	entries := capacityCatalog()
	entries = append(entries, &engine.Entry{Body: newAccounts([]string{"account-000000"})})
	entries = append(entries, usageEntries(b, lines.Bytes(), formats.Limits{Rows: 1000})...)
	end := &engine.Close{T: capacityStart + 31*engine.OneDay, Actor: "bench"}
	entries = append(entries, &engine.Entry{Body: end})
	seq := engine.Seq(1)
	for _, e := range entries {
		e.Seq, e.At = seq, capacityStart+31*engine.OneDay
		seq += e.Seqs()
	}
	path := filepath.Join(b.TempDir(), "archive.parquet")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	_, err = formats.WriteArchive(f, *entries[0].Body.(*engine.Genesis),
		func(yield func(*engine.Entry) error) error {
			for _, e := range entries {
				if err := yield(e); err != nil {
					return err
				}
			}
			return nil
		})
	if err = errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	entries = nil
	h, err := live.OpenArchive([]string{path})
	if err != nil {
		b.Fatal(err)
	}
	var replays, explains float64 // heaps at the last progress
	var at engine.Seq
	_, err = live.Replay(b.Context(), h, live.ReplayOptions{
		Progress: func(engine.Seq) { replays = heap() },
	})
	if err != nil {
		b.Fatal(err)
	}
	x, err := live.Explain(b.Context(), h, live.ExplainOptions{
		Keys: []string{"account-000000/main/2026-01-01/period"}, Events: 1,
		Progress: func(seq engine.Seq) { explains, at = heap(), seq },
	})
	if err != nil {
		b.Fatal(err)
	}
	if n := x.Documents[0].Lines[0].Count; n != archiveRows {
		b.Fatalf("%d uses, want %d", n, archiveRows)
	}
	b.ReportMetric((explains-replays)/float64(at), "explain-B/use")
}

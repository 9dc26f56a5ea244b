package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/live"
	"billctl/internal/store"
)

// growing is a journal that somebody exports while it is written.
type growing struct {
	t       *testing.T
	journal *store.Journal
	next    engine.Seq
	rows    int
}

func (g *growing) add(body engine.Body) {
	g.t.Helper()
	e := &engine.Entry{Seq: g.next, At: 1_800_000_000_000_000, Body: body}
	if err := g.journal.Append(e.Seq, e.Seqs(), engine.AppendEntry(nil, e)); err != nil {
		g.t.Fatal(err)
	}
	if err := errors.Join(g.journal.Sync(), g.journal.HighWater()); err != nil {
		g.t.Fatal(err) // another process reads what these two made known
	}
	g.next += e.Seqs()
}

// usage adds a batch of two events with a number.
func (g *growing) usage(number string) {
	g.t.Helper()
	d, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	lines := ""
	for range 2 {
		g.rows++
		lines += fmt.Sprintf(`{"specversion":"1.0","id":"e%d","source":"s","type":"t","subject":"u",`+
			`"time":"2026-03-02T10:00:00Z","data":{"n":%s}}`+"\n", g.rows, number)
	}
	b := formats.NewBuilder("usage", formats.Limits{})
	_, err = d.Decode(formats.Chunk{Partition: "p", Data: []byte(lines), Last: true}, b)
	if err != nil {
		g.t.Fatal(err)
	}
	g.add(b.Batch())
}

// TestExportBesideARun adds events to the journal between the two passes of an export. What is
// written ends where the first pass ended.
func TestExportBesideARun(t *testing.T) {
	for _, format := range []formats.Format{
		formats.NDJSON, formats.CSV, formats.Parquet, formats.Arrow,
	} {
		for _, before := range []int{0, 3} {
			fs := fixtures.NewSimFS()
			genesis := live.NewGenesis()
			dir, err := store.Create(fs, store.Genesis{Genesis: genesis}, store.Options{Floor: -1})
			if err != nil {
				t.Fatal(err)
			}
			g := &growing{t: t, journal: dir.Journal(), next: 1}
			g.add(&genesis)
			for range before {
				g.usage("99999999999999999999.25")
			}
			beside, err := store.OpenReadOnly(fs)
			if err != nil {
				t.Fatal(err)
			}
			h, err := live.OpenHistory(beside)
			if err != nil {
				t.Fatal(err)
			}
			s := &session{ctx: context.Background()}
			batches := s.batches(h)
			var out bytes.Buffer
			rows, _, err := formats.WriteEvents(&out, format,
				func(yield func(*engine.Batch) error) error {
					err := batches(yield)
					g.usage("0.129")
					g.add(&engine.Mark{})
					return err
				})
			if err != nil || rows != uint64(2*before) {
				t.Errorf("%s after %d batches: %d rows, %v", format, before, rows, err)
			}
			if strings.Contains(out.String(), "0.129") {
				t.Errorf("%s after %d batches: the new events are there", format, before)
			}
			if err := dir.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

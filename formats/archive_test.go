package formats_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/store"
)

var archiveTimes = flag.Int("archive.times", 1,
	"times as many random archives, and damages of one, as usual")

var archiveGenesis = engine.Genesis{
	Journal: [16]byte{1, 2, 3, 0xfe}, Partition: 7, HashKey: [16]byte{9}, Format: 1,
}

// listed yields entries.
func listed(entries []*engine.Entry) func(yield func(*engine.Entry) error) error {
	return func(yield func(*engine.Entry) error) error {
		for _, e := range entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	}
}

func archived(t testing.TB, entries []*engine.Entry) ([]byte, *formats.ArchiveInfo) {
	t.Helper()
	var out bytes.Buffer
	genesis := archiveGenesis
	if g, ok := entries[0].Body.(*engine.Genesis); ok {
		genesis = *g
	}
	info, err := formats.WriteArchive(&out, genesis, listed(entries))
	if err != nil {
		t.Fatal(err)
	}
	if info.Bytes != int64(out.Len()) {
		t.Fatalf("%d bytes, the info says %d", out.Len(), info.Bytes)
	}
	return out.Bytes(), info
}

// readArchive returns the canonical bytes of the entries of a file.
func readArchive(file []byte, content bool) (info formats.ArchiveInfo, out [][]byte, err error) {
	a, err := formats.OpenArchive("x.parquet", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return info, nil, err
	}
	defer a.Close() // read only
	if content {
		a.CheckContent()
	}
	for {
		e, err := a.Next()
		if err == io.EOF {
			return a.Info(), out, nil
		}
		if err != nil {
			return info, nil, err
		}
		out = append(out, engine.AppendEntry(nil, e))
	}
}

func normal(e *engine.Entry) []byte {
	if b, ok := e.Body.(*engine.Batch); ok {
		e = &engine.Entry{Seq: e.Seq, At: e.At, Body: formats.Normalize(b)}
	}
	return engine.AppendEntry(nil, e)
}

// checkArchive writes entries twice, and reads them back.
func checkArchive(t *testing.T, entries []*engine.Entry) (file []byte, info *formats.ArchiveInfo) {
	t.Helper()
	file, info = archived(t, entries)
	again, _ := archived(t, entries)
	if !bytes.Equal(file, again) {
		t.Fatal("the bytes differ from one run to the next")
	}
	got, out, err := readArchive(file, true)
	if err != nil {
		t.Fatal(err)
	}
	if got != *info {
		t.Fatalf("info\n%+v\nwant\n%+v", got, *info)
	}
	sameEntries(t, out, entries)
	return file, info
}

func sameEntries(t *testing.T, out [][]byte, entries []*engine.Entry) {
	t.Helper()
	if len(out) != len(entries) {
		t.Fatalf("%d entries, want %d", len(out), len(entries))
	}
	for i, e := range entries {
		if !bytes.Equal(out[i], normal(e)) {
			back, err := engine.DecodeEntry(out[i])
			if err != nil {
				t.Fatal(err)
			}
			t.Fatalf("entry %d comes back as\n%s\nwant\n%s", e.Seq, entryText(back), entryText(e))
		}
	}
}

func entryText(e *engine.Entry) string {
	b, ok := e.Body.(*engine.Batch)
	if !ok {
		return fmt.Sprintf("%d %T %+v", e.Seq, e.Body, e.Body)
	}
	b = formats.Normalize(b)
	text := fmt.Sprintf("%d rows, rest %q, ids %q, origin %+v\nmalformed %+v\n", b.Len, b.Rest.Bytes,
		b.ID.Bytes, b.Origin, b.Malformed)
	for _, c := range b.Props {
		text += fmt.Sprintf("%q %d %+v %v %v\n", c.Path, c.Kind, c.Text, c.Numbers, c.Bools)
	}
	return text[:min(len(text), 3000)]
}

// goldenEntries returns the entries of the golden journal of ruleset 1.
func goldenEntries(t *testing.T) []*engine.Entry {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../fixtures/journals/r1")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"checkpoint", "keys", "cursor", "control"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fsys, err := store.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() // read only
	r := d.Read(1)
	defer r.Close() // read only
	var entries []*engine.Entry
	for {
		f, err := r.Next()
		if err == io.EOF {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.DecodeEntry(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
}

func TestArchiveOfGoldenJournal(t *testing.T) {
	entries := goldenEntries(t)
	file, info := checkArchive(t, entries)
	seals := 0
	for _, e := range entries {
		if s, ok := e.Body.(*engine.Seal); ok {
			seals++
			if info.Seals == seals && info.Head != s.Chain() {
				t.Error("the head is not the chain of the last seal")
			}
		}
	}
	if seals == 0 || info.Seals != seals || info.First != 1 || info.Entries != uint64(len(entries)) {
		t.Errorf("%+v of %d entries and %d seals", info, len(entries), seals)
	}
	t.Logf("%d entries, %d rows, %d bytes", info.Entries, info.Rows, len(file))
}

func TestArchiveOfRandomCases(t *testing.T) {
	for seed := range uint64(30 * *archiveTimes) {
		r := rand.New(rand.NewPCG(seed, 2))
		entries, err := fixtures.RandomCase(seed).Entries(func(n int) int { return 1 + r.IntN(n) })
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			checkArchive(t, entries)
			for _, e := range entries {
				if b, ok := e.Body.(*engine.Batch); ok {
					checkDigests(t, b)
				}
			}
		})
	}
}

// usageEntries decodes generated usage into entries of at most so many rows.
func usageEntries(t testing.TB, events int64, rows int) []*engine.Entry {
	t.Helper()
	var lines bytes.Buffer
	_, err := fixtures.NewUsage(fixtures.UsageConfig{Seed: 1, Events: events}).WriteNDJSON(&lines)
	if err != nil {
		t.Fatal(err)
	}
	d, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := formats.NewBuilder("usage", formats.Limits{Rows: rows})
	c := formats.Chunk{Partition: "usage.ndjson", Data: lines.Bytes(), Last: true}
	var entries []*engine.Entry
	seq, at := engine.Seq(1), engine.Micros(1_777_000_000_000_000)
	take := func() {
		batch := b.Batch()
		for row := range batch.Time {
			if batch.TimeDefaulted.Has(row) {
				batch.Time[row] = at
			}
		}
		entries = append(entries, &engine.Entry{Seq: seq, At: at, Body: batch})
		seq += engine.Seq(batch.Len)
		at += 1234
	}
	for len(c.Data) > 0 {
		n, err := d.Decode(c, b)
		if err != nil {
			t.Fatal(err)
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		if b.Full() {
			take()
		}
	}
	if b.Len() > 0 {
		take()
	}
	return entries
}

func TestArchiveOfUsage(t *testing.T) {
	for _, c := range []struct {
		events int64
		rows   int
	}{
		{4000, 70}, {12_000, 5000}, {40_000, 0}, // the last has columns of more than a page
	} {
		entries := usageEntries(t, c.events, c.rows)
		checkArchive(t, entries)
		for _, e := range entries {
			checkDigests(t, e.Body.(*engine.Batch))
		}
	}
}

func checkDigests(t *testing.T, b *engine.Batch) {
	t.Helper()
	if got := formats.RowDigests(b, nil); !slices.Equal(got, b.Digest) {
		t.Fatalf("digests %x, want %x", got, b.Digest)
	}
}

// TestRowDigestsNotice changes one value of a batch after the other.
func TestRowDigestsNotice(t *testing.T) {
	b := usageEntries(t, 500, 0)[0].Body.(*engine.Batch)
	row := 0
	for slices.ContainsFunc(b.Malformed, func(m engine.Malformed) bool { return m.Row == row }) {
		row++
	}
	changes := 0
	try := func(what string, change, back func()) {
		change()
		defer back()
		changes++
		got := formats.RowDigests(b, nil)
		if got[row] == b.Digest[row] {
			t.Errorf("%s: a change is not noticed", what)
		}
	}
	for _, d := range []*engine.Dict{&b.Type, &b.Subject} {
		i := d.Index[row]
		old := d.Values[i]
		try(old, func() { d.Values[i] += "x" }, func() { d.Values[i] = old })
	}
	try("time", func() { b.Time[row]++ }, func() { b.Time[row]-- })
	for i := range b.Props {
		c := &b.Props[i]
		switch {
		case c.Kind == engine.NumberColumn && c.Present.Has(row):
			old := c.Numbers[row]
			try(c.Path, func() { c.Numbers[row] = old.Neg(); c.Path += "!" }, func() {
				c.Numbers[row], c.Path = old, c.Path[:len(c.Path)-1]
			})
		case c.Kind == engine.TextColumn && c.Text.Index[row] != engine.Absent:
			j := c.Text.Index[row]
			old := c.Text.Values[j]
			try(c.Path, func() { c.Text.Values[j] = "?" + old }, func() { c.Text.Values[j] = old })
		}
	}
	if changes < 5 {
		t.Fatalf("only %d values were changed", changes)
	}
}

func TestArchiveRefusesGaps(t *testing.T) {
	entries := usageEntries(t, 300, 100)
	entries = slices.Delete(entries, 1, 2)
	_, err := formats.WriteArchive(io.Discard, archiveGenesis, listed(entries))
	if err == nil {
		t.Fatal("entries with a gap were written")
	}
	broken := errors.New("broken")
	_, err = formats.WriteArchive(io.Discard, archiveGenesis,
		func(func(*engine.Entry) error) error { return broken })
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}

func TestArchiveOfLittle(t *testing.T) {
	if _, err := formats.WriteArchive(io.Discard, archiveGenesis, listed(nil)); err == nil {
		t.Error("a file without entries was written")
	}
	b := &engine.Batch{Origin: engine.Origins{
		Source: "s", Partition: engine.Dict{Values: []string{"z", "a\xff"}}, Resume: []int64{1, -2},
	}}
	checkArchive(t, []*engine.Entry{{Seq: 9, At: 5, Body: &engine.Mark{}}})
	checkArchive(t, []*engine.Entry{{Seq: 9, At: 5, Body: b}})
	checkArchive(t, []*engine.Entry{
		{Seq: 9, At: 5, Body: b}, {Seq: 9, At: 5, Body: &engine.Mark{}}, {Seq: 10, At: 5, Body: b},
		{Seq: 10, At: 6, Body: b},
	})
}

func BenchmarkArchiveWrite(b *testing.B) {
	entries := usageEntries(b, 200_000, 0)
	rows := entries[len(entries)-1].Seq + entries[len(entries)-1].Seqs() - 1
	var size int64
	for b.Loop() {
		info, err := formats.WriteArchive(io.Discard, archiveGenesis, listed(entries))
		if err != nil {
			b.Fatal(err)
		}
		size = info.Bytes
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(size)/float64(rows), "bytes/row")
}

func BenchmarkArchiveRead(b *testing.B) {
	for _, rows := range []int{200, 0} {
		b.Run(fmt.Sprint("rows", rows), func(b *testing.B) {
			file, info := archived(b, usageEntries(b, 200_000, rows))
			for b.Loop() {
				a, err := formats.OpenArchive("x", bytes.NewReader(file), int64(len(file)))
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = a.Next()
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(info.Rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

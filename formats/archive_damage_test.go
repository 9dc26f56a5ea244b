package formats_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"billctl/engine"
	"billctl/formats"
)

// smallArchive is a file with every kind of column.
func smallArchive(t *testing.T) ([]byte, *formats.ArchiveInfo, []*engine.Entry) {
	entries := usageEntries(t, 120, 50)
	last := entries[len(entries)-1]
	seq := last.Seq + last.Seqs()
	entries = append(entries,
		&engine.Entry{Seq: seq, At: last.At, Body: &engine.Mark{}},
		&engine.Entry{Seq: seq + 1, At: last.At, Body: &engine.Seal{Of: seq}})
	file, info := archived(t, entries)
	return file, info, entries
}

// TestArchiveFlippedBytes flips bits of bytes of a file, one after the other. Either the file
// is refused, or nothing that is read has changed.
func TestArchiveFlippedBytes(t *testing.T) {
	file, info, entries := smallArchive(t)
	var want [][]byte
	for _, e := range entries {
		want = append(want, normal(e))
	}
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 5))
	refused, same, content := 0, 0, 0
	// Every sixth byte, by chance; with -archive.times 10 each.
	for at := 0; at < len(file); at += 1 + r.IntN(max(1, 11 / *archiveTimes)) {
		flip := byte(1) << r.IntN(8)
		if r.IntN(3) == 0 {
			flip = byte(1 + r.IntN(255))
		}
		file[at] ^= flip
		got, out, err := readArchive(file, false)
		switch {
		case err != nil:
			refused++
			var fault *formats.FileError
			if !errors.As(err, &fault) {
				t.Errorf("byte %d ^ %#x: %v is no *FileError", at, flip, err)
			}
		case got == *info && slices.EqualFunc(out, want, bytes.Equal):
			same++
		default:
			if _, _, err := readArchive(file, true); err != nil {
				content++
				t.Logf("byte %d ^ %#x: only the content's digest tells", at, flip)
				break
			}
			t.Errorf("seed %d: byte %d ^ %#x: the file says something else\n%+v\n%+v", seed, at, flip,
				got, *info)
		}
		file[at] ^= flip
	}
	t.Logf("%d bytes: %d refused, %d by the digest of the content only, %d without a change",
		len(file), refused, content, same)
	if content > 0 || refused < (refused+same)/2 {
		t.Error("too few are refused")
	}
}

func TestArchiveTruncated(t *testing.T) {
	file, _, _ := smallArchive(t)
	for size := range file {
		if _, _, err := readArchive(file[:size], false); err == nil {
			t.Errorf("a file cut to %d of %d bytes is read", size, len(file))
		}
	}
}

// rewritten writes a file anew as another program would: without our metadata, with other row
// groups, all columns optional.
func rewritten(
	t *testing.T, file []byte, name string, group int, options ...parquet.WriterOption,
) []byte {
	t.Helper()
	same := func(parquet.Row, func(string) int) {}
	return changed(t, file, name, group, same, options...)
}

// changed is rewritten, with changes to rows; column finds a value in a row.
func changed(
	t *testing.T, file []byte, name string, group int,
	change func(row parquet.Row, column func(name string) int), options ...parquet.WriterOption,
) []byte {
	t.Helper()
	in, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	columns := parquet.Group{}
	for _, f := range in.Schema().Fields() {
		columns[f.Name()] = parquet.Compressed(parquet.Optional(parquet.Leaf(f.Type())), &parquet.Snappy)
	}
	schema := parquet.NewSchema(name, columns)
	var out bytes.Buffer
	options = append(options, schema, parquet.MaxRowsPerRowGroup(int64(group)))
	w := parquet.NewWriter(&out, options...)
	for _, g := range in.RowGroups() {
		conv, err := parquet.Convert(schema, in.Schema())
		if err != nil {
			t.Fatal(err)
		}
		rows := parquet.ConvertRowGroup(g, conv).Rows()
		column := func(name string) int {
			leaf, ok := schema.Lookup(name)
			if !ok {
				t.Fatalf("no column %s", name)
			}
			return leaf.ColumnIndex
		}
		anew := parquet.TransformRowReader(rows, func(dst, src parquet.Row) (parquet.Row, error) {
			dst = append(dst, src...)
			change(dst, column)
			return dst, nil
		})
		if _, err := parquet.CopyRows(w, anew); err != nil {
			t.Fatal(err)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchiveRewritten(t *testing.T) {
	for seed := range uint64(20 * *archiveTimes) {
		g := newEntryGen(seed)
		g.paths = slices.DeleteFunc(g.paths, func(p string) bool { return p == "data." })
		entries := g.entries()
		file, info := archived(t, entries)
		anew := rewritten(t, file, "other", 1+g.IntN(100))
		got, out, err := readArchive(anew, true)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want := formats.ArchiveInfo{First: info.First, Last: info.Last, Bytes: int64(len(anew))}
		if got != want {
			t.Fatalf("seed %d: info %+v, want %+v", seed, got, want)
		}
		sameEntries(t, out, entries)
	}
}

// TestArchiveSchema looks at a file as any program that reads Parquet sees it.
func TestArchiveSchema(t *testing.T) {
	entries := usageEntries(t, 1000, 300)
	file, info := archived(t, entries)
	in, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if in.NumRows() != int64(info.Last-info.First)+1 {
		t.Errorf("%d rows of the numbers %d to %d", in.NumRows(), info.First, info.Last)
	}
	var names []string
	for _, f := range in.Schema().Fields() {
		names = append(names, f.Name())
	}
	want := "seq entry at kind source type subject id id_text time time_defaulted origin " +
		"partition offset digest"
	if got := strings.Join(names, " "); !strings.HasPrefix(got, want+" data.") ||
		!strings.HasSuffix(got, " rest control fault raw size") {
		t.Errorf("columns %s", got)
	}
}

// TestArchiveMetadataOfAnother reads the rows of one file under the metadata of another.
func TestArchiveMetadataOfAnother(t *testing.T) {
	batch := func(rows int, malformed bool) *engine.Batch {
		b := usageEntries(t, int64(rows), 0)[0].Body.(*engine.Batch)
		if malformed {
			b.Malformed = append([]engine.Malformed{{Row: 0, Fault: "f"}}, b.Malformed...)
		}
		return b
	}
	entries := func(b *engine.Batch, at engine.Micros, bodies ...engine.Body) []*engine.Entry {
		out := []*engine.Entry{{Seq: 1, At: 5, Body: b}}
		seq := engine.Seq(b.Len + 1)
		for _, body := range bodies {
			out = append(out, &engine.Entry{Seq: seq, At: at, Body: body})
			seq++
		}
		return out
	}
	seal, other := &engine.Seal{Of: 1}, &engine.Seal{Of: 2}
	meta, info := archived(t, entries(batch(50, false), 6, seal))
	in, err := parquet.OpenFile(bytes.NewReader(meta), int64(len(meta)))
	if err != nil {
		t.Fatal(err)
	}
	var options []parquet.WriterOption
	for _, pair := range in.Metadata().KeyValueMetadata {
		options = append(options, parquet.KeyValueMetadata(pair.Key, pair.Value))
	}
	tests := []struct {
		name          string
		entries       []*engine.Entry
		fails, checks bool // always; if the content is asked for
	}{
		{"the same", entries(batch(50, false), 6, seal), false, false},
		{"one row more", entries(batch(50, false), 6, seal, &engine.Mark{}), true, true},
		{"one row less", entries(batch(50, false), 6), true, true},
		{"a malformed row", entries(batch(50, true), 6, seal), true, true},
		{"another time", entries(batch(50, false), 7, seal), true, true},
		{"another seal", entries(batch(50, false), 6, other), true, true},
		{"no seal", entries(batch(50, false), 6, &engine.Mark{}), true, true},
		{"another offset", entries(batch(50, false), 6, seal), false, true},
	}
	tests[7].entries[0].Body.(*engine.Batch).Origin.Offset[3]++
	for _, test := range tests {
		file, _ := archived(t, test.entries)
		file = rewritten(t, file, "other", 20, options...)
		got, _, err := readArchive(file, false)
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", test.name, err)
		}
		want := *info
		want.Bytes = int64(len(file))
		if err == nil && got != want {
			t.Errorf("%s: info %+v, want %+v", test.name, got, want)
		}
		_, _, err = readArchive(file, true)
		if (err != nil) != test.checks ||
			errors.Is(err, formats.ErrContent) != (test.checks && !test.fails) {
			t.Errorf("%s, with its content: %v", test.name, err)
		}
	}
}

// TestArchiveArrivals shows that the time of an event that had none can't be another than that of
// its entry, which no digest of a row covers.
func TestArchiveArrivals(t *testing.T) {
	entries := usageEntries(t, 120, 50)
	e := entries[1]
	b := e.Body.(*engine.Batch)
	b.Time[7] = e.At
	b.TimeDefaulted.Set(7)
	file, _ := checkArchive(t, entries)
	at := int64(e.Seq) + 7
	for _, by := range []int64{0, 1, -1, int64(engine.OneDay)} {
		anew := changed(t, file, "other", 20, func(row parquet.Row, column func(string) int) {
			i := column("time")
			if row[column("seq")].Int64() == at {
				row[i] = parquet.Int64Value(row[i].Int64()+by).Level(0, 1, i)
			}
		})
		_, _, err := readArchive(anew, false)
		var fault *formats.FileError
		switch {
		case by == 0:
			if err != nil {
				t.Error(err)
			}
		case !errors.As(err, &fault) || fault.Column != "time" || fault.Row != at-1 ||
			errors.Is(err, formats.ErrContent):
			t.Errorf("a time moved by %d µs: %v", by, err)
		}
	}
	b.Time[7]++
	_, err := formats.WriteArchive(io.Discard, archiveGenesis, listed(entries))
	if err == nil || !strings.Contains(err.Error(), "row 7: the event had no time") {
		t.Errorf("another time is written: %v", err)
	}
}

// TestArchiveWithoutMetadata shows that a file of ours that has lost its metadata is damaged, and
// not a file of another program.
func TestArchiveWithoutMetadata(t *testing.T) {
	file, _, _ := smallArchive(t)
	for name, good := range map[string]bool{"billctl": false, "other": true} {
		_, _, err := readArchive(rewritten(t, file, name, 1000), false)
		var fault *formats.FileError
		if good && err != nil || !good && !errors.As(err, &fault) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestArchiveOfOthers(t *testing.T) {
	type row struct {
		Name string `parquet:"name"`
		Seq  int64  `parquet:"seq"`
	}
	var out bytes.Buffer
	if err := parquet.Write(&out, []row{{"a", 1}}); err != nil {
		t.Fatal(err)
	}
	_, _, err := readArchive(out.Bytes(), false)
	var fault *formats.FileError
	if !errors.As(err, &fault) || fault.Reason != "it is no archive file" || fault.Hint == "" {
		t.Fatalf("got %v", err)
	}
	if _, _, err := readArchive([]byte("PAR1 nothing PAR1"), false); !errors.As(err, &fault) {
		t.Fatalf("got %v", err)
	}
}

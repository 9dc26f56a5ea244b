package formats

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/engine"
)

func csvMapping() *Mapping {
	return &Mapping{
		ID: []string{"$.id"}, Type: MappedValue{Const: "call"}, Subject: MappedValue{Path: "$.who"},
		Time: MappedTime{Path: "$.at", Layout: "2006-01-02 15:04:05", Zone: "+01:00"},
		Data: map[string]string{"minutes": "$.min", "a.b": "$.min"},
	}
}

// TestCSVRows reads rows and names every way in which a line is no row.
func TestCSVRows(t *testing.T) {
	for _, c := range []struct{ row, want string }{
		{"1,acme,2026-01-01 01:00:00,5,x",
			`id 1 of acme at 1767225600000000 data.a\.b=text 5 data.minutes=text 5`},
		{"1,acme,2026-01-01 01:00:00.0000019,5,x",
			`id 1 of acme at 1767225600000001 data.a\.b=text 5 data.minutes=text 5`},
		{"1,acme,,,", "id 1 of acme at arrival"},
		{"1,acme,\"\",\"\",", "id 1 of acme at arrival"},
		{`"a""b","x,y",,"""",`, `id a"b of x,y at arrival data.a\.b=text " data.minutes=text "`},
		{` 1 , acme ,,,`, "id  1  of  acme  at arrival"},
		{"1,,,,", "row has no subject: nothing in $.who"},
		{",acme,,,", "row has no id: nothing in $.id"},
		{"1,acme", "row has 2 fields, the header has 5"},
		{"1,acme,,,,", "row has 6 fields, the header has 5"},
		{"1,acme,yesterday,,", `time "yesterday" is not YYYY-MM-DD hh:mm:ss in $.at`},
		{"1,acme,2026-01-01 00:00:00Z,,",
			`time "2026-01-01 00:00:00Z" does not fit the layout "2006-01-02 15:04:05" in $.at`},
		{"1,acme,1970-01-01 00:59:59,,", `time "1970-01-01 00:59:59" is not in 1970 to 2199 in $.at`},
		{`1,"acme,,,`,
			"quoted field does not end in its line (a field may not hold a newline) at byte 3"},
		{`1,"acme"x,,,`, "text after the closing quote of a field at byte 9"},
		{`1,ac"me,,,`, "quote inside a field that is not quoted at byte 5"},
		{"1,acme,,\x00,", "NUL character at byte 9"},
		{"1,acme,,\xff,", "invalid UTF-8 at byte 9"},
		{"1," + strings.Repeat("x", 1025) + ",,,", "subject is longer than 1024 bytes"},
		{" ", "row has 1 fields, the header has 5"},
	} {
		data := "\xef\xbb\xbfid,who,at,\"min\",rest\r\n" + c.row + "\r\n\r\n"
		b := decodeEvents(t, newEventDecoder(t, CSV, csvMapping()), NewBuilder("usage", Limits{}),
			Chunk{Partition: "p", Data: []byte(data), Last: true})[0]
		checkBatch(t, b)
		if got := showCSV(b); got != c.want || b.Origin.Offset[0] != 25 ||
			b.Origin.Resume[0] != int64(len(data)) {
			t.Errorf("%s at %d\n got %s\nwant %s", c.row, b.Origin.Offset[0], got, c.want)
		}
	}
}

func showCSV(b *engine.Batch) string {
	if b.Len != 1 {
		return fmt.Sprint(b.Len, " rows")
	}
	if len(b.Malformed) > 0 {
		return b.Malformed[0].Fault
	}
	who, _ := b.Subject.At(0)
	at := "arrival"
	if !b.TimeDefaulted.Has(0) {
		at = fmt.Sprint(int64(b.Time[0]))
	}
	s := fmt.Sprintf("id %s of %s at %s", b.ID.At(0), who, at)
	props := rowProps(b, 0)
	for _, path := range sortedKeys(props) {
		s += " " + path + "=" + props[path]
	}
	return s
}

// TestCSVHeader tells what a header lacks, and takes one from the reader in the middle of a file.
func TestCSVHeader(t *testing.T) {
	for _, c := range []struct {
		chunk Chunk
		want  string
	}{
		{Chunk{Partition: "u.csv", Data: []byte("id,Who,at,min\n")},
			`decode u.csv:1: no column "who"; the columns are "id", "Who", "at", "min": ` +
				`correct the source's mapping`},
		{Chunk{Partition: "u.csv", Data: []byte("id,who,at,min,id\n")},
			`decode u.csv:1: column "id" is there twice: rename one of them`},
		{Chunk{Partition: "u.csv", Data: []byte("id,\"who\n")}, "decode u.csv:1: header: quoted field " +
			"does not end in its line (a field may not hold a newline)"},
		{Chunk{Partition: "u.csv", Offset: 99, Data: []byte("1,acme,,\n")},
			"decode u.csv at byte 99: the header is not known: read the file from its start"},
	} {
		b := NewBuilder("usage", Limits{})
		n, err := newEventDecoder(t, CSV, csvMapping()).Decode(c.chunk, b)
		if err == nil || err.Error() != c.want || n != 0 || b.Moved() {
			t.Errorf("%d %v\nwant %s", n, err, c.want)
		}
	}
	d, b := newEventDecoder(t, CSV, csvMapping()), NewBuilder("usage", Limits{})
	for _, c := range []Chunk{
		{Partition: "a", Offset: 99, Head: []byte("\xef\xbb\xbfid,who,at,min\r"),
			Data: []byte("1,acme,,\n")},
		{Partition: "a", Offset: 108, Data: []byte("2,acme,,\n")},
		{Partition: "b", Data: []byte("who,id,at,min\nacme,3,,")},
		{Partition: "b", Offset: 14, Data: []byte("acme,3,,"), Last: true},
		{Partition: "a", Offset: 117, Head: []byte("id,who,at,min"), Data: []byte("4,acme,,\n")},
	} {
		if _, err := d.Decode(c, b); err != nil {
			t.Fatal(err)
		}
	}
	batch := b.Batch()
	checkBatch(t, batch)
	if string(batch.ID.Bytes) != "1234" || len(batch.Malformed) > 0 ||
		fmt.Sprint(batch.Origin.Partition.Values, batch.Origin.Resume) != "[a b] [126 22]" {
		t.Fatalf("%s %v %v", batch.ID.Bytes, batch.Origin, batch.Malformed)
	}
}

// TestCSVBuilders holds that a decoder may fill one builder after another.
func TestCSVBuilders(t *testing.T) {
	d := newEventDecoder(t, CSV, csvMapping())
	a, b := NewBuilder("usage", Limits{}), NewBuilder("usage", Limits{})
	for i, builder := range []*Builder{a, b, a, b} {
		c := Chunk{Partition: "p", Data: []byte("id,who,at,min\n1,acme,,5\n")}
		if _, err := d.Decode(c, builder); err != nil || builder.Len() != 1+i/2 {
			t.Fatal(err, builder.Len())
		}
	}
	for _, builder := range []*Builder{a, b} {
		batch := builder.Batch()
		checkBatch(t, batch)
		if got := rowProps(batch, 1)["data.minutes"]; got != "text 5" || len(batch.Props) != 2 {
			t.Fatal(got, len(batch.Props))
		}
	}
}

// TestCSVAgainstReference compares with encoding/csv on random rows with other delimiters.
func TestCSVAgainstReference(t *testing.T) {
	r := eventRand(t)
	for range 300 {
		delimiter := ",;\t|"[r.IntN(4)]
		m := csvMapping()
		m.Delimiter = string(delimiter)
		var data bytes.Buffer
		w := csv.NewWriter(&data)
		w.Comma = rune(delimiter)
		w.UseCRLF = r.IntN(2) == 0
		write := func(fields []string) {
			if err := w.Write(fields); err != nil {
				t.Fatal(err)
			}
		}
		write([]string{"rest", "id", "who", "at", "min"})
		var want []string
		for i := range 20 {
			fields := []string{randomField(r), fmt.Sprint(i), "w" + randomField(r), "", randomField(r)}
			write(fields)
			want = append(want, fields[2]+"|"+fields[4])
		}
		w.Flush()
		b := decodeEvents(t, newEventDecoder(t, CSV, m), NewBuilder("usage", Limits{}),
			Chunk{Partition: "p", Data: data.Bytes(), Last: true})[0]
		checkBatch(t, b)
		if b.Len != len(want) || len(b.Malformed) > 0 {
			t.Fatalf("%d rows, malformed %v", b.Len, b.Malformed)
		}
		for row := range b.Len {
			who, _ := b.Subject.At(row)
			got := who + "|" + strings.TrimPrefix(rowProps(b, row)["data.minutes"], "text ")
			if got != want[row] {
				t.Fatalf("got %q, want %q", got, want[row])
			}
		}
	}
}

func randomField(r *rand.Rand) string {
	var s string
	for range r.IntN(5) {
		s += []string{`"`, ",", ";", "\t", "|", " ", "a", "é", "12.5"}[r.IntN(9)]
	}
	return s
}

// FuzzCSV holds that nothing panics, and every line that is not blank is one row.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("1,acme,2026-01-01 00:00:00,5\n\"2\",\"ac\"\"me\",,\r\n\r\nx,\"y\n"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00,,,\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		want := 0
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			for len(line) > 0 {
				next := len(line)
				if at := holeOrLine.FindIndex(line); at != nil && at[0] == 0 {
					want++
					line = line[at[1]:]
					continue
				} else if at != nil {
					next = at[0]
				}
				if string(line[:next]) != "\r" {
					want++
				}
				line = line[next:]
			}
		}
		rows := 0
		d, fresh := newEventDecoder(t, CSV, csvMapping()), NewBuilder("u", Limits{})
		for _, b := range decodeEvents(t, d, fresh,
			Chunk{Partition: "p", Offset: 1, Head: []byte("id,who,at,min"), Data: data, Last: true}) {
			checkBatch(t, b)
			rows += b.Len
		}
		if rows != want {
			t.Fatalf("%d rows instead of %d", rows, want)
		}
	})
}

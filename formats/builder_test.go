package formats

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"billctl/engine"
)

// TestBatchesAreTheirOwn holds that a batch never changes after it was taken, whatever the builder
// does, and that recycled memory shows nothing of what it held.
func TestBatchesAreTheirOwn(t *testing.T) {
	r := eventRand(t)
	d := newEventDecoder(t, NDJSON, nil)
	b := NewBuilder("usage", Limits{Rows: 20})
	type kept struct {
		batch *engine.Batch
		rows  []string
	}
	show := func(b *engine.Batch) (rows []string) {
		for row := range b.Len {
			rows = append(rows, showRow(b, row))
		}
		return append(rows, fmt.Sprint(b.Origin.Partition.Values, b.Origin.Resume, len(b.Props)))
	}
	var all []kept
	offset := int64(1)
	for round := range 400 {
		data := append(randomLine(r), '\n')
		c := Chunk{Partition: fmt.Sprint("p", round%3), Offset: offset, Data: data}
		offset += int64(len(data))
		n, err := d.Decode(c, b)
		if err != nil {
			t.Fatal(err)
		}
		if n < len(data) || b.Full() {
			batch := b.Batch()
			checkBatch(t, batch)
			fresh := NewBuilder("usage", Limits{})
			if b.Len() != 0 || b.Moved() || fresh.Moved() {
				t.Fatal("an emptied builder holds something")
			}
			all = append(all, kept{batch, show(batch)})
		}
		if len(all) > 5 {
			i := r.IntN(len(all))
			if got := show(all[i].batch); fmt.Sprint(got) != fmt.Sprint(all[i].rows) {
				t.Fatalf("a batch changed:\n%s\n%s", all[i].rows, got)
			}
			b.Recycle(all[i].batch)
			all = append(all[:i], all[i+1:]...)
		}
	}
}

// TestTablesForget reads more distinct values, names and columns than a builder keeps.
func TestTablesForget(t *testing.T) {
	d, b := newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{Rows: 3000})
	rows := 0
	for round := range 12 {
		var data []byte
		for i := range 3000 {
			data = fmt.Appendf(data, `{"id":"1","source":"s","type":"t","subject":"x%d",`+
				`"e%d":0,"data":{"a":"v%d","k%d":1}}`+"\n", rows+i, rows+i, rows+i, (rows+i)/30)
		}
		for _, batch := range decodeEvents(t, d, b, Chunk{Partition: fmt.Sprint(round), Data: data}) {
			checkBatch(t, batch)
			for row := range batch.Len {
				who, _ := batch.Subject.At(row)
				want := fmt.Sprintf("map[data.a:text v%d data.k%d:number 1]", rows, rows/30)
				if got := fmt.Sprint(rowProps(batch, row)); got != want || who != fmt.Sprint("x", rows) ||
					string(batch.Rest.At(row)) != fmt.Sprintf(`{"e%d":0}`, rows) {
					t.Fatalf("row %d: %s %s", rows, who, got)
				}
				rows++
			}
			b.Recycle(batch)
		}
	}
	if rows != 36_000 {
		t.Fatal(rows)
	}
	if n := len(b.subjects.entries); n > keptValues+3000 {
		t.Errorf("%d subjects are kept", n)
	}
	if b.paths.count > keptPaths+10 || len(b.columns) > keptColumns+engine.MaxColumns {
		t.Errorf("%d paths and %d columns are kept", b.paths.count, len(b.columns))
	}
}

// randomEvent returns an event, sometimes with a fault of its meaning.
func randomEvent(r *rand.Rand) string {
	members := []string{
		`"id":` + randomText(r), `"source":"s"`, `"type":"t` + fmt.Sprint(r.IntN(3)) + `"`,
		`"subject":` + randomText(r),
	}
	if r.IntN(2) == 0 {
		members = append(members, `"specversion":"1.0"`)
	}
	if r.IntN(2) == 0 {
		at := time.UnixMicro(r.Int64N(int64(engine.MaxTime))).In(
			time.FixedZone("", (r.IntN(27*60)-13*60)*60))
		members = append(members, `"time":"`+at.Format(time.RFC3339Nano)+`"`)
	}
	for range r.IntN(3) {
		members = append(members, randomName(r)+":"+randomValue(r, 2))
	}
	if r.IntN(4) > 0 {
		members = append(members, `"data":`+randomObject(r, 3))
	}
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + space(r) + strings.Join(members, space(r)+","+space(r)) + space(r) + "}"
}

func space(r *rand.Rand) string { return []string{"", "", "", " ", "\t ", "\r"}[r.IntN(6)] }

func randomObject(r *rand.Rand, depth int) string {
	var members []string
	for range r.IntN(6) {
		members = append(members, randomName(r)+space(r)+":"+space(r)+randomValue(r, depth-1))
	}
	return "{" + space(r) + strings.Join(members, space(r)+","+space(r)) + space(r) + "}"
}

func randomName(r *rand.Rand) string {
	names := []string{`"a"`, `"b"`, `"\u0062"`, `"a.b"`, `"a\\b"`, `"model"`, `"input_tokens"`, `""`,
		`"k\"q"`, `"é"`, `"\u00e9"`, `"\u0001"`}
	if r.IntN(3) == 0 {
		return fmt.Sprintf(`"n%d"`, r.IntN(1000))
	}
	return names[r.IntN(len(names))]
}

func randomText(r *rand.Rand) string {
	parts := []string{"a", "customer", "0123456789", `\n`, `\"`, `\\`, `\/`, `\u00e9`, `\ud83d\ude00`,
		`\ud83d`, `\u0000`, "é", "😀", "\u2028", "<&>", "\x7f", `\u001f`}
	var s string
	for range 1 + r.IntN(5) {
		n := len(parts)
		if r.IntN(50) > 0 {
			n = 9
		}
		s += parts[r.IntN(n)]
	}
	return `"` + s + `"`
}

func randomValue(r *rand.Rand, depth int) string {
	switch n := r.IntN(11); {
	case n < 3:
		return randomText(r)
	case n < 6:
		numbers := []string{"0", "-0", "1", "-1.50", "1e3", "1E+2", "12345678901234567890", "1e20",
			"0.000000000000000001", "0.0000000000000000001", "1e-18", "99999999999999999999.9",
			"1.000000000000000000000", "3.14"}
		return numbers[r.IntN(len(numbers))]
	case n == 6:
		return []string{"true", "false", "null"}[r.IntN(3)]
	case n == 7 && depth > 0:
		var list []string
		for range r.IntN(4) {
			list = append(list, randomValue(r, depth-1))
		}
		return "[" + space(r) + strings.Join(list, space(r)+","+space(r)) + space(r) + "]"
	case n > 7 && depth > 0:
		return randomObject(r, depth)
	}
	return fmt.Sprint(r.IntN(100))
}

package formats

import (
	"fmt"
	"testing"

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

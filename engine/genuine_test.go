package engine_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/formats"
)

// TestGenuine recognizes every row that a decoder reads, whatever is in it, and none of which
// something was changed.
func TestGenuine(t *testing.T) {
	const rows = 3000
	for seed := range uint64(rows) {
		g := rand.New(rand.NewPCG(seed, 5))
		line := fmt.Sprintf(`{"specversion":"1.0","subject":"s","type":"t","id":"%d",`+
			`"source":"a"%s,"data":%s}`, seed,
			[]string{`,"time":"2026-09-02T00:00:00Z"`, ""}[g.IntN(2)], randomObject(g, 0))
		d, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
		if err != nil {
			t.Fatal(err)
		}
		b := formats.NewBuilder("usage", formats.Limits{})
		if _, err := d.Decode(formats.Chunk{Partition: "p", Data: []byte(line + "\n")}, b); err != nil {
			t.Fatal(err)
		}
		batch := b.Batch()
		if len(batch.Malformed) > 0 {
			t.Fatalf("%s: %s", line, batch.Malformed[0].Fault)
		}
		row := engine.OneRow(batch, 0)
		if !engine.GenuineRow(row) {
			t.Fatalf("seed %d: not genuine: %s", seed, line)
		}
		row.Digest[0]++
		if engine.GenuineRow(row) {
			t.Fatalf("seed %d: another digest is genuine: %s", seed, line)
		}
		row.Digest[0]--
		if len(row.Rest.Bytes) > 2 {
			row.Rest.Bytes[g.IntN(len(row.Rest.Bytes))] ^= 1
			if engine.GenuineRow(row) {
				t.Fatalf("seed %d: another rest is genuine: %s", seed, line)
			}
		}
	}
}

// randomObject returns a JSON object with members that columns hold and others.
func randomObject(g *rand.Rand, depth int) string {
	var members []string
	for i := range g.IntN(5) {
		key := []string{
			`a`, `b.c`, `x\\y`, `\u00e9\u0041`, `\ud83d\ude00`, `q\"uote`, "tab\\t",
		}[g.IntN(7)]
		members = append(members, fmt.Sprintf(`"%s%d":%s`, key, i, randomValue(g, depth)))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func randomValue(g *rand.Rand, depth int) string {
	if depth < 3 && g.IntN(4) == 0 {
		return randomObject(g, depth+1)
	}
	return []string{
		`1`, `-2.50`, `1e3`, `123456789012345678901234567890`, `"text"`,
		`"with \"quotes\", [and] {more}"`,
		`true`, `false`, `null`, `[]`, `[1, "a,b" ,{"c":[]}]`, `{}`, `"\u0007\n"`,
	}[g.IntN(13)]
}

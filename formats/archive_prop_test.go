package formats_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// entryGen makes batches that a reader of events could write, and some that it could not.
type entryGen struct {
	*rand.Rand
	uuids bool
	paths []string
}

func newEntryGen(seed uint64) *entryGen {
	g := &entryGen{Rand: rand.New(rand.NewPCG(seed, 3))}
	g.uuids = g.one(2)
	all := []string{
		"data.tokens", "data.Tokens", "data.model", "data.cost", "data.", `data.a\.b`, "data.a.b",
		`data.x\\y`, "data.k,l", "data.tab\tx", "data.é", "data.seq", "data." + strings.Repeat("n", 900),
		"data.ok", `data.q"q`,
	}
	if g.one(4) {
		all = append(all, "top", "seq", `\p`, `\rdata.tokens`, `\wx`, `\.z`, `\\p`, "rest")
	}
	if g.one(5) {
		for i := range 300 {
			all = append(all, fmt.Sprintf("data.many%03d", i))
		}
	}
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	g.paths = all[:1+g.IntN(len(all))]
	return g
}

func (g *entryGen) one(in int) bool { return g.IntN(in) == 0 }

func oneOf[T any](g *entryGen, of ...T) T { return of[g.IntN(len(of))] }

func (g *entryGen) text() string {
	return oneOf(g, "", "a", "null", `"`, `\`, `{"data.x":1}`, "5", "é𝄞", "a\tb\x01",
		strings.Repeat("long ", 90), fmt.Sprint(g.IntN(1000)))
}

func (g *entryGen) number() decimal.Decimal {
	text := oneOf(g, "0", "1", "-1", "0.5", "-0.000000000000000001", "99999999999999999999",
		"-99999999999999999999.999999999999999999", "9223372036854775807", "-9223372036854775808",
		"999999999999999999", "-1000000000000000000", fmt.Sprint(g.IntN(100)), fmt.Sprint(g.IntN(100)),
		fmt.Sprintf("%d.%03d", g.Int64N(1e9)-5e8, g.IntN(1000)))
	d, err := decimal.Parse(text)
	if err != nil {
		panic(err)
	}
	return d
}

func (g *entryGen) id() string {
	if g.uuids {
		return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", g.Uint32(), g.IntN(1<<16), g.IntN(1<<16),
			g.IntN(1<<16), g.Int64N(1<<48))
	}
	return oneOf(g, "x", "evt-1", "0A000000-0000-0000-0000-000000000000", fmt.Sprint(g.Int()))
}

// entries makes a run of entries.
func (g *entryGen) entries() []*engine.Entry {
	seq, at := engine.Seq(1+g.Int64N(1<<40)), engine.Micros(g.Int64N(1<<50))
	var out []*engine.Entry
	for range 1 + g.IntN(8) {
		var body engine.Body = oneOf[engine.Body](g,
			&engine.Mark{}, &engine.Watermark{W: engine.Past}, &engine.Clock{Frozen: true, Reason: "r"},
			&engine.Seal{Of: seq, Billing: engine.Digest{byte(g.IntN(256))}, Before: engine.Digest{3}},
			&engine.Close{T: at, Actor: "a", Reason: "é"},
			&engine.Credit{ID: "c", Account: "a", Currency: "EUR", Amount: decimal.AmountOf(5)},
		)
		if !g.one(4) {
			b := g.batch()
			for row := range b.Len {
				if b.TimeDefaulted.Has(row) {
					b.Time[row] = at
				}
			}
			body = b
		}
		e := &engine.Entry{Seq: seq, At: at, Body: body}
		out = append(out, e)
		seq += e.Seqs()
		at += engine.Micros(g.IntN(3))
	}
	return out
}

// kinds of the columns that a path has in a batch.
func (g *entryGen) kinds() []engine.ColumnKind {
	all := []engine.ColumnKind{engine.TextColumn, engine.NumberColumn, engine.WideColumn,
		engine.BoolColumn}
	g.Shuffle(4, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+max(0, g.IntN(9)-5)]
}

func (g *entryGen) batch() *engine.Batch {
	rows := oneOf(g, 0, 1, 2, 63, 64, 65, 200)
	b := &engine.Batch{Len: rows, Time: make([]engine.Micros, rows), Digest: make([]uint64, rows)}
	for row := range rows {
		if g.one(7) {
			b.Malformed = append(b.Malformed, engine.Malformed{
				Row: row, Fault: oneOf(g, "why", `"quoted`, "bad \xff"),
				Raw: []byte(oneOf(g, "", "{", "\xff\x00")), Size: g.Int64N(1 << 40),
			})
		}
		b.Time[row], b.Digest[row] = engine.Micros(g.Int64N(int64(engine.MaxTime))), g.Uint64()
		if g.one(3) {
			b.TimeDefaulted.Set(row)
		}
		b.ID.Bytes = append(b.ID.Bytes, g.id()...)
		b.ID.End = append(b.ID.End, uint32(len(b.ID.Bytes)))
		b.Origin.Offset = append(b.Origin.Offset, g.Int64()>>g.IntN(64))
		if g.one(5) {
			b.Rest.Bytes = append(b.Rest.Bytes, oneOf(g, `{"ext":1}`, `{"data.n":null,"data.o":{}}`,
				`{"data.s":"a scalar","e":"]}\"{"}`, `{"\\p":1,"\\rdata.x":2,"data.l":[1,{"a":"b"}]}`,
				`{"":"","x":[{"y":"}"}]}`)...)
		}
		b.Rest.End = append(b.Rest.End, uint32(len(b.Rest.Bytes)))
	}
	g.dict(&b.Source, rows, g.text)
	g.dict(&b.Type, rows, g.text)
	g.dict(&b.Subject, rows, g.text)
	g.dict(&b.Origin.Partition, rows, func() string {
		return oneOf(g, "usage/a.ndjson#12", "bad\xff", `"quoted"`, "z", "stdin") + g.text()
	})
	b.Origin.Source = oneOf(g, "usage", "")
	for range b.Origin.Partition.Values {
		b.Origin.Resume = append(b.Origin.Resume, g.Int64()>>g.IntN(64))
	}
	for _, path := range g.paths {
		if len(g.paths) > 60 && !g.one(3) {
			continue
		}
		left := make([]bool, rows) // rows that have a value under the path already
		for _, kind := range g.kinds() {
			if len(b.Props) < engine.MaxColumns {
				b.Props = append(b.Props, g.column(path, kind, left))
			}
		}
	}
	return b
}

// dict fills a dictionary in which some values have no row; every row has one.
func (g *entryGen) dict(d *engine.Dict, rows int, text func() string) {
	for range 1 + g.IntN(6) {
		if s := text(); !slices.Contains(d.Values, s) {
			d.Values = append(d.Values, s)
		}
	}
	for range rows {
		d.Index = append(d.Index, uint32(g.IntN(len(d.Values))))
	}
}

func (g *entryGen) column(path string, kind engine.ColumnKind, taken []bool) engine.Column {
	c := engine.Column{Path: path, Kind: kind}
	wide := func() string {
		return oneOf(g, "1e400", "-100000000000000000000", "0.0000000000000000001", "12", "no number")
	}
	if kind == engine.NumberColumn {
		c.Numbers = make([]decimal.Decimal, len(taken))
	}
	if kind == engine.TextColumn {
		g.dict(&c.Text, len(taken), g.text)
	} else if kind == engine.WideColumn {
		g.dict(&c.Text, len(taken), wide)
	}
	density := oneOf(g, 1, 2, 9)
	for row := range taken {
		if taken[row] || !g.one(density) {
			if c.Text.Index != nil {
				c.Text.Index[row] = engine.Absent
			}
			continue
		}
		taken[row] = true
		switch kind {
		case engine.NumberColumn:
			c.Numbers[row] = g.number()
			c.Present.Set(row)
		case engine.BoolColumn:
			c.Present.Set(row)
			if g.one(2) {
				c.Bools.Set(row)
			}
		}
	}
	return c
}

// TestArchiveOfAnything writes and reads random entries.
func TestArchiveOfAnything(t *testing.T) {
	for seed := range uint64(30 * *archiveTimes) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			checkArchive(t, newEntryGen(seed).entries())
		})
	}
}

// TestNormalizeIsIdle shows that what is normalized stays, and that nothing of the given batch is
// changed.
func TestNormalizeIsIdle(t *testing.T) {
	for seed := range uint64(200) {
		b := newEntryGen(seed).batch()
		before := engine.AppendEntry(nil, &engine.Entry{Body: b})
		n := formats.Normalize(b)
		once := engine.AppendEntry(nil, &engine.Entry{Body: n})
		twice := engine.AppendEntry(nil, &engine.Entry{Body: formats.Normalize(n)})
		if !bytes.Equal(once, twice) {
			t.Errorf("seed %d: normalizing twice gives something else", seed)
		}
		if !bytes.Equal(before, engine.AppendEntry(nil, &engine.Entry{Body: b})) {
			t.Errorf("seed %d: the given batch is changed", seed)
		}
	}
}

package tidy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
)

// What docs/capacity.md says is measured here:
//
//	go test -run '^$' -bench Capacity -benchtime 1x .

const (
	capacityAccounts = 100_000
	capacityGroups   = 10
	// As many as catalog apply writes into one control file.
	accountsPerChange = 50_000
	capacityStart     = engine.Micros(1_767_225_600) * engine.Second // 2026-01-01
)

// freshKeys remembers nothing: what is measured is the engine.
type freshKeys struct{}

func (freshKeys) Admit(_ []engine.Key, verdicts []engine.Verdict) { clear(verdicts) }
func (freshKeys) Forget(engine.Day)                               {}
func (freshKeys) Find(_, _ uint64) (engine.Key, bool)             { return engine.Key{}, false }

// journal applies bodies to an engine, as the sequencer does.
type journal struct {
	engine *engine.Engine
	fx     engine.Effects
	days   int // that have passed
}

func (j *journal) apply(body engine.Body) {
	j.fx.Reset()
	at := capacityStart + engine.Micros(j.days+1)*engine.OneDay
	j.engine.Apply(&engine.Entry{Seq: j.engine.Seq() + 1, At: at, Body: body}, &j.fx)
}

// heap returns the bytes in use, garbage excluded.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkCapacity measures memory and disk: of an account with one subject and one subscription,
// of the first series of a period with its period, of a further series, and of a journaled row.
func BenchmarkCapacity(b *testing.B) {
	b.Run("engine", func(b *testing.B) {
		for b.Loop() {
			measureEngine(b)
		}
	})
	b.Run("journal", func(b *testing.B) {
		for b.Loop() {
			measureJournal(b)
		}
	})
}

func measureEngine(b *testing.B) {
	j := &journal{engine: engine.New(0, 1, freshKeys{})}
	for _, e := range capacityCatalog() {
		j.apply(e.Body)
	}
	names := capacityNames()
	empty := heap()
	j.open(names)
	perAccount := (heap() - empty) / capacityAccounts
	record := stateBytes(b, j) / capacityAccounts

	before := heap()
	j.use(names, 0)
	first := (heap() - before) / capacityAccounts
	before = heap()
	for group := 1; group < capacityGroups; group++ {
		j.use(names, group)
	}
	further := (heap() - before) / (capacityAccounts * (capacityGroups - 1))
	full := stateBytes(b, j) / capacityAccounts

	b.ReportMetric(perAccount, "B/account")
	b.ReportMetric(first, "B/period+series")
	b.ReportMetric(further, "B/series")
	b.ReportMetric(record, "checkpoint-B/account")
	b.ReportMetric((full-record)/capacityGroups, "checkpoint-B/series")
	runtime.KeepAlive(j)
	runtime.KeepAlive(names)
}

// capacityCatalog is a journal's first entries: one meter, one plan with one price.
func capacityCatalog() []*engine.Entry {
	return []*engine.Entry{
		{Body: &engine.Genesis{Format: engine.Format}},
		{Body: &engine.Source{Name: "usage", Dedupe: true}},
		{Body: &engine.Change{
			File: engine.Digest{1},
			Meters: []engine.Meter{{
				Key: "tokens", Event: "call", Aggregate: engine.Total, Value: "data.tokens",
				GroupBy: []engine.Dimension{{Name: "model", Path: "data.model"}},
			}},
			Plans: []engine.Plan{{
				Key: "payg", Version: 1, Currency: "EUR", Digits: 2, Interval: engine.Month,
				Prices: []engine.Price{{Key: "tokens", Model: engine.Unit, Meter: "tokens"}},
			}},
		}},
	}
}

// capacityNames are ids that no compression makes shorter than those of a real shop.
func capacityNames() []string {
	r := rand.New(rand.NewPCG(1, 0))
	names := make([]string, capacityAccounts)
	for i := range names {
		names[i] = fmt.Sprintf("a%013x", r.Uint64()>>12)
	}
	return names
}

// capacityEngine returns an engine with all accounts, and their names.
func capacityEngine() (*journal, []string) {
	j := &journal{engine: engine.New(0, 1, freshKeys{})}
	for _, e := range capacityCatalog() {
		j.apply(e.Body)
	}
	names := capacityNames()
	j.open(names)
	return j, names
}

// open journals accounts, in as many changes as catalog apply would.
func (j *journal) open(names []string) {
	for len(names) > 0 {
		n := min(len(names), accountsPerChange)
		j.apply(newAccounts(names[:n]))
		names = names[n:]
	}
}

func newAccounts(names []string) *engine.Change {
	change := &engine.Change{File: engine.Digest{2}}
	copy(change.File[1:], names[0])
	for _, name := range names {
		change.Accounts = append(change.Accounts, engine.AccountChange{
			ID: name, Name: name, Zone: "UTC",
			Attach: []engine.Ownership{{
				Subject: name, Account: name, From: engine.Past, To: engine.Future,
			}},
			Subscriptions: []engine.Subscription{{
				Key: "main", Plan: "payg", From: capacityStart, To: engine.Future,
			}},
		})
	}
	return change
}

// use gives every account one row of one group.
func (j *journal) use(names []string, group int) {
	for len(names) > 0 {
		n := min(len(names), engine.MaxRows)
		j.apply(usageBatch(names[:n], group))
		names = names[n:]
	}
}

func usageBatch(names []string, group int) *engine.Batch {
	n := len(names)
	same := make([]uint32, n)
	batch := &engine.Batch{
		Len: n, Source: engine.Dict{Values: []string{"/svc"}, Index: same},
		Type: engine.Dict{Values: []string{"call"}, Index: same}, Digest: make([]uint64, n),
		Time: make([]engine.Micros, n), Subject: engine.Dict{Values: names},
		ID: engine.Strings{End: make([]uint32, n)}, Rest: engine.Strings{End: make([]uint32, n)},
		Origin: engine.Origins{
			Source: "usage", Partition: engine.Dict{Values: []string{"p"}, Index: same},
			Offset: make([]int64, n), Resume: []int64{0},
		},
	}
	tokens := engine.Column{Path: "data.tokens", Kind: engine.NumberColumn}
	r := rand.New(rand.NewPCG(2, uint64(group)))
	for i := range n {
		batch.Subject.Index = append(batch.Subject.Index, uint32(i))
		batch.Time[i] = capacityStart + engine.Hour
		tokens.Numbers = append(tokens.Numbers, decimal.FromInt(r.Int64N(1_000_000)))
		tokens.Present.Set(i)
	}
	batch.Props = []engine.Column{tokens, {
		Path: "data.model", Kind: engine.TextColumn,
		Text: engine.Dict{Values: []string{fmt.Sprintf("model-%d", group)}, Index: same},
	}}
	return batch
}

// stateBytes returns what the accounts take in a checkpoint.
func stateBytes(b *testing.B, j *journal) float64 {
	total := 0
	err := engine.Pin([]*engine.Engine{j.engine}).EachAccount(func(record []byte) error {
		total += len(record)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(total)
}

func measureJournal(b *testing.B) {
	const rows = 200_000
	text := usageText(b, rows)
	journaled, read := 0, 0
	for _, e := range usageEntries(b, text, formats.Limits{}) {
		journaled += len(engine.AppendEntry(nil, e))
		read += e.Body.(*engine.Batch).Len
	}
	if read != rows {
		b.Fatalf("read %d rows of %d", read, rows)
	}
	b.ReportMetric(float64(len(text))/rows, "ndjson-B/row")
	b.ReportMetric(float64(journaled)/rows, "journal-B/row")
}

// usageText is generated usage as NDJSON.
func usageText(b *testing.B, rows int64) []byte {
	b.Helper()
	var text bytes.Buffer
	usage := fixtures.NewUsage(fixtures.UsageConfig{Seed: 1, Events: rows})
	if _, err := usage.WriteNDJSON(&text); err != nil {
		b.Fatal(err)
	}
	return text.Bytes()
}

// usageEntries reads lines into batches, as a run does.
func usageEntries(b *testing.B, lines []byte, limits formats.Limits) (out []*engine.Entry) {
	b.Helper()
	decoder, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		b.Fatal(err)
	}
	builder := formats.NewBuilder("usage", limits)
	chunk := formats.Chunk{Partition: "usage.ndjson", Data: lines, Last: true}
	seq := engine.Seq(1)
	for len(chunk.Data) > 0 {
		n, err := decoder.Decode(chunk, builder)
		if err != nil {
			b.Fatal(err)
		}
		chunk.Data, chunk.Offset = chunk.Data[n:], chunk.Offset+int64(n)
		if builder.Full() || len(chunk.Data) == 0 {
			e := &engine.Entry{Seq: seq, At: capacityStart + engine.OneDay, Body: builder.Batch()}
			seq += e.Seqs()
			out = append(out, e)
		}
	}
	return out
}

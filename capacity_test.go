package tidy

import (
	"bytes"
	"fmt"
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
func (freshKeys) Has(uint64, uint64) bool                         { return false }

// journal applies bodies to an engine, as the sequencer does.
type journal struct {
	engine *engine.Engine
	fx     engine.Effects
}

func (j *journal) apply(body engine.Body) {
	j.fx.Reset()
	j.engine.Apply(&engine.Entry{
		Seq: j.engine.Seq() + 1, At: capacityStart + engine.OneDay, Body: body,
	}, &j.fx)
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
	j.apply(&engine.Genesis{Format: engine.Format})
	j.apply(&engine.Source{Name: "usage", Dedupe: true})
	j.apply(&engine.Change{
		File: engine.Digest{1},
		Meters: []engine.Meter{{
			Key: "tokens", Event: "call", Aggregate: engine.Total, Value: "data.tokens",
			GroupBy: []engine.Dimension{{Name: "model", Path: "data.model"}},
		}},
		Plans: []engine.Plan{{
			Key: "payg", Version: 1, Currency: "EUR", Digits: 2, Interval: engine.Month,
			Prices: []engine.Price{{Key: "tokens", Model: engine.Unit, Meter: "tokens"}},
		}},
	})
	names := make([]string, capacityAccounts)
	for i := range names {
		names[i] = fmt.Sprintf("account-%06d", i)
	}
	empty := heap()
	for rest := names; len(rest) > 0; {
		n := min(len(rest), accountsPerChange)
		j.apply(newAccounts(rest[:n]))
		rest = rest[n:]
	}
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
		j.apply(usageBatch(names[:n], fmt.Sprintf("model-%d", group)))
		names = names[n:]
	}
}

func usageBatch(names []string, model string) *engine.Batch {
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
	for i := range n {
		batch.Subject.Index = append(batch.Subject.Index, uint32(i))
		batch.Time[i] = capacityStart + engine.Hour
		tokens.Numbers = append(tokens.Numbers, decimal.FromInt(int64(i)))
		tokens.Present.Set(i)
	}
	batch.Props = []engine.Column{tokens, {
		Path: "data.model", Kind: engine.TextColumn,
		Text: engine.Dict{Values: []string{model}, Index: same},
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
	var text bytes.Buffer
	usage := fixtures.NewUsage(fixtures.UsageConfig{Seed: 1, Events: rows})
	if _, err := usage.WriteNDJSON(&text); err != nil {
		b.Fatal(err)
	}
	decoder, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		b.Fatal(err)
	}
	builder := formats.NewBuilder("usage", formats.Limits{})
	chunk := formats.Chunk{Partition: "usage.ndjson", Data: text.Bytes(), Last: true}
	journaled, read := 0, 0
	flush := func() {
		batch := builder.Batch()
		journaled += len(engine.AppendEntry(nil, &engine.Entry{Seq: 1, Body: batch}))
		read += batch.Len
	}
	for len(chunk.Data) > 0 {
		n, err := decoder.Decode(chunk, builder)
		if err != nil {
			b.Fatal(err)
		}
		chunk.Data, chunk.Offset = chunk.Data[n:], chunk.Offset+int64(n)
		if builder.Full() || len(chunk.Data) == 0 {
			flush()
		}
	}
	if read != rows {
		b.Fatalf("read %d rows of %d", read, rows)
	}
	b.ReportMetric(float64(text.Len())/rows, "ndjson-B/row")
	b.ReportMetric(float64(journaled)/rows, "journal-B/row")
}

package tidy

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// BenchmarkCapacityFolds measures what folds keep beside a sum, and what accounts keep of gauges,
// corrections and budgets: memory and bytes of a checkpoint, each over capacityKept of them.
func BenchmarkCapacityFolds(b *testing.B) {
	decimals := func(n int64) decimal.Decimal { return decimal.FromInt(n) }
	window := engine.Meter{
		Aggregate: engine.Percentile, Percent: decimals(95), Window: engine.Second, Of: engine.Average,
	}
	for _, c := range []struct {
		name  string
		meter engine.Meter
		model engine.Model
	}{
		{"unique", engine.Meter{Aggregate: engine.Unique}, engine.Unit},
		{"gauge", engine.Meter{Aggregate: engine.TimeWeighted}, engine.Unit},
		{"percentage", engine.Meter{Aggregate: engine.Total}, engine.Percentage},
		{"percentile", engine.Meter{
			Aggregate: engine.Percentile, Percent: decimals(95),
		}, engine.Unit},
		{"window", window, engine.Unit},
		{"correctable-max", engine.Meter{Aggregate: engine.Most, Correctable: true}, engine.Unit},
		{"correctable-latest", engine.Meter{
			Aggregate: engine.Latest, Correctable: true,
		}, engine.Unit},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				measureSamples(b, keptEngine(c.meter, c.model))
			}
		})
	}
	for _, c := range []struct {
		name    string
		measure func(*testing.B)
	}{
		{"day", measureDays}, {"level", measureLevels}, {"voided", measureVoided},
		{"alert", measureAlerts},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.measure(b)
			}
		})
	}
}

const (
	capacityKept = 100_000
	// Small batches, so that what an engine holds for the rows of one batch does not count.
	keptRows = 1000
)

// keptEngine returns an engine with one meter of data.value and one price on it.
func keptEngine(m engine.Meter, model engine.Model) *journal {
	return keptEngineOf(m, model, freshKeys{})
}

func keptEngineOf(m engine.Meter, model engine.Model, keys engine.Keys) *journal {
	m.Key, m.Event, m.Value = "kept", "call", "data.value"
	m.GroupBy = []engine.Dimension{{Name: "model", Path: "data.model"}}
	price := engine.Price{Key: "kept", Model: model, Meter: "kept"}
	if model == engine.Percentage {
		price.Rate = decimal.FromInt(1)
	}
	j := &journal{engine: engine.New(0, 1, keys)}
	for _, body := range []engine.Body{
		&engine.Genesis{Format: engine.Format}, &engine.Rules{Ruleset: engine.Ruleset},
		&engine.Source{Name: "usage", Dedupe: true},
		&engine.Change{
			File: engine.Digest{1}, Meters: []engine.Meter{m},
			Plans: []engine.Plan{{
				Key: "payg", Version: 1, Currency: "EUR", Digits: 2, Interval: engine.Month,
				Prices: []engine.Price{price},
			}},
		},
	} {
		j.apply(body)
	}
	return j
}

// measureSamples gives one account as many rows as are kept, in two groups, each a second after the
// one before: all of them are different.
func measureSamples(b *testing.B, j *journal) {
	j.open([]string{"account"})
	before, record := heap(), stateBytes(b, j)
	for at := 0; at < capacityKept; at += keptRows {
		j.mustApply(b, keptBatch([]string{"account"}, at, keptRows, 2))
	}
	j.fx = engine.Effects{}
	reportKept(b, heap()-before, stateBytes(b, j)-record)
	runtime.KeepAlive(j)
}

// measureDays lets each account use something on 21 days, once a day: what the days behind the
// first take.
func measureDays(b *testing.B) {
	const days = 20
	names := make([]string, capacityKept/days)
	for i := range names {
		names[i] = fmt.Sprintf("account-%d", i)
	}
	j := keptEngine(engine.Meter{Aggregate: engine.Total}, engine.Unit)
	j.open(names)
	day := func(n int) {
		j.days = n
		for at := 0; at < len(names); at += keptRows {
			batch := keptBatch(names, n*len(names)+at, keptRows, 1)
			for i := range batch.Time {
				batch.Time[i] = capacityStart + engine.Micros(n)*engine.OneDay
			}
			j.mustApply(b, batch)
		}
		j.fx = engine.Effects{}
	}
	day(0)
	before, record := heap(), stateBytes(b, j)
	for n := range days {
		day(n + 1)
	}
	reportKept(b, heap()-before, stateBytes(b, j)-record)
	runtime.KeepAlive(j)
}

// mustApply applies rows all of which count.
func (j *journal) mustApply(b *testing.B, body engine.Body) {
	b.Helper()
	j.apply(body)
	if n := len(j.fx.Rejections); n > 0 {
		b.Fatalf("%d rows rejected, the first: %v", n, j.fx.Rejections[0].Reason)
	}
}

// reportKept reports bytes over capacityKept things.
func reportKept(b *testing.B, memory, record float64) {
	b.ReportMetric(memory/capacityKept, "B/kept")
	b.ReportMetric(record/capacityKept, "checkpoint-B/kept")
	b.ReportMetric(0, "ns/op") // memory and disk are what is measured
}

// keptBatch returns n rows with values and times from the first on, of accounts and groups in turn.
func keptBatch(names []string, first, n, groups int) *engine.Batch {
	batch := usageBatch(make([]string, n), 0)
	batch.Subject.Values = names
	text := engine.Column{Path: "data.value", Kind: engine.TextColumn}
	model := engine.Column{Path: "data.model", Kind: engine.TextColumn}
	for group := range groups {
		model.Text.Values = append(model.Text.Values, fmt.Sprintf("model-%d", group))
	}
	for i := range n {
		at := first + i
		batch.Subject.Index[i] = uint32(at / groups % len(names))
		batch.Time[i] = capacityStart + engine.Micros(at/2)*engine.Second // before the entry
		// A string that is a number is that number, so all meters take it. 16 bytes, as ids have.
		text.Text.Values = append(text.Text.Values, fmt.Sprintf("%d.123456", 100_000_000+at))
		text.Text.Index = append(text.Text.Index, uint32(i))
		model.Text.Index = append(model.Text.Index, uint32(at%groups))
	}
	batch.Props = []engine.Column{text, model}
	return batch
}

// measureLevels lets go of a period of a gauge and of a meter that keeps as much: what is left of
// the gauge alone are the levels of its groups.
func measureLevels(b *testing.B) {
	var memory, record [2]float64
	for i, m := range []engine.Meter{
		{Aggregate: engine.TimeWeighted}, {Aggregate: engine.Latest, Correctable: true},
	} {
		j := keptEngine(m, engine.Unit)
		names := capacityNames()[:capacityKept/capacityGroups]
		j.open(names)
		for at := 0; at < capacityKept; at += keptRows {
			from := at / capacityGroups
			some := names[from : from+keptRows/capacityGroups]
			j.mustApply(b, keptBatch(some, at, keptRows, capacityGroups))
		}
		j.pass(33 * engine.OneDay)
		j.fx = engine.Effects{}
		before := heap()
		j.pass(150 * engine.OneDay)
		j.fx = engine.Effects{}
		memory[i], record[i] = heap()-before, stateBytes(b, j)
		runtime.KeepAlive(names)
		runtime.KeepAlive(j)
	}
	reportKept(b, memory[0]-memory[1], record[0]-record[1])
}

// pass brings a watermark so much after the start, and closes what it closes.
func (j *journal) pass(after engine.Micros) {
	w := &engine.Watermark{W: capacityStart + after}
	more := j.engine.Apply(&engine.Entry{
		Seq: j.engine.Seq() + 1, At: w.W + engine.OneDay, Body: w,
	}, &j.fx)
	for more {
		more = j.engine.Resume(&j.fx)
	}
}

// theKey remembers the one event that is corrected next.
type theKey struct {
	freshKeys
	key engine.Key
}

func (k *theKey) Find(hi, lo uint64) (engine.Key, bool) { return k.key, true }

// measureVoided takes back a hundred events of each of a thousand accounts.
func measureVoided(b *testing.B) {
	keys := &theKey{}
	j := keptEngineOf(engine.Meter{Aggregate: engine.Total}, engine.Unit, keys)
	const accounts = 1000
	names := capacityNames()[:accounts]
	j.open(names)
	var lines bytes.Buffer
	for i := range capacityKept {
		fmt.Fprintf(&lines, `{"specversion":"1.0","id":"%d","source":"/svc","type":"call",`+
			`"subject":"%s","time":"2026-01-01T00:00:00Z","data":{"value":1,"model":"m"}}`+"\n",
			i, names[i%accounts])
	}
	entries := usageEntries(b, lines.Bytes(), formats.Limits{})
	var first []engine.Seq
	for _, e := range entries {
		first = append(first, j.engine.Seq()+1)
		j.mustApply(b, e.Body)
	}
	before, record := heap(), stateBytes(b, j)
	taken := 0
	for i, e := range entries {
		rows := e.Body.(*engine.Batch)
		for row := range rows.Len {
			keys.key = engine.Key{
				Digest: rows.Digest[row], Day: engine.DayOf(rows.Time[row]),
			}
			j.apply(&engine.Void{Of: first[i] + engine.Seq(row), Row: engine.OneRow(rows, row)})
			taken += 1 - len(j.fx.Rejections)
		}
	}
	if taken != capacityKept {
		b.Fatalf("took %d back of %d", taken, capacityKept)
	}
	j.fx = engine.Effects{}
	reportKept(b, heap()-before, stateBytes(b, j)-record)
	runtime.KeepAlive(j)
	runtime.KeepAlive(names)
	runtime.KeepAlive(entries)
}

// measureAlerts gives one alert for each account.
func measureAlerts(b *testing.B) {
	j, names := capacityEngine()
	j.use(names, 0)
	j.apply(&engine.Watermark{W: capacityStart + engine.Minute}) // what it does without a budget
	before, record := heap(), stateBytes(b, j)
	j.apply(&engine.Change{File: engine.Digest{9}, Budgets: []engine.Budget{{
		Key: "calls", Meter: "tokens", Limit: decimal.FromScaled(1, 6),
	}}})
	j.apply(&engine.Watermark{W: capacityStart + engine.Hour})
	if n := len(j.fx.Alerts); n < capacityKept*99/100 { // a few used nothing
		b.Fatalf("%d alerts", n)
	}
	j.fx = engine.Effects{}
	reportKept(b, heap()-before, stateBytes(b, j)-record)
	runtime.KeepAlive(j)
	runtime.KeepAlive(names)
}

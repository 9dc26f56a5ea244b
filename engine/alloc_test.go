package engine

import (
	"fmt"
	"testing"

	"billctl/engine/decimal"
)

// freshKeys knows no key: what is measured is the engine.
type freshKeys struct{}

func (freshKeys) Admit(_ []Key, verdicts []Verdict) { clear(verdicts) }
func (freshKeys) Forget(Day)                        {}
func (freshKeys) Find(_, _ uint64) (Key, bool)      { return Key{}, false }

const steadyRows = 10_000

// TestApplyAllocatesNothingPerRow applies batches of 10,000 and of 1,000 rows of known accounts and
// groups: the allocations of a batch do not depend on its rows.
func TestApplyAllocatesNothingPerRow(t *testing.T) {
	perBatch := func(rows int) float64 {
		s := newSteady(rows)
		for range 3 { // grows the scratch, makes periods and folds
			s.apply()
		}
		return testing.AllocsPerRun(10, s.apply)
	}
	small, large := perBatch(1000), perBatch(steadyRows)
	t.Logf("allocations of a batch: %v with 1,000 rows, %v with %d rows", small, large, steadyRows)
	// Tying three meters to the columns takes 6; a row that allocated would add thousands.
	if large > 20 || large > small+2 {
		t.Error("rows allocate")
	}
}

// BenchmarkApply applies batches of 10,000 rows: 1,000 subjects, three meters with groups and a
// filter, a number in each row, deduplication but for the keys' own store.
func BenchmarkApply(b *testing.B) {
	s := newSteady(steadyRows)
	s.apply()
	b.ReportAllocs()
	for b.Loop() {
		s.apply()
	}
	rows := float64(b.N) * steadyRows
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/rows, "ns/row")
}

// steady is an engine and a batch that it gets again and again.
type steady struct {
	engine *Engine
	batch  *Batch
	entry  Entry
	fx     Effects
}

func newSteady(rows int) *steady {
	s := &steady{engine: New(0, 1, freshKeys{}), batch: steadyBatch(rows)}
	for i, body := range []Body{
		&Genesis{}, &Source{Name: "usage", Dedupe: true}, steadyChange(),
	} {
		s.engine.Apply(&Entry{Seq: Seq(i + 1), Body: body}, &s.fx)
	}
	return s
}

func (s *steady) apply() {
	s.fx.Reset()
	s.entry = Entry{Seq: s.engine.Seq() + 1, At: 20 * OneDay, Body: s.batch}
	s.engine.Apply(&s.entry, &s.fx)
	if len(s.fx.Rejections) > 0 {
		panic(fmt.Sprintf("BUG: rejected: %s", s.fx.Rejections[0].Reason))
	}
}

func steadyChange() *Change {
	model := Dimension{"model", "data.model"}
	c := &Change{
		Meters: []Meter{
			{Key: "calls", Event: "llm", Aggregate: Count, GroupBy: []Dimension{model}},
			{Key: "tokens", Event: "llm", Aggregate: Total, Value: "data.n", GroupBy: []Dimension{model}},
			{
				Key: "eu", Event: "llm", Aggregate: Total, Value: "data.n",
				Where: []Filter{{"data.region", []string{"eu"}}},
			},
		},
		Plans: []Plan{{Key: "pro", Version: 1, Currency: "EUR", Digits: 2, Interval: Month}},
	}
	for _, m := range c.Meters {
		c.Plans[0].Prices = append(c.Plans[0].Prices, Price{Key: m.Key, Model: Unit, Meter: m.Key})
	}
	for i := range 1000 {
		id := fmt.Sprintf("account-%d", i)
		c.Accounts = append(c.Accounts, AccountChange{
			ID: id, Zone: "UTC", Attach: []Ownership{{"subject-" + id, id, Past, Future}},
			Subscriptions: []Subscription{{Key: "main", Plan: "pro", To: Future}},
		})
	}
	return c
}

func steadyBatch(rows int) *Batch {
	b := emptyBatch(rows)
	b.Type.Values, b.Source.Values = []string{"llm"}, []string{"app"}
	b.Origin.Source = "usage"
	b.Origin.Partition.Values, b.Origin.Resume = []string{"file"}, []int64{1}
	for i := range 1000 {
		b.Subject.Values = append(b.Subject.Values, fmt.Sprintf("subject-account-%d", i))
	}
	text := func(path string, values ...string) Column {
		return Column{Path: path, Kind: TextColumn, Text: Dict{values, make([]uint32, rows)}}
	}
	model, region := text("data.model", "small", "large", "huge"), text("data.region", "eu", "us")
	number := Column{Path: "data.n", Kind: NumberColumn}
	for i := range rows {
		b.Type.Index[i], b.Source.Index[i], b.Origin.Partition.Index[i] = 0, 0, 0
		b.Subject.Index[i] = uint32(i * 7 % 1000)
		b.Time[i] = 10*OneDay + Micros(i)
		b.ID.Bytes = fmt.Appendf(b.ID.Bytes, "request-%08d", i)
		b.ID.End[i] = uint32(len(b.ID.Bytes))
		b.Digest[i] = uint64(i)
		model.Text.Index[i], region.Text.Index[i] = uint32(i/1000%3), uint32(i%2)
		number.Numbers = append(number.Numbers, decimal.FromInt(int64(i%500)))
		number.Present.Set(i)
	}
	b.Props = []Column{model, region, number}
	return b
}

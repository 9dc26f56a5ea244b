package engine

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"billctl/engine/decimal"
)

// restored returns the engine's state in a new one.
func (c *counting) restored() *counting {
	v := Pin([]*Engine{c.Engine})
	n := &counting{Engine: New(0, 1, freshKeys{}), meters: c.meters}
	err := n.RestoreGlobals(v.AppendGlobals(nil))
	if err == nil {
		err = v.EachAccount(n.RestoreAccount)
	}
	if err != nil {
		panic("BUG: " + err.Error())
	}
	n.RestoreDone()
	return n
}

func (c *counting) billing() Digest {
	billing, _ := NewDigester().Digests(Pin([]*Engine{c.Engine}), AllBuckets())
	return billing
}

// takeBack takes a row out of all the folds that it is in.
func (c *counting) takeBack(row rowOf) {
	b := batchOfRows([]rowOf{row}, 0)
	c.prepare(b)
	index := c.routeOf(b, 0, row.at)
	if reason := c.judgeMeters(b, 0, index); reason != Accepted {
		panic("BUG: a row that counts is " + reason.String())
	}
	period := int32(-1)
	for _, h := range c.hits {
		m := &c.bounds[h.bound]
		period = c.openLeg(&c.legs[h.leg])
		s := c.findSeries(period, m.index, c.groupOf(m, 0))
		if !correctable(m.meter, c.keepsEach(period, m.index)) || !c.holds(s, m, 0, row.at) {
			panic("BUG: a row that counts can't be taken back")
		}
		c.subtract(s, m, 0, row.at)
	}
	c.periods.mut(period).rows--
}

// TestBagsInAnyOrder counts the same rows in another order and in other batches, with a restore on
// the way, and with views pinned between: one state comes of it, and no view ever changes.
func TestBagsInAnyOrder(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 3))
		rows := randomRows(r, 1+r.IntN(300), 60)
		want := newCounting(everyMeter(false))
		want.count(r, rows, nil)
		c := newCounting(everyMeter(false))
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		var views []*state
		var records []string
		keep := func() {
			views = append(views, c.pin())
			records = append(records, c.record())
		}
		at := r.IntN(len(rows))
		c.count(r, rows[:at], keep)
		c = c.restored()
		c.count(r, rows[at:], keep)
		if c.record() != want.record() {
			t.Fatalf("seed %d: another order ends in another state", seed)
		}
		if c.billing() != want.billing() {
			t.Fatalf("seed %d: another order ends in another billing digest", seed)
		}
		for i, v := range views {
			if string(v.appendAccount(nil, 0)) != records[i] {
				t.Fatalf("seed %d: a view changes", seed)
			}
		}
	}
}

// TestTakingBack counts rows, and others that are taken back in another order, before a restore and
// after one: it is as if they had never come.
func TestTakingBack(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 4))
		meters := everyMeter(true)
		rows := randomRows(r, 60+r.IntN(200), 59)
		rows = append(rows, rowOf{tag: true}, rowOf{at: 40 * OneDay, tag: true})
		want := newCounting(meters)
		want.count(r, rows, nil)
		more := randomRows(r, 1+r.IntN(200), 59) // of the same two months
		for i := range more {
			if i%9 == 0 {
				more[i].group = "gone" // nothing else is in this group
			}
		}
		both := slices.Concat(rows, more)
		r.Shuffle(len(both), func(i, j int) { both[i], both[j] = both[j], both[i] })
		c := newCounting(meters)
		c.count(r, both, nil)
		r.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
		half := r.IntN(len(more))
		var views []*state
		var records []string
		for i, row := range more {
			if i == half {
				c = c.restored()
			}
			if r.IntN(20) == 0 {
				views, records = append(views, c.pin()), append(records, c.record())
			}
			c.takeBack(row)
		}
		if err := c.checkQuantities(rows); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if c.record() != want.record() || c.billing() != want.billing() {
			t.Fatalf("seed %d: rows that were taken back leave something behind", seed)
		}
		for i, v := range views {
			if string(v.appendAccount(nil, 0)) != records[i] {
				t.Fatalf("seed %d: a view changes", seed)
			}
		}
		// What was taken back may come again.
		c.count(r, more, nil)
		again := newCounting(meters)
		again.count(r, both, nil)
		if c.record() != again.record() {
			t.Fatalf("seed %d: what comes again counts otherwise", seed)
		}
	}
}

// TestBagsAreFreed drops periods and counts anew: the entries are used again.
func TestBagsAreFreed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	c := newCounting(everyMeter(false))
	most, freed := int32(0), 0
	for month := range 12 {
		rows := randomRows(r, 200, 25)
		for i := range rows {
			rows[i].at += Micros(month) * 31 * OneDay
		}
		c.put(Micros(month+2)*31*OneDay, &Watermark{Micros(month) * 31 * OneDay})
		freed += len(c.freeBag)
		c.count(r, rows, nil)
		if month == 5 {
			most = c.bag.len()
		}
		live := 0
		for i := range c.bag.len() {
			live += one(c.bag.at(i).series >= 0)
		}
		if live+len(c.freeBag) != int(c.bag.len()) {
			t.Fatalf("month %d: %d entries: %d in use, %d free", month, c.bag.len(), live, len(c.freeBag))
		}
		found := 0
		for _, s := range c.bagAt.slots {
			found += one(s.index > 0)
		}
		if found > live {
			t.Fatalf("month %d: %d entries in use, %d are found", month, live, found)
		}
	}
	if n := c.bag.len(); n > most*3/2 || freed == 0 {
		t.Errorf("%d entries after 6 months, %d after 12", most, n)
	}
	if got := c.restored(); got.record() != c.record() || got.billing() != c.billing() {
		t.Error("restored as another state")
	}
}

// levelMeters are a level by group and one of all, and a sum beside them.
func levelMeters() []Meter {
	k := []Dimension{{"k", "data.k"}}
	return []Meter{
		{Key: "level", Event: "use", Aggregate: TimeWeighted, Value: "data.v"},
		{Key: "level@", Event: "use", Aggregate: TimeWeighted, Value: "data.v", GroupBy: k, Per: OneDay},
		{Key: "sum", Event: "use", Aggregate: Total, Value: "data.v"},
	}
}

// TestLevelsGoOn counts rows of two intervals of a subscription over a year, some of them late,
// while periods close and are forgotten: every open period has the levels that went before, and
// what all documents say of a period in the end is what its rows come to.
func TestLevelsGoOn(t *testing.T) {
	lines, adjusted := 0, 0
	for seed := range uint64(8) {
		l, a, err := levelsGoOn(seed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		lines, adjusted = lines+l, adjusted+a
	}
	if lines == 0 || adjusted == 0 {
		t.Errorf("%d lines, %d adjustments: nothing was compared", lines, adjusted)
	}
	t.Logf("%d lines, %d adjustments", lines, adjusted)
}

func levelsGoOn(seed uint64) (lines, adjusted int, err error) {
	r := rand.New(rand.NewPCG(seed, 6))
	gap := Micros(100+r.IntN(50)) * OneDay
	subs := []Subscription{
		{Key: "main", Plan: "all", From: 3 * OneDay, To: gap},
		{Key: "main", Plan: "all", From: gap + Micros(r.IntN(20))*OneDay, To: Future},
	}
	c := newCounting(levelMeters(), subs...)
	c.put(0, &Settings{
		Grace: OneDay, Reopen: Micros(20+r.IntN(60)) * OneDay, Horizon: 90 * OneDay, MaxFuture: 1,
	})
	var counted []rowOf
	const days = 360
	for day := 0; day < days; day += 1 + r.IntN(12) {
		rows := randomRows(r, r.IntN(5), 10)
		for i := range rows {
			rows[i].at += max(0, Micros(day-10-r.IntN(2)*r.IntN(70))) * OneDay
			rows[i].tag = nil
		}
		now := Micros(day) * OneDay
		c.fx.Rejections = nil
		first := c.Seq() + 1
		if len(rows) > 0 {
			c.put(now, batchOfRows(rows, int(first)))
		}
		for i, row := range rows {
			if !slices.ContainsFunc(c.fx.Rejections, func(x Rejection) bool {
				return x.Seq == first+Seq(i)
			}) {
				counted = append(counted, row)
			}
		}
		if err := c.checkLevels(counted); err != nil {
			return 0, 0, fmt.Errorf("day %d: %w", day, err)
		}
		c.put(now, &Watermark{now - OneDay})
		if err := c.checkLevels(counted); err != nil {
			return 0, 0, fmt.Errorf("day %d, closed: %w", day, err)
		}
		if r.IntN(8) == 0 {
			n := c.restored()
			if n.record() != c.record() || n.billing() != c.billing() {
				return 0, 0, fmt.Errorf("day %d: restored as another state", day)
			}
			n.fx = c.fx
			c = n
		}
	}
	c.put(days*OneDay, &Watermark{days * OneDay})
	return c.checkDocuments(counted, days*OneDay)
}

// checkLevels compares the quantities of periods that are open or wait for an adjustment.
func (c *counting) checkLevels(rows []rowOf) error {
	for i := range c.subs.len() {
		b := c.subs.at(i)
		for p := b.newest; p >= 0; p = c.periods.at(p).older {
			period := c.periods.at(p)
			if period.closedAt != Past && !period.dirty {
				continue // the documents are checked in the end
			}
			terms := c.terms[period.terms]
			span := c.span(b, terms, period.start)
			usage := c.usage(b, terms, period.start)
			for m := range 2 {
				if err := checkMeter(&c.meters[m], usage, rows, &span); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkDocuments adds up what the documents say of each period that no row can change any more.
func (c *counting) checkDocuments(rows []rowOf, end Micros) (lines, adjusted int, err error) {
	billed := map[string]decimal.Amount{}
	spans := map[string][2]Micros{}
	for _, inv := range c.fx.Invoices {
		for i := range inv.Lines {
			l := &inv.Lines[i]
			key := fmt.Sprint(l.Price, " ", l.From)
			billed[key], spans[key] = billed[key].Add(l.Amount), [2]Micros{l.From, l.To}
			lines++
		}
		for i := range inv.Adjustments {
			a := &inv.Adjustments[i]
			key := fmt.Sprint(a.Price, " ", a.Start)
			billed[key], spans[key] = billed[key].Add(a.Amount), [2]Micros{a.Start, a.End}
			adjusted++
		}
	}
	for i := range c.subs.len() {
		for _, a := range c.adjustments(c.subs.at(i)) { // what the next documents will say
			key := fmt.Sprint(a.Price, " ", a.Start)
			billed[key], spans[key] = billed[key].Add(a.Amount), [2]Micros{a.Start, a.End}
		}
	}
	for key, span := range spans {
		for m := range 2 {
			meter := &c.meters[m]
			if key != fmt.Sprint(meter.Key, " ", span[0]) {
				continue
			}
			start, stop := (&Zone{Name: "UTC"}).Month(span[0])
			sum := new(big.Rat)
			for _, list := range groupsWithin(meter, rows, Past, span[1], false) {
				sum.Add(sum, naiveLevel(meter, list, span[0], span[1], stop-start))
			}
			want, _ := new(big.Rat).SetString(billed[key].Text(2))
			off := sum.Sub(sum, want)
			if off.Abs(off).Cmp(big.NewRat(1, 200)) > 0 {
				return 0, 0, fmt.Errorf("%s: billed %s, which is off by %s", key, want.FloatString(2),
					off.FloatString(4))
			}
		}
	}
	return lines, adjusted, nil
}

// TestLevelsOfPeriodsThatWait forgets the periods around one that waits for an adjustment: it keeps
// the level that it begins with until it goes itself.
func TestLevelsOfPeriodsThatWait(t *testing.T) {
	c := newCounting(levelMeters())
	var rows []rowOf
	for i := range 3 {
		at := Micros(10+31*i) * OneDay
		rows = append(rows, rowOf{at: at, value: decimal.FromInt(int64(3 + i))})
	}
	c.put(100*OneDay, batchOfRows(rows, 1))
	find := func(start Micros) int32 { return c.retained(c.subs.at(0), start) }
	february := 31 * OneDay
	march := february + 28*OneDay
	p := c.periods.at(find(february))
	want := c.usage(c.subs.at(0), c.terms[p.terms], february)
	for _, step := range []struct {
		drop   Micros
		levels int
	}{{0, 2}, {march, 4}, {february, 2}} {
		if step.drop == february {
			got := c.usage(c.subs.at(0), c.terms[p.terms], february)
			if !reflect.DeepEqual(got, want) || got[0].Fold.Carried == nil {
				t.Errorf("usage of February is %v, want %v", got, want)
			}
		}
		c.dropPeriod(find(step.drop))
		if got := len(c.subs.at(0).levels); got != step.levels { // of two meters
			t.Errorf("%d levels after %s was forgotten, want %d", got, step.drop, step.levels)
		}
	}
}

// TestLatestKeepsOne counts many rows of a Latest that can't be taken back.
func TestLatestKeepsOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	c := newCounting([]Meter{{Key: "last", Event: "use", Aggregate: Latest, Value: "data.v"}})
	c.count(r, randomRows(r, 5000, 28), nil)
	if n := c.bag.len(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

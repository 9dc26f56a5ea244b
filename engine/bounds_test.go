package engine

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"billctl/engine/decimal"
)

// TestAmountsEnd rates one event with numbers at the ends of their ranges, which ruleset 1 takes:
// the line is 10^66 minor units, and sums of such lines, taxes and credits are exact.
func TestAmountsEnd(t *testing.T) {
	most, least := dec("99999999999999999999"), dec("0.000000000000000001")
	end := &Convert{most, least, KeepFraction}
	m := &Meter{Key: "m", Event: "use", Aggregate: Total, Value: "data.n"}
	want := "1" + strings.Repeat("0", 54)
	for _, c := range []struct {
		name     string
		price    Price
		quantity decimal.Decimal
		want     string
	}{
		{"unit", Price{Model: Unit, Unit: most, Convert: end}, most, want},
		{"money back", Price{Model: Unit, Unit: most, Convert: end}, most.Neg(), "-" + want},
		{"package", Price{Model: Package, Size: least, Amount: most, Convert: end}, most, want},
		{"package and overage", Price{Model: Package, Size: least, Amount: most,
			Commitment: &Commitment{Amount: dec("1"), Overage: dec("1000000")}}, most, want},
		{"plain", Price{Model: Unit, Unit: most}, most, "9999999999999999999800000000000000000001"},
	} {
		c.price.Key, c.price.Meter = "p", "m"
		if err := c.price.validate(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		usage := []Usage{{Meter: m, Fold: Fold{Rows: 1, Value: decimal.SumOf(c.quantity)}}}
		lines := EvalPrice(&c.price, m, usage, maxDigits, decimal.HalfAway)
		if got := lines[0].Amount.Text(maxDigits); strings.TrimSuffix(got, ".000000000000") != c.want {
			t.Errorf("%s: amount is %s, want %s", c.name, got, c.want)
		}
	}
}

// TestTakingBackMany takes back many rows of which none but the last is the extreme: it stays.
func TestTakingBackMany(t *testing.T) {
	const n = 20_000 // so many that a look at all values for each is felt
	c := newCounting([]Meter{{Key: "most", Event: "use", Aggregate: Most, Value: "data.v",
		Correctable: true}})
	rows := make([]rowOf, n)
	for i := range rows {
		rows[i] = rowOf{value: decimal.FromInt(int64(i))}
	}
	r := rand.New(rand.NewPCG(1, 8))
	c.count(r, rows, nil)
	for i, row := range rows {
		if i == n-1 || i%5000 == 0 {
			if got := c.series.at(0).Value; got != decimal.SumOf(rows[n-1].value) {
				t.Fatalf("the greatest is %s with %d rows", got, n-i)
			}
		}
		c.takeBack(row)
	}
	if s := c.series.at(0); s.Rows != 0 || !s.Value.IsZero() {
		t.Errorf("%d rows are left, and %s", s.Rows, s.Value)
	}
}

// TestDifferences compares the differences of many groups with those that are found one by one, in
// the same order.
func TestDifferences(t *testing.T) {
	c := newCounting([]Meter{{Key: "m", Event: "use", Aggregate: Total, Value: "data.v"}})
	b := c.subs.at(0)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		var lines []Line
		var was []booked
		for i := range r.IntN(40) {
			group := []GroupValue{{Dim: "k", Value: fmt.Sprint(i)}}
			price := fmt.Sprint("p", r.IntN(2))
			if r.IntN(4) > 0 {
				lines = append(lines, Line{Price: price, Group: group,
					Amount: decimal.AmountOf(r.Int64N(3))})
			}
			if r.IntN(4) > 0 {
				was = append(was, booked{key: lineKey(price, group), price: price, group: group,
					amount: decimal.AmountOf(r.Int64N(3))})
			}
		}
		r.Shuffle(len(was), func(i, j int) { was[i], was[j] = was[j], was[i] })
		var want []string
		note := func(key string, rated, before decimal.Amount) {
			if rated != before {
				want = append(want, fmt.Sprint(key, " ", rated.Text(0), " ", before.Text(0)))
			}
		}
		for _, l := range lines {
			key, before := lineKey(l.Price, l.Group), decimal.Amount{}
			for _, o := range slices.Backward(was) {
				if o.key == key {
					before = o.amount
				}
			}
			note(key, l.Amount, before)
		}
		for _, o := range was {
			if !slices.ContainsFunc(lines, func(l Line) bool {
				return lineKey(l.Price, l.Group) == o.key
			}) {
				note(o.key, decimal.Amount{}, o.amount)
			}
		}
		var got []string
		for _, a := range c.differences(b, b.From, 31*OneDay, lines, was) {
			got = append(got, fmt.Sprint(lineKey(a.Price, a.Group), " ", a.Rated.Text(0), " ",
				a.Booked.Text(0)))
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: differences are\n%q\nwant\n%q", seed, got, want)
		}
	}
}

// TestManyBudgets sets budgets as one change and one by one: the same are left. Then usage comes:
// each budget of the account tells once, whatever a later change says of its limit.
func TestManyBudgets(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 10))
		meters := []Meter{{Key: "m", Event: "use", Aggregate: Total, Value: "data.v"}}
		one, all := newCounting(meters), newCounting(meters)
		account := one.accounts.at(0).id
		all.put(0, &Settings{Grace: OneDay, Reopen: OneDay, Horizon: 90 * OneDay, MaxFuture: 1})
		for file := range 3 {
			change := &Change{File: [32]byte{byte(file + 1), 77}}
			for range r.IntN(60) {
				b := Budget{Key: fmt.Sprint("b", r.IntN(30)), Meter: "m",
					Account: []string{"", account, "nobody"}[r.IntN(3)],
					Plan:    []string{"", "all", "none"}[r.IntN(12)/5],
					Limit:   decimal.FromInt(r.Int64N(4)), At: decs("50", "100")}
				change.Budgets = append(change.Budgets, b)
				one.setBudgets([]Budget{b}, &one.fx)
			}
			all.put(0, change)
			if !reflect.DeepEqual(slices.Clone(one.budgets), slices.Clone(all.budgets)) {
				t.Fatalf("seed %d: budgets are\n%+v\nwant\n%+v", seed, all.budgets, one.budgets)
			}
			all.checkAlerts(t, seed, account, int64(file))
		}
	}
}

// checkAlerts counts a row of value 1 and compares the alerts with those of every budget by itself.
func (c *counting) checkAlerts(t *testing.T, seed uint64, account string, sum int64) {
	t.Helper()
	given := map[string]bool{}
	for _, a := range c.fx.Alerts {
		given[fmt.Sprint(a.Budget, " ", a.Percent)] = true
	}
	var want []string
	for _, b := range c.budgets {
		if b.Account != "" && b.Account != account || b.Plan != "" && b.Plan != "all" {
			continue
		}
		for _, percent := range b.At {
			key := fmt.Sprint(b.Key, " ", percent)
			reached := decimal.Int(sum + 1).Cmp(share(b.Limit, percent))
			if reached >= 0 && !given[key] {
				want = append(want, key)
			}
		}
	}
	before := len(c.fx.Alerts)
	c.put(OneDay, batchOfRows([]rowOf{{value: decimal.FromInt(1)}}, int(c.Seq())))
	c.put(OneDay, &Watermark{OneDay + Micros(sum)}) // each is behind the one before
	var got []string
	for _, a := range c.fx.Alerts[before:] {
		got = append(got, fmt.Sprint(a.Budget, " ", a.Percent))
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("seed %d: alerts are\n%q\nwant\n%q", seed, got, want)
	}
}

package engine

import (
	"strings"
	"testing"

	"billctl/engine/decimal"
)

// checkError holds an error against a part of its text; "" is no error.
func checkError(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s is refused: %v", name, err)
	case want != "" && err == nil:
		t.Errorf("%s is taken, want: %s", name, want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("%s: %v, want: %s", name, err, want)
	}
}

func TestPlanValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *Plan)
		want   string
	}{
		{"a month", func(*Plan) {}, ""},
		{"no version", func(p *Plan) { p.Version = 0 }, "a key and a version"},
		{"12 digits", func(p *Plan) { p.Digits = 12 }, ""},
		{"13 digits", func(p *Plan) { p.Digits = 13 }, "0 to 12 digits"},
		{"no interval", func(p *Plan) { p.Interval = 0 }, "no such period"},
		{"interval 6", func(p *Plan) { p.Interval = 6 }, "no such period"},
		{"days", func(p *Plan) { p.Interval = OfDay }, ""},
		{"days from the start", func(p *Plan) { p.Interval, p.Anchor = OfDay, StartAnchor }, ""},
		{"days from the 1st", func(p *Plan) { p.Interval, p.Anchor = OfDay, 1 }, "at midnight"},
		{"weeks from Sunday", func(p *Plan) { p.Interval, p.Anchor = Week, 7 }, ""},
		{"weeks from day 8", func(p *Plan) { p.Interval, p.Anchor = Week, 8 }, "to 7 (Sunday), not on 8"},
		{"months from the 31st", func(p *Plan) { p.Anchor = 31 }, ""},
		{"months from the 32nd", func(p *Plan) { p.Anchor = 32 }, "1 to 31 of a month, not on 32"},
		{"anchor 64", func(p *Plan) { p.Anchor = 64 }, "1 to 31"},
		{"quarters from the start", func(p *Plan) { p.Interval, p.Anchor = Quarter, StartAnchor }, ""},
		{"years from the 32nd", func(p *Plan) { p.Interval, p.Anchor = Year, 32 }, "1 to 31"},
		{"a bad price", func(p *Plan) { p.Prices[0].Model = 10 }, "plan pro, price a: no such model"},
		{"a price twice", func(p *Plan) { p.Prices[1].Key = "a" }, "two prices a"},
	} {
		p := Plan{Key: "pro", Version: 1, Currency: "EUR", Digits: 2, Interval: Month,
			Prices: []Price{unitPrice("a", "m", "1"), unitPrice("b", "m", "1")}}
		c.change(&p)
		checkError(t, c.name, p.Validate(), c.want)
	}
}

func TestPriceValidate(t *testing.T) {
	unit := func(change func(p *Price)) Price {
		p := unitPrice("p", "m", "1")
		change(&p)
		return p
	}
	each := func(change func(p *Price)) Price {
		p := Price{Key: "p", Meter: "m", Model: Percentage, Rate: dec("1")}
		change(&p)
		return p
	}
	tiered := func(model Model, list []Tier) Price {
		return Price{Key: "p", Meter: "m", Model: model, Tiers: list}
	}
	matrix := func(change func(p *Price)) Price {
		p := Price{Key: "p", Meter: "m", Model: Unit, Matrix: &Matrix{[]string{"a", "b"}, []MatrixRow{
			{[]string{"x", "y"}, dec("1")}, {[]string{"x", "z"}, dec("2")},
		}}}
		change(&p)
		return p
	}
	for _, c := range []struct {
		name  string
		price Price
		want  string
	}{
		{"flat on a meter", Price{Model: Flat, Meter: "m"}, "a flat price has no meter"},
		{"percentage", each(func(p *Price) { p.FreeEvents, p.MaxEach = 3, ptr("0") }), ""},
		{"percentage of 100", each(func(p *Price) { p.Rate = dec("100") }), ""},
		{"percentage above 100", each(func(p *Price) { p.Rate = dec("100.1") }), "not 100.1"},
		{"percentage below 0", each(func(p *Price) { p.Rate = dec("-1") }), "not -1"},
		{"negative fixed", each(func(p *Price) { p.Fixed = dec("-1") }), "not negative"},
		{"negative least", each(func(p *Price) { p.MinEach = ptr("-1") }), "not negative"},
		{"negative free events", each(func(p *Price) { p.FreeEvents = -1 }), "what is free"},
		{"negative free amount", each(func(p *Price) { p.FreeAmount = dec("-1") }), "what is free"},
		{"least is most", each(func(p *Price) { p.MinEach, p.MaxEach = ptr("2"), ptr("2") }), ""},
		{"least above most", each(func(p *Price) { p.MinEach, p.MaxEach = ptr("3"), ptr("2") }),
			"its most 2"},
		{"percentage and convert", each(func(p *Price) { p.Convert = tenfold }), "convert and free"},
		{"percentage and free", each(func(p *Price) { p.Free = dec("1") }), "convert and free"},
		{"unit and a rate", unit(func(p *Price) { p.Rate = dec("1") }), "of model percentage"},
		{"unit and free events", unit(func(p *Price) { p.FreeEvents = 1 }), "of model percentage"},
		{"unit and most of an event", unit(func(p *Price) { p.MaxEach = ptr("1") }),
			"of model percentage"},
		{"unit and multiplier", unit(func(p *Price) { p.Multiplier = dec("1") }), "of model dynamic"},
		{"dynamic", Price{Model: Dynamic, Meter: "m", Multiplier: dec("0.1")}, ""},
		{"dynamic without", Price{Model: Dynamic, Meter: "m"}, "a multiplier is above 0"},
		{"dynamic, a million", Price{Model: Dynamic, Meter: "m", Multiplier: dec("1000000")}, ""},
		{"dynamic, more", Price{Model: Dynamic, Meter: "m", Multiplier: dec("1000000.1")},
			"a multiplier is up to 1000000, not 1000000.1"},
		{"overage, a million", unit(func(p *Price) {
			p.Commitment = &Commitment{Overage: dec("1000000")}
		}), ""},
		{"overage, more", unit(func(p *Price) {
			p.Commitment = &Commitment{Overage: dec("1000001")}
		}), "an overage is up to 1000000, not 1000001"},
		{"off", unit(func(p *Price) { p.Off = dec("1") }), ""},
		{"negative off", unit(func(p *Price) { p.Off = dec("-1") }), "taken off"},
		{"free beyond commitment", unit(func(p *Price) { p.Commitment = &Commitment{} }), ""},
		{"negative commitment", unit(func(p *Price) { p.Commitment = &Commitment{Amount: dec("-1")} }),
			"a commitment"},
		{"negative overage", unit(func(p *Price) { p.Commitment = &Commitment{Overage: dec("-1")} }),
			"a commitment"},
		{"stairstep", tiered(Stairstep, steps), ""},
		{"stairstep without tiers", tiered(Stairstep, nil), "no tiers"},
		{"stairstep with an end", tiered(Stairstep, steps[:2]), "unbounded"},
		{"graduated percentage", tiered(GraduatedPercentage, rates), ""},
		{"graduated percentage, -1", tiered(GraduatedPercentage, tiers([3]string{"-", "-1", "0"})),
			"not -1"},
		{"graduated percentage, 101", tiered(GraduatedPercentage, tiers([3]string{"-", "101", "0"})),
			"not 101"},
		{"matrix", matrix(func(*Price) {}), ""},
		{"matrix and match", matrix(func(p *Price) { p.Match = []Match{{"a", []string{"x"}}} }), ""},
		{"matrix and per", matrix(func(p *Price) { p.Per = []string{"a"} }), "no unit and no per"},
		{"matrix and unit", matrix(func(p *Price) { p.Unit = dec("1") }), "no unit and no per"},
		{"matrix of volume", matrix(func(p *Price) { p.Model, p.Tiers = Volume, steps }),
			"of model unit"},
		{"matrix without dimensions", matrix(func(p *Price) { p.Matrix.Dims = nil }),
			"a dimension and a row"},
		{"matrix without rows", matrix(func(p *Price) { p.Matrix.Rows = nil }), "a dimension and a row"},
		{"matrix by a dimension twice", matrix(func(p *Price) { p.Matrix.Dims[1] = "a" }), "a twice"},
		{"matrix with a short row", matrix(func(p *Price) { p.Matrix.Rows[1].Values = []string{"z"} }),
			"row 2 of the matrix has 1 values for 2"},
		{"matrix with a row twice", matrix(func(p *Price) { p.Matrix.Rows[1].Values[1] = "y" }),
			"row 2 of the matrix is not behind"},
	} {
		checkError(t, c.name, c.price.validate(), c.want)
	}
}

// TestRuleset1Prices: what the first ruleset took is taken for ever, senseless or not.
func TestRuleset1Prices(t *testing.T) {
	for name, p := range map[string]Price{
		"negative amount":      {Model: Flat, Amount: dec("-40")},
		"flat with a quantity": {Model: Flat, Convert: tenfold, Free: dec("1"), Tiers: steps},
		"negative unit price":  {Model: Unit, Meter: "m", Unit: dec("-1")},
		"unit with tiers":      {Model: Unit, Meter: "m", Tiers: steps[:1]},
		"negative bounds":      {Model: Unit, Meter: "m", Minimum: ptr("-1"), Maximum: ptr("-2")},
		"discount above 100":   {Model: Unit, Meter: "m", Discount: dec("150")},
		"negative discount":    {Model: Unit, Meter: "m", Discount: dec("-5")},
		"negative free":        {Model: Unit, Meter: "m", Free: dec("-5")},
		"convert by -1": {Model: Unit, Meter: "m",
			Convert: &Convert{dec("-1"), dec("1"), RoundUp}},
		"convert by the ends": {Model: Unit, Meter: "m",
			Convert: &Convert{dec("99999999999999999999"), dec("0.000000000000000001"), RoundUp}},
		"package of the least": {Model: Package, Meter: "m", Size: dec("0.000000000000000001")},
		"first bound below 0": {Model: Volume, Meter: "m", Tiers: tiers([3]string{"-5", "-1", "-1"},
			[3]string{"-", "0", "0"})},
	} {
		checkError(t, name, p.validate(), "")
	}
	for name, m := range map[string]Meter{
		"count":             {Key: "m", Aggregate: Count},
		"sum of nothing":    {Key: "m", Aggregate: Total},
		"min without event": {Key: "m", Aggregate: Least, Value: "data.n"},
	} {
		checkError(t, name, m.Validate(), "")
	}
}

func TestPriceFits(t *testing.T) {
	each := Price{Model: Percentage}
	checkError(t, "a sum", each.fits(lineTokens), "")
	checkError(t, "a count", each.fits(lineCalls), "meter calls has to sum amounts")
	by := Price{Model: Unit, Matrix: &Matrix{Dims: []string{"model", "region"}}}
	checkError(t, "by two dimensions", by.fits(lineTokens), "")
	checkError(t, "by a dimension that is none", by.fits(lineLeast), "low is not grouped by that")
	unit := Price{Model: Unit, Per: []string{"none"}, Match: []Match{{Dim: "none"}}}
	checkError(t, "per a dimension that is none", unit.fits(lineCalls), "") // as ruleset 1 took it
}

func TestMeterValidate(t *testing.T) {
	round := func(to string, how ConvertRound) *RoundEach { return &RoundEach{dec(to), how} }
	for _, c := range []struct {
		name  string
		meter Meter
		want  string
	}{
		{"no aggregate", Meter{}, "meter m: no such aggregate"},
		{"aggregate 10", Meter{Aggregate: 10}, "no such aggregate"},
		{"count with a value", Meter{Aggregate: Count, Value: "v"}, "count counts rows"},
		{"count with a constant", Meter{Aggregate: Count, Constant: ptr("1")}, "count counts rows"},
		{"count that rounds", Meter{Aggregate: Count, RoundEach: round("1", RoundUp)},
			"count counts rows"},
		{"sum of a constant", Meter{Aggregate: Total, Constant: ptr("5")}, ""},
		{"constant and value", Meter{Aggregate: Total, Value: "v", Constant: ptr("5")}, "it has both"},
		{"avg of a constant", Meter{Aggregate: Average, Constant: ptr("5")}, ""},
		{"avg of nothing", Meter{Aggregate: Average}, "the path of a value, or a constant"},
		{"unique", Meter{Aggregate: Unique, Value: "v"}, ""},
		{"unique of nothing", Meter{Aggregate: Unique}, "the path of a value;"},
		{"unique constant", Meter{Aggregate: Unique, Constant: ptr("5")}, "the path of a value;"},
		{"unique that rounds", Meter{Aggregate: Unique, Value: "v", RoundEach: round("1", RoundUp)},
			"unique counts"},
		{"latest", Meter{Aggregate: Latest, Value: "v", Correctable: true}, ""},
		{"latest constant", Meter{Aggregate: Latest, Constant: ptr("5")}, "the path of a value;"},
		{"level", Meter{Aggregate: TimeWeighted, Value: "v", Per: Hour}, ""},
		{"level constant", Meter{Aggregate: TimeWeighted, Constant: ptr("5")}, "the path of a value;"},
		{"level per a negative", Meter{Aggregate: TimeWeighted, Value: "v", Per: -1}, "a unit of time"},
		{"sum per hour", Meter{Aggregate: Total, Value: "v", Per: Hour}, "a unit of time"},
		{"rounds to 60", Meter{Aggregate: Total, Value: "v", RoundEach: round("60", RoundNearest)}, ""},
		{"rounds to 0", Meter{Aggregate: Total, Value: "v", RoundEach: round("0", RoundUp)},
			"round_each"},
		{"rounds nowhere", Meter{Aggregate: Total, Value: "v", RoundEach: round("1", KeepFraction)},
			"round_each"},
		{"percentile", Meter{Aggregate: Percentile, Value: "v", Percent: dec("100")}, ""},
		{"percentile 0", Meter{Aggregate: Percentile, Value: "v"}, "up to 100, not 0"},
		{"percentile 100.1", Meter{Aggregate: Percentile, Value: "v", Percent: dec("100.1")},
			"not 100.1"},
		{"sum with a percentage", Meter{Aggregate: Total, Percent: dec("95")}, "of aggregate percentile"},
		{"sum with windows", Meter{Aggregate: Total, Window: Hour}, "of aggregate percentile"},
		{"correctable max", Meter{Aggregate: Most, Value: "v", Correctable: true}, ""},
		{"correctable sum", Meter{Aggregate: Total, Value: "v", Correctable: true},
			"correctable is said"},
		{"correctable avg", Meter{Aggregate: Average, Value: "v", Correctable: true},
			"correctable is said"},
	} {
		c.meter.Key = "m"
		checkError(t, c.name, c.meter.Validate(), c.want)
	}
	for _, c := range []struct {
		name   string
		window Micros
		of     Aggregate
		want   string
	}{
		{"average of 5 minutes", 5 * Minute, Average, ""},
		{"sum of a second", Second, Total, ""},
		{"greatest of an hour", Hour, Most, ""},
		{"least of an hour", Hour, Least, "the value of a window"},
		{"nothing of an hour", Hour, 0, "the value of a window"},
		{"half a second", Second / 2, Average, "a whole number of seconds"},
		{"negative", -Second, Average, "a whole number of seconds"},
		{"sum without windows", 0, Total, "without windows"},
	} {
		m := Meter{Key: "m", Aggregate: Percentile, Value: "v", Percent: dec("95")}
		m.Window, m.Of = c.window, c.of
		checkError(t, c.name, m.Validate(), c.want)
	}
}

func TestGrantsValidate(t *testing.T) {
	coupon := func(change func(c *Coupon)) *Coupon {
		c := &Coupon{ID: "c", Account: "acme", Percent: dec("20")}
		change(c)
		return c
	}
	amount := func(change func(c *Coupon)) *Coupon {
		c := &Coupon{ID: "c", Account: "acme", Amount: dec("10"), Currency: "EUR", Periods: 3}
		change(c)
		return c
	}
	taxes := func(percents ...string) *AccountTaxes {
		x := &AccountTaxes{Account: "acme"}
		for i, p := range percents {
			x.Rates = append(x.Rates, TaxRate{[]string{"", "a", ""}[i], dec(p)})
		}
		return x
	}
	for _, c := range []struct {
		name string
		of   interface{ Validate() error }
		want string
	}{
		{"a percentage", coupon(func(*Coupon) {}), ""},
		{"100 percent", coupon(func(c *Coupon) { c.Percent = dec("100") }), ""},
		{"101 percent", coupon(func(c *Coupon) { c.Percent = dec("101") }), "coupon c: a percentage"},
		{"-1 percent", coupon(func(c *Coupon) { c.Percent = dec("-1") }), "a percentage"},
		{"percent of a currency", coupon(func(c *Coupon) { c.Currency = "EUR" }), "has no currency"},
		{"both", coupon(func(c *Coupon) { c.Amount = dec("1") }), "and of one of them"},
		{"neither", coupon(func(c *Coupon) { c.Percent = dec("0") }), "and of one of them"},
		{"no account", coupon(func(c *Coupon) { c.Account = "" }), "an id and an account"},
		{"-1 periods", coupon(func(c *Coupon) { c.Periods = -1 }), "not for -1"},
		{"an amount", amount(func(*Coupon) {}), ""},
		{"a negative amount", amount(func(c *Coupon) { c.Amount = dec("-1") }), "above 0, not -1"},
		{"an amount of anything", amount(func(c *Coupon) { c.Currency = "" }), "needs its currency"},
		{"no taxes", taxes(), ""},
		{"taxes", taxes("0", "100"), ""},
		{"a tax above 100", taxes("100.5"), `tax "": a rate is from 0 to 100, not 100.5`},
		{"a negative tax", taxes("19", "-7"), `tax "a"`},
		{"a code twice", taxes("19", "7", "5"), "has two rates"},
		{"taxes of nobody", &AccountTaxes{}, "no account"},
		{"a budget of a meter", &Budget{Key: "b", Meter: "m", Limit: dec("1")}, ""},
		{"a budget of money", &Budget{Key: "b", Currency: "EUR", Limit: dec("1")}, ""},
		{"a budget of both", &Budget{Key: "b", Meter: "m", Currency: "EUR", Limit: dec("1")},
			"one of them"},
		{"a budget of nothing", &Budget{Key: "b", Limit: dec("1")}, "one of them"},
		{"a budget that ends", &Budget{Key: "b"}, ""},
		{"a budget without a key", &Budget{Meter: "m", Limit: dec("1")}, "it has no key"},
		{"a negative limit", &Budget{Key: "b", Meter: "m", Limit: dec("-1")}, "not -1"},
		{"at 50 and 100", &Budget{Key: "b", Meter: "m", Limit: dec("1"), At: decs("50", "100")}, ""},
		{"at 50 twice", &Budget{Key: "b", Meter: "m", Limit: dec("1"), At: decs("50", "50")}, "rise"},
		{"at 0", &Budget{Key: "b", Meter: "m", Limit: dec("1"), At: decs("0")}, "above 0"},
		{"a credit", &Credit{ID: "c", Expires: MaxTime, Priority: MaxPriority}, ""},
		{"a plain credit", &Credit{}, ""},
		{"priority 1001", &Credit{ID: "c", Priority: 1001}, "credit c: a priority is 0 to 1000"},
		{"priority -1", &Credit{ID: "c", Priority: -1}, "not -1"},
		{"expired before 1970", &Credit{ID: "c", Expires: -1}, "it expires"},
		{"expires in 2300", &Credit{ID: "c", Expires: MaxTime + 1}, "it expires before 2200"},
	} {
		checkError(t, c.name, c.of.Validate(), c.want)
	}
}

func decs(list ...string) (out []decimal.Decimal) {
	for _, s := range list {
		out = append(out, dec(s))
	}
	return out
}

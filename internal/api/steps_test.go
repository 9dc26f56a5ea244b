package api

import (
	"math/rand/v2"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/internal/live"
)

// TestStepsOfBounds follows the steps behind the model for random prices: they end at the exact
// amount of the line.
func TestStepsOfBounds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	some := func(numbers ...int64) *decimal.Decimal {
		if r.IntN(2) == 0 {
			return nil
		}
		d := decimal.FromInt(numbers[r.IntN(len(numbers))])
		return &d
	}
	m := &engine.Meter{Key: "m", Aggregate: engine.Total, Value: "data.n"}
	bounds := map[engine.Bound]int{}
	for range 2000 {
		p := engine.Price{
			Key: "p", Model: engine.Unit, Meter: "m", Unit: decimal.FromInt(1),
			Discount: decimal.FromInt(int64(r.IntN(3) * 30)), Off: decimal.FromInt(int64(r.IntN(3) * 4)),
			Minimum: some(0, 5, 20), Maximum: some(8, 40),
		}
		if c := some(0, 6, 30); c != nil {
			p.Commitment = &engine.Commitment{Amount: *c, Overage: decimal.FromInt(int64(r.IntN(3)))}
		}
		u := engine.Use{Meter: m, Value: decimal.FromInt(int64(r.IntN(60) - 10))}
		usage := engine.UsageOf([]engine.Use{u})
		for _, line := range engine.EvalPrice(&p, m, usage, 2, decimal.HalfAway) {
			line.Trial = r.IntN(9) == 0
			if line.Trial {
				line.Exact = decimal.Rat{}
			}
			l := &live.ExplainedLine{Line: line, Price: p, Meter: m, Usage: usage}
			steps, exact := boundSteps(l, false)
			if exact.Cmp(line.Exact) != 0 {
				t.Fatalf("%+v: the steps %q come to %v, not %v", p, steps, exact, line.Exact)
			}
			bounds[line.Bound]++
		}
	}
	if len(bounds) != 4 {
		t.Errorf("bounds: %v", bounds)
	}
}

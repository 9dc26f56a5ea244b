package live

import (
	"fmt"
	"math/rand/v2"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
)

// lawCase returns a random case of either ruleset.
func lawCase(seed uint64) *fixtures.Case {
	c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures)
	return c
}

// rulesetOf returns the billing rules of a case that lawCase made.
func rulesetOf(c *fixtures.Case) uint16 {
	if c.Seed%5 == 0 {
		return 1
	}
	return engine.Ruleset
}

// lawEntries writes a case as a journal.
func lawEntries(c *fixtures.Case, cut func(rows int) int) ([]*engine.Entry, error) {
	entries, _, err := c.Journal(rulesetOf(c), cut)
	return entries, err
}

// withGrants puts credits, marks and, by ruleset 2, budgets between the entries of a case.
func withGrants(c *fixtures.Case, entries []*engine.Entry, r *rand.Rand) []*engine.Entry {
	return weaveGrants(c, entries, r, rulesetOf(c) > 1)
}

// withCredits is withGrants for ruleset 1.
func withCredits(c *fixtures.Case, entries []*engine.Entry, r *rand.Rand) []*engine.Entry {
	return weaveGrants(c, entries, r, false)
}

func weaveGrants(
	c *fixtures.Case, entries []*engine.Entry, r *rand.Rand, wide bool,
) []*engine.Entry {
	n := 0
	return fixtures.Weave(entries, func(e *engine.Entry) (out []engine.Body) {
		if _, ok := e.Body.(*engine.Watermark); !ok || r.IntN(3) > 0 {
			return nil
		}
		n++
		credit := &engine.Credit{
			ID: fmt.Sprintf("grant-%d", n), Actor: "test", Reason: "law",
			Account:  c.World.Accounts[r.IntN(len(c.World.Accounts))].ID,
			Currency: []string{"EUR", "JPY"}[r.IntN(2)],
			Amount:   decimal.AmountOf(int64(r.IntN(4000))),
		}
		if wide && r.IntN(2) == 0 {
			credit.Priority = r.IntN(3)
			credit.Expires = e.At + engine.Micros(1+r.IntN(70))*engine.OneDay
		}
		out = append(out, credit, &engine.Mark{})
		if wide && r.IntN(2) == 0 {
			change := &engine.Change{File: engine.Digest{8, byte(n)}, Actor: "test"}
			change.Budgets = append(change.Budgets, budgetOf(c, r))
			out = append(out, change)
		}
		return out
	})
}

// budgetOf returns a budget that is soon reached; sometimes it ends one.
func budgetOf(c *fixtures.Case, r *rand.Rand) engine.Budget {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	b := engine.Budget{
		Key: pick("a", "b", "c"), Plan: pick("", "", "plan0"),
		Account: pick("", "", c.World.Accounts[0].ID),
		Limit:   decimal.FromInt(int64([]int{0, 1, 5, 30}[r.IntN(4)])),
	}
	if r.IntN(2) == 0 {
		b.Meter = c.World.Meters[r.IntN(len(c.World.Meters))].Key
	} else {
		b.Currency = pick("EUR", "EUR", "JPY")
	}
	if r.IntN(2) == 0 {
		b.At = []decimal.Decimal{decimal.FromInt(10), decimal.FromInt(100)}
	}
	return b
}

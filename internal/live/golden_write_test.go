package live

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
)

var updateGolden = flag.Bool("golden", false,
	"write the golden journal of the newest ruleset anew, while it is not released")

// goldenWritten is the golden journal that -golden writes. Those of released rulesets are frozen.
const goldenWritten = "../../fixtures/journals/r2"

// TestGoldenWrite writes the golden journal with -golden; otherwise it shows that the journal has
// all that its ruleset can say.
func TestGoldenWrite(t *testing.T) {
	if *updateGolden {
		writeGolden(t)
	}
	dir := openGolden(t, goldenWritten)
	entries, err := readEntries(dir)
	if err != nil {
		t.Fatal(err)
	}
	said, err := sayingsOf(entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range goldenSayings() {
		if said[what] == 0 {
			t.Errorf("the golden journal has no %s", what)
		}
	}
	t.Log(said)
}

// goldenSayings are all that the journal must have at least once.
func goldenSayings() []string {
	list := []string{"matrix", "commitment", "off", "coupon", "coupon of lines", "tax of lines",
		"tax of invoices", "credit", "credit that expires", "trial", "override", "taken back",
		"amended", "correction document", "start document", "adjustment", "alert of an amount",
		"alert of a quantity", "anchor 0", "anchor 63", "anchor of a day", "rejected"}
	for a := engine.Count; a <= engine.Percentile; a++ {
		list = append(list, fmt.Sprintf("aggregate %d", a))
	}
	for m := engine.Flat; m <= engine.Dynamic; m++ {
		list = append(list, fmt.Sprintf("model %d", m))
	}
	for i := engine.OfDay; i <= engine.Year; i++ {
		list = append(list, fmt.Sprintf("interval %d", i))
	}
	return list
}

// sayingsOf returns what a journal and its documents have, and how often.
func sayingsOf(entries []*engine.Entry) (map[string]int, error) {
	said := map[string]int{}
	meters := map[string]engine.Aggregate{}
	plans := map[string]*engine.Plan{}
	f := newFold(1)
	for _, e := range entries {
		rejected := f.rejected
		if err := f.apply(e); err != nil {
			return nil, err
		}
		rejected = f.rejected - rejected
		said["rejected"] += rejected
		switch b := e.Body.(type) {
		case *engine.Void:
			if rejected == 0 && b.Amend == nil {
				said["taken back"]++
			} else if rejected == 0 {
				said["amended"]++
			}
		case *engine.Credit:
			said["credit that expires"] += one(b.Expires != 0)
		case *engine.Change:
			for i := range b.Meters {
				meters[b.Meters[i].Key] = b.Meters[i].Aggregate
			}
			for i := range b.Plans {
				plans[b.Plans[i].Key] = &b.Plans[i]
			}
			sayChange(said, b)
		}
	}
	for _, a := range f.alerts {
		if a.Meter == "" {
			said["alert of an amount"]++
		} else {
			said["alert of a quantity"]++
		}
	}
	for _, inv := range f.bills {
		sayInvoice(said, inv, meters, plans[inv.Plan])
	}
	return said, nil
}

func sayChange(said map[string]int, b *engine.Change) {
	for _, p := range b.Plans {
		for i := range p.Prices {
			said["matrix"] += one(p.Prices[i].Matrix != nil)
		}
	}
	for _, a := range b.Accounts {
		for _, s := range a.Subscriptions {
			said["override"] += len(s.Overrides)
		}
	}
	for _, x := range b.Taxes {
		said["tax of invoices"] += one(x.PerInvoice)
		said["tax of lines"] += one(!x.PerInvoice)
	}
}

func sayInvoice(
	said map[string]int, inv *engine.Invoice, meters map[string]engine.Aggregate, p *engine.Plan,
) {
	said[inv.Kind.String()+" document"]++
	said["adjustment"] += len(inv.Adjustments)
	said["coupon"] += len(inv.Coupons)
	said["credit"] += len(inv.Credits)
	said[fmt.Sprintf("interval %d", p.Interval)]++
	if p.Anchor == engine.CalendarAnchor || p.Anchor == engine.StartAnchor {
		said[fmt.Sprintf("anchor %d", p.Anchor)]++
	} else {
		said["anchor of a day"]++
	}
	for _, l := range inv.Lines {
		said[fmt.Sprintf("model %d", l.Model)]++
		said["commitment"] += one(l.Bound == engine.ByCommitment)
		said["off"] += one(!l.Off.IsZero())
		said["coupon of lines"] += len(l.Coupons)
		said["trial"] += one(l.Trial)
		if l.Meter != "" {
			said[fmt.Sprintf("aggregate %d", meters[l.Meter])]++
		}
	}
}

// writeGolden joins random cases until the journal has everything, and writes it.
func writeGolden(t *testing.T) {
	c, err := goldenCase()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(2, 0x901d))
	entries, err := lawEntries(c, func(rows int) int { return rows })
	if err != nil {
		t.Fatal(err)
	}
	sim := fixtures.NewSimFS()
	w, err := writeEntriesTo(sim, withGrants(c, withBudgets(c, entries), r),
		func(*engine.View, *engine.Entry) engine.Body { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(goldenWritten); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"journal", "outbox"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(goldenWritten, name), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"genesis"}
	for _, name := range []string{"journal", "outbox"} {
		list, err := sim.ReadDir(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range list {
			names = append(names, name+"/"+file)
		}
	}
	for _, name := range names {
		err := os.WriteFile(filepath.Join(goldenWritten, name), sim.Bytes(name), fs.FileMode(0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	h, err := OpenHistory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Replay(t.Context(), h, ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(goldenWritten, "digests.txt"), []byte(digestsText(a)), 0o644)
	if err != nil {
		t.Fatal(err)
	}
}

// goldenCase joins random cases of different years, each with something that none before has.
func goldenCase() (*fixtures.Case, error) {
	var chosen []*fixtures.Case
	left := map[string]bool{}
	for _, what := range goldenSayings() {
		left[what] = true
	}
	for seed := uint64(1); seed < 4000 && len(left) > 0 && len(chosen) < 40; seed++ {
		c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures)
		if rulesetOf(c) == 1 || len(c.Items) < 20 || len(c.World.Accounts) > 2 ||
			daily(c) && !left["interval 1"] {
			continue
		}
		shorten(c)
		entries, err := lawEntries(c, func(rows int) int { return rows })
		if err != nil {
			return nil, err
		}
		entries = withGrants(c, withBudgets(c, entries), rand.New(rand.NewPCG(seed, 0x901d)))
		said, err := sayingsOf(entries)
		if err != nil {
			return nil, err
		}
		if said["period document"] > 10 && (!daily(c) || said["period document"] > 60) {
			continue // it is to be small
		}
		n := len(left)
		for what, times := range said {
			if times > 0 {
				delete(left, what)
			}
		}
		if len(left) < n {
			chosen = append(chosen, c)
		}
	}
	return joined(chosen), nil
}

// shorten cuts a case off after three months, and ends its subscriptions then.
func shorten(c *fixtures.Case) {
	last := c.Items[0].At + 100*engine.OneDay
	cut := slices.IndexFunc(c.Items, func(i fixtures.Item) bool { return i.At > last })
	if cut >= 0 {
		c.Items = c.Items[:cut]
	}
	for _, days := range []engine.Micros{5, 60} { // the last bills, and corrections of them
		at := last + days*engine.OneDay
		c.Items = append(c.Items, fixtures.Item{At: at, Body: fixtures.Watermark{W: at}})
	}
	for i := range c.World.Accounts {
		a := &c.World.Accounts[i]
		for j := range a.Subscriptions {
			if s := &a.Subscriptions[j]; s.From < last {
				s.To = min(s.To, last)
			}
		}
	}
}

// withBudgets puts budgets before the first usage: one for each account and meter, and an amount.
func withBudgets(c *fixtures.Case, entries []*engine.Entry) []*engine.Entry {
	change := &engine.Change{File: engine.Digest{8, 0, 1}, Actor: "test", Reason: "golden"}
	change.Budgets = []engine.Budget{{Key: "spend", Currency: "EUR", Limit: decimal.FromInt(20)}}
	for i, m := range c.World.Meters {
		if i%4 == 0 {
			change.Budgets = append(change.Budgets, engine.Budget{
				Key: "of " + m.Key, Meter: m.Key, Limit: decimal.FromInt(10),
				At: []decimal.Decimal{decimal.FromInt(50), decimal.FromInt(100)},
			})
		}
	}
	return fixtures.Weave(entries, func(e *engine.Entry) []engine.Body {
		if _, rows := e.Body.(*engine.Batch); !rows || change == nil {
			return nil
		}
		out := []engine.Body{change}
		change = nil
		return out
	})
}

// joined returns one case of several, each under names of its own.
func joined(cases []*fixtures.Case) *fixtures.Case {
	slices.SortStableFunc(cases, func(a, b *fixtures.Case) int {
		return cmp.Compare(a.Start, b.Start)
	})
	out := &fixtures.Case{Seed: 2, Start: cases[0].Start}
	out.World.Settings = engine.DefaultSettings
	type placed struct {
		item fixtures.Item
		c, i int
	}
	var list []placed
	for n, c := range cases {
		rename(c, fmt.Sprintf("%c-", 'a'+n))
		w := &out.World
		w.Meters = append(w.Meters, c.World.Meters...)
		w.Plans = append(w.Plans, c.World.Plans...)
		w.Accounts = append(w.Accounts, c.World.Accounts...)
		w.Owners = append(w.Owners, c.World.Owners...)
		w.Coupons = append(w.Coupons, c.World.Coupons...)
		w.Taxes = append(w.Taxes, c.World.Taxes...)
		for i, item := range c.Items {
			list = append(list, placed{item, n, i})
		}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return cmp.Compare(a.item.At, b.item.At) })
	places := map[[2]int]int{}
	for at, p := range list {
		places[[2]int{p.c, p.i}] = at
		if v, ok := p.item.Body.(fixtures.Void); ok {
			v.Of = places[[2]int{p.c, v.Of}]
			p.item.Body = v
		}
		out.Items = append(out.Items, p.item)
	}
	return out
}

// rename puts a prefix before all names of a case.
func rename(c *fixtures.Case, prefix string) {
	w := &c.World
	for i := range w.Meters {
		w.Meters[i].Key = prefix + w.Meters[i].Key
	}
	for i := range w.Plans {
		p := &w.Plans[i]
		p.Key, p.Prices = prefix+p.Key, slices.Clone(p.Prices)
		for j := range p.Prices {
			if p.Prices[j].Meter != "" {
				p.Prices[j].Meter = prefix + p.Prices[j].Meter
			}
		}
	}
	for i := range w.Accounts {
		a := &w.Accounts[i]
		a.ID = prefix + a.ID
		for j := range a.Subscriptions {
			a.Subscriptions[j].Plan = prefix + a.Subscriptions[j].Plan
		}
	}
	for i := range w.Owners {
		w.Owners[i].Subject, w.Owners[i].Account = prefix+w.Owners[i].Subject, prefix+w.Owners[i].Account
	}
	for i := range w.Coupons {
		w.Coupons[i].Account = prefix + w.Coupons[i].Account
	}
	for i := range w.Taxes {
		w.Taxes[i].Account = prefix + w.Taxes[i].Account
	}
	renamed := map[*fixtures.Event]bool{} // one event may come more than once
	event := func(e *fixtures.Event) {
		if e != nil && !renamed[e] && !e.Malformed && !strings.HasPrefix(e.Subject, prefix) {
			renamed[e], e.Subject = true, prefix+e.Subject
		}
	}
	for i, item := range c.Items {
		switch b := item.Body.(type) {
		case *fixtures.Event:
			event(b)
		case fixtures.Void:
			event(b.Row)
			event(b.Amend)
		case fixtures.Grant:
			b.Credit.Account = prefix + b.Credit.Account
			c.Items[i].Body = b
		}
	}
}

package engine_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
)

var (
	seeds     = flag.Int("seeds", 50, "random logs of TestRestoreAndShards")
	firstSeed = flag.Uint64("seed", 1, "the first of them")
)

// mapKeys is engine.Keys as a map.
type mapKeys struct{ of map[[2]uint64]engine.Key }

func newMapKeys() *mapKeys { return &mapKeys{map[[2]uint64]engine.Key{}} }

func (m *mapKeys) Admit(keys []engine.Key, verdicts []engine.Verdict) {
	for i, k := range keys {
		switch old, ok := m.of[[2]uint64{k.Hi, k.Lo}]; {
		case !ok:
			m.of[[2]uint64{k.Hi, k.Lo}] = k
			verdicts[i] = engine.Fresh
		case old.Digest == k.Digest:
			verdicts[i] = engine.Duplicate
		default:
			verdicts[i] = engine.Conflict
		}
	}
}

func (m *mapKeys) Find(hi, lo uint64) (engine.Key, bool) {
	k, ok := m.of[[2]uint64{hi, lo}]
	return k, ok
}

func (m *mapKeys) Forget(d engine.Day) {
	for id, k := range m.of {
		if k.Day < d {
			delete(m.of, id)
		}
	}
}

// cluster is one state in any number of shards.
type cluster struct {
	engines []*engine.Engine
	keys    []*mapKeys
}

func newCluster(shards int) *cluster {
	c := &cluster{}
	for i := range shards {
		c.keys = append(c.keys, newMapKeys())
		c.engines = append(c.engines, engine.New(i, shards, c.keys[i]))
	}
	return c
}

// outcome is what the shards say, merged and as text that can be compared.
type outcome struct{ rejections, documents, refusals, alerts []string }

// apply folds an entry into all shards and merges what they say.
func (c *cluster) apply(entry *engine.Entry, out *outcome) {
	var all engine.Effects
	for _, e := range c.engines {
		for more := e.Apply(entry, &all); more; {
			more = e.Resume(&all)
		}
	}
	bySeq := func(a, b engine.Rejection) int { return cmp.Compare(a.Seq, b.Seq) }
	slices.SortFunc(all.Rejections, bySeq)
	for _, r := range all.Rejections {
		out.rejections = append(out.rejections, fmt.Sprint(r.Seq, " ", r.Reason))
	}
	if len(c.engines) > 1 {
		slices.SortFunc(all.Invoices, engine.CompareInvoices)
	}
	for _, i := range all.Invoices {
		document := string(engine.AppendInvoice(nil, i))
		out.documents = append(out.documents, fmt.Sprint(entry.Seq, " ", document))
	}
	slices.SortStableFunc(all.Alerts, engine.CompareAlerts)
	for _, a := range all.Alerts {
		key := fmt.Sprintf("%s %s %d %s %v", a.Account, a.Subscription, a.Start, a.Budget, a.Percent)
		out.alerts = append(out.alerts, fmt.Sprintf("%s: %+v", key, a))
	}
	refusals := len(out.refusals)
	for _, r := range all.Refusals {
		out.refusals = append(out.refusals, fmt.Sprint(r.Seq, " ", r.What))
	}
	slices.Sort(out.refusals[refusals:])
}

// picture is everything that must be equal of two states.
type picture struct {
	billing, journal engine.Digest
	globals          []byte
	accounts         []string
	controls         error
}

func (c *cluster) picture() picture {
	v := engine.Pin(c.engines)
	var p picture
	p.billing, p.journal = engine.NewDigester().Digests(v, engine.AllBuckets())
	p.globals = v.AppendGlobals(nil)
	p.controls = v.CheckControls()
	err := v.EachAccount(func(record []byte) error {
		p.accounts = append(p.accounts, string(record))
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	slices.Sort(p.accounts)
	return p
}

// restored returns the same state in another number of shards, with a copy of the keys.
func (c *cluster) restored(shards int) (*cluster, error) {
	v := engine.Pin(c.engines)
	n := newCluster(shards)
	globals := v.AppendGlobals(nil)
	for _, e := range n.engines {
		if err := e.RestoreGlobals(globals); err != nil {
			return nil, err
		}
	}
	err := v.EachAccount(func(record []byte) error {
		for _, e := range n.engines {
			if err := e.RestoreAccount(record); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, e := range n.engines {
		e.RestoreDone()
	}
	for _, keys := range c.keys {
		for id, k := range keys.of {
			n.keys[int(k.Bucket)%shards].of[id] = k
		}
	}
	return n, nil
}

// difference says how two pictures differ, "" if they do not.
func (p picture) difference(o picture) string {
	switch {
	case p.controls != nil:
		return p.controls.Error()
	case o.controls != nil:
		return o.controls.Error()
	case !bytes.Equal(p.globals, o.globals):
		return fmt.Sprintf("globals %x, want %x", o.globals, p.globals)
	case !slices.Equal(p.accounts, o.accounts):
		return "accounts: " + firstDifference(p.accounts, o.accounts)
	case p.billing != o.billing:
		return "billing digest"
	case p.journal != o.journal:
		return "journal digest"
	}
	return ""
}

func (o *outcome) difference(p *outcome) string {
	for _, x := range []struct {
		what      string
		want, got []string
	}{
		{"rejections", o.rejections, p.rejections}, {"documents", o.documents, p.documents},
		{"refusals", o.refusals, p.refusals}, {"alerts", o.alerts, p.alerts},
	} {
		if d := firstDifference(x.want, x.got); d != "" {
			return x.what + ": " + d
		}
	}
	return ""
}

func firstDifference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("number %d of %d is missing: %q", i+1, len(want), want[i])
		case i >= len(want):
			return fmt.Sprintf("number %d of %d is too many: %q", i+1, len(got), got[i])
		case want[i] != got[i]:
			return fmt.Sprintf("number %d is %q, want %q", i+1, got[i], want[i])
		}
	}
	return ""
}

// randomLog returns the entries of a random case, with control entries of every kind put between.
// Calls with one seed differ in how rows are cut into batches only.
func randomLog(seed uint64, cut func(rows int) int) ([]*engine.Entry, error) {
	c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures)
	ruleset := uint16(engine.Ruleset)
	if seed%5 == 0 { // it has nothing of the second
		ruleset = 1
	}
	entries, _, err := c.Journal(ruleset, cut)
	if err != nil {
		return nil, err
	}
	g := &controls{r: rand.New(rand.NewPCG(seed, 0xc0)), c: c, wide: ruleset > 1}
	return fixtures.Weave(entries, func(e *engine.Entry) (out []engine.Body) {
		switch e.Body.(type) {
		case *engine.Watermark, *engine.Close:
			for g.r.IntN(3) == 0 {
				if body := g.body(e.At); body != nil {
					out = append(out, body)
				}
			}
		}
		return out
	}), nil
}

// controls makes random control entries, many of which contradict what is so.
type controls struct {
	r     *rand.Rand
	c     *fixtures.Case
	count int
	cold  bool
	wide  bool // also those that ruleset 1 does not have
}

func (g *controls) body(at engine.Micros) engine.Body {
	g.count++
	account := g.c.World.Accounts[g.r.IntN(len(g.c.World.Accounts))]
	change := &engine.Change{File: engine.Digest{9, byte(g.r.IntN(40))}, Actor: "test"}
	ac := engine.AccountChange{ID: account.ID, Name: fmt.Sprint("name ", g.count), Zone: account.Zone}
	owner := g.c.World.Owners[g.r.IntN(len(g.c.World.Owners))]
	when := at + engine.Micros(g.r.IntN(40)-10)*engine.OneDay
	if g.wide && g.r.IntN(3) == 0 {
		return g.wideBody(account.ID, when)
	}
	switch g.r.IntN(14) {
	case 0, 1:
		return &engine.Credit{
			ID: fmt.Sprint("c", g.r.IntN(12)), Account: account.ID, Amount: decimal.AmountOf(700),
			Currency: []string{"EUR", "JPY"}[g.r.IntN(2)], Actor: "test",
		}
	case 2:
		g.cold = !g.cold
		return &engine.Clock{Frozen: g.cold, Reason: "test"}
	case 3:
		s := g.c.World.Settings
		s.Grace, s.Reopen = s.Grace+engine.Hour, s.Reopen+engine.Micros(g.r.IntN(9)-4)*engine.OneDay
		s.Horizon += engine.Micros(g.r.IntN(9)-4) * engine.OneDay
		return &s
	case 4, 5:
		change.Defaults = []engine.Default{{Event: "llm", Plan: "plan0"}, {Event: "disk", Plan: "plan1"}}
		change.Defaults[g.r.IntN(2)].Plan = []string{"", "plan0", "plan9"}[g.r.IntN(3)]
		return change
	case 6:
		s := account.Subscriptions[g.r.IntN(len(account.Subscriptions))]
		s.To = []engine.Micros{when, engine.Future}[g.r.IntN(2)]
		ac.Subscriptions = []engine.Subscription{s}
	case 7:
		ac.Subscriptions = []engine.Subscription{
			{Key: "more", Plan: fmt.Sprint("plan", g.r.IntN(4)), From: when, To: engine.Future},
		}
	case 8:
		ac.Attach = []engine.Ownership{owned(owner.Subject, ac.ID, when)}
	case 9:
		ac.Detach = []engine.Ownership{{
			Subject: owner.Subject, Account: ac.ID, From: owner.From,
			To: []engine.Micros{when, owner.From}[g.r.IntN(2)], // maybe taken back as a whole
		}}
	case 10:
		ac.ID, ac.Zone = "nobody", []string{"UTC", "Europe/Nowhere", account.Zone}[g.r.IntN(3)]
		ac.Attach = []engine.Ownership{owned("nobody", ac.ID, when)}
	case 11:
		ac.Zone = "UTC"
		ac.Attach = []engine.Ownership{owned("nobody", ac.ID, when)}
	case 12:
		return &engine.Source{Name: []string{"log", "other"}[g.r.IntN(2)], Dedupe: g.r.IntN(4) > 0}
	case 13:
		return []engine.Body{&engine.Mark{}, &engine.Seal{Of: 1}}[g.r.IntN(2)]
	}
	change.Accounts = []engine.AccountChange{ac}
	return change
}

func owned(subject, account string, from engine.Micros) engine.Ownership {
	return engine.Ownership{Subject: subject, Account: account, From: from, To: engine.Future}
}

// TestRestoreAndShards runs random logs undisturbed; then with a restore at a random entry into
// another number of shards; then from the start in some number of shards, from entries that went
// through their bytes; then cut into other batches. All must say the same and end in one state.
func TestRestoreAndShards(t *testing.T) {
	rejections, documents, refusals, alerts := 0, 0, 0, 0
	for i := range *seeds {
		seed := *firstSeed + uint64(i)
		out, err := checkLog(seed)
		if err != nil {
			t.Fatalf("seed %d: %v\nrepeat with: go test ./engine -run TestRestoreAndShards "+
				"-args -seeds 1 -seed %d", seed, err, seed)
		}
		rejections += len(out.rejections)
		documents += len(out.documents)
		refusals += len(out.refusals)
		alerts += len(out.alerts)
	}
	t.Logf("%d seeds: %d documents, %d rejections, %d refusals, %d alerts",
		*seeds, documents, rejections, refusals, alerts)
}

func checkLog(seed uint64) (*outcome, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	entries, err := randomLog(seed, func(rows int) int { return 1 + r.IntN(rows) })
	if err != nil {
		return nil, err
	}
	counts := []int{1, 2, 4, 7}
	shards := func() int { return counts[r.IntN(len(counts))] }
	want, at := newCluster(1), r.IntN(len(entries))
	var all, head, tail, rest outcome
	var again *cluster
	digester := engine.NewDigester()
	for i, e := range entries {
		if r.IntN(len(entries)) < 2 {
			digester.Digests(engine.Pin(want.engines), engine.TakeDirty(want.engines))
		}
		if i < at {
			want.apply(e, &head)
		} else {
			want.apply(e, &tail)
		}
		if i == at-1 {
			if again, err = want.restored(shards()); err != nil {
				return nil, fmt.Errorf("restore after %d: %w", e.Seq, err)
			}
			if d := want.picture().difference(again.picture()); d != "" {
				return nil, fmt.Errorf("restored after %d: %s", e.Seq, d)
			}
		}
	}
	end := want.picture()
	view, dirty := engine.Pin(want.engines), engine.TakeDirty(want.engines)
	if billing, journal := digester.Digests(view, dirty); billing != end.billing ||
		journal != end.journal {
		return nil, errors.New("digests of what changed differ from those of everything")
	}
	if again != nil {
		for _, e := range entries[at:] {
			again.apply(e, &rest)
		}
		if d := cmp.Or(tail.difference(&rest), end.difference(again.picture())); d != "" {
			return nil, fmt.Errorf("%d shards, restored after entry %d: %s", len(again.engines), at, d)
		}
	}
	all.rejections = slices.Concat(head.rejections, tail.rejections)
	all.documents = slices.Concat(head.documents, tail.documents)
	all.refusals = slices.Concat(head.refusals, tail.refusals)
	all.alerts = slices.Concat(head.alerts, tail.alerts)
	if d := onceOnly(all.alerts); d != "" {
		return nil, errors.New(d)
	}
	if err := checkShards(entries, shards(), &all, end); err != nil {
		return nil, err
	}
	return &all, checkCuts(seed, shards(), &all, end)
}

// checkShards runs the decoded bytes of the entries in shards.
func checkShards(entries []*engine.Entry, shards int, all *outcome, end picture) error {
	c := newCluster(shards)
	var out outcome
	for _, e := range entries {
		b := engine.AppendEntry(nil, e)
		decoded, err := engine.DecodeEntry(b)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		if !bytes.Equal(engine.AppendEntry(nil, decoded), b) {
			return fmt.Errorf("entry %d: other bytes after a decode", e.Seq)
		}
		c.apply(decoded, &out)
	}
	if d := cmp.Or(all.difference(&out), end.difference(c.picture())); d != "" {
		return fmt.Errorf("%d shards: %s", shards, d)
	}
	return nil
}

// checkCuts runs the same rows with one batch a row, and with batches as long as can be.
func checkCuts(seed uint64, shards int, all *outcome, end picture) error {
	for _, cut := range []func(int) int{
		func(int) int { return 1 }, func(rows int) int { return rows },
	} {
		entries, err := randomLog(seed, cut)
		if err != nil {
			return err
		}
		c := newCluster(shards)
		var out outcome
		for _, e := range entries {
			c.apply(e, &out)
		}
		if d := cmp.Or(all.difference(&out), end.difference(c.picture())); d != "" {
			return fmt.Errorf("other batches, %d shards: %s", shards, d)
		}
	}
	return nil
}

// TestArrivalOrder gives the events of each month in another order, all of them before the month
// closes and without conflicts: the documents and the billing digest must be the same.
func TestArrivalOrder(t *testing.T) {
	const seeds = 60
	documents := 0
	for seed := uint64(1); seed <= seeds; seed++ {
		var want []string
		var digest engine.Digest
		for run := range uint64(3) {
			out, billing := runShuffled(t, seed, rand.New(rand.NewPCG(seed, run)))
			if run == 0 {
				want, digest = out.documents, billing
				documents += len(want)
				continue
			}
			if d := firstDifference(want, out.documents); d != "" {
				t.Fatalf("seed %d: document %s", seed, d)
			}
			if billing != digest {
				t.Fatalf("seed %d: another billing digest", seed)
			}
		}
	}
	t.Logf("%d seeds: %d documents", seeds, documents)
}

func runShuffled(t *testing.T, seed uint64, r *rand.Rand) (*outcome, engine.Digest) {
	c := fixtures.RandomCase(seed)
	months := map[engine.Micros][]fixtures.Item{} // by the UTC month's end
	utc := engine.Zone{Name: "UTC"}
	for i, item := range c.Items {
		if e, ok := item.Body.(*fixtures.Event); ok && !e.Malformed && !e.Defaulted {
			e.ID = fmt.Sprint("event ", i)
			_, end := utc.Month(e.Time)
			months[end] = append(months[end], fixtures.Item{Body: e})
		}
	}
	c.World.Settings = engine.DefaultSettings
	c.World.Settings.Grace = 4 * engine.OneDay // months of all zones end within
	c.Items = nil
	for _, end := range slices.Sorted(maps.Keys(months)) {
		at := end + engine.OneDay
		r.Shuffle(len(months[end]), func(i, j int) {
			months[end][i], months[end][j] = months[end][j], months[end][i]
		})
		for _, item := range months[end] {
			item.At = at
			c.Items = append(c.Items, item)
		}
		w := fixtures.Watermark{W: end + 2*engine.OneDay}
		c.Items = append(c.Items, fixtures.Item{At: at + 2*engine.OneDay, Body: w})
	}
	entries, err := c.Entries(func(rows int) int { return 1 + r.IntN(rows) })
	if err != nil {
		t.Fatal(err)
	}
	cl := newCluster(1 + r.IntN(3))
	var out outcome
	defaults := []engine.Default{{Event: "disk", Plan: "plan1"}, {Event: "llm", Plan: "plan0"}}
	seq := engine.Seq(1)
	for _, e := range entries {
		if _, ok := e.Body.(*engine.Batch); ok && defaults != nil {
			change := &engine.Change{File: engine.Digest{7}, Defaults: defaults}
			cl.apply(&engine.Entry{Seq: seq, At: e.At, Body: change}, &out)
			defaults, seq = nil, seq+1
		}
		e.Seq, seq = seq, seq+e.Seqs()
		cl.apply(e, &out)
	}
	for i, d := range out.documents { // their place in the journal does not matter
		_, out.documents[i], _ = strings.Cut(d, " ")
	}
	return &out, cl.picture().billing
}

// TestApplyInSteps closes 2,500 subscriptions under one watermark: a step is at most 1,000
// documents, the order is the documents', and shards change nothing.
func TestApplyInSteps(t *testing.T) {
	var want []string
	for _, shards := range []int{1, 2, 7} {
		c := newCluster(shards)
		var all engine.Effects
		for _, entry := range manyAccounts(2500) {
			for _, e := range c.engines {
				steps := 0
				for more, before := true, 0; more; steps++ {
					before = len(all.Invoices)
					if steps == 0 {
						more = e.Apply(entry, &all)
					} else {
						more = e.Resume(&all)
					}
					if n := len(all.Invoices) - before; n > 1000 || more && n < 1000 {
						t.Fatalf("seq %d, step %d: %d documents, more %v", entry.Seq, steps, n, more)
					}
				}
			}
		}
		if shards == 1 && !slices.IsSortedFunc(all.Invoices, engine.CompareInvoices) {
			t.Error("documents are out of order")
		}
		slices.SortStableFunc(all.Invoices, engine.CompareInvoices)
		var got []string
		for _, i := range all.Invoices {
			got = append(got, string(engine.AppendInvoice(nil, i)))
		}
		if len(got) != 5000 { // two months
			t.Errorf("%d shards: %d documents", shards, len(got))
		}
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d shards: other documents", shards)
		}
	}
}

// manyAccounts returns a journal that ends with a watermark under which two months close.
func manyAccounts(n int) []*engine.Entry {
	change := &engine.Change{
		Plans: []engine.Plan{{
			Key: "pro", Version: 1, Currency: "EUR", Digits: 2, Interval: engine.Month,
			Prices: []engine.Price{{Key: "base", Model: engine.Flat, Amount: decimal.FromInt(9)}},
		}},
	}
	for i := range n {
		change.Accounts = append(change.Accounts, engine.AccountChange{
			ID: fmt.Sprintf("account-%04d", (i*7919)%n), Zone: "UTC",
			Subscriptions: []engine.Subscription{{Key: "main", Plan: "pro", To: engine.Future}},
		})
	}
	return []*engine.Entry{
		{Seq: 1, Body: &engine.Genesis{}},
		{Seq: 2, Body: change},
		{Seq: 3, At: 80 * engine.OneDay, Body: &engine.Watermark{W: 62 * engine.OneDay}},
	}
}

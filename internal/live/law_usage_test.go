package live

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
)

// usageRows returns the rows of a case that are free of conflicts and have times of their own.
func usageRows(c *fixtures.Case) []usage {
	var rows []usage
	known := map[string]string{}
	for _, item := range c.Items {
		e, ok := item.Body.(*fixtures.Event)
		if !ok || e.Malformed || e.Defaulted || e.Time < c.Start+engine.OneDay {
			continue
		}
		id, line := e.Source+"\n"+e.ID, string(e.Line())
		if known[id] == "" || known[id] == line {
			known[id] = line
			rows = append(rows, usage{event: e, time: e.Time, of: -1})
		}
	}
	return rows
}

// usage is a row, or a correction of one that stands before it in a list.
type usage struct {
	event *fixtures.Event // the row, or its new version; nil: it is taken back
	time  engine.Micros   // while the watermark is not behind it, it comes in time
	of    int             // index of the row, or of the correction that made its version; -1: a row
}

// withCorrections adds corrections of some rows, and corrections of some of these.
func withCorrections(c *fixtures.Case, list []usage, r *rand.Rand) []usage {
	if rulesetOf(c) == 1 {
		return list
	}
	rows, versions := len(list), map[int]*fixtures.Event{}
	corrected := map[string]bool{}
	for i := 0; i < len(list); i++ {
		e := list[i].event
		if i < rows {
			versions[i] = e
		}
		if e == nil || r.IntN(4) > 0 {
			continue
		}
		if id := e.Source + "\n" + e.ID; i < rows && corrected[id] {
			continue // another row is the same event
		} else if i < rows {
			corrected[id] = true
		}
		next := usage{of: i, time: list[i].time}
		if r.IntN(2) == 0 {
			version, other := *e, versions[r.IntN(len(versions))]
			version.Type, version.Props = other.Type, other.Props
			if r.IntN(2) == 0 {
				version.Time = max(c.Start+engine.OneDay, other.Time+engine.Micros(r.IntN(3)-1))
			}
			next.event, next.time = &version, min(next.time, version.Time)
		}
		list = append(list, next)
	}
	return list
}

// lastTime returns the greatest event time.
func lastTime(c *fixtures.Case, rows []usage) engine.Micros {
	last := c.Start + 60*engine.OneDay
	for _, u := range rows {
		if u.event != nil {
			last = max(last, u.event.Time)
		}
	}
	return last
}

// placed is usage with its place in a log: by rising at.
type placed struct {
	usage
	index int // in the list of usage
	at    engine.Micros
}

// inOrder sorts by at, with corrections behind what they correct.
func inOrder(list []placed) {
	slices.SortFunc(list, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.index, b.index))
	})
}

// body returns what stands in a log for it; items are where other usage stands.
func (p *placed) body(items map[int]int) fixtures.Body {
	if p.of < 0 {
		return p.event
	}
	return fixtures.Void{Of: items[p.of], Amend: p.event}
}

// inTime returns a log in which every row comes before a watermark passes its time: in the order of
// time, disturbed by less than a bound, with watermarks as often and as far as the draw says.
func inTime(c *fixtures.Case, rows []usage, end engine.Micros, r *rand.Rand) []fixtures.Item {
	bound := []engine.Micros{1, engine.Hour, 3 * engine.OneDay, 100 * engine.OneDay}[r.IntN(4)]
	marks := []int{1, 2, 8, 1 << 30}[r.IntN(4)]
	together := r.IntN(4) == 0
	list := make([]placed, len(rows))
	for i, u := range rows {
		at := u.time
		if u.event != nil {
			at = max(at, u.event.Time)
		}
		if u.of >= 0 {
			at = max(at, list[u.of].at)
		}
		list[i] = placed{u, i, min(end, at+engine.Micros(r.Int64N(int64(bound))))}
		if together {
			list[i].at = end
		}
	}
	inOrder(list)
	least := make([]engine.Micros, len(list)+1) // time of the rows from here on
	least[len(list)] = engine.Future
	for i := len(list) - 1; i >= 0; i-- {
		least[i] = min(least[i+1], list[i].time)
	}
	var items []fixtures.Item
	places := map[int]int{}
	for i, l := range list {
		if r.IntN(marks) == 0 {
			w := min(least[i], l.at)
			if r.IntN(2) == 0 {
				w -= engine.Micros(r.Int64N(int64(engine.Hour)))
			}
			items = append(items, fixtures.Item{At: l.at, Body: fixtures.Watermark{W: w}})
		}
		places[l.index] = len(items)
		items = append(items, fixtures.Item{At: l.at, Body: l.body(places)})
	}
	return append(items, fixtures.Item{At: end, Body: fixtures.Watermark{W: end}})
}

// foldItems applies a log to some shards, cut into batches as the draw says, restored in between.
func foldItems(c fixtures.Case, items []fixtures.Item, r *rand.Rand) (*fold, error) {
	c.Items = items
	cut := []func(int) int{
		func(int) int { return 1 },
		func(rows int) int { return rows },
		func(rows int) int { return 1 + r.IntN(rows) },
	}[r.IntN(3)]
	entries, err := lawEntries(&c, cut)
	if err != nil {
		return nil, err
	}
	return foldWithKill(entries, 1+r.IntN(5), r.IntN(2*len(entries)))
}

// documents returns the bytes of all invoices by key.
func (f *fold) documents() map[string]string {
	out := map[string]string{}
	for _, inv := range f.bills {
		out[formats.InvoiceKey(inv)] = string(formats.AppendInvoice(nil, inv))
	}
	return out
}

// TestUsageInTime is the first half of the second law: if every row comes before its period closes,
// the invoices and the billing digest are equal, whatever the batches, the order within the bound,
// the watermarks, shards and restarts.
func TestUsageInTime(t *testing.T) {
	cases, invoices := 0, 0
	eachSeed(t, half(20), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a4))
		c := lawCase(seed)
		rows := withCorrections(c, usageRows(c), r)
		end := lastTime(c, rows) + 200*engine.OneDay
		var want map[string]string
		var billing engine.Digest
		for i := range 10 {
			f, err := foldItems(*c, inTime(c, rows, end, r), r)
			if err != nil {
				return err
			}
			if i == 0 {
				want, billing = f.documents(), f.digests()[0]
				continue
			}
			cases++
			invoices += len(f.bills)
			got := f.documents()
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if got[key] != want[key] {
					return fmt.Errorf("way %d: %s is %s\nwant %s", i, key, got[key], want[key])
				}
			}
			if len(f.bills) != len(want) {
				return fmt.Errorf("way %d: %d invoices, want %d", i, len(f.bills), len(want))
			}
			if f.digests()[0] != billing {
				return fmt.Errorf("way %d: the billing digest differs", i)
			}
		}
		return nil
	})
	t.Logf("%d ways of the same usage, %d invoices", cases, invoices)
}

// TestUsageLate is the second half: if rows come late and count, the sums of invoices and
// adjustments by account, subscription, period and line are equal to those of rows in time.
func TestUsageLate(t *testing.T) {
	cases, adjustments := 0, 0
	eachSeed(t, half(50), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a5))
		c := lawCase(seed)
		if seed%4 > 0 && daily(c) {
			return nil // it has a thousand invoices
		}
		s := &c.World.Settings
		s.Reopen, s.Horizon = 400*engine.OneDay, 900*engine.OneDay
		rows := withCorrections(c, usageRows(c), r)
		end := lastTime(c, rows) + 100*engine.OneDay
		settled := fixtures.Item{
			At: end + 600*engine.OneDay, Body: fixtures.Watermark{W: end + 600*engine.OneDay},
		}
		var want map[string]decimal.Amount
		for i := range 6 {
			items := inTime(c, rows, end, r)
			if i > 0 {
				items = disorder(rows, items[0].At, end, r)
			}
			f, err := foldItems(*c, append(items, settled), r)
			if err != nil {
				return err
			}
			got := f.sums()
			if i == 0 {
				want = got
				continue
			}
			cases++
			for _, inv := range f.bills {
				adjustments += len(inv.Adjustments)
			}
			maps.Copy(got, missing(want, got))
			for _, key := range slices.Sorted(maps.Keys(got)) {
				if got[key].Cmp(want[key]) != 0 {
					return fmt.Errorf("way %d: %s comes to %v minor units, want %v", i, key,
						got[key].Text(0), want[key].Text(0))
				}
			}
		}
		return nil
	})
	t.Logf("%d ways of the same usage, with %d adjustments", cases, adjustments)
	if adjustments == 0 {
		t.Error("nothing came late")
	}
}

// missing returns zeros for the keys that only a has.
func missing(a, b map[string]decimal.Amount) map[string]decimal.Amount {
	out := map[string]decimal.Amount{}
	for key := range a {
		if _, ok := b[key]; !ok {
			out[key] = decimal.Amount{}
		}
	}
	return out
}

// daily reports whether a plan of the case has periods of a day.
func daily(c *fixtures.Case) bool {
	return slices.ContainsFunc(c.World.Plans, func(p engine.Plan) bool {
		return p.Interval == engine.OfDay
	})
}

// disorder puts usage in any order that has corrections behind what they correct, and anywhere
// between watermarks, so that much of it comes late.
func disorder(rows []usage, from, end engine.Micros, r *rand.Rand) []fixtures.Item {
	list := make([]placed, len(rows))
	for i, u := range rows {
		list[i] = placed{u, i, engine.Micros(r.Int64N(1 << 40))}
		if u.of >= 0 && list[u.of].at > list[i].at {
			list[i].at = list[u.of].at + engine.Micros(r.Int64N(1<<38))
		}
	}
	inOrder(list)
	var out []fixtures.Item
	places := map[int]int{}
	next := func() {
		places[list[0].index] = len(out)
		out = append(out, fixtures.Item{At: end, Body: list[0].body(places)})
		list = list[1:]
	}
	for w := from; w < end; w += engine.Micros(r.Int64N(int64(20 * engine.OneDay))) {
		out = append(out, fixtures.Item{At: end, Body: fixtures.Watermark{W: w}})
		for n := r.IntN(6); n > 0 && len(list) > 0; n-- {
			next()
		}
	}
	for len(list) > 0 {
		next()
	}
	return append(out, fixtures.Item{At: end, Body: fixtures.Watermark{W: end}})
}

// sums returns what all invoices bill, by account, subscription, start of the period and line.
func (f *fold) sums() map[string]decimal.Amount {
	out := map[string]decimal.Amount{}
	add := func(inv *engine.Invoice, start engine.Micros, price string, group any, a decimal.Amount) {
		key := fmt.Sprintf("%s/%s/%d %s %v", inv.Account, inv.Subscription, start, price, group)
		out[key] = out[key].Add(a)
	}
	for _, inv := range f.bills {
		for _, l := range inv.Lines {
			add(inv, l.From, l.Price, l.Group, l.Amount)
		}
		for _, a := range inv.Adjustments {
			add(inv, a.Start, a.Price, a.Group, a.Amount)
		}
	}
	return out
}

// TestOpenPeriodsAgree compares open periods, in the midst of a log, with the oracle: their usage,
// what they come to so far, and what a close would issue.
func TestOpenPeriodsAgree(t *testing.T) {
	periods := 0
	eachSeed(t, half(350), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a6))
		c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures&^fixtures.WithOddCorrections)
		items := c.Items[:1+r.IntN(len(c.Items))]
		bills, err := fixtures.Bill(c.World, items)
		if err != nil {
			return err
		}
		f, err := foldItems(*c, items, r)
		if err != nil {
			return err
		}
		v := f.shards.Pin()
		for i := range bills.Periods {
			p := &bills.Periods[i]
			if _, closed := bills.Closed[p.BilledID]; closed {
				continue
			}
			periods++
			if err := agree(v, p); err != nil {
				return fmt.Errorf("%+v: %w", p.BilledID, err)
			}
		}
		return nil
	})
	t.Logf("%d open periods agree", periods)
}

func agree(v *engine.View, p *fixtures.BilledPeriod) error {
	bill, ok := v.Bill(p.Account)
	if !ok {
		return errors.New("there is no account")
	}
	at := slices.IndexFunc(bill.Open, func(o engine.OpenPeriod) bool {
		return o.Subscription == p.Subscription && o.Start == p.Start
	})
	if at < 0 {
		return errors.New("it is not open")
	}
	o := &bill.Open[at]
	terms, _ := v.Terms(p.Account, o.Subscription, o.Start)
	var got, want []string
	for _, u := range o.Usage {
		if u.Fold.Rows == 0 {
			continue // a level of before
		}
		q := quantity(&u, &terms)
		got = append(got, fmt.Sprint(u.Meter.Key, u.Group, u.Fold.Rows, q.String()))
	}
	for _, u := range p.Usage {
		rows := u.Value
		if v.Meter(u.Meter).Aggregate == engine.Count {
			rows = fmt.Sprint(u.Rows)
		}
		want = append(want, fmt.Sprint(u.Meter, u.Group, u.Rows, rows))
	}
	soFar := ""
	for _, l := range p.SoFar {
		soFar += l.Text()
	}
	if o.SoFar == nil {
		o.SoFar = &engine.Invoice{}
	}
	return errors.Join(
		firstDifference("usage", got, want),
		firstDifference("so far", []string{fixtures.LinesText(o.SoFar)}, []string{soFar}),
		agreeAtOnce(o, p))
}

func agreeAtOnce(o *engine.OpenPeriod, p *fixtures.BilledPeriod) error {
	if p.AtOnce.Account == "" {
		return nil // another period closes first
	}
	if o.IfClosedNow == nil {
		return errors.New("a close would issue nothing")
	}
	// The oracle does not know which previews use up credits before this one.
	got, _, _ := strings.Cut(fixtures.InvoiceText(o.IfClosedNow), "  credit ")
	want, _, _ := strings.Cut(p.AtOnce.Text(), "  credit ")
	if len(o.IfClosedNow.Credits)+len(p.AtOnce.Credits) > 0 {
		got, _, _ = strings.Cut(got, "  tax ")
		want, _, _ = strings.Cut(want, "  tax ")
		got, _, _ = strings.Cut(got, "  total ")
		want, _, _ = strings.Cut(want, "  total ")
	}
	return firstDifference("if closed now", []string{got}, []string{want})
}

// TestConservation shows that no accepted row gets lost and none counts twice: rows that invoices
// and adjustments bill and rows of open periods are the rows that were accepted.
func TestConservation(t *testing.T) {
	accepted, takenBack := 0, 0
	eachSeed(t, half(350), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a7))
		c := lawCase(seed)
		countRows(c)
		for i, item := range c.Items {
			b, ok := item.Body.(fixtures.Close) // late rows show once the period after it has begun
			if ok && b.T > item.At {
				c.Items[i].Body = fixtures.Watermark{W: engine.Past}
			}
		}
		f, err := foldItems(*c, c.Items, r)
		if err != nil {
			return err
		}
		v := f.shards.Pin()
		billed := map[string]decimal.Rat{}
		for _, inv := range f.bills {
			id := inv.Account + "/" + inv.Subscription + "/"
			for _, l := range inv.Lines {
				billed[id+l.From.String()+l.Price] = l.Quantity
			}
			for _, a := range inv.Adjustments {
				billed[id+a.Start.String()+a.Price] = a.Quantity
			}
		}
		var sum decimal.Rat
		for _, q := range billed {
			sum = sum.Add(q)
		}
		for _, id := range v.AccountIDs("") {
			bill, _ := v.Bill(id)
			for _, o := range bill.Open {
				sum = sum.Add(decimal.Int(int64(o.Rows)))
				if o.IfClosedNow != nil { // late rows that the next invoice bills
					for _, a := range o.IfClosedNow.Adjustments {
						was := billed[id+"/"+o.Subscription+"/"+a.Start.String()+a.Price]
						sum = sum.Add(a.Quantity.Sub(was))
					}
				}
			}
		}
		counted := -f.takenBack // an amended row still counts
		for _, control := range v.Controls() {
			if control.Source.Name != engine.Corrections {
				counted += int(control.Counts[engine.Accepted])
			}
		}
		accepted += counted
		takenBack += f.takenBack
		if sum.Cmp(decimal.Int(int64(counted))) != 0 {
			return fmt.Errorf("%d rows were accepted, billed and open are %v", counted, sum)
		}
		return nil
	})
	t.Logf("%d accepted rows are billed or open, %d were taken back", accepted, takenBack)
}

// countRows makes a case count each row once: one subscription an account, whose plans all have one
// price, of one a row.
func countRows(c *fixtures.Case) {
	one := decimal.FromInt(1)
	w := &c.World
	w.Coupons = nil
	w.Settings.Reopen, w.Settings.Horizon = 300*engine.OneDay, 600*engine.OneDay
	w.Meters = []engine.Meter{
		{Key: "disks", Event: "disk", Aggregate: engine.Count},
		{Key: "llms", Event: "llm", Aggregate: engine.Count},
	}
	for i := range w.Plans {
		w.Plans[i].Prices = []engine.Price{
			{Key: "disks", Meter: "disks", Model: engine.Unit, Unit: one},
			{Key: "llms", Meter: "llms", Model: engine.Unit, Unit: one},
		}
	}
	for i := range w.Accounts {
		s := w.Accounts[i].Subscriptions[:1]
		s[0].To, s[0].Overrides, s[0].Trial = engine.Future, nil, 0
		w.Accounts[i].Subscriptions = s
	}
}

package live

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
)

// usageRows returns the rows of a case that are free of conflicts and have times of their own.
func usageRows(c *fixtures.Case) []*fixtures.Event {
	var rows []*fixtures.Event
	known := map[string]string{}
	for _, item := range c.Items {
		e, ok := item.Body.(*fixtures.Event)
		if !ok || e.Malformed || e.Defaulted || e.Time < c.Start+engine.OneDay {
			continue
		}
		id, line := e.Source+"\n"+e.ID, string(e.Line())
		if known[id] == "" || known[id] == line {
			known[id] = line
			rows = append(rows, e)
		}
	}
	return rows
}

// lastTime returns the greatest event time.
func lastTime(c *fixtures.Case, rows []*fixtures.Event) engine.Micros {
	last := c.Start + 60*engine.OneDay
	for _, e := range rows {
		last = max(last, e.Time)
	}
	return last
}

// inTime returns a log in which every row comes before a watermark passes its time: in the order of
// time, disturbed by less than a bound, with watermarks as often and as far as the draw says.
func inTime(
	c *fixtures.Case, rows []*fixtures.Event, end engine.Micros, r *rand.Rand,
) []fixtures.Item {
	bound := []engine.Micros{1, engine.Hour, 3 * engine.OneDay, 100 * engine.OneDay}[r.IntN(4)]
	marks := []int{1, 2, 8, 1 << 30}[r.IntN(4)]
	together := r.IntN(4) == 0
	type row struct {
		at engine.Micros
		e  *fixtures.Event
	}
	list := make([]row, len(rows))
	for i, e := range rows {
		list[i] = row{e.Time + engine.Micros(r.Int64N(int64(bound))), e}
		if together {
			list[i].at = end
		}
	}
	slices.SortFunc(list, func(a, b row) int { return int(min(max(a.at-b.at, -1), 1)) })
	least := make([]engine.Micros, len(list)+1) // time of the rows from here on
	least[len(list)] = engine.Future
	for i := len(list) - 1; i >= 0; i-- {
		least[i] = min(least[i+1], list[i].e.Time)
	}
	var items []fixtures.Item
	for i, l := range list {
		if r.IntN(marks) == 0 {
			w := min(least[i], l.at)
			if r.IntN(2) == 0 {
				w -= engine.Micros(r.Int64N(int64(engine.Hour)))
			}
			items = append(items, fixtures.Item{At: l.at, Body: fixtures.Watermark{W: w}})
		}
		items = append(items, fixtures.Item{At: l.at, Body: l.e})
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
	entries, err := c.Entries(cut)
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
	eachSeed(t, 60, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a4))
		c := fixtures.RandomCase(seed)
		rows := usageRows(c)
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
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if got := f.documents()[key]; got != want[key] {
					return fmt.Errorf("way %d: %s is %s\nwant %s", i, key, got, want[key])
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
	eachSeed(t, 150, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a5))
		c := fixtures.RandomCase(seed)
		s := &c.World.Settings
		s.Reopen, s.Horizon = 400*engine.OneDay, 900*engine.OneDay
		rows := usageRows(c)
		end := lastTime(c, rows) + 100*engine.OneDay
		settled := fixtures.Item{
			At: end + 600*engine.OneDay, Body: fixtures.Watermark{W: end + 600*engine.OneDay},
		}
		var want map[string]decimal.Amount
		for i := range 6 {
			items := inTime(c, rows, end, r)
			if i > 0 {
				items = disorder(items, end, r)
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

// disorder moves rows to any place between the watermarks, so that many come late.
func disorder(items []fixtures.Item, end engine.Micros, r *rand.Rand) []fixtures.Item {
	var rows []fixtures.Item
	var out []fixtures.Item
	for _, item := range items {
		if _, ok := item.Body.(*fixtures.Event); ok {
			rows = append(rows, item)
		}
	}
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for w := items[0].At; w < end; w += engine.Micros(r.Int64N(int64(20 * engine.OneDay))) {
		out = append(out, fixtures.Item{At: end, Body: fixtures.Watermark{W: w}})
		for n := r.IntN(6); n > 0 && len(rows) > 0; n-- {
			rows[0].At = end
			out, rows = append(out, rows[0]), rows[1:]
		}
	}
	for _, row := range rows {
		row.At = end
		out = append(out, row)
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
	eachSeed(t, 700, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a6))
		c := fixtures.RandomCase(seed)
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
	var got, want []string
	for _, u := range o.Usage {
		q := u.Fold.Quantity(u.Meter)
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
	return firstDifference("if closed now", []string{fixtures.InvoiceText(o.IfClosedNow)},
		[]string{p.AtOnce.Text()})
}

// TestConservation shows that no accepted row gets lost and none counts twice: rows that invoices
// and adjustments bill and rows of open periods are the rows that were accepted.
func TestConservation(t *testing.T) {
	accepted := 0
	eachSeed(t, 700, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a7))
		c := fixtures.RandomCase(seed)
		countRows(c)
		c.Items = slices.DeleteFunc(c.Items, func(i fixtures.Item) bool {
			b, ok := i.Body.(fixtures.Close) // late rows show once the period after it has begun
			return ok && b.T > i.At
		})
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
		var counted uint64
		for _, control := range v.Controls() {
			counted += control.Counts[engine.Accepted]
		}
		accepted += int(counted)
		if sum.Cmp(decimal.Int(int64(counted))) != 0 {
			return fmt.Errorf("%d rows were accepted, billed and open are %v", counted, sum)
		}
		return nil
	})
	t.Logf("%d accepted rows are billed or open", accepted)
}

// countRows makes a case count each row once: one subscription an account, whose plans all have one
// price, of one a row.
func countRows(c *fixtures.Case) {
	one := decimal.FromInt(1)
	w := &c.World
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
		s[0].To, s[0].Overrides = engine.Future, nil
		w.Accounts[i].Subscriptions = s
	}
}

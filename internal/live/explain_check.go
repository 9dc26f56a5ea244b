package live

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/store"
)

// rerated is a period as it is rated now.
type rerated struct {
	terms   engine.Terms
	used    *usedPeriod
	rated   bool          // lines are there
	lines   []engine.Line // usage and flat amounts in arrears
	advance []engine.Line // flat amounts in advance
}

// explained is one document while it is checked.
type explained struct {
	x       *explaining
	ask     *ask
	doc     *ExplainedDocument
	inv     *engine.Invoice
	periods map[engine.Micros]*rerated // by start
}

// document explains the lines of a document that are asked for, and reconciles all of them.
func (x *explaining) document(a *ask, doc *ExplainedDocument) error {
	d := &explained{x, a, doc, doc.Invoice, map[engine.Micros]*rerated{}}
	if a.body != nil {
		if !bytes.Equal(a.body, formats.AppendInvoice(nil, d.inv)) {
			return &store.MismatchError{
				Position: a.position, Key: a.key, Seq: doc.Seq, What: "the history gives other bytes",
			}
		}
		doc.Outbox = true
	}
	own := 0
	for i := range d.inv.Lines {
		of, err := d.line(&d.inv.Lines[i])
		if err != nil {
			return err
		}
		own += of
	}
	for i := range d.inv.Adjustments {
		if err := d.adjustment(&d.inv.Adjustments[i]); err != nil {
			return err
		}
	}
	if d.inv.Kind == engine.PeriodInvoice {
		p, err := d.period(d.inv.Start)
		if err != nil {
			return err
		}
		if err := d.rate(p); err != nil {
			return err
		}
		if own != len(p.lines) {
			return d.differ("", "the number of lines of the period", len(p.lines), own)
		}
	}
	return d.whole()
}

// whole checks the totals, and that every line asked for is there.
func (d *explained) whole() error {
	var sum decimal.Amount
	for i := range d.inv.Lines {
		sum = sum.Add(d.inv.Lines[i].Amount)
	}
	for i := range d.inv.Adjustments {
		sum = sum.Add(d.inv.Adjustments[i].Amount)
	}
	if sum != d.inv.Subtotal {
		return d.differ("", "the subtotal", sum.Text(d.inv.Digits), d.inv.Subtotal.Text(d.inv.Digits))
	}
	for _, c := range d.inv.Credits {
		sum = sum.Sub(c.Amount)
	}
	if sum != d.inv.Total {
		return d.differ("", "the total", sum.Text(d.inv.Digits), d.inv.Total.Text(d.inv.Digits))
	}
	for _, line := range d.ask.lines {
		if slices.ContainsFunc(d.doc.Lines, func(l ExplainedLine) bool { return l.Key == line }) {
			continue
		}
		e := &UnknownDocumentError{
			Key: d.ask.key + "#" + line, Reason: "the document has no such line", Hint: "it has no lines",
		}
		if keys := d.keys(); len(keys) > 0 {
			e.Hint = "it has:"
			for _, k := range keys {
				e.Hint += " #" + k
			}
		}
		return e
	}
	return nil
}

// keys returns the keys of the document's lines, each once.
func (d *explained) keys() (out []string) {
	for i := range d.inv.Lines {
		out = append(out, engine.LineKey(d.inv.Lines[i].Price, d.inv.Lines[i].Group))
	}
	for i := range d.inv.Adjustments {
		out = append(out, engine.LineKey(d.inv.Adjustments[i].Price, d.inv.Adjustments[i].Group))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (d *explained) differ(line, what string, derived, issued any) error {
	return &UnreconciledError{
		d.ask.key, line, what, fmt.Sprint(derived), fmt.Sprint(issued),
	}
}

// period returns a period of the subscription.
func (d *explained) period(start engine.Micros) (*rerated, error) {
	if p := d.periods[start]; p != nil {
		return p, nil
	}
	x, id := d.x, subscriptionID{d.inv.Account, d.inv.Subscription}
	x.earliest = min(x.earliest, start)
	terms, ok := x.view.Terms(id.account, id.key, start)
	if !ok {
		return nil, d.differ("", "the subscription at "+start.String(), "none", d.inv.Plan)
	}
	p := &rerated{
		terms: terms, used: &usedPeriod{}, advance: x.view.Advance(id.account, id.key, start),
	}
	d.periods[start] = p
	return p, nil
}

// rate rates a period by the events that were kept, once their fold agrees with the engine's.
func (d *explained) rate(p *rerated) error {
	if p.rated {
		return nil
	}
	x, id := d.x, subscriptionID{d.inv.Account, d.inv.Subscription}
	start := p.terms.Start
	if used := x.periods[periodID{id, start}]; used != nil {
		p.used = used
	}
	usage := p.used.fold(func(int32) bool { return true })
	if err := d.usage(usage, x.view.Usage(id.account, id.key, start)); err != nil {
		return err
	}
	p.lines, p.rated = x.view.Rate(id.account, id.key, start, usage), true
	return nil
}

// usage compares the fold of the events with what the engine counted: no event may be missing, even
// where that would not show in an amount.
func (d *explained) usage(got, want []engine.Usage) error {
	if len(got) != len(want) {
		return d.differ("", "the number of meters and groups", len(got), len(want))
	}
	for i := range got {
		g := &got[i]
		name := engine.LineKey(g.Meter.Key, g.Group)
		at := usageAt(want, g)
		if at < 0 {
			return d.differ("", "the number of events of "+name, g.Fold.Rows, 0)
		}
		w := &want[at]
		if g.Fold.Rows != w.Fold.Rows {
			return d.differ("", "the number of events of "+name, g.Fold.Rows, w.Fold.Rows)
		}
		a, b := g.Fold.Quantity(g.Meter), w.Fold.Quantity(w.Meter)
		if a.Cmp(b) != 0 {
			return d.differ("", "the quantity of "+name, a, b)
		}
	}
	return nil
}

// line explains a line. It returns 1 for one of the document's own period, which is rated with it,
// 0 for an amount in advance.
func (d *explained) line(l *engine.Line) (own int, err error) {
	p, err := d.period(l.From)
	if err != nil {
		return 0, err
	}
	key := engine.LineKey(l.Price, l.Group)
	price := priceOf(p.terms.Prices, l.Price)
	lines := p.advance
	if price == nil || price.Model != engine.Flat || !price.Advance {
		if err := d.rate(p); err != nil {
			return 0, err
		}
		lines, own = p.lines, 1
	}
	i := lineAt(lines, key)
	if i < 0 || price == nil {
		return 0, d.differ(key, "the line", "not there", l.Amount.Text(d.inv.Digits))
	}
	if err := d.equal(key, &lines[i], l); err != nil {
		return 0, err
	}
	out := ExplainedLine{Key: key, Line: *l, Price: *price, Terms: p.terms}
	return own, d.events(&out, p, l.Quantity)
}

// adjustment explains an adjustment: of a closed period, or of an amount in advance that changed
// before its period closed.
func (d *explained) adjustment(a *engine.Adjustment) error {
	p, err := d.period(a.Start)
	if err != nil {
		return err
	}
	key := engine.LineKey(a.Price, a.Group)
	lines := p.advance
	if d.inv.Kind != engine.PeriodInvoice || a.Start != d.inv.Start {
		if err := d.rate(p); err != nil {
			return err
		}
		lines = p.lines
	}
	out := ExplainedLine{Key: key, Adjustment: a, Terms: p.terms}
	if price := priceOf(p.terms.Prices, a.Price); price != nil {
		out.Price = *price
	}
	if i := lineAt(lines, key); i >= 0 {
		out.Line = lines[i]
	}
	digits := d.inv.Digits
	booked := d.x.booked[bookedID{
		periodID{subscriptionID{d.inv.Account, d.inv.Subscription}, a.Start}, key,
	}]
	// Booked first: where a document before an opening is missing, it is what shows it.
	switch {
	case booked != a.Booked:
		return d.differ(key, "what was booked before", booked.Text(digits), a.Booked.Text(digits))
	case out.Line.Quantity.Cmp(a.Quantity) != 0:
		return d.differ(key, "the quantity", out.Line.Quantity, a.Quantity)
	case out.Line.Amount != a.Rated:
		return d.differ(key, "the amount now", out.Line.Amount.Text(digits), a.Rated.Text(digits))
	case a.Rated.Sub(a.Booked) != a.Amount:
		return d.differ(key, "the difference", a.Rated.Sub(a.Booked).Text(digits), a.Amount.Text(digits))
	}
	return d.events(&out, p, a.Quantity)
}

// equal compares a line as it is derived with the one of the document.
func (d *explained) equal(key string, got, want *engine.Line) error {
	digits := d.inv.Digits
	rats := []struct {
		what string
		a, b decimal.Rat
	}{
		{"the quantity", got.Quantity, want.Quantity},
		{"the billable quantity", got.Billable, want.Billable},
		{"the rated amount", got.Rated, want.Rated},
		{"the exact amount", got.Exact, want.Exact},
	}
	for _, r := range rats {
		if r.a.Cmp(r.b) != 0 {
			return d.differ(key, r.what, r.a, r.b)
		}
	}
	switch {
	case got.Amount != want.Amount:
		return d.differ(key, "the amount", got.Amount.Text(digits), want.Amount.Text(digits))
	case got.From != want.From || got.To != want.To:
		return d.differ(key, "the period", got.From.String()+" to "+got.To.String(),
			want.From.String()+" to "+want.To.String())
	case len(got.Tiers) != len(want.Tiers):
		return d.differ(key, "the number of tiers", len(got.Tiers), len(want.Tiers))
	}
	for i := range got.Tiers {
		a, b := &got.Tiers[i], &want.Tiers[i]
		if a.Tier != b.Tier || a.Quantity.Cmp(b.Quantity) != 0 || a.Amount.Cmp(b.Amount) != 0 {
			return d.differ(key, "tier "+strconv.Itoa(b.Tier+1), a.Amount, b.Amount)
		}
	}
	return nil
}

// events adds the events that count for a line, whose fold must be its quantity, and takes the line
// into the answer if it is asked for.
func (d *explained) events(out *ExplainedLine, p *rerated, quantity decimal.Rat) error {
	x := d.x
	counts := func(int32) bool { return false }
	if out.Line.Meter != "" {
		out.Meter = x.view.Meter(out.Line.Meter)
		counts = p.used.countFor(&out.Price, out.Line.Group)
		var total engine.Fold
		for _, u := range p.used.fold(counts) {
			total.Merge(out.Meter.Aggregate, u.Fold)
		}
		if q := total.Quantity(out.Meter); q.Cmp(quantity) != 0 {
			return d.differ(out.Key, "the quantity", q, quantity)
		}
		out.Count = int(total.Rows)
	}
	if !d.ask.wants(out.Key) {
		return nil
	}
	for i := range p.used.rows {
		if x.o.Events > 0 && len(out.Events) == x.o.Events {
			break
		}
		if r := &p.used.rows[i]; counts(r.series) {
			out.Events = append(out.Events, x.event(p.used, r))
		}
	}
	d.doc.Lines = append(d.doc.Lines, *out)
	return nil
}

// event writes a kept row out.
func (x *explaining) event(p *usedPeriod, r *usedRow) ExplainedEvent {
	b := &x.batches[r.batch]
	e := ExplainedEvent{
		Seq: r.seq, At: b.at, Time: r.time, ID: r.id, Subject: x.names[r.subject], Value: r.value,
		Group: p.series[r.series].Group, Source: b.source, Partition: x.names[r.partition],
		Offset: r.offset, Place: b.place,
	}
	if b.place.Offset < 0 {
		e.Place.Row += int64(r.seq - b.seq)
	}
	return e
}

// countFor returns which series count for the line of a price and of a group of its dimensions.
func (p *usedPeriod) countFor(price *engine.Price, group []engine.GroupValue) func(int32) bool {
	counts := make([]bool, len(p.series))
	for i := range p.series {
		u := engine.Usage{Meter: p.series[i].Meter, Group: p.series[i].Group}
		counts[i] = price.Covers(&u) && !slices.ContainsFunc(group, func(g engine.GroupValue) bool {
			return !g.Absent && !slices.Contains(u.Group, g) ||
				g.Absent && slices.ContainsFunc(u.Group, func(o engine.GroupValue) bool {
					return o.Dim == g.Dim && !o.Absent
				})
		})
	}
	return func(series int32) bool { return counts[series] }
}

// foldRows is how many uses are folded at once: a use in full takes twice a row's memory.
const foldRows = 4096

// fold folds the rows of the series that count, by meter and group.
func (p *usedPeriod) fold(counts func(int32) bool) []engine.Usage {
	var out []engine.Usage
	part := make([]engine.Use, 0, min(foldRows, len(p.rows)))
	flush := func() {
		out = mergeUsage(out, engine.UsageOf(part))
		part = part[:0]
	}
	for i := range p.rows {
		r := &p.rows[i]
		if !counts(r.series) {
			continue
		}
		u := p.series[r.series]
		u.Seq, u.Value = r.seq, r.value
		if part = append(part, u); len(part) == foldRows {
			flush()
		}
	}
	flush()
	return out
}

// mergeUsage adds one list of usage to another.
func mergeUsage(a, b []engine.Usage) []engine.Usage {
	for i := range b {
		u := &b[i]
		if at := usageAt(a, u); at >= 0 {
			a[at].Fold.Merge(u.Meter.Aggregate, u.Fold)
		} else {
			a = append(a, *u)
		}
	}
	return a
}

// usageAt returns the place of the meter and group of u in a list, -1 if it has none.
func usageAt(list []engine.Usage, u *engine.Usage) int {
	return slices.IndexFunc(list, func(o engine.Usage) bool {
		return o.Meter.Key == u.Meter.Key && slices.Equal(o.Group, u.Group)
	})
}

func priceOf(prices []engine.Price, key string) *engine.Price {
	for i := range prices {
		if prices[i].Key == key {
			return &prices[i]
		}
	}
	return nil
}

func lineAt(lines []engine.Line, key string) int {
	return slices.IndexFunc(lines, func(l engine.Line) bool {
		return engine.LineKey(l.Price, l.Group) == key
	})
}

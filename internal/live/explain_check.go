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

	*seriesIndex // once it is rated
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
	usage := p.used.fold()
	if err := d.usage(usage, x.view.Usage(id.account, id.key, start)); err != nil {
		return err
	}
	p.lines, p.rated = x.view.Rate(id.account, id.key, start, usage), true
	p.index(usage)
	return nil
}

// usage compares the fold of the events with what the engine counted: no event may be missing, even
// where that would not show in an amount.
func (d *explained) usage(got, want []engine.Usage) error {
	if len(got) != len(want) {
		return d.differ("", "the number of meters and groups", len(got), len(want))
	}
	places := map[string]int{}
	for i := range want {
		places[engine.LineKey(want[i].Meter.Key, want[i].Group)] = i
	}
	for i := range got {
		g := &got[i]
		name := engine.LineKey(g.Meter.Key, g.Group)
		at, found := places[name]
		if !found {
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
	var got *engine.Line
	if price == nil || price.Model != engine.Flat || !price.Advance {
		if err := d.rate(p); err != nil {
			return 0, err
		}
		got, own = p.line(key), 1
	} else {
		got = lineOf(p.advance, key)
	}
	if got == nil || price == nil {
		return 0, d.differ(key, "the line", "not there", l.Amount.Text(d.inv.Digits))
	}
	if err := d.equal(key, got, l); err != nil {
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
	line := lineOf(p.advance, key)
	if d.inv.Kind != engine.PeriodInvoice || a.Start != d.inv.Start {
		if err := d.rate(p); err != nil {
			return err
		}
		line = p.line(key)
	}
	out := ExplainedLine{Key: key, Adjustment: a, Terms: p.terms}
	if price := priceOf(p.terms.Prices, a.Price); price != nil {
		out.Price = *price
	}
	if line != nil {
		out.Line = *line
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
	var series []int32
	if out.Line.Meter != "" {
		out.Meter = x.view.Meter(out.Line.Meter)
		series = p.countFor(&out.Price, out.Line.Group)
		var total engine.Fold
		for _, s := range series {
			total.Merge(out.Meter.Aggregate, p.folds[s].Fold)
		}
		if q := total.Quantity(out.Meter); q.Cmp(quantity) != 0 {
			return d.differ(out.Key, "the quantity", q, quantity)
		}
		out.Count = int(total.Rows)
	}
	if !d.ask.wants(out.Key) {
		return nil
	}
	for _, row := range p.rowsOf(series, x.o.Events) {
		out.Events = append(out.Events, x.event(p.used, &p.used.rows[row]))
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

// foldRows is how many uses are folded at once: a use in full takes twice a row's memory.
const foldRows = 4096

// fold folds the rows by meter and group.
func (p *usedPeriod) fold() []engine.Usage {
	var out []engine.Usage
	places := map[string]int{} // in out, by engine.LineKey
	part := make([]engine.Use, 0, min(foldRows, len(p.rows)))
	flush := func() {
		for _, u := range engine.UsageOf(part) {
			key := engine.LineKey(u.Meter.Key, u.Group)
			if at, found := places[key]; found {
				out[at].Fold.Merge(u.Meter.Aggregate, u.Fold)
				continue
			}
			places[key] = len(out)
			out = append(out, u)
		}
		part = part[:0]
	}
	for i := range p.rows {
		r := &p.rows[i]
		u := p.series[r.series]
		u.Seq, u.Value = r.seq, r.value
		if part = append(part, u); len(part) == foldRows {
			flush()
		}
	}
	flush()
	return out
}

func priceOf(prices []engine.Price, key string) *engine.Price {
	for i := range prices {
		if prices[i].Key == key {
			return &prices[i]
		}
	}
	return nil
}

// line returns the line of a rated period with a key, nil if there is none.
func (p *rerated) line(key string) *engine.Line {
	if i, found := p.lineAt[key]; found {
		return &p.lines[i]
	}
	return nil
}

// lineOf returns the line with a key, nil if there is none. There are few.
func lineOf(lines []engine.Line, key string) *engine.Line {
	for i := range lines {
		if engine.LineKey(lines[i].Price, lines[i].Group) == key {
			return &lines[i]
		}
	}
	return nil
}

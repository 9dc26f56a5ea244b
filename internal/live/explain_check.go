package live

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	if err := d.sums(); err != nil {
		return err
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

// sums makes what coupons take off, the sums and the taxes again, from the lines and adjustments.
func (d *explained) sums() error {
	inv := d.inv
	again, ok := d.x.view.Resum(inv)
	if !ok {
		return d.differ("", "the subscription at "+inv.Start.String(), "none", inv.Plan)
	}
	text := func(a decimal.Amount) string { return a.Text(inv.Digits) }
	if len(again.Coupons) != len(inv.Coupons) {
		return d.differ("", "the number of coupons", len(again.Coupons), len(inv.Coupons))
	}
	for i, c := range inv.Coupons {
		if o := again.Coupons[i]; o != c {
			return d.differ("", "the coupon", o.ID+" "+text(o.Amount), c.ID+" "+text(c.Amount))
		}
	}
	if again.Subtotal != inv.Subtotal {
		return d.differ("", "the subtotal", text(again.Subtotal), text(inv.Subtotal))
	}
	if len(again.Credits) != len(inv.Credits) {
		return d.differ("", "the number of credits", len(again.Credits), len(inv.Credits))
	}
	for i, c := range inv.Credits {
		if o := again.Credits[i]; o != c {
			return d.differ("", "the credit", o.ID+" "+text(o.Amount), c.ID+" "+text(c.Amount))
		}
	}
	if len(again.Taxes) != len(inv.Taxes) {
		return d.differ("", "the number of taxes", len(again.Taxes), len(inv.Taxes))
	}
	for i, t := range inv.Taxes {
		o, name := again.Taxes[i], "the tax "+strings.TrimSpace(t.Code+" "+t.Percent.String())
		switch {
		case o.Code != t.Code || o.Percent != t.Percent:
			return d.differ("", name, strings.TrimSpace(o.Code+" "+o.Percent.String()), "this")
		case o.Base != t.Base:
			return d.differ("", name+"'s base", text(o.Base), text(t.Base))
		case o.Amount != t.Amount:
			return d.differ("", name, text(o.Amount), text(t.Amount))
		}
	}
	if again.Total != inv.Total {
		return d.differ("", "the total", text(again.Total), text(inv.Total))
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
		terms: terms, used: newUsedPeriod(), advance: x.view.Advance(id.account, id.key, start),
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
	folds, want := p.used.fold(x.names), x.view.Usage(id.account, id.key, start)
	if err := d.usage(p.used, folds, want); err != nil {
		return err
	}
	folds = p.used.carry(folds, want)
	var usage []engine.Usage
	for i := range folds {
		if f := &folds[i].Fold; f.Rows > 0 || f.Carried != nil {
			usage = append(usage, folds[i])
		}
	}
	p.lines, p.rated = x.view.Rate(id.account, id.key, start, usage), true
	p.index(folds)
	return nil
}

// usage compares the fold of the events of each series with what the engine counted: no event may
// be missing, even where that would not show in an amount.
func (d *explained) usage(p *usedPeriod, folds, want []engine.Usage) error {
	counted := 0
	for i := range folds {
		counted += one(folds[i].Fold.Rows > 0)
	}
	for i := range want {
		w := &want[i]
		if w.Fold.Rows == 0 {
			continue // a level that goes on
		}
		counted--
		name := engine.LineKey(w.Meter.Key, w.Group)
		at, found := p.at[name]
		if !found {
			return d.differ("", "the number of events of "+name, 0, w.Fold.Rows)
		}
		if err := d.fold(name, &folds[at].Fold, &w.Fold); err != nil {
			return err
		}
	}
	if counted != 0 { // each of the engine's is among ours
		return d.differ("", "the number of meters and groups", len(want)+counted, len(want))
	}
	return nil
}

// fold compares two folds without the level that goes on from before.
func (d *explained) fold(name string, got, want *engine.Fold) error {
	switch {
	case got.Rows != want.Rows:
		return d.differ("", "the number of events of "+name, got.Rows, want.Rows)
	case got.Value != want.Value:
		return d.differ("", "the sum or extreme of "+name, got.Value.Rat(), want.Value.Rat())
	case len(got.Samples) != len(want.Samples):
		return d.differ("", "the number of values of "+name, len(got.Samples), len(want.Samples))
	}
	for i := range got.Samples {
		if a, b := &got.Samples[i], &want.Samples[i]; *a != *b {
			return d.differ("", "value "+strconv.Itoa(i+1)+" of "+name, sampleText(a), sampleText(b))
		}
	}
	return nil
}

// sampleText writes what is remembered of rows.
func sampleText(s *engine.Sample) string {
	text := strconv.FormatUint(s.Rows, 10) + " of " + strings.TrimSpace(s.Text+" "+
		s.Value.Rat().String())
	if s.Time != 0 {
		text += " at " + s.Time.String()
	}
	return text
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// carry takes over the levels that go on from before the period: its rows do not tell them.
func (p *usedPeriod) carry(folds, from []engine.Usage) []engine.Usage {
	for i := range from {
		u := &from[i]
		if u.Fold.Carried == nil {
			continue
		}
		at := p.seriesOf(&engine.Use{Meter: u.Meter, Group: u.Group, Each: u.Each})
		for int(at) >= len(folds) {
			folds = append(folds, engine.Usage{})
		}
		f := &folds[at]
		f.Meter, f.Group, f.Each, f.Fold.Carried = u.Meter, u.Group, u.Each, u.Fold.Carried
	}
	return folds
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
	case got.Model != want.Model || got.Meter != want.Meter || got.Unit != want.Unit:
		return d.differ(key, "the price", formats.ModelWord(got.Model)+" on "+got.Meter,
			formats.ModelWord(want.Model)+" on "+want.Meter)
	case got.Discount != want.Discount || got.Off != want.Off:
		return d.differ(key, "the discount", got.Discount.String()+" % and "+got.Off.String(),
			want.Discount.String()+" % and "+want.Off.String())
	case got.Bound != want.Bound:
		return d.differ(key, "the bound", formats.BoundWord(got.Bound), formats.BoundWord(want.Bound))
	case !slices.Equal(got.Coupons, want.Coupons):
		return d.differ(key, "what coupons take off", got.Coupons, want.Coupons)
	case got.Trial != want.Trial || got.TaxCode != want.TaxCode:
		return d.differ(key, "the trial or the tax code", fmt.Sprint(got.Trial, " ", got.TaxCode),
			fmt.Sprint(want.Trial, " ", want.TaxCode))
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
	if out.Price.Meter != "" {
		group := out.Line.Group
		if out.Adjustment != nil { // all that the line had may be taken back
			group = out.Adjustment.Group
		}
		out.Meter = x.view.Meter(out.Price.Meter)
		series = p.countFor(&out.Price, group)
		var usage []*engine.Usage
		for _, s := range series {
			if u := &p.folds[s]; u.Fold.Rows > 0 || u.Fold.Carried != nil {
				usage = append(usage, u)
			}
		}
		rows, q := engine.TotalUsage(out.Meter, usage, &p.terms)
		if q.Cmp(quantity) != 0 {
			return d.differ(out.Key, "the quantity", q, quantity)
		}
		out.Count = int(rows)
		if d.ask.wants(out.Key) {
			for _, u := range usage {
				out.Usage = append(out.Usage, *u)
			}
		}
	}
	if !d.ask.wants(out.Key) {
		return nil
	}
	d.back(out, p, series)
	for _, row := range p.rowsOf(series, x.o.Events) {
		out.Events = append(out.Events, x.event(p.used, &p.used.rows[row]))
	}
	d.doc.Lines = append(d.doc.Lines, *out)
	return nil
}

// back says which rows no longer count for a line.
func (d *explained) back(out *ExplainedLine, p *rerated, series []int32) {
	for i := range p.used.back {
		b := &p.used.back[i]
		if _, found := slices.BinarySearch(series, b.series); !found {
			continue
		}
		out.BackCount++
		if most := d.x.o.Events; most == 0 || len(out.Back) < most {
			back := *d.x.batches[b.batch].back
			back.Seq = b.of
			out.Back = append(out.Back, back)
		}
	}
}

// event writes a kept row out.
func (x *explaining) event(p *usedPeriod, r *usedRow) ExplainedEvent {
	b := &x.batches[r.batch]
	e := ExplainedEvent{
		Seq: r.seq, At: b.at, Time: r.time, ID: r.id, Subject: x.names[r.subject], Value: r.value,
		Text: x.names[r.text], Group: p.series[r.series].Group, Source: x.names[b.source],
		Partition: x.names[b.partition], Offset: r.offset, Place: b.place, Amends: b.back,
	}
	if b.place.Offset < 0 {
		e.Place.Row += int64(r.seq - b.seq)
	}
	return e
}

// fold folds the rows that count, by series. names are the texts of rows.
func (p *usedPeriod) fold(names []string) []engine.Usage {
	uses, folds := slices.Clone(p.series), make([]engine.Refold, len(p.series))
	for i := range p.rows {
		r := &p.rows[i]
		if r.series < 0 {
			continue
		}
		u := &uses[r.series]
		u.Seq, u.Value, u.Time, u.Text = r.seq, r.value, r.time, names[r.text]
		folds[r.series].Add(u)
	}
	out := make([]engine.Usage, len(folds))
	for i := range folds {
		out[i] = folds[i].Usage()
	}
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

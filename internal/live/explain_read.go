package live

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/store"
)

// explaining is one replay of Explain.
type explaining struct {
	h        *History
	o        ExplainOptions
	asks     []*ask
	askAt    map[string]int // by key
	accounts map[string]bool
	outbox   *store.Outbox
	left     int // documents that are still to be issued
	view     *engine.View
	entry    *engine.Entry // the batch that is applied
	place    Place
	names    []string // interned
	nameAt   map[string]int32
	batches  []usedBatch
	wanted   map[subscriptionID]*wantedSubscription
	periods  map[periodID]*usedPeriod
	booked   map[bookedID]decimal.Amount
	seen     []string      // keys of other documents of the subscriptions' accounts
	earliest engine.Micros // start of the periods that were looked at
	out      *Explanation
}

type subscriptionID struct{ account, key string }

// wantedSubscription bounds what is kept of a subscription.
type wantedSubscription struct {
	last engine.Micros // start of its last document asked for, a day late for the zone
	left int           // documents that are still to be issued
}

type periodID struct {
	subscriptionID
	start engine.Micros
}

// bookedID is a line of a period, over all documents.
type bookedID struct {
	periodID
	line string
}

// usedPeriod is what counts in a period.
type usedPeriod struct {
	end    engine.Micros
	series []engine.Use     // meter and group of each; the rest is of the first use
	at     map[string]int32 // index in series, by engine.LineKey
	rows   []usedRow        // by Seq
}

// usedRow is a use, as small as it goes: there may be millions.
type usedRow struct {
	seq       engine.Seq
	time      engine.Micros
	offset    int64
	value     decimal.Decimal
	id        string
	series    int32 // index in usedPeriod.series
	batch     int32 // index in explaining.batches
	subject   int32 // index in explaining.names
	partition int32
}

// usedBatch is what the rows of a batch share.
type usedBatch struct {
	seq    engine.Seq // of its first row
	at     engine.Micros
	source string
	place  Place
}

func newExplaining(
	h *History, o ExplainOptions, asks []*ask, outbox *store.Outbox,
) *explaining {
	x := &explaining{
		h: h, o: o, asks: asks, outbox: outbox, left: len(asks), nameAt: map[string]int32{},
		askAt: map[string]int{}, accounts: map[string]bool{},
		wanted: map[subscriptionID]*wantedSubscription{}, periods: map[periodID]*usedPeriod{},
		booked: map[bookedID]decimal.Amount{}, earliest: engine.Future,
		out: &Explanation{Documents: make([]ExplainedDocument, len(asks))},
	}
	for i, a := range asks {
		x.askAt[a.key], x.accounts[a.account] = i, true
		id := subscriptionID{a.account, a.subscription}
		w := x.wanted[id]
		if w == nil {
			w = &wantedSubscription{last: engine.Past}
			x.wanted[id] = w
		}
		w.left++
		w.last = max(w.last, a.start+engine.OneDay)
	}
	return x
}

func (x *explaining) run(ctx context.Context, opening *Opening) (*Explanation, error) {
	audit, err := Replay(ctx, x.h, ReplayOptions{
		Shards: x.o.Shards, Opening: opening, Watch: slices.Sorted(maps.Keys(x.accounts)),
		Batch: x.batch, Uses: x.uses, Due: x.due, Emit: x.emit, Progress: x.o.Progress,
		Until: func(*engine.View) bool { return x.left == 0 },
	})
	switch {
	case audit.Diverged != nil:
		return nil, audit.Diverged
	case err != nil:
		return nil, err
	case len(audit.Altered) > 0:
		a := &audit.Altered[0]
		return nil, &ArchiveError{
			Name:   a.Place.String(),
			Reason: fmt.Sprintf("event %q was changed after it was journaled", a.ID),
			Hint:   "restore the file from a copy: billctl archive verify names what is wrong",
		}
	}
	if len(audit.Changed) > 0 {
		return nil, audit.Changed[0]
	}
	for i, a := range x.asks {
		if d := &x.out.Documents[i]; d.Invoice == nil {
			return nil, a.unknown(audit.View, near(a.key, x.seen))
		}
	}
	x.out.Journal = audit.View.Genesis().Journal
	x.out.Opening, x.out.First, x.out.Last = audit.Opening, audit.First, audit.Last
	x.out.Seals, x.out.Sealed = audit.Seals, audit.Sealed
	return x.out, nil
}

// near returns the keys that are most like one, the newest of them, at most three.
func near(key string, all []string) []string {
	list := slices.Clone(all)
	slices.Reverse(list)
	common := func(s string) int {
		n := 0
		for n < len(s) && n < len(key) && s[n] == key[n] {
			n++
		}
		return n
	}
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Compare(common(b), common(a)) })
	return list[:min(3, len(list))]
}

// batch notes the batch that is applied next.
func (x *explaining) batch(e *engine.Entry, place Place) error {
	x.entry, x.place = e, place
	return nil
}

// uses keeps what counts of the batch.
func (x *explaining) uses(uses []engine.Use) error {
	b := x.entry.Body.(*engine.Batch)
	for i := range uses {
		u := &uses[i]
		id := periodID{subscriptionID{u.Account, u.Subscription}, u.Start}
		if w := x.wanted[id.subscriptionID]; w == nil || w.left == 0 || u.Start > w.last {
			continue
		}
		if n := len(x.batches); n == 0 || x.batches[n-1].seq != x.entry.Seq {
			x.batches = append(x.batches, usedBatch{
				x.entry.Seq, x.entry.At, b.Origin.Source, x.place,
			})
		}
		p := x.periods[id]
		if p == nil {
			p = &usedPeriod{at: map[string]int32{}}
			x.periods[id] = p
		}
		p.end = u.End
		row := int(u.Seq - x.entry.Seq)
		subject, _ := b.Subject.At(row)
		partition, _ := b.Origin.Partition.At(row)
		p.rows = append(p.rows, usedRow{
			seq: u.Seq, time: b.Time[row], offset: b.Origin.Offset[row], value: u.Value,
			id: string(b.ID.At(row)), series: p.seriesOf(u), batch: int32(len(x.batches) - 1),
			subject: x.intern(subject), partition: x.intern(partition),
		})
	}
	return nil
}

func (x *explaining) intern(s string) int32 {
	i, found := x.nameAt[s]
	if !found {
		i, s = int32(len(x.names)), strings.Clone(s) // not the whole batch
		x.names = append(x.names, s)
		x.nameAt[s] = i
	}
	return i
}

// seriesOf returns the index of the meter and group of a use. A period may have many.
func (p *usedPeriod) seriesOf(u *engine.Use) int32 {
	key := engine.LineKey(u.Meter.Key, u.Group)
	i, found := p.at[key]
	if !found {
		i = int32(len(p.series))
		p.series = append(p.series, *u)
		p.at[key] = i
	}
	return i
}

// due keeps the state before documents, and lets go of periods that the engine has forgotten.
func (x *explaining) due(v *engine.View) error {
	x.view = v
	floor := v.Standing().Floor
	for id, p := range x.periods {
		if p.end <= floor && v.Usage(id.account, id.key, id.start) == nil {
			delete(x.periods, id)
		}
	}
	return nil
}

// emit explains a document, if it is asked for, and books what it bills.
func (x *explaining) emit(e *engine.Entry, inv *engine.Invoice) error {
	id := subscriptionID{inv.Account, inv.Subscription}
	w := x.wanted[id]
	key := formats.InvoiceKey(inv)
	if x.accounts[inv.Account] {
		x.seen = append(x.seen, key)
	}
	if w == nil || w.left == 0 {
		return nil
	}
	if i, asked := x.askAt[key]; asked {
		d := &x.out.Documents[i]
		d.Key, d.Seq, d.At, d.Invoice = key, e.Seq, e.At, inv
		if err := x.document(x.asks[i], d); err != nil {
			return err
		}
		x.left--
		w.left--
	}
	x.book(inv)
	if w.left == 0 {
		for p := range x.periods {
			if p.subscriptionID == id {
				delete(x.periods, p)
			}
		}
	}
	return nil
}

// book adds up what documents bill, by line.
func (x *explaining) book(inv *engine.Invoice) {
	id := subscriptionID{inv.Account, inv.Subscription}
	for i := range inv.Lines {
		l := &inv.Lines[i]
		b := bookedID{periodID{id, l.From}, engine.LineKey(l.Price, l.Group)}
		x.booked[b] = x.booked[b].Add(l.Amount)
	}
	for i := range inv.Adjustments {
		a := &inv.Adjustments[i]
		b := bookedID{periodID{id, a.Start}, engine.LineKey(a.Price, a.Group)}
		x.booked[b] = x.booked[b].Add(a.Amount)
	}
}

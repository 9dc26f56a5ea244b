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
	entry    *engine.Entry // the batch or the correction that is applied
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
	back   []usedBack       // by the correction
}

// usedRow is a use, as small as it goes: there may be millions.
type usedRow struct {
	seq     engine.Seq
	time    engine.Micros
	offset  int64
	value   decimal.Decimal
	id      string
	series  int32 // index in usedPeriod.series; below 0: the row no longer counts
	batch   int32 // index in explaining.batches
	subject int32 // index in explaining.names
	text    int32 // of Unique: index in explaining.names
}

// usedBatch is what rows of a batch share, or the one row of a correction.
type usedBatch struct {
	seq       engine.Seq // of the batch's first row, or of the correction
	at        engine.Micros
	source    int32 // index in explaining.names
	partition int32
	place     Place
	back      *ExplainedBack // nil: the batch was read
}

// usedBack is a use that was taken back.
type usedBack struct {
	of     engine.Seq
	series int32
	batch  int32 // of the correction
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

// batch notes the batch or the correction that is applied next.
func (x *explaining) batch(e *engine.Entry, place Place) error {
	x.entry, x.place = e, place
	return nil
}

// uses keeps what counts of the batch or the correction, and lets go of what no longer does.
func (x *explaining) uses(uses []engine.Use) error {
	for i := range uses {
		u := &uses[i]
		id := periodID{subscriptionID{u.Account, u.Subscription}, u.Start}
		if w := x.wanted[id.subscriptionID]; w == nil || w.left == 0 || u.Start > w.last {
			continue
		}
		p := x.periods[id]
		if p == nil {
			p = newUsedPeriod()
			x.periods[id] = p
		}
		p.end = u.End
		switch b := x.entry.Body.(type) {
		case *engine.Batch:
			x.keep(p, u, b, nil)
		case *engine.Void:
			back := &ExplainedBack{
				Seq: b.Of, By: x.entry.Seq, At: x.entry.At, Amended: b.Amend != nil,
				Actor: x.interned(b.Actor), Reason: x.interned(b.Reason),
			}
			if u.Back != 0 {
				p.takeBack(u, string(b.Row.ID.At(0)), x.intern(u.Text), x.batchOf(b.Row, 0, back))
			} else {
				x.keep(p, u, b.Amend, back)
			}
		default:
			panic("BUG: an entry without rows has uses")
		}
	}
	return nil
}

func newUsedPeriod() *usedPeriod { return &usedPeriod{at: map[string]int32{}} }

// keep keeps a use of a row of a batch, or of the new version of a row.
func (x *explaining) keep(p *usedPeriod, u *engine.Use, b *engine.Batch, back *ExplainedBack) {
	row := int(u.Seq - x.entry.Seq)
	subject, _ := b.Subject.At(row)
	p.rows = append(p.rows, usedRow{
		seq: u.Seq, time: b.Time[row], offset: b.Origin.Offset[row], value: u.Value,
		id: string(b.ID.At(row)), series: p.seriesOf(u), batch: x.batchOf(b, row, back),
		subject: x.intern(subject), text: x.intern(u.Text),
	})
}

// batchOf returns the index of what the row shares with those of its batch and partition.
func (x *explaining) batchOf(b *engine.Batch, row int, back *ExplainedBack) int32 {
	name, _ := b.Origin.Partition.At(row)
	partition := x.intern(name)
	last := len(x.batches) - 1
	if last < 0 || x.batches[last].seq != x.entry.Seq || x.batches[last].partition != partition {
		last++
		x.batches = append(x.batches, usedBatch{
			x.entry.Seq, x.entry.At, x.intern(b.Origin.Source), partition, x.place, back,
		})
	}
	return int32(last)
}

// takeBack marks the row with an id as one that no longer counts in a series. A row that is not
// there came before the opening, and then the folds tell whether it is missing.
func (p *usedPeriod) takeBack(u *engine.Use, id string, text, batch int32) {
	series := p.seriesOf(u)
	version := func(r *usedRow) bool {
		return r.series == series && r.id == id && r.value == u.Value && r.text == text
	}
	at, _ := slices.BinarySearchFunc(p.rows, u.Back, func(r usedRow, seq engine.Seq) int {
		return cmp.Compare(r.seq, seq)
	})
	for at < len(p.rows) && p.rows[at].seq == u.Back && !version(&p.rows[at]) {
		at++
	}
	if at == len(p.rows) || p.rows[at].seq != u.Back {
		// A correction may name a repetition of the row, which never counted, and which has a time of
		// its own if the event has none.
		at = slices.IndexFunc(p.rows, func(r usedRow) bool { return version(&r) && r.time == u.Time })
		if at < 0 {
			at = slices.IndexFunc(p.rows, func(r usedRow) bool { return version(&r) })
		}
	}
	if at >= 0 {
		p.back = append(p.back, usedBack{p.rows[at].seq, series, batch})
		p.rows[at].series = -1
	}
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

func (x *explaining) interned(s string) string { return x.names[x.intern(s)] }

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

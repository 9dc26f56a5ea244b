package live

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/store"
)

// written is a state directory that a test wrote entry by entry, with openings.
type written struct {
	dir      *store.Dir
	invoices []*engine.Invoice
	keys     []string // of the invoices
	openings int
}

// writing writes a state directory.
type writing struct {
	dir    *store.Dir
	outbox *store.Outbox
	shards *Shards
	prover *prover
	chain  engine.Digest
	keys   []engine.Key
	month  engine.Micros // end of the newest opening's month
	out    *written
}

// writeCase makes a state directory of a case: credits, ends of subscriptions and marks come
// between its entries.
func writeCase(c *fixtures.Case, r *rand.Rand) (*written, error) {
	entries, err := c.Entries(func(rows int) int { return 1 + r.IntN(rows) })
	if err != nil {
		return nil, err
	}
	ends := func(v *engine.View, e *engine.Entry) engine.Body {
		if r.IntN(8) == 0 {
			return endOf(c, v, e.At, r)
		}
		return nil
	}
	return writeEntries(withCredits(c, entries, r), ends)
}

// writeEntries makes a state directory of entries, each behind what between says: with a seal
// behind every mark and at the end, and openings where the usage has come to a month.
func writeEntries(
	entries []*engine.Entry, between func(*engine.View, *engine.Entry) engine.Body,
) (*written, error) {
	return writeEntriesTo(fixtures.NewSimFS(), entries, between)
}

// writeEntriesTo is writeEntries into an empty file system.
func writeEntriesTo(
	fs *fixtures.SimFS, entries []*engine.Entry,
	between func(*engine.View, *engine.Entry) engine.Body,
) (*written, error) {
	dir, err := store.Create(fs, store.Genesis{Genesis: *entries[0].Body.(*engine.Genesis)},
		store.Options{Floor: -1})
	if err != nil {
		return nil, err
	}
	w := &writing{
		dir: dir, shards: NewShards(1), prover: newProver(), month: engine.Past, out: &written{},
	}
	if w.outbox, err = dir.OpenOutbox(); err != nil {
		return nil, err
	}
	moved := map[engine.Seq]engine.Seq{} // by the position in entries, of each row
	for _, e := range entries {
		if b := between(w.shards.Pin(), e); b != nil {
			if err := w.add(e.At, b); err != nil {
				return nil, err
			}
		}
		for row := range e.Seqs() {
			moved[e.Seq+row] = w.shards.Seq() + 1 + row
		}
		if v, void := e.Body.(*engine.Void); void {
			again := *v
			again.Of = moved[v.Of]
			e.Body = &again
		}
		if err := w.add(e.At, e.Body); err != nil {
			return nil, err
		}
	}
	err = errors.Join(w.add(entries[len(entries)-1].At, &engine.Mark{}), dir.Journal().Promise(),
		w.outbox.Sync(), w.outbox.Close(), dir.Close())
	if err != nil {
		return nil, err
	}
	w.out.dir, err = store.OpenReadOnly(fs)
	return w.out, err
}

// endOf ends a subscription of a case, or moves its end.
func endOf(c *fixtures.Case, v *engine.View, at engine.Micros, r *rand.Rand) engine.Body {
	a := c.World.Accounts[r.IntN(len(c.World.Accounts))]
	change := &engine.Change{Actor: "test", Reason: "end"}
	change.File[31], change.File[0], change.File[1] = 1, byte(r.IntN(256)), byte(r.IntN(256))
	now, ok := v.Account(a.ID)
	if !ok || len(now.Subscriptions) == 0 {
		return change
	}
	s := now.Subscriptions[r.IntN(len(now.Subscriptions))]
	s.To = at + engine.Micros(r.IntN(40))*engine.OneDay + engine.OneDay
	change.Accounts = []engine.AccountChange{{
		ID: a.ID, Name: a.Name, Zone: a.Zone, Subscriptions: []engine.Subscription{s},
	}}
	return change
}

// add appends an entry to the journal and applies it; behind a mark it seals.
func (w *writing) add(at engine.Micros, b engine.Body) error {
	e := &engine.Entry{Seq: w.shards.Seq() + 1, At: at, Body: b}
	payload := engine.AppendEntry(nil, e)
	if err := w.dir.Journal().Append(e.Seq, e.Seqs(), payload); err != nil {
		return err
	}
	e, err := engine.DecodeEntry(payload)
	if err != nil {
		return err
	}
	err = w.shards.Apply(e, func(fx *engine.Effects) error {
		for _, inv := range fx.Invoices {
			w.out.invoices = append(w.out.invoices, inv)
			w.out.keys = append(w.out.keys, formats.InvoiceKey(inv))
		}
		_, err := putEffects(w.outbox, e.Seq, fx)
		return err
	})
	if _, mark := b.(*engine.Mark); err == nil && mark {
		err = w.seal(e)
	}
	return err
}

func (w *writing) seal(mark *engine.Entry) error {
	w.prover.pin(w.shards)
	v := w.prover.view
	billing, journal := w.prover.digests()
	for _, list := range w.shards.drain() {
		w.keys = append(w.keys, list...)
	}
	opens := newest(v) != engine.Past && newest(v) >= w.month
	before := w.chain
	s := &engine.Seal{Of: mark.Seq, Billing: billing, Journal: journal, Before: before}
	w.chain = s.Chain()
	if err := w.add(mark.At, s); err != nil || !opens {
		return err
	}
	w.month = monthEnd(newest(v))
	w.out.openings++
	day := engine.Day(0)
	if floor := v.Standing().Floor; floor > engine.MinTime {
		day = engine.DayOf(floor)
	}
	w.keys = slices.DeleteFunc(w.keys, func(k engine.Key) bool { return k.Day < day })
	slices.SortFunc(w.keys, func(a, b engine.Key) int { return int(a.Day) - int(b.Day) })
	g := v.Genesis()
	staged, err := w.dir.StageArchive(store.OpeningName(mark.Seq), func(out io.Writer) error {
		_, err := formats.WriteOpening(out, formats.OpeningInfo{
			Version: formats.ArchiveVersion, Format: engine.StateFormat, Journal: g.Journal,
			Seq: mark.Seq, At: mark.At, Month: monthText(newest(v)), Billing: billing,
			Sealed: journal, Before: before, MinDay: day,
		}, func(yield func([]byte) error) error {
			if err := yield(v.AppendGlobals(nil)); err != nil {
				return err
			}
			return v.EachAccount(yield)
		}, func(yield func([]engine.Key) error) error { return yield(w.keys) })
		return err
	})
	if err == nil {
		err = staged.Commit()
	}
	return err
}

// explainAll explains every invoice of a state in one replay.
func (w *written) explainAll(t *testing.T, o ExplainOptions) (*Explanation, error) {
	h, err := OpenHistory(w.dir)
	if err != nil {
		return nil, err
	}
	o.Keys = w.keys
	return Explain(t.Context(), h, o)
}

// TestExplainAll explains every invoice of random logs, with all models, late usage, credits, and
// subscriptions whose ends move: everything reconciles, and every line has its events.
func TestExplainAll(t *testing.T) {
	figures := map[string]int{}
	eachSeed(t, half(30), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a8))
		c := fixtures.RandomCase(seed)
		w, err := writeCase(c, r)
		if err != nil || len(w.keys) == 0 {
			return err
		}
		x, err := w.explainAll(t, ExplainOptions{Shards: 1 + r.IntN(3)})
		if err != nil {
			return err
		}
		for i := range x.Documents {
			d := &x.Documents[i]
			if d.Key != w.keys[i] || !d.Outbox {
				return fmt.Errorf("document %d is %s, want %s", i, d.Key, w.keys[i])
			}
			want := len(d.Invoice.Lines) + len(d.Invoice.Adjustments)
			if len(d.Lines) != want {
				return fmt.Errorf("%s: %d lines are explained, want %d", d.Key, len(d.Lines), want)
			}
			figures["documents"]++
			figures["credits"] += len(d.Invoice.Credits)
			for i := range d.Lines {
				if err := tally(&d.Lines[i], figures); err != nil {
					return fmt.Errorf("%s: %w", d.Key, err)
				}
			}
		}
		return nil
	})
	t.Log(figures)
	for _, what := range []string{"documents", "flat", "unit", "graduated", "volume", "package",
		"events", "adjusted usage", "minimum", "maximum", "discount", "groups",
		"prorated", "in advance", "credits"} {
		if figures[what] == 0 {
			t.Errorf("no %s in any case", what)
		}
	}
}

// tally counts what a line is, and checks its events by arithmetic of its own.
func tally(l *ExplainedLine, figures map[string]int) error {
	if len(l.Events) != l.Count {
		return fmt.Errorf("%s has %d events, says %d", l.Key, len(l.Events), l.Count)
	}
	figures["events"] += l.Count
	var sum decimal.Rat
	for i := range l.Events {
		e := &l.Events[i]
		sum = sum.Add(e.Value.Rat())
		if i > 0 && l.Events[i-1].Seq >= e.Seq || e.Time < l.Terms.Start || e.Time >= l.Terms.End {
			return fmt.Errorf("%s: event %d at %s is out of order or period", l.Key, e.Seq, e.Time)
		}
	}
	if l.Meter != nil {
		switch {
		case l.Meter.Aggregate == engine.Total && sum.Cmp(l.Line.Quantity) != 0,
			l.Meter.Aggregate == engine.Count && l.Line.Quantity.Cmp(decimal.Int(int64(l.Count))) != 0:
			return fmt.Errorf("%s: %d events come to %v, not %v", l.Key, l.Count, sum, l.Line.Quantity)
		}
	}
	count := func(what string, is bool) {
		if is {
			figures[what]++
		}
	}
	count("adjusted usage", l.Adjustment != nil && l.Meter != nil)
	count("adjusted flat", l.Adjustment != nil && l.Meter == nil)
	count("minimum", l.Line.Bound == engine.ByMinimum)
	count("maximum", l.Line.Bound == engine.ByMaximum)
	count("discount", !l.Line.Discount.IsZero())
	count("groups", len(l.Line.Group) > 0)
	count("in advance", l.Price.Advance)
	count("prorated", l.Price.Prorate && l.Terms.Days < l.Terms.FullDays)
	if l.Line.Model != 0 {
		count([]string{"", "flat", "unit", "graduated", "volume", "package"}[l.Line.Model], true)
	}
	return nil
}

// TestExplainFromOpenings explains every invoice of random logs by itself, as a person would: from
// an opening where one is early enough, with the same answer as from the first entry.
func TestExplainFromOpenings(t *testing.T) {
	from, again, alone := 0, 0, 0
	eachSeed(t, half(14), func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1a9))
		c := fixtures.RandomCase(seed)
		w, err := writeCase(c, r)
		if err != nil || len(w.keys) == 0 {
			return err
		}
		all, err := w.explainAll(t, ExplainOptions{})
		if err != nil {
			return err
		}
		h, err := OpenHistory(w.dir)
		if err != nil {
			return err
		}
		for i, key := range w.keys {
			alone++
			one, err := Explain(t.Context(), h, ExplainOptions{
				Keys: []string{key}, Note: func(string) { again++ },
			})
			if err != nil {
				return err
			}
			if one.Opening != nil {
				from++
			}
			if got, want := answerText(&one.Documents[0]), answerText(&all.Documents[i]); got != want {
				return fmt.Errorf("%s alone is\n%s\nwant\n%s", key, got, want)
			}
		}
		return nil
	})
	t.Logf("%d documents, %d from an opening, %d read again", alone, from, again)
	if from == 0 {
		t.Error("none from an opening")
	}
}

// archive returns the history of a copy of the archive.
func (w *written) archive(t *testing.T) (*History, error) {
	path := t.TempDir()
	to, err := store.OS(path)
	if err != nil {
		return nil, err
	}
	if _, err := CopyArchive(t.Context(), w.dir, to, nil); err != nil {
		return nil, err
	}
	return OpenArchive([]string{path})
}

// TestExplainArchive explains from archive files alone what a state explains.
func TestExplainArchive(t *testing.T) {
	documents := 0
	eachSeed(t, 10, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1ac))
		w, err := writeCase(fixtures.RandomCase(seed), r)
		if err != nil || len(w.keys) == 0 {
			return err
		}
		want, err := w.explainAll(t, ExplainOptions{Events: 2})
		if err != nil {
			return err
		}
		h, err := w.archive(t)
		if err != nil {
			return err
		}
		got, err := Explain(t.Context(), h, ExplainOptions{Keys: w.keys, Events: 2})
		if err != nil {
			return err
		}
		for i := range got.Documents {
			g, w := &got.Documents[i], &want.Documents[i]
			documents++
			for j := range g.Lines {
				for k := range g.Lines[j].Events {
					e, o := &g.Lines[j].Events[k], &w.Lines[j].Events[k]
					if e.Place.Offset >= 0 || o.Place.Offset < 0 || k > 1 {
						return fmt.Errorf("%s: event %d is at %s, and at %s", g.Key, k, e.Place, o.Place)
					}
					e.Place = o.Place
				}
			}
			if w.Outbox = false; answerText(g) != answerText(w) {
				return fmt.Errorf("the archive says\n%s\nwant\n%s", answerText(g), answerText(w))
			}
		}
		return nil
	})
	t.Logf("%d documents", documents)
}

// answerText writes what an explanation of a document says, without meters' addresses.
func answerText(d *ExplainedDocument) string {
	s := fmt.Sprintln(d.Key, d.Seq, d.At, d.Outbox)
	for i := range d.Lines {
		l := &d.Lines[i]
		s += fmt.Sprintln(l.Key, l.Line.Quantity, l.Line.Amount, l.Adjustment != nil, l.Count)
		for _, e := range l.Events {
			if e.Amends != nil {
				s += fmt.Sprint(*e.Amends)
			}
			e.Amends = nil
			s += fmt.Sprintln(e)
		}
		s += fmt.Sprintln(l.Back)
	}
	return s
}

// TestExplainFindsFaults changes what a replay sees, and none of it reconciles.
func TestExplainFindsFaults(t *testing.T) {
	faults := []struct {
		name  string
		plant func(*explaining, *engine.Invoice) bool
	}{
		{"an event is lost", func(x *explaining, inv *engine.Invoice) bool {
			p := periodOf(x, inv)
			if len(p.rows) == 0 {
				return false
			}
			p.rows = p.rows[1:]
			return true
		}},
		{"an event counts twice", func(x *explaining, inv *engine.Invoice) bool {
			p := periodOf(x, inv)
			if len(p.rows) == 0 {
				return false
			}
			p.rows = append(p.rows, p.rows[0])
			return true
		}},
		{"a value is another", func(x *explaining, inv *engine.Invoice) bool {
			p := periodOf(x, inv)
			for i := range p.rows {
				if p.series[p.rows[i].series].Meter.Aggregate == engine.Total {
					p.rows[i].value = decimal.FromInt(987654321)
					return true
				}
			}
			return false
		}},
		{"an amount is another", func(_ *explaining, inv *engine.Invoice) bool {
			if len(inv.Lines) == 0 {
				return false
			}
			inv.Lines[0].Amount = inv.Lines[0].Amount.Add(decimal.AmountOf(1))
			return true
		}},
		{"a line is left out", func(_ *explaining, inv *engine.Invoice) bool {
			if len(inv.Lines) == 0 {
				return false
			}
			inv.Lines = inv.Lines[1:]
			return true
		}},
		{"what was booked is another", func(_ *explaining, inv *engine.Invoice) bool {
			if len(inv.Adjustments) == 0 {
				return false
			}
			a := &inv.Adjustments[0]
			a.Booked = a.Booked.Add(decimal.AmountOf(1))
			return true
		}},
	}
	for _, f := range faults {
		found := 0
		eachSeed(t, 7, func(seed uint64) error {
			r := rand.New(rand.NewPCG(seed, 0x1aa))
			w, err := writeCase(fixtures.RandomCase(seed), r)
			if err != nil {
				return err
			}
			planted, err := w.explainWith(t, f.plant)
			var e *UnreconciledError
			if planted && !errors.As(err, &e) {
				return fmt.Errorf("%s: %v", f.name, err)
			}
			if planted {
				found++
			} else if err != nil {
				return err
			}
			return nil
		})
		t.Logf("%s: found %d times", f.name, found)
		if found == 0 {
			t.Errorf("%s: never planted", f.name)
		}
	}
}

// periodOf returns what is kept of the period of an invoice; of a start invoice nothing.
func periodOf(x *explaining, inv *engine.Invoice) *usedPeriod {
	p := x.periods[periodID{subscriptionID{inv.Account, inv.Subscription}, inv.Start}]
	if p == nil || inv.Kind != engine.PeriodInvoice {
		return &usedPeriod{}
	}
	return p
}

// explainWith explains all documents from archive-like conditions, without an outbox that would
// show the fault, and plants one before the first document for which that can be done.
func (w *written) explainWith(
	t *testing.T, plant func(*explaining, *engine.Invoice) bool,
) (planted bool, err error) {
	h, err := OpenHistory(w.dir)
	if err != nil {
		return false, err
	}
	asks, err := parseAsks(w.keys)
	if err != nil {
		return false, err
	}
	x := newExplaining(h, ExplainOptions{}, asks, nil)
	accounts := []string{}
	for id := range x.accounts {
		accounts = append(accounts, id)
	}
	_, err = Replay(t.Context(), h, ReplayOptions{
		Watch: accounts, Batch: x.batch, Uses: x.uses, Due: x.due,
		Emit: func(e *engine.Entry, inv *engine.Invoice) error {
			was := *inv
			if !planted {
				inv.Lines, inv.Adjustments = slices.Clone(inv.Lines), slices.Clone(inv.Adjustments)
				planted = plant(x, inv)
			}
			err := x.emit(e, inv)
			*inv = was
			return err
		},
	})
	return planted, err
}

// TestExplainUnknown asks for what is not there.
func TestExplainUnknown(t *testing.T) {
	w, err := writeCase(fixtures.RandomCase(3), rand.New(rand.NewPCG(3, 0x1ab)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	dots := strings.Split(w.keys[0], "/")
	for _, tt := range []struct{ key, says string }{
		{"nothing", "it is no key of a document"},
		{"a/b/2026-13-01/period", "it is no key of a document"},
		{"a/b/2026-03-01/credit", "it is no key of a document"},
		{"no-one/main/2026-03-01/period", `there is no account "no-one"`},
		{dots[0] + "/main/1999-01-01/period", "there is no such document"},
		{w.keys[0] + "#nothing", "the document has no such line"},
	} {
		_, err := Explain(t.Context(), h, ExplainOptions{Keys: []string{tt.key}})
		var e *UnknownDocumentError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.says) || e.Hint == "" {
			t.Errorf("%s: %v, want %s", tt.key, err, tt.says)
		}
	}
}

// TestUsedRowSize holds the size to what Explain's documentation says.
func TestUsedRowSize(t *testing.T) {
	if n := unsafe.Sizeof(usedRow{}); n != 72 {
		t.Errorf("a use takes %d bytes", n)
	}
}

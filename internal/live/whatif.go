package live

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// WhatIfOptions say what a what-if changes and what of it is wanted.
type WhatIfOptions struct {
	// Catalog has the meters, plans and defaults that hold instead of the history's. Its accounts do
	// not count.
	Catalog *formats.Catalog
	// Accounts are those of formats.ReadAccounts that hold instead of the history's; nil: the
	// history's.
	Accounts *formats.Catalog
	// Month ("2026-04") leaves only the lines of periods that begin in it; "": all.
	Month    string
	Progress func(engine.Seq) // is called now and then; nil: nobody
}

// WhatIfResult compares what a history billed with what it would have billed. All amounts are
// before credits: what a customer has left does not say what a price is worth.
type WhatIfResult struct {
	Entries uint64
	Rows    uint64
	Altered uint64 // rows of archive files that were changed after they were journaled
	// Diverged is the first seal that the run as it was billed did not reach: what is called billed
	// is not what was billed then; nil if all agree.
	Diverged  error
	Last      engine.Seq
	At        engine.Micros // of the last entry
	Documents WhatIfCount
	Lines     []WhatIfLine // by plan, account, subscription, start of the period and line
	Plans     []WhatIfSum  // by plan
	Accounts  []WhatIfSum  // by account and currency
	Totals    []WhatIfSum  // by currency
	Rejected  []WhatIfReason
	Refusals  []engine.Refusal // of the changed run alone, at most 20; Seq is the history's
	Refused   int              // how many there are
	Open      int              // accounts that owe what no invoice of the history has billed yet
}

// maxRefusals is how many refusals a result names.
const maxRefusals = 20

// WhatIfCount is a count in both runs.
type WhatIfCount struct{ Billed, Would uint64 }

// WhatIfReason is how many rows were rejected for a reason, in both runs.
type WhatIfReason struct {
	Reason engine.Reason
	WhatIfCount
}

// WhatIfAmounts are what was billed and what would have been, in minor units.
type WhatIfAmounts struct{ Billed, Would decimal.Amount }

// Difference returns what would have been billed more; it is negative if it is less.
func (a *WhatIfAmounts) Difference() decimal.Amount { return a.Would.Sub(a.Billed) }

// Differs reports whether the two are not equal.
func (a *WhatIfAmounts) Differs() bool { return a.Billed != a.Would }

// WhatIfLine is a line of the documents of one subscription, with its adjustments: they count to
// the period that they adjust, and flat amounts in advance to the period that they are for.
type WhatIfLine struct {
	Plan         string
	Account      string
	Subscription string
	Start        engine.Micros // of the period
	StartDate    string        // of Start, as keys of documents have it
	Line         string        // its key: engine.LineKey
	Price        string
	Currency     string
	Digits       int
	WhatIfAmounts
}

// WhatIfSum is a sum of lines: of a plan, of an account in a currency, or of a currency.
type WhatIfSum struct {
	Plan     string
	Account  string
	Currency string
	Digits   int
	Lines    int
	Differ   int // lines whose amounts are not equal
	WhatIfAmounts
}

// WhatIfError says that a catalog can't take the place of a history's.
type WhatIfError struct {
	Reason string
	Hint   string // the way out
}

func (e *WhatIfError) Error() string { return e.Reason }

// WhatIf bills the usage of a history once more under another catalog, and compares
// (docs/formats/whatif.md, "What is compared"). Both runs go over the same entries side by side:
// the same batches, watermarks, closes, clocks, settings, credits and zones at the same instants.
// Marks and seals are left out of the changed run, for no digest of it was ever taken. The catalog
// stands where the history has its first, with all its plan versions, so versions take effect by
// their dates even where these had passed.
//
// The history must hold its first entry. Memory grows with the number of lines, not of rows. It
// fails with a *WhatIfError where the catalog lacks what a subscription names, with formats.Faults
// where the accounts are at fault, with the errors of History.Read, and with that of ctx.
func WhatIf(ctx context.Context, h *History, o WhatIfOptions) (*WhatIfResult, error) {
	w := &whatIf{
		proof: newProver(), o: o, out: &WhatIfResult{},
		zones: map[string]*engine.Zone{"UTC": {Name: "UTC"}},
		tally: whatIfTally{places: map[whatIfKey]int{}, words: map[string]uint32{}},
	}
	for i := range w.runs {
		w.runs[i].shards = NewShards(1)
	}
	entries := readAhead(h.Read(1))
	defer entries.close()
	for ctx.Err() == nil {
		d := entries.next()
		if errors.Is(d.err, io.EOF) {
			w.finish()
			return w.out, nil
		}
		if d.err != nil {
			return nil, d.err
		}
		w.out.Altered += uint64(len(d.altered))
		if err := w.entry(d.entry); err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

// whatIf is one run of WhatIf.
type whatIf struct {
	o      WhatIfOptions
	runs   [2]whatIfRun // as it was billed, and as it would have been
	proof  *prover      // of the run as it was billed
	chain  engine.Digest
	placed bool // the catalog stands in the changed run
	zones  map[string]*engine.Zone
	tally  whatIfTally
	moved  []whatIfMove
	out    *WhatIfResult
}

// whatIfMove says that entries of the history from a position on stand so much further in the
// changed run, which has no marks and seals.
type whatIfMove struct {
	from engine.Seq
	by   int64
}

// The two runs.
const (
	runBilled = 0
	runWould  = 1
)

// whatIfRun is one of the two runs.
type whatIfRun struct {
	shards    *Shards
	documents uint64
	refused   []string // by the present entry
}

// entry applies an entry of the history to both runs.
func (w *whatIf) entry(e *engine.Entry) error {
	for i := range w.runs {
		w.runs[i].refused = w.runs[i].refused[:0]
	}
	changed := e.Body
	switch b := e.Body.(type) {
	case *engine.Mark, *engine.Seal:
		changed = nil
	case *engine.Zone:
		w.zone(b)
	case *engine.Change:
		c, err := w.change(e.At, b)
		if err != nil {
			return err
		}
		changed = nil
		if c != nil {
			changed = c
		}
	case *engine.Void:
		moved := *b
		moved.Of = w.placeOf(b.Of)
		changed = &moved
	case *engine.Batch:
		w.out.Rows += uint64(b.Len)
	}
	w.move(e.Seq)
	var side sync.WaitGroup
	if changed != nil {
		side.Go(func() { w.apply(runWould, e.At, changed) })
	}
	w.apply(runBilled, e.At, e.Body)
	side.Wait()
	if err := w.prove(e); err != nil {
		return err
	}
	w.refusals(e.Seq)
	w.out.Entries++
	w.out.Last, w.out.At = w.runs[runBilled].shards.Seq(), e.At
	if w.o.Progress != nil && w.out.Entries%64 == 0 {
		w.o.Progress(w.out.Last)
	}
	return nil
}

// move notes where an entry of the history stands in the changed run.
func (w *whatIf) move(seq engine.Seq) {
	by := int64(w.runs[runWould].shards.Seq()) + 1 - int64(seq)
	if n := len(w.moved); n == 0 || w.moved[n-1].by != by {
		w.moved = append(w.moved, whatIfMove{seq, by})
	}
}

// placeOf returns where an entry of the history stands in the changed run.
func (w *whatIf) placeOf(seq engine.Seq) engine.Seq {
	for i := len(w.moved) - 1; i >= 0; i-- {
		if w.moved[i].from <= seq {
			return engine.Seq(int64(seq) + w.moved[i].by)
		}
	}
	return seq
}

// prove compares the seals of the run as it was billed. One that does not agree ends nothing.
func (w *whatIf) prove(e *engine.Entry) error {
	err := w.proof.after(e, w.chain, w.runs[runBilled].shards)
	var diverged *DivergedError
	if errors.As(err, &diverged) {
		if w.out.Diverged == nil {
			w.out.Diverged = err
		}
		err = nil
	}
	if s, ok := e.Body.(*engine.Seal); ok {
		w.chain = s.Chain()
	}
	return err
}

// apply applies a body to a run. The runs count positions each for itself.
func (w *whatIf) apply(run int, at engine.Micros, body engine.Body) {
	r := &w.runs[run]
	e := &engine.Entry{Seq: r.shards.Seq() + 1, At: at, Body: body}
	err := r.shards.Apply(e, func(fx *engine.Effects) error {
		for i := range fx.Refusals {
			r.refused = append(r.refused, fx.Refusals[i].What)
		}
		r.documents += uint64(len(fx.Invoices))
		for _, inv := range fx.Invoices {
			w.tally.invoice(run, inv)
		}
		return nil
	})
	if err != nil {
		panic("BUG: effects are refused: " + err.Error())
	}
}

// refusals notes what the changed run refused of an entry and the other did not.
func (w *whatIf) refusals(seq engine.Seq) {
	was := w.runs[runBilled].refused
	for _, what := range w.runs[runWould].refused {
		if i := slices.Index(was, what); i >= 0 {
			was = slices.Delete(was, i, i+1)
			continue
		}
		if w.out.Refused++; w.out.Refused <= maxRefusals {
			w.out.Refusals = append(w.out.Refusals, engine.Refusal{Seq: seq, What: what})
		}
	}
}

// zone remembers the first rules of a zone, as engines do.
func (w *whatIf) zone(z *engine.Zone) {
	if w.zones[z.Name] == nil {
		w.zones[z.Name] = z
	}
}

// change returns what stands in the changed run for a change of the history; nil if nothing does,
// for it was applied here.
func (w *whatIf) change(at engine.Micros, c *engine.Change) (*engine.Change, error) {
	for i := range c.Plans {
		if err := w.sameCurrency(&c.Plans[i]); err != nil {
			return nil, err
		}
	}
	out := &engine.Change{File: c.File, Actor: c.Actor, Reason: c.Reason}
	if w.o.Accounts == nil {
		out.Accounts, out.Coupons, out.Taxes = c.Accounts, c.Coupons, c.Taxes
		for i := range c.Accounts {
			if err := w.known(&c.Accounts[i]); err != nil {
				return nil, err
			}
		}
	}
	if w.placed || len(c.Meters)+len(c.Plans)+len(c.Defaults) == 0 {
		return out, nil
	}
	w.placed = true
	out.Meters, out.Plans = w.o.Catalog.Meters, w.o.Catalog.Plans
	out.Defaults = w.o.Catalog.Defaults
	if w.o.Accounts == nil {
		return out, nil
	}
	w.apply(runWould, at, out)
	return nil, w.accounts(at)
}

// accounts puts the accounts that were given into the changed run, as importing them would.
func (w *whatIf) accounts(at engine.Micros) error {
	d, err := formats.Diff(w.runs[runWould].shards.Pin(), w.o.Accounts, at)
	if err != nil {
		return err
	}
	for _, z := range d.Zones {
		w.zone(z)
		w.apply(runWould, at, z)
	}
	c := d.Change
	c.File = sha256.Sum256([]byte("accounts of a what-if")) // no file of the history has it
	w.apply(runWould, at, &c)
	return nil
}

// known refuses subscriptions that the catalog can't rate.
func (w *whatIf) known(a *engine.AccountChange) error {
	const other = "give other subscriptions with --accounts FILE"
	for i := range a.Subscriptions {
		s := &a.Subscriptions[i]
		who := fmt.Sprintf("subscription %s of account %s", s.Key, a.ID)
		plans := w.plansOf(s.Plan)
		if len(plans) == 0 {
			return &WhatIfError{
				Reason: fmt.Sprintf("the catalog has no plan %s, which %s has from %s on", s.Plan, who, s.From),
				Hint:   fmt.Sprintf("add plan %s to the catalog, or %s", s.Plan, other),
			}
		}
		if s.Pin != 0 {
			plans = slices.DeleteFunc(plans, func(p *engine.Plan) bool { return p.Version != s.Pin })
		}
		if len(plans) == 0 {
			return &WhatIfError{
				Reason: fmt.Sprintf("plan %s of the catalog has no version %d, to which %s is pinned",
					s.Plan, s.Pin, who),
				Hint: fmt.Sprintf("add version %d of plan %s to the catalog, or %s", s.Pin, s.Plan, other),
			}
		}
		for j := range s.Overrides {
			if reason := unfit(&s.Overrides[j], plans); reason != "" {
				return &WhatIfError{
					Reason: fmt.Sprintf("%s, which %s overrides", reason, who),
					Hint: "keep the key and the model of the price, or give subscriptions without the " +
						"override with --accounts FILE",
				}
			}
		}
	}
	return nil
}

// plansOf returns the versions of a plan of the catalog.
func (w *whatIf) plansOf(key string) []*engine.Plan {
	var out []*engine.Plan
	for i := range w.o.Catalog.Plans {
		if p := &w.o.Catalog.Plans[i]; p.Key == key {
			out = append(out, p)
		}
	}
	return out
}

// unfit returns why an override changes nothing in any of the versions that may rate its
// subscription; "" if it does.
func unfit(o *engine.Override, plans []*engine.Plan) string {
	found := false
	for _, p := range plans {
		for i := range p.Prices {
			if p.Prices[i].Key != o.Price {
				continue
			}
			found = true
			if takes(&p.Prices[i], o.Fields) {
				return ""
			}
		}
	}
	if found {
		return fmt.Sprintf("price %s in plan %s of the catalog is of a model without those fields",
			o.Price, plans[0].Key)
	}
	return fmt.Sprintf("plan %s of the catalog has no price %s", plans[0].Key, o.Price)
}

// takes reports whether a price has all the fields that an override replaces.
func takes(p *engine.Price, fields engine.PriceFields) bool {
	can := engine.OverrideDiscount | engine.OverrideMinimum | engine.OverrideMaximum
	if p.Model != engine.Flat {
		can |= engine.OverrideFree | engine.OverrideZeroUsage
	}
	switch {
	case p.Model == engine.Flat:
		can |= engine.OverrideAmount
	case p.Model == engine.Unit:
		can |= engine.OverrideUnit
	case len(p.Tiers) > 0:
		can |= engine.OverrideTiers
	default:
		can |= engine.OverrideAmount | engine.OverrideSize
	}
	return fields&^can == 0
}

// sameCurrency refuses a plan of the history that the catalog has in another currency: amounts of
// two currencies have no difference.
func (w *whatIf) sameCurrency(p *engine.Plan) error {
	for _, q := range w.plansOf(p.Key) {
		if q.Currency != p.Currency || q.Digits != p.Digits {
			return &WhatIfError{
				Reason: fmt.Sprintf("plan %s is in %s in the catalog and in %s in the archive: their "+
					"amounts can't be compared", p.Key, q.Currency, p.Currency),
				Hint: "keep the currency, or give the plan another key and its subscriptions with " +
					"--accounts FILE",
			}
		}
	}
	return nil
}

// finish sums up.
func (w *whatIf) finish() {
	out := w.out
	var views [2]*engine.View
	for i := range w.runs {
		views[i] = w.runs[i].shards.Pin()
	}
	out.Documents = WhatIfCount{w.runs[runBilled].documents, w.runs[runWould].documents}
	out.Rejected = rejectedIn(views)
	v := views[runBilled]
	for _, id := range v.AccountIDs("") {
		bill, _ := v.Bill(id)
		if owes(bill, w.o.Month) {
			out.Open++
		}
	}
	w.lines(views)
	w.sums()
}

// owes reports whether a bill has anything of a month that no invoice has.
func owes(b *engine.Bill, month string) bool {
	return slices.ContainsFunc(b.Open, func(o engine.OpenPeriod) bool {
		return (o.Rows > 0 || o.IfClosedNow != nil) && strings.HasPrefix(o.StartDate, month)
	}) || slices.ContainsFunc(b.Pending, func(p engine.PendingAdjustment) bool {
		return strings.HasPrefix(p.StartDate, month)
	})
}

// rejectedIn returns the reasons for which one of the runs rejected rows.
func rejectedIn(views [2]*engine.View) []WhatIfReason {
	var counts [2][engine.NumReasons]uint64
	for i, v := range views {
		for _, c := range v.Controls() {
			for r, n := range c.Counts {
				counts[i][r] += n
			}
		}
	}
	var out []WhatIfReason
	for r := engine.Accepted + 1; r < engine.NumReasons; r++ {
		if was, would := counts[runBilled][r], counts[runWould][r]; was+would > 0 {
			out = append(out, WhatIfReason{r, WhatIfCount{was, would}})
		}
	}
	return out
}

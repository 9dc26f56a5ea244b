package live

import (
	"fmt"
	"slices"
	"strconv"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// CaseResult is what became of a case of a catalog.
type CaseResult struct {
	Case     *formats.Case
	Invoice  *engine.Invoice // the document that the case is about; nil: there is none
	Currency string
	Digits   int
	Problem  string // why the case can't be billed; "" if it was
	Events   []CaseRejection
	Lines    []CaseLine // where lines were compared: all of both sides
	Sums     []CaseSum  // that were compared
}

// OK reports whether everything is as the case expects.
func (r *CaseResult) OK() bool {
	return r.Problem == "" && len(r.Events) == 0 &&
		!slices.ContainsFunc(r.Lines, func(l CaseLine) bool { return !l.Same }) &&
		!slices.ContainsFunc(r.Sums, func(s CaseSum) bool { return s.Want.Cmp(s.Got) != 0 })
}

// CaseRejection is usage that counts against what the case says, or does not count.
type CaseRejection struct {
	Event     *formats.CaseEvent
	Rows      int
	Reason    engine.Reason // Accepted: it counts
	Malformed string        // why it can't be read
}

// CaseLine is a line of the document, one that is expected, or both.
type CaseLine struct {
	Want *formats.CaseLine // nil: the case does not expect it
	Got  *engine.Line      // nil: the document does not have it
	Same bool              // nothing is to be said of it
}

// CaseSum is a sum of the document.
type CaseSum struct {
	Name      string
	Want, Got decimal.Rat
}

// TestCase bills the usage of a case with an engine of its own, knowing all of it as Rate does, and
// compares the document with what the case expects. It fails with an error only where billing
// itself can't be carried out; what a case gets wrong is in the result.
func TestCase(c *formats.Case) (*CaseResult, error) {
	plan := &c.Catalog.Plans[0]
	out := &CaseResult{Case: c, Currency: plan.Currency, Digits: plan.Digits}
	now := c.End
	for i := range c.Events {
		now = max(now, c.Events[i].Time)
	}
	r := &rater{shards: NewShards(1), out: &RateResult{}, at: engine.MinTime}
	r.o = &RateOptions{Catalog: c.Catalog, Now: now, CloseAt: c.End}
	r.o.Emit = func(inv *engine.Invoice) error {
		kind := engine.PeriodInvoice
		if c.First {
			kind = engine.StartInvoice
		}
		if inv.Kind == kind && inv.Start == c.Start {
			out.Invoice = inv
		}
		return nil
	}
	if err := r.begin(); err != nil {
		out.Problem = err.Error()
		return out, nil
	}
	for i := range c.Credits {
		if err := r.apply(&c.Credits[i]); err != nil {
			out.Problem = err.Error()
			return out, nil
		}
	}
	if err := out.use(r); err != nil {
		return nil, err
	}
	if err := r.apply(&engine.Close{T: c.End, Actor: rateSource}); err != nil {
		return nil, err
	}
	out.compareLines()
	out.compareSums()
	return out, nil
}

// use applies the usage of the case.
func (o *CaseResult) use(r *rater) error {
	d, err := formats.NewDecoder(formats.NDJSON, rateSource, nil)
	if err != nil {
		return err
	}
	b := formats.NewBuilder(rateSource, formats.Limits{})
	chunk := formats.Chunk{Partition: "case", Last: true}
	events := make([]int, 0, len(o.Case.Events)) // of the rows
	for i := range o.Case.Events {
		for n := range o.Case.Events[i].Count {
			id := strconv.Itoa(i+1) + "-" + strconv.Itoa(n+1)
			chunk.Data = o.Case.Events[i].Append(chunk.Data, id)
			events = append(events, i)
		}
	}
	for len(chunk.Data) > 0 {
		n, err := d.Decode(chunk, b)
		if err != nil {
			return fmt.Errorf("read events of the case: %w", err)
		}
		chunk.Data, chunk.Offset = chunk.Data[n:], chunk.Offset+int64(n)
		batch := b.Batch()
		if err := o.batch(r, batch, events[:batch.Len]); err != nil {
			return err
		}
		events = events[batch.Len:]
	}
	return nil
}

// batch applies rows, and notes those that do not count as the case says. events are the rows'.
func (o *CaseResult) batch(r *rater, b *engine.Batch, events []int) error {
	first := r.next + 1
	got := make([]engine.Reason, b.Len)
	err := r.send(b, func(fx *engine.Effects) error {
		for _, j := range fx.Rejections {
			got[j.Seq-first] = j.Reason
		}
		return nil
	})
	if err != nil {
		return err
	}
	for row, reason := range got {
		e := &o.Case.Events[events[row]]
		if reason == e.Rejected {
			continue
		}
		if n := len(o.Events); n > 0 && o.Events[n-1].Event == e && o.Events[n-1].Reason == reason {
			o.Events[n-1].Rows++
			continue
		}
		bad := CaseRejection{Event: e, Rows: 1, Reason: reason}
		for i := range b.Malformed {
			if b.Malformed[i].Row == row {
				bad.Malformed = b.Malformed[i].Fault
			}
		}
		o.Events = append(o.Events, bad)
	}
	return nil
}

// compareLines pairs the lines of the document with those that are expected: first those that are
// equal in all, so that of several lines of a price each finds its own.
func (o *CaseResult) compareLines() {
	want := o.Case.Expect.Lines
	if !o.Case.Expect.HasAll && !o.Case.Expect.HasSome {
		return
	}
	var got []engine.Line
	if o.Invoice != nil {
		got = o.Invoice.Lines
	}
	partner := make([]int, len(want)) // index of got; -1: none
	taken := make([]bool, len(got))
	for i := range partner {
		partner[i] = -1
	}
	for _, same := range []func(*formats.CaseLine, *engine.Line) bool{o.equal, o.ofPrice} {
		for i := range want {
			for j := range got {
				if partner[i] < 0 && !taken[j] && same(&want[i], &got[j]) {
					partner[i], taken[j] = j, true
				}
			}
		}
	}
	for j := range got {
		line := CaseLine{Got: &got[j], Same: o.Case.Expect.HasSome}
		if i := slices.Index(partner, j); i >= 0 {
			line.Want, line.Same = &want[i], o.equal(&want[i], &got[j])
		}
		o.Lines = append(o.Lines, line)
	}
	for i := range want {
		if partner[i] < 0 {
			o.Lines = append(o.Lines, CaseLine{Want: &want[i]})
		}
	}
}

// ofPrice reports whether the line is of the price, and has all values of the group that are named.
func (o *CaseResult) ofPrice(want *formats.CaseLine, got *engine.Line) bool {
	return want.Price == got.Price && !slices.ContainsFunc(want.Group, func(v engine.GroupValue) bool {
		return !slices.Contains(got.Group, v)
	})
}

func (o *CaseResult) equal(want *formats.CaseLine, got *engine.Line) bool {
	return o.ofPrice(want, got) &&
		(want.Quantity == nil || want.Quantity.Cmp(got.Quantity) == 0) &&
		(want.Amount == nil || want.Amount.Cmp(got.Amount.Rat(o.Digits)) == 0)
}

// compareSums compares what the case says of the document's sums. No document has sums of zero.
func (o *CaseResult) compareSums() {
	for _, s := range o.Case.Expect.Sums {
		var got decimal.Amount
		if inv := o.Invoice; inv != nil {
			switch s.Name {
			case "subtotal":
				got = inv.Subtotal
			case "coupons":
				for i := range inv.Coupons {
					got = got.Add(inv.Coupons[i].Amount)
				}
			case "credits":
				for i := range inv.Credits {
					got = got.Add(inv.Credits[i].Amount)
				}
			case "taxes":
				for i := range inv.Taxes {
					got = got.Add(inv.Taxes[i].Amount)
				}
			case "total":
				got = inv.Total
			default:
				panic("BUG: a case expects a sum that no document has")
			}
		}
		o.Sums = append(o.Sums, CaseSum{s.Name, s.Amount, got.Rat(o.Digits)})
	}
}

package api

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/live"
)

// Position says what an answer is true of. Every answer has one.
type Position struct {
	Journal         string   `json:"journal"`
	Seq             uint64   `json:"seq"`
	At              *string  `json:"at"`
	Watermark       *string  `json:"watermark"`         // null before the first
	CompleteThrough *string  `json:"complete_through"`  // event times before it are all counted
	Status          string   `json:"status"`            // live, catching_up, frozen, read_only, as_of
	Opening         string   `json:"opening,omitempty"` // month of the opening, with as_of
	Frozen          bool     `json:"frozen"`
	Sources         []Source `json:"sources"`
}

// Source is how far a source was read.
type Source struct {
	Name            string   `json:"name"`
	CaughtUp        *bool    `json:"caught_up"` // null where no process runs
	LagBytes        int64    `json:"lag_bytes"`
	LagSeconds      *float64 `json:"lag_seconds"` // null: not known
	CompleteThrough *string  `json:"complete_through"`
}

// Account answers what one account owes that no invoice has billed yet.
type Account struct {
	Schema        string         `json:"schema"`
	Position      Position       `json:"position"`
	ID            string         `json:"id"`
	Name          string         `json:"name"`
	Timezone      string         `json:"timezone"`
	Automatic     bool           `json:"automatic"`
	Subjects      []Ownership    `json:"subjects"`
	Subscriptions []Subscription `json:"subscriptions"`
	Credits       []Credit       `json:"credits"`
	Balances      []Balance      `json:"balances,omitempty"`
	Coupons       []Coupon       `json:"coupons,omitempty"`
	Taxes         []Taxes        `json:"taxes,omitempty"`
	Periods       []Period       `json:"periods"`
	Pending       []Pending      `json:"pending_adjustments"`
}

// Pending is usage that came after its period closed: the next invoice of the subscription bills
// the difference.
type Pending struct {
	Subscription string             `json:"subscription"`
	StartDate    string             `json:"start_date"` // of the closed period
	Price        string             `json:"price"`
	Group        map[string]*string `json:"group"`
	Rated        string             `json:"rated"`
	Booked       string             `json:"booked"`
	Amount       string             `json:"amount"`
	Currency     string             `json:"currency"`
}

// Ownership is one interval of a subject's ownership; null bounds are open.
type Ownership struct {
	Subject string  `json:"subject"`
	From    *string `json:"from"`
	To      *string `json:"to"`
}

// Subscription is one interval of an account on a plan.
type Subscription struct {
	Key  string  `json:"key"`
	Plan string  `json:"plan"`
	Pin  int     `json:"pin,omitempty"`
	From *string `json:"from"`
	To   *string `json:"to"`
	// TrialUntil is when the subscription begins to cost something; nil: from its beginning.
	TrialUntil *string `json:"trial_until,omitempty"`
}

// Credit is a grant and what is left of it.
type Credit struct {
	ID       string  `json:"id"`
	Currency string  `json:"currency"`
	Left     string  `json:"left"`
	Expires  *string `json:"expires,omitempty"`
	Expired  bool    `json:"expired,omitempty"` // before the position's at
	Priority int     `json:"priority,omitempty"`
}

// Balance is what is left of the credits of a currency that have not expired.
type Balance struct {
	Currency string `json:"currency"`
	Left     string `json:"left"`
}

// Coupon takes a percentage or an amount off what subscriptions owe for some of their periods.
type Coupon struct {
	ID           string  `json:"id"`
	Subscription string  `json:"subscription,omitempty"` // "": each of the account
	Percent      string  `json:"percent,omitempty"`
	Amount       string  `json:"amount,omitempty"`
	Currency     string  `json:"currency,omitempty"` // of amount
	From         *string `json:"from"`
	Periods      int     `json:"periods,omitempty"` // 0: all
}

// Taxes are the taxes of periods that start on a day or later.
type Taxes struct {
	From  string    `json:"from"`  // a date of the account's zone
	Round string    `json:"round"` // line, invoice
	Rates []TaxRate `json:"rates"`
}

// TaxRate is the tax of the prices that carry a code, or of those without a rate of their own.
type TaxRate struct {
	Code    string `json:"code,omitempty"`
	Percent string `json:"percent"`
}

// Period is an open period with its two previews, which are documents as invoices are.
type Period struct {
	Subscription string          `json:"subscription"`
	Plan         string          `json:"plan"`
	Version      int             `json:"version"`
	Terms        string          `json:"terms"` // SHA-256 of the plan version with its overrides
	Currency     string          `json:"currency"`
	Start        string          `json:"start"`
	End          string          `json:"end"`
	StartDate    string          `json:"start_date"`
	Rows         uint64          `json:"rows"`
	Usage        []Usage         `json:"usage"`
	SoFar        json.RawMessage `json:"so_far"`
	IfClosedNow  json.RawMessage `json:"if_closed_now"`
}

// Usage is the aggregate of one meter and group.
type Usage struct {
	Meter     string             `json:"meter"`
	Unit      string             `json:"unit"`
	Aggregate string             `json:"aggregate"`
	Group     map[string]*string `json:"group"` // null: the events carry no value
	Rows      uint64             `json:"rows"`
	Quantity  string             `json:"quantity"`
}

// Invoice is one issued document.
type Invoice struct {
	Schema   string          `json:"schema"`
	Position Position        `json:"position"`
	Seq      uint64          `json:"seq"` // of the entry that closed it
	Invoice  json.RawMessage `json:"invoice"`
}

// Status answers how the state and the process are.
type Status struct {
	Schema   string    `json:"schema"`
	Position Position  `json:"position"`
	Ruleset  int       `json:"ruleset"`
	Accounts int       `json:"accounts"`
	Meters   int       `json:"meters"`
	LastSeal string    `json:"last_seal"` // chain digest
	Controls []Control `json:"controls"`
	Sinks    []Sink    `json:"sinks"`
	Process  *Process  `json:"process"` // null where none runs
}

// Control is the control total of a source: read = accepted + every reason.
type Control struct {
	Source   string            `json:"source"`
	Read     uint64            `json:"read"`
	Accepted uint64            `json:"accepted"`
	Rejected map[string]uint64 `json:"rejected"`
}

// Sink is how far the documents have come.
type Sink struct {
	Name      string `json:"name"`
	Waiting   int    `json:"waiting"`
	Parked    int    `json:"parked"`
	LastError string `json:"last_error,omitempty"`
}

// Process is what a running process has done since it started.
type Process struct {
	Started     string   `json:"started"`
	Rows        uint64   `json:"rows"`
	Batches     uint64   `json:"batches"`
	Documents   uint64   `json:"documents"`
	Alerts      uint64   `json:"alerts"`
	JournalSize int64    `json:"journal_bytes"`
	Checkpoint  uint64   `json:"checkpoint"`
	SavedAt     *string  `json:"checkpoint_at"`
	Archived    uint64   `json:"archived_through"` // the last position in the archive
	Opening     uint64   `json:"opening"`          // the mark of the newest opening; 0: none yet
	ArchiveFail string   `json:"archive_failure"`  // why the last try failed; "" if it did not
	Notices     []string `json:"notices"`
}

// Applied answers what became of a control file.
type Applied struct {
	Schema   string   `json:"schema"`
	Position Position `json:"position"`
	Name     string   `json:"name"`
	State    string   `json:"state"` // applied, refused, waiting
	Reason   string   `json:"reason,omitempty"`
	// Rejected are the corrections of an applied file that the engine rejected, by Index.
	Rejected []RejectedVoid `json:"rejected,omitempty"`
}

// RejectedVoid is a correction that does not count, and why.
type RejectedVoid struct {
	Index  int    `json:"index"` // of the correction in its control file, from 0
	Seq    uint64 `json:"seq"`   // of its entry
	Reason string `json:"reason"`
}

// Judged returns the rejected corrections as the process has them. It fails for a reason that this
// binary does not know.
func (a *Applied) Judged() ([]live.Judged, error) {
	var list []live.Judged
	for _, r := range a.Rejected {
		reason, ok := engine.ReasonOf(r.Reason)
		if !ok {
			return nil, fmt.Errorf("read answer: there is no reason %q", r.Reason)
		}
		list = append(list, live.Judged{Index: r.Index, Seq: engine.Seq(r.Seq), Reason: reason})
	}
	return list, nil
}

// instant returns the text of an instant, nil for the unbounded ones.
func instant(t engine.Micros) *string {
	if t == engine.Past || t == engine.Future {
		return nil
	}
	s := t.String()
	return &s
}

func makePosition(d *live.Desk, v *engine.View) Position {
	s := v.Standing()
	p := Position{
		Journal: hex.EncodeToString(s.Journal[:]), Seq: uint64(s.Seq), At: instant(s.At),
		Watermark: instant(s.Watermark), CompleteThrough: instant(s.Watermark),
		Frozen: s.Frozen, Status: "read_only", Sources: []Source{},
	}
	if o := d.AsOf(); o != nil {
		p.Status, p.Opening = "as_of", o.Month
	}
	m, _, running := d.Live()
	if !running {
		for _, c := range v.Controls() {
			p.Sources = append(p.Sources, Source{Name: c.Source.Name})
		}
		return p
	}
	p.Status = "live"
	for _, src := range m.Sources {
		caught := src.CaughtUp || src.EOF
		out := Source{
			Name: src.Name, CaughtUp: &caught, LagBytes: src.LagBytes,
			CompleteThrough: instant(src.CompleteThrough),
		}
		if src.LagTime >= 0 {
			lag := src.LagTime.Seconds()
			out.LagSeconds = &lag
		}
		if !caught {
			p.Status = "catching_up"
		}
		p.Sources = append(p.Sources, out)
	}
	if s.Frozen {
		p.Status = "frozen"
	}
	return p
}

func makePeriod(v *engine.View, account string, o *engine.OpenPeriod) Period {
	p := Period{
		Subscription: o.Subscription, Plan: o.Plan, Version: o.Version,
		Terms: hex.EncodeToString(o.Terms[:]), Currency: o.Currency,
		Start: o.Start.String(), End: o.End.String(), StartDate: o.StartDate, Rows: o.Rows,
		Usage: []Usage{}, SoFar: document(o.SoFar), IfClosedNow: document(o.IfClosedNow),
	}
	for i := range o.Usage {
		p.Usage = append(p.Usage, makeUsage(v, account, o, &o.Usage[i]))
	}
	return p
}

func document(inv *engine.Invoice) json.RawMessage {
	if inv == nil {
		return json.RawMessage("null")
	}
	return formats.AppendInvoice(nil, inv)
}

var aggregateNames = map[engine.Aggregate]string{
	engine.Count: "count", engine.Total: "sum", engine.Least: "min", engine.Most: "max",
}

func makeUsage(v *engine.View, account string, o *engine.OpenPeriod, u *engine.Usage) Usage {
	return Usage{
		Meter: u.Meter.Key, Unit: u.Meter.Unit, Aggregate: formats.AggregateWord(u.Meter.Aggregate),
		Rows: u.Fold.Rows, Quantity: usageQuantity(v, account, o, u).String(), Group: makeGroup(u.Group),
	}
}

// usageQuantity returns what usage of an open period has come to so far. A level is integrated up
// to the watermark, as the preview does that is rated up to here.
func usageQuantity(
	v *engine.View, account string, o *engine.OpenPeriod, u *engine.Usage,
) decimal.Rat {
	if u.Meter.Aggregate != engine.TimeWeighted {
		return u.Fold.Quantity(u.Meter)
	}
	t, ok := v.Terms(account, o.Subscription, o.Start)
	if !ok {
		panic("BUG: an open period has no terms")
	}
	until := max(o.Start, min(o.End, v.Standing().Watermark))
	return u.Fold.Level(u.Meter, o.Start, until, t.FullStart, t.FullEnd)
}

func makeGroup(values []engine.GroupValue) map[string]*string {
	out := map[string]*string{}
	for _, g := range values {
		out[g.Dim] = nil
		if !g.Absent {
			out[g.Dim] = &g.Value
		}
	}
	return out
}

func makePending(p *engine.PendingAdjustment) Pending {
	return Pending{
		Subscription: p.Subscription, StartDate: p.StartDate, Price: p.Price,
		Group: makeGroup(p.Group), Rated: p.Rated.Text(p.Digits), Booked: p.Booked.Text(p.Digits),
		Amount: p.Amount.Text(p.Digits), Currency: p.Currency,
	}
}

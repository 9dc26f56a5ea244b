package api

import (
	"encoding/hex"
	"encoding/json"

	"billctl/engine"
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
}

// Credit is a grant and what is left of it.
type Credit struct {
	ID       string `json:"id"`
	Currency string `json:"currency"`
	Left     string `json:"left"`
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

// Accounts lists accounts with the totals of their open periods.
type Accounts struct {
	Schema   string       `json:"schema"`
	Position Position     `json:"position"`
	Total    int          `json:"total"` // that match
	Accounts []AccountRow `json:"accounts"`
	Next     string       `json:"next,omitempty"` // the value of after for the next page
}

// AccountRow is an account in a list.
type AccountRow struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Periods []PeriodRow `json:"periods"`
}

// PeriodRow is an open period in a list.
type PeriodRow struct {
	Subscription string `json:"subscription"`
	Plan         string `json:"plan"`
	StartDate    string `json:"start_date"`
	Currency     string `json:"currency"`
	Rows         uint64 `json:"rows"`
	SoFar        string `json:"so_far"`
	IfClosedNow  string `json:"if_closed_now"`
}

// Invoice is one issued document.
type Invoice struct {
	Schema   string          `json:"schema"`
	Position Position        `json:"position"`
	Seq      uint64          `json:"seq"` // of the entry that closed it
	Invoice  json.RawMessage `json:"invoice"`
}

// Invoices lists issued documents in their order.
type Invoices struct {
	Schema   string       `json:"schema"`
	Position Position     `json:"position"`
	Invoices []InvoiceRow `json:"invoices"`
	More     bool         `json:"more"`
}

// InvoiceRow is a document in a list. Its amounts are the document's own.
type InvoiceRow struct {
	Key       string `json:"key"`
	Account   string `json:"account"`
	Kind      string `json:"kind"`
	StartDate string `json:"start_date"`
	Currency  string `json:"currency"`
	Subtotal  string `json:"subtotal"`
	Total     string `json:"total"`
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
	JournalSize int64    `json:"journal_bytes"`
	Checkpoint  uint64   `json:"checkpoint"`
	SavedAt     *string  `json:"checkpoint_at"`
	Archived    uint64   `json:"archived_through"` // the last position in the archive
	Opening     uint64   `json:"opening"`          // the mark of the newest opening; 0: none yet
	ArchiveFail string   `json:"archive_failure"`  // why the last try failed; "" if it did not
	Notices     []string `json:"notices"`
}

// Events lists rows of the journal with their outcome.
type Events struct {
	Schema   string   `json:"schema"`
	Position Position `json:"position"`
	Events   []Event  `json:"events"`
	More     bool     `json:"more"`
}

// Event is a row and what became of it.
type Event struct {
	Seq       uint64            `json:"seq"`
	At        string            `json:"at"`
	Outcome   string            `json:"outcome"` // accepted, or the reason of the rejection
	Account   *string           `json:"account"`
	Origin    Origin            `json:"origin"`
	ID        string            `json:"id,omitempty"`
	Source    string            `json:"source,omitempty"`
	Type      string            `json:"type,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Time      *string           `json:"time,omitempty"`
	Defaulted bool              `json:"time_defaulted,omitempty"`
	Data      map[string]string `json:"data,omitempty"`
	Rest      json.RawMessage   `json:"rest,omitempty"`
	Fault     string            `json:"fault,omitempty"`
	Raw       string            `json:"raw,omitempty"`
	Size      int64             `json:"size,omitempty"`
}

// Origin is where a row was read.
type Origin struct {
	Source    string `json:"source"`
	Partition string `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Applied answers what became of a control file.
type Applied struct {
	Schema   string   `json:"schema"`
	Position Position `json:"position"`
	Name     string   `json:"name"`
	State    string   `json:"state"` // applied, refused, waiting
	Reason   string   `json:"reason,omitempty"`
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

func makePeriod(o *engine.OpenPeriod) Period {
	p := Period{
		Subscription: o.Subscription, Plan: o.Plan, Version: o.Version,
		Terms: hex.EncodeToString(o.Terms[:]), Currency: o.Currency,
		Start: o.Start.String(), End: o.End.String(), StartDate: o.StartDate, Rows: o.Rows,
		Usage: []Usage{}, SoFar: document(o.SoFar), IfClosedNow: document(o.IfClosedNow),
	}
	for i := range o.Usage {
		p.Usage = append(p.Usage, makeUsage(&o.Usage[i]))
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

func makeUsage(u *engine.Usage) Usage {
	out := Usage{
		Meter: u.Meter.Key, Unit: u.Meter.Unit, Aggregate: aggregateNames[u.Meter.Aggregate],
		Rows: u.Fold.Rows, Quantity: u.Fold.Quantity(u.Meter).String(),
	}
	out.Group = makeGroup(u.Group)
	return out
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

func makeEvent(r *live.Row) Event {
	e := Event{
		Seq: uint64(r.Seq), At: r.At.String(), Outcome: r.Outcome.String(),
		Origin: Origin{r.Origin, r.Partition, r.Offset}, ID: r.ID, Source: r.Source, Type: r.Type,
		Subject: r.Subject, Defaulted: r.Defaulted, Data: r.Data, Fault: r.Fault,
		Raw: string(r.Raw), Size: r.Size,
	}
	if r.Rest != "" {
		e.Rest = json.RawMessage(r.Rest)
	}
	if r.Outcome != engine.ReasonMalformed {
		e.Time = instant(r.Time)
	}
	if r.Account != "" {
		e.Account = &r.Account
	}
	return e
}

package main

import (
	"encoding/hex"
	"encoding/json"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/live"
)

// rating is what rate shows.
type rating struct {
	flags    *rateFlags
	closeAt  engine.Micros
	result   *live.RateResult
	invoices []*engine.Invoice // issued, in order
	periods  []ratedPeriod     // open, with usage; by account, subscription and start
	total    live.RatedFile    // of all files
	seconds  float64
}

// ratedPeriod is an open period of an account.
type ratedPeriod struct {
	account, name string
	engine.OpenPeriod
}

// collect draws up the open periods that have usage, and the totals.
func (a *rating) collect() error {
	for _, f := range a.result.Files {
		a.total.Read += f.Read
		for i, n := range f.Counts {
			a.total.Counts[i] += n
		}
	}
	ids := []string{a.flags.account}
	if a.flags.account == "" {
		ids = a.result.View.AccountIDs("")
	}
	for _, id := range ids {
		bill, ok := a.result.View.Bill(id)
		if !ok {
			return &exitError{
				code: exitFailed, text: "there is no account " + id,
				hint: "neither catalog nor --accounts names it, and no row that counts has opened it",
			}
		}
		for _, o := range bill.Open {
			if o.Rows > 0 {
				a.periods = append(a.periods, ratedPeriod{bill.ID, bill.Name, o})
			}
		}
	}
	if a.flags.account != "" {
		var own []*engine.Invoice
		for _, inv := range a.invoices {
			if inv.Account == a.flags.account {
				own = append(own, inv)
			}
		}
		a.invoices = own
	}
	return nil
}

// rateReport is the answer of rate (docs/formats/rate.md).
type rateReport struct {
	Schema     string            `json:"schema"`
	CloseAt    *string           `json:"close_at"`
	Through    *string           `json:"through"`
	Rows       uint64            `json:"rows"`
	Accepted   uint64            `json:"accepted"`
	Rejected   map[string]uint64 `json:"rejected"`
	Files      []rateFile        `json:"files"`
	Invoices   []rateInvoice     `json:"invoices"`
	Periods    []ratePeriod      `json:"periods"`
	Rejections []rateRejection   `json:"rejections"`
	Billing    string            `json:"billing_digest"`
	Seconds    float64           `json:"seconds"`
}

type rateFile struct {
	File     string            `json:"file"`
	Format   string            `json:"format"`
	Rows     uint64            `json:"rows"`
	Accepted uint64            `json:"accepted"`
	Rejected map[string]uint64 `json:"rejected"`
}

type rateInvoice struct {
	Key          string          `json:"key"`
	Kind         string          `json:"kind"`
	Account      string          `json:"account"`
	Name         string          `json:"account_name"`
	Subscription string          `json:"subscription"`
	Plan         string          `json:"plan"`
	Version      int             `json:"version"`
	StartDate    string          `json:"start_date"`
	Start        string          `json:"start"`
	End          string          `json:"end"`
	Currency     string          `json:"currency"`
	Lines        int             `json:"lines"`
	Subtotal     string          `json:"subtotal"`
	Total        string          `json:"total"`
	Document     json.RawMessage `json:"document,omitempty"`
}

type ratePeriod struct {
	Account      string          `json:"account"`
	Name         string          `json:"account_name"`
	Subscription string          `json:"subscription"`
	Plan         string          `json:"plan"`
	Version      int             `json:"version"`
	StartDate    string          `json:"start_date"`
	Start        string          `json:"start"`
	End          string          `json:"end"`
	Currency     string          `json:"currency"`
	Rows         uint64          `json:"rows"`
	Lines        int             `json:"lines"`
	SoFar        string          `json:"so_far"`
	IfClosedNow  string          `json:"if_closed_now"`
	SoFarDoc     json.RawMessage `json:"so_far_document,omitempty"`
	ClosedDoc    json.RawMessage `json:"if_closed_now_document,omitempty"`
}

type rateRejection struct {
	Place   string  `json:"place"`
	Reason  string  `json:"reason"`
	Fault   string  `json:"fault,omitempty"`
	ID      string  `json:"id,omitempty"`
	Type    string  `json:"type,omitempty"`
	Subject string  `json:"subject,omitempty"`
	Time    *string `json:"time,omitempty"`
}

// report makes the answer.
func (a *rating) report() *rateReport {
	out := &rateReport{
		Schema: "billctl.rate.v1", CloseAt: rateInstant(a.closeAt),
		Through: rateInstant(a.result.Through), Rows: a.total.Read,
		Accepted: a.total.Counts[engine.Accepted], Rejected: rateReasons(&a.total),
		Files: []rateFile{}, Invoices: []rateInvoice{}, Periods: []ratePeriod{},
		Rejections: []rateRejection{}, Billing: hex.EncodeToString(a.result.Billing[:]),
		Seconds: a.seconds,
	}
	for i := range a.result.Files {
		f := &a.result.Files[i]
		out.Files = append(out.Files, rateFile{
			f.Name, f.Format, f.Read, f.Counts[engine.Accepted], rateReasons(f),
		})
	}
	for _, inv := range a.invoices {
		r := rateInvoice{
			formats.InvoiceKey(inv), inv.Kind.String(), inv.Account, inv.AccountName, inv.Subscription,
			inv.Plan, inv.Version, inv.StartDate, inv.Start.String(), inv.End.String(), inv.Currency,
			len(inv.Lines), inv.Subtotal.Text(inv.Digits), inv.Total.Text(inv.Digits), nil,
		}
		if a.flags.lines {
			r.Document = formats.AppendInvoice(nil, inv)
		}
		out.Invoices = append(out.Invoices, r)
	}
	for i := range a.periods {
		out.Periods = append(out.Periods, a.periods[i].report(a.flags.lines))
	}
	for i := range a.result.Rejected {
		r := &a.result.Rejected[i]
		j := rateRejection{
			Place: r.Place, Reason: r.Reason.String(), Fault: r.Fault, ID: r.ID, Type: r.Type,
			Subject: r.Subject,
		}
		if r.Reason != engine.ReasonMalformed {
			j.Time = rateInstant(r.Time)
		}
		out.Rejections = append(out.Rejections, j)
	}
	return out
}

func (p *ratedPeriod) report(documents bool) ratePeriod {
	r := ratePeriod{
		Account: p.account, Name: p.name, Subscription: p.Subscription, Plan: p.Plan,
		Version: p.Version, StartDate: p.StartDate, Start: p.Start.String(), End: p.End.String(),
		Currency: p.Currency, Rows: p.Rows, SoFar: rateTotal(p.SoFar, p.Digits),
		IfClosedNow: rateTotal(p.IfClosedNow, p.Digits),
	}
	if p.IfClosedNow != nil {
		r.Lines = len(p.IfClosedNow.Lines)
	}
	if documents {
		r.SoFarDoc, r.ClosedDoc = rateDocument(p.SoFar), rateDocument(p.IfClosedNow)
	}
	return r
}

// rateDocument writes a preview as the document that it would be; null where there would be none.
func rateDocument(inv *engine.Invoice) json.RawMessage {
	if inv == nil {
		return json.RawMessage("null")
	}
	return formats.AppendInvoice(nil, inv)
}

// rateTotal writes the total of a preview; no document is a total of zero.
func rateTotal(inv *engine.Invoice, digits int) string {
	if inv == nil {
		return decimal.AmountOf(0).Text(digits)
	}
	return inv.Total.Text(inv.Digits)
}

// rateInstant writes an instant, nil for no bound.
func rateInstant(t engine.Micros) *string {
	if t == engine.Past || t == engine.Future {
		return nil
	}
	text := t.String()
	return &text
}

func rateReasons(f *live.RatedFile) map[string]uint64 {
	out := map[string]uint64{}
	for i, n := range f.Counts {
		if engine.Reason(i) != engine.Accepted && n > 0 {
			out[engine.Reason(i).String()] = n
		}
	}
	return out
}

// rateReasonWords writes the reasons of a file in the order of their precedence.
func rateReasonWords(f *live.RatedFile) string {
	var out []string
	for i, n := range f.Counts {
		if engine.Reason(i) != engine.Accepted && n > 0 {
			out = append(out, engine.Reason(i).String()+" "+grouped(n))
		}
	}
	return strings.Join(out, ", ")
}

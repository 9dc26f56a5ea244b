package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"billctl/engine"
	"billctl/formats"
)

// rateForms are the forms of the answer of rate.
const rateForms = "table, json, csv, jsonl, parquet, arrow"

// checkRateForm refuses what -o does not know, and bytes that a terminal would choke on.
func (s *session) checkRateForm(form string) error {
	if !slices.Contains(strings.Split(rateForms, ", "), form) {
		return usageError(fmt.Sprintf("-o %s is none of: %s", form, rateForms))
	}
	if (form == "parquet" || form == "arrow") && isTerminal(s.stdout) {
		return &exitError{
			code: exitUsage, text: "-o " + form + " writes bytes that are not for a terminal",
			hint: "send them to a file: ... -o " + form + " > rated." + form,
		}
	}
	return nil
}

// rateAnswer writes the answer.
func (s *session) rateAnswer(a *rating) error {
	switch a.flags.output {
	case "table":
		return s.rateTable(a)
	case "json":
		return json.NewEncoder(s.stdout).Encode(a.report())
	}
	s.say("billing digest %s", hex.EncodeToString(a.result.Billing[:]))
	r := a.rows()
	if a.flags.lines {
		r = a.lineRows()
	}
	return formats.WriteReport(s.stdout, a.flags.output, r)
}

// What the rows of an answer are of.
const (
	rateInvoiced = "invoiced"
	rateOpen     = "open"
)

// rows has a row for every invoice and for every open period with usage (docs/formats/rate.md).
func (a *rating) rows() *formats.Report {
	out := &formats.Report{Schema: "billctl.rate_row.v1", Columns: append(rateColumns(),
		formats.ReportColumn{Name: "start", Kind: formats.ReportInstant},
		formats.ReportColumn{Name: "end", Kind: formats.ReportInstant},
		formats.ReportColumn{Name: "rows", Kind: formats.ReportWhole},
		formats.ReportColumn{Name: "lines", Kind: formats.ReportWhole},
		formats.ReportColumn{Name: "so_far", Kind: formats.ReportDecimal},
		formats.ReportColumn{Name: "total", Kind: formats.ReportDecimal},
	)}
	for _, inv := range a.invoices {
		out.Rows = append(out.Rows, append(rateInvoiceCells(inv), inv.Start.String(),
			inv.End.String(), "", strconv.Itoa(len(inv.Lines)), "", inv.Total.Text(inv.Digits)))
	}
	for i := range a.periods {
		p := &a.periods[i]
		r := p.report(false)
		out.Rows = append(out.Rows, append(p.cells(), r.Start, r.End,
			strconv.FormatUint(r.Rows, 10), strconv.Itoa(r.Lines), r.SoFar, r.IfClosedNow))
	}
	return out
}

// lineRows has a row for every line of them.
func (a *rating) lineRows() *formats.Report {
	out := &formats.Report{Schema: "billctl.rate_line.v1", Columns: append(rateColumns(),
		formats.ReportColumn{Name: "price", Kind: formats.ReportText},
		formats.ReportColumn{Name: "group", Kind: formats.ReportText},
		formats.ReportColumn{Name: "meter", Kind: formats.ReportText},
		formats.ReportColumn{Name: "unit", Kind: formats.ReportText},
		formats.ReportColumn{Name: "from", Kind: formats.ReportInstant},
		formats.ReportColumn{Name: "to", Kind: formats.ReportInstant},
		formats.ReportColumn{Name: "quantity", Kind: formats.ReportDecimal},
		formats.ReportColumn{Name: "so_far", Kind: formats.ReportDecimal},
		formats.ReportColumn{Name: "amount", Kind: formats.ReportDecimal},
	)}
	add := func(what []string, inv *engine.Invoice, now map[string]string) {
		for i := range inv.Lines {
			l := &inv.Lines[i]
			out.Rows = append(out.Rows, append(slices.Clone(what), l.Price, rateGroup(l.Group), l.Meter,
				l.Unit, l.From.String(), l.To.String(), formats.ReportNumber(l.Quantity),
				now[rateLineKey(l)], l.Amount.Text(inv.Digits)))
		}
	}
	for _, inv := range a.invoices {
		add(rateInvoiceCells(inv), inv, nil)
	}
	for i := range a.periods {
		if p := &a.periods[i]; p.IfClosedNow != nil {
			add(p.cells(), p.IfClosedNow, rateSoFar(p.SoFar))
		}
	}
	return out
}

// rateColumns are what both kinds of rows begin with.
func rateColumns() []formats.ReportColumn {
	return []formats.ReportColumn{
		{Name: "state"}, {Name: "key"}, {Name: "kind"}, {Name: "account"}, {Name: "account_name"},
		{Name: "subscription"}, {Name: "plan"}, {Name: "version", Kind: formats.ReportWhole},
		{Name: "start_date"}, {Name: "currency"},
	}
}

func rateInvoiceCells(inv *engine.Invoice) []string {
	return []string{
		rateInvoiced, formats.InvoiceKey(inv), inv.Kind.String(), inv.Account, inv.AccountName,
		inv.Subscription, inv.Plan, strconv.Itoa(inv.Version), inv.StartDate, inv.Currency,
	}
}

func (p *ratedPeriod) cells() []string {
	return []string{
		rateOpen, "", engine.PeriodInvoice.String(), p.account, p.name, p.Subscription, p.Plan,
		strconv.Itoa(p.Version), p.StartDate, p.Currency,
	}
}

// rateSoFar returns the amounts of a preview's lines, by rateLineKey.
func rateSoFar(inv *engine.Invoice) map[string]string {
	now := map[string]string{}
	if inv != nil {
		for i := range inv.Lines {
			now[rateLineKey(&inv.Lines[i])] = inv.Lines[i].Amount.Text(inv.Digits)
		}
	}
	return now
}

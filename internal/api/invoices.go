package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"billctl/engine"
	"billctl/internal/live"
)

// Invoices lists issued documents in their order, or the newest first.
type Invoices struct {
	Schema   string       `json:"schema"`
	Position Position     `json:"position"`
	Invoices []InvoiceRow `json:"invoices"`
	More     bool         `json:"more"`
	Next     string       `json:"next,omitempty"` // before of the next page; newest first only
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

func (h *handler) invoices(r *http.Request, _ *engine.View, p Position) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	newest, err := newestOf(r)
	if err != nil {
		return nil, err
	}
	account, period, before := r.FormValue("account"), r.FormValue("period"), r.FormValue("before")
	out := Invoices{Schema: "billctl.invoices.v1", Position: p, Invoices: []InvoiceRow{}}
	var bad error
	take := func(d live.Document) bool {
		if account != "" && d.Account != account {
			return true
		}
		row, err := invoiceRow(&d)
		if err != nil {
			bad = err
			return false
		}
		if !strings.HasPrefix(row.StartDate, period) {
			return true
		}
		if out.More = len(out.Invoices) == limit; out.More {
			return false
		}
		out.Invoices = append(out.Invoices, row)
		return true
	}
	if newest {
		err = h.desk.NewestDocuments(before, account, take)
	} else {
		err = h.desk.Documents(take)
	}
	if errors.Is(err, live.ErrNoDocument) {
		return nil, notFound("there is no invoice %q", before)
	}
	if err == nil {
		err = bad
	}
	if out.More && newest {
		out.Next = out.Invoices[limit-1].Key
	}
	return out, err
}

// invoiceRow reads a document of ours for a list.
func invoiceRow(d *live.Document) (InvoiceRow, error) {
	var doc struct {
		Kind     string
		Currency string
		Subtotal string
		Total    string
		Period   struct {
			StartDate string `json:"start_date"`
		}
	}
	if err := json.Unmarshal(d.Body, &doc); err != nil {
		return InvoiceRow{}, fmt.Errorf("read invoice %s: %w", d.Key, err)
	}
	return InvoiceRow{
		d.Key, d.Account, doc.Kind, doc.Period.StartDate, doc.Currency, doc.Subtotal, doc.Total,
	}, nil
}

package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/internal/live"
)

// Accounts lists accounts with the totals of their open periods.
type Accounts struct {
	Schema   string       `json:"schema"`
	Position Position     `json:"position"`
	Total    int          `json:"total"`   // that have the prefix
	Matched  int          `json:"matched"` // of them, those that pass the filter
	Accounts []AccountRow `json:"accounts"`
	Next     string       `json:"next,omitempty"` // the value of after for the next page; by id only
	// OrderedAt is the position of the figures that order and filter go by; absent where they go by
	// none.
	OrderedAt uint64 `json:"ordered_at,omitempty"`
	// Ordering is the part of the first ordering that is done, "0.35": the page comes by id.
	Ordering string `json:"ordering,omitempty"`
}

// AccountRow is an account in a list.
type AccountRow struct {
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	Rows    uint64         `json:"rows"`   // of its open periods
	Totals  []AccountTotal `json:"totals"` // by currency
	Budget  *ReachedBudget `json:"budget,omitempty"`
	Days    []uint64       `json:"days,omitempty"`
	Periods []PeriodRow    `json:"periods"`
}

// AccountTotal is what the open periods in one currency come to together.
type AccountTotal struct {
	Currency    string `json:"currency"`
	SoFar       string `json:"so_far"`
	IfClosedNow string `json:"if_closed_now"`
}

// ReachedBudget is the highest percentage of a budget that an open period has reached.
type ReachedBudget struct {
	Budget       string `json:"budget"`
	Percent      string `json:"percent"`
	Subscription string `json:"subscription"`
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

func (h *handler) accounts(r *http.Request, v *engine.View, p Position) (any, error) {
	q, err := accountQuery(r)
	if err != nil {
		return nil, err
	}
	days, err := flagOf(r, "days")
	if err != nil {
		return nil, err
	}
	page, err := h.desk.Accounts(r.Context(), v, q)
	if err != nil {
		return nil, &problem{http.StatusServiceUnavailable, Unavailable, err.Error(), ""}
	}
	if page.View != v {
		p = makePosition(h.desk, page.View)
	}
	out := Accounts{
		Schema: "billctl.accounts.v1", Position: p, Total: page.Total, Matched: page.Matched,
		Accounts: []AccountRow{}, OrderedAt: uint64(page.OrderedAt),
	}
	if page.Rating {
		out.Ordering = fmt.Sprintf("0.%02d", min(99, page.Rated*100/max(page.Of, 1)))
	}
	if page.More && q.Sort == live.ByID {
		out.Next = page.IDs[len(page.IDs)-1]
	}
	budgets := budgetsOf(page.View, page.IDs)
	for _, id := range page.IDs {
		out.Accounts = append(out.Accounts, accountRow(page.View, id, budgets, days))
	}
	return out, nil
}

// accountQuery reads what a request for accounts asks.
func accountQuery(r *http.Request) (q live.AccountQuery, err error) {
	q.Prefix, q.After = r.FormValue("prefix"), r.FormValue("after")
	if q.Limit, err = limitOf(r); err != nil {
		return q, err
	}
	if q.Wait, err = flagOf(r, "wait"); err != nil {
		return q, err
	}
	if text := r.FormValue("sort"); text != "" {
		known := false
		if q.Sort, known = live.AccountSortOf(text); !known {
			return q, badRequest("sort %q is none of %s", text, strings.Join(live.AccountSorts(), ", "))
		}
	}
	switch text := r.FormValue("order"); text {
	case "", "asc":
	case "desc":
		q.Descending = true
	default:
		return q, badRequest("order %q is none of asc, desc", text)
	}
	if text := r.FormValue("offset"); text != "" {
		if q.Offset, err = strconv.Atoi(text); err != nil || q.Offset < 0 {
			return q, badRequest("offset %q is no number from 0 on", text)
		}
	}
	if q.After != "" && q.Sort != live.ByID {
		return q, &problem{
			http.StatusBadRequest, BadRequest, "after goes with the order by id only",
			"give an offset, or leave sort out",
		}
	}
	q.Filter, err = live.ParseAccountFilter(r.FormValue("filter"))
	var bad *live.FilterError
	if errors.As(err, &bad) {
		err = &problem{
			http.StatusBadRequest, BadRequest, bad.Error(),
			"write words that must all hold: text, !text, plan:KEY, >100, <5",
		}
	}
	return q, err
}

// flagOf reads a parameter that is 1 or absent.
func flagOf(r *http.Request, name string) (bool, error) {
	switch text := r.FormValue(name); text {
	case "":
		return false, nil
	case "1":
		return true, nil
	default:
		return false, badRequest("%s %q is not 1", name, text)
	}
}

// pageBudgets are the budgets that the accounts of a page may have reached, by key.
type pageBudgets struct {
	all []string            // of every account
	own map[string][]string // by account
}

func budgetsOf(v *engine.View, ids []string) pageBudgets {
	b := pageBudgets{own: make(map[string][]string, len(ids))}
	for _, id := range ids {
		b.own[id] = nil
	}
	for _, budget := range v.Budgets() {
		if budget.Account == "" {
			b.all = append(b.all, budget.Key)
		} else if keys, shown := b.own[budget.Account]; shown {
			b.own[budget.Account] = append(keys, budget.Key)
		}
	}
	return b
}

// reached returns the highest percentage that an open period has reached; of equal ones that of the
// first period, and the first budget by key. nil: none.
func (b *pageBudgets) reached(v *engine.View, id string, open []engine.OpenPeriod) *ReachedBudget {
	keys := append(slices.Clone(b.all), b.own[id]...)
	slices.Sort(keys)
	var highest decimal.Decimal
	var out *ReachedBudget
	for i := range open {
		o := &open[i]
		for _, key := range keys {
			percents := v.Fired(id, key, o.Subscription, o.Start)
			if len(percents) == 0 {
				continue
			}
			if top := percents[len(percents)-1]; out == nil || top.Cmp(highest) > 0 {
				highest = top
				out = &ReachedBudget{key, top.String(), o.Subscription}
			}
		}
	}
	return out
}

func accountRow(v *engine.View, id string, budgets pageBudgets, days bool) AccountRow {
	bill, _ := v.Bill(id)
	row := AccountRow{
		ID: id, Name: bill.Name, Totals: []AccountTotal{}, Periods: []PeriodRow{},
		Budget: budgets.reached(v, id, bill.Open),
	}
	for i := range bill.Open {
		o := &bill.Open[i]
		row.Rows += o.Rows
		row.Periods = append(row.Periods, PeriodRow{
			o.Subscription, o.Plan, o.StartDate, o.Currency, o.Rows,
			total(o.SoFar, o.Digits), total(o.IfClosedNow, o.Digits),
		})
	}
	for _, t := range live.Totals(bill.Open) {
		row.Totals = append(row.Totals, AccountTotal{
			t.Currency, t.SoFar.Text(t.Digits), t.IfClosedNow.Text(t.Digits),
		})
	}
	if days {
		row.Days = daysOf(v, bill)
	}
	return row
}

// daysOf returns how many rows counted on each local day of the newest open period with rows, up to
// the last day that has some.
func daysOf(v *engine.View, bill *engine.Bill) []uint64 {
	var newest *engine.OpenPeriod
	for i := range bill.Open {
		if o := &bill.Open[i]; o.Rows > 0 && (newest == nil || o.Start > newest.Start) {
			newest = o
		}
	}
	if newest == nil {
		return nil
	}
	list, _ := v.DaysOf(bill.ID, newest.Subscription, newest.Start, false)
	var out []uint64
	n := 0
	for i, d := range list {
		out = append(out, d.Uses)
		if d.Uses > 0 {
			n = i + 1
		}
	}
	return out[:n]
}

func total(inv *engine.Invoice, digits int) string {
	if inv == nil {
		inv = &engine.Invoice{}
	}
	return inv.Total.Text(digits)
}

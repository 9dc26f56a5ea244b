package api

import (
	"net/http"

	"billctl/engine"
)

// Days answers how the periods of an account have come about, by local day.
type Days struct {
	Schema   string       `json:"schema"`
	Position Position     `json:"position"`
	Account  string       `json:"account"`
	Periods  []PeriodDays `json:"periods"` // by subscription: the last closed, then open ones
}

// PeriodDays are the local days of a period, from its first on.
type PeriodDays struct {
	Subscription string    `json:"subscription"`
	Plan         string    `json:"plan"`
	Currency     string    `json:"currency"`
	StartDate    string    `json:"start_date"`
	Start        string    `json:"start"`
	End          string    `json:"end"`
	Closed       bool      `json:"closed"`
	Days         []DayPart `json:"days"`
}

// DayPart is a local day.
type DayPart struct {
	Date  string `json:"date"`
	Uses  uint64 `json:"uses"`   // a row that two meters count has two
	SoFar string `json:"so_far"` // what the period had come to by its end, in the time of events
}

func (h *handler) days(r *http.Request, v *engine.View, p Position) (any, error) {
	id := r.FormValue("account")
	bill, ok := v.Bill(id)
	if !ok {
		return nil, notFound("there is no account %q", id)
	}
	out := Days{Schema: "billctl.days.v1", Position: p, Account: id, Periods: []PeriodDays{}}
	for i := range bill.Subscriptions { // by key and start
		key := bill.Subscriptions[i].Key
		if i > 0 && key == bill.Subscriptions[i-1].Key {
			continue
		}
		if start, _, ok := v.LastClosed(id, key); ok {
			out.add(v, id, key, start, true)
		}
		for j := range bill.Open {
			if o := &bill.Open[j]; o.Subscription == key {
				out.add(v, id, key, o.Start, false)
			}
		}
	}
	return out, nil
}

// add adds a period, unless its usage is forgotten.
func (d *Days) add(v *engine.View, account, subscription string, start engine.Micros, closed bool) {
	t, ok := v.Terms(account, subscription, start)
	if !ok {
		return
	}
	days, ok := v.DaysOf(account, subscription, start, true)
	if !ok {
		return
	}
	p := PeriodDays{
		Subscription: subscription, Plan: t.Plan.Key, Currency: t.Plan.Currency,
		StartDate: t.StartDate, Start: t.Start.String(), End: t.End.String(), Closed: closed,
		Days: []DayPart{},
	}
	for _, x := range days {
		p.Days = append(p.Days, DayPart{x.Date, x.Uses, x.SoFar.Text(t.Plan.Digits)})
	}
	d.Periods = append(d.Periods, p)
}

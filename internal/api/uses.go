package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"billctl/engine"
	"billctl/internal/live"
)

// Uses lists the rows that count for a line of a period, the newest first.
type Uses struct {
	Schema       string   `json:"schema"`
	Position     Position `json:"position"`
	Account      string   `json:"account"`
	Subscription string   `json:"subscription"`
	StartDate    string   `json:"start_date"` // of the period
	Line         string   `json:"line"`       // its key
	Events       []Use    `json:"events"`
	More         bool     `json:"more"`
	Next         uint64   `json:"next,omitempty"` // the value of before for the next page
}

// Use is a row that counts for a line, or that did until it was corrected.
type Use struct {
	Event
	Value  string `json:"value"`  // that the meter takes; "1" where it counts
	Counts bool   `json:"counts"` // false: the row was corrected
}

func (h *handler) uses(r *http.Request, v *engine.View, p Position) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	before, err := seqOf(r, "before")
	if err != nil {
		return nil, err
	}
	t, err := periodOf(r, v)
	if err != nil {
		return nil, err
	}
	f := live.UseFilter{
		Account: r.FormValue("account"), Subscription: t.subscription, Start: t.start,
		Line: r.FormValue("line"), Before: before, Limit: limit,
	}
	uses, more, err := h.desk.Uses(r.Context(), v, f)
	if errors.Is(err, live.ErrNoLine) {
		return nil, notFound("there is no line %q with usage in the period %s of %s/%s, or its usage "+
			"is not kept any more", f.Line, t.date, f.Account, f.Subscription)
	}
	if err != nil {
		return nil, rowsProblem(err)
	}
	out := Uses{
		Schema: "billctl.uses.v1", Position: p, Account: f.Account, Subscription: f.Subscription,
		StartDate: t.date, Line: f.Line, Events: []Use{}, More: more,
	}
	for i := range uses {
		u := &uses[i]
		out.Events = append(out.Events, Use{makeEvent(&u.Row), u.Value, u.Counts()})
	}
	if more {
		out.Next = out.Events[len(out.Events)-1].Seq
	}
	return out, nil
}

// askedPeriod is the period that a request names.
type askedPeriod struct {
	subscription string
	start        engine.Micros
	date         string // of start, as keys have it
}

// periodOf reads the parameters account, subscription and start_date. Without a subscription it is
// the only one of the account, and without a date its newest open period, with usage if one has.
func periodOf(r *http.Request, v *engine.View) (t askedPeriod, err error) {
	id, date := r.FormValue("account"), r.FormValue("start_date")
	bill, ok := v.Bill(id)
	if !ok {
		return t, notFound("there is no account %q", id)
	}
	if t.subscription, err = subscriptionOf(bill, r.FormValue("subscription")); err != nil {
		return t, err
	}
	var newest *engine.OpenPeriod
	for i := range bill.Open {
		o := &bill.Open[i]
		if o.Subscription != t.subscription {
			continue
		}
		if o.StartDate == date {
			t.start, t.date = o.Start, o.StartDate
			return t, nil
		}
		if newest == nil || o.Rows > 0 && (newest.Rows == 0 || o.Start > newest.Start) {
			newest = o
		}
	}
	switch {
	case date == "" && newest == nil:
		return t, notFound("subscription %s of %s has no open period", t.subscription, id)
	case date == "":
		t.start, t.date = newest.Start, newest.StartDate
		return t, nil
	}
	if t.start, ok = startOf(v, bill, t.subscription, date); !ok {
		return t, notFound("subscription %s of %s has no period that starts on %q", t.subscription, id,
			date)
	}
	t.date = date
	return t, nil
}

// subscriptionOf returns the subscription that a request means.
func subscriptionOf(bill *engine.Bill, key string) (string, error) {
	var keys []string
	for i := range bill.Subscriptions { // by key
		if k := bill.Subscriptions[i].Key; len(keys) == 0 || keys[len(keys)-1] != k {
			if keys = append(keys, k); k == key {
				return key, nil
			}
		}
	}
	switch {
	case len(keys) == 0:
		return "", notFound("account %s has no subscription", bill.ID)
	case key == "" && len(keys) == 1:
		return keys[0], nil
	case key == "":
		return "", badRequest("account %s has several subscriptions: name one of %s", bill.ID,
			strings.Join(keys, ", "))
	}
	return "", notFound("account %s has no subscription %q: it has %s", bill.ID, key,
		strings.Join(keys, ", "))
}

// startOf finds the period of a subscription whose start is written so in keys. The view knows a
// period by any instant in it.
func startOf(
	v *engine.View, bill *engine.Bill, subscription, date string,
) (engine.Micros, bool) {
	var instants []engine.Micros
	if at, err := time.Parse(time.DateOnly, date); err == nil {
		// Local midnight is no more than 26 hours from that of UTC.
		for h := -26; h <= 26; h++ {
			instants = append(instants, engine.Micros(at.Add(time.Duration(h)*time.Hour).UnixMicro()))
		}
	} else if at, err := time.Parse(time.RFC3339Nano, date); err == nil {
		instants = append(instants, engine.Micros(at.UnixMicro()))
	} else {
		return 0, false
	}
	// A period may be shorter than an hour where the subscription begins or ends.
	for _, s := range bill.Subscriptions {
		if s.Key == subscription {
			instants = append(instants, s.From, s.To-1)
		}
	}
	for _, at := range instants {
		if at < engine.MinTime || at >= engine.MaxTime {
			continue
		}
		if t, ok := v.Terms(bill.ID, subscription, at); ok && t.StartDate == date {
			return t.Start, true
		}
	}
	return 0, false
}

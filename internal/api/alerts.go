package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"billctl/engine"
	"billctl/internal/live"
)

// Alerts lists the alerts that were given, in their order.
type Alerts struct {
	Schema   string   `json:"schema"`
	Position Position `json:"position"`
	Alerts   []Alert  `json:"alerts"`
	More     bool     `json:"more"`
}

// Alert says that a budget was reached.
type Alert struct {
	Key          string `json:"key"`
	Seq          uint64 `json:"seq"` // of the entry after which it was so
	At           string `json:"at"`  // of that entry
	Account      string `json:"account"`
	Subscription string `json:"subscription"`
	Plan         string `json:"plan"`
	StartDate    string `json:"start_date"` // of the period
	Budget       string `json:"budget"`
	Percent      string `json:"percent"` // of Limit that was reached
	Limit        string `json:"limit"`
	Value        string `json:"value"`              // then
	Currency     string `json:"currency,omitempty"` // of an amount
	Meter        string `json:"meter,omitempty"`    // of a quantity
	Unit         string `json:"unit,omitempty"`
}

func (h *handler) alerts(r *http.Request, v *engine.View, p Position) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	account := r.FormValue("account")
	if _, found := v.Account(account); !found && account != "" {
		return nil, notFound("there is no account %q", account)
	}
	out := Alerts{Schema: "billctl.alerts.v1", Position: p, Alerts: []Alert{}}
	var bad error
	err = h.desk.Alerts(func(d live.Document) bool {
		if account != "" && d.Account != account {
			return true
		}
		if out.More = len(out.Alerts) == limit; out.More {
			return false
		}
		a, err := alertRow(&d)
		if err != nil {
			bad = err
			return false
		}
		out.Alerts = append(out.Alerts, a)
		return true
	})
	if err == nil {
		err = bad
	}
	return out, err
}

// alertRow reads an alert of ours for a list.
func alertRow(d *live.Document) (Alert, error) {
	var doc struct {
		Alert
		Period struct {
			StartDate string `json:"start_date"`
		} `json:"period"`
	}
	if err := json.Unmarshal(d.Body, &doc); err != nil {
		return Alert{}, fmt.Errorf("read alert %s: %w", d.Key, err)
	}
	doc.Alert.StartDate = doc.Period.StartDate
	return doc.Alert, nil
}

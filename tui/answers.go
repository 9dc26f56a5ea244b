package tui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"billctl/engine"
)

// The members of answers that screens below the lists read (docs/formats/api.md). Amounts and
// quantities stay the texts that they are.

type accountAnswer struct {
	ID            string             `json:"id"`
	Name          string             `json:"name"`
	Timezone      string             `json:"timezone"`
	Automatic     bool               `json:"automatic"`
	Subjects      []ownership        `json:"subjects"`
	Subscriptions []subscriptionPart `json:"subscriptions"`
	Credits       []creditPart       `json:"credits"`
	Balances      []balancePart      `json:"balances"`
	Coupons       []couponPart       `json:"coupons"`
	Taxes         []taxesPart        `json:"taxes"`
	Periods       []periodPart       `json:"periods"`
	Pending       []pendingPart      `json:"pending_adjustments"`
}

type ownership struct {
	Subject string  `json:"subject"`
	From    *string `json:"from"`
	To      *string `json:"to"`
}

type subscriptionPart struct {
	Key        string  `json:"key"`
	Plan       string  `json:"plan"`
	Pin        int     `json:"pin"`
	From       *string `json:"from"`
	To         *string `json:"to"`
	TrialUntil *string `json:"trial_until"`
}

type creditPart struct {
	ID       string  `json:"id"`
	Currency string  `json:"currency"`
	Left     string  `json:"left"`
	Expires  *string `json:"expires"`
	Expired  bool    `json:"expired"`
	Priority int     `json:"priority"`
}

type balancePart struct {
	Currency string `json:"currency"`
	Left     string `json:"left"`
}

type couponPart struct {
	ID           string  `json:"id"`
	Subscription string  `json:"subscription"`
	Percent      string  `json:"percent"`
	Amount       string  `json:"amount"`
	Currency     string  `json:"currency"`
	From         *string `json:"from"`
	Periods      int     `json:"periods"`
}

type taxesPart struct {
	From  string `json:"from"`
	Round string `json:"round"`
	Rates []struct {
		Code    string `json:"code"`
		Percent string `json:"percent"`
	} `json:"rates"`
}

type periodPart struct {
	Subscription string        `json:"subscription"`
	Plan         string        `json:"plan"`
	Version      int           `json:"version"`
	Currency     string        `json:"currency"`
	Start        string        `json:"start"`
	End          string        `json:"end"`
	StartDate    string        `json:"start_date"`
	Rows         uint64        `json:"rows"`
	Usage        []usagePart   `json:"usage"`
	SoFar        *documentPart `json:"so_far"`
	IfClosedNow  *documentPart `json:"if_closed_now"`
}

type usagePart struct {
	Meter     string    `json:"meter"`
	Unit      string    `json:"unit"`
	Aggregate string    `json:"aggregate"`
	Group     groupPart `json:"group"`
	Rows      uint64    `json:"rows"`
	Quantity  string    `json:"quantity"`
}

type pendingPart struct {
	Subscription string    `json:"subscription"`
	StartDate    string    `json:"start_date"`
	Price        string    `json:"price"`
	Group        groupPart `json:"group"`
	Rated        string    `json:"rated"`
	Booked       string    `json:"booked"`
	Amount       string    `json:"amount"`
	Currency     string    `json:"currency"`
}

// documentPart is an invoice or a preview of one (docs/formats/invoice.md).
type documentPart struct {
	Key          string            `json:"key"`
	Kind         string            `json:"kind"`
	Account      string            `json:"account"`
	AccountName  string            `json:"account_name"`
	Subscription string            `json:"subscription"`
	Plan         string            `json:"plan"`
	Version      int               `json:"version"`
	Currency     string            `json:"currency"`
	Period       documentPeriod    `json:"period"`
	Lines        []linePart        `json:"lines"`
	Adjustments  []json.RawMessage `json:"adjustments"`
	Coupons      []namedAmount     `json:"coupons"`
	Subtotal     string            `json:"subtotal"`
	Credits      []namedAmount     `json:"credits"`
	Taxes        []taxAmount       `json:"taxes"`
	Total        string            `json:"total"`
}

type documentPeriod struct {
	Start     string `json:"start"`
	End       string `json:"end"`
	Zone      string `json:"zone"`
	StartDate string `json:"start_date"`
}

type namedAmount struct {
	ID     string `json:"id"`
	Amount string `json:"amount"`
}

type taxAmount struct {
	Code    string `json:"code"`
	Percent string `json:"percent"`
	Base    string `json:"base"`
	Amount  string `json:"amount"`
}

// linePart is a line or an adjustment of a document.
type linePart struct {
	Price    string         `json:"price"`
	Model    string         `json:"model"`
	Meter    string         `json:"meter"`
	Unit     string         `json:"unit"`
	Group    groupPart      `json:"group"`
	From     string         `json:"from"`
	To       string         `json:"to"`
	Period   documentPeriod `json:"period"` // of adjustments
	Quantity string         `json:"quantity"`
	Billable string         `json:"billable"`
	Rated    string         `json:"rated"`
	Booked   string         `json:"booked"`
	Discount string         `json:"discount"`
	Off      string         `json:"off"`
	Bound    string         `json:"bound"`
	Trial    bool           `json:"trial"`
	Exact    string         `json:"exact"`
	Amount   string         `json:"amount"`
	TaxCode  string         `json:"tax_code"`
}

// key is the line's name within its document.
func (l *linePart) key() string { return engine.LineKey(l.Price, l.Group) }

// groupPart is a group: an array of dimensions in documents, an object in other answers.
type groupPart []engine.GroupValue

func (g *groupPart) UnmarshalJSON(text []byte) error {
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		var values map[string]*string
		if err := json.Unmarshal(text, &values); err != nil {
			return err
		}
		*g = nil
		for _, dimension := range slices.Sorted(maps.Keys(values)) {
			*g = append(*g, groupValue(dimension, values[dimension]))
		}
		return nil
	}
	var values []struct {
		Dimension string  `json:"dimension"`
		Value     *string `json:"value"`
	}
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	*g = nil
	for _, v := range values {
		*g = append(*g, groupValue(v.Dimension, v.Value))
	}
	return nil
}

func groupValue(dimension string, value *string) engine.GroupValue {
	if value == nil {
		return engine.GroupValue{Dim: dimension, Absent: true}
	}
	return engine.GroupValue{Dim: dimension, Value: *value}
}

// String names the values of a group: "model=large region absent"; "" is everything.
func (g groupPart) String() string {
	var parts []string
	for _, v := range g {
		if v.Absent {
			parts = append(parts, v.Dim+" absent")
		} else {
			parts = append(parts, v.Dim+"="+v.Value)
		}
	}
	return strings.Join(parts, " ")
}

// readAnswer reads an answer's members. What it does not know it passes over.
func readAnswer(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// readLines reads the lines or adjustments of a document.
func readLines(texts []json.RawMessage) ([]linePart, error) {
	out := make([]linePart, len(texts))
	for i := range texts {
		if err := readAnswer(texts[i], &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// token reads the place behind which the next page begins: a position, or a text; "": there is
// none.
func token(text json.RawMessage) string {
	var s string
	if err := json.Unmarshal(text, &s); err == nil {
		return s
	}
	return strings.TrimSpace(strings.TrimPrefix(string(text), "null"))
}

type alertsAnswer struct {
	Alerts []alertPart `json:"alerts"`
	More   bool        `json:"more"`
}

type alertPart struct {
	Key          string `json:"key"`
	Seq          uint64 `json:"seq"`
	At           string `json:"at"`
	Subscription string `json:"subscription"`
	StartDate    string `json:"start_date"`
	Budget       string `json:"budget"`
	Percent      string `json:"percent"`
	Limit        string `json:"limit"`
	Value        string `json:"value"`
	Currency     string `json:"currency"`
	Meter        string `json:"meter"`
	Unit         string `json:"unit"`
}

type daysAnswer struct {
	Periods []daysPart `json:"periods"`
}

type daysPart struct {
	Subscription string `json:"subscription"`
	Plan         string `json:"plan"`
	Currency     string `json:"currency"`
	StartDate    string `json:"start_date"`
	Start        string `json:"start"`
	End          string `json:"end"`
	Closed       bool   `json:"closed"`
	Days         []struct {
		Date  string `json:"date"`
		Uses  uint64 `json:"uses"`
		SoFar string `json:"so_far"`
	} `json:"days"`
}

type invoicesAnswer struct {
	Invoices []invoicePart   `json:"invoices"`
	More     bool            `json:"more"`
	Next     json.RawMessage `json:"next"`
}

type invoicePart struct {
	Key       string `json:"key"`
	Account   string `json:"account"`
	Kind      string `json:"kind"`
	StartDate string `json:"start_date"`
	Currency  string `json:"currency"`
	Subtotal  string `json:"subtotal"`
	Total     string `json:"total"`
}

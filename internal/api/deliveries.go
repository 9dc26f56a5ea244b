package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"billctl/engine"
	"billctl/internal/live"
)

// Deliveries lists documents on their way to sinks: what is not delivered, by sink and then as it
// was issued, and behind it the newest delivered.
type Deliveries struct {
	Schema     string         `json:"schema"`
	Position   Position       `json:"position"`
	Sinks      []SinkProgress `json:"sinks"` // by name
	Deliveries []Delivery     `json:"deliveries"`
	More       bool           `json:"more"`
	Next       string         `json:"next,omitempty"` // the value of after for the next page
}

// SinkProgress is how many of the documents that were ever issued a sink has, alerts among them.
type SinkProgress struct {
	Name      string `json:"name"`
	Waiting   int64  `json:"waiting"` // retried ones too
	Parked    int64  `json:"parked"`
	Delivered int64  `json:"delivered"`
	LastError string `json:"last_error,omitempty"`
}

// Delivery is one document and one sink.
type Delivery struct {
	Sink     string `json:"sink"`
	Key      string `json:"key"`
	Account  string `json:"account"`
	Kind     string `json:"kind"` // document, alert
	Seq      uint64 `json:"seq"`  // of the entry that issued it
	State    string `json:"state"`
	Attempts int    `json:"attempts"` // 0 of what is delivered: nobody counts them for ever
	Error    string `json:"error,omitempty"`
}

func (h *handler) deliveries(r *http.Request, _ *engine.View, p Position) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	f := live.DeliveryFilter{Sink: r.FormValue("sink"), Limit: limit}
	if text := r.FormValue("state"); text != "" {
		state, ok := deliveryState(text)
		if !ok {
			return nil, badRequest("state %q is none of %s", text,
				strings.Join(live.DeliveryStates(), ", "))
		}
		f.State = &state
	}
	if text := r.FormValue("after"); text != "" {
		if f.After = placeOf(text); f.After == nil {
			return nil, badRequest("after %q is not what an answer had as next", text)
		}
	}
	sinks, rows, more, err := h.desk.Deliveries(h.sinks, f)
	if err != nil {
		return nil, err
	}
	known := func(s live.SinkDeliveries) bool { return s.Name == f.Sink }
	if f.Sink != "" && !slices.ContainsFunc(sinks, known) {
		return nil, notFound("there is no sink %q", f.Sink)
	}
	out := Deliveries{
		Schema: "billctl.deliveries.v1", Position: p, Sinks: []SinkProgress{},
		Deliveries: []Delivery{}, More: more,
	}
	for _, s := range sinks {
		out.Sinks = append(out.Sinks, SinkProgress(s))
	}
	for i := range rows {
		out.Deliveries = append(out.Deliveries, makeDelivery(&rows[i]))
	}
	if more {
		out.Next = placeText(&rows[len(rows)-1])
	}
	return out, nil
}

func makeDelivery(d *live.DeliveryRow) Delivery {
	kind := "document"
	if d.Alert {
		kind = "alert"
	}
	return Delivery{
		d.Sink, d.Key, d.Account, kind, uint64(d.Seq), d.State.String(), d.Attempts, d.Error,
	}
}

func deliveryState(text string) (live.DeliveryState, bool) {
	i := slices.Index(live.DeliveryStates(), text)
	return live.DeliveryState(max(i, 0)), i >= 0
}

// placeText names the place of a delivery in the list.
func placeText(d *live.DeliveryRow) string {
	return fmt.Sprintf("%s:%d:%s", d.State, d.Position, d.Sink)
}

// placeOf reads what placeText wrote; nil: it did not.
func placeOf(text string) *live.DeliveryRow {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return nil
	}
	state, ok := deliveryState(parts[0])
	position, err := strconv.ParseInt(parts[1], 10, 64)
	if !ok || err != nil || position < 0 {
		return nil
	}
	return &live.DeliveryRow{State: state, Position: position, Sink: parts[2]}
}

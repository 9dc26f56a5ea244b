package tui

import (
	"fmt"
	"strconv"
)

// newDeliveriesScreen lists documents on their way to sinks: first what has not arrived.
func newDeliveriesScreen() screen {
	return newList(view{
		name: "deliveries", path: "/v1/deliveries", pages: 200,
		columns: []column{
			{title: "state", least: 11, fit: true},
			{title: "sink", least: 6, most: 20, grow: 1},
			{title: "kind", least: 6, fit: true, drop: 4},
			{title: "account", least: 8, most: 36, grow: 2, drop: 2, find: true},
			{title: "attempts", least: 8, right: true, drop: 3},
			{title: "document", least: 16, most: 60, grow: 3, find: true},
			{title: "error", least: 12, most: 80, grow: 3, drop: 1},
		},
		read: readDeliveries,
		open: func(it *item) action {
			d := it.of.(*deliveryRow)
			if d.Kind == "alert" {
				return action{say: "an alert: " + d.Key}
			}
			return action{open: newInvoiceScreen(d.Key)}
		},
		empty: [2]string{"nothing to deliver",
			"Documents go to the sinks of the configuration as soon as they are issued."},
	})
}

type deliveryRow struct {
	Sink     string `json:"sink"`
	Key      string `json:"key"`
	Account  string `json:"account"`
	Kind     string `json:"kind"`
	State    string `json:"state"`
	Attempts uint64 `json:"attempts"`
	Error    string `json:"error"`
}

func readDeliveries(body []byte) ([]item, []line, bool, error) {
	var a struct {
		Sinks []struct {
			Name      string `json:"name"`
			Waiting   uint64 `json:"waiting"`
			Parked    uint64 `json:"parked"`
			Delivered uint64 `json:"delivered"`
			LastError string `json:"last_error"`
		} `json:"sinks"`
		Deliveries []deliveryRow `json:"deliveries"`
		More       bool          `json:"more"`
		Next       string        `json:"next"`
	}
	if err := readAnswer(body, &a); err != nil {
		return nil, nil, false, err
	}
	var lines []line
	for _, s := range a.Sinks {
		l := line{text: fmt.Sprintf("%s: %s delivered, %s waiting, %s parked", s.Name,
			count(s.Delivered), count(s.Waiting), count(s.Parked))}
		if s.LastError != "" {
			l.text += "; " + s.LastError
			l.ink = warning
		}
		if s.Parked > 0 {
			l.ink = bad
		}
		lines = append(lines, l)
	}
	if len(lines) > 0 {
		lines = append(lines, line{})
	}
	items := make([]item, len(a.Deliveries))
	for i := range a.Deliveries {
		d := &a.Deliveries[i]
		sign, in := deliveryState(d.State)
		items[i] = item{id: d.Sink + " " + d.Key, of: d, fields: []field{
			{text: d.State, shown: sign + " " + d.State, ink: in}, {text: d.Sink},
			{text: d.Kind, ink: faint}, {text: d.Account, ink: accent},
			{text: strconv.FormatUint(d.Attempts, 10)}, {text: d.Key}, {text: d.Error, ink: in},
		}}
	}
	return items, lines, a.More || a.Next != "", nil
}

// deliveryState is how the state of a delivery looks; the signs are ASCII.
func deliveryState(state string) (string, ink) {
	switch state {
	case "delivered":
		return "+", good
	case "retrying":
		return "!", warning
	case "parked":
		return "x", bad
	}
	return "~", plain
}

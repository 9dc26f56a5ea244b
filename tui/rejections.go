package tui

import (
	"net/url"
	"strconv"
)

// newRejectionsScreen lists rows that do not count, the newest first.
func newRejectionsScreen() screen {
	return newList(view{
		name: "rejections", path: "/v1/events", every: 4, pages: 100,
		params: url.Values{"outcome": {"rejected"}, "order": {"newest"}},
		columns: []column{
			{title: "position", least: 9, fit: true, right: true},
			{title: "reason", least: 12, fit: true, find: true},
			{title: "accepted at", least: 19, drop: 3},
			{title: "source", least: 8, most: 20, grow: 1, drop: 4},
			{title: "type", least: 8, most: 24, grow: 1, drop: 5},
			{title: "subject", least: 8, most: 36, grow: 2, drop: 1, find: true},
			{title: "id", least: 8, most: 40, grow: 2, drop: 2, find: true},
			{title: "why", least: 16, grow: 4, drop: 6},
		},
		read: readRejections,
		open: func(it *item) action { return action{open: newEventScreen(it.of.(uint64))} },
		empty: [2]string{"every row counts",
			"Rows that do not count are listed here with the reason; they bill nothing."},
	})
}

func readRejections(body []byte) ([]item, []line, bool, error) {
	var a struct {
		Events []struct {
			Seq     uint64 `json:"seq"`
			At      string `json:"at"`
			Outcome string `json:"outcome"`
			Origin  struct {
				Source string `json:"source"`
			} `json:"origin"`
			ID      string `json:"id"`
			Type    string `json:"type"`
			Subject string `json:"subject"`
			Fault   string `json:"fault"`
		} `json:"events"`
		More bool `json:"more"`
	}
	if err := readAnswer(body, &a); err != nil {
		return nil, nil, false, err
	}
	items := make([]item, len(a.Events))
	for i := range a.Events {
		e := &a.Events[i]
		items[i] = item{id: strconv.FormatUint(e.Seq, 10), of: e.Seq, fields: []field{
			number(e.Seq, accent), {text: e.Outcome, ink: warning}, instant(&e.At),
			{text: e.Origin.Source, ink: faint}, {text: e.Type}, {text: e.Subject}, {text: e.ID},
			{text: e.Fault, ink: faint},
		}}
	}
	return items, nil, a.More, nil
}

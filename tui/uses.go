package tui

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// usesScreen lists the events that count for a line, the newest first.
type usesScreen struct {
	account, subscription, startDate, line string

	body    []byte
	failure *Failure
	events  pages[eventPart]
	table   *table
}

func newUsesScreen(account, subscription, startDate, line string) screen {
	u := &usesScreen{
		account: account, subscription: subscription, startDate: startDate, line: line,
	}
	u.events.id = func(e *eventPart) string { return strconv.FormatUint(e.Seq, 10) }
	u.table = newTable(
		column{title: "position", fit: true, right: true},
		column{title: "time", fit: true, drop: 2},
		column{title: "value", fit: true, right: true},
		column{title: "", least: 9, drop: 1},
		column{title: "id", least: 12, most: 48, grow: 2, drop: 3},
		column{title: "subject", least: 8, most: 48, grow: 1, drop: 4},
	)
	u.table.row = u.row
	return u
}

func (u *usesScreen) row(i int) []field {
	e := &u.events.rows[i]
	value, state := strong, field{}
	switch {
	case e.Counts != nil && !*e.Counts:
		value, state = faint, field{text: "corrected", ink: warning}
		if e.CorrectedBy != nil {
			state.text = e.CorrectedBy.Kind
		}
	case e.Corrects != nil:
		state = field{text: "amends", ink: accent}
	}
	return []field{
		{text: strconv.FormatUint(e.Seq, 10), ink: accent}, {text: instantOf(e.Time), ink: faint},
		{text: grouped(e.Value), ink: value}, state, {text: e.ID}, {text: e.Subject},
	}
}

// instantOf is the time of an event; malformed rows have none.
func instantOf(s *string) string {
	if s == nil {
		return ""
	}
	return instantText(s)
}

func (u *usesScreen) crumb() string { return "events" }

func (u *usesScreen) params() url.Values {
	return url.Values{
		"account": {u.account}, "subscription": {u.subscription}, "start_date": {u.startDate},
		"line": {u.line},
	}
}

func (u *usesScreen) wants() []want {
	list := []want{{id: "uses", path: "/v1/uses", params: u.params()}}
	place := u.events.next
	if place != "" && u.table.cursor+u.table.height >= u.table.count {
		older := u.params()
		older.Set("before", place)
		list = append(list, want{id: olderID + place, path: "/v1/uses", params: older, once: true})
	}
	return list
}

func (u *usesScreen) take(id string, body []byte) error {
	var answer struct {
		Events []eventPart     `json:"events"`
		Next   json.RawMessage `json:"next"`
	}
	if err := readAnswer(body, &answer); err != nil {
		return err
	}
	if place, older := strings.CutPrefix(id, olderID); older {
		u.events.older(place, answer.Events, token(answer.Next))
		u.table.setCount(len(u.events.rows))
		return nil
	}
	chosen := ""
	if u.table.cursor > 0 && u.table.cursor < len(u.events.rows) {
		chosen = u.events.id(&u.events.rows[u.table.cursor])
	}
	u.body, u.failure = body, nil
	u.events.newest(answer.Events, token(answer.Next))
	u.table.setCount(len(u.events.rows))
	// The cursor stays on its event, and the event on its line, when others come above it.
	for i := range u.events.rows {
		if chosen != "" && u.events.id(&u.events.rows[i]) == chosen {
			by := i - u.table.cursor
			u.table.top += by
			u.table.move(by)
			break
		}
	}
	return nil
}

func (u *usesScreen) fail(id string, err *Failure) {
	if id == "uses" {
		u.failure = err
	}
}

func (u *usesScreen) key(k tea.KeyMsg) (action, bool) {
	if k.String() == "enter" {
		return u.enter(), true
	}
	return action{}, u.table.key(k)
}

func (u *usesScreen) enter() action {
	if u.table.cursor >= len(u.events.rows) {
		return action{}
	}
	return action{open: newEventScreen(u.events.rows[u.table.cursor].Seq)}
}

func (u *usesScreen) click(line, wheel int) action {
	if u.table.click(line-1, wheel) {
		return u.enter()
	}
	return action{}
}

func (u *usesScreen) draw(w, h int, p *pen) []string {
	if u.body == nil {
		return waiting("the events of "+u.line, u.failure, w, h, p)
	}
	if w <= 0 || h <= 0 {
		return nil
	}
	many := grouped(strconv.Itoa(len(u.events.rows))) + " events"
	if u.events.next != "" {
		many += " and more"
	}
	out := []string{p.ink(strong, p.cut(p.safe(u.line), w))}
	more := "  " + p.safe(u.subscription+" "+u.startDate) + "  " + many + ", newest first"
	if width(out[0])+width(more) <= w {
		out[0] += p.ink(faint, more)
	}
	if len(u.events.rows) == 0 {
		return clip(append(out, p.ink(faint, "no event counts for this line")), w, h)
	}
	return clip(append(out, u.table.draw(w, h-1, p)...), w, h)
}

func (u *usesScreen) help() []binding {
	return []binding{{"enter", "open the event"}}
}

func (u *usesScreen) export() (heading []string, rows [][]string, answer []byte) {
	if u.body == nil {
		return nil, nil, nil
	}
	for i := range u.events.rows {
		e := &u.events.rows[i]
		corrected := ""
		if e.CorrectedBy != nil {
			corrected = strconv.FormatUint(e.CorrectedBy.Seq, 10)
		}
		rows = append(rows, []string{
			strconv.FormatUint(e.Seq, 10), instantOf(e.Time), e.ID, e.Subject, e.Value, corrected,
		})
	}
	return []string{"seq", "time", "id", "subject", "value", "corrected_by"}, rows, u.body
}

func (u *usesScreen) chosen() string {
	if u.table.cursor >= len(u.events.rows) {
		return ""
	}
	return u.events.rows[u.table.cursor].ID
}

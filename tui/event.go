package tui

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"
)

// eventScreen shows one row of the journal: what became of it and why, where it was read, and
// every member that it has.
type eventScreen struct {
	seq     uint64
	body    []byte
	outcome string
	failure *Failure
	sheet   sheet
}

func newEventScreen(seq uint64) screen { return &eventScreen{seq: seq} }

func (e *eventScreen) crumb() string { return "event " + strconv.FormatUint(e.seq, 10) }

func (e *eventScreen) wants() []want {
	return []want{{id: "event", path: "/v1/events", params: url.Values{
		"seq": {strconv.FormatUint(e.seq, 10)},
	}}}
}

// eventPart is what the screen says itself; the rest it shows as it is.
type eventPart struct {
	Seq         uint64          `json:"seq"`
	At          string          `json:"at"`
	Outcome     string          `json:"outcome"`
	Account     *string         `json:"account"`
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        *string         `json:"time"`
	Value       string          `json:"value"`
	Counts      *bool           `json:"counts"`
	Corrects    *correctionPart `json:"corrects"`
	CorrectedBy *correctionPart `json:"corrected_by"`
}

type correctionPart struct {
	Seq    uint64 `json:"seq"`
	Kind   string `json:"kind"`
	At     string `json:"at"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

func (e *eventScreen) take(_ string, body []byte) error {
	var answer struct {
		Events []json.RawMessage `json:"events"`
	}
	if err := readAnswer(body, &answer); err != nil {
		return err
	}
	if len(answer.Events) == 0 {
		e.body = body
		e.sheet.replace([]sheetItem{{kind: textItem, text: "No row has this position."}})
		return nil
	}
	var event eventPart
	if err := readAnswer(answer.Events[0], &event); err != nil {
		return err
	}
	members, err := memberItems(answer.Events[0])
	if err != nil {
		return err
	}
	e.body, e.outcome, e.failure = body, event.Outcome, nil
	items := event.said()
	for i := range members {
		if members[i].label == "account" && members[i].indent == 0 && event.Account != nil {
			account := *event.Account
			members[i].opens = func() screen { return newAccountScreen(account) }
			members[i].ink = accent
		}
	}
	e.sheet.replace(slices.Concat(items, []sheetItem{{kind: gapItem}}, members))
	return nil
}

// said is the outcome in words, and what corrections did.
func (e *eventPart) said() []sheetItem {
	first := sheetItem{
		kind: textItem, id: "outcome said", signed: true, sign: signGood, ink: good,
		text: "accepted: it counts",
	}
	if e.Account == nil {
		first.text = "accepted"
	}
	if e.Outcome != "accepted" {
		first.sign, first.ink = signBad, bad
		first.text = "rejected, " + e.Outcome + ": " + outcomeMeaning(e.Outcome)
	}
	items := []sheetItem{first}
	if c := e.CorrectedBy; c != nil {
		items[0].sign, items[0].ink, items[0].text = signWarning, warning,
			"accepted, and corrected since: as it stands here it no longer counts"
		items = append(items, c.item("by the correction at "))
	}
	if c := e.Corrects; c != nil {
		items = append(items, c.item("it corrects the event at "))
	}
	return items
}

func (c *correctionPart) item(what string) sheetItem {
	text := fmt.Sprintf("%s %s%d", c.Kind, what, c.Seq)
	if c.At != "" {
		text += ", " + instantText(&c.At)
	}
	if c.Actor != "" {
		text += ", by " + c.Actor
	}
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	seq := c.Seq
	return sheetItem{
		kind: textItem, id: what, ink: accent, text: text,
		opens: func() screen { return newEventScreen(seq) },
	}
}

// outcomeMeaning says when a row is rejected for a reason (docs/semantics.md).
func outcomeMeaning(reason string) string {
	switch reason {
	case "malformed":
		return "the line is no event"
	case "unknown_account":
		return "no account owns the subject at the event's time, and no default opens one"
	case "too_late":
		return "its time is before the floor, or in a period that has been closed for too long"
	case "too_early":
		return "its time is too far after its arrival"
	case "no_subscription":
		return "the account has no subscription at that time"
	case "unmatched":
		return "no meter of the plan counts it"
	case "bad_value":
		return "a meter's number is missing or is none"
	case "overflow":
		return "a meter's number is beyond the range"
	case "conflict":
		return "its key is remembered with another content"
	case "duplicate":
		return "its key is remembered with the same content: it was counted once already"
	case "unknown_event":
		return "a correction: no event with this id counted"
	case "voided":
		return "a correction: the event was taken back before"
	case "not_correctable":
		return "a correction: a meter that counted the event cannot take it back"
	}
	return "it does not count"
}

func (e *eventScreen) fail(_ string, err *Failure) { e.failure = err }

func (e *eventScreen) key(k tea.KeyMsg) (action, bool) {
	if k.String() == "enter" {
		return e.sheet.enter(), true
	}
	return action{}, e.sheet.key(k)
}

func (e *eventScreen) click(line, wheel int) action { return e.sheet.click(line, wheel) }

func (e *eventScreen) draw(w, h int, p *pen) []string {
	if e.body == nil {
		return waiting(e.crumb(), e.failure, w, h, p)
	}
	return e.sheet.draw(w, h, true, p)
}

func (e *eventScreen) help() []binding {
	return []binding{{"enter", "open the account, or the correction"}}
}

func (e *eventScreen) export() ([]string, [][]string, []byte) {
	if e.body == nil {
		return nil, nil, nil
	}
	return []string{"member", "value"}, memberRows(e.sheet.items), e.body
}

func (e *eventScreen) chosen() string { return e.sheet.copied() }

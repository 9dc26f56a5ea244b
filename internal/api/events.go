package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"billctl/engine"
	"billctl/internal/live"
)

// Events lists rows of the journal with their outcome.
type Events struct {
	Schema   string   `json:"schema"`
	Position Position `json:"position"`
	Events   []Event  `json:"events"`
	More     bool     `json:"more"`
	Next     uint64   `json:"next,omitempty"` // before of the next page; newest first only
}

// Event is a row and what became of it.
type Event struct {
	Seq       uint64            `json:"seq"`
	At        string            `json:"at"`
	Outcome   string            `json:"outcome"` // accepted, or the reason of the rejection
	Account   *string           `json:"account"`
	Origin    Origin            `json:"origin"`
	ID        string            `json:"id,omitempty"`
	Source    string            `json:"source,omitempty"`
	Type      string            `json:"type,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Time      *string           `json:"time,omitempty"`
	Defaulted bool              `json:"time_defaulted,omitempty"`
	Data      map[string]string `json:"data,omitempty"`
	Rest      json.RawMessage   `json:"rest,omitempty"`
	Fault     string            `json:"fault,omitempty"`
	Raw       string            `json:"raw,omitempty"`
	Size      int64             `json:"size,omitempty"`
	// Corrects: the event is a correction, of the row at that position. CorrectedBy: the correction at
	// that position took it back or changed it.
	Corrects    *Correction `json:"corrects,omitempty"`
	CorrectedBy *Correction `json:"corrected_by,omitempty"`
}

// Correction tells a row and its correction of each other.
type Correction struct {
	Seq    uint64 `json:"seq"`          // of the other one
	Kind   string `json:"kind"`         // voided: taken back; amended: there is another version
	At     string `json:"at,omitempty"` // of the correction, in corrected_by
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// Origin is where a row was read.
type Origin struct {
	Source    string `json:"source"`
	Partition string `json:"partition"`
	Offset    int64  `json:"offset"`
}

// RejectedOutcome asks for the rows with any outcome but accepted.
const RejectedOutcome = "rejected"

func (h *handler) events(r *http.Request, v *engine.View, p Position) (any, error) {
	f, err := rowFilter(r)
	if err != nil {
		return nil, err
	}
	if _, found := v.Account(f.Account); !found && f.Account != "" {
		return nil, notFound("there is no account %q", f.Account)
	}
	rows, more, err := h.desk.Rows(r.Context(), v, f)
	if err != nil {
		return nil, rowsProblem(err)
	}
	switch {
	case len(rows) > 0 || f.Before != 0:
	case f.Seq != 0:
		return nil, notFound("position %d of the journal is no row", f.Seq)
	case f.ID != "":
		return nil, notFound("no row has the id %q", f.ID)
	}
	out := Events{Schema: "billctl.events.v1", Position: p, Events: []Event{}, More: more}
	for i := range rows {
		out.Events = append(out.Events, makeEvent(&rows[i]))
	}
	if more && f.Newest {
		out.Next = out.Events[len(out.Events)-1].Seq
	}
	return out, nil
}

// rowFilter reads which rows a request for events asks for.
func rowFilter(r *http.Request) (f live.RowFilter, err error) {
	f = live.RowFilter{
		ID: r.FormValue("id"), Subject: r.FormValue("subject"), Account: r.FormValue("account"),
	}
	if f.Limit, err = limitOf(r); err != nil {
		return f, err
	}
	if f.Seq, err = seqOf(r, "seq"); err != nil {
		return f, err
	}
	if f.Newest, err = newestOf(r); err != nil {
		return f, err
	}
	if f.Before, err = seqOf(r, "before"); err != nil {
		return f, err
	}
	switch text := r.FormValue("outcome"); text {
	case "":
	case RejectedOutcome:
		f.Rejected = true
	default:
		reason, ok := engine.ReasonOf(text)
		if !ok {
			return f, badRequest("outcome %q is none of %s, %s", text,
				strings.Join(engine.ReasonNames(), ", "), RejectedOutcome)
		}
		f.Outcome = &reason
	}
	return f, nil
}

// seqOf reads a parameter that is a position in the journal; 0: it is absent.
func seqOf(r *http.Request, name string) (engine.Seq, error) {
	text := r.FormValue(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, badRequest("%s %q is no position in the journal", name, text)
	}
	return engine.Seq(n), nil
}

// newestOf reports whether a list is asked for newest first; before is for such lists alone.
func newestOf(r *http.Request) (bool, error) {
	switch text := r.FormValue("order"); {
	case text == "newest":
		return true, nil
	case text != "":
		return false, &problem{
			http.StatusBadRequest, BadRequest, `order "` + text + `" is not newest`,
			"leave it out for the oldest first",
		}
	case r.FormValue("before") != "":
		return false, &problem{
			http.StatusBadRequest, BadRequest, "before goes with order=newest only",
			"add order=newest, or leave before out",
		}
	}
	return false, nil
}

// rowsProblem is the answer where rows can't be read.
func rowsProblem(err error) error {
	if errors.Is(err, live.ErrNoRows) {
		return &problem{
			http.StatusNotFound, NotFound, err.Error(),
			"the state directory as it is now, and archive files, have them",
		}
	}
	return err
}

func makeEvent(r *live.Row) Event {
	e := Event{
		Seq: uint64(r.Seq), At: r.At.String(), Outcome: r.Outcome.String(),
		Origin: Origin{r.Origin, r.Partition, r.Offset}, ID: r.ID, Source: r.Source, Type: r.Type,
		Subject: r.Subject, Defaulted: r.Defaulted, Data: r.Data, Fault: r.Fault,
		Raw: string(r.Raw), Size: r.Size, Corrects: makeCorrection(r.Corrects),
		CorrectedBy: makeCorrection(r.CorrectedBy),
	}
	if r.Rest != "" {
		e.Rest = json.RawMessage(r.Rest)
	}
	if r.Outcome != engine.ReasonMalformed {
		e.Time = instant(r.Time)
	}
	if r.Account != "" {
		e.Account = &r.Account
	}
	return e
}

func makeCorrection(c *live.Correction) *Correction {
	if c == nil {
		return nil
	}
	out := &Correction{Seq: uint64(c.Seq), Kind: "voided", Actor: c.Actor, Reason: c.Reason}
	if c.Amends {
		out.Kind = "amended"
	}
	if c.At != 0 {
		out.At = c.At.String()
	}
	return out
}

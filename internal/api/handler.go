package api

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"billctl/engine"
	"billctl/internal/live"
)

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 10_000
)

// Failure is the answer of a request that can't be answered.
type Failure struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"` // the way out, if there is one to name
	} `json:"error"`
}

// The codes of a Failure.
const (
	NotFound       = "not_found"
	BadRequest     = "bad_request"
	Unavailable    = "unavailable"     // the process is about to end
	ArchiveDamaged = "archive_damaged" // a file of the archive is damaged or missing
	StateDamaged   = "state_damaged"   // the state directory is damaged
	Internal       = "internal"
)

// Handler returns the routes over a desk. sinks are the names of the configured sinks, for a desk
// without a process.
func Handler(d *live.Desk, sinks []string) http.Handler {
	h := &handler{desk: d, sinks: sinks}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", h.answer(h.status))
	mux.HandleFunc("GET /v1/accounts", h.answer(h.accounts))
	mux.HandleFunc("GET /v1/account", h.answer(h.account))
	mux.HandleFunc("GET /v1/invoices", h.answer(h.invoices))
	mux.HandleFunc("GET /v1/invoice", h.answer(h.invoice))
	mux.HandleFunc("GET /v1/days", h.answer(h.days))
	mux.HandleFunc("GET /v1/line", h.answer(h.line))
	mux.HandleFunc("GET /v1/meters", h.answer(h.meters))
	mux.HandleFunc("GET /v1/plans", h.answer(h.plans))
	mux.HandleFunc("GET /v1/alerts", h.answer(h.alerts))
	mux.HandleFunc("GET /v1/credits", h.answer(h.credits))
	mux.HandleFunc("GET /v1/events", h.answer(h.events))
	mux.HandleFunc("GET /v1/uses", h.answer(h.uses))
	mux.HandleFunc("GET /v1/deliveries", h.answer(h.deliveries))
	mux.HandleFunc("GET /v1/checkpoints", h.answer(h.checkpoints))
	mux.HandleFunc("GET /v1/control", h.answer(h.control))
	return mux
}

type handler struct {
	desk  *live.Desk
	sinks []string
}

// problem is an answer other than 200.
type problem struct {
	status  int
	code    string
	message string
	hint    string
}

func (p *problem) Error() string { return p.message }

func notFound(format string, args ...any) error {
	return &problem{http.StatusNotFound, NotFound, fmt.Sprintf(format, args...), ""}
}

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, BadRequest, fmt.Sprintf(format, args...), ""}
}

// broken is the answer for an error that is no fault of the request: it says what is damaged, since
// the error itself does not cross the socket.
func broken(err error) *problem {
	p := &problem{status: http.StatusInternalServerError, code: Internal, message: err.Error()}
	switch damage, hint := live.DamageOf(err); damage {
	case live.ArchiveDamage:
		p.code, p.hint = ArchiveDamaged, hint
	case live.StateDamage:
		p.code, p.hint = StateDamaged, hint
	}
	return p
}

// answer turns a function of a view into a route.
func (h *handler) answer(
	f func(*http.Request, *engine.View, Position) (any, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var out any
		v, err := h.desk.View(r.Context())
		if err == nil {
			out, err = f(r, v, makePosition(h.desk, v))
		} else {
			err = &problem{http.StatusServiceUnavailable, Unavailable, err.Error(), ""}
		}
		status := http.StatusOK
		if err != nil {
			p, ok := err.(*problem)
			if !ok {
				p = broken(err)
			}
			var fail Failure
			fail.Error.Code, fail.Error.Message, fail.Error.Hint = p.code, p.message, p.hint
			status, out = p.status, fail
		}
		body, err := json.Marshal(out)
		if err != nil {
			panic("BUG: answer is no JSON: " + err.Error())
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		// A client that has gone away needs no answer.
		_, _ = w.Write(append(body, '\n'))
	}
}

func limitOf(r *http.Request) (int, error) {
	text := r.FormValue("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, badRequest("limit %q is no number from 1 to %d", text, maxLimit)
	}
	return n, nil
}

func (h *handler) account(r *http.Request, v *engine.View, p Position) (any, error) {
	id := r.FormValue("id")
	bill, ok := v.Bill(id)
	if !ok {
		return nil, notFound("there is no account %q", id)
	}
	out := Account{
		Schema: "billctl.account.v1", Position: p, ID: bill.ID, Name: bill.Name,
		Timezone: bill.Zone, Automatic: bill.Auto, Subjects: []Ownership{},
		Subscriptions: []Subscription{}, Credits: []Credit{}, Periods: []Period{},
		Pending: []Pending{},
	}
	for _, o := range bill.Subjects {
		out.Subjects = append(out.Subjects, Ownership{o.Subject, instant(o.From), instant(o.To)})
	}
	for i := range bill.Subscriptions {
		out.Subscriptions = append(out.Subscriptions, makeSubscription(&bill.Subscriptions[i]))
	}
	for i := range bill.Credits {
		out.Credits = append(out.Credits, makeCredit(&bill.Credits[i], v.Standing().At))
	}
	out.Balances = makeBalances(out.Credits)
	for i := range bill.Coupons {
		out.Coupons = append(out.Coupons, makeCoupon(&bill.Coupons[i]))
	}
	for i := range bill.Taxes {
		out.Taxes = append(out.Taxes, makeTaxes(&bill.Taxes[i]))
	}
	for i := range bill.Open {
		out.Periods = append(out.Periods, makePeriod(v, bill.ID, &bill.Open[i]))
	}
	for i := range bill.Pending {
		out.Pending = append(out.Pending, makePending(&bill.Pending[i]))
	}
	return out, nil
}

func (h *handler) invoice(r *http.Request, _ *engine.View, p Position) (any, error) {
	key := r.FormValue("key")
	doc, ok, err := h.desk.Document(key)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, notFound("there is no invoice %q", key)
	}
	return Invoice{"billctl.invoice_answer.v1", p, uint64(doc.Seq), doc.Body}, nil
}

func (h *handler) status(_ *http.Request, v *engine.View, p Position) (any, error) {
	s := v.Standing()
	out := Status{
		Schema: "billctl.status.v1", Position: p, Ruleset: int(s.Ruleset), Accounts: v.Accounts(),
		Meters: len(v.Meters()), LastSeal: hex.EncodeToString(s.LastSeal[:]),
		Controls: []Control{}, Sinks: []Sink{},
	}
	for _, c := range v.Controls() {
		row := Control{c.Source.Name, c.Read, c.Counts[engine.Accepted], map[string]uint64{}}
		for reason, n := range c.Counts {
			if r := engine.Reason(reason); r != engine.Accepted && n > 0 {
				row.Rejected[r.String()] = n
			}
		}
		out.Controls = append(out.Controls, row)
	}
	metrics, sinks, running := h.desk.Live()
	if running {
		out.Process = makeProcess(&metrics)
	} else {
		var err error
		if sinks, err = h.desk.Sinks(h.sinks); err != nil {
			return nil, err
		}
	}
	for _, s := range sinks {
		out.Sinks = append(out.Sinks, Sink{s.Name, s.Waiting, s.Parked, s.LastError})
	}
	return out, nil
}

func makeProcess(m *live.Metrics) *Process {
	p := &Process{
		Started: engine.Micros(m.Started.UnixMicro()).String(), Rows: m.Rows, Batches: m.Batches,
		Documents: m.Documents, Alerts: m.Alerts, JournalSize: m.Bytes, Checkpoint: uint64(m.Checkpoint),
		Archived: uint64(m.Archive.Through), Opening: uint64(m.Archive.Opening),
		ArchiveFail: m.Archive.Failed, Notices: append([]string{}, m.Notices...),
	}
	if !m.SavedAt.IsZero() {
		p.SavedAt = instant(engine.Micros(m.SavedAt.UnixMicro()))
	}
	return p
}

func (h *handler) control(r *http.Request, v *engine.View, p Position) (any, error) {
	name := r.FormValue("name")
	var file engine.Digest
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(file) {
		return nil, badRequest("name %q is no SHA-256", name)
	}
	copy(file[:], b)
	out := Applied{Schema: "billctl.control.v1", Position: p, Name: name, State: "waiting"}
	if why, ok := h.desk.Refused(name); ok {
		out.State, out.Reason = "refused", why
	} else if h.desk.Applied(v, name, file) {
		out.State = "applied"
		rejected, err := h.desk.Rejected(r.Context(), name, file)
		if err != nil {
			return nil, err
		}
		for _, j := range rejected {
			out.Rejected = append(out.Rejected, RejectedVoid{j.Index, uint64(j.Seq), j.Reason.String()})
		}
	}
	return out, nil
}

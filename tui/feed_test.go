package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"
)

// world is a Feed whose state is made by a test.
type world struct {
	mu      sync.Mutex
	where   string
	journal string
	seq     uint64
	started string
	status  string
	n       int // accounts
	page    int // of them an answer has at most; 0: as asked
	bump    uint64
	err     error            // of every question
	refuse  map[string]error // by path
	fixed   map[string]string
	asked   []string       // questions, in their order
	open    map[string]int // questions that are open now, by want
	most    int            // the most of one want
}

func newWorld(accounts int) *world {
	return &world{
		where: "process on ./state", journal: strings.Repeat("ab", 16), seq: 4711, n: accounts,
		started: "2026-09-17T06:00:00Z", status: "live", refuse: map[string]error{},
		fixed: map[string]string{}, open: map[string]int{},
	}
}

func (w *world) Where() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.where
}

func (w *world) Ask(ctx context.Context, path string, params url.Values) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, path+"?"+params.Encode())
	w.open[path]++
	w.most = max(w.most, w.open[path])
	defer func() { w.open[path]-- }()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w.err != nil {
		return nil, w.err
	}
	if err := w.refuse[path]; err != nil {
		return nil, err
	}
	if body, ok := w.fixed[path]; ok {
		if strings.Contains(body, testPosition) {
			return []byte(strings.Replace(body, testPosition, w.position(), 1)), nil
		}
		return []byte(strings.Replace(body, "{", "{"+w.position()+",", 1)), nil
	}
	switch path {
	case "/v1/status":
		return w.statusAnswer(), nil
	case "/v1/accounts":
		return w.accountsAnswer(params)
	}
	return nil, &Failure{"not_found", "there is no " + path, "look elsewhere"}
}

func (w *world) position() string {
	return fmt.Sprintf(`"position": {"journal": %q, "seq": %d, "at": "2026-09-17T08:00:00Z",
		"watermark": "2026-09-17T07:55:00Z", "status": %q, "sources": [{"name": "api",
		"caught_up": true, "lag_bytes": 2048, "lag_seconds": 1.25}]}`, w.journal, w.seq, w.status)
}

func (w *world) statusAnswer() []byte {
	process := fmt.Sprintf(`{"started": %q, "checkpoint": 4000,
		"checkpoint_at": "2026-09-17T08:00:00Z"}`, w.started)
	if w.started == "" {
		process = "null"
	}
	return fmt.Appendf(nil, `{%s, "controls": [{"source": "api", "read": %d, "accepted": %d,
		"rejected": {"late": 7, "duplicate": 5}}], "sinks": [{"name": "books", "waiting": 3,
		"parked": 1}], "process": %s}`, w.position(), w.seq*10, w.seq*10-12, process)
}

// names are those that a terminal has trouble with.
var names = []string{
	"Acme GmbH", "株式会社サンプル", "Zoë 🚀🚀 Rockets", "\x1b[31mred\x1b[0m\x07", "tab\there\r\n", "",
	"‮gnp.exe", strings.Repeat("long name ", 12), "=cmd|' /C calc'!A0",
}

// account is the i-th account by id. Its figures move with the bump.
func (w *world) account(i int) string {
	id, amount := fmt.Sprintf("acct-%06d", i), fmt.Sprintf("%d.%02d", i*i%99_991, i*7%100)
	rows := uint64(i) * 37
	if w.bump > 0 && i%3 == 1 {
		rows += w.bump
		amount = fmt.Sprintf("%d.%02d", i*i%99_991, (uint64(i)*7+w.bump)%100)
	}
	totals := fmt.Sprintf(`{"currency": "EUR", "so_far": %q, "if_closed_now": "%d.00"}`, amount,
		i*i%99_991+29)
	switch i % 11 {
	case 5:
		totals += `, {"currency": "JPY", "so_far": "1200", "if_closed_now": "1500"}`
	case 6:
		totals = ""
	}
	budget := ""
	if i%4 == 0 {
		budget = fmt.Sprintf(`, "budget": {"budget": "spend", "percent": "%d", "subscription": "main"}`,
			i*13%140)
	}
	name, err := json.Marshal(names[i%len(names)])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return fmt.Sprintf(`{"id": %q, "name": %s, "rows": %d, "periods": [{"plan": "pro"}],
		"totals": [%s], "days": [0, 3, %d, 9, 2, %d]%s}`, id, name, rows, totals, i%40,
		rows%50, budget)
}

// accountsAnswer knows filters that are part of the id, and the orders by id.
func (w *world) accountsAnswer(params url.Values) ([]byte, error) {
	number := func(name string, usual int) int {
		if n, err := strconv.Atoi(params.Get(name)); err == nil {
			return n
		}
		return usual
	}
	filter := params.Get("filter")
	if strings.HasPrefix(filter, ">x") {
		return nil, &Failure{"bad_request", "filter: \">x\" is no amount", "write >100"}
	}
	fits := func(i int) bool {
		return filter == "" || strings.Contains(fmt.Sprintf("acct-%06d", i), filter)
	}
	offset, limit, matched, next := number("offset", 0), number("limit", 100), 0, ""
	if w.page > 0 {
		limit = min(limit, w.page)
	}
	var rows []string
	if filter == "" && params.Get("after") == "" { // they need not be looked for
		for at := offset; at < min(w.n, offset+limit); at++ {
			i := at
			if params.Get("order") == "desc" {
				i = w.n - 1 - at
			}
			rows = append(rows, w.account(i))
			next = fmt.Sprintf("acct-%06d", i)
		}
		matched = w.n
	}
	for at := range w.n {
		if matched == w.n {
			break
		}
		i := at
		if params.Get("order") == "desc" {
			i = w.n - 1 - at
		}
		id := fmt.Sprintf("acct-%06d", i)
		if !fits(i) {
			continue
		}
		matched++
		if matched <= offset || id <= params.Get("after") {
			continue
		}
		if len(rows) < limit {
			rows = append(rows, w.account(i))
			next = id
		}
	}
	if offset+len(rows) >= matched || next == fmt.Sprintf("acct-%06d", w.n-1) {
		next = ""
	}
	return fmt.Appendf(nil, `{%s, "total": %d, "matched": %d, "accounts": [%s], "next": %q}`,
		w.position(), w.n, matched, strings.Join(rows, ","), next), nil
}

// details are answers of the screens below a list.
func (w *world) details() *world {
	w.fixed["/v1/account"], w.fixed["/v1/alerts"] = testAccount(), testAlerts()
	w.fixed["/v1/days"], w.fixed["/v1/line"] = testDays(), testLineAnswer("so_far")
	w.fixed["/v1/uses"] = testUses(900, 40, "860")
	w.fixed["/v1/invoice"] = `{"seq": 7, "invoice": ` + testDocument("", "", "1.00") + `}`
	return w
}

// lists are answers of the other views.
func (w *world) lists() *world {
	w.fixed["/v1/invoices"] = `{"invoices": [{"key": "acct-000001/main/2026-08-01/period",
		"account": "acct-000001", "kind": "period", "start_date": "2026-08-01", "currency": "EUR",
		"subtotal": "1214.77", "total": "1433.68"}, {"key": "株式会社/main/2026-08-01/period",
		"account": "株式会社", "kind": "correction", "start_date": "2026-08-01",
		"currency": "JPY", "subtotal": "-120", "total": "-132"}], "more": true}`
	w.fixed["/v1/deliveries"] = `{"sinks": [{"name": "books", "waiting": 2, "parked": 1,
		"delivered": 4711, "last_error": "409 conflict"}, {"name": "files", "delivered": 4714}],
		"deliveries": [{"sink": "books", "key": "acct-000001/main/2026-08-01/period",
		"account": "acct-000001", "kind": "document", "state": "parked", "attempts": 5,
		"error": "409 conflict\u001b[2J"}, {"sink": "books", "key": "b/main/2026-08-01/alert-x-50",
		"account": "b", "kind": "alert", "state": "retrying", "attempts": 2, "error": "timeout"},
		{"sink": "books", "key": "c/main/2026-08-01/period", "account": "c", "kind": "document",
		"state": "waiting"}, {"sink": "files", "key": "c/main/2026-08-01/period", "account": "c",
		"kind": "document", "state": "delivered", "attempts": 1}]}`
	w.fixed["/v1/events"] = `{"events": [{"seq": 12345678, "at": "2026-09-17T07:59:58.123Z",
		"outcome": "unknown_subject", "origin": {"source": "api"}, "id": "e-9", "type": "tokens",
		"subject": "nobody"}, {"seq": 12340000, "at": "2026-09-17T07:50:00Z",
		"outcome": "malformed", "origin": {"source": "api"},
		"fault": "line 3: \u001b]0;title\u0007 is no JSON"}], "more": false}`
	w.fixed["/v1/meters"] = `{"meters": [{"key": "tokens_out", "event": "completion",
		"aggregate": "sum", "value": "output_tokens", "unit": "token", "where": "model is large",
		"group_by": ["model", "region"], "correctable": true, "plans": ["pro", "team"]},
		{"key": "seats", "event": "seat", "aggregate": "time_weighted", "unit": "seat"}]}`
	w.fixed["/v1/plans"] = `{"plans": [{"key": "pro", "version": 1, "effective_from": null,
		"current": false, "currency": "EUR", "period": "month", "prices": []}, {"key": "pro",
		"version": 2, "effective_from": "2026-06-01T00:00:00Z", "current": true,
		"currency": "EUR", "period": "month in advance", "prices": [{"key": "output",
		"meter": "tokens_out", "model": "graduated", "text": "0.002 to 1,000, then 0.001"},
		{"key": "base", "model": "flat", "text": "29.00 a month"}]}]}`
	w.fixed["/v1/checkpoints"] = `{"checkpoints": [{"seq": 4000, "at": "2026-09-17T08:00:00Z",
		"bytes": 123456789, "keys": 200000}, {"seq": 3000, "at": "2026-09-17T07:00:00Z",
		"bytes": 123000000, "keys": 199000}], "archive": {"through": 4000, "files": 12,
		"bytes": 98765432, "failure": ""}, "openings": [{"month": "2026-08", "seq": 1000,
		"bytes": 5000000}, {"month": "2026-09", "seq": 2500, "bytes": 6000000}],
		"seal": {"seq": 4000, "digest": "` + strings.Repeat("0f", 32) + `"}}`
	return w
}

// rig drives a model: it answers its questions when the test says so, and is its clock.
type rig struct {
	t      *testing.T
	m      *model
	w      *world
	now    time.Time
	asked  []tea.Msg // answers on their way
	timers []timer
	quit   bool
}

type timer struct {
	at  time.Time
	msg tea.Msg
}

// timerMsg is how a timer comes out of a command.
type timerMsg timer

func newRig(t *testing.T, w *world, width, height int) *rig {
	return newRigOf(t, w, Options{Profile: termenv.ANSI256, Dark: true}, width, height)
}

func newRigOf(t *testing.T, w *world, o Options, width, height int) *rig {
	r := &rig{t: t, w: w, now: time.Date(2026, 9, 17, 8, 0, 10, 0, time.UTC)}
	o.Feed, o.Now = w, func() time.Time { return r.now }
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r.m = newModel(ctx, o)
	r.m.later = func(d time.Duration, msg tea.Msg) tea.Cmd {
		return func() tea.Msg { return timerMsg{r.now.Add(d), msg} }
	}
	r.collect(r.m.Init())
	r.send(tea.WindowSizeMsg{Width: width, Height: height})
	return r
}

// send gives the model a message. What it asks is asked, but not answered yet.
func (r *rig) send(msg tea.Msg) {
	_, cmd := r.m.Update(msg)
	r.collect(cmd)
}

func (r *rig) collect(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			r.collect(c)
		}
	case timerMsg:
		r.timers = append(r.timers, timer(msg))
	case tea.QuitMsg:
		r.quit = true
	case quitMsg:
		r.send(msg)
	case nil, tea.SuspendMsg:
	default:
		r.asked = append(r.asked, msg)
	}
}

// answer delivers what is on its way, and what is asked because of it.
func (r *rig) answer() {
	for len(r.asked) > 0 {
		msg := r.asked[0]
		r.asked = r.asked[1:]
		r.send(msg)
	}
}

// pass lets time pass: timers run, questions are answered.
func (r *rig) pass(d time.Duration) {
	for end := r.now.Add(d); ; {
		at := -1
		for i := range r.timers {
			if !r.timers[i].at.After(end) && (at < 0 || r.timers[i].at.Before(r.timers[at].at)) {
				at = i
			}
		}
		if at < 0 {
			r.now = end
			return
		}
		due := r.timers[at]
		r.timers = slices.Delete(r.timers, at, at+1)
		r.now = due.at
		r.send(due.msg)
		r.answer()
	}
}

// press gives keys by their names, a space between, and answers what they ask.
func (r *rig) press(keys string) {
	for _, name := range strings.Fields(keys) {
		r.send(keyMsg(name))
		r.answer()
	}
}

// write types a text.
func (r *rig) write(text string) {
	for _, c := range text {
		k := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{c}}
		if c == ' ' {
			k.Type = tea.KeySpace
		}
		r.send(k)
	}
}

func keyMsg(name string) tea.KeyMsg {
	for kind, text := range map[tea.KeyType]string{
		tea.KeyEnter: "enter", tea.KeyEsc: "esc", tea.KeyUp: "up", tea.KeyDown: "down",
		tea.KeyPgUp: "pgup", tea.KeyPgDown: "pgdown", tea.KeyHome: "home", tea.KeyEnd: "end",
		tea.KeyTab: "tab", tea.KeyBackspace: "backspace", tea.KeyCtrlC: "ctrl+c",
		tea.KeyCtrlZ: "ctrl+z", tea.KeyCtrlU: "ctrl+u", tea.KeyCtrlW: "ctrl+w",
		tea.KeyLeft: "left", tea.KeyRight: "right",
	} {
		if text == name {
			return tea.KeyMsg{Type: kind}
		}
	}
	if name == "space" {
		return tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
	"billctl/internal/store"
)

const deskCatalog = `
meters:
  - {key: calls, event: call, aggregate: count, unit: call}
plans:
  - key: pro
    currency: EUR
    prices:
      - {key: call, meter: calls, model: unit, unit: "1"}
accounts:
  - {id: acme, subjects: [s], subscriptions: [{key: main, plan: pro, from: 2026-08-01}]}
  - {id: bare}
`

// fixedClock shows one time of day.
type fixedClock struct{ wall, start time.Time }

func (c fixedClock) Now() (time.Time, time.Duration) { return c.wall, time.Since(c.start) }

func day(month time.Month, n int) time.Time {
	return time.Date(2026, month, n, 0, 0, 0, 0, time.UTC)
}

func call(id string, at time.Time) string {
	return `{"specversion":"1.0","type":"call","source":"app","subject":"s","id":"` + id +
		`","time":"` + at.Format(time.RFC3339) + `","data":{}}` + "\n"
}

// begin opens a state, and makes a run that reads r.
func begin(t *testing.T, root string, now time.Time, r io.Reader, close engine.Micros) (
	*live.Run, func(),
) {
	t.Helper()
	fsys, err := store.MakeOS(root)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := store.Open(fsys, store.Options{})
	fresh := errors.Is(err, store.ErrNoState)
	if fresh {
		dir, err = store.Create(fsys, store.Genesis{Genesis: live.NewGenesis()}, store.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	st, err := live.Restore(dir, 1, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if fresh {
		c, err := formats.ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(deskCatalog)}})
		if err != nil {
			t.Fatal(err)
		}
		at := engine.Micros(now.UnixMicro())
		d, err := formats.Diff(st.Shards.Pin(), c, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := dir.PutControl(live.EncodeControl(&d.Change)); err != nil {
			t.Fatal(err)
		}
	}
	run, err := live.NewRun(live.Options{
		State: st, Settings: engine.DefaultSettings, ClockOK: true, CloseAt: close,
		Clock: fixedClock{now, time.Now()},
		Sources: []live.SourceOptions{{
			Entry: engine.Source{Name: "usage", Dedupe: true}, Format: formats.NDJSON, Stream: true,
			Open: func(map[string]int64) (live.Source, error) { return live.NewStdin(r), nil },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return run, func() {
		t.Helper()
		if err := errors.Join(st.Outbox.Close(), dir.Close()); err != nil {
			t.Error(err)
		}
	}
}

// newState makes a state in which August is closed and one event of it came late.
func newState(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir() + "/state"
	for _, step := range []struct {
		now   time.Time
		text  string
		close engine.Micros
	}{
		{day(8, 20), call("1", day(8, 10)) + call("2", day(8, 11)), engine.Past},
		{day(9, 1), "", engine.Micros(day(9, 1).UnixMicro())},
		{day(9, 5), call("3", day(8, 12)) + call("3", day(8, 12)) + call("4", day(9, 2)) + "?\n",
			engine.Past},
	} {
		run, end := begin(t, root, step.now, strings.NewReader(step.text), step.close)
		if err := run.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		end()
	}
	return root
}

func openDesk(t *testing.T, root string) *live.Desk {
	t.Helper()
	fsys, err := store.OS(root)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := live.ReadDesk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := desk.Close(); err != nil {
			t.Error(err)
		}
	})
	return desk
}

// ask returns the answer to a request, as text and as JSON.
func ask(t *testing.T, h http.Handler, path string) (int, string, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v in %s", path, err, w.Body)
	}
	if kind := w.Header().Get("Content-Type"); kind != "application/json" {
		t.Errorf("%s: content type %s", path, kind)
	}
	return w.Code, w.Body.String(), body
}

// at returns what stands at a path of members and places in an answer.
func at(body any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := body.(map[string]any)
			body = m[p]
		case int:
			l, _ := body.([]any)
			if p >= len(l) {
				return nil
			}
			body = l[p]
		}
	}
	return body
}

const (
	augustKey = "acme/main/2026-08-01/period"
	noFile    = "00000000000000000000000000000000000000000000000000000000000000ff"
)

// routes are the requests of docs/formats/api.md and the schemas of their answers.
var routes = []struct{ path, schema string }{
	{"/v1/status", "billctl.status.v1"},
	{"/v1/accounts", "billctl.accounts.v1"},
	{"/v1/account?id=acme", "billctl.account.v1"},
	{"/v1/account?id=bare", "billctl.account.v1"},
	{"/v1/invoices", "billctl.invoices.v1"},
	{"/v1/invoice?key=" + augustKey, "billctl.invoice_answer.v1"},
	{"/v1/events", "billctl.events.v1"},
	{"/v1/events?order=newest", "billctl.events.v1"},
	{"/v1/uses?account=acme&line=call&start_date=2026-08-01", "billctl.uses.v1"},
	{"/v1/invoices?order=newest", "billctl.invoices.v1"},
	{"/v1/credits", "billctl.credits.v1"},
	{"/v1/credits?account=acme", "billctl.credits.v1"},
	{"/v1/control?name=" + noFile, "billctl.control.v1"},
}

// TestRoutes holds what every answer has: its schema, and the position that it is true of; and it
// holds that a directory and the process that runs on it say the same.
func TestRoutes(t *testing.T) {
	root := newState(t)
	read := Handler(openDesk(t, root), []string{"sink"})
	texts := map[string]any{}
	for _, r := range routes {
		code, _, body := ask(t, read, r.path)
		if code != http.StatusOK || body["schema"] != r.schema {
			t.Errorf("%s: %d, schema %v", r.path, code, body["schema"])
		}
		for _, member := range []string{
			"journal", "seq", "at", "watermark", "complete_through", "status", "frozen", "sources",
		} {
			if at(body, "position", member) == nil {
				t.Errorf("%s: its position has no %s: %v", r.path, member, body["position"])
			}
		}
		if s := at(body, "position", "status"); s != "read_only" {
			t.Errorf("%s: status %v", r.path, s)
		}
		delete(body, "position")
		texts[r.path] = text(t, body)
	}

	r, w := io.Pipe()
	run, end := begin(t, root, day(9, 5), r, engine.Past)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.Do(ctx) }()
	h := Handler(run.Desk(), nil)
	for _, r := range routes {
		code, _, body := ask(t, h, r.path)
		if s := at(body, "position", "status"); code != http.StatusOK || s == "read_only" {
			t.Errorf("%s beside a process: %d, status %v", r.path, code, s)
		}
		delete(body, "position")
		if r.path == "/v1/status" {
			if at(body, "process", "started") == nil || at(body, "process", "notices") == nil {
				t.Errorf("process %v", body["process"])
			}
		} else if got := text(t, body); got != texts[r.path] {
			t.Errorf("%s: a process says\n%s\na directory\n%s", r.path, got, texts[r.path])
		}
	}
	cancel()
	if err := errors.Join(<-ended, w.Close()); err != nil {
		t.Error(err)
	}
	if code, _, body := ask(t, h, "/v1/status"); code != http.StatusServiceUnavailable ||
		at(body, "error", "code") != "unavailable" {
		t.Errorf("after its end: %d, %v", code, body)
	}
	end()
}

func text(t *testing.T, body any) string {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAnswers holds members of the answers that people bill by.
func TestAnswers(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), []string{"sink"})
	for _, tt := range []struct {
		path string
		at   []any
		want any
	}{
		{"/v1/status", []any{"controls", 0, "read"}, 6.0},
		{"/v1/status", []any{"controls", 0, "accepted"}, 4.0},
		{"/v1/status", []any{"controls", 0, "rejected", "duplicate"}, 1.0},
		{"/v1/status", []any{"controls", 0, "rejected", "malformed"}, 1.0},
		{"/v1/status", []any{"sinks", 0, "name"}, "sink"},
		{"/v1/status", []any{"process"}, nil},
		{"/v1/accounts", []any{"total"}, 2.0},
		{"/v1/accounts?limit=1", []any{"next"}, "acme"},
		{"/v1/accounts?limit=1&after=acme", []any{"accounts", 0, "id"}, "bare"},
		{"/v1/accounts?prefix=b", []any{"total"}, 1.0},
		{"/v1/account?id=acme", []any{"subjects", 0, "subject"}, "s"},
		{"/v1/account?id=acme", []any{"periods", 0, "start_date"}, "2026-09-01"},
		{"/v1/account?id=acme", []any{"periods", 0, "usage", 0, "quantity"}, "1"},
		{"/v1/account?id=acme", []any{"periods", 0, "so_far", "total"}, "2.00"},
		{"/v1/account?id=acme", []any{"periods", 0, "if_closed_now", "total"}, "2.00"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 0, "subscription"}, "main"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 0, "start_date"}, "2026-08-01"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 0, "price"}, "call"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 0, "rated"}, "3.00"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 0, "booked"}, "2.00"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 0, "amount"}, "1.00"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 0, "currency"}, "EUR"},
		{"/v1/account?id=acme", []any{"pending_adjustments", 1}, nil},
		{"/v1/invoices", []any{"invoices", 0, "key"}, augustKey},
		{"/v1/invoices", []any{"invoices", 0, "total"}, "2.00"},
		{"/v1/invoices", []any{"more"}, false},
		{"/v1/invoice?key=" + augustKey, []any{"invoice", "total"}, "2.00"},
		{"/v1/events?limit=1", []any{"more"}, true},
		{"/v1/events?id=1", []any{"events", 0, "account"}, "acme"},
		{"/v1/events?outcome=duplicate", []any{"events", 0, "id"}, "3"},
		{"/v1/events?outcome=malformed", []any{"events", 0, "raw"}, "?"},
		{"/v1/control?name=" + noFile, []any{"state"}, "waiting"},
	} {
		_, all, body := ask(t, h, tt.path)
		if got := at(body, tt.at...); got != tt.want {
			t.Errorf("%s: %v is %v, want %v, in\n%s", tt.path, tt.at, got, tt.want, all)
		}
	}
	_, _, body := ask(t, h, "/v1/account?id=acme")
	terms, _ := at(body, "periods", 0, "terms").(string)
	if len(terms) != 64 || strings.Trim(terms, "0123456789abcdef") != "" {
		t.Errorf("terms %q", terms)
	}
}

// TestEmpty holds that a list without elements is a list.
func TestEmpty(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	for path, lists := range map[string][]string{
		"/v1/status": {"controls", "sinks"},
		"/v1/account?id=bare": {
			"subjects", "subscriptions", "credits", "periods", "pending_adjustments",
		},
		"/v1/account?id=acme":      {"credits"},
		"/v1/accounts?prefix=none": {"accounts"},
		"/v1/invoices?account=x":   {"invoices"},
		"/v1/invoices?period=2031": {"invoices"},
		"/v1/events?subject=x":     {"events"},
	} {
		code, all, body := ask(t, h, path)
		for _, name := range lists {
			if _, ok := body[name].([]any); !ok || code != http.StatusOK {
				t.Errorf("%s: %d, %s is no list in %s", path, code, name, all)
			}
		}
		if _, ok := at(body, "position", "sources").([]any); !ok {
			t.Errorf("%s: no list of sources in %s", path, all)
		}
	}
	for _, row := range []string{"/v1/accounts?prefix=bare", "/v1/account?id=acme"} {
		if _, all, _ := ask(t, h, row); strings.Contains(all, `"periods":null`) ||
			strings.Contains(all, `"usage":null`) {
			t.Errorf("%s: %s", row, all)
		}
	}
}

// TestControlLongName asks for a name that is longer than a SHA-256: that is a bad request too.
func TestControlLongName(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	code, all, body := ask(t, h, "/v1/control?name="+noFile+"00")
	if code != http.StatusBadRequest || at(body, "error", "code") != "bad_request" {
		t.Errorf("%d, %s", code, all)
	}
}

// TestFailures holds the codes of what can't be answered; the message names what was asked for.
func TestFailures(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	for _, tt := range []struct {
		path string
		code int
		name string
	}{
		{"/v1/account?id=nobody", http.StatusNotFound, "nobody"},
		{"/v1/account", http.StatusNotFound, ""},
		{"/v1/invoice?key=" + url.QueryEscape("no/such"), http.StatusNotFound, "no/such"},
		{"/v1/events?id=none", http.StatusNotFound, "none"},
		{"/v1/events?seq=1", http.StatusNotFound, "1"},
		{"/v1/events?seq=99999", http.StatusNotFound, "99999"},
		{"/v1/events?seq=0", http.StatusBadRequest, "0"},
		{"/v1/events?seq=first", http.StatusBadRequest, "first"},
		{"/v1/events?outcome=lost", http.StatusBadRequest, "lost"},
		{"/v1/events?limit=0", http.StatusBadRequest, "0"},
		{"/v1/accounts?limit=10001", http.StatusBadRequest, "10001"},
		{"/v1/invoices?limit=x", http.StatusBadRequest, "x"},
		{"/v1/control?name=ff", http.StatusBadRequest, "ff"},
	} {
		code, all, body := ask(t, h, tt.path)
		names := map[int]string{
			http.StatusNotFound: "not_found", http.StatusBadRequest: "bad_request",
		}
		message, _ := at(body, "error", "message").(string)
		if code != tt.code || at(body, "error", "code") != names[tt.code] ||
			!strings.Contains(message, tt.name) || message == "" {
			t.Errorf("%s: %d, %s", tt.path, code, all)
		}
	}
	for _, path := range []string{"/", "/v1", "/v2/status", "/v1/nothing"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	var refused []int
	for _, r := range routes {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, r.path, nil))
		refused = append(refused, w.Code)
	}
	if len(slices.Compact(refused)) != 1 || refused[0] != http.StatusMethodNotAllowed {
		t.Errorf("posts are answered by %v", refused)
	}
}

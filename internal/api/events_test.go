package api

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestLists holds members of the lists that are read newest first, and of what the state directory
// keeps.
func TestLists(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), []string{"sink", "other"})
	_, _, body := ask(t, h, "/v1/events?limit=1")
	first, _ := at(body, "events", 0, "seq").(float64)
	uses := "/v1/uses?account=acme&line=call"
	for _, tt := range []struct {
		path string
		at   []any
		want any
	}{
		{"/v1/events?limit=1", []any{"next"}, nil},
		{"/v1/events?order=newest", []any{"events", 0, "outcome"}, "malformed"},
		{"/v1/events?order=newest", []any{"events", 5, "id"}, "1"},
		{"/v1/events?order=newest", []any{"events", 6}, nil},
		{"/v1/events?order=newest", []any{"next"}, nil},
		{"/v1/events?order=newest&limit=5", []any{"next"}, first + 1},
		{"/v1/events?order=newest&before=" + seqText(first+1), []any{"events", 0, "seq"}, first},
		{"/v1/events?order=newest&before=" + seqText(first), []any{"events", 0}, nil},
		{"/v1/events?outcome=rejected", []any{"events", 0, "outcome"}, "duplicate"},
		{"/v1/events?outcome=rejected&order=newest", []any{"events", 1, "outcome"}, "duplicate"},
		{"/v1/events?outcome=rejected&order=newest", []any{"events", 2}, nil},
		{"/v1/events?account=acme&order=newest", []any{"events", 0, "id"}, "4"},
		{"/v1/events?account=bare", []any{"events", 0}, nil},
		{uses, []any{"subscription"}, "main"},
		{uses, []any{"start_date"}, "2026-09-01"},
		{uses, []any{"events", 0, "id"}, "4"},
		{uses, []any{"events", 0, "value"}, "1"},
		{uses, []any{"events", 0, "counts"}, true},
		{uses, []any{"events", 1}, nil},
		{uses + "&subscription=main&start_date=2026-08-01", []any{"events", 0, "id"}, "3"},
		{uses + "&start_date=2026-08-01", []any{"events", 2, "id"}, "1"},
		{uses + "&start_date=2026-08-01", []any{"more"}, false},
		{uses + "&start_date=2026-08-01&limit=2", []any{"next"}, first + 1},
		{uses + "&start_date=2026-08-01&before=" + seqText(first+1), []any{"events", 0, "id"}, "1"},
		{"/v1/invoices?order=newest", []any{"invoices", 0, "key"}, augustKey},
		{"/v1/invoices?order=newest", []any{"next"}, nil},
		{"/v1/invoices?order=newest&account=acme", []any{"invoices", 0, "key"}, augustKey},
		{"/v1/invoices?order=newest&account=bare", []any{"invoices", 0}, nil},
		{"/v1/invoices?order=newest&before=" + augustKey, []any{"invoices", 0}, nil},
		{"/v1/deliveries", []any{"sinks", 0, "name"}, "other"},
		{"/v1/deliveries", []any{"sinks", 1, "waiting"}, 1.0},
		{"/v1/deliveries", []any{"deliveries", 0, "key"}, augustKey},
		{"/v1/deliveries", []any{"deliveries", 0, "kind"}, "document"},
		{"/v1/deliveries", []any{"deliveries", 0, "state"}, "waiting"},
		{"/v1/deliveries", []any{"deliveries", 1, "sink"}, "sink"},
		{"/v1/deliveries?state=delivered", []any{"deliveries", 0}, nil},
		{"/v1/deliveries?sink=sink", []any{"deliveries", 1}, nil},
		{"/v1/checkpoints", []any{"archive", "failure"}, ""},
	} {
		code, all, body := ask(t, h, tt.path)
		if got := at(body, tt.at...); code != http.StatusOK || got != tt.want {
			t.Errorf("%s: %v is %v, want %v, in\n%s", tt.path, tt.at, got, tt.want, all)
		}
	}
	_, _, body = ask(t, h, "/v1/deliveries?limit=1")
	next, _ := body["next"].(string)
	_, all, body := ask(t, h, "/v1/deliveries?limit=1&after="+next)
	if at(body, "deliveries", 0, "sink") != "sink" || body["more"] != false {
		t.Errorf("behind %s: %s", next, all)
	}
	_, all, body = ask(t, h, "/v1/checkpoints")
	digest, _ := at(body, "seal", "digest").(string)
	size, _ := at(body, "checkpoints", 0, "bytes").(float64)
	if _, _, status := ask(t, h, "/v1/status"); digest == "" || digest != status["last_seal"] {
		t.Errorf("the last seal is %v: %s", status["last_seal"], all)
	}
	newest, _ := at(body, "checkpoints", 0, "seq").(float64)
	if older, _ := at(body, "checkpoints", 1, "seq").(float64); size <= 0 || older >= newest {
		t.Errorf("checkpoints: %s", all)
	}
}

// seqText writes a position as a parameter.
func seqText(seq float64) string { return strconv.FormatFloat(seq, 'f', -1, 64) }

// TestListsBad holds what a list says of a request that it can't answer.
func TestListsBad(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), []string{"sink"})
	for _, tt := range []struct {
		path string
		code int
		says string
	}{
		{"/v1/events?before=3", 400, "before goes with order=newest"},
		{"/v1/events?order=oldest", 400, "is not newest"},
		{"/v1/events?order=newest&before=x", 400, "no position"},
		{"/v1/events?outcome=good", 400, "malformed"},
		{"/v1/events?account=none", 404, "no account"},
		{"/v1/invoices?before=" + augustKey, 400, "order=newest"},
		{"/v1/invoices?order=newest&before=none", 404, "no invoice"},
		{"/v1/uses?account=none&line=call", 404, "no account"},
		{"/v1/uses?account=bare&line=call", 404, "no subscription"},
		{"/v1/uses?account=acme&subscription=x&line=call", 404, "it has main"},
		{"/v1/uses?account=acme&line=none", 404, "no line"},
		{"/v1/uses?account=acme&line=call&start_date=2026-08-02", 404, "no period"},
		{"/v1/uses?account=acme&line=call&start_date=2026-07-01", 404, "no period"},
		{"/v1/uses?account=acme&line=call&start_date=soon", 404, "no period"},
		{"/v1/uses?account=acme&line=call&before=0", 400, "no position"},
		{"/v1/deliveries?sink=none", 404, "no sink"},
		{"/v1/deliveries?state=lost", 400, "waiting, retrying, parked, delivered"},
		{"/v1/deliveries?after=x", 400, "next"},
		{"/v1/deliveries?after=waiting:-1:sink", 400, "next"},
	} {
		code, all, body := ask(t, h, tt.path)
		message, _ := at(body, "error", "message").(string)
		if code != tt.code || !strings.Contains(message, tt.says) {
			t.Errorf("%s: %d, %s", tt.path, code, all)
		}
	}
}

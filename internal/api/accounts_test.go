package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestAccountsAnswers holds what a list of accounts says, and in which order and part.
func TestAccountsAnswers(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	ids := func(body map[string]any) (text string) {
		list, _ := body["accounts"].([]any)
		for i := range list {
			id, _ := at(body, "accounts", i, "id").(string)
			text += id + " "
		}
		return strings.TrimSpace(text)
	}
	for _, tt := range []struct {
		params, ids string
		at          []any
		want        any
	}{
		{"", "acme bare", []any{"matched"}, 2.0},
		{"", "acme bare", []any{"ordered_at"}, nil},
		{"", "acme bare", []any{"accounts", 0, "rows"}, 1.0},
		{"", "acme bare", []any{"accounts", 0, "totals", 0, "currency"}, "EUR"},
		{"", "acme bare", []any{"accounts", 0, "totals", 0, "so_far"}, "2.00"},
		{"", "acme bare", []any{"accounts", 0, "totals", 0, "if_closed_now"}, "2.00"},
		{"", "acme bare", []any{"accounts", 0, "budget"}, nil},
		{"", "acme bare", []any{"accounts", 0, "days"}, nil},
		{"days=1", "acme bare", []any{"accounts", 0, "days", 0}, 0.0},
		{"days=1", "acme bare", []any{"accounts", 0, "days", 1}, 1.0},
		{"days=1", "acme bare", []any{"accounts", 0, "days", 2}, nil},
		{"days=1", "acme bare", []any{"accounts", 1, "days"}, nil},
		{"order=desc", "bare acme", []any{"total"}, 2.0},
		{"order=desc&limit=1", "bare", []any{"next"}, "bare"},
		{"order=desc&after=bare", "acme", []any{"next"}, nil},
		{"offset=1", "bare", []any{"matched"}, 2.0},
		{"offset=7", "", []any{"matched"}, 2.0},
		{"limit=1", "acme", []any{"next"}, "acme"},
		{"sort=name&order=desc", "bare acme", []any{"ordered_at"}, nil},
		{"sort=rows&order=desc&wait=1", "acme bare", []any{"ordering"}, nil},
		{"sort=so_far&wait=1", "acme bare", []any{"next"}, nil},
		{"sort=so_far&wait=1&limit=1", "acme", []any{"next"}, nil},
		{"sort=if_closed_now&order=desc&wait=1&offset=1", "bare", []any{"matched"}, 2.0},
		{"filter=AC", "acme", []any{"total"}, 2.0},
		{"filter=!ac", "bare", []any{"matched"}, 1.0},
		{"filter=plan:pro", "acme", []any{"matched"}, 1.0},
		{"filter=%3E1.99&wait=1", "acme", []any{"matched"}, 1.0},
		{"filter=%3E2&wait=1", "", []any{"matched"}, 0.0},
		{"filter=e&prefix=b", "bare", []any{"total"}, 1.0},
	} {
		code, all, body := ask(t, h, "/v1/accounts?"+tt.params)
		if got := at(body, tt.at...); code != http.StatusOK || ids(body) != tt.ids || got != tt.want {
			t.Errorf("%s: %d, accounts %q, want %q, %v is %v, want %v, in\n%s", tt.params, code,
				ids(body), tt.ids, tt.at, got, tt.want, all)
		}
	}
	_, all, body := ask(t, h, "/v1/accounts?sort=so_far&wait=1")
	if at(body, "ordered_at") != at(body, "position", "seq") || strings.Contains(all, ":null,\"per") {
		t.Error(all)
	}
}

func TestBadAccounts(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	for params, hint := range map[string]string{
		"sort=size": "", "order=up": "", "offset=-1": "", "offset=x": "", "days=yes": "", "wait=0": "",
		"sort=rows&after=a":                    "offset",
		"filter=" + url.QueryEscape(">1,5"):    ">100",
		"filter=" + url.QueryEscape("a plan:"): "plan:KEY",
		"filter=!":                             "!text",
	} {
		code, all, body := ask(t, h, "/v1/accounts?"+params)
		got, _ := at(body, "error", "hint").(string)
		if code != http.StatusBadRequest || at(body, "error", "code") != "bad_request" ||
			!strings.Contains(got, hint) || hint != "" && got == "" {
			t.Errorf("%s: %d, %s", params, code, all)
		}
	}
}

package api

import (
	"net/http"
	"strings"
	"testing"
)

// TestDays asks for the days of an account with a closed period and late usage in it: an open
// period ends at its preview, the closed one has the late event on its day.
func TestDays(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	_, text, body := ask(t, h, "/v1/days?account=acme")
	if at(body, "schema") != "billctl.days.v1" || at(body, "position", "seq") == nil {
		t.Fatalf("the answer is %s", text)
	}
	periods, _ := at(body, "periods").([]any)
	if len(periods) != 2 {
		t.Fatalf("%d periods in %s", len(periods), text)
	}
	closed, open := periods[0], periods[1]
	if at(closed, "closed") != true || at(closed, "start_date") != "2026-08-01" ||
		at(open, "closed") != false || at(open, "start_date") != "2026-09-01" {
		t.Errorf("the periods are %s", text)
	}
	days, _ := at(closed, "days").([]any)
	if len(days) != 31 {
		t.Fatalf("August has %d days", len(days))
	}
	want := 0
	for i, d := range days {
		uses := 0
		if i >= 9 && i <= 11 { // the 10th, 11th and 12th
			uses = 1
			want++
		}
		if at(d, "uses") != float64(uses) || at(d, "so_far") != string(rune('0'+want))+".00" {
			t.Errorf("day %d is %v, want %d uses", i+1, d, uses)
		}
	}
	days, _ = at(open, "days").([]any)
	_, _, account := ask(t, h, "/v1/account?id=acme")
	total := at(account, "periods", 0, "so_far", "total")
	if last := at(days[len(days)-1], "so_far"); last != total || total == nil {
		t.Errorf("the last day comes to %v, so far is %v", last, total)
	}
	_, text, body = ask(t, h, "/v1/days?account=bare")
	if list, ok := at(body, "periods").([]any); !ok || len(list) > 0 {
		t.Errorf("an account without a subscription: %s", text)
	}
	if code, text, _ := ask(t, h, "/v1/days?account=no"); code != http.StatusNotFound ||
		!strings.Contains(text, `there is no account \"no\"`) {
		t.Errorf("an unknown account: %d %s", code, text)
	}
}

// TestMetersAndPlans holds the members of the catalog's answers.
func TestMetersAndPlans(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	for _, tt := range []struct{ path, want string }{
		{"/v1/meters", `"meters":[{"key":"calls","event":"call","aggregate":"count","value":"",` +
			`"unit":"call","where":"","group_by":[],"correctable":false,"plans":["pro"]}]}`},
		{"/v1/plans", `"plans":[{"key":"pro","version":1,"effective_from":null,"current":true,` +
			`"currency":"EUR","period":"month","prices":[{"key":"call","meter":"calls",` +
			`"model":"unit","text":"1 each"}]}]}`},
	} {
		if _, text, _ := ask(t, h, tt.path); !strings.HasSuffix(strings.TrimSpace(text), tt.want) {
			t.Errorf("%s: %s", tt.path, text)
		}
	}
}

package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/live"
)

// TestLinesFor asks for every line and adjustment of both previews by what it is for, after parts
// of random logs. Lines in advance for two periods, and adjustments of several, have one key: each
// is found, and its steps come to its amount. The days of a period come to its preview.
func TestLinesFor(t *testing.T) {
	figures := map[string]int{}
	for seed := uint64(130); seed < 165; seed++ {
		r := rand.New(rand.NewPCG(seed, 9))
		c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures)
		entries, _, err := c.Journal(engine.Ruleset, func(rows int) int { return 1 + r.IntN(rows) })
		if err != nil {
			t.Fatal(err)
		}
		shards := live.NewShards(1)
		for i, e := range entries {
			err := shards.Apply(e, func(*engine.Effects) error { return nil })
			if err == nil && (i == len(entries)-1 || r.IntN(1+len(entries)/5) == 0) {
				v := shards.Pin()
				for _, id := range v.AccountIDs("") {
					if err = linesFor(v, id, seed%5 == 2, figures); err != nil {
						err = fmt.Errorf("%s: %w", id, err)
						break
					}
				}
			}
			if err != nil {
				t.Fatalf("seed %d, entry %d: %v", seed, i, err)
			}
		}
	}
	t.Log(figures)
	for _, what := range []string{"line", "ahead", "adjustment", "nothing left", "days"} {
		if figures[what] == 0 {
			t.Errorf("no %s", what)
		}
	}
}

func getOf(q url.Values) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/?"+q.Encode(), nil)
}

// linesFor asks for the lines of an account, and for its days.
func linesFor(v *engine.View, id string, days bool, figures map[string]int) error {
	got, err := (&handler{}).account(getOf(url.Values{"id": {id}}), v, Position{})
	if err != nil {
		return err
	}
	periods := got.(Account).Periods
	for i := range periods {
		p := &periods[i]
		q := url.Values{
			"account": {id}, "subscription": {p.Subscription}, "start_date": {p.StartDate},
		}
		for view, doc := range map[string][]byte{viewSoFar: p.SoFar, viewClosed: p.IfClosedNow} {
			q.Set("view", view)
			if err := documentFor(v, q, doc, figures); err != nil {
				return fmt.Errorf("%v: %w", q, err)
			}
		}
	}
	if !days {
		return nil
	}
	return daysComeTo(v, id, periods, figures)
}

// documentFor asks for the lines of a preview, each by what it is for.
func documentFor(v *engine.View, q url.Values, body []byte, figures map[string]int) error {
	var doc *struct{ Lines, Adjustments []json.RawMessage }
	if err := json.Unmarshal(body, &doc); err != nil || doc == nil {
		return err
	}
	for i, raw := range slices.Concat(doc.Lines, doc.Adjustments) {
		var l struct {
			lineText
			From   time.Time
			Period struct {
				StartDate string `json:"start_date"`
			}
			Quantity, Rated string
		}
		if err := json.Unmarshal(raw, &l); err != nil {
			return err
		}
		adjusts := i >= len(doc.Lines)
		about := l.Period.StartDate
		if !adjusts {
			from := engine.Micros(l.From.UnixMicro())
			t, _ := v.Terms(q.Get("account"), q.Get("subscription"), from)
			about = t.StartDate
		}
		q.Set("line", l.key())
		q.Set("for", about)
		answer, err := (&handler{}).line(getOf(q), v, Position{})
		if err != nil {
			return err
		}
		got := answer.(*Line)
		if a, b := compact(got.Line), compact(raw); a != b || got.For != about ||
			got.Adjusts != adjusts {
			return fmt.Errorf("line %s for %s, want %s", a, got.For, b)
		}
		if !adjusts {
			figures["line"]++
			if about != q.Get("start_date") {
				figures["ahead"]++
			}
			err = stepsAgree(got.Steps, &l.lineText)
		} else {
			figures["adjustment"]++
			err = adjustmentAgrees(got.Steps, l.Quantity, l.Rated, l.Amount, figures)
		}
		if err == nil {
			err = chained(got, l.Quantity)
		}
		if err != nil {
			return fmt.Errorf("%w in %q of %s", err, got.Steps, raw)
		}
	}
	return nil
}

// chained checks that the step before the rounding comes to what is rounded, and that events are
// counted which come to the quantity.
func chained(got *Line, quantity string) error {
	i := slices.IndexFunc(got.Steps, func(s string) bool { return strings.Contains(s, " rounded: ") })
	if i < 0 || got.Price.Meter == "" {
		return nil
	}
	exact, _, _ := strings.Cut(got.Steps[i], " rounded: ")
	if before := got.Steps[i-1]; got.Price.Model != "dynamic" &&
		!strings.HasSuffix(before, " "+exact) {
		return fmt.Errorf("%q does not come to %s", before, exact)
	}
	if n, err := strconv.ParseUint(quantity, 10, 64); err == nil && got.Meter.Aggregate == "count" &&
		!strings.HasSuffix(got.Steps[0], " from "+counted(n, "event")) {
		return fmt.Errorf("%d are counted", n)
	}
	return nil
}

// adjustmentAgrees checks that the steps of an adjustment come to its quantity, to what its line is
// now, and to its amount.
func adjustmentAgrees(steps []string, quantity, rated, amount string, f map[string]int) error {
	last, before := steps[len(steps)-1], steps[len(steps)-2]
	if !strings.HasPrefix(last, "now "+rated+", ") ||
		!strings.Contains(last, ": difference "+amount+" ") {
		return fmt.Errorf("the last step does not say %s and %s", rated, amount)
	}
	if before == "the period has no such line any more: 0" {
		f["nothing left"]++
		if strings.Trim(rated, "0.") == "" {
			return nil
		}
	}
	if !strings.Contains(before, " rounded: "+rated+" ") {
		return fmt.Errorf("the last step but one does not come to %s", rated)
	}
	first := strings.ReplaceAll(steps[0], ",", "")
	if quantity != "0" && !strings.HasPrefix(first, quantity+" ") {
		return fmt.Errorf("the first step does not say %s", quantity)
	}
	return levelsAgree(steps)
}

// daysComeTo holds that the days of the open periods of an account come to their previews.
func daysComeTo(v *engine.View, id string, open []Period, figures map[string]int) error {
	answer, err := (&handler{}).days(getOf(url.Values{"account": {id}}), v, Position{})
	if err != nil {
		return err
	}
	list := answer.(Days).Periods
	for i := range open {
		p := &open[i]
		var doc struct{ Total string }
		if err := json.Unmarshal(p.SoFar, &doc); err != nil {
			return err
		}
		at := slices.IndexFunc(list, func(d PeriodDays) bool {
			return d.Subscription == p.Subscription && d.Start == p.Start && !d.Closed
		})
		if at < 0 {
			return fmt.Errorf("%s/%s has no days", p.Subscription, p.StartDate)
		}
		days := list[at].Days
		last := days[len(days)-1].SoFar
		if last != doc.Total && (doc.Total != "" || strings.Trim(last, "0.") != "") {
			return fmt.Errorf("the days of %s/%s come to %s, not %q", p.Subscription, p.StartDate, last,
				doc.Total)
		}
		figures["days"] += len(days)
	}
	return nil
}

// TestLineFor asks for an adjustment and for what is not there.
func TestLineFor(t *testing.T) {
	h := Handler(openDesk(t, newState(t)), nil)
	for _, tt := range []struct {
		path   string
		status int
		says   string
	}{
		{"&for=2026-09-01", http.StatusOK, `"for":"2026-09-01","adjusts":false`},
		{"&for=2026-08-01", http.StatusOK, `"now 3.00, booked before 2.00: difference 1.00 EUR"`},
		{"&for=2026-08-01&view=if_closed_now", http.StatusOK, `"adjusts":true,"line":{"price":"call",` +
			`"group":[],"period":{`},
		{"&for=2026-08-01&start_date=2026-08-01", http.StatusOK, `"closed":true,`},
		{"&for=2026-07-01", http.StatusNotFound, "no such line"},
		{"&for=2026-09-01&start_date=2026-08-01", http.StatusNotFound, "no such line"},
	} {
		code, text, _ := ask(t, h, "/v1/line?account=acme&line=call"+tt.path)
		if code != tt.status || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %d %s", tt.path, code, text)
		}
	}
}

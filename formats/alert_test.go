package formats

import (
	"encoding/json"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
)

// The bytes of alerts are frozen: if this test fails, what is wrong is not the test.
func TestAlertBytes(t *testing.T) {
	dec := func(s string) decimal.Decimal {
		d, err := decimal.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	day := engine.Micros(1767225600_000000) // 2026-01-01
	amount := engine.Alert{
		Seq: 4711, At: day + engine.OneDay/2, Budget: "spend/EU", Account: "acme \"x\"",
		Subscription: "main", Plan: "pro",
		Start: day, End: day + engine.OneDay, StartDate: "2026-01-01", Percent: dec("33.50"),
		Limit: dec("1000.00"), Value: decimal.Int(1000).Quo(decimal.Int(3)), Currency: "EUR",
	}
	quantity := amount
	quantity.Meter, quantity.Unit, quantity.Currency = "calls", "", ""
	quantity.Value = dec("400.25").Rat()
	const head = `{
  "schema": "billctl.alert.v1",
  "key": "acme%20%22x%22/main/2026-01-01/alert-spend%2FEU-33.5",
  "seq": 4711,
  "at": "2026-01-01T12:00:00Z",
  "account": "acme \"x\"",
  "subscription": "main",
  "plan": "pro",
  "period": {
    "start": "2026-01-01T00:00:00Z",
    "end": "2026-01-02T00:00:00Z",
    "start_date": "2026-01-01"
  },
  "budget": "spend/EU",
  "percent": "33.5",
  "limit": "1000",
`
	for _, tt := range []struct {
		alert *engine.Alert
		want  string
	}{
		{&amount, head + "  \"value\": \"1000/3\",\n  \"currency\": \"EUR\"\n}\n"},
		{&quantity, head + "  \"value\": \"400.25\",\n  \"meter\": \"calls\",\n  \"unit\": \"\"\n}\n"},
	} {
		got := string(AppendAlert([]byte("before"), tt.alert))
		if got != "before"+tt.want {
			t.Errorf("got %s\nwant %s", got, tt.want)
		}
		if !json.Valid([]byte(tt.want)) {
			t.Error("it is no JSON")
		}
	}
}

// No two alerts have one key, and none has that of an invoice.
func TestAlertKeys(t *testing.T) {
	known := map[string]string{}
	for _, kind := range []engine.DocumentKind{
		engine.PeriodInvoice, engine.StartInvoice, engine.CorrectionInvoice,
	} {
		inv := engine.Invoice{Account: "a", Subscription: "s", StartDate: "2026-01-01", Kind: kind}
		known[InvoiceKey(&inv)] = "invoice"
	}
	for _, budget := range []string{"b", "b-5", "b-5-10", "-", "b/5", "b%2F5", "B", "period", "ü"} {
		for _, percent := range []int64{5, 10, 100} {
			for _, start := range []string{"2026-01-01", "2026-01-01T10:00:00.5Z"} {
				a := engine.Alert{
					Account: "a", Subscription: "s", StartDate: start, Budget: budget,
					Percent: decimal.FromInt(percent),
				}
				key := AlertKey(&a)
				if what, taken := known[key]; taken || strings.Count(key, "/") != 3 {
					t.Errorf("%s of budget %s at %d is that of %s too", key, budget, percent, what)
				}
				known[key] = budget
				name := strings.Split(key, "/")
				if !IsAlertFile(name[2] + "." + name[3] + ".json") {
					t.Errorf("the file of %s is not known for an alert's", key)
				}
			}
		}
	}
	for _, name := range []string{"2026-01-01.period.json", "2026-01-01T10:00:00.5Z.start.json"} {
		if IsAlertFile(name) {
			t.Errorf("%s is taken for an alert's", name)
		}
	}
}

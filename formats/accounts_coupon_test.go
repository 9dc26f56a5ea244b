package formats

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
	"billctl/engine/decimal"
)

const termsPlans = `
currencies: [{code: TOK, digits: 6}]
meters: [{key: calls, event: call, aggregate: count}]
plans:
  - {key: pro, currency: EUR, prices: [{key: use, meter: calls, model: unit, unit: 1}]}
  - {key: tok, currency: TOK, prices: [{key: use, meter: calls, model: unit, unit: 1}]}
`

// accountText is what an account of a catalog says of trial, coupons and taxes.
func accountText(a *Account) string {
	var b strings.Builder
	for _, s := range a.Subscriptions {
		fmt.Fprintf(&b, "%s %s %s from %s", a.ID, s.Key, s.Plan, s.From)
		if s.Trial != 0 {
			fmt.Fprintf(&b, " trial %s", s.Trial)
		}
		b.WriteByte('\n')
	}
	for _, c := range a.Coupons {
		fmt.Fprintf(&b, "coupon %s/%s [%s] %s %% %s %s from %s periods %d\n", c.Account, c.ID,
			c.Subscription, c.Percent, c.Amount, c.Currency, c.From, c.Periods)
	}
	for _, t := range a.Taxes {
		fmt.Fprintf(&b, "taxes %s %s %t", t.Account, t.From, t.PerInvoice)
		for _, r := range t.Rates {
			fmt.Fprintf(&b, " [%s]=%s", r.Code, r.Percent)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const termsAccount = `acme main pro from 2025-12-31T23:00:00Z trial 2026-01-14T23:00:00Z
acme more pro from 2026-02-01T12:00:00Z
coupon acme/fall [more] 10 % 0  from 2026-02-01T12:00:00Z periods 0
coupon acme/gift [] 0 % 10.5 EUR from 2025-12-31T23:00:00Z periods 1
coupon acme/launch [main] 20 % 0  from 2026-01-31T23:00:00Z periods 3
taxes acme 2026-01-01 false []=19 [reduced]=7
taxes acme 2027-01-01 true
`

// TestAccountTerms reads trial, coupons and taxes of one account from YAML and from JSONL: dates
// are days of the account's zone, and a coupon without from begins with its first subscription.
func TestAccountTerms(t *testing.T) {
	inYAML := parse(t, termsPlans+`accounts:
  - id: acme
    timezone: Europe/Berlin
    subscriptions:
      - {key: more, plan: pro, from: 2026-02-01T12:00:00Z}
      - {plan: pro, from: 2026-01-01, trial_until: 2026-01-15}
    coupons:
      - {id: launch, percent: 20, periods: 3, from: 2026-02-01, subscription: main}
      - {id: gift, amount: "10.50", currency: EUR, periods: 1}
      - {id: fall, percent: "10.0", subscription: more}
    taxes:
      - {from: 2027-01-01, round: invoice, rates: []}
      - {from: 2026-01-01, round: line, rates: [{code: reduced, percent: "7"}, {percent: "19"}]}
`)
	if got := accountText(&inYAML.Accounts[0]); got != termsAccount {
		t.Errorf("YAML gives\n%s\nwant\n%s", got, termsAccount)
	}
	inJSON := readTable(t, "a.jsonl", `{"id":"acme","timezone":"Europe/Berlin","subscriptions":[`+
		`{"plan":"pro","from":"2026-01-01","trial_until":"2026-01-15"},`+
		`{"key":"more","plan":"pro","from":"2026-02-01T12:00:00Z"}],`+
		`"taxes":[{"from":"2026-01-01","rates":[{"percent":19},{"code":"reduced","percent":"7"}]},`+
		`{"from":"2027-01-01","round":"invoice","rates":[]}],`+
		`"coupons":[{"id":"fall","percent":10,"subscription":"more"},`+
		`{"id":"gift","amount":10.5,"currency":"EUR","periods":1},`+
		`{"id":"launch","subscription":"main","percent":20,"from":"2026-02-01","periods":3}]}`)
	if got := accountText(&inJSON.Accounts[0]); got != termsAccount {
		t.Errorf("JSONL gives\n%s\nwant\n%s", got, termsAccount)
	}
	inCSV := readTable(t, "a.csv", "id,timezone,plan,subscription,from,trial_until\n"+
		"acme,Europe/Berlin,pro,,2026-01-01,2026-01-15\nacme,,pro,more,2026-02-01T12:00:00Z,\n")
	want := strings.Join(strings.SplitAfter(termsAccount, "\n")[:2], "")
	if got := accountText(&inCSV.Accounts[0]); got != want {
		t.Errorf("CSV gives\n%s\nwant\n%s", got, want)
	}
}

func readTable(t *testing.T, name, text string) *Catalog {
	t.Helper()
	c, err := ReadAccounts(fstest.MapFS{"c.yaml": {Data: []byte(termsPlans)}}, name, []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// TestAccountTermFaults wants every mistake at its place, with the way out.
func TestAccountTermFaults(t *testing.T) {
	const plain = `{id: a, subscriptions: [{plan: pro, from: 2026-01-01}], `
	for _, c := range []struct{ account, want, hint string }{
		{plain + `coupons: [{id: c, percent: ^120}]}`, "percent 120 is not above 0 and up to 100",
			"10 is ten percent"},
		{plain + `coupons: [{id: c, percent: ^0}]}`, "percent 0 is not above 0 and up to 100",
			"10 is ten percent"},
		{plain + `coupons: [{id: c, percent: 10, ^amount: 5, currency: EUR}]}`,
			"coupon c has percent and amount",
			"a coupon takes off a percentage or an amount; for both write two coupons"},
		{plain + `coupons: [{id: c, percent: 10, ^currency: EUR}]}`,
			"coupon c has percent and currency",
			"a coupon takes off a percentage or an amount; for both write two coupons"},
		{plain + `coupons: [^{id: c}]}`, "coupon c needs amount",
			`write percent: 20, or amount: "10.00" and currency: EUR`},
		{plain + `coupons: [^{id: c, amount: 5}]}`, "coupon c needs currency",
			"say of which money it is: currency: EUR"},
		{plain + `coupons: [{id: c, amount: ^-5, currency: EUR}]}`, "amount -5 is not above 0",
			`write what is taken off: amount: "10.00"`},
		{plain + `coupons: [{id: c, amount: 5, currency: ^TOK}]}`,
			"coupon c is in TOK, but account a has plan pro in EUR",
			"a coupon takes off amounts of its own currency only"},
		{plain + `coupons: [{id: c, amount: 5, currency: ^eur}]}`, `currency "eur" is not known`,
			"write it in capitals: EUR"},
		{plain + `coupons: [{id: c, amount: ^"5.005", currency: EUR}]}`,
			"amount 5.005 is finer than the 2 digits of EUR", "an invoice has whole minor units only"},
		{plain + `coupons: [{id: c, percent: 5, subscription: ^mian}]}`,
			`account a has no subscription "mian"`, `did you mean "main"? Known here: main`},
		{plain + `coupons: [{id: c, percent: 5, from: ^2026-13-01}]}`, `from "2026-13-01" is not a date`,
			whenHint},
		{plain + `coupons: [{id: c, percent: 5, periods: ^0}]}`,
			`periods "0" is not a whole number in range`, "write a number from 1 to 100000"},
		{plain + `coupons: [{id: c, percent: 5}, {id: ^c, percent: 6}]}`,
			`coupon "c" of account a is given twice`, "the first is in c.yaml:8"},
		{`{id: a, coupons: [{id: ^c, percent: 5}]}`, "coupon c needs from",
			"the account has no subscription here to begin with: from: 2026-01-01"},
		{plain + `taxes: [^{rates: []}]}`, "a set of taxes needs from",
			"write the day of the first periods that have them: from: 2026-01-01"},
		{plain + `taxes: [{from: ^2026-01-01T00:00:00Z, rates: []}]}`,
			`from "2026-01-01T00:00:00Z" is not a date`, "write a date: from: 2026-01-01"},
		{plain + `taxes: [{from: 2026-01-01, rates: [{percent: 19}, ^{percent: 7}]}]}`,
			"prices without a rate of their own have two rates", "give each code once"},
		{plain + `taxes: [{from: 2026-01-01, rates: [{code: x, percent: 19}, {code: ^x, percent: 7}]}]}`,
			`tax code "x" has two rates`, "give each code once"},
		{plain + `taxes: [{from: 2026-01-01, rates: [{percent: ^101}]}]}`,
			"percent 101 is not from 0 to 100", "10 is ten percent"},
		{plain + `taxes: [{from: 2026-01-01, rates: []}, {from: ^2026-01-01, rates: []}]}`,
			"account a has two sets of taxes from 2026-01-01 on", "the first are in c.yaml:8"},
		{`{id: a, subscriptions: [{plan: pro, from: 2026-01-01, trial_until: ^2026-01-01}]}`,
			"trial_until 2026-01-01 is not after from 2026-01-01",
			"trial_until is the first instant that is paid for"},
	} {
		column := strings.IndexByte(c.account, '^')
		text := termsPlans + "accounts:\n- " + strings.Replace(c.account, "^", "", 1) + "\n"
		_, err := ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(text)}})
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 1 {
			t.Errorf("%s: faults are %v", c.account, err)
			continue
		}
		want := fmt.Sprintf("c.yaml:8:%d: %s", column+3, c.want)
		if f := faults[0]; f.Error() != want || f.Hint != c.hint {
			t.Errorf("%s:\n%v\n%s\nwant\n%s\n%s", c.account, f, f.Hint, want, c.hint)
		}
	}
}

// TestTrialAfterEnd wants a subscription to end within its trial: only its end may move, so
// trial_until stands where it stood.
func TestTrialAfterEnd(t *testing.T) {
	c := parse(t, termsPlans+"accounts:\n  - {id: a, subscriptions: [{plan: pro, from: 2026-01-01, "+
		"to: 2026-01-10, trial_until: 2026-01-15}]}\n")
	if s := c.Accounts[0].Subscriptions[0]; s.Trial <= s.To {
		t.Errorf("trial until %s, end %s", s.Trial, s.To)
	}
}

// TestOwnCurrencyCoupon wants the digits of a currency of the catalog's own to count.
func TestOwnCurrencyCoupon(t *testing.T) {
	c := parse(t, termsPlans+"accounts:\n  - {id: a, subscriptions: [{plan: tok, from: 2026-01-01}], "+
		`coupons: [{id: c, amount: "0.000001", currency: TOK}]}`+"\n")
	want := decimal.FromScaled(1, 6)
	if got := c.Accounts[0].Coupons[0]; got.Amount != want || got.Currency != "TOK" {
		t.Errorf("coupon is %v", got)
	}
	if c.Plans[1].Digits != 6 || c.Plans[1].Interval != engine.Month {
		t.Errorf("plan is %v", c.Plans[1])
	}
}

package formats

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
)

// sampleInvoice has every part that a document can have.
func sampleInvoice(t *testing.T) *engine.Invoice {
	rat := func(n, d int64) decimal.Rat { return decimal.Ratio(n, d) }
	cents := decimal.AmountOf
	start, end := instant(t, "2026-08-31T22:00:00Z"), instant(t, "2026-09-30T22:00:00Z")
	return &engine.Invoice{
		Kind: engine.PeriodInvoice, Account: "acme",
		AccountName: "ACME \"Größe\" \x1b[31m\n& Söhne <x>", Subscription: "main",
		Plan: "pro", Version: 2, Currency: "EUR", Digits: 2,
		Zone: "Europe/Berlin", Start: start, End: end, StartDate: "2026-09-01",
		Lines: []engine.Line{
			{Price: "base", Model: engine.Flat, Rated: rat(29, 1), Exact: rat(29, 1), Amount: cents(2900),
				From: end, To: instant(t, "2026-10-31T23:00:00Z")},
			{Price: "output", Model: engine.Graduated, Meter: "tokens_out", Unit: "token",
				Group:    []engine.GroupValue{{Dim: "model", Value: "large"}, {Dim: "region", Absent: true}},
				Quantity: rat(1234567, 1), Billable: rat(3703, 3), Rated: rat(12343333, 5000000),
				Exact:  rat(12343333, 5000000),
				Amount: cents(247), From: start, To: end,
				Tiers: []engine.TierUse{
					{Tier: 0, Quantity: rat(1000, 1), Amount: rat(2, 1)},
					{Tier: 1, Quantity: rat(703, 3), Amount: rat(703, 1500)},
				}},
		},
		Adjustments: []engine.Adjustment{{
			Start: instant(t, "2026-07-31T22:00:00Z"), End: start, StartDate: "2026-08-01",
			Price: "output", Group: []engine.GroupValue{{Dim: "model", Value: ""}},
			Quantity: rat(15, 10), Rated: cents(34), Booked: cents(33), Amount: cents(1),
		}},
		Subtotal: cents(3148),
		Credits:  []engine.CreditUse{{ID: "welcome", Amount: cents(1000)}},
		Total:    cents(2148),
	}
}

// termsInvoice has every member that stands only where it is used.
func termsInvoice(t *testing.T) *engine.Invoice {
	rat := func(n, d int64) decimal.Rat { return decimal.Ratio(n, d) }
	percent, tok := decimal.FromInt, decimal.AmountOf
	start, end := instant(t, "2026-09-01T00:00:00Z"), instant(t, "2026-10-01T00:00:00Z")
	line := func(price string, m engine.Model, exact decimal.Rat, amount int64) engine.Line {
		return engine.Line{Price: price, Model: m, Meter: "m", Quantity: rat(7, 3), Billable: rat(7, 3),
			Rated: rat(10, 1), Exact: exact, Amount: tok(amount), From: start, To: end}
	}
	inv := &engine.Invoice{
		Kind: engine.PeriodInvoice, Account: "acme", AccountName: "acme", Subscription: "main",
		Plan: "pro", Version: 1, Currency: "TOK", Digits: 6, Zone: "UTC", Start: start, End: end,
		StartDate: "2026-09-01",
		Lines: []engine.Line{
			line("st", engine.Stairstep, rat(10, 1), 10_000_000),
			line("fee", engine.Percentage, rat(8, 1), 8_000_000),
			line("gp", engine.GraduatedPercentage, rat(72, 10), 7_200_000),
			line("dy", engine.Dynamic, rat(0, 1), 0),
			line("cm", engine.Unit, rat(20, 1), 20_000_000),
		},
		Adjustments: []engine.Adjustment{{Start: start, End: start, StartDate: "2026-08-01",
			Price: "fee", Amount: tok(1), Rated: tok(1), TaxCode: "reduced"}},
		Coupons:  []engine.CouponUse{{ID: "gift", Amount: tok(5_000_000)}},
		Subtotal: tok(40_200_001),
		Credits:  []engine.CreditUse{{ID: "welcome", Amount: tok(200_001)}},
		Taxes: []engine.TaxUse{
			{Percent: percent(19), Base: tok(30_000_000), Amount: tok(5_700_000)},
			{Code: "reduced", Percent: percent(7), Base: tok(10_000_000), Amount: tok(700_000)},
		},
		Total: tok(46_400_000),
	}
	inv.Lines[0].TaxCode = "reduced"
	inv.Lines[1].Discount, inv.Lines[1].Off = percent(10), percent(1)
	inv.Lines[2].Coupons = []engine.CouponOff{
		{ID: "c1", Percent: percent(10)}, {ID: "c2", Percent: percent(20)},
	}
	inv.Lines[3].Trial = true
	inv.Lines[4].Bound = engine.ByCommitment
	return inv
}

// TestTaxCodes wants tax codes in documents that have taxes only: those of before have none.
func TestTaxCodes(t *testing.T) {
	inv := sampleInvoice(t)
	want := string(AppendInvoice(nil, inv))
	inv.Lines[1].TaxCode, inv.Adjustments[0].TaxCode = "reduced", "reduced"
	if got := string(AppendInvoice(nil, inv)); got != want {
		t.Errorf("a document without taxes is\n%s", got)
	}
}

// TestInvoiceBytes holds the frozen documents. Its golden files may gain cases; the bytes of those
// that are there never change.
func TestInvoiceBytes(t *testing.T) {
	full := sampleInvoice(t)
	empty := &engine.Invoice{Kind: engine.StartInvoice, Account: "a/b ü%", Subscription: "s",
		Currency: "JPY", Plan: "p", Version: 1, Zone: "UTC", StartDate: "2026-01-01T12:00:00Z"}
	for _, c := range []struct {
		file string
		got  string
	}{
		{"testdata/invoice.json", string(AppendInvoice(nil, full))},
		{"testdata/invoice_empty.json", string(AppendInvoice(nil, empty))},
		{"testdata/invoice_terms.json", string(AppendInvoice(nil, termsInvoice(t)))},
	} {
		if *updateGolden {
			if err := os.WriteFile(c.file, []byte(c.got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if c.got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.file, c.got, want)
		}
		if strings.HasSuffix(c.file, ".json") && !json.Valid([]byte(c.got)) {
			t.Errorf("%s is not JSON", c.file)
		}
	}
	if got := string(AppendInvoice([]byte("x"), empty)); got[0] != 'x' || got[1] != '{' {
		t.Error("AppendInvoice does not append")
	}
}

// TestVisible escapes what a terminal would act upon, and nothing else.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 日本": "plain ü 日本", "a\x1b[2Jb": `a\x1b[2Jb`, "\r\n\t": `\x0d\x0a\x09`,
		"x\u202ey": `x\u202ey`, "\xff": `\xff`, "\u0085": `\x85`,
	} {
		if got := Visible(in); got != want {
			t.Errorf("Visible(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestInvoiceKey(t *testing.T) {
	inv := &engine.Invoice{Kind: engine.CorrectionInvoice, Account: "a/b ü%",
		Subscription: "m.a_i@n:-", StartDate: "2026-01-01T12:00:00Z"}
	const want = "a%2Fb%20%C3%BC%25/m.a_i@n:-/2026-01-01T12:00:00Z/correction"
	if got := InvoiceKey(inv); got != want {
		t.Errorf("key is %s, want %s", got, want)
	}
}

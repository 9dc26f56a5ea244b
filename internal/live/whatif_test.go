package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/store"
)

// historyOf returns the history of a state directory whose journal has the entries.
func historyOf(entries []*engine.Entry) (*History, error) {
	fsys := fixtures.NewSimFS()
	g := store.Genesis{Genesis: *entries[0].Body.(*engine.Genesis)}
	dir, err := store.Create(fsys, g, store.Options{Floor: -1})
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := dir.Journal().Append(e.Seq, e.Seqs(), engine.AppendEntry(nil, e)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(dir.Journal().Sync(), dir.Journal().Promise(), dir.Close()); err != nil {
		return nil, err
	}
	if dir, err = store.OpenReadOnly(fsys); err != nil {
		return nil, err
	}
	return OpenHistory(dir)
}

// billedLines folds entries without WhatIf and returns what they bill, by line.
func billedLines(entries []*engine.Entry) (map[string]decimal.Amount, *fold, error) {
	f := newFold(1)
	for _, e := range entries {
		if err := f.apply(e); err != nil {
			return nil, nil, err
		}
	}
	out := map[string]decimal.Amount{}
	for _, inv := range f.bills {
		add := func(start engine.Micros, price string, group []engine.GroupValue, a decimal.Amount) {
			key := fmt.Sprint(inv.Plan, " ", inv.Account, " ", inv.Subscription, " ", start, " ",
				engine.LineKey(price, group), " ", inv.Currency)
			out[key] = out[key].Add(a)
		}
		for _, l := range inv.Lines {
			add(l.From, l.Price, l.Group, l.Amount)
		}
		for _, a := range inv.Adjustments {
			add(a.Start, a.Price, a.Group, a.Amount)
		}
	}
	return out, f, nil
}

// datesAgree compares the dates of periods with those of the invoices.
func datesAgree(got *WhatIfResult, f *fold) error {
	dates := map[string]string{}
	for _, inv := range f.bills {
		dates[fmt.Sprint(inv.Account, inv.Subscription, inv.Start)] = inv.StartDate
	}
	for i := range got.Lines {
		l := &got.Lines[i]
		if want := dates[fmt.Sprint(l.Account, l.Subscription, l.Start)]; want != "" &&
			want != l.StartDate {
			return fmt.Errorf("%+v begins on %s", l, want)
		}
	}
	return nil
}

// agrees compares a result with what two folds bill. Lines that only one of them has are 0 in the
// other.
func agrees(got *WhatIfResult, billed, would map[string]decimal.Amount) error {
	seen := 0
	for i := range got.Lines {
		l := &got.Lines[i]
		key := fmt.Sprint(l.Plan, " ", l.Account, " ", l.Subscription, " ", l.Start, " ", l.Line, " ",
			l.Currency)
		if l.Billed != billed[key] || l.Would != would[key] {
			return fmt.Errorf("%s: %s and %s, want %s and %s", key, l.Billed.Text(l.Digits),
				l.Would.Text(l.Digits), billed[key].Text(l.Digits), would[key].Text(l.Digits))
		}
		seen++
	}
	all := maps.Clone(billed)
	maps.Copy(all, would)
	if seen != len(all) {
		return fmt.Errorf("%d lines, want %d", seen, len(all))
	}
	return nil
}

// sumsAgree compares the sums of a result with its lines.
func sumsAgree(got *WhatIfResult) error {
	for _, sums := range [][]WhatIfSum{got.Plans, got.Accounts, got.Totals} {
		lines, differ := 0, 0
		seen := map[string]bool{}
		for i := range sums {
			s := &sums[i]
			id := s.Plan + " " + s.Account + " " + s.Currency
			if seen[id] {
				return fmt.Errorf("%s is there twice", id)
			}
			seen[id] = true
			var want WhatIfAmounts
			for j := range got.Lines {
				l := &got.Lines[j]
				if l.Currency == s.Currency && (s.Plan == "" || s.Plan == l.Plan) &&
					(s.Account == "" || s.Account == l.Account) {
					want.Billed, want.Would = want.Billed.Add(l.Billed), want.Would.Add(l.Would)
				}
			}
			if want != s.WhatIfAmounts {
				return fmt.Errorf("%s sums up to %v, want %v", id, s.WhatIfAmounts, want)
			}
			lines, differ = lines+s.Lines, differ+s.Differ
		}
		want := 0
		for i := range got.Lines {
			if got.Lines[i].Differs() {
				want++
			}
		}
		if lines != len(got.Lines) || differ != want {
			return fmt.Errorf("sums of %d lines, %d differ, want %d, %d", lines, differ,
				len(got.Lines), want)
		}
	}
	return nil
}

// withPlans returns the entries with other plans in the first change.
func withPlans(entries []*engine.Entry, plans []engine.Plan) []*engine.Entry {
	out := slices.Clone(entries)
	for i, e := range out {
		if c, ok := e.Body.(*engine.Change); ok && len(c.Plans) > 0 {
			changed := *c
			changed.Plans = plans
			out[i] = &engine.Entry{Seq: e.Seq, At: e.At, Body: &changed}
			return out
		}
	}
	panic("BUG: no plans")
}

// TestWhatIfRandom compares what-ifs of random logs, which have late rows and adjustments, with
// folds of their own: under the same catalog nothing differs, and under one with another price the
// lines of that price alone.
func TestWhatIfRandom(t *testing.T) {
	lines, differ, adjustments := 0, 0, 0
	eachSeed(t, 75, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x3a7))
		c := fixtures.RandomCase(seed)
		entries, err := c.Entries(func(rows int) int { return 1 + r.IntN(rows) })
		if err != nil {
			return err
		}
		billed, f, err := billedLines(entries)
		if err != nil {
			return err
		}
		h, err := historyOf(entries)
		if err != nil {
			return err
		}
		same, err := WhatIf(t.Context(), h, WhatIfOptions{Catalog: &formats.Catalog{
			Meters: c.World.Meters, Plans: c.World.Plans,
		}})
		if err != nil {
			return err
		}
		err = errors.Join(agrees(same, billed, billed), sumsAgree(same), datesAgree(same, f))
		if err != nil {
			return fmt.Errorf("the same catalog: %w", err)
		}
		if n := uint64(len(f.bills)); same.Documents != (WhatIfCount{n, n}) || same.Refused != 0 {
			return fmt.Errorf("documents %v, want %d; %d refusals", same.Documents, n, same.Refused)
		}
		lines += len(same.Lines)
		for _, inv := range f.bills {
			adjustments += len(inv.Adjustments)
		}

		plans := slices.Clone(c.World.Plans)
		plan := &plans[r.IntN(len(plans))]
		plan.Prices = slices.Clone(plan.Prices)
		price := &plan.Prices[r.IntN(len(plan.Prices))]
		maximum, err := decimal.Parse("3.33")
		if err != nil {
			return err
		}
		price.Maximum, price.Minimum = &maximum, nil
		would, _, err := billedLines(withPlans(entries, plans))
		if err != nil {
			return err
		}
		got, err := WhatIf(t.Context(), h, WhatIfOptions{Catalog: &formats.Catalog{
			Meters: c.World.Meters, Plans: plans,
		}})
		if err != nil {
			return err
		}
		if err := errors.Join(agrees(got, billed, would), sumsAgree(got)); err != nil {
			return fmt.Errorf("price %s of %s: %w", price.Key, plan.Key, err)
		}
		for _, l := range got.Lines {
			if !l.Differs() {
				continue
			}
			differ++
			if l.Plan != plan.Key || l.Price != price.Key {
				return fmt.Errorf("price %s of %s differs too: %+v", price.Key, plan.Key, l)
			}
		}
		return nil
	})
	t.Logf("%d lines, with %d adjustments, are equal; %d differ under another price", lines,
		adjustments, differ)
	if differ == 0 || adjustments == 0 {
		t.Error("nothing differs ever, or nothing is adjusted")
	}
}

// TestWhatIfSame: under the catalog that billed, every difference is 0, and what was billed are the
// subtotals of the invoices.
func TestWhatIfSame(t *testing.T) {
	s := newShop(t, nil, true)
	got := s.whatIf(t, catalogFiles(t, nil), nil, "")
	if err := agrees(got, s.billed, s.billed); err != nil {
		t.Error(err)
	}
	subtotals := map[string]decimal.Amount{}
	credits := 0
	for _, inv := range s.fold.bills {
		subtotals[inv.Currency] = subtotals[inv.Currency].Add(inv.Subtotal)
		credits += len(inv.Credits)
	}
	for _, sum := range got.Totals {
		if sum.Billed != subtotals[sum.Currency] || sum.Differ != 0 ||
			sum.Difference() != (decimal.Amount{}) {
			t.Errorf("%s: %+v, want %s", sum.Currency, sum, subtotals[sum.Currency].Text(sum.Digits))
		}
	}
	// May has begun: six accounts will pay flat amounts for it, and one in Kolkata has used something.
	const open = 7
	if len(got.Totals) != 2 || credits == 0 || got.Open != open || got.Refused != 0 {
		t.Errorf("%d currencies, %d credits used, %d open, %v", len(got.Totals), credits, got.Open,
			got.Refusals)
	}
	for _, r := range got.Rejected {
		if r.Billed != r.Would {
			t.Errorf("rejected %s: %v", r.Reason, r.WhatIfCount)
		}
	}
	t.Logf("%d lines of %d documents, %d rows, %v", len(got.Lines), got.Documents.Billed, got.Rows,
		got.Rejected)
}

// TestWhatIfPrice: a price that doubles changes its own lines, each to twice its exact amount.
func TestWhatIfPrice(t *testing.T) {
	s := newShop(t, nil, true)
	exact := map[string]decimal.Rat{} // of the lines as billed
	for _, inv := range s.fold.bills {
		for _, l := range inv.Lines {
			exact[fmt.Sprint(inv.Plan, inv.Account, l.From, engine.LineKey(l.Price, l.Group))] = l.Exact
		}
	}
	for _, tt := range []struct {
		plan, price string
		replace     []string
	}{
		{"pro", "support", []string{"pro.yaml", `"9.90"`, `"19.80"`}},
		{"pro", "base", []string{"pro.yaml", `"29.00"`, `"58.00"`}},
		{"payg", "jobs", []string{"payg.yaml", `unit: "0.05"}`, `unit: "0.10"}`}},
		{"payg", "floor", []string{"payg.yaml", `unit: "0.01"`, `unit: "0.02"`}},
		{"japan", "storage", []string{"japan.yaml", `unit: "2.5"`, `unit: "5"`}},
	} {
		got := s.whatIf(t, catalogFiles(t, tt.replace), nil, "")
		differ := 0
		for _, l := range got.Lines {
			if l.Plan != tt.plan || l.Price != tt.price {
				if l.Differs() {
					t.Errorf("%s/%s: %s %s differs", tt.plan, tt.price, l.Plan, l.Line)
				}
				continue
			}
			rounding := decimal.HalfAway
			if l.Plan == "japan" {
				rounding = decimal.HalfEven
			}
			was := exact[fmt.Sprint(l.Plan, l.Account, l.Start, l.Line)]
			if want := was.Add(was).Round(l.Digits, rounding); l.Would != want || was.IsZero() {
				t.Errorf("%s/%s: %+v, want %s", tt.plan, tt.price, l, want.Text(l.Digits))
			}
			differ++
		}
		if differ == 0 {
			t.Errorf("%s/%s has no line", tt.plan, tt.price)
		}
		t.Logf("%s/%s: %d of %d lines differ", tt.plan, tt.price, differ, len(got.Lines))
	}
}

// TestWhatIfVersion: a version that the history never had takes effect by its date, which has
// passed.
func TestWhatIfVersion(t *testing.T) {
	s := newShop(t, nil, true)
	files := catalogFiles(t, nil)
	next := strings.NewReplacer("version: 1", "version: 2\n    effective: 2026-04-01",
		`"9.90"`, `"12.00"`, "# A subscription", "# Another").Replace(string(files["pro.yaml"].Data))
	files["pro2.yaml"] = &fstest.MapFile{Data: []byte(next)}
	got := s.whatIf(t, files, nil, "")
	differ := 0
	for _, l := range got.Lines {
		april := strings.HasPrefix(l.StartDate, "2026-04")
		if want := l.Plan == "pro" && l.Price == "support" && april; l.Differs() != want {
			t.Errorf("%+v differs: %v", l, l.Differs())
		} else if want {
			differ++
			if text := (&l).Difference(); text.Text(2) != "2.10" {
				t.Errorf("%+v: difference %s", l, text.Text(2))
			}
		}
	}
	if differ == 0 {
		t.Error("no line differs")
	}
	march := s.whatIf(t, files, nil, "2026-03")
	for _, l := range march.Lines {
		if l.Differs() || !strings.HasPrefix(l.StartDate, "2026-03") {
			t.Errorf("of March: %+v", l)
		}
	}
	if len(march.Lines) == 0 || len(march.Lines) >= len(got.Lines) {
		t.Errorf("%d lines of March, %d of all", len(march.Lines), len(got.Lines))
	}
}

// TestWhatIfAccounts: other subscriptions bill the usage as a journal that had them from the first.
func TestWhatIfAccounts(t *testing.T) {
	s := newShop(t, nil, true)
	moved := slices.Clone(s.accounts)[1:] // the first is left out, and its usage is nobody's
	for i := range moved {
		if moved[i].Plan == "pro" {
			moved[i].Plan = "payg"
		}
		moved[i].Pin, moved[i].Minimum = 0, ""
	}
	moved = append(moved, fixtures.DemoAccount{ // in a zone that the history does not have
		ID: "new", Zone: "Pacific/Apia", Subjects: []string{s.accounts[0].Subjects[0]}, Plan: "pro",
		From: "2026-03-01",
	})
	file := fixtures.AccountsCSV(moved)
	want := newShop(t, file, true)
	got := s.whatIf(t, catalogFiles(t, nil), file, "")
	err := errors.Join(agrees(got, s.billed, want.billed), datesAgree(got, want.fold))
	if err != nil {
		t.Error(err)
	}
	for _, l := range got.Lines {
		if l.Plan == "pro" && l.Account != "new" && l.Would != (decimal.Amount{}) {
			t.Errorf("%+v of a plan that nobody has", l)
		}
	}
	unknown := 0
	for _, r := range got.Rejected {
		if r.Reason == engine.ReasonUnknownAccount && r.Would > r.Billed {
			unknown++
		}
	}
	if unknown != 1 {
		t.Errorf("rows of the account that is left out: %v", got.Rejected)
	}
	what := fmt.Sprintf("credit %s: no account %s", shopCredit, s.accounts[0].ID)
	if got.Refused != 1 || got.Refusals[0].What != what || got.Refusals[0].Seq == 0 {
		t.Errorf("refusals %v, want %s", got.Refusals, what)
	}
}

// TestWhatIfMeter: rows that no meter of the other catalog counts are rejected there.
func TestWhatIfMeter(t *testing.T) {
	s := newShop(t, nil, true)
	files := catalogFiles(t, []string{
		"meters.yaml", "event: api.call", "event: nothing.such",
	})
	got := s.whatIf(t, files, nil, "")
	at := slices.IndexFunc(got.Rejected, func(r WhatIfReason) bool {
		return r.Reason == engine.ReasonUnmatched
	})
	if at < 0 || got.Rejected[at].Would <= got.Rejected[at].Billed {
		t.Errorf("rejected %v", got.Rejected)
	}
	for _, l := range got.Lines {
		if l.Differs() != (l.Price == "calls" && l.Would != l.Billed) || l.Price == "calls" &&
			l.Would != (decimal.Amount{}) {
			t.Errorf("%+v", l)
		}
	}
}

// TestWhatIfOpen: what no invoice has billed yet is left out and counted.
func TestWhatIfOpen(t *testing.T) {
	s := newShop(t, nil, false)
	for _, tt := range []struct {
		month string
		open  int
	}{{"", shopAccounts - 1}, {"2026-04", shopAccounts - 1}, {"2026-03", 0}} {
		got := s.whatIf(t, catalogFiles(t, nil), nil, tt.month)
		if got.Open != tt.open {
			t.Errorf("%q: %d accounts are open, want %d", tt.month, got.Open, tt.open)
		}
		if tt.month == "" {
			if err := agrees(got, s.billed, s.billed); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestWhatIfFaults(t *testing.T) {
	s := newShop(t, nil, true)
	for _, tt := range []struct {
		name       string
		replace    []string
		drop       string
		text, hint string
	}{
		{"no plan", nil, "pro.yaml",
			"the catalog has no plan pro, which subscription main of account acct_0001 has from " +
				"2025-12-31T23:00:00Z on",
			"add plan pro to the catalog, or give other subscriptions with --accounts FILE"},
		{"no version", []string{"payg.yaml", "version: 2", "version: 3", "payg.yaml", "version: 1",
			"version: 2\n    effective: 2026-01-01"}, "",
			"plan payg of the catalog has no version 1, to which subscription main of account acct_0002 " +
				"is pinned", "add version 1 of plan payg to the catalog, or "},
		{"no price", []string{"pro.yaml", "key: jobs", "key: work"}, "",
			"plan pro of the catalog has no price jobs, which subscription main of account acct_0004 " +
				"overrides", "keep the key and the model of the price"},
		{"a currency", []string{"pro.yaml", "EUR", "USD"}, "",
			"plan pro is in USD in the catalog and in EUR in the archive", "keep the currency"},
	} {
		files := catalogFiles(t, tt.replace)
		delete(files, tt.drop)
		_, err := WhatIf(t.Context(), s.history, WhatIfOptions{Catalog: readCatalog(t, files)})
		var fault *WhatIfError
		if !errors.As(err, &fault) || !strings.HasPrefix(fault.Reason, tt.text) ||
			!strings.HasPrefix(fault.Hint, tt.hint) {
			t.Errorf("%s: %#v", tt.name, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := WhatIf(ctx, s.history, WhatIfOptions{Catalog: readCatalog(t, catalogFiles(t, nil))})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

func TestOverrideFits(t *testing.T) {
	prices := []engine.Price{
		{Key: "flat", Model: engine.Flat}, {Key: "unit", Model: engine.Unit},
		{Key: "tiers", Model: engine.Volume, Tiers: []engine.Tier{{Last: true}}},
		{Key: "package", Model: engine.Package},
	}
	plan := []*engine.Plan{{Key: "p", Prices: prices}, {Key: "p"}}
	for _, tt := range []struct {
		price  string
		fields engine.PriceFields
		fits   bool
	}{
		{"flat", engine.OverrideAmount, true}, {"flat", engine.OverrideUnit, false},
		{"flat", engine.OverrideFree, false}, {"unit", engine.OverrideUnit, true},
		{"unit", engine.OverrideUnit | engine.OverrideTiers, false},
		{"tiers", engine.OverrideTiers | engine.OverrideMinimum, true},
		{"tiers", engine.OverrideSize, false}, {"package", engine.OverrideSize, true},
		{"package", engine.OverrideTiers, false}, {"gone", engine.OverrideMinimum, false},
	} {
		o := &engine.Override{Price: tt.price, Fields: tt.fields}
		if why := unfit(o, plan); (why == "") != tt.fits {
			t.Errorf("%s, fields %b: %q", tt.price, tt.fields, why)
		}
	}
}

package formats

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
)

// journal is an engine that takes differences, as `catalog apply` gives them to it.
type journal struct {
	t    *testing.T
	e    *engine.Engine
	at   engine.Micros
	file uint64
}

// freshKeys knows no key; the tests of differences never send an event twice.
type freshKeys struct{}

func (freshKeys) Admit(_ []engine.Key, verdicts []engine.Verdict) { clear(verdicts) }
func (freshKeys) Forget(engine.Day)                               {}
func (freshKeys) Find(_, _ uint64) (engine.Key, bool)             { return engine.Key{}, false }

func newJournal(t *testing.T, at string) *journal {
	j := &journal{t: t, e: engine.New(0, 1, freshKeys{}), at: instant(t, at)}
	j.apply(&engine.Genesis{Format: engine.Format})
	j.apply(&engine.Rules{Ruleset: engine.Ruleset})
	return j
}

func (j *journal) apply(body engine.Body) {
	j.t.Helper()
	var fx engine.Effects
	j.e.Apply(&engine.Entry{Seq: j.e.Seq() + 1, At: j.at, Body: body}, &fx)
	for _, r := range fx.Refusals {
		j.t.Errorf("the engine refuses a difference: %s", r.What)
	}
}

func (j *journal) view() *engine.View { return engine.Pin([]*engine.Engine{j.e}) }

// take journals a difference, and checks that then there is none.
func (j *journal) take(c *Catalog) *Difference {
	j.t.Helper()
	d, err := Diff(j.view(), c, j.at)
	if err != nil {
		j.t.Fatalf("diff: %v", err)
	}
	for _, z := range d.Zones {
		j.apply(z)
	}
	changes := d.Split(1000)
	for i := range changes {
		j.file++
		binary.LittleEndian.PutUint64(changes[i].File[:], j.file)
		j.apply(&changes[i])
	}
	again, err := Diff(j.view(), c, j.at)
	if err != nil {
		j.t.Fatalf("diff after apply: %v", err)
	}
	if !again.Empty() || len(again.Words) > 0 || again.Split(1) != nil {
		j.t.Fatalf("the difference after apply is not empty: %q", again.Words)
	}
	return d
}

// use lets one event of a subject count.
func (j *journal) use(subject, eventType string) {
	j.t.Helper()
	b := &engine.Batch{
		Len:     1,
		Source:  engine.Dict{Values: []string{"s"}, Index: []uint32{0}},
		Type:    engine.Dict{Values: []string{eventType}, Index: []uint32{0}},
		Subject: engine.Dict{Values: []string{subject}, Index: []uint32{0}},
		ID:      engine.Strings{Bytes: []byte("1"), End: []uint32{1}},
		Time:    []engine.Micros{j.at},
		Rest:    engine.Strings{End: []uint32{0}},
		Digest:  []uint64{1},
		Origin: engine.Origins{Source: "s", Offset: []int64{0}, Resume: []int64{1},
			Partition: engine.Dict{Values: []string{"p"}, Index: []uint32{0}}},
	}
	var fx engine.Effects
	j.e.Apply(&engine.Entry{Seq: j.e.Seq() + 1, At: j.at, Body: b}, &fx)
	if len(fx.Rejections) > 0 {
		j.t.Fatalf("event of %s is rejected: %s", subject, fx.Rejections[0].Reason)
	}
}

func instant(t *testing.T, s string) engine.Micros {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Micros(at.UnixMicro())
}

// parse reads a catalog of one file.
func parse(t *testing.T, text string) *Catalog {
	t.Helper()
	c, err := ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatalf("read catalog: %v", err)
	}
	return c
}

const baseCatalog = `
meters: [{key: calls, event: call, aggregate: count}]
plans:
  - key: pro
    currency: EUR
    prices:
      - {key: base, model: flat, amount: "29.00", timing: advance}
      - {key: use, meter: calls, model: volume, tiers: [{up_to: 1000, unit: 0.002}, {unit: 0.001}]}
accounts:
  - id: acme
    timezone: Europe/Berlin
    subjects: [a1, a2]
    subscriptions: [{plan: pro, from: 2026-01-01}]
  - {id: beta, subscriptions: [{plan: pro, from: 2026-01-01}]}
`

const testNow = "2026-11-01T00:00:00Z"

func TestDiffOfNewCatalog(t *testing.T) {
	j := newJournal(t, testNow)
	d := j.take(parse(t, baseCatalog))
	wantWords(t, d, `meter calls is new: count of events call
plan pro is new: EUR, 2 prices
account acme is new (Europe/Berlin), owns subjects a1, a2
account acme subscribes to plan pro from 2026-01-01
account beta is new (UTC), owns subject beta
account beta subscribes to plan pro from 2026-01-01`)
	acme, _ := j.view().Account("acme")
	if at := acme.Subscriptions[0].From; at != instant(t, "2025-12-31T23:00:00Z") {
		t.Errorf("2026-01-01 in Berlin begins at %s", at)
	}
	if len(d.Zones) != 1 || d.Zones[0].Name != "Europe/Berlin" {
		t.Errorf("zones are %v", d.Zones)
	}
}

func wantWords(t *testing.T, d *Difference, want string) {
	t.Helper()
	if got := strings.Join(d.Words, "\n"); got != want {
		t.Errorf("words are\n%s\nwant\n%s", got, want)
	}
}

// TestDiffOfChanges journals baseCatalog, then a changed one: either words or faults come of it.
func TestDiffOfChanges(t *testing.T) {
	for _, c := range append(planChanges(), accountChanges()...) {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(baseCatalog, c.old, c.new, 1)
			if changed == baseCatalog {
				t.Fatal("the change has no place in the catalog")
			}
			j := newJournal(t, testNow)
			j.take(parse(t, baseCatalog))
			catalog, err := ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(changed)}})
			if err == nil {
				_, err = Diff(j.view(), catalog, j.at)
			}
			if err != nil {
				if !strings.Contains(err.Error(), c.want) || c.want == "" {
					t.Errorf("error is\n%v\nwant\n%s", err, c.want)
				}
				return
			}
			wantWords(t, j.take(catalog), c.want)
		})
	}
}

// catalogChange replaces a part of baseCatalog; want is what comes of it.
type catalogChange struct{ name, old, new, want string }

func planChanges() []catalogChange {
	version2 := `
  - key: pro
    version: 2
    effective: %s
    currency: EUR
    prices:
      - {key: use, meter: calls, model: volume, tiers: [{up_to: 1000, unit: 0.0018}, {unit: 0.001}]}
      - {key: fee, model: flat, amount: 1}
accounts:`
	return []catalogChange{
		{"new version", "\naccounts:", fmt.Sprintf(version2, "2026-12-01"),
			"plan pro gets version 2 from 2026-12-01: use tier 1 unit 0.002 -> 0.0018, price fee is " +
				"new, price base is gone; 2 subscriptions move to it"},
		{"version too soon", "\naccounts:", fmt.Sprintf(version2, "2026-11-01"),
			"c.yaml:11:16: version 2 of plan pro takes effect too soon"},
		{"price changed", "unit: 0.002}", "unit: 0.003}",
			"c.yaml:8:15: price use differs from the journal: tier 1 unit 0.002 -> 0.003"},
		{"same number, other text", "unit: 0.002}", `unit: "0.0020"}`, ""},
		{"price added", "      - {key: base", "      - {key: new, model: flat, amount: 1}\n" +
			"      - {key: base",
			"c.yaml:7:15: price new is not in the journal's plan pro version 1"},
		{"prices in another order", "{key: base, model: flat, amount: \"29.00\", timing: advance}\n" +
			"      - {key: use, meter: calls, model: volume, tiers: [{up_to: 1000, unit: 0.002}, " +
			"{unit: 0.001}]}", "{key: use, meter: calls, model: volume, tiers: [{up_to: 1000, unit: " +
			"0.002}, {unit: 0.001}]}\n      - {key: base, model: flat, amount: \"29.00\", timing: " +
			"advance}",
			"c.yaml:4:10: the prices of plan pro version 1 stand in another order in the journal"},
		{"rounding changed", "currency: EUR", "currency: EUR\n    rounding: half_even",
			"c.yaml:4:10: plan pro version 1 differs from the journal: rounding half_away -> half_even"},
		{"meter changed", "aggregate: count", "aggregate: count, where: {region: eu}",
			`c.yaml:2:16: meter calls differs from the journal: where none -> {data.region: ["eu"]}`},
	}
}

func accountChanges() []catalogChange {
	return []catalogChange{
		{"zone changed", "timezone: Europe/Berlin", "timezone: Europe/Paris",
			"c.yaml:11:15: account acme is in Europe/Berlin in the journal, not in Europe/Paris"},
		{"name changed", "id: acme", "id: acme\n    name: ACME GmbH",
			`account acme is now called "ACME GmbH" instead of "acme"`},
		{"subject taken out", "[a1, a2]", "[a1]", ""},
		{"subject added", "[a1, a2]", "[a1, a2, a3]", "account acme owns also subject a3"},
		{"subject without events moves", "subjects: [a1, a2]\n", "subjects: [a1, a2, beta]\n",
			`c.yaml:14:10: subject "beta" is owned twice`},
		{"end", "from: 2026-01-01}]\n  - {id: b", "from: 2026-01-01, to: 2027-01-01}]\n  - {id: b",
			"subscription main of account acme from 2026-01-01 ends at 2027-01-01"},
		{"end in the past", "from: 2026-01-01}]\n  - {id: b",
			"from: 2026-01-01, to: 2026-10-01}]\n  - {id: b",
			"c.yaml:13:55: subscription main of account acme would end less than 5 minutes from now"},
		{"subscription left out", "    subscriptions: [{plan: pro, from: 2026-01-01}]\n", "", ""},
		{"account left out", "  - {id: beta, subscriptions: [{plan: pro, from: 2026-01-01}]}\n", "", ""},
		{"other begin", "from: 2026-01-01}]\n  - {id: b", "from: 2026-02-01}]\n  - {id: b",
			"c.yaml:13:39: subscription main of account acme overlaps the journal's, from 2026-01-01 to " +
				"no end"},
		{"pin", "plan: pro, from: 2026-01-01}]\n  - {id: b",
			"plan: pro, pin: 1, from: 2026-01-01}]\n  - {id: b",
			"c.yaml:13:21: subscription main of account acme differs from the journal: pin none -> 1"},
		{"override", "plan: pro, from: 2026-01-01}]\n  - {id: b",
			"plan: pro, from: 2026-01-01, overrides: {base: {amount: 0}}}]\n  - {id: b",
			"c.yaml:13:21: subscription main of account acme differs from the journal: override of base " +
				"is new"},
		{"follow-up", "from: 2026-01-01}]\n  - {id: b", "from: 2026-01-01, to: 2027-01-01}, " +
			"{plan: pro, pin: 1, from: 2027-01-01, overrides: {base: {amount: 5}}}]\n  - {id: b",
			"subscription main of account acme from 2026-01-01 ends at 2027-01-01\naccount acme " +
				"subscribes to plan pro at version 1 from 2027-01-01, with its own amount of base"},
		{"default", "\naccounts:", "\ndefaults: {call: pro}\naccounts:",
			"events call of unknown subjects get plan pro"},
	}
}

// TestEndedSubscription wants an end that has come to stay what it is, and one to come to move.
func TestEndedSubscription(t *testing.T) {
	until := func(to string) *Catalog {
		return parse(t, strings.Replace(baseCatalog, "from: 2026-01-01}]\n  - {id: b",
			"from: 2026-01-01, to: "+to+"}]\n  - {id: b", 1))
	}
	j := newJournal(t, testNow)
	j.take(until("2026-12-01"))
	j.take(until("2026-11-15"))
	j.at = instant(t, "2026-11-14T22:56:00Z")
	_, err := Diff(j.view(), until("2026-12-01"), j.at)
	const want = "c.yaml:13:55: subscription main of account acme ended at 2026-11-15"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if open, err := Diff(j.view(), parse(t, baseCatalog), j.at); err == nil {
		t.Errorf("a subscription without its end is taken up again: %q", open.Words)
	}
}

// TestDiffOfSubjects moves subjects between accounts, with and without events that counted.
func TestDiffOfSubjects(t *testing.T) {
	accounts := func(a, b string) string {
		i := strings.Index(baseCatalog, "accounts:")
		return baseCatalog[:i] + fmt.Sprintf(`accounts:
  - {id: acme, subjects: [%s], subscriptions: [{plan: pro, from: 2026-01-01}]}
  - {id: beta, subjects: [%s], subscriptions: [{plan: pro, from: 2026-01-01}]}
`, a, b)
	}
	j := newJournal(t, testNow)
	j.take(parse(t, accounts("x, y", "z")))
	d := j.take(parse(t, accounts("y", "x, z")))
	wantWords(t, d,
		"subject x moves from acme to beta with all its events, none of which has counted yet")
	j.use("x", "call")
	if owner, _ := j.view().Subject("x"); lastOwner(owner).Account != "beta" {
		t.Fatalf("owners are %v", owner)
	}
	d = j.take(parse(t, accounts("x, z", "y")))
	wantWords(t, d, `subject x moves from beta to acme at 2026-11-01T00:10:00Z
subject z moves from beta to acme with all its events, none of which has counted yet
subject y moves from acme to beta with all its events, none of which has counted yet`)
	if changes := d.Split(1); len(changes) != 1 || len(changes[0].Accounts) != 2 {
		t.Errorf("accounts that exchange subjects are in %d changes", len(changes))
	}
	// Back before the move took effect: beta keeps it as far as it had it, then has it again.
	d = j.take(parse(t, accounts("z", "x, y")))
	wantWords(t, d, "subject x moves from acme to beta at 2026-11-01T00:10:00Z")
	j.at += engine.Hour
	d = j.take(parse(t, accounts("x, z", "y")))
	wantWords(t, d, "subject x moves from beta to acme at 2026-11-01T01:10:00Z")
	owners, _ := j.view().Subject("x")
	before := engine.Past
	for _, o := range owners {
		if o.From >= o.To {
			continue
		}
		if o.From != before {
			t.Errorf("owners leave a gap or overlap: %v", owners)
		}
		before = o.To
	}
}

// TestEveryFieldCounts changes every field of a meter, a plan, a price, a tier and a subscription,
// and wants each change to be found: a field that is forgotten would be dropped in silence.
func TestEveryFieldCounts(t *testing.T) {
	price := engine.Price{
		Key: "k", Tiers: []engine.Tier{{}}, Convert: &engine.Convert{},
		Commitment: &engine.Commitment{}, Matrix: &engine.Matrix{},
	}
	meter := engine.Meter{Key: "k", RoundEach: &engine.RoundEach{}}
	checkFields(t, "Meter", meter, func(c any) int {
		m := c.(engine.Meter)
		return len(meterDiff(&meter, &m))
	}, "Key")
	plan := engine.Plan{Key: "k"}
	checkFields(t, "Plan", plan, func(c any) int {
		p := c.(engine.Plan)
		return len(planDiff(&plan, &p))
	}, "Key", "Version", "Prices")
	checkFields(t, "Price", price, func(c any) int {
		p := c.(engine.Price)
		return len(priceDiff(&price, &p))
	}, "Key")
	checkFields(t, "Tier", engine.Tier{}, func(c any) int {
		var w wordList
		w.tiers([]engine.Tier{{}}, []engine.Tier{c.(engine.Tier)})
		return len(w)
	})
	checkFields(t, "Convert", engine.Convert{}, func(c any) int {
		p, conv := price, c.(engine.Convert)
		p.Convert = &conv
		return len(priceDiff(&price, &p))
	})
	checkFields(t, "Commitment", engine.Commitment{}, func(c any) int {
		p, commitment := price, c.(engine.Commitment)
		p.Commitment = &commitment
		return len(priceDiff(&price, &p))
	})
	checkFields(t, "RoundEach", engine.RoundEach{}, func(c any) int {
		m, round := meter, c.(engine.RoundEach)
		m.RoundEach = &round
		return len(meterDiff(&meter, &m))
	})
	checkFields(t, "Matrix", engine.Matrix{}, func(c any) int {
		p, matrix := price, c.(engine.Matrix)
		p.Matrix = &matrix
		return len(priceDiff(&price, &p))
	})
	checkFields(t, "MatrixRow", engine.MatrixRow{}, func(c any) int {
		var w wordList
		w.matrix(&engine.Matrix{Rows: []engine.MatrixRow{{}}},
			&engine.Matrix{Rows: []engine.MatrixRow{c.(engine.MatrixRow)}})
		return len(w)
	})
	checkFields(t, "Coupon", engine.Coupon{}, func(c any) int {
		coupon := c.(engine.Coupon)
		return len(couponDiff(&engine.Coupon{}, &coupon, nil))
	}, "ID", "Account")
	budget := engine.Budget{}
	checkFields(t, "Budget", budget, func(c any) int {
		b := c.(engine.Budget)
		return len(budgetDiff(&budget, &b))
	}, "Key")
	taxes := engine.AccountTaxes{Rates: []engine.TaxRate{{}}}
	checkFields(t, "AccountTaxes", taxes, func(c any) int {
		x := c.(engine.AccountTaxes)
		return strings.Compare(taxWords(&taxes), taxWords(&x))
	}, "Account", "From")
	checkFields(t, "TaxRate", engine.TaxRate{}, func(c any) int {
		x := engine.AccountTaxes{Rates: []engine.TaxRate{c.(engine.TaxRate)}}
		return strings.Compare(taxWords(&taxes), taxWords(&x))
	})
	sub := engine.Subscription{}
	checkFields(t, "Subscription", sub, func(c any) int {
		s := c.(engine.Subscription)
		return len(subscriptionDiff(&sub, &s, nil))
	}, "Key", "From", "To")
	override := engine.Subscription{Overrides: []engine.Override{{}}}
	checkFields(t, "Override", engine.Override{}, func(c any) int {
		s := engine.Subscription{Overrides: []engine.Override{c.(engine.Override)}}
		return len(subscriptionDiff(&override, &s, nil))
	}, "Value")
}

// checkFields changes every field of old but those to skip, and wants diff to see it.
func checkFields(t *testing.T, name string, old any, diff func(changed any) int, skip ...string) {
	one := decimal.FromInt(1)
	typ := reflect.TypeOf(old)
	for i := range typ.NumField() {
		if contains(skip, typ.Field(i).Name) {
			continue
		}
		changed := reflect.New(typ).Elem()
		changed.Set(reflect.ValueOf(old))
		f := changed.Field(i)
		switch f.Interface().(type) {
		case decimal.Decimal:
			f.Set(reflect.ValueOf(one))
		case *decimal.Decimal:
			f.Set(reflect.ValueOf(&one))
		default:
			switch f.Kind() {
			case reflect.String:
				f.SetString("other")
			case reflect.Bool:
				f.SetBool(!f.Bool())
			case reflect.Int, reflect.Int32, reflect.Int64:
				f.SetInt(f.Int() + 1)
			case reflect.Uint8, reflect.Uint32:
				f.SetUint(f.Uint() + 1)
			case reflect.Slice:
				f.Set(reflect.MakeSlice(f.Type(), 2, 2))
			case reflect.Pointer:
				f.SetZero()
			default:
				t.Fatalf("%s.%s has a kind that the test does not know", name, typ.Field(i).Name)
			}
		}
		if diff(changed.Interface()) == 0 {
			t.Errorf("a change of %s.%s is not found", name, typ.Field(i).Name)
		}
	}
}

package formats

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
)

// Case is a test of a catalog: an account with one subscription, usage, and the document that must
// come of it for one period. The language is docs/formats/cases.md.
type Case struct {
	Name    string
	File    string
	Line    int
	Account string // its id
	// Catalog has the meters, the versions of the plan, and the account. Where usage is given as
	// totals, every meter listens to totals of its own and to nothing else.
	Catalog *Catalog
	Zone    *engine.Zone
	Start   engine.Micros // of the period, as far as the subscription covers it
	End     engine.Micros
	First   bool // the document of the first amounts in advance is meant, not that of the period
	Events  []CaseEvent
	Credits []engine.Credit
	Expect  CaseExpect
}

// Prices returns the keys of the prices that any version of the plan has, rising.
func (c *Case) Prices() []string {
	var keys []string
	for i := range c.Catalog.Plans {
		for j := range c.Catalog.Plans[i].Prices {
			keys = append(keys, c.Catalog.Plans[i].Prices[j].Key)
		}
	}
	return sortedSet(keys)
}

// CaseEvent is a row of usage, or many that are alike.
type CaseEvent struct {
	File     string
	Line     int
	What     string // for people
	Type     string
	Time     engine.Micros
	Data     []byte // JSON
	Count    int    // at least 1
	Rejected engine.Reason
}

// Append appends the event as a line of JSON (docs/formats/events.md).
func (e *CaseEvent) Append(dst []byte, id string) []byte {
	dst = append(dst, `{"specversion":"1.0","source":"case","id":`...)
	dst = appendJSONString(dst, id)
	dst = append(dst, `,"type":`...)
	dst = appendJSONString(dst, e.Type)
	dst = append(dst, `,"subject":"`+caseAccount+`","time":"`+e.Time.String()+`","data":`...)
	dst = append(dst, e.Data...)
	return append(dst, "}\n"...)
}

// CaseExpect is what the document must say. What a case does not speak of is not compared.
type CaseExpect struct {
	Lines   []CaseLine
	HasAll  bool // Lines are all lines of the document
	Sums    []CaseSum
	HasSome bool // Lines are some of them
}

// CaseLine is a line that the document must have.
type CaseLine struct {
	Price    string
	Group    []engine.GroupValue // the values that are named, by rising name
	Quantity *decimal.Rat        // nil: any
	Amount   *decimal.Rat        // nil: any
}

// CaseSum is a sum of the document.
type CaseSum struct {
	Name   string // one of caseSums
	Amount decimal.Rat
}

// caseSums are the sums of a document that a case may speak of, in the order of the document.
var caseSums = []string{"subtotal", "coupons", "credits", "taxes", "total"}

// What the account of a case is called.
const (
	caseAccount      = "case"
	caseSubscription = "main"
)

// maxCaseRows bounds the rows of a case.
const maxCaseRows = 100_000

// isCases reports whether a file of a catalog holds cases.
func isCases(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, ".test.yaml") || strings.HasSuffix(base, ".test.yml")
}

// ReadCases reads a catalog and the files *.test.yaml and *.test.yml below its root, in the order
// of their paths, and within a file as they stand. It fails as ReadCatalog does, and with Faults
// where a case is at fault.
func ReadCases(fsys fs.FS) ([]*Case, error) {
	r := &caseReader{catalogReader: newCatalogReader()}
	if err := r.walk(fsys); err != nil {
		return nil, err
	}
	if _, err := r.result(); err != nil {
		return nil, err
	}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && strings.HasPrefix(path.Base(name), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || !isCases(name) || r.faults.full() {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err == nil {
			r.cases(name, data)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	return r.out, nil
}

// caseReader reads cases against a catalog that has no fault.
type caseReader struct {
	*catalogReader
	out []*Case
}

// cases reads one file.
func (r *caseReader) cases(name string, data []byte) {
	if len(data) > MaxFile {
		r.tooLarge(name, MaxFile)
		return
	}
	src, fault := newSource(name, data)
	if fault != nil {
		r.faults.list = append(r.faults.list, fault)
		return
	}
	for _, doc := range parseYAML(src, r.faults) {
		if doc == nil || doc.kind == emptyNode {
			continue
		}
		f := fieldsOf(r.faults, doc, "a file of cases", "cases")
		if f == nil {
			continue
		}
		for _, n := range f.list(f.need("cases", "write cases: and below it a list"), "cases") {
			if !r.faults.full() {
				r.read(n)
			}
		}
	}
}

// subscriptionKeys are the keys of a case that its account and subscription take over, by what
// these call them.
var subscriptionKeys = map[string]string{
	"plan": "plan", "version": "pin", "from": "from", "to": "to", "trial_until": "trial_until",
	"overrides": "overrides",
}

// read reads one case.
func (r *caseReader) read(n *node) {
	f := fieldsOf(r.faults, n, "a case", "name", "plan", "version", "timezone", "from", "to",
		"trial_until", "overrides", "period", "document", "coupons", "taxes", "credits", "usage",
		"expect")
	if f == nil {
		return
	}
	c := &Case{File: n.at.src.name, Line: int(n.at.line), Account: caseAccount}
	name, ok := f.name(f.need("name", "say what it shows: name: the first month is free"), "name")
	if !ok {
		return
	}
	c.Name, f.what = name, "case "+quoted(clip(name))
	plan, ok := f.scalar(f.need("plan", "name the plan"), "plan")
	if !ok {
		return
	}
	if len(r.c.plansOf(plan)) == 0 {
		r.faults.add(f.get("plan").at, known(plan, r.c.planKeys()), "there is no plan %q", clip(plan))
		return
	}
	when, ok := r.caseTime(f)
	if !ok {
		return
	}
	a := r.caseAccount(f, when)
	if a == nil || !r.casePeriod(f, c, a, when) {
		return
	}
	if word, ok := f.word(f.get("document"), "document", "period", "start"); ok {
		c.First = word == "start"
	}
	c.Catalog = r.part(plan, a)
	r.caseUsage(f, c)
	r.caseCredits(f, c)
	r.expect(f, c)
	r.out = append(r.out, c)
}

// caseTime is what a case says of the period that it is about: a month or a day, of its first or of
// any part. Nothing is given where the subscription's first period is meant.
type caseTime struct {
	at    place
	day   string // the first of a month
	month bool
}

// caseTime reads the period of a case.
func (r *caseReader) caseTime(f *fields) (out caseTime, ok bool) {
	n := f.get("period")
	if n == nil {
		if f.has("from") {
			return caseTime{at: f.node.at}, true
		}
		r.faults.add(f.node.at, "write period: 2026-03, or from: 2026-03-01",
			"%s needs period or from", f.what)
		return out, false
	}
	text, ok := f.scalar(n, "period")
	if !ok {
		return out, false
	}
	out = caseTime{n.at, text, false}
	if len(text) == len("2006-01") {
		out.day, out.month = text+"-01", true
	}
	if _, valid := parseDay(out.day); !valid {
		r.faults.add(n.at, "write a month, 2026-03, or a day of the period, 2026-03-15",
			"period %q is neither a month nor a day", clip(text))
		return out, false
	}
	return out, true
}

// caseAccount reads a case's account and subscription as a catalog's; nil after a fault.
func (r *caseReader) caseAccount(f *fields, when caseTime) *Account {
	before := len(r.faults.list)
	at := f.node.at
	word := func(s string) *node { return &node{text: s, at: at} }
	sub := &node{kind: mapNode, at: at}
	account := &node{kind: mapNode, at: at, keys: []*node{word("id")},
		items: []*node{word(caseAccount)}}
	add := func(to *node, key string, value *node) {
		to.keys, to.items = append(to.keys, word(key)), append(to.items, value)
	}
	for i, key := range f.node.keys {
		switch to := subscriptionKeys[key.text]; {
		case to != "":
			add(sub, to, f.node.items[i])
		case key.text == "timezone", key.text == "coupons", key.text == "taxes":
			add(account, key.text, f.node.items[i])
		}
	}
	if !f.has("from") {
		// Until it is known where the period begins. Terms of the account may name the month before.
		first := &node{text: when.day[:len("2006-01")] + "-01", at: when.at}
		add(sub, "from", first)
	}
	add(account, "subscriptions", &node{kind: listNode, at: at, items: []*node{sub}})
	clear(r.accounts)
	clear(r.subjects)
	r.c.Accounts = nil
	r.account(account)
	r.checkAccounts()
	if len(r.faults.list) > before || len(r.c.Accounts) != 1 ||
		len(r.c.Accounts[0].Subscriptions) != 1 {
		return nil
	}
	return &r.c.Accounts[0]
}

// casePeriod finds the period that a case is about.
func (r *caseReader) casePeriod(f *fields, c *Case, a *Account, when caseTime) bool {
	c.Zone = r.zones[a.Zone]
	s := &a.Subscriptions[0]
	plan := &r.c.plansOf(s.Plan)[0]
	given, at := f.has("from"), s.From
	if when.day != "" {
		at, _ = parseWhen(when.day, c.Zone) // it was read as a day before
	}
	month := at
	around := func(t engine.Micros) (start, end engine.Micros) {
		year, month, day := c.Zone.Date(s.From)
		date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		return c.Zone.Period(plan.Interval, plan.Anchor, engine.DayOf(engine.Micros(date.UnixMicro())), t)
	}
	start, end := around(at)
	if given && at < s.From {
		if when.month && !c.sameMonth(month, s.From) || !when.month && end <= s.From {
			r.faults.add(when.at, "name a period in which the subscription holds",
				"the subscription begins at %s", s.From)
			return false
		}
		at = s.From
		start, end = around(at)
	}
	if when.month && start < month && (!given || s.From < month) && c.sameMonth(end, month) {
		start, end = around(end) // the first that begins in the month
		at = start
	}
	if !given {
		s.From = start
	}
	if at >= s.To {
		r.faults.add(when.at, "name a period before the end of the subscription",
			"the subscription ends at %s", s.To)
		return false
	}
	c.Start, c.End = max(start, s.From), min(end, s.To)
	if s.Trial > c.Start && s.Trial < c.End {
		if at < s.Trial {
			c.End = s.Trial
		} else {
			c.Start = s.Trial
		}
	}
	return true
}

// sameMonth reports whether two instants are in one month of the account's zone.
func (c *Case) sameMonth(t, u engine.Micros) bool {
	year, month, _ := c.Zone.Date(t)
	y, m, _ := c.Zone.Date(u)
	return year == y && month == m
}

// part returns the part of the catalog that a case needs.
func (r *caseReader) part(plan string, a *Account) *Catalog {
	return &Catalog{
		Meters: r.c.Meters, Plans: r.c.plansOf(plan), Accounts: []Account{*a},
		meterAt: r.c.meterAt, planAt: r.c.planAt, defaultAt: r.c.defaultAt, zones: r.zones,
	}
}

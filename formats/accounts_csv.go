package formats

import (
	"slices"
	"strings"

	"billctl/engine"
)

// maxTable is the greatest size of a table of accounts, in bytes.
const maxTable = 256 << 20

// accountColumns are the columns of a table of accounts, in any order; only id must be there.
var accountColumns = []string{
	"id", "name", "timezone", "subjects", "plan", "subscription", "from", "to", "pin",
	"trial_until",
}

// accountTable reads a CSV file of accounts: a row for each account, or adjacent rows with one id
// for its subscriptions.
type accountTable struct {
	csvTable
	r       *catalogReader
	columns [10]int // of accountColumns in the file, or -1
}

// accountsCSV reads a CSV file of accounts.
func (r *catalogReader) accountsCSV(src *source) {
	t := &accountTable{csvTable: newCSVTable(r.faults, src), r: r}
	if !t.next() || !t.header() {
		r.unread = true
		return
	}
	var a *Account
	var zone *engine.Zone
	last := ""
	flush := func() {
		if a != nil {
			r.c.Accounts = append(r.c.Accounts, *a)
		}
	}
	for t.next() && !r.faults.full() {
		id := t.cell(0)
		if !id.given() || !isKey(id.text) {
			at := id.at
			if !id.given() {
				at = t.place(0)
			}
			r.faults.add(at, "use 1 to 80 of the characters A-Z a-z 0-9 . _ : @ -",
				"account id %q is not a key", clip(id.text))
			continue
		}
		if id.text != last {
			flush()
			last = id.text
			if a = r.newAccount(id.text, id.at); a != nil {
				zone = t.account(a)
			}
		} else if a != nil {
			t.same(a)
		}
		if a != nil {
			t.subscription(a, zone)
		}
	}
	flush()
}

// next reads a record; false at the end or after a fault.
func (t *accountTable) next() bool {
	before := len(t.r.faults.list)
	ok := t.csvTable.next("begin with a line of column names")
	if len(t.r.faults.list) > before {
		t.r.unread = true
	}
	return ok
}

// header reads the column names.
func (t *accountTable) header() bool {
	for i := range t.columns {
		t.columns[i] = -1
	}
	ok := true
	for i, name := range t.record {
		name = strings.TrimSpace(name)
		column := slices.Index(accountColumns, name)
		switch {
		case column < 0 && strings.Contains(name, ";"):
			t.r.faults.add(t.place(i), "separate columns by commas", "the columns are not CSV")
			return false
		case column < 0:
			t.r.faults.add(t.place(i), known(name, accountColumns), "no column is called %q", clip(name))
			ok = false
		case t.columns[column] >= 0:
			t.r.faults.add(t.place(i), "", "column %q is given twice", name)
			ok = false
		default:
			t.columns[column] = i
		}
	}
	if ok && t.columns[0] < 0 {
		t.r.faults.add(t.place(0), "", "the table needs a column id")
		return false
	}
	return ok
}

// cell returns the field of one of accountColumns; not given where it is empty.
func (t *accountTable) cell(column int) written {
	field := t.columns[column]
	if field < 0 || field >= len(t.record) {
		return written{}
	}
	text := strings.TrimSpace(t.record[field])
	if text == "" {
		return written{}
	}
	return written{text, t.place(field)}
}

// account reads the fields of a new account.
func (t *accountTable) account(a *Account) *engine.Zone {
	if len(t.record) > len(t.columns) || len(t.record) > t.width() {
		t.r.faults.add(t.place(t.width()), "put texts with commas in quotes",
			"the row has more fields than the header")
	}
	if name := t.cell(1); name.given() {
		a.Name, a.at.named = name.text, true
		if fault := nameFault(name.text); fault != "" {
			t.r.faults.add(name.at, "", "name %s", fault)
		}
	}
	zone := t.r.zoneOf(a, t.cell(2))
	subjects := t.cell(3)
	if !subjects.given() {
		t.r.subject(a, a.ID, a.at.id)
		return zone
	}
	a.at.listed = true
	for _, name := range splitSubjects(subjects.text) {
		if fault := nameFault(name); fault != "" {
			t.r.faults.add(subjects.at, "", "subject %s", fault)
			continue
		}
		t.r.subject(a, name, subjects.at)
	}
	return zone
}

// width returns how many columns the header has.
func (t *accountTable) width() int {
	n := 0
	for _, c := range t.columns {
		n = max(n, c+1)
	}
	return n
}

// splitSubjects cuts at spaces and semicolons.
func splitSubjects(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ';' })
}

// same checks that a further row of an account says nothing else of it.
func (t *accountTable) same(a *Account) {
	name, zone, subjects := t.cell(1), t.cell(2), t.cell(3)
	const hint = "leave the field empty in further rows of one account"
	if name.given() && name.text != a.Name {
		t.r.faults.add(name.at, hint, "name %q differs from the row before", clip(name.text))
	}
	if zone.given() && zone.text != a.Zone {
		t.r.faults.add(zone.at, hint, "timezone %q differs from the row before", clip(zone.text))
	}
	if subjects.given() && !slices.Equal(splitSubjects(subjects.text), a.Subjects) {
		t.r.faults.add(subjects.at, hint, "subjects differ from the row before")
	}
}

// subscription reads the row's subscription, if it has one.
func (t *accountTable) subscription(a *Account, zone *engine.Zone) {
	row := subRow{
		plan: t.cell(4), key: t.cell(5), from: t.cell(6), to: t.cell(7), pin: t.cell(8),
		trial: t.cell(9), at: t.place(0),
	}
	if !row.plan.given() && !row.key.given() && !row.from.given() && !row.to.given() &&
		!row.pin.given() && !row.trial.given() {
		return
	}
	for _, need := range []struct {
		name string
		cell written
	}{{"plan", row.plan}, {"from", row.from}} {
		if !need.cell.given() {
			t.r.faults.add(row.at, "", "the subscription of account %s needs %s", a.ID, need.name)
		}
	}
	t.r.addSubscription(a, zone, &row)
}

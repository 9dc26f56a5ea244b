package tui

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// accountsAnswer is a page of accounts.
type accountsAnswer struct {
	Total    int          `json:"total"`
	Matched  *int         `json:"matched"`
	Accounts []accountRow `json:"accounts"`
	Ordering string       `json:"ordering"`
	Next     string       `json:"next"`
}

// accountRow is an account with the totals of its open periods.
type accountRow struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Rows    uint64 `json:"rows"`
	Periods []struct {
		Plan string `json:"plan"`
	} `json:"periods"`
	Totals []struct {
		Currency    string `json:"currency"`
		SoFar       string `json:"so_far"`
		IfClosedNow string `json:"if_closed_now"`
	} `json:"totals"`
	Budget *struct {
		Budget       string    `json:"budget"`
		Percent      wordOrNum `json:"percent"`
		Subscription string    `json:"subscription"`
	} `json:"budget"`
	Days []uint64 `json:"days"`
}

// wordOrNum is a JSON string or number, as its text.
type wordOrNum string

func (w *wordOrNum) UnmarshalJSON(text []byte) error {
	s := string(text)
	if len(s) > 1 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	*w = wordOrNum(s)
	return nil
}

// accounts is the first screen: what every account owes now. It holds the rows around those that
// are seen, whatever the number of accounts.
type accounts struct {
	changes
	table *table
	words string // the filter

	total, matched int
	from           int // index of the first of rows
	rows           []accountRow
	chosenID       string // where the cursor is, if that row was known
	body           []byte
	ordering       string
	wide           bool // there is room for the days
}

// Columns of accounts.
const (
	colID = iota
	colName
	colPlan
	colRows
	colSoFar
	colIfClosed
	colCurrency
	colBudget
	colDays
)

// wideDays is how wide a terminal must be for days.
const wideDays = 110

// sparkDays is how many days are drawn at most: those of a month.
const sparkDays = 31

func newAccountsScreen() screen {
	a := &accounts{table: newTable(
		column{title: "account", least: 10, most: 36, grow: 3, sort: "id", find: true},
		column{title: "name", least: 8, most: 40, grow: 3, drop: 2, sort: "name", find: true},
		column{title: "plan", least: 6, most: 20, grow: 1, drop: 5},
		column{title: "rows", least: 5, fit: true, right: true, drop: 4, sort: "rows"},
		column{title: "so far", least: 10, fit: true, right: true, sort: "so_far"},
		column{title: "if closed", least: 10, fit: true, right: true, drop: 1, sort: "if_closed_now"},
		column{title: "cur", least: 3, fit: true},
		column{title: "budget", least: 6, fit: true, right: true, drop: 3},
		column{title: "rows a day", least: 10, most: sparkDays, grow: 2, drop: 6},
	)}
	a.table.row = a.fields
	a.table.sorted = colID
	return a
}

func (a *accounts) crumb() string { return "accounts" }

// wants is the page around what is seen. Its bounds move in steps, so that a line more is seldom
// another question.
func (a *accounts) wants() []want {
	step := max(32, a.table.height)
	from := max(0, a.table.top/step-1) * step
	params := a.params()
	params.Set("offset", strconv.Itoa(from))
	params.Set("limit", strconv.Itoa(3*step))
	if a.wide {
		params.Set("days", "1")
	}
	return []want{{id: "rows", path: "/v1/accounts", params: params}}
}

func (a *accounts) params() url.Values {
	params := url.Values{"sort": {a.table.columns[a.table.sorted].sort}, "order": {"asc"}}
	if a.table.descending {
		params.Set("order", "desc")
	}
	if a.words != "" {
		params.Set("filter", a.words)
	}
	return params
}

// offset is where the page begins that is asked for now: the answer is to it.
func (a *accounts) offset() int {
	n, err := strconv.Atoi(a.wants()[0].params.Get("offset"))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return n
}

func (a *accounts) take(_ string, body []byte) error {
	var got accountsAnswer
	if err := readAnswer(body, &got); err != nil {
		return err
	}
	offset := a.offset()
	a.total, a.matched, a.ordering, a.body = got.Total, got.Total, got.Ordering, body
	if got.Matched != nil {
		a.matched = *got.Matched
	}
	a.matched = max(a.matched, 0)
	a.from, a.rows = offset, got.Accounts
	for i := range a.rows {
		r := &a.rows[i]
		so, closed, _ := r.amounts()
		a.see(r.ID, strconv.FormatUint(r.Rows, 10), so, closed, r.budget())
	}
	a.forget()
	a.table.setCount(a.matched)
	if a.chosenID == "" {
		a.remember()
	} else if r := a.known(a.table.cursor); r == nil || r.ID != a.chosenID {
		a.follow()
	}
	return nil
}

// follow puts the cursor on the account on which it was, if the page has it.
func (a *accounts) follow() {
	for i := range a.rows {
		if a.rows[i].ID == a.chosenID {
			a.table.moveTo(a.from + i)
			return
		}
	}
	a.remember()
}

// remember notes on which account the cursor is.
func (a *accounts) remember() {
	a.chosenID = ""
	if r := a.known(a.table.cursor); r != nil {
		a.chosenID = r.ID
	}
}

// known returns a row, nil if it is not in the page.
func (a *accounts) known(i int) *accountRow {
	if i -= a.from; i < 0 || i >= len(a.rows) {
		return nil
	}
	return &a.rows[i]
}

func (a *accounts) fail(string, *Failure) {}

func (a *accounts) key(k tea.KeyMsg) (action, bool) {
	if a.table.key(k) {
		a.remember()
		return action{}, true
	}
	switch k.String() {
	case "enter", "right", "l":
		return a.open(), true
	case "s", ">":
		a.sortBy(1)
	case "<":
		a.sortBy(-1)
	case "S":
		a.table.descending = !a.table.descending
		a.begin()
	default:
		return action{}, false
	}
	return action{}, true
}

func (a *accounts) open() action {
	r := a.known(a.table.cursor)
	if r == nil {
		return action{}
	}
	return action{open: newAccountScreen(r.ID)}
}

// sortBy goes to the next column that can be sorted by, or the one before. Figures begin with the
// greatest.
func (a *accounts) sortBy(step int) {
	n := len(a.table.columns)
	for i := a.table.sorted + step; ; i += step {
		at := (i + n) % n
		if a.table.columns[at].sort != "" {
			a.table.sorted, a.table.descending = at, at >= colRows
			break
		}
	}
	a.begin()
}

// begin goes to the first row: the rows come in another order, or are others.
func (a *accounts) begin() {
	a.table.moveTo(0)
	a.chosenID = ""
	a.from, a.rows = 0, nil // they are not in that order
}

func (a *accounts) click(line, wheel int) action {
	again := a.table.click(line, wheel)
	a.remember()
	if again {
		return a.open()
	}
	return action{}
}

func (a *accounts) filter() string { return a.words }

func (a *accounts) setFilter(words string) {
	a.words, a.table.find = words, marked(words)
	a.begin()
}

func (a *accounts) filterHint() string { return "text  !text  plan:pro  >100  <5   enter keeps" }

func (a *accounts) note() string {
	text := fmt.Sprintf("%s accounts", count(uint64(a.matched)))
	if a.words != "" {
		text = fmt.Sprintf("%s of %s match %q", count(uint64(a.matched)), count(uint64(a.total)), a.words)
	}
	if a.ordering != "" {
		text = "ordering " + percent(a.ordering) + ", by id until then · " + text
	}
	return text
}

// percent writes a part of one as a percentage.
func percent(part string) string {
	whole, fraction, _ := strings.Cut(part, ".")
	digits := (fraction + "00")[:2]
	if whole != "0" && whole != "" {
		digits = whole + digits
	}
	if len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits + " %"
}

func (a *accounts) draw(w, h int, p *pen) []string {
	a.wide = w >= wideDays
	if a.matched == 0 {
		return a.drawEmpty(w, h, p)
	}
	return a.table.draw(w, h, p)
}

func (a *accounts) drawEmpty(w, h int, p *pen) []string {
	if a.words != "" {
		return notice(w, h, p, fmt.Sprintf("no account matches %q", a.words),
			"esc takes the filter away. Words: text, !text, plan:pro, >100, <5; all must hold.")
	}
	return notice(w, h, p, "there is no account yet",
		"`billctl accounts import FILE` brings accounts; or a default of the catalog opens one "+
			"for every subject that has usage.")
}

// fields returns what a row shows, nil while it is not known.
func (a *accounts) fields(i int) []field {
	r := a.known(i)
	if r == nil {
		return nil
	}
	so, closed, currency := r.amounts()
	plan := ""
	for i := range r.Periods {
		if i == 0 {
			plan = r.Periods[i].Plan
		} else if r.Periods[i].Plan != plan {
			plan += fmt.Sprintf(" +%d", len(r.Periods)-1)
			break
		}
	}
	days := r.Days
	return []field{
		colID:       {text: r.ID, ink: accent},
		colName:     {text: r.Name},
		colPlan:     {text: plan, ink: faint},
		colRows:     {text: count(r.Rows), ink: faint, moved: a.moved(r.ID, 0)},
		colSoFar:    {text: so, ink: strong, moved: a.moved(r.ID, 1)},
		colIfClosed: {text: closed, moved: a.moved(r.ID, 2)},
		colCurrency: {text: currency, ink: faint},
		colBudget:   r.budgetField(a.moved(r.ID, 3)),
		colDays: {picture: func(w int, p *pen) string {
			return p.ink(faint, sparkline(days, w, p))
		}},
	}
}

// amounts are the totals of the first currency; the currency says how many more there are.
func (r *accountRow) amounts() (soFar, ifClosed, currency string) {
	if len(r.Totals) == 0 {
		return "", "", ""
	}
	t := &r.Totals[0]
	currency = t.Currency
	if more := len(r.Totals) - 1; more > 0 {
		currency += fmt.Sprintf(" +%d", more)
	}
	return t.SoFar, t.IfClosedNow, currency
}

func (r *accountRow) budget() string {
	if r.Budget == nil {
		return ""
	}
	return string(r.Budget.Percent)
}

// Percentages of a budget from which it is near, and reached.
const (
	nearBudget    = "80"
	reachedBudget = "100"
)

// budgetField says by sign and by ink how near a budget is.
func (r *accountRow) budgetField(moved bool) field {
	s := r.budget()
	switch {
	case s == "":
		return field{}
	case compareNumbers(s, reachedBudget) >= 0:
		return field{text: "!! " + s + "%", ink: bad, moved: moved}
	case compareNumbers(s, nearBudget) >= 0:
		return field{text: "! " + s + "%", ink: warning, moved: moved}
	}
	return field{text: s + "%", moved: moved}
}

func (a *accounts) help() []binding {
	return []binding{
		{"enter", "open"}, {"s", "sort by the next column (< the one before)"},
		{"S", "reverse the order"}, {"up down", "choose a row"}, {"g G", "first row, last row"},
	}
}

func (a *accounts) chosen() string {
	if r := a.known(a.table.cursor); r != nil {
		return r.ID
	}
	return ""
}

// accountsHeading is the first row of an export; each currency of an account is a row.
func accountsHeading() []string {
	return []string{"id", "name", "rows", "currency", "so_far", "if_closed_now", "budget",
		"budget_percent"}
}

func (a *accounts) export() ([]string, [][]string, []byte) {
	return accountsHeading(), accountRecords(a.rows), a.body
}

func accountRecords(rows []accountRow) [][]string {
	var out [][]string
	for i := range rows {
		r := &rows[i]
		name := ""
		if r.Budget != nil {
			name = r.Budget.Budget
		}
		record := []string{r.ID, r.Name, strconv.FormatUint(r.Rows, 10), "", "", "", name, r.budget()}
		for _, t := range r.Totals {
			record[3], record[4], record[5] = t.Currency, t.SoFar, t.IfClosedNow
			out = append(out, append([]string(nil), record...))
		}
		if len(r.Totals) == 0 {
			out = append(out, record)
		}
	}
	return out
}

// exportPage is how many accounts an export asks for at once.
const exportPage = 10_000

// pages returns the questions of an export of the whole view. What has one page comes in the order
// that is shown; more come by id, which is the order that does not change between them.
func (a *accounts) pages() pager {
	params := a.params()
	params.Set("limit", strconv.Itoa(exportPage))
	if a.matched > exportPage {
		params.Set("sort", "id")
		params.Set("order", "asc")
	}
	return pager{
		path: "/v1/accounts", params: params, next: "after", heading: accountsHeading(),
		records: func(body []byte) ([][]string, string, error) {
			var got accountsAnswer
			if err := readAnswer(body, &got); err != nil {
				return nil, "", err
			}
			return accountRecords(got.Accounts), got.Next, nil
		},
	}
}

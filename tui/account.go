package tui

import (
	"net/url"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// accountPart is a part of the account's screen. Where the terminal has room several are seen at
// once, otherwise one; Tab goes through all of them.
type accountPart uint8

const (
	partSubtotals accountPart = iota
	partDays
	partInvoices
	partUsage
	partAbout
	accountParts
)

var accountPartNames = [accountParts]string{"subtotals", "days", "invoices", "usage", "account"}

// accountScreen shows what an account owes, by open period and line, how it came to that by day,
// its invoices and what it agreed to.
type accountScreen struct {
	id      string
	answer  accountAnswer
	body    []byte          // the last answer, and those of the days and invoices
	lines   [][]previewLine // of each open period
	told    []alertPart
	failure *Failure

	part      accountPart
	sheets    [accountParts]sheet // that of invoices is not used
	seen      [accountParts]bool  // in the last drawing
	regions   []region            // of the last drawing
	invoices  pages[invoicePart]
	bills     *table
	plots     map[string]*plot // by subscription
	daysOf    string           // the subscription whose days are shown
	daysParts []daysPart
	daysBody  []byte
	billsBody []byte
}

// region is where a part was drawn.
type region struct {
	part     accountPart
	from, to int // lines
}

func newAccountScreen(id string) screen {
	a := &accountScreen{id: id, plots: map[string]*plot{}}
	a.invoices.id = func(i *invoicePart) string { return i.Key }
	a.bills = newTable(
		column{title: "period", least: 10},
		column{title: "kind", least: 6, drop: 1},
		column{title: "subscription", least: 4, most: 24, grow: 1, drop: 2},
		column{title: "total", fit: true, right: true},
	)
	a.bills.row = func(i int) []field {
		bill := &a.invoices.rows[i]
		return []field{
			{text: bill.StartDate, ink: accent}, {text: bill.Kind, ink: faint},
			{text: subscriptionOf(bill.Key)}, {text: bill.Total + " " + bill.Currency, ink: strong},
		}
	}
	a.sheets[partSubtotals].seek = true
	a.sheets[partSubtotals].columns = []sheetColumn{
		{name: "line", flex: true}, {name: "quantity", right: true, below: true},
		{name: "so far", right: true}, {name: "if closed now", right: true}, {name: "note", below: true},
	}
	a.sheets[partUsage].columns = []sheetColumn{
		{name: "meter", flex: true}, {name: "aggregate"},
		{name: "rows", right: true}, {name: "quantity", right: true}, {name: "group", below: true},
	}
	a.sheets[partDays].columns = []sheetColumn{
		{name: "day"}, {name: "uses", right: true}, {name: "so far", right: true},
	}
	a.sheets[partAbout].columns = []sheetColumn{
		{name: "what", flex: true}, {name: "amount", right: true}, {name: "more", below: true},
	}
	return a
}

// subscriptionOf returns the subscription in a document's key.
func subscriptionOf(key string) string {
	parts := strings.Split(key, "/")
	if len(parts) < 3 {
		return ""
	}
	if s, err := url.PathUnescape(parts[1]); err == nil {
		return s
	}
	return parts[1]
}

func (a *accountScreen) crumb() string { return a.id }

// wants asks for what is seen: days and invoices are not read where nobody looks.
func (a *accountScreen) wants() []want {
	of := url.Values{"account": {a.id}}
	list := []want{
		{id: "account", path: "/v1/account", params: url.Values{"id": {a.id}}},
		{id: "alerts", path: "/v1/alerts", params: of},
	}
	drawn := len(a.regions) > 0
	if a.seen[partDays] || !drawn {
		list = append(list, want{id: "days", path: "/v1/days", params: of})
	}
	if a.seen[partInvoices] || !drawn {
		newest := url.Values{"account": {a.id}, "order": {"newest"}}
		list = append(list, want{id: "invoices", path: "/v1/invoices", params: newest})
		if place := a.invoices.next; place != "" && a.bills.cursor+a.bills.height >= a.bills.count {
			list = append(list, want{
				id: olderID + place, path: "/v1/invoices", once: true,
				params: url.Values{
					"account": {a.id}, "order": {"newest"}, "before": {place},
				},
			})
		}
	}
	return list
}

func (a *accountScreen) take(id string, body []byte) error {
	switch place, older := strings.CutPrefix(id, olderID); {
	case older || id == "invoices":
		var answer invoicesAnswer
		if err := readAnswer(body, &answer); err != nil {
			return err
		}
		if older {
			a.invoices.older(place, answer.Invoices, token(answer.Next))
		} else {
			a.invoices.newest(answer.Invoices, token(answer.Next))
			a.billsBody = body
		}
		a.bills.setCount(len(a.invoices.rows))
		return nil
	case id == "days":
		var answer daysAnswer
		if err := readAnswer(body, &answer); err != nil {
			return err
		}
		a.daysParts, a.daysBody = answer.Periods, body
		a.takeDays()
		return nil
	case id == "alerts":
		var answer alertsAnswer
		if err := readAnswer(body, &answer); err != nil {
			return err
		}
		a.told = answer.Alerts
		if a.body == nil {
			return nil
		}
	default:
		var answer accountAnswer
		if err := readAnswer(body, &answer); err != nil {
			return err
		}
		lines := make([][]previewLine, len(answer.Periods))
		for i := range answer.Periods {
			var err error
			if lines[i], err = answer.Periods[i].lines(); err != nil {
				return err
			}
		}
		a.answer, a.lines, a.body, a.failure = answer, lines, body, nil
	}
	take := (*sheet).replace
	if id == "alerts" {
		take = (*sheet).renew
	}
	take(&a.sheets[partSubtotals], a.subtotals())
	take(&a.sheets[partUsage], a.usage())
	take(&a.sheets[partAbout], a.about())
	a.chooseDays()
	return nil
}

func (a *accountScreen) fail(id string, err *Failure) {
	if id == "account" {
		a.failure = err
	}
}

func (a *accountScreen) key(k tea.KeyMsg) (action, bool) {
	switch k.String() {
	case "tab", "right", "l":
		a.part = (a.part + 1) % accountParts
		return action{}, true
	case "shift+tab", "left", "h":
		a.part = (a.part + accountParts - 1) % accountParts
		return action{}, true
	case "enter":
		return a.enter(), true
	case "p":
		return a.nextDays(), true
	}
	if a.part == partInvoices {
		return action{}, a.bills.key(k)
	}
	done := a.sheets[a.part].key(k)
	a.chooseDays()
	return action{}, done
}

func (a *accountScreen) enter() action {
	if a.part != partInvoices {
		return a.sheets[a.part].enter()
	}
	if a.bills.cursor < len(a.invoices.rows) {
		return action{open: newInvoiceScreen(a.invoices.rows[a.bills.cursor].Key)}
	}
	return action{}
}

// click goes to the part at the line; where two stand beside one another, to the one in use.
func (a *accountScreen) click(line, wheel int) action {
	at := -1
	for i, r := range a.regions {
		if line >= r.from && line < r.to && (at < 0 || r.part == a.part) {
			at = i
		}
	}
	if at < 0 {
		return action{}
	}
	r := a.regions[at]
	if a.part != r.part {
		a.part = r.part
		if wheel == 0 {
			return action{}
		}
	}
	if r.part == partInvoices {
		if a.bills.click(line-r.from, wheel) {
			return a.enter()
		}
		return action{}
	}
	act := a.sheets[r.part].click(line-r.from, wheel)
	a.chooseDays()
	return act
}

func (a *accountScreen) help() []binding {
	return []binding{
		{"enter", "open the line or invoice"}, {"tab ←/→", "next part: " +
			strings.Join(accountPartNames[:], ", ")},
		{"p", "days of the next subscription"},
	}
}

func (a *accountScreen) chosen() string {
	if a.part != partInvoices {
		return a.sheets[a.part].copied()
	}
	if a.bills.cursor < len(a.invoices.rows) {
		return a.invoices.rows[a.bills.cursor].Key
	}
	return ""
}

// export writes the invoices or days from their parts, and the lines of the open periods from
// others.
func (a *accountScreen) export() (heading []string, rows [][]string, answer []byte) {
	switch {
	case a.body == nil:
		return nil, nil, nil
	case a.part == partInvoices:
		for i := range a.invoices.rows {
			b := &a.invoices.rows[i]
			rows = append(rows, []string{b.Key, b.Kind, b.StartDate, b.Subtotal, b.Total, b.Currency})
		}
		heading = []string{"key", "kind", "start_date", "subtotal", "total", "currency"}
		return heading, rows, a.billsBody
	case a.part == partDays:
		for i := range a.daysParts {
			d := &a.daysParts[i]
			for _, day := range d.Days {
				rows = append(rows, []string{
					d.Subscription, d.StartDate, day.Date, strconv.FormatUint(day.Uses, 10),
					day.SoFar, d.Currency,
				})
			}
		}
		heading = []string{"subscription", "start_date", "date", "uses", "so_far", "currency"}
		return heading, rows, a.daysBody
	}
	heading = []string{
		"subscription", "plan", "version", "start_date", "line", "adjusts", "meter", "quantity",
		"unit", "so_far", "if_closed_now", "currency",
	}
	for i := range a.answer.Periods {
		period := &a.answer.Periods[i]
		for j := range a.lines[i] {
			l := &a.lines[i][j]
			rows = append(rows, []string{
				period.Subscription, period.Plan, strconv.Itoa(period.Version), period.StartDate,
				l.key, l.adjusts, l.meter, l.quantity, l.unit, l.soFar, l.ifClosedNow,
				period.Currency,
			})
		}
	}
	return heading, rows, a.body
}

package tui

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// previewLine is a line or adjustment as both previews have it.
type previewLine struct {
	key                      string
	adjusts                  string // start date of the closed period; "": it is a line
	meter, quantity, unit    string
	soFar, ifClosedNow, note string
	body                     json.RawMessage // of an adjustment
}

// lines brings the lines of both previews together, and then their adjustments: in the order of
// the invoice to come, and behind it those that only the amount so far has.
func (p *periodPart) lines() ([]previewLine, error) {
	var out []previewLine
	at := map[string]int{}
	add := func(l *linePart, body json.RawMessage, amount func(*previewLine) *string) {
		key := l.key()
		name := l.Period.StartDate + " " + key
		index, known := at[name]
		if !known {
			index = len(out)
			at[name] = index
			out = append(out, previewLine{
				key: key, adjusts: l.Period.StartDate, meter: l.Meter, quantity: l.Quantity,
				unit: l.Unit, note: l.note(), body: body,
			})
		}
		*amount(&out[index]) = l.Amount
	}
	previews := []struct {
		document *documentPart
		amount   func(*previewLine) *string
	}{
		{p.IfClosedNow, func(l *previewLine) *string { return &l.ifClosedNow }},
		{p.SoFar, func(l *previewLine) *string { return &l.soFar }},
	}
	for _, v := range previews {
		for i := range v.document.lines() {
			add(&v.document.Lines[i], nil, v.amount)
		}
	}
	for _, v := range previews {
		if v.document == nil {
			continue
		}
		adjustments, err := readLines(v.document.Adjustments)
		if err != nil {
			return nil, err
		}
		for i := range adjustments {
			add(&adjustments[i], v.document.Adjustments[i], v.amount)
		}
	}
	return out, nil
}

func (d *documentPart) lines() []linePart {
	if d == nil {
		return nil
	}
	return d.Lines
}

// note says in a word or two what else made the amount.
func (l *linePart) note() string {
	var notes []string
	if l.Trial {
		notes = append(notes, "trial")
	}
	if l.Bound != "" {
		notes = append(notes, l.Bound)
	}
	if l.Discount != "" {
		notes = append(notes, "discount "+l.Discount+" %")
	}
	if l.Off != "" {
		notes = append(notes, "discount")
	}
	return strings.Join(notes, ", ")
}

// subtotals are the open periods: what each comes to, and its lines.
func (a *accountScreen) subtotals() []sheetItem {
	var items []sheetItem
	for i := range a.answer.Periods {
		period := &a.answer.Periods[i]
		if i > 0 {
			items = append(items, sheetItem{kind: gapItem})
		}
		start := len(items)
		items = append(items, a.heading(period)...)
		for j := range a.lines[i] {
			items = append(items, a.lineItem(period, &a.lines[i][j]))
		}
		items = append(items, period.sums()...)
		for j := range items[start:] {
			items[start+j].of = period.Subscription
		}
	}
	if len(a.answer.Periods) == 0 {
		items = append(items, sheetItem{kind: textItem, text: "No open period: no subscription " +
			"has begun, or all have ended."})
	}
	return append(items, a.pending()...)
}

// heading says which period it is, what it comes to, and which budgets it has reached.
func (a *accountScreen) heading(p *periodPart) []sheetItem {
	name := p.Subscription + " " + p.StartDate
	text := fmt.Sprintf("%s v%d  %s to %s  %s rows", p.Plan, p.Version, p.StartDate,
		instantText(&p.End), grouped(strconv.FormatUint(p.Rows, 10)))
	items := []sheetItem{{kind: titleItem, id: name, label: p.Subscription, text: text}}
	if p.SoFar == nil && p.IfClosedNow == nil {
		items = append(items, sheetItem{kind: textItem, ink: faint, text: "nothing to bill yet"})
		return append(items, a.reached(p)...)
	}
	items = append(items, sheetItem{kind: columnsItem})
	total := sheetItem{id: name + " total", figures: []figure{
		{text: "total", ink: strong}, {}, {ink: strong}, {ink: strong}, {},
	}}
	if p.SoFar != nil {
		total.figures[2] = figure{text: p.SoFar.Total, unit: p.Currency, ink: strong}
	}
	if p.IfClosedNow != nil {
		total.figures[3] = figure{text: p.IfClosedNow.Total, unit: p.Currency, ink: strong}
	}
	return append(append(items, total), a.reached(p)...)
}

// reached are the budgets that a period has reached, each with its highest percentage.
func (a *accountScreen) reached(p *periodPart) []sheetItem {
	var items []sheetItem
	seen := map[string]bool{}
	for i := len(a.told) - 1; i >= 0; i-- { // the newest first: the highest percentage
		told := &a.told[i]
		if told.Subscription == p.Subscription && told.StartDate == p.StartDate &&
			!seen[told.Budget] {
			seen[told.Budget] = true
			items = append(items, told.item())
		}
	}
	return items
}

func (a *alertPart) item() sheetItem {
	unit := a.Currency
	value, limit := a.Value, a.Limit
	if unit == "" {
		unit = a.Unit
		value, limit = grouped(value), grouped(limit)
	}
	it := sheetItem{
		kind: textItem, id: a.Key, signed: true, sign: signWarning, ink: warning,
		text: fmt.Sprintf("budget %s: %s %% reached, %s of %s %s", a.Budget, a.Percent, value,
			limit, unit),
	}
	if whole, _, _ := strings.Cut(a.Percent, "."); len(whole) >= len("100") {
		it.sign, it.ink = signBad, bad
	}
	return it
}

func (a *accountScreen) lineItem(p *periodPart, l *previewLine) sheetItem {
	name, note := l.key, l.note
	account, subscription, start, key := a.id, p.Subscription, p.StartDate, l.key
	opens := func() screen { return newLineScreen(account, subscription, start, key) }
	if l.adjusts != "" {
		name, note = l.key, "adjusts "+l.adjusts
		start = l.adjusts
		body := l.body
		opens = func() screen {
			return newMembersScreen(name+" of "+start, body,
				func() screen { return newUsesScreen(account, subscription, start, key) })
		}
	}
	return sheetItem{
		id: p.Subscription + " " + p.StartDate + " " + l.adjusts + " " + l.key, indent: 1,
		figures: []figure{
			{text: name, ink: accent}, {text: l.quantity, unit: l.unit, count: true},
			{text: l.soFar, unit: p.Currency}, {text: l.ifClosedNow, unit: p.Currency},
			{text: note, ink: faint},
		},
		opens: opens,
	}
}

// sums are what stands between the lines and the total: coupons, credits, taxes.
func (p *periodPart) sums() []sheetItem {
	var items []sheetItem
	at := map[string]int{}
	id := p.Subscription + " " + p.StartDate + " sum "
	add := func(d *documentPart, column int) {
		put := func(name, amount, note string) {
			index, known := at[name]
			if !known {
				index = len(items)
				at[name] = index
				items = append(items, sheetItem{id: id + name, indent: 1, figures: []figure{
					{text: name, ink: faint}, {}, {}, {}, {text: note, ink: faint},
				}})
			}
			items[index].figures[column] = figure{text: amount, unit: p.Currency}
		}
		if d == nil {
			return
		}
		for _, c := range d.Coupons {
			put("coupon "+c.ID, c.Amount, "taken off")
		}
		if len(d.Credits)+len(d.Taxes)+len(d.Coupons) > 0 {
			put("subtotal", d.Subtotal, "")
		}
		for _, c := range d.Credits {
			put("credit "+c.ID, c.Amount, "used")
		}
		for _, t := range d.Taxes {
			put(t.name(), t.Amount, "")
			put(t.name()+", base", t.Base, "")
		}
	}
	add(p.SoFar, 2)
	add(p.IfClosedNow, 3)
	return items
}

func (t *taxAmount) name() string {
	if t.Code == "" {
		return "tax " + t.Percent + " %"
	}
	return "tax " + t.Code + " " + t.Percent + " %"
}

// pending are adjustments that the next documents will bring.
func (a *accountScreen) pending() []sheetItem {
	if len(a.answer.Pending) == 0 {
		return nil
	}
	items := []sheetItem{{kind: gapItem}, {
		kind: titleItem, label: "adjustments to come",
		text: "usage of closed periods that the next document bills",
	}}
	for i := range a.answer.Pending {
		p := &a.answer.Pending[i]
		line := linePart{Price: p.Price, Group: p.Group}
		account, subscription, start, key := a.id, p.Subscription, p.StartDate, line.key()
		items = append(items, sheetItem{
			id: "pending " + subscription + " " + start + " " + key, indent: 1, of: subscription,
			figures: []figure{
				{text: key, ink: accent}, {},
				{}, {text: p.Amount, unit: p.Currency},
				{text: "adjusts " + start + ": " + p.Rated + " now, " + p.Booked + " booked before",
					ink: faint},
			},
			opens: func() screen { return newUsesScreen(account, subscription, start, key) },
		})
	}
	return items
}

// usage lists what was measured in the open periods.
func (a *accountScreen) usage() []sheetItem {
	var items []sheetItem
	for i := range a.answer.Periods {
		p := &a.answer.Periods[i]
		if i > 0 {
			items = append(items, sheetItem{kind: gapItem})
		}
		items = append(items, sheetItem{
			kind: titleItem, label: p.Subscription, text: p.StartDate, of: p.Subscription,
		})
		if len(p.Usage) == 0 {
			items = append(items, sheetItem{kind: textItem, ink: faint, text: "no usage yet"})
			continue
		}
		items = append(items, sheetItem{kind: columnsItem})
		for j := range p.Usage {
			u := &p.Usage[j]
			group := u.Group.String()
			items = append(items, sheetItem{
				id: p.Subscription + " " + p.StartDate + " " + u.Meter + " " + group, indent: 1,
				of: p.Subscription,
				figures: []figure{
					{text: u.Meter}, {text: u.Aggregate, ink: faint},
					{text: strconv.FormatUint(u.Rows, 10), count: true},
					{text: u.Quantity, unit: u.Unit, count: true, ink: strong},
					{text: group, ink: faint},
				},
			})
		}
	}
	return items
}

// takeDays makes the pictures: of each subscription its newest period against the one before.
func (a *accountScreen) takeDays() {
	clear(a.plots)
	for _, name := range a.subscriptionsWithDays() {
		var periods []*daysPart
		for i := range a.daysParts {
			if a.daysParts[i].Subscription == name {
				periods = append(periods, &a.daysParts[i])
			}
		}
		slices.SortStableFunc(periods, func(x, y *daysPart) int {
			return strings.Compare(x.StartDate, y.StartDate)
		})
		now := periods[len(periods)-1].curve("this period")
		var before *curve
		if len(periods) > 1 {
			before = periods[len(periods)-2].curve("the last")
		}
		a.plots[name] = newPlot(now, before)
	}
	a.daysOf = ""
	a.chooseDays()
}

func (a *accountScreen) subscriptionsWithDays() []string {
	var names []string
	for i := range a.daysParts {
		if name := a.daysParts[i].Subscription; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (d *daysPart) curve(name string) *curve {
	c := &curve{name: name, currency: d.Currency}
	for _, day := range d.Days {
		c.dates, c.amounts = append(c.dates, day.Date), append(c.amounts, day.SoFar)
		c.rows = append(c.rows, day.Uses)
	}
	start, err := time.Parse(time.RFC3339, d.Start)
	end, err2 := time.Parse(time.RFC3339, d.End)
	if err == nil && err2 == nil {
		// A day may have an hour more or less.
		c.span = int((end.Sub(start) + 12*time.Hour) / (24 * time.Hour))
	}
	return c
}

// chooseDays shows the days of the subscription that the cursor is in.
func (a *accountScreen) chooseDays() {
	name := a.daysOf
	if it := a.sheets[a.part].chosen(); it != nil && it.of != "" && a.plots[it.of] != nil {
		name = it.of
	}
	if names := a.subscriptionsWithDays(); a.plots[name] == nil && len(names) > 0 {
		name = names[0]
	}
	if name != a.daysOf {
		a.daysOf = name
		a.sheets[partDays].replace(a.days())
	}
}

// nextDays shows the days of the next subscription.
func (a *accountScreen) nextDays() action {
	names := a.subscriptionsWithDays()
	if len(names) == 0 {
		return action{say: "no usage by day yet"}
	}
	at := slices.Index(names, a.daysOf)
	a.daysOf = names[(at+1)%len(names)]
	a.sheets[partDays].replace(a.days())
	return action{say: "days of " + a.daysOf}
}

// days are the figures of the picture, the newest first.
func (a *accountScreen) days() []sheetItem {
	var items []sheetItem
	for i := len(a.daysParts) - 1; i >= 0; i-- {
		d := &a.daysParts[i]
		if d.Subscription != a.daysOf {
			continue
		}
		if len(items) > 0 {
			items = append(items, sheetItem{kind: gapItem})
		}
		state := "open"
		if d.Closed {
			state = "closed"
		}
		items = append(items, sheetItem{
			kind: titleItem, label: d.StartDate, text: d.Plan + "  " + state, of: d.Subscription,
		})
		if len(d.Days) > 0 {
			items = append(items, sheetItem{kind: columnsItem})
		}
		for j := len(d.Days) - 1; j >= 0; j-- {
			day := &d.Days[j]
			items = append(items, sheetItem{
				id: d.StartDate + " " + day.Date, indent: 1, of: d.Subscription,
				figures: []figure{
					{text: day.Date}, {text: strconv.FormatUint(day.Uses, 10), count: true},
					{text: day.SoFar, unit: d.Currency, ink: strong},
				},
			})
		}
	}
	return items
}

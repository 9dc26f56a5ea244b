package tui

import "strconv"

// about is what the account agreed to and has: who it is, its subscriptions, budgets that were
// reached, credits, coupons, taxes, subjects.
func (a *accountScreen) about() []sheetItem {
	t := &a.answer
	items := []sheetItem{
		{kind: titleItem, label: "account"},
		fact("name", t.Name), fact("id", t.ID), fact("time zone", t.Timezone),
	}
	if t.Automatic {
		items = append(items, fact("opened by", "a default of the catalog"))
	}
	part := func(label string, n int) bool {
		if n > 0 {
			items = append(items, sheetItem{kind: gapItem}, sheetItem{kind: titleItem, label: label})
		}
		return n > 0
	}
	row := func(what string, amount figure, more string) {
		items = append(items, sheetItem{id: items[len(items)-1].label + what, indent: 1,
			figures: []figure{{text: what}, amount, {text: more, ink: faint}}})
	}
	if part("subscriptions", len(t.Subscriptions)) {
		for i := range t.Subscriptions {
			s := &t.Subscriptions[i]
			row(s.Key, figure{text: s.planText()}, s.interval())
			items[len(items)-1].of = s.Key
		}
	}
	if part("budgets that were reached", len(a.told)) {
		for i := len(a.told) - 1; i >= 0; i-- {
			told := a.told[i].item()
			told.text += ", " + a.told[i].Subscription + " " + a.told[i].StartDate + ", at " +
				instantText(&a.told[i].At)
			items = append(items, told)
		}
	}
	if part("credits", len(t.Credits)+len(t.Balances)) {
		for _, b := range t.Balances {
			row("together", figure{text: b.Left, unit: b.Currency, ink: strong}, "not expired")
		}
		for i := range t.Credits {
			c := &t.Credits[i]
			row(c.ID, figure{text: c.Left, unit: c.Currency}, c.more())
		}
	}
	if part("coupons", len(t.Coupons)) {
		for i := range t.Coupons {
			c := &t.Coupons[i]
			amount := figure{text: c.Amount, unit: c.Currency}
			if c.Percent != "" {
				amount = figure{text: c.Percent, unit: "%"}
			}
			row(c.ID, amount, c.more())
		}
	}
	if part("taxes", len(t.Taxes)) {
		t.eachTax(row)
	}
	if part("subjects", len(t.Subjects)) {
		for i := range t.Subjects {
			s := &t.Subjects[i]
			row(s.Subject, figure{}, intervalText(s.From, s.To))
		}
	}
	return items
}

// eachTax tells of every rate with the periods that it holds for.
func (t *accountAnswer) eachTax(row func(what string, rate figure, more string)) {
	for _, tax := range t.Taxes {
		for _, r := range tax.Rates {
			name := r.Code
			if name == "" {
				name = "all other prices"
			}
			row(name, figure{text: r.Percent, unit: "%"},
				"periods from "+tax.From+", rounded by "+tax.Round)
		}
	}
}

func fact(label, text string) sheetItem {
	return sheetItem{kind: factItem, id: label, label: label, text: text, indent: 1}
}

func intervalText(from, to *string) string {
	switch {
	case from == nil && to == nil:
		return "always"
	case to == nil:
		return "from " + instantText(from)
	case from == nil:
		return "until " + instantText(to)
	}
	return "from " + instantText(from) + " until " + instantText(to)
}

func (s *subscriptionPart) planText() string {
	if s.Pin > 0 {
		return s.Plan + " v" + strconv.Itoa(s.Pin)
	}
	return s.Plan
}

func (s *subscriptionPart) interval() string {
	text := intervalText(s.From, s.To)
	if s.TrialUntil != nil {
		text += ", trial until " + instantText(s.TrialUntil)
	}
	return text
}

func (c *creditPart) more() string {
	text := "never expires"
	switch {
	case c.Expired:
		text = "expired " + instantText(c.Expires)
	case c.Expires != nil:
		text = "expires " + instantText(c.Expires)
	}
	if c.Priority != 0 {
		text += ", priority " + strconv.Itoa(c.Priority)
	}
	return text
}

func (c *couponPart) more() string {
	text := "each subscription"
	if c.Subscription != "" {
		text = c.Subscription
	}
	if c.From != nil {
		text += ", from " + instantText(c.From)
	}
	if c.Periods > 0 {
		text += ", periods: " + strconv.Itoa(c.Periods)
	}
	return text
}

package tui

import "net/url"

// newInvoicesScreen lists issued documents, the newest first.
func newInvoicesScreen() screen {
	return newList(view{
		name: "invoices", path: "/v1/invoices", params: url.Values{"order": {"newest"}},
		every: 2, pages: 200,
		columns: []column{
			{title: "account", least: 10, most: 36, grow: 2, find: true},
			{title: "kind", least: 6, fit: true, drop: 3},
			{title: "period", least: 10, fit: true},
			{title: "subtotal", least: 8, fit: true, right: true, drop: 2},
			{title: "total", least: 8, fit: true, right: true},
			{title: "cur", least: 3, fit: true},
			{title: "key", least: 20, most: 60, grow: 2, drop: 1, find: true},
		},
		read: readInvoices,
		open: func(it *item) action { return action{open: newInvoiceScreen(it.id)} },
		empty: [2]string{"no invoice was issued yet",
			"A period closes when the watermark has passed its end by the grace. What each account owes " +
				"until then is under :accounts."},
	})
}

func readInvoices(body []byte) ([]item, []line, bool, error) {
	var a struct {
		Invoices []struct {
			Key       string `json:"key"`
			Account   string `json:"account"`
			Kind      string `json:"kind"`
			StartDate string `json:"start_date"`
			Currency  string `json:"currency"`
			Subtotal  string `json:"subtotal"`
			Total     string `json:"total"`
		} `json:"invoices"`
		More bool   `json:"more"`
		Next string `json:"next"`
	}
	if err := readAnswer(body, &a); err != nil {
		return nil, nil, false, err
	}
	items := make([]item, len(a.Invoices))
	for i := range a.Invoices {
		in := &a.Invoices[i]
		items[i] = item{id: in.Key, fields: []field{
			{text: in.Account, ink: accent}, {text: in.Kind, ink: faint}, {text: in.StartDate},
			{text: in.Subtotal}, {text: in.Total, ink: strong}, {text: in.Currency, ink: faint},
			{text: in.Key, ink: faint},
		}}
	}
	return items, nil, a.More || a.Next != "", nil
}

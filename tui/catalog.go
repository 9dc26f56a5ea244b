package tui

import (
	"fmt"
	"strconv"
)

type planPart struct {
	Key           string      `json:"key"`
	Version       uint64      `json:"version"`
	EffectiveFrom *string     `json:"effective_from"`
	Current       bool        `json:"current"`
	Currency      string      `json:"currency"`
	Period        string      `json:"period"`
	Prices        []pricePart `json:"prices"`
}

type pricePart struct {
	Key   string `json:"key"`
	Meter string `json:"meter"`
	Model string `json:"model"`
	Text  string `json:"text"`
}

func (p *planPart) id() string { return p.Key + " " + strconv.FormatUint(p.Version, 10) }

// newCatalogScreen lists the versions of plans. Enter opens the prices of one.
func newCatalogScreen() screen {
	return newList(view{
		name: "catalog", path: "/v1/plans", every: 4,
		columns: []column{
			{title: "plan", least: 10, most: 32, grow: 2, find: true},
			{title: "version", least: 7, right: true},
			{title: "now", least: 9, fit: true},
			{title: "effective from", least: 19, drop: 1},
			{title: "currency", least: 8},
			{title: "period", least: 10, most: 48, grow: 2, drop: 2},
			{title: "prices", least: 6, right: true, drop: 3},
		},
		read: readPlans,
		open: func(it *item) action { return action{open: newPricesScreen(it.id)} },
		empty: [2]string{"there is no plan yet",
			"`billctl catalog apply` journals those of the catalog."},
	})
}

func readPlans(body []byte) ([]item, []line, bool, error) {
	plans, err := plansOf(body)
	if err != nil {
		return nil, nil, false, err
	}
	items := make([]item, len(plans))
	for i := range plans {
		p := &plans[i]
		now := field{ink: faint}
		if p.Current {
			now = field{text: "current", shown: "+ current", ink: good}
		}
		from := instant(p.EffectiveFrom)
		if p.EffectiveFrom == nil {
			from = field{text: "ever", ink: faint}
		}
		items[i] = item{id: p.id(), of: p, fields: []field{
			{text: p.Key, ink: accent}, {text: strconv.FormatUint(p.Version, 10)}, now, from,
			{text: p.Currency}, {text: p.Period, ink: faint},
			{text: strconv.Itoa(len(p.Prices))},
		}}
	}
	return items, nil, false, nil
}

func plansOf(body []byte) ([]planPart, error) {
	var a struct {
		Plans []planPart `json:"plans"`
	}
	err := readAnswer(body, &a)
	return a.Plans, err
}

// newPricesScreen lists the prices of a version of a plan.
func newPricesScreen(id string) screen {
	return newList(view{
		name: "plan " + id, path: "/v1/plans", every: 4,
		columns: []column{
			{title: "price", least: 10, most: 32, grow: 2, find: true},
			{title: "meter", least: 8, most: 32, grow: 1, drop: 2},
			{title: "model", least: 8, fit: true, drop: 1},
			{title: "terms", least: 16, grow: 4},
		},
		read: func(body []byte) ([]item, []line, bool, error) {
			plans, err := plansOf(body)
			if err != nil {
				return nil, nil, false, err
			}
			for i := range plans {
				if plans[i].id() == id {
					items, lines := pricesOf(&plans[i])
					return items, lines, false, nil
				}
			}
			return nil, nil, false, fmt.Errorf("there is no plan %s any more", id)
		},
		empty: [2]string{"the plan has no price", "Nothing is billed by it."},
	})
}

func pricesOf(p *planPart) ([]item, []line) {
	items := make([]item, len(p.Prices))
	for i := range p.Prices {
		price := &p.Prices[i]
		items[i] = item{id: price.Key, fields: []field{
			{text: price.Key, ink: accent}, {text: price.Meter}, {text: price.Model, ink: faint},
			{text: price.Text},
		}}
	}
	return items, []line{{text: p.Period + ", in " + p.Currency, ink: faint}, {}}
}

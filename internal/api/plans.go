package api

import (
	"net/http"

	"billctl/engine"
	"billctl/formats"
)

// Plans lists every version of every plan, by key and version.
type Plans struct {
	Schema   string   `json:"schema"`
	Position Position `json:"position"`
	Plans    []Plan   `json:"plans"`
}

// Plan is a version of a plan.
type Plan struct {
	Key     string `json:"key"`
	Version int    `json:"version"`
	// EffectiveFrom is the local date from which on it rates the periods that start; nil: always.
	EffectiveFrom *string `json:"effective_from"`
	Current       bool    `json:"current"` // it rates periods that start on the position's UTC day
	Currency      string  `json:"currency"`
	Period        string  `json:"period"` // in words
	Prices        []Price `json:"prices"`
}

// Price is a price of a plan.
type Price struct {
	Key   string `json:"key"`
	Meter string `json:"meter,omitempty"` // absent for flat
	Model string `json:"model"`
	Text  string `json:"text"` // its terms in words
}

func makePrice(p *engine.Price) Price {
	return Price{p.Key, p.Meter, formats.ModelWord(p.Model), formats.PriceText(p)}
}

func (h *handler) plans(_ *http.Request, v *engine.View, p Position) (any, error) {
	out := Plans{Schema: "billctl.plans.v1", Position: p, Plans: []Plan{}}
	for _, plan := range v.AllPlans() {
		row := Plan{
			Key: plan.Key, Version: plan.Version, Current: v.PlanOn(plan.Key, today(v)) == plan,
			Currency: plan.Currency, Period: formats.PeriodText(plan), Prices: []Price{},
		}
		if plan.Effective != engine.Always {
			from := plan.Effective.String()
			row.EffectiveFrom = &from
		}
		for i := range plan.Prices {
			row.Prices = append(row.Prices, makePrice(&plan.Prices[i]))
		}
		out.Plans = append(out.Plans, row)
	}
	return out, nil
}

// today is the UTC day of a view.
func today(v *engine.View) engine.Day { return engine.DayOf(max(v.Standing().At, engine.MinTime)) }

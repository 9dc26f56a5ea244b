package api

import (
	"net/http"
	"slices"

	"billctl/engine"
	"billctl/formats"
)

// Meters lists what is counted, by key.
type Meters struct {
	Schema   string   `json:"schema"`
	Position Position `json:"position"`
	Meters   []Meter  `json:"meters"`
}

// Meter is what is counted, and how.
type Meter struct {
	Key         string   `json:"key"`
	Event       string   `json:"event"`     // type of the events
	Aggregate   string   `json:"aggregate"` // in words
	Value       string   `json:"value"`     // path of what is read, or a constant; "" for count
	Unit        string   `json:"unit"`
	Where       string   `json:"where"` // which of the events, in words; "": all
	GroupBy     []string `json:"group_by"`
	Correctable bool     `json:"correctable"`
	Plans       []string `json:"plans,omitempty"` // whose current version has a price on it
}

func makeMeter(m *engine.Meter) Meter {
	out := Meter{
		Key: m.Key, Event: m.Event, Aggregate: formats.AggregateText(m), Value: formats.ValueText(m),
		Unit: m.Unit, Where: formats.WhereText(m), GroupBy: []string{}, Correctable: m.Correctable,
		Plans: []string{},
	}
	for _, d := range m.GroupBy {
		out.GroupBy = append(out.GroupBy, d.Name)
	}
	return out
}

func (h *handler) meters(_ *http.Request, v *engine.View, p Position) (any, error) {
	out := Meters{Schema: "billctl.meters.v1", Position: p, Meters: []Meter{}}
	for _, m := range v.Meters() {
		row := makeMeter(m)
		for _, plan := range v.AllPlans() {
			if v.PlanOn(plan.Key, today(v)) == plan && slices.ContainsFunc(plan.Prices,
				func(x engine.Price) bool { return x.Meter == m.Key }) {
				row.Plans = append(row.Plans, plan.Key)
			}
		}
		out.Meters = append(out.Meters, row)
	}
	return out, nil
}

package tui

import "strings"

// newMetersScreen lists what is counted and how.
func newMetersScreen() screen {
	return newList(view{
		name: "meters", path: "/v1/meters", every: 4,
		columns: []column{
			{title: "meter", least: 10, most: 32, grow: 2, find: true},
			{title: "aggregate", least: 9, fit: true},
			{title: "of", least: 6, most: 32, grow: 1, drop: 2},
			{title: "unit", least: 4, most: 16, grow: 1, drop: 1},
			{title: "events of type", least: 14, most: 32, grow: 2, drop: 3, find: true},
			{title: "where", least: 8, most: 48, grow: 2, drop: 5},
			{title: "by", least: 6, most: 32, grow: 1, drop: 4},
			{title: "plans", least: 8, most: 48, grow: 2, drop: 6},
			{title: "corrections", least: 11, drop: 7},
		},
		read: readMeters,
		empty: [2]string{"there is no meter yet",
			"`billctl catalog apply` journals those of the catalog."},
	})
}

func readMeters(body []byte) ([]item, []line, bool, error) {
	var a struct {
		Meters []struct {
			Key         string   `json:"key"`
			Event       string   `json:"event"`
			Aggregate   string   `json:"aggregate"`
			Value       string   `json:"value"`
			Unit        string   `json:"unit"`
			Where       string   `json:"where"`
			GroupBy     []string `json:"group_by"`
			Correctable bool     `json:"correctable"`
			Plans       []string `json:"plans"`
		} `json:"meters"`
	}
	if err := readAnswer(body, &a); err != nil {
		return nil, nil, false, err
	}
	items := make([]item, len(a.Meters))
	for i := range a.Meters {
		m := &a.Meters[i]
		corrections := "no"
		if m.Correctable {
			corrections = "yes"
		}
		items[i] = item{id: m.Key, fields: []field{
			{text: m.Key, ink: accent}, {text: m.Aggregate, ink: strong}, {text: m.Value}, {text: m.Unit},
			{text: m.Event}, {text: m.Where, ink: faint}, {text: strings.Join(m.GroupBy, " ")},
			{text: strings.Join(m.Plans, " "), ink: faint}, {text: corrections, ink: faint},
		}}
	}
	return items, nil, false, nil
}

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"billctl/internal/api"
)

func newQueryMeters(s *session) *cobra.Command {
	var output, asOf string
	c := &cobra.Command{
		Use:   "meters",
		Short: "List the meters: what is counted, and which plans price it",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return show(s, output, asOf, "/v1/meters", nil, s.metersTable)
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	return c
}

func (s *session) metersTable(a *api.Meters) error {
	if len(a.Meters) == 0 {
		return s.lines("no meters: billctl catalog apply journals those of the catalog")
	}
	t := newTable("meter", "aggregate", "of", "unit", "events", "where", "by", "plans")
	for i := range a.Meters {
		m := &a.Meters[i]
		t.add(m.Key, m.Aggregate, m.Value, m.Unit, m.Event, m.Where, strings.Join(m.GroupBy, ", "),
			strings.Join(m.Plans, ", "))
	}
	return t.write(s.stdout, "")
}

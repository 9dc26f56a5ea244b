package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"billctl/internal/api"
)

func newQueryPlans(s *session) *cobra.Command {
	var output, asOf string
	c := &cobra.Command{
		Use:   "plans",
		Short: "List the versions of plans with their prices",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return show(s, output, asOf, "/v1/plans", nil, s.plansTable)
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	return c
}

func (s *session) plansTable(a *api.Plans) error {
	if len(a.Plans) == 0 {
		return s.lines("no plans: billctl catalog apply journals those of the catalog")
	}
	for i := range a.Plans {
		p := &a.Plans[i]
		from := "always"
		if p.EffectiveFrom != nil {
			from = "from " + *p.EffectiveFrom
		}
		if p.Current {
			from += ", current"
		}
		err := s.lines(fmt.Sprintf("%s v%d, %s, %s, %s", p.Key, p.Version, p.Currency, p.Period, from))
		if err != nil {
			return err
		}
		t := newTable("price", "model", "meter", "terms")
		for _, x := range p.Prices {
			t.add(x.Key, x.Model, x.Meter, x.Text)
		}
		if err := t.write(s.stdout, "  "); err != nil {
			return err
		}
	}
	return nil
}

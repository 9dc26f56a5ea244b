package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"billctl/internal/api"
)

func newQueryAlerts(s *session) *cobra.Command {
	var output, asOf, account string
	var limit int
	c := &cobra.Command{
		Use:   "alerts",
		Short: "List the alerts that budgets gave",
		Long: `Lists what was said of budgets: once for each period and percentage of the limit that was
reached, with the value at that moment, in the order in which it was said. Sinks get the same
(docs/formats/alert.md).`,
		Example: "  billctl query alerts --account acme",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			err := show(s, output, asOf, "/v1/alerts", url.Values{
				"account": {account}, "limit": {strconv.Itoa(limit)},
			}, s.alertsTable)
			return missing(err, "billctl query accounts lists them")
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	c.Flags().StringVar(&account, "account", "", "only of this account `id`")
	c.Flags().IntVar(&limit, "limit", 100, "alerts at most")
	return c
}

func (s *session) alertsTable(a *api.Alerts) error {
	if len(a.Alerts) == 0 {
		return s.lines("no alerts; " + s.where(&a.Position))
	}
	t := newTable("account", "subscription", "period", "budget", ">reached", ">value", ">limit", "")
	for i := range a.Alerts {
		x := &a.Alerts[i]
		of := x.Currency
		if of == "" {
			of = x.Unit
		}
		t.add(x.Account, x.Subscription, x.StartDate, x.Budget, x.Percent+" %", x.Value, x.Limit, of)
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	if a.More {
		return s.lines(fmt.Sprintf("more: --limit above %d, or --account", len(a.Alerts)))
	}
	return nil
}

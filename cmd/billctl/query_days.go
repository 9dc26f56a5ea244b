package main

import (
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"billctl/internal/api"
)

func newQueryDays(s *session) *cobra.Command {
	var output, asOf string
	c := &cobra.Command{
		Use:   "days ACCOUNT",
		Short: "How the periods of an account have come about, day by day",
		Long: `Shows the open periods of an account, and of each subscription the last closed one that is
still kept, by local day: how often rows counted, and what the period had come to by the end of the
day, by the time of the events. The last day of an open period is its preview so_far.`,
		Example: "  billctl query days acme -o json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			err := show(s, output, asOf, "/v1/days", url.Values{"account": args}, s.daysTable)
			return missing(err, "billctl query accounts lists them")
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	return c
}

func (s *session) daysTable(a *api.Days) error {
	if len(a.Periods) == 0 {
		return s.lines("no period with days; " + s.where(&a.Position))
	}
	t := newTable("subscription", "period", "state", "day", ">uses", ">so far", "")
	for i := range a.Periods {
		p := &a.Periods[i]
		state := "open"
		if p.Closed {
			state = "closed"
		}
		for _, d := range p.Days {
			t.add(p.Subscription, p.StartDate, state, d.Date, strconv.FormatUint(d.Uses, 10), d.SoFar,
				p.Currency)
		}
	}
	return t.write(s.stdout, "")
}

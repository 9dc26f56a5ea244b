package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"billctl/internal/api"
)

func newQueryUses(s *session) *cobra.Command {
	var output, asOf, subscription, period string
	var before uint64
	var limit int
	c := &cobra.Command{
		Use:   "uses ACCOUNT LINE",
		Short: "Show the events that count for a line, the newest first",
		Long: `Shows the events that count for a line of an open period, or of a closed one whose usage is
still kept, each with the value that the meter takes. Those that were corrected since are there too:
they say so, and no longer count. A line is named by its price, and by its group where it has one.`,
		Example: `  billctl query uses acme call
  billctl query uses acme tokens/model=large --period 2026-09-01 --limit 20`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			if asOf != "" {
				return noEventsAsOf()
			}
			p := url.Values{
				"account": args[:1], "line": args[1:], "subscription": {subscription},
				"start_date": {period}, "limit": {strconv.Itoa(limit)},
			}
			setSeq(p, "before", before)
			err := show(s, output, "", "/v1/uses", p, s.usesTable)
			return missing(err, "billctl query account "+args[0]+" shows its periods and lines")
		},
	}
	outputFlag(c, &output)
	noAsOfFlag(c, &asOf)
	c.Flags().StringVar(&subscription, "subscription", "",
		"of this subscription `key`; needed where the account has several")
	c.Flags().StringVar(&period, "period", "",
		"of the period that starts on this `date`, such as 2026-09-01; by default the newest open one")
	c.Flags().Uint64Var(&before, "before", 0, "only events before this `position` of the journal")
	c.Flags().IntVar(&limit, "limit", 100, "events at most")
	return c
}

func (s *session) usesTable(a *api.Uses) error {
	if len(a.Events) == 0 {
		return s.lines("no event counts for it; " + s.where(&a.Position))
	}
	t := newTable(">seq", "time", ">value", "id", "subject", "")
	for i := range a.Events {
		e := &a.Events[i]
		time, state := "", ""
		if e.Time != nil {
			time = *e.Time
		}
		if c := e.CorrectedBy; c != nil {
			state = fmt.Sprintf("%s by seq %d", c.Kind, c.Seq)
		} else if c := e.Corrects; c != nil {
			state = fmt.Sprintf("amends seq %d", c.Seq)
		}
		t.add(strconv.FormatUint(e.Seq, 10), time, e.Value, e.ID, e.Subject, state)
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	if a.More {
		return s.lines(fmt.Sprintf("more: --before %d, or --limit above %d", a.Next, len(a.Events)))
	}
	return nil
}

// noAsOfFlag adds a flag that says why there is none.
func noAsOfFlag(c *cobra.Command, month *string) {
	c.Flags().StringVar(month, "as-of", "", "not for events")
	c.Flags().Lookup("as-of").Hidden = true
}

func noEventsAsOf() error {
	return usageError("--as-of is not for events: an opening holds none, the journal has them all")
}

// setSeq sets a parameter that is a position in the journal, unless it is 0.
func setSeq(p url.Values, name string, seq uint64) {
	if seq != 0 {
		p.Set(name, strconv.FormatUint(seq, 10))
	}
}

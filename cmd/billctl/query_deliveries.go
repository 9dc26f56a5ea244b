package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"billctl/internal/api"
)

func newQueryDeliveries(s *session) *cobra.Command {
	var output, sink, state, after string
	var limit int
	c := &cobra.Command{
		Use:   "deliveries",
		Short: "Show which documents the sinks have, and which they do not",
		Long: `Shows how far every sink is, and documents on their way to them: first what is not there
(waiting, retrying, parked) as it was issued, then the newest delivered. Alerts are among them.`,
		Example: `  billctl query deliveries --status parked
  billctl query deliveries --sink files --limit 20`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if err := s.load(); err != nil {
				return err
			}
			err := show(s, output, "", "/v1/deliveries", url.Values{
				"sink": {sink}, "state": {state}, "after": {after}, "limit": {strconv.Itoa(limit)},
			}, s.deliveriesTable)
			return missing(err, "billctl query status lists them")
		},
	}
	outputFlag(c, &output)
	c.Flags().StringVar(&sink, "sink", "", "only of the sink with this `name`")
	c.Flags().StringVar(&state, "status", "",
		"only of this `state`: waiting, retrying, parked, delivered")
	c.Flags().StringVar(&after, "after", "", "only behind this `place`: the next of an answer")
	c.Flags().IntVar(&limit, "limit", 100, "deliveries at most")
	return c
}

func (s *session) deliveriesTable(a *api.Deliveries) error {
	sinks := newTable("sink", ">delivered", ">waiting", ">parked", "last error")
	for i := range a.Sinks {
		x := &a.Sinks[i]
		sinks.add(x.Name, grouped(uint64(x.Delivered)), grouped(uint64(x.Waiting)),
			grouped(uint64(x.Parked)), x.LastError)
	}
	if len(a.Sinks) == 0 {
		return s.lines("no sink is configured; " + s.where(&a.Position))
	}
	if err := sinks.write(s.stdout, ""); err != nil {
		return err
	}
	if len(a.Deliveries) == 0 {
		return s.lines("no deliveries; " + s.where(&a.Position))
	}
	t := newTable("state", "sink", "kind", "document", ">attempts", "error")
	for i := range a.Deliveries {
		d := &a.Deliveries[i]
		attempts := ""
		if d.Attempts > 0 {
			attempts = strconv.Itoa(d.Attempts)
		}
		t.add(d.State, d.Sink, d.Kind, d.Key, attempts, d.Error)
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	if a.More {
		return s.lines(fmt.Sprintf("more: --after %s, or --limit above %d", a.Next, len(a.Deliveries)))
	}
	return nil
}

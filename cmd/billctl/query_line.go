package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"billctl/formats"
	"billctl/internal/api"
)

func newQueryLine(s *session) *cobra.Command {
	var output, asOf, subscription, period, view, about string
	c := &cobra.Command{
		Use:   "line ACCOUNT LINE",
		Short: "How a line of an open period comes to its amount",
		Long: `Shows a line of a preview: its price, the tiers with how far they are filled, where the
next tier begins, and the computation step by step. LINE is the price's key, and "/dimension=value"
for each value of the group. With --period it also takes a line of the last closed period of a
subscription. An adjustment has the key of the line that it adjusts: --for names the period that it
is for.`,
		Example: `  billctl query line acme tokens
  billctl query line acme tokens/model=large --view if_closed_now
  billctl query line acme tokens --for 2026-08-01`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			err := show(s, output, asOf, "/v1/line", url.Values{
				"account": {args[0]}, "line": {args[1]}, "subscription": {subscription},
				"start_date": {period}, "view": {view}, "for": {about},
			}, s.lineTable)
			return missing(err, "billctl query accounts lists them")
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	c.Flags().StringVar(&subscription, "subscription", "", "of this subscription `key`")
	c.Flags().StringVar(&period, "period", "", "of the period with this start `date`")
	c.Flags().StringVar(&view, "view", "so_far", "`preview`: so_far or if_closed_now")
	c.Flags().StringVar(&about, "for", "",
		"for the period with this start `date`: adjusted, or billed in advance")
	return c
}

func (s *session) lineTable(a *api.Line) error {
	var line struct{ Amount, Quantity, Billable, Unit string }
	if err := json.Unmarshal(a.Line, &line); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	state := a.View
	if a.Closed {
		state = "closed"
	}
	switch {
	case a.Adjusts:
		state += ", adjusts " + a.For
	case a.For != a.StartDate:
		state += ", in advance for " + a.For
	}
	out := []string{
		fmt.Sprintf("%s of %s, %s from %s, %s", a.Key, a.Account, a.Subscription, a.StartDate, state),
		"  amount    " + line.Amount + " " + a.Currency,
	}
	if line.Quantity != "" {
		out = append(out, "  quantity  "+strings.TrimSpace(line.Quantity+" "+line.Unit))
	}
	if n := a.NextTier; n != nil {
		out = append(out, "  next tier in "+strings.TrimSpace(n.In+" "+n.Unit)+", at "+n.At)
	}
	out = append(out, fmt.Sprintf("  price     %s: %s", a.Price.Model, a.Price.Text))
	for _, step := range a.Steps {
		out = append(out, "  "+step)
	}
	for i := range out { // keys, groups and units are of others
		out[i] = formats.Visible(out[i])
	}
	if err := s.lines(out...); err != nil {
		return err
	}
	t := newTable(">above", ">up to", ">price", ">flat", ">quantity", ">amount", ">filled")
	for _, x := range a.Tiers {
		to, fill := "no end", ""
		if x.To != nil {
			to = *x.To
		}
		if x.Fill != nil {
			fill = *x.Fill
		}
		t.add(x.From, to, x.Unit, x.Flat, x.Quantity, x.Amount, fill)
	}
	return t.write(s.stdout, "  ")
}

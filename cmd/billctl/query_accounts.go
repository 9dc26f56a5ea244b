package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"billctl/formats"
	"billctl/internal/api"
)

func newQueryAccounts(s *session) *cobra.Command {
	var output, asOf, prefix, after, filter, sort, order string
	var limit, offset int
	c := &cobra.Command{
		Use:   "accounts",
		Short: "List the accounts with their subtotals",
		Long: `Lists the accounts with what their open periods have come to. A filter is words that must
all hold: a part of the id or the name, plan:KEY, and >100 or <5 for the amount so far of the first
currency; ! in front of a word is its opposite.`,
		Example: `  billctl query accounts --sort so_far --order desc --limit 10
  billctl query accounts --filter 'gmbh plan:pro >100'`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return show(s, output, asOf, "/v1/accounts", url.Values{
				"prefix": {prefix}, "after": {after}, "limit": {strconv.Itoa(limit)}, "filter": {filter},
				"sort": {sort}, "order": {order}, "offset": {strconv.Itoa(offset)}, "wait": {"1"},
			}, func(a *api.Accounts) error { return s.accountsTable(a, offset) })
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	c.Flags().StringVar(&prefix, "prefix", "", "only ids that begin with this `text`")
	c.Flags().StringVar(&filter, "filter", "", "only accounts for which these `words` hold")
	c.Flags().StringVar(&sort, "sort", "id",
		"`what` to order by: id, name, rows, so_far or if_closed_now")
	c.Flags().StringVar(&order, "order", "asc", "`direction`: asc or desc")
	c.Flags().StringVar(&after, "after", "", "go on behind this `id`; with the order by id only")
	c.Flags().IntVar(&offset, "offset", 0, "leave this `many` out")
	c.Flags().IntVar(&limit, "limit", 100, "accounts at most")
	return c
}

// accountsTable prints a page of accounts, in front of which there are offset others.
func (s *session) accountsTable(a *api.Accounts, offset int) error {
	head := grouped(uint64(a.Total)) + " accounts"
	if a.Matched != a.Total {
		head = grouped(uint64(a.Matched)) + " of " + head
	}
	head += "; " + s.where(&a.Position)
	if a.OrderedAt != 0 && a.OrderedAt != a.Position.Seq {
		head += fmt.Sprintf(", ordered as of seq %d", a.OrderedAt)
	}
	if err := s.lines(head); err != nil {
		return err
	}
	budget := ""
	for i := range a.Accounts {
		if a.Accounts[i].Budget != nil {
			budget = "budget"
		}
	}
	t := newTable("account", "name", "subscription", "plan", "period", ">rows", ">so far",
		">if closed now", "", budget)
	for i := range a.Accounts {
		addAccount(t, &a.Accounts[i])
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	switch shown := offset + len(a.Accounts); {
	case a.Next != "":
		return s.lines("more: --after " + formats.Visible(a.Next))
	case len(a.Accounts) > 0 && shown < a.Matched:
		return s.lines(fmt.Sprintf("more: --offset %d", shown))
	}
	return nil
}

func addAccount(t *table, row *api.AccountRow) {
	name := row.Name
	if name == row.ID { // it was given none
		name = ""
	}
	if len(row.Periods) == 0 {
		t.add(row.ID, name, "", "", "", "", "", "", "", "")
	}
	told := row.Budget == nil
	for _, p := range row.Periods {
		budget := ""
		if !told && p.Subscription == row.Budget.Subscription {
			budget, told = row.Budget.Percent+" % of "+row.Budget.Budget, true
		}
		t.add(row.ID, name, p.Subscription, p.Plan, p.StartDate, grouped(p.Rows), p.SoFar,
			p.IfClosedNow, p.Currency, budget)
	}
}

package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/internal/api"
	"billctl/internal/live"
)

func newCredits(s *session) *cobra.Command {
	return group("credits", "Grant money to accounts, and list what is left of it",
		newCreditsGrant(s), newCreditsLs(s))
}

// grantFlags are the flags of credits grant.
type grantFlags struct {
	applyFlags
	account, id, amount, currency, expires string
	priority                               int
}

func newCreditsGrant(s *session) *cobra.Command {
	var f grantFlags
	c := &cobra.Command{
		Use:   "grant --account ID --id ID --amount AMOUNT --currency CODE --reason TEXT",
		Short: "Grant money that an account's next invoices use up",
		Long: `Grants an amount to an account. Its invoices use it up before taxes: by rising priority,
then the grant that expires first, then the oldest (docs/semantics.md, "Credits"). A grant pays
invoices that are dated before it expires.

The id names the grant within its account, so that it is given once: the same grant again changes
nothing, another one with its id is refused.`,
		Example: `  billctl credits grant --account acme --id 2026-09-outage --amount 25.00 \
    --currency EUR --reason 'outage of 3 September'`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return s.grantCredit(&f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.account, "account", "", "`id` of the account; needed")
	flags.StringVar(&f.id, "id", "", "`id` of the grant, unique within the account; needed")
	flags.StringVar(&f.amount, "amount", "", "`amount` in major units, such as 25.00; needed")
	flags.StringVar(&f.currency, "currency", "", "`code` of its currency, such as EUR; needed")
	flags.StringVar(&f.expires, "expires", "",
		"`time` from which it pays nothing more: 2027-01-01 (midnight UTC), or RFC 3339 (default never)")
	flags.IntVar(&f.priority, "priority", 0,
		fmt.Sprintf("0 to %d: grants with a lower one are used up first", engine.MaxPriority))
	flags.StringVar(&f.reason, "reason", "", "why, for the journal; needed")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be granted and grant nothing")
	return c
}

// needed refuses flags that are not given.
func needed(flags ...[2]string) error {
	var missing []string
	for _, f := range flags {
		if strings.TrimSpace(f[1]) == "" {
			missing = append(missing, "--"+f[0])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return usageError(strings.Join(missing, ", ") + " must be given")
}

func (s *session) grantCredit(f *grantFlags) error {
	err := needed([2]string{"account", f.account}, [2]string{"id", f.id},
		[2]string{"amount", f.amount}, [2]string{"currency", f.currency}, [2]string{"reason", f.reason})
	if err != nil {
		return err
	}
	if f.priority < 0 || f.priority > engine.MaxPriority {
		return usageError(fmt.Sprintf("--priority %d is not from 0 to %d", f.priority,
			engine.MaxPriority))
	}
	c := &engine.Credit{
		ID: f.id, Account: f.account, Currency: f.currency, Priority: f.priority, Actor: actor(),
		Reason: f.reason,
	}
	if f.expires != "" {
		if c.Expires, err = parseInstant("--expires", f.expires); err != nil {
			return &exitError{
				code: exitUsage, text: err.Error(), hint: "write a day to come: --expires 2027-01-01",
			}
		}
	}
	if err := s.load(); err != nil {
		return err
	}
	now := engine.Micros(time.Now().UnixMicro())
	desk, done, err := s.desk()
	if err != nil {
		return err
	}
	view, err := desk.WithControls(now)
	if err = errors.Join(err, done()); err != nil {
		return err
	}
	granted, err := f.check(view, c, now)
	if err != nil {
		return err
	}
	if granted {
		return s.lines(fmt.Sprintf("nothing to grant: account %s has credit %s", f.account, f.id))
	}
	digits, _ := view.Digits(c.Currency)
	if err := s.lines(grantWords(c, digits)); err != nil || f.dryRun {
		return err
	}
	if !billedIn(view, c) {
		s.say("note: account %s has no subscription in %s: the credit waits until it has one",
			c.Account, c.Currency)
	}
	if _, err := s.putControls([][]byte{live.EncodeControl(c)}); err != nil {
		return err
	}
	s.say("applied")
	return nil
}

// check reads the amount, and reports whether the account has this grant already.
func (f *grantFlags) check(
	v *engine.View, c *engine.Credit, now engine.Micros,
) (granted bool, err error) {
	digits, known := v.Digits(c.Currency)
	if !known {
		return false, &exitError{
			code: exitUsage, text: "no plan of the journal is in " + c.Currency,
			hint: "codes are as plans write them, such as EUR; billctl query account " + c.Account +
				" shows the account's",
		}
	}
	c.Amount, err = decimal.ParseAmount(f.amount, digits)
	switch {
	case errors.Is(err, decimal.ErrRange):
		return false, &exitError{
			code: exitUsage,
			text: fmt.Sprintf("--amount %s: %s has %d digits behind the point", f.amount, c.Currency,
				digits),
			hint: "round it to " + counted(uint64(digits), "digit") + ", as amounts on invoices are",
		}
	case err != nil:
		return false, usageError(fmt.Sprintf("--amount %q is no amount such as 25.00", f.amount))
	}
	a, _ := v.Account(c.Account)
	for i := range a.Credits {
		if old := &a.Credits[i].Credit; old.ID == c.ID && old.Currency == c.Currency &&
			old.Amount == c.Amount && old.Expires == c.Expires && old.Priority == c.Priority {
			return true, nil
		}
	}
	if err := v.CheckCredit(c, now); err != nil {
		return false, &exitError{code: exitFailed, text: err.Error(), hint: "nothing was granted"}
	}
	return false, nil
}

// grantWords says what is granted.
func grantWords(c *engine.Credit, digits int) string {
	text := fmt.Sprintf("account %s is granted %s %s as credit %s", c.Account, c.Amount.Text(digits),
		c.Currency, c.ID)
	if c.Priority != 0 {
		text += fmt.Sprintf(", priority %d", c.Priority)
	}
	if c.Expires != 0 {
		text += ", which expires at " + c.Expires.String()
	}
	return text
}

// billedIn reports whether a subscription of the account is in the credit's currency.
func billedIn(v *engine.View, c *engine.Credit) bool {
	a, _ := v.Account(c.Account)
	return slices.ContainsFunc(a.Subscriptions, func(b engine.Subscription) bool {
		versions := v.PlanVersions(b.Plan)
		return len(versions) > 0 && v.Plan(b.Plan, versions[0]).Currency == c.Currency
	})
}

func newCreditsLs(s *session) *cobra.Command {
	var output string
	var limit int
	c := &cobra.Command{
		Use:   "ls [ACCOUNT]",
		Short: "List credits: what was granted, what is left, until when",
		Long: `Lists the credits of an account, or of all accounts: what was granted, what is left, when
it expires, and for each currency the balance of what has not expired.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if limit < 1 {
				return usageError(fmt.Sprintf("--limit %d is not above 0", limit))
			}
			p := url.Values{"limit": {strconv.Itoa(limit)}}
			if len(args) > 0 {
				p["account"] = args
			}
			return missing(show(s, output, "", "/v1/credits", p, s.creditsTable),
				"billctl query accounts lists them")
		},
	}
	outputFlag(c, &output)
	c.Flags().IntVar(&limit, "limit", 100, "accounts with credits at most")
	return c
}

func (s *session) creditsTable(a *api.Credits) error {
	if len(a.Credits) == 0 {
		return s.lines("no credit was granted; " + s.where(&a.Position))
	}
	t := newTable("account", "credit", ">granted", ">left", "currency", ">priority", "expires",
		"reason")
	for i := range a.Credits {
		c := &a.Credits[i]
		expires := "never"
		switch {
		case c.Expired:
			expires = *c.Expires + " (has expired)"
		case c.Expires != nil:
			expires = *c.Expires
		}
		t.add(c.Account, c.ID, c.Granted, c.Left, c.Currency, strconv.Itoa(c.Priority), expires, c.Reason)
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	b := newTable("account", ">balance", "currency")
	for _, x := range a.Balances {
		b.add(x.Account, x.Left, x.Currency)
	}
	if err := b.write(s.stdout, ""); err != nil {
		return err
	}
	if a.More {
		return s.lines("more accounts have credits: raise --limit, or name one")
	}
	return nil
}

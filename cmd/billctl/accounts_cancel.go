package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

// cancelFlags are the flags of accounts cancel.
type cancelFlags struct {
	applyFlags
	now, periodEnd bool
	at             string
}

func newAccountsCancel(s *session) *cobra.Command {
	var f cancelFlags
	c := &cobra.Command{
		Use:   "cancel ACCOUNT [SUBSCRIPTION] (--now | --at-period-end | --at TIME) --reason TEXT",
		Short: "End a subscription",
		Long: `Sets the end of a subscription. Usage up to the end is billed with the last period. A flat
amount in advance with prorate follows the new end by itself: the invoice of the period that was
paid for has an adjustment. One without prorate stays as it is.

Events may have been accepted for what is up to five minutes ahead (or the setting max_future, if
that is longer), and what may have been accepted stays billed. So --now ends the subscription at the
first full minute that is later than that.

Write the same end into the catalog if it lists the subscription: the next catalog apply takes the
catalog's word for it.`,
		Example: `  billctl accounts cancel acme --at-period-end --reason 'ticket 4711'
  billctl accounts cancel acme main --at 2026-10-01 --reason 'moves to plan pro' --dry-run`,
		Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(_ *cobra.Command, args []string) error {
			return s.cancel(append(args, "")[0], append(args, "")[1], &f)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&f.now, "now", false, "as soon as the rules allow")
	flags.BoolVar(&f.periodEnd, "at-period-end", false, "at the end of the period that it is in")
	flags.StringVar(&f.at, "at", "",
		"at this `time`: 2026-10-01 (when the day begins for the account), or RFC 3339")
	flags.StringVar(&f.reason, "reason", "", "why, for the journal; needed")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say when it would end and change nothing")
	return c
}

func (f *cancelFlags) check() error {
	n := 0
	for _, given := range []bool{f.now, f.periodEnd, f.at != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		return usageError("say when, by one of: --now, --at-period-end, --at TIME")
	}
	return needed([2]string{"reason", f.reason})
}

// cancel ends a subscription of an account; key "" is the only one.
func (s *session) cancel(account, key string, f *cancelFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	desk, done, err := s.desk()
	if err != nil {
		return err
	}
	now := engine.Micros(time.Now().UnixMicro())
	view, err := desk.WithControls(now)
	if err = errors.Join(err, done()); err != nil {
		return err
	}
	now = max(now, view.Standing().At)
	a, found := view.Account(account)
	if !found {
		return &exitError{
			code: exitFailed, text: fmt.Sprintf("there is no account %q", account),
			hint: "billctl query accounts lists them",
		}
	}
	sub, err := subscriptionToEnd(&a, key, now)
	if err != nil {
		return err
	}
	end, err := f.end(view, &a, sub, now)
	if err != nil {
		return err
	}
	if end == sub.To {
		return s.lines(fmt.Sprintf("nothing to do: subscription %s of account %s ends at %s", sub.Key,
			account, end))
	}
	if end > sub.To {
		return &exitError{
			code: exitFailed, text: fmt.Sprintf("subscription %s of account %s ends at %s already, "+
				"before %s", sub.Key, account, sub.To, end),
			hint: "a catalog moves an end back: to: in its accounts",
		}
	}
	sub.To = end
	c := &engine.Change{Actor: actor(), Reason: f.reason, Accounts: []engine.AccountChange{{
		ID: a.ID, Zone: a.Zone, Name: a.Name, Subscriptions: []engine.Subscription{sub},
	}}}
	if err := view.Check(c, now); err != nil {
		return &exitError{
			code: exitFailed, text: err.Error(), hint: "choose a later end, or --now for the earliest",
		}
	}
	return s.endSubscription(c, f.dryRun)
}

// endSubscription journals the change, unless it is a dry run.
func (s *session) endSubscription(c *engine.Change, dryRun bool) error {
	a := &c.Accounts[0]
	sub := &a.Subscriptions[0]
	err := s.lines(fmt.Sprintf("subscription %s of account %s ends at %s", sub.Key, a.ID, sub.To))
	if err != nil || dryRun {
		return err
	}
	if _, err := s.putControls([][]byte{live.EncodeControl(c)}); err != nil {
		return err
	}
	s.say("applied")
	s.say("note: where a catalog lists the subscription, write to: %s there too", sub.To)
	return nil
}

// subscriptionToEnd returns the subscription of a key that has not ended, the one that holds now
// before one to come; without a key the account must have only one.
func subscriptionToEnd(
	a *engine.AccountState, key string, now engine.Micros,
) (engine.Subscription, error) {
	var found *engine.Subscription
	var keys []string
	for i := range a.Subscriptions {
		b := &a.Subscriptions[i]
		if b.To <= now || key != "" && b.Key != key {
			continue
		}
		if len(keys) == 0 || keys[len(keys)-1] != b.Key {
			keys = append(keys, b.Key)
		}
		if found == nil { // they are by key and From
			found = b
		}
	}
	switch {
	case len(keys) > 1:
		return engine.Subscription{}, usageError(fmt.Sprintf("account %s has several subscriptions: "+
			"name one of %s", a.ID, strings.Join(keys, ", ")))
	case found != nil:
		return *found, nil
	case key != "":
		return engine.Subscription{}, &exitError{
			code: exitFailed, text: fmt.Sprintf("account %s has no subscription %q that goes on", a.ID, key),
			hint: "billctl query account " + a.ID + " -o json shows its subscriptions",
		}
	}
	return engine.Subscription{}, &exitError{
		code: exitFailed, text: fmt.Sprintf("account %s has no subscription that goes on", a.ID),
	}
}

// end returns when the subscription is to end.
func (f *cancelFlags) end(
	v *engine.View, a *engine.AccountState, sub engine.Subscription, now engine.Micros,
) (engine.Micros, error) {
	const minute = 60 * engine.Second
	switch {
	case f.now:
		// Half a minute is for the way to the journal: the rule counts from there.
		first := now + max(engine.Lead, v.Settings().MaxFuture) + minute/2
		return first/minute*minute + minute, nil
	case f.periodEnd:
		terms, ok := v.Terms(a.ID, sub.Key, max(now, sub.From))
		if !ok {
			panic("BUG: a subscription has no period while it goes on")
		}
		return terms.FullEnd, nil
	}
	if day, err := time.Parse("2006-01-02", f.at); err == nil {
		zone, err := formats.LoadZone(a.Zone)
		if err != nil {
			return 0, err
		}
		if y := day.Year(); y < 1970 || y > 2199 {
			return 0, usageError("--at " + f.at + " is not in 1970 to 2199")
		}
		return zone.StartOfDay(day.Year(), int(day.Month()), day.Day()), nil
	}
	return parseInstant("--at", f.at)
}

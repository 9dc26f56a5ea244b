package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
)

// accountDiff is what changes for one account.
type accountDiff struct {
	change engine.AccountChange
	moves  bool // gives a subject to another account, or takes one
	same   bool // nothing changes but coupons and taxes, which are no part of change
	words  []string
}

// accounts compares every account of the catalog. The result has those that exchange subjects
// first, then the others, each by rising id.
func (d *differ) accounts() {
	diffs := map[string]*accountDiff{}
	zones := map[string]bool{}
	for i := range d.c.Accounts {
		if d.faults.full() {
			return
		}
		a := &d.c.Accounts[i]
		old, exists := d.current.Account(a.ID)
		if diff := d.account(a, &old, exists, diffs); diff != nil {
			diffs[a.ID] = diff
		}
		if !zones[a.Zone] && !d.current.ZoneKnown(a.Zone) {
			zones[a.Zone] = true
			d.out.Zones = append(d.out.Zones, d.c.zones[a.Zone])
		}
	}
	slices.SortFunc(d.out.Zones, func(a, b *engine.Zone) int {
		return strings.Compare(a.Name, b.Name)
	})
	ids := make([]string, 0, len(diffs))
	for id := range diffs {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		if diffs[a].moves != diffs[b].moves {
			if diffs[a].moves {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, id := range ids {
		diff := diffs[id]
		if diff.moves {
			d.out.moving++
		}
		if diff.moves || !diff.same {
			d.out.Change.Accounts = append(d.out.Change.Accounts, diff.change)
		}
		d.out.Words = append(d.out.Words, diff.words...)
	}
}

// account returns what changes for an account, or nil.
func (d *differ) account(a *Account, old *engine.AccountState, exists bool,
	diffs map[string]*accountDiff) *accountDiff {
	diff := diffs[a.ID] // an account before may have taken a subject from it
	if diff == nil {
		diff = &accountDiff{change: engine.AccountChange{ID: a.ID, Zone: a.Zone}}
	}
	diff.change.Name = a.Name
	if exists {
		if old.Zone != a.Zone {
			d.faults.add(a.at.zone, "an account's time zone never changes: open a new account",
				"account %s is in %s in the journal, not in %s", a.ID, old.Zone, a.Zone)
			return nil
		}
		if !a.at.named {
			diff.change.Name = old.Name // what the file does not say stays as it is
		} else if old.Name != a.Name {
			diff.words = append(diff.words, fmt.Sprintf("account %s is now called %q instead of %q",
				a.ID, a.Name, old.Name))
		}
	}
	before := len(diff.words)
	fresh := d.subjects(a, old, diff, diffs)
	switch {
	case !exists:
		words := fmt.Sprintf("account %s is new (%s)", a.ID, a.Zone)
		if len(fresh) > 0 {
			words += ", owns " + subjectWords(fresh)
		}
		diff.words = slices.Insert(diff.words, before, words)
	case len(fresh) > 0:
		diff.words = append(diff.words, fmt.Sprintf("account %s owns also %s", a.ID, subjectWords(fresh)))
	}
	d.subscriptions(a, old, diff)
	diff.same = exists && len(diff.words) == 0 && len(diff.change.Detach) == 0
	d.coupons(a, old, diff)
	d.taxes(a, old, diff)
	if diff.same && len(diff.words) == 0 {
		return nil
	}
	return diff
}

// subjects attaches what the account does not own yet. It returns the subjects that were nobody's
// and are the account's from the beginning of time.
func (d *differ) subjects(a *Account, old *engine.AccountState, diff *accountDiff,
	diffs map[string]*accountDiff) []string {
	var fresh []string
	if old.ID != "" && !a.at.listed {
		return nil
	}
	for _, subject := range a.Subjects {
		if owns(old, subject) {
			continue
		}
		owners, used := d.current.Subject(subject)
		last := lastOwner(owners)
		from := engine.Past
		if used || last != nil && last.To != engine.Future {
			from = d.now + moveTime
		}
		if last != nil && from != engine.Past {
			from = max(from, last.From)
			if last.To != engine.Future {
				from = max(from, last.To)
			}
		}
		diff.change.Attach = append(diff.change.Attach, engine.Ownership{
			Subject: subject, Account: a.ID, From: from, To: engine.Future,
		})
		switch {
		case last != nil && last.To == engine.Future:
			d.detach(last, from, diff, diffs)
		case from == engine.Past:
			fresh = append(fresh, subject)
		default:
			diff.words = append(diff.words, fmt.Sprintf("account %s owns subject %s from %s on",
				a.ID, subject, whenText(from, nil)))
		}
	}
	return fresh
}

// owns reports whether the account owns the subject without an end.
func owns(a *engine.AccountState, subject string) bool {
	return slices.ContainsFunc(a.Subjects, func(o engine.Ownership) bool {
		return o.Subject == subject && o.To == engine.Future
	})
}

// lastOwner returns the ownership that begins last, or nil. Those that were taken back before an
// event used them hold no time and don't count.
func lastOwner(owners []engine.Ownership) *engine.Ownership {
	var last *engine.Ownership
	for i := range owners {
		o := &owners[i]
		if o.From < o.To && (last == nil || o.From > last.From) {
			last = o
		}
	}
	return last
}

// detach ends the ownership of the account that has the subject now.
func (d *differ) detach(holder *engine.Ownership, at engine.Micros, taker *accountDiff,
	diffs map[string]*accountDiff) {
	giver := diffs[holder.Account]
	if giver == nil {
		state, _ := d.current.Account(holder.Account)
		giver = &accountDiff{change: engine.AccountChange{
			ID: holder.Account, Name: state.Name, Zone: state.Zone,
		}}
		diffs[holder.Account] = giver
	}
	giver.moves, taker.moves = true, true
	end := max(at, holder.From) // an ownership that no event has used yet ends where it began
	giver.change.Detach = append(giver.change.Detach, engine.Ownership{
		Subject: holder.Subject, Account: holder.Account, From: holder.From, To: end,
	})
	when := "at " + whenText(at, nil)
	if at == engine.Past {
		when = "with all its events, none of which has counted yet"
	}
	taker.words = append(taker.words, fmt.Sprintf("subject %s moves from %s to %s %s",
		holder.Subject, holder.Account, taker.change.ID, when))
}

// subscriptions adds new subscriptions and changes the ends of those that exist.
func (d *differ) subscriptions(a *Account, old *engine.AccountState, diff *accountDiff) {
	zone := d.c.zones[a.Zone]
	for i := range a.Subscriptions {
		s, at := &a.Subscriptions[i], &a.at.subscriptions[i]
		was := findSubscription(old.Subscriptions, s)
		if was == nil {
			if d.fits(a, s, at, old) {
				diff.change.Subscriptions = append(diff.change.Subscriptions, *s)
				diff.words = append(diff.words, subscriptionWords(a.ID, s, zone))
			}
			continue
		}
		if d.sameSubscription(a, old, was, s, at) && was.To != s.To {
			diff.change.Subscriptions = append(diff.change.Subscriptions, *s)
			end := "ends at " + whenText(s.To, zone)
			if s.To == engine.Future {
				end = "has no end any more"
			}
			diff.words = append(diff.words, fmt.Sprintf("subscription %s of account %s from %s %s",
				s.Key, a.ID, whenText(s.From, zone), end))
		}
	}
}

func findSubscription(list []engine.Subscription, s *engine.Subscription) *engine.Subscription {
	for i := range list {
		if list[i].Key == s.Key && list[i].From == s.From {
			return &list[i]
		}
	}
	return nil
}

// sameSubscription checks that nothing but the end of a journaled subscription changes, and that
// not into the past.
func (d *differ) sameSubscription(a *Account, old *engine.AccountState, was, s *engine.Subscription,
	at *subPlaces) bool {
	if diff := subscriptionDiff(was, s, d.c.zones[a.Zone]); len(diff) > 0 {
		d.faults.add(at.sub, "end this one with to: and begin a new one there",
			"subscription %s of account %s differs from the journal: %s",
			s.Key, a.ID, strings.Join(diff, "; "))
		return false
	}
	if was.To == s.To {
		return true
	}
	where := at.to
	if where.src == nil {
		where = at.sub
	}
	zone := d.c.zones[a.Zone]
	if was.To <= d.now+leadTime {
		d.faults.add(where, "begin a new one: an end that has come never changes",
			"subscription %s of account %s ended at %s", s.Key, a.ID, whenText(was.To, zone))
		return false
	}
	if s.To <= d.now+leadTime {
		d.faults.add(where, "choose a later end: bills that may exist never change",
			"subscription %s of account %s would end less than 5 minutes from now", s.Key, a.ID)
		return false
	}
	return d.fits(a, s, at, old)
}

// fits checks a subscription against the journaled ones of the account: those that the catalog
// leaves out go on.
func (d *differ) fits(a *Account, s *engine.Subscription, at *subPlaces,
	old *engine.AccountState) bool {
	zone := d.c.zones[a.Zone]
	for i := range old.Subscriptions {
		o := &old.Subscriptions[i]
		if o.Key == s.Key && o.From == s.From {
			continue
		}
		if listed := findSubscription(a.Subscriptions, o); listed != nil {
			o = listed // its end may change too; the catalog's own are free of overlaps
		}
		if o.Key == s.Key && o.From < s.To && s.From < o.To {
			d.faults.add(at.from, "absence ends nothing: list that one too, with its to:",
				"subscription %s of account %s overlaps the journal's, from %s to %s",
				s.Key, a.ID, whenText(o.From, zone), whenText(o.To, zone))
			return false
		}
		have, want := d.currencyOf(o.Plan), d.currencyOf(s.Plan)
		if have != "" && want != "" && have != want {
			d.faults.add(at.plan, "use one account for each currency",
				"plan %s is in %s, but account %s has plan %s in %s in the journal",
				s.Plan, want, a.ID, o.Plan, have)
			return false
		}
	}
	return true
}

// currencyOf returns the currency of a plan, or "" if there is no such plan.
func (d *differ) currencyOf(plan string) string {
	if versions := d.c.plansOf(plan); len(versions) > 0 {
		return versions[0].Currency
	}
	if versions := d.current.PlanVersions(plan); len(versions) > 0 {
		return d.current.Plan(plan, versions[0]).Currency
	}
	return ""
}

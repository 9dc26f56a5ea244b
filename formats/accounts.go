package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
)

// written is a text with its place: the common form of what YAML, JSONL and CSV say. What is not
// there has no source.
type written struct {
	text string
	at   place
}

func (c written) given() bool { return c.at.src != nil }

// subRow is a subscription as written.
type subRow struct {
	key, plan, pin, from, to, trial written
	overrides                       *node
	at                              place
}

// account reads an account of a YAML file or of a line of JSON.
func (r *catalogReader) account(n *node) {
	if r.faults.full() {
		return
	}
	f := fieldsOf(r.faults, n, "an account", "id", "name", "timezone", "subjects", "subscriptions",
		"coupons", "taxes")
	if f == nil {
		return
	}
	id, ok := f.key(f.need("id", "give the account an id"), "account id")
	if !ok {
		return
	}
	a := r.newAccount(id, n.child("id").at)
	if a == nil {
		return
	}
	if v := f.get("name"); v != nil {
		a.Name, a.at.named = f.name(v, "name")
	}
	zone := r.zoneOf(a, f.written(f.get("timezone"), "timezone"))
	if v := f.get("subjects"); v != nil {
		a.at.listed = true
		for _, item := range f.list(v, "subjects") {
			if s, ok := f.name(item, "subject"); ok {
				r.subject(a, s, item.at)
			}
		}
	} else {
		r.subject(a, id, a.at.id)
	}
	for _, item := range f.list(f.get("subscriptions"), "subscriptions") {
		r.subscription(a, zone, item)
	}
	for _, item := range f.list(f.get("coupons"), "coupons") {
		r.coupon(a, zone, item)
	}
	for _, item := range f.list(f.get("taxes"), "taxes") {
		r.taxes(a, item)
	}
	r.c.Accounts = append(r.c.Accounts, *a)
}

// subscription reads one subscription of an account.
func (r *catalogReader) subscription(a *Account, zone *engine.Zone, n *node) {
	f := fieldsOf(r.faults, n, "a subscription",
		"key", "plan", "pin", "from", "to", "trial_until", "overrides")
	if f == nil {
		return
	}
	r.addSubscription(a, zone, &subRow{
		key:       f.written(f.get("key"), "key"),
		plan:      f.written(f.need("plan", "name the plan"), "plan"),
		pin:       f.written(f.get("pin"), "pin"),
		from:      f.written(f.need("from", "write from: 2026-01-01"), "from"),
		to:        f.written(f.get("to"), "to"),
		trial:     f.written(f.get("trial_until"), "trial_until"),
		overrides: f.get("overrides"),
		at:        n.at,
	})
}

// written returns a scalar with its place.
func (f *fields) written(n *node, what string) written {
	s, ok := f.scalar(n, what)
	if !ok {
		return written{}
	}
	return written{s, n.at}
}

// newAccount begins an account; nil where the id was used before.
func (r *catalogReader) newAccount(id string, at place) *Account {
	if first, twice := r.accounts[id]; twice {
		r.faults.add(at, "the first is in "+first.String(), "account %q is defined twice", id)
		return nil
	}
	r.accounts[id] = at
	return &Account{ID: id, Name: id, at: &accountPlaces{id: at, zone: at}}
}

// zoneOf sets the account's zone; UTC where none is given. It returns nil for names of no zone.
func (r *catalogReader) zoneOf(a *Account, c written) *engine.Zone {
	a.Zone = "UTC"
	if c.given() {
		a.Zone, a.at.zone = c.text, c.at
	}
	zone, seen := r.zones[a.Zone]
	if !seen {
		var err error
		if zone, err = LoadZone(a.Zone); err != nil {
			zone = nil
		}
		r.zones[a.Zone] = zone
	}
	if zone == nil {
		r.faults.add(a.at.zone, "use a name of the IANA database: Europe/Berlin, America/New_York, UTC",
			"time zone %q is not known", clip(a.Zone))
	}
	return zone
}

// subject gives the subject to the account.
func (r *catalogReader) subject(a *Account, name string, at place) {
	if first, twice := r.subjects[name]; twice {
		r.faults.add(at, "a subject belongs to one account; the first is in "+first.String(),
			"subject %q is owned twice", clip(name))
		return
	}
	r.subjects[name] = at
	a.Subjects = append(a.Subjects, name)
	a.at.subjects = append(a.at.subjects, at)
}

// addSubscription reads the cells of a subscription into the account. What it says of plans is
// checked when all plans are known.
func (r *catalogReader) addSubscription(a *Account, zone *engine.Zone, row *subRow) {
	s := engine.Subscription{Key: "main", Plan: row.plan.text, To: engine.Future}
	at := subPlaces{
		sub: row.at, plan: row.plan.at, pin: row.pin.at, from: row.from.at, to: row.to.at,
		overrides: row.overrides,
	}
	if row.key.given() {
		s.Key = row.key.text
		if !isKey(s.Key) {
			r.faults.add(row.key.at, "use 1 to 80 of the characters A-Z a-z 0-9 . _ : @ -",
				"subscription key %q is not a key", clip(s.Key))
		}
	}
	if row.pin.given() {
		n := &node{text: row.pin.text, at: row.pin.at}
		s.Pin, _ = (&fields{faults: r.faults}).whole(n, "pin", 1, maxVersion)
	}
	ok := row.from.given() && row.plan.given()
	if row.from.given() {
		ok = r.when(&s.From, row.from, "from", zone) && ok
	}
	if row.to.given() {
		ok = r.when(&s.To, row.to, "to", zone) && ok
	}
	if ok && s.From >= s.To {
		r.faults.add(row.to.at, "to is the first instant that is no longer part of it",
			"to %s is not after from %s", row.to.text, row.from.text)
		ok = false
	}
	// A subscription may end within its trial: its end moves, all else of it stays as it is.
	if row.trial.given() && r.when(&s.Trial, row.trial, "trial_until", zone) && ok &&
		s.Trial <= s.From {
		r.faults.add(row.trial.at, "trial_until is the first instant that is paid for",
			"trial_until %s is not after from %s", row.trial.text, row.from.text)
		ok = false
	}
	if ok {
		a.Subscriptions = append(a.Subscriptions, s)
		a.at.subscriptions = append(a.at.subscriptions, at)
	}
}

// when reads a date in the account's zone, or an instant.
func (r *catalogReader) when(dst *engine.Micros, c written, what string, zone *engine.Zone) bool {
	t, fault := parseWhen(c.text, zone)
	if fault != "" {
		r.faults.add(c.at, whenHint, "%s %q %s", what, clip(c.text), fault)
		return false
	}
	*dst = t
	return true
}

// checkAccounts checks every subscription against the plans and the account's others.
func (r *catalogReader) checkAccounts() {
	for i := range r.c.Accounts {
		if r.faults.full() {
			return
		}
		a := &r.c.Accounts[i]
		sortSubscriptions(a)
		currency, first := "", ""
		for j := range a.Subscriptions {
			s, at := &a.Subscriptions[j], &a.at.subscriptions[j]
			if j > 0 && a.Subscriptions[j-1].Key == s.Key && s.From < a.Subscriptions[j-1].To {
				r.faults.add(at.from, "end the one before with to:, or use another key",
					"subscription %s of account %s overlaps the one in %s",
					s.Key, a.ID, a.at.subscriptions[j-1].sub)
			}
			versions := r.planVersions(s, at)
			if len(versions) == 0 {
				continue
			}
			if c := versions[0].Currency; currency == "" {
				currency, first = c, s.Plan
			} else if c != currency && c != "" {
				r.faults.add(at.plan, "use one account for each currency",
					"plan %s is in %s, but account %s has plan %s in %s",
					s.Plan, c, a.ID, first, currency)
			}
			if at.overrides != nil {
				r.overrides(s, at.overrides, versions)
				at.overrides = nil
			}
		}
		r.checkCoupons(a, first, currency)
	}
}

// planVersions returns the versions that may rate the subscription; none after a fault.
func (r *catalogReader) planVersions(s *engine.Subscription, at *subPlaces) []engine.Plan {
	versions := r.c.plansOf(s.Plan)
	if len(versions) == 0 {
		r.faults.add(at.plan, known(s.Plan, r.c.planKeys()), "there is no plan %q", clip(s.Plan))
		return nil
	}
	if s.Pin == 0 {
		return versions
	}
	i := slices.IndexFunc(versions, func(p engine.Plan) bool { return p.Version == s.Pin })
	if i < 0 {
		var have []string
		for _, v := range versions {
			have = append(have, fmt.Sprint(v.Version))
		}
		r.faults.add(at.pin, "versions here: "+strings.Join(have, ", "),
			"plan %s has no version %d", s.Plan, s.Pin)
		return nil
	}
	return versions[i : i+1]
}

// sortSubscriptions puts the subscriptions and their places in order of Key and From.
func sortSubscriptions(a *Account) {
	less := func(x, y engine.Subscription) int {
		if x.Key != y.Key {
			return strings.Compare(x.Key, y.Key)
		}
		if x.From < y.From {
			return -1
		}
		if x.From > y.From {
			return 1
		}
		return 0
	}
	if slices.IsSortedFunc(a.Subscriptions, less) {
		return
	}
	order := make([]int, len(a.Subscriptions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return less(a.Subscriptions[i], a.Subscriptions[j])
	})
	subs := make([]engine.Subscription, len(order))
	at := make([]subPlaces, len(order))
	for i, from := range order {
		subs[i], at[i] = a.Subscriptions[from], a.at.subscriptions[from]
	}
	a.Subscriptions, a.at.subscriptions = subs, at
}

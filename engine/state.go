package engine

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"billctl/engine/decimal"
)

// Buckets is the number of buckets that accounts are hashed into, for shards and digests.
const Buckets = 1 << 16

// BucketOf returns the account's bucket: the first 16 bits of the SHA-256 of its id.
func BucketOf(account string) uint16 {
	sum := sha256.Sum256([]byte(account))
	return uint16(sum[0])<<8 | uint16(sum[1])
}

// state is what one shard knows. An Engine writes its own; a pinned copy is read by anyone.
// Slices of pointers only grow, so a copied slice header is a picture of its own.
type state struct {
	global
	accounts vec[account]
	subs     vec[sub]
	periods  vec[period]
	series   vec[series]
	bag      vec[bagEntry]
	owners   vec[owner]
	voids    vec[voided]
	byID     vec[int32] // open addressing over accounts: index + 1
	idMask   uint32

	meters []*Meter
	plans  []*Plan
	base   []int32 // by plan: its terms without overrides
	zones  []*Zone
	terms  []*terms
	values []string   // interned group values; 0 is "absent"
	groups [][]uint32 // interned tuples of values; 0 is the empty one
}

// global is the part of the state that belongs to no account.
type global struct {
	seq       Seq // of the last row or control entry
	at        Micros
	watermark Micros
	floor     Micros
	frozen    bool
	ruleset   uint16
	genesis   Genesis
	settings  Settings
	defaults  []defaultRule // by rising Event; replaced, never written to
	sources   []source      // replaced, never written to while shared
	files     []Digest      // control files that were applied
	lastSeal  Digest
	rejected  multiset // of (seq, reason)
	keyDays   []keyDay // by rising day; replaced when shared
	positions []Position
	budgets   []Budget // by rising Key; replaced, never written to
	opened    []opened // every default that was set, by rising since; only grows
	voidDays  []keyDay // of the events that a Void took back or changed, as keyDays
}

// defaultRule is a default. One that has ended opens nothing, but what it opened goes on.
type defaultRule struct {
	Default
	ended bool
}

// opened is a default from the entry on that set it, until another for its type is set. That one
// has ended opens nothing more, but events of the type go on to count.
type opened struct {
	since Seq
	Default
}

// countedFor reports whether events of the type counted for automatic subscriptions to the plan
// before a position.
func (s *state) countedFor(event, plan string, before Seq) bool {
	for i := len(s.opened) - 1; i >= 0; i-- {
		if o := &s.opened[i]; o.Event == event && o.since < before {
			return o.Plan == plan
		}
	}
	return false
}

// source is a declared source with its control total.
type source struct {
	Source
	read     uint64
	counts   [NumReasons]uint64
	greatest Micros // event time of a row that was not after its arrival; Past before the first
}

// Position says where reading of a partition goes on.
type Position struct {
	Source    string
	Partition string
	Resume    int64
}

// keyDay is the multiset of the keys of one event day.
type keyDay struct {
	day Day
	multiset
}

// multiset is a sum of 128-bit hashes: equal for equal multisets in any order, mergeable.
type multiset struct{ n, hi, lo uint64 }

func (m *multiset) add(hi, lo uint64) {
	var carry uint64
	m.lo, carry = bits.Add64(m.lo, lo, 0)
	m.hi, _ = bits.Add64(m.hi, hi, carry)
	m.n++
}

func (m *multiset) merge(o multiset) {
	var carry uint64
	m.lo, carry = bits.Add64(m.lo, o.lo, 0)
	m.hi, _ = bits.Add64(m.hi, o.hi, carry)
	m.n += o.n
}

type account struct {
	id      string
	name    string
	zone    int32
	bucket  uint16
	auto    bool           // made by a default
	subs    []int32        // by (key, from); replaced, never written to
	owners  []int32        // replaced, never written to
	credits []credit       // by grant; replaced, never written to
	coupons []Coupon       // by rising ID; replaced, never written to
	taxes   []AccountTaxes // by rising From; replaced, never written to
	voided  int32          // the newest of its list in voids, + 1; 0: none
	fired   []fired        // alerts; replaced, never written to
	touched bool           // usage came since the budgets were looked at
}

type credit struct {
	Credit
	left decimal.Amount
}

// sub is a subscription: one interval of one key of one account.
type sub struct {
	Subscription
	account   int32
	auto      bool // From moves back to the period of an earlier event while nothing is closed
	since     Seq  // of the entry that made it; 0: before any event that it could count
	interval  Interval
	anchor    Anchor
	fromDay   Day      // the local day of From
	started   bool     // the start invoice has been considered
	corrected bool     // the last document was issued: nothing more counts
	next      Micros   // periods that end at or before it are closed
	newest    int32    // head of the list of retained periods, by falling start; -1: none
	paid      []booked // flat amounts billed in advance for the period that begins at next
	levels    []level  // what forgotten periods left behind; replaced, never written to
	issued    uint32
	history   Digest // chain over the issued invoices
}

// period is the usage of a subscription in one interval, kept from its first row or its close until
// the floor has passed its end.
type period struct {
	sub        int32
	terms      int32
	start, end Micros
	full       Micros // where the whole period begins, from which windows are counted
	closedAt   Micros // Past while open
	rows       uint64 // accepted, over all meters once
	dirty      bool   // usage came after the close that no invoice has adjusted yet
	first      int32  // head of the list of series; -1: none
	older      int32
	booked     []booked // after the close; replaced, never written to
}

// booked is what the invoices so far say of one line.
type booked struct {
	key    string // lineKey
	price  string
	group  []GroupValue
	amount decimal.Amount
}

// series is the fold of one meter and group in one period.
type series struct {
	period, meter, group int32
	next                 int32
	tally
	bag   int32 // head of the list of what it remembers; -1: none
	keep  keeping
	day   Day    // of the row before
	today tally  // of day
	days  []byte // the other days, packed; replaced, never written to
}

// owner is one interval of a subject's ownership.
type owner struct {
	subject  string
	account  string
	index    int32 // of the account; -1: another shard's
	from, to Micros
	used     bool // an event of the subject was accepted
}

// terms are what rates a period: a plan version with a subscription's overrides.
type terms struct {
	plan   *Plan
	prices []Price
	meters []int32 // those that prices name, rising
	each   []bool  // by meters: a Percentage price rates every row
	levels bool    // one of the meters is TimeWeighted
}

// account lookup: byID is pinned with the rest, so that a View finds accounts without a lock.

func (s *state) findAccount(id string) int32 {
	if s.byID.len() == 0 {
		return -1
	}
	for i := uint32(hash64(0, id)) & s.idMask; ; i = (i + 1) & s.idMask {
		a := *s.byID.at(int32(i)) - 1
		if a < 0 {
			return -1
		}
		if s.accounts.at(a).id == id {
			return a
		}
	}
}

func (s *state) addAccount(a account) int32 {
	if (s.accounts.len()+1)*2 > s.byID.len() {
		s.growIndex()
	}
	index := s.accounts.add(a)
	s.indexAccount(index)
	return index
}

func (s *state) indexAccount(index int32) {
	i := uint32(hash64(0, s.accounts.at(index).id)) & s.idMask
	for *s.byID.at(int32(i)) != 0 {
		i = (i + 1) & s.idMask
	}
	*s.byID.mut(int32(i)) = index + 1
}

func (s *state) growIndex() {
	size := max(64, s.byID.len()*2)
	s.byID, s.idMask = vec[int32]{}, uint32(size-1)
	for range size {
		s.byID.add(0)
	}
	for i := range s.accounts.len() {
		s.indexAccount(i)
	}
}

func (s *state) meterIndex(key string) int32 {
	return int32(slices.IndexFunc(s.meters, func(m *Meter) bool { return m.Key == key }))
}

func (s *state) planIndex(key string, version int) int32 {
	return int32(slices.IndexFunc(s.plans, func(p *Plan) bool {
		return p.Key == key && p.Version == version
	}))
}

func (s *state) zoneIndex(name string) int32 {
	return int32(slices.IndexFunc(s.zones, func(z *Zone) bool { return z.Name == name }))
}

func (s *state) hasPlan(key string) bool {
	return slices.ContainsFunc(s.plans, func(p *Plan) bool { return p.Key == key })
}

// defaultRule returns the default for a type of event, nil if there never was one.
func (s *state) defaultRule(event string) *defaultRule {
	for i := range s.defaults {
		if s.defaults[i].Event == event {
			return &s.defaults[i]
		}
	}
	return nil
}

// defaultPlan returns the plan that events of the type open, or "".
func (s *state) defaultPlan(event string) string {
	if d := s.defaultRule(event); d != nil && !d.ended {
		return d.Plan
	}
	return ""
}

// countsFor reports whether events of the type count for automatic subscriptions to the plan. It
// must not depend on which of a subject's events came first, so it is not enough that the plan has
// a meter for them.
func (s *state) countsFor(event, plan string) bool {
	d := s.defaultRule(event)
	return d != nil && d.Plan == plan
}

// planFor returns the index of the version that rates the periods which start on a local day: the
// pinned one, or the last that is effective then, or the first of all; -1 if the plan has none.
func (s *state) planFor(b *Subscription, day Day) int32 {
	best := int32(-1)
	for i, p := range s.plans {
		if p.Key != b.Plan {
			continue
		}
		if b.Pin != 0 {
			if p.Version == b.Pin {
				return int32(i)
			}
			continue
		}
		if best < 0 || betterVersion(p, s.plans[best], day) {
			best = int32(i)
		}
	}
	return best
}

// betterVersion reports whether p rates a period that starts on the day rather than q.
func betterVersion(p, q *Plan, day Day) bool {
	switch now, then := p.Effective <= day, q.Effective <= day; {
	case now != then:
		return now
	case p.Effective == q.Effective:
		return p.Version > q.Version
	case now:
		return p.Effective > q.Effective
	}
	return p.Effective < q.Effective
}

// termsFor returns the terms that rate the subscription's period from start, without keeping them.
func (s *state) termsFor(b *sub, start Micros) *terms {
	if p := s.retained(b, start); p >= 0 {
		return s.terms[s.periods.at(p).terms]
	}
	plan := s.planFor(&b.Subscription, s.localDay(b, start))
	if len(b.Overrides) == 0 {
		return s.terms[s.base[plan]]
	}
	return s.makeTerms(s.plans[plan], b.Overrides)
}

// localDay returns the day of the account's zone that holds t.
func (s *state) localDay(b *sub, t Micros) Day {
	return Day(s.zones[s.accounts.at(b.account).zone].dayNumber(t))
}

// around returns the period of the subscription that holds t, which lies in its interval, and the
// whole calendar or anchored period around it. A trial's end cuts periods as From and To do.
func (s *state) around(b *sub, t Micros) (start, end, fullStart, fullEnd Micros) {
	z := s.zones[s.accounts.at(b.account).zone]
	fullStart, fullEnd = z.Period(b.interval, b.anchor, b.fromDay, t)
	start, end = max(fullStart, b.From), min(fullEnd, b.To)
	if t < b.Trial {
		end = min(end, b.Trial)
	} else if b.Trial != 0 {
		start = max(start, b.Trial)
	}
	return start, end, fullStart, fullEnd
}

// retained returns the kept period of the subscription that begins at start, or -1.
func (s *state) retained(b *sub, start Micros) int32 {
	for i := b.newest; i >= 0; i = s.periods.at(i).older {
		if s.periods.at(i).start == start {
			return i
		}
	}
	return -1
}

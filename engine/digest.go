package engine

import (
	"cmp"
	"crypto/sha256"
	"slices"
)

// The two digests (docs/semantics.md, "Digests"). The billing digest covers terms, usage, billed
// amounts and documents, and is equal for every way the same usage reached us in time. The journal
// digest adds everything else that a replay of the same journal must reach.

// Digester keeps the digest of every bucket, so that only changed buckets are hashed anew.
type Digester struct {
	leaves []byte // of all buckets, so that they are hashed in one go; nil before the first digests
	terms  map[*terms]Digest
	buf    []byte
}

const leafSize = len(Digest{})

// NewDigester returns a digester of the empty state.
func NewDigester() *Digester { return &Digester{terms: map[*terms]Digest{}} }

// Digests returns the digests of the view. dirty holds every bucket that may have changed since the
// call before; AllBuckets for a state that was restored.
func (d *Digester) Digests(v *View, dirty Dirty) (billing, journal Digest) {
	d.update(v, dirty)
	h := sha256.New()
	h.Write([]byte("billctl.billing.v1\n"))
	h.Write(d.leaves)
	h.Sum(billing[:0])
	h.Reset()
	h.Write([]byte("billctl.journal.v1\n"))
	h.Write(billing[:])
	h.Write(v.appendGlobals(nil))
	h.Sum(journal[:0])
	return billing, journal
}

// place finds an account in a view.
type place struct {
	id     string
	bucket uint16
	shard  *state
	index  int32
}

func (d *Digester) update(v *View, dirty Dirty) {
	if d.leaves == nil {
		d.leaves = make([]byte, Buckets*leafSize)
	}
	var list []place
	for _, s := range v.shards {
		for i := range s.accounts.len() {
			if a := s.accounts.at(i); dirty.has(a.bucket) {
				list = append(list, place{a.id, a.bucket, s, i})
			}
		}
	}
	slices.SortFunc(list, func(x, y place) int {
		return cmp.Or(cmp.Compare(x.bucket, y.bucket), cmp.Compare(x.id, y.id))
	})
	for len(list) > 0 {
		bucket, n := list[0].bucket, 0
		h := sha256.New()
		for ; n < len(list) && list[n].bucket == bucket; n++ {
			d.buf = d.appendBilling(d.buf[:0], list[n].shard, list[n].index)
			h.Write(d.buf)
		}
		h.Sum(d.leaves[int(bucket)*leafSize:][:0])
		list = list[n:]
	}
}

// appendBilling appends what the billing digest covers of an account. Of closed periods that is the
// chain over their documents, and their usage only while late rows wait for an adjustment: so it
// does not matter when the floor lets a period go.
func (d *Digester) appendBilling(b []byte, s *state, index int32) []byte {
	a := s.accounts.at(index)
	b = appendString(appendString(b, a.id), s.zones[a.zone].Name)
	b = appendList(b, a.credits, appendCreditLeft)
	b = appendUint(b, uint64(len(a.subs)))
	for _, i := range a.subs {
		t := s.subs.at(i)
		b = appendString(appendString(b, t.Key), t.Plan)
		b = appendInt(appendInt(b, int64(t.From)), int64(t.To))
		b = appendInt(b, int64(t.next))
		b = s.appendHistory(appendUint(b, uint64(t.issued)), t)
		var open []int32
		for p := t.newest; p >= 0; p = s.periods.at(p).older {
			// An open period whose rows were all taken back says nothing.
			if r := s.periods.at(p); r.closedAt == Past && r.rows > 0 || r.dirty {
				open = append(open, p)
			}
		}
		b = appendList(b, open, func(b []byte, p *int32) []byte { return d.appendOpen(b, s, *p) })
	}
	trials := slices.DeleteFunc(slices.Clone(a.subs), func(i int32) bool {
		return s.subs.at(i).Trial == 0
	})
	if len(a.coupons)+len(a.taxes)+len(trials) > 0 {
		b = append(b, 0) // no account id is that short
		b = appendList(appendList(b, a.coupons, appendCoupon), a.taxes, appendTaxes)
		b = appendList(b, trials, func(b []byte, i *int32) []byte {
			t := s.subs.at(*i)
			return appendInt(appendInt(appendString(b, t.Key), int64(t.From)), int64(t.Trial))
		})
	}
	return b
}

func (d *Digester) appendOpen(b []byte, s *state, index int32) []byte {
	p := s.periods.at(index)
	b = appendInt(appendInt(b, int64(p.start)), int64(p.end))
	terms := d.digestTerms(s.terms[p.terms])
	b = append(b, terms[:]...)
	b = appendBool(b, p.closedAt != Past)
	b = appendUint(b, p.rows)
	t := s.terms[p.terms]
	return appendList(b, s.usage(s.subs.at(p.sub), t, p.start), appendUsage)
}

// appendUsage appends what the billing digest covers of a fold. What ruleset 1 could say has no
// samples, and the bytes that it had.
func appendUsage(b []byte, u *Usage) []byte {
	b = appendTally(b, u)
	if u.Meter.Aggregate <= Most && !u.Meter.Correctable && !u.Each {
		return b
	}
	b = appendList(b, u.Fold.Samples, appendSample)
	return appendOptional(b, u.Fold.Carried, appendSample)
}

func appendTally(b []byte, u *Usage) []byte {
	b = appendList(appendString(b, u.Meter.Key), u.Group, appendGroupValue)
	return appendSum(appendUint(b, u.Fold.Rows), u.Fold.Value)
}

func appendSample(b []byte, s *Sample) []byte {
	b = appendString(appendInt(b, int64(s.Time)), s.Text)
	return appendUint(appendSum(b, s.Value), s.Rows)
}

// appendHistory appends the chain over the documents of a subscription, and the levels that the
// periods which it closed leave behind for those to come.
func (s *state) appendHistory(b []byte, t *sub) []byte {
	levels := s.lastLevels(t)
	if len(levels) == 0 {
		return append(b, t.history[:]...)
	}
	both := sha256.Sum256(s.appendLevels(t.history[:], levels))
	return append(b, both[:]...)
}

func appendCreditLeft(b []byte, c *credit) []byte {
	if c.kind() == kindGrant {
		b = append(b, 0xff, 0xff, 0x7f) // no id is that long
	}
	return appendAmount(appendCredit(b, &c.Credit), c.left)
}

func (d *Digester) digestTerms(t *terms) Digest {
	if g, ok := d.terms[t]; ok {
		return g
	}
	g := t.digest()
	d.terms[t] = g
	return g
}

// digest covers the plan version and the prices with a subscription's overrides.
func (t *terms) digest() Digest {
	return sha256.Sum256(appendList(appendPlan(nil, t.plan), t.prices, appendPrice))
}

// Dirty is a set of buckets.
type Dirty []uint64

// AllBuckets is the set of every bucket.
func AllBuckets() Dirty {
	d := make(Dirty, Buckets/64)
	for i := range d {
		d[i] = ^uint64(0)
	}
	return d
}

func (d Dirty) has(bucket uint16) bool { return d[bucket/64]&(1<<(bucket%64)) != 0 }

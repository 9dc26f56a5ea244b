package engine

import "slices"

// Key identifies an event that counted: the keyed 128-bit hash of (account, source, id), with what
// is needed to tell a duplicate from a conflict and to forget it. 32 bytes.
type Key struct {
	Hi, Lo uint64
	Digest uint64 // the row's RowDigest
	Day    Day    // of the event's time
	Bucket uint16 // of the account; tells which shard the key belongs to
}

// Verdict is what Keys says of one key.
type Verdict uint8

// The verdicts.
const (
	Fresh     Verdict = iota // not remembered before; it is now
	Duplicate                // remembered with the same digest
	Conflict                 // remembered with another digest
)

// Keys remembers the keys of accepted rows, exactly: no false answer in either direction.
// A shard of the engine has one of its own. Keys is used by one goroutine at a time.
type Keys interface {
	// Admit decides keys[i] into verdicts[i] in order, so that of two equal keys in one call the
	// first may be Fresh and the second never is. len(verdicts) == len(keys). Only Hi and Lo
	// identify; Fresh keys are remembered with all their fields.
	Admit(keys []Key, verdicts []Verdict)
	// Find returns a key as it was remembered and whether it is, and remembers nothing.
	Find(hi, lo uint64) (k Key, found bool)
	// Forget drops every key whose day is before d. Days only rise from call to call.
	Forget(d Day)
}

// KeySum sums keys as the state does, day by day, so that keys that come from elsewhere can be held
// against a state. The zero value is ready.
type KeySum struct{ days []keyDay }

// Add adds keys, in any order.
func (s *KeySum) Add(keys []Key) {
	for i := range keys {
		s.days = countKey(s.days, &keys[i])
	}
}

// Of reports whether the keys are those that the view's state has accepted and not forgotten: the
// same ids with the same digests on the same days.
func (s *KeySum) Of(v *View) bool { return slices.Equal(s.days, v.keyDays()) }

// countKey adds a key to the multiset of its day.
func countKey(days []keyDay, k *Key) []keyDay {
	hi, lo := mix(k.Hi, k.Digest), mix(k.Lo, k.Digest+1)
	at, found := slices.BinarySearchFunc(days, k.Day, func(d keyDay, day Day) int {
		return int(d.day) - int(day)
	})
	if !found {
		days = slices.Insert(days, at, keyDay{day: k.Day})
	}
	days[at].add(hi, lo)
	return days
}

package live

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"billctl/engine"
	"billctl/internal/store"
)

// Shards runs the shards of one engine side by side and merges what they say: the effects of an
// entry come in the same order for any number of shards. It is used by one goroutine.
type Shards struct {
	engines []*engine.Engine
	keys    []*store.KeyIndex
	steps   []step
	merged  engine.Effects
}

// step is what one shard has said of the current entry and what it has still to say.
type step struct {
	fx   engine.Effects
	next int // of fx.Invoices
	more bool
}

// NewShards returns n shards before their first entry.
func NewShards(n int) *Shards {
	s := &Shards{steps: make([]step, n)}
	for i := range n {
		keys := store.NewKeyIndex()
		s.keys = append(s.keys, keys)
		s.engines = append(s.engines, engine.New(i, n, keys))
	}
	return s
}

// Apply applies an entry to every shard and calls emit with its effects, in order and in one or
// more parts. The effects are good until emit returns.
func (s *Shards) Apply(e *engine.Entry, emit func(*engine.Effects) error) error {
	_, wide := e.Body.(*engine.Batch)
	s.each(wide, func(i int) {
		t := &s.steps[i]
		t.fx.Reset()
		t.next = 0
		t.more = s.engines[i].Apply(e, &t.fx)
	})
	s.merged.Reset()
	for i := range s.steps {
		s.merged.Rejections = append(s.merged.Rejections, s.steps[i].fx.Rejections...)
		s.merged.Refusals = append(s.merged.Refusals, s.steps[i].fx.Refusals...)
		s.merged.Uses = append(s.merged.Uses, s.steps[i].fx.Uses...)
		s.merged.Alerts = append(s.merged.Alerts, s.steps[i].fx.Alerts...)
	}
	if len(s.steps) > 1 {
		slices.SortFunc(s.merged.Rejections, func(a, b engine.Rejection) int {
			return cmp.Compare(a.Seq, b.Seq)
		})
		slices.SortStableFunc(s.merged.Uses, func(a, b engine.Use) int {
			return cmp.Compare(a.Seq, b.Seq)
		})
		slices.SortFunc(s.merged.Refusals, func(a, b engine.Refusal) int {
			return cmp.Or(cmp.Compare(a.Seq, b.Seq), strings.Compare(a.What, b.What))
		})
	}
	// One shard gives the alerts of an account in another order than they are merged in.
	slices.SortFunc(s.merged.Alerts, engine.CompareAlerts)
	for {
		more := s.merge()
		if len(s.merged.Rejections)+len(s.merged.Refusals)+len(s.merged.Invoices)+
			len(s.merged.Uses)+len(s.merged.Alerts) > 0 {
			if err := emit(&s.merged); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		s.merged.Reset()
	}
}

// merge moves invoices into merged, least first, while every shard that has more to say has said
// its next one, and asks for more where it has not. It reports whether to go on.
func (s *Shards) merge() (more bool) {
	for {
		least := -1
		for i := range s.steps {
			t := &s.steps[i]
			if t.next == len(t.fx.Invoices) {
				if t.more {
					s.resume()
					return true
				}
				continue
			}
			if least < 0 || engine.CompareInvoices(t.fx.Invoices[t.next],
				s.steps[least].fx.Invoices[s.steps[least].next]) < 0 {
				least = i
			}
		}
		if least < 0 {
			return false
		}
		t := &s.steps[least]
		s.merged.Invoices = append(s.merged.Invoices, t.fx.Invoices[t.next])
		t.next++
	}
}

// resume lets every shard go on that has said all and has more to say.
func (s *Shards) resume() {
	s.each(true, func(i int) {
		if t := &s.steps[i]; t.more && t.next == len(t.fx.Invoices) {
			t.fx.Invoices, t.next = t.fx.Invoices[:0], 0
			t.more = s.engines[i].Resume(&t.fx)
		}
	})
}

// each calls f for every shard, side by side where that is worth it.
func (s *Shards) each(wide bool, f func(int)) {
	if !wide || len(s.engines) == 1 {
		for i := range s.engines {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	for i := range s.engines {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// Seq returns the last sequence number that was applied.
func (s *Shards) Seq() engine.Seq { return s.engines[0].Seq() }

// Watermark returns the watermark.
func (s *Shards) Watermark() engine.Micros { return s.engines[0].Watermark() }

// NextDue returns the least watermark at which something closes.
func (s *Shards) NextDue() engine.Micros {
	due := engine.Future
	for _, e := range s.engines {
		due = min(due, e.NextDue())
	}
	return due
}

// Pin returns an immutable picture of the state.
func (s *Shards) Pin() *engine.View { return engine.Pin(s.engines) }

// Keys returns how many events are remembered, and the memory that takes, in bytes.
func (s *Shards) Keys() (n, bytes int) {
	for _, k := range s.keys {
		n += k.Len()
		bytes += k.Bytes()
	}
	return n, bytes
}

// drain hands over the keys since the drain before.
func (s *Shards) drain() [][]engine.Key {
	var all [][]engine.Key
	for _, k := range s.keys {
		all = append(all, k.Drain()...)
	}
	return all
}

// writeState writes what a checkpoint keeps of a view: records of a length and canonical bytes, the
// globals first, then the accounts, then a record of length 0.
func writeState(w io.Writer, v *engine.View) error {
	var head [binary.MaxVarintLen64]byte
	put := func(record []byte) error {
		n := binary.PutUvarint(head[:], uint64(len(record)))
		if _, err := w.Write(head[:n]); err != nil {
			return err
		}
		_, err := w.Write(record)
		return err
	}
	if err := put(v.AppendGlobals(nil)); err != nil {
		return err
	}
	if err := v.EachAccount(put); err != nil {
		return err
	}
	return put(nil)
}

// byteReader is what a state is read from.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// readState restores the shards, which are new, from what writeState wrote.
func (s *Shards) readState(r byteReader) error {
	first := true
	err := eachRecord(r, func(record []byte) error {
		err := s.restoreRecord(record, first)
		first = false
		return err
	})
	if err != nil {
		return err
	}
	if first {
		return errors.New("read state: it is empty")
	}
	s.restored()
	return nil
}

// loadKeys takes keys of a checkpoint, each into its shard.
func (s *Shards) loadKeys(keys []engine.Key) error {
	if len(s.keys) == 1 {
		return s.keys[0].Load(keys)
	}
	parts := make([][]engine.Key, len(s.keys))
	for _, k := range keys {
		i := int(k.Bucket) % len(s.keys)
		parts[i] = append(parts[i], k)
	}
	for i, part := range parts {
		if err := s.keys[i].Load(part); err != nil {
			return err
		}
	}
	return nil
}

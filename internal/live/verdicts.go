package live

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
	"billctl/internal/store"
)

// verdicts tells what became of entries and rows, for positions that only fall from call to call.
// Rejections behind the checkpoint of a desk of ReadDesk come from its restore: the outbox may lack
// the last.
type verdicts struct {
	tail []engine.Rejection // by Seq
	from engine.Seq         // the tail holds the rejections behind it
	back *store.OutboxBack
	seq  engine.Seq // of the entry that list is of
	list []engine.Rejection
	done bool // the outbox has no more

	loaded []engine.Rejection // of positions that are asked for in any order
	all    bool               // loaded holds what is asked for
}

// newVerdicts returns the verdicts from the last one back.
func (d *Desk) newVerdicts() *verdicts {
	v := &verdicts{
		back: d.st.Outbox.RejectionsBack(), seq: ^engine.Seq(0), from: ^engine.Seq(0),
	}
	if d.run == nil && d.asOf == nil && d.past == nil {
		v.tail, v.from = d.st.tail, d.st.Checkpoint
	}
	return v
}

// of returns the rejections of the entry that begins at a position, by rising Seq, or more than
// those.
func (v *verdicts) of(first engine.Seq) ([]engine.Rejection, error) {
	switch {
	case v.all:
		return v.loaded, nil
	case first > v.from:
		return v.tail, nil
	}
	v.back.ToSeq(first)
	if err := v.to(first); err != nil || v.seq != first {
		return nil, err
	}
	return v.list, nil
}

// last returns the position of the last rejection up to a position whose reason is wanted; false:
// there is none.
func (v *verdicts) last(
	to engine.Seq, wants func(engine.Reason) bool,
) (engine.Seq, bool, error) {
	if to > v.from {
		if seq, some := lastIn(v.tail, to, wants); some {
			return seq, true, nil
		}
		to = v.from
	}
	for {
		if err := v.to(to); err != nil || v.done {
			return 0, false, err
		}
		if seq, some := lastIn(v.list, to, wants); some {
			return seq, true, nil
		}
		to = min(to, v.seq-1)
	}
}

// to goes back to the last entry with rejections that begins up to a position.
func (v *verdicts) to(seq engine.Seq) error {
	for v.seq > seq && !v.done {
		rec, _, err := v.back.Next()
		switch {
		case errors.Is(err, io.EOF):
			v.done, v.seq, v.list = true, 0, nil
			return nil
		case err != nil:
			return err
		}
		if v.list, err = store.DecodeRejections(rec.Body); err != nil {
			return fmt.Errorf("read rejections of entry %d: %w", rec.Seq, err)
		}
		v.seq = rec.Seq
	}
	return nil
}

// load makes the verdicts of some positions known in any order, until unload.
func (v *verdicts) load(first, last engine.Seq) error {
	any := func(engine.Reason) bool { return true }
	v.all = false
	v.loaded = v.loaded[:0]
	for to := last; to >= first; {
		seq, some, err := v.last(to, any)
		if err != nil {
			return err
		}
		if !some || seq < first {
			break
		}
		list := v.list
		if seq > v.from {
			list = v.tail
		}
		v.loaded = append(v.loaded, engine.Rejection{Seq: seq, Reason: reasonIn(list, seq)})
		to = seq - 1
	}
	slices.Reverse(v.loaded)
	v.all = true
	return nil
}

func (v *verdicts) unload() { v.all = false }

// lastIn returns the last rejection of a list up to a position whose reason is wanted.
func lastIn(
	list []engine.Rejection, to engine.Seq, wants func(engine.Reason) bool,
) (engine.Seq, bool) {
	i, found := slices.BinarySearchFunc(list, to, bySeq)
	if !found {
		i--
	}
	for ; i >= 0; i-- {
		if wants(list[i].Reason) {
			return list[i].Seq, true
		}
	}
	return 0, false
}

// reasonIn returns what a list of rejections says of a position.
func reasonIn(list []engine.Rejection, seq engine.Seq) engine.Reason {
	if i, found := slices.BinarySearchFunc(list, seq, bySeq); found {
		return list[i].Reason
	}
	return engine.Accepted
}

func bySeq(r engine.Rejection, seq engine.Seq) int { return cmp.Compare(r.Seq, seq) }

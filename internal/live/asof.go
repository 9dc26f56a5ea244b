package live

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// NoOpeningError says that the archive has no opening of a month.
type NoOpeningError struct {
	Month  string
	Months []string // that there are, rising
}

func (e *NoOpeningError) Error() string {
	if len(e.Months) == 0 {
		return fmt.Sprintf("there is no opening of %s: the archive has none yet", e.Month)
	}
	return fmt.Sprintf("there is no opening of %s: the archive has those of %s", e.Month,
		strings.Join(e.Months, ", "))
}

// DeskAsOf returns the desk of a directory as it was at the opening of a month ("2026-04"): its
// view is the opening's state, and its documents are those that were issued up to there. Without
// such an opening it is a *NoOpeningError, and an *UnconfirmedError where no seal speaks of it.
func DeskAsOf(dir *store.Dir, month string) (*Desk, error) {
	h, err := OpenHistory(dir)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(h.openings, func(o Opening) bool { return o.Month == month })
	if i < 0 {
		e := &NoOpeningError{Month: month}
		for _, o := range h.openings {
			e.Months = append(e.Months, o.Month)
		}
		e.Months = slices.Compact(e.Months)
		return nil, e
	}
	o := &h.openings[i]
	if err := confirmOpening(h, o); err != nil {
		return nil, err
	}
	st := &State{Dir: dir, Shards: NewShards(1), prover: newProver()}
	if err := st.restoreOpening(o); err != nil {
		return nil, err
	}
	if st.Outbox, err = dir.OpenOutbox(); err != nil {
		return nil, err
	}
	return &Desk{st: st, view: st.Shards.Pin(), asOf: &o.OpeningInfo}, nil
}

// AsOf returns the opening that the answers of a desk of DeskAsOf are true of; nil for other desks.
func (d *Desk) AsOf() *formats.OpeningInfo { return d.asOf }

// through returns the last position that the answers may speak of.
func (d *Desk) through() engine.Seq {
	if d.asOf == nil {
		return ^engine.Seq(0)
	}
	return d.asOf.Seq
}

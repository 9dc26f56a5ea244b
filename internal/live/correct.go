package live

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"billctl/engine"
)

// Wanted names an event that somebody wants to correct, as events carry it.
type Wanted struct {
	ID     string
	Source string // "": any
}

// Version is one version of an event that counted.
type Version struct {
	Of     engine.Seq    // of the row, or of the correction that brought it
	At     engine.Micros // when it was accepted
	Row    *engine.Batch // the row as its batch had it
	Voided engine.Seq    // the correction that took it back; 0: none
}

// Found is what the history has of a wanted event.
type Found struct {
	// Versions are the accepted events that the name fits, each in the version that counts or was
	// the last to, by Of. Accounts may have events of one id and source, so there may be several.
	Versions []Version
	// Rejected counts the rows that the name fits and that never counted; Why is the reason of the
	// last of them.
	Rejected int
	Why      engine.Reason
}

// FindEvents looks for events among those that can still be corrected: it reads the history once,
// from where the oldest of them may lie, however many are wanted. It is for a desk of ReadDesk.
// since is the earliest arrival that was looked at for sure; engine.Past: all of the history.
func (d *Desk) FindEvents(
	ctx context.Context, wants []Wanted, progress func(engine.Seq),
) (found []Found, since engine.Micros, err error) {
	h, err := OpenHistory(d.st.Dir)
	if err != nil {
		return nil, 0, err
	}
	from, since, err := h.arrivedSince(correctableSince(d.view))
	if err != nil {
		return nil, 0, err
	}
	s := &search{wants: wants, found: make([]Found, len(wants)), byID: map[string][]int{}}
	for i := range wants {
		s.byID[wants[i].ID] = append(s.byID[wants[i].ID], i)
	}
	s.reasons = d.reasons()
	defer s.reasons.r.Close() // read only
	r := h.Read(from)
	defer r.Close() // read only
	end := d.view.Standing().Seq
	for n := 0; ctx.Err() == nil; n++ {
		e, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && e.Seq > end {
			s.order()
			return s.found, since, nil
		}
		if err == nil {
			err = s.entry(e)
		}
		if err != nil {
			return nil, 0, err
		}
		if progress != nil && n%64 == 0 {
			progress(e.Seq)
		}
	}
	return nil, 0, ctx.Err()
}

// correctableSince returns the arrival before which no row can be corrected any more: its time lies
// before the floor. A day is added for times when an event could come further ahead of its time.
func correctableSince(v *engine.View) engine.Micros {
	floor := v.Standing().Floor
	if floor <= engine.MinTime {
		return engine.Past
	}
	return floor - v.Settings().MaxFuture - engine.OneDay
}

// arrivedSince returns a position from which on all entries lie that were accepted at an instant or
// later, and the instant; engine.Past where it is the first.
func (h *History) arrivedSince(at engine.Micros) (engine.Seq, engine.Micros, error) {
	segments, err := h.dir.Segments()
	if err != nil {
		return 0, 0, err
	}
	if at == engine.Past {
		return 1, at, nil
	}
	for i := len(segments) - 1; i >= 0; i-- {
		r := h.dir.Read(segments[i].First)
		frame, err := r.Next()
		var e *engine.Entry
		if err == nil {
			e, err = decodeFrame(&frame)
		}
		err = errors.Join(err, r.Close())
		if errors.Is(err, io.EOF) {
			continue // nothing is in the last one yet
		}
		if err != nil {
			return 0, 0, err
		}
		if e.At < at {
			return e.Seq, at, nil
		}
	}
	for i := len(h.parts) - 1; i >= 0; i-- {
		if p := &h.parts[i]; p.Version == 0 || p.FirstAt < at {
			return p.First, at, nil
		}
	}
	return 1, engine.Past, nil
}

// search is one reading of a history for events.
type search struct {
	wants   []Wanted
	found   []Found
	byID    map[string][]int
	reasons *reasonReader
}

func (s *search) entry(e *engine.Entry) error {
	switch b := e.Body.(type) {
	case *engine.Batch:
		for row := range b.Len {
			if list := s.byID[string(b.ID.At(row))]; len(list) > 0 {
				if err := s.row(list, e, b, row); err != nil {
					return err
				}
			}
		}
	case *engine.Void:
		if list := s.byID[string(b.Row.ID.At(0))]; len(list) > 0 {
			return s.void(list, e, b)
		}
	}
	return nil
}

// row notes a row of which the id is wanted.
func (s *search) row(list []int, e *engine.Entry, b *engine.Batch, row int) error {
	seq := e.Seq + engine.Seq(row)
	var version *engine.Batch
	for _, i := range list {
		if !s.wants[i].fits(b, row) {
			continue
		}
		reason, err := s.reasons.of(seq)
		if err != nil {
			return err
		}
		f := &s.found[i]
		if reason != engine.Accepted {
			f.Rejected++
			f.Why = reason
			continue
		}
		if version == nil {
			version = engine.OneRow(b, row)
		}
		f.Versions = append(f.Versions, Version{Of: seq, At: e.At, Row: version})
	}
	return nil
}

// void notes a correction of an event of which the id is wanted.
func (s *search) void(list []int, e *engine.Entry, v *engine.Void) error {
	reason, err := s.reasons.of(e.Seq)
	if err != nil || reason != engine.Accepted {
		return err
	}
	for _, i := range list {
		f := &s.found[i]
		at := slices.IndexFunc(f.Versions, func(o Version) bool { return sameRow(o.Row, v.Row) })
		switch {
		case at >= 0 && v.Amend == nil:
			f.Versions[at].Voided = e.Seq
		case at >= 0:
			f.Versions[at] = Version{Of: e.Seq, At: e.At, Row: v.Amend}
		case v.Amend != nil && s.wants[i].fits(v.Amend, 0):
			// The original lies further back than what is read.
			f.Versions = append(f.Versions, Version{Of: e.Seq, At: e.At, Row: v.Amend})
		}
	}
	return nil
}

// order sorts what was found.
func (s *search) order() {
	for i := range s.found {
		slices.SortFunc(s.found[i].Versions, func(a, b Version) int { return cmp.Compare(a.Of, b.Of) })
	}
}

// fits reports whether a row with the id has the source.
func (w *Wanted) fits(b *engine.Batch, row int) bool {
	source, _ := b.Source.At(row)
	return w.Source == "" || w.Source == source
}

// sameRow reports whether two batches of one row with one id are the same version of one event.
func sameRow(a, b *engine.Batch) bool {
	aSource, _ := a.Source.At(0)
	bSource, _ := b.Source.At(0)
	return a.Digest[0] == b.Digest[0] && aSource == bSource
}

package live

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// hintOpening is the way out where an opening is not what it says.
const hintOpening = "restore the opening from a copy, or replay without it from the first entry"

// restoreOpening brings new shards to the state of an opening, and has the prover wait for the seal
// that speaks of it.
func (st *State) restoreOpening(o *Opening) error {
	r, err := openOpening(o.Name, o.open)
	if err != nil {
		return err
	}
	defer r.Close() // read only
	bad := func(reason string) error {
		return &formats.FileError{
			Name: o.Name, Group: -1, Row: -1, Reason: reason,
			Hint: hintOpening,
		}
	}
	first := true
	err = r.Records(func(record []byte) error {
		if err := st.Shards.restoreRecord(record, first); err != nil {
			return bad(err.Error())
		}
		first = false
		return nil
	})
	if err != nil {
		return err
	}
	if first {
		return bad("it holds no state")
	}
	st.Shards.restored()
	var sum engine.KeySum
	err = r.Keys(func(keys []engine.Key) error {
		sum.Add(keys)
		return st.Shards.loadKeys(keys)
	})
	if err != nil {
		return err
	}
	if st.Shards.Seq() != o.Seq {
		return bad(fmt.Sprintf("its state is at position %d, not %d", st.Shards.Seq(), o.Seq))
	}
	st.prover.pin(st.Shards)
	if !sum.Of(st.prover.view) {
		return bad("its keys are not those that its state has counted")
	}
	st.chain = st.prover.view.Standing().LastSeal
	billing, journal := st.prover.digests()
	if billing != o.Billing || journal != o.Sealed {
		return bad("its state does not have the digests that it says")
	}
	if reason := o.unlike(st.prover.view); reason != "" {
		return bad(reason)
	}
	return nil
}

// unlike says what an opening says of itself that its state does not bear out; "" if nothing.
// Neither is in the digests of a seal: who forged it could give a state another month.
func (o *Opening) unlike(v *engine.View) string {
	at := v.Standing()
	switch month := monthText(newest(v)); {
	case o.Month != month:
		return fmt.Sprintf("it says that it is of %s, its usage has come to %s", o.Month, month)
	case o.At != at.At:
		return fmt.Sprintf("it says that it is of %s, its state is of %s", o.At, at.At)
	case o.Before != at.LastSeal:
		return "it names another seal before it than its state does"
	}
	return ""
}

// UnconfirmedError says that no seal of the history speaks of an opening, or none yet.
type UnconfirmedError struct{ Opening *Opening }

func (e *UnconfirmedError) Error() string { return e.archive().Error() }

// Unwrap returns the *ArchiveError that it is.
func (e *UnconfirmedError) Unwrap() error { return e.archive() }

func (e *UnconfirmedError) archive() *ArchiveError {
	return &ArchiveError{
		Name:   e.Opening.Name,
		Reason: fmt.Sprintf("no seal behind it yet confirms it (position %d)", e.Opening.Seq),
		Hint: "of a state, the next run writes one; of archive files, name those behind the opening " +
			"as well",
	}
}

// confirmOpening compares an opening with the first seal behind it, which must be that of its mark.
// Without one it is an *UnconfirmedError.
func confirmOpening(h *History, o *Opening) error {
	r := h.Read(o.Seq + 1)
	defer r.Close() // read only
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return &UnconfirmedError{o}
		}
		if err != nil {
			return err
		}
		s, ok := e.Body.(*engine.Seal)
		if !ok {
			continue
		}
		what := ""
		switch {
		case s.Of != o.Seq:
			what = fmt.Sprintf("speaks of the mark at %d, not of position %d", s.Of, o.Seq)
		case s.Billing != o.Billing:
			what = "has another billing digest"
		case s.Journal != o.Sealed:
			what = "has another journal digest"
		case s.Before != o.Before:
			what = "follows another seal"
		default:
			return nil
		}
		return &formats.FileError{
			Name: o.Name, Group: -1, Row: -1,
			Reason: fmt.Sprintf("the seal behind it, at %d, %s", e.Seq, what), Hint: hintOpening,
		}
	}
}

// restoreRecord takes one record of a state; the first holds the globals.
func (s *Shards) restoreRecord(record []byte, first bool) (err error) {
	for _, e := range s.engines {
		if first {
			err = e.RestoreGlobals(record)
		} else {
			err = e.RestoreAccount(record)
		}
		if err != nil {
			return fmt.Errorf("read state: %w", err)
		}
	}
	return nil
}

func (s *Shards) restored() {
	for _, e := range s.engines {
		e.RestoreDone()
	}
}

// Watch makes the shards report the uses of accounts.
func (s *Shards) Watch(accounts []string) {
	for _, e := range s.engines {
		e.Watch(accounts...)
	}
}

// eachRecord calls f with the records that writeState wrote. f must not keep them.
func eachRecord(r byteReader, f func(record []byte) error) error {
	var buf []byte
	for {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return fmt.Errorf("read state: %w", err)
		}
		if n > engine.MaxEntry {
			return errors.New("read state: record is too long")
		}
		if n == 0 {
			return nil
		}
		buf = slices.Grow(buf[:0], int(n))[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return fmt.Errorf("read state: %w", err)
		}
		if err := f(buf); err != nil {
			return err
		}
	}
}

// monthText names the UTC month of an instant: "2026-04".
func monthText(t engine.Micros) string {
	return time.UnixMicro(int64(t)).UTC().Format("2006-01")
}

// monthEnd returns the end of the UTC month that an instant lies in.
func monthEnd(t engine.Micros) engine.Micros {
	u := time.UnixMicro(int64(t)).UTC()
	return engine.Micros(time.Date(u.Year(), u.Month()+1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
}

// stageOpening makes an opening of the checkpoint that was just written. It is durable, but has its
// name only after its seal.
func stageOpening(
	dir *store.Dir, info store.CheckpointInfo, v *engine.View,
) (*store.Staged, error) {
	c, err := dir.OpenCheckpoint(info)
	if err != nil {
		return nil, err
	}
	defer c.Close() // read only
	g := v.Genesis()
	o := formats.OpeningInfo{
		Version: formats.ArchiveVersion, Format: engine.StateFormat, Journal: g.Journal,
		Partition: g.Partition, Seq: info.Meta.Seq, At: info.Meta.At, Month: monthText(newest(v)),
		Billing: info.Meta.Billing, Sealed: info.Meta.JournalDigest, Before: v.Standing().LastSeal,
		MinDay: info.Meta.MinDay,
	}
	return dir.StageArchive(store.OpeningName(o.Seq), func(w io.Writer) error {
		_, err := formats.WriteOpening(w, o, func(yield func([]byte) error) error {
			return eachRecord(bufio.NewReaderSize(c.State(), 1<<20), yield)
		}, c.Keys)
		return err
	})
}

// newest returns the greatest event time that the state has seen, Past before the first.
func newest(v *engine.View) engine.Micros {
	t := engine.Past
	for _, c := range v.Controls() {
		t = max(t, c.Greatest)
	}
	return t
}

package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// Verified is what VerifyArchive read.
type Verified struct {
	Files, Openings int
	Entries, Rows   uint64
	Seals           int
	Digests         uint64 // row digests that were computed anew
	Faults          []error
	Notes           []error // what is no fault of a state, whose run may be going on
}

// VerifyArchive reads every file of an archive to its end: metadata, counts, content, the chain of
// seals from file to file, and what the seals say of the openings. deep computes every row's digest
// anew. A fault does not end it.
func VerifyArchive(
	ctx context.Context, h *History, deep bool, progress func(name string),
) (*Verified, error) {
	if progress == nil {
		progress = func(string) {}
	}
	v := &Verified{}
	for _, err := range append(h.Faults(), h.Gaps()...) {
		v.fault(err)
	}
	var chain engine.Digest // of the last seal of the part before; zero where it has none
	known := false
	for i := range h.parts {
		p := &h.parts[i]
		progress(p.Name)
		if i > 0 && h.parts[i-1].Last+1 != p.First {
			known = false
		}
		head, err := v.part(ctx, p, deep, chain, known || p.First == 1)
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		if err != nil {
			v.fault(err)
			known = false
			continue
		}
		if head != (engine.Digest{}) {
			chain, known = head, true
		}
		v.Files++
	}
	for i := range h.openings {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		progress(h.openings[i].Name)
		v.opening(h, &h.openings[i])
	}
	return v, nil
}

// fault adds what is wrong, unless it was said before: a damaged file is in the way of more than
// one question.
func (v *Verified) fault(err error) {
	said := func(e error) bool { return e.Error() == err.Error() }
	if !slices.ContainsFunc(v.Faults, said) {
		v.Faults = append(v.Faults, err)
	}
}

// opening restores an opening, and compares it with the seal behind it.
func (v *Verified) opening(h *History, o *Opening) {
	st := &State{Shards: NewShards(1), prover: newProver()}
	if err := st.restoreOpening(o); err != nil {
		v.fault(err)
		return
	}
	err := confirmOpening(h, o)
	var none *UnconfirmedError
	switch {
	case err == nil:
	case errors.As(err, &none) && h.dir != nil:
		v.Notes = append(v.Notes, err)
	default:
		v.fault(err)
		return
	}
	v.Openings++
}

// part reads one archive file and returns the chain's head behind it.
func (v *Verified) part(
	ctx context.Context, p *Part, deep bool, chain engine.Digest, known bool,
) (engine.Digest, error) {
	var head engine.Digest
	r, err := openPart(p.Name, p.open)
	if err != nil {
		return head, err
	}
	defer r.Close() // read only
	r.CheckContent()
	var digests []uint64
	for {
		if err := ctx.Err(); err != nil {
			return head, err
		}
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return head, nil
		}
		if err != nil {
			return head, err
		}
		v.Entries++
		switch b := e.Body.(type) {
		case *engine.Batch:
			v.Rows += uint64(b.Len)
			if !deep {
				continue
			}
			v.Digests += uint64(b.Len)
			var altered []int
			if altered, digests = alteredRows(b, digests); len(altered) > 0 {
				group, row := r.Place()
				return head, &formats.FileError{
					Name: p.Name, Group: group, Row: row + int64(altered[0]),
					Reason: fmt.Sprintf("event %q was changed after it was journaled: its digest differs",
						b.ID.At(altered[0])),
					Hint: "billctl replay names the account and the line that it touches",
				}
			}
		case *engine.Seal:
			if known && b.Before != chain {
				return head, &ArchiveError{
					Name:   p.Name,
					Reason: fmt.Sprintf("the seal at position %d does not follow the seal before it", e.Seq),
					Hint:   "a file was replaced: restore it from a copy",
				}
			}
			chain, known, head = b.Chain(), true, b.Chain()
			v.Seals++
		}
	}
}

// Proved is what ProveArchive came to.
type Proved struct {
	Opening *Opening      // that it began from; nil: the first entry
	Last    engine.Seq    // the archive's last position
	Seals   int           // that agree
	Billing engine.Digest // of the last of them; zero without one
	Waiting engine.Seq    // positions at the archive's end of which no seal speaks yet
}

// ProveArchive applies the archive files of a history, and never what the journal holds in their
// stead, and compares every seal. Files that begin later than the first entry need an opening
// behind their beginning. Of a state directory it goes on into the journal, up to the seal that
// speaks of the archive's last entries. A seal that does not agree is a *DivergedError.
func ProveArchive(
	ctx context.Context, h *History, progress func(engine.Seq),
) (*Proved, error) {
	p := &proving{h: h, progress: progress, out: &Proved{}}
	p.state = &State{Shards: NewShards(1), prover: newProver()}
	if len(h.parts) == 0 {
		return p.out, nil
	}
	p.out.Last = h.parts[len(h.parts)-1].Last
	from, err := p.begin()
	if err != nil {
		return p.out, err
	}
	// Without the directory: where the journal has an entry too, the journal would be read.
	alone := &History{
		name: h.name, journal: h.journal, parts: h.parts, openings: h.openings, faults: h.faults,
	}
	if err := p.run(ctx, alone.Read(from), false); err != nil {
		return p.out, err
	}
	if h.dir != nil && p.sealed < p.needs {
		if err := p.run(ctx, journalOf(h.dir).Read(p.out.Last+1), true); err != nil {
			return p.out, err
		}
	}
	if p.sealed < p.needs {
		p.out.Waiting = p.out.Last - p.sealed
	}
	p.out.Seals, p.out.Billing = p.state.prover.seals, p.state.prover.billing
	return p.out, nil
}

// proving is one call of ProveArchive.
type proving struct {
	h        *History
	progress func(engine.Seq)
	state    *State
	out      *Proved
	needs    engine.Seq // the archive's last position that is not of a seal
	sealed   engine.Seq // the last mark that a seal spoke of
}

// begin restores the opening that the archive needs, if it does, and returns where to go on.
func (p *proving) begin() (engine.Seq, error) {
	first := p.h.parts[0].First
	if first == 1 {
		return 1, nil
	}
	i := slices.IndexFunc(p.h.openings, func(o Opening) bool { return o.Seq+1 >= first })
	if i < 0 {
		return 0, &ArchiveError{
			Name: p.h.parts[0].Name,
			Reason: fmt.Sprintf("it begins at position %d and no opening is behind that: the archive "+
				"can't be replayed", first),
			Hint: "name the files before it, or the opening, as well",
		}
	}
	p.out.Opening = &p.h.openings[i]
	p.sealed = p.out.Opening.Seq
	return p.out.Opening.Seq + 1, p.state.restoreOpening(p.out.Opening)
}

// run applies entries to their end; beyond the archive only until a seal speaks of it all.
func (p *proving) run(ctx context.Context, r *Entries, beyond bool) error {
	entries := readAhead(r)
	defer entries.close()
	for n := 0; !beyond || p.sealed < p.needs; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := entries.next()
		if errors.Is(d.err, io.EOF) {
			return nil
		}
		if d.err != nil {
			return d.err
		}
		if err := p.state.apply(d.entry, func(*engine.Effects) error { return nil }); err != nil {
			return err
		}
		if s, ok := d.entry.Body.(*engine.Seal); ok {
			p.sealed = s.Of
		} else if !beyond {
			p.needs = p.state.Shards.Seq()
		}
		if p.progress != nil && n%64 == 0 {
			p.progress(p.state.Shards.Seq())
		}
	}
	return nil
}

// NameFault says that the name of a part does not say what it holds; nil if it does, or if it has a
// name of its own.
func (p *Part) NameFault(base string) error {
	first, last, ok := store.ParseArchiveName(base)
	if !ok || first == p.First && last == p.Last {
		return nil
	}
	return &ArchiveError{
		Name:   p.Name,
		Reason: fmt.Sprintf("it holds positions %d to %d", p.First, p.Last),
		Hint:   "rename it to " + store.ArchiveName(p.First, p.Last),
	}
}

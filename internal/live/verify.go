package live

import (
	"context"
	"errors"
	"fmt"
	"io"

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
}

// VerifyArchive reads every file of an archive to its end: metadata, counts, content, and the chain
// of seals from file to file. deep computes every row's digest anew. A fault does not end it.
func VerifyArchive(
	ctx context.Context, h *History, deep bool, progress func(name string),
) (*Verified, error) {
	v := &Verified{}
	v.Faults = append(v.Faults, h.Gaps()...)
	var chain engine.Digest // of the last seal of the part before; zero where it has none
	known := false
	for i := range h.parts {
		p := &h.parts[i]
		if progress != nil {
			progress(p.Name)
		}
		if i > 0 && h.parts[i-1].Last+1 != p.First {
			known = false
		}
		head, err := v.part(ctx, p, deep, chain, known || p.First == 1)
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		if err != nil {
			v.Faults = append(v.Faults, err)
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
		o := &h.openings[i]
		if progress != nil {
			progress(o.Name)
		}
		st := &State{Shards: NewShards(1), prover: newProver()}
		if err := st.restoreOpening(o); err != nil {
			v.Faults = append(v.Faults, err)
			continue
		}
		v.Openings++
	}
	return v, nil
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

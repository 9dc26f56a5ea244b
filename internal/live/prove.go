package live

import (
	"fmt"

	"billctl/engine"
)

// DivergedError says that applying a journal did not reach the digests that its seals hold.
type DivergedError struct {
	Mark, Seal engine.Seq
	What       string // "billing digest", "journal digest", "chain of seals"
	Sealed     engine.Digest
	Reached    engine.Digest
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("%s at mark %d: the seal at %d says %x, the journal gives %x",
		e.What, e.Mark, e.Seal, e.Sealed[:8], e.Reached[:8])
}

// prover compares the digests of seals with those that the shards reach at their marks. Digests are
// made when the seal comes, of the picture pinned at the mark.
type prover struct {
	digester *engine.Digester
	from     engine.Seq // of the checkpoint that was restored; 0: none
	mark     engine.Seq // 0: none waits for a seal
	view     *engine.View
	dirty    engine.Dirty  // since the last digests
	seals    int           // that were compared
	last     engine.Digest // Chain of the last seal that was seen
	billing  engine.Digest // of the last digests that were made
	journal  engine.Digest
}

// newProver returns a prover of shards in any state.
func newProver() *prover {
	return &prover{digester: engine.NewDigester(), dirty: engine.AllBuckets()}
}

// pin takes the picture that the next seal speaks of.
func (p *prover) pin(s *Shards) {
	p.view, p.mark = s.Pin(), s.Seq()
	for i, w := range engine.TakeDirty(s.engines) {
		p.dirty[i] |= w
	}
}

// digests returns the digests at the last pin.
func (p *prover) digests() (billing, journal engine.Digest) {
	p.billing, p.journal = p.digester.Digests(p.view, p.dirty)
	clear(p.dirty)
	return p.billing, p.journal
}

// after is told of every entry once it was applied.
func (p *prover) after(e *engine.Entry, before engine.Digest, s *Shards) error {
	switch b := e.Body.(type) {
	case *engine.Mark:
		p.pin(s)
	case *engine.Seal:
		if b.Before != before {
			return &DivergedError{b.Of, e.Seq, "chain of seals", b.Before, before}
		}
		if b.Of <= p.from {
			return nil // its mark is that of the checkpoint that was restored, or before it
		}
		if p.mark != b.Of {
			return &DivergedError{
				Mark: b.Of, Seal: e.Seq, What: "mark of the seal", Sealed: b.Billing,
			}
		}
		if err := p.view.CheckControls(); err != nil {
			return err
		}
		billing, journal := p.digests()
		if billing != b.Billing {
			return &DivergedError{b.Of, e.Seq, "billing digest", b.Billing, billing}
		}
		if journal != b.Journal {
			return &DivergedError{b.Of, e.Seq, "journal digest", b.Journal, journal}
		}
		p.seals++
		p.mark, p.view = 0, nil
	}
	return nil
}

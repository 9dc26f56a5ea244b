package engine

import "crypto/sha256"

// MaxEntry bounds the canonical bytes of one entry.
const MaxEntry = 64 << 20

// AppendEntry appends the canonical bytes of an entry (docs/formats/canonical.md). Digests, the
// journal and archives are made of them; they keep their meaning for ever.
func AppendEntry(b []byte, e *Entry) []byte {
	b = append(b, byte(e.Body.kind()))
	b = appendUint(b, uint64(e.Seq))
	b = appendInt(b, int64(e.At))
	switch v := e.Body.(type) {
	case *Batch:
		b = appendBatch(b, v)
	case *Genesis:
		b = append(b, v.Journal[:]...)
		b = appendUint(b, uint64(v.Partition))
		b = append(b, v.HashKey[:]...)
		b = appendUint(b, uint64(v.Format))
	case *Rules:
		b = appendUint(b, uint64(v.Ruleset))
	case *Settings:
		b = appendSettings(b, v)
	case *Source:
		b = appendSource(b, v)
	case *Zone:
		b = appendZone(b, v)
	case *Change:
		b = appendChange(b, v)
	case *Credit:
		b = appendCredit(b, v)
	case *Void:
		b = appendVoid(b, v)
	case *Watermark:
		b = appendInt(b, int64(v.W))
	case *Close:
		b = appendString(appendString(appendInt(b, int64(v.T)), v.Actor), v.Reason)
	case *Clock:
		b = appendString(appendBool(b, v.Frozen), v.Reason)
	case *Mark:
	case *Seal:
		b = appendSeal(b, v)
	}
	return b
}

// DecodeEntry reads what AppendEntry wrote. The entry shares no memory with b. Anything else gives
// an error that wraps ErrFormat, never a panic, and never allocates more than a small multiple of
// len(b).
func DecodeEntry(b []byte) (*Entry, error) {
	r := newReader(b)
	var kind entryKind
	if k := r.take(1); k != nil {
		kind = entryKind(k[0])
	}
	e := &Entry{Seq: Seq(r.uint()), At: r.micros()}
	e.Body = readBody(r, kind)
	if err := r.end(); err != nil {
		return nil, err
	}
	return e, nil
}

func readBody(r *reader, kind entryKind) Body {
	switch kind {
	case kindBatch:
		return readBatch(r)
	case kindGenesis:
		g := &Genesis{}
		copy(g.Journal[:], r.take(16))
		g.Partition = uint32(r.upTo(1<<32-1, "partition"))
		copy(g.HashKey[:], r.take(16))
		g.Format = uint16(r.upTo(1<<16-1, "format"))
		return g
	case kindRules:
		return &Rules{Ruleset: uint16(r.upTo(1<<16-1, "ruleset"))}
	case kindSettings:
		return readSettings(r)
	case kindSource:
		return readSource(r)
	case kindZone:
		return readZone(r)
	case kindChange:
		return readChange(r, false)
	case kindWide:
		return readChange(r, true)
	case kindCredit:
		return readCredit(r, false)
	case kindGrant:
		return readCredit(r, true)
	case kindVoid:
		return readVoid(r)
	case kindWatermark:
		return &Watermark{W: r.micros()}
	case kindClose:
		return &Close{T: r.micros(), Actor: r.string(), Reason: r.string()}
	case kindClock:
		return &Clock{Frozen: r.bool(), Reason: r.string()}
	case kindMark:
		return &Mark{}
	case kindSeal:
		return &Seal{Of: Seq(r.uint()), Billing: r.digest(), Journal: r.digest(), Before: r.digest()}
	}
	r.fail("kind of entry")
	return nil
}

// Chain returns the digest that the next seal names as Before.
func (s *Seal) Chain() Digest { return sha256.Sum256(appendSeal(nil, s)) }

func appendSeal(b []byte, s *Seal) []byte {
	b = appendUint(b, uint64(s.Of))
	b = append(b, s.Billing[:]...)
	b = append(b, s.Journal[:]...)
	return append(b, s.Before[:]...)
}

func appendSettings(b []byte, s *Settings) []byte {
	b = appendInt(appendInt(b, int64(s.Grace)), int64(s.Reopen))
	return appendInt(appendInt(b, int64(s.Horizon)), int64(s.MaxFuture))
}

func readSettings(r *reader) *Settings {
	return &Settings{
		Grace: r.micros(), Reopen: r.micros(), Horizon: r.micros(), MaxFuture: r.micros(),
	}
}

func appendSource(b []byte, s *Source) []byte {
	b = appendString(appendString(b, s.Name), s.Mapping)
	b = appendInt(appendInt(b, int64(s.Disorder)), int64(s.Idle))
	return appendBool(b, s.Dedupe)
}

func readSource(r *reader) *Source {
	return &Source{
		Name: r.string(), Mapping: r.string(), Disorder: r.micros(), Idle: r.micros(),
		Dedupe: r.bool(),
	}
}

func appendZone(b []byte, z *Zone) []byte {
	b = appendInt(appendString(b, z.Name), int64(z.Offset))
	return appendList(b, z.Transitions, func(b []byte, t *Transition) []byte {
		return appendInt(appendInt(b, t.At), int64(t.Offset))
	})
}

func readZone(r *reader) *Zone {
	z := &Zone{Name: r.string(), Offset: r.int32()}
	z.Transitions = readList(r, 2, func(r *reader) Transition {
		return Transition{At: r.int(), Offset: r.int32()}
	})
	if r.err == nil {
		if err := z.Validate(); err != nil {
			r.fail(err.Error())
		}
	}
	return z
}

func appendCredit(b []byte, c *Credit) []byte {
	b = appendString(appendString(appendString(b, c.ID), c.Account), c.Currency)
	b = appendString(appendString(appendAmount(b, c.Amount), c.Actor), c.Reason)
	if c.kind() == kindGrant {
		b = appendUint(appendInt(b, int64(c.Expires)), uint64(c.Priority))
	}
	return b
}

func readCredit(r *reader, wide bool) *Credit {
	c := &Credit{
		ID: r.string(), Account: r.string(), Currency: r.string(), Amount: r.amount(),
		Actor: r.string(), Reason: r.string(),
	}
	if wide {
		c.Expires, c.Priority = r.micros(), int(r.upTo(MaxPriority, "priority"))
	}
	r.more(wide, c.kind() == kindGrant)
	return c
}

func appendVoid(b []byte, v *Void) []byte {
	b = appendBatch(appendUint(b, uint64(v.Of)), v.Row)
	b = appendOptional(b, v.Amend, appendBatch)
	return appendString(appendString(b, v.Actor), v.Reason)
}

func readVoid(r *reader) *Void {
	v := &Void{Of: Seq(r.uint()), Row: readBatch(r)}
	v.Amend = readOptional(r, func(r *reader) Batch { return *readBatch(r) })
	v.Actor, v.Reason = r.string(), r.string()
	for _, b := range []*Batch{v.Row, v.Amend} {
		if r.err == nil && b != nil && (b.Len != 1 || len(b.Malformed) > 0) {
			r.fail("a void of other than one event")
		}
	}
	return v
}

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"billctl/engine"
)

// OutboxReader reads the durable records of an Outbox one by one. It is used by one goroutine,
// beside the one that writes.
type OutboxReader struct {
	o       *Outbox
	pos     int64 // of the next record
	segment int
	f       File
	frames  *frameReader
}

// Next returns the next record and its position. io.EOF: nothing more is durable for now; a
// later call may find more.
func (r *OutboxReader) Next() (OutboxRecord, int64, error) {
	for {
		if r.pos >= r.o.Durable() {
			return OutboxRecord{}, r.pos, io.EOF
		}
		if r.f == nil {
			if err := r.open(); err != nil {
				return OutboxRecord{}, r.pos, err
			}
		}
		at := r.frames.off
		h, payload, err := r.frames.next()
		if err == io.EOF || err == errBadFrame {
			if err = r.more(at); err != nil {
				return OutboxRecord{}, r.pos, err
			}
			continue
		} else if err != nil {
			return OutboxRecord{}, r.pos, fmt.Errorf("read %s at byte %d: %w", r.path(), at, err)
		}
		if h.Kind != entriesFrame || int64(h.First) < r.pos {
			continue
		}
		rec, err := decodeRecord(bytes.Clone(payload))
		if err != nil || int64(h.First) != r.pos {
			return OutboxRecord{}, r.pos, &CorruptError{r.path(), at,
				fmt.Sprintf("it is not outbox record %d", r.pos)}
		}
		r.pos++
		return rec, r.pos - 1, nil
	}
}

// Close closes the reader's file.
func (r *OutboxReader) Close() error {
	if r.f == nil {
		return nil
	}
	err := r.f.Close()
	r.f = nil
	return err
}

// open opens the segment that holds pos, at the last mark before it.
func (r *OutboxReader) open() error {
	mark := r.o.markOf(r.pos)
	r.segment = mark.segment
	f, err := r.o.fs.Open(r.path())
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	frames, err := openFrames(f, r.path(), r.o.lockedHeader(r.segment))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	frames.off = mark.off
	r.f, r.frames = f, frames
	return nil
}

// more is called where the file seemed to end although more is durable: it has grown since, or
// the next segment goes on, or it is damaged.
func (r *OutboxReader) more(at int64) error {
	before := r.frames.size
	if err := r.frames.reset(); err != nil {
		return fmt.Errorf("read %s: %w", r.path(), err)
	}
	switch {
	case r.frames.size > before:
		return nil
	case r.o.markOf(r.pos).segment > r.segment:
		return r.Close()
	}
	return r.frames.damage(r.path(), at+1)
}

func (r *OutboxReader) path() string {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	return r.o.segments[r.segment].path
}

// appendRecord adds the bytes of a record (docs/formats/outbox.md, "Records").
func appendRecord(dst []byte, rec *OutboxRecord) ([]byte, error) {
	switch {
	case rec.Kind == 0:
		return nil, errors.New("a record has no kind")
	case len(rec.Key) > maxRecordName || len(rec.Account) > maxRecordName:
		return nil, fmt.Errorf("a key or account of %d bytes is too long",
			max(len(rec.Key), len(rec.Account)))
	case len(rec.Body) > MaxFrame-2*maxRecordName-64:
		return nil, fmt.Errorf("a body of %d bytes is too long", len(rec.Body))
	}
	dst = append(dst, byte(rec.Kind))
	dst = binary.AppendUvarint(dst, uint64(rec.Seq))
	dst = appendText(dst, rec.Key)
	dst = appendText(dst, rec.Account)
	return append(dst, rec.Body...), nil
}

var errRecord = errors.New("decode record: it is cut short or not canonical")

// decodeRecord reads a record; Body is a part of b.
func decodeRecord(b []byte) (OutboxRecord, error) {
	if len(b) == 0 || b[0] == 0 {
		return OutboxRecord{}, errRecord
	}
	r := textReader{b: b[1:]}
	rec := OutboxRecord{Kind: RecordKind(b[0])}
	rec.Seq = engine.Seq(r.uvarint())
	rec.Key, rec.Account = r.text(maxRecordName), r.text(maxRecordName)
	if rec.Body = r.b; r.bad {
		return OutboxRecord{}, errRecord
	}
	if len(rec.Body) == 0 {
		rec.Body = nil
	}
	return rec, nil
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// textReader takes fields off bytes; what is no canonical field makes it bad and empty.
type textReader struct {
	b   []byte
	bad bool
}

func (r *textReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *textReader) text(most uint64) string {
	n := r.uvarint()
	if n > most || n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// AppendRejections adds the compact form of rejections, which must be by rising Seq: for each
// one uvarint, (Seq − the Seq before) · 16 + Reason. It panics when they are not rising, or a
// Seq is 2^60 or more.
func AppendRejections(dst []byte, list []engine.Rejection) []byte {
	var before engine.Seq
	for _, r := range list {
		if r.Seq <= before || r.Seq >= 1<<60 || r.Reason == 0 || r.Reason >= engine.NumReasons {
			panic(fmt.Sprintf("BUG: rejection of seq %d for reason %d after seq %d",
				r.Seq, uint8(r.Reason), before))
		}
		dst = binary.AppendUvarint(dst, uint64(r.Seq-before)<<4|uint64(r.Reason))
		before = r.Seq
	}
	return dst
}

// DecodeRejections reads what AppendRejections wrote, and nothing else.
func DecodeRejections(b []byte) ([]engine.Rejection, error) {
	var list []engine.Rejection
	r := textReader{b: b}
	var before engine.Seq
	for len(r.b) > 0 {
		v := r.uvarint()
		next := engine.Rejection{Seq: before + engine.Seq(v>>4), Reason: engine.Reason(v & 15)}
		if r.bad || v>>4 == 0 || next.Seq >= 1<<60 ||
			next.Reason == 0 || next.Reason >= engine.NumReasons {
			return nil, fmt.Errorf("decode rejections at byte %d: no rejection", len(b)-len(r.b))
		}
		list = append(list, next)
		before = next.Seq
	}
	return list, nil
}

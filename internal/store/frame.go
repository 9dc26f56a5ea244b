package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"billctl/engine"
)

// The layout of frames and of the header before them is in docs/formats/journal.md. It is in
// journals for ever.
const (
	// MaxFrame is the greatest payload of a frame, in bytes. It is checked before allocation.
	MaxFrame = 64 << 20

	logHeaderSize   = 64
	frameHeaderSize = 40
	logVersion      = 1
	readPiece       = 1 << 20
)

// The kinds of a frame. A number is never used again for something else.
const (
	entriesFrame uint8 = 1 // payload of the log's owner
	promiseFrame uint8 = 2 // nothing but its promise
)

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	frameMarker = [4]byte{0xb1, 'F', 'r', 0x1e}
)

// logHeader stands at the start of every file of frames.
type logHeader struct {
	Magic     [8]byte // what the file is
	Partition uint32
	Journal   [16]byte
	First     uint64 // what the owner counts, of the first frame; a segment's first Seq
}

func (h *logHeader) encode() []byte {
	b := make([]byte, logHeaderSize)
	copy(b, h.Magic[:])
	binary.LittleEndian.PutUint16(b[8:], logVersion)
	binary.LittleEndian.PutUint32(b[12:], h.Partition)
	copy(b[16:], h.Journal[:])
	binary.LittleEndian.PutUint64(b[32:], h.First)
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// checkLogHeader compares a file's header with the one it must have.
func checkLogHeader(path string, b []byte, want *logHeader) error {
	switch {
	case len(b) < logHeaderSize:
		return &CorruptError{path, int64(len(b)), "ends inside its header"}
	case [8]byte(b) != want.Magic:
		return &CorruptError{path, 0, fmt.Sprintf("begins with %q, want %q", b[:8], want.Magic)}
	case binary.LittleEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli):
		return &CorruptError{path, 0, "header does not match its checksum"}
	}
	if v := int(binary.LittleEndian.Uint16(b[8:])); v > logVersion {
		return &VersionError{path, v, logVersion}
	}
	if [logHeaderSize]byte(b) != [logHeaderSize]byte(want.encode()) {
		return &CorruptError{path, 8, "header is of another journal or file"}
	}
	return nil
}

// seed begins the checksum of every frame header, so that a frame out of another file is none. It
// is the header's own checksum: that of the header with its checksum is the same for all headers.
func (h *logHeader) seed() uint32 {
	return binary.LittleEndian.Uint32(h.encode()[60:])
}

// frameHeader stands before every payload.
type frameHeader struct {
	Kind     uint8
	Length   uint32 // of the payload
	Sum      uint32 // CRC32C of the payload
	Count    uint32 // Seqs in the payload
	First    uint64
	Promised int64 // everything before this offset of the file was durable before this was written
}

func (h *frameHeader) size() int64 { return frameHeaderSize + int64(h.Length) }

// appendFrame adds a frame that will stand at an offset of the file with the seed.
// Length and Sum are taken from the payload.
func appendFrame(dst []byte, seed uint32, at int64, h frameHeader, payload []byte) []byte {
	dst = appendFrameHeader(dst, seed, at, h, payload)
	return append(dst, payload...)
}

func appendFrameHeader(dst []byte, seed uint32, at int64, h frameHeader, payload []byte) []byte {
	var b [frameHeaderSize]byte
	copy(b[:], frameMarker[:])
	binary.LittleEndian.PutUint32(b[8:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(payload, castagnoli))
	b[16] = h.Kind
	binary.LittleEndian.PutUint32(b[20:], h.Count)
	binary.LittleEndian.PutUint64(b[24:], h.First)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.Promised))
	binary.LittleEndian.PutUint32(b[4:], headerSum(b[:], seed, at))
	return append(dst, b[:]...)
}

// parseFrameHeader reads a frame's header that stands at an offset; b has frameHeaderSize bytes.
func parseFrameHeader(b []byte, seed uint32, at int64) (frameHeader, bool) {
	b = b[:frameHeaderSize]
	h := frameHeader{
		Length:   binary.LittleEndian.Uint32(b[8:]),
		Sum:      binary.LittleEndian.Uint32(b[12:]),
		Kind:     b[16],
		Count:    binary.LittleEndian.Uint32(b[20:]),
		First:    binary.LittleEndian.Uint64(b[24:]),
		Promised: int64(binary.LittleEndian.Uint64(b[32:])),
	}
	ok := [4]byte(b) == frameMarker &&
		binary.LittleEndian.Uint32(b[4:]) == headerSum(b, seed, at) &&
		(h.Kind == entriesFrame || h.Kind == promiseFrame && h.Length == 0 && h.Count == 0) &&
		b[17]|b[18]|b[19] == 0 && h.Length <= MaxFrame &&
		h.Promised >= logHeaderSize && h.Promised <= at
	return h, ok
}

// headerSum covers all of the header and where it stands: a block written to a wrong place, or
// left over from an earlier use of the disk, is no frame.
func headerSum(b []byte, seed uint32, at int64) uint32 {
	var place [8]byte
	binary.LittleEndian.PutUint64(place[:], uint64(at))
	return crc32.Update(crc32.Update(seed, castagnoli, place[:]), castagnoli, b[8:frameHeaderSize])
}

// frameReader reads the frames of one file in their order, in pieces of readPiece.
type frameReader struct {
	f    File
	seed uint32
	off  int64 // of the next frame
	size int64 // of the file, when it was last asked for
	buf  []byte
	lo   int // buf[lo:] is the file from off on
}

// errBadFrame says that the bytes at off are no whole frame.
var errBadFrame = fmt.Errorf("no valid frame")

// next returns the frame at off and moves behind it. The payload is good until the next call.
// io.EOF: the file ends exactly here. errBadFrame: something else is here, and off stays.
func (r *frameReader) next() (frameHeader, []byte, error) {
	left := r.size - r.off
	if left <= 0 {
		return frameHeader{}, nil, io.EOF
	}
	if left < frameHeaderSize {
		return frameHeader{}, nil, errBadFrame
	}
	b, err := r.fill(frameHeaderSize)
	if err != nil {
		return frameHeader{}, nil, err
	}
	h, ok := parseFrameHeader(b, r.seed, r.off)
	if !ok || h.size() > left {
		return frameHeader{}, nil, errBadFrame
	}
	if b, err = r.fill(int(h.size())); err != nil {
		return frameHeader{}, nil, err
	}
	payload := b[frameHeaderSize:h.size():h.size()]
	if crc32.Checksum(payload, castagnoli) != h.Sum {
		return frameHeader{}, nil, errBadFrame
	}
	r.lo += int(h.size())
	r.off += h.size()
	return h, payload, nil
}

// fill returns at least n bytes of the file from off on; the file had them when it was asked.
func (r *frameReader) fill(n int) ([]byte, error) {
	have := len(r.buf) - r.lo
	if have >= n {
		return r.buf[r.lo:], nil
	}
	want := int(min(max(int64(n), readPiece), r.size-r.off))
	if cap(r.buf) < want {
		grown := make([]byte, have, max(want, int(min(readPiece, r.size))))
		copy(grown, r.buf[r.lo:])
		r.buf = grown
	} else {
		copy(r.buf[:have], r.buf[r.lo:])
	}
	r.buf, r.lo = r.buf[:want], 0
	m, err := r.f.ReadAt(r.buf[have:], r.off+int64(have))
	r.buf = r.buf[:have+m]
	if len(r.buf) >= n {
		return r.buf, nil
	}
	if err == nil || err == io.EOF {
		return nil, errBadFrame // the file shrank: a writer cut its torn tail
	}
	return nil, err
}

// reset forgets what was read ahead and asks for the file's size anew.
func (r *frameReader) reset() (err error) {
	r.buf, r.lo = r.buf[:0], 0
	r.size, err = r.f.Size()
	return err
}

// promiseAfter returns the greatest promise of any frame header behind a bad frame at off. Frames
// are found by their marker, as the bad one does not tell where the next begins.
func (r *frameReader) promiseAfter(off int64) (int64, error) {
	var promised int64
	buf := make([]byte, min(readPiece, max(0, r.size-off)))
	for at := off + 1; at+frameHeaderSize <= r.size; {
		n, err := r.f.ReadAt(buf[:min(int64(len(buf)), r.size-at)], at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if n < frameHeaderSize {
			break
		}
		for i := 0; i+frameHeaderSize <= n; i++ {
			if buf[i] != frameMarker[0] {
				continue
			}
			if h, ok := parseFrameHeader(buf[i:], r.seed, at+int64(i)); ok {
				promised = max(promised, h.Promised)
			}
		}
		at += int64(n - frameHeaderSize + 1)
	}
	return promised, nil
}

// follows checks that a frame carries on the count; next is the First it must have.
func (h *frameHeader) follows(path string, at int64, next uint64) error {
	if h.First != next || h.First+uint64(h.Count) < h.First {
		return gapError(path, at, engine.Seq(h.First), engine.Seq(next))
	}
	return nil
}

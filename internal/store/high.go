package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"billctl/engine"
)

// highName is the high-water file: how much of the journal was durable at some time. It notices
// the loss of a whole tail, promise frames and all.
const (
	highName     = journalDir + "/high"
	highSlot     = 64
	highStride   = 4096 // slots lie in different disk blocks, so that one write can't harm both
	highFileSize = highStride + highSlot
)

var highMagic = [8]byte{'b', 'i', 'l', 'l', 'h', 'g', 'h', '\n'}

// highMark says that Length bytes of the segment that begins at Segment were durable.
type highMark struct {
	count   uint64 // of writes; the greater of the two slots holds
	Segment engine.Seq
	Length  int64
}

func (m highMark) encode(journal [16]byte) []byte {
	b := make([]byte, highSlot)
	copy(b, highMagic[:])
	binary.LittleEndian.PutUint64(b[8:], m.count)
	binary.LittleEndian.PutUint64(b[16:], uint64(m.Segment))
	binary.LittleEndian.PutUint64(b[24:], uint64(m.Length))
	copy(b[32:], journal[:])
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func decodeHigh(b []byte, journal [16]byte) (highMark, bool) {
	m := highMark{
		count:   binary.LittleEndian.Uint64(b[8:]),
		Segment: engine.Seq(binary.LittleEndian.Uint64(b[16:])),
		Length:  int64(binary.LittleEndian.Uint64(b[24:])),
	}
	return m, string(b) == string(m.encode(journal))
}

// highFile is the high-water file, open for writing.
type highFile struct {
	f       File
	journal [16]byte
	last    highMark
}

// createHigh makes the file with both slots filled, so that it is never without a valid one.
func createHigh(fs FS, journal [16]byte, m highMark) error {
	b := make([]byte, highFileSize)
	copy(b, m.encode(journal))
	copy(b[highStride:], m.encode(journal))
	return writeFile(fs, highName, b)
}

func openHigh(fs FS, journal [16]byte) (*highFile, error) {
	m, err := readHigh(fs, journal)
	if err != nil {
		return nil, err
	}
	f, err := fs.OpenFile(highName)
	if err != nil {
		return nil, fmt.Errorf("open high-water file: %w", err)
	}
	return &highFile{f, journal, m}, nil
}

// write records a mark, durably, in the slot that does not hold the last one.
func (h *highFile) write(m highMark) error {
	m.count = h.last.count + 1
	if m.Segment == h.last.Segment && m.Length == h.last.Length {
		return nil
	}
	at := int64(m.count%2) * highStride
	if _, err := h.f.WriteAt(m.encode(h.journal), at); err != nil {
		return &FailedError{"write", highName, err}
	}
	if err := h.f.Sync(); err != nil {
		return &FailedError{"sync", highName, err}
	}
	h.last = m
	return nil
}

// readHigh returns the newest mark. One damaged slot is a write that a crash cut short; with two,
// or without the file, nothing says how long the journal was.
func readHigh(fs FS, journal [16]byte) (highMark, error) {
	f, err := fs.Open(highName)
	if isNotExist(err) {
		return highMark{}, &CorruptError{highName, 0, "missing"}
	}
	if err != nil {
		return highMark{}, fmt.Errorf("open high-water file: %w", err)
	}
	defer f.Close() // read only
	// A writer may be at one of the slots while we read; it is not at both, and not twice.
	for range 2 {
		var best highMark
		var found bool
		for _, at := range []int64{0, highStride} {
			b := make([]byte, highSlot)
			if _, err := f.ReadAt(b, at); err != nil && err != io.EOF {
				return highMark{}, fmt.Errorf("read high-water file: %w", err)
			}
			if m, ok := decodeHigh(b, journal); ok && (!found || m.count > best.count) {
				best, found = m, true
			}
		}
		if found {
			return best, nil
		}
	}
	return highMark{}, &CorruptError{highName, 0, "neither of its two marks is valid"}
}

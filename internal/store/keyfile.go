package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"billctl/engine"
)

// RunInfo names one immutable file of keys and says what must be found in it.
type RunInfo struct {
	Generation uint64
	Number     uint64
	File       FileSum
	Days       []DayCount // how many keys of each day, by rising day
}

// DayCount is a number of keys of one day.
type DayCount struct {
	Day  engine.Day
	Keys uint64
}

// FileSum is what a manifest records of a file: its length in bytes, and a SHA-256 over the
// lengths and checksums of its blocks.
type FileSum struct {
	Size   int64
	Digest engine.Digest
}

// Name returns the run's file name within keys/.
func (r *RunInfo) Name() string { return fmt.Sprintf("%d-%d.run", r.Generation, r.Number) }

// Keys returns how many keys of d or a later day the run holds.
func (r *RunInfo) Keys(d engine.Day) uint64 {
	var n uint64
	for _, c := range r.Days {
		if c.Day >= d {
			n += c.Keys
		}
	}
	return n
}

// A file of blocks (docs/formats/checkpoint.md, "Blocks") is a header, blocks and an end:
//
//	header  magic [8]  version u32  crc u32 (of the 12 bytes before)
//	block   length u32 (1 to 1 MiB)  crc u32 (of number u64 ‖ length u32 ‖ payload)  payload
//	end     0 u32  crc u32 (of the number of blocks u64 ‖ 0 u32)
//
// Nothing follows the end. The digest is a SHA-256 over the header and all lengths and crcs.
const (
	blockSize  = 1 << 20
	blockHead  = 8
	runVersion = 1
	runMagic   = "bctlKEYS"
	stateMagic = "bctlSTAT"

	runHead = 16 // generation u64, number u64
	keySize = 30 // hi u64, lo u64, digest u64, day i32, bucket u16
	runFoot = 16 // count u64, first day i32, last day i32
)

// blockVersion returns the version of a file of blocks: a state's is that of its canonical bytes.
func blockVersion(magic string) uint32 {
	if magic == stateMagic {
		return engine.StateFormat
	}
	return runVersion
}

func checkVersion(path string, found, known int) error {
	switch {
	case found > known:
		return &VersionError{path, found, known}
	case found < known:
		return &OldError{path, found, known}
	}
	return nil
}

// blockWriter writes a file of blocks. The first error sticks.
type blockWriter struct {
	file  File
	off   int64
	count uint64
	buf   []byte
	sum   interface {
		io.Writer
		Sum([]byte) []byte
	}
	err error
}

func newBlockWriter(f File, magic string) *blockWriter {
	w := &blockWriter{file: f, sum: sha256.New(), buf: make([]byte, blockHead, blockHead+blockSize)}
	head := append([]byte(nil), magic...)
	head = binary.LittleEndian.AppendUint32(head, blockVersion(magic))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	w.sum.Write(head)
	w.write(head)
	return w
}

// Write adds bytes to the payload.
func (w *blockWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		room := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:room]...)
		p = p[room:]
		if len(w.buf) == cap(w.buf) {
			w.flush()
		}
	}
	if w.err != nil {
		return n - len(p), w.err
	}
	return n, nil
}

// finish writes the end, brings the file to the disk and closes it.
func (w *blockWriter) finish() (FileSum, error) {
	if len(w.buf) > blockHead {
		w.flush()
	}
	w.flush()
	if w.err == nil {
		w.err = w.file.Sync()
	}
	if err := w.file.Close(); w.err == nil {
		w.err = err
	}
	info := FileSum{Size: w.off}
	w.sum.Sum(info.Digest[:0])
	return info, w.err
}

// flush writes the block in buf; an empty one is the end.
func (w *blockWriter) flush() {
	n := uint32(len(w.buf) - blockHead)
	binary.LittleEndian.PutUint32(w.buf, n)
	binary.LittleEndian.PutUint32(w.buf[4:], blockCRC(w.count, w.buf))
	w.sum.Write(w.buf[:blockHead])
	w.write(w.buf)
	w.buf = w.buf[:blockHead]
	w.count++
}

func (w *blockWriter) write(p []byte) {
	if w.err != nil {
		return
	}
	_, w.err = w.file.WriteAt(p, w.off)
	w.off += int64(len(p))
}

// blockCRC is the checksum of a block of which head and payload lie in b; its crc is left out.
func blockCRC(number uint64, b []byte) uint32 {
	var head [12]byte
	binary.LittleEndian.PutUint64(head[:], number)
	copy(head[8:], b[:4])
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, b[blockHead:])
}

// blockReader reads the payload of a file of blocks. It hands out no byte of a block before the
// block's checksum is right, and io.EOF only when the whole file is what the manifest recorded;
// every other end is a *CorruptError or an error of the file system.
type blockReader struct {
	path  string
	file  io.ReaderAt
	want  FileSum
	off   int64
	count uint64
	buf   []byte
	rest  []byte // of the payload of the block in buf
	sum   interface {
		io.Writer
		Sum([]byte) []byte
	}
	err error
}

func newBlockReader(path string, f io.ReaderAt, magic string, want FileSum) *blockReader {
	r := &blockReader{path: path, file: f, want: want, sum: sha256.New()}
	head := make([]byte, 16)
	if r.read(head); r.err != nil {
		return r
	}
	switch {
	case string(head[:8]) != magic:
		r.corrupt(0, "it is no file of this kind")
	case crc32.Checksum(head[:12], castagnoli) != binary.LittleEndian.Uint32(head[12:]):
		r.corrupt(0, "the checksum of its header is wrong")
	default:
		r.err = checkVersion(path, int(binary.LittleEndian.Uint32(head[8:])), int(blockVersion(magic)))
	}
	r.sum.Write(head)
	return r
}

// Read fills p with payload; see blockReader.
func (r *blockReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next reads a block, or finds the end.
func (r *blockReader) next() {
	var head [blockHead]byte
	at := r.off
	if r.read(head[:]); r.err != nil {
		return
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > blockSize || n > r.want.Size-r.off {
		r.corrupt(at, "the length of a block is wrong")
		return
	}
	if int64(cap(r.buf)) < blockHead+n {
		r.buf = make([]byte, blockHead+n)
	}
	r.buf = r.buf[:blockHead+n]
	copy(r.buf, head[:])
	if r.read(r.buf[blockHead:]); r.err != nil {
		return
	}
	if blockCRC(r.count, r.buf) != binary.LittleEndian.Uint32(head[4:]) {
		r.corrupt(at, "the checksum of a block is wrong")
		return
	}
	r.sum.Write(head[:])
	r.count++
	r.rest = r.buf[blockHead:]
	if n == 0 {
		r.finish()
	}
}

// finish compares the whole with the manifest.
func (r *blockReader) finish() {
	switch {
	case r.off != r.want.Size:
		r.corrupt(r.off, fmt.Sprintf("it ends at %d, not at %d", r.off, r.want.Size))
	case !bytes.Equal(r.sum.Sum(nil), r.want.Digest[:]):
		r.corrupt(0, "its digest is not the one of the manifest")
	default:
		r.err = io.EOF
	}
}

func (r *blockReader) read(p []byte) {
	n, err := r.file.ReadAt(p, r.off)
	switch {
	case n == len(p):
	case err == io.EOF || err == nil:
		r.corrupt(r.off+int64(n), fmt.Sprintf("it ends here, not at %d", r.want.Size))
	default:
		r.err = fmt.Errorf("read %s at %d: %w", r.path, r.off, err)
	}
	r.off += int64(n)
}

func (r *blockReader) corrupt(off int64, what string) {
	r.err = &CorruptError{Path: r.path, Offset: off, Reason: what}
}

// runWriter writes a run of keys.
type runWriter struct {
	blocks *blockWriter
	info   RunInfo
	count  uint64
	buf    []byte
}

func newRunWriter(f File, generation, number uint64) *runWriter {
	w := &runWriter{
		blocks: newBlockWriter(f, runMagic),
		info:   RunInfo{Generation: generation, Number: number},
	}
	w.buf = binary.LittleEndian.AppendUint64(w.buf, generation)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, number)
	return w
}

// add writes the keys of day from and later.
func (w *runWriter) add(keys []engine.Key, from engine.Day) error {
	for i := range keys {
		if keys[i].Day < from {
			continue
		}
		w.buf = appendKey(w.buf, &keys[i])
		w.countDay(keys[i].Day)
		if len(w.buf) >= blockSize/16 {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *runWriter) countDay(d engine.Day) {
	w.count++
	i, found := slices.BinarySearchFunc(w.info.Days, d, func(c DayCount, d engine.Day) int {
		return int(c.Day) - int(d)
	})
	if !found {
		w.info.Days = slices.Insert(w.info.Days, i, DayCount{Day: d})
	}
	w.info.Days[i].Keys++
}

func (w *runWriter) finish() (RunInfo, error) {
	var first, last engine.Day
	if n := len(w.info.Days); n > 0 {
		first, last = w.info.Days[0].Day, w.info.Days[n-1].Day
	}
	w.buf = binary.LittleEndian.AppendUint64(w.buf, w.count)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(first))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(last))
	err := w.flush()
	file, closing := w.blocks.finish()
	w.info.File = file
	if err != nil {
		return w.info, err
	}
	return w.info, closing
}

func (w *runWriter) flush() error {
	_, err := w.blocks.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// readRun hands out the keys of day from and later, some thousands at a time, in a slice that it
// uses again. Only when it returns nil is the run known to be whole.
func readRun(
	path string, f io.ReaderAt, info *RunInfo, from engine.Day, yield func([]engine.Key) error,
) error {
	r := newBlockReader(path, f, runMagic, info.File)
	var head [runHead]byte
	if err := r.full(head[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(head[:]) != info.Generation ||
		binary.LittleEndian.Uint64(head[8:]) != info.Number {
		return &CorruptError{Path: path, Offset: 16, Reason: "it is another run's file"}
	}
	total := info.Keys(minDay)
	buf := make([]byte, keySize*min(total, 2048))
	keys := make([]engine.Key, 0, len(buf)/keySize)
	for left := total; left > 0; {
		buf = buf[:keySize*min(left, uint64(cap(buf)/keySize))]
		if err := r.full(buf); err != nil {
			return err
		}
		keys = keys[:0]
		for b := buf; len(b) > 0; b = b[keySize:] {
			if k := keyOf(b); k.Day >= from {
				keys = append(keys, k)
			}
		}
		if err := yield(keys); err != nil {
			return err
		}
		left -= uint64(len(buf) / keySize)
	}
	var foot [runFoot]byte
	if err := r.full(foot[:]); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint64(foot[:]); n != total {
		return &CorruptError{Path: path, Offset: r.off,
			Reason: fmt.Sprintf("it has %d keys, the manifest says %d", n, total)}
	}
	return r.ended()
}

// full fills p; a payload that ends before is corrupt.
func (r *blockReader) full(p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return &CorruptError{Path: r.path, Offset: r.off, Reason: "its contents end too soon"}
	}
	return err
}

// ended checks that nothing is left but the end.
func (r *blockReader) ended() error {
	var b [1]byte
	switch n, err := r.Read(b[:]); {
	case n > 0:
		return &CorruptError{Path: r.path, Offset: r.off, Reason: "it holds more than it should"}
	case err != io.EOF:
		return err
	}
	return nil
}

const minDay = engine.Day(-1 << 31)

func appendKey(b []byte, k *engine.Key) []byte {
	b = binary.LittleEndian.AppendUint64(b, k.Hi)
	b = binary.LittleEndian.AppendUint64(b, k.Lo)
	b = binary.LittleEndian.AppendUint64(b, k.Digest)
	b = binary.LittleEndian.AppendUint32(b, uint32(k.Day))
	return binary.LittleEndian.AppendUint16(b, k.Bucket)
}

func keyOf(b []byte) engine.Key {
	return engine.Key{
		Hi:     binary.LittleEndian.Uint64(b),
		Lo:     binary.LittleEndian.Uint64(b[8:]),
		Digest: binary.LittleEndian.Uint64(b[16:]),
		Day:    engine.Day(binary.LittleEndian.Uint32(b[24:])),
		Bucket: binary.LittleEndian.Uint16(b[28:]),
	}
}

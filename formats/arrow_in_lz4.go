package formats

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// lz4Reader reads frames of LZ4, as Arrow writes them: no dictionary. All checksums that are there
// are verified. It holds at most one block of 4 MiB and the 64 KiB before it.
type lz4Reader struct {
	in      io.Reader
	out     []byte // history and block
	at      int    // of out: what was not given yet
	block   []byte
	most    int // bytes of a block
	flags   byte
	started bool
	sum     xxHash32 // of the content
}

const (
	lz4Magic  = 0x184D2204
	lz4Window = 64 << 10
)

// The flags of a frame.
const (
	lz4Alone       = 1 << 5 // clear where blocks refer to those before
	lz4BlockSum    = 1 << 4
	lz4ContentSize = 1 << 3
	lz4ContentSum  = 1 << 2
	lz4DictID      = 1 << 0
)

var (
	errLZ4     = errors.New("lz4: damaged frame")
	errLZ4Sum  = errors.New("lz4: a checksum does not match")
	errLZ4Kind = errors.New("lz4: a frame of an unknown kind")
)

func newLZ4Reader(in io.Reader) *lz4Reader { return &lz4Reader{in: in} }

// Read implements io.Reader.
func (z *lz4Reader) Read(b []byte) (int, error) {
	for z.at == len(z.out) {
		if err := z.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, z.out[z.at:])
	z.at += n
	return n, nil
}

// next reads one block, or the end of a frame.
func (z *lz4Reader) next() error {
	if !z.started {
		return z.begin()
	}
	size, err := z.word()
	if err != nil {
		return err
	}
	if size == 0 {
		z.started = false
		if z.flags&lz4ContentSum != 0 {
			if sum, err := z.word(); err != nil || sum != z.sum.sum() {
				return errLZ4Sum
			}
		}
		return nil
	}
	plain := size>>31 == 1
	if size &^= 1 << 31; int(size) > z.most {
		return errLZ4
	}
	z.block = append(z.block[:0], make([]byte, size)...)
	if _, err := io.ReadFull(z.in, z.block); err != nil {
		return errLZ4
	}
	if z.flags&lz4BlockSum != 0 {
		var h xxHash32
		h.reset()
		h.write(z.block)
		if sum, err := z.word(); err != nil || sum != h.sum() {
			return errLZ4Sum
		}
	}
	keep := max(0, len(z.out)-lz4Window)
	if z.flags&lz4Alone != 0 {
		keep = len(z.out)
	}
	z.out = append(z.out[:0], z.out[keep:]...)
	z.at = len(z.out)
	if plain {
		z.out = append(z.out, z.block...)
	} else if z.out, err = lz4Block(z.out, z.block, z.at+z.most); err != nil {
		return err
	}
	if z.flags&lz4ContentSum != 0 {
		z.sum.write(z.out[z.at:])
	}
	return nil
}

// begin reads the header of a frame. io.EOF: there is none.
func (z *lz4Reader) begin() error {
	var head [19]byte
	if _, err := io.ReadFull(z.in, head[:4]); err != nil {
		if err == io.EOF {
			return io.EOF
		}
		return errLZ4
	}
	if binary.LittleEndian.Uint32(head[:]) != lz4Magic {
		return errLZ4Kind
	}
	if _, err := io.ReadFull(z.in, head[4:7]); err != nil {
		return errLZ4
	}
	z.flags = head[4]
	size := int(head[5] >> 4 & 7)
	if z.flags>>6 != 1 || z.flags&lz4DictID != 0 || size < 4 {
		return errLZ4Kind
	}
	end := 7
	if z.flags&lz4ContentSize != 0 {
		end += 8
		if _, err := io.ReadFull(z.in, head[7:end]); err != nil {
			return errLZ4
		}
	}
	var h xxHash32
	h.reset()
	h.write(head[4 : end-1])
	if byte(h.sum()>>8) != head[end-1] {
		return errLZ4Sum
	}
	z.most = 1 << (8 + 2*size) // 64 KiB to 4 MiB
	z.started = true
	z.out, z.at = z.out[:0], 0
	z.sum.reset()
	return nil
}

func (z *lz4Reader) word() (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(z.in, b[:]); err != nil {
		return 0, errLZ4
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

// lz4Block appends what a block holds to out, up to limit bytes. It may refer to all that is there.
func lz4Block(out, in []byte, limit int) ([]byte, error) {
	length := func(n int) (int, bool) {
		if n != 15 {
			return n, true
		}
		for len(in) > 0 {
			c := in[0]
			in = in[1:]
			if n += int(c); c != 255 {
				return n, true
			}
		}
		return 0, false
	}
	for len(in) > 0 {
		token := in[0]
		in = in[1:]
		n, ok := length(int(token >> 4))
		if !ok || n > len(in) || len(out)+n > limit {
			return out, errLZ4
		}
		out = append(out, in[:n]...)
		if in = in[n:]; len(in) == 0 {
			return out, nil // the last sequence has literals only
		}
		if len(in) < 2 {
			return out, errLZ4
		}
		back := int(binary.LittleEndian.Uint16(in))
		in = in[2:]
		n, ok = length(int(token & 15))
		n += 4
		if !ok || back == 0 || back > len(out) || len(out)+n > limit {
			return out, errLZ4
		}
		for n > 0 { // what is copied may overlap what it is copied to
			part := out[len(out)-back:]
			out = append(out, part[:min(n, back)]...)
			n -= min(n, back)
		}
	}
	return out, errLZ4
}

// xxHash32 is the checksum of LZ4 frames, with seed 0.
type xxHash32 struct {
	v     [4]uint32
	tail  [16]byte
	tailN int
	total uint64
}

const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

func (h *xxHash32) reset() {
	p1, p2 := xxPrime1, xxPrime2
	*h = xxHash32{v: [4]uint32{p1 + p2, p2, 0, -p1}}
}

func (h *xxHash32) write(b []byte) {
	h.total += uint64(len(b))
	for len(b) > 0 {
		if h.tailN == 0 && len(b) >= 16 {
			h.stripe(b)
			b = b[16:]
			continue
		}
		n := copy(h.tail[h.tailN:], b)
		b = b[n:]
		if h.tailN += n; h.tailN == 16 {
			h.stripe(h.tail[:])
			h.tailN = 0
		}
	}
}

func (h *xxHash32) stripe(b []byte) {
	for i := range h.v {
		x := h.v[i] + binary.LittleEndian.Uint32(b[4*i:])*xxPrime2
		h.v[i] = bits.RotateLeft32(x, 13) * xxPrime1
	}
}

func (h *xxHash32) sum() uint32 {
	x := h.v[2] + xxPrime5
	if h.total >= 16 {
		x = bits.RotateLeft32(h.v[0], 1) + bits.RotateLeft32(h.v[1], 7) +
			bits.RotateLeft32(h.v[2], 12) + bits.RotateLeft32(h.v[3], 18)
	}
	x += uint32(h.total)
	b := h.tail[:h.tailN]
	for ; len(b) >= 4; b = b[4:] {
		x = bits.RotateLeft32(x+binary.LittleEndian.Uint32(b)*xxPrime3, 17) * xxPrime4
	}
	for _, c := range b {
		x = bits.RotateLeft32(x+uint32(c)*xxPrime5, 11) * xxPrime1
	}
	x ^= x >> 15
	x *= xxPrime2
	x ^= x >> 13
	x *= xxPrime3
	return x ^ x>>16
}

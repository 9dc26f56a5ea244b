package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// pageCodec is how the pages of a chunk are compressed.
type pageCodec int

const (
	codecNone   pageCodec = 0
	codecSnappy pageCodec = 1
	codecGzip   pageCodec = 2
	codecZstd   pageCodec = 6
	codecLZ4Raw pageCodec = 7
)

func (c pageCodec) String() string {
	names := []string{"UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"}
	if c < 0 || int(c) >= len(names) {
		return fmt.Sprintf("codec %d", int(c))
	}
	return names[c]
}

// readable reports whether pages of the codec are read. BROTLI states no bound of what it gives;
// LZ4 is the one whose framing nobody wrote down; LZO has no library.
func (c pageCodec) readable() bool {
	switch c {
	case codecNone, codecSnappy, codecGzip, codecZstd, codecLZ4Raw:
		return true
	}
	return false
}

var errShort = errors.New("its bytes end too early")

// most returns how many bytes src can give at most. It reads the frames and the heads of blocks and
// decompresses nothing, so a page is only given the room that its bytes can fill.
func (c pageCodec) most(src []byte) (int64, error) {
	switch c {
	case codecSnappy:
		n, err := snappy.DecodedLen(src)
		return min(int64(n), int64(len(src))*22), err // the best of Snappy: 64 bytes by 3
	case codecGzip:
		return int64(len(src)) * 1032, nil // the best that DEFLATE can do
	case codecLZ4Raw:
		return int64(len(src)) * 255, nil // the best that a byte of length can do
	case codecZstd:
		return zstdMost(src)
	}
	return int64(len(src)), nil
}

// unpack decompresses src into dst, whose length is what it must give.
func (f *parquetFile) unpack(c pageCodec, dst, src []byte) error {
	switch c {
	case codecSnappy:
		// The library makes room of its own for what does not fit.
		if n, err := snappy.DecodedLen(src); err != nil || n != len(dst) {
			return fmt.Errorf("it holds %d bytes, the page claims %d", n, len(dst))
		}
		out, err := snappy.Decode(dst, src)
		return fills(dst, out, err)
	case codecGzip:
		return f.gunzip(dst, src)
	case codecZstd:
		if f.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
				zstd.WithDecoderMaxMemory(maxPageBytes), zstd.WithDecoderMaxWindow(maxPageBytes),
				zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return err
			}
			f.zstd = z
		}
		out, err := f.zstd.DecodeAll(src, dst[:0:len(dst)])
		return fills(dst, out, err)
	case codecLZ4Raw:
		return unpackLZ4(dst, src)
	}
	panic("BUG: codec " + c.String())
}

func (f *parquetFile) gunzip(dst, src []byte) error {
	in := bytes.NewReader(src)
	if f.gzip == nil {
		f.gzip = new(gzip.Reader)
	}
	if err := f.gzip.Reset(in); err != nil {
		return whole(err)
	}
	if _, err := io.ReadFull(f.gzip, dst); err != nil {
		return whole(err)
	}
	// The end has the checksum, and tells whether there is more.
	var more [1]byte
	n, err := f.gzip.Read(more[:])
	for n == 0 && err == nil {
		n, err = f.gzip.Read(more[:])
	}
	if n > 0 {
		return errors.New("it holds more than the page's size")
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// fills checks that a codec gave what was promised, in the place where it was to be.
func fills(dst, out []byte, err error) error {
	switch {
	case err != nil:
		return err
	case len(out) != len(dst):
		return fmt.Errorf("it holds %d bytes, the page claims %d", len(out), len(dst))
	case len(out) > 0 && &out[0] != &dst[0]:
		copy(dst, out)
	}
	return nil
}

// zstdMost walks the frames and blocks of src: a block that is no run of one byte and not stored
// gives 128 KiB at most, and any other states its size.
func zstdMost(src []byte) (most int64, err error) {
	const block = 128 << 10
	for len(src) > 0 {
		if len(src) < 5 {
			return 0, errShort
		}
		magic := binary.LittleEndian.Uint32(src)
		if magic&^15 == 0x184d2a50 { // a frame to be skipped
			if len(src) < 8 || uint64(len(src)-8) < uint64(binary.LittleEndian.Uint32(src[4:])) {
				return 0, errShort
			}
			src = src[8+int(binary.LittleEndian.Uint32(src[4:])):]
			continue
		}
		if magic != 0xfd2fb528 {
			return 0, errors.New("it is no zstd frame")
		}
		flags := src[4]
		head := 5 + [...]int{0, 1, 2, 4}[flags&3] + [...]int{0, 2, 4, 8}[flags>>6]
		if single := flags&(1<<5) != 0; !single || flags>>6 == 0 {
			head++ // the window's size; in its place a content size of one byte
		}
		if head > len(src) {
			return 0, errShort
		}
		src = src[head:]
		for last := false; !last; {
			if len(src) < 3 {
				return 0, errShort
			}
			h := int(src[0]) | int(src[1])<<8 | int(src[2])<<16
			last = h&1 != 0
			size, gives := h>>3, int64(h>>3)
			switch h >> 1 & 3 {
			case 1:
				size = 1
			case 2:
				gives = block
			case 3:
				return 0, errors.New("a zstd block is of no known type")
			}
			if gives > block || size > len(src)-3 {
				return 0, errShort
			}
			most += gives
			src = src[3+size:]
		}
		if flags&(1<<2) != 0 {
			if len(src) < 4 {
				return 0, errShort
			}
			src = src[4:]
		}
	}
	return most, nil
}

// unpackLZ4 decompresses one block of LZ4.
func unpackLZ4(dst, src []byte) error {
	in, out := 0, 0
	length := func(n int) (int, bool) {
		for more := n == 15; more; {
			if in == len(src) {
				return 0, false
			}
			n += int(src[in])
			more = src[in] == 255
			in++
		}
		return n, true
	}
	for in < len(src) {
		token := src[in]
		in++
		n, ok := length(int(token >> 4))
		if !ok || n > len(src)-in || n > len(dst)-out {
			return errShort
		}
		copy(dst[out:], src[in:in+n])
		in, out = in+n, out+n
		if in == len(src) {
			break // the last sequence has no match
		}
		if len(src)-in < 2 {
			return errShort
		}
		back := int(binary.LittleEndian.Uint16(src[in:]))
		in += 2
		n, ok = length(int(token & 15))
		n += 4
		if !ok || back == 0 || back > out || n > len(dst)-out {
			return errShort
		}
		if back >= n {
			copy(dst[out:out+n], dst[out-back:])
			out += n
			continue
		}
		for end := out + n; out < end; out++ {
			dst[out] = dst[out-back]
		}
	}
	if out != len(dst) {
		return fmt.Errorf("it holds %d bytes, the page claims %d", out, len(dst))
	}
	return nil
}

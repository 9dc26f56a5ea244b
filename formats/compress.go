package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Limits of zstd streams. The format allows windows of 512 MiB and more, for which a file of a few
// bytes can ask.
const (
	zstdMemory = 256 << 20
	zstdWindow = 64 << 20
)

// Decompress returns what r holds before it was compressed, as its first bytes tell: gzip (all of
// its members, every checksum verified), zstd (all of its frames), or as it is. name is for errors,
// which are those of Read as well: damaged and cut streams fail with it, after the bytes that could
// be read.
func Decompress(name string, r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("read %s: gzip: %w", name, whole(err))
		}
		return &unpacked{name: name, kind: "gzip", in: z}, nil
	case isZstd(magic):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(zstdMemory), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, fmt.Errorf("read %s: zstd: %w", name, err)
		}
		return &unpacked{name: name, kind: "zstd", in: z}, nil
	}
	return in, nil
}

// isZstd knows frames, and the skippable frames that some programs write before them.
func isZstd(magic []byte) bool {
	if len(magic) < 4 {
		return false
	}
	return bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18})
}

// unpacked gives errors of a decompressor their place.
type unpacked struct {
	name, kind string
	in         io.Reader
	offset     int64
}

// Read implements io.Reader.
func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.in.Read(b)
	u.offset += int64(n)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s: %s, after %d bytes of content: %w", u.name, u.kind, u.offset, err)
	}
	return n, err
}

// whole is for errors of a header: there an end of file is not a good end.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

package formats

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func gzipped(t *testing.T, s string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t *testing.T, s string, options ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unpack(in []byte) (string, error) {
	r, err := Decompress("u.gz", bytes.NewReader(in))
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(r)
	return string(out), err
}

func TestDecompress(t *testing.T) {
	text := strings.Repeat(`{"id":"1"}`+"\n", 5000)
	skippable := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	for name, in := range map[string][]byte{
		"plain":        []byte(text + text),
		"gzip members": append(gzipped(t, text), gzipped(t, text)...),
		"zstd frames":  append(zstded(t, text), zstded(t, text)...),
		"skippable":    append(skippable, zstded(t, text+text)...),
	} {
		if got, err := unpack(in); err != nil || got != text+text {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for _, short := range []string{"", "{", "{}\n"} {
		if got, err := unpack([]byte(short)); err != nil || got != short {
			t.Errorf("%q: %q, %v", short, got, err)
		}
	}
}

// TestDecompressDamage holds that a damaged or cut stream never ends as if it were whole.
func TestDecompressDamage(t *testing.T) {
	text := strings.Repeat(`{"id":"1"}`+"\n", 50)
	for name, in := range map[string][]byte{"gzip": gzipped(t, text), "zstd": zstded(t, text)} {
		for n := 4; n < len(in); n++ {
			_, err := unpack(in[:n])
			if err == nil || !strings.HasPrefix(err.Error(), "read u.gz: "+name) ||
				!errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(in), err)
			}
		}
		for _, i := range []int{len(in) - 1, len(in) - 4} {
			bad := bytes.Clone(in)
			bad[i] ^= 1
			if _, err := unpack(bad); err == nil {
				t.Errorf("%s with a damaged trailer is read", name)
			}
		}
	}
	big := zstded(t, "x", zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false))
	// The encoder writes small frames without their window; this header asks for 2 GiB.
	forged := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00}
	if _, err := unpack(forged); err == nil || !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Error("a window of 2 GiB is taken: ", err)
	}
	if got, err := unpack(big); err != nil || got != "x" {
		t.Error(got, err)
	}
}

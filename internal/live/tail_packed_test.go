package live

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func zipped(t *testing.T, text string) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestTailCompressed(t *testing.T) {
	for _, untilEOF := range []bool{false, true} {
		b := newBench(t, TailOptions{UntilEOF: untilEOF, ChunkSize: 32})
		var rows []string
		for i := range 10 {
			rows = append(rows, row(100+2*i)+row(101+2*i))
		}
		text := strings.Join(rows, "")
		b.check(os.WriteFile(b.path("a.log.gz"), zipped(t, text), 0o644))
		b.start()
		b.want(rows)
		for p := range b.ends {
			b.ends[p] = int64(len(rows[0]) * 7)
		}
		b.start()
		b.want(rows[7:])
		// Appended by another run of gzip: the file is read again, from the position on.
		more := append(zipped(t, text), zipped(t, row(200))...)
		b.check(os.WriteFile(b.path("a.log.gz"), more, 0o644))
		if untilEOF {
			b.start()
		}
		b.want([]string{row(200)})

		b.check(os.WriteFile(b.path("bad.log.gz"), zipped(t, text)[:40], 0o644))
		b.start()
		var err error
		for range 100 {
			if _, _, err = b.tail.Next(context.Background()); err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), "bad.log.gz") {
			t.Errorf("a cut file: %v", err)
		}
		if _, _, again := b.tail.Next(context.Background()); !errors.Is(again, err) {
			t.Errorf("the error is not final: %v", again)
		}
	}
}

func TestTailCompressedRotation(t *testing.T) {
	b := newBench(t, TailOptions{})
	b.append("a.log", row(1)+row(2))
	b.start()
	b.want([]string{row(1) + row(2)})
	b.check(b.tail.Close())
	b.tail = nil
	b.append("a.log", row(3))
	text, err := os.ReadFile(b.path("a.log"))
	b.check(err)
	b.check(os.WriteFile(b.path("a.log.1.gz"), zipped(t, string(text)), 0o644))
	b.check(os.Remove(b.path("a.log")))
	b.start()
	b.want([]string{row(3)})
}

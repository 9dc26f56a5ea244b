package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"testing"

	"billctl/engine"
)

// What decodes encodes to the same bytes: there is one form of everything, and nothing is half
// accepted.

func FuzzManifest(f *testing.F) {
	info := CheckpointInfo{Meta: CheckpointMeta{Seq: 9, At: 1, MinDay: 3, Outbox: 4, Base: 8},
		State: FileSum{Size: 5}, Runs: []RunInfo{{Generation: 1, Number: 2,
			File: FileSum{Size: 7}, Days: []DayCount{{3, 4}, {5, 6}}}}}
	good := appendManifest(nil, &info)
	var back CheckpointInfo
	if err := decodeManifest("m", good, &back); err != nil || !reflect.DeepEqual(back, info) {
		f.Fatalf("%+v, %v", back, err)
	}
	f.Add(good[8 : len(good)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append([]byte(manifestMagic), body...) // with a checksum that is right
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		var c CheckpointInfo
		if decodeManifest("m", b, &c) == nil && !bytes.Equal(appendManifest(nil, &c), b) {
			t.Error("a manifest has two forms")
		}
	})
}

func FuzzRecord(f *testing.F) {
	good, err := appendRecord(nil, &OutboxRecord{Seq: 300, Kind: DocumentRecord, Key: "k",
		Account: "a", Body: []byte("body")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := appendRecord(nil, &rec)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("a record has two forms: %x, %x, %v", b, again, err)
		}
	})
}

func FuzzRejections(f *testing.F) {
	f.Add(AppendRejections(nil, []engine.Rejection{{Seq: 1, Reason: 1}, {Seq: 900, Reason: 10}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := DecodeRejections(b); err == nil &&
			!bytes.Equal(AppendRejections(nil, list), b) {
			t.Errorf("rejections have two forms: %x", b)
		}
	})
}

func FuzzDelivery(f *testing.F) {
	f.Add(appendDelivery(nil, &Delivery{Position: 3, Key: "k", Attempts: 2, First: 1, Last: 5,
		State: Parked, Reason: "why"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeDelivery(b); err == nil && !bytes.Equal(appendDelivery(nil, &d), b) {
			t.Errorf("a delivery has two forms: %x", b)
		}
	})
}

// A file of blocks is read to its end only when it is what was written.
func FuzzBlocks(f *testing.F) {
	var file memFile
	w := newBlockWriter(&file, stateMagic)
	for i := range 3 {
		if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, 40)); err != nil {
			f.Fatal(err)
		}
		w.flush()
	}
	want, err := w.finish()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(file))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newBlockReader("state", bytes.NewReader(b), stateMagic, want)
		if _, err := io.Copy(io.Discard, r); err == nil && !bytes.Equal(b, file) {
			t.Error("another file is taken for the one that was written")
		}
		run := RunInfo{File: FileSum{Size: int64(len(b))}, Days: []DayCount{{1, 1 << 60}}}
		err := readRun("run", bytes.NewReader(b), &run, 0, func([]engine.Key) error { return nil })
		if err == nil {
			t.Error("a run of 2^60 keys is taken")
		}
	})
}

// Payload of every size around a block's comes back.
func TestBlocksOfAnySize(t *testing.T) {
	for _, n := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 2*blockSize + 7} {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(i * 7)
		}
		var file memFile
		w := newBlockWriter(&file, stateMagic)
		for rest := payload; len(rest) > 0; {
			k := min(len(rest), 70_001)
			if _, err := w.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		sum, err := w.finish()
		if err != nil || sum.Size != int64(len(file)) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		got, err := io.ReadAll(newBlockReader("f", bytes.NewReader(file), stateMagic, sum))
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
		}
	}
}

// A file that is sound in itself is refused where the manifest names another one of its length.
func TestBlocksOfAnotherFile(t *testing.T) {
	var files [2]memFile
	var sums [2]FileSum
	for i := range files {
		w := newBlockWriter(&files[i], stateMagic)
		_, err := w.Write([]byte{byte(i)})
		if err == nil {
			sums[i], err = w.finish()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := newBlockReader("f", bytes.NewReader(files[0]), stateMagic, sums[1])
	if _, err := io.ReadAll(r); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("another file is read: %v", err)
	}
}

// memFile is a File that is only written.
type memFile []byte

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	*m = append((*m)[:off], p...)
	return len(p), nil
}

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(*m).ReadAt(p, off)
}
func (m *memFile) Size() (int64, error) { return int64(len(*m)), nil }
func (*memFile) Truncate(int64) error   { return nil }
func (*memFile) Sync() error            { return nil }
func (*memFile) Close() error           { return nil }

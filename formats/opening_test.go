package formats_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/formats"
)

// openingOf makes the parts of an opening.
func openingOf(seed uint64, accounts, keys int) (formats.OpeningInfo, [][]byte, []engine.Key) {
	r := rand.New(rand.NewPCG(seed, 9))
	info := formats.OpeningInfo{
		Format: engine.StateFormat, Journal: [16]byte{1, 0xff}, Partition: 1 << 31, Seq: 1 << 60,
		At: 1_777_000_000_000_000, Month: "2026-04", Billing: engine.Digest{7}, Sealed: engine.Digest{8},
		Before: engine.Digest{9}, MinDay: engine.Always,
	}
	records := [][]byte{[]byte("globals \x00\xff")}
	for i := range accounts {
		id := fmt.Sprintf("account-%d-é", i)
		record := append(binary.AppendUvarint(nil, uint64(len(id))), id...)
		for range r.IntN(300) {
			record = append(record, byte(r.Uint32()))
		}
		records = append(records, record)
	}
	var all []engine.Key
	for range keys {
		all = append(all, engine.Key{
			Hi: r.Uint64(), Lo: r.Uint64(), Digest: r.Uint64(), Day: engine.Day(r.Int32() - 1<<30),
			Bucket: uint16(r.Uint32()),
		})
	}
	return info, records, all
}

func writeOpening(
	t testing.TB, info formats.OpeningInfo, records [][]byte, keys []engine.Key,
) ([]byte, formats.OpeningInfo) {
	t.Helper()
	var out bytes.Buffer
	got, err := formats.WriteOpening(&out, info, func(yield func([]byte) error) error {
		buf := make([]byte, 0, 1<<10)
		for _, record := range records {
			buf = append(buf[:0], record...) // nobody may keep it
			if err := yield(buf); err != nil {
				return err
			}
		}
		return nil
	}, func(yield func([]engine.Key) error) error {
		for run := range slices.Chunk(keys, 1000) {
			if err := yield(run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), got
}

func readOpening(file []byte) (
	info formats.OpeningInfo, records [][]byte, keys []engine.Key, err error,
) {
	o, err := formats.OpenOpening("opening.parquet", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return info, nil, nil, err
	}
	defer o.Close() // read only
	err = o.Records(func(record []byte) error {
		records = append(records, slices.Clone(record))
		return nil
	})
	if err != nil {
		return info, nil, nil, err
	}
	err = o.Keys(func(run []engine.Key) error {
		keys = append(keys, run...)
		return nil
	})
	return o.Info(), records, keys, err
}

func TestOpening(t *testing.T) {
	for _, n := range []struct{ accounts, keys int }{
		{0, 0}, {1, 0}, {0, 1}, {50, 3000}, {3000, 300_000},
	} {
		info, records, keys := openingOf(uint64(n.keys), n.accounts, n.keys)
		file, info := writeOpening(t, info, records, keys)
		if again, _ := writeOpening(t, info, records, keys); !bytes.Equal(file, again) {
			t.Error("the bytes differ from one run to the next")
		}
		if info.Records != uint64(len(records)) || info.Keys != uint64(n.keys) ||
			info.Bytes != int64(len(file)) {
			t.Errorf("%+v", info)
		}
		got, gotRecords, gotKeys, err := readOpening(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != info || !slices.EqualFunc(gotRecords, records, bytes.Equal) ||
			!slices.Equal(gotKeys, keys) {
			t.Errorf("%+v: the opening comes back as another, info %+v", n, got)
		}
		t.Logf("%d accounts, %d keys: %d bytes", n.accounts, n.keys, len(file))
	}
}

func TestOpeningRefused(t *testing.T) {
	info, records, keys := openingOf(1, 3, 20)
	other := info
	other.Format = engine.StateFormat + 1
	file, _ := writeOpening(t, other, records, keys)
	_, _, _, err := readOpening(file)
	var fault *formats.FileError
	own := fmt.Sprintf("has format %d", engine.StateFormat)
	if !errors.As(err, &fault) || !strings.Contains(fault.Reason, own) || fault.Hint == "" {
		t.Errorf("another format: %v", err)
	}
	file, _ = writeOpening(t, info, records, keys)
	if _, _, _, err := readOpening(rewritten(t, file, "other", 7)); !errors.As(err, &fault) {
		t.Errorf("written anew: %v", err)
	}
	if _, _, err := readArchive(file, false); !errors.As(err, &fault) {
		t.Errorf("as an archive file: %v", err)
	}
	archive, _ := archived(t, usageEntries(t, 10, 0))
	if _, _, _, err := readOpening(archive); !errors.As(err, &fault) {
		t.Errorf("an archive file: %v", err)
	}
	broken := errors.New("broken")
	o, err := formats.OpenOpening("x", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Keys(func([]engine.Key) error { return broken }); err != broken {
		t.Errorf("got %v", err)
	}
}

// TestOpeningDamaged flips bits of every third byte of an opening, and cuts it everywhere.
func TestOpeningDamaged(t *testing.T) {
	info, records, keys := openingOf(2, 20, 60)
	file, info := writeOpening(t, info, records, keys)
	r := rand.New(rand.NewPCG(6, 6))
	refused, same := 0, 0
	for at := 0; at < len(file); at += 3 {
		flip := byte(1) << r.IntN(8)
		file[at] ^= flip
		got, gotRecords, gotKeys, err := readOpening(file)
		switch {
		case err != nil:
			refused++
		case got == info && slices.EqualFunc(gotRecords, records, bytes.Equal) &&
			slices.Equal(gotKeys, keys):
			same++
		default:
			t.Errorf("byte %d ^ %#x: the file says something else", at, flip)
		}
		file[at] ^= flip
	}
	t.Logf("%d bytes: %d refused, %d without a change", len(file), refused, same)
	if refused < len(file)/6 {
		t.Error("too few are refused")
	}
	for size := range file {
		if _, _, _, err := readOpening(file[:size]); err == nil {
			t.Errorf("a file cut to %d bytes is read", size)
		}
	}
}

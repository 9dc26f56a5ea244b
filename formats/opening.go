package formats

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"

	"billctl/engine"
)

// The kinds of rows of an opening.
const (
	rowOfGlobals = "globals"
	rowOfAccount = "account"
	rowOfKey     = "key"
)

// WriteOpening writes the state right after a Mark as one file (docs/formats/opening.md). records
// gives the canonical bytes of the globals and then of each account, keys the remembered keys in
// runs; both are streamed, and what they give is kept for no longer than their yield. Version,
// Records, Keys and Bytes of the info are filled in, the rest of it is the caller's. It fails with
// the errors of w, records and keys.
func WriteOpening(
	w io.Writer, info OpeningInfo, records func(yield func([]byte) error) error,
	keys func(yield func([]engine.Key) error) error,
) (OpeningInfo, error) {
	o := newOpeningSink(w)
	info.Version, info.Records, info.Keys = ArchiveVersion, 0, 0
	err := records(func(record []byte) error {
		info.Records++
		return o.record(record, info.Records == 1)
	})
	if err == nil {
		err = o.file.flush()
	}
	if err == nil {
		err = keys(func(run []engine.Key) error {
			info.Keys += uint64(len(run))
			return o.keys(run)
		})
	}
	if err == nil {
		info.Bytes, err = o.file.close(openingPairs(&info))
	}
	if err != nil {
		return OpeningInfo{}, fmt.Errorf("write opening: %w", err)
	}
	return info, nil
}

// openingSink is an opening that is written.
type openingSink struct {
	file                                              *sink
	kind, account, bytes, hi, lo, digest, day, bucket *sinkColumn
}

func newOpeningSink(w io.Writer) *openingSink {
	int32Column := func(name string) *sinkColumn {
		node := parquet.Encoded(parquet.Leaf(parquet.Int32Type), &parquet.DeltaBinaryPacked)
		return &sinkColumn{name: name, node: node, optional: true}
	}
	o := &openingSink{
		kind: wordColumn("kind"),
		account: &sinkColumn{
			name: "account", optional: true, unbound: true,
			node: parquet.Encoded(parquet.String(), &parquet.DeltaLengthByteArray),
		},
		bytes: &sinkColumn{
			name: "record", optional: true, unbound: true,
			node: parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.Plain),
		},
		hi: wordSizeColumn("hi", true), lo: wordSizeColumn("lo", true),
		digest: wordSizeColumn("digest", true),
		day:    int32Column("day"), bucket: int32Column("bucket"),
	}
	o.kind.optional = false
	o.file = newSink(w, openingRoot, []*sinkColumn{
		o.kind, o.account, o.bytes, o.hi, o.lo, o.digest, o.day, o.bucket,
	})
	return o
}

// record writes the row of the globals or of an account.
func (o *openingSink) record(record []byte, globals bool) error {
	err := o.bytes.put(record)
	if err != nil {
		return err
	}
	if globals {
		if err = o.kind.text(rowOfGlobals); err == nil {
			err = o.account.null()
		}
	} else {
		id, ok := recordAccount(record)
		if !ok {
			return fmt.Errorf("a record of %d bytes does not begin with an account's id", len(record))
		}
		if err = o.kind.text(rowOfAccount); err == nil {
			err = o.account.put(id)
		}
	}
	for _, c := range []*sinkColumn{o.hi, o.lo, o.digest, o.day, o.bucket} {
		if err == nil {
			err = c.null()
		}
	}
	if err != nil {
		return err
	}
	return o.file.end(1, len(record)+64)
}

// recordAccount returns the id of the account whose state begins so: its length, then its bytes.
func recordAccount(record []byte) ([]byte, bool) {
	n, used := binary.Uvarint(record)
	if used <= 0 || n > uint64(len(record)-used) {
		return nil, false
	}
	id := record[used : used+int(n)]
	return id, checkTexts([]string{string(id)}) == nil
}

func (o *openingSink) keys(run []engine.Key) error {
	for part := range slices.Chunk(run, sinkRun) {
		o.kind.begin([]string{rowOfKey})
		for i := range part {
			k := &part[i]
			for _, err := range [...]error{
				o.kind.word(0), o.account.null(), o.bytes.null(), o.hi.int(int64(k.Hi)),
				o.lo.int(int64(k.Lo)), o.digest.int(int64(k.Digest)), o.day.int32(int32(k.Day)),
				o.bucket.int32(int32(k.Bucket)),
			} {
				if err != nil {
					return err
				}
			}
		}
		if err := o.file.end(len(part), 40*len(part)); err != nil {
			return err
		}
	}
	return nil
}

package formats

import (
	"fmt"
	"io"
	"slices"

	"billctl/engine"
)

// OpeningReader reads an opening. It is used by one goroutine.
type OpeningReader struct {
	info OpeningInfo
	file *parquetFile
	cols [numOpening]int // of the file
	buf  []engine.Key
}

// The columns of an opening.
const (
	openKind = iota
	openAccount
	openRecord
	openHi
	openLo
	openDigest
	openDay
	openBucket
	numOpening
)

// openingColumn returns the name and the kind of a column.
func openingColumn(at int) (string, vectorKind) {
	switch at {
	case openKind:
		return "kind", textVector
	case openAccount:
		return "account", textVector
	case openRecord:
		return "record", bytesVector
	case openHi:
		return "hi", numberVector
	case openLo:
		return "lo", numberVector
	case openDigest:
		return "digest", numberVector
	case openDay:
		return "day", intVector
	}
	return "bucket", intVector
}

// OpenOpening opens an opening. Whatever is wrong is a *FileError, also a file whose state has
// another format than this program's engine. r must stay open while the file is read.
func OpenOpening(name string, r io.ReaderAt, size int64) (*OpeningReader, error) {
	f, err := openParquet(name, r, size)
	if err != nil {
		return nil, err
	}
	o := &OpeningReader{file: f}
	if err := o.open(size); err != nil {
		f.close() // nothing was read yet
		return nil, err
	}
	return o, nil
}

func (o *OpeningReader) open(size int64) error {
	info, ok, err := readOpeningPairs(o.file)
	if err != nil {
		return err
	}
	o.info = info
	o.info.Bytes = size
	if !ok {
		e := o.fault(nil, -1, "", "it is no opening of billctl")
		e.Hint = "an opening that another program wrote anew is none: take the original"
		return e
	}
	if info.Format != engine.StateFormat {
		e := o.fault(nil, -1, "", fmt.Sprintf(
			"its state has format %d; this program has format %d", info.Format, engine.StateFormat))
		e.Hint = "replay from an earlier opening or from the first entry"
		return e
	}
	if n := uint64(o.file.rows()); n != info.Records+info.Keys || info.Records > n {
		return o.fault(nil, -1, "", fmt.Sprintf("it has %d rows for %d records and %d keys", n,
			info.Records, info.Keys))
	}
	columns := o.file.columns()
	for i := range o.cols {
		name, kind := openingColumn(i)
		o.cols[i] = slices.IndexFunc(columns, func(c tableColumn) bool { return c.name == name })
		if o.cols[i] < 0 {
			return o.fault(nil, -1, name, "the column is missing")
		}
		if c := columns[o.cols[i]]; c.kind != kind {
			return o.fault(nil, -1, name, fmt.Sprintf("it is %s, which it is not in an opening", c.what))
		}
	}
	return nil
}

// Info returns what the file says of itself.
func (o *OpeningReader) Info() OpeningInfo { return o.info }

// Close ends the reading. It does not close what the file is read from.
func (o *OpeningReader) Close() error { return o.file.close() }

// Records gives the canonical bytes of the globals and then of each account to yield, which must
// not keep them. It can be called again. Beside the errors of yield it fails with a *FileError.
func (o *OpeningReader) Records(yield func([]byte) error) error {
	left := o.info.Records
	globals := true
	return o.runs([]int{openKind, openRecord}, func(r *run) (bool, error) {
		kinds, records := &r.vectors[0].text, &r.vectors[1]
		for row := 0; row < r.rows && left > 0; row++ {
			want := rowOfAccount
			if globals {
				want, globals = rowOfGlobals, false
			}
			if kind, _ := kinds.At(row); kind != want || records.null.Has(row) {
				return false, o.fault(r, row, "kind", fmt.Sprintf(
					"a row of the kind %s, where one of the kind %s with a record is next",
					quoted(kind), want))
			}
			if err := yield(records.bytes.At(row)); err != nil {
				return false, err
			}
			left--
		}
		return left > 0, nil
	})
}

// Keys gives all keys to yield in runs, which it must not keep. It can be called again. Beside the
// errors of yield it fails with a *FileError.
func (o *OpeningReader) Keys(yield func([]engine.Key) error) error {
	columns := []int{openKind, openHi, openLo, openDigest, openDay, openBucket}
	return o.runs(columns, func(r *run) (bool, error) {
		o.buf = o.buf[:0]
		first := max(0, int(min(int64(o.info.Records)-r.first, int64(r.rows))))
		for row := first; row < r.rows; row++ {
			k, column, ok := keyOf(r, row)
			if !ok {
				return false, o.fault(r, row, column, "it is not what a key has")
			}
			o.buf = append(o.buf, k)
		}
		if len(o.buf) == 0 {
			return true, nil
		}
		return true, yield(o.buf)
	})
}

func keyOf(r *run, row int) (k engine.Key, column string, ok bool) {
	v := r.vectors
	if kind, _ := v[0].text.At(row); kind != rowOfKey {
		return k, "kind", false
	}
	for i := 1; i < len(v); i++ {
		if v[i].null.Has(row) {
			name, _ := openingColumn([...]int{openKind, openHi, openLo, openDigest, openDay,
				openBucket}[i])
			return k, name, false
		}
	}
	var okHi, okLo, okDigest bool
	k.Hi, okHi = wholeWord(v[1].numbers[row])
	k.Lo, okLo = wholeWord(v[2].numbers[row])
	k.Digest, okDigest = wholeWord(v[3].numbers[row])
	if !okHi || !okLo || !okDigest {
		return k, "digest", false
	}
	k.Day, k.Bucket = engine.Day(v[4].ints[row]), uint16(v[5].ints[row])
	if int64(k.Day) != v[4].ints[row] || int64(k.Bucket) != v[5].ints[row] {
		return k, "day", false
	}
	return k, "", true
}

// runs reads columns run by run until use is false or fails.
func (o *OpeningReader) runs(columns []int, use func(*run) (bool, error)) error {
	var at []int
	for _, c := range columns {
		at = append(at, o.cols[c])
	}
	if err := o.file.read(at); err != nil {
		return err
	}
	for {
		r, err := o.file.next(archiveRun)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if more, err := use(r); err != nil || !more {
			return err
		}
	}
}

func (o *OpeningReader) fault(r *run, row int, column, reason string) *FileError {
	e := &FileError{Name: o.file.name, Group: -1, Row: -1, Column: column, Reason: reason}
	if r != nil {
		e.Group, e.Row = r.group, r.first+int64(row)
	}
	return e
}

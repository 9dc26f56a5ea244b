package formats

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"

	"billctl/engine"
)

// metaPair is a key and its value in the metadata of a file.
type metaPair struct{ key, value string }

// The names of the schemas. Another program gives the file that it writes another name.
const (
	archiveRoot = "billctl"
	openingRoot = "billctl_opening"
	archiveMeta = "billctl."
	openingMeta = "billctl.opening."
)

// archivePairs returns the metadata of an archive file with these property columns.
func archivePairs(info *ArchiveInfo, columns string) []metaPair {
	w := metaWriter{prefix: archiveMeta}
	w.int("version", int64(info.Version))
	w.hex("journal", info.Journal[:])
	w.uint("partition", uint64(info.Partition))
	w.uint("first", uint64(info.First))
	w.uint("last", uint64(info.Last))
	w.int("first_at", int64(info.FirstAt))
	w.int("last_at", int64(info.LastAt))
	w.uint("entries", info.Entries)
	w.uint("rows", info.Rows)
	w.uint("malformed", info.Malformed)
	w.int("seals", int64(info.Seals))
	w.hex("before", info.Before[:])
	w.hex("head", info.Head[:])
	w.hex("content", info.Content[:])
	w.uint("columns", uint64(crcOf(columns)))
	return w.end()
}

// readArchivePairs reads what archivePairs wrote. columns are those that the file has. ok is false
// if the file has no metadata of ours.
func readArchivePairs(f *parquetFile, columns string) (info ArchiveInfo, ok bool, err error) {
	r := metaReader{file: f, prefix: archiveMeta}
	if ok = r.begin(archivePairs(&ArchiveInfo{}, ""), archiveRoot); !ok {
		return info, false, nil
	}
	if info.Version = r.version(); r.reason != "" {
		return info, true, r.fault()
	}
	r.hex("journal", info.Journal[:])
	info.Partition = uint32(r.uint("partition", 32))
	info.First = engine.Seq(r.uint("first", 64))
	info.Last = engine.Seq(r.uint("last", 64))
	info.FirstAt = engine.Micros(r.int("first_at"))
	info.LastAt = engine.Micros(r.int("last_at"))
	info.Entries = r.uint("entries", 64)
	info.Rows = r.uint("rows", 64)
	info.Malformed = r.uint("malformed", 64)
	info.Seals = int(r.uint("seals", 31))
	r.hex("before", info.Before[:])
	r.hex("head", info.Head[:])
	r.hex("content", info.Content[:])
	wrote := r.uint("columns", 32)
	if r.end(archivePairs(&info, columns)); r.reason == "" && wrote != uint64(crcOf(columns)) {
		r.reason = "the property columns are not those that the file was written with"
	}
	return info, true, r.fault()
}

// openingPairs returns the metadata of an opening.
func openingPairs(info *OpeningInfo) []metaPair {
	w := metaWriter{prefix: openingMeta}
	w.int("version", int64(info.Version))
	w.int("format", int64(info.Format))
	w.hex("journal", info.Journal[:])
	w.uint("partition", uint64(info.Partition))
	w.uint("seq", uint64(info.Seq))
	w.int("at", int64(info.At))
	w.put("month", info.Month)
	w.hex("billing", info.Billing[:])
	w.hex("sealed", info.Sealed[:])
	w.hex("before", info.Before[:])
	w.int("min_day", int64(info.MinDay))
	w.uint("records", info.Records)
	w.uint("keys", info.Keys)
	return w.end()
}

// readOpeningPairs reads what openingPairs wrote.
func readOpeningPairs(f *parquetFile) (info OpeningInfo, ok bool, err error) {
	r := metaReader{file: f, prefix: openingMeta}
	if ok = r.begin(openingPairs(&OpeningInfo{}), openingRoot); !ok {
		return info, false, nil
	}
	if info.Version = r.version(); r.reason != "" {
		return info, true, r.fault()
	}
	info.Format = int(r.uint("format", 31))
	r.hex("journal", info.Journal[:])
	info.Partition = uint32(r.uint("partition", 32))
	info.Seq = engine.Seq(r.uint("seq", 64))
	info.At = engine.Micros(r.int("at"))
	info.Month = r.get("month")
	r.hex("billing", info.Billing[:])
	r.hex("sealed", info.Sealed[:])
	r.hex("before", info.Before[:])
	day := r.int("min_day")
	if info.MinDay = engine.Day(day); int64(info.MinDay) != day {
		r.bad("min_day")
	}
	info.Records = r.uint("records", 64)
	info.Keys = r.uint("keys", 64)
	r.end(openingPairs(&info))
	return info, true, r.fault()
}

// crcOf is the Castagnoli polynomial's, as everywhere in our files.
func crcOf(s string) uint32 {
	return crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli))
}

// metaWriter makes metadata. The last pair is a checksum over all others: the footer of a Parquet
// file has none.
type metaWriter struct {
	prefix string
	pairs  []metaPair
}

func (w *metaWriter) put(key, value string) {
	w.pairs = append(w.pairs, metaPair{w.prefix + key, value})
}

func (w *metaWriter) int(key string, v int64)   { w.put(key, strconv.FormatInt(v, 10)) }
func (w *metaWriter) uint(key string, v uint64) { w.put(key, strconv.FormatUint(v, 10)) }
func (w *metaWriter) hex(key string, v []byte)  { w.put(key, hex.EncodeToString(v)) }

func (w *metaWriter) end() []metaPair {
	text := ""
	for _, p := range w.pairs {
		text += p.key + "=" + p.value + "\n"
	}
	w.put("crc", fmt.Sprintf("%08x", crcOf(text)))
	return w.pairs
}

// metaReader reads metadata. After the first fault it gives zeros.
type metaReader struct {
	file         *parquetFile
	prefix       string
	reason, hint string
}

// begin is false if the file has none of these keys and was not written by us.
func (r *metaReader) begin(keys []metaPair, root string) bool {
	for _, p := range keys {
		if _, ok := r.file.metadata(p.key); ok {
			return true
		}
	}
	return r.file.footer.elements[0].name == root
}

func (r *metaReader) bad(key string) {
	if r.reason == "" {
		r.reason = "the metadata " + r.prefix + key + " is missing or damaged"
	}
}

func (r *metaReader) get(key string) string {
	v, ok := r.file.metadata(r.prefix + key)
	if !ok {
		r.bad(key)
	}
	return v
}

func (r *metaReader) int(key string) int64 {
	v, err := strconv.ParseInt(r.get(key), 10, 64)
	if err != nil {
		r.bad(key)
	}
	return v
}

func (r *metaReader) uint(key string, bits int) uint64 {
	v, err := strconv.ParseUint(r.get(key), 10, bits)
	if err != nil {
		r.bad(key)
	}
	return v
}

func (r *metaReader) hex(key string, dst []byte) {
	b, err := hex.DecodeString(r.get(key))
	if err != nil || len(b) != len(dst) {
		r.bad(key)
		return
	}
	copy(dst, b)
}

// version reads the version, which must be one that we know.
func (r *metaReader) version() int {
	v := r.uint("version", 31)
	if r.reason == "" && v > ArchiveVersion {
		r.reason = fmt.Sprintf("the file has version %d of the format; this program knows %d", v,
			ArchiveVersion)
		r.hint = "read it with the newer billctl that wrote it"
	} else if v == 0 {
		r.bad("version")
	}
	return int(v)
}

// end compares the checksum with that of the pairs that the file should have: nothing was read that
// is not in it.
func (r *metaReader) end(pairs []metaPair) {
	for _, p := range pairs {
		if v := r.get(p.key[len(r.prefix):]); v != p.value && p.key != r.prefix+"columns" &&
			p.key != r.prefix+"crc" {
			r.bad(p.key[len(r.prefix):])
		}
	}
	w := metaWriter{prefix: r.prefix}
	for _, p := range pairs[:len(pairs)-1] {
		w.put(p.key[len(r.prefix):], r.get(p.key[len(r.prefix):]))
	}
	all := w.end()
	if crc := all[len(all)-1].value; r.reason == "" && crc != r.get("crc") {
		r.reason = "the checksum of the metadata is wrong: the file is damaged"
	}
}

// fault returns the first fault as an error.
func (r *metaReader) fault() error {
	if r.reason == "" {
		return nil
	}
	return &FileError{
		Name: r.file.name, Group: -1, Row: -1, Reason: r.reason, Hint: r.hint,
	}
}

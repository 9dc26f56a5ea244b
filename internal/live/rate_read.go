package live

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// The formats of files that Rate reads; the first three may be packed by gzip or zstd.
const (
	RateNDJSON  = "ndjson"
	RateCSV     = "csv"
	RateTSV     = "tsv"
	RateParquet = "parquet"
	RateArrow   = "arrow"
)

// RateFormats returns the names of the formats.
func RateFormats() []string {
	return []string{RateNDJSON, RateCSV, RateTSV, RateParquet, RateArrow}
}

// InputError says what is wrong with a usage file, where, and what helps.
type InputError struct {
	Place  string // the file, or a place in it
	Reason string
	Hint   string
}

func (e *InputError) Error() string { return e.Place + ": " + e.Reason }

const stdinName = "stdin"

// ratePart is a batch on its way from the goroutine that reads.
type ratePart struct {
	file  int // index in RateOptions.Files
	batch *engine.Batch
	err   error
}

// rateFeed reads and decodes files, one after the other, in a goroutine of its own: another
// processor does this while rows are rated.
type rateFeed struct {
	o        *RateOptions
	files    []RatedFile // Format is the goroutine's, until done is closed
	ctx      context.Context
	out      chan ratePart      // closed behind the last file, or behind an error
	used     chan *engine.Batch // were applied, and nobody looks at them any more
	builder  *formats.Builder
	decoders map[string]*formats.Decoder
	stdin    bool // was read
}

func newRateFeed(ctx context.Context, o *RateOptions) *rateFeed {
	f := &rateFeed{
		o: o, ctx: ctx, out: make(chan ratePart, 2), used: make(chan *engine.Batch, 4),
		builder:  formats.NewBuilder(rateSource, formats.Limits{Rows: o.BatchRows}),
		decoders: map[string]*formats.Decoder{},
	}
	for _, name := range o.Files {
		f.files = append(f.files, RatedFile{Name: name})
	}
	return f
}

func (f *rateFeed) run() {
	defer close(f.out)
	for i := range f.files {
		if err := f.file(i); err != nil {
			f.send(ratePart{file: i, err: err})
			return
		}
	}
}

// send hands a part on; false if nobody wants it any more.
func (f *rateFeed) send(p ratePart) bool {
	select {
	case f.out <- p:
		return true
	case <-f.ctx.Done():
		return false
	}
}

// file reads one file to its end.
func (f *rateFeed) file(i int) (err error) {
	if f.files[i].Name == "-" {
		f.files[i].Name = stdinName
		if f.stdin {
			return &InputError{stdinName, "it is named twice", "name - once"}
		}
		f.stdin = true
		return f.text(i, bufio.NewReaderSize(f.o.Stdin, rateChunk))
	}
	h, info, err := openUsage(f.files[i].Name)
	if err != nil {
		return err
	}
	defer h.Close() // read only
	in := bufio.NewReaderSize(h, rateChunk)
	magic, err := in.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", f.files[i].Name, err)
	}
	format := columnFormat(magic)
	if format == "" {
		format = f.format(f.files[i].Name)
	}
	if format != RateParquet && format != RateArrow {
		return f.text(i, in)
	}
	f.files[i].Format = format
	if !info.Mode().IsRegular() {
		return &InputError{f.files[i].Name, "files of columns are read from their end, a pipe can't be",
			"write it to a file first"}
	}
	if opening(f.files[i].Name, h, info.Size()) {
		f.files[i].Format = rateOpening
		return nil
	}
	return f.columns(i, h, info.Size())
}

// rateOpening is the format of a file that holds no usage: it lies beside the files of an archive,
// where a pattern finds it.
const rateOpening = "opening"

func opening(name string, h *os.File, size int64) bool {
	if _, named := store.ParseOpeningName(filepath.Base(name)); !named {
		return false
	}
	r, err := formats.OpenOpening(name, h, size)
	return err == nil && r.Close() == nil
}

// format returns the format of a file as a flag says, or as its name does; "" if neither.
func (f *rateFeed) format(name string) string {
	if f.o.Format != "" {
		return f.o.Format
	}
	return formatByName(name)
}

func openUsage(name string) (*os.File, fs.FileInfo, error) {
	if info, err := os.Stat(name); err == nil && formats.FormatOf(name).Columns() &&
		!info.Mode().IsRegular() && !info.IsDir() {
		// To open a pipe would wait for ever.
		return nil, nil, &InputError{name, "it is no regular file", "write it to a file first: a file " +
			"of columns is read from its end"}
	}
	h, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		hint := "look at the path; - is standard input"
		if strings.ContainsAny(name, "*?[") {
			hint = "no file matches the pattern"
		}
		return nil, nil, &InputError{name, "there is no such file", hint}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open usage file: %w", err)
	}
	info, err := h.Stat()
	if err == nil && info.IsDir() {
		err = &InputError{name, "it is a directory", "name its files: " + path.Join(name, "*.ndjson")}
	}
	if err != nil {
		return nil, nil, errors.Join(err, h.Close())
	}
	return h, info, nil
}

// columns reads a file of columns.
func (f *rateFeed) columns(i int, h *os.File, size int64) error {
	name, ident := f.files[i].Name, ""
	if m := f.o.Mapping; m != nil && slices.Contains(m.ID, formats.FilePart) {
		// The first bytes of such a file are those of one column, which many files may share.
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(h, 0, size)); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		ident = strconv.FormatInt(size, 10) + ":" + hex.EncodeToString(sum.Sum(nil)[:16])
	}
	r, err := formats.OpenRows(name, h, size, formats.RowOptions{
		Source: rateSource, Partition: name, Ident: ident, Mapping: f.o.Mapping,
		Limits: formats.Limits{Rows: f.o.BatchRows},
	})
	if err != nil {
		return err
	}
	for {
		f.recycle(r.Recycle)
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Close()
		}
		if err != nil {
			return errors.Join(err, r.Close())
		}
		if b.Len > 0 && !f.send(ratePart{file: i, batch: b}) {
			return r.Close()
		}
	}
}

// text reads a file of lines.
func (f *rateFeed) text(i int, in *bufio.Reader) error {
	file := &f.files[i]
	stream, err := formats.Decompress(file.Name, in)
	if err != nil {
		return &InputError{file.Name, strings.TrimPrefix(err.Error(), "read "+file.Name+": "),
			"the file is cut or damaged: fetch it again"}
	}
	content := bufio.NewReaderSize(stream, rateChunk)
	prefix, err := content.Peek(prefixSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return f.cut(i, err)
	}
	if file.Format, err = f.tell(file.Name, prefix); err != nil {
		return err
	}
	d, err := f.decoder(file, prefix)
	if err != nil {
		return err
	}
	p := partition{n: len(prefix), digest: digestOf(prefix)}
	c := &rateCutter{in: content, chunk: formats.Chunk{Partition: file.Name, Ident: p.ident()}}
	for {
		chunk, err := c.next()
		if errors.Is(err, io.EOF) {
			f.flush(i)
			return nil
		}
		if err != nil {
			return f.cut(i, err)
		}
		if ok, err := f.decode(i, d, chunk); err != nil || !ok {
			return err
		}
	}
}

// cut is what can be said of an error in the middle of a file.
func (f *rateFeed) cut(i int, err error) error {
	name := f.files[i].Name
	return &InputError{name, strings.TrimPrefix(err.Error(), "read "+name+": "),
		"the file is cut or damaged, and a part of it would be a wrong bill: fetch it again"}
}

// decode reads a chunk; false if nobody wants its rows.
func (f *rateFeed) decode(i int, d *formats.Decoder, c formats.Chunk) (bool, error) {
	for len(c.Data) > 0 {
		n, err := d.Decode(c, f.builder)
		if err != nil {
			at, reason, _ := strings.Cut(strings.TrimPrefix(err.Error(), "decode "+c.Partition), ": ")
			return false, &InputError{c.Partition + at, reason,
				"rate files with other columns by themselves, with a mapping of their own"}
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		if f.builder.Full() {
			if !f.flush(i) {
				return false, nil
			}
		} else if n == 0 {
			break
		}
	}
	return true, nil
}

// flush hands on the rows so far; false if nobody wants them.
func (f *rateFeed) flush(i int) bool {
	if !f.builder.Moved() {
		return true
	}
	f.recycle(f.builder.Recycle)
	b := f.builder.Batch()
	return b.Len == 0 || f.send(ratePart{file: i, batch: b})
}

// recycle gives the memory of batches back that were applied.
func (f *rateFeed) recycle(take func(*engine.Batch)) {
	for {
		select {
		case b := <-f.used:
			take(b)
		default:
			return
		}
	}
}

// decoder returns the decoder of a file.
func (f *rateFeed) decoder(file *RatedFile, prefix []byte) (*formats.Decoder, error) {
	format := map[string]formats.Format{
		RateNDJSON: formats.NDJSON, RateCSV: formats.CSV, RateTSV: formats.TSV,
	}[file.Format]
	if format != formats.NDJSON && f.o.Mapping == nil {
		head, _, _ := bytes.Cut(prefix, []byte("\n"))
		return nil, &InputError{file.Name, "a table is no events without a mapping",
			"say which columns make an event, in a file that --mapping names; the columns are: " +
				formats.Visible(strings.TrimSpace(string(head[:min(len(head), 200)])))}
	}
	d := f.decoders[file.Format]
	if d == nil {
		var err error
		if d, err = formats.NewDecoder(format, rateSource, f.o.Mapping); err != nil {
			return nil, err
		}
		f.decoders[file.Format] = d
	}
	return d, nil
}

// tell finds out how a file of lines is written: as a flag says, as its name says, or else as its
// first bytes look.
func (f *rateFeed) tell(name string, prefix []byte) (string, error) {
	first := bytes.TrimLeft(bytes.TrimPrefix(prefix, []byte("\xef\xbb\xbf")), " \t\r\n")
	format := f.format(name)
	if format == "" && (name == stdinName || len(first) == 0 || first[0] == '{') {
		format = RateNDJSON
	}
	switch {
	case columnFormat(first) != "":
		return "", &InputError{name, "it is a packed file of columns, or one on standard input",
			"unpack it to a file first; files of columns are packed inside"}
	case format == RateNDJSON && len(first) > 0 && first[0] == '[':
		return "", &InputError{name, "it is one JSON list, not one event a line",
			"write a line for each: jq -c '.[]' FILE | billctl rate -"}
	case format == "":
		return "", &InputError{name, "neither its name nor its first bytes tell its format",
			"say it: --format " + strings.Join(RateFormats(), "|")}
	}
	return format, nil
}

// columnFormat returns the format of a file of columns, by its first bytes; "" for every other.
func columnFormat(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("PAR1")), bytes.HasPrefix(b, []byte("PARE")):
		return RateParquet
	case bytes.HasPrefix(b, []byte("ARROW1")), bytes.HasPrefix(b, []byte{0xff, 0xff, 0xff, 0xff}):
		return RateArrow
	}
	return ""
}

// formatByName returns the format that the end of a name says, "" if it says none.
func formatByName(name string) string {
	name = strings.ToLower(path.Base(name))
	for _, end := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, end)
	}
	switch path.Ext(name) {
	case ".ndjson", ".jsonl", ".json":
		return RateNDJSON
	case ".csv":
		return RateCSV
	case ".tsv":
		return RateTSV
	case ".parquet":
		return RateParquet
	case ".arrow", ".arrows", ".feather", ".ipc":
		return RateArrow
	}
	return ""
}

// rateChunk is how much of a file is read at once.
const rateChunk = 256 << 10

// rateCutter cuts a stream into runs of whole lines.
type rateCutter struct {
	in    io.Reader
	chunk formats.Chunk // the last one; its Data is the front of buf
	buf   []byte
	n     int  // bytes of buf that were read
	skip  bool // a line that was cut goes on
	ended bool
}

// next returns the next run of lines, io.EOF behind the last. Its Data is good until the call
// after it.
func (c *rateCutter) next() (formats.Chunk, error) {
	c.drop(len(c.chunk.Data))
	if c.buf == nil {
		c.buf = make([]byte, rateChunk)
	}
	for from := 0; ; {
		if c.skip {
			end := bytes.IndexByte(c.buf[:c.n], '\n')
			c.skip = end < 0
			if end < 0 {
				end = c.n
			}
			c.drop(end)
			from = 0
		}
		if cut := bytes.LastIndexByte(c.buf[from:c.n], '\n') + 1; cut > 0 {
			return c.give(from+cut, c.ended && from+cut == c.n), nil
		}
		switch {
		case c.ended && c.n == 0:
			return formats.Chunk{}, io.EOF
		case c.ended:
			return c.give(c.n, true), nil
		case c.n == maxLine:
			// No event is so long. The decoder refuses what is given here as one malformed row.
			c.skip = true
			c.buf[cutLine] = '\n'
			return c.give(cutLine+1, false), nil
		case c.n == len(c.buf):
			c.buf = append(c.buf, make([]byte, min(len(c.buf), maxLine-c.n))...)
		}
		from = c.n
		m, err := c.in.Read(c.buf[c.n:])
		c.n += m
		if c.ended = errors.Is(err, io.EOF); err != nil && !c.ended {
			return formats.Chunk{}, err
		}
	}
}

func (c *rateCutter) give(n int, last bool) formats.Chunk {
	c.chunk.Data, c.chunk.Last = c.buf[:n], last
	return c.chunk
}

// drop moves on behind the first n bytes.
func (c *rateCutter) drop(n int) {
	c.n = copy(c.buf, c.buf[n:c.n])
	c.chunk.Offset += int64(n)
	c.chunk.Data = nil
}

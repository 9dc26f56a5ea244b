package formats

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"

	"billctl/engine"
)

// Format is how the rows of usage files are written.
type Format uint8

// The formats. In CSV and TSV the first line is the header. Files of columns are read by OpenRows
// and not by a Decoder.
const (
	NDJSON  Format = 1
	CSV     Format = 2 // RFC 4180; the mapping may name another delimiter than the comma
	TSV     Format = 3 // CSV with tabs
	Parquet Format = 4 // a file of columns
	Arrow   Format = 5 // a file of columns: Arrow IPC, as a file or a stream
)

// String returns the format's name for people and configurations.
func (f Format) String() string {
	switch f {
	case NDJSON:
		return "ndjson"
	case CSV:
		return "csv"
	case TSV:
		return "tsv"
	case Parquet:
		return "Parquet"
	case Arrow:
		return "Arrow"
	}
	return fmt.Sprintf("format %d", uint8(f))
}

// Columns reports whether files of the format are files of columns, which OpenRows reads. They are
// complete when they can be read at all, so they can't be followed.
func (f Format) Columns() bool { return f == Parquet || f == Arrow }

// FormatOf returns the format of a file by the end of its name, with or without one of gzip or
// zstd after it. Every name that does not say otherwise is NDJSON.
func FormatOf(name string) Format {
	name = strings.ToLower(path.Base(name))
	for _, end := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, end)
	}
	switch path.Ext(name) {
	case ".csv":
		return CSV
	case ".tsv":
		return TSV
	case ".parquet":
		return Parquet
	case ".arrow", ".arrows", ".feather", ".ipc":
		return Arrow
	}
	return NDJSON
}

// MaxLine is the length of the longest line that can be an event, in bytes without its newline.
const MaxLine = 1 << 20

// minHole is how many NUL bytes in a row make a hole, such as a crash leaves in a file. Fewer are
// only a line that is malformed: text in UTF-16 has single ones.
const minHole = 8

// Chunk is a run of whole lines of one partition (a file, standard input).
type Chunk struct {
	Partition string // identity of what is read; goes to Origins.Partition
	Ident     string // content-derived identity of a finite file, for FilePart; "" for streams
	Head      []byte // the partition's first line without its newline; nil if not known
	Offset    int64  // of Data in the (decompressed) partition
	Data      []byte // whole lines; every line ends in \n, except perhaps the last when Last
	Last      bool   // the partition ends here: a last line without newline is a row too
}

// Decoder reads chunks of one format into builders. It is used by one goroutine.
type Decoder struct {
	format  Format
	source  string
	mapping *Mapping
	parser  lineParser
	mapped  mappedRow
	csv     csvReader
	tail    []byte // a last line without newline, with one
}

// NewDecoder returns a decoder for the rows of a source; source is its name in the configuration.
// Without a mapping the rows are CloudEvents, and the format has to be NDJSON. It fails if the
// mapping is not valid, if the format needs one, or if it is one of columns.
func NewDecoder(format Format, source string, m *Mapping) (*Decoder, error) {
	d := &Decoder{format: format, source: source, mapping: m}
	if format.Columns() {
		return nil, fmt.Errorf("decode source %s: %s can't be followed: "+
			"bill finished files with billctl rate", source, format)
	}
	if format < NDJSON || format > TSV {
		return nil, fmt.Errorf("decode source %s: format %d is not known", source, format)
	}
	if m == nil {
		if format != NDJSON {
			return nil, fmt.Errorf("decode source %s: CSV is not CloudEvents: give a mapping", source)
		}
		return d, nil
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("decode source %s: %w", source, err)
	}
	if err := d.mapped.bind(m, source); err != nil {
		return nil, fmt.Errorf("decode source %s: %w", source, err)
	}
	d.csv.delimiter = ','
	if format == TSV {
		d.csv.delimiter = '\t'
	}
	if m.Delimiter != "" {
		d.csv.delimiter = m.Delimiter[0]
	}
	return d, nil
}

// Decode reads whole lines until the chunk ends or the builder is full, and returns how many bytes
// of Data it has read. The rest is to be given again, with Offset moved on, after the batch was
// taken from the builder.
//
// A line that can't be read is a malformed row and no error. Errors are: a CSV header that is not
// known or lacks a column of the mapping, and ids made from the row's place in a stream. The
// builder then has every row before it, and nothing of this chunk.
func (d *Decoder) Decode(c Chunk, b *Builder) (consumed int, err error) {
	if b.Full() || !c.Last && bytes.IndexByte(c.Data, '\n') < 0 {
		return 0, nil
	}
	if err := d.prepare(c, b); err != nil {
		return 0, err
	}
	pos := 0
	if c.Offset == 0 {
		pos = len(c.Data) - len(trimMark(c.Data))
	}
	if d.format != NDJSON {
		if pos, err = d.head(c, pos); err != nil {
			return 0, err
		}
	}
	b.enter(c.Partition, c.Offset)
	for pos < len(c.Data) && !b.Full() {
		n := bytes.IndexByte(c.Data[pos:], '\n')
		if n >= 0 {
			end := pos + n
			if pos = d.line(b, c.Data, pos, end, c.Offset); pos == end {
				pos++
			}
			continue
		}
		if !c.Last {
			break
		}
		d.tail = append(append(d.tail[:0], c.Data[pos:]...), '\n')
		pos += d.line(b, d.tail, 0, len(d.tail)-1, c.Offset+int64(pos))
	}
	b.resume(c.Offset + int64(pos))
	return pos, nil
}

func overlong(size int64) string {
	return fmt.Sprintf("line of %d bytes is longer than %d", size, MaxLine)
}

// prepare checks what the whole chunk needs.
func (d *Decoder) prepare(c Chunk, b *Builder) error {
	if d.mapping == nil {
		if b.paths.owner != nil {
			b.paths.reset(nil)
		}
		return nil
	}
	if b.paths.owner != d {
		b.paths.reset(d)
	}
	if d.mapping.placed() && c.Ident == "" {
		return fmt.Errorf("decode %s: ids from the row's place need finite files: "+
			"run with --until-eof, or map id to fields of the rows", c.Partition)
	}
	d.mapped.ident = c.Ident
	return nil
}

// line reads buf[from:end], whose sentinel is buf[end], as one row, or as several if there are
// holes in it. It returns the end, or where the row begins for which the builder has no room. base
// is the offset of buf[0].
func (d *Decoder) line(b *Builder, buf []byte, from, end int, base int64) int {
	for from < end && !b.Full() && !d.blank(buf[from:end]) {
		stop, offset := end, base+int64(from)
		ok := d.row(b, buf, from, end, offset)
		if hole := -1; !ok {
			if hole = findHole(buf[from:end]); hole == 0 {
				n := len(buf[from:end]) - len(bytes.TrimLeft(buf[from:end], "\x00"))
				b.addMalformed(offset, int64(n), fmt.Sprintf("hole of %d NUL bytes", n),
					buf[from:from+n])
				from += n
				continue
			} else if hole > 0 {
				stop = from + hole
				if d.blank(buf[from:stop]) {
					from = stop
					continue
				}
				ok = d.row(b, buf, from, stop, offset)
			}
		}
		if !ok {
			b.addMalformed(offset, int64(stop-from), d.parser.fault, buf[from:stop])
		} else if !b.add(offset, stop-from) {
			return from
		}
		from = stop
	}
	if from < end && b.Full() && !d.blank(buf[from:end]) {
		return from
	}
	return end
}

// row reads buf[from:end] into the builder's row. If it is false, the parser has the fault.
func (d *Decoder) row(b *Builder, buf []byte, from, end int, offset int64) bool {
	d.parser.begin(b, buf, from, end)
	if end-from > MaxLine {
		d.parser.fault = overlong(int64(end - from))
		return false
	}
	if d.mapping == nil {
		return d.parser.cloudEvent()
	}
	d.mapped.reset(offset)
	if d.format == NDJSON {
		if !d.mappedEvent() {
			return false
		}
	} else if !d.csvRow(b) {
		return false
	}
	return d.mapped.finish(&d.parser)
}

// blank reports whether the line is no row. A line of tabs is a row of TSV.
func (d *Decoder) blank(line []byte) bool {
	if len(line) > 0 && line[0] > ' ' {
		return false
	}
	if d.format != NDJSON {
		return len(line) == 0 || len(line) == 1 && line[0] == '\r'
	}
	return len(bytes.TrimLeft(line, " \t\r")) == 0
}

// findHole returns the index of the first hole in the line, or -1.
func findHole(line []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(line[i:], 0)
		if n < 0 {
			return -1
		}
		i += n
		rest := bytes.TrimLeft(line[i:], "\x00")
		if len(line)-len(rest)-i >= minHole {
			return i
		}
		i = len(line) - len(rest)
	}
}

// trimMark drops the byte order mark that some programs write at the start of a file.
func trimMark(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }

// takes is what a mapping takes from one path.
type takes struct {
	parts                       []int // of the id
	source, kind, subject, time bool
	data                        []string // names of properties
}

// mappedRow collects what makes the event of a row of a mapped source.
type mappedRow struct {
	mapping *Mapping
	paths   map[string]*takes
	clock   stampReader
	name    []byte // of the source in the configuration
	kind    []byte // the constants
	source  []byte
	subject []byte

	ident  string
	offset int64
	parts  [][]byte
	stamp  []byte // text of the time
	id     []byte
	at     attributes
}

// attributes are the texts of a row for what is no property.
type attributes struct{ source, kind, subject []byte }

// bind prepares a valid mapping for use.
func (r *mappedRow) bind(m *Mapping, source string) (err error) {
	r.mapping, r.paths = m, map[string]*takes{}
	r.parts = make([][]byte, len(m.ID))
	r.source, r.kind, r.subject = []byte(m.Source.Const), []byte(m.Type.Const), []byte(m.Subject.Const)
	if m.Source == (MappedValue{}) {
		r.source = []byte(source)
	}
	for i, part := range m.ID {
		if part != FilePart && part != RowPart {
			t := r.take(part)
			t.parts = append(t.parts, i)
		}
	}
	if m.Source.Path != "" {
		r.take(m.Source.Path).source = true
	}
	if m.Type.Path != "" {
		r.take(m.Type.Path).kind = true
	}
	if m.Subject.Path != "" {
		r.take(m.Subject.Path).subject = true
	}
	if m.Time.Path != "" {
		r.take(m.Time.Path).time = true
	}
	for _, name := range m.names() {
		t := r.take(m.Data[name])
		t.data = append(t.data, name)
	}
	r.clock, err = newStampReader(m.Time)
	return err
}

// take returns what is taken from a valid path, by the path as a path table writes it.
func (r *mappedRow) take(p string) *takes {
	names, err := splitPath(p)
	if err != nil {
		panic("BUG: the mapping was not validated: " + err.Error())
	}
	for i, name := range names {
		names[i] = escapeName(name)
	}
	key := strings.Join(names, ".")
	if r.paths[key] == nil {
		r.paths[key] = &takes{}
	}
	return r.paths[key]
}

func (r *mappedRow) reset(offset int64) {
	clear(r.parts)
	r.offset, r.stamp, r.at = offset, nil, attributes{}
}

// set notes a text that stands at a path.
func (r *mappedRow) set(t *takes, text []byte) {
	for _, i := range t.parts {
		r.parts[i] = text
	}
	if t.source {
		r.at.source = text
	}
	if t.kind {
		r.at.kind = text
	}
	if t.subject {
		r.at.subject = text
	}
	if t.time {
		r.stamp = text
	}
}

// wanted reports whether more is taken than properties.
func (t *takes) wanted() bool {
	return len(t.parts) > 0 || t.source || t.kind || t.subject || t.time
}

// finish makes the row an event, or sets the parser's fault.
func (r *mappedRow) finish(p *lineParser) bool {
	row, m := p.row, r.mapping
	for _, f := range []struct {
		name  string
		value MappedValue
		text  []byte
		fixed []byte
		to    *[]byte
	}{
		{"source", m.Source, r.at.source, r.source, &row.source},
		{"type", m.Type, r.at.kind, r.kind, &row.kind},
		{"subject", m.Subject, r.at.subject, r.subject, &row.subject},
	} {
		if *f.to = f.fixed; f.value.Path != "" {
			*f.to = f.text
		}
		if !p.checkText(f.name, f.value.Path, *f.to) {
			return false
		}
	}
	if !r.join(p) {
		return false
	}
	if len(r.stamp) == 0 {
		return true
	}
	t, fault := r.clock.read(r.stamp)
	if fault != "" {
		p.fault = fault + " in " + m.Time.Path
		return false
	}
	row.time, row.timed = t, true
	return true
}

// join makes the id of its parts.
func (r *mappedRow) join(p *lineParser) bool {
	r.id = r.id[:0]
	for i, part := range r.mapping.ID {
		if i > 0 {
			r.id = append(r.id, '/')
		}
		switch part {
		case FilePart:
			r.id = append(r.id, r.ident...)
		case RowPart:
			r.id = strconv.AppendInt(r.id, r.offset, 10)
		default:
			if !p.checkText("id", part, r.parts[i]) {
				return false
			}
			r.id = appendPart(r.id, r.parts[i], len(r.mapping.ID) > 1)
		}
	}
	p.row.id = r.id
	return p.checkText("id", "", r.id)
}

// appendPart appends one of several parts of an id so that no two lists of parts give one id.
func appendPart(dst, part []byte, several bool) []byte {
	for _, c := range part {
		if several && (c == '/' || c == '\\') {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst
}

// checkText checks what an event needs, and tells where it is missing.
func (p *lineParser) checkText(what, path string, s []byte) bool {
	if len(s) == 0 {
		p.fault = fmt.Sprintf("row has no %s: nothing in %s", what, path)
		return false
	}
	if len(s) > engine.MaxName {
		p.fault = fmt.Sprintf("%s is longer than %d bytes", what, engine.MaxName)
		return false
	}
	return true
}

// mappedEvent reads the line as a JSON object of any form, and takes what the mapping names.
func (d *Decoder) mappedEvent() bool {
	p := &d.parser
	if p.space() != '{' {
		return p.expected("a row, which is a JSON object,")
	}
	return d.mappedMembers(p.paths.top, 0) && p.finish()
}

// mappedMembers reads an object, on whose first byte the parser stands.
func (d *Decoder) mappedMembers(parent *pathNode, depth int) bool {
	p := &d.parser
	if depth >= maxDepth {
		return p.tooDeep()
	}
	p.i++
	if p.space() == '}' {
		p.i++
		return true
	}
	stamp := p.paths.stamp()
	for more := true; more; {
		node, c, ok := p.member(parent, stamp)
		if !ok || !d.mappedValue(node, c, depth+1) {
			return false
		}
		if more, ok = p.next('}'); !ok {
			return false
		}
	}
	return true
}

func (d *Decoder) mappedValue(node *pathNode, c byte, depth int) bool {
	p, at := &d.parser, d.parser.i
	if c == 'n' {
		return p.word("null")
	}
	if !node.known {
		node.known = true
		if !node.long {
			node.takes = d.mapped.paths[node.path]
		}
	}
	if t := node.takes; t != nil {
		for _, name := range t.data {
			p.i = at
			if !p.property(node, p.paths.child(p.paths.data, []byte(name)), c, depth) {
				return false
			}
		}
		if t.wanted() {
			p.i = at
			if c != '"' && c != '-' && c-'0' > 9 {
				return p.fail(fmt.Sprintf("%s is neither text nor a number", node.path))
			}
			text, ok := p.text(c)
			if ok {
				d.mapped.set(t, text)
			}
			return ok
		}
		if c != '{' {
			return true
		}
		p.i = at
	}
	if c == '{' {
		return d.mappedMembers(node, depth)
	}
	// What is not taken is checked all the same.
	kept := len(p.row.json)
	ok := p.copy(node, c, depth)
	p.row.json = p.row.json[:kept]
	return ok
}

// text reads a string or a number as text.
func (p *lineParser) text(c byte) ([]byte, bool) {
	if c == '"' {
		p.i++
		return p.str()
	}
	text, _, _, ok := p.number()
	return text, ok
}

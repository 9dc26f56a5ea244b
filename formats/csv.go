package formats

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"billctl/engine"
)

// csvReader is the state of a decoder for CSV.
type csvReader struct {
	delimiter byte
	partition string // whose header it is
	header    []byte
	bound     bool
	columns   []csvColumn
	fields    [][]byte
	text      []byte // fields after their quotes are resolved

	paths   *pathTable // for which the columns' nodes are valid,
	renewed uint64     // until it is reset
}

type csvColumn struct {
	name  string
	takes *takes
	nodes []*pathNode // of takes.data
}

// head makes the chunk's header the one by which rows are read, and returns where rows begin.
func (d *Decoder) head(c Chunk, pos int) (int, error) {
	header := c.Head
	if c.Offset == 0 {
		header = c.Data[pos:]
		if n := bytes.IndexByte(header, '\n'); n >= 0 {
			header = header[:n]
			pos++
		}
		pos += len(header)
	} else if header == nil {
		if d.csv.bound && d.csv.partition == c.Partition {
			return pos, nil
		}
		return 0, fmt.Errorf("decode %s at byte %d: the header is not known: "+
			"read the file from its start", c.Partition, c.Offset)
	}
	header = bytes.TrimSuffix(trimMark(header), []byte("\r"))
	if !d.csv.bound || !bytes.Equal(header, d.csv.header) {
		if err := d.bindHeader(c.Partition, header); err != nil {
			return 0, err
		}
	}
	d.csv.partition = c.Partition
	return pos, nil
}

// bindHeader finds the columns of the mapping.
func (d *Decoder) bindHeader(partition string, header []byte) error {
	r := &d.csv
	r.bound = false
	if fault, _ := r.split(header); fault != "" {
		return fmt.Errorf("decode %s:1: header: %s", partition, fault)
	}
	r.columns = r.columns[:0]
	for _, f := range r.fields {
		r.columns = append(r.columns, csvColumn{name: string(f)})
	}
	for _, key := range d.mapped.keys() {
		name := columnName(key)
		found := -1
		for i := range r.columns {
			if r.columns[i].name != name {
				continue
			}
			if found >= 0 {
				return fmt.Errorf("decode %s:1: column %q is there twice: rename one of them",
					partition, name)
			}
			found = i
		}
		if found < 0 {
			return fmt.Errorf("decode %s:1: no column %q; the columns are %s: "+
				"correct the source's mapping", partition, name, r.names())
		}
		r.columns[found].takes = d.mapped.paths[key]
	}
	r.header = append(r.header[:0], header...)
	r.bound, r.paths = true, nil
	return nil
}

// keys returns the paths that the mapping takes, sorted.
func (r *mappedRow) keys() []string {
	keys := make([]string, 0, len(r.paths))
	for key := range r.paths {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// columnName resolves the escapes of a path: a column has one name, whatever points are in it.
func columnName(path string) string {
	var name []byte
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' {
			i++
		}
		name = append(name, path[i])
	}
	return string(name)
}

func (r *csvReader) names() string {
	var names []string
	for _, c := range r.columns {
		names = append(names, quoted(c.name))
	}
	return strings.Join(names, ", ")
}

// csvRow reads the parser's line as a row of CSV.
func (d *Decoder) csvRow(b *Builder) bool {
	p, r := &d.parser, &d.csv
	line := bytes.TrimSuffix(p.buf[p.from:p.end], []byte("\r"))
	if fault, at := r.split(line); fault != "" {
		return p.failAt(p.from+at, fault)
	}
	if len(r.fields) != len(r.columns) {
		p.fault = fmt.Sprintf("row has %d fields, the header has %d", len(r.fields), len(r.columns))
		return false
	}
	if r.paths != &b.paths || r.renewed != b.paths.renewed {
		r.resolve(&b.paths)
	}
	for i, text := range r.fields {
		c := &r.columns[i]
		if c.takes == nil || len(text) == 0 {
			continue
		}
		d.mapped.set(c.takes, text)
		for _, node := range c.nodes {
			if !p.addCell(cell{node: node, kind: engine.TextColumn, text: text}) {
				return false
			}
		}
	}
	return true
}

// resolve finds the nodes of the columns' properties.
func (r *csvReader) resolve(t *pathTable) {
	r.paths, r.renewed = t, t.renewed
	for i := range r.columns {
		c := &r.columns[i]
		c.nodes = c.nodes[:0]
		if c.takes == nil {
			continue
		}
		for _, name := range c.takes.data {
			c.nodes = append(c.nodes, t.child(t.data, []byte(name)))
		}
	}
}

// split cuts a line into its fields (RFC 4180, without newlines in fields). Where it can't, it
// says why and at which byte of the line, from 0.
func (r *csvReader) split(line []byte) (fault string, at int) {
	r.fields, r.text = r.fields[:0], r.text[:0]
	if !utf8.Valid(line) {
		return "invalid UTF-8", firstInvalid(line)
	}
	if at := bytes.IndexByte(line, 0); at >= 0 {
		return "NUL character", at
	}
	quotes := bytes.IndexByte(line, '"') >= 0
	for i := 0; ; i++ {
		if quotes && i < len(line) && line[i] == '"' {
			end, fault := r.quoted(line, i)
			if fault != "" {
				return fault, end
			}
			i = end
		} else {
			end := bytes.IndexByte(line[i:], r.delimiter)
			if end < 0 {
				end = len(line) - i
			}
			field := line[i : i+end : i+end]
			if quotes {
				if at := bytes.IndexByte(field, '"'); at >= 0 {
					return "quote inside a field that is not quoted", i + at
				}
			}
			r.fields = append(r.fields, field)
			i += end
		}
		if i >= len(line) {
			return "", 0
		}
	}
}

// quoted reads the quoted field that begins at i, and returns the index after its closing quote.
func (r *csvReader) quoted(line []byte, i int) (end int, fault string) {
	first, start := len(r.text), i+1
	for end = start; ; end++ {
		n := bytes.IndexByte(line[end:], '"')
		if n < 0 {
			return i, "quoted field does not end in its line (a field may not hold a newline)"
		}
		end += n
		if end+1 >= len(line) || line[end+1] != '"' {
			break
		}
		// Of a doubled quote one belongs to the field.
		r.text = append(r.text, line[start:end+1]...)
		end++
		start = end + 1
	}
	if end+1 < len(line) && line[end+1] != r.delimiter {
		return end + 1, "text after the closing quote of a field"
	}
	if first == len(r.text) {
		r.fields = append(r.fields, line[start:end:end])
		return end + 1, ""
	}
	r.text = append(r.text, line[start:end]...)
	r.fields = append(r.fields, r.text[first:len(r.text):len(r.text)])
	return end + 1, ""
}

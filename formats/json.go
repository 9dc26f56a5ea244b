package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

// maxDepth is how deep objects and arrays may be nested; the event itself is the first level.
const maxDepth = 32

// lineParser reads JSON from one line, in one pass and strictly. Its methods return false after
// they have set the fault; there is no further reading then.
//
// A line is buf[from:end]. The byte buf[end] exists and is below 0x20 (a newline, or the first
// byte of a hole), so that no token and no run of white space goes beyond it, and single bytes
// are looked at without asking for the end. Wide loads may look beyond it, inside buf.
type lineParser struct {
	buf       []byte
	i         int
	from, end int
	fault     string
	row       *eventRow
	paths     *pathTable
	scalars   int // properties so far
	clock     stampReader
}

// begin sets the parser on a line and empties the row.
func (p *lineParser) begin(b *Builder, buf []byte, from, end int) {
	p.buf, p.i, p.from, p.end = buf, from, from, end
	p.fault = ""
	p.scalars = 0
	p.row, p.paths = &b.row, &b.paths
	p.row.reset()
	p.paths.begin()
}

// fail sets the fault, with the place of the byte at which the parser stands.
func (p *lineParser) fail(what string) bool { return p.failAt(p.i, what) }

func (p *lineParser) failAt(i int, what string) bool {
	p.fault = fmt.Sprintf("%s at byte %d", what, i-p.from+1)
	return false
}

// expected says what stands in the place of something else.
func (p *lineParser) expected(what string) bool {
	if p.i >= p.end {
		p.fault = fmt.Sprintf("line ends where %s is expected", what)
		return false
	}
	c, n := utf8.DecodeRune(p.buf[p.i:p.end])
	if c == utf8.RuneError && n == 1 {
		return p.fail("invalid UTF-8")
	}
	return p.fail(fmt.Sprintf("%q instead of %s", c, what))
}

// space skips white space and returns the byte after it.
func (p *lineParser) space() byte {
	for {
		c := p.buf[p.i]
		if c != ' ' && c != '\t' && c != '\r' {
			return c
		}
		p.i++
	}
}

// finish checks that nothing follows the value of the line.
func (p *lineParser) finish() bool {
	p.space()
	if p.i != p.end {
		return p.fail("text after the end of the object")
	}
	return true
}

// member reads a member's name and the colon, up to the first byte of its value, which it returns.
// The parser stands on the name's quote. A stamp belongs to one object of one line.
func (p *lineParser) member(parent *pathNode, stamp uint64) (*pathNode, byte, bool) {
	at := p.i
	if p.buf[at] != '"' {
		return nil, 0, p.expected("a member's name")
	}
	node := p.paths.guess(parent, p.buf, at+1)
	if node != nil {
		p.i = at + 1 + len(node.name) + 1
	} else {
		p.i++
		name, ok := p.str()
		if !ok {
			return nil, 0, false
		}
		node = p.paths.child(parent, name)
	}
	p.paths.met(node)
	if node.stamp == stamp {
		return nil, 0, p.failAt(at, fmt.Sprintf("duplicate key %s", quoted(node.name)))
	}
	node.stamp = stamp
	if p.buf[p.i] != ':' && p.space() != ':' {
		return nil, 0, p.expected("a colon")
	}
	p.i++
	c := p.buf[p.i]
	if c <= ' ' {
		c = p.space()
	}
	return node, c, true
}

// next reads what separates members or elements. It is true if another one follows, up to its
// first byte; at the closing byte it is false without a fault.
func (p *lineParser) next(closing byte) (more, ok bool) {
	c := p.buf[p.i]
	if c <= ' ' {
		c = p.space()
	}
	if c == ',' {
		p.i++
		if p.buf[p.i] <= ' ' {
			p.space()
		}
		return true, true
	}
	if c == closing {
		p.i++
		return false, true
	}
	if closing == '}' {
		return false, p.expected("a comma or the end of the object")
	}
	return false, p.expected("a comma or the end of the array")
}

// str reads a string after its opening quote, past its closing quote. The bytes alias the line,
// or the row's buffer if there are escapes.
func (p *lineParser) str() ([]byte, bool) {
	start := p.i
	end, high := scanPlain(p.buf, start)
	if p.buf[end] != '"' {
		return p.escaped(start, end)
	}
	s := p.buf[start:end:end]
	if high && !utf8.Valid(s) {
		return nil, p.failAt(start+firstInvalid(s), "invalid UTF-8")
	}
	p.i = end + 1
	return s, true
}

// escaped is str for a string in which the byte at end is neither plain nor the closing quote.
func (p *lineParser) escaped(start, end int) ([]byte, bool) {
	first := len(p.row.text)
	out := p.row.text
	for {
		if s := p.buf[start:end]; !utf8.Valid(s) {
			return nil, p.failAt(start+firstInvalid(s), "invalid UTF-8")
		}
		out = append(out, p.buf[start:end]...)
		p.i = end
		if p.buf[end] == '"' {
			p.i++
			p.row.text = out
			return out[first:len(out):len(out)], true
		}
		if p.buf[end] != '\\' {
			return nil, p.control()
		}
		var ok bool
		if out, ok = p.escape(out); !ok {
			return nil, false
		}
		start = p.i
		end, _ = scanPlain(p.buf, start)
	}
}

func (p *lineParser) control() bool {
	if p.i >= p.end {
		p.fault = "line ends inside a string"
		return false
	}
	return p.fail(fmt.Sprintf("control character 0x%02x inside a string", p.buf[p.i]))
}

// escape reads one escape, whose backslash the parser stands on, and appends what it stands for.
func (p *lineParser) escape(out []byte) ([]byte, bool) {
	at := p.i
	c := p.buf[at+1]
	p.i += 2
	switch c {
	case '"', '\\', '/':
		return append(out, c), true
	case 'b':
		return append(out, '\b'), true
	case 'f':
		return append(out, '\f'), true
	case 'n':
		return append(out, '\n'), true
	case 'r':
		return append(out, '\r'), true
	case 't':
		return append(out, '\t'), true
	case 'u':
	default:
		return out, p.failAt(at, "unknown escape")
	}
	r, ok := p.hex4()
	switch {
	case !ok:
		return out, p.failAt(at, "unknown escape")
	case r == 0:
		// PostgreSQL can't hold it, and a document that no sink takes would block its account.
		return out, p.failAt(at, "NUL character")
	case !utf16.IsSurrogate(r):
		return utf8.AppendRune(out, r), true
	}
	if p.buf[p.i] == '\\' && p.buf[p.i+1] == 'u' {
		p.i += 2
		if low, ok := p.hex4(); ok {
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				return utf8.AppendRune(out, r), true
			}
		}
	}
	return out, p.failAt(at, "half of a surrogate pair")
}

// hex4 reads four hexadecimal digits.
func (p *lineParser) hex4() (r rune, ok bool) {
	for range 4 {
		c := p.buf[p.i]
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20-'a' <= 5:
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
		p.i++
	}
	return r, true
}

// token returns the number that begins where the parser stands, and goes past it. Its grammar is
// not checked.
func (p *lineParser) token() []byte {
	start := p.i
	for {
		c := p.buf[p.i]
		if c-'0' > 9 && c != '.' && c != '-' && c != '+' && c|0x20 != 'e' {
			return p.buf[start:p.i:p.i]
		}
		p.i++
	}
}

// number reads a number.
func (p *lineParser) number() (text []byte, d decimal.Decimal, wide, ok bool) {
	at := p.i
	text = p.token()
	d, err := decimal.ParseBytes(text)
	if err == nil {
		return text, d, false, true
	}
	if errors.Is(err, decimal.ErrRange) {
		return text, d, true, true
	}
	p.i = at
	if len(text) == 0 {
		return nil, d, false, p.expected("a value")
	}
	return nil, d, false, p.fail("bad number " + quoted(string(text)))
}

// word reads true, false or null.
func (p *lineParser) word(w string) bool {
	// A word has no byte below 0x20, so it can't be found beyond the end of the line.
	if !bytes.HasPrefix(p.buf[p.i:], []byte(w)) {
		return p.expected("a value")
	}
	p.i += len(w)
	return true
}

// property reads a value into columns and rest under out, and finds duplicate names by in. The
// two are one where nothing is mapped. c is the value's first byte.
func (p *lineParser) property(in, out *pathNode, c byte, depth int) bool {
	cl := cell{node: out}
	ok := true
	switch c {
	case '"':
		p.i++
		cl.kind = engine.TextColumn
		cl.text, ok = p.str()
	case 't':
		cl.kind, cl.yes = engine.BoolColumn, true
		ok = p.word("true")
	case 'f':
		cl.kind = engine.BoolColumn
		ok = p.word("false")
	case '{':
		at := p.i
		p.i++
		if p.space() != '}' {
			return p.properties(in, out, depth)
		}
		p.i = at
		return p.keep(in, out, c, depth)
	case '[', 'n':
		return p.keep(in, out, c, depth)
	default:
		var wide bool
		cl.kind = engine.NumberColumn
		cl.text, cl.number, wide, ok = p.number()
		if wide {
			cl.kind = engine.WideColumn
		}
	}
	return ok && p.addCell(cl)
}

// addCell adds a scalar property to the row.
func (p *lineParser) addCell(c cell) bool {
	if p.scalars++; p.scalars > engine.MaxColumns {
		p.fault = fmt.Sprintf("event has more than %d properties", engine.MaxColumns)
		return false
	}
	if c.node.long {
		return p.longPath()
	}
	p.row.cells = append(p.row.cells, c)
	return true
}

func (p *lineParser) longPath() bool {
	return p.fail(fmt.Sprintf("path of a property is longer than %d bytes", engine.MaxName))
}

// properties reads the members of an object that is not empty as properties; the parser stands on
// its first member.
func (p *lineParser) properties(in, out *pathNode, depth int) bool {
	if depth >= maxDepth {
		return p.tooDeep()
	}
	stamp := p.paths.stamp()
	for more := true; more; {
		node, c, ok := p.member(in, stamp)
		if !ok {
			return false
		}
		to := node
		if in != out {
			to = p.paths.child(out, []byte(node.name))
		}
		if !p.property(node, to, c, depth+1) {
			return false
		}
		if more, ok = p.next('}'); !ok {
			return false
		}
	}
	return true
}

func (p *lineParser) tooDeep() bool {
	return p.fail(fmt.Sprintf("nesting deeper than %d", maxDepth))
}

// keep reads a value and adds its text to what no column holds.
func (p *lineParser) keep(in, out *pathNode, c byte, depth int) bool {
	from := len(p.row.json)
	if !p.copy(in, c, depth) {
		return false
	}
	if out.long {
		return p.longPath()
	}
	p.row.rest = append(p.row.rest, restMember{out, from, len(p.row.json)})
	return true
}

// copy reads a value and appends its tokens to the row's texts, without the space between them.
func (p *lineParser) copy(node *pathNode, c byte, depth int) bool {
	at, ok := p.i, true
	switch c {
	case '{', '[':
		if depth >= maxDepth {
			return p.tooDeep()
		}
		p.i++
		p.row.json = append(p.row.json, c)
		if c == '{' {
			ok = p.copyMembers(node, depth)
		} else {
			ok = p.copyElements(p.paths.element(node), depth)
		}
		// The closing byte is '[' + 2 or '{' + 2.
		p.row.json = append(p.row.json, c+2)
		return ok
	case '"':
		p.i++
		_, ok = p.str()
	case 't':
		ok = p.word("true")
	case 'f':
		ok = p.word("false")
	case 'n':
		ok = p.word("null")
	default:
		_, _, _, ok = p.number()
	}
	if ok {
		p.row.json = append(p.row.json, p.buf[at:p.i]...)
	}
	return ok
}

func (p *lineParser) copyMembers(parent *pathNode, depth int) bool {
	if p.space() == '}' {
		p.i++
		return true
	}
	stamp := p.paths.stamp()
	for more := true; more; {
		at := p.i
		node, c, ok := p.member(parent, stamp)
		if !ok {
			return false
		}
		name := p.buf[at:p.i]
		p.row.json = append(p.row.json, name[:bytes.LastIndexByte(name, '"')+1]...)
		p.row.json = append(p.row.json, ':')
		if !p.copy(node, c, depth+1) {
			return false
		}
		if more, ok = p.next('}'); !ok {
			return false
		}
		if more {
			p.row.json = append(p.row.json, ',')
		}
	}
	return true
}

func (p *lineParser) copyElements(node *pathNode, depth int) bool {
	if p.space() == ']' {
		p.i++
		return true
	}
	for more, ok := true, true; more; {
		if !p.copy(node, p.buf[p.i], depth+1) {
			return false
		}
		if more, ok = p.next(']'); !ok {
			return false
		}
		if more {
			p.row.json = append(p.row.json, ',')
		}
	}
	return true
}

const (
	everyByte = 0x0101010101010101
	everyHigh = 0x8080808080808080
)

// scanPlain returns the index of the first byte at or after i that is a quote, a backslash or
// below 0x20, and whether a byte before it may be beyond ASCII. There is such a byte.
func scanPlain(b []byte, i int) (end int, high bool) {
	var seen uint64
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		q, s := x^('"'*everyByte), x^('\\'*everyByte)
		// The lowest marked byte is exact; borrows can only mark bytes above it.
		m := ((q-everyByte)&^q | (s-everyByte)&^s | (x-' '*everyByte)&^x) & everyHigh
		seen |= x
		if m != 0 {
			return i + bits.TrailingZeros64(m)>>3, seen&everyHigh != 0
		}
		i += 8
	}
	for b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		seen |= uint64(b[i])
		i++
	}
	return i, seen&everyHigh != 0
}

// firstInvalid returns the index of the first byte that is not part of a character.
func firstInvalid(s []byte) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(s)
}

// appendJSONString writes a JSON string with no more escapes than JSON asks for, always the same
// for the same text.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// quoted is a text for a message, cut where it is long.
func quoted(s string) string {
	if len(s) > 60 {
		return strconv.Quote(s[:60]) + "..."
	}
	return strconv.Quote(s)
}

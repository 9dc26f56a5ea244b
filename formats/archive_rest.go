package formats

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// What the column rest holds of a row is a JSON object from paths to exact texts: the members that
// the engine keeps there, in their order, then the properties that no column of the file holds. A
// scalar below data is a property and everything else the engine's, unless a mark before the path
// says otherwise. No path begins with a mark, for a backslash in a path stands before a point or
// another backslash only.
const (
	markProperty = `\p` // a property whose path is not below data
	markWide     = `\w` // a property that is a number beyond decimal.Decimal, as a JSON string
	markRest     = `\r` // of the engine, and not a property
)

// restColumn makes the column rest of a batch.
type restColumn struct {
	batch *engine.Batch
	props []int // property columns whose values go to rest
	buf   []byte
}

// rest returns the column rest of a batch; place is the plan's for this batch.
func (p *columnPlan) rest(b *engine.Batch, place []int) *restColumn {
	r := &restColumn{batch: b}
	for i, at := range place {
		if at < 0 {
			r.props = append(r.props, i)
		}
	}
	return r
}

// at returns the text of a row, empty if there is nothing. It is good until the next call. It fails
// if the engine's text is no list of members, which no reader of events writes.
func (r *restColumn) at(row int) ([]byte, error) {
	text := r.batch.Rest.At(row)
	if len(text) > 0 && !plainRest(text) {
		r.buf = append(r.buf[:0], '{')
		ok := eachMember(text, func(key, value []byte) bool {
			r.buf = appendMarked(r.buf, key, value)
			return true
		})
		if !ok {
			return nil, fmt.Errorf("rest is no object of members: %s", quoted(string(text)))
		}
		r.buf = append(r.buf, '}')
		text = r.buf
	}
	if len(r.props) == 0 {
		return text, nil
	}
	for _, i := range r.props {
		c := &r.batch.Props[i]
		if !hasValue(c, row) {
			continue
		}
		if len(text) == 0 {
			r.buf = append(r.buf[:0], '{')
		} else {
			r.buf = append(append(r.buf[:0], text[:len(text)-1]...), ',')
		}
		r.buf = append(appendProperty(r.buf, c, row), '}')
		text = r.buf
	}
	return text, nil
}

// plainRest reports whether a text surely needs no marks: it has no member below data and none
// whose path begins like a mark.
func plainRest(text []byte) bool {
	return !bytes.Contains(text, []byte(`"data.`)) && !bytes.Contains(text, []byte(`"\\`)) &&
		eachMember(text, func(_, _ []byte) bool { return true })
}

// appendMarked appends a member of the engine.
func appendMarked(b, key, value []byte) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	marked := bytes.HasPrefix(key, []byte(`\\p`)) || bytes.HasPrefix(key, []byte(`\\w`)) ||
		bytes.HasPrefix(key, []byte(`\\r`))
	b = append(b, '"')
	if marked || bytes.HasPrefix(key, []byte("data.")) && isScalar(value) {
		b = append(b, `\\r`...)
	}
	b = append(append(b, key...), `":`...)
	return append(b, value...)
}

// appendProperty appends the row's value in a property column as a member.
func appendProperty(b []byte, c *engine.Column, row int) []byte {
	path := c.Path
	if !strings.HasPrefix(path, "data.") {
		path = markProperty + path
	}
	switch c.Kind {
	case engine.TextColumn:
		b = append(appendJSONString(b, path), ':')
		return appendJSONString(b, c.Text.Values[c.Text.Index[row]])
	case engine.WideColumn:
		s := c.Text.Values[c.Text.Index[row]]
		if _, err := decimal.Parse(s); !errors.Is(err, decimal.ErrRange) {
			return appendJSONString(append(appendJSONString(b, markWide+c.Path), ':'), s)
		}
		return append(append(appendJSONString(b, path), ':'), s...)
	case engine.BoolColumn:
		b = append(appendJSONString(b, path), ':')
		if c.Bools.Has(row) {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	}
	return c.Numbers[row].Append(append(appendJSONString(b, path), ':'))
}

// isScalar reports whether the text of a JSON value is a string, a number or a bool.
func isScalar(value []byte) bool {
	switch value[0] {
	case '{', '[', 'n':
		return false
	}
	return true
}

// restProperty is a property that was found in rest.
type restProperty struct {
	path   []byte
	kind   engine.ColumnKind
	text   []byte
	number decimal.Decimal
	yes    bool
}

// restReader takes the column rest apart again.
type restReader struct {
	path, text []byte
}

// split appends the engine's members of a text to rest, as an object, and gives the properties to
// yield, whose memory is good until it returns. It is false if the text is not what restColumn
// writes.
func (r *restReader) split(
	text, rest []byte, yield func(*restProperty) bool,
) ([]byte, bool) {
	if plainRest(text) {
		return append(rest, text...), true
	}
	begin := len(rest)
	ok := eachMember(text, func(key, value []byte) bool {
		p, property, ok := r.member(key, value)
		if !ok {
			return false
		}
		if property {
			return yield(&p)
		}
		if len(rest) == begin {
			rest = append(rest, '{')
		} else {
			rest = append(rest, ',')
		}
		rest = append(append(rest, '"'), bytes.TrimPrefix(key, []byte(`\\r`))...)
		rest = append(append(rest, `":`...), value...)
		return true
	})
	if len(rest) > begin {
		rest = append(rest, '}')
	}
	return rest, ok
}

// member reads a member, which is a property or not.
func (r *restReader) member(key, value []byte) (p restProperty, property, ok bool) {
	mark := byte(0)
	if len(key) > 2 && key[0] == '\\' && key[1] == '\\' {
		mark = key[2]
	}
	switch {
	case mark == 'r':
		return p, false, true
	case mark == 'p' || mark == 'w':
		key = key[3:]
	case mark != 0 && mark != '\\':
		return p, false, true // an escaped backslash or point at the beginning of a name
	case !bytes.HasPrefix(key, []byte("data.")) || !isScalar(value):
		return p, false, true
	}
	if r.path, ok = unquoteJSON(r.path[:0], key); !ok {
		return p, true, false
	}
	p.path = r.path
	switch c := value[0]; {
	case c == '"':
		if stringEnd(value, 0) != len(value)-1 {
			return p, true, false
		}
		p.kind = engine.TextColumn
		if mark == 'w' {
			p.kind = engine.WideColumn
		}
		r.text, ok = unquoteJSON(r.text[:0], value[1:len(value)-1])
		p.text = r.text
	case string(value) == "true" || string(value) == "false":
		p.kind, p.yes = engine.BoolColumn, c == 't'
	default:
		var err error
		p.kind = engine.NumberColumn
		if p.number, err = decimal.ParseBytes(value); err != nil {
			p.kind, p.text = engine.WideColumn, value
			ok = errors.Is(err, decimal.ErrRange)
		}
	}
	return p, true, ok
}

// eachMember goes through an object without white space between its tokens, and is false if the
// text is not one, or yield was. The key is without its quotes; escapes are as they are written.
// Values are not checked beyond where they end.
func eachMember(text []byte, yield func(key, value []byte) bool) bool {
	n := len(text)
	if n < 5 || text[0] != '{' || text[n-1] != '}' {
		return false
	}
	for i := 1; ; i++ {
		if text[i] != '"' {
			return false
		}
		end := stringEnd(text, i)
		if end < 0 || end+1 >= n || text[end+1] != ':' {
			return false
		}
		stop := valueEnd(text, end+2)
		if stop <= end+2 || stop >= n || !yield(text[i+1:end], text[end+2:stop]) {
			return false
		}
		if i = stop; text[i] == '}' {
			return i == n-1
		}
		if i+1 >= n {
			return false
		}
	}
}

// stringEnd returns the index of the quote that ends the string whose first quote is at i, -1 if
// there is none.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// valueEnd returns the index of the comma or closing brace behind the value at i, len(text) if
// there is none.
func valueEnd(text []byte, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			if i = stringEnd(text, i); i < 0 {
				return len(text)
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// unquoteJSON appends what a string of appendJSONString stands for, given without its quotes. It
// is false if that would not have written it.
func unquoteJSON(dst, s []byte) ([]byte, bool) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			continue
		}
		i++
		switch {
		case i < len(s) && (s[i] == '"' || s[i] == '\\'):
			dst = append(dst, s[i])
		case i+4 < len(s) && string(s[i:i+3]) == "u00":
			high, low := unhex(s[i+3]), unhex(s[i+4])
			if high > 1 || low > 15 {
				return dst, false
			}
			dst = append(dst, high<<4|low)
			i += 4
		default:
			return dst, false
		}
	}
	return dst, true
}

func unhex(c byte) byte {
	switch {
	case c-'0' <= 9:
		return c - '0'
	case c-'a' <= 5:
		return c - 'a' + 10
	}
	return 0xff
}

package formats

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// accountsJSONL reads one account a line, in the shape that YAML has.
func (r *catalogReader) accountsJSONL(src *source) {
	rest := src.text
	for line := int32(1); rest != "" && !r.faults.full(); line++ {
		var text string
		text, rest, _ = strings.Cut(rest, "\n")
		if strings.TrimSpace(text) == "" {
			continue
		}
		n, fault := parseJSON(src, line, text)
		if fault != nil {
			r.unread = true
			r.faults.list = append(r.faults.list, fault)
			continue
		}
		r.account(n)
	}
}

// jsonReader turns one line of JSON into nodes with their places.
type jsonReader struct {
	src  *source
	line int32
	text string
	dec  *json.Decoder
}

// parseJSON reads the one value of a line.
func parseJSON(src *source, line int32, text string) (*node, *Fault) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	r := &jsonReader{src, line, text, dec}
	n, err := r.value(0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("a line holds one object")
		}
	}
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the line ends too early")
	}
	offset := int(dec.InputOffset())
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = int(syntax.Offset) - 1
	}
	fault := src.fault(r.at(max(0, min(offset, len(text))), 1),
		"the line is not JSON: "+printable(clip(err.Error())), "")
	return nil, fault
}

// at returns the place of the byte at offset in the line.
func (r *jsonReader) at(offset, width int) place {
	return place{r.src, r.line, int32(utf8.RuneCountInString(r.text[:offset]) + 1), int32(width)}
}

// value reads the next value.
func (r *jsonReader) value(depth int) (*node, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("more than %d lists and objects within each other", maxNesting)
	}
	start := int(r.dec.InputOffset())
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	// The offset before a token stands before its white space, comma or colon.
	end := int(r.dec.InputOffset())
	start += len(r.text[start:end]) - len(strings.TrimLeft(r.text[start:end], " \t,:"))
	n := &node{at: r.at(start, utf8.RuneCountInString(r.text[start:end]))}
	switch t := t.(type) {
	case nil:
		n.kind = emptyNode
	case bool:
		n.text = fmt.Sprint(t)
	case json.Number:
		n.text = t.String()
	case string:
		n.text, n.quoted = t, true
	case json.Delim:
		if t == '{' {
			return n, r.object(n, depth)
		}
		return n, r.array(n, depth)
	}
	return n, nil
}

// object reads the members of an object into n.
func (r *jsonReader) object(n *node, depth int) error {
	n.kind = mapNode
	for r.dec.More() {
		key, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.keys, n.items = append(n.keys, key), append(n.items, value)
	}
	_, err := r.dec.Token()
	return err
}

// array reads the elements of an array into n.
func (r *jsonReader) array(n *node, depth int) error {
	n.kind = listNode
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := r.dec.Token()
	return err
}

package engine

import (
	"strings"
	"unicode/utf8"
)

// digestOf computes the digest of the one row of a batch from what the row says. False says that
// its Rest is no list of members, as no builder writes it.
func digestOf(b *Batch) (RowDigest, bool) {
	typ, _ := b.Type.At(0)
	subject, _ := b.Subject.At(0)
	sum := DigestType(typ) + DigestSubject(subject)
	if !b.TimeDefaulted.Has(0) {
		sum += DigestTime(b.Time[0])
	}
	for i := range b.Props {
		sum += b.Props[i].digest()
	}
	rest := string(b.Rest.At(0))
	if rest == "" {
		return sum, true
	}
	ok := eachRest(rest, func(path, text string) { sum += DigestRest(PathSeed(path), text) })
	return sum, ok
}

// digest is the part of a one-row column.
func (c *Column) digest() RowDigest {
	seed := PathSeed(c.Path)
	switch c.Kind {
	case TextColumn:
		if s, has := c.Text.At(0); has {
			return DigestText(seed, s)
		}
	case WideColumn:
		if s, has := c.Text.At(0); has {
			return DigestWide(seed, s)
		}
	case NumberColumn:
		if c.Present.Has(0) {
			return DigestNumber(seed, c.Numbers[0])
		}
	case BoolColumn:
		if c.Present.Has(0) {
			return DigestBool(seed, c.Bools.Has(0))
		}
	}
	return 0
}

// eachRest calls f with the path and the text of every member of a Rest; false if it is none.
func eachRest(s string, f func(path, text string)) bool {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return false
	}
	s = s[1 : len(s)-1]
	for s != "" {
		end := stringEnd(s)
		if end < 0 || end == len(s) || s[end] != ':' {
			return false
		}
		path, ok := unquote(s[1 : end-1])
		s = s[end+1:]
		n := textEnd(s)
		if !ok || n <= 0 {
			return false
		}
		f(path, s[:n])
		if s = s[n:]; s != "" {
			s = s[1:] // a comma, and another member behind it
			if s == "" {
				return false
			}
		}
	}
	return true
}

// stringEnd returns where the JSON string at the beginning ends, -1 if there is none.
func stringEnd(s string) int {
	if s == "" || s[0] != '"' {
		return -1
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// textEnd returns where the JSON text at the beginning ends: at a comma of the list, or with it. -1
// if a string or a bracket does not end.
func textEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch s[i] {
		case '"':
			n := stringEnd(s[i:])
			if n < 0 {
				return -1
			}
			i += n
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	if depth != 0 {
		return -1
	}
	return len(s)
}

// unquote resolves the escapes of a JSON string; false if one is none.
func unquote(s string) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			return "", false
		}
		if s[i] == 'u' {
			// Builders escape control characters only, never half of a character.
			r, ok := hex4(s[i-1:])
			if !ok || !utf8.ValidRune(r) {
				return "", false
			}
			out = utf8.AppendRune(out, r)
			i += 4
			continue
		}
		at := strings.IndexByte(`"\/bfnrt`, s[i])
		if at < 0 {
			return "", false
		}
		out = append(out, "\"\\/\b\f\n\r\t"[at])
	}
	return string(out), true
}

// hex4 reads an escape of four hexadecimal digits: \u0041.
func hex4(s string) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range []byte(s[2:6]) {
		at := strings.IndexByte("0123456789abcdef", c|0x20)
		if at < 0 {
			return 0, false
		}
		r = r<<4 | rune(at)
	}
	return r, true
}

package formats

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxFaults is how many faults one load reports; reading stops when it has found so many.
const MaxFaults = 20

// Fault is one mistake in a file that a person wrote: the place, what is wrong, and the way out.
type Fault struct {
	File    string // slash-separated, below the directory that was read
	Line    int    // from 1
	Column  int    // from 1, in characters
	Width   int    // characters the caret underlines, at least 1
	Message string // "price \"0,002\" is not a decimal"
	Source  string // the line as it stands in the file, without its end
	Hint    string // a sentence that says what to write; may be empty
}

// Error returns the place and the message, "plans/pro.yaml:14:12: price \"0,002\" is not a
// decimal".
func (f *Fault) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

// maxExcerpt is how many characters of a line an excerpt shows: a line of JSON may be very long.
const maxExcerpt = 100

// Excerpt returns the line with its number and, below it, carets under what is wrong. Both lines
// end in a newline. Characters that a terminal would act upon are shown as '?', tabs as a space.
func (f *Fault) Excerpt() string {
	line, at := []rune(printable(f.Source)), f.Column-1
	if len(line) > maxExcerpt && at > maxExcerpt*3/4 { // keep the place in sight
		cut := min(at-maxExcerpt/2, len(line))
		line, at = append([]rune("..."), line[cut:]...), at-cut+3
	}
	if len(line) > maxExcerpt {
		line = append(line[:maxExcerpt-3:maxExcerpt-3], []rune("...")...)
	}
	width := max(1, min(f.Width, len(line)-at))
	return fmt.Sprintf("%5d | %s\n      | %s%s\n", f.Line, string(line),
		strings.Repeat(" ", at), strings.Repeat("^", width))
}

// Faults are all mistakes that one load found, by file, line and column; at most MaxFaults.
type Faults []*Fault

// Error returns one line a fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the first Fault.
func (f Faults) Unwrap() []error {
	errs := make([]error, len(f))
	for i, fault := range f {
		errs[i] = fault
	}
	return errs
}

// Under returns the faults with their files named from outside the directory dir.
func (f Faults) Under(dir string) Faults {
	moved := make(Faults, len(f))
	for i, fault := range f {
		g := *fault
		g.File = path.Join(dir, g.File)
		moved[i] = &g
	}
	return moved
}

// source is a file's text: UTF-8, with "\n" for every line end.
type source struct{ name, text string }

// newSource checks the text and unifies its line ends. It fails with a Fault on bytes that are
// not UTF-8.
func newSource(name string, data []byte) (*source, *Fault) {
	text := strings.TrimPrefix(string(data), "\ufeff")
	if strings.Contains(text, "\r") {
		// The YAML library counts a comment that ends in "\r\n" as two lines.
		text = strings.ReplaceAll(text, "\r\n", "\n")
		text = strings.ReplaceAll(text, "\r", "\n")
	}
	src := &source{name, text}
	if utf8.ValidString(text) {
		return src, nil
	}
	bad := 0
	for i, c := range text {
		if c == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				bad = i
				break
			}
		}
	}
	f := src.fault(src.at(bad, 1), "the file is not UTF-8", "save the file as UTF-8")
	f.Source = strings.ToValidUTF8(f.Source, "?")
	return src, f
}

// at returns the place of the byte at offset.
func (s *source) at(offset, width int) place {
	before := s.text[:offset]
	start := strings.LastIndexByte(before, '\n') + 1
	line := strings.Count(before, "\n") + 1
	return place{s, int32(line), int32(utf8.RuneCountInString(before[start:]) + 1), int32(width)}
}

// fault builds the fault at a place.
func (s *source) fault(p place, message, hint string) *Fault {
	f := &Fault{File: s.name, Line: int(p.line), Column: int(p.column), Width: int(p.width),
		Message: message, Hint: hint}
	rest := s.text
	for n := int32(1); n < p.line; n++ {
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			return f
		}
		rest = rest[end+1:]
	}
	f.Source, _, _ = strings.Cut(rest, "\n")
	return f
}

// place is where something stands in a file.
type place struct {
	src                 *source
	line, column, width int32
}

// String returns "file:line".
func (p place) String() string {
	if p.src == nil {
		return "the journal"
	}
	return fmt.Sprintf("%s:%d", p.src.name, p.line)
}

// faultList gathers the faults of one load. After MaxFaults it takes no more.
type faultList struct{ list Faults }

// full reports whether reading on is of no use.
func (l *faultList) full() bool { return len(l.list) >= MaxFaults }

// add adds the fault at a place.
func (l *faultList) add(p place, hint, format string, args ...any) {
	if !l.full() {
		l.list = append(l.list, p.src.fault(p, fmt.Sprintf(format, args...), hint))
	}
}

// err returns the faults as an error in the order of their places, or nil.
func (l *faultList) err() error {
	if len(l.list) == 0 {
		return nil
	}
	slices.SortStableFunc(l.list, func(a, b *Fault) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	return l.list
}

// known returns a hint for a word that is not one of the known: the one that was probably meant,
// and all of them.
func known(word string, all []string) string {
	const most = 20
	list := strings.Join(all[:min(len(all), most)], ", ")
	if n := len(all) - most; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	switch near := nearest(word, all); {
	case near != "":
		return fmt.Sprintf("did you mean %q? Known here: %s", near, list)
	case len(all) == 0:
		return "none is known here"
	}
	return "known here: " + list
}

// nearest returns the word that is near enough to be a slip of the pen, or "".
func nearest(word string, all []string) string {
	best, least := "", 1+min(3, len(word)/3)
	if len(word) > 80 {
		return ""
	}
	for _, candidate := range all {
		if d := editDistance(strings.ToLower(word), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// editDistance returns how many bytes must be inserted, removed, replaced or swapped with their
// neighbour to turn a into b.
func editDistance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

// printable replaces what a terminal would act upon, one character for one.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, isBidi(r):
			return '?'
		}
		return r
	}, s)
}

// isBidi reports characters that change the direction or the look of the text around them.
func isBidi(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x2069 ||
		r == 0xfeff
}

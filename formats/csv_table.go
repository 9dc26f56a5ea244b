package formats

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// csvTable is a CSV file that a person wrote, read record by record, with the place of each field.
type csvTable struct {
	faults *faultList
	src    *source
	csv    *csv.Reader
	lines  []int    // offset of each line, where columns must be counted in characters
	record []string // that was read last
}

func newCSVTable(faults *faultList, src *source) csvTable {
	t := csvTable{faults: faults, src: src, csv: csv.NewReader(strings.NewReader(src.text))}
	t.csv.FieldsPerRecord = -1
	t.csv.ReuseRecord = true
	if !isASCII(src.text) {
		for at, line := 0, ""; at < len(src.text); at += len(line) + 1 {
			t.lines = append(t.lines, at)
			line, _, _ = strings.Cut(src.text[at:], "\n")
		}
	}
	return t
}

// next reads a record; false at the end or after a fault. The hint is for a file that has none.
func (t *csvTable) next(hint string) bool {
	record, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		if t.record == nil {
			t.faults.add(place{t.src, 1, 1, 1}, hint, "the file is empty")
		}
		return false
	}
	t.record = record
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		at := place{t.src, int32(bad.Line), int32(max(1, bad.Column)), 1}
		t.faults.add(at, `write " inside a quoted field as ""`, "the line is not CSV: %s", bad.Err)
		return false
	}
	if err != nil {
		panic("BUG: reading from a string fails: " + err.Error())
	}
	return true
}

// place returns where a field of the record stands.
func (t *csvTable) place(field int) place {
	line, column := t.csv.FieldPos(field)
	width := max(1, utf8.RuneCountInString(t.record[field]))
	if t.lines != nil && line <= len(t.lines) {
		start := t.lines[line-1]
		column = utf8.RuneCountInString(t.src.text[start:start+column-1]) + 1
	}
	return place{t.src, int32(line), int32(column), int32(width)}
}

// isASCII reports whether every byte of s is a character.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

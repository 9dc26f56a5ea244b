package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

// correctionLine is what one line of a file of corrections says.
type correctionLine struct {
	line    int
	wanted  live.Wanted
	subject string        // "": any
	time    engine.Micros // engine.Past: any
	amend   *engine.Batch // one row; nil: the event is taken back
}

// correctionName is what people call the file.
func correctionName(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}

// readCorrections reads a file of corrections whole: events, or for void their names.
func (s *session) readCorrections(f *correctFlags) ([]correctionLine, error) {
	data, err := s.readInput(f.file)
	if err != nil {
		return nil, &exitError{code: exitFailed, text: "read corrections: " + err.Error(), err: err}
	}
	var lines []correctionLine
	var faults []string
	if f.amend || f.source != "" {
		lines, faults, err = s.readEvents(f, data)
	} else {
		lines, faults = readNames(data)
	}
	name := correctionName(f.file)
	switch {
	case err != nil:
		return nil, err
	case len(faults) > 0:
		for i, text := range faults {
			faults[i] = name + ":" + text
		}
		for _, text := range brief(faults[:len(faults)-1]) {
			s.say("error: %s", text)
		}
		return nil, &exitError{
			code: exitFailed, text: faults[len(faults)-1], hint: "nothing was written: mend the file",
		}
	case len(lines) == 0:
		return nil, &exitError{
			code: exitFailed, text: name + " names no event", hint: "it has one event a line",
		}
	}
	return lines, nil
}

// readInput reads a file, or standard input for "-".
func (s *session) readInput(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(s.stdin)
	}
	return os.ReadFile(file)
}

// readNames reads lines that name events: objects with an id and, where they tell it apart, source,
// subject and time. Other members are of the event and say nothing here.
func readNames(data []byte) (lines []correctionLine, faults []string) {
	for n, text := range bytes.Split(data, []byte("\n")) {
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		l, err := readName(text)
		if err != nil {
			faults = append(faults, fmt.Sprintf("%d: %v", n+1, err))
			continue
		}
		l.line = n + 1
		lines = append(lines, l)
	}
	return lines, faults
}

func readName(text []byte) (l correctionLine, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		return l, errors.New(`the line is no JSON object such as {"id": "...", "source": "..."}`)
	}
	at := ""
	for _, m := range []struct {
		name string
		into *string
	}{
		{"id", &l.wanted.ID}, {"source", &l.wanted.Source}, {"subject", &l.subject}, {"time", &at},
	} {
		if raw, ok := members[m.name]; ok && json.Unmarshal(raw, m.into) != nil {
			return l, fmt.Errorf("%s is no string", m.name)
		}
	}
	if l.wanted.ID == "" {
		return l, errors.New("it has no id")
	}
	l.time = engine.Past
	if at != "" {
		t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(at))
		if err != nil {
			return l, fmt.Errorf("time %q is no RFC 3339 time", at)
		}
		l.time = engine.Micros(t.UnixMicro())
	}
	return l, nil
}

// readEvents reads lines that are whole events: CloudEvents, or what a configured source reads.
func (s *session) readEvents(
	f *correctFlags, data []byte,
) (lines []correctionLine, faults []string, err error) {
	name, format, mapping := engine.Corrections, formats.NDJSON, (*formats.Mapping)(nil)
	if f.source != "" {
		i := slices.IndexFunc(s.config.Sources, func(c formats.SourceConfig) bool {
			return c.Name == f.source
		})
		if i < 0 {
			return nil, nil, &exitError{
				code: exitUsage, text: "the configuration has no source " + f.source,
				hint: "--source is for lines that are no CloudEvents",
			}
		}
		c := &s.config.Sources[i]
		name, format, mapping = c.Name, c.Format, c.Mapping
	}
	d, err := formats.NewDecoder(format, name, mapping)
	if err != nil {
		return nil, nil, err
	}
	b := formats.NewBuilder(engine.Corrections, formats.Limits{Rows: 1})
	head, _, _ := bytes.Cut(data, []byte("\n"))
	chunk := formats.Chunk{
		Partition: filepath.Base(correctionName(f.file)), Ident: "corrections",
		Head: bytes.TrimSuffix(head, []byte("\r")), Data: data, Last: true,
	}
	line, counted := 1, int64(0)
	for {
		n, err := d.Decode(chunk, b)
		if err != nil {
			return nil, nil, &exitError{
				code: exitFailed, text: fmt.Sprintf("%s: %v", correctionName(f.file), err), err: err,
			}
		}
		chunk.Data, chunk.Offset = chunk.Data[n:], chunk.Offset+int64(n)
		if b.Len() == 0 {
			return lines, faults, nil
		}
		row := b.Batch()
		at := row.Origin.Offset[0]
		line += bytes.Count(data[counted:at], []byte("\n"))
		counted = at
		if len(row.Malformed) > 0 {
			faults = append(faults, fmt.Sprintf("%d: %s", line, formats.Visible(row.Malformed[0].Fault)))
			continue
		}
		lines = append(lines, f.line(line, row))
	}
}

// line returns what an event says for a correction.
func (f *correctFlags) line(n int, row *engine.Batch) correctionLine {
	l := correctionLine{line: n, time: engine.Past}
	l.wanted.ID = string(row.ID.At(0))
	l.wanted.Source, _ = row.Source.At(0)
	l.subject, _ = row.Subject.At(0)
	if f.amend {
		l.amend = row
	}
	return l
}

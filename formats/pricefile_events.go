package formats

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

// MaxEvents is how many bytes of events ReadUses takes.
const MaxEvents = 256 << 20

// ReadUses reads the events that a price file rates: lines of JSON with data.value and time, or a
// table (CSV, TSV) with the columns value and time. A dimension of the price is the member or the
// column of its name. Where no event has a time, their order in the file counts. name tells a
// table; without an ending that does, the first byte of a line of JSON is a brace. It fails with
// Faults.
func (p *PriceFile) ReadUses(name string, data []byte) ([]engine.Use, error) {
	u := &useReader{p: p, faults: &faultList{}, src: &source{name: name}}
	if len(data) > MaxEvents {
		u.fault("bill great files with billctl rate", "the file has more than %d MiB", MaxEvents>>20)
		return nil, u.faults.err()
	}
	data = trimMark(data)
	format := FormatOf(name)
	first := bytes.TrimLeft(data, " \t\r\n")
	if format == NDJSON && len(first) > 0 && first[0] != '{' && first[0] != '[' {
		format = CSV
	}
	switch {
	case format.Columns():
		u.fault("export it to NDJSON or CSV first", "%s is not read here", format)
	case format == NDJSON:
		u.lines(data)
	default:
		u.table(data, format == TSV)
	}
	if u.times > 0 && u.times < len(u.out) {
		u.fault("give every event a time, or none", "%d of %d events have a time", u.times, len(u.out))
	}
	if len(u.out) == 0 && len(u.faults.list) == 0 {
		u.fault(`write a line for each: {"time":"2026-03-01T10:00:00Z","data":{"value":12.5}}`,
			"the file has no event")
	}
	if err := u.faults.err(); err != nil {
		return nil, err
	}
	return u.out, nil
}

// useReader reads the uses of one file.
type useReader struct {
	p      *PriceFile
	faults *faultList
	src    *source
	line   int32  // from 1
	text   string // of the line, as far as it is known
	times  int    // events that have one
	out    []engine.Use
}

// fault adds a fault in the present line.
func (u *useReader) fault(hint, format string, args ...any) {
	if u.faults.full() {
		return
	}
	width := max(1, utf8.RuneCountInString(strings.TrimSpace(u.text)))
	u.faults.list = append(u.faults.list, &Fault{
		File: u.src.name, Line: int(max(1, u.line)), Column: 1, Width: width, Source: u.text, Hint: hint,
		Message: fmt.Sprintf(format, args...),
	})
}

// lines reads lines of JSON.
func (u *useReader) lines(data []byte) {
	for len(data) > 0 && !u.faults.full() {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		u.line++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		u.text = strings.ToValidUTF8(string(line[:min(len(line), 4*maxExcerpt)]), "?")
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		var event struct {
			Time *string        `json:"time"`
			Data map[string]any `json:"data"`
		}
		err := d.Decode(&event)
		if err == nil && d.More() {
			err = errors.New("there is more than one value")
		}
		if err != nil {
			hint := "write one event a line"
			if line[0] == '[' {
				hint = "write a line for each: jq -c '.[]' FILE"
			}
			u.fault(hint, "%s", lineFault(err))
			continue
		}
		u.add(event.Time, func(name string) (string, bool) { return jsonScalar(event.Data[name]) })
	}
}

// lineFault says why a line is no event.
func lineFault(err error) string {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return kind.Field + " is a " + kind.Value + ", so the line is no event"
	case errors.As(err, &kind):
		return "the line is a JSON " + kind.Value + " and no event"
	}
	return "the line is not JSON: " + err.Error()
}

// jsonScalar returns a scalar as text; false for every other value.
func jsonScalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return fmt.Sprint(v), true
	case json.Number:
		if d, err := decimal.Parse(v.String()); err == nil {
			return d.String(), true
		}
		return v.String(), true
	}
	return "", false
}

// table reads a table whose first line has the names of its columns.
func (u *useReader) table(data []byte, tabs bool) {
	r := csv.NewReader(bytes.NewReader(data))
	if tabs {
		r.Comma = '\t'
	}
	head, err := r.Read()
	if err == nil {
		u.line, u.text = 1, strings.Join(head, string(r.Comma))
	}
	at := map[string]int{}
	for i, name := range head {
		at[strings.TrimPrefix(name, "data.")] = i
	}
	if _, ok := at["value"]; err == nil && !ok && u.p.Meter.Aggregate != engine.Count {
		u.fault("name the column of the amounts value", "the table has no column value")
		return
	}
	for err == nil && !u.faults.full() {
		var row []string
		if row, err = r.Read(); err != nil {
			break
		}
		line, _ := r.FieldPos(0)
		u.line, u.text = int32(line), strings.Join(row, string(r.Comma))
		var time *string
		if i, ok := at["time"]; ok && row[i] != "" {
			time = &row[i]
		}
		u.add(time, func(name string) (string, bool) {
			i, ok := at[name]
			if !ok {
				return "", false
			}
			return row[i], true
		})
	}
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		u.line, u.text = int32(bad.Line), ""
		u.fault("", "the table can't be read: %v", bad.Err)
	} else if err != nil && !errors.Is(err, io.EOF) {
		u.fault("", "the table can't be read: %v", err)
	}
}

// add adds an event.
func (u *useReader) add(time *string, value func(name string) (string, bool)) {
	use := engine.Use{Seq: engine.Seq(len(u.out) + 1), Meter: u.p.Meter}
	use.Time = engine.Micros(len(u.out))
	if time != nil {
		at, fault := parseWhen(*time, nil)
		if fault != "" {
			u.fault(whenHint, "time %q %s", clip(*time), fault)
			return
		}
		use.Time = at
		u.times++
	}
	if u.p.Meter.Aggregate != engine.Count {
		text, ok := value("value")
		if !ok {
			u.fault(`write {"data":{"value":12.5}}`, "the event has no number at data.value")
			return
		}
		var err error
		if use.Value, err = decimal.Parse(text); err != nil {
			u.fault(decimalHint(text), "value %q is not a decimal", clip(text))
			return
		}
	}
	for _, d := range u.p.Meter.GroupBy {
		v, ok := value(d.Name)
		use.Group = append(use.Group, engine.GroupValue{Dim: d.Name, Value: v, Absent: !ok})
	}
	u.out = append(u.out, use)
}

package formats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

// decodeLine reads one line as an event of its own.
func decodeLine(t testing.TB, line string) *engine.Batch {
	t.Helper()
	b := decodeEvents(t, newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{}),
		Chunk{Partition: "p", Data: []byte(line), Last: true})[0]
	checkBatch(t, b)
	return b
}

// with is an event with further members, which begin at byte 51.
func with(members string) string {
	return `{"id":"1","source":"s","type":"t","subject":"x"  ,` + members + `}`
}

// withData is an event with these members of data, which begin at byte 59.
func withData(members string) string { return with(`"data":{` + members + `}`) }

// malformedLine is a line and what is wrong with it.
type malformedLine struct{ line, fault string }

// TestMalformedMembers names every way in which a JSON object is no event.
func TestMalformedMembers(t *testing.T) {
	timed := func(s string) string { return with(`"time":"` + s + `"`) }
	checkMalformed(t, []malformedLine{
		{`[]`, `'[' instead of an event, which is a JSON object, at byte 1`},
		{`x`, `'x' instead of an event, which is a JSON object, at byte 1`},
		{`{}`, "event has no id"},
		{`{"id":"1","type":"t","subject":"x"}`, "event has no source"},
		{`{"id":"1","source":"s","subject":"x"}`, "event has no type"},
		{`{"id":"1","source":"s","type":"t"}`, "event has no subject"},
		{`{"id":"1","source":"s","type":"t","subject":null}`, "event has no subject"},
		{`{"ID":"1","source":"s","type":"t","subject":"x"}`, "event has no id"},
		{`{"id":"1","source":"s","type":"t","subject":""}`, "subject is empty at byte 45"},
		{`{"id":7}`, "id is not a string at byte 7"},
		{`{"id":"` + strings.Repeat("i", 1025) + `"}`, "id is longer than 1024 bytes at byte 7"},
		{`{"id":"1","id":"1"}`, `duplicate key "id" at byte 11`},
		{`{"id":"1","\u0069d":"1"}`, `duplicate key "id" at byte 11`},
		{with(`"a":{"b":1,"\u0062":2}`), `duplicate key "b" at byte 62`},
		{withData(`"a":1,"a":2`), `duplicate key "a" at byte 65`},
		{withData(`"a":{"b":1,"b":2}`), `duplicate key "b" at byte 70`},
		{withData(`"a":[{"b":1},{"b":1,"b":2}]`), `duplicate key "b" at byte 79`},
		{with(`"specversion":"0.3"`), `specversion "0.3" is not "1.0" at byte 65`},
		{with(`"specversion":1.0`), "specversion is not a string at byte 65"},
		{with(`"data":[]`), "data is not an object at byte 58"},
		{with(`"data":"x"`), "data is not an object at byte 58"},
		{with(`"data_base64":"eA=="`), "data_base64 instead of data as a JSON object at byte 65"},
		{with(`"time":1`), "time is not a string at byte 58"},
		{timed("2026-01-01"), `time "2026-01-01" is not YYYY-MM-DDThh:mm:ss at byte 58`},
		{timed("2026-01-01 00:00:00Z"),
			`time "2026-01-01 00:00:00Z" is not YYYY-MM-DDThh:mm:ss at byte 58`},
		{timed("2026-02-29T00:00:00Z"), `time "2026-02-29T00:00:00Z" has an impossible date at byte 58`},
		{timed("2026-13-01T00:00:00Z"), `time "2026-13-01T00:00:00Z" has an impossible date at byte 58`},
		{timed("2026-01-01T24:00:00Z"),
			`time "2026-01-01T24:00:00Z" has an impossible hour, minute or second at byte 58`},
		{timed("2016-12-31T23:59:60Z"), `time "2016-12-31T23:59:60Z" is a leap second at byte 58`},
		{timed("2026-01-01T00:00:00"), `time "2026-01-01T00:00:00" has no offset from UTC at byte 58`},
		{timed("2026-01-01T00:00:00+0200"),
			`time "2026-01-01T00:00:00+0200" has no offset from UTC at byte 58`},
		{timed("2026-01-01T00:00:00+24:00"),
			`time "2026-01-01T00:00:00+24:00" has an impossible offset at byte 58`},
		{timed("2026-01-01T00:00:00.Z"),
			`time "2026-01-01T00:00:00.Z" has a point without digits at byte 58`},
		{timed("1970-01-01T00:00:00+00:01"),
			`time "1970-01-01T00:00:00+00:01" is not in 1970 to 2199 at byte 58`},
		{timed("2199-12-31T23:59:59.999999999-00:01"),
			`time "2199-12-31T23:59:59.999999999-00:01" is not in 1970 to 2199 at byte 58`},
	})
}

// TestMalformedJSON names every way in which a line is not the JSON that is read here.
func TestMalformedJSON(t *testing.T) {
	checkMalformed(t, []malformedLine{
		{withData(`"a":01`), `bad number "01" at byte 63`},
		{withData(`"a":+1`), `bad number "+1" at byte 63`},
		{withData(`"a":1.`), `bad number "1." at byte 63`},
		{withData(`"a":NaN`), `'N' instead of a value at byte 63`},
		{withData(`"a":nul`), `'n' instead of a value at byte 63`},
		{withData(`"a":`), `'}' instead of a value at byte 63`},
		{withData(`"a"1`), `'1' instead of a colon at byte 62`},
		{withData(`"a":1,`), `'}' instead of a member's name at byte 65`},
		{withData(`"a":1 "b":2`), `'"' instead of a comma or the end of the object at byte 65`},
		{withData(`"a":[1 2]`), `'2' instead of a comma or the end of the array at byte 66`},
		{withData(`"a":[1,]`), `']' instead of a value at byte 66`},
		{withData(`a:1`), `'a' instead of a member's name at byte 59`},
		{withData("\"a\":\"\xff\""), "invalid UTF-8 at byte 64"},
		{withData("\"a\":\"b\xc3\\u00e9\""), "invalid UTF-8 at byte 65"},
		{withData("\xff"), "invalid UTF-8 at byte 59"},
		{withData("\"a\":\"x\ty\""), "control character 0x09 inside a string at byte 65"},
		{withData("\"a\":\"\\n\ty\""), "control character 0x09 inside a string at byte 66"},
		{withData(`"a":"\x"`), "unknown escape at byte 64"},
		{withData(`"a":"\u12g4"`), "unknown escape at byte 64"},
		{withData(`"a":"\ud83d"`), "half of a surrogate pair at byte 64"},
		{withData(`"a":"\udc00\ud83d"`), "half of a surrogate pair at byte 64"},
		{withData(`"a":"\ud83d\u0041"`), "half of a surrogate pair at byte 64"},
		{withData(`"a":"x\u0000"`), "NUL character at byte 65"},
		{withData(`"a":["x\u0000"]`), "NUL character at byte 66"},
		{with(`"a":1`) + ` {}`, "text after the end of the object at byte 58"},
		{`{"id":"1`, "line ends inside a string"},
		{`{"id":"\`, "unknown escape at byte 8"},
		{`{"id":"1"`, "line ends where a comma or the end of the object is expected"},
		{`{"id":"1",`, "line ends where a member's name is expected"},
		{`{"id"`, "line ends where a colon is expected"},
		{`{"a":`, "line ends where a value is expected"},
		{`{"a":tru`, "'t' instead of a value at byte 6"},
		{withData(`"` + strings.Repeat("p", 1020) + `":1`),
			"path of a property is longer than 1024 bytes at byte 1083"},
		{withData(strings.Repeat(`"a":{`, 31) + strings.Repeat("}", 31)),
			"nesting deeper than 32 at byte 213"},
		{with(`"a":` + strings.Repeat(`[`, 32) + strings.Repeat("]", 32)),
			"nesting deeper than 32 at byte 86"},
		{withData(manyMembers(257)), "event has more than 256 properties"},
	})
}

func checkMalformed(t *testing.T, lines []malformedLine) {
	t.Helper()
	for _, c := range lines {
		b := decodeLine(t, c.line)
		got := "no fault"
		if len(b.Malformed) == 1 {
			got = b.Malformed[0].Fault
			if string(b.Malformed[0].Raw) != c.line || b.Malformed[0].Size != int64(len(c.line)) {
				t.Errorf("%s: raw %q of %d bytes", c.line, b.Malformed[0].Raw, b.Malformed[0].Size)
			}
		}
		if got != c.fault || b.Len != 1 {
			t.Errorf("%.200s\n got %s\nwant %s", c.line, got, c.fault)
		}
	}
}

func manyMembers(n int) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"m%d":%d`, i, i))
	}
	return strings.Join(members, ",")
}

// TestEvents names what is read in ways that are not obvious.
func TestEvents(t *testing.T) {
	for _, c := range []struct{ members, want string }{
		{``, "0 true"},
		{`"specversion":"1.0","time":null,"data":null,"ext":null,"data_base64":null`, "0 true"},
		{`"time":"2026-01-01T00:00:00.123456999Z"`, "1767225600123456 false"},
		{`"time":"2026-01-01t00:00:00.5z"`, "1767225600500000 false"},
		{`"time":"2026-01-01T01:30:00+01:30"`, "1767225600000000 false"},
		{`"time":"1969-12-31T23:00:00-01:00"`, "0 false"},
		{`"time":"2199-12-31T23:59:59.9999999Z"`, "7258118399999999 false"},
		{`"data":{}`, "0 true"},
		{`"data":{"a":{"b":{"c":1}},"a.b":{"c":2},"a\\":3}`,
			`0 true data.a.b.c=number 1 data.a\.b.c=number 2 data.a\\=number 3`},
		{`"data":{"a":5,"b":5.0,"c":5e0,"d":"5","e":-0}`, "0 true data.a=number 5 data.b=number 5 " +
			"data.c=number 5 data.d=text 5 data.e=number 0"},
		{`"data":{"a":100000000000000000000,"b":0.1234567890123456789,"c":1e-400}`,
			"0 true data.a=wide 100000000000000000000 data.b=wide 0.1234567890123456789 " +
				"data.c=wide 1e-400"},
		{`"data":{"t":true,"f":false,"":"","\u00e9\ud83d\ude00\/":"\"\\\b\f\n\r\t"}`,
			"0 true data.=text  data.f=bool false data.t=bool true data.é😀/=text \"\\\b\f\n\r\t"},
		{`"b":{"y": [ 1.0 , "\u00e9" ] },"a.c":7,"data":{"n": null,"e":{ },"l":[ ],` +
			`"o":{"z":[{ "q" : 1 }]}}`,
			`0 true {"a\\.c":7,"b":{"y":[1.0,"\u00e9"]},"data.e":{},"data.l":[],"data.n":null,` +
				`"data.o.z":[{"q":1}]}`},
		{`"data":{"a":[{"b":1},{"b":1}],"b":1}`, `0 true {"data.a":[{"b":1},{"b":1}]} data.b=number 1`},
		{`"data":{` + manyMembers(256) + `}`, "256"},
		{`"data":{` + strings.Repeat(`"a":{`, 30) + `"a":1` + strings.Repeat("}", 31),
			"0 true data." + strings.Repeat("a.", 30) + "a=number 1"},
	} {
		line := ` { "id" : "1","source":"s","type":"t","subject":"x"`
		if c.members != "" {
			line += "," + c.members
		}
		b := decodeLine(t, line+"}\t")
		if len(b.Malformed) > 0 {
			t.Errorf("%s: %s", c.members, b.Malformed[0].Fault)
			continue
		}
		props := rowProps(b, 0)
		if c.want == "256" && len(props) == 256 {
			continue
		}
		got := fmt.Sprint(int64(b.Time[0]), " ", b.TimeDefaulted.Has(0))
		if rest := b.Rest.At(0); len(rest) > 0 {
			got += " " + string(rest)
		}
		for _, path := range sortedKeys(props) {
			got += " " + path + "=" + props[path]
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.members, got, c.want)
		}
	}
}

// The library reads a little more than RFC 3339: an hour of one digit, a comma, offsets of +24:60.
var strictTime = regexp.MustCompile(
	`^[^,]{10}[Tt][0-9]{2}:[^,]*([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// refEvent is what the reference reads of one line.
type refEvent struct {
	attrs map[string]string
	props map[string]string
	rest  map[string]string
}

// readReference reads an event by encoding/json's tokens, in the plainest way. It is false for a
// malformed line.
func readReference(line []byte) (refEvent, bool) {
	e := refEvent{map[string]string{}, map[string]string{}, map[string]string{}}
	// The library puts U+FFFD for what it can't read; generated events have none of their own.
	if !utf8.Valid(line) || !json.Valid(line) || bytes.Contains(line, []byte("\n")) {
		return e, false
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return e, false
	}
	if !e.members(dec, line, "", 1) {
		return e, false
	}
	for _, name := range []string{"id", "source", "type", "subject"} {
		if v := e.attrs[name]; v == "" || len(v) > engine.MaxName {
			return e, false
		}
	}
	return e, len(e.props) <= engine.MaxColumns
}

func (e *refEvent) members(dec *json.Decoder, line []byte, prefix string, depth int) bool {
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		name, isName := tok.(string)
		if err != nil || !isName || seen[name] || badText(name) || depth > maxDepth {
			return false
		}
		seen[name] = true
		path := prefix + strings.NewReplacer(".", `\.`, `\`, `\\`).Replace(name)
		if prefix == "" && name != "data" {
			if !e.attribute(dec, line, name, path, depth) {
				return false
			}
		} else if !e.property(dec, line, path, depth) {
			return false
		}
	}
	_, err := dec.Token()
	return err == nil
}

func (e *refEvent) attribute(dec *json.Decoder, line []byte, name, path string, depth int) bool {
	raw, ok := e.raw(dec, depth)
	if !ok || raw == "null" {
		return ok
	}
	switch name {
	case "id", "source", "type", "subject", "time", "specversion":
		var s string
		if raw[0] != '"' || json.Unmarshal([]byte(raw), &s) != nil || s == "" {
			return false
		}
		e.attrs[name] = s
		if name == "time" {
			at, err := time.Parse(time.RFC3339, strings.ToUpper(s)) // and it wants capitals
			e.attrs[name] = fmt.Sprint(at.UnixMicro())
			return err == nil && strictTime.MatchString(s) && !at.Before(time.Unix(0, 0)) &&
				at.UnixMicro() < int64(engine.MaxTime)
		}
		return name != "specversion" || s == "1.0"
	case "data_base64":
		return false
	}
	e.rest[path] = raw
	return len(path) <= engine.MaxName
}

// raw returns the next value's compact text, after checking it.
func (e *refEvent) raw(dec *json.Decoder, depth int) (string, bool) {
	var raw json.RawMessage
	if dec.Decode(&raw) != nil {
		return "", false
	}
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return "", false
	}
	return out.String(), checkNames(json.NewDecoder(bytes.NewReader(raw)), depth)
}

// checkNames refuses duplicates, bad text and depth in a value.
func checkNames(dec *json.Decoder, depth int) bool {
	type level struct {
		seen   map[string]bool // nil for an array
		isName bool
	}
	var stack []level
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		top := len(stack) - 1
		if s, ok := tok.(string); ok && badText(s) {
			return false
		}
		if top >= 0 && stack[top].seen != nil && stack[top].isName {
			if name, ok := tok.(string); ok {
				if stack[top].seen[name] {
					return false
				}
				stack[top].seen[name], stack[top].isName = true, false
				continue
			}
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			l := level{isName: true}
			if tok == json.Delim('{') {
				l.seen = map[string]bool{}
			}
			if stack = append(stack, l); len(stack)+depth > maxDepth {
				return false
			}
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
			top--
		}
		if top >= 0 {
			stack[top].isName = true
		}
	}
}

func badText(s string) bool { return strings.ContainsAny(s, "\x00\ufffd") }

func (e *refEvent) property(dec *json.Decoder, line []byte, path string, depth int) bool {
	at := dec.InputOffset()
	next := bytes.TrimLeft(line[at:], ": \t\r")
	if next[0] == '{' && bytes.TrimLeft(next[1:], " \t\r")[0] != '}' {
		if _, err := dec.Token(); err != nil {
			return false
		}
		return e.members(dec, line, path+".", depth+1)
	}
	raw, ok := e.raw(dec, depth)
	if !ok {
		return false
	}
	if path == "data" {
		return raw == "null" || raw == "{}"
	}
	switch c := raw[0]; {
	case c == '"':
		var s string
		if json.Unmarshal([]byte(raw), &s) != nil {
			return false
		}
		e.props[path] = "text " + s
	case c == 't' || c == 'f':
		e.props[path] = "bool " + raw
	case c == '[' || c == '{' || c == 'n':
		e.rest[path] = raw
	default:
		if d, err := decimal.Parse(raw); err == nil {
			e.props[path] = "number " + d.String()
		} else {
			e.props[path] = "wide " + raw
		}
	}
	return len(path) <= engine.MaxName
}

// digest computes the row's digest from the reference's reading.
func (e *refEvent) digest() (d engine.RowDigest, rest string) {
	d = engine.DigestType(e.attrs["type"]) + engine.DigestSubject(e.attrs["subject"])
	if s := e.attrs["time"]; s != "" {
		at, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err.Error()
		}
		d += engine.DigestTime(engine.Micros(at))
	}
	for path, text := range e.props {
		seed := engine.PathSeed(path)
		kind, value, _ := strings.Cut(text, " ")
		switch kind {
		case "text":
			d += engine.DigestText(seed, value)
		case "wide":
			d += engine.DigestWide(seed, value)
		case "bool":
			d += engine.DigestBool(seed, value == "true")
		case "number":
			n, _ := decimal.Parse(value)
			d += engine.DigestNumber(seed, n)
		}
	}
	for _, path := range sortedKeys(e.rest) {
		d += engine.DigestRest(engine.PathSeed(path), e.rest[path])
		rest += `,"`
		for _, c := range path {
			switch {
			case c == '"' || c == '\\':
				rest += `\` + string(c)
			case c < ' ':
				rest += fmt.Sprintf(`\u%04x`, c)
			default:
				rest += string(c)
			}
		}
		rest += `":` + e.rest[path]
	}
	if rest != "" {
		rest = "{" + rest[1:] + "}"
	}
	return d, rest
}

// compareReference checks one line against the reference.
func compareReference(t testing.TB, b *engine.Batch, row int, line []byte) (malformed bool) {
	t.Helper()
	want, ok := readReference(line)
	fault := ""
	for _, m := range b.Malformed {
		if m.Row == row {
			fault = m.Fault
		}
	}
	if ok != (fault == "") {
		t.Fatalf("%s\nreference reads it: %t, fault: %q", line, ok, fault)
	}
	if !ok {
		return true
	}
	for name, d := range map[string]*engine.Dict{
		"source": &b.Source, "type": &b.Type, "subject": &b.Subject,
	} {
		if v, ok := d.At(row); !ok || v != want.attrs[name] {
			t.Fatalf("%s\n%s is %q", line, name, v)
		}
	}
	if string(b.ID.At(row)) != want.attrs["id"] {
		t.Fatalf("%s\nid is %q", line, b.ID.At(row))
	}
	at, timed := want.attrs["time"]
	if b.TimeDefaulted.Has(row) == timed || timed && at != fmt.Sprint(int64(b.Time[row])) {
		t.Fatalf("%s\ntime is %d instead of %s", line, b.Time[row], at)
	}
	if got := rowProps(b, row); fmt.Sprint(got) != fmt.Sprint(want.props) {
		t.Fatalf("%s\n got %v\nwant %v", line, got, want.props)
	}
	digest, rest := want.digest()
	if got := string(b.Rest.At(row)); got != rest {
		t.Fatalf("%s\n got rest %s\nwant rest %s", line, got, rest)
	}
	if b.Digest[row] != uint64(digest) {
		t.Fatalf("%s\ndigest %x instead of %x", line, b.Digest[row], digest)
	}
	return false
}

// TestAgainstReference reads random events and damaged ones, and compares with the reference.
func TestAgainstReference(t *testing.T) {
	r := eventRand(t)
	d, b := newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{})
	good, bad := 0, 0
	for range 300 {
		var lines [][]byte
		for range 50 {
			line := randomLine(r)
			if len(bytes.TrimSpace(line)) > 0 && !bytes.Contains(line, []byte("\x00")) {
				lines = append(lines, line)
			}
		}
		batches := decodeEvents(t, d, b,
			Chunk{Partition: "p", Data: append(bytes.Join(lines, []byte("\n")), '\n')})
		i := 0
		for _, batch := range batches {
			checkBatch(t, batch)
			for row := range batch.Len {
				if compareReference(t, batch, row, lines[i]) {
					bad++
				} else {
					good++
				}
				i++
			}
			b.Recycle(batch)
		}
	}
	if good < 3000 || bad < 1000 {
		t.Errorf("%d good and %d bad lines are a weak test", good, bad)
	}
}

var holeOrLine = regexp.MustCompile(`\x00{8,}|\n`)

// FuzzCloudEvents holds that nothing panics, every line that is not blank is one row, and that a
// line is read exactly if the reference reads it.
func FuzzCloudEvents(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 30 {
		f.Add([]byte(randomEvent(r) + "\n" + string(randomLine(r))))
	}
	f.Add([]byte("\xef\xbb\xbf{}\n\x00\x00\x00\x00\x00\x00\x00\x00\x00{\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want [][]byte
		rest := trimMark(data)
		for {
			at := holeOrLine.FindIndex(rest)
			line := rest
			if at != nil {
				line = rest[:at[0]]
			}
			if len(bytes.Trim(line, " \t\r")) > 0 {
				want = append(want, line)
			}
			if at == nil {
				break
			}
			if rest[at[0]] == 0 {
				want = append(want, rest[at[0]:at[1]])
			}
			rest = rest[at[1]:]
		}
		rows := 0
		for _, b := range decodeEvents(t, newEventDecoder(t, NDJSON, nil), NewBuilder("usage", Limits{}),
			Chunk{Partition: "p", Data: data, Last: true}) {
			checkBatch(t, b)
			for row := range b.Len {
				if rows == len(want) {
					t.Fatalf("more than %d rows", rows)
				}
				// U+FFFD in the input would look to the reference like its own mark.
				if l := want[rows]; len(l) <= MaxLine && !bytes.Contains(l, []byte("\ufffd")) &&
					!bytes.Contains(bytes.ToLower(l), []byte(`\ufffd`)) {
					compareReference(t, b, row, l)
				}
				rows++
			}
		}
		if rows != len(want) {
			t.Fatalf("%d rows instead of %d", rows, len(want))
		}
	})
}

package formats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"billctl/engine"
)

func validMapping() Mapping {
	return Mapping{
		ID: []string{"$.order.id", "$.line"}, Type: MappedValue{Const: "sale"},
		Subject: MappedValue{Path: "$.customer"},
		Data:    map[string]string{"qty": "$.qty", "all": "$.props", "plan": "$.props.plan"},
	}
}

func TestMappingValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Mapping)
		want   string
	}{
		{func(m *Mapping) {}, "<nil>"},
		{func(m *Mapping) { m.ID = nil }, "check mapping: id is missing: name the fields that make it, " +
			"or use [$.file, $.row] for finite files"},
		{func(m *Mapping) { m.ID = []string{"id"} },
			`check mapping: id: "id" is not a path: write $.name`},
		{func(m *Mapping) { m.ID = []string{"$.a..b"} }, `check mapping: id: "$.a..b" has an empty name`},
		{func(m *Mapping) { m.Type = MappedValue{} },
			"check mapping: type: missing: give a path or {const: TEXT}"},
		{func(m *Mapping) { m.Subject.Const = "x" },
			"check mapping: subject: both a constant and a path"},
		{func(m *Mapping) { m.Source.Const = "a\x00" },
			`check mapping: source: "a\x00" is not valid UTF-8 text`},
		{func(m *Mapping) { m.Time.Layout = "unix" },
			"check mapping: time: a layout or a zone without a path"},
		{func(m *Mapping) { m.Time = MappedTime{"$.t", "15:04:05", ""} },
			`check mapping: time: layout "15:04:05" does not hold year, month and day`},
		{func(m *Mapping) { m.Time = MappedTime{"$.t", time.RFC1123, ""} },
			`check mapping: time: layout "Mon, 02 Jan 2006 15:04:05 MST": names of zones are ambiguous; ` +
				`use -07:00 or a zone`},
		{func(m *Mapping) { m.Time = MappedTime{"$.t", "unix", "UTC"} },
			"check mapping: time: zone UTC does not go with this layout, whose times have their own"},
		{func(m *Mapping) { m.Time = MappedTime{"$.t", time.DateTime, "+25:00"} },
			`check mapping: time: zone "+25:00": impossible offset`},
		{func(m *Mapping) { m.Data[""] = "$.x" }, "check mapping: data: a name is empty"},
		{func(m *Mapping) { m.Data["x"] = "$" },
			`check mapping: data.x: "$" is not a path: write $.name`},
		{func(m *Mapping) { m.Delimiter = "::" },
			`check mapping: delimiter "::" is not one ASCII character`},
	} {
		m := validMapping()
		c.change(&m)
		if got := fmt.Sprint(m.Validate()); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
	m := validMapping()
	m.Time = MappedTime{"$.t", time.DateTime, "Mars/Base"}
	if err := m.Validate(); err == nil || !strings.Contains(err.Error(), "Mars/Base") {
		t.Error(err)
	}
	for format, m := range map[Format]*Mapping{CSV: nil, 9: &m, NDJSON: {}} {
		if _, err := NewDecoder(format, "usage", m); err == nil {
			t.Errorf("format %d with mapping %v is taken", format, m)
		}
	}
}

func TestMappingText(t *testing.T) {
	m := validMapping()
	m.Source.Path = `$.a\.b`
	m.Time = MappedTime{Path: "$.t", Layout: time.DateTime}
	m.Delimiter = ";"
	want := `{"id":["$.order.id","$.line"],"source":{"path":"$.a\\.b"},"type":{"const":"sale"},` +
		`"subject":{"path":"$.customer"},"time":{"field":"$.t",` +
		`"layout":"2006-01-02 15:04:05","zone":"UTC"},` +
		`"data":{"all":"$.props","plan":"$.props.plan","qty":"$.qty"},"delimiter":";"}`
	if got := m.Text(); got != want {
		t.Errorf("got %s", got)
	}
	m.Time.Zone = "UTC"
	if got := m.Text(); got != want {
		t.Errorf("the default written out changes the text: %s", got)
	}
}

// TestMappedJSON reads JSON of another form than CloudEvents.
func TestMappedJSON(t *testing.T) {
	head := `{"order":{"id":"o/1"},"line":2,"customer":"acme"`
	for _, c := range []struct{ line, want string }{
		{head + `}`, `"usage" "sale" "acme" "o\\/1/2" `},
		{head + `,"qty":1.50,"props":{"plan":"pro","deep":{"x":true},"list":[1, 2]},"other":[{"a":1}]}`,
			`"usage" "sale" "acme" "o\\/1/2" {"data.all.list":[1,2]} data.all.deep.x=bool true ` +
				`data.all.plan=text pro data.plan=text pro data.qty=number 1.5`},
		{head + `,"qty":null,"props":{}}`, `"usage" "sale" "acme" "o\\/1/2" {"data.all":{}}`},
		{`{"order":{"id":1.50},"line":"2","customer":7}`, `"usage" "sale" "7" "1.50/2" `},
		{`{"order":{"id":"1"},"customer":"acme"}`, "row has no id: nothing in $.line"},
		{`{"order":{"id":"1"},"line":null,"customer":"acme"}`, "row has no id: nothing in $.line"},
		{`{"order":{"id":"1"},"line":1,"customer":""}`, "row has no subject: nothing in $.customer"},
		{`{"order":{"id":true},"line":1}`, "order.id is neither text nor a number at byte 16"},
		{`{"order":{"id":1},"order":{}}`, `duplicate key "order" at byte 19`},
		{`{"other":[{"a":1,"a":2}]}`, `duplicate key "a" at byte 18`},
		{`{"props":{"a":1,"a":2}}`, `duplicate key "a" at byte 17`},
		{`{"other":{"a":01}}`, `bad number "01" at byte 15`},
		{`7`, `'7' instead of a row, which is a JSON object, at byte 1`},
		{head + `} x`, "text after the end of the object at byte 51"},
		{`{"order":{"id":"` + strings.Repeat("/", 600) + `"},"line":1,"customer":"c"}`,
			"id is longer than 1024 bytes"},
	} {
		m := validMapping()
		b := decodeEvents(t, newEventDecoder(t, NDJSON, &m), NewBuilder("usage", Limits{}),
			Chunk{Partition: "p", Data: []byte(c.line), Last: true})[0]
		checkBatch(t, b)
		var got string
		if len(b.Malformed) > 0 {
			got = b.Malformed[0].Fault
		} else {
			source, _ := b.Source.At(0)
			kind, _ := b.Type.At(0)
			who, _ := b.Subject.At(0)
			got = fmt.Sprintf("%q %q %q %q %s", source, kind, who, b.ID.At(0), b.Rest.At(0))
			props := rowProps(b, 0)
			for _, path := range sortedKeys(props) {
				got += " " + path + "=" + props[path]
			}
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

// TestPlacedIDs makes ids of the file and the row, and refuses them for streams.
func TestPlacedIDs(t *testing.T) {
	m := &Mapping{ID: []string{FilePart, RowPart}, Type: MappedValue{Const: "t"},
		Subject: MappedValue{Const: "s"}}
	d, b := newEventDecoder(t, NDJSON, m), NewBuilder("usage", Limits{})
	c := Chunk{Partition: "p", Offset: 40, Data: []byte("{}\n{}\n")}
	_, err := d.Decode(c, b)
	want := "decode p: ids from the row's place need finite files: run with --until-eof, " +
		"or map id to fields of the rows"
	if err == nil || err.Error() != want {
		t.Fatal(err)
	}
	c.Ident = "f"
	if _, err := d.Decode(c, b); err != nil || string(b.batch.ID.Bytes) != "f/40f/43" {
		t.Fatal(err, string(b.batch.ID.Bytes))
	}
}

// TestJoinedIDs holds that two lists of parts never give one id.
func TestJoinedIDs(t *testing.T) {
	r := eventRand(t)
	seen := map[string]string{}
	for range 20_000 {
		var id []byte
		parts := make([]string, 2)
		for i := range parts {
			for range 1 + r.IntN(4) {
				parts[i] += string(`/\a`[r.IntN(3)])
			}
			if i > 0 {
				id = append(id, '/')
			}
			id = appendPart(id, []byte(parts[i]), true)
		}
		key := fmt.Sprintf("%q", parts)
		if other, ok := seen[string(id)]; ok && other != key {
			t.Fatalf("%s and %s are both %s", other, key, id)
		}
		seen[string(id)] = key
	}
}

func TestMappedTimes(t *testing.T) {
	berlin := MappedTime{"$.t", time.DateTime, "Europe/Berlin"}
	for _, c := range []struct {
		time MappedTime
		text string
		want string
	}{
		{MappedTime{Path: "$.t"}, "2026-01-01T00:00:00.5+01:00", "2025-12-31T23:00:00.5Z"},
		{MappedTime{"$.t", UnixSeconds, ""}, "1767225600", "2026-01-01T00:00:00Z"},
		{MappedTime{"$.t", UnixSeconds, ""}, "1767225600.1234567", "2026-01-01T00:00:00.123456Z"},
		{MappedTime{"$.t", UnixSeconds, ""}, "1.7672256e9", "2026-01-01T00:00:00Z"},
		{MappedTime{"$.t", UnixMillis, ""}, "1767225600123", "2026-01-01T00:00:00.123Z"},
		{MappedTime{"$.t", UnixMillis, ""}, "1767225600123.4567", "2026-01-01T00:00:00.123456Z"},
		{MappedTime{"$.t", UnixMillis, ""}, "7258118399999.9999", "2199-12-31T23:59:59.999999Z"},
		{MappedTime{"$.t", UnixSeconds, ""}, "7258118400", `time "7258118400" is not in 1970 to 2199`},
		{MappedTime{"$.t", UnixSeconds, ""}, "-0.5", `time "-0.5" is not in 1970 to 2199`},
		{MappedTime{"$.t", UnixSeconds, ""}, "99999999999999999999",
			`time "99999999999999999999" is not in 1970 to 2199`},
		{MappedTime{"$.t", UnixMillis, ""}, "99999999999999999999",
			`time "99999999999999999999" is not in 1970 to 2199`},
		{MappedTime{"$.t", UnixSeconds, ""}, "1e400",
			`time "1e400" is not a number with at most 18 decimals`},
		{MappedTime{"$.t", UnixSeconds, ""}, "now",
			`time "now" is not a number with at most 18 decimals`},
		{MappedTime{"$.t", "02.01.2006 15:04", "+02:00"}, "01.02.2026 10:30", "2026-02-01T08:30:00Z"},
		{MappedTime{"$.t", "2006-01-02", ""}, "2026-02-01", "2026-02-01T00:00:00Z"},
		{MappedTime{"$.t", "2006-01-02", ""}, "2026-02-30",
			`time "2026-02-30" does not fit the layout "2006-01-02"`},
		{MappedTime{"$.t", "2006-01-02 15:04:05-07:00", ""}, "2026-02-01 10:00:00+02:00",
			"2026-02-01T08:00:00Z"},
		{MappedTime{"$.t", "2006-01-02 15:04:05.999999999", ""}, "2026-02-01 10:00:00",
			"2026-02-01T10:00:00Z"},
		{berlin, "2026-07-01 12:00:00", "2026-07-01T10:00:00Z"},
		{berlin, "2026-10-25 02:30:00.25", "2026-10-25T00:30:00.25Z"}, // comes twice: the earlier
		{berlin, "2026-10-25 03:00:00", "2026-10-25T02:00:00Z"},
		{berlin, "2026-03-29 01:59:59", "2026-03-29T00:59:59Z"},
		{berlin, "2026-03-29 02:30:00", `time "2026-03-29 02:30:00" does not exist in Europe/Berlin`},
		{berlin, "2026-03-29 03:00:00", "2026-03-29T01:00:00Z"},
	} {
		r, err := newStampReader(c.time)
		if err != nil {
			t.Fatal(err)
		}
		at, fault := r.read([]byte(c.text))
		got := fault
		if fault == "" {
			got = time.UnixMicro(int64(at)).UTC().Format(time.RFC3339Nano)
		}
		if got != c.want {
			t.Errorf("%v %s: got %s, want %s", c.time, c.text, got, c.want)
		}
	}
}

// TestStampsAgainstTime compares with package time on random times and damaged ones.
func TestStampsAgainstTime(t *testing.T) {
	r := eventRand(t)
	var clock stampReader
	for range 50_000 {
		at := time.UnixMicro(r.Int64N(int64(engine.MaxTime))).In(
			time.FixedZone("", (r.IntN(27*60)-13*60)*60))
		text := []byte(at.Format(time.RFC3339Nano))
		if r.IntN(2) == 0 {
			text[r.IntN(len(text))] = "0123456789:-+.TZ "[r.IntN(17)]
		}
		got, fault := clock.rfc3339(text)
		want, err := time.Parse(time.RFC3339, string(text))
		ok := err == nil && strictTime.Match(text) && !want.Before(time.Unix(0, 0)) &&
			want.UnixMicro() < int64(engine.MaxTime)
		if ok != (fault == "") || ok && int64(got) != want.UnixMicro() {
			t.Fatalf("%s: %d %s, want %v %v", text, got, fault, want, err)
		}
	}
}

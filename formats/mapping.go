package formats

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

// Mapping says how rows that are no CloudEvents become events (docs/formats/mapping.md).
//
// A path names a member of the row's JSON object or a column of a CSV file: "$.name", or "$.a.b"
// for a member of a member. '.' and '\' in a name have a '\' before them. A column is named by the
// whole path: "$.a.b" and "$.a\.b" are both the column "a.b".
type Mapping struct {
	// ID is what makes the event's id: paths, FilePart and RowPart. It has at least one part.
	// Several are joined by '/', with '/' and '\' in them escaped by '\'.
	ID []string
	// Source is the CloudEvents source; the zero value is the source's name in the configuration.
	Source MappedValue
	// Type and Subject are needed.
	Type, Subject MappedValue
	// Time is when it was used; the zero value is its arrival.
	Time MappedTime
	// Data gives properties by name. The property "a" of the map is the path "data.a" of a meter,
	// and a point in a name belongs to the name. Empty: the event has no properties.
	Data map[string]string
	// Delimiter of CSV, one ASCII character. The zero value is that of the format: comma or tab.
	Delimiter string
}

// Parts of an id that stand for the row's place: the file's content-derived identity, and the byte
// offset of the line. Both need a finite file.
const (
	FilePart = "$.file"
	RowPart  = "$.row"
)

// MappedValue is a constant or what stands at a path; not both.
type MappedValue struct{ Const, Path string }

// MappedTime is where a row's time stands and how it is written.
type MappedTime struct {
	Path string
	// Layout is a layout of Go's package time, or UnixSeconds or UnixMillis; "" is RFC 3339.
	Layout string
	// Zone is the zone of a layout without an offset: "UTC", "+02:00" or an IANA name; "" is UTC.
	Zone string
}

// Layouts of times that are numbers: since 1970, in UTC, with any fraction.
const (
	UnixSeconds = "unix"
	UnixMillis  = "unix_ms"
)

// Validate says what is wrong with the mapping, if anything.
func (m *Mapping) Validate() error {
	if len(m.ID) == 0 {
		return errors.New("check mapping: id is missing: name the fields that make it, " +
			"or use [$.file, $.row] for finite files")
	}
	for _, part := range m.ID {
		if _, err := splitPath(part); err != nil {
			return fmt.Errorf("check mapping: id: %w", err)
		}
	}
	for _, f := range []struct {
		name   string
		value  MappedValue
		needed bool
	}{{"source", m.Source, false}, {"type", m.Type, true}, {"subject", m.Subject, true}} {
		if err := f.value.validate(f.needed); err != nil {
			return fmt.Errorf("check mapping: %s: %w", f.name, err)
		}
	}
	if err := m.Time.validate(); err != nil {
		return fmt.Errorf("check mapping: time: %w", err)
	}
	if len(m.Data) > engine.MaxColumns {
		return fmt.Errorf("check mapping: data has more than %d properties", engine.MaxColumns)
	}
	for _, name := range m.names() {
		if err := checkName(name); err != nil {
			return fmt.Errorf("check mapping: data: %w", err)
		}
		if _, err := splitPath(m.Data[name]); err != nil {
			return fmt.Errorf("check mapping: data.%s: %w", name, err)
		}
	}
	d := m.Delimiter
	if len(d) > 1 || d != "" && (d[0] >= 0x7f || strings.Contains("\"\r\n\x00", d)) {
		return fmt.Errorf("check mapping: delimiter %q is not one ASCII character", d)
	}
	return nil
}

// Text returns the mapping as one line of JSON: the same for equal mappings, with everything that
// has a default written out. It is what the journal holds of it.
func (m *Mapping) Text() string {
	out := []byte(`{"id":[`)
	for i, part := range m.ID {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendJSONString(out, part)
	}
	out = append(out, ']')
	for _, f := range []struct {
		name  string
		value MappedValue
	}{{"source", m.Source}, {"type", m.Type}, {"subject", m.Subject}} {
		switch {
		case f.value.Path != "":
			out = appendMember(out, f.name+`":{"path`, f.value.Path)
		case f.value.Const != "":
			out = appendMember(out, f.name+`":{"const`, f.value.Const)
		default:
			continue
		}
		out = append(out, '}')
	}
	if t := m.Time; t.Path != "" {
		out = appendMember(out, `time":{"field`, t.Path)
		if t.Layout != "" {
			out = appendMember(out, "layout", t.Layout)
		}
		if t.zoned() {
			out = appendMember(out, "zone", t.zone())
		}
		out = append(out, '}')
	}
	if len(m.Data) > 0 {
		out = append(out, `,"data":{`...)
		for i, name := range m.names() {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendJSONString(out, name), ':')
			out = appendJSONString(out, m.Data[name])
		}
		out = append(out, '}')
	}
	if m.Delimiter != "" {
		out = appendMember(out, "delimiter", m.Delimiter)
	}
	return string(append(out, '}'))
}

func appendMember(dst []byte, name, value string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendJSONString(dst, value)
}

// names returns the names of the properties, sorted.
func (m *Mapping) names() []string {
	names := make([]string, 0, len(m.Data))
	for name := range m.Data {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// placed reports whether ids come from the row's place.
func (m *Mapping) placed() bool {
	return slices.Contains(m.ID, FilePart) || slices.Contains(m.ID, RowPart)
}

func (v MappedValue) validate(needed bool) error {
	switch {
	case v.Const != "" && v.Path != "":
		return errors.New("both a constant and a path")
	case v.Const != "":
		return checkName(v.Const)
	case v.Path != "":
		_, err := splitPath(v.Path)
		return err
	case needed:
		return errors.New("missing: give a path or {const: TEXT}")
	}
	return nil
}

func (t MappedTime) validate() error {
	if t.Path == "" {
		if t != (MappedTime{}) {
			return errors.New("a layout or a zone without a path")
		}
		return nil
	}
	if _, err := splitPath(t.Path); err != nil {
		return err
	}
	if t.Zone != "" && !t.zoned() {
		return fmt.Errorf("zone %s does not go with this layout, whose times have their own", t.Zone)
	}
	if _, err := mappingZone(t.zone()); err != nil {
		return err
	}
	switch t.Layout {
	case "", UnixSeconds, UnixMillis:
		return nil
	}
	if strings.Contains(t.Layout, "MST") {
		return fmt.Errorf("layout %q: names of zones are ambiguous; use -07:00 or a zone", t.Layout)
	}
	// A layout that does not tell the whole date would put every event into one year or day.
	want := time.Date(2034, 11, 23, 0, 0, 0, 0, time.UTC)
	got, err := time.Parse(t.Layout, want.Format(t.Layout))
	if err != nil || !got.Equal(want) {
		return fmt.Errorf("layout %q does not hold year, month and day", t.Layout)
	}
	return nil
}

// zoned reports whether times are written without an offset.
func (t MappedTime) zoned() bool {
	switch t.Layout {
	case "", UnixSeconds, UnixMillis:
		return false
	}
	return t.Path != "" && !strings.Contains(t.Layout, "-07") && !strings.Contains(t.Layout, "Z07")
}

func (t MappedTime) zone() string {
	if t.Zone == "" {
		return "UTC"
	}
	return t.Zone
}

func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("a name is empty")
	case len(s) > engine.MaxName-len("data."):
		return fmt.Errorf("%s is longer than %d bytes", quoted(s), engine.MaxName-len("data."))
	case !utf8.ValidString(s) || strings.Contains(s, "\x00"):
		return fmt.Errorf("%s is not valid UTF-8 text", quoted(s))
	}
	return nil
}

// splitPath returns the names of a path.
func splitPath(path string) ([]string, error) {
	rest, ok := strings.CutPrefix(path, "$.")
	if !ok || rest == "" {
		return nil, fmt.Errorf("%s is not a path: write $.name", quoted(path))
	}
	var names []string
	var name []byte
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '.':
			names, name = append(names, string(name)), nil
		case rest[i] == '\\' && i+1 < len(rest) && strings.IndexByte(`.\`, rest[i+1]) >= 0:
			i++
			name = append(name, rest[i])
		default:
			name = append(name, rest[i])
		}
	}
	names = append(names, string(name))
	if slices.Contains(names, "") {
		return nil, fmt.Errorf("%s has an empty name", quoted(path))
	}
	return names, nil
}

// stampReader reads times. It remembers the date last read: most lines have that of the line
// before.
type stampReader struct {
	date [10]byte
	day  int64 // microseconds of its midnight since 1970

	layout string
	digits bool   // the layout is date, time and perhaps a fraction, which stamp reads
	unit   uint64 // units of 10^-18 in a microsecond, for times that are numbers
	zone   *time.Location
}

// newStampReader returns a reader of a mapping's times; m is valid.
func newStampReader(t MappedTime) (stampReader, error) {
	zone, err := mappingZone(t.zone())
	r := stampReader{layout: t.Layout, zone: zone}
	switch t.Layout {
	case UnixSeconds:
		r.unit = 1e12
	case UnixMillis:
		r.unit = 1e15
	}
	if rest, ok := strings.CutPrefix(t.Layout, "2006-01-02"); ok && rest != "" &&
		(rest[0] == ' ' || rest[0] == 'T') {
		if frac, ok := strings.CutPrefix(rest[1:], "15:04:05"); ok {
			r.digits = frac == "" || frac[0] == '.' && strings.Trim(frac[1:], "09") == ""
		}
	}
	return r, err
}

// read reads a time as the mapping writes it.
func (r *stampReader) read(b []byte) (engine.Micros, string) {
	switch {
	case r.unit != 0:
		return r.number(b)
	case r.layout == "":
		return r.rfc3339(b)
	case r.digits:
		us, rest, fault := r.stamp(b, r.layout[10])
		if fault == "" && len(rest) > 0 {
			fault = "time " + quoted(string(b)) + " does not fit the layout " + quoted(r.layout)
		}
		if fault != "" {
			return 0, fault
		}
		return r.local(us, b)
	}
	// A layout of another form is read by the standard library, at one allocation a row.
	t, err := time.Parse(r.layout, string(b))
	if err != nil {
		return 0, "time " + quoted(string(b)) + " does not fit the layout " + quoted(r.layout)
	}
	us := t.Unix()*1_000_000 + int64(t.Nanosecond()/1_000)
	if (MappedTime{Path: "$", Layout: r.layout}).zoned() {
		return r.local(us, b)
	}
	return inRange(us, b)
}

// number reads a count of units since 1970.
func (r *stampReader) number(b []byte) (engine.Micros, string) {
	d, err := decimal.ParseBytes(b)
	if err != nil {
		return 0, "time " + quoted(string(b)) + " is not a number with at most 18 decimals"
	}
	if d.Sign() < 0 {
		return inRange(-1, b)
	}
	hi, lo := d.Words()
	if uint64(hi) >= r.unit {
		return inRange(-1, b)
	}
	us, _ := bits.Div64(uint64(hi), lo, r.unit)
	return inRange(int64(min(us, math.MaxInt64)), b)
}

// local turns a wall clock's reading in the mapping's zone into an instant. Of the two instants
// of an hour that comes twice it takes the earlier; a reading that never was is a fault.
func (r *stampReader) local(us int64, b []byte) (engine.Micros, string) {
	if r.zone == time.UTC {
		return inRange(us, b)
	}
	const day = 24 * 60 * 60
	secs := us / 1_000_000
	best, found := int64(0), false
	for _, probe := range []int64{secs - day, secs, secs + day} {
		_, offset := time.Unix(probe, 0).In(r.zone).Zone()
		at := secs - int64(offset)
		if _, there := time.Unix(at, 0).In(r.zone).Zone(); there != offset {
			continue
		}
		if !found || at < best {
			best, found = at, true
		}
	}
	if !found {
		return 0, "time " + quoted(string(b)) + " does not exist in " + r.zone.String()
	}
	return inRange(best*1_000_000+us%1_000_000, b)
}

// rfc3339 reads an RFC 3339 time with an offset, floored to microseconds.
func (r *stampReader) rfc3339(b []byte) (engine.Micros, string) {
	us, rest, fault := r.stamp(b, 'T')
	if fault != "" {
		return 0, fault
	}
	if len(rest) == 1 && rest[0]|0x20 == 'z' {
		return inRange(us, b)
	}
	if len(rest) != 6 || rest[3] != ':' || rest[0] != '+' && rest[0] != '-' {
		return 0, "time " + quoted(string(b)) + " has no offset from UTC"
	}
	h, m := twoDigits(rest, 1), twoDigits(rest, 4)
	if h > 23 || m > 59 {
		return 0, "time " + quoted(string(b)) + " has an impossible offset"
	}
	offset := int64(h*60+m) * 60_000_000
	if rest[0] == '+' {
		offset = -offset
	}
	return inRange(us+offset, b)
}

// stamp reads date, separator, time and perhaps a fraction, and returns what follows them.
func (r *stampReader) stamp(b []byte, separator byte) (us int64, rest []byte, fault string) {
	if len(b) < 19 || b[10] != separator && (separator != 'T' || b[10] != 't') ||
		b[13] != ':' || b[16] != ':' {
		return 0, nil, "time " + quoted(string(b)) + " is not YYYY-MM-DD" + string(rune(separator)) +
			"hh:mm:ss"
	}
	if string(b[:10]) != string(r.date[:]) {
		day, ok := midnight(b[:10])
		if !ok {
			return 0, nil, "time " + quoted(string(b)) + " has an impossible date"
		}
		copy(r.date[:], b)
		r.day = day
	}
	h, m, s := twoDigits(b, 11), twoDigits(b, 14), twoDigits(b, 17)
	if h > 23 || m > 59 || s > 59 {
		if s == 60 {
			return 0, nil, "time " + quoted(string(b)) + " is a leap second"
		}
		return 0, nil, "time " + quoted(string(b)) + " has an impossible hour, minute or second"
	}
	us = r.day + int64(h*3600+m*60+s)*1_000_000
	rest = b[19:]
	if len(rest) == 0 || rest[0] != '.' {
		return us, rest, ""
	}
	n, unit := 1, int64(100_000)
	for ; n < len(rest) && rest[n]-'0' <= 9; n++ {
		us += int64(rest[n]-'0') * unit
		unit /= 10
	}
	if n == 1 {
		return 0, nil, "time " + quoted(string(b)) + " has a point without digits"
	}
	return us, rest[n:], ""
}

// midnight returns the start of a date in UTC.
func midnight(b []byte) (us int64, ok bool) {
	y, m, d := twoDigits(b, 0)*100+twoDigits(b, 2), twoDigits(b, 5), twoDigits(b, 8)
	if b[4] != '-' || b[7] != '-' || y > 9999 || m < 1 || m > 12 || d < 1 || d > 31 {
		return 0, false
	}
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	return t.Unix() * 1_000_000, t.Day() == d
}

// twoDigits returns the number of two digits, or one above every limit.
func twoDigits(b []byte, i int) int {
	hi, lo := b[i]-'0', b[i+1]-'0'
	if hi > 9 || lo > 9 {
		return 1 << 20
	}
	return int(hi)*10 + int(lo)
}

func inRange(us int64, b []byte) (engine.Micros, string) {
	t := engine.Micros(us)
	if t < engine.MinTime || t >= engine.MaxTime {
		return 0, "time " + quoted(string(b)) + " is not in 1970 to 2199"
	}
	return t, ""
}

// mappingZone returns the zone of a name or of an offset like +02:00.
func mappingZone(name string) (*time.Location, error) {
	if name == "UTC" {
		return time.UTC, nil
	}
	if b := []byte(name); len(b) == 6 && bytes.IndexByte([]byte("+-"), b[0]) >= 0 && b[3] == ':' {
		h, m := twoDigits(b, 1), twoDigits(b, 4)
		if h > 23 || m > 59 {
			return nil, fmt.Errorf("zone %q: impossible offset", name)
		}
		secs := (h*60 + m) * 60
		if b[0] == '-' {
			secs = -secs
		}
		return time.FixedZone(name, secs), nil
	}
	return loadLocation(name)
}

package formats

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // where the machine has no time zones of its own

	"billctl/engine"
)

// LoadZone returns the rules of an IANA time zone ("Europe/Berlin", "UTC") for the engine's range
// of years, 1970 to 2199. The result is what the journal keeps: the engine never loads it again,
// so a later change of the rules does not move a boundary of a bill.
//
// Rules come from where the ZONEINFO variable points, else from the machine, else from the copy in
// the binary, as package time has it. It fails for a name that none of them knows, and for names
// that mean another thing on another machine ("", "Local", "localtime").
func LoadZone(name string) (*engine.Zone, error) {
	loc, err := loadLocation(name)
	if err != nil {
		return nil, err
	}
	const last = int64(engine.MaxTime / engine.Second)
	at := time.Unix(int64(engine.MinTime/engine.Second), 0).In(loc)
	_, offset := at.Zone()
	zone := &engine.Zone{Name: name, Offset: int32(offset)}
	for {
		_, end := at.ZoneBounds()
		if end.IsZero() || end.Unix() >= last {
			break
		}
		if !end.After(at) {
			// Beyond the last listed transition ZoneBounds may end a stretch with the year, and in
			// leap years a day too early, where it would stay for ever.
			end = at.Add(time.Hour)
		}
		at = end
		// A stretch may end because only the abbreviation changes.
		if _, next := at.Zone(); next != offset {
			offset = next
			zone.Transitions = append(zone.Transitions,
				engine.Transition{At: at.Unix(), Offset: int32(offset)})
		}
	}
	if err := zone.Validate(); err != nil {
		return nil, err
	}
	return zone, nil
}

// notZones are first parts of names that package time or a machine's zone directory resolves, but
// that are no zones of the IANA database. Those under "right/" count leap seconds.
var notZones = [...]string{"", "Local", "localtime", "posixrules", "posix", "right", "Factory"}

// loadLocation finds a zone by its name, or says what may have been meant.
func loadLocation(name string) (*time.Location, error) {
	area, _, _ := strings.Cut(name, "/")
	if slices.Contains(notZones[:], area) {
		return nil, fmt.Errorf("load time zone %q: it is no zone of the IANA database", name)
	}
	loc, err := time.LoadLocation(name)
	if err == nil {
		return loc, nil
	}
	if near := nearZones(name); len(near) > 0 {
		return nil, fmt.Errorf("load time zone %q: unknown zone; do you mean %s?",
			name, strings.Join(near, " or "))
	}
	return nil, fmt.Errorf("load time zone %q: unknown zone; names look like %q or %q",
		name, "Europe/Berlin", "UTC")
}

// zoneAreas are the first parts of the names of zones of places.
var zoneAreas = [...]string{
	"Africa", "America", "America/Argentina", "America/Indiana", "America/Kentucky",
	"America/North_Dakota", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe",
	"Indian", "Pacific",
}

// nearZones returns the zones that the name means if only its capitals, its spaces or its area are
// wrong. It needs no list of all names.
func nearZones(name string) []string {
	parts := strings.Split(strings.ReplaceAll(strings.ToLower(name), " ", "_"), "/")
	for i := range parts {
		parts[i] = capitals(parts[i])
	}
	tries := []string{strings.ToUpper(name), strings.Join(parts, "/")}
	for _, area := range zoneAreas {
		tries = append(tries, area+"/"+parts[len(parts)-1])
	}
	var near []string
	for _, try := range tries {
		if slices.Contains(near, try) {
			continue
		}
		if _, err := time.LoadLocation(try); err == nil && !slices.Contains(notZones[:], try) {
			near = append(near, try)
		}
	}
	return near
}

// capitals writes a part of a zone's name as the database does: "new_york" becomes "New_York".
func capitals(part string) string {
	b := []byte(part)
	for i, c := range b {
		if (i == 0 || b[i-1] == '_' || b[i-1] == '-') && 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

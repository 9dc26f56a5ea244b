package formats

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"billctl/engine"
)

// Config is what billctl.yaml says (docs/formats/config.md). Relative paths are as written: they
// are relative to the file, and the caller joins them.
type Config struct {
	State    string // directory; "state" by default
	Catalog  string // directory; "catalog" by default
	Settings engine.Settings
	Sources  []SourceConfig // in the order of the file
	Sinks    []SinkConfig   // in the order of the file

	Checkpoint struct {
		Every time.Duration // above 0; 10 s by default
		Bytes int64         // of the journal, above 0; 64 MiB by default
	}
	KeepJournal bool // journal segments stay although the archive holds them; false by default
	Shards      int  // of the engine; 0: one. The result does not depend on it
}

// SourceConfig says where events are read and how.
type SourceConfig struct {
	Name     string
	Tail     string        // pattern of the files that are followed; "" for standard input
	Stdin    bool          // whether standard input is read
	Disorder engine.Micros // bound of the disorder in event time; 2 m by default
	Idle     engine.Micros // silence after which the source no longer holds the watermark; 0: never
	Format   Format        // by the ending of Tail by default
	Mapping  *Mapping      // nil for CloudEvents
	Dedupe   bool          // true by default
}

// SinkConfig says where documents are delivered.
type SinkConfig struct {
	Name string
	Dir  string
}

// Defaults of a configuration that have no other home.
const (
	DefaultDisorder        = 2 * engine.Minute
	DefaultCheckpointEvery = 10 * time.Second
	DefaultCheckpointBytes = 64 << 20
)

const maxShards = 256

// DefaultConfig returns what holds where there is no file.
func DefaultConfig() *Config {
	c := &Config{State: "state", Catalog: "catalog", Settings: engine.DefaultSettings}
	c.Checkpoint.Every = DefaultCheckpointEvery
	c.Checkpoint.Bytes = DefaultCheckpointBytes
	return c
}

// ReadConfig reads the configuration file; name stands in its faults. It fails with Faults.
func ReadConfig(name string, data []byte) (*Config, error) {
	r := &configReader{faults: &faultList{}, out: DefaultConfig(), names: map[string]place{}}
	if len(data) > MaxFile {
		at := place{&source{name: name}, 1, 1, 1}
		r.faults.add(at, "", "the file has more than %d MiB", MaxFile>>20)
		return nil, r.faults.err()
	}
	src, fault := newSource(name, data)
	if fault != nil {
		return nil, Faults{fault}
	}
	docs := parseYAML(src, r.faults)
	for i, doc := range docs {
		if i > 0 && doc != nil {
			r.faults.add(doc.at, "put everything into one document", "the file has a second document")
		} else if doc != nil && doc.kind != emptyNode {
			r.file(doc)
		}
	}
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	return r.out, nil
}

type configReader struct {
	faults *faultList
	out    *Config
	names  map[string]place // of sources and sinks
}

func (r *configReader) file(doc *node) {
	if listen := doc.child("listen"); listen != nil {
		r.faults.add(listen.at, "leave it out: this version answers on its state directory's socket",
			"listen is not known yet")
	}
	keys := []string{"state", "catalog", "grace", "reopen", "horizon", "max_future", "sources",
		"sinks", "checkpoint", "archive", "shards"}
	if doc.child("listen") != nil {
		keys = append(keys, "listen") // reported above
	}
	f := fieldsOf(r.faults, doc, "the configuration", keys...)
	if f == nil {
		return
	}
	r.text(f, "state", &r.out.State)
	r.text(f, "catalog", &r.out.Catalog)
	s := &r.out.Settings
	r.duration(f, "grace", &s.Grace, 0)
	r.duration(f, "reopen", &s.Reopen, 0)
	r.duration(f, "horizon", &s.Horizon, engine.OneDay)
	r.duration(f, "max_future", &s.MaxFuture, 0)
	r.checkSettings(f)
	for _, n := range f.list(f.get("sources"), "sources") {
		r.source(n)
	}
	for _, n := range f.list(f.get("sinks"), "sinks") {
		r.sink(n)
	}
	r.checkpoint(f.get("checkpoint"))
	r.archive(f.get("archive"))
	if n := f.get("shards"); n != nil {
		r.out.Shards, _ = f.whole(n, "shards", 1, maxShards)
	}
}

// checkSettings checks that a late row is refused for its period before it is for its age.
func (r *configReader) checkSettings(f *fields) {
	s := &r.out.Settings
	if n := f.node.child("max_future"); n != nil && s.MaxFuture > engine.Lead {
		r.faults.add(n.at, "changes of prices and owners take effect 5 minutes ahead at the least, so "+
			"that they can't change the bill of an event that was accepted before",
			"max_future is longer than 5 minutes")
	}
	if s.Horizon >= s.Grace+s.Reopen || len(r.faults.list) > 0 {
		return
	}
	at := f.node.at
	for _, key := range []string{"horizon", "reopen", "grace"} {
		if n := f.node.child(key); n != nil {
			at = n.at
			break
		}
	}
	r.faults.add(at, "rows older than the horizon are refused, so reopen could not be kept",
		"horizon is shorter than grace and reopen together")
}

// text reads a text into dst, if it is written.
func (r *configReader) text(f *fields, key string, dst *string) {
	if n := f.get(key); n != nil {
		if s, ok := f.name(n, key); ok {
			*dst = s
		}
	}
}

// duration reads a duration of at least least into dst, if it is written.
func (r *configReader) duration(f *fields, key string, dst *engine.Micros, least engine.Micros) {
	n := f.get(key)
	s, ok := f.scalar(n, key)
	if !ok {
		return
	}
	d, fault := parseDuration(s)
	if fault == "" && d < least {
		fault = "is shorter than " + durationText(least)
	}
	if fault != "" {
		r.faults.add(n.at, "write whole numbers and units: 35d, 24h, 5m, 90s, 1h30m, 250ms",
			"%s %q %s", key, clip(s), fault)
		return
	}
	*dst = d
}

// source reads a source of events.
func (r *configReader) source(n *node) {
	f := fieldsOf(r.faults, n, "a source",
		"name", "tail", "stdin", "disorder", "idle", "format", "mapping", "dedupe")
	if f == nil {
		return
	}
	s := SourceConfig{Disorder: DefaultDisorder, Dedupe: true}
	s.Name = r.name(f, "source")
	r.text(f, "tail", &s.Tail)
	if s.Tail != "" {
		if _, err := path.Match(s.Tail, ""); err != nil {
			r.faults.add(f.get("tail").at, `* and ? stand for any characters, [ and ] enclose a choice`,
				"tail %q is not a pattern", clip(s.Tail))
		}
	}
	s.Stdin = f.flag(f.get("stdin"), "stdin")
	switch {
	case f.has("tail") && s.Stdin:
		r.faults.add(n.at, "make it two sources", "source %s has both tail and stdin", s.Name)
	case !f.has("tail") && !s.Stdin:
		r.faults.add(n.at, `write tail: "usage/*.ndjson" or stdin: true`,
			"source %s reads nothing", s.Name)
	}
	r.duration(f, "disorder", &s.Disorder, 0)
	r.duration(f, "idle", &s.Idle, 0)
	r.format(f, &s)
	if n := f.get("dedupe"); n != nil {
		s.Dedupe = f.flag(n, "dedupe")
	}
	if m := f.get("mapping"); m != nil {
		s.Mapping = r.mapping(m)
	} else if s.Format != NDJSON && !s.Format.Columns() {
		r.faults.add(n.at, "say which columns make the event: mapping: {id: ..., type: ..., ...}",
			"source %s reads %s without a mapping", s.Name, s.Format)
	}
	r.out.Sources = append(r.out.Sources, s)
}

// format finds the format of a source. What is written is for files whose names say nothing, and
// files of columns are refused: they have no end that can be followed.
func (r *configReader) format(f *fields, s *SourceConfig) {
	s.Format = FormatOf(s.Tail)
	at := f.get("tail")
	words := []string{"", "ndjson", "csv", "tsv", "parquet", "arrow"} // by Format
	if word, ok := f.word(f.get("format"), "format", words[1:]...); ok {
		at = f.get("format")
		s.Format = Format(slices.Index(words, word))
	}
	if s.Format.Columns() {
		r.faults.add(at.at, "bill finished files with billctl rate", "%s can't be followed", s.Format)
	}
}

// name reads the name of a source or a sink, which no other has.
func (r *configReader) name(f *fields, what string) string {
	s, ok := f.key(f.need("name", "give the "+what+" a name"), "name")
	if !ok {
		return ""
	}
	at := f.get("name").at
	if first, twice := r.names[what+" "+s]; twice {
		r.faults.add(at, "the first is in "+first.String(), "%s %q is given twice", what, s)
	}
	if what == "source" && s == engine.Corrections {
		r.faults.add(at, "events that are taken back are counted under this name",
			"%q is no name for a source", s)
	}
	r.names[what+" "+s] = at
	return s
}

// sink reads a way to hand documents over.
func (r *configReader) sink(n *node) {
	f := fieldsOf(r.faults, n, "a sink", "name", "dir")
	if f == nil {
		return
	}
	s := SinkConfig{Name: r.name(f, "sink")}
	f.need("dir", "name the directory that documents are written to: dir: invoices")
	r.text(f, "dir", &s.Dir)
	r.out.Sinks = append(r.out.Sinks, s)
}

// checkpoint reads when checkpoints begin.
func (r *configReader) checkpoint(n *node) {
	f := fieldsOf(r.faults, n, "checkpoint", "every", "bytes")
	if f == nil {
		return
	}
	var every engine.Micros
	r.duration(f, "every", &every, 100*engine.Second/1000)
	if every > 0 {
		r.out.Checkpoint.Every = time.Duration(every) * time.Microsecond
	}
	b := f.get("bytes")
	s, ok := f.scalar(b, "bytes")
	if !ok {
		return
	}
	size, ok := parseSize(s)
	if !ok || size < 1<<20 {
		r.faults.add(b.at, "write a whole number and KiB, MiB or GiB, at least 1MiB",
			"bytes %q is not a size", clip(s))
		return
	}
	r.out.Checkpoint.Bytes = size
}

// archive reads what becomes of journal segments that the archive holds.
func (r *configReader) archive(n *node) {
	f := fieldsOf(r.faults, n, "archive", "trim")
	if f == nil {
		return
	}
	if t := f.get("trim"); t != nil {
		r.out.KeepJournal = !f.flag(t, "trim")
	}
}

// parseSize reads "64MiB": a whole number of B, KiB, MiB or GiB, or of bytes without a unit.
func parseSize(s string) (int64, bool) {
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		size   int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}} {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimRight(number, " "), u.size
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// durationUnits are the units of a duration, longest first.
var durationUnits = []struct {
	name string
	size engine.Micros
}{
	{"d", engine.OneDay}, {"h", engine.Hour}, {"m", engine.Minute}, {"s", engine.Second},
	{"ms", engine.Second / 1000}, {"us", 1},
}

// maxDuration is 100 years: more is a mistake, and sums of settings stay far from overflow.
const maxDuration = 36_525 * engine.OneDay

// parseDuration reads whole numbers with units, the longest first: "35d", "1h30m". "0" needs no
// unit. On failure it says what is wrong.
func parseDuration(s string) (engine.Micros, string) {
	if s == "0" {
		return 0, ""
	}
	const wrong = "is not a duration"
	var total engine.Micros
	for rest, unit := s, -1; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits > 15 {
			return 0, wrong
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, wrong
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		before := unit
		for i, u := range durationUnits {
			if u.name == rest[:letters] {
				unit = i
			}
		}
		if unit == before || unit < before {
			return 0, wrong
		}
		if size := durationUnits[unit].size; engine.Micros(n) > maxDuration/size {
			return 0, "is longer than 100 years"
		} else if total += engine.Micros(n) * size; total > maxDuration {
			return 0, "is longer than 100 years"
		}
		if rest = rest[letters:]; rest == "" {
			return total, ""
		}
	}
}

// durationText writes a duration as parseDuration reads it.
func durationText(d engine.Micros) string {
	if d == 0 {
		return "0s"
	}
	var text string
	for _, u := range durationUnits {
		if n := d / u.size; n > 0 {
			text += fmt.Sprintf("%d%s", n, u.name)
			d -= n * u.size
		}
	}
	return text
}

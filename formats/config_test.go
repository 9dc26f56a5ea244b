package formats

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"billctl/engine"
)

func TestConfig(t *testing.T) {
	const text = `
state: /var/lib/billctl
catalog: ../catalog
grace: 2d12h
reopen: 30d
horizon: 60d
max_future: 250ms
sources:
  - {name: usage, tail: "usage/*.ndjson.zst", disorder: 90s, idle: 1h30m, dedupe: false}
  - name: legacy
    tail: "legacy/*.csv"
    mapping:
      id: [$.file, $.row]
      type: {const: call}
      subject: $.customer
      time: {field: $.ts, layout: "2006-01-02 15:04:05", zone: UTC}
      data: {minutes: $.minutes}
  - {name: pipe, stdin: true, format: ndjson, disorder: 0}
sinks:
  - {name: invoices, dir: invoices}
checkpoint: {every: 1m, bytes: 2GiB}
shards: 4
`
	got, err := ReadConfig("billctl.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		State: "/var/lib/billctl", Catalog: "../catalog", Shards: 4,
		Settings: engine.Settings{Grace: 60 * engine.Hour, Reopen: 30 * engine.OneDay,
			Horizon: 60 * engine.OneDay, MaxFuture: engine.Second / 4},
		Sources: []SourceConfig{
			{Name: "usage", Tail: "usage/*.ndjson.zst", Disorder: 90 * engine.Second,
				Idle: 90 * engine.Minute, Format: NDJSON},
			{Name: "legacy", Tail: "legacy/*.csv", Disorder: DefaultDisorder, Format: CSV, Dedupe: true,
				Mapping: &Mapping{
					ID: []string{FilePart, RowPart}, Type: MappedValue{Const: "call"},
					Subject: MappedValue{Path: "$.customer"},
					Time:    MappedTime{Path: "$.ts", Layout: "2006-01-02 15:04:05", Zone: "UTC"},
					Data:    map[string]string{"minutes": "$.minutes"},
				}},
			{Name: "pipe", Stdin: true, Format: NDJSON, Dedupe: true},
		},
		Sinks: []SinkConfig{{Name: "invoices", Dir: "invoices"}},
	}
	want.Checkpoint.Every, want.Checkpoint.Bytes = time.Minute, 2<<30
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config is\n%+v\nwant\n%+v", got, want)
	}
	for _, nothing := range []string{"", "# nothing\n", "---\n"} {
		c, err := ReadConfig("billctl.yaml", []byte(nothing))
		if err != nil || !reflect.DeepEqual(c, DefaultConfig()) {
			t.Errorf("config of %q is %+v, %v", nothing, c, err)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"stat: x", `b.yaml:1:1: the configuration has no key "stat"`},
		{"listen: 127.0.0.1:8787", "b.yaml:1:9: listen is not known yet"},
		{"listen: ", "b.yaml:1:1: listen is not known yet"},
		{"grace: 24", `b.yaml:1:8: grace "24" is not a duration`},
		{"grace: 1.5h", `b.yaml:1:8: grace "1.5h" is not a duration`},
		{"grace: -1h", `b.yaml:1:8: grace "-1h" is not a duration`},
		{"grace: 1m1h", `b.yaml:1:8: grace "1m1h" is not a duration`},
		{"grace: 1h1h", `b.yaml:1:8: grace "1h1h" is not a duration`},
		{"grace: 1w", `b.yaml:1:8: grace "1w" is not a duration`},
		{"grace: 99999999999999d", "is longer than 100 years"},
		{"horizon: 1h", `b.yaml:1:10: horizon "1h" is shorter than 1d`},
		{"horizon: 30d", "b.yaml:1:10: horizon is shorter than grace and reopen together"},
		{"sources: [{name: a}]", "b.yaml:1:11: source a reads nothing"},
		{"sources: [{tail: x}]", "b.yaml:1:11: a source needs name"},
		{"sources: [{name: a, tail: x, stdin: true}]", "has both tail and stdin"},
		{"sources: [{name: a, tail: '['}]", `b.yaml:1:27: tail "[" is not a pattern`},
		{"sources: [{name: a, tail: x}, {name: a, tail: y}]", `b.yaml:1:38: source "a" is given twice`},
		{"sources: [{name: corrections, tail: x}]", `1:18: "corrections" is no name for a source`},
		{"sources: [{name: a, tail: x.csv}]", "source a reads csv without a mapping"},
		{"sources: [{name: a, tail: x, format: parquet}]", "b.yaml:1:38: Parquet can't be followed"},
		{"sources: [{name: a, tail: x.feather}]", "b.yaml:1:27: Arrow can't be followed"},
		{"sources: [{name: a, tail: x, format: orc}]", `b.yaml:1:38: format "orc" is not known`},
		{"sources: [{name: a, tail: x, mapping: {type: $.t, subject: $.s}}]", "mapping needs id"},
		{"sources: [{name: a, tail: x, mapping: {id: $.i, type: t, subject: $.s}}]",
			"b.yaml:1:55: type: "},
		{"sources: [{name: a, tail: x, mapping: {id: $.i, type: {konst: t}, subject: $.s}}]",
			`b.yaml:1:56: type has no key "konst"`},
		{"sources: [{name: a, tail: x, mapping: {id: $.i, type: $.t, subject: $.s, data: {m: m}}}]",
			"b.yaml:1:84: data.m: "},
		{"sinks: [{name: a}]", "b.yaml:1:9: a sink needs dir"},
		{"sinks: [{name: a, url: x}]", `a sink has no key "url"`},
		{"checkpoint: {every: 0s}", `b.yaml:1:21: every "0s" is shorter than 100ms`},
		{"checkpoint: {bytes: 64MB}", `b.yaml:1:21: bytes "64MB" is not a size`},
		{"checkpoint: {bytes: 1KiB}", `b.yaml:1:21: bytes "1KiB" is not a size`},
		{"checkpoint: {bytes: 9999999999GiB}", "is not a size"},
		{"shards: 0", `b.yaml:1:9: shards "0" is not a whole number in range`},
		{"a: 1\n---\nb: 1", "the file has a second document"},
		{"\xff", "b.yaml:1:1: the file is not UTF-8"},
	} {
		_, err := ReadConfig("b.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error is %v, want %s", c.text, err, c.want)
			continue
		}
		faultText(t, err)
	}
}

func TestDurationText(t *testing.T) {
	for _, d := range []engine.Micros{0, 1, 1500, engine.Second, 90 * engine.Minute,
		35 * engine.OneDay, engine.OneDay + engine.Hour + engine.Minute + engine.Second + 1001} {
		got, fault := parseDuration(durationText(d))
		if got != d || fault != "" {
			t.Errorf("%s is read as %d, not %d %s", durationText(d), got, d, fault)
		}
	}
}

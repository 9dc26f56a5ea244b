package formats

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
	"billctl/engine/decimal"
)

// readPrice reads a price file beside a matrix.
func readPrice(text string) (*PriceFile, error) {
	fsys := fstest.MapFS{"m.csv": {Data: []byte("model,unit\nlarge,2\nsmall,1\n")}}
	return ReadPriceFile(fsys, "p.yaml", []byte(text))
}

func TestPriceFile(t *testing.T) {
	for _, c := range []struct {
		text, currency string
		digits         int
		dims           string
		how            engine.Aggregate
	}{
		{`{model: unit, unit: "1"}`, "USD", 2, "", engine.Total},
		{`- {key: a, meter: b, model: unit, unit: "1", currency: JPY}`, "JPY", 0, "", engine.Total},
		{`{model: unit, unit: 1, currency: TOK, digits: 6}`, "TOK", 6, "", engine.Total},
		{`{model: unit, unit: 1, currency: EUR, digits: 4}`, "EUR", 4, "", engine.Total},
		{`{model: unit, unit: 1, per: [b, a], match: {c: [x]}}`, "USD", 2, "a b c", engine.Total},
		{`{model: unit, matrix: m.csv, aggregate: count}`, "USD", 2, "model", engine.Count},
	} {
		p, err := readPrice(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		dims := strings.Join(dimensionNames(p.Meter), " ")
		if p.Currency != c.currency || p.Digits != c.digits || dims != c.dims ||
			p.Meter.Aggregate != c.how {
			t.Errorf("%s: %s %d, dimensions %q, aggregate %d", c.text, p.Currency, p.Digits, dims,
				p.Meter.Aggregate)
		}
	}
	if p, err := readPrice(`{model: flat, amount: 1, rounding: half_even}`); err != nil ||
		p.Meter != nil || p.Rounding != decimal.HalfEven {
		t.Errorf("flat: %+v, %v", p, err)
	}
}

func TestPriceFileFaults(t *testing.T) {
	for _, c := range [][2]string{
		{"", "p.yaml:1:1: the file has no price"},
		{"- {model: unit}\n- {model: unit}", "p.yaml:1:1: a price must be a mapping, not a list"},
		{"{model: unit, unit: 1}\n---\n{a: b}", "p.yaml:3:1: the file has a second price"},
		{`{model: unit, unit: "x"}`, `p.yaml:1:21: price "x" is not a decimal`},
		{`{unit: 1}`, "p.yaml:1:1: a price needs model"},
		{`{model: unit, unit: 1, currency: EURO}`, `p.yaml:1:34: currency "EURO" is not known`},
		{`{model: unit, unit: 1, currency: "A B", digits: 2}`,
			`p.yaml:1:34: currency "A B" is not a code`},
		{`{model: unit, unit: 1, digits: 13}`, `p.yaml:1:32: digits "13" is not a whole number`},
		{`{model: unit, unit: 1, rounding: up}`, `p.yaml:1:34: rounding "up" is not known`},
		{`{model: unit, unit: 1, aggregate: unique}`, `p.yaml:1:35: aggregate "unique" is not known`},
		{`{model: flat, amount: 1, aggregate: sum}`, "p.yaml:1:26: a flat price takes no aggregate"},
		{`{model: percentage, rate: 1, aggregate: count}`,
			"p.yaml:1:41: a percentage is of each event's"},
		{`{model: unit, unit: 1, agregate: sum}`, `p.yaml:1:24: a price file has no key "agregate"`},
		{`{model: unit, matrix: n.csv}`, `p.yaml:1:23: matrix "n.csv" does not exist`},
		{`{model: graduated, tiers: [{up_to: 5, unit: "1"}]}`, "p.yaml:1:29: the last tier has up_to"},
		{"{model: unit, unit: 1, minimum: 2, maximum: \"1\"}\n",
			"p.yaml:1:33: minimum 2 is above maximum 1"},
	} {
		text, want := c[0], c[1]
		_, err := readPrice(text)
		var faults Faults
		if !errors.As(err, &faults) || !strings.HasPrefix(faults[0].Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestReadUses(t *testing.T) {
	p, err := readPrice(`{model: unit, unit: 1, per: [m]}`)
	if err != nil {
		t.Fatal(err)
	}
	const want = "0:1:- 1:2.5:5 "
	for name, text := range map[string]string{
		"a.ndjson": "{\"data\":{\"value\":1}}\n\n{\"data\":{\"value\":\"2.5\",\"m\":5.0}}\n",
		"-":        "{\"data\":{\"value\":1,\"m\":null}}\n{\"data\":{\"value\":25e-1,\"m\":\"5\"}}",
	} {
		uses, err := p.ReadUses(name, []byte(text))
		if got := usesText(uses); err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	const table = "1:1:a 2:2:b "
	for name, text := range map[string]string{
		"a.csv": "\ufeffm,value,time\na,1,1970-01-01T00:00:00.000001Z\nb,2,1970-01-01T00:00:00.000002Z\n",
		"a.tsv": "data.value\tdata.m\ttime\n1\ta\t1970-01-01T00:00:00.000001Z\n" +
			"2\tb\t1970-01-01T00:00:00.000002Z\n",
		"stdin": "m,value,time\na,1,1970-01-01T00:00:00.000001Z\nb,2,1970-01-01T00:00:00.000002Z\n",
	} {
		uses, err := p.ReadUses(name, []byte(text))
		if got := usesText(uses); err != nil || got != table {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func usesText(uses []engine.Use) string {
	var b strings.Builder
	for _, u := range uses {
		group := u.Group[0].Value
		if u.Group[0].Absent {
			group = "-"
		}
		fmt.Fprintf(&b, "%d:%s:%s ", int64(u.Time), u.Value, group)
	}
	return b.String()
}

func TestReadUsesFaults(t *testing.T) {
	p, err := readPrice(`{model: unit, unit: 1}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"", "e:1:1: the file has no event"},
		{"[1]\n", "e:1:1: the line is a JSON array"},
		{"{}\n", "e:1:1: the event has no number at data.value"},
		{"{\"data\":{}}x", "e:1:1: the line is not JSON"},
		{"\n{\"data\":1}", "e:2:1: data is a number"},
		{"a,b\n1,2\n", "e:1:1: the table has no column value"},
		{"value,b\n1,2\n1\n", "e:3:1: the table can't be read: wrong number of fields"},
		{"value\n1\n1,5\n", "e:3:1: the table can't be read: wrong number of fields"},
		{"value\n1\n\"1,5\"\n", `e:3:1: value "1,5" is not a decimal`},
		{"value,time\n1,today\n", `e:2:1: time "today" is not a date`},
		{"value,time\n1,\n1,2026-01-01\n", "e:3:1: 1 of 2 events have a time"},
	} {
		text, want := c[0], c[1]
		_, err := p.ReadUses("e", []byte(text))
		var faults Faults
		if !errors.As(err, &faults) || !strings.HasPrefix(faults[0].Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

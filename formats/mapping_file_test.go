package formats

import (
	"reflect"
	"testing"
)

func TestReadMapping(t *testing.T) {
	const text = `# calls of the old switch
id: [$.file, $.row]
type: {const: call}
subject: $.customer
time: {field: $.ts, layout: "2006-01-02 15:04:05", zone: UTC}
data: {minutes: $.minutes}
delimiter: ";"
`
	got, err := ReadMapping("calls.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &Mapping{
		ID: []string{FilePart, RowPart}, Type: MappedValue{Const: "call"},
		Subject: MappedValue{Path: "$.customer"}, Delimiter: ";",
		Time: MappedTime{Path: "$.ts", Layout: "2006-01-02 15:04:05", Zone: "UTC"},
		Data: map[string]string{"minutes": "$.minutes"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("mapping is\n%+v\nwant\n%+v", got, want)
	}
}

// TestMappingFaults shows what is said of a mapping that is none: place, message, excerpt, hint.
func TestMappingFaults(t *testing.T) {
	const rest = "type: {const: call}\nsubject: $.who\ntime: $.at\n"
	for _, c := range []struct{ text, want string }{
		{"", "calls.yaml:1:1: the file is empty\n    1 | \n      | ^\n" +
			"hint: write what makes an event of a row: id, type, subject, time, data\n"},
		{rest, "calls.yaml:1:1: mapping needs id\n    1 | type: {const: call}\n      | ^^^^\n" +
			"hint: name what makes an event unique: id: $.id\n"},
		{"id: $.id\n" + rest + "date: $.at\n", "calls.yaml:5:1: mapping has no key \"date\"\n" +
			"    5 | date: $.at\n      | ^^^^\n" +
			"hint: did you mean \"data\"? Known here: id, source, type, subject, time, data, delimiter\n"},
		{"id: id\n" + rest, "calls.yaml:1:5: id: \"id\" is not a path: write $.name\n" +
			"    1 | id: id\n      |     ^^\n"},
		{"mapping:\n  id: $.id\n", "calls.yaml:2:3: the file holds more than a mapping\n" +
			"    2 |   id: $.id\n      |   ^^\n" +
			"hint: leave out mapping: and what stands around it; the file begins with id:\n"},
		{"id: $.id\n" + rest + "---\nid: $.id\n", "calls.yaml:6:1: the file has a second document\n" +
			"    6 | id: $.id\n      | ^^\nhint: put everything into one document\n"},
		{"- id: $.id\n", "calls.yaml:1:1: mapping must be a mapping, not a list\n" +
			"    1 | - id: $.id\n      | ^\n" +
			"hint: known here: id, source, type, subject, time, data, delimiter\n"},
	} {
		_, err := ReadMapping("calls.yaml", []byte(c.text))
		if err == nil {
			t.Errorf("%q has no fault", c.text)
		} else if got := faultText(t, err); got != c.want {
			t.Errorf("faults of %q are\n%swant\n%s", c.text, got, c.want)
		}
	}
}

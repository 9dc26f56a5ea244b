package formats

// ReadMapping reads a file that holds what mapping holds of a source in the configuration
// (docs/formats/mapping.md); name stands in its faults. It fails with Faults.
func ReadMapping(name string, data []byte) (*Mapping, error) {
	r := &configReader{faults: &faultList{}, out: DefaultConfig(), names: map[string]place{}}
	start := place{&source{name: name}, 1, 1, 1}
	if len(data) > MaxFile {
		r.faults.add(start, "", "the file has more than %d MiB", MaxFile>>20)
		return nil, r.faults.err()
	}
	src, fault := newSource(name, data)
	if fault != nil {
		return nil, Faults{fault}
	}
	var m *Mapping
	found := false
	for _, doc := range parseYAML(src, r.faults) {
		switch {
		case doc == nil || doc.kind == emptyNode:
		case found:
			r.faults.add(doc.at, "put everything into one document", "the file has a second document")
		case doc.child("mapping") != nil:
			found = true
			r.faults.add(doc.child("mapping").at,
				"leave out mapping: and what stands around it; the file begins with id:",
				"the file holds more than a mapping")
		default:
			found = true
			m = r.mapping(doc)
		}
	}
	if !found && len(r.faults.list) == 0 {
		r.faults.add(start, "write what makes an event of a row: id, type, subject, time, data",
			"the file is empty")
	}
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	return m, nil
}

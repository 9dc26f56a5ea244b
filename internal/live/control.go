package live

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"billctl/engine"
)

// A control file holds the bodies of control entries: what a person wants journaled. The sequencer
// appends it once, by its name, which is the SHA-256 of its bytes (docs/formats/state.md).

// EncodeControl returns the bytes of a control file. Entries come without Seq and At, zones before
// the change that names them; at most one is a Change.
func EncodeControl(bodies ...engine.Body) []byte {
	var out []byte
	for _, b := range bodies {
		entry := engine.AppendEntry(nil, &engine.Entry{Body: b})
		out = binary.AppendUvarint(out, uint64(len(entry)))
		out = append(out, entry...)
	}
	return out
}

// decodeControl reads a control file and puts its name into its change.
func decodeControl(b []byte) ([]engine.Body, error) {
	name := engine.Digest(sha256.Sum256(b))
	var out []engine.Body
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, errors.New("decode control file: short")
		}
		e, err := engine.DecodeEntry(b[w : w+int(n)])
		if err != nil {
			return nil, fmt.Errorf("decode control file: %w", err)
		}
		switch body := e.Body.(type) {
		case *engine.Change:
			body.File = name
		case *engine.Zone, *engine.Credit:
		default:
			return nil, fmt.Errorf("decode control file: it may not hold %T", body)
		}
		out = append(out, e.Body)
		b = b[w+int(n):]
	}
	return out, nil
}

// readControls journals the control files that wait. One that may not be journaled is refused as a
// whole: nothing of it counts, and whoever wrote it is told why.
func (r *Run) readControls(now engine.Micros) error {
	names, err := r.st.Dir.Controls()
	if err != nil {
		return err
	}
	for _, name := range names {
		payload, err := r.st.Dir.Control(name)
		if err != nil {
			return err
		}
		refused, err := r.applyControl(now, name, payload)
		if err != nil {
			return err
		}
		if refused != nil {
			r.say(fmt.Sprintf("control file %s refused: %v", name[:8], refused))
			r.mu.Lock()
			r.refused[name] = refused.Error()
			r.mu.Unlock()
			if r.opts.Refused != nil {
				r.opts.Refused(name, refused.Error())
			}
		}
		if err := r.st.Dir.RemoveControl(name); err != nil {
			return err
		}
	}
	return nil
}

// applyControl journals one control file, unless the journal has it.
func (r *Run) applyControl(now engine.Micros, name string, payload []byte) (refused, err error) {
	bodies, err := decodeControl(payload)
	if err != nil {
		return err, nil
	}
	var file engine.Digest
	if _, err := hex.Decode(file[:], []byte(name)); err != nil {
		return fmt.Errorf("decode control file: name: %w", err), nil
	}
	v := r.st.Shards.Pin()
	if v.Applied(file) {
		return nil, nil
	}
	// Zones are journaled first: they change nothing by themselves, and the change is checked
	// against them.
	var rest []engine.Body
	for _, b := range bodies {
		z, ok := b.(*engine.Zone)
		if !ok {
			rest = append(rest, b)
			continue
		}
		if !v.ZoneKnown(z.Name) {
			if err := r.commit(now, z); err != nil {
				return nil, err
			}
		}
	}
	v = r.st.Shards.Pin()
	for _, b := range rest {
		if c, ok := b.(*engine.Change); ok {
			if err := v.Check(c, max(r.at, now)); err != nil {
				return err, nil
			}
		}
	}
	return nil, r.commit(now, rest...)
}

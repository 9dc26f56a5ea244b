package live

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

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

// decodeControl reads a control file and puts its name into its change. A file without a change
// gets an empty one as its last entry: the journal knows by it that the file was applied.
func decodeControl(b []byte) ([]engine.Body, error) {
	name := engine.Digest(sha256.Sum256(b))
	var out []engine.Body
	var change *engine.Change
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
			if change != nil {
				return nil, errors.New("decode control file: it holds two changes")
			}
			change = body
			change.File = name
		case *engine.Zone, *engine.Credit, *engine.Void:
		default:
			return nil, fmt.Errorf("decode control file: it may not hold %T", body)
		}
		out = append(out, e.Body)
		b = b[w+int(n):]
	}
	if change == nil {
		out = append(out, &engine.Change{File: name})
	}
	return out, nil
}

// Judged is what the engine said of a correction of a control file.
type Judged struct {
	Index  int        // of the correction in the file, from 0
	Seq    engine.Seq // of its entry
	Reason engine.Reason
}

// controls is what a run knows of control files beside those that it refused.
type controls struct {
	begun map[string][]engine.Seq // the entries of a file that the journal had when the run began
	voids []engine.Rejection      // of the corrections that are being applied

	// Guarded by Run.mu.
	doing string              // the file that is being applied; what is told of it is not complete
	told  map[string][]Judged // the corrections of a file that were rejected
	order []string            // of told
	here  map[string]bool     // the files that this run applied
}

// keptJudgements is for how many files a run remembers which corrections were rejected: whoever put
// one asks at once.
const keptJudgements = 256

// Rejected returns the corrections of an applied control file that the engine rejected, by Index.
func (r *Run) Rejected(name string) []Judged {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.controls.told[name]
}

// judged returns what Rejected does, and whether this run applied the file: another may have.
func (r *Run) judged(name string) (list []Judged, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.controls.told[name], r.controls.here[name]
}

// applying reports whether a control file is being applied.
func (r *Run) applying(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.controls.doing == name
}

func (r *Run) setApplying(name string) {
	r.mu.Lock()
	r.controls.doing = name
	r.mu.Unlock()
}

// resumeControls finds out what the journal has of the control files that wait. Their entries are
// journaled together, but a crash may have left the first of them only; they lie behind the last
// checkpoint then, because the file is completed before anything else is journaled.
func (r *Run) resumeControls() error {
	names, err := r.st.Dir.Controls()
	if err != nil || len(names) == 0 {
		return err
	}
	want := make([][][]byte, len(names))
	for i, name := range names {
		payload, err := r.st.Dir.Control(name)
		if err != nil {
			return err
		}
		bodies, err := decodeControl(payload)
		if err != nil {
			continue // it will be refused
		}
		_, rest := splitZones(bodies)
		for _, b := range rest {
			want[i] = append(want[i], engine.AppendEntry(nil, &engine.Entry{Body: b}))
		}
	}
	r.controls.begun = map[string][]engine.Seq{}
	in := journalOf(r.st.Dir).Read(r.st.Checkpoint + 1)
	defer in.Close() // read only
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, rows := e.Body.(*engine.Batch); rows {
			continue
		}
		have := engine.AppendEntry(nil, &engine.Entry{Body: e.Body})
		for i, name := range names {
			begun := r.controls.begun[name]
			if n := len(begun); n < len(want[i]) && bytes.Equal(want[i][n], have) {
				r.controls.begun[name] = append(begun, e.Seq)
			}
		}
	}
}

// splitZones takes the zones out of the bodies of a control file. They are journaled first: they
// change nothing by themselves, and the change is checked against them.
func splitZones(bodies []engine.Body) (zones []*engine.Zone, rest []engine.Body) {
	for _, b := range bodies {
		if z, ok := b.(*engine.Zone); ok {
			zones = append(zones, z)
		} else {
			rest = append(rest, b)
		}
	}
	return zones, rest
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
	zones, rest := splitZones(bodies)
	seqs := r.controls.begun[name]
	delete(r.controls.begun, name)
	done := len(seqs)
	v := r.st.Shards.Pin()
	if done == len(rest) || done == 0 && v.Applied(file) {
		return nil, nil
	}
	for _, z := range zones {
		if v.ZoneKnown(z.Name) {
			continue
		}
		if err := r.commit(now, z); err != nil {
			return nil, err
		}
	}
	if err := checkControl(r.st.Shards.Pin(), rest[done:], max(r.at, now)); err != nil {
		if done > 0 {
			err = fmt.Errorf("%w (%d of its %d entries were journaled before a crash and count)",
				err, done, len(rest))
		}
		return err, nil
	}
	r.setApplying(name)
	defer r.setApplying("")
	r.controls.voids = r.controls.voids[:0]
	for _, seq := range seqs {
		reason, rejected, err := r.st.Outbox.RejectionOf(seq)
		if err != nil {
			return nil, err
		}
		if rejected {
			r.controls.voids = append(r.controls.voids, engine.Rejection{Seq: seq, Reason: reason})
		}
	}
	for i := range rest[done:] {
		seqs = append(seqs, r.next+engine.Seq(i))
	}
	if err := r.commit(now, rest[done:]...); err != nil {
		return nil, err
	}
	r.tellJudged(name, rest, seqs)
	return nil, nil
}

// tellJudged tells which corrections of a file were rejected; its bodies are the entries at seqs.
func (r *Run) tellJudged(name string, bodies []engine.Body, seqs []engine.Seq) {
	var list []Judged
	index := 0
	voids := r.controls.voids
	for i, b := range bodies {
		if _, ok := b.(*engine.Void); !ok {
			continue
		}
		if len(voids) > 0 && voids[0].Seq == seqs[i] {
			list = append(list, Judged{index, seqs[i], voids[0].Reason})
			voids = voids[1:]
		}
		index++
	}
	r.mu.Lock()
	if r.controls.here == nil {
		r.controls.here = map[string]bool{}
	}
	r.controls.here[name] = true
	r.mu.Unlock()
	if len(list) == 0 {
		return
	}
	r.say(fmt.Sprintf("control file %s: %d of its %d corrections were rejected; first: %s",
		name[:8], len(list), index, list[0].Reason))
	r.mu.Lock()
	if r.controls.told == nil {
		r.controls.told = map[string][]Judged{}
	}
	r.controls.told[name] = list
	if r.controls.order = append(r.controls.order, name); len(r.controls.order) > keptJudgements {
		delete(r.controls.told, r.controls.order[0])
		delete(r.controls.here, r.controls.order[0])
		r.controls.order = r.controls.order[1:]
	}
	r.mu.Unlock()
	if r.opts.Judged != nil {
		r.opts.Judged(name, list)
	}
}

// checkControl returns why bodies of a control file may not be journaled. A correction may always
// be: the engine judges it as it judges a row.
func checkControl(v *engine.View, bodies []engine.Body, at engine.Micros) error {
	opens := map[string]bool{}
	granted := map[[2]string]bool{}
	for _, b := range bodies {
		switch b := b.(type) {
		case *engine.Change:
			if err := v.Check(b, at); err != nil {
				return err
			}
			for i := range b.Accounts {
				opens[b.Accounts[i].ID] = true
			}
		case *engine.Credit:
			id := [2]string{b.Account, b.ID}
			if granted[id] {
				return fmt.Errorf("account %s: credit %s is granted twice", b.Account, b.ID)
			}
			granted[id] = true
			if _, known := v.Account(b.Account); !known && opens[b.Account] {
				continue // the engine decides
			}
			if err := v.CheckCredit(b, at); err != nil {
				return err
			}
		}
	}
	return nil
}

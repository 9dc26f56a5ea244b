package store

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"billctl/engine"
)

// StateVersion is the version of the state directory that this package writes, and the newest it
// reads.
const StateVersion = 1

const (
	genesisName = "genesis"
	genesisMax  = 4096
)

// Genesis identifies a state directory. The journal's first entry says the same; the file tells it
// without reading the journal, and before a newer format is misread.
type Genesis struct {
	engine.Genesis
	CreatedBy string // "billctl 1.2.3"; one line, at most 256 bytes
}

// encode returns the text of the genesis file (docs/formats/state.md, "genesis").
func (g *Genesis) encode() []byte {
	text := fmt.Sprintf("billctl state %d\njournal %x\npartition %d\nhash-key %x\nentries %d\n"+
		"created-by %s\n", StateVersion, g.Journal, g.Partition, g.HashKey, g.Format, g.CreatedBy)
	return fmt.Appendf(nil, "%scrc32c %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func (g *Genesis) check() error {
	if len(g.CreatedBy) > 256 || strings.ContainsAny(g.CreatedBy, "\r\n") {
		return fmt.Errorf("create state: created-by %q is not one short line", g.CreatedBy)
	}
	return nil
}

// decodeGenesis reads the file strictly: only what encode would write is taken.
func decodeGenesis(b []byte) (*Genesis, error) {
	bad := func(reason string) (*Genesis, error) {
		return nil, &CorruptError{genesisName, 0, reason} // the checksum is over the whole file
	}
	text := string(b)
	// The first line, and a checksum of all before it in the last, stay in every version.
	at := strings.LastIndex(text, "crc32c ")
	if at < 0 || text[at:] != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(b[:at], castagnoli)) {
		return bad("does not match its checksum")
	}
	lines := strings.Split(text[:at], "\n")
	first, ok := strings.CutPrefix(lines[0], "billctl state ")
	version, err := strconv.Atoi(first)
	if !ok || err != nil {
		return bad("is not the genesis file of a state directory")
	}
	if version > StateVersion {
		return nil, &VersionError{genesisName, version, StateVersion}
	}
	var g Genesis
	var errs [4]error
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "journal":
			errs[0] = decodeHex(g.Journal[:], value)
		case "partition":
			var n uint64
			n, errs[1] = strconv.ParseUint(value, 10, 32)
			g.Partition = uint32(n)
		case "hash-key":
			errs[2] = decodeHex(g.HashKey[:], value)
		case "entries":
			var n uint64
			n, errs[3] = strconv.ParseUint(value, 10, 16)
			g.Format = uint16(n)
		case "created-by":
			g.CreatedBy = value
		}
	}
	if errs != [4]error{} || string(g.encode()) != text {
		return bad("is not as this version writes it")
	}
	return &g, nil
}

func decodeHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return hex.ErrLength
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}

// readGenesis returns ErrNoState when there is no genesis file and nothing that needs one.
func readGenesis(fs FS) (*Genesis, error) {
	f, err := fs.Open(genesisName)
	if isNotExist(err) {
		return nil, missingGenesis(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("open genesis: %w", err)
	}
	defer f.Close() // read only
	b := make([]byte, genesisMax)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	return decodeGenesis(b[:n])
}

// missingGenesis tells a directory that was never finished from one that lost its genesis file:
// the file comes last, and entries come after it.
func missingGenesis(fs FS) error {
	segments, err := listSegments(fs)
	if isNotExist(err) || err == nil && len(segments) == 0 {
		return ErrNoState
	}
	if err != nil {
		return err
	}
	for _, s := range segments {
		if s.Size > logHeaderSize || s.First != 1 {
			return &CorruptError{genesisName, 0, "missing, but the journal holds entries"}
		}
	}
	return fmt.Errorf("%w: its creation did not finish; create it again", ErrNoState)
}

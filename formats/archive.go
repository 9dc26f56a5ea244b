package formats

import (
	"billctl/engine"
)

// ArchiveVersion is the version of archive files and openings that this package writes, and the
// newest it reads.
const ArchiveVersion = 1

// ArchiveInfo is what an archive file says of itself.
type ArchiveInfo struct {
	// Version of the format; 0 where another program wrote the file anew without our metadata.
	// Then Journal, the digests and the counts are zero, and First and Last come from the rows.
	Version         int
	Journal         [16]byte // id of the journal
	Partition       uint32
	First, Last     engine.Seq
	FirstAt, LastAt engine.Micros
	Entries         uint64
	Rows            uint64 // of batches
	Malformed       uint64 // rows that are no events
	Seals           int
	Before          engine.Digest // what the first seal names as the seal before
	Head            engine.Digest // Chain of the last seal; zero without a seal
	Content         engine.Digest // SHA-256 of the canonical bytes of all entries, normalized
	Bytes           int64         // of the file
}

// OpeningInfo is what an opening says of itself: the state right after the Mark at Seq.
type OpeningInfo struct {
	Version   int
	Format    int // of the state's canonical bytes: engine.StateFormat
	Journal   [16]byte
	Partition uint32
	Seq       engine.Seq
	At        engine.Micros
	Month     string // that the newest usage had come to: "2026-04"
	Billing   engine.Digest
	Sealed    engine.Digest // journal digest
	Before    engine.Digest // Chain of the last seal before the mark; zero without one
	MinDay    engine.Day    // keys of earlier days are forgotten
	Records   uint64        // globals and accounts
	Keys      uint64
	Bytes     int64 // of the file
}

// Package store keeps a state directory: bytes in, the same bytes out, or an error that names the
// file and the offset.
//
// Owns: the frames of the journal and of the logs beside it, files and directories and when they
// are durable, checkpoints, the index of keys, the outbox, cursors, the lock, and the names of
// archive files and openings.
//
// Does not own: what a payload means (package engine), the bytes of archive files and openings
// (package formats), which segments may go, time (callers drive promises and the
// high-water file), when to commit, what to do after a failure beyond refusing.
//
// Invariants. What Sync returned for is there after any crash; of what came after it there is a
// prefix of whole frames. Damage to what was durable is noticed and refused, never repaired by
// guessing; a torn tail that nobody was promised is cut. A failed sync is never tried again.
// The file system is an argument (FS), so that every crash can be simulated.
package store

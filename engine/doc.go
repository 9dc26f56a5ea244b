// Package engine is billing as a pure function of a journal: entries go in, effects come out.
//
// An Engine holds the state of one shard of the accounts. Apply folds one entry into it; `run`,
// crash recovery, `replay` and `query` all call it and none has a billing path of its own. A View
// is an immutable picture of all shards, pinned without stopping the stream.
//
// Owns: the meaning of every entry, periods, acceptance, rating, closes, adjustments, credits, the
// two digests, and the canonical bytes of entries and state.
//
// Does not own: files, clocks, goroutines, parsing, rendering. It imports no package that could
// reach one.
//
// Invariants: the same entries give the same bytes, whatever the batching, the number of shards
// and the points of restart; nothing is allocated per row; two accounts never share state.
package engine

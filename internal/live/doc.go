// Package live is the running process: it reads sources, gives what they say its place in the
// journal, applies it, and hands documents to sinks. Recovery and replay go through the same code
// without sources and sinks. Beside that it does what is done with a History, the entries of one
// journal wherever they lie: replay, copies and checks of an archive, explanations, what-if.
//
// Owns: when something happens. Following files, batching, the order of entries, the clock and the
// watermark, when a period may close, checkpoints and seals, when a segment becomes an archive file
// and may go, when a month opens, restoring, delivery and its retries. From where entries are read
// (History, Entries). What is asked of a state (Desk), and ratings of files (Rate).
//
// Does not own: what an entry means (package engine), bytes outside (package formats), bytes in the
// state directory (package store), how a sink takes a document (package sink).
//
// Invariants: one goroutine owns journal, outbox and shards. What is applied was durable before, so
// no answer is ever taken back. Whatever a clock decides is an entry before it can change a bill.
// Effects come in one order, for any number of shards. No archive file that is made has its name
// before it was read back and compared, and no opening before its seal is durable. What reads a
// History writes nothing to it.
package live

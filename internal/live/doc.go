// Package live is the running process: it reads sources, gives what they say its place in the
// journal, applies it, and hands documents to sinks. Recovery and replay go through the same code
// without sources and sinks.
//
// Owns: when something happens. Following files, batching, the order of entries, the clock and the
// watermark, when a period may close, checkpoints and seals, restoring, delivery and its retries,
// and what is asked of a state (Desk).
//
// Does not own: what an entry means (package engine), bytes outside (package formats), bytes in the
// state directory (package store), how a sink takes a document (package sink).
//
// Invariants: one goroutine owns journal, outbox and shards. What is applied was durable before, so
// no answer is ever taken back. Whatever a clock decides is an entry before it can change a bill.
// Effects come in one order, for any number of shards.
package live

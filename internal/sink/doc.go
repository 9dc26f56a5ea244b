// Package sink hands documents over, once: each way of doing so is a type with a Deliver method.
//
// Owns: what makes a delivery happen once in each place (a name, a unique key, an idempotency key),
// and how an answer tells done from try again from never.
//
// Does not own: which documents there are, their order, retries and their delays, what was
// delivered already. It carries bytes and a key, and knows no billing.
//
// Invariants: Deliver may be called again with the same key and bytes after any error, crash or
// success, and changes nothing that is there. It returns no nil before the document would survive
// a loss of power. It never overwrites.
package sink

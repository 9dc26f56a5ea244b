// Package formats turns the bytes of the outside world into values of the engine and back:
// usage events, catalogs, accounts and answers. Readers and writers are given to it; it opens no
// file and asks no clock.
//
// Usage events are read by a Decoder, line by line, into a Builder, which collects rows in columns
// until a batch is full. The rules are in docs/formats/events.md, and those for foreign files in
// docs/formats/mapping.md.
//
// # Owns
//
//   - The grammar of every foreign format: JSON, CSV, YAML, gzip and zstd.
//   - Which line is an event and which is malformed, and the words that say why.
//   - The row's digest, its columns and what is left for Rest.
//
// # Does not own
//
//   - Where bytes come from, how files are followed, and when a batch that is not full is cut.
//   - Arrival: a row without a time carries 0 and the TimeDefaulted bit for the sequencer to fill.
//   - Anything that needs the catalog: whether an event matches a meter, or has an account.
//
// # Invariants
//
//   - Every line that is not blank is exactly one row: an event or a malformed row. A run of NUL
//     bytes counts as a line of its own.
//   - How the same bytes are cut into chunks and batches does not change a row.
//   - Bad input is never an error of the Go kind and never a panic.
package formats

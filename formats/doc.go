// Package formats turns the bytes of the outside world into values of the engine and back:
// usage events, catalogs, accounts, archive files and answers. Readers and writers are given to it;
// it opens no file and asks no clock.
//
// Usage events are read by a Decoder, line by line, into a Builder, which collects rows in columns
// until a batch is full. The rules are in docs/formats/events.md, and those for foreign files in
// docs/formats/mapping.md. Rows of Parquet and Arrow files are read by OpenRows and become the same
// batches (docs/formats/columns.md).
//
// Entries are written as archive files by WriteArchive and come back from OpenArchive
// (docs/formats/archive.md); states are written as openings by WriteOpening and come back from
// OpenOpening (docs/formats/opening.md). WriteEvents and WriteReport write events and answers in
// rows for other programs.
//
// # Owns
//
//   - The grammar of every foreign format: JSON, CSV, YAML, Parquet, Arrow, gzip and zstd.
//   - Which line is an event and which is malformed, and the words that say why.
//   - The row's digest, its columns and what is left for Rest.
//   - The columns, the metadata and the bytes of archive files and openings.
//
// # Does not own
//
//   - Where bytes come from, how files are followed, and when a batch that is not full is cut.
//   - Arrival: a row without a time carries 0 and the TimeDefaulted bit for the sequencer to fill.
//   - Anything that needs the catalog: whether an event matches a meter, or has an account.
//   - Which entries go into which archive file, what the files are called, and whether a state is
//     true.
//
// # Invariants
//
//   - Every line that is not blank is exactly one row: an event or a malformed row. A run of NUL
//     bytes counts as a line of its own.
//   - How the same bytes are cut into chunks and batches does not change a row.
//   - Bad lines are never an error of the Go kind, and no input is a panic. A file of columns that
//     is damaged is refused from there on, with its place (FileError).
//   - What a file of columns says of itself is believed nowhere: no memory is taken before the
//     claim was held against the bytes that are there.
//   - An archive file gives back the entries that it was made of, normalized. Its bytes depend on
//     them and on the version of the format, and on nothing else.
package formats

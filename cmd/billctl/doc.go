// Command billctl bills usage from a log, without a database.
//
// Owns: commands and their flags, which parts a command puts together, words and tables for people,
// exit codes (docs/cli.md, "Exit codes").
//
// Does not own: billing (package engine), parsing (package formats), files of the state directory
// (package store), the running process (package live).
//
// Invariants: stdout is data, stderr is progress and words. Only report prints an error, picks a
// hint and chooses the exit code.
package main

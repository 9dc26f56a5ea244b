// Package api answers questions over HTTP: one documented, versioned JSON object an answer.
//
// Owns: routes, parameters, the shape of answers (docs/formats/api.md), the unix socket.
//
// Does not own: what is true (package engine), where it is kept (package live), text for people.
//
// Invariants: every answer carries its position; decimals are strings; the same handler answers for
// a running process and for a directory, so both say the same.
package api

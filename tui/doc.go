// Package tui shows a state in a terminal: what accounts owe now, and the reason, down to the
// event.
//
// Owns: screens, keys, what a figure looks like, when questions are asked.
//
// Does not own: figures. Every amount on a screen is the text of an answer (docs/formats/api.md),
// at the position that the header names; nothing here adds up money.
//
// Invariants: Update does no I/O, commands carry answers; no line is wider than the terminal; text
// from outside is escaped before it is drawn; a figure never goes back without being said so.
package tui

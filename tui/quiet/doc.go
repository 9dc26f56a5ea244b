// Package quiet keeps a program that links Bubble Tea from asking the terminal about its colours.
//
// Owns: the order in which two packages are initialised.
//
// Does not own: what is drawn.
//
// Bubble Tea asks for the background when it is linked, before main: every command of such a
// program would write an escape sequence to a terminal and wait up to five seconds for an answer,
// which ends up in the shell's input where it comes late. What has been said is not asked, and of
// packages that are ready to be initialised the one with the lower path comes first: this one is
// before github.com/charmbracelet/bubbletea, as it needs less. See docs/decisions/0026-quiet.md.
package quiet

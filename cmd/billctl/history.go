package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"billctl/formats"
	"billctl/internal/live"
)

// history opens what the arguments name: archive files, directories of them, or a state directory
// (or its journal); without arguments the configured state. One path that does not exist and has no
// name of an archive file is taken for a state directory. The function that it returns closes what
// was opened. A file that can't be read is an error, unless a state directory may do without it.
func (s *session) history(args []string) (*live.History, func() error, error) {
	return s.whole(s.openHistory(args))
}

// archiveHistory opens archive files, and directories of them, as history does.
func (s *session) archiveHistory(paths []string) (*live.History, func() error, error) {
	return s.whole(openArchive(paths))
}

// whole refuses an archive with files that can't be read, and tells of those of a state directory.
func (s *session) whole(
	h *live.History, done func() error, err error,
) (*live.History, func() error, error) {
	if err != nil || len(h.Faults()) == 0 {
		return h, done, err
	}
	if h.Dir() == nil {
		return nil, done, h.Faults()[0]
	}
	for _, fault := range h.Faults() {
		s.say("note: %s", formats.Visible(fault.Error()))
	}
	return h, done, nil
}

// openHistory is history for those who want to know of files that can't be read.
func (s *session) openHistory(args []string) (*live.History, func() error, error) {
	switch state := stateNamed(args); {
	case len(args) > 0 && state == "":
		return openArchive(args)
	case len(args) > 1:
		return nil, nil, usageError("name one state directory, or archive files and directories: " +
			args[0] + " is a state directory")
	case state != "":
		s.stateDir = state
	}
	dir, err := s.openReadOnly()
	if err != nil {
		return nil, nil, err
	}
	h, err := live.OpenHistory(dir)
	if err != nil {
		return nil, nil, s.inState(errors.Join(err, dir.Close()))
	}
	return h, dir.Close, nil
}

// stateNamed returns the state directory that the first argument names; "" if it names archive
// files, or there is none.
func stateNamed(args []string) string {
	if len(args) == 0 {
		return ""
	}
	if state := live.StateOf(args[0]); state != "" {
		return state
	}
	if len(args) > 1 || filepath.Ext(args[0]) == ".parquet" || isThere(args[0]) {
		return ""
	}
	state := filepath.Clean(args[0])
	if filepath.Base(state) == "journal" {
		state = filepath.Dir(state)
	}
	return state
}

// openArchive opens archive files, and directories of them.
func openArchive(paths []string) (*live.History, func() error, error) {
	h, err := live.OpenArchive(paths)
	if errors.Is(err, fs.ErrNotExist) {
		err = &exitError{
			code: exitArchive, text: err.Error(), err: err,
			hint: "name archive files that exist, or directories that hold them",
		}
	}
	return h, func() error { return nil }, err
}

// isThere reports whether something has the path.
func isThere(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
	"billctl/internal/store"
)

// session is one command line: its streams, its flags, and what they name.
type session struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer

	configFile, stateDir string

	config *formats.Config
	root   string // directory that relative paths of the configuration start from
}

// say writes a line for people.
func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.stderr, "billctl: "+format+"\n", args...)
}

// load reads the configuration: flag, then BILLCTL_CONFIG, then billctl.yaml, then defaults.
func (s *session) load() error {
	if s.config != nil {
		return nil
	}
	name, needed := s.configFile, true
	if name == "" {
		name = os.Getenv("BILLCTL_CONFIG")
	}
	if name == "" {
		name, needed = "billctl.yaml", false
	}
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !needed:
		s.config, s.root = formats.DefaultConfig(), "."
	case err != nil:
		return &exitError{
			code: exitUsage, text: "read configuration: " + err.Error(),
			hint: "name one that exists with --config, or begin with: billctl init",
		}
	default:
		if s.config, err = formats.ReadConfig(name, data); err != nil {
			return err
		}
		s.root = filepath.Dir(name)
	}
	if s.stateDir == "" {
		s.stateDir = os.Getenv("BILLCTL_STATE")
	}
	if s.stateDir == "" {
		s.stateDir = s.path(s.config.State)
	}
	return nil
}

// path returns a path of the configuration as this process has to use it.
func (s *session) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.root, p)
}

func (s *session) socket() string { return filepath.Join(s.stateDir, "api.sock") }

// openState opens the state directory for writing, and makes it where create says so.
func (s *session) openState(create bool) (*store.Dir, error) {
	host, _ := os.Hostname() // only told to others
	o := store.Options{Holder: store.Holder{
		PID: os.Getpid(), Host: host, Since: engine.Micros(time.Now().UnixMicro()),
	}}
	fsys, err := store.OS(s.stateDir)
	if err == nil {
		dir, err := store.Open(fsys, o)
		if err == nil || !errors.Is(err, store.ErrNoState) || !create {
			return dir, s.inState(err)
		}
	}
	if !create {
		return nil, s.inState(err)
	}
	return s.createState(o)
}

func (s *session) createState(o store.Options) (*store.Dir, error) {
	fsys, err := store.MakeOS(s.stateDir)
	if err != nil {
		return nil, s.inState(err)
	}
	g := live.NewGenesis()
	dir, err := store.Create(fsys, store.Genesis{Genesis: g, CreatedBy: "billctl " + version()}, o)
	if err != nil {
		return nil, s.unmade(err)
	}
	s.say("made state directory %s", s.stateDir)
	return dir, nil
}

// unmade adds the way out to an error of making a state directory.
func (s *session) unmade(err error) error {
	err = s.inState(err)
	if text, hint, code := explain(err); hint == "" {
		return &exitError{
			code: code, text: text, hint: "name an empty or new directory with --state", err: err,
		}
	}
	return err
}

// inState puts the directory's name before an error.
func (s *session) inState(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNoState):
		return &exitError{
			code: exitNoState, text: "there is no state directory " + s.stateDir,
			hint: "begin one with: billctl catalog apply, or name another with --state", err: err,
		}
	}
	return fmt.Errorf("state %s: %w", s.stateDir, err)
}

// findState finds the state directory for commands that need nothing else of the configuration.
func (s *session) findState() error {
	if s.stateDir == "" {
		s.stateDir = os.Getenv("BILLCTL_STATE")
	}
	if s.stateDir == "" {
		return s.load()
	}
	return nil
}

// desk opens the state directory read-only and restores it.
func (s *session) desk() (*live.Desk, func() error, error) {
	fsys, err := store.OS(s.stateDir)
	if err != nil {
		return nil, nil, s.inState(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		return nil, nil, s.inState(err)
	}
	desk, err := live.ReadDesk(dir)
	if err != nil {
		return nil, nil, s.inState(errors.Join(err, dir.Close()))
	}
	for _, n := range desk.Notices() {
		s.say("note: %s", n)
	}
	return desk, func() error { return errors.Join(desk.Close(), dir.Close()) }, nil
}

// actor is who acts, as journals say it.
func actor() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + fmt.Sprint(os.Getuid())
}

// isTerminal reports whether the stream is one that a person looks at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

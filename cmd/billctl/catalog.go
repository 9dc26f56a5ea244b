package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"net/url"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/api"
	"billctl/internal/live"
	"billctl/internal/store"
)

// accountsPerFile bounds a control file, so that its entry stays far below a frame's limit.
const accountsPerFile = 50_000

func newCatalog(s *session) *cobra.Command {
	return group("catalog", "Check, compare and apply meters, plans and accounts",
		newCatalogCheck(s), newCatalogDiff(s), newCatalogApply(s))
}

func newCatalogCheck(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "Read the catalog and report every mistake with its place",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			c, dir, err := s.readCatalog(args)
			if err != nil {
				return err
			}
			return s.lines(fmt.Sprintf("%s: %d meters, %d plan versions, %d accounts; no mistakes",
				dir, len(c.Meters), len(c.Plans), len(c.Accounts)))
		},
	}
}

func newCatalogDiff(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "diff [DIR]",
		Short: "Say in words what applying the catalog would change, for whom",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			c, dir, err := s.readCatalog(args)
			if err != nil {
				return err
			}
			d, err := s.difference(c, dir)
			if err != nil {
				return err
			}
			return s.lines(words(d, "catalog")...)
		},
	}
}

// words says what a difference between the journal and a catalog or file changes.
func words(d *formats.Difference, what string) []string {
	if d.Empty() {
		return []string{"nothing to apply: the journal has what the " + what + " says"}
	}
	return d.Words
}

// brief cuts words that nobody would read to their end.
func brief(words []string) []string {
	const most = 50
	if len(words) <= most {
		return words
	}
	more := fmt.Sprintf("and %s more lines like these; --dry-run shows all",
		grouped(uint64(len(words)-most)))
	return append(slices.Clone(words[:most]), more)
}

// applyFlags are the flags of commands that journal something.
type applyFlags struct {
	reason string
	dryRun bool
}

func (f *applyFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the journal")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would change and change nothing")
}

func newCatalogApply(s *session) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply [DIR]",
		Short: "Journal what the catalog changes",
		Long: `Compares the catalog with the journal and journals the difference, once. A running process
takes it up within a second; where none runs, this command journals it itself, and makes the state
directory if there is none. Applying what is applied already changes nothing. Taking something out
of the catalog ends nothing.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			c, dir, err := s.readCatalog(args)
			if err != nil {
				return err
			}
			return s.apply(c, dir, "catalog", &f)
		},
	}
	f.add(c)
	return c
}

// readCatalog reads the catalog of the configuration, or of a directory that was named.
func (s *session) readCatalog(args []string) (*formats.Catalog, string, error) {
	if err := s.load(); err != nil {
		return nil, "", err
	}
	dir := s.path(s.config.Catalog)
	if len(args) > 0 {
		dir = args[0]
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, "", &exitError{
			code: exitUsage, text: fmt.Sprintf("there is no catalog directory %s", dir),
			hint: "begin with: billctl init",
		}
	}
	c, err := formats.ReadCatalog(os.DirFS(dir))
	return c, dir, under(dir, err)
}

// under puts the directory's path before the places of faults.
func under(dir string, err error) error {
	var faults formats.Faults
	if errors.As(err, &faults) {
		return faults.Under(filepath.ToSlash(dir))
	}
	return err
}

// difference compares a catalog with what the journal has, with control files that still wait
// taken as done. Where there is no state, everything is new.
func (s *session) difference(c *formats.Catalog, dir string) (*formats.Difference, error) {
	now := engine.Micros(time.Now().UnixMicro())
	desk, done, err := s.desk()
	if errors.Is(err, store.ErrNoState) {
		d, err := formats.Diff(engine.Pin([]*engine.Engine{engine.New(0, 1, nil)}), c, now)
		return d, under(dir, err)
	}
	if err != nil {
		return nil, err
	}
	view, err := desk.WithControls(now)
	if err != nil {
		return nil, errors.Join(err, done())
	}
	d, err := formats.Diff(view, c, now)
	return d, errors.Join(under(dir, err), done())
}

// apply journals what a catalog, or a file of accounts, changes.
func (s *session) apply(c *formats.Catalog, dir, what string, f *applyFlags) error {
	d, err := s.difference(c, dir)
	if err != nil {
		return err
	}
	list := words(d, what)
	if !f.dryRun {
		list = brief(list)
	}
	if err := s.lines(list...); err != nil || f.dryRun || d.Empty() {
		return err
	}
	var files [][]byte
	for i, change := range d.Split(accountsPerFile) {
		change.Actor, change.Reason = actor(), f.reason
		var bodies []engine.Body
		if i == 0 {
			for _, z := range d.Zones {
				bodies = append(bodies, z)
			}
		}
		files = append(files, live.EncodeControl(append(bodies, &change)...))
	}
	return s.putControls(files)
}

// putControls writes control files and sees them journaled, one after the other, for each builds on
// those before it: by the process that holds the state directory, or by this one.
func (s *session) putControls(files [][]byte) error {
	for i, payload := range files {
		err := s.sequence(payload)
		var locked *store.LockedError
		if errors.As(err, &locked) {
			err = s.handOver(payload)
		}
		if err != nil {
			if i > 0 {
				s.say("note: %d of %d parts were applied before", i, len(files))
			}
			return err
		}
	}
	s.say("applied")
	return nil
}

// sequence journals a control file with a run of its own.
func (s *session) sequence(payload []byte) error {
	var name string
	refused := map[string]string{}
	err := s.withRun(&runFlags{}, true, func(o *live.Options) (err error) {
		o.UntilEOF = true
		o.Refused = func(name, why string) { refused[name] = why }
		name, _, err = o.State.Dir.PutControl(payload)
		return err
	})
	if why, ok := refused[name]; ok && err == nil {
		return refusal(why)
	}
	return err
}

func refusal(why string) error {
	return &exitError{code: exitFailed, text: why, hint: "nothing of it was applied"}
}

// handOver leaves a control file to the process that holds the state directory.
func (s *session) handOver(payload []byte) error {
	fsys, err := store.OS(s.stateDir)
	if err != nil {
		return s.inState(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		return s.inState(err)
	}
	name, _, err := dir.PutControl(payload)
	if err = errors.Join(err, dir.Close()); err != nil {
		return s.inState(err)
	}
	return s.awaitApplied(name)
}

// patience is how long a command waits for the running process to take a control file up.
const patience = 10 * time.Second

// awaitApplied asks what became of a control file until something did.
func (s *session) awaitApplied(name string) error {
	until := time.Now().Add(patience)
	for {
		body, err := s.ask("/v1/control", url.Values{"name": {name}})
		if err != nil {
			return err
		}
		var a api.Applied
		if err := json.Unmarshal(body, &a); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		switch {
		case a.State == "applied":
			return nil
		case a.State == "refused":
			return refusal(a.Reason)
		case time.Now().After(until):
			return &exitError{
				code: exitFailed, text: "the running process has not taken up control file " + name[:12],
				hint: "it will when it can; look at billctl query status",
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

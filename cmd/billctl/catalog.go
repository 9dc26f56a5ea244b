package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
	"billctl/internal/store"
)

// accountsPerFile bounds a control file, so that its entry stays far below a frame's limit.
const accountsPerFile = 50_000

func newCatalog(s *session) *cobra.Command {
	return group("catalog", "Check, compare and apply meters, plans and accounts",
		newCatalogCheck(s), newCatalogTest(s), newCatalogDiff(s), newCatalogApply(s))
}

func newCatalogCheck(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "Read the catalog and report every mistake with its place",
		Long: `Read the catalog and report every mistake with its place. What is no mistake but may be one
is a note on standard error: tax codes that only prices or only accounts name, and budgets of
accounts that the catalog does not have.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			c, dir, err := s.readCatalog(args)
			if err != nil {
				return err
			}
			for _, note := range c.Notes() {
				s.say("note: %s", path.Join(filepath.ToSlash(dir), note))
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
	if _, err := s.putControls(files); err != nil {
		return err
	}
	s.say("applied")
	return nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"billctl/fixtures"
	"billctl/internal/api"
)

// The demo's size: small enough for a minute, large enough to be killed in the middle.
const (
	demoEvents   = 200_000
	demoAccounts = 40
	demoSeed     = 1
	demoClose    = "2026-05-02" // behind the last period's end in every zone
)

func newDemo(s *session) *cobra.Command {
	var live bool
	var f liveFlags
	c := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "A tour that ends by itself: usage, subtotals, a kill, invoices, the proof",
		Long: `Generates two months of usage for some accounts, bills it, kills itself in the middle
with SIGKILL and goes on, closes the months, prints invoices and digests, and replays the journal to
the same digest. Then it writes the history as Parquet, proves a month from a copy of that alone,
explains a line, and shows what another price would have billed. It works in a directory of its own,
a temporary one unless DIR is given, and leaves it there to look at.

With --live it is something to watch instead: usage of last month and of this one so far, a run that
bills it, and new usage all the time, until Ctrl-C. It says what to type in another terminal.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			d := &demo{s: s}
			if live {
				return d.live(args, &f)
			}
			if err := d.prepare(args); err != nil {
				return err
			}
			return d.tour()
		},
	}
	c.Flags().BoolVar(&live, "live", false, "bill usage of now until it is interrupted")
	c.Flags().IntVar(&f.rate, "rate", 200, "events a second, with --live")
	c.Flags().IntVar(&f.history, "history", 4000,
		"events of a working day before now, with --live")
	return c
}

// demo is one tour. It runs this binary as a user would.
type demo struct {
	s      *session
	binary string
	dir    string
}

// prepare writes configuration, catalog and usage.
func (d *demo) prepare(args []string) error {
	if err := d.makeDir(args); err != nil {
		return err
	}
	usage := fixtures.NewUsage(fixtures.UsageConfig{
		Seed: demoSeed, Events: demoEvents, Accounts: demoAccounts,
	})
	f, err := os.Create(filepath.Join(d.dir, "usage", "2026.ndjson"))
	if err != nil {
		return fmt.Errorf("write usage: %w", err)
	}
	truth, err := usage.WriteNDJSON(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write usage: %w", err)
	}
	d.tell("%s lines of usage of March and April 2026 for %d accounts are in %s/usage",
		grouped(uint64(truth.Lines)), demoAccounts, d.dir)
	return errors.Join(
		d.write("billctl.yaml", fixtures.Config()),
		d.write("catalog/accounts.yaml", fixtures.AccountsYAML(usage.Accounts())))
}

// makeDir makes the directory to work in, with the catalog and a place for usage.
func (d *demo) makeDir(args []string) (err error) {
	if d.binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	if len(args) > 0 {
		d.dir = args[0]
		if list, err := os.ReadDir(d.dir); err == nil && len(list) > 0 {
			return &exitError{
				code: exitFailed, text: d.dir + " is not empty", hint: "name a new directory",
			}
		}
		err = os.MkdirAll(d.dir, 0o755)
	} else {
		d.dir, err = os.MkdirTemp("", "billctl-demo-")
	}
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.CopyFS(filepath.Join(d.dir, "catalog"), fixtures.Catalog()); err != nil {
		return fmt.Errorf("write catalog: %w", err)
	}
	if err := os.Mkdir(filepath.Join(d.dir, "usage"), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

func (d *demo) write(name string, data []byte) error {
	if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o644); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// tell prints a sentence of the guide.
func (d *demo) tell(format string, args ...any) {
	fmt.Fprintf(d.s.stdout, "\n# "+format+"\n", args...)
}

func (d *demo) tour() error {
	steps := []func() error{
		d.apply, d.runAndKill, d.goOn, d.closeMonths, d.invoices, d.prove, d.compare, d.archive,
		d.audit, d.explain, d.whatIf, d.next,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// command returns this binary with arguments, in the demo's directory.
func (d *demo) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(d.s.ctx, d.binary, args...)
	c.Dir = d.dir
	c.Stderr = d.s.stderr
	c.Env = slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "BILLCTL_")
	})
	return c
}

// do shows a command, runs it, and prints at most lines of what it says.
func (d *demo) do(lines int, args ...string) error {
	fmt.Fprintf(d.s.stdout, "$ billctl %s\n", strings.Join(args, " "))
	out, err := d.command(args...).Output()
	text := strings.SplitAfter(string(out), "\n")
	if len(text) > lines+1 {
		rest := len(text) - lines - 1
		text = append(text[:lines], fmt.Sprintf("... %d lines more\n", rest))
	}
	fmt.Fprint(d.s.stdout, strings.Join(text, ""))
	if err != nil {
		return fmt.Errorf("billctl %s: %w", args[0], err)
	}
	return nil
}

func (d *demo) apply() error {
	d.tell("The catalog says what is counted and what it costs. It is journaled once.")
	return d.do(6, "catalog", "apply")
}

// runAndKill starts a run and kills it with SIGKILL when it has journaled a quarter of the rows.
func (d *demo) runAndKill() error {
	d.tell("A run reads the usage. It is killed with SIGKILL in the middle.")
	args := []string{"run", "--until-eof", "--batch-rows", "1000"}
	fmt.Fprintf(d.s.stdout, "$ billctl %s\n", strings.Join(args, " "))
	c := d.command(args...)
	c.Stderr = nil // its last words would be those of a run that was killed
	if err := c.Start(); err != nil {
		return fmt.Errorf("start run: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	socket := filepath.Join(d.dir, "state", "api.sock")
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("run ended before it was killed: %w", err)
		case <-time.After(time.Millisecond):
		}
		if n := rowsOf(d.s.ctx, socket); n >= demoEvents/4 {
			if err := c.Process.Kill(); err != nil {
				return fmt.Errorf("kill run: %w", err)
			}
			<-ended
			d.tell("Killed after %s rows. What it had answered holds: the journal has it.", grouped(n))
			return d.do(4, "query", "accounts", "--limit", "3")
		}
	}
}

// rowsOf asks a running process how many rows it has journaled; 0 while it does not answer.
func rowsOf(ctx context.Context, socket string) uint64 {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	body, err := fetch(ctx, socket, "/v1/status", url.Values{})
	if err != nil {
		return 0
	}
	var status api.Status
	if json.Unmarshal(body, &status) != nil || status.Process == nil {
		return 0
	}
	return status.Process.Rows
}

func (d *demo) goOn() error {
	d.tell("The next run goes on where the journal ends.")
	if err := d.do(10, "run", "--until-eof"); err != nil {
		return err
	}
	d.tell("Subtotals of an account before April closes: so far, and if it closed now.")
	return d.do(30, "query", "account", d.account())
}

// account returns the account that the demo looks at.
func (d *demo) account() string { return fixtures.Accounts(demoAccounts, demoSeed)[0].ID }

func (d *demo) closeMonths() error {
	d.tell("March closed by itself, a day after its end in event time. April is closed by hand.")
	return d.do(10, "run", "--until-eof", "--close-at", demoClose)
}

func (d *demo) invoices() error {
	d.tell("Every invoice is one file, written exactly once.")
	if err := d.do(8, "query", "invoices", "--limit", "100"); err != nil {
		return err
	}
	return d.do(20, "query", "invoice", d.account()+"/main/2026-04-01/period")
}

func (d *demo) prove() error {
	d.tell("The proof: the journal, applied again from its first entry, reaches the same digests.")
	return d.do(10, "replay", "state/journal")
}

// compare bills the same usage once more, undisturbed, and compares digests and files.
func (d *demo) compare() error {
	d.tell("The same usage billed undisturbed, in another state directory, gives the same bills.")
	config := bytes.ReplaceAll(fixtures.Config(), []byte("state: state"), []byte("state: state2"))
	config = bytes.ReplaceAll(config, []byte("dir: invoices"), []byte("dir: invoices2"))
	if err := d.write("undisturbed.yaml", config); err != nil {
		return err
	}
	with := []string{"--config", "undisturbed.yaml"}
	if err := d.do(0, append(with, "catalog", "apply")...); err != nil {
		return err
	}
	if err := d.do(10, append(with, "run", "--until-eof", "--close-at", demoClose)...); err != nil {
		return err
	}
	var digests []string
	for _, state := range []string{"state/journal", "state2/journal"} {
		out, err := d.command("replay", state, "-o", "json").Output()
		if err != nil {
			return fmt.Errorf("billctl replay: %w", err)
		}
		var a replayAnswer
		if err := json.Unmarshal(out, &a); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		digests = append(digests, a.Billing)
		fmt.Fprintf(d.s.stdout, "billing digest of %-14s %s\n", state, a.Billing)
	}
	files, err := equalTrees(filepath.Join(d.dir, "invoices"), filepath.Join(d.dir, "invoices2"))
	if err != nil {
		return err
	}
	if digests[0] != digests[1] {
		return &exitError{code: exitDiffers, text: "the killed run and the undisturbed one differ"}
	}
	fmt.Fprintf(d.s.stdout, "equal digests, and %d equal invoice files\n", files)
	return nil
}

// equalTrees compares two directories of files byte for byte and returns how many files they have.
func equalTrees(a, b string) (files int, err error) {
	list := func(dir string) (map[string]string, error) {
		out := map[string]string{}
		err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(dir, name))
			out[name] = string(data)
			return err
		})
		return out, err
	}
	x, err := list(a)
	if err != nil {
		return 0, fmt.Errorf("compare invoices: %w", err)
	}
	y, err := list(b)
	if err != nil {
		return 0, fmt.Errorf("compare invoices: %w", err)
	}
	for name, data := range x {
		if y[name] != data {
			return 0, &exitError{code: exitDiffers, text: "invoice " + name + " differs"}
		}
	}
	if len(x) != len(y) {
		return 0, &exitError{code: exitDiffers, text: "the numbers of invoices differ"}
	}
	return len(x), nil
}

func (d *demo) next() error {
	d.tell("All of this lies in %s. Try next:", d.dir)
	return d.s.lines(
		"cd "+d.dir,
		"billctl query status",
		"billctl query event --outcome malformed --limit 3",
		"billctl query account "+d.account()+" -o json",
		"billctl replay audit --shards 2",
		"billctl archive verify --deep audit",
		"billctl run            # follow usage/*.ndjson; stop it with Ctrl-C")
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/api"
)

// TestKill bills one usage with the real binary in many ways and compares what came out: without
// disturbance, killed by SIGKILL at random moments and started again, with several shards, threads
// and sizes of batches. Invoices are equal to the byte, and so is the billing digest.
//
//	BILLCTL_KILL_EVENTS=1000000 BILLCTL_KILL_TIMES=20 BILLCTL_KILL_SEED=7 \
//		go test ./cmd/billctl -run TestKill -v -timeout 30m
//
// It is a small test of its kind by default, the whole with these variables.
func TestKill(t *testing.T) {
	events, full := killSetting(t, "BILLCTL_KILL_EVENTS", 50_000)
	times, _ := killSetting(t, "BILLCTL_KILL_TIMES", 3)
	seed, given := killSetting(t, "BILLCTL_KILL_SEED", 0)
	if !given {
		seed = time.Now().UnixNano() % 1_000_000
	}
	if testing.Short() {
		t.Skip("starts the binary many times")
	}
	t.Logf("seed %d; repeat with: BILLCTL_KILL_SEED=%d BILLCTL_KILL_EVENTS=%d BILLCTL_KILL_TIMES=%d "+
		"go test ./cmd/billctl -run TestKill -v -timeout 30m", seed, seed, events, times)
	b := &killBench{binary: killBinary(t)}
	h := b.house(t, events, uint64(seed))

	calm := h.begin(t, "calm")
	calm.run(t)
	calm.check(t)
	rng := rand.New(rand.NewPCG(uint64(seed), 0xdead))
	for kills := 0; kills < int(times); {
		r := h.begin(t, "killed")
		r.kill(t, int(times)-kills, calm.wall, rng)
		r.check(t)
		r.sameAs(t, calm)
		if kills == 0 {
			r.replays(t, full)
		}
		if kills += r.kills; r.kills == 0 {
			t.Error("a run was never killed")
			break
		}
	}
	calm.replays(t, full)
	b.ways(t, events, uint64(seed), full)
	t.Logf("the same usage, billed in %d ways\n%s", len(b.runs), b.table())
}

// replays applies the journal with other shards and threads.
func (r *killRun) replays(t *testing.T, full bool) {
	for i, k := range killWays {
		if !full && i >= 3 {
			break
		}
		a := r.replay(t, k.shards, k.procs)
		if a.Journal != r.audit.Journal || a.JournalDg != r.audit.JournalDg ||
			a.Billing != r.audit.Billing {
			t.Errorf("%s: replay with %d shards, GOMAXPROCS %d gives journal digest %s, not %s",
				r.name, k.shards, k.procs, a.JournalDg, r.audit.JournalDg)
		}
	}
}

// ways runs the same usage with other shards, threads and sizes of batches.
func (b *killBench) ways(t *testing.T, events int64, seed uint64, full bool) {
	small := b.house(t, min(events, 5000), seed)
	large := small
	if full {
		large = b.house(t, events, seed)
	}
	sizes := []int{1000, 7, 1, 65_536}
	first := map[*killHouse]*killRun{}
	for i, k := range killWays {
		for j, rows := range sizes {
			if !full && i%len(sizes) != j {
				continue
			}
			h := large
			if rows < 1000 {
				h = small
			}
			r := h.begin(t, "undisturbed")
			r.shards, r.rows = k.shards, rows
			r.procs = k.procs
			r.run(t)
			r.check(t)
			if first[h] == nil {
				first[h] = r
			}
			r.sameAs(t, first[h])
		}
	}
}

// killWays are numbers of shards and threads; no result depends on them.
var killWays = []struct{ shards, procs int }{
	{1, 1}, {2, 2}, {4, 8}, {1, 2}, {2, 8}, {4, 1}, {1, 8}, {2, 1}, {4, 2},
}

// killSetting reads a number from the environment.
func killSetting(t *testing.T, name string, otherwise int64) (n int64, given bool) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is not a number", name, text)
	}
	return n, true
}

// killBench is the program and what was done with it.
type killBench struct {
	binary string
	runs   []*killRun
}

// table shows the runs.
func (b *killBench) table() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "lines\trun\tkills\tshards\tprocs\tbatch rows\twall s\tCPU s\trows/s\t"+
		"replay s\tentries\tseals\tinvoices\tbilling digest\tjournal digest\t\n")
	for _, r := range b.runs {
		lines := r.house.truth.Lines
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t%.0f\t%.2f\t%d\t%d\t%d\t%.12s\t%.12s\t\n",
			lines, r.name, r.kills, r.shards, r.procs, r.rows, r.wall.Seconds(), r.cpu.Seconds(),
			float64(lines)/r.wall.Seconds(), r.audit.Seconds, r.audit.Entries, r.audit.Seals,
			r.audit.Documents, r.audit.Billing, r.audit.JournalDg)
	}
	if err := w.Flush(); err != nil {
		panic("BUG: " + err.Error())
	}
	return out.String()
}

// killHouse is usage and what an exact biller makes of it.
type killHouse struct {
	bench *killBench
	dir   string
	truth fixtures.Truth
}

// house writes catalog and usage, with every reason that a finite run can give.
func (b *killBench) house(t *testing.T, events int64, seed uint64) *killHouse {
	h := &killHouse{bench: b, dir: t.TempDir()}
	usage := fixtures.NewUsage(fixtures.UsageConfig{Seed: seed, Events: events, Accounts: 60})
	if err := os.CopyFS(filepath.Join(h.dir, "catalog"), fixtures.Catalog()); err != nil {
		t.Fatal(err)
	}
	accounts := fixtures.AccountsYAML(usage.Accounts())
	file := filepath.Join(h.dir, "catalog", "accounts.yaml")
	if err := os.WriteFile(file, accounts, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(h.dir, "usage.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	if h.truth, err = usage.WriteNDJSON(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if events >= 50_000 {
		for r, n := range h.truth.Reasons[:engine.ReasonUnknownEvent] { // the others are of corrections
			if n == 0 && engine.Reason(r) != engine.ReasonTooLate {
				t.Errorf("the usage has no line that is %s", engine.Reason(r))
			}
		}
	}
	return h
}

// killBinary builds the program.
func killBinary(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "billctl")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return path
}

// killRun is one state directory over the house's usage.
type killRun struct {
	house *killHouse
	name  string
	dir   string

	shards, procs, rows int // 0: as it comes

	wall  time.Duration // of all its processes
	cpu   time.Duration // of the last one
	kills int
	audit *replayAnswer
}

// begin makes a new state directory and applies the catalog.
func (h *killHouse) begin(t *testing.T, name string) *killRun {
	r := &killRun{house: h, name: name, dir: t.TempDir()}
	config := fmt.Sprintf("state: state\ncatalog: %q\ngrace: 24h\nsources:\n"+
		"  - {name: usage, tail: %q, disorder: 2m}\nsinks:\n  - {name: invoices, dir: invoices}\n",
		filepath.Join(h.dir, "catalog"), filepath.Join(h.dir, "*.ndjson"))
	config += "checkpoint: {every: 250ms}\n"
	if err := os.WriteFile(filepath.Join(r.dir, "billctl.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r.must(t, "catalog", "apply")
	h.bench.runs = append(h.bench.runs, r)
	return r
}

func (r *killRun) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, r.house.bench.binary, args...)
	c.Dir = r.dir
	c.Env = os.Environ()
	if r.procs > 0 {
		c.Env = append(c.Env, fmt.Sprintf("GOMAXPROCS=%d", r.procs))
	}
	return c
}

// must runs the program to its good end and returns what it printed.
func (r *killRun) must(t *testing.T, args ...string) []byte {
	t.Helper()
	c := r.command(t.Context(), args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%s: billctl %s: %v\n%s", r.name, strings.Join(args, " "), err, stderr.Bytes())
	}
	if args[0] == "run" {
		r.cpu = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	}
	return stdout.Bytes()
}

// billing are the arguments of a run that reads everything and closes both months.
func (r *killRun) billing() []string {
	args := []string{"run", "--until-eof", "--close-at", "2026-05-02"}
	if r.shards > 0 {
		args = append(args, "--shards", strconv.Itoa(r.shards))
	}
	if r.rows > 0 {
		args = append(args, "--batch-rows", strconv.Itoa(r.rows))
	}
	return args
}

// run bills without disturbance.
func (r *killRun) run(t *testing.T) {
	t.Helper()
	begin := time.Now()
	r.must(t, r.billing()...)
	r.wall = time.Since(begin)
}

// kill bills while it is killed up to n times, and lets the last run end. A process lives for up
// to two thirds of the time that an undisturbed run takes, so kills fall into every part of it.
func (r *killRun) kill(t *testing.T, n int, wall time.Duration, rng *rand.Rand) {
	t.Helper()
	begin := time.Now()
	var moments []string
	again := true
	for again && r.kills < n {
		at := time.Duration(rng.Int64N(int64(wall)*2/3 + 1))
		ended, stderr, err := r.killAt(t, at)
		if ended {
			if err != nil {
				t.Fatalf("%s: after %d kills: %v\n%s", r.name, r.kills, err, stderr)
			}
			again = false
			break
		}
		r.kills++
		moments = append(moments, at.Round(time.Millisecond).String())
	}
	if again {
		r.must(t, r.billing()...)
	}
	r.wall = time.Since(begin)
	t.Logf("killed after %s", strings.Join(moments, ", "))
}

// killAt starts the run and kills it after a while, unless it ended before.
func (r *killRun) killAt(t *testing.T, at time.Duration) (ended bool, stderr []byte, err error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := r.command(ctx, r.billing()...)
	var words bytes.Buffer
	c.Stderr = &words
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(at, cancel) // sends SIGKILL
	err = c.Wait()
	timer.Stop()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() && s.Signal() == syscall.SIGKILL {
			return false, nil, nil
		}
	}
	return !errors.Is(err, context.Canceled), words.Bytes(), err
}

func (r *killRun) replay(t *testing.T, shards, procs int) *replayAnswer {
	t.Helper()
	other := *r
	other.procs = procs
	out := other.must(t, "replay", "-o", "json", "--shards", strconv.Itoa(shards))
	a := &replayAnswer{}
	if err := json.Unmarshal(out, a); err != nil {
		t.Fatalf("%s: %v in %s", r.name, err, out)
	}
	return a
}

// check replays the journal and compares the control totals with the truth.
func (r *killRun) check(t *testing.T) {
	t.Helper()
	r.audit = r.replay(t, 1, 0)
	a := r.audit
	if a.Documents == 0 || a.Compared != a.Documents || a.Seals == 0 {
		t.Errorf("%s: %d invoices, %d compared, %d seals", r.name, a.Documents, a.Compared, a.Seals)
	}
	var status api.Status
	if err := json.Unmarshal(r.must(t, "query", "status", "-o", "json"), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Controls) != 1 {
		t.Fatalf("%s: %d sources", r.name, len(status.Controls))
	}
	c, truth := status.Controls[0], &r.house.truth
	if c.Read != uint64(truth.Lines) {
		t.Errorf("%s: read %d lines of %d", r.name, c.Read, truth.Lines)
	}
	for i, want := range truth.Reasons {
		reason := engine.Reason(i)
		got := c.Rejected[reason.String()]
		if reason == engine.Accepted {
			got = c.Accepted
		}
		if got != uint64(want) {
			t.Errorf("%s: %d lines are %s, want %d", r.name, got, reason, want)
		}
	}
	for _, s := range status.Sinks {
		if s.Waiting+s.Parked > 0 {
			t.Errorf("%s: sink %s: %d documents wait, %d are parked", r.name, s.Name, s.Waiting, s.Parked)
		}
	}
}

// sameAs compares the billing digest and every file of the sink.
func (r *killRun) sameAs(t *testing.T, o *killRun) {
	t.Helper()
	if r.audit.Billing != o.audit.Billing {
		t.Errorf("%s: billing digest %s, but %s of %s", r.name, r.audit.Billing, o.audit.Billing, o.name)
	}
	mine, theirs := r.documents(t), o.documents(t)
	if len(mine) == 0 || uint64(len(mine)) < r.audit.Documents {
		t.Errorf("%s: %d files for %d invoices", r.name, len(mine), r.audit.Documents)
	}
	names := make([]string, 0, len(mine))
	for name := range mine {
		names = append(names, name)
	}
	for name := range theirs {
		if _, ok := mine[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if a, ok := mine[name]; !ok || a != theirs[name] {
			t.Errorf("%s: %s differs from the one of %s", r.name, name, o.name)
		}
	}
}

// documents returns the content of every file that the sink has.
func (r *killRun) documents(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := filepath.Join(r.dir, "invoices")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, root)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

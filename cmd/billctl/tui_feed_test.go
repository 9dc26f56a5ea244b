package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"billctl/fixtures"
	"billctl/internal/api"
	"billctl/tui"
)

// usageState makes a directory with configuration, catalog and usage, and bills it.
func usageState(t *testing.T, events int64, runArgs ...string) (config string) {
	t.Helper()
	dir := t.TempDir()
	usage := fixtures.NewUsage(fixtures.UsageConfig{Seed: 7, Events: events, Accounts: 6})
	var lines bytes.Buffer
	if _, err := usage.WriteNDJSON(&lines); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "catalog"), fixtures.Catalog()); err != nil {
		t.Fatal(err)
	}
	write("catalog/accounts.yaml", fixtures.AccountsYAML(usage.Accounts()))
	write("usage/2026.ndjson", lines.Bytes())
	write("billctl.yaml", fixtures.Config())
	config = filepath.Join(dir, "billctl.yaml")
	inProcess(t, "--config", config, "catalog", "apply")
	inProcess(t, append([]string{"--config", config, "run", "--until-eof"}, runArgs...)...)
	return config
}

// inProcess runs a command line that must end with 0 and returns what it writes.
func inProcess(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	if code != 0 {
		t.Fatalf("billctl %s: exit code %d: %s", strings.Join(args, " "), code, stderr.String())
	}
	return stdout.String()
}

// testSession is the session of a command line with these flags.
func testSession(t *testing.T, config string) *session {
	return &session{
		ctx: t.Context(), stdin: strings.NewReader(""), stdout: &bytes.Buffer{},
		stderr: &bytes.Buffer{}, configFile: config,
	}
}

// TestArchiveFeedAgrees asks a state directory and an archive of it the same.
func TestArchiveFeedAgrees(t *testing.T) {
	config := usageState(t, 4000, "--close-at", demoClose)
	archive := filepath.Join(t.TempDir(), "copy")
	inProcess(t, "--config", config, "archive", "write", archive)
	open := func(args ...string) closingFeed {
		feed, err := testSession(t, config).openFeed(args, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := feed.Close(); err != nil {
				t.Error(err)
			}
		})
		return feed
	}
	state, files := open(), open(archive)
	if got := files.Where(); got != "archive "+archive {
		t.Errorf("the archive is called %q", got)
	}
	for _, q := range []struct{ path, query, member, holds string }{
		{"/v1/accounts", "", "accounts", "acct_0001"},
		{"/v1/account", "id=acct_0002", "periods", "so_far"},
		{"/v1/invoices", "", "invoices", "2026-04-01/period"},
		{"/v1/invoice", "key=acct_0002/main/2026-04-01/period", "invoice", "total"},
		{"/v1/events", "outcome=duplicate&limit=5", "events", "duplicate"},
		{"/v1/events", "seq=2000", "events", "acct"},
		{"/v1/status", "", "controls", "malformed"},
	} {
		a, b := member(t, state, q.path, q.query, q.member), member(t, files, q.path, q.query, q.member)
		if a != b {
			t.Errorf("%s?%s: state and archive differ:\n%s\n%s", q.path, q.query, a, b)
		}
		if !strings.Contains(a, q.holds) {
			t.Errorf("%s?%s lacks %q: %s", q.path, q.query, q.holds, a)
		}
	}
	var fail *tui.Failure
	_, err := files.Ask(t.Context(), "/v1/account", url.Values{"id": {"nobody"}})
	if !errors.As(err, &fail) || fail.Code != api.NotFound {
		t.Errorf("an unknown account gives %v", err)
	}
}

// member returns a member of an answer as text.
func member(t *testing.T, feed tui.Feed, path, query, name string) string {
	t.Helper()
	params, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	body, err := feed.Ask(t.Context(), path, params)
	if err != nil {
		t.Fatalf("%s?%s: %v", path, query, err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatal(err)
	}
	return string(members[name])
}

// TestFeedFollowsProcesses has a directory answer, then a process that comes, that is killed, and
// comes again.
func TestFeedFollowsProcesses(t *testing.T) {
	config := usageState(t, 500)
	feed, err := testSession(t, config).openFeed(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := feed.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := feed.(*stateFeed)
	status := func() (string, error) {
		body, err := f.Ask(t.Context(), "/v1/status", nil)
		var s api.Status
		if err == nil && json.Unmarshal(body, &s) != nil {
			t.Fatalf("no status: %s", body)
		}
		return s.Position.Status, err
	}
	got, err := status()
	if got != "read_only" || err != nil || !strings.HasPrefix(f.Where(), "directory ") {
		t.Fatalf("without a process: %s, %v, %s", got, err, f.Where())
	}
	first := startRunOn(t, config)
	until(t, "a process came", func() bool {
		f.looked = time.Time{} // look now
		got, err := status()
		return err == nil && got == "live" && strings.HasPrefix(f.Where(), "process on ")
	})
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	if _, err := status(); !errors.Is(err, tui.ErrGone) {
		t.Errorf("the process was killed: %v", err)
	}
	startRunOn(t, config)
	until(t, "another process came", func() bool {
		got, err := status()
		return err == nil && got == "live"
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Ask(ctx, "/v1/status", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a question that nobody waits for gives %v", err)
	}
}

// startRunOn starts a run that ends with the test.
func startRunOn(t *testing.T, config string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "--config", config, "run")
	cmd.Args[0] = "billctl"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return cmd
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// TestFeedSeesGrowth has a run come and go between two looks of a directory's feed.
func TestFeedSeesGrowth(t *testing.T) {
	config := usageState(t, 300)
	feed, err := testSession(t, config).openFeed(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close() // read only
	f := feed.(*stateFeed)
	before := member(t, f, "/v1/status", "", "controls")
	usage := filepath.Join(filepath.Dir(config), "usage")
	data, err := os.ReadFile(filepath.Join(usage, "2026.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(usage, "again.ndjson"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	inProcess(t, "--config", config, "run", "--until-eof")
	if got := member(t, f, "/v1/status", "", "controls"); got != before {
		t.Errorf("the answers changed before the look: %s", got)
	}
	f.looked, f.pause = time.Time{}, 0
	if got := member(t, f, "/v1/status", "", "controls"); got == before {
		t.Errorf("the answers are those from before the run: %s", got)
	}
}

func TestLooks(t *testing.T) {
	for _, c := range []struct {
		text string
		dark bool
	}{
		{"", true}, {"15;0", true}, {"0;15", false}, {"0;default;7", false}, {"7;8", true}, {"x", true},
		{"0;9", false}, {"12;6", true},
	} {
		if got := darkBackground(c.text); got != c.dark {
			t.Errorf("COLORFGBG=%q is dark: %v", c.text, got)
		}
	}
	for _, c := range []struct {
		term, all, ctype, lang string
		ascii                  bool
	}{
		{"xterm", "", "", "", true}, {"xterm", "", "", "en_US.UTF-8", false},
		{"xterm", "C", "en_US.UTF-8", "", true}, {"xterm", "", "C.utf8", "C", false},
		{"linux", "", "", "en_US.UTF-8", true}, {"dumb", "", "", "en_US.UTF-8", true},
		{"xterm", "", "", "de_DE.ISO-8859-1", true},
	} {
		t.Setenv("TERM", c.term)
		t.Setenv("LC_ALL", c.all)
		t.Setenv("LC_CTYPE", c.ctype)
		t.Setenv("LANG", c.lang)
		if got := asciiOnly(); got != c.ascii {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

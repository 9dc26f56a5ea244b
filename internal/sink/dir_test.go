package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"billctl/internal/live"
)

var invoice = live.Delivery{
	Key: "acme/main/2026-09-01/period", Account: "acme", Body: []byte(`{"total":"29.00"}` + "\n"),
}

func openDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// files returns what a directory holds, without the directory of temporary files itself.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, dir+"/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantOnly(t *testing.T, dir, name string, body []byte) {
	t.Helper()
	got := files(t, dir)
	if len(got) != 1 || got[name] != string(body) {
		t.Errorf("the directory holds %q, want only %s", got, name)
	}
}

func TestDirDeliversOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "invoices")
	d := openDir(t, dir)
	for range 3 {
		if err := d.Deliver(context.Background(), invoice); err != nil {
			t.Fatal(err)
		}
	}
	wantOnly(t, dir, "acme/main/2026-09-01.period.json", invoice.Body)
}

func TestDirConflict(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir)
	if err := d.Deliver(context.Background(), invoice); err != nil {
		t.Fatal(err)
	}
	other := invoice
	other.Body = []byte("{}")
	err := d.Deliver(context.Background(), other)
	var c *Conflict
	if !errors.As(err, &c) || !errors.Is(err, live.ErrPermanent) {
		t.Fatalf("got %v, want a conflict", err)
	}
	for _, sum := range []string{digest(invoice.Body), digest(other.Body)} {
		if !strings.Contains(err.Error(), sum) {
			t.Errorf("%q does not name %s", err, sum)
		}
	}
	wantOnly(t, dir, "acme/main/2026-09-01.period.json", invoice.Body)

	other.Key = "acme/other/2026-09-01/period"
	name := filepath.Join(dir, "acme", "other", "2026-09-01.period.json")
	if err := os.MkdirAll(name, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.Deliver(context.Background(), other); !errors.As(err, &c) {
		t.Errorf("a directory in the way: got %v, want a conflict", err)
	}
}

type crash struct{}

// run delivers and reports whether it crashed before the n-th step.
func run(d *Dir, n int) (steps []string, crashed bool, err error) {
	d.step = func(name string) error {
		if len(steps) == n {
			panic(crash{})
		}
		steps = append(steps, name)
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			if _, crashed = r.(crash); !crashed {
				panic(r)
			}
		}
	}()
	return steps, false, d.Deliver(context.Background(), invoice)
}

// TestDirCrash dies before every step, twice in a row, and delivers again.
func TestDirCrash(t *testing.T) {
	all, _, err := run(openDir(t, t.TempDir()), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for first := range len(all) {
		for second := range len(all) + 1 {
			dir := t.TempDir()
			for _, n := range []int{first, second} {
				if _, _, err := run(openDir(t, dir), n); err != nil {
					t.Fatal(err)
				}
				for name, body := range files(t, dir) {
					if !strings.HasPrefix(name, tempDir) && body != string(invoice.Body) {
						t.Fatalf("crash before %q left %q in %s", all[first], body, name)
					}
				}
			}
			if _, crashed, err := run(openDir(t, dir), 1000); err != nil || crashed {
				t.Fatal(err)
			}
			wantOnly(t, dir, "acme/main/2026-09-01.period.json", invoice.Body)
		}
	}
}

// TestDirOrder checks that nothing gets its name before it is durable, and that names are made
// durable before a delivery is done, also one that an earlier process began.
func TestDirOrder(t *testing.T) {
	dir := t.TempDir()
	steps, _, err := run(openDir(t, dir), 1000)
	if err != nil {
		t.Fatal(err)
	}
	want := "make directory, sync directory, make directory, sync directory, " +
		"create temporary file, write, sync file, link, remove temporary file, sync directory"
	if got := strings.Join(steps, ", "); got != want {
		t.Errorf("steps: %s\nwant:  %s", got, want)
	}
	steps, _, err = run(openDir(t, dir), 1000)
	if err != nil {
		t.Fatal(err)
	}
	want = "make directory, sync directory, make directory, sync directory, sync directory"
	if got := strings.Join(steps, ", "); got != want {
		t.Errorf("again: %s\nwant:  %s", got, want)
	}
}

// TestDirErrors fails every step once, then delivers.
func TestDirErrors(t *testing.T) {
	all, _, err := run(openDir(t, t.TempDir()), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(all) {
		dir := t.TempDir()
		d := openDir(t, dir)
		calls := 0
		d.step = func(string) error {
			if calls++; calls == n+1 {
				return syscall.ENOSPC
			}
			return nil
		}
		if err := d.Deliver(context.Background(), invoice); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("step %s: got %v, want ENOSPC", all[n], err)
		}
		if err := d.Deliver(context.Background(), invoice); err != nil {
			t.Errorf("after %s failed: %v", all[n], err)
		}
		if all[n] != "remove temporary file" { // the next start removes it
			wantOnly(t, dir, "acme/main/2026-09-01.period.json", invoice.Body)
		}
	}
}

// TestDirSyncFailure checks that a directory's fsync is not tried again.
func TestDirSyncFailure(t *testing.T) {
	d := openDir(t, t.TempDir())
	d.broken = errors.New("sync directory acme: input/output error")
	for range 2 {
		if err := d.Deliver(context.Background(), invoice); !errors.Is(err, d.broken) {
			t.Errorf("got %v, want the failure", err)
		}
	}
}

func TestDirConcurrent(t *testing.T) {
	dir := t.TempDir()
	sinks := []*Dir{openDir(t, dir), openDir(t, dir)} // as two processes
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 20 {
				doc := invoice
				doc.Key = fmt.Sprintf("acme/main/2026-09-%02d/period", n+1)
				if err := sinks[i%2].Deliver(context.Background(), doc); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := files(t, dir); len(got) != 20 {
		t.Errorf("got %d files, want 20", len(got))
	}
}

// TestDirRace delivers two documents under one key: one of them wins and stays whole.
func TestDirRace(t *testing.T) {
	for range 30 {
		dir := t.TempDir()
		d := openDir(t, dir)
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				doc := invoice
				doc.Body = []byte(strings.Repeat(fmt.Sprint(i), 10_000))
				errs[i] = d.Deliver(context.Background(), doc)
			})
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		var c *Conflict
		if errs[winner] != nil || !errors.As(errs[1-winner], &c) {
			t.Fatalf("got %v, want one conflict", errs)
		}
		wantOnly(t, dir, "acme/main/2026-09-01.period.json",
			[]byte(strings.Repeat(fmt.Sprint(winner), 10_000)))
	}
}

func TestDirCleansLeftovers(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, tempDir, "77-1-00", "deep")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(dir, "README")
	if err := os.WriteFile(keep, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	openDir(t, dir)
	wantOnly(t, dir, "README", []byte("mine"))
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the leftover is there: %v", err)
	}
}

func TestDirPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	d := openDir(t, dir)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	var c *Conflict
	err := d.Deliver(context.Background(), invoice)
	if !errors.Is(err, fs.ErrPermission) || errors.As(err, &c) {
		t.Errorf("got %v, want an error that may pass", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Deliver(context.Background(), invoice); err != nil {
		t.Error(err)
	}
}

// TestDirFull fills a small file system, makes room and delivers.
func TestDirFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs a small tmpfs, which only root can mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	d, err := NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := invoice
	doc.Body = make([]byte, 150<<10)
	if err := d.Deliver(context.Background(), doc); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want ENOSPC", err)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("the failure left files besides the ballast: %d", len(got)-1)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := d.Deliver(context.Background(), doc); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, dir, "acme/main/2026-09-01.period.json", doc.Body)
}

func TestDirNeverLeaves(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	d := openDir(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, "acme")); err != nil {
		t.Fatal(err)
	}
	if err := d.Deliver(context.Background(), invoice); err == nil {
		t.Error("a link led out of the directory")
	}
	if got := files(t, outside); len(got) != 0 {
		t.Errorf("there is %v outside", got)
	}
}

func TestFileOf(t *testing.T) {
	long := strings.Repeat("x", 250)
	tests := []struct{ key, want string }{
		{"acme/main/2026-09-01/period", "acme/main/2026-09-01.period.json"},
		{"a%2Fb/m/2026-09-01T10%3A00%3A00Z/start", "a%2Fb/m/2026-09-01T10%3A00%3A00Z.start.json"},
		{"../../etc/passwd", "%2E./%2E./etc.passwd.json"},
		{"a/main/2026-09-01/alert-eu%2F.x-33.5", "a/main/2026-09-01.alert-eu%2F.x-33.5.json"},
		{"./.tmp/2026-09-01/period", "%2E/%2Etmp/2026-09-01.period.json"},
		{"a\x00b/c\\d/e\n/period", "a%00b/c%5Cd/e%0A.period.json"},
		{"one", "one.json"},
		{"a//b/period", ""},
		{"/a/b/c", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got, err := fileOf(tt.key)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("fileOf(%q) = %q, %v; want %q", tt.key, got, err, tt.want)
		}
	}
	a, _ := fileOf(long + "a/main/2026-09-01/period")
	b, _ := fileOf(long + "b/main/2026-09-01/period")
	if part, _, _ := strings.Cut(a, "/"); len(part) != maxPart || a == b {
		t.Errorf("two long accounts: %q and %q", a, b)
	}
	d := openDir(t, t.TempDir())
	for _, key := range []string{long + "/" + long + "/" + long + "/" + long, "../../../x"} {
		if err := d.Deliver(context.Background(), live.Delivery{Key: key}); err != nil {
			t.Error(err)
		}
	}
	var c *Conflict
	if err := d.Deliver(context.Background(), live.Delivery{Key: "a//b"}); !errors.As(err, &c) {
		t.Errorf("got %v, want an error that parks", err)
	}
}

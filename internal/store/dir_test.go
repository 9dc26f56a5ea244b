package store_test

import (
	"bufio"
	"bytes"
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"billctl/fixtures"
	"billctl/internal/store"
)

func TestCreateOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := store.OS(dir); !errors.Is(err, store.ErrNoState) {
		t.Errorf("no directory: %v", err)
	}
	fs, err := store.MakeOS(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(fs, small); !errors.Is(err, store.ErrNoState) {
		t.Errorf("empty directory: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("a failed open left %v, %v", names, err)
	}
	d := newDir(t, fs, small)
	if d.Genesis() != testGenesis(1) || d.Journal().Durable() != 1 {
		t.Errorf("genesis %+v, durable %d", d.Genesis(), d.Journal().Durable())
	}
	if _, err := store.Create(fs, testGenesis(1), small); !errors.Is(err, store.ErrExists) {
		t.Errorf("create twice: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	ro, err := store.OpenReadOnly(fs)
	if err != nil || ro.Genesis() != testGenesis(1) || ro.Journal() != nil {
		t.Errorf("open read-only: %v", err)
	}
	err = filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		info, ierr := e.Info()
		want := iofs.FileMode(0o600)
		if e.IsDir() {
			want = iofs.ModeDir | 0o700
		}
		if ierr == nil && info.Mode() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return errors.Join(err, ierr)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCreateForeign(t *testing.T) {
	fs := fixtures.NewSimFS()
	fs.SetBytes("thesis.tex", []byte("years of work"))
	_, err := store.Create(fs, testGenesis(1), small)
	if err == nil || !strings.Contains(err.Error(), `"thesis.tex"`) || fs.Ops() != 0 {
		t.Errorf("create in a foreign directory: %v, %v", err, fs.Trace())
	}
}

func TestNewerVersion(t *testing.T) {
	fs := fixtures.NewSimFS()
	if err := newDir(t, fs, small).Close(); err != nil {
		t.Fatal(err)
	}
	fs.SetBytes("genesis", store.FutureGenesis(9))
	var version *store.VersionError
	for _, open := range []func() (*store.Dir, error){
		func() (*store.Dir, error) { return store.Open(fs, small) },
		func() (*store.Dir, error) { return store.OpenReadOnly(fs) },
	} {
		_, err := open()
		if !errors.As(err, &version) || version.Found != 9 || version.Known != store.StateVersion ||
			version.Path != "genesis" {
			t.Errorf("open a newer state directory: %v", err)
		}
	}
}

// TestOtherGenesis: a journal of another state directory is refused.
func TestOtherGenesis(t *testing.T) {
	a, b := fixtures.NewSimFS(), fixtures.NewSimFS()
	newDir(t, a, small)
	if _, err := store.Create(b, testGenesis(9), small); err != nil {
		t.Fatal(err)
	}
	b.SetBytes("genesis", a.Bytes("genesis"))
	b.SetBytes("journal/high", a.Bytes("journal/high"))
	if _, err := store.Open(b.Restart(), small); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
}

// TestLock opens a directory that another process holds, and again after that process is killed.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	fs, err := store.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := newDir(t, fs, small).Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockHolder$")
	cmd.Env = append(os.Environ(), "BILLCTL_TEST_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("holder says %q, %v", line, err)
	}
	_, err = store.Open(fs, small)
	var locked *store.LockedError
	want := store.Holder{PID: cmd.Process.Pid, Host: "there", Since: 1_700_000_000_000_000}
	if !errors.As(err, &locked) || locked.Holder != want || !errors.Is(err, store.ErrLocked) {
		t.Errorf("open while held: %v", err)
	}
	if ro, err := store.OpenReadOnly(fs); err != nil {
		t.Errorf("read beside the holder: %v", err)
	} else if _, _, err := ro.PutControl([]byte("x")); err != nil {
		t.Errorf("put beside the holder: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the holder was not killed")
	}
	d, err := store.Open(fs, small)
	if err != nil {
		t.Fatalf("open after the holder died: %v", err)
	}
	if _, err := store.Open(fs, small); !errors.Is(err, store.ErrLocked) {
		t.Errorf("open twice in one process: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestLockHolder is the other process of TestLock.
func TestLockHolder(t *testing.T) {
	dir := os.Getenv("BILLCTL_TEST_LOCK")
	if dir == "" {
		t.Skip("runs as the other process of TestLock")
	}
	fs, err := store.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := store.Options{Floor: -1,
		Holder: store.Holder{PID: os.Getpid(), Host: "there", Since: 1_700_000_000_000_000}}
	if _, err := store.Open(fs, o); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("held\n")
	os.Stdin.Read(make([]byte, 1)) // until killed, or the test that waits for us is gone
}

func TestControl(t *testing.T) {
	d := newDir(t, newOS(t), small)
	name, fresh, err := d.PutControl([]byte("change"))
	if err != nil || !fresh {
		t.Fatalf("put: %v, %v", fresh, err)
	}
	if again, fresh, err := d.PutControl([]byte("change")); again != name || fresh || err != nil {
		t.Errorf("put again: %s, %v, %v", again, fresh, err)
	}
	if b, err := d.Control(name); string(b) != "change" || err != nil {
		t.Errorf("read: %q, %v", b, err)
	}
	if names, err := d.Controls(); len(names) != 1 || names[0] != name || err != nil {
		t.Errorf("list: %v, %v", names, err)
	}
	if names, err := d.FS().ReadDir("control"); len(names) != 1 || err != nil {
		t.Errorf("left behind: %v, %v", names, err)
	}
	for _, bad := range []string{"", "../genesis", strings.ToUpper(name), name + "0"} {
		if _, err := d.Control(bad); err == nil {
			t.Errorf("read %q: no error", bad)
		}
		if err := d.RemoveControl(bad); err == nil {
			t.Errorf("remove %q: no error", bad)
		}
	}
	for range 2 {
		if err := d.RemoveControl(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Control(name); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("read a removed file: %v", err)
	}
}

// TestControlRace puts the same files from many goroutines while writers open and clear.
func TestControlRace(t *testing.T) {
	fs := newOS(t)
	if err := newDir(t, fs, small).Close(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 4 {
		wg.Go(func() {
			d, err := store.OpenReadOnly(fs)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 8 {
				_, f, err := d.PutControl([]byte{byte(i)})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if f {
					fresh++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if fresh != 8 {
		t.Errorf("%d files were fresh, want 8", fresh)
	}
}

// TestControlCrash: a control file is there whole or not at all, and once put it stays.
func TestControlCrash(t *testing.T) {
	payload := bytes.Repeat([]byte("change "), 300)
	points := 0
	for op := 1; op <= 10; op++ { // a put takes eight operations
		for tear := fixtures.Tear(0); tear < fixtures.NumTears; tear++ {
			fs := fixtures.NewSimFS()
			d := newDir(t, fs, small)
			fs.CrashAt(fs.Ops() + op)
			name, _, err := d.PutControl(payload)
			put := err == nil
			if !put && !errors.Is(err, fixtures.ErrCrashed) {
				t.Fatal(err)
			}
			crashed := fs.Crash(tear, rand.New(rand.NewPCG(uint64(op), uint64(tear))))
			if d, err = store.Open(crashed, small); err != nil {
				t.Fatal(err)
			}
			names, err := d.Controls()
			if err != nil || put && (len(names) != 1 || names[0] != name) {
				t.Fatalf("op %d, tear %v: %v, %v", op, tear, names, err)
			}
			for _, name := range names {
				if b, err := d.Control(name); err != nil || !bytes.Equal(b, payload) {
					t.Fatalf("op %d, tear %v: %v", op, tear, err)
				}
			}
			if all, err := d.FS().ReadDir("control"); err != nil || len(all) != len(names) {
				t.Fatalf("op %d, tear %v: left behind: %v, %v", op, tear, all, err)
			}
			points++
		}
	}
	t.Logf("%d crash points", points)
}

// TestEscape: no name leads out of the directory, and nothing but a regular file is opened.
func TestEscape(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	fs, err := store.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Mkdir("sub"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "../" + filepath.Base(dir) + "x", "sub", outside} {
		if _, err := fs.Open(name); err == nil {
			t.Errorf("open %s: no error", name)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Stories are what a person does at the command line and what they get: stdout, stderr, exit code.
// Each is a file of testdata whose first line says what it shows. Beside the commands of testscript
// they use:
//
//	bill [CODE] ARG...         billctl, which must exit with the code; 0 by default
//	start NAME ARG...          billctl in the background; its output goes to NAME.out and NAME.err
//	end NAME SIGNAL CODE       send a signal (KILL, TERM, INT, none) and wait; -1 for one killed
//	crash PAUSE ARG...         start billctl and kill it after the pause, wherever it is then
//	waitfor PATH VALUE ARG...  ask billctl until the JSON of its answer has the value at the path
//	waitfile FILE TEXT         wait until a file holds a text
//	json PATH VALUE            the last answer, one JSON object, has the value at the path
//	setjson VAR PATH           keep a value of the last answer in a variable
//	digest VAR [DIR]           keep the billing digest that a replay of DIR (state) reaches
//	same VALUE VALUE           two texts are equal (! same: they are not)
//	shop [PART...]             write the shop of testdata/shop here: configuration and catalog
//	stamp FILE...              replace @{now}, @{-1h}, @{+7d} by instants
//	usage EVENTS SEED DIR      write the catalog, accounts and usage of fixtures into DIR
//	accounts N FILE            write N accounts of plan basic as CSV
//	append FILE FROM...        append files to a file
//	repeat N TEXT FILE         write a text N times, %d in it the number
//	flip FILE OFFSET           change one byte; an offset below 0 counts from the end, "mid" is half
//	cut FILE N                 take bytes off the end of a file
//	newest DIR VAR             keep the last name of a directory in a variable
//	newer DIR VERSION          make the genesis file one of a version, with a right checksum
//	volume DIR KIB             mount a small volume, where the condition [volume] holds
//	fill FILE [KIB]            write a file until the volume is full, or so long
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      "testdata",
		Deadline: time.Now().Add(8 * time.Minute),
		Setup: func(e *testscript.Env) error {
			dir, err := filepath.Abs("testdata")
			e.Setenv("TESTDATA", dir)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Values[runningKey{}] = map[string]*running{}
			return err
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "volume":
				return volumes(), nil
			case "root":
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("there is no condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"bill": cmdBill, "crash": cmdCrash, "start": cmdStart, "end": cmdEnd, "waitfor": cmdWaitFor,
			"waitfile": cmdWaitFile, "json": cmdJSON, "setjson": cmdSetJSON, "digest": cmdDigest,
			"same": cmdSame, "shop": cmdShop, "stamp": cmdStamp, "usage": cmdUsage,
			"accounts": cmdAccounts, "append": cmdAppend, "repeat": cmdRepeat, "flip": cmdFlip,
			"cut": cmdCut, "newest": cmdNewest, "newer": cmdNewer, "volume": cmdVolume,
			"fill": cmdFill,
		},
	})
}

// raceOptions end a process of the race detector at once. By default it sleeps for a second when it
// ends, which the many processes of stories would add up to minutes.
const raceOptions = "atexit_sleep_ms=10"

// TestMain lets stories run this binary as billctl, in processes that can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		if err := os.Setenv("GORACE", raceOptions); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){"billctl": main})
}

// TestStoriesSayWhatTheyShow holds the first line of every story to what it is for.
func TestStoriesSayWhatTheyShow(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(string(data), "\n"); !strings.HasPrefix(first, "# ") {
			t.Errorf("%s: the first line is %q", file, first)
		}
	}
}

func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1)
	pause, err := time.ParseDuration(args[0])
	ts.Check(err)
	cmdStart(ts, false, append([]string{"crashed"}, args[1:]...))
	p := processes(ts)["crashed"]
	time.Sleep(pause)
	if err := p.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		ts.Check(err)
	}
	<-p.done
}

// long bounds how long a story waits for something that must happen.
const long = 60 * time.Second

func cmdBill(ts *testscript.TestScript, neg bool, args []string) {
	want := 0
	if len(args) > 0 {
		if n, err := strconv.Atoi(args[0]); err == nil {
			want, args = n, args[1:]
		}
	}
	got := 0
	if err := ts.Exec("billctl", args...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Check(err)
		}
		got = exit.ExitCode()
	}
	if neg || got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// running is a billctl in the background.
type running struct {
	cmd  *exec.Cmd
	done chan error
}

type runningKey struct{}

func processes(ts *testscript.TestScript) map[string]*running {
	return ts.Value(runningKey{}).(map[string]*running)
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1)
	binary := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, "billctl"); binary == "" {
			if _, err := os.Stat(path); err == nil {
				binary = path
			}
		}
	}
	stdout, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	stderr, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	// Like a supervisor's child: signals of the terminal do not reach it.
	cmd := exec.Command(binary, args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "BILLCTL_STATE", "BILLCTL_CONFIG", "GORACE",
	} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	ts.Check(cmd.Start())
	p := &running{cmd: cmd, done: make(chan error, 1)}
	go func() { p.done <- errors.Join(cmd.Wait(), stdout.Close(), stderr.Close()) }()
	processes(ts)[args[0]] = p
	ts.Setenv(args[0]+"_PID", strconv.Itoa(cmd.Process.Pid))
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
	})
}

func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 3)
	p := processes(ts)[args[0]]
	if p == nil {
		ts.Fatalf("%s was not started", args[0])
	}
	signals := map[string]os.Signal{
		"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT,
	}
	if s := signals[args[1]]; s != nil {
		ts.Check(p.cmd.Process.Signal(s))
	}
	var err error
	select {
	case err = <-p.done:
	case <-time.After(long):
		ts.Fatalf("%s does not end:\n%s", args[0], ts.ReadFile(args[0]+".err"))
	}
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[2] {
		ts.Fatalf("%s: exit code %d, want %s:\n%s", args[0], code, args[2], ts.ReadFile(args[0]+".err"))
	}
}

func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 2)
	last := ""
	for until := time.Now().Add(long); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if err := ts.Exec("billctl", append(args[2:], "-o", "json")...); err != nil {
			last = err.Error()
			continue
		}
		var err error
		if last, err = lookup(ts.ReadFile("stdout"), args[0]); err == nil && last == args[1] {
			return
		}
	}
	ts.Fatalf("%s is %s, want %s", args[0], last, args[1])
}

func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	for until := time.Now().Add(long); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(data), args[1]) {
			return
		}
	}
	ts.Fatalf("%s does not say %q", args[0], args[1])
}

// lookup returns the text at a path such as .controls.0.rejected.malformed in one JSON object;
// ".list.len" is the length of a list.
func lookup(text, path string) (string, error) {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("answer is no JSON: %w", err)
	}
	if d.More() {
		return "", errors.New("answer is more than one JSON value")
	}
	if _, ok := v.(map[string]any); !ok {
		return "", errors.New("answer is no object")
	}
	for _, part := range strings.Split(strings.TrimPrefix(path, "."), ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			n, err := strconv.Atoi(part)
			switch {
			case part == "len":
				v = len(at)
			case err != nil || n >= len(at):
				return "", fmt.Errorf("%s: the list has %d values", path, len(at))
			default:
				v = at[n]
			}
		default:
			return "", fmt.Errorf("%s: there is no %s in %v", path, part, v)
		}
	}
	if k := reflect.ValueOf(v).Kind(); k == reflect.Map || k == reflect.Slice {
		b, err := json.Marshal(v)
		return string(b), err
	}
	return fmt.Sprint(v), nil
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, len(args) == 2)
	got, err := lookup(ts.ReadFile("stdout"), args[0])
	ts.Check(err)
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q, want %q (negated: %v)", args[0], got, args[1], neg)
	}
}

func cmdSetJSON(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	got, err := lookup(ts.ReadFile("stdout"), args[1])
	ts.Check(err)
	ts.Setenv(args[0], got)
}

func cmdDigest(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 0)
	state := append(args, "state")[1]
	ts.Check(ts.Exec("billctl", "replay", state+"/journal", "-o", "json"))
	cmdSetJSON(ts, false, []string{args[0], ".billing_digest"})
}

func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, len(args) == 2)
	if (args[0] == args[1]) == neg {
		ts.Fatalf("%q and %q", args[0], args[1])
	}
}

func need(ts *testscript.TestScript, ok bool) {
	if !ok {
		ts.Fatalf("wrong arguments: see TestStories")
	}
}

// TestInProcess runs the same entry without a process of its own, as a library would.
func TestInProcess(t *testing.T) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGUSR1)
	defer stop()
	var stdout, stderr strings.Builder
	if code := Main(ctx, []string{"version"}, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if !strings.HasPrefix(stdout.String(), "billctl ") {
		t.Errorf("version says %q", stdout.String())
	}
}

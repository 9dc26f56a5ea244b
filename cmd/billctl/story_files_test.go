package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"billctl/fixtures"
)

// Commands of stories that make and damage files.

func cmdShop(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg)
	if len(args) == 0 {
		args = []string{"billctl.yaml", "catalog"}
	}
	from := filepath.Join(ts.Getenv("TESTDATA"), "shop")
	for _, part := range args {
		ts.Check(filepath.WalkDir(filepath.Join(from, part),
			func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				rel, err := filepath.Rel(from, path)
				if err != nil {
					return err
				}
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				return write(ts.MkAbs(rel), data)
			}))
	}
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// instantLayout has one length, so that offsets in messages are the same on every day.
const instantLayout = "2006-01-02T15:04:05.000Z"

var stampPattern = regexp.MustCompile(`@\{([+-])?([a-z0-9]+)\}`)

func cmdStamp(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg)
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, file := range args {
		text := stampPattern.ReplaceAllStringFunc(ts.ReadFile(file), func(s string) string {
			m := stampPattern.FindStringSubmatch(s)
			if m[2] == "now" {
				return now.Format(instantLayout)
			}
			span := m[2]
			if days, ok := strings.CutSuffix(span, "d"); ok {
				n, err := strconv.Atoi(days)
				ts.Check(err)
				span = strconv.Itoa(24*n) + "h"
			}
			d, err := time.ParseDuration(m[1] + span)
			ts.Check(err)
			return now.Add(d).Format(instantLayout)
		})
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
	}
}

func cmdUsage(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 3)
	events, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	dir := ts.MkAbs(args[2])
	u := fixtures.NewUsage(fixtures.UsageConfig{Seed: seed, Events: events, Accounts: 20})
	var b bytes.Buffer
	_, err = u.WriteNDJSON(&b)
	ts.Check(err)
	ts.Check(write(filepath.Join(dir, "usage", "usage.ndjson"), b.Bytes()))
	ts.Check(write(filepath.Join(dir, "billctl.yaml"), []byte(
		"sources:\n  - {name: usage, tail: \"usage/*.ndjson\"}\n"+
			"sinks:\n  - {name: invoices, dir: invoices}\n")))
	ts.Check(os.MkdirAll(filepath.Join(dir, "catalog"), 0o755))
	ts.Check(os.CopyFS(filepath.Join(dir, "catalog"), fixtures.Catalog()))
	ts.Check(write(filepath.Join(dir, "catalog", "customers.yaml"),
		fixtures.AccountsYAML(u.Accounts())))
}

func cmdAccounts(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	b := []byte("id,name,plan,from\n")
	for i := range n {
		b = fmt.Appendf(b, "customer-%05d,Customer %d,basic,2026-01-01\n", i, i)
	}
	ts.Check(write(ts.MkAbs(args[1]), b))
}

func cmdAppend(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	ts.Check(err)
	for _, from := range args[1:] {
		_, err := f.WriteString(ts.ReadFile(from))
		ts.Check(err)
	}
	ts.Check(f.Close())
}

func cmdRepeat(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 3)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(args[1], "%d", strconv.Itoa(i)) + "\n")
	}
	ts.Check(write(ts.MkAbs(args[2]), []byte(b.String())))
}

func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at := len(data) / 2
	if args[1] != "mid" {
		at, err = strconv.Atoi(args[1])
		ts.Check(err)
		if at < 0 {
			at += len(data)
		}
	}
	data[at] ^= 0x20
	// In place: the inode stays.
	ts.Check(os.WriteFile(path, data, 0o644))
}

func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), max(0, info.Size()-n)))
}

func cmdNewest(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	list, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	list = slices.DeleteFunc(list, func(e os.DirEntry) bool { return e.Name() == "high" })
	if len(list) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
	ts.Setenv(args[1], list[len(list)-1].Name())
}

func cmdNewer(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	path := filepath.Join(ts.MkAbs(args[0]), "genesis")
	data, err := os.ReadFile(path)
	ts.Check(err)
	lines := strings.SplitAfter(string(data), "\n")
	lines[0] = "billctl state " + args[1] + "\n"
	text := strings.Join(slices.DeleteFunc(lines, func(s string) bool {
		return strings.HasPrefix(s, "crc32c ")
	}), "")
	sum := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	ts.Check(os.WriteFile(path, fmt.Appendf(nil, "%scrc32c %08x\n", text, sum), 0o600))
}

// mountVolume mounts a small file system that lives in memory.
func mountVolume(dir, kib string) error {
	mount := exec.Command("mount", "-t", "tmpfs", "-o", "size="+kib+"k", "tmpfs", dir)
	out, err := mount.CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

func unmountVolume(dir string) error { return exec.Command("umount", dir).Run() }

// volumes reports whether this machine lets a test mount a small volume.
var volumes = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "volume")
	if err != nil || mountVolume(dir, "64") != nil {
		return false
	}
	return errors.Join(unmountVolume(dir), os.Remove(dir)) == nil
})

func cmdVolume(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(mountVolume(dir, args[1]))
	ts.Defer(func() { ts.Check(unmountVolume(dir)) })
}

func cmdFill(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 0)
	size := int64(1) << 40
	if len(args) > 1 {
		n, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		size = n << 10
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	piece := make([]byte, 4096)
	for done := int64(0); done < size; done += int64(len(piece)) {
		if _, err := f.Write(piece); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			ts.Fatalf("fill: %v", err)
		}
	}
	ts.Check(f.Close())
}

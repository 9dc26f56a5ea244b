package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestQuiet runs a command in a terminal: it prints what it prints and asks the terminal nothing,
// which would write escape sequences and wait for an answer that never comes here.
func TestQuiet(t *testing.T) {
	begin := time.Now()
	p := inTerminal(t, "version")
	p.wait(t)
	if got := p.text(true); strings.Contains(got, "\x1b") || !strings.HasPrefix(got, "billctl ") {
		t.Errorf("version says %q", got)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestTerminalIsRestored ends the screens in every way: the terminal is as it was, and the exit
// code says how it went.
func TestTerminalIsRestored(t *testing.T) {
	config := usageState(t, 300)
	for _, c := range []struct {
		how  string
		end  func(*terminalPlay) error
		code int
	}{
		{"q", func(p *terminalPlay) error { _, err := p.master.WriteString("q"); return err }, 0},
		{"ctrl+c", func(p *terminalPlay) error { _, err := p.master.WriteString("\x03"); return err }, 0},
		{"SIGTERM", func(p *terminalPlay) error { return p.cmd.Process.Signal(syscall.SIGTERM) }, 130},
		{"SIGINT", func(p *terminalPlay) error { return p.cmd.Process.Signal(syscall.SIGINT) }, 130},
	} {
		t.Run(c.how, func(t *testing.T) {
			p := inTerminal(t, "tui", "--config", config)
			until(t, "the accounts", func() bool { return strings.Contains(p.text(false), "acct_0001") })
			raw, err := unix.IoctlGetTermios(int(p.master.Fd()), unix.TCGETS)
			if err != nil || raw.Lflag&unix.ICANON != 0 {
				t.Fatalf("the screen's terminal is not raw: %v", err)
			}
			if err := c.end(p); err != nil {
				t.Fatal(err)
			}
			p.wait(t)
			if got := p.cmd.ProcessState.ExitCode(); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
			after, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
			if err != nil || after.Lflag != p.before.Lflag || after.Iflag != p.before.Iflag {
				t.Errorf("the terminal is not as it was: %+v, %v", after, err)
			}
			got := p.text(true)
			for _, mode := range []string{"?1049", "?25", "?1002"} {
				on, off := "h", "l"
				if mode == "?25" { // the cursor is there before
					on, off = off, on
				}
				if strings.LastIndex(got, "\x1b["+mode+on) >= strings.LastIndex(got, "\x1b["+mode+off) {
					t.Errorf("mode %s is left on", mode)
				}
			}
		})
	}
}

// terminalPlay is a process that is the foreground of a terminal of its own.
type terminalPlay struct {
	cmd           *exec.Cmd
	master, slave *os.File
	before        *unix.Termios
	ended         chan struct{}

	mu      sync.Mutex
	written strings.Builder
}

// wait waits for the end of the process; one that does not end is killed.
func (p *terminalPlay) wait(t *testing.T) {
	t.Helper()
	stuck := time.AfterFunc(10*time.Second, func() {
		t.Errorf("it does not end:\n%q", p.text(false))
		_ = p.cmd.Process.Kill() // it may have ended meanwhile
	})
	_ = p.cmd.Wait() // its exit code tells
	stuck.Stop()
}

// text returns what was written to the terminal; with all, when everybody has closed it.
func (p *terminalPlay) text(all bool) string {
	if all {
		_ = p.slave.Close() // it may be closed
		<-p.ended
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.String()
}

// inTerminal starts billctl in a new terminal of 100 by 30 cells.
func inTerminal(t *testing.T, args ...string) *terminalPlay {
	t.Helper()
	p := &terminalPlay{ended: make(chan struct{})}
	var err error
	if p.master, p.slave, err = newTerminal(); err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	size := &unix.Winsize{Row: 30, Col: 100}
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
	if p.before, err = unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(self, args...)
	p.cmd.Args[0] = "billctl"
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.slave, p.slave, p.slave
	p.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "CI=", "LC_ALL=C.UTF-8", "NO_COLOR=")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.slave.Close()
		_ = p.master.Close()
	})
	go p.read()
	return p
}

// newTerminal opens a new terminal: master is who looks at it, slave is for the process.
func newTerminal() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}

// read keeps what is written to the terminal until nobody has it open any more.
func (p *terminalPlay) read() {
	defer close(p.ended)
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.written.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

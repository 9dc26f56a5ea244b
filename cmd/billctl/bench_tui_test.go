package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"billctl/internal/api"
)

// The size of what the screens are measured on.
const (
	screenAccounts = 200_000
	screenUpdates  = 10_000 // rows a second
	screenKeys     = 150
)

const screenCatalog = `meters:
  - {key: calls, event: call, aggregate: count, unit: call}
  - {key: tokens, event: call, aggregate: sum, value: data.tokens, unit: token}
plans:
  - key: payg
    version: 1
    currency: EUR
    prices:
      - {key: calls, meter: calls, model: unit, unit: "0.001"}
      - key: tokens
        meter: tokens
        model: graduated
        tiers: [{up_to: "1000", unit: "0.002"}, {unit: "0.001"}]
defaults: {call: payg}
`

// BenchmarkTUI watches 200,000 accounts of the real binary, which gets 10,000 rows a second, on a
// terminal of 160 by 50 cells: how long a key takes until the next frame (frames come at most ten
// times a second), how many frames there are, what the screens and the process take of a processor
// with them and without, and how fast a stream without pauses is with them and without. The list is
// in the order of ids, and then by amount.
func BenchmarkTUI(b *testing.B) {
	h := newScreenHouse(b)
	for _, order := range []struct{ name, keys string }{{"by-id", ""}, {"by-amount", "sss"}} {
		b.Run(order.name, func(b *testing.B) {
			for b.Loop() {
				h.watch(b, order.keys)
			}
			b.ReportMetric(0, "ns/op") // an operation is as long as the keys make it
		})
	}
}

// screenHouse is a process on a state with many accounts, and its log.
type screenHouse struct {
	dir    string
	run    *exec.Cmd
	client *http.Client
	log    *os.File
	next   int // id of the next row
}

func newScreenHouse(b *testing.B) *screenHouse {
	h := &screenHouse{dir: b.TempDir()}
	for name, text := range map[string]string{
		"catalog/plans.yaml": screenCatalog,
		"billctl.yaml": "catalog: catalog\nsources:\n" +
			"  - {name: usage, tail: \"usage/*.ndjson\", disorder: 1s}\n",
		"usage/usage.ndjson": "",
	} {
		path := filepath.Join(h.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var err error
	log := filepath.Join(h.dir, "usage/usage.ndjson")
	h.log, err = os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		b.Fatal(err)
	}
	binary := benchBinary(b)
	apply := exec.Command(binary, "catalog", "apply")
	apply.Dir = h.dir
	if out, err := apply.CombinedOutput(); err != nil {
		b.Fatalf("catalog apply: %v\n%s", err, out)
	}
	h.run = exec.Command(binary, "run")
	h.run.Dir = h.dir
	if err := h.run.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = h.run.Process.Kill() // what it wrote is not looked at
		_ = h.run.Wait()
		_ = h.log.Close()
	})
	h.client = api.Dial(filepath.Join(h.dir, "state", "api.sock"))
	awaitProcess(b, h.client)
	h.append(b, screenAccounts)
	h.await(b, screenAccounts)
	return h
}

// append writes rows of all accounts in turn; ids and times go on.
func (h *screenHouse) append(b *testing.B, rows int) {
	var buf bytes.Buffer
	at := time.Now().UTC().Format(time.RFC3339)
	for range rows {
		fmt.Fprintf(&buf, `{"specversion":"1.0","type":"call","source":"app","id":"%d",`+
			`"subject":"account-%06d","time":"%s","data":{"tokens":%d}}`+"\n",
			h.next, h.next*7919%screenAccounts, at, h.next%997)
		h.next++
	}
	if _, err := h.log.Write(buf.Bytes()); err != nil {
		b.Error(err)
	}
}

// await waits until so many rows were read.
func (h *screenHouse) await(b *testing.B, rows uint64) {
	for begin := time.Now(); h.rows(b) < rows; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			b.Fatalf("%d of %d rows after a minute", h.rows(b), rows)
		}
	}
}

func (h *screenHouse) rows(b *testing.B) uint64 {
	var status api.Status
	ask(b, h.client, "/v1/status", &status)
	return status.Process.Rows
}

// paced appends screenUpdates rows a second until it is stopped.
func (h *screenHouse) paced(b *testing.B) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				h.append(b, screenUpdates/100)
			}
		}
	}()
	return func() { close(end); <-done }
}

// watch opens the screens and presses keys while rows come.
func (h *screenHouse) watch(b *testing.B, order string) {
	const alone = 5 * time.Second
	time.Sleep(11 * time.Second) // the index of the screens before ends after 10
	stop := h.paced(b)
	begin, cpu := time.Now(), h.processor(b)
	time.Sleep(alone)
	without := (h.processor(b) - cpu).Seconds() / time.Since(begin).Seconds()
	p := h.open(b, order)
	begin, cpu = time.Now(), h.processor(b)
	screens, frames := procTime(b, p.cmd.Process.Pid), p.frames.Load()
	took := p.press(b)
	wall := time.Since(begin).Seconds()
	with := (h.processor(b) - cpu).Seconds() / wall
	reportLatency(b, took)
	b.ReportMetric(float64(p.frames.Load()-frames)/wall, "frames/s")
	b.ReportMetric(100*(procTime(b, p.cmd.Process.Pid)-screens).Seconds()/wall, "tui-cpu-%")
	b.ReportMetric(100*without, "run-cpu-%")
	b.ReportMetric(100*with, "run-with-tui-cpu-%")
	stop()
	h.await(b, uint64(h.next))
	p.close(b)
	h.slowdown(b, order)
}

// slowdown reports how fast rows are read without pauses, with the screens open and without: the
// median of pairs.
func (h *screenHouse) slowdown(b *testing.B, order string) {
	const rows = 400_000
	measure := func() float64 {
		begin := time.Now()
		h.append(b, rows)
		h.await(b, uint64(h.next))
		return rows / time.Since(begin).Seconds()
	}
	var ratios, rates []float64
	for range 3 {
		without := measure()
		p := h.open(b, order)
		ratios = append(ratios, measure()/without)
		p.close(b)
		rates = append(rates, without)
	}
	slices.Sort(ratios)
	slices.Sort(rates)
	b.ReportMetric(ratios[1], "stream-ratio")
	b.ReportMetric(rates[1], "stream-rows/s")
}

// processor returns the time that the process has had on all processors.
func (h *screenHouse) processor(b *testing.B) time.Duration {
	return procTime(b, h.run.Process.Pid)
}

// procTime reads the processor time of a process, in ticks of 10 ms.
func procTime(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// The name, in parentheses, may have spaces. utime and stime are the 12th and 13th behind it.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	sum := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// benchScreen is the terminal that the screens are on.
type benchScreen struct {
	cmd    *exec.Cmd
	master *os.File
	frames atomic.Int64
	drawn  chan struct{}
}

// open starts the screens on a new terminal, and waits until the accounts stand there in order.
func (h *screenHouse) open(b *testing.B, order string) *benchScreen {
	b.Helper()
	p := &benchScreen{drawn: make(chan struct{}, 1)}
	master, slave, err := newTerminal()
	if err != nil {
		b.Skipf("no terminals here: %v", err)
	}
	p.master = master
	size := &unix.Winsize{Row: 50, Col: 160}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		b.Fatal(err)
	}
	p.cmd = exec.Command(h.run.Path, "tui")
	p.cmd.Dir = h.dir
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	p.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_ = slave.Close() // the process has it
	go p.read()
	p.settle(b, 2*time.Second)
	for _, key := range order {
		p.write(b, string(key))
		p.settle(b, time.Second)
	}
	if order != "" { // the first ordering rates every account
		ask(b, h.client, "/v1/accounts?sort=so_far&wait=1&limit=1", nil)
		p.settle(b, time.Second)
	}
	return p
}

// read counts frames: what is written without a pause of some milliseconds.
func (p *benchScreen) read() {
	buf := make([]byte, 1<<16)
	var last time.Time
	for {
		if _, err := p.master.Read(buf); err != nil {
			return
		}
		if now := time.Now(); now.Sub(last) > 20*time.Millisecond {
			p.frames.Add(1)
			last = now
		}
		select {
		case p.drawn <- struct{}{}:
		default:
		}
	}
}

func (p *benchScreen) settle(b *testing.B, d time.Duration) {
	b.Helper()
	time.Sleep(d)
	if p.frames.Load() == 0 {
		b.Fatal("the screens draw nothing")
	}
}

func (p *benchScreen) write(b *testing.B, keys string) {
	if _, err := p.master.WriteString(keys); err != nil {
		b.Fatal(err)
	}
}

// press presses keys one after another, and returns how long each took until something was drawn.
func (p *benchScreen) press(b *testing.B) (took []time.Duration) {
	keys := []string{"j", "j", "\x1b[6~", "k", "j", "\x1b[5~", "G", "k", "g"}
	for i := range screenKeys {
		select { // a frame from before
		case <-p.drawn:
		default:
		}
		begin := time.Now()
		p.write(b, keys[i%len(keys)])
		select {
		case <-p.drawn:
			took = append(took, time.Since(begin))
		case <-time.After(5 * time.Second):
			b.Fatalf("key %d of %d draws nothing", i+1, screenKeys)
		}
		time.Sleep(time.Duration(20+i*37%60) * time.Millisecond)
	}
	return took
}

func (p *benchScreen) close(b *testing.B) {
	p.write(b, "q")
	if err := p.cmd.Wait(); err != nil {
		b.Errorf("the screens: %v", err)
	}
	_ = p.master.Close() // nothing is to come
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
	"billctl/internal/api"
	"billctl/internal/live"
	"billctl/internal/store"
)

const benchLines = 300_000

// benchHouse is a directory with configuration, catalog and usage, as a user has it.
type benchHouse struct {
	dir  string
	data []byte // of the usage
}

func newBenchHouse(b *testing.B, from engine.Micros) *benchHouse {
	b.Helper()
	h := &benchHouse{dir: b.TempDir()}
	usage := benchUsage(7, benchLines, from)
	var buf bytes.Buffer
	if _, err := usage.WriteNDJSON(&buf); err != nil {
		b.Fatal(err)
	}
	h.data = buf.Bytes()
	if err := os.CopyFS(filepath.Join(h.dir, "catalog"), fixtures.Catalog()); err != nil {
		b.Fatal(err)
	}
	h.write(b, "catalog/accounts.yaml", fixtures.AccountsYAML(usage.Accounts()))
	h.write(b, "usage/usage.ndjson", h.data)
	h.write(b, "billctl.yaml", []byte("catalog: catalog\ncheckpoint: {every: 1s}\n"+
		"archive: {trim: false}\nsources:\n  - {name: usage, tail: \"usage/*.ndjson\", disorder: 2m}\n"))
	return h
}

// benchUsage is usage of 20 days.
func benchUsage(seed uint64, lines int64, from engine.Micros) *fixtures.Usage {
	return fixtures.NewUsage(fixtures.UsageConfig{
		Seed: seed, Events: lines, Accounts: 1000, From: from, To: from + 20*engine.OneDay,
	})
}

// The accounts' first month, so that no period closes: rows are what is measured.
const benchFrom engine.Micros = 1_767_571_200 * engine.Second // 2026-01-05T00:00:00Z

// lately is 20 days ago: a process that follows a log takes nothing older than its horizon.
func lately() engine.Micros {
	return engine.Micros(time.Now().UnixMicro())/engine.Hour*engine.Hour - 20*engine.OneDay
}

func (h *benchHouse) write(b *testing.B, name string, data []byte) {
	b.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
}

// must runs a command line in this process.
func (h *benchHouse) must(b *testing.B, state string, args ...string) {
	b.Helper()
	var stderr bytes.Buffer
	all := append(args, "--config", filepath.Join(h.dir, "billctl.yaml"), "--state", state)
	if code := Main(b.Context(), all, nil, io.Discard, &stderr); code != exitDone {
		b.Fatalf("%v: exit code %d\n%s", args, code, stderr.Bytes())
	}
}

// sizeOf returns how many bytes the files of a directory have.
func sizeOf(b *testing.B, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, ierr := d.Info()
			if ierr != nil {
				return ierr
			}
			n += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// clock measures wall, CPU of the process, and allocations of parts of a benchmark.
type clock struct {
	wall, cpu     time.Duration
	mallocs, size uint64
}

// of adds what f takes.
func (c *clock) of(f func()) {
	before, mem := processTime(), runtime.MemStats{}
	runtime.ReadMemStats(&mem)
	mallocs, size := mem.Mallocs, mem.TotalAlloc
	begin := time.Now()
	f()
	c.wall += time.Since(begin)
	c.cpu += processTime() - before
	runtime.ReadMemStats(&mem)
	c.mallocs += mem.Mallocs - mallocs
	c.size += mem.TotalAlloc - size
}

// processTime is the time that the process has had on all processors.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("BUG: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report says what rows cost, and how often the peers' cost fits into it, by CPU time: that says
// the same on a busy machine.
func (c *clock) report(b *testing.B, rows float64, peers map[string]*clock) {
	b.ReportMetric(0, "ns/op") // an operation is as long as benchLines makes it
	b.ReportMetric(float64(c.wall.Nanoseconds())/rows, "ns/row")
	b.ReportMetric(float64(c.cpu.Nanoseconds())/rows, "cpu-ns/row")
	b.ReportMetric(rows/c.wall.Seconds(), "rows/s")
	b.ReportMetric(float64(c.size)/rows, "alloc-B/row")
	b.ReportMetric(float64(c.mallocs)/rows, "allocs/row")
	for name, p := range peers {
		b.ReportMetric(float64(p.cpu.Nanoseconds())/rows, name+"-cpu-ns/row")
		b.ReportMetric(p.cpu.Seconds()/c.cpu.Seconds(), name+"-ratio")
	}
}

// unmarshal is the named peer: encoding/json decodes the lines and does nothing else.
func (h *benchHouse) unmarshal(b *testing.B) {
	for line := range bytes.Lines(h.data) {
		var e struct {
			ID, Source, Type, Subject string
			Time                      time.Time
			Data                      map[string]any
		}
		_ = json.Unmarshal(line, &e) // half a per mille of the lines is malformed
	}
}

// decode is our own decoder, which makes columns and does nothing else.
func (h *benchHouse) decode(b *testing.B) {
	d, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		b.Fatal(err)
	}
	builder := formats.NewBuilder("usage", formats.Limits{})
	c := formats.Chunk{Partition: "usage", Data: h.data}
	for len(c.Data) > 0 {
		n, err := d.Decode(c, builder)
		if err != nil {
			b.Fatal(err)
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		builder.Recycle(builder.Batch())
	}
}

// BenchmarkTail bills a log of 300,000 lines as run --until-eof does: file, decoder, durable
// journal, engine, checkpoint each second and at the end, without a sink. Peers in the same run:
// encoding/json, and our decoder alone, over the same lines.
func BenchmarkTail(b *testing.B) {
	h := newBenchHouse(b, benchFrom)
	var tail, unmarshal, decode clock
	var journal int64
	for b.Loop() {
		state := filepath.Join(b.TempDir(), "state")
		h.must(b, state, "catalog", "apply")
		tail.of(func() { h.must(b, state, "run", "--until-eof") })
		unmarshal.of(func() { h.unmarshal(b) })
		decode.of(func() { h.decode(b) })
		journal += sizeOf(b, filepath.Join(state, "journal"))
	}
	rows := float64(b.N) * benchLines
	tail.report(b, rows, map[string]*clock{"encoding-json": &unmarshal, "decoder": &decode})
	b.ReportMetric(float64(len(h.data))/benchLines, "B/row")
	b.ReportMetric(float64(journal)/rows, "journal-B/row")
}

// BenchmarkReplay proves the journal of the same log. Peers: run, which made it, and encoding/json
// over the lines that it came from.
func BenchmarkReplay(b *testing.B) {
	h := newBenchHouse(b, benchFrom)
	var replay, run, unmarshal clock
	var journal int64
	for b.Loop() {
		state := filepath.Join(b.TempDir(), "state")
		h.must(b, state, "catalog", "apply")
		run.of(func() { h.must(b, state, "run", "--until-eof") })
		replay.of(func() { h.must(b, state, "replay") })
		unmarshal.of(func() { h.unmarshal(b) })
		journal += sizeOf(b, filepath.Join(state, "journal"))
	}
	rows := float64(b.N) * benchLines
	replay.report(b, rows, map[string]*clock{"run": &run, "encoding-json": &unmarshal})
	b.ReportMetric(float64(journal)/rows, "journal-B/row")
}

// BenchmarkQueryAccount asks for the subtotals of one account after another.
//
//   - view rates the account in a picture of the state, without its JSON;
//   - directory adds HTTP routing and JSON, in one process;
//   - idle asks a process that waits for lines, over its unix socket;
//   - saturated asks one that reads a log as fast as it can.
func BenchmarkQueryAccount(b *testing.B) {
	h := newBenchHouse(b, lately())
	state := filepath.Join(h.dir, "state")
	h.must(b, state, "catalog", "apply")
	h.must(b, state, "run", "--until-eof")
	b.Run("view", func(b *testing.B) { h.benchView(b, state) })
	b.Run("directory", func(b *testing.B) { h.benchDirectory(b, state) })
	h.write(b, "usage/more.ndjson", nil)
	b.Run("idle", func(b *testing.B) { h.benchSocket(b, state, false) })
	b.Run("saturated", func(b *testing.B) { h.benchSocket(b, state, true) })
}

func benchAccount(i int) string { return fmt.Sprintf("acct_%04d", i%1000+1) }

func openDesk(b *testing.B, state string) *live.Desk {
	fsys, err := store.OS(state)
	if err != nil {
		b.Fatal(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		b.Fatal(err)
	}
	desk, err := live.ReadDesk(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := desk.Close(); err != nil {
			b.Error(err)
		}
	})
	return desk
}

func (h *benchHouse) benchView(b *testing.B, state string) {
	v, err := openDesk(b, state).View(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := v.Bill(benchAccount(i)); !ok {
			b.Fatalf("there is no account %s", benchAccount(i))
		}
		i++
	}
}

func (h *benchHouse) benchDirectory(b *testing.B, state string) {
	handler := api.Handler(openDesk(b, state), nil)
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet,
			"/v1/account?id="+benchAccount(len(took)), nil))
		if w.Code != http.StatusOK {
			b.Fatalf("status %d: %s", w.Code, w.Body)
		}
		took = append(took, time.Since(begin))
	}
	reportLatency(b, took)
}

// benchSocket asks the real binary, which follows the log; the producer is this process.
func (h *benchHouse) benchSocket(b *testing.B, state string, saturated bool) {
	run := exec.Command(benchBinary(b), "run", "--config", filepath.Join(h.dir, "billctl.yaml"),
		"--state", state)
	var stderr bytes.Buffer
	run.Stderr = &stderr
	if err := run.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = run.Process.Signal(os.Interrupt)
		_ = run.Wait() // 130
		if !bytes.Contains(stderr.Bytes(), []byte("stopped cleanly")) {
			b.Errorf("run: %s", stderr.Bytes())
		}
	}()
	client := api.Dial(filepath.Join(state, "api.sock"))
	rows := awaitProcess(b, client)
	stop := func() {}
	if saturated {
		stop = h.produce(b)
	}
	begin := time.Now()
	var took []time.Duration
	for b.Loop() {
		took = append(took, ask(b, client, "/v1/account?id="+benchAccount(len(took)), nil))
	}
	wall := time.Since(begin)
	var status api.Status
	ask(b, client, "/v1/status", &status)
	stop()
	reportLatency(b, took)
	b.ReportMetric(float64(status.Process.Rows-rows)/wall.Seconds(), "rows/s")
}

// awaitProcess returns how many rows the process has read once it answers.
func awaitProcess(b *testing.B, client *http.Client) uint64 {
	for range 500 {
		resp, err := client.Get("http://billctl/v1/status")
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		var status api.Status
		err = json.NewDecoder(resp.Body).Decode(&status)
		if cerr := resp.Body.Close(); err != nil || cerr != nil {
			b.Fatal(err, cerr)
		}
		return status.Process.Rows
	}
	b.Fatal("the process does not answer")
	return 0
}

// ask returns how long an answer took.
func ask(b *testing.B, client *http.Client, path string, to any) time.Duration {
	begin := time.Now()
	resp, err := client.Get("http://billctl" + path)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	took := time.Since(begin)
	if cerr := resp.Body.Close(); err != nil || cerr != nil || resp.StatusCode != http.StatusOK {
		b.Fatal(err, cerr, resp.Status)
	}
	if to != nil {
		if err := json.Unmarshal(body, to); err != nil {
			b.Fatal(err)
		}
	}
	return took
}

// produce appends to a log, whole files of new usage at once, until it is stopped. The events are
// those of another seed, made before, so that the producer itself costs little.
func (h *benchHouse) produce(b *testing.B) (stop func()) {
	usage := benchUsage(8, 4*benchLines, lately())
	var buf bytes.Buffer
	if _, err := usage.WriteNDJSON(&buf); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			f, err := os.OpenFile(filepath.Join(h.dir, "usage", "more.ndjson"),
				os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(buf.Bytes())
			<-ctx.Done()
			return err
		}()
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}

func reportLatency(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Nanoseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(at(1), "max-µs")
}

func benchBinary(b *testing.B) string {
	path := filepath.Join(b.TempDir(), "billctl")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		b.Fatalf("build the program: %v\n%s", err, out)
	}
	return path
}

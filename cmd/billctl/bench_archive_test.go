package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"billctl/fixtures"
)

// BenchmarkReplayArchive proves an archive of 300,000 rows, in a process of its own. The peer in
// the same run, a process as well, is a replay of the journal that the archive was made of; one
// without work shows what a process costs.
func BenchmarkReplayArchive(b *testing.B) {
	h := newBenchHouse(b, benchFrom)
	binary := benchBinary(b)
	state, audit := filepath.Join(h.dir, "state"), filepath.Join(h.dir, "audit")
	h.must(b, state, "catalog", "apply")
	h.must(b, state, "run", "--until-eof")
	h.must(b, state, "archive", "write", audit)
	var archive, journal, nothing process
	for b.Loop() {
		archive.run(b, binary, "replay", audit)
		journal.run(b, binary, "replay", state)
		nothing.run(b, binary, "version")
	}
	rows := float64(b.N) * benchLines
	archive.report(b, rows)
	b.ReportMetric((journal.cpu-nothing.cpu).Seconds()/(archive.cpu-nothing.cpu).Seconds(),
		"journal-ratio")
	b.ReportMetric(float64(sizeOf(b, audit))/benchLines, "archive-B/row")
	b.ReportMetric(float64(sizeOf(b, filepath.Join(state, "journal")))/benchLines, "journal-B/row")
}

// BenchmarkRateParquet rates Parquet files that DuckDB wrote of the same log. The peer in the same
// run is billctl rate of the NDJSON.
func BenchmarkRateParquet(b *testing.B) {
	duck, err := fixtures.NewDuckDB()
	if errors.Is(err, fixtures.ErrNoDuckDB) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	h := newBenchHouse(b, benchFrom)
	binary := benchBinary(b)
	state := filepath.Join(h.dir, "state")
	h.must(b, state, "catalog", "apply")
	h.must(b, state, "run", "--until-eof")
	// The log has lines that are malformed on purpose: DuckDB gets the events that are not.
	events, lines := filepath.Join(h.dir, "events.parquet"), filepath.Join(h.dir, "events.ndjson")
	h.must(b, state, "export", "--to", events)
	h.must(b, state, "export", "--to", lines)
	catalog := filepath.Join(h.dir, "catalog")
	for _, codec := range []string{"zstd", "snappy"} {
		b.Run(codec, func(b *testing.B) {
			file := codec + ".parquet"
			_, err := duck.Query(b.Context(), h.dir, "SET TimeZone = 'UTC'", fmt.Sprintf(
				"COPY (FROM 'events.parquet') TO '%s' (FORMAT parquet, COMPRESSION %s)", file, codec))
			if err != nil {
				b.Fatal(err)
			}
			var parquet, ndjson process
			for b.Loop() {
				parquet.run(b, binary, "rate", filepath.Join(h.dir, file), "--catalog", catalog)
				ndjson.run(b, binary, "rate", lines, "--catalog", catalog)
			}
			parquet.report(b, float64(b.N)*benchLines)
			b.ReportMetric(ndjson.cpu.Seconds()/parquet.cpu.Seconds(), "ndjson-ratio")
			b.ReportMetric(float64(sizeOf(b, filepath.Join(h.dir, file)))/benchLines, "parquet-B/row")
		})
	}
}

// process measures child processes.
type process struct {
	wall, cpu time.Duration
	peak      int64 // bytes of memory
}

func (p *process) run(b *testing.B, binary string, args ...string) {
	b.Helper()
	c := exec.Command(binary, args...)
	c.Dir = os.TempDir() // where there is no configuration
	begin := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", args, err, out)
	}
	p.wall += time.Since(begin)
	p.cpu += c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	if u, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.peak = max(p.peak, u.Maxrss*1024) // Linux counts in KiB
	}
}

func (p *process) report(b *testing.B, rows float64) {
	b.ReportMetric(0, "ns/op") // an operation is as long as benchLines makes it
	b.ReportMetric(float64(p.cpu.Nanoseconds())/rows, "cpu-ns/row")
	b.ReportMetric(rows/p.wall.Seconds(), "rows/s")
	b.ReportMetric(float64(p.peak)/(1<<20), "peak-MiB")
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/api"
)

const (
	liveRateMax = 20_000 // events a second that the generator makes beside a run on two processors
	liveDayMax  = 100_000
	liveTick    = 100 * time.Millisecond
	// liveGrace is how long a run that was told to stop may take until it is killed.
	liveGrace = 20 * time.Second
	// liveRestart is how long the demo waits before it starts a run that somebody killed again.
	liveRestart = 3 * time.Second
)

// liveBudgets are reached one by one while the demo goes on.
const liveBudgets = `budgets:
  - {key: spend, currency: EUR, limit: "2500", at: [50, 80, 100]}
  - {key: requests-cap, account: acct_0001, meter: requests, limit: 5000, at: [80, 100]}
`

// liveFlags are the flags of demo --live.
type liveFlags struct {
	rate    int // events a second
	history int // events of a working day before now
}

// live bills usage of now until it is interrupted.
func (d *demo) live(args []string, f *liveFlags) error {
	if f.rate < 1 || f.rate > liveRateMax {
		return usageError(fmt.Sprintf("--rate %d is not from 1 to %d", f.rate, liveRateMax))
	}
	if f.history < 0 || f.history > liveDayMax {
		return usageError(fmt.Sprintf("--history %d is not from 0 to %d", f.history, liveDayMax))
	}
	if err := d.makeDir(args); err != nil {
		return err
	}
	if dir, err := filepath.Abs(d.dir); err == nil {
		d.dir = dir // it is typed in another terminal
	}
	if err := d.fill(time.Now().UTC(), f.history); err != nil {
		return err
	}
	if err := d.do(4, "catalog", "apply"); err != nil {
		return err
	}
	run, err := d.startRun()
	if err != nil {
		return err
	}
	err = d.goLive(run, f.rate)
	if d.s.ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		d.tell("Stopped. All of it lies in %s; look at it again, read-only:", d.dir)
		return d.s.lines("billctl tui --state " + filepath.Join(d.dir, "state"))
	}
	return err
}

// fill writes configuration, accounts, and the usage of last month and of this one so far.
func (d *demo) fill(now time.Time, perDay int) error {
	begin := time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC)
	f, err := os.Create(filepath.Join(d.dir, "usage", "before.ndjson"))
	if err != nil {
		return fmt.Errorf("write usage: %w", err)
	}
	lines, seed := int64(0), uint64(1)
	for day := begin; day.Before(now); day = day.AddDate(0, 0, 1) {
		to := day.AddDate(0, 0, 1)
		events := int64(perDay) * eventsOf(day, now) / 100
		if to.After(now) {
			events = events * int64(now.Sub(day)/time.Second) / 86400
			to = now
		}
		if events == 0 {
			continue
		}
		err = errors.Join(err, writeUsage(f, fixtures.UsageConfig{
			Seed: seed, Events: events, Accounts: demoAccounts, From: micros(day), To: micros(to),
		}))
		lines += events
		seed++
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	d.tell("%s events from %s to now, for %d accounts, are in %s/usage", grouped(uint64(lines)),
		begin.Format(time.DateOnly), demoAccounts, d.dir)
	return errors.Join(
		d.write("billctl.yaml", fixtures.Config()),
		d.write("catalog/budgets.yaml", []byte(liveBudgets)),
		d.write("catalog/accounts.yaml", fixtures.AccountsYAML(liveAccounts(begin.AddDate(0, -1, 0)))))
}

// eventsOf returns how busy a day is, in percent: weekends are calm, and business grows.
func eventsOf(day, now time.Time) int64 {
	percent := int64(100)
	if w := day.Weekday(); w == time.Saturday || w == time.Sunday {
		percent = 45
	}
	if day.Month() != now.Month() {
		percent = percent * 80 / 100
	}
	r := rand.New(rand.NewPCG(demoSeed, uint64(day.Unix())))
	return percent * (85 + r.Int64N(30)) / 100
}

// liveAccounts are those of the demo, subscribed from a month on. Names have more than ASCII, as
// names do. Which accounts have a second subject depends on the seed of the usage, so all have one.
func liveAccounts(from time.Time) []fixtures.DemoAccount {
	list := fixtures.Accounts(demoAccounts, demoSeed)
	list[2].Name, list[6].Name = "株式会社さくらデザイン", "Zoë & Söhne"
	list[8].Name, list[11].Name = "Rocket 🚀 Robotics", "Café Ångström"
	for i := range list {
		a := &list[i]
		a.From, a.To = from.Format(time.DateOnly), ""
		if len(a.Subjects) == 1 {
			a.Subjects = append(a.Subjects, a.ID+"-dev")
		}
	}
	return list
}

func micros(t time.Time) engine.Micros { return engine.Micros(t.UnixMicro()) }

// writeUsage appends generated usage.
func writeUsage(f io.Writer, c fixtures.UsageConfig) error {
	_, err := fixtures.NewUsage(c).WriteNDJSON(f)
	return err
}

// liveRun is the run that the demo has started.
type liveRun struct {
	cmd   *exec.Cmd
	ended chan error
}

// startRun starts a run beside this process. It gets the Ctrl-C of the terminal as well.
func (d *demo) startRun() (*liveRun, error) {
	c := d.command("run")
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = liveGrace
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	r := &liveRun{c, make(chan error, 1)}
	go func() { r.ended <- c.Wait() }()
	return r, nil
}

// goLive appends usage until the demo is interrupted, and has a run on it all the time.
func (d *demo) goLive(run *liveRun, rate int) error {
	defer func() { <-run.ended }() // it was told to stop, or failed
	if err := d.caughtUp(run); err != nil {
		return err
	}
	state := filepath.Join(d.dir, "state")
	d.tell("%d new events a second, until Ctrl-C. In another terminal:", rate)
	err := d.s.lines(
		"billctl tui --state "+state,
		fmt.Sprintf("kill -9 %d          # the run: it is started again, and no figure goes back",
			run.cmd.Process.Pid))
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(d.dir, "usage", "now.ndjson"))
	if err != nil {
		return fmt.Errorf("write usage: %w", err)
	}
	defer f.Close() // every write was looked at
	ticker := time.NewTicker(liveTick)
	defer ticker.Stop()
	begin, written, last := time.Now(), int64(0), time.Now()
	for seed := uint64(1 << 32); ; seed++ {
		select {
		case <-d.s.ctx.Done():
			return nil
		case err := <-run.ended:
			next, err := d.restart(err)
			if next == nil {
				run.ended <- nil // for the end of this function
				return err
			}
			*run = *next
		case now := <-ticker.C:
			events := int64(now.Sub(begin).Seconds()*float64(rate)) - written
			if events <= 0 || !last.Before(now.Add(-time.Millisecond)) {
				continue
			}
			if err := writeUsage(f, fixtures.UsageConfig{
				Seed: seed, Events: events, Accounts: demoAccounts, Disorder: 1000,
				From: micros(last), To: micros(now),
			}); err != nil {
				return err
			}
			written, last = written+events, now
		}
	}
}

// restart starts a run again that somebody has killed; nil: the demo is over.
func (d *demo) restart(ended error) (*liveRun, error) {
	var exit *exec.ExitError
	killed := errors.As(ended, &exit) && !exit.Exited()
	switch {
	case d.s.ctx.Err() != nil:
		return nil, nil
	case !killed:
		return nil, fmt.Errorf("billctl run ended by itself: %w", ended)
	}
	d.tell("The run was killed; it starts again in %s.", liveRestart)
	select {
	case <-d.s.ctx.Done():
		return nil, nil
	case <-time.After(liveRestart):
	}
	run, err := d.startRun()
	if err == nil {
		fmt.Fprintf(d.s.stdout, "kill -9 %d\n", run.cmd.Process.Pid)
	}
	return run, err
}

// caughtUp waits until the run has billed what was written before.
func (d *demo) caughtUp(run *liveRun) error {
	socket := filepath.Join(d.dir, "state", "api.sock")
	for {
		select {
		case <-d.s.ctx.Done():
			return d.s.ctx.Err()
		case err := <-run.ended:
			run.ended <- err
			return fmt.Errorf("billctl run ended by itself: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
		body, err := fetch(d.s.ctx, socket, "/v1/status", url.Values{})
		var status api.Status
		if err == nil && json.Unmarshal(body, &status) == nil &&
			strings.EqualFold(status.Position.Status, "live") {
			return nil
		}
	}
}

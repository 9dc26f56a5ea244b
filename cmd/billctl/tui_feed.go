package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"billctl/internal/api"
	"billctl/internal/live"
	"billctl/internal/store"
	"billctl/tui"
)

const (
	// lookEvery is how often a directory's feed looks whether a process has come.
	lookEvery = 2 * time.Second
	// lookPatience is how long a process may take to show that it is there.
	lookPatience = time.Second
	// askPatience is how long an answer may take: those that read the journal take long.
	askPatience = 30 * time.Second
)

// closingFeed is a feed that holds files.
type closingFeed interface {
	tui.Feed
	io.Closer
}

// openFeed returns the feed of what the arguments name: archive files, or a state directory,
// without arguments the configured one. It fails before a screen opens.
func (s *session) openFeed(args []string, month string) (closingFeed, error) {
	state := stateNamed(args)
	if len(args) > 0 && state == "" {
		if month != "" {
			return nil, usageError("--as-of is for a state directory, whose archive has openings")
		}
		return s.archiveFeed(args)
	}
	if len(args) > 1 {
		return nil, usageError("name one state directory, or archive files and directories: " +
			args[0] + " is a state directory")
	}
	if state != "" {
		s.stateDir = state
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if month != "" {
		desk, done, err := s.openAsOf(month)
		if err != nil {
			return nil, err
		}
		return newDeskFeed("directory "+s.stateDir+" as of "+month, desk, nil, nil, done), nil
	}
	return s.stateFeed()
}

// stateFeed returns the feed of the state directory, and says on stderr what people must hear of
// it.
func (s *session) stateFeed() (*stateFeed, error) {
	f := &stateFeed{s: s, client: api.Dial(s.socket()), looked: time.Now()}
	found, err := f.answers(s.ctx)
	switch {
	case found:
		return f, nil
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("ask %s: %w", s.socket(), err)
	case s.ctx.Err() != nil:
		return nil, s.ctx.Err()
	}
	return f, f.restore(func(notice string) { s.say("note: %s", notice) })
}

// stateFeed answers from a state directory: by the process that runs on it, else from the directory
// itself. Once a process has answered it waits for one: figures that were shown never go back.
type stateFeed struct {
	s      *session
	client *http.Client

	mu     sync.RWMutex
	desk   *deskFeed // nil: a process answers, or did
	looked time.Time
	pause  time.Duration // until the next look
}

// Where returns what answers.
func (f *stateFeed) Where() string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.desk != nil {
		return f.desk.Where()
	}
	return "process on " + f.s.stateDir
}

// Ask answers a question.
func (f *stateFeed) Ask(ctx context.Context, path string, params url.Values) ([]byte, error) {
	if err := f.look(ctx); err != nil {
		return nil, err
	}
	f.mu.RLock()
	if f.desk != nil {
		defer f.mu.RUnlock()
		return f.desk.Ask(ctx, path, params)
	}
	f.mu.RUnlock()
	return f.askProcess(ctx, path, params)
}

// Close closes what the feed has opened.
func (f *stateFeed) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.client.CloseIdleConnections()
	if f.desk == nil {
		return nil
	}
	err := f.desk.Close()
	f.desk = nil
	return err
}

// askProcess asks the process; who does not answer is gone.
func (f *stateFeed) askProcess(
	ctx context.Context, path string, params url.Values,
) ([]byte, error) {
	patient, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	gone := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err() // nobody waits for the answer any more
		}
		return fmt.Errorf("%w: %w", tui.ErrGone, err)
	}
	resp, err := f.client.Do(request(patient, path, params))
	if err != nil {
		return nil, gone(err)
	}
	defer resp.Body.Close() // read only
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, gone(err)
	}
	return screenAnswer(resp.StatusCode, path, body)
}

// answers reports whether a process answers. The error says why not.
func (f *stateFeed) answers(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	_, err := f.askProcess(ctx, "/v1/status", nil)
	return err == nil, err
}

// look finds out, now and then, whether a process has come to the directory that answers. Without
// one the directory is read again where its journal has grown: by a run that is over already.
func (f *stateFeed) look(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.desk == nil || time.Since(f.looked) < max(lookEvery, f.pause) {
		return nil
	}
	f.looked = time.Now()
	if found, _ := f.answers(ctx); found {
		desk := f.desk
		f.desk = nil
		return desk.Close()
	}
	if !f.desk.grown() {
		return nil
	}
	before := f.desk
	if err := f.restore(func(string) {}); err != nil {
		return fmt.Errorf("%w: %w", tui.ErrGone, err)
	}
	return before.Close()
}

// restore opens the directory and answers from it. To restore a great one again and again would do
// nothing else, so the next look waits ten times as long as this took.
func (f *stateFeed) restore(note func(string)) error {
	begin := time.Now()
	fsys, err := store.OS(f.s.stateDir)
	if err != nil {
		return f.s.inState(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		return f.s.inState(err)
	}
	journal := journalEnd(dir)
	desk, err := live.ReadDesk(dir)
	if err != nil {
		return f.s.inState(errors.Join(err, dir.Close()))
	}
	for _, n := range desk.Notices() {
		note(n)
	}
	var sinks []string
	for _, c := range f.s.config.Sinks {
		sinks = append(sinks, c.Name)
	}
	done := func() error { return errors.Join(desk.Close(), dir.Close()) }
	grown := func() bool { return journalEnd(dir) != journal }
	f.desk = newDeskFeed("directory "+f.s.stateDir, desk, sinks, grown, done)
	f.looked = time.Now()
	f.pause = 10 * f.looked.Sub(begin)
	return nil
}

// journalEnd returns where the journal of a directory ends; the zero Segment where that is not
// known.
func journalEnd(dir *store.Dir) store.Segment {
	list, err := dir.Segments()
	if err != nil || len(list) == 0 {
		return store.Segment{} // who reads the journal will say why
	}
	return slices.MaxFunc(list, func(a, b store.Segment) int { return int(a.First) - int(b.First) })
}

// deskFeed answers from a desk that no process keeps.
type deskFeed struct {
	name    string
	handler http.Handler
	grown   func() bool
	done    func() error
}

// newDeskFeed returns the feed of a desk, which done closes. grown tells whether there is more than
// the desk shows; nil: there never is.
func newDeskFeed(
	name string, desk *live.Desk, sinks []string, grown func() bool, done func() error,
) *deskFeed {
	if grown == nil {
		grown = func() bool { return false }
	}
	return &deskFeed{name, api.Handler(desk, sinks), grown, done}
}

// Where returns what answers.
func (d *deskFeed) Where() string { return d.name }

// Ask answers a question.
func (d *deskFeed) Ask(ctx context.Context, path string, params url.Values) ([]byte, error) {
	rec := &recorder{status: http.StatusOK, header: http.Header{}}
	d.handler.ServeHTTP(rec, request(ctx, path, params))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return screenAnswer(rec.status, path, rec.body.Bytes())
}

// Close closes the desk.
func (d *deskFeed) Close() error { return d.done() }

// screenAnswer turns an answer that says no into an error for the screen.
func screenAnswer(status int, path string, body []byte) ([]byte, error) {
	var fail api.Failure
	switch err := json.Unmarshal(body, &fail); {
	case status == http.StatusOK:
		return body, nil
	case status == http.StatusServiceUnavailable:
		return nil, fmt.Errorf("%w: the process is about to end", tui.ErrGone)
	case err == nil && fail.Error.Message != "":
		return nil, &tui.Failure{
			Code: fail.Error.Code, Message: fail.Error.Message, Hint: fail.Error.Hint,
		}
	case status == http.StatusNotFound:
		return nil, &tui.Failure{
			Code: api.NotFound, Message: "the process does not know " + path + ": it is an older billctl",
			Hint: "start it again with this one",
		}
	}
	return nil, &tui.Failure{
		Code: api.Internal, Message: fmt.Sprintf("the answer to %s has status %d", path, status),
	}
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"billctl/internal/api"
	"billctl/internal/live"
	"billctl/internal/store"
)

// putControls writes control files and sees them journaled, one after the other, for each builds on
// those before it: by the process that holds the state directory, or by this one. It returns, for
// each file, which of its corrections were rejected.
func (s *session) putControls(files [][]byte) ([][]live.Judged, error) {
	var all [][]live.Judged
	for i, payload := range files {
		judged, err := s.sequence(payload)
		var locked *store.LockedError
		if errors.As(err, &locked) {
			judged, err = s.handOver(payload)
		}
		if err != nil {
			if i > 0 {
				s.say("note: %d of %d parts were applied before", i, len(files))
			}
			return all, err
		}
		all = append(all, judged)
	}
	return all, nil
}

// sequence journals a control file with a run of its own.
func (s *session) sequence(payload []byte) (judged []live.Judged, err error) {
	var name string
	refused := map[string]string{}
	err = s.withRun(&runFlags{}, true, func(o *live.Options) (err error) {
		o.UntilEOF = true
		o.Refused = func(name, why string) { refused[name] = why }
		o.Judged = func(of string, list []live.Judged) {
			if of == name {
				judged = list
			}
		}
		name, _, err = o.State.Dir.PutControl(payload)
		return err
	})
	if why, ok := refused[name]; ok && err == nil {
		return nil, refusal(why)
	}
	return judged, err
}

func refusal(why string) error {
	return &exitError{code: exitFailed, text: why, hint: "nothing of it was applied"}
}

// handOver leaves a control file to the process that holds the state directory.
func (s *session) handOver(payload []byte) ([]live.Judged, error) {
	fsys, err := store.OS(s.stateDir)
	if err != nil {
		return nil, s.inState(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		return nil, s.inState(err)
	}
	name, _, err := dir.PutControl(payload)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, s.inState(err)
	}
	return s.awaitApplied(name)
}

// notApplied says what is with a control file that was not applied in time: it waits, or the
// process that took it up refused it and has ended since.
func (s *session) notApplied(name string) error {
	fsys, err := store.OS(s.stateDir)
	if err != nil {
		return s.inState(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		return s.inState(err)
	}
	waiting, err := dir.Controls()
	if err = errors.Join(err, dir.Close()); err != nil {
		return s.inState(err)
	}
	if slices.Contains(waiting, name) {
		return &exitError{
			code: exitFailed, text: "the running process has not taken up control file " + name[:12],
			hint: "it will when it can; look at billctl query status",
		}
	}
	return &exitError{
		code: exitFailed, text: "another process refused control file " + name[:12] + " and has ended",
		hint: "nothing of it was applied; that process said why, and so does this command once more",
	}
}

// patience is how long a command waits for the running process to take a control file up.
const patience = 10 * time.Second

// awaitApplied asks what became of a control file until something did.
func (s *session) awaitApplied(name string) ([]live.Judged, error) {
	until := time.Now().Add(patience)
	for {
		body, err := s.ask("/v1/control", url.Values{"name": {name}})
		if err != nil {
			return nil, err
		}
		var a api.Applied
		if err := json.Unmarshal(body, &a); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		switch {
		case a.State == "applied":
			return a.Judged()
		case a.State == "refused":
			return nil, refusal(a.Reason)
		case time.Now().After(until):
			return nil, s.notApplied(name)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"billctl/engine"
	"billctl/internal/live"
)

// archiveFeed replays archive files, with progress on stderr, and returns the feed of what they
// came to.
func (s *session) archiveFeed(paths []string) (*deskFeed, error) {
	h, done, err := s.archiveHistory(paths)
	if err != nil {
		return nil, err
	}
	bar := newProgress(s)
	start := time.Now()
	desk, err := live.ArchiveDesk(s.ctx, h, func(seq engine.Seq) {
		bar.line(fmt.Sprintf("replaying: position %s, %s", grouped(uint64(seq)),
			time.Since(start).Round(time.Second)))
	})
	bar.clear()
	var diverged *live.DivergedError
	if errors.As(err, &diverged) {
		err = &exitError{
			code: exitDiffers, text: "the archive diverged: " + err.Error(), err: err,
			hint: "an archive file was changed: billctl replay says more",
		}
	}
	if err != nil {
		return nil, errors.Join(err, done())
	}
	for _, n := range desk.Notices() {
		s.say("note: %s", n)
	}
	return newDeskFeed("archive "+strings.Join(paths, " "), desk, nil, nil,
		func() error { return errors.Join(desk.Close(), done()) }), nil
}

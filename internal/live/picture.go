package live

import (
	"context"
	"time"

	"billctl/engine"
)

// picture is a view and the running time at which it was taken.
type picture struct {
	view  *engine.View
	taken time.Duration
}

// How long a reader waits for the loop before it takes a picture that is a little older.
const (
	viewPatience = 200 * time.Microsecond
	viewAge      = time.Second
)

// View returns a picture of what is durable: of now, or, while the loop is in the middle of a
// commit, of the end of an earlier one at most a second ago. It fails with ctx, and after the end
// with ErrStopped.
func (r *Run) View(ctx context.Context) (*engine.View, error) {
	r.wanted.Store(true)
	timer := time.NewTimer(viewPatience)
	defer timer.Stop()
	reply := make(chan *engine.View, 1)
	for {
		select {
		case r.views <- reply:
			select {
			case v := <-reply:
				return v, nil
			case <-r.stopped: // taking the picture failed, and that ended the run
				return nil, ErrStopped
			}
		case <-r.stopped:
			return nil, ErrStopped
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			_, running := r.opts.Clock.Now()
			if p := r.picture.Load(); p != nil && running-p.taken < viewAge {
				return p.view, nil
			}
		}
	}
}

// show takes a picture for readers if any asked since the last one. All readers get pictures from
// here, so no answer is older than one before it.
//
// The journal says first, in the file, that what the picture shows is durable: if this process is
// killed, who reads the directory next sees no less.
func (r *Run) show() error {
	if !r.wanted.Swap(false) {
		return nil
	}
	if err := r.journal.Promise(); err != nil {
		return err
	}
	_, running := r.opts.Clock.Now()
	r.picture.Store(&picture{r.st.Shards.Pin(), running})
	return nil
}

// unpin lets an old picture go: it keeps copies of all that changed since.
func (r *Run) unpin() {
	_, running := r.opts.Clock.Now()
	if p := r.picture.Load(); p != nil && running-p.taken >= viewAge {
		r.picture.Store(nil)
	}
}

// settle makes what was said of rows durable, so that readers of the outbox see it: at least of all
// that a View shows which was taken before. It fails as View does.
func (r *Run) settle(ctx context.Context) error {
	reply := make(chan struct{})
	select {
	case r.settles <- reply:
	case <-r.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-reply:
		return nil
	case <-r.stopped: // it failed, and that ended the run
		return ErrStopped
	}
}

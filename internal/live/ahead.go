package live

import (
	"billctl/engine"
	"billctl/internal/store"
)

// ahead reads and decodes the entries of a journal in a goroutine of its own, a few before they
// are asked for, so that another processor does this work while entries are applied.
type ahead struct {
	entries chan decoded
	stop    chan struct{}
}

// decoded is an entry, or why there is none.
type decoded struct {
	entry *engine.Entry
	err   error
}

// readAhead begins to read. The reader is the goroutine's until close returns.
func readAhead(r *store.JournalReader) *ahead {
	a := &ahead{entries: make(chan decoded, 2), stop: make(chan struct{})}
	go func() {
		defer close(a.entries)
		for {
			var d decoded
			frame, err := r.Next()
			if d.err = err; err == nil {
				d.entry, d.err = decodeFrame(&frame)
			}
			select {
			case a.entries <- d:
			case <-a.stop:
				return
			}
			if d.err != nil {
				return
			}
		}
	}()
	return a
}

// next returns the next entry; not to be called again after an error.
func (a *ahead) next() (*engine.Entry, error) {
	d := <-a.entries
	return d.entry, d.err
}

// close ends the goroutine and waits for its end.
func (a *ahead) close() {
	close(a.stop)
	for range a.entries {
		continue // what was read and nobody wants
	}
}

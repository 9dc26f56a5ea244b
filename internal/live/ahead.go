package live

import (
	"billctl/engine"
)

// ahead reads and decodes the entries of a history in a goroutine of its own, a few before they
// are asked for, so that another processor does this work while entries are applied.
type ahead struct {
	entries chan decoded
	stop    chan struct{}
}

// decoded is an entry and where it was read, or why there is none.
type decoded struct {
	entry   *engine.Entry
	place   Place
	changed []error // files that hold other entries than they were written with, at their end
	altered []int   // rows whose digest does not fit; looked for in archive files only
	err     error
}

// readAhead begins to read. The entries are the goroutine's until close returns, which closes them.
func readAhead(r *Entries) *ahead {
	a := &ahead{entries: make(chan decoded, 2), stop: make(chan struct{})}
	go func() {
		defer close(a.entries)
		defer r.Close() // read only
		var digests []uint64
		for {
			var d decoded
			d.entry, d.err = r.Next()
			d.changed, r.changed = r.changed, nil
			d.place = r.Place()
			if b, ok := batchOf(d.entry); ok && r.Archived() {
				// The frames of the journal have checksums, a file of the archive was anywhere.
				d.altered, digests = alteredRows(b, digests)
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

func batchOf(e *engine.Entry) (*engine.Batch, bool) {
	if e == nil {
		return nil, false
	}
	b, ok := e.Body.(*engine.Batch)
	return b, ok
}

// next returns the next entry; not to be called again after an error.
func (a *ahead) next() decoded { return <-a.entries }

// close ends the goroutine and waits for its end.
func (a *ahead) close() {
	close(a.stop)
	for range a.entries {
		continue // what was read and nobody wants
	}
}

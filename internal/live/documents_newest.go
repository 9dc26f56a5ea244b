package live

import (
	"errors"
	"hash/maphash"
	"io"
	"sync"

	"billctl/internal/store"
)

// NewestDocuments calls f with the issued documents, the newest first, until it returns false:
// those that lie before the one with a key ("": all), of an account ("": any). It fails with
// ErrNoDocument where there is no document with the key.
func (d *Desk) NewestDocuments(before, account string, f func(Document) bool) error {
	limit := d.st.Outbox.Durable()
	if before != "" {
		_, pos, found, err := d.st.Outbox.Find(before)
		if err != nil {
			return err
		}
		if !found {
			return ErrNoDocument
		}
		limit = pos
	}
	if account != "" {
		return d.documentsOf(account, limit, f)
	}
	r := d.st.Outbox.ReadBack()
	r.To(limit)
	for {
		rec, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.giveDocument(&rec, f) {
			return nil
		}
	}
}

// ErrNoDocument says that no document has a key.
var ErrNoDocument = errors.New("there is no such document")

// giveDocument calls f with a record if it is a document that the answers may speak of.
func (d *Desk) giveDocument(rec *store.OutboxRecord, f func(Document) bool) bool {
	if rec.Kind != store.DocumentRecord || rec.Seq > d.through() {
		return true
	}
	return f(Document{rec.Key, rec.Account, rec.Seq, rec.Body})
}

// documentsOf is NewestDocuments of one account.
func (d *Desk) documentsOf(account string, limit int64, f func(Document) bool) error {
	positions, err := d.kept.documents.of(d.st.Outbox, account)
	if err != nil {
		return err
	}
	for _, pos := range positions {
		if pos >= limit {
			continue
		}
		rec, err := d.st.Outbox.At(pos)
		if err != nil {
			return err
		}
		if rec.Account == account && !d.giveDocument(&rec, f) {
			return nil
		}
	}
	return nil
}

// documentIndex knows where the documents of every account lie in the outbox: 16 bytes for each
// document, from the first question about an account on.
type documentIndex struct {
	mu      sync.Mutex
	seed    maphash.Seed
	through int64 // records before it are known
	list    []indexedDocument
	last    map[uint64]int32 // index in list of an account's last document, by the hash of its id
}

type indexedDocument struct {
	pos    int64
	before int32 // index in list of the account's one before; -1: none
}

// of returns the positions of the documents of an account, and perhaps of a few others, the newest
// first.
func (x *documentIndex) of(o *store.Outbox, account string) ([]int64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last == nil {
		x.seed, x.last = maphash.MakeSeed(), map[uint64]int32{}
	}
	r := o.Read(x.through)
	defer r.Close() // read only
	for {
		rec, pos, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		x.through = pos + 1
		if rec.Kind != store.DocumentRecord {
			continue
		}
		h := maphash.String(x.seed, rec.Account)
		before, known := x.last[h]
		if !known {
			before = -1
		}
		x.last[h] = int32(len(x.list))
		x.list = append(x.list, indexedDocument{pos, before})
	}
	var out []int64
	if i, known := x.last[maphash.String(x.seed, account)]; known {
		for ; i >= 0; i = x.list[i].before {
			out = append(out, x.list[i].pos)
		}
	}
	return out, nil
}

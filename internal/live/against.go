package live

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// The kinds of Reference.
const (
	OutboxReference    = "state"     // the outbox of a state directory
	DirectoryReference = "directory" // invoices as a directory sink delivered them
	ArchiveReference   = "archive"   // what the replay of other archive files gives
)

// Reference is documents that those of a replay are compared with. It keeps a digest of each, and
// reads the one that differs once more.
type Reference struct {
	Name  string
	Kind  string
	Left  int    // files of a directory that are no documents, and were left out
	Audit *Audit // of the replay of an ArchiveReference

	month  *MonthReplay // nil: all documents
	docs   map[string]refDocument
	load   func(ctx context.Context, key string, d refDocument) ([]byte, error)
	result Comparison
	here   []byte // the document of the replay that differs first
}

// refDocument is one document of a Reference.
type refDocument struct {
	digest [sha256.Size]byte
	path   string // in a directory
	at     int64  // position in an outbox
	seen   bool   // the replay gave it
}

// Comparison is what became of the documents of a replay and those of a Reference.
type Comparison struct {
	Equal     uint64
	Differing uint64
	First     *Difference // the first that differs
	// Lacking documents the replay gives and the reference does not have.
	Lacking      uint64
	FirstLacking string // key, in the order of the replay
	// Extra documents the reference has and the replay does not give.
	Extra      uint64
	FirstExtra string // least key
	// Outside are documents of the month that a replay of the month can't give: those issued before
	// its opening.
	Outside uint64
}

// Same reports whether nothing differs.
func (c *Comparison) Same() bool { return c.Differing+c.Lacking+c.Extra == 0 }

// OpenReference reads the documents of a state directory, of a directory of delivered invoices, or
// of archive files and directories of them, which are replayed with so many shards. month, if not
// nil, chooses the documents whose period begins in it; the replay that is compared with them has
// to go to the end of its history, since some may come long after the month.
func OpenReference(
	ctx context.Context, paths []string, month *MonthReplay, shards int, progress func(engine.Seq),
) (*Reference, error) {
	r := &Reference{Name: paths[0], month: month, docs: map[string]refDocument{}}
	var err error
	archive, stateDir := isArchive(paths[0]), StateOf(paths[0])
	switch {
	case archive:
		r.Kind = ArchiveReference
		err = r.readArchive(ctx, paths, shards, progress)
	case len(paths) > 1:
		return nil, fmt.Errorf("read %s: only archive files can be several", paths[0])
	case stateDir != "":
		r.Kind = OutboxReference
		err = r.readState(ctx, stateDir)
	default:
		r.Kind = DirectoryReference
		err = r.readDirectory(ctx, paths[0])
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// StateOf returns the state directory that a path names: itself, or that of its journal; "" if it
// names none.
func StateOf(path string) string {
	path = filepath.Clean(path)
	dirs := []string{path}
	if filepath.Base(path) == "journal" {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "genesis")); err == nil {
			return dir
		}
	}
	return ""
}

// isArchive reports whether a path is a Parquet file or a directory that holds one.
func isArchive(path string) bool {
	if strings.HasSuffix(path, ".parquet") {
		return true
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return false // which is said when it is read as something else
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".parquet") {
			return true
		}
	}
	return false
}

// Compare takes one document of the replay.
func (r *Reference) Compare(key string, body []byte) {
	d, found := r.docs[key]
	switch {
	case !found:
		if r.result.Lacking == 0 {
			r.result.FirstLacking = key
		}
		r.result.Lacking++
		return
	case d.digest == sha256.Sum256(body):
		r.result.Equal++
	default:
		if r.result.Differing == 0 {
			r.result.First, r.here = &Difference{Key: key}, append([]byte(nil), body...)
		}
		r.result.Differing++
	}
	d.seen = true
	r.docs[key] = d
}

// Result returns what the comparison found, once the replay has given every document.
func (r *Reference) Result(ctx context.Context) (*Comparison, error) {
	c := &r.result
	for key, d := range r.docs {
		if d.seen {
			continue
		}
		if k, known := parseKey(key); known && r.outside(&k) {
			c.Outside++
			continue
		}
		if c.Extra == 0 || key < c.FirstExtra {
			c.FirstExtra = key
		}
		c.Extra++
	}
	if c.First == nil {
		return c, nil
	}
	there, err := r.load(ctx, c.First.Key, r.docs[c.First.Key])
	if err != nil {
		return nil, err
	}
	first := compareDocuments(r.here, there)
	first.Key = c.First.Key
	c.First = &first
	return c, nil
}

// outside reports whether the replay of the month can't give the document.
func (r *Reference) outside(k *documentKey) bool {
	return r.month != nil && r.month.issuedBefore(k)
}

// put takes one document in.
func (r *Reference) put(key string, body []byte, d refDocument) {
	if r.month != nil {
		if k, known := parseKey(key); known && !r.month.Has(k.date) {
			return
		}
	}
	d.digest = sha256.Sum256(body)
	r.docs[key] = d
}

func (r *Reference) readState(ctx context.Context, stateDir string) error {
	err := eachDocument(stateDir, 0, func(rec *store.OutboxRecord, pos int64) error {
		r.put(rec.Key, rec.Body, refDocument{at: pos})
		return ctx.Err()
	})
	r.load = func(_ context.Context, _ string, d refDocument) (body []byte, err error) {
		err = eachDocument(stateDir, d.at, func(rec *store.OutboxRecord, _ int64) error {
			body = rec.Body
			return io.EOF
		})
		return body, err
	}
	return err
}

// eachDocument calls f with the documents of an outbox from a position on, until f returns io.EOF.
func eachDocument(
	stateDir string, from int64, f func(rec *store.OutboxRecord, pos int64) error,
) (err error) {
	fsys, err := store.OS(stateDir)
	if err != nil {
		return err
	}
	dir, err := store.OpenReadOnly(fsys)
	if err != nil {
		return fmt.Errorf("state %s: %w", stateDir, err)
	}
	defer dir.Close() // read only
	outbox, err := dir.OpenOutbox()
	if err != nil {
		return fmt.Errorf("state %s: %w", stateDir, err)
	}
	defer outbox.Close() // read only
	rows := outbox.Read(from)
	defer rows.Close() // read only
	for {
		rec, pos, err := nextDocument(rows)
		if err == nil {
			err = f(&rec, pos)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("state %s: %w", stateDir, err)
		}
	}
}

// readDirectory reads the files that a directory sink wrote.
func (r *Reference) readDirectory(ctx context.Context, root string) error {
	info, err := os.Stat(root)
	if err != nil {
		return fmt.Errorf("read reference: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("read reference: %s is neither a directory nor a *.parquet file", root)
	}
	fsys := os.DirFS(root)
	r.load = func(_ context.Context, _ string, d refDocument) ([]byte, error) {
		return fs.ReadFile(fsys, d.path)
	}
	total := 0
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name == ".tmp": // what a sink had under way
			return fs.SkipDir
		case d.IsDir():
			return ctx.Err()
		case formats.IsAlertFile(path.Base(name)):
			return nil
		case !d.Type().IsRegular() || strings.Count(name, "/") != 2 || path.Ext(name) != ".json":
			r.Left++
			return nil
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		key, err := keyOfFile(name, body)
		if err != nil {
			return err
		}
		total++
		r.put(key, body, refDocument{path: name})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read reference %s: %w", root, err)
	}
	if total == 0 {
		return fmt.Errorf("read reference %s: no invoice is there, neither "+
			"<account>/<subscription>/<start>.<kind>.json nor a state nor archive files", root)
	}
	return nil
}

// keyOfFile returns the key of the document in a file of a directory sink, by the file's name, so
// that a document that was changed is still the one it was. A part that was too long for a name is
// in the document only.
func keyOfFile(name string, body []byte) (string, error) {
	if strings.Contains(name, "~") {
		var doc struct {
			Key string `json:"key"`
		}
		if err := json.Unmarshal(body, &doc); err != nil || doc.Key == "" {
			return "", fmt.Errorf("%s is no document of billctl: it has no key", name)
		}
		return doc.Key, nil
	}
	parts := strings.Split(strings.TrimSuffix(name, ".json"), "/")
	for i, p := range parts {
		if rest, found := strings.CutPrefix(p, "%2E"); found {
			parts[i] = "." + rest
		}
	}
	last := len(parts) - 1
	dot := strings.LastIndexByte(parts[last], '.')
	if dot < 0 {
		return "", fmt.Errorf("%s is no document of billctl: its name says no kind", name)
	}
	parts[last] = parts[last][:dot] + "/" + parts[last][dot+1:]
	return strings.Join(parts, "/"), nil
}

// readArchive replays archive files.
func (r *Reference) readArchive(
	ctx context.Context, paths []string, shards int, progress func(engine.Seq),
) error {
	replay := func(emit func(key string, body []byte) error) (*Audit, error) {
		h, err := OpenArchive(paths)
		if err != nil {
			return nil, err
		}
		o := ReplayOptions{Shards: shards, Progress: progress}
		if r.month != nil {
			m, err := h.Month(r.month.Month)
			if err != nil {
				return nil, err
			}
			o.Opening = m.Opening
		}
		o.Emit = func(_ *engine.Entry, inv *engine.Invoice) error {
			if r.month != nil && !r.month.Has(inv.StartDate) {
				return nil
			}
			return emit(formats.InvoiceKey(inv), formats.AppendInvoice(nil, inv))
		}
		return Replay(ctx, h, o)
	}
	var err error
	r.Audit, err = replay(func(key string, body []byte) error {
		r.put(key, body, refDocument{})
		return nil
	})
	r.load = func(_ context.Context, wanted string, _ refDocument) (found []byte, err error) {
		_, err = replay(func(key string, body []byte) error {
			if key == wanted {
				found = body
				return io.EOF
			}
			return nil
		})
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return found, err
	}
	return err
}

// documentKey is the parts of a document's key.
type documentKey struct {
	account, subscription, date string
	kind                        engine.DocumentKind
}

// parseKey reads a key that formats.InvoiceKey wrote.
func parseKey(key string) (documentKey, bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 {
		return documentKey{}, false
	}
	for i := range parts {
		p, err := url.PathUnescape(parts[i])
		if err != nil {
			return documentKey{}, false
		}
		parts[i] = p
	}
	for _, kind := range []engine.DocumentKind{
		engine.PeriodInvoice, engine.StartInvoice, engine.CorrectionInvoice,
	} {
		if kind.String() == parts[3] {
			return documentKey{parts[0], parts[1], parts[2], kind}, true
		}
	}
	return documentKey{}, false
}

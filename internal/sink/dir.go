package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"billctl/internal/live"
)

var _ live.Sink = (*Dir)(nil)

// Conflict says that a document's place is taken by something else. Trying again does not help:
// the delivery parks until a person has looked.
type Conflict struct {
	Key  string
	Path string
	Have string // what is there: "sha256:…", or a kind of file
	Want string // the digest of the document
}

// Error implements error.
func (c *Conflict) Error() string {
	return fmt.Sprintf("deliver %s: %s is there already and is %s, not %s", c.Key, c.Path, c.Have,
		c.Want)
}

// Unwrap makes it permanent.
func (c *Conflict) Unwrap() error { return live.ErrPermanent }

const (
	tempDir  = ".tmp"
	dirMode  = 0o750
	fileMode = 0o640
	maxPart  = 200 // bytes of a part of a path; file systems take 255
)

// Dir delivers each document as a file of its own, exactly once. The file's path is the key:
// "<account>/<subscription>/<start>.<kind>.json". It appears with all its bytes or not at all,
// under a name that nothing replaces, and it is durable when Deliver returns.
//
// Where a file system takes "A" and "a" for one name, documents of two accounts whose ids differ
// only so can meet: the second is a Conflict and parks. Nothing is lost or overwritten.
//
// The path never leaves the directory, links included. Deliver may be called by many goroutines,
// and by processes that share the directory.
type Dir struct {
	root   *os.Root
	path   string
	mu     sync.Mutex
	synced map[string]bool // directories whose own names are durable
	broken error           // of the fsync of a directory

	step func(string) error // tests: called before each step
}

// NewDir opens the directory, makes it if it is missing, and removes temporary files that a crash
// left. The directory's parent has to exist.
func NewDir(dir string) (*Dir, error) {
	if err := os.Mkdir(dir, dirMode); err == nil {
		if err := syncDir(os.Open(filepath.Dir(filepath.Clean(dir)))); err != nil {
			return nil, fmt.Errorf("make directory %s durable: %w", dir, err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("open sink directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open sink directory: %w", err)
	}
	d := &Dir{
		root: root, path: dir, synced: map[string]bool{},
		step: func(string) error { return nil },
	}
	if err := d.clean(); err != nil {
		return nil, errors.Join(fmt.Errorf("clean sink directory %s: %w", dir, err), root.Close())
	}
	return d, nil
}

// Close releases the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Deliver writes the document unless it is there. doc.Key is the natural key with its parts
// percent-escaped: account/subscription/start/kind. A *Conflict means that another one is, or that
// the key is no path; every other error may pass, except that after a failed fsync of a directory
// all deliveries fail until the process begins anew: what the kernel has kept of it is unknown.
func (d *Dir) Deliver(ctx context.Context, doc live.Delivery) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name, err := fileOf(doc.Key)
	if err != nil {
		return &Conflict{Key: doc.Key, Path: d.path, Have: err.Error(), Want: digest(doc.Body)}
	}
	if err := d.deliver(name, doc); err != nil {
		if c := (*Conflict)(nil); errors.As(err, &c) {
			return c
		}
		return fmt.Errorf("deliver %s to %s: %w", doc.Key, d.path, err)
	}
	return nil
}

func (d *Dir) deliver(name string, doc live.Delivery) error {
	d.mu.Lock()
	err := d.broken
	d.mu.Unlock()
	if err != nil {
		return err
	}
	there, err := d.compare(name, doc)
	if err != nil {
		return err
	}
	if err := d.makeDirs(path.Dir(name)); err != nil {
		return err
	}
	if !there {
		if err := d.publish(name, doc); err != nil {
			return err
		}
	}
	// Also if it was there: the process that linked it may have died before this.
	return d.syncDir(path.Dir(name))
}

// publish writes a temporary file and gives it its name.
func (d *Dir) publish(name string, doc live.Delivery) error {
	// Random, because processes in different containers may have one number.
	temp := path.Join(tempDir, fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()))
	if err := d.write(temp, doc.Body); err != nil {
		return errors.Join(err, d.discard(temp))
	}
	err := d.step("link")
	if err == nil {
		err = d.root.Link(temp, name)
	}
	if errors.Is(err, fs.ErrExist) {
		// Someone was faster. compare fails if it is another document.
		_, err = d.compare(name, doc)
	}
	if err != nil {
		return errors.Join(err, d.discard(temp))
	}
	if err := d.step("remove temporary file"); err != nil {
		return err
	}
	return d.discard(temp)
}

// write makes a durable file.
func (d *Dir) write(name string, body []byte) error {
	if err := d.step("create temporary file"); err != nil {
		return err
	}
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrNotExist) { // someone tidied up
		if err := d.root.Mkdir(tempDir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		f, err = d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	}
	if err != nil {
		return err
	}
	if err = d.step("write"); err == nil {
		_, err = f.Write(body)
	}
	if err == nil {
		if err = d.step("sync file"); err == nil {
			err = f.Sync()
		}
	}
	return errors.Join(err, f.Close())
}

// discard removes a temporary file; that it is gone already is fine.
func (d *Dir) discard(temp string) error {
	if err := d.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// compare reports whether the document is there. It fails with a *Conflict if something else is.
func (d *Dir) compare(name string, doc live.Delivery) (bool, error) {
	info, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c := &Conflict{Key: doc.Key, Path: filepath.Join(d.path, name), Want: digest(doc.Body)}
	if !info.Mode().IsRegular() {
		c.Have = "no regular file (" + info.Mode().Type().String() + ")"
		return false, c
	}
	f, err := d.root.Open(name)
	if err != nil {
		return false, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	if c.Have = "sha256:" + hex.EncodeToString(h.Sum(nil)); c.Have != c.Want {
		return false, c
	}
	return true, nil
}

// makeDirs makes the directory and its parents, each durable.
func (d *Dir) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	if err := d.makeDirs(path.Dir(dir)); err != nil {
		return err
	}
	if err := d.step("make directory"); err != nil {
		return err
	}
	err := d.root.Mkdir(dir, dirMode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d.mu.Lock()
	known := err != nil && d.synced[dir]
	d.mu.Unlock()
	if known {
		return nil
	}
	if err := d.syncDir(path.Dir(dir)); err != nil {
		return err
	}
	d.mu.Lock()
	d.synced[dir] = true
	d.mu.Unlock()
	return nil
}

// syncDir makes the names in a directory durable.
func (d *Dir) syncDir(dir string) error {
	if err := d.step("sync directory"); err != nil {
		return err
	}
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	if err := syncDir(f, nil); err != nil {
		err = fmt.Errorf("sync directory %s: %w", dir, err)
		d.mu.Lock()
		d.broken = err
		d.mu.Unlock()
		return err
	}
	return nil
}

// clean removes what a crash left of temporary files.
func (d *Dir) clean() error {
	if err := d.root.RemoveAll(tempDir); err != nil {
		return err
	}
	return d.root.Mkdir(tempDir, dirMode)
}

func syncDir(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fileOf returns the path of a key's document. Keys have their parts percent-escaped already.
func fileOf(key string) (string, error) {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		if p == "" {
			return "", fmt.Errorf("a key %q with an empty part", key)
		}
		parts[i] = escape(p)
	}
	if n := len(parts); n > 1 {
		parts = append(parts[:n-2], parts[n-2]+"."+parts[n-1])
	}
	for i := range parts {
		parts[i] = shorten(parts[i])
	}
	return strings.Join(parts, "/") + ".json", nil
}

// escape writes the bytes of a part that a path must not have, as a key writes them. A leading
// point is one: so no part is ".", "..", hidden, or the directory of temporary files.
func escape(part string) string {
	var b bytes.Buffer
	for i := range len(part) {
		switch c := part[i]; {
		case c < ' ', c == 0x7f, c == '\\', c == '.' && i == 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// shorten cuts a part that is too long for a name and tells it apart by its digest.
func shorten(part string) string {
	if len(part) <= maxPart {
		return part
	}
	sum := sha256.Sum256([]byte(part))
	return part[:maxPart-1-32] + "~" + hex.EncodeToString(sum[:16])
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

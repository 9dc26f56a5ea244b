package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
)

// PutControl writes a control file for the sequencer to pick up: control/<SHA-256 in hex>. It is
// durable on return. fresh tells whether the file was not there yet. Any process may call it at
// any time, without the lock. The payload is at most MaxFrame bytes, as it must fit a frame.
func (d *Dir) PutControl(payload []byte) (name string, fresh bool, err error) {
	if len(payload) > MaxFrame {
		return "", false, fmt.Errorf("put control file: %d bytes, at most %d are allowed",
			len(payload), MaxFrame)
	}
	sum := sha256.Sum256(payload)
	name = hex.EncodeToString(sum[:])
	path := controlDir + "/" + name
	// A writer that starts clears temporary files, ours too if it comes between; then once more.
	for range 3 {
		fresh, err = d.linkControl(path, payload)
		if !isNotExist(err) {
			break
		}
	}
	if err != nil {
		return "", false, err
	}
	// Also when it was there: whoever put it may not have come so far.
	if err := d.fs.SyncDir(controlDir); err != nil {
		return "", false, &FailedError{"sync", controlDir, err}
	}
	return name, fresh, nil
}

func (d *Dir) linkControl(path string, payload []byte) (fresh bool, err error) {
	tmp := path + "." + rand.Text() + tmpSuffix
	if err := writeNew(d.fs, tmp, payload); err != nil {
		return false, errors.Join(err, d.removeFile(tmp))
	}
	err = d.fs.Link(tmp, path)
	switch {
	case errors.Is(err, iofs.ErrExist):
		err = nil
	case err != nil:
		err = &FailedError{"link", path, err}
	default:
		fresh = true
	}
	return fresh, errors.Join(err, d.removeFile(tmp))
}

func (d *Dir) removeFile(path string) error {
	if err := d.fs.Remove(path); err != nil && !isNotExist(err) {
		return &FailedError{"remove", path, err}
	}
	return nil
}

// Controls returns the names of the control files, sorted.
func (d *Dir) Controls() ([]string, error) {
	names, err := d.fs.ReadDir(controlDir)
	if err != nil {
		return nil, fmt.Errorf("list control files: %w", err)
	}
	var list []string
	for _, name := range names {
		if isControlName(name) {
			list = append(list, name)
		}
	}
	return list, nil
}

// Control returns the payload of a control file. It is corrupt if it does not match its name.
func (d *Dir) Control(name string) ([]byte, error) {
	if !isControlName(name) {
		return nil, fmt.Errorf("read control file: %q is not a name of one", name)
	}
	path := controlDir + "/" + name
	f, err := d.fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read control file: %w", err)
	}
	defer f.Close() // read only
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read control file: %w", err)
	}
	if size > MaxFrame {
		return nil, &CorruptError{path, MaxFrame, "longer than a control file can be"}
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read control file: %w", err)
	} else if b = b[:n]; fmt.Sprintf("%x", sha256.Sum256(b)) != name {
		return nil, &CorruptError{path, 0, "does not match the digest that is its name"}
	}
	return b, nil
}

// RemoveControl removes a control file, durably; one that is gone is fine.
func (d *Dir) RemoveControl(name string) error {
	if !isControlName(name) {
		return fmt.Errorf("remove control file: %q is not a name of one", name)
	}
	if err := d.removeFile(controlDir + "/" + name); err != nil {
		return err
	}
	if err := d.fs.SyncDir(controlDir); err != nil {
		return &FailedError{"sync", controlDir, err}
	}
	return nil
}

func isControlName(name string) bool {
	if len(name) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

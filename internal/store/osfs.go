//go:build linux || darwin

package store

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
)

// OS returns the directory as an FS. No name and no symbolic link leads out of it. A directory
// that does not exist is ErrNoState.
func OS(dir string) (FS, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", dir, ErrNoState)
	}
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	return osFS{root}, nil
}

// MakeOS makes the directory, mode 0700, if it does not exist, durably, and returns it as an FS.
// Its parent must exist.
func MakeOS(dir string) (FS, error) {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err == nil {
		if err := syncPath(filepath.Dir(filepath.Clean(dir))); err != nil {
			return nil, fmt.Errorf("make state directory: %w", err)
		}
	}
	return OS(dir)
}

func syncPath(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type osFS struct{ root *os.Root }

func (s osFS) Open(name string) (File, error) { return s.open(name, os.O_RDONLY) }

func (s osFS) Create(name string) (File, error) {
	return s.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (s osFS) OpenFile(name string) (File, error) { return s.open(name, os.O_RDWR) }

// open refuses what is no regular file: a pipe would block, a device would act.
func (s osFS) open(name string, flag int) (File, error) {
	f, err := s.root.OpenFile(name, flag|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &iofs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

func (s osFS) Rename(old, new string) error { return s.root.Rename(old, new) }
func (s osFS) Link(old, new string) error   { return s.root.Link(old, new) }
func (s osFS) Remove(name string) error     { return s.root.Remove(name) }

func (s osFS) Mkdir(name string) error {
	err := s.root.Mkdir(name, 0o700)
	if !errors.Is(err, iofs.ErrExist) {
		return err
	}
	if info, serr := s.root.Lstat(name); serr != nil || !info.IsDir() {
		return err
	}
	return nil
}

func (s osFS) ReadDir(name string) (names []string, err error) {
	err = s.dir(name, func(f *os.File) (err error) {
		names, err = f.Readdirnames(-1)
		return err
	})
	sort.Strings(names)
	return names, err
}

func (s osFS) Stat(name string) (FileInfo, error) {
	info, err := s.root.Stat(name)
	if err != nil {
		return FileInfo{}, err
	}
	return FileInfo{Size: info.Size(), Dir: info.IsDir()}, nil
}

func (s osFS) SyncDir(name string) error {
	return s.dir(name, func(f *os.File) error { return f.Sync() })
}

// Lock uses flock(2): it is bound to the open file, so a second lock in one process is refused
// too, and the kernel lets go of it when the process dies.
func (s osFS) Lock(name string) (io.Closer, error) {
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = control(f, func(fd int) error {
		for {
			err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
			if err != syscall.EINTR {
				return err
			}
		}
	})
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(&iofs.PathError{Op: "lock", Path: name, Err: err}, f.Close())
}

func (s osFS) Free(name string) (free uint64, err error) {
	f, err := s.root.Open(name)
	if err != nil {
		return 0, err
	}
	err = control(f, func(fd int) error {
		var st syscall.Statfs_t
		err := syscall.Fstatfs(fd, &st)
		free = uint64(st.Bavail) * uint64(st.Bsize)
		return err
	})
	return free, errors.Join(err, f.Close())
}

// dir calls use with an open directory.
func (s osFS) dir(name string, use func(*os.File) error) error {
	f, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(use(f), f.Close())
}

func control(f *os.File, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	if err := raw.Control(func(fd uintptr) { cerr = call(int(fd)) }); err != nil {
		return err
	}
	return cerr
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

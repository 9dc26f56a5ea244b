package store

import "io"

// FS is a directory tree that can be made durable. Names are slash-separated and relative; "." is
// the root. Errors wrap the errors of io/fs (ErrNotExist, ErrExist) and of syscall (ENOSPC, EIO).
//
// What a crash keeps is what POSIX promises and no more: a file's bytes after File.Sync, a
// directory's names after SyncDir, and of everything later any part.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// Create makes a file of mode 0600 for reading and writing; it must not exist.
	Create(name string) (File, error)
	// OpenFile opens an existing file for reading and writing.
	OpenFile(name string) (File, error)
	// Rename replaces what new names.
	Rename(old, new string) error
	// Link gives a file a second name, which must not exist.
	Link(old, new string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Mkdir makes a directory of mode 0700; an existing one is fine.
	Mkdir(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)
	Stat(name string) (FileInfo, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes an advisory exclusive lock on a file, which it creates if need be. It does not
	// wait: ErrLocked says that another holder has it. A lock ends with its process.
	Lock(name string) (io.Closer, error)
	// Free returns the bytes free on the volume that holds name.
	Free(name string) (uint64, error)
}

// File is an open file. Reads and writes may go on at once; Sync makes all earlier writes durable.
// After a Sync that failed nobody knows what the disk holds: it must not be called again.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
}

// FileInfo is what Stat tells.
type FileInfo struct {
	Size int64
	Dir  bool
}

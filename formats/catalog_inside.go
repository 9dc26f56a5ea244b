package formats

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// errOutside is that of a file that a link leads out of the catalog. A message shows lines of a
// file, so such a file must not be read at all.
var errOutside = errors.New("is a link that leads out of the catalog directory")

const outsideHint = "copy the file into the catalog; links may lead to files beside it only"

// maxLinks is how many links one path may follow.
const maxLinks = 40

// inside follows the links of a path, as long as they stay below the root of fsys, and returns the
// path of the file that it means. It fails with errOutside, and with the error of fsys.
func inside(fsys fs.FS, name string) (file string, info fs.FileInfo, err error) {
	file = "."
	rest, links := strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch {
		case part == "" || part == ".":
			continue
		case part == ".." && file == ".":
			return "", nil, errOutside
		case part == "..":
			file = path.Dir(file)
			continue
		}
		next := path.Join(file, part)
		if info, err = fs.Lstat(fsys, next); err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			file = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("%s: more than %d links follow each other", name, maxLinks)
		}
		target, err := fs.ReadLink(fsys, next)
		if err != nil {
			return "", nil, err
		}
		if filepath.IsAbs(target) || path.IsAbs(target) {
			return "", nil, errOutside
		}
		rest = append(strings.Split(filepath.ToSlash(target), "/"), rest...)
	}
	info, err = fs.Lstat(fsys, file) // the path may end in ..
	return file, info, err
}

package data

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// labelFile is where NVlabs/edm's data sets keep their labels.
const labelFile = "dataset.json"

// openFolder opens the pictures under dir, at any depth.
func openFolder(dir string) (*collection, error) {
	names, err := listPictures(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the pictures: %w", err)
	}
	if len(names) == 0 {
		return nil, errNoPictures(dir)
	}
	c := &collection{title: "folder " + dir, source: filesIn(dir, names)}
	err = c.readLabels(func() (io.ReadCloser, error) { return os.Open(filepath.Join(dir, labelFile)) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, labelFile), err)
	}
	return c, nil
}

// openPicture opens a single picture.
func openPicture(path string) *collection {
	return &collection{title: "picture " + path, source: filesIn(filepath.Dir(path), []string{filepath.Base(path)})}
}

// filesIn returns the files of a folder as a source.
func filesIn(dir string, names []string) *files {
	return &files{
		names: names,
		open: func(i int) (io.ReadCloser, error) {
			f, err := os.Open(filepath.Join(dir, filepath.FromSlash(names[i])))
			return f, cause(err)
		},
		close: func() error { return nil },
	}
}

// cause drops the path from a file error, for messages that name it already.
func cause(err error) error {
	if err == nil { // as for nearly every picture: errors.As would take memory for it
		return nil
	}
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// listPictures returns the paths of the pictures under dir, relative to it, in
// the reference's order.
func listPictures(dir string) ([]string, error) {
	l := lister{}
	err := l.list(dir, "")
	return l.names, err
}

// lister collects pictures; above holds the folders on the way to the current
// one, so that a link to one of them does not lead in circles.
type lister struct {
	names []string
	above []os.FileInfo
}

func (l *lister) list(dir, prefix string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	for _, seen := range l.above {
		if os.SameFile(seen, info) {
			return nil
		}
	}
	l.above = append(l.above, info)
	defer func() { l.above = l.above[:len(l.above)-1] }()
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	for _, e := range entries {
		full := filepath.Join(dir, e.Name())
		switch {
		case isFolder(full, e):
			err = l.list(full, prefix+e.Name()+"/")
		case isPicture(e.Name()) && isFile(full, e):
			l.names = append(l.names, prefix+e.Name())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isFile reports whether e is a regular file, or a link to one or to nothing, which
// is a picture that cannot be read. To open a pipe would wait for who writes to it.
func isFile(full string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.Type().IsRegular()
	}
	info, err := os.Stat(full)
	return err != nil || info.Mode().IsRegular()
}

// isFolder reports whether e is a folder or a link to one; only links cost a
// system call.
func isFolder(full string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(full)
	return err == nil && info.IsDir()
}

package data

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// listFolder lists the images under dir, at any depth.
func listFolder(dir string) (*lister, error) {
	l := &lister{}
	if err := l.list(dir, ""); err != nil {
		return nil, fmt.Errorf("cannot list the images: %w", explained(err))
	}
	return l, nil
}

// open returns the images that were listed under dir.
func (l *lister) open(dir string) (*collection, error) {
	if len(l.names) == 0 {
		return nil, l.errNoImages(dir)
	}
	c := &collection{title: "folder " + dir, source: filesIn(dir, l.names), leftOut: l.left, unreadable: l.unreadable}
	c.labelFiles = &labelFiles{names: l.labelFiles, open: func(name string) (io.ReadCloser, error) {
		return os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	}}
	return c, nil
}

// openImage opens a single image.
func openImage(path string) *collection {
	return &collection{title: "image " + path, source: filesIn(filepath.Dir(path), []string{filepath.Base(path)})}
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

// lister collects the images of a folder, in the reference's order. above holds the
// parents of the current folder, so that a symbolic link to one of them does not cause
// infinite recursion.
type lister struct {
	names      []string
	labelFiles []string   // dataset.json, wherever there is one
	shards     []string   // files that may hold many images: Parquet, tar
	unreadable []BadImage // folders, with a slash at the end
	left       leftOut
	above      []os.FileInfo
}

func (l *lister) errNoImages(dir string) error {
	err := errNoImages(dir)
	if len(l.left) > 0 {
		err = fmt.Errorf("%w; left out: %v", err, l.left)
	}
	for _, folder := range l.unreadable {
		err = fmt.Errorf("%w; %s: %w", err, folder.Name, folder.Err)
	}
	return err
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
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	l.above = append(l.above, info)
	defer func() { l.above = l.above[:len(l.above)-1] }()
	run := isRunFolder(entries)
	if run && prefix != "" {
		l.leaveOut(dir, prefix, ReasonRun)
		return nil
	}
	for _, e := range entries {
		if run && e.Name() == samplesFolder {
			l.leaveOut(filepath.Join(dir, e.Name()), prefix+e.Name()+"/", ReasonRun)
		} else if err := l.entry(dir, prefix, e); err != nil {
			return err
		}
	}
	return nil
}

func isRunFolder(entries []fs.DirEntry) bool {
	has := func(name string, dir bool) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name && e.IsDir() == dir })
	}
	return has(runConfig, false) && has(runCheckpoints, true)
}

func (l *lister) entry(dir, prefix string, e fs.DirEntry) error {
	full, name := filepath.Join(dir, e.Name()), prefix+e.Name()
	why := whyName(e.Name())
	folder, err := isFolder(full, e)
	if folder && err == nil {
		if why != "" {
			l.leaveOut(full, name+"/", why)
			return nil
		}
		err = l.list(full, name+"/")
	}
	switch format, image := whyFormat(e.Name()); {
	case isShortage(err):
		return err
	case err != nil:
		l.unreadable = append(l.unreadable, BadImage{Name: name + "/", Err: cause(err)})
	case folder:
	case e.Name() == labelFile && why == "":
		l.labelFiles = append(l.labelFiles, name)
	case isShard(name) && why == "" && isFile(full, e):
		l.shards = append(l.shards, name)
	case !image || !isFile(full, e):
	case why != "":
		l.left.add(why, name)
	case format != "":
		l.left.add(format, name)
	default:
		l.names = append(l.names, name)
	}
	return nil
}

// isShard reports whether a file's name ends as one of many images.
func isShard(name string) bool {
	return slices.Contains([]string{parquetExtension, tarExtension}, strings.ToLower(filepath.Ext(name)))
}

// leaveOut counts the images under an excluded folder, as far as it can be listed.
func (l *lister) leaveOut(dir, prefix, reason string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if _, image := whyFormat(path); err == nil && image && e.Type().IsRegular() {
			below, _ := filepath.Rel(dir, path)
			l.left.add(reason, prefix+filepath.ToSlash(below))
		}
		return nil
	})
}

// isFile reports whether e is a regular file, or a link to one or to nothing, which
// counts as an unreadable image. Opening a pipe would block until it has a writer.
func isFile(full string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.Type().IsRegular()
	}
	info, err := os.Stat(full)
	return err != nil || info.Mode().IsRegular()
}

// isFolder reports whether e is a folder or a link to one; only links cost a
// system call. The error is of a link to what must not be looked at.
func isFolder(full string, e fs.DirEntry) (bool, error) {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir(), nil
	}
	info, err := os.Stat(full)
	if err != nil && (isShortage(err) || errors.Is(err, fs.ErrPermission) && !isImageFile(full)) {
		return true, err
	}
	return err == nil && info.IsDir(), nil
}

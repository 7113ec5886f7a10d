package watch

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"iddpm/storage"
)

// file is a file of a run, named by its slash-separated path in the run's folder.
type file struct {
	name     string
	size     int64
	modified time.Time
}

// source is where the files of a run are.
type source interface {
	// list returns the files below a folder of the run, without following symbolic links out of it.
	list(ctx context.Context, folder string) ([]file, error)
	// read returns the bytes of a file from an offset on; none if it is shorter.
	read(ctx context.Context, name string, offset, limit int64) ([]byte, error)
	close() error
}

// folder is a run folder on this machine. os.Root refuses paths and symbolic links that lead out of it.
type folder struct{ root *os.Root }

func openFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	return &folder{root}, err
}

func (f *folder) close() error { return f.root.Close() }

func (f *folder) list(_ context.Context, dir string) (files []file, err error) {
	err = fs.WalkDir(f.root.FS(), dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			if path == dir && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		about, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed since the folder was read
			return nil
		}
		if err == nil {
			files = append(files, file{path, about.Size(), about.ModTime()})
		}
		return err
	})
	return files, err
}

func (f *folder) read(_ context.Context, name string, offset, limit int64) ([]byte, error) {
	in, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	about, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if !about.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	text := make([]byte, max(0, min(limit, about.Size()-offset)))
	n, err := in.ReadAt(text, offset)
	if errors.Is(err, io.EOF) { // truncated meanwhile
		err = nil
	}
	return text[:n], err
}

// remote is a run folder at a URL.
type remote struct{ folder *storage.Folder }

func (r remote) close() error { return r.folder.Close() }

func (r remote) list(ctx context.Context, dir string) (files []file, err error) {
	objects, err := r.folder.List(ctx, strings.TrimSuffix(dir, ".")) // "." is the run's folder
	for _, o := range objects {
		files = append(files, file{o.Name, o.Size, o.Modified})
	}
	return files, err
}

func (r remote) read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	return r.folder.ReadRange(ctx, name, offset, limit)
}

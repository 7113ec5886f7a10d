package data

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// openZip opens the pictures in a zip file, at any depth.
func openZip(path string) (*collection, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the pictures: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot open the pictures: %w", err)
	}
	c, err := newZip(f, info.Size(), path, f.Close)
	if err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

// newZip opens a zip of pictures of size bytes; where is its name in errors.
func newZip(r io.ReaderAt, size int64, where string, closeFile func() error) (*collection, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s is not a readable zip file, or is cut short: %w", where, err)
	}
	names, entries, err := zipPictures(z)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", where, err)
	case len(names) == 0:
		return nil, errNoPictures(where)
	}
	c := &collection{title: "zip " + where}
	c.source = &files{
		names: names,
		open:  func(i int) (io.ReadCloser, error) { return entries[names[i]].Open() },
		close: closeFile,
	}
	err = c.readLabels(func() (io.ReadCloser, error) { return openEntry(z, labelFile) })
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", where, labelFile, err)
	}
	return c, nil
}

// zipPictures lists the entries that are pictures, in the order of a folder.
func zipPictures(z *zip.Reader) ([]string, map[string]*zip.File, error) {
	const encrypted = 1
	var names []string
	entries := make(map[string]*zip.File, len(z.File))
	for _, f := range z.File {
		switch {
		case f.FileInfo().IsDir() || !isPicture(f.Name):
			continue
		case f.Flags&encrypted != 0:
			return nil, nil, fmt.Errorf("%s is encrypted: unpack the zip and name the folder", f.Name)
		case entries[f.Name] != nil:
			return nil, nil, fmt.Errorf("two entries are named %s", f.Name)
		}
		entries[f.Name] = f
		names = append(names, f.Name)
	}
	sortNames(names)
	return names, entries, nil
}

// openEntry opens an entry by its whole name.
func openEntry(z *zip.Reader, name string) (io.ReadCloser, error) {
	for _, f := range z.File {
		if f.Name == name {
			return f.Open()
		}
	}
	return nil, fs.ErrNotExist
}

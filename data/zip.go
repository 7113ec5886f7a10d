package data

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// openZip opens the images in a zip file, at any depth.
func openZip(path string) (*collection, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the images: %w", explained(err))
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot open the images: %w", explained(err))
	}
	c, err := newZip(f, info.Size(), path, f.Close)
	if err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

// newZip opens a zip of images of size bytes; where is its name in errors.
func newZip(r io.ReaderAt, size int64, where string, closeFile func() error) (*collection, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s is not a readable zip file, or is cut short: %w", where, err)
	}
	l, entries, err := listZip(z)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", where, err)
	case len(l.names) == 0:
		return nil, l.errNoImages(where)
	}
	return &collection{
		title: "zip " + where,
		source: &files{
			names: l.names,
			open:  func(i int) (io.ReadCloser, error) { return entries[l.names[i]].Open() },
			close: closeFile,
		},
		leftOut:    l.left,
		labelFiles: &labelFiles{names: l.labelFiles, open: func(name string) (io.ReadCloser, error) { return entries[name].Open() }},
	}, nil
}

// listZip lists the entries that are images, in the order of a folder.
func listZip(z *zip.Reader) (*lister, map[string]*zip.File, error) {
	const encrypted = 1
	l := &lister{}
	entries := make(map[string]*zip.File, len(z.File))
	names := make([]string, len(z.File))
	for i, f := range z.File {
		names[i] = entryName(f)
	}
	runs := runFolders(names)
	for i, f := range z.File {
		name := names[i]
		why, image := whyEntry(name, runs)
		switch {
		case path.Base(name) == labelFile && why == "" && entries[name] == nil:
			l.labelFiles = append(l.labelFiles, name)
		case !image:
			continue
		case why != "":
			l.left.add(why, name)
			continue
		case f.Flags&encrypted != 0:
			return nil, nil, fmt.Errorf("%s is encrypted: unpack the zip and name the folder", f.Name)
		case entries[name] != nil:
			return nil, nil, fmt.Errorf("two entries are named %s", name)
		default:
			l.names = append(l.names, name)
		}
		entries[name] = f
	}
	sortNames(l.names)
	return l, entries, nil
}

// entryName returns an entry's normalised path. Some Windows tools write backslashes;
// others write absolute paths, or paths outside the folder.
func entryName(f *zip.File) string {
	name := strings.ReplaceAll(f.Name, `\`, "/")
	clean := cleanName(name)
	if strings.HasSuffix(name, "/") || f.FileInfo().IsDir() {
		clean += "/"
	}
	return clean
}

// whyEntry returns why an entry is excluded, and whether it is an image.
func whyEntry(name string, runs []string) (why string, image bool) {
	format, image := whyFormat(name)
	why = whyPath(name)
	switch {
	case why != "":
	case inRun(name, runs):
		why = ReasonRun
	default:
		why = format
	}
	return why, image
}

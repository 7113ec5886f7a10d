package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"iddpm/data/imaging"
)

// source is a numbered collection of images of any size. Its methods may be
// called from several goroutines at once.
type source interface {
	count() int
	name(i int) string // slash-separated, within the collection
	check(i int) error // reads an image's header, where that is cheaper than load
	load(i int, d imaging.Decoder) (imaging.Image, error)
	Close() error
}

// collection is an opened source with its metadata.
type collection struct {
	source
	title string // for a log line
	split bool   // whether the set has train and test splits

	readOwn    func() (*ownLabels, error) // reads the set's own labels on demand; nil: see labelFiles
	labelFiles *labelFiles                // nil: none
	leftOut    leftOut                    // excluded images that are not data
	unreadable []BadImage                 // folders that cannot be listed, with a trailing slash
}

// openSource opens the set at path; the empty path is the built-in set. split selects
// the train or test split of a published set.
func openSource(path, split string) (*collection, error) {
	if split != "" && split != "train" && split != "test" {
		return nil, fmt.Errorf("split %q: choose train or test", split)
	}
	c, err := openAny(path, split)
	if err == nil && split != "" && !c.split {
		c.Close()
		return nil, fmt.Errorf("%s is not split into train and test: name the images to use", c.title)
	}
	return c, err
}

func openAny(path, split string) (*collection, error) {
	if path == "" {
		return openEmoji()
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: name a folder of images, or a .zip of them (%w)", path, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("cannot open the images: %w", explained(err))
	case info.IsDir():
		if c, err := openBatchFolder(path, split); c != nil || err != nil {
			return c, err
		}
		if c, err := openLMDBFolder(path); c != nil || err != nil {
			return c, err
		}
		return openFolder(path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is a pipe or a device: name a file or a folder of images", path)
	}
	switch name := strings.ToLower(path); {
	case strings.HasSuffix(name, ".zip"):
		return openZip(path)
	case strings.HasSuffix(name, ".npz"):
		return openNPZ(path)
	case strings.HasSuffix(name, ".mdb"):
		return openLMDB(path, "LMDB "+path)
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		return openBatchArchive(path, split)
	case isImageFile(path):
		return openImage(path), nil
	}
	return nil, fmt.Errorf("%s is neither an image (%s), nor a folder or a .zip of images, nor an .npz, nor CIFAR's .tar.gz, nor an LMDB's .mdb", path, imaging.Formats)
}

// files is a source of encoded images, of a folder or of an archive.
type files struct {
	names []string
	open  func(i int) (io.ReadCloser, error)
	close func() error
}

func (f *files) count() int        { return len(f.names) }
func (f *files) name(i int) string { return f.names[i] }
func (f *files) Close() error      { return f.close() }

func (f *files) check(i int) error {
	r, err := f.open(i)
	if err != nil {
		return err
	}
	defer r.Close()
	return imaging.CheckHeader(bufio.NewReader(r))
}

func (f *files) load(i int, d imaging.Decoder) (imaging.Image, error) {
	r, err := f.open(i)
	if err != nil {
		return imaging.Image{}, err
	}
	defer r.Close()
	p, err := d.Read(r)
	return p, cause(err)
}

// sortNames sorts paths as the reference lists them: folder by folder, where a
// folder's entries, files and folders mixed, are in the order of their names.
func sortNames(names []string) {
	slices.SortFunc(names, compareNames)
}

func compareNames(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

func errNoImages(where string) error {
	return fmt.Errorf("no images (%s) under %s", imaging.Formats, where)
}

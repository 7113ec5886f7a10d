package data

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"slices"
	"sort"
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

// encoded is a source of image files, of which a part may be read.
type encoded interface {
	reader(i int) (io.ReadCloser, error)
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

// labelFiles are the files named dataset.json in a folder or an archive. They are read
// only when labels are needed.
type labelFiles struct {
	names []string // paths within the set
	open  func(name string) (io.ReadCloser, error)
}

// ownLabels are the labels that come with a data set.
type ownLabels struct {
	labels []int64  // one per image
	names  []string // of the labels; nil if they are plain numbers
	from   string   // for a log line: "dataset.json"
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

func (f *files) reader(i int) (io.ReadCloser, error) { return f.open(i) }

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

// ends numbers the images of several parts through: ends[k] is how many there are up to the end of part k.
type ends []int

// add adds a part of n images.
func (e *ends) add(n int) { *e = append(*e, e.count()+n) }

func (e ends) count() int {
	if len(e) == 0 {
		return 0
	}
	return e[len(e)-1]
}

// find returns the part that has image i, and the image's number within it.
func (e ends) find(i int) (part, within int) {
	if part = sort.SearchInts(e, i+1); part > 0 {
		i -= e[part-1]
	}
	return part, i
}

// cleanName returns the path of a member of an archive, without dots or a slash at its start.
func cleanName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

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

package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"iddpm/data/imaging"
)

// batchSet is a published data set that consists of a few files of raw pixels.
type batchSet struct {
	title string
	parts map[string]*regexp.Regexp // by split
	read  func(*batchReader, *blob) error
	names string // file of the class names, if the set has one
	key   string // key of the class names, if that file is a pickle

	labels func(name string) []string // possible names of the file of labels of a part, the only one of its split; nil: parts hold theirs
}

// blob is one of its files.
type blob struct {
	name   string
	r      io.ReaderAt
	size   int64
	labels *blob // where a part's labels are in a file of their own; nil: there is none
}

func splits(train, test string) map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{"train": regexp.MustCompile("^" + train + "$"), "test": regexp.MustCompile("^" + test + "$")}
}

func openBlob(file string) (*blob, *os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open the images: %w", explained(err))
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("cannot open the images: %w", explained(err))
	}
	b := &blob{name: filepath.Base(file), r: f, size: info.Size()}
	if name, packed := strings.CutSuffix(b.name, gzipped); packed {
		b.name = name
		if err := b.unpack(f); err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("%s: not a readable .gz: %w", file, imaging.EndsEarly(err))
		}
	}
	return b, f, nil
}

// gzipped ends the name of a compressed file, which has no random access.
const gzipped = ".gz"

// unpack reads a compressed file into memory.
func (b *blob) unpack(r io.Reader) error {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return err
	}
	content, err := readUnpacked(z, maxUnpacked)
	b.r, b.size = bytes.NewReader(content), int64(len(content))
	return err
}

// maxUnpacked bounds what an archive may hold: CIFAR is 184 MB.
const maxUnpacked = 1 << 30

// readUnpacked reads what a compressed file holds, of which left bytes are allowed.
func readUnpacked(r io.Reader, left int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, left+1))
	if err == nil && int64(len(content)) > left {
		err = fmt.Errorf("it unpacks to more than %d bytes", int64(maxUnpacked))
	}
	return content, err
}

func closeAll(closers []io.Closer) error { return (&arrays{closers: closers}).Close() }

func (s *batchSet) isPart(name string) bool {
	return s.parts["train"].MatchString(name) || s.parts["test"].MatchString(name)
}

// files returns the names that files of the set may have, where names are the files that are there,
// which may be compressed, and isPart chooses among them those with images.
func (s *batchSet) files(names []string, isPart func(string) bool) map[string]bool {
	all := map[string]bool{s.names: true}
	for _, name := range names {
		part := strings.TrimSuffix(name, gzipped)
		if !isPart(part) {
			continue
		}
		all[part] = true
		if s.labels != nil {
			for _, of := range s.labels(part) {
				all[of] = true
			}
		}
	}
	return all
}

// isFileAt reports whether a path names a regular file, or a link to one.
func isFileAt(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// batchReader gathers the images and labels of a set's files.
type batchReader struct {
	images *arrays
	labels []int64
	none   error // why there are no labels
}

// add appends n images of side x side pixels and their labels, and checks both.
func (b *batchReader) add(side int, p part, labels []int64) error {
	if p.n == 0 {
		return errors.New("no images")
	}
	if b.images.count() > 0 && side != b.images.w {
		return fmt.Errorf("its images are %d pixels wide, those before %d", side, b.images.w)
	}
	b.images.w, b.images.h = side, side
	b.images.add(p)
	return b.addLabels(p.n, labels)
}

// addLabels appends the labels of n images.
func (b *batchReader) addLabels(n int, labels []int64) error {
	if len(labels) != n {
		return fmt.Errorf("%d labels for %d images", len(labels), n)
	}
	for i, label := range labels {
		if err := checkLabel(label, nil); err != nil {
			return fmt.Errorf("image %d: %w", i, err)
		}
	}
	b.labels = append(b.labels, labels...)
	return nil
}

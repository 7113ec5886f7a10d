package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch/npy"
)

// batchSet is a published data set that comes as a few files of raw pixels.
type batchSet struct {
	title string
	parts map[string]*regexp.Regexp // by split
	read  func(*batchReader, *blob) error
	names string // the file of the class names, where there is one
	key   string // of the class names in it, where that is a pickle
}

// blob is one of its files.
type blob struct {
	name string
	r    io.ReaderAt
	size int64
}

func splits(train, test string) map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{"train": regexp.MustCompile("^" + train + "$"), "test": regexp.MustCompile("^" + test + "$")}
}

// batchSets are the sets known, by the names of their files.
func batchSets() []batchSet {
	return []batchSet{
		{title: "CIFAR-10", parts: splits(`data_batch_\d\.bin`, `test_batch\.bin`), read: cifarRecords(1), names: "batches.meta.txt"},
		{title: "CIFAR-10", parts: splits(`data_batch_\d`, `test_batch`), read: pickledBatch("labels", 0), names: "batches.meta", key: "label_names"},
		{title: "CIFAR-100", parts: splits(`train\.bin`, `test\.bin`), read: cifarRecords(2), names: "fine_label_names.txt"},
		{title: "CIFAR-100", parts: splits(`train`, `test`), read: pickledBatch("fine_labels", 0), names: "meta", key: "fine_label_names"},
		{title: "down-sampled ImageNet", parts: splits(`train_data_batch_\d+`, `val_data`), read: pickledBatch("labels", 1)},
		{title: "down-sampled ImageNet", parts: splits(`train_data_batch_\d+\.npz`, `val_data\.npz`), read: readNPZBatch},
	}
}

// openBatchFolder opens a known set unpacked in dir; it returns nil where dir
// holds none.
func openBatchFolder(dir, split string) (*collection, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the pictures: %w", err)
	}
	var found []string
	for _, e := range entries {
		if !e.IsDir() {
			found = append(found, e.Name())
		}
	}
	set, wanted := findBatchSet(found)
	if set == nil {
		return nil, nil
	}
	blobs := map[string]*blob{}
	var closers []io.Closer
	for _, name := range wanted {
		b, f, err := openBlob(filepath.Join(dir, name))
		if err != nil {
			return nil, errors.Join(err, closeAll(closers))
		}
		blobs[name], closers = b, append(closers, f)
	}
	c, err := set.open(blobs, split, dir)
	if err != nil {
		return nil, errors.Join(err, closeAll(closers))
	}
	c.source.(*arrays).closers = closers
	return c, nil
}

func openBlob(file string) (*blob, *os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open the pictures: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("cannot open the pictures: %w", err)
	}
	return &blob{name: filepath.Base(file), r: f, size: info.Size()}, f, nil
}

func closeAll(closers []io.Closer) error { return (&arrays{closers: closers}).Close() }

// findBatchSet returns the set whose files are among names, and those of names
// that belong to it.
func findBatchSet(names []string) (*batchSet, []string) {
	for _, set := range batchSets() {
		var of []string
		for _, name := range names {
			if set.isPart(name) || name == set.names {
				of = append(of, name)
			}
		}
		// Files named "train" and "test" alone might be anything.
		if slices.ContainsFunc(of, set.isPart) && (set.key == "" || slices.Contains(of, set.names)) {
			return &set, of
		}
	}
	return nil, nil
}

func (s *batchSet) isPart(name string) bool {
	return s.parts["train"].MatchString(name) || s.parts["test"].MatchString(name)
}

// openBatchArchive opens a known set as it is downloaded. Compressed files
// cannot be read here and there, so it lies in memory.
func openBatchArchive(file, split string) (*collection, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot open the pictures: %w", err)
	}
	defer f.Close()
	c, err := readBatchArchive(f, split, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func readBatchArchive(r io.Reader, split, where string) (*collection, error) {
	blobs, err := unpack(r)
	if err != nil {
		return nil, fmt.Errorf("not a readable .tar.gz: %w", lastByte(err))
	}
	set, _ := findBatchSet(slices.Sorted(maps.Keys(blobs)))
	if set == nil {
		return nil, errors.New("neither CIFAR-10 nor CIFAR-100: unpack other archives and name the folder")
	}
	return set.open(blobs, split, where)
}

// maxUnpacked bounds what an archive may hold: CIFAR is 184 MB.
const maxUnpacked = 1 << 30

// unpack reads the files of a .tar.gz that may belong to a known set.
func unpack(r io.Reader) (map[string]*blob, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(z)
	blobs := map[string]*blob{}
	left := int64(maxUnpacked)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return blobs, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Base(h.Name)
		known := func(s batchSet) bool { return s.isPart(name) || s.names == name }
		if h.Typeflag != tar.TypeReg || !slices.ContainsFunc(batchSets(), known) {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(t, left+1))
		if err != nil {
			return nil, err
		}
		if left -= int64(len(content)); left < 0 {
			return nil, fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
		}
		blobs[name] = &blob{name: name, r: bytes.NewReader(content), size: int64(len(content))}
	}
}

// batchReader gathers the pictures and labels of a set's files.
type batchReader struct {
	pictures *arrays
	labels   []int64
}

// open reads the files of one split, in their numbers' order.
func (s *batchSet) open(blobs map[string]*blob, split, where string) (*collection, error) {
	if split == "" {
		split = "train"
	}
	b := &batchReader{pictures: &arrays{c: 3, planar: true}}
	for _, name := range slices.SortedFunc(maps.Keys(blobs), compareNumbered) {
		if !s.parts[split].MatchString(name) {
			continue
		}
		if err := s.read(b, blobs[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if b.pictures.count() == 0 {
		return nil, fmt.Errorf("%s: %s lacks its %s pictures", where, s.title, split)
	}
	c := &collection{source: b.pictures, title: fmt.Sprintf("%s (%s) %s", s.title, split, where), labels: b.labels, split: true}
	var err error
	if names := blobs[s.names]; names != nil {
		if c.classes, err = s.classNames(names); err == nil {
			err = checkLabel(slices.Max(c.labels), c.classes)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.names, err)
	}
	return c, nil
}

// compareNumbered puts data_batch_2 before data_batch_10.
func compareNumbered(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func (s *batchSet) classNames(b *blob) ([]string, error) {
	if s.key == "" {
		text, err := io.ReadAll(io.NewSectionReader(b.r, 0, min(b.size, 1<<20)))
		return strings.Fields(string(text)), err
	}
	d, err := unpickle(b.r, b.size)
	if err != nil {
		return nil, err
	}
	l, ok := d[s.key].(*list)
	if !ok {
		return nil, fmt.Errorf("no list %s", s.key)
	}
	var names []string
	for _, item := range l.items {
		name, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("%s holds %T", s.key, item)
		}
		names = append(names, name)
	}
	return names, nil
}

// add appends n pictures of side x side pixels and their labels, and checks both.
func (b *batchReader) add(side int, p part, labels []int64) error {
	if p.n == 0 {
		return errors.New("no pictures")
	}
	if b.pictures.count() > 0 && side != b.pictures.w {
		return fmt.Errorf("its pictures are %d pixels wide, those before %d", side, b.pictures.w)
	}
	if len(labels) != p.n {
		return fmt.Errorf("%d labels for %d pictures", len(labels), p.n)
	}
	for i, label := range labels {
		if err := checkLabel(label, nil); err != nil {
			return fmt.Errorf("picture %d: %w", i, err)
		}
	}
	b.pictures.w, b.pictures.h = side, side
	b.pictures.add(p)
	b.labels = append(b.labels, labels...)
	return nil
}

// cifarRecords reads records of some bytes of labels, the last of which is
// used, and 3 planes of 32 x 32 pixels.
func cifarRecords(labelBytes int64) func(*batchReader, *blob) error {
	const side = 32
	return func(b *batchReader, f *blob) error {
		stride := labelBytes + 3*side*side
		if f.size%stride != 0 {
			return fmt.Errorf("%d bytes are not a whole number of records of %d: the file is cut short or another", f.size, stride)
		}
		labels := make([]int64, f.size/stride)
		for i := range labels {
			var label [1]byte
			if _, err := f.r.ReadAt(label[:], int64(i)*stride+labelBytes-1); err != nil {
				return err
			}
			labels[i] = int64(label[0])
		}
		return b.add(side, part{n: len(labels), r: f.r, offset: labelBytes, stride: stride}, labels)
	}
}

// pickledBatch reads a dictionary with "data", uint8 [N, 3*side*side] in planes,
// and a list of labels under key that counts from base.
func pickledBatch(key string, base int64) func(*batchReader, *blob) error {
	return func(b *batchReader, f *blob) error {
		d, err := unpickle(f.r, f.size)
		if err != nil {
			return err
		}
		pixels, ok := d["data"].(*ndarray)
		if !ok || pixels.dtype != "u1" && pixels.dtype != "uint8" {
			return errors.New("no uint8 array data")
		}
		side, err := planarSide(pixels.shape, pixels.data.n)
		if err != nil {
			return err
		}
		l, ok := d[key].(*list)
		if !ok {
			return fmt.Errorf("no list %s", key)
		}
		labels := make([]int64, len(l.items))
		for i, item := range l.items {
			label, ok := item.(int64)
			if !ok {
				return fmt.Errorf("%s holds %T", key, item)
			}
			labels[i] = label - base
		}
		return b.add(side, part{n: int(pixels.shape[0]), r: f.r, offset: pixels.data.offset, stride: pixels.shape[1]}, labels)
	}
}

// planarSide returns the side of pictures [N, 3*side*side] that take n bytes.
func planarSide(shape []int64, n int64) (int, error) {
	if len(shape) == 2 && shape[1] > 0 && shape[1] <= 3*maxSize*maxSize {
		side := int64(math.Sqrt(float64(shape[1] / 3)))
		if 3*side*side == shape[1] && shape[0] == n/shape[1] && n%shape[1] == 0 {
			return int(side), nil
		}
	}
	return 0, fmt.Errorf("%v in %d bytes are not square pictures in 3 planes", shape, n)
}

// readNPZBatch reads the same dictionary from an .npz, with labels from 1 on.
func readNPZBatch(b *batchReader, f *blob) error {
	z, err := npy.NewNPZ(f.r, f.size)
	if err != nil {
		return err
	}
	pixels, err := z.Read("data")
	if err != nil {
		return err
	}
	side, err := planarSide(pixels.Shape, int64(len(pixels.Data)))
	if err != nil || pixels.DType != npy.Uint8 {
		return errors.Join(errors.New("no uint8 array data"), err)
	}
	a, err := z.Read("labels")
	if err != nil {
		return err
	}
	labels, err := a.Int64s()
	for i := range labels {
		labels[i]--
	}
	if err != nil {
		return err
	}
	return b.add(side, part{n: int(pixels.Shape[0]), r: bytes.NewReader(pixels.Data), stride: pixels.Shape[1]}, labels)
}

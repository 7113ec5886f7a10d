package data

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch/npy"
	"github.com/wangkuiyi/gotorch/pickle"
)

// openFiles opens the files of a set in dir that a split needs: opening a compressed one reads it.
func (s *batchSet) openFiles(dir string, names []string, split, where string) (*collection, error) {
	part, err := s.partOf(split, where)
	if err != nil {
		return nil, err
	}
	needed := s.files(names, part.MatchString)
	blobs := map[string]*blob{}
	var closers []io.Closer
	for _, name := range names {
		if !needed[strings.TrimSuffix(name, gzipped)] {
			continue
		}
		b, f, err := openBlob(filepath.Join(dir, name))
		if err != nil {
			return nil, errors.Join(err, closeAll(closers))
		}
		blobs[b.name], closers = b, append(closers, f)
	}
	c, err := s.open(blobs, split, where)
	if err != nil {
		return nil, errors.Join(err, closeAll(closers))
	}
	c.source.(*arrays).closers = closers
	return c, nil
}

// partOf returns which names the files with the images of a split have. An empty split is train.
func (s *batchSet) partOf(split, where string) (*regexp.Regexp, error) {
	part := s.parts[cmp.Or(split, "train")]
	if part == nil {
		return nil, fmt.Errorf("%s: %s has no %s images: choose train or test", where, s.title, split)
	}
	return part, nil
}

// open reads the files of one split, in their numbers' order.
func (s *batchSet) open(blobs map[string]*blob, split, where string) (*collection, error) {
	part, err := s.partOf(split, where)
	if err != nil {
		return nil, err
	}
	split = cmp.Or(split, "train")
	b := &batchReader{images: &arrays{c: 3, planar: true}}
	for _, name := range slices.SortedFunc(maps.Keys(blobs), compareNumbered) {
		if !part.MatchString(name) {
			continue
		}
		if s.labels != nil && b.images.count() > 0 {
			return nil, fmt.Errorf("%s: there are several sets of %s images, one of them %s: name its file", where, split, name)
		}
		if s.labels != nil {
			for _, of := range s.labels(name) {
				blobs[name].labels = cmp.Or(blobs[name].labels, blobs[of])
			}
		}
		if err := s.read(b, blobs[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if b.images.count() == 0 {
		return nil, fmt.Errorf("%s: %s lacks its %s images", where, s.title, split)
	}
	own := &ownLabels{labels: b.labels, from: "labels of " + s.title}
	c := &collection{source: b.images, title: fmt.Sprintf("%s (%s) %s", s.title, split, where), split: true}
	c.readOwn = func() (*ownLabels, error) { return own, b.none }
	if names := blobs[s.names]; names != nil {
		if own.names, err = s.classNames(names); err == nil {
			err = checkLabel(slices.Max(own.labels), own.names)
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
	l, ok := member[*pickle.List](d, s.key)
	if !ok {
		return nil, fmt.Errorf("no list %s", s.key)
	}
	var names []string
	for _, item := range l.Items {
		name, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("%s holds a %s", s.key, pickle.TypeName(item))
		}
		names = append(names, name)
	}
	return names, nil
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
		pixels, ok := member[*ndarray](d, "data")
		if !ok || pixels.dtype != "u1" && pixels.dtype != "uint8" {
			return errors.New("no uint8 array data")
		}
		side, err := planarSide(pixels.shape, pixels.data.Length)
		if err != nil {
			return err
		}
		l, ok := member[*pickle.List](d, key)
		if !ok {
			return fmt.Errorf("no list %s", key)
		}
		labels := make([]int64, len(l.Items))
		for i, item := range l.Items {
			label, ok := item.(int64)
			if !ok {
				return fmt.Errorf("%s holds a %s", key, pickle.TypeName(item))
			}
			labels[i] = label - base
		}
		return b.add(side, part{n: int(pixels.shape[0]), r: f.r, offset: pixels.data.Offset, stride: pixels.shape[1]}, labels)
	}
}

// planarSide returns the side of images [N, 3*side*side] that occupy n bytes.
func planarSide(shape []int64, n int64) (int, error) {
	if len(shape) == 2 && shape[1] > 0 && shape[1] <= 3*maxSize*maxSize {
		side := int64(math.Sqrt(float64(shape[1] / 3)))
		if 3*side*side == shape[1] && shape[0] == n/shape[1] && n%shape[1] == 0 {
			return int(side), nil
		}
	}
	return 0, fmt.Errorf("%v in %d bytes are not square images in 3 planes", shape, n)
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

package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"iddpm/data/imaging"
)

// idxImages matches the names of MNIST's files of images, and of their kin (EMNIST,
// Fashion-MNIST, KMNIST, QMNIST): the part before "images", and the separator.
var idxImages = regexp.MustCompile(`^(.*)images([-.])idx[34]-ubyte$`)

// isIDX reports whether a path names such a file, which may be compressed.
func isIDX(path string) bool {
	return idxImages.MatchString(strings.TrimSuffix(filepath.Base(path), gzipped))
}

// idxLabels returns the names that the file of labels of a file of images may have.
func idxLabels(name string) []string {
	m := idxImages.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	return []string{m[1] + "labels" + m[2] + "idx1-ubyte", m[1] + "labels" + m[2] + "idx2-int"}
}

// openIDX opens one of MNIST's files of images, and the labels beside it.
func openIDX(path string) (*collection, error) {
	dir, file := filepath.Split(path)
	image := strings.TrimSuffix(file, gzipped)
	only := regexp.MustCompile("^" + regexp.QuoteMeta(image) + "$")
	set := &batchSet{title: "idx", parts: map[string]*regexp.Regexp{"train": only}, read: readIDX, labels: idxLabels}
	names := []string{file}
	for _, of := range idxLabels(image) {
		for _, name := range []string{of, of + gzipped} {
			if isFileAt(filepath.Join(dir, name)) {
				names = append(names, name)
				break
			}
		}
	}
	c, err := set.openFiles(dir, names, "train", path)
	if err == nil {
		c.title, c.split = "idx "+path, false
	}
	return c, err
}

// idxTypes are the sizes of the element types, in bytes, by their code.
var idxTypes = map[byte]int64{0x08: 1, 0x09: 1, 0x0b: 2, 0x0c: 4, 0x0d: 4, 0x0e: 8}

const (
	idxUint8 = 0x08
	idxInt32 = 0x0c
)

// idx is the header of an idx file.
type idx struct {
	kind   byte
	shape  []int64
	offset int64 // of the elements
}

// readIDXHeader reads a header, and checks that the file has exactly its elements.
func readIDXHeader(b *blob) (*idx, error) {
	var head [4]byte
	if _, err := b.r.ReadAt(head[:], 0); err != nil {
		return nil, imaging.EndsEarly(err)
	}
	size, known := idxTypes[head[2]]
	if head[0] != 0 || head[1] != 0 || !known {
		return nil, errors.New("not an idx file: it does not begin with 0, 0, a type and the number of dimensions")
	}
	dims := make([]byte, 4*int(head[3]))
	if _, err := b.r.ReadAt(dims, int64(len(head))); err != nil && !(err == io.EOF && len(dims) == 0) {
		return nil, imaging.EndsEarly(err)
	}
	x := &idx{kind: head[2], offset: int64(len(head) + len(dims))}
	bytes := size
	for i := range head[3] {
		n := int64(binary.BigEndian.Uint32(dims[4*i:]))
		if x.shape = append(x.shape, n); n > 0 && bytes > b.size/n {
			return nil, fmt.Errorf("the file is cut short or corrupt: %v elements do not fit into %d bytes", x.shape, b.size)
		}
		bytes *= n
	}
	if bytes != b.size-x.offset {
		return nil, fmt.Errorf("the file is cut short or corrupt: %v elements of %d bytes, in %d", x.shape, size, b.size-x.offset)
	}
	return x, nil
}

// readIDX reads images uint8 [N, H, W], or [N, H, W, C] with 1, 3 or 4 channels, and their
// labels from a file of their own.
func readIDX(b *batchReader, f *blob) error {
	x, err := readIDXHeader(f)
	if err != nil {
		return err
	}
	if x.kind != idxUint8 {
		return fmt.Errorf("elements of type %#x and shape %v are not uint8 [N, H, W] or [N, H, W, C]", x.kind, x.shape)
	}
	if len(x.shape) == 3 {
		x.shape = append(x.shape, 1)
	}
	if b.images, err = nhwc(x.shape, f.r, x.offset); err != nil {
		return err
	}
	if f.labels == nil {
		b.none = fmt.Errorf("the file of labels, %s, is not beside the images", strings.Join(idxLabels(f.name), " or "))
		return nil
	}
	labels, err := readIDXLabels(f.labels)
	if err == nil {
		err = b.addLabels(b.images.count(), labels)
	}
	if err != nil { // an error only if labels are needed
		b.none = fmt.Errorf("%s: %w", f.labels.name, err)
	}
	return nil
}

// readIDXLabels reads labels uint8 [N], or int32 [N, K] of which the first column is the
// class, as in QMNIST.
func readIDXLabels(f *blob) ([]int64, error) {
	x, err := readIDXHeader(f)
	if err != nil {
		return nil, err
	}
	columns, width := int64(1), idxTypes[x.kind]
	switch {
	case x.kind == idxUint8 && len(x.shape) == 1:
	case x.kind == idxInt32 && len(x.shape) == 2 && x.shape[1] > 0:
		columns = x.shape[1]
	default:
		return nil, fmt.Errorf("elements of type %#x and shape %v are not labels", x.kind, x.shape)
	}
	all := make([]byte, f.size-x.offset)
	if _, err := f.r.ReadAt(all, x.offset); err != nil && !(err == io.EOF && len(all) == 0) {
		return nil, err
	}
	labels := make([]int64, x.shape[0])
	for i := range labels {
		value := all[int64(i)*columns*width:]
		if labels[i] = int64(value[0]); x.kind == idxInt32 {
			labels[i] = int64(int32(binary.BigEndian.Uint32(value)))
		}
	}
	return labels, nil
}

package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"iddpm/data/imaging"
)

// Dataset is a set of images that can be read in any order, from several
// goroutines at once.
type Dataset struct {
	*collection
	size    int
	decoder imaging.Decoder
	classes *classes // of the collection's images; nil without classes
	kept    []int32  // images of the collection that the set consists of; nil: all
	jpegs   bool     // whether there are jpeg files
	cache   *cache   // nil: images are decoded at every read
	bad     badImages

	memories sync.Pool // of *imaging.Memory
}

// Len returns the number of images, at least one.
func (d *Dataset) Len() int {
	if d.kept != nil {
		return len(d.kept)
	}
	return d.count()
}

// Name says what the set is, for a log line: "folder photos", "built-in emoji set".
func (d *Dataset) Name() string { return d.title }

// ImageSize returns the side of the images, in pixels.
func (d *Dataset) ImageSize() int { return d.size }

// Cached reports whether decoded images are cached in memory.
func (d *Dataset) Cached() bool { return d.cache != nil }

// ClassNames returns the names of the classes, by label; nil without classes.
func (d *Dataset) ClassNames() []string {
	if d.classes == nil {
		return nil
	}
	return d.classes.names
}

// NumClasses returns the number of classes, 0 without.
func (d *Dataset) NumClasses() int { return len(d.ClassNames()) }

// ClassRule returns the source of the classes, for a log line: "folders", "dataset.json";
// "" without classes.
func (d *Dataset) ClassRule() string {
	if d.classes == nil {
		return ""
	}
	return d.classes.rule
}

// ClassWarnings returns warnings about classes that may not be intended.
func (d *Dataset) ClassWarnings() []string {
	if d.classes == nil {
		return nil
	}
	return d.classes.warnings
}

// ClassCounts returns how many images each class has, by label; nil without classes.
func (d *Dataset) ClassCounts() []int {
	if d.classes == nil {
		return nil
	}
	counts := make([]int, d.NumClasses())
	for i := range d.Len() {
		counts[d.Label(i)]++
	}
	return counts
}

// ImageName returns the name of image i within the set.
func (d *Dataset) ImageName(i int) string { return d.name(d.at(i)) }

// Label returns the class of image i, 0 without classes.
func (d *Dataset) Label(i int) int64 {
	if d.classes == nil {
		return 0
	}
	return d.classes.labels[d.at(i)]
}

// Fingerprint identifies the images by their names, order and labels, and by
// ImageSize. A loader's stored position refers to the same image only if the
// fingerprint is equal.
func (d *Dataset) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d\n", d.Len(), d.size)
	for i := range d.Len() {
		io.WriteString(h, d.ImageName(i))
		fmt.Fprintf(h, "\x00%d\n", d.Label(i))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// at returns the collection's number of image i.
func (d *Dataset) at(i int) int {
	if d.kept != nil {
		return int(d.kept[i])
	}
	return i
}

// Image returns image i, preprocessed: pixels [ImageSize, ImageSize, 3]
// (row, column, RGB) and the label (0 without classes). The caller may keep and
// change the slice. An error names the image; it does not count against MaxBadImages.
func (d *Dataset) Image(i int) (pixels []byte, label int64, err error) {
	if i < 0 || i >= d.Len() {
		return nil, 0, fmt.Errorf("%s: image %d is not of 0..%d", d.title, i, d.Len()-1)
	}
	pixels = make([]byte, d.size*d.size*3)
	if err := d.read(pixels, i); err != nil {
		return nil, 0, d.named(i, err)
	}
	return pixels, d.Label(i), nil
}

// Images returns all images, as Image does each: pixels [N, ImageSize, ImageSize, 3] and
// labels [N].
func (d *Dataset) Images() (pixels []byte, labels []int64, err error) {
	for i := range d.Len() {
		img, label, err := d.Image(i)
		if err != nil {
			return nil, nil, err
		}
		pixels, labels = append(pixels, img...), append(labels, label)
	}
	return pixels, labels, nil
}

// read writes image i, preprocessed as in the reference, to dst.
func (d *Dataset) read(dst []byte, i int) error {
	if d.cache.get(dst, i) {
		return nil
	}
	err := d.img(i, func(p imaging.Image) error { return p.Fit(dst, d.size) })
	if err == nil {
		d.cache.put(dst, i)
	}
	return err
}

// img decodes image i and passes it to use, which must not keep it.
func (d *Dataset) img(i int, use func(imaging.Image) error) error {
	decoder := d.decoder
	decoder.Memory, _ = d.memories.Get().(*imaging.Memory)
	if decoder.Memory == nil {
		decoder.Memory = &imaging.Memory{}
	}
	defer d.memories.Put(decoder.Memory)
	defer decoder.Memory.Reset()
	p, err := d.load(d.at(i), decoder)
	if err != nil {
		return err
	}
	return use(p)
}

// SizeOf returns the width and height of image i, in pixels, before preprocessing.
func (d *Dataset) SizeOf(i int) (width, height int, err error) {
	err = d.img(i, func(p imaging.Image) error {
		width, height = p.Size().X, p.Size().Y
		return nil
	})
	if err != nil {
		err = d.named(i, err)
	}
	return width, height, err
}

func (d *Dataset) named(i int, err error) error {
	if isShortage(err) {
		return &ShortageError{Where: d.title, Err: err}
	}
	return fmt.Errorf("%s: %s: %w", d.title, d.ImageName(i), err)
}

// LeftOut returns the images that Open found and excluded because they are not data,
// by reason.
func (d *Dataset) LeftOut() []LeftOut { return d.leftOut }

// Bad returns the images found unreadable so far, by name.
func (d *Dataset) Bad() []BadImage { return d.bad.list() }

// Close closes the set's files. Close its loaders first.
func (d *Dataset) Close() error { return d.collection.Close() }

package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/color"
	"io"
	"math/rand/v2"
	"sync"

	"iddpm/data/imaging"
)

// Options say how images become training examples. The zero value is usable.
type Options struct {
	// ImageSize is the side of the square images returned, in pixels; 0 means 64,
	// and OwnSize the shorter side of the first image.
	ImageSize int

	// ClassCond requires a class for each image; without it there are no labels.
	ClassCond bool

	// Labels says where the classes come from: "prefix" (of the file name, up to
	// the first underscore), "folder" (the first folder that not all images
	// share, below train and test), "source" (the data set's own labels: dataset.json,
	// arr_1 of an npz, CIFAR's labels, a Parquet column, .cls files), or the path of a .csv, .tsv or .txt file of lines
	// NAME,CLASS, as spreadsheets write them; see IsLabelTable.
	// Empty means the data set's own labels if it has any, else prefixes, else folders.
	// It is an error if prefixes and folders disagree and neither gives a single class
	// or nearly one class per image.
	Labels string

	// NumClasses is the number of classes of the network; 0 means the number of classes
	// in the data. Numeric labels below it are kept. Otherwise numeric labels with gaps
	// are renumbered densely.
	NumClasses int

	// KnownClasses are the names of the classes that a network was trained on, by label.
	// Images are labelled accordingly; any other class is an UnknownClassError. nil
	// means no known classes.
	KnownClasses []string

	// Classes are the names of the classes whose images the set consists of; empty means all
	// images. An unknown one is an UnknownChoiceError.
	Classes []string

	// Split chooses the "train" or the "test" images of CIFAR, MNIST and the
	// downsampled ImageNet, or the "train", "validation" or "test" files of a folder of
	// Parquet or tar files, where their names say it; empty means train. Other sets are
	// not split.
	Split string

	// HoldOut is the fraction of images, in [0, 1), held out for validation: Open
	// leaves them out, and with HeldOut it opens only them.
	HoldOut float64
	HeldOut bool

	// Limit, if positive, is the maximum number of images, spread evenly over the set.
	Limit int

	// Background is the colour under transparent pixels; nil means white.
	Background color.Color

	// Orient applies the EXIF orientation. The reference does not.
	Orient bool

	// JPEGDecoder chooses the decoder of jpeg files: "turbo" is libjpeg-turbo, which
	// gives the reference's pixels, "go" is Go's own decoder, and "auto" (or empty) is
	// libjpeg-turbo if it is installed.
	JPEGDecoder string

	// MaxBadImages is how many unreadable images are tolerated.
	MaxBadImages int

	// CacheBytes bounds the memory for decoded images. They are cached only if the
	// whole set fits. 0 means half of the memory that is free when the set is
	// opened; a negative number disables the cache.
	CacheBytes int64

	// Sharers is the number of processes on this machine that open the same set. Each
	// caches its own copy in its part of the memory. 0 means 1.
	Sharers int
}

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

// Open opens a set of images:
//
//   - a folder of jpg, jpeg, png, gif, webp and bmp files, at any depth; what
//     Dataset.LeftOut lists is left out
//   - a .zip of such files, that of NVlabs/edm with its dataset.json included
//   - an .npz with arr_0, uint8 [N, H, W, C], and optional labels arr_1 [N]
//   - CIFAR-10 and CIFAR-100, binary or Python version, as the .tar.gz or unpacked
//   - a folder of downsampled ImageNet's batches (train_data_batch_1 ...)
//   - MNIST's idx files, compressed or not, as a folder or the file of images
//   - Parquet files with a column of image files, as Hugging Face's datasets writes them:
//     one, or a folder of shards
//   - tar files of images and labels, as webdataset writes them: one, or a folder of shards
//   - a folder with an LMDB database of image files, as in LSUN, or its .mdb
//   - a single image
//   - the empty path: the built-in emoji set
//
// Open checks the headers of the images, so that files that are not images are found
// before training starts; in a set of more than 10,000 images it checks 10,000
// spread evenly. Corrupt pixels are found when an image is read.
func Open(path string, o Options) (*Dataset, error) {
	if o.ImageSize == 0 {
		o.ImageSize = 64
	}
	if o.ImageSize != OwnSize && (o.ImageSize < 1 || o.ImageSize > maxSize) {
		return nil, fmt.Errorf("image size %d is not in 1..%d", o.ImageSize, maxSize)
	}
	turbo, err := imaging.UseTurbo(o.JPEGDecoder)
	if err != nil {
		return nil, err
	}
	c, err := openSource(path, o.Split)
	if err != nil {
		return nil, err
	}
	d := &Dataset{
		collection: c,
		size:       o.ImageSize,
		decoder:    imaging.Decoder{Background: imaging.NewBackground(o.Background), Orient: o.Orient, Turbo: turbo},
		bad:        badImages{limit: o.MaxBadImages, where: c.title},
	}
	if err := d.apply(o); err != nil {
		c.Close()
		return nil, err
	}
	return d, nil
}

// OwnSize is the ImageSize of images that keep their size.
const OwnSize = -1

// maxSize bounds ImageSize, far above any size that can be trained.
const maxSize = 8192

// apply applies the options to the images found: it assigns classes and selects a
// subset.
func (d *Dataset) apply(o Options) (err error) {
	if err := d.label(o); err != nil {
		return err
	}
	if err := d.checkHeaders(); err != nil {
		return err
	}
	if err := d.holdOut(o.HoldOut, o.HeldOut); err != nil {
		return err
	}
	d.limit(o.Limit)
	if d.size == OwnSize {
		w, h, err := d.SizeOf(0)
		if err != nil {
			return err
		}
		d.size = min(w, h, maxSize)
	}
	d.jpegs = d.mayHoldJPEG()
	d.cache = newCache(d.Len(), d.size*d.size*3, o.CacheBytes, max(o.Sharers, 1))
	return nil
}

// label assigns classes, if o asks for labels or for the images of some classes.
func (d *Dataset) label(o Options) (err error) {
	switch {
	case len(o.Classes) > 0:
		err = d.chooseClasses(o)
	case o.ClassCond:
		d.classes, err = d.classify(o)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if !o.ClassCond {
		d.classes = nil
		return nil
	}
	d.checkClasses()
	return nil
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

// readCropped writes a random crop of image i to dst. It needs the whole image, so it
// bypasses the cache.
func (d *Dataset) readCropped(dst []byte, i int, r *rand.PCG) error {
	return d.img(i, func(p imaging.Image) error { return fitRandomly(dst, p, d.size, r) })
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

// checkedHeaders is the maximum number of headers that Open reads: about a second.
const checkedHeaders = 10000

// checkHeaders drops the images whose headers cannot be read.
func (d *Dataset) checkHeaders() error {
	var err error
	for _, folder := range d.unreadable {
		err = d.bad.add(folder.Name, folder.Err)
	}
	n := d.Len()
	checked := min(n, checkedHeaders)
	found := make([]error, checked)
	_ = parallel(context.Background(), checked, func(k int) error {
		found[k] = d.check(d.at(Spread(k, checked, n)))
		return nil
	})
	unreadable := map[int]bool{}
	for k, cause := range found {
		if cause == nil {
			continue
		}
		i := d.at(Spread(k, checked, n))
		unreadable[i] = true
		if err = d.bad.add(d.name(i), cause); isShortage(err) {
			return err
		}
	}
	if err != nil || len(unreadable) == 0 {
		return err
	}
	readable := []int32{} // not nil, which means all
	for i := range n {
		if !unreadable[d.at(i)] {
			readable = append(readable, int32(d.at(i)))
		}
	}
	if d.kept = readable; len(readable) == 0 {
		return fmt.Errorf("%s: not one image can be read: %w", d.title, d.bad.error())
	}
	return nil
}

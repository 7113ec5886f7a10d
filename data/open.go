package data

import (
	"context"
	"fmt"

	"iddpm/data/imaging"
)

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

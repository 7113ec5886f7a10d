package data

import "image/color"

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

// OwnSize is the ImageSize of images that keep their size.
const OwnSize = -1

// maxSize bounds ImageSize, far above any size that can be trained.
const maxSize = 8192

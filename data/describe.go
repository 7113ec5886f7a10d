package data

import (
	"cmp"
	"context"
	"image"
	"image/color"
	"math"
	"slices"
	"sync"

	"iddpm/data/imaging"
)

// Description summarises a set of images before training.
type Description struct {
	Name     string         // of the set, as Dataset.Name
	Images   int            // those that can be read
	Sizes    []SizeCount    // by decreasing count
	Classes  []ClassCount   // by label; nil where the set has no classes
	Bad      []BadImage     // by name
	LeftOut  []LeftOut      // excluded images that are not data
	Warnings []WarningCount // by decreasing count: images that were decoded, but look wrong
	Sheet    *image.NRGBA   // contact sheet of images at ImageSize, spread evenly over the set

	Rule          string   // where classes come from, see Dataset.ClassRule
	ClassWarnings []string // about classes that may not be intended
	NoClass       error    // why the set has no classes; nil where it has some
}

// SizeCount says how many images have a size in pixels.
type SizeCount struct{ Width, Height, Count int }

// ClassCount says how many images a class has.
type ClassCount struct {
	Name  string
	Count int
}

// WarningCount says how many images have a warning.
type WarningCount struct {
	Warning imaging.Warning
	Count   int
	First   string // the first image's name
}

// DescribeOptions are options of Describe. The zero value is usable.
type DescribeOptions struct {
	// Options are the set's. MaxBadImages is ignored; classes are counted if
	// there are any, and required only with ClassCond.
	Options

	// Columns and Rows of the contact sheet; 0 means 8.
	Columns, Rows int

	// Progress, if set, is called with the number of images read so far and the
	// total. It is called from several goroutines, one at a time.
	Progress func(done, total int)
}

// Describe decodes every image under path and summarises them. Unreadable images
// are not an error as long as one image is readable.
func Describe(ctx context.Context, path string, o DescribeOptions) (*Description, error) {
	ds, noClass, err := openToDescribe(path, o.Options)
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	d := &Description{Name: ds.Name(), Rule: ds.ClassRule(), ClassWarnings: ds.ClassWarnings(), NoClass: noClass, LeftOut: ds.LeftOut()}
	good, err := d.readAll(ctx, ds, o.Progress)
	if err != nil {
		return nil, err
	}
	if len(good) == 0 {
		return nil, ds.bad.error()
	}
	d.Images, d.Bad = len(good), ds.Bad()
	d.countClasses(ds, good)
	d.Sheet, err = sheet(ds, good, cmp.Or(o.Columns, 8), cmp.Or(o.Rows, 8))
	return d, err
}

// openToDescribe opens a set, with its classes if it has any; noClass says why not.
func openToDescribe(path string, o Options) (ds *Dataset, noClass, err error) {
	o.MaxBadImages = math.MaxInt
	o.CacheBytes = -1
	if o.ClassCond {
		ds, err = Open(path, o)
		return ds, nil, err
	}
	classes := o
	classes.ClassCond = true
	if ds, noClass = Open(path, classes); noClass == nil {
		return ds, nil, nil
	}
	ds, err = Open(path, o)
	return ds, noClass, err
}

// readAll decodes the images, counts their sizes and warnings, and returns the readable ones.
func (d *Description) readAll(ctx context.Context, ds *Dataset, tell func(done, total int)) ([]int, error) {
	told := progress{total: ds.Len(), tell: tell}
	var mu sync.Mutex
	var good []int
	sizes := map[image.Point]int{}
	warned := map[imaging.Warning][]int{}
	err := parallel(ctx, ds.Len(), func(i int) error {
		defer told.add(1)
		var size image.Point
		var warning imaging.Warning
		err := ds.img(i, func(p imaging.Image) error {
			size, warning = p.Size(), p.Warning()
			return p.Fit(make([]byte, ds.size*ds.size*3), ds.size)
		})
		if err != nil {
			return ds.bad.add(ds.ImageName(i), err)
		}
		mu.Lock()
		defer mu.Unlock()
		good = append(good, i)
		sizes[size]++
		if warning != "" {
			warned[warning] = append(warned[warning], i)
		}
		return nil
	})
	for size, n := range sizes {
		d.Sizes = append(d.Sizes, SizeCount{Width: size.X, Height: size.Y, Count: n})
	}
	slices.SortFunc(d.Sizes, func(a, b SizeCount) int {
		return cmp.Or(b.Count-a.Count, a.Width-b.Width, a.Height-b.Height)
	})
	for warning, of := range warned {
		d.Warnings = append(d.Warnings, WarningCount{Warning: warning, Count: len(of), First: ds.ImageName(slices.Min(of))})
	}
	slices.SortFunc(d.Warnings, func(a, b WarningCount) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Warning, b.Warning))
	})
	slices.Sort(good)
	return good, err
}

func (d *Description) countClasses(ds *Dataset, good []int) {
	for _, name := range ds.ClassNames() {
		d.Classes = append(d.Classes, ClassCount{Name: name})
	}
	if d.Classes == nil {
		return
	}
	for _, i := range good {
		d.Classes[ds.Label(i)].Count++
	}
}

// sheet returns a contact sheet of images spread evenly over those given.
func sheet(ds *Dataset, of []int, columns, rows int) (*image.NRGBA, error) {
	n := min(columns*rows, len(of))
	var all []byte
	for k := range n {
		pixels, _, err := ds.Image(of[Spread(k, n, len(of))])
		if err != nil {
			return nil, err
		}
		all = append(all, pixels...)
	}
	return imaging.Grid(all, ds.size, columns, color.Gray{Y: 128}), nil
}

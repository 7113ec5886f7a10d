package data

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"

	"iddpm/data/imaging"
)

// PrepareOptions are options of Prepare. The zero value is usable.
type PrepareOptions struct {
	// Options are the source's. ImageSize is the size of the packed images.
	// Classes are stored only with ClassCond. CacheBytes is ignored.
	Options

	// Progress, if set, is called with the number of images packed (what is
	// "packing") and then verified in the finished zip ("checking"), and the total. It
	// is called from several goroutines, one at a time.
	Progress func(what string, done, total int)
}

// Prepared is the result of Prepare.
type Prepared struct {
	Images   int        // packed
	Resumed  int        // of these, packed by an earlier run that was interrupted
	Classes  int        // in dataset.json; 0 without
	Bytes    int64      // size of the zip
	Bad      []BadImage // left out, by name
	LeftOut  []LeftOut  // excluded images that are not data
	Rule     string     // source of the classes, see Dataset.ClassRule
	Warnings []string   // about classes that may not be intended
}

// Prepare packs the images of src, anything that Open opens, into a zip in the
// format of NVlabs/edm's tools: uncompressed png files 00000/img00000000.png, ...,
// preprocessed to ImageSize as in the reference, and dataset.json with the labels
// and, in addition, the class_names.
//
// The images are packed in parts of 1000 in the folder DST.parts, until the zip has
// been written and verified. An interrupted run resumes from these parts and writes
// the same zip.
func Prepare(ctx context.Context, src, dst string, o PrepareOptions) (*Prepared, error) {
	if !strings.EqualFold(filepath.Ext(dst), ".zip") {
		return nil, fmt.Errorf("%s: the name of the file to write must end in .zip", dst)
	}
	o.CacheBytes = -1
	ds, err := Open(src, o.Options)
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	p := &packing{
		ds: ds, dst: dst, dir: dst + ".parts",
		told:    o.Progress,
		encoder: png.Encoder{BufferPool: &encoderBuffers{}},
	}
	p.progress = p.newProgress("packing", ds.Len())
	if err := p.begin(o.Options); err != nil {
		return nil, fmt.Errorf("cannot prepare %s: %w", dst, err)
	}
	for first := 0; first < ds.Len(); first += partLength {
		if err := p.pack(ctx, first); err != nil {
			return nil, unfinished(first, fmt.Errorf("cannot prepare %s: %w", dst, err))
		}
	}
	if err := p.join(ctx); err != nil {
		return nil, unfinished(ds.Len(), fmt.Errorf("cannot write %s: %w", dst, err))
	}
	p.result.Bad, p.result.Classes = ds.Bad(), ds.NumClasses()
	p.result.LeftOut, p.result.Rule, p.result.Warnings = ds.LeftOut(), ds.ClassRule(), ds.ClassWarnings()
	return &p.result, os.RemoveAll(p.dir)
}

// UnfinishedError says that Prepare stopped with some images packed; the same call
// resumes from them.
type UnfinishedError struct {
	Packed int // images of the source that are finished
	Err    error
}

// Error is the cause's message.
func (e *UnfinishedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnfinishedError) Unwrap() error { return e.Err }

func unfinished(packed int, err error) error {
	if packed == 0 {
		return err
	}
	return &UnfinishedError{packed, err}
}

// partLength is the number of images of a part: the most work that an interruption loses.
const partLength = 1000

// packing is one run of Prepare.
type packing struct {
	ds       *Dataset
	dst, dir string
	told     func(what string, done, total int)
	progress *progress // of the packing
	encoder  png.Encoder
	result   Prepared
}

func (p *packing) newProgress(what string, total int) *progress {
	if p.told == nil {
		return &progress{}
	}
	return &progress{total: total, tell: func(done, total int) { p.told(what, done, total) }}
}

// encoderBuffers lets the encoder reuse its compressors.
type encoderBuffers struct{ sync.Pool }

func (b *encoderBuffers) Get() *png.EncoderBuffer {
	buffer, _ := b.Pool.Get().(*png.EncoderBuffer)
	return buffer
}

func (b *encoderBuffers) Put(buffer *png.EncoderBuffer) { b.Pool.Put(buffer) }

// begin creates the folder of parts, or resumes from the parts of an earlier run with
// the same images and options.
func (p *packing) begin(o Options) error {
	const mark = "images packed by iddpm"
	plan := fmt.Sprintf("%s: %s background %v orient %v jpeg %q\n", mark, p.ds.Fingerprint(), imaging.NewBackground(o.Background), o.Orient, p.ds.JPEGDecoder())
	file := filepath.Join(p.dir, "plan")
	old, err := os.ReadFile(file)
	switch {
	case err == nil && string(old) == plan:
		return nil
	case err == nil && strings.HasPrefix(string(old), mark):
		err = os.RemoveAll(p.dir)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	if err := os.Mkdir(p.dir, 0o777); err != nil {
		return fmt.Errorf("a folder of that name is needed for parts: %w", err)
	}
	return renameio.WriteFile(file, []byte(plan), 0o666)
}

func (p *packing) part(first int) string {
	return filepath.Join(p.dir, fmt.Sprintf("part%08d.zip", first))
}

// pack writes the part with the images from first on, unless it exists.
// Within a part images are named by their number in the source.
func (p *packing) pack(ctx context.Context, first int) error {
	n := min(partLength, p.ds.Len()-first)
	if done, err := p.packed(first, n); done || err != nil {
		return err
	}
	files := make([][]byte, n)
	err := parallel(ctx, n, func(k int) error {
		pixels, _, err := p.ds.Image(first + k)
		if err != nil {
			err = p.ds.bad.add(p.ds.ImageName(first+k), errors.Unwrap(err))
		} else {
			files[k], err = p.encode(pixels)
		}
		p.progress.add(1)
		return err
	})
	if err != nil {
		return err
	}
	return writeZip(p.part(first), func(z *zip.Writer) error {
		for k, file := range files {
			if file == nil {
				continue
			}
			if err := store(z, imageName(first+k), file); err != nil {
				return err
			}
		}
		return nil
	})
}

// packed reports whether an earlier run has packed the part with n images
// from first on. It counts the images that were unreadable then.
func (p *packing) packed(first, n int) (bool, error) {
	z, err := zip.OpenReader(p.part(first))
	if err != nil {
		return false, nil
	}
	defer z.Close()
	there := map[string]bool{}
	for _, f := range z.File {
		there[f.Name] = true
	}
	for k := range n {
		if there[imageName(first+k)] {
			continue
		}
		_, _, err := p.ds.Image(first + k)
		if err == nil {
			return false, nil // it has become readable
		}
		if err := p.ds.bad.add(p.ds.ImageName(first+k), errors.Unwrap(err)); err != nil {
			return false, err
		}
	}
	p.result.Resumed += len(there)
	p.progress.add(n)
	return true, nil
}

// join concatenates the parts, verifies the result and renames it to dst.
func (p *packing) join(ctx context.Context) error {
	var labels [][2]any
	err := writeZip(p.dst, func(z *zip.Writer) error {
		for first := 0; first < p.ds.Len(); first += partLength {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := p.copyPart(z, first, &labels); err != nil {
				return err
			}
		}
		if p.result.Images == 0 {
			return fmt.Errorf("not one image can be read: %w", p.ds.bad.error())
		}
		return storeLabels(z, labels, p.ds.ClassNames())
	}, func(file string) error { return p.verify(ctx, file) })
	if err != nil {
		return err
	}
	info, err := os.Stat(p.dst)
	if err == nil {
		p.result.Bytes = info.Size()
	}
	return err
}

// copyPart copies a part's images and renumbers them without gaps.
func (p *packing) copyPart(z *zip.Writer, first int, labels *[][2]any) error {
	part, err := zip.OpenReader(p.part(first))
	if err != nil {
		return err
	}
	defer part.Close()
	for _, f := range part.File {
		var i int
		if _, err := fmt.Sscanf(filepath.Base(f.Name), "img%d.png", &i); err != nil || i < first || i >= p.ds.Len() {
			return fmt.Errorf("%s holds an image %s: remove the folder", p.part(first), f.Name)
		}
		name := imageName(p.result.Images)
		if err := copyEntry(z, f, name); err != nil {
			return err
		}
		*labels = append(*labels, [2]any{name, p.ds.Label(i)})
		p.result.Images++
	}
	return nil
}

// verify reads every image and label of a finished zip.
func (p *packing) verify(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c, err := newZip(f, info.Size(), file, func() error { return nil })
	if err != nil {
		return err
	}
	if _, err := c.byRule("source", 0); p.ds.classes != nil && err != nil {
		return err
	}
	if c.count() != p.result.Images {
		return fmt.Errorf("%d images were written and %d can be read", p.result.Images, c.count())
	}
	checked := p.newProgress("checking", c.count())
	return parallel(ctx, c.count(), func(i int) error {
		defer checked.add(1)
		q, err := c.load(i, imaging.Decoder{})
		if size := q.Size(); err == nil && size != image.Pt(p.ds.size, p.ds.size) {
			err = fmt.Errorf("it is %d x %d pixels large", size.X, size.Y)
		}
		if err != nil {
			return fmt.Errorf("%s was not written correctly: %w", c.name(i), err)
		}
		return nil
	})
}

// imageName is NVlabs/edm's name of image i.
func imageName(i int) string { return fmt.Sprintf("%05d/img%08d.png", i/1000, i) }

func (p *packing) encode(pixels []byte) ([]byte, error) {
	var b bytes.Buffer
	err := p.encoder.Encode(&b, imaging.ToImage(pixels, p.ds.size))
	return b.Bytes(), err
}

package train

import (
	"context"

	"iddpm/data"
	"iddpm/diffusion"
)

// Data is a set of images to train on: that of Config.Data, or a user's own, such as images in
// memory. Its images are ordered by (seed, position) alone, so that a run can be resumed from a
// position.
type Data interface {
	Name() string         // for the log and checkpoints
	Len() int             // number of images
	Fingerprint() string  // equal for equal images; a change is reported when a run is resumed
	ClassNames() []string // by label; empty without classes
	ClassCounts() []int   // images of each class, by label; empty without classes
	Batches(o data.LoaderOptions) (Batches, error)
}

// Batches is the endless sequence of batches of a run from a position on. [data.Loader] is one.
type Batches interface {
	// Next returns the next batch. It blocks until the images are there or ctx ends. The
	// batch's Position is that of its first image on rank 0.
	Next(ctx context.Context) (data.Batch, error)
	Recycle(data.Batch) // the caller no longer uses the batch
	Close()
}

// dataset is a [data.Dataset] as Data.
type dataset struct{ *data.Dataset }

// Batches starts a loader.
func (d dataset) Batches(o data.LoaderOptions) (Batches, error) {
	l, err := data.NewLoader(d.Dataset, o)
	if err != nil {
		return nil, err // not a nil *data.Loader in the interface
	}
	return l, nil
}

// jpegDecoder returns the name of the JPEG decoder that d uses, or "".
func jpegDecoder(d Data) string {
	if d, ok := d.(interface{ JPEGDecoder() string }); ok {
		return d.JPEGDecoder()
	}
	return ""
}

// heldOut are the images to evaluate on.
type heldOut struct {
	pixels  []byte  // [N, H, W, C]
	labels  []int64 // [N]
	process *diffusion.GaussianDiffusion
}

package train

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"github.com/wangkuiyi/gotorch"

	"iddpm/data"
	"iddpm/train/engine"
)

// openHeldOut reads the images, if the run evaluates.
func (t *Trainer) openHeldOut() error {
	e := t.config.Eval
	if !e.EvaluatesBound() {
		return nil
	}
	o := t.config.DataOptions()
	o.Limit = cmp.Or(e.Images, 64)
	o.CacheBytes = -1 // each is read once
	o.KnownClasses = t.data.ClassNames()
	dir := e.Dir
	if dir == "" && t.run.Data != nil {
		return errors.New("hold-out applies to the images of the configuration, but the run has its own: name images to evaluate on by eval-data")
	}
	if dir == "" {
		dir, o.HoldOut, o.HeldOut = t.config.Data.Dir, e.HoldOut, true
	}
	set, err := data.Open(dir, o)
	if err != nil {
		return t.asMoved(fmt.Errorf("images to evaluate on: %w", err), "eval-data")
	}
	defer set.Close()
	t.heldOut.pixels, t.heldOut.labels, err = set.Images()
	return err
}

// asMoved returns a MovedError if a resumed run no longer finds the images of a setting.
func (t *Trainer) asMoved(err error, setting string) error {
	if t.origin.resumed() && errors.Is(err, fs.ErrNotExist) {
		return &MovedError{setting, err}
	}
	return err
}

// upload copies images and labels to the device.
func (t *Trainer) upload(batch data.Batch) (x, y gotorch.Tensor) {
	size, channels := int64(t.config.Model.ImageSize), int64(t.config.Model.InChannels)
	n := int64(len(batch.Pixels)) / (size * size * channels)
	x = engine.PixelsToTensor(gotorch.FromBytes(batch.Pixels, gotorch.Byte, n, size, size, channels).To(t.run.Device))
	if t.config.Model.ClassCond {
		y = gotorch.FromInt64s(batch.Labels).To(t.run.Device)
	}
	return x, y
}

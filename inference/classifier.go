package inference

import (
	"slices"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/train/engine"
)

// Classifier is a classifier of noisy images, which guides a [Model] by its gradient.
type Classifier struct {
	config   model.ClassifierConfig
	network  *model.Classifier
	dtype    gotorch.DType
	device   gotorch.Device
	gradient func(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor
	settings gotorch.Settings
}

// Settings returns what [Model.Settings] does, for the classifier.
func (c *Classifier) Settings() gotorch.Settings { return c.settings }

// NumClasses returns the number of classes that the classifier distinguishes.
func (c *Classifier) NumClasses() int { return c.config.NumClasses }

// ImageSize returns the width and height of the images that the classifier classifies, in pixels.
func (c *Classifier) ImageSize() int { return c.config.ImageSize }

// TopClasses returns the labels of the k likeliest classes of images without noise, which are those
// of timestep 0: for each image k labels, or all if there are fewer classes, the likeliest first. It
// evaluates all images in one batch. Images of another size than [Classifier.ImageSize] are a [*SizeError].
func (c *Classifier) TopClasses(images Images, k int) (labels [][]int64, err error) {
	if images.Size != c.config.ImageSize {
		return nil, &SizeError{What: "images", Got: images.Size, Want: c.config.ImageSize}
	}
	width := min(k, c.config.NumClasses)
	gotorch.Run(func() {
		gotorch.NoGrad(func() {
			gotorch.Scope(func() {
				t := gotorch.ZerosOn(c.device, gotorch.Float, int64(images.Len()))
				logits := c.network.Forward(images.tensor(c.device), t, model.Input{Dtype: c.dtype})
				if !engine.Finite(logits) {
					err = &NonFiniteError{What: "class scores", Last: images.Len() - 1}
					return
				}
				_, likeliest := gotorch.TopK(logits, int64(width), 1, true, true)
				labels = slices.Collect(slices.Chunk(likeliest.To(gotorch.Device{}).Contiguous().Int64s(), width))
			})
		})
	})
	return labels, err
}

// Free frees the network.
func (c *Classifier) Free() { gotorch.Run(c.network.Free) }

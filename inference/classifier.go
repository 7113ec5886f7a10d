package inference

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
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

// ClassifierGuidance conditions samples on their class by a classifier (Dhariwal & Nichol 2021):
// see [diffusion.ClassifierGuidance]. The network itself need not know classes.
type ClassifierGuidance struct {
	Classifier *Classifier
	Scale      float64 // S; 0: no guidance
}

// LoadClassifier builds the classifier that config describes with the weights of a checkpoint.
// Respacing and Group of o are not used: timesteps are those of the guided model.
func LoadClassifier(c *checkpoint.Checkpoint, config model.ClassifierConfig, o LoadOptions) (classifier *Classifier, err error) {
	err = o.Group.OnTensorThread(func() error {
		classifier, err = loadClassifier(c, config, o)
		return err
	})
	return classifier, err
}

func loadClassifier(c *checkpoint.Checkpoint, config model.ClassifierConfig, o LoadOptions) (*Classifier, error) {
	dtype, tf32, err := engine.InferencePrecision(cmp.Or(o.Precision, "auto"), o.Device)
	if err != nil {
		return nil, &OptionError{"precision", err}
	}
	weights, err := c.Weights(o.EMA)
	if err != nil {
		return nil, err
	}
	e, err := config.Encoder()
	if err != nil {
		return nil, err
	}
	network, err := model.NewClassifier(e, 0)
	if err != nil {
		return nil, err
	}
	if err := network.LoadStateDict(weights.Dict); err != nil {
		network.Free()
		return nil, fmt.Errorf("classifier %s: %w", c.Path, err)
	}
	network.To(o.Device)
	network.Freeze(dtype)
	return &Classifier{
		config: config, network: network, dtype: dtype, device: o.Device, gradient: engine.ClassGradient(network, model.Input{Dtype: dtype}), settings: gotorch.Settings{TF32: tf32},
	}, nil
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

// ClassifierError says that a classifier cannot guide a network.
type ClassifierError struct{ Reason string }

func (e *ClassifierError) Error() string {
	return "the classifier cannot guide the network: " + e.Reason
}

// classifierGuidance returns what the sampling loop needs of g, which may be nil.
func (m *Model) classifierGuidance(g *ClassifierGuidance) (*diffusion.ClassifierGuidance, error) {
	if g == nil {
		return nil, nil
	}
	switch c := g.Classifier.config; {
	case c.ImageSize != m.config.ImageSize:
		return nil, &ClassifierError{fmt.Sprintf("it classifies images of %d pixels, not of %d", c.ImageSize, m.config.ImageSize)}
	case m.config.ClassCond && c.NumClasses != m.config.NumClasses:
		return nil, &ClassifierError{fmt.Sprintf("it has %d classes, and the network %d", c.NumClasses, m.config.NumClasses)}
	}
	return &diffusion.ClassifierGuidance{Scale: g.Scale, Gradient: g.Classifier.gradient}, nil
}

package checkpoint

import (
	"cmp"
	"fmt"

	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/model/identify"
	"iddpm/runconfig"
)

// Identified is what the parameter list of bare weights tells.
type Identified struct {
	Network   identify.Network
	Published *Published // the published network with this list; nil: none
}

// Identify tells the network of bare weights from the names and shapes of their parameters. Its
// errors are those of [identify.Of].
func (c *Checkpoint) Identify() (Identified, error) {
	n, err := identify.Of(c.Model)
	i := Identified{Network: n}
	if err == nil {
		i.Published = lookupPublished(c.Model)
	}
	return i, err
}

// ImageSize returns the size of the images in pixels, from the table of published networks or
// from the network; 0: unknown.
func (i Identified) ImageSize() int {
	if i.Published != nil {
		return i.Published.Config().Model.ImageSize
	}
	if i.Network.ImageSize > 0 {
		return i.Network.ImageSize
	}
	return i.Network.LikelyImageSize()
}

// Base returns the configuration to which [Identified.Apply] adds the network: that of the
// published network, or the defaults at [Identified.ImageSize].
func (i Identified) Base() runconfig.Config {
	if i.Published != nil {
		return i.Published.Config()
	}
	c := runconfig.Defaults()
	c.Model.ImageSize = i.ImageSize()
	return c
}

// Apply sets the settings of c that the weights tell. c.Model.ImageSize must be set. A
// classifier's become c.Classifier.
func (i Identified) Apply(c *runconfig.Config) {
	if i.Network.Pool != "" {
		classifier := model.DefaultClassifier()
		classifier.ImageSize = c.Model.ImageSize
		i.Network.ApplyClassifier(&classifier)
		c.Classifier = &classifier
		c.Model.ClassCond, c.Model.NumClasses = true, classifier.NumClasses
		return
	}
	if i.Network.UNet.SuperRes && c.Model.SmallSize == 0 {
		c.Model.SmallSize = max(1, c.Model.ImageSize/4) // as in both repositories
	}
	i.Network.Apply(&c.Model)
	c.Diffusion.LearnSigma = c.Model.LearnSigma
}

// Assumed lists settings of c that bare weights do not tell, and whose values change what the
// network computes.
func (i Identified) Assumed(c runconfig.Config) []string {
	if i.Published != nil || i.Network.Pool != "" {
		return nil
	}
	assumed := []string{fmt.Sprintf("image-size %d", c.Model.ImageSize)}
	if c.Model.SuperRes() {
		assumed = append(assumed, fmt.Sprintf("small-size %d", c.Model.SmallSize))
	}
	if c.Model.NumHeadChannels > 0 {
		assumed = append(assumed, fmt.Sprintf("num-head-channels %d", c.Model.NumHeadChannels))
	} else {
		assumed = append(assumed, fmt.Sprintf("num-heads %d", c.Model.NumHeads))
	}
	assumed = append(assumed, fmt.Sprintf("use-new-attention-order %t", c.Model.NewAttentionOrder), fmt.Sprintf("diffusion-steps %d", c.Diffusion.Steps),
		"noise-schedule "+c.Diffusion.NoiseSchedule, "predict "+predicted(c.Diffusion))
	if c.Diffusion.Steps != 1000 { // [0, 1000) already
		assumed = append(assumed, fmt.Sprintf("rescale-timesteps %t", c.Diffusion.RescaleTimesteps))
	}
	return assumed
}

// predicted returns the name of what a network predicts, for an assumption.
func predicted(c diffusion.Config) string {
	if c.MeanType() == diffusion.XStart {
		return "xstart"
	}
	return cmp.Or(c.Predict, "epsilon")
}

// ImageSizeError says that bare weights do not tell the size of their images.
type ImageSizeError struct {
	Path    string
	Network string // see [identify.Network.String]
}

func (e *ImageSizeError) Error() string {
	return fmt.Sprintf("%s holds bare weights, which do not tell the size of the images (%s)", e.Path, e.Network)
}

// Complete sets the configuration of bare weights that their parameter list and the table of
// published networks tell, and returns what was identified. Settings that neither tells are the
// defaults. It returns an [*ImageSizeError] if the size of the images remains unknown.
func (c *Checkpoint) Complete() (Identified, error) {
	i, err := c.Identify()
	if err != nil {
		return i, fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	config := i.Base()
	if config.Model.ImageSize == 0 {
		return i, &ImageSizeError{c.Path, i.Network.String()}
	}
	return i, c.configure(i, config)
}

// configure sets a configuration with what was identified.
func (c *Checkpoint) configure(i Identified, config runconfig.Config) error {
	i.Apply(&config)
	c.Config = config
	return config.Validate()
}

// CompleteLike is [Checkpoint.Complete] for weights that work with another network, such as a
// guide: the size of the images, the heads and the diffusion are those of like, unless the weights
// are published ones.
func (c *Checkpoint) CompleteLike(like runconfig.Config) (Identified, error) {
	i, err := c.Identify()
	if err != nil {
		return i, fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	config := i.Base()
	if i.Published == nil {
		like.Model.ChannelMult, like.Model.ClassDropout, like.Classifier = nil, 0, nil
		config.Model, config.Diffusion = like.Model, like.Diffusion
	}
	return i, c.configure(i, config)
}

// CompletePublished is [Checkpoint.Complete] of bare weights of a published network, whose whole
// configuration is known. Of other weights it is an error.
func (c *Checkpoint) CompletePublished() error {
	i, err := c.Identify()
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	if i.Published == nil {
		return fmt.Errorf("%s holds bare weights of no published network, without a configuration (%s)", c.Path, i.Network)
	}
	return c.configure(i, i.Base())
}

package identify

import (
	"fmt"
	"slices"
	"strings"

	"iddpm/internal/commas"
	"iddpm/model"
)

// Apply sets the settings of c that shapes tell; c.ImageSize and, for super-resolution,
// c.SmallSize must be set. Sizes and heads remain. With ClassDropout the last row of the label
// embedding is the null class.
func (n Network) Apply(c *model.Config) {
	u := n.UNet
	c.InChannels, c.NumChannels, c.NumResBlocks = u.InChannels, u.ModelChannels, u.NumResBlocks
	c.ChannelMult, c.StemChannels = slices.Clone(u.ChannelMult), u.StemChannels
	if slices.Equal(c.ChannelMult, model.DefaultChannelMult(c.ImageSize, u.SuperRes)) {
		c.ChannelMult = nil
	}
	c.AttentionResolutions = n.attentionSizes(c.ImageSize)
	c.LearnSigma, c.UseScaleShiftNorm = n.LearnSigma, u.UseScaleShiftNorm
	if len(u.ChannelMult) > 1 { // else nothing is resampled
		c.ResBlockUpDown = u.ResBlockUpDown
	}
	if !u.SuperRes {
		c.SmallSize = 0
	}
	if c.ClassCond = u.NumClasses > 0; c.ClassCond {
		c.SetLabelRows(u.NumClasses)
	} else {
		c.ClassDropout = 0
	}
}

// ApplyClassifier sets the settings of c that shapes tell; c.ImageSize must be set.
func (n Network) ApplyClassifier(c *model.ClassifierConfig) {
	u := n.UNet
	c.Width, c.Depth, c.NumClasses, c.Pool = u.ModelChannels, u.NumResBlocks, u.OutChannels, n.Pool
	c.ChannelMult = slices.Clone(u.ChannelMult)
	if slices.Equal(c.ChannelMult, model.DefaultChannelMult(c.ImageSize, false)) {
		c.ChannelMult = nil
	}
	c.AttentionResolutions = n.attentionSizes(c.ImageSize)
	c.UseScaleShiftNorm = u.UseScaleShiftNorm
	if len(u.ChannelMult) > 1 {
		c.ResBlockUpDown = u.ResBlockUpDown
	}
}

// attentionSizes returns the sizes of feature maps with attention, the largest first.
func (n Network) attentionSizes(imageSize int) (sizes []int) {
	for _, factor := range n.attentionFactors() {
		if size := imageSize / factor; size > 0 {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// LikelyImageSize returns the size of images for which these channel multipliers are the default,
// or 0. [Network.ImageSize] is certain, this is not.
func (n Network) LikelyImageSize() int {
	for _, size := range []int{32, 64, 128, 256, 512} {
		if slices.Equal(n.UNet.ChannelMult, model.DefaultChannelMult(size, n.UNet.SuperRes)) {
			return size
		}
	}
	return 0
}

// String describes the network in a line.
func (n Network) String() string {
	u := n.UNet
	kind := "denoiser"
	switch {
	case n.Pool != "":
		kind = fmt.Sprintf("classifier (%s pooling, %d classes)", n.Pool, u.OutChannels)
	case u.SuperRes:
		kind = "super-resolution denoiser"
	}
	text := []string{fmt.Sprintf("%s of %d channels x %s, %d residual blocks per level", kind, u.ModelChannels, commas.Join(u.ChannelMult), u.NumResBlocks)}
	if factors := n.attentionFactors(); len(factors) > 0 {
		text = append(text, "attention at 1/"+strings.ReplaceAll(commas.Join(factors), ",", ", 1/")+" of the image size")
	}
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{n.Pool == "" && u.NumClasses > 0, fmt.Sprintf("label embedding of %d rows", u.NumClasses)}, {n.LearnSigma, "learned variances"}, {u.UseScaleShiftNorm, "scale-shift norm"},
		{u.ResBlockUpDown, "residual blocks that resample"}, {u.InChannels != 3, fmt.Sprintf("images of %d channels", u.InChannels)},
	} {
		if flag.set {
			text = append(text, flag.name)
		}
	}
	return strings.Join(text, "; ")
}

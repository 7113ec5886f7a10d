package identify

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// classifier reads the pooling, and tries all divisions of the encoder's blocks into levels: if
// residual blocks downsample, their parameters look like those of the others.
func classifier(l list, dict *pt.Dict) (Network, error) {
	n := Network{UNet: l.common()}
	var side int
	if n.Pool, n.UNet.OutChannels, side = l.pooling(); n.Pool == "" {
		return refuse("it has neither output_blocks nor the head of a classifier")
	}
	n.UNet.ResBlockUpDown = true
	blocks := l.blocks["input_blocks"]
	for i := range blocks {
		if l.has(fmt.Sprintf("input_blocks.%d.0.%s", i, downsample)) {
			n.UNet.ResBlockUpDown = false
		}
	}
	var fits []Network
	var last error
	for levels := min(blocks, 16); levels >= 1; levels-- {
		if blocks%levels != 0 {
			continue
		}
		candidate := n
		candidate.divide(l, levels, blocks/levels-1, side)
		if err := candidate.verify(dict); err == nil {
			fits = append(fits, candidate)
		} else if unfit := (*model.StateDictError)(nil); last == nil || errors.As(err, &unfit) && fewer(unfit, last) {
			last = err
		}
	}
	if len(fits) == 0 {
		return n, last
	}
	// A network of equal levels may be divided in several ways: guided-diffusion's is the most
	// likely.
	for _, fit := range fits {
		if fit.ImageSize > 0 && slices.Equal(fit.UNet.ChannelMult, model.DefaultChannelMult(fit.ImageSize, false)) {
			return fit, nil
		}
	}
	for _, fit := range fits {
		if fit.UNet.NumResBlocks > 0 {
			return fit, nil
		}
	}
	return fits[0], nil
}

// fewer reports whether a has fewer mismatches than the error b.
func fewer(a *model.StateDictError, b error) bool {
	other := (*model.StateDictError)(nil)
	return !errors.As(b, &other) || len(a.Mismatches) < len(other.Mismatches)
}

// divide sets the levels, with so many residual blocks each. A level ends with a downsampling,
// except the last.
func (n *Network) divide(l list, levels, perLevel, side int) {
	u := &n.UNet
	u.NumResBlocks = perLevel
	u.ChannelMult, u.AttentionResolutions = nil, nil
	if levels == 1 {
		u.ResBlockUpDown = false // nothing is downsampled
	}
	for level := range levels {
		at := fmt.Sprintf("input_blocks.%d.", 1+level*(perLevel+1))
		u.ChannelMult = append(u.ChannelMult, multiplier(l.dim(at+"0."+residual, 0), u.ModelChannels))
		if l.has(at + "1." + attention) {
			u.AttentionResolutions = append(u.AttentionResolutions, 1<<level)
		}
	}
	n.ImageSize = side << (levels - 1)
}

// pooling returns the pooling of a classifier, the number of its classes, and the width of the
// last feature map in pixels, which only attention pooling tells. pool is "" without one.
func (l list) pooling() (pool string, classes, side int) {
	tokens := l.dim("out.2.positional_embedding", 1)
	switch {
	case tokens > 1:
		side = int(math.Round(math.Sqrt(float64(tokens - 1))))
		return model.PoolAttention, l.dim("out.2.c_proj.weight", 0), side
	case len(l.shapes["out.3.weight"]) == 4:
		return model.PoolAdaptive, l.dim("out.3.weight", 0), 0
	case len(l.shapes["out.2.weight"]) == 2:
		return model.PoolSpatial, l.dim("out.2.weight", 0), 0
	case len(l.shapes["out.3.weight"]) == 2:
		return model.PoolSpatialV2, l.dim("out.3.weight", 0), 0
	}
	return "", 0, 0
}

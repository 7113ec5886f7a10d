// Package identify tells a network from the names and shapes of its parameters: what a bare
// state_dict says about the arguments of the network that it fits.
//
// Shapes give widths, levels, blocks, attention, classes, learned variances and super-resolution,
// but not the size of the images, the number of attention heads or the order of their channels.
package identify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// Network is the network of a parameter list. Its Plan has exactly these names and shapes.
type Network struct {
	// UNet are the arguments that shapes give. Attention heads are not among them: NumHeads is 1.
	// InChannels are those of an image, OutChannels of a classifier are its classes.
	UNet model.UNetConfig
	// LearnSigma: half of a denoiser's output channels are for the variance.
	LearnSigma bool
	// Pool is a classifier's pooling, see [model.PoolAdaptive]; "": the network is a denoiser.
	Pool string
	// ImageSize is known from the positions of a classifier's attention pooling, in pixels; 0:
	// unknown.
	ImageSize int
}

// Error says that a parameter list is not one of a known network.
type Error struct{ Reason string }

func (e *Error) Error() string {
	return "not the weights of a network of improved-diffusion or guided-diffusion: " + e.Reason
}

func refuse(format string, a ...any) (Network, error) {
	return Network{}, &Error{fmt.Sprintf(format, a...)}
}

// Of returns the network of a state_dict, of which it uses only names and shapes. It returns an
// [*Error] for other networks, and a [*model.StateDictError] if the list resembles one but
// parameters are missing, unknown or have other shapes.
func Of(dict *pt.Dict) (Network, error) {
	l := listOf(dict)
	for _, name := range []string{"time_embed.0.weight", "input_blocks.0.0.weight"} {
		if l.dim(name, 0) == 0 {
			return refuse("it has no %s", name)
		}
	}
	if l.blocks["output_blocks"] > 0 {
		return denoiser(l, dict)
	}
	return classifier(l, dict)
}

// list is a parameter list.
type list struct {
	shapes map[string][]int64
	blocks map[string]int // number of different indices of input_blocks and output_blocks
}

func listOf(dict *pt.Dict) list {
	l := list{map[string][]int64{}, map[string]int{}}
	seen := map[string]bool{}
	for key, value := range dict.All() {
		name, isName := key.(string)
		tensor, isTensor := value.(*pt.Tensor)
		if !isName || !isTensor {
			continue
		}
		l.shapes[name] = tensor.Shape
		if parts := strings.SplitN(name, ".", 3); len(parts) == 3 && !seen[parts[0]+"."+parts[1]] {
			seen[parts[0]+"."+parts[1]] = true
			l.blocks[parts[0]]++
		}
	}
	return l
}

// dim returns a dimension of a parameter; 0 if there is none.
func (l list) dim(name string, axis int) int {
	if shape := l.shapes[name]; axis < len(shape) && shape[axis] < 1<<31 {
		return int(shape[axis])
	}
	return 0
}

func (l list) has(name string) bool { return l.shapes[name] != nil }

// The layers of a block, by a parameter that only they have.
const (
	convolution = "weight"            // of the first block
	downsample  = "op.weight"         // of stride 2
	upsample    = "conv.weight"       // after nearest-neighbour upsampling
	residual    = "out_layers.3.bias" // of a residual block: its length is the number of output channels
	embedding   = "emb_layers.1.bias" // of a residual block: one or two times as long
	attention   = "qkv.weight"        // of self-attention
)

// common returns what both kinds of networks have in their encoder.
func (l list) common() (u model.UNetConfig) {
	u.ModelChannels = l.dim("time_embed.0.weight", 1)
	u.InChannels, u.StemChannels = l.dim("input_blocks.0.0."+convolution, 1), l.dim("input_blocks.0.0."+convolution, 0)
	u.NumHeads = 1
	u.UseScaleShiftNorm = l.dim("middle_block.0."+embedding, 0) == 2*l.dim("middle_block.0."+residual, 0)
	return u
}

// denoiser reads the levels from the decoder, where each but the last ends with an upsampling.
func denoiser(l list, dict *pt.Dict) (Network, error) {
	n := Network{UNet: l.common()}
	u := &n.UNet
	u.OutChannels, u.NumClasses = l.dim("out.2.weight", 0), l.dim("label_emb.weight", 0)
	blocks, levels := l.blocks["output_blocks"], 1
	for i := range blocks {
		for _, layer := range []string{"1", "2"} {
			at := fmt.Sprintf("output_blocks.%d.%s.", i, layer)
			switch {
			case l.has(at + residual):
				u.ResBlockUpDown = true
				levels++
			case l.has(at + upsample):
				levels++
			}
		}
	}
	perLevel := blocks / levels
	if perLevel*levels != blocks {
		return refuse("its %d output_blocks do not divide into %d levels", blocks, levels)
	}
	u.NumResBlocks = perLevel - 1
	for level := range levels {
		at := fmt.Sprintf("output_blocks.%d.", (levels-1-level)*perLevel)
		u.ChannelMult = append(u.ChannelMult, multiplier(l.dim(at+"0."+residual, 0), u.ModelChannels))
		if l.has(at + "1." + attention) {
			u.AttentionResolutions = append(u.AttentionResolutions, 1<<min(level, 30))
		}
	}
	n.images()
	return n, n.verify(dict)
}

// images tells the channels of an image, learned variances and super-resolution from the channels
// of input and output. Twice as many input channels are an image and the low-resolution one, twice
// as many output channels the prediction and the variance. If both numbers are equal and even, the
// same image may have so many channels: RGB and grey images are assumed.
func (n *Network) images() {
	u := &n.UNet
	in, out := u.InChannels, u.OutChannels
	switch {
	case out == 2*in:
		n.LearnSigma = true
	case in == 2*out:
		u.SuperRes, u.InChannels = true, out
	case in == out && (in == 6 || in == 2):
		u.SuperRes, n.LearnSigma, u.InChannels = true, true, in/2
	}
}

// multiplier is [model.ChannelMultiplier]; 0 without channels, which verify refuses.
func multiplier(width, channels int) float64 {
	if channels <= 0 {
		return 0
	}
	return model.ChannelMultiplier(width, channels)
}

// verify completes the arguments, and checks that their network has exactly these parameters.
func (n *Network) verify(dict *pt.Dict) error {
	u := &n.UNet
	if len(u.ChannelMult) > 0 && u.StemChannels == u.Width(0) {
		u.StemChannels = 0
	}
	plan, err := n.plan()
	if err != nil {
		return &Error{err.Error()}
	}
	return plan.CheckStateDict(dict)
}

// planned is a network without tensors.
type planned interface {
	CheckStateDict(dict *pt.Dict) error
}

func (n *Network) plan() (planned, error) {
	if n.Pool == "" {
		return model.Plan(n.UNet)
	}
	u := n.UNet
	if n.Pool == model.PoolAttention {
		u.NumHeadChannels = 1 // any: shapes do not depend on it
	}
	return model.PlanClassifier(model.EncoderConfig{UNetConfig: u, ImageSize: n.ImageSize, Pool: n.Pool})
}

// attentionFactors returns the downsampling factors with attention, in ascending order.
func (n Network) attentionFactors() []int {
	return slices.Sorted(slices.Values(n.UNet.AttentionResolutions))
}

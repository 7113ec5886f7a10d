package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// The poolings of a classifier: how it turns feature maps into logits.
const (
	PoolAdaptive  = "adaptive"   // mean over the pixels of the last feature map
	PoolAttention = "attention"  // attention of the mean to the pixels of the last feature map (Radford et al. 2021)
	PoolSpatial   = "spatial"    // means of all blocks' feature maps, and an MLP
	PoolSpatialV2 = "spatial_v2" // the same, with group norm and SiLU in the MLP
)

var pools = []string{PoolAdaptive, PoolAttention, PoolSpatial, PoolSpatialV2}

// ClassifierConfig describes a classifier of noisy images by the flags of guided-diffusion,
// whose names are the JSON keys.
type ClassifierConfig struct {
	ImageSize            int    `json:"image_size"`                       // width and height in pixels
	NumClasses           int    `json:"num_classes"`                      // number of logits
	Width                int    `json:"classifier_width"`                 // channels of the first level
	Depth                int    `json:"classifier_depth"`                 // residual blocks per level
	AttentionResolutions []int  `json:"classifier_attention_resolutions"` // feature-map sizes in pixels with self-attention
	UseScaleShiftNorm    bool   `json:"classifier_use_scale_shift_norm"`
	ResBlockUpDown       bool   `json:"classifier_resblock_updown"`
	Pool                 string `json:"classifier_pool"` // see PoolAdaptive and the others
	// ChannelMult are the channels of each level as multiples of Width; none:
	// DefaultChannelMult, as in guided-diffusion.
	ChannelMult []float64 `json:"channel_mult"`
}

// DefaultClassifier returns the classifier of guided-diffusion's default flags.
func DefaultClassifier() ClassifierConfig {
	return ClassifierConfig{
		ImageSize: 64, NumClasses: 1000, Width: 128, Depth: 2, AttentionResolutions: []int{32, 16, 8},
		UseScaleShiftNorm: true, ResBlockUpDown: true, Pool: PoolAttention,
	}
}

// Encoder returns the network's arguments, or an error that lists every problem of c.
func (c ClassifierConfig) Encoder() (EncoderConfig, error) {
	config := Config{
		ImageSize: c.ImageSize, InChannels: 3, NumChannels: c.Width, NumResBlocks: c.Depth, ChannelMult: c.ChannelMult,
		AttentionResolutions: c.AttentionResolutions, NumHeads: 1, NumHeadChannels: 64, UseScaleShiftNorm: c.UseScaleShiftNorm, ResBlockUpDown: c.ResBlockUpDown,
	}
	u, err := config.UNet()
	u.OutChannels = c.NumClasses
	e := EncoderConfig{UNetConfig: u, ImageSize: c.ImageSize, Pool: c.Pool}
	return e, errors.Join(err, e.validateHead())
}

// EncoderConfig holds the arguments of guided-diffusion's EncoderUNetModel, whose names are
// the JSON keys. OutChannels is the number of classes.
type EncoderConfig struct {
	UNetConfig
	ImageSize int    `json:"image_size"`
	Pool      string `json:"pool"`
}

// Validate returns an error that lists every problem of c.
func (c EncoderConfig) Validate() error {
	return errors.Join(c.UNetConfig.Validate(), c.validateHead())
}

func (c EncoderConfig) validateHead() error {
	var errs []error
	if c.OutChannels < 1 {
		errs = append(errs, fmt.Errorf("a classifier needs at least one class, not %d", c.OutChannels))
	}
	if !slices.Contains(pools, c.Pool) {
		errs = append(errs, fmt.Errorf("classifier-pool %q is not one of %s", c.Pool, strings.Join(pools, ", ")))
	}
	if c.Pool == PoolAttention && c.NumHeadChannels < 1 {
		errs = append(errs, errors.New("attention pooling needs num-head-channels"))
	}
	return errors.Join(errs...)
}

// Classifier is guided-diffusion's EncoderUNetModel: it predicts the class of a noisy image,
// log p(y | x_t).
type Classifier struct {
	encoder
	pool pooling
}

// NewClassifier builds the network on the CPU in float32, with the initial weights that the
// reference has after torch.manual_seed(seed).
func NewClassifier(c EncoderConfig, seed uint64) (*Classifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return buildClassifier(c, gotorch.NewGenerator(gotorch.Device{}, seed)), nil
}

// PlanClassifier builds the network without tensors, for names and shapes.
func PlanClassifier(c EncoderConfig) (*Classifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return buildClassifier(c, nil), nil
}

// Plan builds the network that c describes without tensors. The error lists every problem of c.
func (c ClassifierConfig) Plan() (*Classifier, error) {
	e, err := c.Encoder()
	if err != nil {
		return nil, err
	}
	return PlanClassifier(e)
}

func buildClassifier(c EncoderConfig, generator *gotorch.Generator) *Classifier {
	m := &Classifier{encoder: encoder{config: c.UNetConfig}}
	b := m.builder(generator)
	m.timeEmbed = newTimeEmbed(b.at("time_embed"), c.UNetConfig)
	channels := m.buildInput(b.at("input_blocks"))
	last := channels[len(channels)-1]
	m.buildMiddle(b.at("middle_block"), last)
	features := last // of all blocks
	for _, n := range channels {
		features += n
	}
	out := b.at("out")
	switch c.Pool {
	case PoolAdaptive:
		m.pool = newMeanPool(out, last, c.OutChannels)
	case PoolAttention:
		side := c.ImageSize >> (len(c.ChannelMult) - 1)
		m.pool = newAttentionPool(out, last, side, c.NumHeadChannels, c.OutChannels)
	default:
		m.pool = newFeaturePool(out, features, c.OutChannels, c.Pool == PoolSpatialV2)
	}
	return m
}

// Forward evaluates the network at x [N, 3, H, W] and timesteps t [N], and returns the
// classes' logits [N, classes] in float32. Labels and low-resolution images of in are ignored.
func (m *Classifier) Forward(x, t gotorch.Tensor, in Input) gotorch.Tensor {
	p, dtype, watch := m.begin(in, defersBias(x))
	emb := p.segments.leaf(m.timeEmbed.forward(t, p).Silu())
	if !in.Segments.recomputes() {
		p.emb = projections(m.encoderBlocks(), emb, p)
	}
	h, hs := m.encode(x.CastTo(dtype).ChannelsLast(), emb, p, watch)
	logits := m.pool.forward(h, hs, p)
	watch("out", logits)
	return logits
}

// String returns the network's size, such as "classifier of 65.4 M parameters".
func (m *Classifier) String() string {
	return fmt.Sprintf("classifier of %.1f M parameters", float64(m.NumParameters())/1e6)
}

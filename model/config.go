package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
)

// Config describes a network by the reference's command-line flags, whose names are
// the JSON keys.
type Config struct {
	ImageSize            int       `json:"image_size"`            // width and height in pixels
	InChannels           int       `json:"in_channels"`           // 3 for RGB
	NumChannels          int       `json:"num_channels"`          // channels of the first level
	NumResBlocks         int       `json:"num_res_blocks"`        // residual blocks per level
	ChannelMult          []float64 `json:"channel_mult"`          // channels of each level as multiples of NumChannels, rounded down; none: DefaultChannelMult
	AttentionResolutions []int     `json:"attention_resolutions"` // feature-map sizes in pixels with self-attention
	NumHeads             int       `json:"num_heads"`
	NumHeadsUpsample     int       `json:"num_heads_upsample"` // in the decoder; -1 or 0: NumHeads
	NumHeadChannels      int       `json:"num_head_channels"`  // channels per attention head, instead of a number of heads; -1 or 0: see NumHeads
	Dropout              float64   `json:"dropout"`
	LearnSigma           bool      `json:"learn_sigma"` // the output has 2 InChannels: prediction and variance
	ClassCond            bool      `json:"class_cond"`
	NumClasses           int       `json:"num_classes"` // with ClassCond
	UseCheckpoint        bool      `json:"use_checkpoint"`
	UseScaleShiftNorm    bool      `json:"use_scale_shift_norm"`
	ResBlockUpDown       bool      `json:"resblock_updown"`         // residual blocks resample, instead of single convolutions
	NewAttentionOrder    bool      `json:"use_new_attention_order"` // the order of the channels of queries, keys and values, see [UNetConfig]

	// ClassDropout is the probability that training replaces an image's class by the null class,
	// label NumClasses, so that the network can be evaluated without a class (Ho & Salimans
	// 2022). Above 0 the label embedding has a row for the null class.
	ClassDropout float64 `json:"class_dropout,omitempty"`
	// StemChannels is the number of channels of the first convolution; 0: those of the first
	// level. See [Config.UnmarshalJSON].
	StemChannels int `json:"stem_channels,omitempty"`
	// What only networks of diffusers' UNet2DModel may have, see package diffusers.
	AsymmetricPadding bool    `json:"asymmetric_padding,omitempty"` // downsampling pads at the right and the bottom alone
	FreqShift         float64 `json:"freq_shift,omitempty"`         // of the timestep embedding, see [TimestepEmbedding]
	NormEps           float64 `json:"norm_eps,omitempty"`           // epsilon of the group norms; 0: 1e-5

	// SmallSize is the size in pixels of the low-resolution input of a super-resolution
	// network; 0: no super-resolution.
	SmallSize int `json:"small_size,omitempty"`
}

// UnmarshalJSON also reads the configurations of checkpoints from before ResBlockUpDown. In
// those networks the first convolution had NumChannels, whatever the first multiplier.
func (c *Config) UnmarshalJSON(text []byte) error {
	type plain Config
	var known struct {
		ResBlockUpDown *bool `json:"resblock_updown"`
	}
	err := errors.Join(json.Unmarshal(text, (*plain)(c)), json.Unmarshal(text, &known))
	if known.ResBlockUpDown != nil {
		return err
	}
	c.NumHeadChannels = -1
	if len(c.ChannelMult) > 0 && c.ChannelMult[0] != 1 {
		c.StemChannels = c.NumChannels
	}
	return err
}

// SuperRes reports whether c describes a super-resolution network.
func (c Config) SuperRes() bool { return c.SmallSize != 0 }

// HasNullClass reports whether the network has a null class, whose label is NumClasses.
func (c Config) HasNullClass() bool { return c.ClassCond && c.ClassDropout > 0 }

// labelRows returns the number of rows of the label embedding.
func (c Config) labelRows() int {
	if c.HasNullClass() {
		return c.NumClasses + 1
	}
	return c.NumClasses
}

// SetLabelRows sets NumClasses to that of a label embedding of so many rows.
func (c *Config) SetLabelRows(rows int) {
	c.NumClasses = rows
	if c.HasNullClass() {
		c.NumClasses--
	}
}

// UNetConfig holds the arguments of UNetModel in improved-diffusion and guided-diffusion,
// whose names are the JSON keys.
type UNetConfig struct {
	InChannels           int       `json:"in_channels"`
	ModelChannels        int       `json:"model_channels"`
	OutChannels          int       `json:"out_channels"`
	NumResBlocks         int       `json:"num_res_blocks"`
	AttentionResolutions []int     `json:"attention_resolutions"` // downsampling factors, not pixels
	Dropout              float64   `json:"dropout"`
	ChannelMult          []float64 `json:"channel_mult"`
	NumClasses           int       `json:"num_classes"` // rows of the label embedding; 0: not class-conditional
	UseCheckpoint        bool      `json:"use_checkpoint"`
	NumHeads             int       `json:"num_heads"`
	NumHeadsUpsample     int       `json:"num_heads_upsample"` // -1 or 0: NumHeads
	NumHeadChannels      int       `json:"num_head_channels"`  // channels per attention head; -1 or 0: see NumHeads
	UseScaleShiftNorm    bool      `json:"use_scale_shift_norm"`
	ResBlockUpDown       bool      `json:"resblock_updown"`         // residual blocks resample
	NewAttentionOrder    bool      `json:"use_new_attention_order"` // channels ordered as (queries, keys, values), heads; else as heads, (queries, keys, values)
	StemChannels         int       `json:"stem_channels"`           // channels of the first convolution; 0: those of the first level
	AsymmetricPadding    bool      `json:"asymmetric_padding"`      // see [Config]
	FreqShift            float64   `json:"freq_shift"`              // see [Config]
	NormEps              float64   `json:"norm_eps"`                // see [Config]
	SuperRes             bool      `json:"super_res"`               // the reference's SuperResModel: the upsampled low-resolution image is concatenated with the input
}

// DefaultChannelMult returns the channel multipliers of improved-diffusion for an image size,
// and those of guided-diffusion for 128 and 512, or nil if there are none. Where both have
// multipliers they agree. At 512 pixels a super-resolution network has others.
func DefaultChannelMult(imageSize int, superRes bool) []float64 {
	switch {
	case imageSize == 512 && !superRes:
		return []float64{0.5, 1, 1, 2, 2, 4, 4}
	case imageSize == 512 || imageSize == 256:
		return []float64{1, 1, 2, 2, 4, 4}
	case imageSize == 128:
		return []float64{1, 1, 2, 3, 4}
	case imageSize == 64:
		return []float64{1, 2, 3, 4}
	case imageSize == 32:
		return []float64{1, 2, 2, 2}
	}
	return nil
}

// channelMult returns the multipliers that are set, or else the default ones.
func (c Config) channelMult() []float64 {
	if len(c.ChannelMult) == 0 {
		return DefaultChannelMult(c.ImageSize, c.SuperRes())
	}
	return c.ChannelMult
}

// UNet returns the network's arguments, or an error that lists every problem of c.
func (c Config) UNet() (UNetConfig, error) {
	u := UNetConfig{
		InChannels:        c.InChannels,
		ModelChannels:     c.NumChannels,
		OutChannels:       c.InChannels,
		NumResBlocks:      c.NumResBlocks,
		Dropout:           c.Dropout,
		ChannelMult:       c.channelMult(),
		UseCheckpoint:     c.UseCheckpoint,
		NumHeads:          c.NumHeads,
		NumHeadsUpsample:  c.NumHeadsUpsample,
		NumHeadChannels:   c.NumHeadChannels,
		UseScaleShiftNorm: c.UseScaleShiftNorm,
		ResBlockUpDown:    c.ResBlockUpDown,
		NewAttentionOrder: c.NewAttentionOrder,
		StemChannels:      c.StemChannels,
		AsymmetricPadding: c.AsymmetricPadding,
		FreqShift:         c.FreqShift,
		NormEps:           c.NormEps,
		SuperRes:          c.SuperRes(),
	}
	var errs []error
	if c.SuperRes() && (c.SmallSize < 1 || c.SmallSize >= c.ImageSize) {
		errs = append(errs, fmt.Errorf("small-size %d must be above 0 and below image-size %d", c.SmallSize, c.ImageSize))
	}
	if c.LearnSigma {
		u.OutChannels *= 2
	}
	if c.ClassCond {
		u.NumClasses = c.labelRows()
		if c.NumClasses <= 0 {
			errs = append(errs, fmt.Errorf("class-cond needs num-classes above 0, not %d", c.NumClasses))
		}
	}
	if !(c.ClassDropout >= 0 && c.ClassDropout < 1) || c.ClassDropout > 0 && !c.ClassCond {
		errs = append(errs, fmt.Errorf("class-dropout must be in [0, 1), and 0 without class-cond, but is %g", c.ClassDropout))
	}
	if c.ImageSize <= 0 {
		return u, errors.Join(append(errs, fmt.Errorf("image-size %d is not a number of pixels", c.ImageSize))...)
	}
	if len(u.ChannelMult) == 0 {
		errs = append(errs, fmt.Errorf("image-size %d has no default channel multipliers (32, 64, 128, 256 and 512 have): name them by channel-mult, as in 1,2,2", c.ImageSize))
	}
	if levels := len(u.ChannelMult); levels > 0 && levels < 31 && c.ImageSize%(1<<(levels-1)) != 0 {
		errs = append(errs, fmt.Errorf("image-size %d cannot be halved %d times for %d levels: use a multiple of %d, or fewer levels in channel-mult",
			c.ImageSize, levels-1, levels, 1<<(levels-1)))
	}
	for _, resolution := range c.AttentionResolutions {
		if resolution <= 0 {
			errs = append(errs, fmt.Errorf("attention-resolutions: %d is not a number of pixels", resolution))
			continue
		}
		u.AttentionResolutions = append(u.AttentionResolutions, c.ImageSize/resolution)
	}
	return u, errors.Join(append(errs, u.Validate())...)
}

// LevelSizes returns the sizes of the feature maps in pixels, from the input down: the
// possible attention resolutions.
func (c Config) LevelSizes() []int {
	sizes := make([]int, len(c.channelMult()))
	for level := range sizes {
		sizes[level] = c.ImageSize >> level
	}
	return sizes
}

// UnusedAttention returns the elements of AttentionResolutions that match no feature
// map. As in the reference, a resolution selects the downsampling factor image size /
// resolution, rounded down.
func (c Config) UnusedAttention() (unused []int) {
	sizes := c.LevelSizes()
	for _, resolution := range c.AttentionResolutions {
		factor := 0
		if resolution > 0 {
			factor = c.ImageSize / resolution
		}
		if factor < 1 || factor&(factor-1) != 0 || bits.Len(uint(factor)) > len(sizes) {
			unused = append(unused, resolution)
		}
	}
	return unused
}

// Validate returns an error that lists every problem of u.
func (u UNetConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u.InChannels <= 0 {
		bad("in-channels must be above 0, not %d", u.InChannels)
	}
	if u.NumResBlocks < 0 {
		bad("num-res-blocks must not be below 0, but it is %d", u.NumResBlocks)
	}
	if !(u.Dropout >= 0 && u.Dropout < 1) { // nor NaN
		bad("dropout must be in [0, 1), not %g", u.Dropout)
	}
	if u.NumHeads <= 0 {
		bad("num-heads must be above 0, not %d", u.NumHeads)
	}
	if u.ModelChannels <= 0 || u.ModelChannels > 1<<16 {
		bad("num-channels must be in [32, 65536], not %d", u.ModelChannels)
	}
	if len(u.ChannelMult) == 0 {
		bad("channel-mult names no level")
	}
	if len(u.ChannelMult) > 16 {
		bad("channel-mult has %d levels: use at most 16", len(u.ChannelMult))
	}
	if !(u.FreqShift >= 0 && u.FreqShift <= 1) || u.FreqShift > 0 && u.ModelChannels < 4 {
		bad("freq-shift must be in [0, 1], not %g", u.FreqShift)
	}
	if !(u.NormEps >= 0 && u.NormEps < 1) {
		bad("norm-eps must be in [0, 1), not %g", u.NormEps)
	}
	if u.StemChannels < 0 || u.StemChannels > 1<<16 {
		bad("stem-channels must be in [0, 65536], not %d", u.StemChannels)
	}
	for level := range u.ChannelMult {
		if err := u.validateWidth(level); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// normGroups is the number of groups of every group norm.
const normGroups = 32

// validateWidth checks one level: its channels must be divisible by group norm's 32
// groups and, with attention, by the number of heads. The middle block has attention on
// the last level's channels.
func (u UNetConfig) validateWidth(level int) error {
	if mult := u.ChannelMult[level]; !(mult > 0 && mult <= 1<<16) { // nor NaN
		return fmt.Errorf("channel-mult: %g is not above 0, or too large", mult)
	}
	width := u.Width(level)
	if width <= 0 || width%normGroups != 0 {
		return fmt.Errorf("level %d has %d channels, which is not divisible by the %d groups of group norm: use a multiple of %d for num-channels", level, width, normGroups, normGroups)
	}
	attends := u.Attends(1 << level)
	if !attends && level < len(u.ChannelMult)-1 {
		return nil
	}
	if u.NumHeadChannels > 0 {
		if width%u.NumHeadChannels != 0 {
			return fmt.Errorf("level %d has %d channels, which is not divisible by %d channels per head (num-head-channels)", level, width, u.NumHeadChannels)
		}
		return nil
	}
	for _, heads := range []int{u.NumHeads, u.HeadsUpsample()} {
		if heads > 0 && width%heads != 0 && (attends || heads == u.NumHeads) {
			return fmt.Errorf("level %d has %d channels, which is not divisible by %d heads", level, width, heads)
		}
	}
	return nil
}

// Width returns the number of channels of a level, rounded down as in guided-diffusion.
func (u UNetConfig) Width(level int) int {
	return int(u.ChannelMult[level] * float64(u.ModelChannels))
}

// ChannelMultiplier returns the multiplier of a level of so many channels: its product with the base
// channel count, rounded down as by [UNetConfig.Width], is width.
func ChannelMultiplier(width, channels int) float64 {
	m := float64(width) / float64(channels)
	if int(m*float64(channels)) < width { // the quotient was rounded down
		m = (float64(width) + 1e-6) / float64(channels)
	}
	return m
}

// stemWidth returns the number of channels of the first convolution.
func (u UNetConfig) stemWidth() int {
	return cmp.Or(u.StemChannels, u.Width(0))
}

// Heads returns the number of heads of attention over so many channels, which is number
// unless NumHeadChannels fixes the channels of a head.
func (u UNetConfig) Heads(channels, number int) int {
	if u.NumHeadChannels > 0 {
		return channels / u.NumHeadChannels
	}
	return number
}

// HeadsUpsample returns the number of heads of the decoder, where NumHeadChannels is not set.
func (u UNetConfig) HeadsUpsample() int {
	if u.NumHeadsUpsample <= 0 {
		return u.NumHeads
	}
	return u.NumHeadsUpsample
}

// inputWidth is the number of input channels of the first convolution.
func (u UNetConfig) inputWidth() int {
	if u.SuperRes {
		return 2 * u.InChannels
	}
	return u.InChannels
}

// Attends reports whether feature maps of 1/downsampling of the size have attention.
func (u UNetConfig) Attends(downsampling int) bool {
	for _, a := range u.AttentionResolutions {
		if a == downsampling {
			return true
		}
	}
	return false
}

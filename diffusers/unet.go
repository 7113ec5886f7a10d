package diffusers

import (
	"fmt"

	"iddpm/diffusion"
	"iddpm/model"
)

// Version is the version of diffusers whose format is written, and with which it is tested.
const Version = "0.42.1"

// UnsupportedError says that a network cannot be converted.
type UnsupportedError struct {
	Setting string // the setting that prevents it, by its name in the reference or in diffusers; "": none
	Reason  string
}

func (e *UnsupportedError) Error() string {
	if e.Setting == "" {
		return e.Reason
	}
	return e.Setting + ": " + e.Reason
}

func unsupported(setting, format string, a ...any) error {
	return &UnsupportedError{setting, fmt.Sprintf(format, a...)}
}

// unetConfig is the config.json of a UNet2DModel. Its fields are the arguments of the constructor.
type unetConfig struct {
	Class            string   `json:"_class_name"`
	Version          string   `json:"_diffusers_version"`
	ActFn            string   `json:"act_fn"`
	AddAttention     bool     `json:"add_attention"`
	AttentionHeadDim *int     `json:"attention_head_dim"` // channels of a head; null: one head
	AttnNormGroups   *int     `json:"attn_norm_num_groups"`
	BlockOutChannels []int    `json:"block_out_channels"`
	CenterInput      bool     `json:"center_input_sample"`
	ClassEmbedType   *string  `json:"class_embed_type"`
	DownBlockTypes   []string `json:"down_block_types"`
	DownPadding      int      `json:"downsample_padding"`
	DownType         string   `json:"downsample_type"`
	Dropout          float64  `json:"dropout"`
	FlipSinToCos     bool     `json:"flip_sin_to_cos"` // cosines first, as in the reference
	FreqShift        float64  `json:"freq_shift"`
	InChannels       int      `json:"in_channels"`
	LayersPerBlock   int      `json:"layers_per_block"`
	MidScale         float64  `json:"mid_block_scale_factor"`
	MidBlockType     *string  `json:"mid_block_type"`
	NormEps          float64  `json:"norm_eps"`
	NormGroups       *int     `json:"norm_num_groups"`
	NumClassEmbeds   *int     `json:"num_class_embeds"`
	TrainTimesteps   *int     `json:"num_train_timesteps"` // rows of a learned timestep embedding
	OutChannels      int      `json:"out_channels"`
	TimeScaleShift   string   `json:"resnet_time_scale_shift"`
	SampleSize       any      `json:"sample_size"`
	TimeEmbeddingDim *int     `json:"time_embedding_dim"`
	TimeEmbedding    string   `json:"time_embedding_type"`
	UpBlockTypes     []string `json:"up_block_types"`
	UpType           string   `json:"upsample_type"`
}

// defaultUNet returns the constructor's defaults, for keys that a file lacks.
func defaultUNet() unetConfig {
	eight, groups, mid := 8, 32, "UNetMidBlock2D"
	return unetConfig{
		Class: "UNet2DModel", Version: Version, ActFn: "silu", AddAttention: true, AttentionHeadDim: &eight,
		BlockOutChannels: []int{224, 448, 672, 896}, DownBlockTypes: []string{"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"},
		UpBlockTypes: []string{"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"},
		DownPadding:  1, DownType: "conv", UpType: "conv", FlipSinToCos: true, InChannels: 3, OutChannels: 3, LayersPerBlock: 2,
		MidScale: 1, MidBlockType: &mid, NormEps: 1e-5, NormGroups: &groups, TimeScaleShift: "default", TimeEmbedding: "positional",
	}
}

// learnsTimesteps reports whether the network sees timesteps that are not the scheduler's integers:
// UNet2DModel then needs a table of embeddings.
func learnsTimesteps(d diffusion.Config) bool { return d.RescaleTimesteps && d.Steps != 1000 }

// newUNet returns the configuration of a network, or an [*UnsupportedError].
func newUNet(c model.Config, u model.UNetConfig, d diffusion.Config) (unetConfig, error) {
	out := defaultUNet()
	levels := len(u.ChannelMult)
	switch {
	case c.SuperRes():
		return out, unsupported("super-res", "stock pipelines have no low-resolution input")
	case u.StemChannels != 0 && u.StemChannels != u.Width(0), u.Width(0) != u.ModelChannels:
		return out, unsupported("channel-mult", "the first level has %d channels and the timestep embedding %d, which are one number in UNet2DModel: the first multiplier must be 1", u.Width(0), u.ModelChannels)
	case u.NumResBlocks < 1:
		return out, unsupported("num-res-blocks", "UNet2DModel needs at least one residual block per level")
	}
	headDim, err := headChannels(u)
	if err != nil {
		return out, err
	}
	out.AttentionHeadDim, out.AttnNormGroups = headDim, out.NormGroups // null is no norm in the middle block with scale_shift
	out.SampleSize, out.InChannels, out.OutChannels = c.ImageSize, u.InChannels, u.OutChannels
	out.FreqShift = u.FreqShift
	if u.NormEps > 0 {
		out.NormEps = u.NormEps
	}
	if u.AsymmetricPadding {
		out.DownPadding = 0
	}
	out.LayersPerBlock, out.Dropout = u.NumResBlocks, u.Dropout
	out.BlockOutChannels, out.DownBlockTypes, out.UpBlockTypes = nil, nil, nil
	plainDown, plainUp := "DownBlock2D", "UpBlock2D"
	if u.ResBlockUpDown {
		out.DownType, out.UpType = "resnet", "resnet"
		plainDown, plainUp = "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"
	}
	for level := range levels {
		out.BlockOutChannels = append(out.BlockOutChannels, u.Width(level))
		down, up := plainDown, plainUp
		if u.Attends(1 << level) {
			down, up = "AttnDownBlock2D", "AttnUpBlock2D"
		}
		out.DownBlockTypes, out.UpBlockTypes = append(out.DownBlockTypes, down), append([]string{up}, out.UpBlockTypes...)
	}
	if u.UseScaleShiftNorm {
		out.TimeScaleShift = "scale_shift"
	}
	if u.NumClasses > 0 {
		out.NumClassEmbeds = &u.NumClasses
	}
	if learnsTimesteps(d) {
		out.TimeEmbedding, out.TrainTimesteps = "learned", &d.Steps
	}
	return out, nil
}

// headChannels returns the channels of an attention head, which are one number in UNet2DModel; nil:
// there is one head everywhere.
func headChannels(u model.UNetConfig) (*int, error) {
	type site struct{ level, heads int }
	var sites []site
	for level := range u.ChannelMult {
		switch {
		case u.Attends(1 << level):
			sites = append(sites, site{level, u.Heads(u.Width(level), u.NumHeads)}, site{level, u.Heads(u.Width(level), u.HeadsUpsample())})
		case level == len(u.ChannelMult)-1: // the middle block
			sites = append(sites, site{level, u.Heads(u.Width(level), u.NumHeads)})
		}
	}
	single, first, dim := true, sites[0], u.Width(sites[0].level)/sites[0].heads
	for _, s := range sites {
		single = single && s.heads == 1
	}
	if single {
		return nil, nil
	}
	for _, s := range sites {
		if own := u.Width(s.level) / s.heads; own != dim {
			return nil, unsupported("num-heads", "attention heads have %d channels at level %d and %d at level %d, but one number in UNet2DModel: a network trained with num-head-channels has it", dim, first.level, own, s.level)
		}
	}
	return &dim, nil
}

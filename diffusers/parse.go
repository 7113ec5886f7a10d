package diffusers

import (
	"math"
	"strconv"

	"iddpm/diffusion"
	"iddpm/model"
)

// network returns the network of a UNet2DModel's configuration, without learned variances, or an
// [*UnsupportedError] that names an argument.
func (c unetConfig) network() (model.Config, error) {
	m := model.Config{
		InChannels: c.InChannels, NumResBlocks: c.LayersPerBlock, NumHeads: 1, NumHeadsUpsample: -1, NumHeadChannels: -1, Dropout: c.Dropout,
		UseScaleShiftNorm: c.TimeScaleShift == "scale_shift", FreqShift: c.FreqShift,
	}
	if c.NormEps != 1e-5 {
		m.NormEps = c.NormEps
	}
	if err := c.check(); err != nil {
		return m, err
	}
	size, ok := c.SampleSize.(float64) // JSON's numbers
	if !ok || size < 1 || size > 1<<16 || size != math.Trunc(size) {
		return m, unsupported("sample_size", "%v is not the size of square images", c.SampleSize)
	}
	m.ImageSize, m.NumChannels = int(size), c.BlockOutChannels[0]
	for _, n := range c.BlockOutChannels {
		m.ChannelMult = append(m.ChannelMult, model.ChannelMultiplier(n, m.NumChannels))
	}
	if c.AttentionHeadDim != nil {
		m.NumHeadChannels = *c.AttentionHeadDim
	}
	if c.NumClassEmbeds != nil {
		m.ClassCond, m.NumClasses = true, *c.NumClassEmbeds
	}
	return m, c.setBlocks(&m)
}

// check refuses arguments that have no counterpart.
func (c unetConfig) check() error {
	levels := len(c.BlockOutChannels)
	groups := c.NormGroups
	switch {
	case c.Class != "UNet2DModel":
		return unsupported("_class_name", "%s: only UNet2DModel can be read", c.Class)
	case levels == 0 || levels != len(c.DownBlockTypes) || levels != len(c.UpBlockTypes) || c.BlockOutChannels[0] < 1:
		return unsupported("block_out_channels", "%v for %d down_block_types and %d up_block_types", c.BlockOutChannels, len(c.DownBlockTypes), len(c.UpBlockTypes))
	case c.ActFn != "silu" && c.ActFn != "swish":
		return unsupported("act_fn", "%s, only silu", c.ActFn)
	case !c.AddAttention || c.MidBlockType == nil || *c.MidBlockType != "UNetMidBlock2D":
		return unsupported("mid_block_type", "the middle block must be UNetMidBlock2D with attention")
	case groups == nil || *groups != 32:
		return unsupported("norm_num_groups", "only 32")
	case c.AttnNormGroups != nil && *c.AttnNormGroups != 32, c.AttnNormGroups == nil && c.TimeScaleShift == "scale_shift":
		return unsupported("attn_norm_num_groups", "attention of the middle block needs a group norm of 32 groups; null with scale_shift is none")
	case c.CenterInput:
		return unsupported("center_input_sample", "true: images here are in [-1, 1]")
	case c.MidScale != 1:
		return unsupported("mid_block_scale_factor", "%g, only 1", c.MidScale)
	case c.TimeScaleShift != "default" && c.TimeScaleShift != "scale_shift":
		return unsupported("resnet_time_scale_shift", "%s, only default or scale_shift", c.TimeScaleShift)
	case c.ClassEmbedType != nil:
		return unsupported("class_embed_type", "%s, only null", *c.ClassEmbedType)
	case c.TimeEmbedding != "positional" && c.TimeEmbedding != "learned":
		return unsupported("time_embedding_type", "%s, only positional, or learned with the sinusoid", c.TimeEmbedding)
	case c.TimeEmbeddingDim != nil && *c.TimeEmbeddingDim != 4*c.BlockOutChannels[0]:
		return unsupported("time_embedding_dim", "%d, only 4 times the first of block_out_channels", *c.TimeEmbeddingDim)
	case c.DownPadding != 0 && c.DownPadding != 1:
		return unsupported("downsample_padding", "%d, only 0 or 1", c.DownPadding)
	case c.FreqShift != 0 && c.FreqShift != 1:
		return unsupported("freq_shift", "%g, only 0 or 1", c.FreqShift)
	case !(c.NormEps > 0 && c.NormEps < 1):
		return unsupported("norm_eps", "%g is not between 0 and 1", c.NormEps)
	}
	return nil
}

// setBlocks sets attention and resampling by the types of the blocks, which must mirror each other.
func (c unetConfig) setBlocks(m *model.Config) error {
	levels := len(c.DownBlockTypes)
	const none, convolution, residual = 0, 1, 2
	kinds := map[string]struct {
		attends bool
		samples int // how the block resamples; none: as downsample_type says
	}{
		"DownBlock2D": {false, convolution}, "ResnetDownsampleBlock2D": {false, residual}, "AttnDownBlock2D": {true, none},
		"UpBlock2D": {false, convolution}, "ResnetUpsampleBlock2D": {false, residual}, "AttnUpBlock2D": {true, none},
	}
	how := none
	resampled := func(kind int, name, as string) error {
		if kind == none {
			if kind = convolution; name == "resnet" {
				kind = residual
			} else if name != "conv" {
				return unsupported(as, "%q, only conv or resnet", name)
			}
		}
		if how != none && how != kind {
			return unsupported(as, "some levels are resampled by convolutions and others by residual blocks")
		}
		how = kind
		return nil
	}
	for level, name := range c.DownBlockTypes {
		other := c.UpBlockTypes[levels-1-level]
		down, okDown := kinds[name]
		up, okUp := kinds[other]
		switch {
		case !okDown || !okUp:
			return unsupported("down_block_types", "%s and %s at level %d: only DownBlock2D, AttnDownBlock2D, ResnetDownsampleBlock2D and their counterparts", name, other, level)
		case down.attends != up.attends:
			return unsupported("up_block_types", "%s at level %d, whose encoder is %s: attention must be in both", other, level, name)
		case down.attends:
			m.AttentionResolutions = append(m.AttentionResolutions, m.ImageSize>>level)
		}
		if level < levels-1 { // else it is not downsampled, nor upsampled to
			if err := resampled(down.samples, c.DownType, "downsample_type"); err != nil {
				return err
			}
			if err := resampled(up.samples, c.UpType, "upsample_type"); err != nil {
				return err
			}
		}
	}
	m.ResBlockUpDown = how == residual
	m.AsymmetricPadding = c.DownPadding == 0 && how == convolution
	return nil
}

// diffusion returns the diffusion of a scheduler, or an [*UnsupportedError].
func (s schedulerConfig) diffusion() (diffusion.Config, error) {
	d := diffusion.Config{Steps: s.TrainTimesteps, ZeroTerminalSNR: s.ZeroTerminalSNR}
	for kind, name := range predictionTypes {
		if name == s.PredictionType {
			d.Predict = map[diffusion.ModelMeanType]string{diffusion.XStart: "xstart", diffusion.Velocity: "v"}[kind]
		}
	}
	if d.Predict == "" && s.PredictionType != "epsilon" {
		return d, unsupported("prediction_type", "%s, only epsilon, sample or v_prediction", s.PredictionType)
	}
	d.PredictXStart = d.Predict == "xstart"
	switch s.VarianceType {
	case "learned_range":
		d.LearnSigma = true
	case "fixed_small", "fixed_small_log":
		d.SigmaSmall = true
	case "fixed_large", "fixed_large_log":
	default:
		return d, unsupported("variance_type", "%s, only learned_range, fixed_small or fixed_large", s.VarianceType)
	}
	var err error
	if s.TrainedBetas != nil {
		d.NoiseSchedule, d.ZeroTerminalSNR, err = s.namedBetas(d.MeanType() == diffusion.Velocity)
	} else {
		d.NoiseSchedule, err = s.schedule()
	}
	if err != nil {
		return d, err
	}
	return d, d.Validate()
}

// schedule returns the noise schedule that a scheduler names.
func (s schedulerConfig) schedule() (string, error) {
	ends := strconv.FormatFloat(s.BetaStart, 'g', -1, 64) + "," + strconv.FormatFloat(s.BetaEnd, 'g', -1, 64)
	switch s.BetaSchedule {
	case "linear":
		if s.BetaStart == 0.0001 && s.BetaEnd == 0.02 && s.TrainTimesteps == 1000 {
			return diffusion.Linear, nil
		}
		return diffusion.Linear + ":" + ends, nil
	case "scaled_linear":
		return diffusion.ScaledLinear + ":" + ends, nil
	case "squaredcos_cap_v2":
		return diffusion.Cosine, nil
	}
	return "", unsupported("beta_schedule", "%s, only linear, scaled_linear or squaredcos_cap_v2", s.BetaSchedule)
}

// namedBetas returns the noise schedule that has these betas to the precision of float32, the type
// of schedulers, and whether it ends without signal: the scheduler rescales the betas, or they are
// rescaled, which mayBeRescaled allows.
func (s schedulerConfig) namedBetas(mayBeRescaled bool) (name string, zeroTerminalSNR bool, err error) {
	betas := s.TrainedBetas
	if len(betas) != s.TrainTimesteps || len(betas) < 2 {
		return "", false, unsupported("trained_betas", "%d betas for %d timesteps", len(betas), s.TrainTimesteps)
	}
	ends := strconv.FormatFloat(betas[0], 'g', 6, 64) + "," + strconv.FormatFloat(betas[len(betas)-1], 'g', 6, 64)
	for _, name := range []string{
		diffusion.Linear, diffusion.Cosine, diffusion.Sigmoid, diffusion.Linear + ":" + ends, diffusion.ScaledLinear + ":" + ends,
		diffusion.CosineShifted + ":32", diffusion.CosineShifted + ":128", diffusion.CosineShifted + ":256", diffusion.CosineShifted + ":512",
	} {
		c := diffusion.Config{NoiseSchedule: name, Steps: len(betas)}
		if own, err := c.Betas(); err == nil && sameBetas(own, betas) {
			return name, s.ZeroTerminalSNR, nil
		}
		c.ZeroTerminalSNR = true
		if own, err := c.Betas(); err == nil && mayBeRescaled && sameBetas(own, betas) {
			return name, true, nil
		}
	}
	return "", false, unsupported("trained_betas", "these are of none of the noise schedules %s", diffusion.ScheduleNames)
}

func sameBetas(a, b []float64) bool {
	for t := range a {
		if !(math.Abs(a[t]-b[t]) <= 2e-6*math.Abs(a[t])) {
			return false
		}
	}
	return true
}

// notes returns what is left to the user of a scheduler.
func (s schedulerConfig) notes() (all []string) {
	if !s.ClipSample {
		all = append(all, "the scheduler does not clip x_0: sample with clip-denoised false to do the same")
	} else if s.ClipSampleRange != 1 {
		all = append(all, "the scheduler clips x_0 to another range than [-1, 1], which is the one here")
	}
	if s.Thresholding {
		all = append(all, "the scheduler's dynamic thresholding is not used")
	}
	return all
}

package diffusers

import (
	"iddpm/diffusion"
)

// schedulerConfig is the scheduler_config.json of a DDPMScheduler or a DDIMScheduler.
type schedulerConfig struct {
	Class           string    `json:"_class_name"`
	Version         string    `json:"_diffusers_version"`
	TrainTimesteps  int       `json:"num_train_timesteps"`
	BetaStart       float64   `json:"beta_start"`
	BetaEnd         float64   `json:"beta_end"`
	BetaSchedule    string    `json:"beta_schedule"`
	TrainedBetas    []float64 `json:"trained_betas"`
	ClipSample      bool      `json:"clip_sample"`
	ClipSampleRange float64   `json:"clip_sample_range"`
	PredictionType  string    `json:"prediction_type"`
	Thresholding    bool      `json:"thresholding"`
	TimestepSpacing string    `json:"timestep_spacing"`
	StepsOffset     int       `json:"steps_offset"`
	ZeroTerminalSNR bool      `json:"rescale_betas_zero_snr"`
	VarianceType    string    `json:"variance_type,omitempty"`    // DDPM
	SetAlphaToOne   *bool     `json:"set_alpha_to_one,omitempty"` // DDIM
}

// The schedulers that are written and read.
const (
	DDPM = "DDPMScheduler" // ancestral sampling
	DDIM = "DDIMScheduler"
)

func defaultScheduler() schedulerConfig {
	return schedulerConfig{
		Class: DDPM, Version: Version, TrainTimesteps: 1000, BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: "linear",
		ClipSample: true, ClipSampleRange: 1, PredictionType: "epsilon", TimestepSpacing: "leading", VarianceType: "fixed_small",
	}
}

// predictionTypes are diffusers' names of what a network predicts.
var predictionTypes = map[diffusion.ModelMeanType]string{diffusion.Epsilon: "epsilon", diffusion.XStart: "sample", diffusion.Velocity: "v_prediction"}

// newScheduler returns the scheduler of a diffusion. Its betas are all listed: no name of diffusers'
// gives them exactly.
func newScheduler(d diffusion.Config, class string) (schedulerConfig, error) {
	s := defaultScheduler()
	betas, err := d.Betas()
	if err != nil {
		return s, err
	}
	s.TrainTimesteps, s.TrainedBetas, s.BetaStart, s.BetaEnd = d.Steps, betas, betas[0], betas[len(betas)-1]
	s.PredictionType = predictionTypes[d.MeanType()]
	switch {
	case class == DDIM:
		one := true // alphaBar_{-1}
		s.Class, s.VarianceType, s.SetAlphaToOne = DDIM, "", &one
	case d.LearnSigma:
		s.VarianceType = "learned_range"
	case !d.SigmaSmall:
		s.VarianceType = "fixed_large"
	}
	return s, nil
}

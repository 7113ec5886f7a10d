package diffusion

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// Config selects a diffusion process and its objective. The JSON keys are the
// reference's flags.
type Config struct {
	Steps                int    `json:"diffusion_steps"`        // T of the process that the network is trained on
	NoiseSchedule        string `json:"noise_schedule"`         // Linear or Cosine
	TimestepRespacing    string `json:"timestep_respacing"`     // the timesteps to keep, see [Config.KeptTimesteps]; "": all
	LearnSigma           bool   `json:"learn_sigma"`            // LearnedRange variance: the network has 2C output channels
	SigmaSmall           bool   `json:"sigma_small"`            // FixedSmall variance instead of FixedLarge; ignored with LearnSigma
	UseKL                bool   `json:"use_kl"`                 // train on L_vlb alone
	PredictXStart        bool   `json:"predict_xstart"`         // the network predicts x_0, not the noise
	RescaleTimesteps     bool   `json:"rescale_timesteps"`      // scale the timesteps that the network receives to 1000 t/T
	RescaleLearnedSigmas bool   `json:"rescale_learned_sigmas"` // weight the bound's term by T/1000 (L_hybrid's lambda = 0.001); else by 1
}

// Validate returns an error that lists every problem of c.
func (c Config) Validate() error {
	scheduleErr := validateNamedSchedule(c.NoiseSchedule, c.Steps)
	var spacingErr error
	if c.Steps >= 2 && c.Steps <= maxSteps {
		spacingErr = validateRespacing(c.Steps, c.TimestepRespacing)
	}
	return errors.Join(scheduleErr, spacingErr)
}

// KeptTimesteps returns, in ascending order, the timesteps that TimestepRespacing keeps: see
// [SpaceTimesteps], and [LogSNRTimesteps] for "logsnr20".
func (c Config) KeptTimesteps() ([]int, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	_, host, err := c.schedule()
	if err != nil {
		return nil, err
	}
	return keptTimesteps(c.TimestepRespacing, host.AlphasCumprod)
}

// schedule returns the betas of the process without respacing, and its schedule.
func (c Config) schedule() (betas []float64, host Schedule, err error) {
	if betas, err = NamedBetas(c.NoiseSchedule, c.Steps); err != nil {
		return nil, Schedule{}, err
	}
	if host, err = NewSchedule(betas); err != nil {
		err = fmt.Errorf("%s schedule of %d steps: %w", c.NoiseSchedule, c.Steps, err)
	}
	return betas, host, err
}

// Objective returns what the network predicts and how it is trained.
func (c Config) Objective() Objective {
	o := Objective{RescaleTimesteps: c.RescaleTimesteps}
	if c.PredictXStart {
		o.MeanType = XStart
	}
	switch {
	case c.LearnSigma:
		o.VarType = LearnedRange
	case c.SigmaSmall:
		o.VarType = FixedSmall
	}
	switch {
	case c.UseKL:
		o.LossType = RescaledKL
	case c.RescaleLearnedSigmas:
		o.LossType = RescaledMSE
	}
	return o
}

// New creates the diffusion that c describes, for tensors on device. Call it
// outside any scope: it owns tensors.
func New(c Config, device gotorch.Device) (d *GaussianDiffusion, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	betas, host, err := c.schedule()
	if err != nil {
		return nil, err
	}
	useTimesteps, err := keptTimesteps(c.TimestepRespacing, host.AlphasCumprod)
	if err != nil {
		return nil, err
	}
	onDevice := func() gotorch.Tensor { return namedBetas(c.NoiseSchedule, c.Steps, device) }
	if len(useTimesteps) < c.Steps {
		betas = RespaceBetas(host.AlphasCumprod, useTimesteps)
		if host, err = NewSchedule(betas); err != nil {
			return nil, fmt.Errorf("%s schedule of %d steps respaced to %q: %w", c.NoiseSchedule, c.Steps, c.TimestepRespacing, err)
		}
		onDevice = func() gotorch.Tensor { return gotorch.FromFloat64s(betas).To(device) }
	}
	err = inScope(func() {
		d = newGaussian(onDevice(), host, useTimesteps, c.Steps, c.Objective())
	})
	return d, err
}

// NewGaussian creates the diffusion with the given betas, without respacing.
func NewGaussian(betas []float64, o Objective, device gotorch.Device) (d *GaussianDiffusion, err error) {
	host, err := NewSchedule(betas)
	if err != nil {
		return nil, err
	}
	all := make([]int, len(betas))
	for t := range all {
		all[t] = t
	}
	err = inScope(func() {
		d = newGaussian(gotorch.FromFloat64s(betas).To(device), host, all, len(betas), o)
	})
	return d, err
}

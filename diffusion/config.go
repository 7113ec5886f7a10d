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
	NoiseSchedule        string `json:"noise_schedule"`         // see ScheduleNames
	TimestepRespacing    string `json:"timestep_respacing"`     // the timesteps to keep, see [Config.KeptTimesteps]; "": all
	LearnSigma           bool   `json:"learn_sigma"`            // LearnedRange variance: the network has 2C output channels
	SigmaSmall           bool   `json:"sigma_small"`            // FixedSmall variance instead of FixedLarge; ignored with LearnSigma
	UseKL                bool   `json:"use_kl"`                 // train on L_vlb alone
	PredictXStart        bool   `json:"predict_xstart"`         // the network predicts x_0, not the noise: the reference's name of Predict = "xstart"
	RescaleTimesteps     bool   `json:"rescale_timesteps"`      // scale the timesteps that the network receives to 1000 t/T
	RescaleLearnedSigmas bool   `json:"rescale_learned_sigmas"` // weight the bound's term by T/1000 (L_hybrid's lambda = 0.001); else by 1

	// Beyond the reference's flags; empty in files of earlier versions.
	Predict         string `json:"predict,omitempty"`           // what the network predicts: epsilon, xstart or v; "": by PredictXStart
	LossWeight      string `json:"loss_weight,omitempty"`       // weight of L_simple by timestep, see ParseLossWeight
	ZeroTerminalSNR bool   `json:"zero_terminal_snr,omitempty"` // rescale the schedule so that x_T has no signal; needs Predict = "v"
}

// The names of prediction types in Config.Predict.
var meanTypeNames = map[string]ModelMeanType{"epsilon": Epsilon, "xstart": XStart, "v": Velocity}

// MeanType returns what the network predicts.
func (c Config) MeanType() ModelMeanType {
	if c.Predict == "" && c.PredictXStart {
		return XStart
	}
	return meanTypeNames[c.Predict] // Epsilon for ""
}

// validateObjective returns an error that lists the objective's problems.
func (c Config) validateObjective() error {
	var errs []error
	if _, ok := meanTypeNames[c.Predict]; c.Predict != "" && !ok {
		errs = append(errs, fmt.Errorf("unknown predict %q: use epsilon, xstart or v", c.Predict))
	} else if c.PredictXStart && c.MeanType() != XStart {
		errs = append(errs, fmt.Errorf("predict %q contradicts predict_xstart: use one of them", c.Predict))
	}
	weight, err := ParseLossWeight(c.LossWeight)
	if err != nil {
		errs = append(errs, err)
	} else if weight.Kind != Unweighted && c.UseKL {
		errs = append(errs, fmt.Errorf("loss_weight %q weights L_simple, which use_kl leaves out: use one of them", c.LossWeight))
	}
	if c.ZeroTerminalSNR {
		errs = append(errs, checkZeroTerminalSNR(c.MeanType()))
	}
	return errors.Join(errs...)
}

// checkZeroTerminalSNR returns an error unless a network that predicts m can learn a process
// whose x_T has no signal.
func checkZeroTerminalSNR(m ModelMeanType) error {
	switch m {
	case Velocity:
		return nil
	case Epsilon:
		return errors.New("zero terminal SNR (zero_terminal_snr) needs predict v: x_T is the noise itself, from which no x_0 follows by a predicted epsilon, since alphaBar_T is 0")
	}
	return errors.New("zero terminal SNR (zero_terminal_snr) needs predict v, with which Lin et al. (arXiv 2305.08891) define it: v is -x_0 at x_T, and nearly epsilon at the first timestep")
}

// Validate returns an error that lists every problem of c.
func (c Config) Validate() error {
	scheduleErr := validateNamedSchedule(c.NoiseSchedule, c.Steps)
	var spacingErr error
	if c.Steps >= 2 && c.Steps <= maxSteps {
		spacingErr = ValidateRespacing(c.Steps, c.TimestepRespacing)
	}
	return errors.Join(scheduleErr, spacingErr, c.validateObjective())
}

// KeptTimesteps returns, in ascending order, the timesteps that TimestepRespacing keeps: see
// [SpaceTimesteps], and [EvenLogSNR] for "logsnr20", which needs the schedule.
func (c Config) KeptTimesteps() ([]int, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if SpacingOf(c.TimestepRespacing) == EvenT {
		return SpaceTimesteps(c.Steps, c.TimestepRespacing)
	}
	kept, _, err := c.Respaced()
	return kept, err
}

// NamedBetas returns the T variances beta_t of a named noise schedule, computed on the
// CPU. Linear needs T > 20, since its last beta is 20/T; the others need T >= 2.
func NamedBetas(name string, steps int) (betas []float64, err error) {
	return Config{NoiseSchedule: name, Steps: steps}.Betas()
}

// Betas returns the variances beta_t of c's process before respacing, [T], computed on the
// CPU.
func (c Config) Betas() (betas []float64, err error) {
	if err := validateNamedSchedule(c.NoiseSchedule, c.Steps); err != nil {
		return nil, err
	}
	err = inScope(func() {
		betas = c.deviceBetas(gotorch.Device{}).Float64s()
	})
	return betas, err
}

// deviceBetas returns the betas of a valid configuration, float64 [T], on a device.
func (c Config) deviceBetas(d gotorch.Device) gotorch.Tensor {
	s, _ := parseNoiseSchedule(c.NoiseSchedule)
	betas := s.betas(c.Steps, d)
	if c.ZeroTerminalSNR {
		betas = rescaleZeroTerminalSNR(betas)
	}
	return betas
}

// Respaced returns, in ascending order, the timesteps that TimestepRespacing keeps, and the schedule
// of the process that consists of these.
func (c Config) Respaced() (kept []int, s Schedule, err error) {
	if err := c.Validate(); err != nil {
		return nil, s, err
	}
	betas, err := c.Betas()
	if err != nil {
		return nil, s, err
	}
	if s, err = NewSchedule(betas); err != nil {
		return nil, s, fmt.Errorf("%s schedule of %d steps: %w", c.NoiseSchedule, c.Steps, err)
	}
	if kept, err = keptTimesteps(c.TimestepRespacing, s.AlphasCumprod); err != nil || len(kept) == c.Steps {
		return kept, s, err
	}
	if s, err = NewSchedule(RespaceBetas(s.AlphasCumprod, kept)); err != nil {
		err = fmt.Errorf("%s schedule of %d steps respaced to %q: %w", c.NoiseSchedule, c.Steps, c.TimestepRespacing, err)
	}
	return kept, s, err
}

// Objective returns what the network predicts and how it is trained. c must be valid.
func (c Config) Objective() Objective {
	o := Objective{MeanType: c.MeanType(), RescaleTimesteps: c.RescaleTimesteps}
	o.LossWeight, _ = ParseLossWeight(c.LossWeight)
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
	kept, host, err := c.Respaced()
	if err != nil {
		return nil, err
	}
	onDevice := func() gotorch.Tensor { return c.deviceBetas(device) }
	if len(kept) < c.Steps {
		onDevice = func() gotorch.Tensor { return gotorch.FromFloat64s(host.Betas).To(device) }
	}
	err = inScope(func() {
		d = newGaussian(onDevice(), host, kept, c.Steps, c.Objective())
	})
	return d, err
}

// NewGaussian creates the diffusion with the given betas, without respacing.
func NewGaussian(betas []float64, o Objective, device gotorch.Device) (d *GaussianDiffusion, err error) {
	host, err := NewSchedule(betas)
	if err == nil && host.zeroTerminalSNR() {
		err = checkZeroTerminalSNR(o.MeanType)
	}
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

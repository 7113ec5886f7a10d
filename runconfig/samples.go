package runconfig

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"iddpm/diffusion"
	"iddpm/model"
)

// AutoInterval as SampleConfig.Interval leaves the choice of the interval to package preview.
const AutoInterval = -1

// SampleConfig configures the grids of samples during training, which package preview makes. The
// zero value makes none.
type SampleConfig struct {
	Interval  int    `json:"sample_interval"`                  // steps between grids; the last step has one too; 0: none; [AutoInterval]: by cost
	Images    int    `json:"sample_images"`                    // in a grid; 0: 64, or fewer if Interval is chosen by cost
	Chosen    bool   `json:"sample_interval_chosen,omitempty"` // Interval was chosen by cost, and grows if grids turn out to cost more
	Respacing string `json:"sample_respacing"`                 // timestep respacing; ddimN samples by DDIM, logsnrN and trimmedN by DPM-Solver++(2M), others by ancestral sampling; "": ddim50, or the next below that the process has
}

// ddimSteps is the number of timesteps by default.
const ddimSteps = 50

// Spec returns the timestep respacing for a process of d, with "" resolved.
func (s SampleConfig) Spec(d diffusion.Config) string {
	if s.Respacing != "" {
		return s.Respacing
	}
	for n := min(ddimSteps, d.Steps); n > 1; n-- {
		spec := fmt.Sprintf("ddim%d", n)
		if _, err := diffusion.SpaceTimesteps(d.Steps, spec); err == nil {
			return spec
		}
	}
	return ""
}

// Process returns the configuration of the respaced diffusion process, and its sampler.
func (s SampleConfig) Process(d diffusion.Config) (diffusion.Config, diffusion.Sampler) {
	d.TimestepRespacing = cmp.Or(s.Spec(d), d.TimestepRespacing)
	switch {
	case strings.HasPrefix(d.TimestepRespacing, "ddim"):
		return d, diffusion.DDIM
	case diffusion.SpacingOf(d.TimestepRespacing) != diffusion.EvenT:
		return d, diffusion.DPMPP2M
	}
	return d, diffusion.Ancestral
}

// Validate returns an error that lists all invalid settings of s, for a network of m and a process of d.
func (s SampleConfig) Validate(m model.Config, d diffusion.Config) error {
	var errs []error
	if s.Interval < AutoInterval {
		errs = append(errs, fmt.Errorf("sample-interval must be auto, or not negative, but is %d", s.Interval))
	}
	if s.Interval > 0 && m.SuperRes() {
		errs = append(errs, errors.New("sample-interval is for networks that sample from noise: a super-resolution network needs low-resolution images"))
	}
	if s.Images < 0 {
		errs = append(errs, fmt.Errorf("sample-images must not be negative, but is %d", s.Images))
	}
	if s.Respacing != "" {
		if err := diffusion.ValidateRespacing(d.Steps, s.Respacing); err != nil {
			errs = append(errs, fmt.Errorf("sample-respacing: %w", err))
		}
	}
	return errors.Join(errs...)
}

package runconfig

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"iddpm/diffusion"
)

// EvalConfig configures the evaluation of the variational bound, and of samples, during training. The zero
// value evaluates nothing.
type EvalConfig struct {
	Interval  int     `json:"eval_interval"`  // steps between evaluations; the last step is evaluated too; 0: none
	Dir       string  `json:"eval_data"`      // images to evaluate on; empty: those of HoldOut
	HoldOut   float64 `json:"hold_out"`       // fraction of the training images held out for evaluation, in [0, 1)
	Images    int     `json:"eval_pictures"`  // number of images to evaluate on, evenly spaced in the set; 0: 64
	Respacing string  `json:"eval_respacing"` // timestep respacing of the evaluation: faster, and another bound; "": as trained

	// The evaluation of samples, by package preview. They are generated as sample grids are.
	Samples   int    `json:"eval_samples,omitempty"`   // number of samples that are compared with training images; 0: none
	Metric    string `json:"eval_metric,omitempty"`    // of the comparison: fid or kid; "": fid
	Inception string `json:"eval_inception,omitempty"` // file of the Inception network's weights; "": that in the user's cache folder
}

// EvaluatesBound reports whether the run evaluates the bound on held-out images.
func (e EvalConfig) EvaluatesBound() bool { return e.Interval > 0 && (e.Dir != "" || e.HoldOut > 0) }

// SampleMetric returns the metric of samples, "fid" or "kid", or "" if there is none.
func (e EvalConfig) SampleMetric() string {
	if e.Interval == 0 || e.Samples == 0 {
		return ""
	}
	return cmp.Or(e.Metric, "fid")
}

// Validate returns an error that lists all invalid settings of e, for a run with process d.
func (e EvalConfig) Validate(d diffusion.Config) error {
	var errs []error
	if e.Interval < 0 {
		errs = append(errs, fmt.Errorf("eval-interval must not be negative, but is %d", e.Interval))
	}
	if e.Images < 0 {
		errs = append(errs, fmt.Errorf("eval-pictures must not be negative, but is %d", e.Images))
	}
	if !(e.HoldOut >= 0 && e.HoldOut < 1) {
		errs = append(errs, fmt.Errorf("hold-out must be in [0, 1), not %g", e.HoldOut))
	}
	if e.Samples < 0 || e.Samples == 1 {
		errs = append(errs, fmt.Errorf("eval-samples must be 0 or at least 2, not %d: one image has no covariance", e.Samples))
	}
	if !slices.Contains([]string{"", "fid", "kid"}, e.Metric) {
		errs = append(errs, fmt.Errorf("eval-metric %q is not one of fid, kid", e.Metric))
	}
	if e.Samples > 0 && e.Interval == 0 {
		errs = append(errs, errors.New("eval-samples needs an eval-interval"))
	}
	if e.Metric != "" && e.Samples == 0 {
		errs = append(errs, errors.New("eval-metric needs eval-samples: the number of samples to compare"))
	}
	if e.Interval > 0 && !e.EvaluatesBound() && e.Samples == 0 {
		errs = append(errs, errors.New("eval-interval needs images that are not trained on: name them by eval-data, or set hold-out, for example to 0.05"))
	}
	if e.Respacing != "" {
		d.TimestepRespacing = e.Respacing
		if err := d.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("eval-respacing: %w", err))
		}
	}
	return errors.Join(errs...)
}

// checkBest returns an error if the name, Options.KeepBest, is of no metric that the run measures.
func (e EvalConfig) checkBest(name string) error {
	switch name {
	case "", "loss":
		return nil
	case "bpd":
		if !e.EvaluatesBound() {
			return errors.New("keep-best bpd compares evaluations on held-out images: set eval-interval, and hold-out or eval-data")
		}
	case "fid", "kid":
		if e.SampleMetric() != name {
			return fmt.Errorf("keep-best %s compares evaluations of samples: set eval-interval, eval-samples and eval-metric %s", name, name)
		}
	default:
		return fmt.Errorf("keep-best %q is not one of loss, bpd, fid, kid", name)
	}
	return nil
}

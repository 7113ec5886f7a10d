package train

import (
	"fmt"

	"iddpm/train/engine"
	"iddpm/train/metrics"
)

// average is a running mean.
type average struct {
	sum   float64
	count int
}

func (a average) mean() float64 { return a.sum / float64(a.count) }

// averages are running means by name.
type averages map[string]average

func (m averages) add(name string, v float64) {
	a := m[name]
	m[name] = average{a.sum + v, a.count + 1}
}

// addTerm adds a value of an image at timestep t, overall and by the quartile of t.
func (m averages) addTerm(name string, v float64, t int64, numTimesteps int) {
	m.add(name, v)
	m.add(fmt.Sprintf("%s_q%d", name, 4*int(t)/numTimesteps), v)
}

// values returns the means in column order, without the noise scale.
func (m averages) values() (row []metrics.Value) {
	for _, name := range metricNames {
		if a := m[name]; a.count > 0 {
			row = append(row, metrics.Value{Name: name, Value: a.mean()})
		}
	}
	return row
}

// addStep adds a step's losses, each times its importance weight, overall and by the quartile
// of t. A skipped step is left out of the means.
func (m averages) addStep(r *engine.Result, numTimesteps int) {
	values := r.Values()
	if values.NonFinite {
		return
	}
	for name, terms := range map[string][]float64{"loss": values.Loss, "mse": values.MSE, "vb": values.VB, Top1: values.Top1, Top5: values.Top5} {
		for i, v := range terms {
			m.addTerm(name, v*r.Weights[i], r.Timesteps[i], numTimesteps)
		}
	}
	m.add("grad_norm", values.GradNorm)
	if len(values.Noise.Norms) > 0 {
		variance, squared := values.Noise.Estimates(values.GradNorm)
		m.add(GradNoiseVariance, variance)
		m.add(GradNoiseSquared, squared)
	}
}

// The accuracies of a classifier under the reference's names, also by the quartile of t: the share
// of images whose class is the likeliest, or among the five likeliest.
const (
	Top1 = "acc@1"
	Top5 = "acc@5"
)

var metricNames = func() (names []string) {
	terms := []string{"loss", "mse", "vb", Top1, Top5}
	names = append(names, terms...)
	for _, name := range terms {
		for q := range 4 {
			names = append(names, fmt.Sprintf("%s_q%d", name, q))
		}
	}
	return append(names, "grad_norm")
}()

// The columns of the gradient noise scale (McCandlish et al. 2018, arXiv 1812.06162,
// appendix A.1). Both estimates are unbiased, and averaged over the steps of a row. The
// scale is their quotient, and is omitted unless the second is above 0.
const (
	GradNoiseScale    = "grad_noise_scale"    // tr(Sigma) / |G|^2, in images
	GradNoiseVariance = "grad_noise_variance" // tr(Sigma), of one image's gradient
	GradNoiseSquared  = "grad_noise_squared"  // |G|^2, of the true gradient; the estimate may be negative
)

// noiseValues returns the columns of a row; none if nothing was measured.
func (m averages) noiseValues() []metrics.Value {
	variance, squared := m[GradNoiseVariance], m[GradNoiseSquared]
	if variance.count == 0 {
		return nil
	}
	var row []metrics.Value
	if squared.mean() > 0 {
		row = append(row, metrics.Value{Name: GradNoiseScale, Value: variance.mean() / squared.mean()})
	}
	return append(row,
		metrics.Value{Name: GradNoiseVariance, Value: variance.mean()},
		metrics.Value{Name: GradNoiseSquared, Value: squared.mean()})
}

// The columns of an evaluation.
const (
	EvalBPD       = "eval_bpd"        // the bound on the NLL with its prior, bits/dim, by the default weights, see [checkpoint.Checkpoint.Weights]
	EvalBPDStderr = "eval_bpd_stderr" // standard error of that mean over images
	EvalMSE       = "eval_mse"        // mean over steps of the squared error of the noise
	EvalFID       = "eval_fid"        // Fréchet Inception Distance of samples and training images
	EvalKID       = "eval_kid"        // Kernel Inception Distance of the same
	EvalKIDStderr = "eval_kid_stderr" // its standard error over subsets
)

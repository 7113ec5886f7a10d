package figure

import "math"

// Run is a metric of one training run, a curve of [LearningCurves].
type Run struct {
	Name   string
	Points []Point // rising steps
}

// Point is a logged value at a step.
type Point struct {
	Step  int
	Value float64 // NaN: not measured
}

// LearningCurvesOptions are options of [LearningCurves].
type LearningCurvesOptions struct {
	Label   string  // of the values, with their unit
	Column  string  // of the values, in the CSV
	Smooth  float64 // see LearningCurves
	LogY    bool    // logarithmic even if the values do not span a decade
	Caption string
}

// LearningCurves draws figure 6: a metric of several runs against the training
// step. Smooth, from 0 to below 1, averages a curve over about 1/(1-Smooth)
// points; the raw values are drawn faintly behind it.
func LearningCurves(runs []Run, o LearningCurvesOptions) Chart {
	p := Panel{X: Axis{Label: "training step"}, Y: Axis{Label: o.Label, Log: o.LogY}}
	c := Chart{Caption: o.Caption, Data: Table{Columns: []string{"run", "step", o.Column, o.Column + "_smoothed"}}}
	for _, r := range runs {
		var steps, raw []float64
		for _, at := range r.Points {
			steps, raw = append(steps, float64(at.Step)), append(raw, at.Value)
		}
		even := smooth(raw, o.Smooth)
		for i := range steps {
			c.Data.add(r.Name, steps[i], raw[i], even[i])
		}
		if o.Smooth > 0 && len(raw) > 1 {
			p.Lines = append(p.Lines, Line{Name: r.Name, X: steps, Y: raw, Faint: true})
		}
		p.Lines = append(p.Lines, Line{Name: r.Name, X: steps, Y: even, Marks: len(steps) <= 25})
	}
	p.Y.Log = o.LogY || spans(p.Lines)
	c.Panels = []Panel{p}
	return c
}

// smooth returns the bias-corrected exponential moving average of values. It skips
// non-finite values.
func smooth(values []float64, rate float64) []float64 {
	even := make([]float64, len(values))
	sum, weight := 0.0, 0.0
	for i, v := range values {
		even[i] = math.NaN()
		if finite(v) {
			sum, weight = rate*sum+(1-rate)*v, rate*weight+(1-rate)
			even[i] = sum / weight
		}
	}
	return even
}

// recent returns the mean of the last 1/(1-rate) values at each place. It skips
// non-finite values.
func recent(values []float64, rate float64) []float64 {
	window := max(1, int(math.Round(1/(1-rate))))
	means := make([]float64, len(values))
	for i := range values {
		sum, n := 0.0, 0.0
		for _, v := range values[max(0, i+1-window) : i+1] {
			if finite(v) {
				sum, n = sum+v, n+1
			}
		}
		means[i] = sum / n
	}
	return means
}

// NoiseRun is a run with the two estimates whose ratio is the gradient noise scale.
type NoiseRun struct {
	Name     string
	Steps    []int
	Variance []float64 // trace of the covariance of one sample's gradient
	Squared  []float64 // squared norm of the true gradient
}

// GradientNoise draws figure 7: the simple noise scale of McCandlish et al.
// (2018), tr(Sigma) / |G|^2 in images, along training. As there, both estimates are
// averaged before the division, since the ratio of two noisy estimates is biased. The
// average is over the last 1/(1-rate) lines: the first gradients of L_vlb are so large
// that they would dominate an exponential average. There is no value where the averaged
// |G|^2 is not above 0.
func GradientNoise(runs []NoiseRun, rate float64) Chart {
	p := Panel{X: Axis{Label: "training step"}, Y: Axis{Label: "gradient noise scale, images", Log: true}}
	c := Chart{
		Caption: "Gradient noise scale along training, by the two-batch estimator of McCandlish et al. 2018, appendix A (Nichol & Dhariwal 2021, figure 7).",
		Data:    Table{Columns: []string{"run", "step", "grad_noise_variance", "grad_noise_squared", "grad_noise_scale_smoothed"}},
	}
	for _, r := range runs {
		variance, squared := recent(r.Variance, rate), recent(r.Squared, rate)
		l := Line{Name: r.Name, Marks: len(r.Steps) <= 25}
		for i, step := range r.Steps {
			scale := math.NaN()
			if squared[i] > 0 {
				scale = variance[i] / squared[i]
			}
			l.X, l.Y = append(l.X, float64(step)), append(l.Y, scale)
			c.Data.add(r.Name, float64(step), r.Variance[i], r.Squared[i], scale)
		}
		p.Lines = append(p.Lines, l)
	}
	c.Panels = []Panel{p}
	return c
}

package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"iddpm/diffusion"
	"iddpm/figure"
	"iddpm/internal/cli"
	"iddpm/runconfig"
	"iddpm/train"
	"iddpm/train/metrics"
)

// The metrics of learning-curves in addition to the columns of log.jsonl.
const (
	metricHeldOut  = "eval_bpd"  // bits/dim on held-out images, with --eval-interval
	metricEstimate = "train_bpd" // the bound as training estimates it
)

// curvesOptions are the flags of learning-curves.
type curvesOptions struct {
	metric string
	smooth float64
	log    bool
}

var learningCurvesFigure = figureSpec{
	name:      "learning-curves",
	usage:     "objectives compared along training (figure 6)",
	arguments: "RUN_DIR...",
	description: `Plots a metric of several runs against the training step: figure 6 of the paper, which compares
L_vlb, L_hybrid and importance-sampled L_vlb in bits/dim. RUN_DIR may be NAME=RUN_DIR.

--metric names a column of log.jsonl, such as loss or mse_q0. The default is the held-out bits/dim
(eval_bpd, recorded with --eval-interval) where all runs have it; else train_bpd, the bound in
bits/dim estimated from the sampled training timesteps and the raw weights, where all runs learn
variances; else the loss, which is not comparable between objectives.

Example:
  iddpm figure learning-curves vlb=runs/003-vlb hybrid=runs/002-hybrid -o curves.png`,
	begin: func() ([]cli.Option, draw) {
		o := &curvesOptions{smooth: 0.9}
		return []cli.Option{
			{Name: "metric", Category: cli.CategoryFigure, Value: &o.metric, Standard: "bits/dim, or else the loss", Usage: "plot the column `NAME` of log.jsonl, or train_bpd"},
			{Name: "smooth", Category: cli.CategoryFigure, Value: &o.smooth, Usage: "exponential smoothing with decay `RATE`, over about 1/(1-RATE) log lines (0: none; never of eval_bpd)"},
			{Name: "log-scale", Category: cli.CategoryFigure, Value: &o.log, Usage: "logarithmic vertical axis, even where values span less than a decade"},
		}, func(_ context.Context, _ *session, args []string) (drawing, error) { return o.draw(args) }
	},
}

// loggedRun is a run folder's log.
type loggedRun struct {
	name   string
	path   string
	config runconfig.Config
	rows   []metrics.Row
}

func readRuns(args []string) ([]loggedRun, error) {
	if len(args) == 0 {
		return nil, cli.Errorf("name run folders, as in: runs/001-emoji runs/002-emoji")
	}
	sources, err := sourcesOf(args)
	if err != nil {
		return nil, err
	}
	runs := make([]loggedRun, len(sources))
	for i, s := range sources {
		runs[i].name, runs[i].path = s.name, s.path
		if runs[i].config, err = train.ReadConfig(s.path); err != nil {
			return nil, err
		}
		if runs[i].rows, err = metrics.Read(s.path); err != nil {
			return nil, err
		}
		if len(runs[i].rows) == 0 {
			return nil, fmt.Errorf("%s: its log is empty", s.path)
		}
	}
	return runs, nil
}

func (o *curvesOptions) draw(args []string) (drawing, error) {
	if !(o.smooth >= 0 && o.smooth < 1) {
		return nil, cli.Errorf("--smooth must be in [0, 1), not %g", o.smooth)
	}
	runs, err := readRuns(args)
	if err != nil {
		return nil, err
	}
	if o.metric == "" {
		o.metric = commonMetric(runs)
	}
	var curves []figure.Run
	for _, r := range runs {
		curve, err := r.curve(o.metric)
		if err != nil {
			return nil, err
		}
		curves = append(curves, curve)
	}
	return figure.LearningCurves(curves, o.describe()), nil
}

// describe returns the labels and the caption of the figure.
func (o *curvesOptions) describe() figure.LearningCurvesOptions {
	d := figure.LearningCurvesOptions{Label: o.metric, Column: o.metric, Smooth: o.smooth, LogY: o.log}
	what := o.metric + ", as logged,"
	switch o.metric {
	case metricHeldOut:
		d.Label, d.Smooth, what = "held-out NLL bound, bits/dim", 0, "Bits/dim on held-out images"
	case metricEstimate:
		d.Label, what = "NLL bound in training, bits/dim", "Bits/dim estimated during training"
	}
	d.Caption = what + " along training"
	if d.Smooth > 0 {
		d.Caption += fmt.Sprintf(", smoothed with decay %g (faint: raw log lines)", d.Smooth)
	}
	d.Caption += " (cf. Nichol & Dhariwal 2021, figure 6)."
	return d
}

// commonMetric returns the best metric that all runs have.
func commonMetric(runs []loggedRun) string {
	for _, name := range []string{metricHeldOut, metricEstimate} {
		if !slices.ContainsFunc(runs, func(r loggedRun) bool { _, err := r.curve(name); return err != nil }) {
			return name
		}
	}
	return "loss"
}

// curve returns a metric of the run at the steps that logged it.
func (r loggedRun) curve(metric string) (figure.Run, error) {
	column, factor := metric, 1.0
	if metric == metricEstimate {
		var ok bool
		if column, factor, ok = boundIn(r.config.Diffusion); !ok {
			return figure.Run{}, fmt.Errorf("%s: training with fixed variances does not estimate the bound: choose another --metric", r.path)
		}
	}
	curve := figure.Run{Name: r.name}
	for _, row := range r.rows {
		if v, ok := row.Get(column); ok {
			curve.Points = append(curve.Points, figure.Point{Step: row.Step, Value: v * factor})
		}
	}
	if len(curve.Points) == 0 {
		known := r.columns()
		return curve, fmt.Errorf("%s has no metric %s%s (metrics: %s)", r.path, column, cli.Suggest(column, "", known), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return curve, nil
}

// boundIn returns the log column that estimates the variational bound, and the factor that
// converts it to bits/dim: training logs the term of one timestep, times the weight of the
// objective.
func boundIn(c diffusion.Config) (column string, factor float64, ok bool) {
	switch {
	case c.UseKL:
		return "loss", 1, true
	case !c.LearnSigma:
		return "", 0, false
	case c.RescaleLearnedSigmas:
		return "vb", 1000, true
	}
	kept, err := c.KeptTimesteps()
	return "vb", float64(len(kept)), err == nil
}

func (r loggedRun) columns() map[string]bool {
	names := map[string]bool{}
	for _, row := range r.rows {
		for _, v := range row.Values {
			names[v.Name] = true
		}
	}
	return names
}

var gradientNoiseFigure = figureSpec{
	name:      "gradient-noise",
	usage:     "gradient noise scale along training (figure 7)",
	arguments: "RUN_DIR...",
	description: `Plots the gradient noise scale of runs, in images, against the training step: the batch size beyond
which larger batches bring little (McCandlish et al. 2018). Figure 7 of the paper compares L_vlb
with L_hybrid. Training records the estimates with --gradient-noise and a --microbatch below
--batch-size; numerator and denominator are smoothed before the division, since each is noisy.
RUN_DIR may be NAME=RUN_DIR.

Example:
  iddpm figure gradient-noise vlb=runs/003-vlb hybrid=runs/002-hybrid -o noise.png`,
	begin: func() ([]cli.Option, draw) {
		rate := 0.95
		return []cli.Option{{Name: "smooth", Category: cli.CategoryFigure, Value: &rate, Usage: "exponential smoothing with decay `RATE`, over about 1/(1-RATE) log lines"}},
			func(_ context.Context, _ *session, args []string) (drawing, error) {
				return drawGradientNoise(args, rate)
			}
	},
}

func drawGradientNoise(args []string, rate float64) (drawing, error) {
	if !(rate >= 0 && rate < 1) {
		return nil, cli.Errorf("--smooth must be in [0, 1), not %g", rate)
	}
	runs, err := readRuns(args)
	if err != nil {
		return nil, err
	}
	var noise []figure.NoiseRun
	for _, r := range runs {
		n := figure.NoiseRun{Name: r.name}
		for _, row := range r.rows {
			variance, ok := row.Get(train.GradNoiseVariance)
			squared, _ := row.Get(train.GradNoiseSquared)
			if ok && !math.IsNaN(variance) {
				n.Steps, n.Variance, n.Squared = append(n.Steps, row.Step), append(n.Variance, variance), append(n.Squared, squared)
			}
		}
		if len(n.Steps) == 0 {
			return nil, fmt.Errorf("%s recorded no gradient noise: train with --gradient-noise and a --microbatch below --batch-size", r.path)
		}
		noise = append(noise, n)
	}
	return figure.GradientNoise(noise, rate), nil
}

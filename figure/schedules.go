package figure

import (
	"fmt"
	"math"

	"iddpm/diffusion"
)

// The x axis of figures of a whole process.
var shareOfSteps = Axis{Label: "diffusion step, t / T", Min: 0, Max: 1}

// VarianceRatio draws figure 1: the posterior variance betaTilde_t over beta_t for a
// named schedule of each length. The choice of the variance matters only at the first
// steps.
func VarianceRatio(schedule string, steps []int) (Chart, error) {
	c := Chart{
		Caption: fmt.Sprintf("The ratio of the posterior variance to β for every step of %s processes of different lengths (Nichol & Dhariwal 2021, figure 1).", schedule),
		Data:    Table{Columns: []string{"series", "diffusion_steps", "t", "t_over_T", "posterior_variance_over_beta"}},
	}
	p := Panel{
		X: Axis{Label: "diffusion step, t / T", Log: true},
		Y: Axis{Label: "posterior variance / β"},
	}
	for _, count := range steps {
		s, err := named(schedule, count)
		if err != nil {
			return Chart{}, err
		}
		l := Line{Name: fmt.Sprintf("T = %d steps", count)}
		for t, b := range s.Betas {
			x, ratio := float64(t+1)/float64(count), s.PosteriorVariance[t]/b
			l.X, l.Y = append(l.X, x), append(l.Y, ratio)
			c.Data.add(l.Name, float64(count), float64(t+1), x, ratio)
		}
		p.Lines = append(p.Lines, l)
	}
	c.Panels = []Panel{p}
	return c, nil
}

// AlphaBar draws figure 5: alphaBar_t, the remaining fraction of the signal's variance,
// for both named schedules.
func AlphaBar(steps int) (Chart, error) {
	c := Chart{
		Caption: fmt.Sprintf("ᾱ along the linear and the cosine schedule, T = %d (Nichol & Dhariwal 2021, figure 5).", steps),
		Data:    Table{Columns: []string{"schedule", "t", "t_over_T", "alpha_bar"}},
	}
	p := Panel{X: shareOfSteps, Y: Axis{Label: "ᾱ, share of the signal's variance", Min: 0, Max: 1}}
	for _, name := range []string{diffusion.Linear, diffusion.Cosine} {
		s, err := named(name, steps)
		if err != nil {
			return Chart{}, err
		}
		l := Line{Name: name, X: []float64{0}, Y: []float64{1}}
		c.Data.add(name, 0, 0, 1)
		for t, a := range s.AlphasCumprod {
			x := float64(t+1) / float64(steps)
			l.X, l.Y = append(l.X, x), append(l.Y, a)
			c.Data.add(name, float64(t+1), x, a)
		}
		p.Lines = append(p.Lines, l)
	}
	c.Panels = []Panel{p}
	return c, nil
}

func named(name string, steps int) (diffusion.Schedule, error) {
	betas, err := diffusion.NamedBetas(name, steps)
	if err != nil {
		return diffusion.Schedule{}, err
	}
	return diffusion.NewSchedule(betas)
}

// Process is a diffusion process to compare: a schedule, and the steps of the process
// from which it was respaced.
type Process struct {
	Name     string
	Schedule diffusion.Schedule
	Kept     []int // [T], rising, the step of the original process that each step is; nil: each its own
	Original int   // steps of the original process
}

// CompareSchedules draws four quantities of any schedules at the steps of the original
// process: alphaBar, the signal-to-noise ratio, beta, and the posterior variance over
// beta.
func CompareSchedules(processes []Process) Chart {
	c := Chart{
		Caption: "Comparison of noise schedules; a respaced one is drawn at the steps that it keeps. " +
			"SNR is ᾱ / (1 - ᾱ).",
		Data: Table{Columns: []string{"schedule", "t", "t_over_T", "alpha_bar", "log10_snr", "beta", "posterior_variance", "posterior_variance_over_beta"}},
		Panels: []Panel{
			{X: shareOfSteps, Y: Axis{Label: "ᾱ", Min: 0, Max: 1}},
			{X: shareOfSteps, Y: Axis{Label: "signal-to-noise ratio, log10"}},
			{X: shareOfSteps, Y: Axis{Label: "β", Log: true}},
			{X: shareOfSteps, Y: Axis{Label: "posterior variance / β", Min: 0, Max: 1.02}},
		},
	}
	for _, process := range processes {
		lines := make([]Line, len(c.Panels))
		for t := range process.Schedule.Betas {
			at := process.at(t)
			x := at / float64(process.Original)
			values := quantities(process.Schedule, t)
			c.Data.add(process.Name, append([]float64{at, x}, values...)...)
			for i, v := range []float64{values[0], values[1], values[2], values[4]} {
				lines[i].Name, lines[i].X, lines[i].Y = process.Name, append(lines[i].X, x), append(lines[i].Y, v)
			}
		}
		for i := range lines {
			c.Panels[i].Lines = append(c.Panels[i].Lines, lines[i])
		}
	}
	return c
}

// at returns the original process's step, from 1, of step t.
func (p Process) at(t int) float64 {
	if p.Kept != nil {
		t = p.Kept[t]
	}
	return float64(t + 1)
}

// quantities returns the values that CompareSchedules plots at a step.
func quantities(s diffusion.Schedule, t int) []float64 {
	a, b, v := s.AlphasCumprod[t], s.Betas[t], s.PosteriorVariance[t]
	return []float64{a, math.Log10(a / (1 - a)), b, v, v / b}
}

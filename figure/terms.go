package figure

import (
	"fmt"
	"math"

	"iddpm/diffusion"
)

// ModelTerms are the terms of a model's variational bound.
type ModelTerms struct {
	Name string
	// VB is the term of every step, in bits/dim: VB[t] is L_t of the paper, with
	// the decoder term L_0 first.
	VB []float64
}

// Terms draws figure 2: the terms of the variational bound against the step, on
// logarithmic axes. Most of the bits are in the first few steps.
func Terms(models []ModelTerms) Chart {
	p := Panel{
		X: Axis{Label: "diffusion step", Log: true},
		Y: Axis{Label: "term of the bound, bits/dim", Log: true},
	}
	c := Chart{
		Caption: "Terms of the variational bound against the diffusion step (Nichol & Dhariwal 2021, figure 2).",
		Data:    Table{Columns: []string{"model", "t", "vb_bits_per_dim", "cumulative_bits_per_dim"}},
	}
	for _, m := range models {
		l := Line{Name: fmt.Sprintf("%s, T = %d", m.Name, len(m.VB))}
		sum := 0.0
		for t, v := range m.VB {
			sum += v
			l.X, l.Y = append(l.X, float64(t+1)), append(l.Y, v)
			c.Data.add(m.Name, float64(t+1), v, sum)
		}
		p.Lines = append(p.Lines, l)
	}
	c.Panels = []Panel{p}
	return c
}

// SkipModel is a model whose reverse process is shortened at its start.
type SkipModel struct {
	Name     string
	Schedule diffusion.Schedule
	VB       []float64 // [T], as in ModelTerms
	Square   float64   // mean of the squares of the images' values in [-1, 1]
	// Differences of samples from real images by number of steps of the shortened
	// process; may be empty.
	Differences map[int]float64
}

// octaveMetric compares the statistics of pixels.
var octaveMetric = SampleMetric{
	Label: "difference of samples from images, dB", Column: "difference_db",
	About: "Second panel: difference between samples and images in energy per octave of spatial frequency, root mean square.",
}

// SkipSteps draws figure 4 by likelihood: the cost of skipping the first part of the
// reverse process. The shortened process starts with pure noise at step t instead of T.
// It is also a model, and its bound in bits/dim is exact: the terms up to t, plus the
// prior term, the KL divergence of q(x_t | x_0) from N(0, I). If a model has Differences,
// a second panel shows them, by a metric: nil is that of [Octaves].
func SkipSteps(models []SkipModel, by *SampleMetric) (Chart, error) {
	if by == nil {
		by = &octaveMetric
	}
	share := Axis{Label: "skipped fraction of the reverse process", Min: 0, Max: 1}
	p := Panel{X: share, Y: Axis{Label: "bits/dim of the shortened process"}}
	sampled := Panel{X: share, Y: Axis{Label: by.Label}}
	c := Chart{
		Caption: "Likelihood when the first part of the reverse process is skipped: the bound of the process that starts with noise at step t, bits/dim " +
			"(Nichol & Dhariwal 2021, figure 4, shows FID).",
		Data: Table{Columns: []string{"model", "skipped_share", "t", "bits_per_dim", "prior_bits_per_dim", by.Column}},
	}
	for _, m := range models {
		if terms, steps := len(m.VB), m.Schedule.NumTimesteps(); terms != steps {
			return Chart{}, fmt.Errorf("%s: %d terms for a process of %d steps", m.Name, terms, steps)
		}
		bound, differences := m.lines(&c.Data)
		p.Lines = append(p.Lines, bound)
		if len(differences.X) > 0 {
			sampled.Lines = append(sampled.Lines, differences)
		}
	}
	p.Y.Log = spans(p.Lines)
	c.Panels = []Panel{p}
	if len(sampled.Lines) > 0 {
		c.Panels = append(c.Panels, sampled)
		c.Caption += " " + by.About
	}
	return c, nil
}

// lines returns the lines of a model in the two panels of SkipSteps, of which the second may be empty, and
// adds its rows to a table.
func (m SkipModel) lines(table *Table) (bound, differences Line) {
	steps := len(m.VB)
	bound.Name = fmt.Sprintf("%s, T = %d", m.Name, steps)
	differences = Line{Name: bound.Name, Marks: true}
	sum := 0.0
	for t, v := range m.VB {
		sum += v
		share, prior := 1-float64(t+1)/float64(steps), m.prior(t)
		bound.X, bound.Y = append(bound.X, share), append(bound.Y, sum+prior)
		difference, ok := m.Differences[t+1]
		if ok {
			differences.X, differences.Y = append(differences.X, share), append(differences.Y, difference)
		} else {
			difference = math.NaN()
		}
		table.add(m.Name, share, float64(t+1), sum+prior, prior, difference)
	}
	return bound, differences
}

// prior returns the KL divergence of q(x_t | x_0) from N(0, I), in bits/dim, averaged over
// images: equation 7 with t for T.
func (m SkipModel) prior(t int) float64 {
	a := m.Schedule.AlphasCumprod[t]
	return 0.5 * (a*m.Square - a - math.Log1p(-a)) / math.Ln2
}

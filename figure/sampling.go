package figure

import "slices"

// SampleMetric describes the values by which a figure compares samples.
type SampleMetric struct {
	Label  string // of the axis, with the unit
	Column string // in the CSV
	About  string // a sentence for the caption
}

// SamplerPoint is a sampler of a model with a number of timesteps.
type SamplerPoint struct {
	Model       string
	Sampler     string
	Spacing     string // of the timesteps
	Timesteps   int    // that it visits
	Evaluations int    // of the network, per sample
	Value       float64
	Seconds     float64 // per 64 samples; of FewSteps alone
}

// line returns the name of the point's line, for the legend.
func (s SamplerPoint) line() string { return s.Sampler + ", " + s.Spacing }

// SamplingSteps draws figure 8: a metric of samples against what they cost, the evaluations of the
// network, which for most samplers is the number of sampling steps.
func SamplingSteps(points []SamplerPoint, m SampleMetric) Chart {
	p := Panel{X: Axis{Label: "evaluations of the network per sample", Log: true}, Y: Axis{Label: m.Label}}
	c := Chart{
		Caption: "Samples in few steps, by sampler. " + m.About + " (Nichol & Dhariwal 2021, figure 8, shows FID.)",
		Data:    Table{Columns: []string{"curve", "timesteps", "evaluations", m.Column}},
	}
	several := slices.ContainsFunc(points, func(s SamplerPoint) bool { return s.Model != points[0].Model })
	for _, s := range points {
		name := s.line()
		if several {
			name = s.Model + ": " + name
		}
		p.addPoint(name, float64(s.Evaluations), s.Value)
		c.Data.add(name, float64(s.Timesteps), float64(s.Evaluations), s.Value)
	}
	p.Y.Log = spans(p.Lines)
	c.Panels = []Panel{p}
	return c
}

// FewSteps draws, in a panel per model, the distance of samples to those of all timesteps, the value of the
// points, against the evaluations of the network.
func FewSteps(points []SamplerPoint) Chart {
	c := Chart{
		Caption: "Root mean square distance of samples to those of DDIM in all timesteps from the same noise, of values in [-1, 1].",
		Data:    Table{Columns: []string{"model and sampler", "timesteps", "evaluations", "rms", "seconds_per_64_images"}},
	}
	for _, s := range points {
		at := slices.IndexFunc(c.Panels, func(p Panel) bool { return p.Title == s.Model })
		if at < 0 {
			at = len(c.Panels)
			c.Panels = append(c.Panels, Panel{Title: s.Model, X: Axis{Label: "evaluations of the network per image", Log: true}, Y: Axis{Label: "RMS distance", Log: true}})
		}
		c.Panels[at].addPoint(s.line(), float64(s.Evaluations), s.Value)
		c.Data.add(s.Model+": "+s.line(), float64(s.Timesteps), float64(s.Evaluations), s.Value, s.Seconds)
	}
	return c
}

// addPoint adds a point to the line of a name.
func (p *Panel) addPoint(name string, x, y float64) {
	at := slices.IndexFunc(p.Lines, func(l Line) bool { return l.Name == name })
	if at < 0 {
		at = len(p.Lines)
		p.Lines = append(p.Lines, Line{Name: name, Marks: true})
	}
	p.Lines[at].X, p.Lines[at].Y = append(p.Lines[at].X, x), append(p.Lines[at].Y, y)
}

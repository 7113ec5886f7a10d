package figure

import "fmt"

// SampleMetric describes the values by which a figure compares samples.
type SampleMetric struct {
	Label  string // of the axis, with the unit
	Column string // in the CSV
	About  string // a sentence for the caption
}

// SamplerCurve is a sampler of a model with its numbers of timesteps.
type SamplerCurve struct {
	Model   string
	Sampler string
	Spacing string // of the timesteps
	Points  []SamplerPoint
}

// SamplerPoint is one number of timesteps.
type SamplerPoint struct {
	Timesteps   int
	Evaluations int // of the network, per sample
	Value       float64
}

// SamplingSteps draws figure 8: a metric of samples against what they cost, the evaluations of the
// network, which for most samplers is the number of sampling steps.
func SamplingSteps(curves []SamplerCurve, m SampleMetric) Chart {
	p := Panel{X: Axis{Label: "evaluations of the network per sample", Log: true}, Y: Axis{Label: m.Label}}
	c := Chart{
		Caption: "Samples in few steps, by sampler. " + m.About + " (Nichol & Dhariwal 2021, figure 8, shows FID.)",
		Data:    Table{Columns: []string{"curve", "timesteps", "evaluations", m.Column}},
	}
	models := map[string]bool{}
	for _, curve := range curves {
		models[curve.Model] = true
	}
	for _, curve := range curves {
		l := Line{Name: fmt.Sprintf("%s, %s", curve.Sampler, curve.Spacing), Marks: true}
		if len(models) > 1 {
			l.Name = curve.Model + ": " + l.Name
		}
		for _, at := range curve.Points {
			l.X, l.Y = append(l.X, float64(at.Evaluations)), append(l.Y, at.Value)
			c.Data.add(l.Name, float64(at.Timesteps), float64(at.Evaluations), at.Value)
		}
		p.Lines = append(p.Lines, l)
	}
	p.Y.Log = spans(p.Lines)
	c.Panels = []Panel{p}
	return c
}

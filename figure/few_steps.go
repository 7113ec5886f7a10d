package figure

import "slices"

// FewStepsModel is what samplers lose in few steps of one model.
type FewStepsModel struct {
	Name string
	Rows []FewStepsRow
}

// FewStepsRow is a sampler with a number of timesteps.
type FewStepsRow struct {
	Sampler     string  // the line's name, also of the spacing
	Timesteps   int     // that it visits
	Evaluations int     // of the network, per image
	RMS         float64 // root mean square distance to all timesteps, of values in [-1, 1]
	Seconds     float64 // per 64 images
}

// FewSteps draws, in a panel per model, the distance of samples to those of all timesteps against
// the evaluations of the network.
func FewSteps(models []FewStepsModel) Chart {
	c := Chart{
		Caption: "Root mean square distance of samples to those of DDIM in all timesteps from the same noise, of values in [-1, 1].",
		Data:    Table{Columns: []string{"model and sampler", "timesteps", "evaluations", "rms", "seconds_per_64_images"}},
	}
	for _, m := range models {
		p := Panel{Title: m.Name, X: Axis{Label: "evaluations of the network per image", Log: true}, Y: Axis{Label: "RMS distance", Log: true}}
		for _, r := range m.Rows {
			at := slices.IndexFunc(p.Lines, func(l Line) bool { return l.Name == r.Sampler })
			if at < 0 {
				at, p.Lines = len(p.Lines), append(p.Lines, Line{Name: r.Sampler, Marks: true})
			}
			l := &p.Lines[at]
			l.X, l.Y = append(l.X, float64(r.Evaluations)), append(l.Y, r.RMS)
			c.Data.add(m.Name+": "+r.Sampler, float64(r.Timesteps), float64(r.Evaluations), r.RMS, r.Seconds)
		}
		c.Panels = append(c.Panels, p)
	}
	return c
}

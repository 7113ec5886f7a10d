package inference

import "iddpm/train/engine"

// A [Strip] shows at most that many samples, a row each, at that many timesteps.
const (
	stripRows    = 8
	stripColumns = 10
)

// Strip collects the predicted x_0 of the first samples along the sampling trajectory. The zero
// value is empty.
type Strip struct {
	size    int // pixels a side
	rows    int
	columns [][]byte // [timesteps][rows, size, size, 3], the noisiest first
}

// Add collects a step where the strip has a column for it. Call it from [SampleOptions].Progress.
func (s *Strip) Add(p Progress) {
	if p.First > 0 || !s.shows(p.T, p.Timesteps) {
		return
	}
	s.size, s.rows = int(p.PredXStart.Size(2)), int(min(stripRows, p.PredXStart.Size(0)))
	s.columns = append(s.columns, engine.TensorToPixels(p.PredXStart.Narrow(0, 0, int64(s.rows))))
}

// shows reports whether the strip has a column for timestep t. Columns are evenly spaced, from
// the noisiest timestep to the last.
func (s *Strip) shows(t, timesteps int) bool {
	columns := min(stripColumns, timesteps)
	for c := range columns {
		if t == (columns-1-c)*(timesteps-1)/max(columns-1, 1) {
			return true
		}
	}
	return false
}

// Rows returns the number of samples in the strip.
func (s *Strip) Rows() int { return s.rows }

// Columns returns the number of timesteps in the strip.
func (s *Strip) Columns() int { return len(s.columns) }

// Images returns the strip row by row: Rows times Columns images.
func (s *Strip) Images() Images {
	all := Images{Size: s.size}
	each := all.BytesPerImage()
	for row := range s.rows {
		for _, column := range s.columns {
			all.Append(column[row*each:(row+1)*each], nil)
		}
	}
	return all
}

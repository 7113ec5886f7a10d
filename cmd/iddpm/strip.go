package main

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/train"
)

// The strip of --denoised-progress shows that many images, a row each, at that
// many timesteps.
const (
	stripRows    = 8
	stripColumns = 10
)

// strip gathers what the network takes the first images for along the way.
type strip struct {
	size    int
	rows    int
	columns [][]byte // [timesteps][rows, H, W, 3], the noisiest first
}

// shows reports whether the strip has a column for step t of so many: they are
// evenly spaced, from the noisiest to the last.
func (s *strip) shows(t, steps int) bool {
	columns := min(stripColumns, steps)
	for c := range columns {
		if t == (columns-1-c)*(steps-1)/max(columns-1, 1) {
			return true
		}
	}
	return false
}

// add takes the predicted x_0 of the first batch, [N, C, H, W], for a column.
func (s *strip) add(predXStart gotorch.Tensor) {
	s.rows = int(min(stripRows, predXStart.Size(0)))
	s.columns = append(s.columns, train.TensorToPixels(predXStart.Narrow(0, 0, int64(s.rows))))
}

// sheet returns the strip, row by row.
func (s *strip) sheet() images {
	all := images{size: s.size, columns: len(s.columns)}
	each := all.bytesPerImage()
	for row := range s.rows {
		for _, column := range s.columns {
			all.add(column[row*each:(row+1)*each], nil)
		}
	}
	return all
}

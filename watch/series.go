package watch

import "math"

// maxPoints is the largest number of points that a series keeps: more than a screen has pixels.
const maxPoints = 2048

// Series is one metric over the training steps, of at most maxPoints points. Up to that many rows it
// holds the logged values; beyond, each point is the mean of equally many consecutive rows.
type Series struct {
	steps, values []float64
	perPoint      int // rows that a whole point averages
	open          point
	NonFinite     int // rows that held NaN or an infinity
}

// point is a mean under construction.
type point struct {
	step, sum    float64
	rows, finite int
}

func (p *point) add(step, value float64) {
	p.step += step
	p.rows++
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		p.sum += value
		p.finite++
	}
}

// mean returns NaN as value where no row was finite.
func (p *point) mean() (step, value float64) {
	if p.finite == 0 {
		return p.step / float64(p.rows), math.NaN()
	}
	return p.step / float64(p.rows), p.sum / float64(p.finite)
}

// Add appends a row's value.
func (s *Series) Add(step, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		s.NonFinite++
	}
	if s.open.add(step, value); s.open.rows < max(s.perPoint, 1) {
		return
	}
	step, value = s.open.mean()
	s.steps, s.values, s.open = append(s.steps, step), append(s.values, value), point{}
	if len(s.steps) == maxPoints {
		s.halve()
	}
}

// halve merges neighbouring points in pairs.
func (s *Series) halve() {
	s.steps, s.values = merge(s.steps, s.values, 2)
	s.perPoint = 2 * max(s.perPoint, 1)
}

// Points returns at most limit points, the last of which includes the newest row. A point without a
// finite value is NaN.
func (s *Series) Points(limit int) (steps, values []float64) {
	steps, values = s.steps, s.values
	if s.open.rows > 0 {
		step, value := s.open.mean()
		steps, values = append(steps[:len(steps):len(steps)], step), append(values[:len(values):len(values)], value)
	}
	return merge(steps, values, (len(steps)+limit-1)/max(limit, 1))
}

// Last returns the newest point, or ok = false if there is none.
func (s *Series) Last() (value float64, ok bool) {
	if s.open.rows > 0 {
		_, value = s.open.mean()
		return value, true
	}
	if n := len(s.values); n > 0 {
		return s.values[n-1], true
	}
	return 0, false
}

// merge averages each n consecutive points.
func merge(steps, values []float64, n int) (fewerSteps, fewerValues []float64) {
	if n <= 1 {
		return steps, values
	}
	for first := 0; first < len(steps); first += n {
		var p point
		for i := first; i < min(first+n, len(steps)); i++ {
			p.add(steps[i], values[i])
		}
		step, value := p.mean()
		fewerSteps, fewerValues = append(fewerSteps, step), append(fewerValues, value)
	}
	return fewerSteps, fewerValues
}

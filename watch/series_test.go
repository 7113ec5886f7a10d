package watch

import (
	"math"
	"slices"
	"testing"
)

func TestSeriesHoldsLoggedValues(t *testing.T) {
	var s Series
	for i := range 10 {
		s.Add(float64(i), float64(i*i))
	}
	steps, values := s.Points(100)
	if len(steps) != 10 || steps[3] != 3 || values[3] != 9 {
		t.Errorf("%v %v", steps, values)
	}
	if last, ok := s.Last(); !ok || last != 81 {
		t.Errorf("last %v %v", last, ok)
	}
}

// A long series keeps few points, and their mean is that of all rows.
func TestSeriesOfManyRows(t *testing.T) {
	var s Series
	const rows = 100_001
	for i := range rows {
		s.Add(float64(i), float64(i))
	}
	for _, limit := range []int{1, 7, 500, maxPoints} {
		steps, values := s.Points(limit)
		if len(steps) > limit || len(values) != len(steps) || !slices.IsSorted(steps) {
			t.Errorf("%d points for a limit of %d, sorted: %v", len(steps), limit, slices.IsSorted(steps))
		}
		for i := range steps {
			if math.Abs(steps[i]-values[i]) > 1e-6 {
				t.Fatalf("point %d is %v at %v", i, values[i], steps[i])
			}
		}
	}
	if last, _ := s.Last(); last < rows-200 {
		t.Errorf("the last point is %v", last)
	}
}

func TestSeriesOfNonFiniteValues(t *testing.T) {
	var s Series
	s.Add(1, math.NaN())
	s.Add(2, math.Inf(1))
	s.Add(3, 5)
	if _, values := s.Points(10); s.NonFinite != 2 || !math.IsNaN(values[0]) || !math.IsNaN(values[1]) || values[2] != 5 {
		t.Errorf("%d, %v", s.NonFinite, values)
	}
	if _, values := s.Points(1); values[0] != 5 {
		t.Errorf("the mean of NaN, infinity and 5 is %v", values[0])
	}
	var empty Series
	if _, ok := empty.Last(); ok {
		t.Error("an empty series has a last point")
	}
	if steps, _ := empty.Points(5); len(steps) != 0 {
		t.Error("an empty series has points")
	}
}

package inference

import (
	"slices"
	"testing"
)

func TestStripShows(t *testing.T) {
	for _, test := range []struct {
		steps int
		want  []int
	}{
		{1, []int{0}},
		{3, []int{2, 1, 0}},
		{10, []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{1000, []int{999, 888, 777, 666, 555, 444, 333, 222, 111, 0}},
	} {
		var got []int
		for at := test.steps - 1; at >= 0; at-- {
			if new(Strip).shows(at, test.steps) {
				got = append(got, at)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%d steps: columns at %v, want %v", test.steps, got, test.want)
		}
	}
}

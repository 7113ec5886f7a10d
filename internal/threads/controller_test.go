package threads

import (
	"slices"
	"testing"
	"time"
)

// phase is a period in which other processes use a number of cores.
type phase struct {
	length time.Duration
	others float64
}

// follow returns a controller's successive numbers of threads, and the times of the
// changes.
func follow(cores, most int, step time.Duration, phases ...phase) (threads []int, after []time.Duration) {
	c := NewController(most)
	s := Sample{At: time.Unix(1e9, 0), Cores: cores, Others: time.Hour}
	begin := s.At
	threads = []int{c.Next(s)}
	for _, p := range phases {
		for end := s.At.Add(p.length); s.At.Before(end); {
			s.At = s.At.Add(step)
			s.Others += time.Duration(p.others * float64(step))
			if n := c.Next(s); n != threads[len(threads)-1] {
				threads, after = append(threads, n), append(after, s.At.Sub(begin))
			}
		}
	}
	return threads, after
}

func TestController(t *testing.T) {
	const s = time.Second
	seconds := func(n ...time.Duration) []time.Duration {
		for i := range n {
			n[i] *= s
		}
		return n
	}
	for _, test := range []struct {
		name        string
		cores, most int
		step        time.Duration
		phases      []phase
		threads     []int
		after       []time.Duration
	}{
		{"idle", 2, 2, s, []phase{{100 * s, 0.03}}, []int{2}, nil},
		{"busy from the start", 2, 2, s / 10, []phase{{100 * s, 1}}, []int{2, 1}, seconds(1)},
		{"busy later", 2, 2, s / 10, []phase{{10 * s, 0}, {90 * s, 0.7}}, []int{2, 1}, seconds(12)},
		{"a burst", 2, 2, s / 10, []phase{{10 * s, 0}, {s, 2}, {10 * s, 0}}, []int{2}, nil},
		{"comes back", 2, 2, s / 10, []phase{{10 * s, 1}, {10 * s, 0}}, []int{2, 1, 2}, seconds(1, 13)},
		{"a break is too short", 2, 2, s, []phase{{10 * s, 1}, {2 * s, 0}, {10 * s, 1}}, []int{2, 1}, seconds(1)},
		{"a light load neither lowers", 2, 2, s, []phase{{50 * s, 0.3}}, []int{2}, nil},
		{"nor raises", 2, 2, s, []phase{{5 * s, 1}, {50 * s, 0.3}}, []int{2, 1}, seconds(1)},
		{"long steps", 2, 2, 5 * s, []phase{{10 * s, 0}, {10 * s, 1}, {10 * s, 0}}, []int{2, 1, 2}, seconds(15, 25)},
		{"ever longer waits while the load comes and goes", 2, 2, s,
			[]phase{{5 * s, 1}, {5 * s, 0}, {5 * s, 1}, {7 * s, 0}, {5 * s, 1}, {20 * s, 0}}, []int{2, 1, 2, 1, 2, 1, 2}, seconds(1, 8, 12, 21, 24, 39)},
		{"one thread", 2, 1, s, []phase{{50 * s, 2}}, []int{1}, nil},
		{"some of the cores", 8, 2, s, []phase{{50 * s, 5.5}}, []int{2}, nil},
		{"three of eight", 8, 8, s, []phase{{5 * s, 0}, {50 * s, 3}}, []int{8, 5}, seconds(7)},
		{"half stay", 8, 8, s, []phase{{50 * s, 8}}, []int{8, 4}, seconds(1)},
		{"half of three", 3, 3, s, []phase{{50 * s, 3}}, []int{3, 1}, seconds(1)},
		{"more threads than cores", 2, 3, s, []phase{{50 * s, 0}}, []int{3, 2}, seconds(1)},
	} {
		threads, after := follow(test.cores, test.most, test.step, test.phases...)
		if !slices.Equal(threads, test.threads) || !slices.Equal(after, test.after) {
			t.Errorf("%s: %v after %v, want %v after %v", test.name, threads, after, test.threads, test.after)
		}
	}
}

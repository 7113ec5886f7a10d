package figure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOctaves(t *testing.T) {
	const size = 8
	constant, noise, checks := make([]byte, 2*3*size*size), make([]byte, 2*3*size*size), make([]byte, 2*3*size*size)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		constant[i] = 100
		noise[i] = byte(random.UintN(256))
		if (i/3%size+i/(3*size))%2 == 0 {
			checks[i] = 255
		}
	}
	if got := Octaves(constant, size); len(got) != 4 || slices.Max(got) > 1e-12 {
		t.Errorf("a constant has the energies %v", got)
	}
	if got := Octaves(checks, size); math.Abs(got[0]-1) > 1e-12 || slices.Max(got[1:]) > 1e-12 {
		t.Errorf("single pixels of -1 and 1 have the energies %v", got)
	}
	// The octaves add up to the variance. Of white noise, each has 3/4 of the remaining energy.
	energies, sum, total := Octaves(noise, size), 0.0, 0.0
	for _, e := range energies {
		sum += e
	}
	mean := 0.0
	for _, b := range noise {
		v := float64(b)/127.5 - 1
		mean, total = mean+v/float64(len(noise)), total+v*v/float64(len(noise))
	}
	if total -= mean * mean; math.Abs(sum-total) > 1e-9 || math.Abs(energies[0]-0.75*total) > 0.1*total {
		t.Errorf("white noise of variance %v has the energies %v", total, energies)
	}
	if got := Decibels([]float64{1, 10}, []float64{10, 1}); math.Abs(got-10) > 1e-12 {
		t.Errorf("a factor of 10 is %v dB", got)
	}
	if got := Decibels([]float64{0, 1}, []float64{1e-9, 1}); got != 0 {
		t.Errorf("less than bytes can hold makes a difference of %v dB", got)
	}
}

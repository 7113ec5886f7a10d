package diffusion

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"
)

// grid returns n evenly spread numbers in (0, 1).
func grid(n int) []float64 {
	return each(n, func(i int) float64 { return (float64(i) + 0.5) / float64(n) })
}

// warmedUp returns a sampler with full histories of losses that increase with t.
func warmedUp(t *testing.T, steps int) *LossSecondMoment {
	t.Helper()
	s := NewLossSecondMoment(steps)
	for round := range historyPerTerm + 3 {
		for step := range steps {
			if err := s.Update([]int64{int64(step)}, []float64{float64(step+1) + 0.1*float64(round)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// TestSampleIsUnbiased compares the importance-weighted mean loss with the uniform mean.
func TestSampleIsUnbiased(t *testing.T) {
	const steps = 8
	for name, s := range map[string]TimestepSampler{"uniform": NewUniform(steps), "warming up": NewLossSecondMoment(steps), "second moment": warmedUp(t, steps)} {
		loss := func(step int64) float64 { return math.Sin(float64(step)) + 2 }
		want := 0.0
		for step := range int64(steps) {
			want += loss(step) / steps
		}
		drawn, factors := s.Sample(grid(100000))
		got := 0.0
		for i, step := range drawn {
			got += factors[i] * loss(step) / float64(len(drawn))
		}
		if math.Abs(got-want) > 1e-3 {
			t.Errorf("%s: mean loss %v, want %v", name, got, want)
		}
	}
}

func TestSampleFrequenciesMatchWeights(t *testing.T) {
	s := warmedUp(t, 5)
	weights := s.Weights()
	counts := make([]float64, 5)
	drawn, _ := s.Sample(grid(100000))
	for _, step := range drawn {
		counts[step] += 1. / 100000
	}
	for step, w := range weights {
		if math.Abs(counts[step]-w) > 1e-4 {
			t.Errorf("step %d: drawn %v of the time, weight %v", step, counts[step], w)
		}
	}
	if !(weights[4] > weights[0]) {
		t.Errorf("weights %v do not increase with the losses", weights)
	}
	ends, _ := s.Sample([]float64{1e-300, math.Nextafter(1, 0)})
	if !slices.Equal(ends, []int64{0, 4}) {
		t.Errorf("the ends of (0, 1) draw %v, want [0 4]", ends)
	}
}

func TestWeightsOfZeroLosses(t *testing.T) {
	s := NewLossSecondMoment(2)
	for range historyPerTerm {
		if err := s.Update([]int64{0, 1}, []float64{0, 0}); err != nil {
			t.Fatal(err)
		}
	}
	if _, factors := s.Sample([]float64{0.2, 0.8}); !slices.Equal(factors, []float64{1, 1}) {
		t.Errorf("factors %v, want 1 and 1", factors)
	}
}

func TestSamplerState(t *testing.T) {
	s := warmedUp(t, 4)
	if err := s.Update([]int64{2}, []float64{1. / 3}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s.State())
	if err != nil {
		t.Fatal(err)
	}
	var state SamplerState
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	again := NewLossSecondMoment(4)
	if err := again.SetState(state); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, again) {
		t.Errorf("after the round trip %+v, want %+v", again, s)
	}
	s.State().LossHistory[0] = 99 // must be a copy
	if !reflect.DeepEqual(s, again) {
		t.Error("State returns the sampler's own memory")
	}
}

func TestSamplerErrors(t *testing.T) {
	s := warmedUp(t, 3)
	before := s.State()
	full := int64(historyPerTerm)
	for name, err := range map[string]error{
		"lengths":           s.Update([]int64{0, 1}, []float64{1}),
		"step below":        s.Update([]int64{0, -1}, []float64{1, 1}),
		"step beyond":       s.Update([]int64{0, 3}, []float64{1, 1}),
		"NaN":               s.Update([]int64{0, 1}, []float64{1, math.NaN()}),
		"infinite":          s.Update([]int64{0, 1}, []float64{1, math.Inf(1)}),
		"empty state":       s.SetState(SamplerState{}),
		"different T":       s.SetState(NewLossSecondMoment(4).State()),
		"count":             s.SetState(SamplerState{make([]float64, 30), []int64{0, full + 1, 0}}),
		"negative count":    s.SetState(SamplerState{make([]float64, 30), []int64{0, -1, 0}}),
		"NaN in the state":  s.SetState(SamplerState{repeated(math.NaN(), 30), []int64{full, full, full}}),
		"state for uniform": NewUniform(3).SetState(before),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if !reflect.DeepEqual(s.State(), before) {
		t.Error("a failed call changed the sampler")
	}
	if err := NewUniform(3).SetState(NewUniform(3).State()); err != nil {
		t.Error(err)
	}
}

func TestLossAware(t *testing.T) {
	if NewUniform(2).LossAware() || !NewLossSecondMoment(2).LossAware() {
		t.Error("the uniform sampler learns, or the second-moment one does not")
	}
	u := NewUniform(2)
	if err := u.Update([]int64{0}, []float64{5}); err != nil || u.Weights()[0] != u.Weights()[1] {
		t.Error("a loss changed the uniform sampler")
	}
}

package posthoc

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestCoefficients compares with the solution in 60-digit arithmetic whose inner products are
// integrated numerically.
func TestCoefficients(t *testing.T) {
	text, err := os.ReadFile("testdata/coefficients.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Lengths, Steps, Gammas, Coefficients []float64
		Length, Step                         float64
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatal(len(cases), err)
	}
	for i, c := range cases {
		var profiles []Profile
		for k, length := range c.Lengths {
			gamma, err := Gamma(length)
			if err != nil {
				t.Fatal(err)
			}
			if want := c.Gammas[k*len(c.Steps)]; math.Abs(gamma-want) > 1e-13*want {
				t.Errorf("case %d: gamma of %g is %v, want %v", i, length, gamma, want)
			}
			for _, step := range c.Steps {
				profiles = append(profiles, Profile{step, gamma})
			}
		}
		gamma, err := Gamma(c.Length)
		if err != nil {
			t.Fatal(err)
		}
		fit, err := Coefficients(profiles, Profile{c.Step, gamma})
		if err != nil {
			t.Fatal(err)
		}
		for k, want := range c.Coefficients {
			if math.Abs(fit.Coefficients[k]-want) > 1e-9 {
				t.Errorf("case %d: coefficient %d is %v, want %v", i, k, fit.Coefficients[k], want)
			}
		}
	}
}

// TestResidual: a stored profile is exact, and with more snapshots any other is nearer.
func TestResidual(t *testing.T) {
	at := func(length, step float64) Profile {
		gamma, err := Gamma(length)
		if err != nil {
			t.Fatal(err)
		}
		return Profile{step, gamma}
	}
	profiles := func(n int) (all []Profile) {
		for i := range n {
			step := 1000 * float64(i+1) / float64(n)
			all = append(all, at(0.05, step), at(0.10, step))
		}
		return all
	}
	residual := func(n int, target Profile) float64 {
		fit, err := Coefficients(profiles(n), target)
		if err != nil {
			t.Fatal(err)
		}
		return fit.Residual
	}
	if r := residual(10, at(0.10, 1000)); r > 1e-7 {
		t.Errorf("a stored profile has residual %v", r)
	}
	for _, length := range []float64{0.03, 0.075, 0.15, 0.25} {
		few, many := residual(10, at(length, 1000)), residual(100, at(length, 1000))
		if !(many < few/4 && many < 0.01) {
			t.Errorf("length %g: residual %v with 10 snapshots, %v with 100", length, few, many)
		}
	}
}

// TestUpdateWeight: an EMA that UpdateWeight updates has the density of its profile, integrated
// over each step.
func TestUpdateWeight(t *testing.T) {
	const gamma, steps = 6.5, 200
	share := make([]float64, steps+1)
	for step := 1; step <= steps; step++ {
		w := UpdateWeight(gamma, step)
		for i := range share {
			share[i] *= 1 - w
		}
		share[step] = w
	}
	for s := 1; s <= steps; s++ {
		want := (math.Pow(float64(s), gamma+1) - math.Pow(float64(s-1), gamma+1)) / math.Pow(steps, gamma+1)
		if math.Abs(share[s]-want) > 1e-13 {
			t.Fatalf("step %d has share %v, want %v", s, share[s], want)
		}
	}
}

func TestGammaRange(t *testing.T) {
	for _, length := range []float64{0, -1, 0.3, math.NaN(), math.Inf(1)} {
		if _, err := Gamma(length); err == nil {
			t.Errorf("length %v: no error", length)
		}
	}
	for _, length := range []float64{MaxLength, 0.2, 0.01, minLength} {
		gamma, err := Gamma(length)
		if err != nil || math.Abs(Length(gamma)-length) > 1e-15 {
			t.Errorf("length %v: gamma %v has length %v, %v", length, gamma, Length(gamma), err)
		}
	}
}

func TestCoefficientsRefuse(t *testing.T) {
	p := Profile{100, 7}
	for name, profiles := range map[string][]Profile{
		"none": nil, "equal": {p, p}, "step 0": {{0, 7}}, "NaN": {{math.NaN(), 7}}, "negative gamma": {{100, -1}},
	} {
		if _, err := Coefficients(profiles, p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

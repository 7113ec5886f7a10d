package diffusion

import (
	"math"
	"strings"
	"testing"

	"iddpm/internal/golden"
)

func TestNamedBetasErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps int
		want  string // part of the error; "" for none
	}{
		{Linear, 21, ""},
		{Linear, 20, "more than 20"},
		{Linear, 0, "more than 20"},
		{Linear, -5, "more than 20"},
		{Cosine, 2, ""},
		{Cosine, 1, "at least 2"},
		{Cosine, maxSteps + 1, "at most"},
		{Sigmoid, 2, ""},
		{Sigmoid, 1, "at least 2"},
		{"cosine-shifted:256", 2, ""},
		{"cosine-shifted:256", 1, "at least 2"},
		{CosineShifted, 100, "cosine-shifted:256"},
		{"cosine-shifted:0", 100, `"0"`},
		{"cosine-shifted:big", 100, `"big"`},
		{ScaledLinear, 2, ""},
		{"scaled-linear:0.0015,0.0195", 5, ""},
		{"scaled-linear:0.0015", 100, "two numbers"},
		{"scaled-linear:0.02,0.01", 100, "rising"},
		{"linear:0.0001,0.02", 5, ""},
		{"linear:0,0.02", 100, "from 1e-10 to 0.999"},
		{"linear:1e-300,0.02", 100, "from 1e-10 to 0.999"},
		{"scaled-linear:0.5,0.99999999999", 100, "from 1e-10 to 0.999"},
		{"linear:NaN,0.02", 100, "two numbers"},
		{"cosine:8", 100, `"cosine:8"`},
		{"flat", 100, `"flat"`},
		{"", 100, "linear, cosine"},
	} {
		betas, err := NamedBetas(c.name, c.steps)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %d steps: error %v, want one with %q", c.name, c.steps, err, c.want)
			}
			continue
		}
		if err != nil || len(betas) != c.steps {
			t.Errorf("%q, %d steps: %d betas, error %v", c.name, c.steps, len(betas), err)
		}
	}
}

func TestNewScheduleErrors(t *testing.T) {
	for name, betas := range map[string][]float64{
		"none":      nil,
		"one":       {0.5},
		"zero":      {0.1, 0},
		"beta of 1": {0.1, 1, 0.2},
		"negative":  {-0.1, 0.5},
		"NaN":       {0.1, math.NaN()},
		"no signal": repeated(0.999, 200),
	} {
		if _, err := NewSchedule(betas); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func each(n int, f func(t int) float64) []float64 {
	v := make([]float64, n)
	for t := range v {
		v[t] = f(t)
	}
	return v
}

func repeated(v float64, n int) []float64 {
	return each(n, func(int) float64 { return v })
}

func TestScheduleIsMonotonic(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps int
	}{
		{Linear, 21}, {Linear, 4000}, {Cosine, 2}, {Cosine, 3}, {Cosine, 4000}, {Sigmoid, 2}, {Sigmoid, 4000}, {ScaledLinear, 2}, {ScaledLinear, 1000},
		{"cosine-shifted:1", 50}, {"cosine-shifted:32", 2}, {"cosine-shifted:512", 4000}, {"linear:0.01,0.02", 30},
	} {
		betas, err := NamedBetas(c.name, c.steps)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSchedule(betas)
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Betas {
			if !(s.AlphasCumprod[i] < s.AlphasCumprodPrev[i] && s.AlphasCumprodNext[i] < s.AlphasCumprod[i]) {
				t.Errorf("%s %d: alphas_cumprod does not decrease at step %d", c.name, c.steps, i)
			}
			if !(s.PosteriorVariance[i] < s.Betas[i]) {
				t.Errorf("%s %d: the posterior variance is not below beta at step %d", c.name, c.steps, i)
			}
		}
	}
}

// TestPosteriorMeanWithoutNoise: for x_t = sqrt(alphaBar_t) x_0 the posterior mean is
// sqrt(alphaBar_{t-1}) x_0.
func TestPosteriorMeanWithoutNoise(t *testing.T) {
	betas, err := NamedBetas(Cosine, 100)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSchedule(betas)
	if err != nil {
		t.Fatal(err)
	}
	got := each(100, func(t int) float64 {
		return s.PosteriorMeanCoef1[t] + s.PosteriorMeanCoef2[t]*math.Sqrt(s.AlphasCumprod[t])
	})
	want := each(100, func(t int) float64 { return math.Sqrt(s.AlphasCumprodPrev[t]) })
	golden.WithinRelative(t, "mean", got, want, 1e-12)
}

func TestConfigValidate(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		wants  []string
	}{
		"good":                       {Config{Steps: 4000, NoiseSchedule: Cosine, TimestepRespacing: "ddim250"}, nil},
		"zero":                       {Config{}, []string{`""`}},
		"two problems":               {Config{Steps: 1000, NoiseSchedule: "flat", TimestepRespacing: "2000"}, []string{`"flat"`, `"2000"`}},
		"T = 0":                      {Config{NoiseSchedule: Linear}, []string{"more than 20"}},
		"v":                          {Config{Steps: 100, NoiseSchedule: "cosine-shifted:32", Predict: "v", ZeroTerminalSNR: true, LossWeight: "min-snr:5"}, nil},
		"v with KL":                  {Config{Steps: 100, NoiseSchedule: Sigmoid, Predict: "v", UseKL: true, LearnSigma: true, LossWeight: "none"}, nil},
		"x_0 twice":                  {Config{Steps: 100, NoiseSchedule: Cosine, Predict: "xstart", PredictXStart: true, LossWeight: "p2:0.5"}, nil},
		"contradiction":              {Config{Steps: 100, NoiseSchedule: Cosine, Predict: "v", PredictXStart: true}, []string{"contradicts predict_xstart"}},
		"objective":                  {Config{Steps: 100, NoiseSchedule: Cosine, Predict: "score", LossWeight: "heavy"}, []string{`"score"`, `"heavy"`}},
		"weight of L_vlb":            {Config{Steps: 100, NoiseSchedule: Cosine, UseKL: true, LossWeight: "snr"}, []string{"L_simple"}},
		"zero terminal SNR, epsilon": {Config{Steps: 100, NoiseSchedule: Cosine, ZeroTerminalSNR: true}, []string{"alphaBar_T is 0"}},
		"zero terminal SNR, x_0":     {Config{Steps: 100, NoiseSchedule: Cosine, ZeroTerminalSNR: true, PredictXStart: true}, []string{"needs predict v"}},
		"one step":                   {Config{Steps: 100, NoiseSchedule: Linear, TimestepRespacing: "1"}, []string{"at least 2"}},
	} {
		err := c.config.Validate()
		if (err == nil) != (c.wants == nil) {
			t.Errorf("%s: error %v, want one: %v", name, err, c.wants != nil)
		}
		for _, want := range c.wants {
			if !strings.Contains(errorText(err), want) {
				t.Errorf("%s: error %v does not name %s", name, err, want)
			}
		}
		if _, newErr := New(c.config, cpu); (newErr == nil) != (err == nil) {
			t.Errorf("%s: New's error is %v, Validate's %v", name, newErr, err)
		}
	}
}

func TestConfigObjective(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   Objective
	}{
		{Config{}, Objective{}},
		{Config{SigmaSmall: true, PredictXStart: true}, Objective{MeanType: XStart, VarType: FixedSmall}},
		{Config{Predict: "v", LossWeight: "min-snr"}, Objective{MeanType: Velocity, LossWeight: LossWeight{MinSNR, 5}}},
		{Config{Predict: "epsilon", LossWeight: "none"}, Objective{}},
		{Config{Predict: "xstart", LossWeight: "p2:0.5"}, Objective{MeanType: XStart, LossWeight: LossWeight{P2, 0.5}}},
		{Config{LearnSigma: true, SigmaSmall: true, RescaleLearnedSigmas: true}, Objective{VarType: LearnedRange, LossType: RescaledMSE}},
		{Config{LearnSigma: true, UseKL: true, RescaleLearnedSigmas: true, RescaleTimesteps: true}, Objective{VarType: LearnedRange, LossType: RescaledKL, RescaleTimesteps: true}},
	} {
		if got := c.config.Objective(); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.config, got, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

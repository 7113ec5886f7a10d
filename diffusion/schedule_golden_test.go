package diffusion

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"iddpm/internal/golden"
)

// scheduleOf returns the schedule and the number of steps that a file is named after.
func scheduleOf(t *testing.T, path string) (name string, steps int) {
	t.Helper()
	part := regexp.MustCompile(`^(.+)_(\d+)\.npz$`).FindStringSubmatch(filepath.Base(path))
	if part == nil {
		t.Fatalf("%s is not named SCHEDULE_STEPS.npz", path)
	}
	steps, _ = strconv.Atoi(part[2])
	return part[1], steps
}

// TestGoldenSchedule compares with the reference, whose first cosine betas are 1.6e-11 off
// by cancellation.
func TestGoldenSchedule(t *testing.T) {
	for _, path := range golden.Files(t, "schedule/*.npz") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			betas, err := NamedBetas(scheduleOf(t, path))
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSchedule(betas)
			if err != nil {
				t.Fatal(err)
			}
			a := golden.Open(t, path)
			for array, got := range map[string][]float64{
				"betas":                          s.Betas,
				"alphas_cumprod":                 s.AlphasCumprod,
				"alphas_cumprod_prev":            s.AlphasCumprodPrev,
				"alphas_cumprod_next":            s.AlphasCumprodNext,
				"posterior_variance":             s.PosteriorVariance,
				"posterior_log_variance_clipped": s.PosteriorLogVarianceClipped,
				"posterior_mean_coef1":           s.PosteriorMeanCoef1,
				"posterior_mean_coef2":           s.PosteriorMeanCoef2,
			} {
				golden.WithinRelative(t, array, got, a.Float64s(array), 5e-11)
			}
		})
	}
}

// TestLibrarySchedules compares with lucidrains' and diffusers' own betas. Keys are
// SCHEDULE__T, or SCHEDULE__T__zero with zero terminal SNR.
func TestLibrarySchedules(t *testing.T) {
	for _, path := range golden.Files(t, "schedule_libraries/*.npz") {
		a := golden.Open(t, path)
		for _, key := range a.Names() {
			part := strings.Split(key, "__")
			steps, _ := strconv.Atoi(part[1])
			got, err := Config{NoiseSchedule: part[0], Steps: steps, ZeroTerminalSNR: len(part) > 2}.Betas()
			if err != nil {
				t.Fatal(err)
			}
			want := a.Float64s(key)
			if len(got) != len(want) {
				t.Fatalf("%s: %d betas, want %d", key, len(got), len(want))
			}
			for i := range want {
				if !(math.Abs(got[i]-want[i]) <= 1e-12) {
					t.Errorf("%s: beta_%d is %v, want %v", key, i, got[i], want[i])
					break
				}
			}
		}
	}
}

// TestShiftedCosineShiftsLogSNR: every timestep's log-SNR is shifted by 2 log(64/SIZE), also
// where it is so small that 1 - alphaBar is 1.
func TestShiftedCosineShiftsLogSNR(t *testing.T) {
	logSNR := func(name string) []float64 {
		betas, err := NamedBetas(name, 1000)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSchedule(betas)
		if err != nil {
			t.Fatal(err)
		}
		return each(1000, func(t int) float64 { return math.Log(s.AlphasCumprod[t] / (1 - s.AlphasCumprod[t])) })
	}
	cosine := logSNR(Cosine)
	for _, size := range []int{8, 64, 1024} {
		want := each(1000, func(t int) float64 { return cosine[t] + 2*math.Log(64/float64(size)) })
		golden.WithinOfMax(t, strconv.Itoa(size), logSNR(fmt.Sprintf("cosine-shifted:%d", size)), want, 1e-11)
	}
}

// TestExactSchedule compares with arrays of 40-digit arithmetic.
func TestExactSchedule(t *testing.T) {
	for _, path := range golden.Files(t, "schedule_exact/*.npz") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			betas, err := NamedBetas(scheduleOf(t, path))
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSchedule(betas)
			if err != nil {
				t.Fatal(err)
			}
			a := golden.Open(t, path)
			for array, got := range map[string][]float64{"betas": s.Betas, "alphas_cumprod": s.AlphasCumprod, "posterior_variance": s.PosteriorVariance} {
				golden.WithinRelative(t, array, got, a.Float64s(array), 5e-12)
			}
		})
	}
}

// TestCoefficientsRoundExactSchedule: the float32 coefficients are those of the exact
// schedule, except where a value is too close to the middle between two float32 numbers. So
// are those of a GPU, whose float64 arithmetic differs in the last bits.
func TestCoefficientsRoundExactSchedule(t *testing.T) {
	const most = 0.001 // fraction of values
	for _, path := range golden.Files(t, "schedule_exact/*.npz") {
		name, steps := scheduleOf(t, path)
		d, err := New(Config{NoiseSchedule: name, Steps: steps}, cpu)
		if err != nil {
			t.Fatal(err)
		}
		exact := golden.Open(t, path)
		alphaBar, betas, posterior := exact.Float64s("alphas_cumprod"), exact.Float64s("betas"), exact.Float64s("posterior_variance")
		for column, f := range map[coefficient]func(t int) float64{
			sqrtAlphasCumprod:         func(t int) float64 { return math.Sqrt(alphaBar[t]) },
			sqrtOneMinusAlphasCumprod: func(t int) float64 { return math.Sqrt(1 - alphaBar[t]) },
			logOneMinusAlphasCumprod:  func(t int) float64 { return math.Log(1 - alphaBar[t]) },
			sqrtRecipAlphasCumprod:    func(t int) float64 { return math.Sqrt(1 / alphaBar[t]) },
			sqrtRecipm1AlphasCumprod:  func(t int) float64 { return math.Sqrt(1/alphaBar[t] - 1) },
			posteriorVariance:         func(t int) float64 { return posterior[t] },
			posteriorLogVariance:      func(t int) float64 { return math.Log(posterior[max(t, 1)]) },
			logBeta:                   func(t int) float64 { return math.Log(betas[t]) },
		} {
			differ := 0
			for step, got := range d.table.Select(1, int64(column)).Float32s() {
				want := float32(f(step))
				if got != want {
					differ++
				}
				if math.Abs(float64(got-want)) > 1.2e-7*math.Abs(float64(want)) {
					t.Errorf("%s %d, column %d: %v at step %d, want %v or a neighbour", name, steps, column, got, step, want)
				}
			}
			if float64(differ) > max(1, most*float64(steps)) {
				t.Errorf("%s %d, column %d: %d of %d values differ", name, steps, column, differ, steps)
			}
		}
	}
}

func TestGoldenRespace(t *testing.T) {
	type spacing struct {
		Steps       int
		Spec        string
		Schedule    string
		TimestepMap []int `json:"timestep_map"`
		Betas       []float64
	}
	var cases struct{ Good, Refused []spacing }
	for _, path := range golden.Files(t, "respace/*.json") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatal(err)
		}
		if len(cases.Good) == 0 {
			t.Fatalf("%s has no good case", path)
		}
		for _, c := range cases.Good {
			t.Run(fmt.Sprintf("%s %d to %q", c.Schedule, c.Steps, c.Spec), func(t *testing.T) {
				d, err := New(Config{Steps: c.Steps, NoiseSchedule: c.Schedule, TimestepRespacing: c.Spec}, cpu)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(d.TimestepMap, c.TimestepMap) {
					t.Errorf("kept %v, want %v", d.TimestepMap, c.TimestepMap)
				}
				golden.WithinRelative(t, "betas", d.Betas, c.Betas, 5e-11)
			})
		}
		for _, c := range cases.Refused {
			if kept, err := SpaceTimesteps(c.Steps, c.Spec); err == nil {
				t.Errorf("%d steps to %q: kept %v, want an error", c.Steps, c.Spec, kept)
			}
		}
	}
}

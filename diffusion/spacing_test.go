package diffusion

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestLogSNRTimesteps compares with a search over all timesteps.
func TestLogSNRTimesteps(t *testing.T) {
	for _, c := range []struct {
		schedule string
		steps    int
	}{{Linear, 1000}, {Cosine, 1000}, {Cosine, 4000}, {Linear, 30}, {Cosine, 2}} {
		schedule := must(NewSchedule(must(NamedBetas(c.schedule, c.steps))))
		for _, n := range []int{2, 5, 10, 20, 50, 400} {
			if n > c.steps {
				continue
			}
			var want []int
			logSNR := func(t int) float64 { return math.Log(schedule.AlphasCumprod[t] / (1 - schedule.AlphasCumprod[t])) }
			for i := range n {
				best, target := 0, logSNR(0)+(logSNR(c.steps-1)-logSNR(0))*float64(i)/float64(n-1)
				for t := range c.steps {
					if math.Abs(logSNR(t)-target) < math.Abs(logSNR(best)-target) {
						best = t
					}
				}
				want = append(want, best)
			}
			want = slices.Compact(want)
			got, err := Config{Steps: c.steps, NoiseSchedule: c.schedule, TimestepRespacing: EvenLogSNR.Respacing(n, c.steps+1)}.KeptTimesteps()
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %d of %d: %v, %v; want %v", c.schedule, n, c.steps, got, err, want)
			}
		}
	}
}

// A process whose last timestep has no signal keeps it, and spaces the others.
func TestLogSNRTimestepsWithoutSignal(t *testing.T) {
	if got, want := evenLogSNRTimesteps([]float64{0.9, 0.7, 0.5, 0.3, 0.1, 0}, 3), []int{0, 2, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Trimmed keeps the last timestep, and no other that is noisier than a log-SNR of -8 by more than the
// distance to the nearest.
func TestTrimmedTimesteps(t *testing.T) {
	schedule := must(NewSchedule(must(NamedBetas(Cosine, 1000))))
	got := trimmedTimesteps(schedule.AlphasCumprod, 10)
	if len(got) > 10 || len(got) < 9 || got[0] != 0 || got[len(got)-1] != 999 || logSNR(schedule.AlphasCumprod[got[len(got)-2]]) < minLogSNR {
		t.Errorf("%v", got)
	}
	for _, n := range []int{2, 3, 4} {
		if got := trimmedTimesteps(schedule.AlphasCumprod, n); len(got) != n || got[0] != 0 || got[n-1] != 999 {
			t.Errorf("%d timesteps: %v", n, got)
		}
	}
	linear := must(NewSchedule(must(NamedBetas(Linear, 1000)))).AlphasCumprod[:700] // ends above -8
	if got, want := trimmedTimesteps(linear, 10), evenLogSNRTimesteps(linear, 10); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSpacing(t *testing.T) {
	for spacing, want := range map[Spacing]string{EvenT: "20", EvenLogSNR: "logsnr20", Trimmed: "trimmed20"} {
		again, err := ParseSpacing(spacing.String())
		if got := spacing.Respacing(20, 1000); got != want || again != spacing || err != nil {
			t.Errorf("%s: %q, parsed %v, %v", spacing, got, again, err)
		}
		if got := spacing.Respacing(30, 30); got != "" {
			t.Errorf("%s: all timesteps are %q", spacing, got)
		}
	}
	if _, err := ParseSpacing("karras"); err == nil {
		t.Error("an unknown spacing has no error")
	}
	for spec, want := range map[string]string{"logsnr1": "at least 2", "logsnr1001": "at most all", "logsnr": "not a number", "logsnrx": "not a number"} {
		c := Config{Steps: 1000, NoiseSchedule: Cosine, TimestepRespacing: spec}
		if err := c.Validate(); !strings.Contains(errorText(err), want) {
			t.Errorf("%s: error %v", spec, err)
		}
		if _, err := c.KeptTimesteps(); err == nil {
			t.Errorf("%s keeps timesteps", spec)
		}
	}
}

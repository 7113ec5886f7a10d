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

// Trimmed keeps the last timestep, no other that is noisier than trimmedLogSNR, and steps in log-SNR that
// grow towards t = 0.
func TestTrimmedTimesteps(t *testing.T) {
	cosine := must(NewSchedule(must(NamedBetas(Cosine, 1000)))).AlphasCumprod
	linear := must(NewSchedule(must(NamedBetas(Linear, 1000)))).AlphasCumprod[:700] // its last log-SNR is -5
	for _, c := range []struct {
		alphasCumprod []float64
		n             int
		trims         bool
	}{{cosine, 2, true}, {cosine, 3, true}, {cosine, 5, true}, {cosine, 10, true}, {cosine, 20, true}, {linear, 5, true}, {linear, 10, false}} {
		got, last := trimmedTimesteps(c.alphasCumprod, c.n), len(c.alphasCumprod)-1
		if len(got) != c.n || got[0] != 0 || got[c.n-1] != last {
			t.Errorf("%d timesteps: %v", c.n, got)
			continue
		}
		if c.trims {
			got = got[:c.n-1]
		}
		at := func(i int) float64 { return logSNR(c.alphasCumprod[got[i]]) }
		if at(len(got)-1) < trimmedLogSNR(c.n) {
			t.Errorf("%d timesteps: %v begin below %g", c.n, got, trimmedLogSNR(c.n))
		}
		if n := len(got); n > 3 && at(0)-at(1) < 1.1*(at(n-2)-at(n-1)) {
			t.Errorf("%d timesteps: %v are as dense at small noise", c.n, got)
		}
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

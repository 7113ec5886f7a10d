package diffusion

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Spacing is how the timesteps of a respaced diffusion are spread over those of the process.
type Spacing int

// The spacings.
const (
	EvenT      Spacing = iota // evenly in t
	EvenLogSNR                // evenly in the log-SNR, log(alphaBar_t / (1 - alphaBar_t))
	Trimmed                   // the last timestep, and in the log-SNR from trimmedLogSNR on
)

// trimmedLogSNR returns where Trimmed begins with n timesteps. Below, x_t is almost noise alone, and the
// predicted x_0 hardly changes: on the cosine schedule EvenLogSNR spends a third of the timesteps there. What
// is lost is in proportion to alphaBar, which falls here as the error of a second-order solver, by 1/n^2.
// The constant, as trimmedPower, is that of the smallest errors in 10 steps (docs/study.md).
func trimmedLogSNR(n int) float64 { return -1.4 - 2*math.Log(float64(n)) }

// trimmedPower makes Trimmed denser where x_t is noisier: at small noise the predicted x_0 hardly changes either.
const trimmedPower = 1.15

// spacingNames are the names of the spacings.
var spacingNames = []string{EvenT: "t", EvenLogSNR: "logsnr", Trimmed: "trimmed"}

// String returns t, logsnr or trimmed.
func (s Spacing) String() string { return spacingNames[s] }

// ParseSpacing returns the spacing of a name.
func ParseSpacing(name string) (Spacing, error) {
	i := slices.Index(spacingNames, name)
	if i < 0 {
		return 0, fmt.Errorf("unknown spacing %q: use one of %s", name, strings.Join(spacingNames, ", "))
	}
	return Spacing(i), nil
}

// Respacing returns the timestep respacing that keeps n timesteps, or all if there are no more.
func (s Spacing) Respacing(n, numTimesteps int) string {
	switch {
	case n >= numTimesteps:
		return ""
	case s == EvenT:
		return strconv.Itoa(n)
	}
	return s.String() + strconv.Itoa(n)
}

// SpacingOf returns the spacing of a timestep respacing such as "logsnr20".
func SpacingOf(spec string) Spacing {
	s, _ := cutSpacing(spec)
	return s
}

// cutSpacing returns the spacing of a timestep respacing, and the rest of it.
func cutSpacing(spec string) (s Spacing, rest string) {
	for _, s := range []Spacing{EvenLogSNR, Trimmed} {
		if count, ok := strings.CutPrefix(spec, s.String()); ok {
			return s, count
		}
	}
	return EvenT, spec
}

// ValidateRespacing returns an error unless a timestep respacing exists for a process of numTimesteps.
// It needs no schedule.
func ValidateRespacing(numTimesteps int, spec string) error {
	s, count := cutSpacing(spec)
	if s == EvenT {
		_, err := SpaceTimesteps(numTimesteps, spec)
		return err
	}
	n, err := parseCount(count)
	if err == nil && (n < 2 || n > numTimesteps) {
		err = fmt.Errorf("cannot keep %d of %d steps: keep at least 2, and at most all", n, numTimesteps)
	}
	if err != nil {
		return fmt.Errorf("timestep_respacing %q: %w", spec, err)
	}
	return nil
}

// keptTimesteps returns, in ascending order, the timesteps that a valid respacing keeps of a process with
// alphaBar_t, [T].
func keptTimesteps(spec string, alphasCumprod []float64) ([]int, error) {
	spacing, count := cutSpacing(spec)
	if spacing == EvenT {
		return SpaceTimesteps(len(alphasCumprod), spec)
	}
	n, err := parseCount(count)
	if spacing == Trimmed {
		return trimmedTimesteps(alphasCumprod, n), err
	}
	return evenLogSNRTimesteps(alphasCumprod, n), err
}

// evenLogSNRTimesteps returns, in ascending order, the timesteps nearest to n values that are evenly
// spaced in log-SNR from the last timestep to t = 0. Where the log-SNR changes much from one
// timestep to the next, several values have the same nearest timestep, so there may be fewer than
// n. alphasCumprod is alphaBar_t, [T], descending.
func evenLogSNRTimesteps(alphasCumprod []float64, n int) []int {
	return logSNRTimesteps(alphasCumprod, n, -math.MaxFloat64, 1)
}

// trimmedTimesteps is evenLogSNRTimesteps with the last timestep, and n-1 that begin at trimmedLogSNR, or
// n if none is below.
func trimmedTimesteps(alphasCumprod []float64, n int) []int {
	low := trimmedLogSNR(n)
	if logSNR(alphasCumprod[len(alphasCumprod)-1]) < low {
		n--
	}
	return logSNRTimesteps(alphasCumprod, n, low, trimmedPower)
}

func logSNR(alphaBar float64) float64 { return math.Log(alphaBar) - math.Log1p(-alphaBar) }

// logSNRTimesteps spaces n timesteps of a log-SNR of at least low by a power of their rank, from the noisiest to
// t = 0, and keeps the last one.
func logSNRTimesteps(alphasCumprod []float64, n int, low, power float64) []int {
	at := func(t int) float64 { return logSNR(alphasCumprod[t]) }
	last := len(alphasCumprod) - 1
	noisiest := last
	for noisiest > 0 && at(noisiest) < low { // without signal it has no place on the scale
		noisiest--
	}
	kept := []int{0, last}
	for i := range n - 1 {
		rank := math.Pow(float64(i)/float64(n-1), power)
		kept = append(kept, nearest(at, noisiest, at(noisiest)+(at(0)-at(noisiest))*rank))
	}
	slices.Sort(kept)
	return slices.Compact(kept)
}

// nearest returns the index from 0 to last at which a descending function is nearest to a value, the
// smaller index of two at the same distance.
func nearest(f func(int) float64, last int, value float64) int {
	at := sort.Search(last+1, func(i int) bool { return f(i) <= value }) // the first not above
	if at > last {
		return last
	}
	if at > 0 && f(at-1)-value <= value-f(at) {
		return at - 1
	}
	return at
}

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
)

// spacingNames are the names of the spacings.
var spacingNames = []string{EvenT: "t", EvenLogSNR: "logsnr"}

// String returns t or logsnr.
func (s Spacing) String() string { return spacingNames[s] }

// ParseSpacing returns the spacing of a name.
func ParseSpacing(name string) (Spacing, error) {
	i := slices.Index(spacingNames, name)
	if i < 0 {
		return 0, fmt.Errorf("unknown spacing %q: use %s", name, strings.Join(spacingNames, " or "))
	}
	return Spacing(i), nil
}

// logSNRPrefix is the beginning of a timestep respacing that is even in log-SNR: logsnr20.
const logSNRPrefix = "logsnr"

// Respacing returns the timestep respacing that keeps n timesteps, or all if there are no more.
func (s Spacing) Respacing(n, numTimesteps int) string {
	switch {
	case n >= numTimesteps:
		return ""
	case s == EvenLogSNR:
		return logSNRPrefix + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// validateRespacing reports whether a timestep respacing exists for a process of numTimesteps. It
// needs no schedule.
func validateRespacing(numTimesteps int, spec string) error {
	count, ok := strings.CutPrefix(spec, logSNRPrefix)
	if !ok {
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

// keptTimesteps returns, in ascending order, the timesteps that a respacing keeps of a process with
// alphaBar_t, [T].
func keptTimesteps(spec string, alphasCumprod []float64) ([]int, error) {
	if err := validateRespacing(len(alphasCumprod), spec); err != nil {
		return nil, err
	}
	count, ok := strings.CutPrefix(spec, logSNRPrefix)
	if !ok {
		return SpaceTimesteps(len(alphasCumprod), spec)
	}
	n, err := parseCount(count)
	return LogSNRTimesteps(alphasCumprod, n), err
}

// LogSNRTimesteps returns, in ascending order, the timesteps nearest to n values that are evenly
// spaced in log-SNR from the last timestep to t = 0. Where the log-SNR changes much from one
// timestep to the next, several values have the same nearest timestep, so there may be fewer than
// n. alphasCumprod is alphaBar_t, [T], descending.
func LogSNRTimesteps(alphasCumprod []float64, n int) []int {
	logSNR := func(t int) float64 { return math.Log(alphasCumprod[t]) - math.Log1p(-alphasCumprod[t]) }
	last := len(alphasCumprod) - 1
	noisiest := last
	for noisiest > 0 && math.IsInf(logSNR(noisiest), -1) { // without signal it has no place on the scale
		noisiest--
	}
	kept := []int{last}
	for i := range n {
		target := logSNR(noisiest) + (logSNR(0)-logSNR(noisiest))*float64(i)/float64(max(n-1, 1))
		kept = append(kept, nearest(logSNR, noisiest, target))
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

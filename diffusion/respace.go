package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// SpaceTimesteps returns, in ascending order, the timesteps that a respaced diffusion
// keeps out of numTimesteps (section 4 of the paper). spec is one of
//
//	"", "all"   all timesteps
//	"25"        25 timesteps, evenly spaced from the first to the last
//	"10,15,20"  three equal sections, with 10, 15 and 20 timesteps kept
//	"ddim50"    50 timesteps with an integer stride from t = 0, as in the DDIM paper
func SpaceTimesteps(numTimesteps int, spec string) ([]int, error) {
	if numTimesteps < 2 {
		return nil, fmt.Errorf("a diffusion needs at least 2 steps, got %d", numTimesteps)
	}
	var kept []int
	var err error
	if count, ok := strings.CutPrefix(spec, "ddim"); ok {
		kept, err = ddimTimesteps(numTimesteps, count)
	} else {
		kept, err = sectionTimesteps(numTimesteps, spec)
	}
	if err != nil {
		return nil, fmt.Errorf("timestep_respacing %q: %w", spec, err)
	}
	if len(kept) < 2 {
		return nil, fmt.Errorf("timestep_respacing %q keeps %d of %d steps: keep at least 2: the log posterior variance at t = 0 is that of t = 1", spec, len(kept), numTimesteps)
	}
	return kept, nil
}

func ddimTimesteps(numTimesteps int, count string) ([]int, error) {
	want, err := parseCount(count)
	if err != nil {
		return nil, err
	}
	for stride := 1; stride < numTimesteps; stride++ {
		if (numTimesteps+stride-1)/stride != want {
			continue
		}
		var kept []int
		for t := 0; t < numTimesteps; t += stride {
			kept = append(kept, t)
		}
		return kept, nil
	}
	return nil, fmt.Errorf("no integer stride over %d steps gives exactly %d of them: use %s", numTimesteps, want, nearStrides(numTimesteps, want))
}

// nearStrides names the nearest counts below and above want that have a stride.
func nearStrides(numTimesteps, want int) string {
	above, below := numTimesteps, 2
	for stride := 1; stride < numTimesteps; stride++ {
		count := (numTimesteps + stride - 1) / stride
		if count > want {
			above = min(above, count)
		}
		if count < want {
			below = max(below, count)
		}
	}
	if above == below {
		return fmt.Sprintf("ddim%d", above)
	}
	return fmt.Sprintf("ddim%d or ddim%d", below, above)
}

func sectionTimesteps(numTimesteps int, spec string) ([]int, error) {
	counts := []int{numTimesteps}
	if spec != "" && spec != "all" {
		var err error
		if counts, err = parseCounts(spec); err != nil {
			return nil, err
		}
	}
	var kept []int
	start := 0
	for i, count := range counts {
		size := numTimesteps / len(counts)
		if i < numTimesteps%len(counts) {
			size++
		}
		if count > size {
			return nil, fmt.Errorf("section %d has %d steps: cannot keep %d", i+1, size, count)
		}
		kept = append(kept, spread(start, size, count)...)
		start += size
	}
	slices.Sort(kept)
	return slices.Compact(kept), nil
}

// spread returns count evenly spaced timesteps from the first to the last of a section.
// As in the reference it accumulates the stride and rounds half to even: both decide
// which timestep a fraction rounds to.
func spread(start, size, count int) []int {
	stride := 1.0
	if count > 1 {
		stride = float64(size-1) / float64(count-1)
	}
	kept := make([]int, count)
	at := 0.0
	for i := range kept {
		kept[i] = start + int(math.RoundToEven(at))
		at += stride
	}
	return kept
}

func parseCounts(spec string) ([]int, error) {
	var counts []int
	for part := range strings.SplitSeq(spec, ",") {
		n, err := parseCount(part)
		if err != nil {
			return nil, err
		}
		counts = append(counts, n)
	}
	return counts, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of steps: write N, N,N,..., ddimN, logsnrN or trimmedN", s)
	}
	if n < 0 {
		return 0, fmt.Errorf("cannot keep %d steps: the number must be 0 or more", n)
	}
	return n, nil
}

// RespaceBetas returns the betas of the diffusion that keeps only the given steps
// (the reference's use_timesteps) of the one with these alphasCumprod: equation 19.
func RespaceBetas(alphasCumprod []float64, kept []int) []float64 {
	betas := make([]float64, len(kept))
	last := 1.0
	for i, t := range kept {
		betas[i] = 1 - alphasCumprod[t]/last
		last = alphasCumprod[t]
	}
	return betas
}

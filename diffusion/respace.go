package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// SpaceTimesteps returns, in rising order, the steps that a respaced diffusion
// keeps out of numTimesteps (section 4 of the paper). spec is one of
//
//	"", "all"   every step
//	"25"        25 steps, evenly from the first to the last
//	"10,15,20"  the steps cut into three equal sections, with 10, 15 and 20 kept
//	"ddim50"    50 steps by a whole stride from step 0 on, as the DDIM paper's
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
		return nil, fmt.Errorf("timestep_respacing %q keeps %d of %d steps: keep at least 2, since the posterior variance at the first step is taken from the second", spec, len(kept), numTimesteps)
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
	return nil, fmt.Errorf("no whole stride over %d steps gives exactly %d of them; near ones are %s", numTimesteps, want, nearStrides(numTimesteps, want))
}

// nearStrides names the counts just above and below want that do have a stride.
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
	return fmt.Sprintf("ddim%d and ddim%d", below, above)
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
			return nil, fmt.Errorf("section %d has %d steps, %d cannot be kept of them", i+1, size, count)
		}
		kept = append(kept, spread(start, size, count)...)
		start += size
	}
	slices.Sort(kept)
	return slices.Compact(kept), nil
}

// spread places count steps evenly from the first to the last of a section. The
// stride is summed up, and halves go to the even side, as in the reference: both
// decide which step a fraction falls on.
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
		return 0, fmt.Errorf("%q is not a number of steps: write N, N,N,... or ddimN", s)
	}
	if n < 0 {
		return 0, fmt.Errorf("%d steps cannot be kept: a number of steps is never negative", n)
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

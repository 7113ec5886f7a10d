package train

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/internal/golden"
)

// TestGoldenSolvers compares the few-step samplers with an independent implementation in float64.
func TestGoldenSolvers(t *testing.T) {
	for _, file := range golden.Files(t, "solver/*.npz") {
		name := strings.TrimSuffix(filepath.Base(file), ".npz")
		t.Run(name, func(t *testing.T) {
			gotorch.Run(func() {
				golden.Conditioned(t, func(c *golden.Comparisons, nudge int) {
					gotorch.Scope(func() { compareSolvers(t, file, name, c, nudge) })
				})
			})
		})
	}
}

func compareSolvers(t *testing.T, file, name string, c *golden.Comparisons, nudge int) {
	r := openGoldenRun(t, filepath.Join(golden.Dir(t), "model", name), nudge)
	r.process.RescaleTimesteps = false // the stored numbers are of the network at t as it stands
	r.io, r.compared = golden.Open(t, file).Nudged(nudge), c
	cases := 0
	for _, array := range r.io.Names() {
		count, ok := strings.CutPrefix(array, "timesteps_")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(count)
		if err != nil {
			t.Fatalf("%s: %v", array, err)
		}
		cases++
		d := r.diffusion(diffusion.EvenLogSNR.Respacing(n, r.process.Steps))
		kept := slices.Clone(d.TimestepMap)
		slices.Reverse(kept)
		if got, want := fmt.Sprint(kept), fmt.Sprint(r.io.Int64s(array)); got != want {
			t.Errorf("%s: %s, want %s", array, got, want)
		}
		r.compareSolver(d, diffusion.DPMPP2M, "dpmpp_2m_"+count)
		r.compareSolver(d, diffusion.Heun, "heun_"+count)
	}
	if cases == 0 {
		t.Errorf("%s has no timesteps", file)
	}
}

// compareSolver compares the samples, and the first sample after every step: what the network
// receives in the next one.
func (r *goldenRun) compareSolver(d *diffusion.GaussianDiffusion, sampler diffusion.Sampler, name string) {
	var states []float32
	each := 0
	denoise := func(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
		first := x.Narrow(0, 0, 1).Contiguous().Float32s()
		states, each = append(states, first...), len(first)
		return r.denoise(x, t, cond)
	}
	samples, err := d.SampleLoop(r.Context(), denoise, r.tensor("noise"), r.cond, diffusion.SampleOptions{Sampler: sampler})
	if err != nil {
		r.Fatal(err)
	}
	r.compare(name, samples, 1e-3)
	if trace := name + "_trace"; r.io.Has(trace) {
		states = append(states[each:], samples.Narrow(0, 0, 1).Contiguous().Float32s()...)
		golden.Add(r.compared, trace, d.NumTimesteps(), states, r.io.Float32s(trace), golden.Tolerance{OfMax: 1e-3})
	}
}

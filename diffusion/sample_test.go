package diffusion

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// gaussianData returns the optimal network for data whose values are independent and
// N(0, stdv^2), which is known in closed form.
func gaussianData(d *GaussianDiffusion, stdv float64) Denoiser {
	return func(x, scaledTimesteps gotorch.Tensor, _ Cond) gotorch.Tensor {
		at := d.At(scaledTimesteps.Int64s())
		signal := at.extract(sqrtAlphasCumprod)
		total := at.extract(oneMinusAlphasCumprod).Addcmul(signal, signal, stdv*stdv)
		return x.Mul(at.extract(sqrtOneMinusAlphasCumprod)).Div(total)
	}
}

func noiseOf(shape ...int64) NoiseSource { return NoiseSource{Seed: 3, Stream: 1, Shape: shape} }

func sampled(t *testing.T, d *GaussianDiffusion, denoise Denoiser, xT gotorch.Tensor, o SampleOptions) gotorch.Tensor {
	t.Helper()
	x, err := d.SampleLoop(context.Background(), denoise, xT, Cond{}, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func stdvOf(x gotorch.Tensor) float64 { return math.Sqrt(x.Mul(x).Mean().Float64()) }

// TestSamplersMatchDataDistribution: with the optimal network every sampler reproduces
// the data's standard deviation.
func TestSamplersMatchDataDistribution(t *testing.T) {
	const stdv = 0.3
	d := process(t, Cosine, 200, Objective{VarType: FixedSmall})
	for name, o := range map[string]SampleOptions{
		"ancestral": {Noise: noiseOf(4, 3, 32, 32).At},
		"ddim":      {Sampler: DDIM},
		"ddim, 0.5": {Sampler: DDIM, Eta: 0.5, Noise: noiseOf(4, 3, 32, 32).At},
		"2m":        {Sampler: DPMPP2M},
		"2m, sde":   {Sampler: DPMPP2MSDE, Noise: noiseOf(4, 3, 32, 32).At},
		"heun":      {Sampler: Heun},
	} {
		gotorch.Scope(func() {
			x := sampled(t, d, gaussianData(d, stdv), noiseOf(4, 3, 32, 32).XT(), o)
			if got := stdvOf(x); math.Abs(got-stdv) > 0.03*stdv {
				t.Errorf("%s: the samples' standard deviation is %v, the data's %v", name, got, stdv)
			}
		})
	}
}

// TestSampleLoopMatchesSteps compares SampleLoop with calls of PSample and DDIMSample.
func TestSampleLoopMatchesSteps(t *testing.T) {
	d := process(t, Cosine, 12, Objective{VarType: LearnedRange})
	network := oracle(d, images(2, 3, 4, 5))
	noise := noiseOf(2, 3, 4, 5)
	for name, o := range map[string]SampleOptions{
		"ancestral": {Noise: noise.At},
		"unclipped": {Noise: noise.At, NoClipDenoised: true},
		"ddim":      {Sampler: DDIM},
		"ddim, 0.5": {Sampler: DDIM, Eta: 0.5, Noise: noise.At},
	} {
		gotorch.Scope(func() {
			x := noise.XT()
			for step := d.NumTimesteps() - 1; step >= 0; step-- {
				at := d.AtStep(step, 2)
				if o.Sampler == DDIM {
					x, _ = d.DDIMSample(network, x, at, noise.At(step), Cond{}, !o.NoClipDenoised, o.Eta)
				} else {
					x, _ = d.PSample(network, x, at, noise.At(step), Cond{}, !o.NoClipDenoised)
				}
			}
			golden.WithinOfMax(t, name, sampled(t, d, network, noise.XT(), o).Float32s(), x.Float32s(), 0)
		})
	}
}

// TestSamplesAreBatchInvariant compares one batch with two smaller ones.
func TestSamplesAreBatchInvariant(t *testing.T) {
	d := process(t, Cosine, 20, Objective{})
	gotorch.Scope(func() {
		for _, s := range Samplers() {
			sample := func(first, n int64) []float32 {
				noise := NoiseSource{Seed: 5, Stream: 2, FirstImage: first, Shape: []int64{n, 3, 4, 4}}
				return sampled(t, d, gaussianData(d, 0.5), noise.XT(), SampleOptions{Sampler: s, Noise: noise.At}).Float32s()
			}
			whole := sample(10, 3)
			parts := append(sample(10, 1), sample(11, 2)...)
			golden.WithinOfMax(t, s.String(), parts, whole, 0)
			if slices.Equal(whole[:48], whole[48:96]) {
				t.Errorf("%s: two images are the same", s)
			}
		}
	})
}

func TestNoiseDiffersByStep(t *testing.T) {
	s := noiseOf(1, 1, 4, 4)
	gotorch.Scope(func() {
		if gotorch.Equal(s.At(0), s.At(1)) || gotorch.Equal(s.XT(), s.At(0)) {
			t.Error("two steps have the same noise")
		}
		if !gotorch.Equal(s.At(1), s.At(1)) {
			t.Error("a second call returns other noise for the same timestep")
		}
	})
}

func TestSampleLoopProgress(t *testing.T) {
	d := process(t, Cosine, 6, Objective{})
	stop := errors.New("stop")
	gotorch.Scope(func() {
		noise := noiseOf(2, 3, 4, 4)
		var steps, noiseSteps []int
		o := SampleOptions{
			SkipSteps: 2,
			Noise: func(t int) gotorch.Tensor {
				noiseSteps = append(noiseSteps, t)
				return noise.At(t)
			},
			Progress: func(step int, predXStart gotorch.Tensor) error {
				steps = append(steps, step)
				if largest := predXStart.Abs().Max().Float64(); largest > 1 {
					t.Errorf("step %d: the predicted x_0 reaches %v", step, largest)
				}
				return nil
			},
		}
		sampled(t, d, gaussianData(d, 0.5), noise.XT(), o)
		if !slices.Equal(steps, []int{3, 2, 1, 0}) || !slices.Equal(noiseSteps, []int{3, 2, 1}) {
			t.Errorf("steps %v, noise for %v; want steps 3 to 0, and noise for 3 to 1", steps, noiseSteps)
		}
		o.Progress = func(step int, _ gotorch.Tensor) error {
			if step == 1 {
				return stop
			}
			return nil
		}
		if _, err := d.SampleLoop(context.Background(), gaussianData(d, 0.5), noise.XT(), Cond{}, o); !errors.Is(err, stop) {
			t.Errorf("error %v, want Progress's", err)
		}
	})
}

// TestLoopsDoNotLeak counts live tensors during and after loops that succeed, fail or
// are cancelled.
func TestLoopsDoNotLeak(t *testing.T) {
	d := process(t, Cosine, 10, Objective{})
	noise := noiseOf(1, 1, 4, 4)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	failing := func(x, _ gotorch.Tensor, _ Cond) gotorch.Tensor { return x.View(7) }
	gotorch.Scope(func() {
		xT := noise.XT()
		for _, s := range Samplers() {
			d.samplerCoefficients(s, 1) // cached in d
		}
		gotorch.GC() // collect other tests' tensors before counting
		var during []int64
		count := func(int, gotorch.Tensor) error { during = append(during, gotorch.LiveTensors()); return nil }
		before := gotorch.LiveTensors()
		for name, c := range map[string]struct {
			ctx     context.Context
			network Denoiser
			fails   bool
		}{
			"good":      {context.Background(), gaussianData(d, 0.5), false},
			"cancelled": {ended, gaussianData(d, 0.5), true},
			"failing":   {context.Background(), failing, true},
		} {
			x, err := d.SampleLoop(c.ctx, c.network, xT, Cond{}, SampleOptions{Noise: noise.At, Progress: count})
			x.Free()
			x, err4 := d.SampleLoop(c.ctx, c.network, xT, Cond{}, SampleOptions{Sampler: DDIM, Eta: 1, Noise: noise.At, Progress: count})
			x.Free()
			x, err5 := d.SampleLoop(c.ctx, c.network, xT, Cond{}, SampleOptions{Sampler: DPMPP2MSDE, Noise: noise.At, Progress: count})
			x.Free()
			x, err6 := d.SampleLoop(c.ctx, c.network, xT, Cond{}, SampleOptions{Sampler: Heun, Progress: count})
			x.Free()
			y, err2 := d.InvertLoop(c.ctx, c.network, xT, Cond{}, InvertOptions{Progress: count})
			y.Free()
			b, err3 := d.CalcBPD(c.ctx, c.network, xT, Cond{}, BPDOptions{Noise: noise.At})
			b.Free()
			if (err != nil) != c.fails || (err2 != nil) != c.fails || (err3 != nil) != c.fails || (err4 != nil) != c.fails || (err5 != nil) != c.fails || (err6 != nil) != c.fails {
				t.Errorf("%s: errors %v, %v, %v, %v, %v, %v; want errors: %v", name, err, err2, err3, err4, err5, err6, c.fails)
			}
			if after := gotorch.LiveTensors(); after > before {
				t.Errorf("%s: %d more tensors than before", name, after-before)
			}
		}
		if len(during) == 0 || slices.Max(during)-slices.Min(during) > 30 {
			t.Errorf("tensors alive during the loops: %v", during)
		}
	})
}

func TestSampleOptionsErrors(t *testing.T) {
	d := process(t, Cosine, 10, Objective{})
	noise := noiseOf(1, 1, 2, 2)
	for name, o := range map[string]SampleOptions{
		"no noise":           {},
		"ddim without noise": {Sampler: DDIM, Eta: 0.1},
		"eta below":          {Sampler: DDIM, Eta: -0.1, Noise: noise.At},
		"eta above":          {Sampler: DDIM, Eta: 1.1, Noise: noise.At},
		"eta NaN":            {Sampler: DDIM, Eta: math.NaN(), Noise: noise.At},
		"ancestral eta":      {Eta: 0.5, Noise: noise.At},
		"all skipped":        {SkipSteps: 10, Noise: noise.At},
		"negative skip":      {SkipSteps: -1, Noise: noise.At},
		"sampler":            {Sampler: 7, Noise: noise.At},
		"heun, eta":          {Sampler: Heun, Eta: 0.5, Noise: noise.At},
		"sde without noise":  {Sampler: DPMPP2MSDE},
	} {
		gotorch.Scope(func() {
			if _, err := d.SampleLoop(context.Background(), gaussianData(d, 1), noise.XT(), Cond{}, o); err == nil {
				t.Errorf("%s: no error", name)
			}
		})
	}
	if _, err := d.CalcBPD(context.Background(), nil, gotorch.Tensor{}, Cond{}, BPDOptions{}); err == nil {
		t.Error("CalcBPD without noise: no error")
	}
}

func TestSlerp(t *testing.T) {
	gotorch.Scope(func() {
		a, b := normal(1, 2, 3, 16, 16), normal(2, 2, 3, 16, 16)
		golden.WithinOfMax(t, "start", Slerp(a, b, 0).Float32s(), a.Float32s(), 1e-6)
		golden.WithinOfMax(t, "end", Slerp(a, b, 1).Float32s(), b.Float32s(), 1e-6)
		golden.WithinOfMax(t, "same ends", Slerp(a, a, 0.3).Float32s(), a.Float32s(), 1e-6)
		if got := stdvOf(Slerp(a, b, 0.5)); math.Abs(got-1) > 0.05 {
			t.Errorf("at weight 0.5 the standard deviation is %v, want 1", got)
		}
	})
}

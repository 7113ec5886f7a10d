package diffusion

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

func respaced(t testing.TB, c Config) *GaussianDiffusion {
	t.Helper()
	d, err := New(c, cpu)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSamplerNames(t *testing.T) {
	want := []string{"ddpm", "ddim", "dpmpp-2m", "dpmpp-2m-sde", "heun"}
	for i, s := range Samplers() {
		again, err := ParseSampler(s.String())
		if s.String() != want[i] || again != s || err != nil {
			t.Errorf("sampler %d is %s, parsed %v, %v", i, s, again, err)
		}
	}
	if _, err := ParseSampler("euler"); err == nil || !strings.Contains(err.Error(), "dpmpp-2m-sde") {
		t.Errorf("euler: error %v", err)
	}
	for s, want := range map[Sampler][3]bool{ // without eta, with eta, evaluates twice
		Ancestral: {}, DDIM: {true, false}, DPMPP2M: {true, true}, DPMPP2MSDE: {}, Heun: {true, true, true},
	} {
		if got := [3]bool{s.Deterministic(0), s.Deterministic(0.5), s.Evaluations(10) == 19}; got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}

// gaussianProcess is a process of 4,000 steps of which about n are kept by a spacing, and the optimal network for
// values that are independent and N(mean, stdv^2): the exact x_0 of each x_t.
func gaussianProcess(t testing.TB, schedule string, by Spacing, n int, mean, stdv float64) (*GaussianDiffusion, Denoiser) {
	d := respaced(t, Config{Steps: 4000, NoiseSchedule: schedule, PredictXStart: true, TimestepRespacing: by.Respacing(n, 4000)})
	whole, err := NewSchedule(must(NamedBetas(schedule, 4000)))
	if err != nil {
		t.Fatal(err)
	}
	return d, func(x, scaled gotorch.Tensor, _ Cond) gotorch.Tensor {
		alphaBar := whole.AlphasCumprod[int(scaled.Float64s()[0])]
		signal := math.Sqrt(alphaBar)
		gain := signal * stdv * stdv / (alphaBar*stdv*stdv + 1 - alphaBar)
		return x.AddScalar(-signal * mean).MulScalar(gain).AddScalar(mean)
	}
}

// TestSecondOrder: on Gaussian data, where the ODE's solution is known, the error falls as the square
// of the step size for the second-order solvers, and in proportion to it for DDIM. The solution at
// t = 0 is followed by the step to x_0 that all samplers take. Each solver has its own spacing: evenly in
// the log-SNR, DPM-Solver++(2M) is not yet of second order at 20 steps on the cosine schedule, since a third
// of them are where x_0 does not change, and the others too far apart.
func TestSecondOrder(t *testing.T) {
	const mean, stdv = 0.2, 0.5
	falls := func(schedule string, s Sampler, by Spacing) float64 {
		var errs []float64
		for _, n := range []int{20, 40} {
			d, network := gaussianProcess(t, schedule, by, n, mean, stdv)
			gotorch.Scope(func() {
				xT := noiseOf(2, 3, 8, 8).XT()
				got := sampled(t, d, network, xT, SampleOptions{Sampler: s, NoClipDenoised: true})
				deviation := func(t int) (signal, total float64) {
					return math.Sqrt(d.AlphasCumprod[t]), math.Sqrt(d.AlphasCumprod[t]*stdv*stdv + 1 - d.AlphasCumprod[t])
				}
				signalT, totalT := deviation(d.NumTimesteps() - 1)
				signal0, total0 := deviation(0)
				exact := xT.AddScalar(-signalT * mean).MulScalar(total0 / totalT).AddScalar(signal0 * mean)
				want := network(exact, gotorch.FromFloat32s([]float32{0}), Cond{})
				errs = append(errs, stdvOf(got.Sub(want, 1)))
			})
		}
		t.Logf("%s, %s: %.3g and %.3g", schedule, s, errs[0], errs[1])
		return errs[0] / errs[1]
	}
	for _, s := range []Sampler{DPMPP2M, Heun} {
		for _, schedule := range []string{Linear, Cosine} {
			if by := falls(schedule, s, s.Spacing()); !(by >= 3.5) {
				t.Errorf("%s, %s: the error falls %.2f times from 20 to 40 steps, want 3.5 or more", schedule, s, by)
			}
		}
	}
	if by := falls(Linear, DDIM, EvenLogSNR); !(by > 1.5 && by < 3) {
		t.Errorf("DDIM's error falls %.2f times from 20 to 40 steps, want about 2", by)
	}
}

// TestSamplersMatchPapers compares each loop with the formulas of its paper in float64, one value
// per image. The prediction depends on x and t.
func TestSamplersMatchPapers(t *testing.T) {
	d := respaced(t, Config{Steps: 1000, NoiseSchedule: Linear, PredictXStart: true, TimestepRespacing: "logsnr8"})
	predict := func(x, t float64) float64 { return max(-1, min(1, 1.5*math.Tanh(x+t/2000))) }
	network := func(x, scaled gotorch.Tensor, _ Cond) gotorch.Tensor {
		return x.Add(scaled.View(-1, 1, 1, 1), 1./2000).Tanh().MulScalar(1.5)
	}
	gotorch.Scope(func() {
		noise := noiseOf(5, 1, 1, 1)
		for _, s := range []Sampler{DPMPP2M, DPMPP2MSDE, Heun} {
			for skip := range 3 {
				got := sampled(t, d, network, noise.XT(), SampleOptions{Sampler: s, Noise: noise.At, SkipSteps: skip}).Float64s()
				want := noise.XT().Float64s()
				for i := range want {
					z := func(t int) float64 { return noise.At(t).Float64s()[i] }
					want[i] = solve(d, s, want[i], skip, predict, z)
				}
				golden.WithinOfMax(t, fmt.Sprintf("%s, skipping %d", s, skip), got, want, 1e-5)
			}
		}
	})
}

// solve returns x_0 of one value by the papers' formulas.
func solve(d *GaussianDiffusion, s Sampler, x float64, skip int, predict func(x, t float64) float64, z func(t int) float64) float64 {
	alpha := func(t int) float64 { return math.Sqrt(d.AlphasCumprod[t]) }
	sigma := func(t int) float64 { return math.Sqrt(1 - d.AlphasCumprod[t]) }
	lambda := func(t int) float64 { return math.Log(alpha(t) / sigma(t)) }
	xStart := func(x float64, t int) float64 { return predict(x, float64(d.TimestepMap[t])) }
	first, before := d.NumTimesteps()-1-skip, 0.0
	for t := first; t > 0; t-- {
		now, h := xStart(x, t), lambda(t-1)-lambda(t)
		mixed := now
		if t < first {
			r := (lambda(t) - lambda(t+1)) / h
			mixed = (1+1/(2*r))*now - 1/(2*r)*before
		}
		before = now
		switch s {
		case DPMPP2M: // arXiv 2211.01095, algorithm 2
			x = sigma(t-1)/sigma(t)*x - alpha(t-1)*math.Expm1(-h)*mixed
		case DPMPP2MSDE: // the same paper, SDE-DPM-Solver++(2M)
			x = sigma(t-1)/sigma(t)*math.Exp(-h)*x - alpha(t-1)*math.Expm1(-2*h)*mixed + sigma(t-1)*math.Sqrt(-math.Expm1(-2*h))*z(t)
		case Heun: // arXiv 2206.00364, algorithm 1, in x / alpha and sigma / alpha
			level, next := sigma(t)/alpha(t), sigma(t-1)/alpha(t-1)
			slope := (x/alpha(t) - now) / level
			euler := x/alpha(t) + (next-level)*slope
			slopeAfter := (euler - xStart(euler*alpha(t-1), t-1)) / next
			x = alpha(t-1) * (x/alpha(t) + (next-level)*(slope+slopeAfter)/2)
		}
	}
	return xStart(x, 0)
}

// TestHeunEvaluations counts evaluations of the network: two a step, at t and t-1, and one in the
// last step. With guidance in an interval each evaluation is guided by its own timestep.
func TestHeunEvaluations(t *testing.T) {
	d := process(t, Cosine, 5, Objective{})
	var seen []string
	network := func(x, scaled gotorch.Tensor, cond Cond) gotorch.Tensor {
		seen = append(seen, fmt.Sprintf("%g of %d", scaled.Float64s()[0], x.Size(0)))
		return x.MulScalar(0.5)
	}
	gotorch.Scope(func() {
		cond := Cond{Y: gotorch.FromInt64s([]int64{1})}
		o := SampleOptions{Sampler: Heun, Guidance: &Guidance{Scale: 2, NullClass: 9, MinSigma: d.Sigma(0), MaxSigma: d.Sigma(2)}}
		if _, err := d.SampleLoop(context.Background(), network, noiseOf(1, 1, 2, 2).XT(), cond, o); err != nil {
			t.Fatal(err)
		}
	})
	want := []string{"4 of 1", "3 of 1", "3 of 1", "2 of 2", "2 of 2", "1 of 2", "1 of 2", "0 of 1", "0 of 1"}
	if !slices.Equal(seen, want) {
		t.Errorf("evaluations %v, want %v", seen, want)
	}
}

// TestHistoryStartsAfresh: a batch does not depend on the one before, even if that is not finite.
func TestHistoryStartsAfresh(t *testing.T) {
	d := process(t, Cosine, 6, Objective{})
	gotorch.Scope(func() {
		var shared GraphCache
		defer shared.Close()
		bad := gotorch.FullOn(cpu, gotorch.Float, math.NaN(), 1, 1, 2, 2)
		noise := noiseOf(1, 1, 2, 2).XT()
		o := SampleOptions{Sampler: DPMPP2M, GraphCache: &shared, NoClipDenoised: true}
		sampled(t, d, gaussianData(d, 0.5), bad, o)
		got := sampled(t, d, gaussianData(d, 0.5), noise, o)
		o.GraphCache = nil
		golden.WithinOfMax(t, "the second batch", got.Float32s(), sampled(t, d, gaussianData(d, 0.5), noise, o).Float32s(), 0)
	})
}

// TestSamplersOfPredictionTypes: a network that knows x_0 leads every sampler to it, whatever it
// predicts, also from pure noise without signal.
func TestSamplersOfPredictionTypes(t *testing.T) {
	for name, meanType := range meanTypes {
		d := process(t, Cosine, 12, Objective{MeanType: meanType, VarType: FixedSmall})
		testSamplersFindXStart(t, name, d)
	}
	testSamplersFindXStart(t, "zero terminal SNR", respaced(t, Config{Steps: 50, NoiseSchedule: Linear, Predict: "v", ZeroTerminalSNR: true, TimestepRespacing: "logsnr12"}))
}

func testSamplersFindXStart(t *testing.T, name string, d *GaussianDiffusion) {
	gotorch.Scope(func() {
		xStart, noise := images(2, 3, 4, 4), noiseOf(2, 3, 4, 4)
		for _, s := range Samplers() {
			network := func(x, scaled gotorch.Tensor, _ Cond) gotorch.Tensor {
				at := d.At([]int64{int64(slices.Index(d.TimestepMap, int(scaled.Float64s()[0])))})
				return d.trainingTarget(xStart, x, at, d.predictEpsFromXStart(xStart, x, at))
			}
			got := sampled(t, d, network, noise.XT(), SampleOptions{Sampler: s, Noise: noise.At})
			golden.WithinOfMax(t, name+" "+s.String(), got.Float32s(), xStart.Float32s(), 1e-3)
		}
	})
}

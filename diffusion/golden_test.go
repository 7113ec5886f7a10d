package diffusion

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

var cpu gotorch.Device

func tensor(a golden.Archive, name string) gotorch.Tensor {
	return gotorch.FromFloat32s(a.Float32s(name), a.Shape(name)...)
}

// echo returns a network whose output is always out.
func echo(out gotorch.Tensor) Denoiser {
	return func(_, _ gotorch.Tensor, _ Cond) gotorch.Tensor { return out }
}

func TestGoldenLikelihood(t *testing.T) {
	for _, path := range golden.Files(t, "pieces/likelihood*.npz") {
		a := golden.Open(t, path)
		gotorch.Scope(func() {
			kl := NormalKL(tensor(a, "mean1"), tensor(a, "logvar1"), tensor(a, "mean2"), tensor(a, "logvar2"))
			golden.WithinRelative(t, "normal_kl", kl.Float32s(), a.Float32s("normal_kl"), 1e-5)

			got := DiscretizedGaussianLogLikelihood(tensor(a, "x"), tensor(a, "means"), tensor(a, "log_scales")).Float32s()
			var likely, wanted []float32
			for i, want := range a.Float32s("discretized_log_likelihood") {
				if want > -6 {
					likely, wanted = append(likely, got[i]), append(wanted, want)
				} else if g := float64(got[i]); math.IsNaN(g) || math.IsInf(g, 0) {
					t.Errorf("log likelihood [%d] = %v, want it finite", i, g)
				}
			}
			golden.WithinNorms(t, "discretized_log_likelihood", likely, wanted, 1e-5, 1e-5)
		})
	}
}

// The names that the golden files use.
var (
	meanTypes = map[string]ModelMeanType{"epsilon": Epsilon, "start_x": XStart, "previous_x": PreviousX, "velocity": Velocity}
	varTypes  = map[string]ModelVarType{"fixed_large": FixedLarge, "fixed_small": FixedSmall, "learned": Learned, "learned_range": LearnedRange}
)

func TestGoldenPMeanVariance(t *testing.T) {
	for _, path := range golden.Files(t, "pieces/p_mean_variance*.npz") {
		a := golden.Open(t, path)
		cases := 0
		for _, name := range a.Names() {
			if key, ok := strings.CutSuffix(name, "__model_output"); ok {
				cases++
				t.Run(key, func(t *testing.T) { gotorch.Scope(func() { comparePMeanVariance(t, a, key) }) })
			}
		}
		if cases == 0 {
			t.Errorf("%s has no case", path)
		}
	}
}

func comparePMeanVariance(t *testing.T, a golden.Archive, key string) {
	part := strings.Split(key, "__")
	meanType, ok1 := meanTypes[part[0]]
	varType, ok2 := varTypes[part[1]]
	if !ok1 || !ok2 {
		t.Fatalf("case %q has an unknown mean or variance type", key)
	}
	betas, err := NamedBetas(part[2], int(a.Int64s("T")[0]))
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewGaussian(betas, Objective{MeanType: meanType, VarType: varType}, cpu)
	if err != nil {
		t.Fatal(err)
	}
	x := tensor(a, "x_t")
	for how, clip := range map[string]bool{"clip": true, "raw": false} {
		p := d.PMeanVariance(echo(tensor(a, key+"__model_output")), x, d.At(a.Int64s("t")), Cond{}, clip)
		for field, got := range map[string]gotorch.Tensor{
			"mean": p.Mean, "variance": p.Variance, "log_variance": p.LogVariance, "pred_xstart": p.PredXStart,
		} {
			name := strings.Join([]string{key, field, how}, "__")
			golden.WithinOfMax(t, name, got.Expand(x.Shape()...).Float32s(), a.Float32s(name), 1e-4)
		}
	}
}

func TestGoldenLossSecondMoment(t *testing.T) {
	for _, path := range golden.Files(t, "pieces/loss_second_moment*.npz") {
		a := golden.Open(t, path)
		shape := a.Shape("weights_after")
		perUpdate, steps := int(a.Shape("timesteps")[1]), int(shape[1])
		timesteps, losses, want := a.Int64s("timesteps"), a.Float64s("losses"), a.Float64s("weights_after")
		s := NewLossSecondMoment(steps)
		for i := range int(shape[0]) {
			from, to := i*perUpdate, (i+1)*perUpdate
			if err := s.Update(timesteps[from:to], losses[from:to]); err != nil {
				t.Fatal(err)
			}
			golden.WithinRelative(t, fmt.Sprintf("weights after update %d", i), s.Weights(), want[i*steps:(i+1)*steps], 1e-12)
		}
	}
}

// modelCase is one golden network. These tests do not run the network: without rescaled
// timesteps the stored forward_at_raw_t is its output at x_t.
type modelCase struct {
	golden.Archive
	config   Config
	compared *golden.Comparisons
}

func openModelCase(t *testing.T, path string) modelCase {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the case has no config.json")
	}
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Diffusion struct {
			Steps *int `json:"steps"`
			Config
		}
	}
	c.Diffusion.Config = Config{Steps: 1000, NoiseSchedule: Linear}
	c.Diffusion.Steps = &c.Diffusion.Config.Steps
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return modelCase{Archive: golden.Open(t, path), config: c.Diffusion.Config}
}

// diffusion returns the case's process, respaced if respacing is not empty.
func (c modelCase) diffusion(t *testing.T, respacing string) *GaussianDiffusion {
	config := c.config
	if respacing != "" {
		config.TimestepRespacing = respacing
	}
	d, err := New(config, cpu)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// compare logs and skips arrays that the case lacks.
func (c modelCase) compare(t *testing.T, name string, got gotorch.Tensor, relative, ofMax float64) {
	t.Helper()
	if !c.Has(name) {
		t.Logf("the case has no %s", name)
		return
	}
	golden.Add(c.compared, name, int(got.Size(0)), got.Float32s(), c.Float32s(name), golden.Tolerance{Relative: relative, OfMax: ofMax})
}

// need skips the test if the case lacks one of its input arrays.
func (c modelCase) need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if !c.Has(name) {
			t.Skipf("the case has no %s", name)
		}
	}
}

// eachModelCase calls f for every case, repeatedly with nudged inputs if a comparison
// fails: see [golden.Conditioned].
func eachModelCase(t *testing.T, f func(t *testing.T, c modelCase)) {
	for _, path := range golden.Files(t, "model/*/io.npz") {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			c := openModelCase(t, path)
			c.need(t, "x_start", "t", "noise")
			if dims := len(c.Shape("x_start")); dims != 4 {
				t.Skipf("x_start has %d dimensions, not 4", dims)
			}
			golden.Conditioned(t, func(compared *golden.Comparisons, nudge int) {
				c.compared = compared
				c.Archive = c.Nudged(nudge)
				gotorch.Scope(func() { f(t, c) })
			})
		})
	}
}

func TestGoldenForward(t *testing.T) {
	eachModelCase(t, func(t *testing.T, c modelCase) {
		d := c.diffusion(t, "")
		c.compare(t, "x_t", d.QSample(tensor(c.Archive, "x_start"), d.At(c.Int64s("t")), tensor(c.Archive, "noise")), 0, 1e-5)
		if !c.Has("bpd_prior_bpd") || !c.Has("bpd_vb") {
			t.Log("the case has no bpd_prior_bpd, or no bpd_vb")
			return
		}
		// The prior term needs no network, and completes the sum.
		prior := c.diffusion(t, "25").PriorBPD(tensor(c.Archive, "x_start"))
		c.compare(t, "bpd_prior_bpd", prior, 1e-3, 0)
		c.compare(t, "bpd_total_bpd", tensor(c.Archive, "bpd_vb").SumDims(false, 1).Add(prior, 1), 1e-3, 0)
	})
}

func TestGoldenStep(t *testing.T) {
	eachModelCase(t, func(t *testing.T, c modelCase) {
		if c.config.RescaleTimesteps {
			t.Skip("the network's output at rescaled timesteps is not stored")
		}
		if c.config.TimestepRespacing != "" {
			t.Skip("the network's output at the respaced timesteps is not stored")
		}
		c.need(t, "forward_at_raw_t", "x_t", "step_noise")
		d, denoise := c.diffusion(t, ""), echo(tensor(c.Archive, "forward_at_raw_t"))
		x, noise := tensor(c.Archive, "x_t"), tensor(c.Archive, "step_noise")
		at := d.At(c.Int64s("t"))

		p := d.PMeanVariance(denoise, x, at, Cond{}, true)
		c.compare(t, "p_mean", p.Mean, 0, 1e-3)
		c.compare(t, "p_variance", p.Variance.Expand(x.Shape()...), 0, 1e-3)
		c.compare(t, "p_log_variance", p.LogVariance.Expand(x.Shape()...), 0, 1e-3)
		c.compare(t, "p_pred_xstart", p.PredXStart, 0, 1e-3)

		losses := d.TrainingLosses(denoise, tensor(c.Archive, "x_start"), at, tensor(c.Archive, "noise"), Cond{})
		c.compare(t, "loss_loss", losses.Loss, 1e-3, 0)
		for name, got := range map[string]gotorch.Tensor{"loss_mse": losses.MSE, "loss_vb": losses.VB} {
			if got.Defined() {
				c.compare(t, name, got, 1e-3, 0)
			} else if c.Has(name) {
				t.Errorf("%s is not computed, but the reference has it", name)
			}
		}

		sample, _ := d.PSample(denoise, x, at, noise, Cond{}, true)
		c.compare(t, "p_sample", sample, 0, 1e-3)
		// The reference computes the small sigmas of early timesteps from float32
		// differences of numbers close to 1, so these agree to fewer digits.
		for _, eta := range []float64{0, 0.7} {
			sample, _ := d.DDIMSample(denoise, x, at, noise, Cond{}, true, eta)
			c.compare(t, fmt.Sprintf("ddim_eta_%.1f", eta), sample, 0, 1e-3)
		}
		reverse, _ := d.DDIMReverseSample(denoise, x, at, Cond{}, true)
		c.compareReverse(t, reverse, d.NumTimesteps())
	})
}

// compareReverse skips images at t = T-1: the stored ddim_reverse is at T-2 for those,
// where forward_at_raw_t is not the network's output.
func (c modelCase) compareReverse(t *testing.T, got gotorch.Tensor, steps int) {
	if !c.Has("ddim_reverse") {
		t.Log("the case has no ddim_reverse")
		return
	}
	values, stored := got.Float32s(), c.Float32s("ddim_reverse")
	perImage := len(stored) / len(c.Int64s("t"))
	for i, step := range c.Int64s("t") {
		if step < int64(steps-1) {
			from, to := i*perImage, (i+1)*perImage
			golden.Add(c.compared, fmt.Sprintf("ddim_reverse of image %d", i), 1, values[from:to], stored[from:to], golden.Tolerance{OfMax: 1e-3})
		}
	}
}

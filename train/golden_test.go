package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/diffusion"
	"iddpm/internal/golden"
	"iddpm/model"
)

// goldenRun is one folder of testdata/golden/model: a network, a diffusion process, and the
// reference's results for them.
type goldenRun struct {
	testing.TB
	io      golden.Archive
	process diffusion.Config
	network *model.UNet
	cond    diffusion.Cond
	scale   float64 // of classifier guidance

	checkpointing bool // gradient checkpointing
	segments      *model.Segments

	compared *golden.Comparisons
}

// forEachGoldenRun calls f for every case of a denoiser: see forEachGoldenCase.
func forEachGoldenRun(t *testing.T, f func(r *goldenRun)) {
	forEachGoldenCase(t, "model/*/config.json", func(t *testing.T, dir string, c *golden.Comparisons, nudge int) {
		r := openGoldenRun(t, dir, nudge)
		r.compared = c
		f(r)
	})
}

// forEachGoldenCase calls f for the folder of every file of a pattern, in a scope of its own, and
// again with nudged inputs if a difference may be due to conditioning: see [golden.Conditioned].
func forEachGoldenCase(t *testing.T, pattern string, f func(t *testing.T, dir string, c *golden.Comparisons, nudge int)) {
	for _, file := range golden.Files(t, pattern) {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			gotorch.Run(func() {
				golden.Conditioned(t, func(c *golden.Comparisons, nudge int) {
					gotorch.Scope(func() { f(t, dir, c, nudge) })
				})
			})
		})
	}
}

func openGoldenRun(t *testing.T, dir string, nudge int) *goldenRun {
	for _, name := range []string{"io.npz", "model.pt"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Skipf("the case has no %s", name)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		ModelClass string `json:"model_class"`
		Model      struct {
			model.UNetConfig
			Dims int `json:"dims"`
		} `json:"model"`
		Diffusion goldenProcess `json:"diffusion"`
	}
	c.Model.UNetConfig = model.UNetConfig{NumHeads: 1, ChannelMult: []float64{1, 2, 4, 8}}      // UNetModel's defaults
	c.Diffusion = goldenProcess{Steps: 1000, Config: diffusion.Config{NoiseSchedule: "linear"}} // create_gaussian_diffusion's
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	c.Model.SuperRes = c.ModelClass == "SuperResModel"
	r := &goldenRun{TB: t, checkpointing: c.Model.UseCheckpoint, io: golden.Open(t, filepath.Join(dir, "io.npz")), process: c.Diffusion.config()}
	if c.Model.Dims != 0 && c.Model.Dims != 2 {
		t.Skipf("the case convolves in %d dimensions: the paper's images have 2", c.Model.Dims)
	}
	if r.network, err = model.New(c.Model.UNetConfig, 1); err != nil {
		t.Fatal(err)
	}
	dict, err := pt.ReadFile(filepath.Join(dir, "model.pt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.network.LoadStateDict(dict.(*pt.Dict)); err != nil {
		t.Fatal(err)
	}
	if nudge > 0 {
		r.io = r.io.Nudged(nudge)
		for _, p := range r.network.Tensors() {
			p.CopyI(gotorch.FromFloat32s(golden.Nudged(p.Float32s(), nudge), p.Shape()...))
		}
	}
	r.network.SetRequiresGrad(true)
	if r.io.Has("y") {
		r.cond.Y = gotorch.FromInt64s(r.io.Int64s("y"))
	}
	if r.io.Has("low_res") {
		r.cond.LowRes = r.tensor("low_res")
	}
	return r
}

// goldenProcess is diffusion.Config with the reference's name of T in
// create_gaussian_diffusion.
type goldenProcess struct {
	diffusion.Config
	Steps int `json:"steps"`
}

func (p goldenProcess) config() diffusion.Config {
	p.Config.Steps = p.Steps
	return p.Config
}

func (r *goldenRun) tensor(name string) gotorch.Tensor {
	return gotorch.FromFloat32s(r.io.Float32s(name), r.io.Shape(name)...)
}

// diffusion returns the case's process, or one with another respacing.
func (r *goldenRun) diffusion(respacing string) *diffusion.GaussianDiffusion {
	c := r.process
	if respacing != "" {
		c.TimestepRespacing = respacing
	}
	d, err := diffusion.New(c, gotorch.Device{})
	if err != nil {
		r.Fatal(err)
	}
	return d
}

func (r *goldenRun) denoise(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
	return r.network.Forward(x, t, model.Input{Y: cond.Y, LowRes: cond.LowRes, Segments: r.segments})
}

// losses returns the training losses, with gradient checkpointing if the case uses it.
func (r *goldenRun) losses(d *diffusion.GaussianDiffusion, xStart gotorch.Tensor, t []int64, noise gotorch.Tensor, cond diffusion.Cond) diffusion.Losses {
	if r.checkpointing {
		r.segments = new(model.Segments)
	}
	return d.TrainingLosses(r.denoise, xStart, d.At(t), noise, cond)
}

// backward runs the backward pass from a loss of losses.
func (r *goldenRun) backward(loss gotorch.Tensor) {
	loss.Backward()
	r.segments.Backward(nil)
	r.segments = nil
}

// compare adds a comparison, and skips arrays that the case lacks.
func (r *goldenRun) compare(name string, got gotorch.Tensor, tolerance float64) {
	r.Helper()
	if !r.io.Has(name) {
		r.Logf("the case has no %s", name)
		return
	}
	golden.Add(r.compared, name, int(got.Size(0)), got.Float32s(), r.io.Float32s(name), golden.Tolerance{OfMax: tolerance})
}

func (r *goldenRun) compareLosses(name string, got gotorch.Tensor) {
	r.Helper()
	switch {
	case !r.io.Has(name):
		r.Logf("the case has no %s", name)
	case !got.Defined():
		r.Errorf("%s is not computed, but the reference has it", name)
	default:
		golden.Add(r.compared, name, int(got.Size(0)), got.Float32s(), r.io.Float32s(name), golden.Tolerance{Relative: 1e-3})
	}
}

// compareEach compares unrelated numbers, each with its own tolerance.
func (r *goldenRun) compareEach(name string, got []float64, tolerance golden.Tolerance) {
	r.Helper()
	if !r.io.Has(name) {
		r.Logf("the case has no %s", name)
		return
	}
	golden.Add(r.compared, name, len(got), got, r.io.Float64s(name), tolerance)
}

// need skips a test if the case lacks one of its inputs.
func (r *goldenRun) need(names ...string) {
	r.Helper()
	for _, name := range names {
		if !r.io.Has(name) {
			r.Skipf("the case has no %s", name)
		}
	}
}

func (r *goldenRun) gradNorms() []float64 {
	norms := make([]float64, len(r.network.Parameters()))
	for i, p := range r.network.Tensors() {
		if g := p.Grad(); g.Defined() {
			norms[i] = gotorch.TotalNorm([]gotorch.Tensor{g}).Float64()
		}
	}
	return norms
}

func (r *goldenRun) norms(tensors []gotorch.Tensor) []float64 {
	norms := make([]float64, len(tensors))
	for i, x := range tensors {
		norms[i] = gotorch.TotalNorm([]gotorch.Tensor{x.Detach()}).Float64()
	}
	return norms
}

// TestGoldenPMeanVariance compares q_sample and p_mean_variance.
func TestGoldenPMeanVariance(t *testing.T) {
	forEachGoldenRun(t, func(r *goldenRun) {
		r.need("x_start", "t", "noise")
		gotorch.NoGrad(func() {
			d := r.diffusion("")
			steps := d.At(r.io.Int64s("t"))
			x := d.QSample(r.tensor("x_start"), steps, r.tensor("noise"))
			r.compare("x_t", x, 1e-6)
			p := d.PMeanVariance(r.denoise, x, steps, r.cond, true)
			r.compare("p_mean", p.Mean, 1e-3)
			r.compare("p_variance", p.Variance.Expand(x.Shape()...), 1e-3)
			r.compare("p_log_variance", p.LogVariance.Expand(x.Shape()...), 1e-3)
			r.compare("p_pred_xstart", p.PredXStart, 1e-3)
		})
	})
}

// TestGoldenLosses compares every loss, the gradients of their mean, and those
// of the first sample alone, which is at t = 0.
func TestGoldenLosses(t *testing.T) {
	forEachGoldenRun(t, func(r *goldenRun) {
		r.need("x_start", "t", "noise")
		d := r.diffusion("")
		losses := r.losses(d, r.tensor("x_start"), r.io.Int64s("t"), r.tensor("noise"), r.cond)
		r.compareLosses("loss_loss", losses.Loss)
		r.compareLosses("loss_mse", losses.MSE)
		r.compareLosses("loss_vb", losses.VB)
		r.backward(losses.Loss.Mean())
		norms := r.gradNorms()
		r.compareEach("grad_norms", norms, golden.Tolerance{Relative: 1e-3, OfMax: 1e-5})
		if norms[0] < 1e-5*slices.Max(norms) {
			r.Log("grad_first is zero up to rounding")
			return
		}
		r.compare("grad_first", r.network.Tensors()[0].Grad(), 1e-3)
	})
}

// TestGoldenDecoderGradients uses only the first sample: t = 0, the decoder's term.
func TestGoldenDecoderGradients(t *testing.T) {
	forEachGoldenRun(t, func(r *goldenRun) {
		r.need("grad_norms_t0", "x_start", "t", "noise")
		d := r.diffusion("")
		first := func(x gotorch.Tensor) gotorch.Tensor {
			if !x.Defined() {
				return x
			}
			return x.Narrow(0, 0, 1)
		}
		cond := diffusion.Cond{Y: first(r.cond.Y), LowRes: first(r.cond.LowRes)}
		losses := r.losses(d, first(r.tensor("x_start")), r.io.Int64s("t")[:1], first(r.tensor("noise")), cond)
		r.backward(losses.Loss.Sum())
		r.compareEach("grad_norms_t0", r.gradNorms(), golden.Tolerance{Relative: 1e-3, OfMax: 1e-5})
	})
}

// TestGoldenSteps compares single steps of the samplers.
func TestGoldenSteps(t *testing.T) {
	forEachGoldenRun(t, func(r *goldenRun) {
		r.need("x_t", "t", "step_noise")
		gotorch.NoGrad(func() {
			d := r.diffusion("")
			t := r.io.Int64s("t")
			x, noise := r.tensor("x_t"), r.tensor("step_noise")
			sample, _ := d.PSample(r.denoise, x, d.At(t), noise, r.cond, true)
			r.compare("p_sample", sample, 1e-3)
			for name, eta := range map[string]float64{"ddim_eta_0.0": 0, "ddim_eta_0.7": 0.7} {
				sample, _ := d.DDIMSample(r.denoise, x, d.At(t), noise, r.cond, true, eta)
				r.compare(name, sample, 1e-3)
			}
			last := int64(d.NumTimesteps() - 2)
			for i := range t {
				t[i] = min(t[i], last)
			}
			sample, _ = d.DDIMReverseSample(r.denoise, x, d.At(t), r.cond, true)
			r.compare("ddim_reverse", sample, 1e-3)
		})
	})
}

// TestGoldenChains compares whole sampling loops of ten steps.
func TestGoldenChains(t *testing.T) {
	chains := map[string]struct {
		respacing string
		sampler   diffusion.Sampler
	}{"chain_10": {"10", diffusion.Ancestral}, "chain_ddim10": {"ddim10", diffusion.DDIM}}
	forEachGoldenRun(t, func(r *goldenRun) {
		r.need("noise", "step_noise")
		for name, c := range chains {
			if !r.io.Has(name) { // for some T there is no such stride
				r.Logf("the case has no %s", name)
				continue
			}
			noise := r.tensor("step_noise")
			options := diffusion.SampleOptions{Sampler: c.sampler, Noise: func(int) gotorch.Tensor { return noise }}
			sample, err := r.diffusion(c.respacing).SampleLoop(t.Context(), r.denoise, r.tensor("noise"), r.cond, options)
			if err != nil {
				r.Fatal(err)
			}
			r.compare(name, sample, 1e-3)
		}
	})
}

// TestGoldenBPD compares the variational bound and its terms.
func TestGoldenBPD(t *testing.T) {
	forEachGoldenRun(t, func(r *goldenRun) {
		r.need("bpd_vb", "x_start", "step_noise")
		noise := r.tensor("step_noise")
		bpd, err := r.diffusion("25").CalcBPD(t.Context(), r.denoise, r.tensor("x_start"), r.cond, diffusion.BPDOptions{Noise: func(int) gotorch.Tensor { return noise }})
		if err != nil {
			r.Fatal(err)
		}
		r.compareLosses("bpd_total_bpd", bpd.Total)
		r.compareLosses("bpd_prior_bpd", bpd.Prior)
		r.compareLosses("bpd_vb", bpd.VB)
		r.compareLosses("bpd_xstart_mse", bpd.XStartMSE)
		r.compareLosses("bpd_mse", bpd.EpsilonMSE)
	})
}

// TestGoldenTraining repeats five steps of AdamW with an EMA of decay rate 0.9.
func TestGoldenTraining(t *testing.T) {
	forEachGoldenRun(t, func(r *goldenRun) {
		r.need("train_t", "train_noise", "x_start")
		d := r.diffusion("")
		params := r.network.Tensors()
		optimizer := gotorch.AdamW(gotorch.AdamWOptions{LR: 1e-3, WeightDecay: 0.01})
		optimizer.AddParameters(params)
		defer optimizer.Close()
		var ema []gotorch.Tensor
		for _, p := range params {
			ema = append(ema, p.Detach().Clone())
		}
		optimizer.AddEMA(gotorch.EMA{Rate: 0.9, Tensors: ema})
		steps, noise := r.io.Int64s("train_t"), r.tensor("train_noise")
		shape := r.io.Shape("train_t")
		var losses, gradNorms []float64
		for k := range shape[0] {
			optimizer.ZeroGrad()
			at := steps[k*shape[1] : (k+1)*shape[1]]
			loss := r.losses(d, r.tensor("x_start"), at, noise.Select(0, k), r.cond).Loss.Mean()
			r.backward(loss)
			losses = append(losses, loss.Float64())
			gradNorms = append(gradNorms, sumNorm(r.gradNorms()))
			optimizer.Step()
		}
		r.compareEach("train_losses", losses, golden.Tolerance{Relative: 1e-3})
		r.compareEach("train_grad_norms", gradNorms, golden.Tolerance{Relative: 1e-3})
		r.compareTrained("train_param_norms", r.norms(params))
		r.compareTrained("train_ema_norms", r.norms(ema))
		if !r.io.Has("x_t") || !r.io.Has("t") {
			r.Log("the case has no x_t, or no t")
			return
		}
		gotorch.NoGrad(func() {
			out := r.denoise(r.tensor("x_t"), gotorch.FromInt64s(r.io.Int64s("t")), r.cond)
			r.compare("forward_after_training", out, 1e-3)
		})
	})
}

func sumNorm(norms []float64) float64 {
	sum := 0.0
	for _, n := range norms {
		sum += n * n
	}
	return math.Sqrt(sum)
}

// compareTrained omits the parameters whose gradients are rounding errors: AdamW normalises
// them to full-sized updates.
func (r *goldenRun) compareTrained(name string, got []float64) {
	r.Helper()
	if !r.io.Has(name) || !r.io.Has("grad_norms") {
		r.Logf("the case has no %s, or no grad_norms", name)
		return
	}
	grads, want := r.io.Float64s("grad_norms"), r.io.Float64s(name)
	for i, p := range r.network.Parameters() {
		if grads[i] >= 1e-5*slices.Max(grads) {
			golden.Add(r.compared, name+" of "+p.Name, 1, got[i:i+1], want[i:i+1], golden.Tolerance{Relative: 1e-3})
		}
	}
}

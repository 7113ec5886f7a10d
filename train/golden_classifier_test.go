package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/diffusion"
	"iddpm/internal/golden"
	"iddpm/model"
	"iddpm/train/engine"
)

// TestGoldenClassifierGuidance compares steps and whole chains of a denoiser that a classifier
// guides.
func TestGoldenClassifierGuidance(t *testing.T) {
	forEachGoldenCase(t, "classifier/*/config.json", func(t *testing.T, dir string, c *golden.Comparisons, nudge int) {
		r, classifier := openGuidedRun(t, dir, nudge)
		r.compared = c
		gotorch.NoGrad(func() { r.guidedSteps(classifier) })
		r.guidedChains(classifier)
	})
}

// openGuidedRun is openClassifierRun with the classifier as guidance.
func openGuidedRun(t *testing.T, dir string, nudge int) (*goldenRun, diffusion.ClassifierGuidance) {
	r, network := openClassifierRun(t, dir, nudge)
	return r, diffusion.ClassifierGuidance{Scale: r.scale, Gradient: engine.ClassGradient(network, model.Input{})}
}

// openClassifierRun opens a classifier, and the run of the denoiser that its case names, with the
// case's own arrays.
func openClassifierRun(t *testing.T, dir string, nudge int) (*goldenRun, *model.Classifier) {
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Model    model.EncoderConfig `json:"model"`
		Denoiser string              `json:"denoiser"`
		Scale    float64             `json:"classifier_scale"`
	}
	c.Model.NumHeads, c.Model.Pool = 1, model.PoolAdaptive
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	r := openGoldenRun(t, filepath.Join(filepath.Dir(filepath.Dir(dir)), "model", c.Denoiser), nudge)
	r.network.SetRequiresGrad(false)
	r.io = golden.Open(t, filepath.Join(dir, "io.npz")).Nudged(nudge)
	r.cond.Y = gotorch.FromInt64s(r.io.Int64s("y"))
	network, err := model.NewClassifier(c.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	dict, err := pt.ReadFile(filepath.Join(dir, "model.pt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := network.LoadStateDict(dict.(*pt.Dict)); err != nil {
		t.Fatal(err)
	}
	if nudge > 0 {
		for _, p := range network.Tensors() {
			p.CopyI(gotorch.FromFloat32s(golden.Nudged(p.Float32s(), nudge), p.Shape()...))
		}
	}
	r.scale = c.Scale
	return r, network
}

func (r *goldenRun) guidedSteps(g diffusion.ClassifierGuidance) {
	d := r.diffusion("")
	t := d.At(r.io.Int64s("t"))
	x, noise := r.tensor("x_t"), r.tensor("step_noise")
	sample, _ := d.GuidedPSample(g, r.denoise, x, t, noise, r.cond, true)
	r.compare("guided_p_sample", sample, 1e-3)
	for name, eta := range map[string]float64{"guided_ddim_eta_0.0": 0, "guided_ddim_eta_0.7": 0.7} {
		sample, _ := d.GuidedDDIMSample(g, r.denoise, x, t, noise, r.cond, true, eta)
		r.compare(name, sample, 1e-3)
	}
}

func (r *goldenRun) guidedChains(g diffusion.ClassifierGuidance) {
	noise := r.tensor("step_noise")
	for name, sampler := range map[string]diffusion.Sampler{"10": diffusion.Ancestral, "ddim10": diffusion.DDIM} {
		options := diffusion.SampleOptions{Sampler: sampler, Noise: func(int) gotorch.Tensor { return noise }, Classifier: &g}
		sample, err := r.diffusion(name).SampleLoop(r.Context(), r.denoise, r.tensor("noise"), r.cond, options)
		if err != nil {
			r.Fatal(err)
		}
		r.compare("guided_chain_"+name, sample, 1e-3)
	}
}

// TestGoldenClassifierTraining repeats five steps of AdamW on the cross-entropy of noised images.
func TestGoldenClassifierTraining(t *testing.T) {
	forEachGoldenCase(t, "classifier/*/config.json", func(t *testing.T, dir string, c *golden.Comparisons, nudge int) {
		r, network := openClassifierRun(t, dir, nudge)
		defer network.Free()
		r.compared = c
		r.trainClassifier(network)
	})
}

func (r *goldenRun) trainClassifier(network *model.Classifier) {
	r.need("train_t", "train_noise", "x_start", "y", "train_losses")
	network.SetRequiresGrad(true)
	d, params := r.diffusion(""), network.Tensors()
	optimizer := gotorch.AdamW(gotorch.AdamWOptions{LR: 1e-3, WeightDecay: 0.05})
	optimizer.AddParameters(params)
	defer optimizer.Close()
	steps, noise := r.io.Int64s("train_t"), r.tensor("train_noise")
	shape := r.io.Shape("train_t")
	var losses []float64
	for k := range shape[0] {
		optimizer.ZeroGrad()
		t := d.At(steps[k*shape[1] : (k+1)*shape[1]])
		x := d.QSample(r.tensor("x_start"), t, noise.Select(0, k))
		logits := network.Forward(x, gotorch.FromInt64s(steps[k*shape[1]:(k+1)*shape[1]]), model.Input{})
		loss := gotorch.NllLoss(logits.LogSoftmax(1), r.cond.Y).Mean()
		loss.Backward()
		losses = append(losses, loss.Float64())
		optimizer.Step()
	}
	r.compareEach("train_losses", losses, golden.Tolerance{Relative: 1e-3})
	grads, want, got := r.io.Float64s("grad_norms"), r.io.Float64s("train_param_norms"), r.norms(params)
	for i, p := range network.Parameters() {
		if grads[i] >= 1e-5*slices.Max(grads) {
			golden.Add(r.compared, "norm of "+p.Name, 1, got[i:i+1], want[i:i+1], golden.Tolerance{Relative: 1e-3})
		}
	}
	gotorch.NoGrad(func() {
		logits := network.Forward(r.tensor("x_t"), gotorch.FromInt64s(r.io.Int64s("t")), model.Input{})
		r.compare("logits_after_training", logits, 1e-3)
	})
}

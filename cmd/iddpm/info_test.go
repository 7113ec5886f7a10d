package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/checkpoint"
	"iddpm/model"
)

// The presets for newcomers predict v unless a flag says otherwise.
func TestPresetPredicts(t *testing.T) {
	for args, want := range map[string]string{"emoji": "v", "emoji-gpu": "v", "emoji --predict epsilon": "epsilon", "emoji --predict-xstart": "xstart"} {
		if got := settingOf(t, strings.Fields(args), "predict"); got != want {
			t.Errorf("info %s: predict %s, want %s", args, got, want)
		}
	}
}

// TestInfoCheckpointing checks that info reports the cost and the savings of gradient
// checkpointing, whether it is on or off.
func TestInfoCheckpointing(t *testing.T) {
	for flag, on := range map[string]bool{"--use-checkpoint=true": true, "--use-checkpoint=false": false} {
		var r infoResult
		if got := iddpm(t, "info", "imagenet64", flag, "--json"); json.Unmarshal([]byte(got.stdout), &r) != nil {
			t.Fatalf("%s: %s%s", flag, got.stdout, got.stderr)
		}
		c, kept := r.Checkpointing, r.Checkpointing.Whole
		if on {
			kept -= c.Saved
		}
		if r.Memory.PerImage != kept || c.Saved < c.Whole/2 || c.FLOPs < r.FLOPs/2 || c.FLOPs >= r.FLOPs {
			t.Errorf("%s: an image takes %d bytes, of one evaluation's %d operations: %+v", flag, r.Memory.PerImage, r.FLOPs, c)
		}
		if got := iddpm(t, "info", "imagenet64", flag); !strings.Contains(got.stdout, map[bool]string{true: "on: saves", false: "off: saves"}[on]) {
			t.Errorf("%s: %s", flag, got.stdout)
		}
	}
}

// TestInfoOfBareWeights checks that info does not report defaults as the settings of a file
// of only weights.
func TestInfoOfBareWeights(t *testing.T) {
	run, bare := tinyRun(t), filepath.Join(t.TempDir(), "bare.pt")
	if got := iddpm(t, "export", run, "-o", bare); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	describe := func(args ...string) (r infoResult, text string) {
		t.Helper()
		got := iddpm(t, append(args, "--json")...)
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
			t.Fatalf("%v: %d, %s%s", args, got.status, got.stdout, got.stderr)
		}
		return r, iddpm(t, args...).stdout
	}
	whole, text := describe("info", run)
	if whole.Unfit != "" || !strings.Contains(text, "eval-pictures           64\n") {
		t.Errorf("of the run: %s", text)
	}
	unknown, text := describe("info", bare)
	if unknown.Parameters != whole.Parameters || unknown.Unfit == "" || unknown.FLOPs != 0 || !strings.Contains(unknown.Network, "denoiser of 32 channels x 1") {
		t.Errorf("%d parameters, %d operations, unfit %q; the run has %d", unknown.Parameters, unknown.FLOPs, unknown.Unfit, whole.Parameters)
	}
	if !strings.Contains(text, "none in the file, which holds only weights; below: defaults") || strings.Contains(text, "GFLOP") {
		t.Errorf("prints %s", text)
	}
	named, text := describe(append([]string{"info", bare}, tiny[:16]...)...)
	if named.Parameters != whole.Parameters || named.Unfit != "" || named.FLOPs != whole.FLOPs || !strings.Contains(text, "below: the network's from its parameters; the rest from flags, and defaults") {
		t.Errorf("with its flags: %s", text)
	}
}

// writePublished writes a file with the parameter list of a published network, of one byte per value.
func writePublished(t *testing.T, published checkpoint.Published) (file string) {
	t.Helper()
	weights := new(safetensors.File)
	for _, p := range published.Parameters() {
		size := int64(1)
		for _, n := range p.Shape {
			size *= n
		}
		weights.Tensors = append(weights.Tensors, safetensors.Named{Name: "module." + p.Name, Tensor: &pt.Tensor{DType: pt.Uint8, Shape: p.Shape, Data: make([]byte, size)}})
	}
	file = filepath.Join(t.TempDir(), "renamed.safetensors")
	if err := safetensors.WriteFile(file, weights); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestInfoNamesPublished names a published network by its list of parameters.
func TestInfoNamesPublished(t *testing.T) {
	published := checkpoint.PublishedModels()[0]
	var r infoResult
	got := iddpm(t, "info", writePublished(t, published), "--json")
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || !slices.Equal(r.Published, published.Files) {
		t.Fatalf("%v: %d, %s%s", err, got.status, got.stdout, got.stderr)
	}
	if d := r.Config.Diffusion; d.Steps != 4000 || d.NoiseSchedule != "cosine" || r.Config.Model.ImageSize != 32 || len(r.Assumed) > 0 || r.FLOPs == 0 {
		t.Errorf("%+v", r)
	}
}

// TestInfoOfClassifiers describes a published classifier, whose file has only weights, and one
// that is not published.
func TestInfoOfClassifiers(t *testing.T) {
	models := checkpoint.PublishedModels()
	published := models[slices.IndexFunc(models, func(p checkpoint.Published) bool { return p.Files[0] == "512x512_classifier.pt" })]
	for _, test := range []struct {
		file               string
		published          []string
		size, depth, width int
	}{
		{writePublished(t, published), published.Files, 512, 2, 128},
		{writeSmallClassifier(t, model.PoolAttention), nil, 16, 1, 64},
	} {
		var r infoResult
		got := iddpm(t, "info", test.file, "--batch-size", "8", "--json")
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || !slices.Equal(r.Published, test.published) {
			t.Fatalf("%v: %d, %s%s", err, got.status, got.stdout, got.stderr)
		}
		c := r.Config.Classifier
		if c == nil || c.ImageSize != test.size || c.Depth != test.depth || c.Width != test.width || r.Unfit != "" || len(r.Assumed) > 0 {
			t.Fatalf("%s", got.stdout)
		}
		if r.FLOPs <= 0 || r.GradientFLOPs <= r.FLOPs || r.Memory.State < 12*r.Parameters || r.Memory.Training < r.Memory.State+7*r.Memory.PerImage || r.Checkpointing.Saved < r.Checkpointing.Whole/4 {
			t.Errorf("%s", got.stdout)
		}
		text := iddpm(t, "info", test.file).stdout
		for _, want := range []string{"for a gradient in guidance", "training memory", "classifier-depth", "gradient checkpointing"} {
			if !strings.Contains(text, want) {
				t.Errorf("the description lacks %q:\n%s", want, text)
			}
		}
	}
}

// TestInfoSampling counts the evaluations of sampling with guidance.
func TestInfoSampling(t *testing.T) {
	guide, classifier := tinyRun(t), writeSmallClassifier(t, model.PoolAttention)
	var memory samplingMemory // of the last call of describe
	describe := func(args string) (r infoResult) {
		t.Helper()
		got := iddpm(t, append([]string{"info"}, strings.Fields(args+" --json")...)...)
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || r.Sampling == nil {
			t.Fatalf("%s: %d, %s%s", args, got.status, got.stdout, got.stderr)
		}
		r.Sampling.Memory, memory = samplingMemory{}, r.Sampling.Memory
		return r
	}
	network := "emoji --class-cond --num-classes 10 --class-dropout 0.1 --timestep-respacing 20"
	plain := describe(network)
	if c := *plain.Sampling; c != (samplingCost{Timesteps: 20, Evaluations: 20, FLOPs: 20 * plain.FLOPs}) {
		t.Errorf("without guidance: %+v", c)
	}
	alone := memory
	if alone.Batch != 16 || alone.Weights < 4*plain.Parameters || alone.PerImage <= 0 || alone.Bytes < alone.Weights+15*alone.PerImage {
		t.Errorf("memory without guidance: %+v", alone)
	}
	if c := *describe(network + " --guidance 2").Sampling; c != (samplingCost{Timesteps: 20, Guided: 20, Evaluations: 40, FLOPs: 40 * plain.FLOPs}) {
		t.Errorf("with guidance: %+v", c)
	}
	if memory.Weights != alone.Weights || memory.PerImage != 2*alone.PerImage {
		t.Errorf("memory with guidance: %+v, without %+v", memory, alone)
	}
	part := *describe(network + " --guidance 2 --guidance-interval 0.2,3").Sampling
	if part.Guided < 5 || part.Guided > 15 || part.Evaluations != 20+part.Guided || part.FLOPs != int64(part.Evaluations)*plain.FLOPs {
		t.Errorf("in an interval: %+v", part)
	}
	own := describe(guide)
	alone = memory
	if c := *describe(guide + " --guidance 2 --guide " + guide).Sampling; c.Evaluations != c.Timesteps || c.Guide != c.Timesteps || c.FLOPs != 2*own.Sampling.FLOPs {
		t.Errorf("with a guide: %+v", c)
	}
	if memory.Weights != 2*alone.Weights || memory.PerImage != alone.PerImage {
		t.Errorf("memory with a guide: %+v, without %+v", memory, alone)
	}
	small := "emoji --image-size 16 --timestep-respacing 20 --classifier " + classifier + smallClassifier
	zero := describe(small + " --classifier-scale 0")
	alone = memory
	one := describe(small)
	if memory.Weights <= alone.Weights || memory.PerImage < alone.PerImage {
		t.Errorf("memory with a classifier: %+v, without %+v", memory, alone)
	}
	if c := *one.Sampling; c.Gradients != 20 || zero.Sampling.Gradients != 0 || c.FLOPs <= zero.Sampling.FLOPs || (c.FLOPs-zero.Sampling.FLOPs)%20 != 0 {
		t.Errorf("with a classifier: %+v, with S = 0 %+v", c, zero.Sampling)
	}
	if got := iddpm(t, "info", "emoji", "--guidance", "2"); got.status != exitUsage || !strings.Contains(got.stderr, "emoji has no null class") {
		t.Errorf("without a null class: %d, %s", got.status, got.stderr)
	}
}

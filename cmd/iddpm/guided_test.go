package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/checkpoint"
	"iddpm/model"
)

// smallADM replaces the network of a command line by a small one, for which the heads of the
// original divide the channels.
const smallADM = " --num_channels 64 --num_res_blocks 1 --channel_mult 1,1 --attention_resolutions 8 --num_samples 2 --timestep_respacing 2 --device cpu --threads 1"

// smallClassifier does the same for a classifier.
const smallClassifier = " --classifier_width 64 --classifier_depth 1 --classifier-channel-mult 1,1 --classifier_attention_resolutions 8"

// TestGuidedDiffusionCommandLines runs the command lines of guided-diffusion's README for sampling
// with small networks.
func TestGuidedDiffusionCommandLines(t *testing.T) {
	const sample = " --batch_size 4 --num_samples 100 --timestep_respacing 250"
	weights := map[string]string{"classifier": writeSmallClassifier(t, model.PoolAttention)}
	for name, config := range map[string]model.Config{
		"uncond":   {},
		"cond":     {ClassCond: true, NumClasses: 10},
		"superres": {ClassCond: true, NumClasses: 10, SmallSize: 8},
	} {
		weights[name] = writeSmallADM(t, config)
	}
	base := writeArrays(t, "base.npz", smallImages(t, 2, 8), 3, 5)
	for name, line := range map[string]string{
		"64":                "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --dropout 0.1 --image_size 64 --learn_sigma True --noise_schedule cosine --num_channels 192 --num_head_channels 64 --num_res_blocks 3 --resblock_updown True --use_new_attention_order True --use_fp16 True --use_scale_shift_norm True --classifier_scale 1.0 --classifier_path classifier --classifier_depth 4 --model_path cond" + sample,
		"128":               "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --image_size 128 --learn_sigma True --noise_schedule linear --num_channels 256 --num_heads 4 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --classifier_scale 0.5 --classifier_path classifier --model_path cond" + sample,
		"256":               "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --classifier_scale 1.0 --classifier_path classifier --model_path cond" + sample,
		"256 unconditional": "--attention_resolutions 32,16,8 --class_cond False --diffusion_steps 1000 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --classifier_scale 10.0 --classifier_path classifier --model_path uncond" + sample,
		"512":               "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --image_size 512 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 False --use_scale_shift_norm True --classifier_scale 4.0 --classifier_path classifier --model_path cond" + sample,
		"64 to 256":         "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --large_size 256  --small_size 64 --learn_sigma True --noise_schedule linear --num_channels 192 --num_heads 4 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path superres --base_samples base" + sample,
		"128 to 512":        "--attention_resolutions 32,16 --class_cond True --diffusion_steps 1000 --large_size 512 --small_size 128 --learn_sigma True --noise_schedule linear --num_channels 192 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path superres" + sample + " --base_samples base",
		"LSUN":              "--attention_resolutions 32,16,8 --class_cond False --diffusion_steps 1000 --dropout 0.1 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path uncond" + sample,
		"LSUN horse":        "--attention_resolutions 32,16,8 --class_cond False --diffusion_steps 1000 --dropout 0.0 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path uncond --batch_size 4 --num_samples 100 --timestep_respacing 1000",
		"DDIM":              "--model_path cond --classifier_path classifier --attention_resolutions 32,16,8 --class_cond True --image_size 128 --learn_sigma True --num_channels 256 --num_heads 4 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --image_size 128 --classifier_attention_resolutions 32,16,8 --classifier_depth 2 --classifier_width 128 --classifier_pool attention --classifier_resblock_updown True --classifier_use_scale_shift_norm True --classifier_scale 1.0 --classifier_use_fp16 True --batch_size 4 --num_samples 50000 --timestep_respacing ddim25 --use_ddim True",
	} {
		t.Run(name, func(t *testing.T) {
			size := " --image_size 16"
			if strings.Contains(line, "--large_size") {
				size = " --large_size 16 --small_size 8"
			}
			args := append([]string{"sample"}, strings.Fields(line+smallADM+smallClassifier+size)...)
			for i, arg := range args {
				if path, ok := weights[arg]; ok && strings.HasSuffix(args[i-1], "_path") {
					args[i] = path
				} else if arg == "base" {
					args[i] = base
				}
			}
			got := iddpm(t, append(args, "--json", "--out-dir", t.TempDir())...)
			var result sampleResult
			if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
				t.Fatalf("status %d, %s", got.status, got.stderr)
			}
			if result.NumSamples != 2 || result.ImageSize != 16 || result.Timesteps != 2 {
				t.Errorf("%+v", result)
			}
		})
	}
}

// writeSmallADM writes the weights of a network of guided-diffusion as a state_dict.
func writeSmallADM(t *testing.T, config model.Config) string {
	t.Helper()
	config.ImageSize, config.InChannels, config.NumChannels, config.NumResBlocks = 16, 3, 64, 1
	config.ChannelMult, config.AttentionResolutions, config.NumHeads = []float64{1, 1}, []int{8}, 1
	config.LearnSigma, config.UseScaleShiftNorm, config.ResBlockUpDown = true, true, true
	u, err := config.UNet()
	if err != nil {
		t.Fatal(err)
	}
	return writeStateDict(t, func() (network, error) { return model.New(u, 1) })
}

// writeSmallClassifier writes the weights of a classifier of guided-diffusion as a state_dict.
func writeSmallClassifier(t *testing.T, pool string) string {
	t.Helper()
	c := model.DefaultClassifier()
	c.ImageSize, c.NumClasses, c.Width, c.Depth, c.Pool = 16, 10, 64, 1, pool
	c.ChannelMult, c.AttentionResolutions = []float64{1, 1}, []int{8}
	e, err := c.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	return writeStateDict(t, func() (network, error) { return model.NewClassifier(e, 1) })
}

// network is a denoiser or a classifier.
type network interface {
	StateDict() *pt.Dict
	Free()
}

// writeStateDict writes the initial weights of a network.
func writeStateDict(t *testing.T, build func() (network, error)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "weights.pt")
	gotorch.Run(func() {
		n, err := build()
		if err != nil {
			t.Error(err)
			return
		}
		defer n.Free()
		if err := pt.WriteFile(path, n.StateDict()); err != nil {
			t.Error(err)
		}
	})
	return path
}

// TestClassifierFlags: S = 0 generates the unguided samples to the bit and another S others, also
// of a network without classes; labels are those of --class, or random ones of the classifier.
func TestClassifierFlags(t *testing.T) {
	classifier := writeSmallClassifier(t, model.PoolSpatialV2)
	for name, config := range map[string]model.Config{"classes": {ClassCond: true, NumClasses: 10}, "no classes": {}} {
		t.Run(name, func(t *testing.T) {
			base := strings.Fields("--class_cond " + fmt.Sprint(config.ClassCond) + " --learn_sigma True --resblock_updown True --num_samples 2 --image_size 16 --num_channels 64 --num_res_blocks 1 --channel_mult 1,1 --attention_resolutions 8 --num_heads 1 --timestep_respacing 3")
			base = append(base, "--model_path", writeSmallADM(t, config), "-o", t.TempDir())
			guided := append(append(base, "--classifier", classifier, "--classifier_pool", "spatial_v2"), strings.Fields(smallClassifier)...)
			for _, sampler := range []string{"", "--use_ddim"} {
				generate := func(args []string, more ...string) sampled {
					return sample(t, append(append(slices.Clone(args), more...), strings.Fields(sampler)...)...)
				}
				plain, zero, one := generate(base), generate(guided, "--classifier_scale", "0"), generate(guided, "--classifier_scale", "30", "--class", "7")
				if !bytes.Equal(zero.pixels, plain.pixels) || len(zero.labels) != 2 {
					t.Errorf("%s: with S = 0 there are other samples, or classes %v", sampler, zero.labels)
				}
				if bytes.Equal(one.pixels, plain.pixels) || !slices.Equal(one.labels, []int64{7, 7}) {
					t.Errorf("%s: the classifier changes nothing, or classes are %v", sampler, one.labels)
				}
			}
		})
	}
}

func TestClassifierMisuse(t *testing.T) {
	run, classifier := tinyRun(t), writeSmallClassifier(t, model.PoolAdaptive)
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"--classifier " + run, exitFailed, "holds a denoiser, no classifier"},
		{"--classifier " + classifier + " --class 10", exitUsage, "--class 10: the classes of this classifier are 0 to 9"},
		{"--classifier " + classifier + smallClassifier, exitUsage, "--classifier-attention-resolutions 8: the weights have 4"},
		{"--classifier " + classifier + smallClassifier + " --classifier-pool max", exitUsage, "--classifier-pool max: the weights have adaptive"},
		{"--classifier " + classifier + smallClassifier + " --classifier-pool adaptive --classifier-attention-resolutions 4 --class x", exitUsage, "--class x: the classes of this classifier are 0 to 9"},
		{"--classifier-scale nan", exitUsage, "--classifier-scale must be a number"},
	} {
		got := iddpm(t, append([]string{"sample", run, "--device", "cpu", "-o", t.TempDir()}, strings.Fields(test.args)...)...)
		if got.status != test.status || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%s: status %d, %s", test.args, got.status, got.stderr)
		}
	}
}

// TestClassifierTraining runs the command line of guided-diffusion's README for a classifier with a
// small network, resumes the run, and samples with its classifier.
func TestClassifierTraining(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	const readme = "--iterations 300000 --anneal_lr True --batch_size 256 --lr 3e-4 --save_interval 10000 --weight_decay 0.05" +
		" --image_size 128 --classifier_attention_resolutions 32,16,8 --classifier_depth 2 --classifier_width 128 --classifier_pool attention --classifier_resblock_updown True --classifier_use_scale_shift_norm True"
	line := readme + " --noised True --iterations 2 --batch_size 4 --image_size 16" + smallClassifier + " --hold-out 0.01 --eval-interval 1 --eval-pictures 4 --precision fp32 --threads 1 --device cpu --run-dir " + dir
	got := iddpm(t, append([]string{"train"}, strings.Fields(line)...)...)
	if got.status != exitDone || !strings.Contains(got.stdout, "iddpm sample DENOISER --classifier "+dir) {
		t.Fatalf("status %d, %s%s", got.status, got.stdout, got.stderr)
	}
	c, err := checkpoint.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if k, o := c.Config.Classifier, c.Config.Train; k == nil || k.Width != 64 || k.ImageSize != 16 || o.LRAnnealSteps != 2 || o.CleanImages || !c.Config.Data.RandomCrop {
		t.Errorf("%+v, %+v", k, o)
	}
	table, err := os.ReadFile(filepath.Join(dir, "progress.csv"))
	if err != nil || !strings.Contains(string(table), "acc@1_q") || !strings.Contains(string(table), "eval_acc@5") {
		t.Errorf("the metrics lack accuracies: %s, %v", table, err)
	}
	if got := iddpm(t, "resume", dir, "--steps", "3", "--device", "cpu"); got.status != exitDone {
		t.Errorf("resume: %s", got.stderr)
	}
	if got := iddpm(t, "info", dir); got.status != exitDone || !strings.Contains(got.stdout, "classifier-width") || !strings.Contains(got.stdout, "for a gradient in guidance") {
		t.Errorf("info: %s%s", got.stdout, got.stderr)
	}
	base := strings.Fields("--class_cond False --learn_sigma True --resblock_updown True --num_samples 2 --image_size 16 --num_channels 64 --num_res_blocks 1 --channel_mult 1,1 --attention_resolutions 8 --num_heads 1 --timestep_respacing 2")
	base = append(base, "--model_path", writeSmallADM(t, model.Config{}), "-o", t.TempDir(), "--class", "3")
	byNumber := sample(t, append(base, "--classifier", dir)...)
	byName := sample(t, append(base, "--classifier", dir, "--class", c.ClassNames[3])...)
	if !slices.Equal(byNumber.labels, []int64{3, 3}) || !slices.Equal(byName.labels, byNumber.labels) || !bytes.Equal(byName.pixels, byNumber.pixels) {
		t.Errorf("classes %v by number, %v by name", byNumber.labels, byName.labels)
	}
	if got := iddpm(t, append(append([]string{"sample"}, base...), "--classifier", dir, "--class", "none")...); got.status != exitUsage || !strings.Contains(got.stderr, "the classes of this classifier are 0 to 9, by name activities, ") {
		t.Errorf("an unknown class: status %d, %s", got.status, got.stderr)
	}
	if got := iddpm(t, "sample", dir, "--device", "cpu"); got.status != exitFailed || !strings.Contains(got.stderr, "holds a classifier") {
		t.Errorf("sample: status %d, %s", got.status, got.stderr)
	}
}

// TestCheckClasses: a classifier of the same classes in another order would guide to other classes.
func TestCheckClasses(t *testing.T) {
	of := func(names ...string) *checkpoint.Checkpoint {
		c := &checkpoint.Checkpoint{ClassNames: names}
		c.Config.Model.ClassCond = true
		return c
	}
	unconditional := of("cat", "dog")
	unconditional.Config.Model.ClassCond = false
	for name, test := range map[string]struct {
		network, classifier *checkpoint.Checkpoint
		fits                bool
	}{
		"no classifier":   {of("cat", "dog"), nil, true},
		"the same":        {of("cat", "dog"), of("cat", "dog"), true},
		"another order":   {of("cat", "dog"), of("dog", "cat"), false},
		"others":          {of("cat", "dog"), of("cat", "cow"), false},
		"bare classifier": {of("cat", "dog"), of(), true},
		"unconditional":   {unconditional, of("dog", "cat"), true},
	} {
		if err := checkClasses(test.network, test.classifier); (err == nil) != test.fits {
			t.Errorf("%s: %v", name, err)
		}
	}
}

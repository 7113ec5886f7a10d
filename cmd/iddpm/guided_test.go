package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// smallADM replaces the network of a command line by a small one, for which the heads of the
// original divide the channels.
const smallADM = " --num_channels 64 --num_res_blocks 1 --channel_mult 1,1 --attention_resolutions 8 --num_samples 2 --timestep_respacing 2 --device cpu --threads 1"

// TestGuidedDiffusionCommandLines runs the command lines of guided-diffusion's README that need
// no classifier, by its image_sample.py and super_res_sample.py, with a small network.
func TestGuidedDiffusionCommandLines(t *testing.T) {
	const sample = " --batch_size 4 --num_samples 100 --timestep_respacing 250"
	weights := map[string]string{}
	for name, config := range map[string]model.Config{
		"uncond":   {},
		"cond":     {ClassCond: true, NumClasses: 10},
		"superres": {ClassCond: true, NumClasses: 10, SmallSize: 8},
	} {
		weights[name] = writeSmallADM(t, config)
	}
	base := writeArrays(t, "base.npz", smallImages(t, 2, 8), 3, 5)
	for name, line := range map[string]string{
		"64":                "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --dropout 0.1 --image_size 64 --learn_sigma True --noise_schedule cosine --num_channels 192 --num_head_channels 64 --num_res_blocks 3 --resblock_updown True --use_new_attention_order True --use_fp16 True --use_scale_shift_norm True --model_path cond" + sample,
		"128":               "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --image_size 128 --learn_sigma True --noise_schedule linear --num_channels 256 --num_heads 4 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path cond" + sample,
		"256":               "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path cond" + sample,
		"256 unconditional": "--attention_resolutions 32,16,8 --class_cond False --diffusion_steps 1000 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path uncond" + sample,
		"512":               "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --image_size 512 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 False --use_scale_shift_norm True --model_path cond" + sample,
		"64 to 256":         "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --large_size 256  --small_size 64 --learn_sigma True --noise_schedule linear --num_channels 192 --num_heads 4 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path superres --base_samples base" + sample,
		"128 to 512":        "--attention_resolutions 32,16 --class_cond True --diffusion_steps 1000 --large_size 512 --small_size 128 --learn_sigma True --noise_schedule linear --num_channels 192 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path superres" + sample + " --base_samples base",
		"LSUN":              "--attention_resolutions 32,16,8 --class_cond False --diffusion_steps 1000 --dropout 0.1 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path uncond" + sample,
		"LSUN horse":        "--attention_resolutions 32,16,8 --class_cond False --diffusion_steps 1000 --dropout 0.0 --image_size 256 --learn_sigma True --noise_schedule linear --num_channels 256 --num_head_channels 64 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --model_path uncond --batch_size 4 --num_samples 100 --timestep_respacing 1000",
		"DDIM":              "--model_path cond --attention_resolutions 32,16,8 --class_cond True --image_size 128 --learn_sigma True --num_channels 256 --num_heads 4 --num_res_blocks 2 --resblock_updown True --use_fp16 True --use_scale_shift_norm True --batch_size 4 --num_samples 50000 --timestep_respacing ddim25 --use_ddim True",
	} {
		t.Run(name, func(t *testing.T) {
			size := " --image_size 16"
			if strings.Contains(line, "--large_size") {
				size = " --large_size 16 --small_size 8"
			}
			args := append([]string{"sample"}, strings.Fields(line+smallADM+size)...)
			for i, arg := range args {
				if path, ok := weights[arg]; ok && args[i-1] == "--model_path" {
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
	path := filepath.Join(t.TempDir(), "model.pt")
	gotorch.Run(func() {
		network, err := model.New(u, 1)
		if err != nil {
			t.Error(err)
			return
		}
		defer network.Free()
		if err := pt.WriteFile(path, network.StateDict()); err != nil {
			t.Error(err)
		}
	})
	return path
}

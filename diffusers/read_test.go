package diffusers

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/diffusion"
	"iddpm/model"
)

// TestRoundTrip writes, reads and writes again: the network and the diffusion are the same, and so
// are the files.
func TestRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*model.Config, *diffusion.Config){
		"rescaled timesteps": func(*model.Config, *diffusion.Config) {},
		"new attention order": func(c *model.Config, d *diffusion.Config) {
			c.NewAttentionOrder, d.RescaleTimesteps, d.NoiseSchedule = true, false, diffusion.Cosine
		},
		"resampling blocks": func(c *model.Config, d *diffusion.Config) {
			c.ResBlockUpDown, c.NumHeadChannels, c.AttentionResolutions = true, 8, []int{16, 8}
		},
		"one head, fixed variance": func(c *model.Config, d *diffusion.Config) {
			c.NumHeads, c.LearnSigma, d.LearnSigma, d.SigmaSmall, c.UseScaleShiftNorm = 1, false, false, true, false
			d.Predict, d.NoiseSchedule = "v", "scaled-linear:0.001,0.2"
		},
		"without signal at the end": func(c *model.Config, d *diffusion.Config) {
			d.Predict, d.NoiseSchedule, d.ZeroTerminalSNR = "v", diffusion.Linear, true
		},
		"of diffusers": func(c *model.Config, d *diffusion.Config) {
			c.AsymmetricPadding, c.FreqShift, c.NormEps, c.ClassCond, d.RescaleTimesteps = true, 1, 1e-6, false, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := small()
			change(&c, &d)
			weights, _ := counted(t, c)
			dirs := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
			p := Pipeline{Model: c, Diffusion: d, Weights: weights}
			if _, err := p.Write(dirs[0]); err != nil {
				t.Fatal(err)
			}
			unet, ok := Find(dirs[0])
			if !ok || unet != filepath.Join(dirs[0], "unet") {
				t.Fatalf("found %s, %t", unet, ok)
			}
			i, err := Read(unet)
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			if i.Diffusion.NoiseSchedule != d.NoiseSchedule || i.Diffusion.MeanType() != d.MeanType() || i.Diffusion.LearnSigma != d.LearnSigma || i.Diffusion.RescaleTimesteps != d.RescaleTimesteps || i.Diffusion.ZeroTerminalSNR != d.ZeroTerminalSNR || len(i.Notes) > 0 {
				t.Errorf("diffusion %+v, want %+v; %v", i.Diffusion, d, i.Notes)
			}
			if _, err := i.Pipeline.Write(dirs[1]); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"unet/" + weightsFile, "unet/" + configFile} {
				first, _ := os.ReadFile(filepath.Join(dirs[0], name))
				again, err := os.ReadFile(filepath.Join(dirs[1], name))
				if err != nil || !bytes.Equal(first, again) {
					t.Errorf("%s differs: %v", name, err)
				}
			}
		})
	}
}

// configurations returns those of a folder, as JSON objects.
func configurations(t testing.TB) (unet, scheduler map[string]any) {
	t.Helper()
	c, d := small()
	d.RescaleTimesteps = false
	u, err := c.UNet()
	if err != nil {
		t.Fatal(err)
	}
	a, err := newUNet(c, u, d)
	b, schedulerErr := newScheduler(d, DDPM)
	if err := errors.Join(err, schedulerErr); err != nil {
		t.Fatal(err)
	}
	for value, into := range map[any]*map[string]any{&a: &unet, &b: &scheduler} {
		text, err := json.Marshal(value)
		if err := errors.Join(err, json.Unmarshal(text, into)); err != nil {
			t.Fatal(err)
		}
	}
	return unet, scheduler
}

func text(t testing.TB, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestParseRefuses names what cannot be represented.
func TestParseRefuses(t *testing.T) {
	unet, scheduler := configurations(t)
	if _, err := parse(text(t, unet), text(t, scheduler)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		key   string
		value any
		want  string
	}{
		{"_class_name", "UNet2DConditionModel", "only UNet2DModel"},
		{"act_fn", "gelu", "gelu, only silu"},
		{"add_attention", false, "must be UNetMidBlock2D with attention"},
		{"mid_block_type", nil, "must be UNetMidBlock2D with attention"},
		{"norm_num_groups", 16, "norm_num_groups: only 32"},
		{"attn_norm_num_groups", nil, "null with scale_shift is none"},
		{"center_input_sample", true, "center_input_sample: true"},
		{"class_embed_type", "timestep", "class_embed_type: timestep"},
		{"time_embedding_type", "fourier", "time_embedding_type: fourier"},
		{"time_embedding_type", "learned", "for another number of timesteps"},
		{"time_embedding_dim", 64, "time_embedding_dim: 64"},
		{"downsample_padding", 2, "downsample_padding: 2"},
		{"downsample_type", "kernel", ""}, // no level uses it
		{"freq_shift", 0.5, "freq_shift: 0.5"},
		{"sample_size", []int{8, 16}, "not the size of square images"},
		{"sample_size", nil, "not the size of square images"},
		{"block_out_channels", []int{32}, "for 2 down_block_types"},
		{"block_out_channels", []int{0, 64}, "block_out_channels: [0 64]"},
		{"down_block_types", []string{"DownBlock2D", "SkipDownBlock2D"}, "SkipDownBlock2D and AttnUpBlock2D at level 1"},
		{"down_block_types", []string{"AttnDownBlock2D", "AttnDownBlock2D"}, "attention must be in both"},
		{"down_block_types", []string{"ResnetDownsampleBlock2D", "AttnDownBlock2D"}, "others by residual blocks"},
		{"out_channels", 4, "out_channels: 4"},
		{"out_channels", 3, "out_channels: 3"},
		{"norm_eps", 0, "norm_eps: 0"},
		{"layers_per_block", -1, "num-res-blocks must not be below 0"},
		{"attention_head_dim", 24, "not divisible by 24 channels per head"},
		{"beta_schedule", "laplace", ""}, // trained_betas are given
		{"trained_betas", []float64{0.1}, "1 betas for 40 timesteps"},
		{"trained_betas", make([]float64, 40), "of none of the noise schedules"},
		{"prediction_type", "flow", "prediction_type: flow"},
		{"variance_type", "learned", "variance_type: learned"},
		{"variance_type", "fixed_small", "the network has 6 output channels"},
		{"num_train_timesteps", 1 << 40, "for 1099511627776 timesteps"},
		{"num_train_timesteps", "x", "cannot unmarshal"},
	} {
		u, s := maps.Clone(unet), maps.Clone(scheduler)
		if _, ok := s[test.key]; ok && test.key != "_class_name" {
			s[test.key] = test.value
		} else {
			u[test.key] = test.value
		}
		_, err := parse(text(t, u), text(t, s))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s = %v: got %v, want %q", test.key, test.value, err, test.want)
		}
	}
}

// TestOursRefuses has weights that do not fit their configuration.
func TestOursRefuses(t *testing.T) {
	c, _ := small()
	weights, u := counted(t, c)
	f, err := theirs(weights, u)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(map[string]*pt.Tensor){
		"unknown tensor extra":                           func(m map[string]*pt.Tensor) { m["extra"] = m["conv_in.bias"] },
		"missing: mid_block.attentions.0.to_k.weight":    func(m map[string]*pt.Tensor) { delete(m, "mid_block.attentions.0.to_k.weight") },
		"missing: out.2.bias":                            func(m map[string]*pt.Tensor) { delete(m, "conv_out.bias") },
		"have different shapes":                          func(m map[string]*pt.Tensor) { m["mid_block.attentions.0.to_q.bias"] = m["conv_in.bias"] },
		"unknown tensor " + timestepWeights:              func(m map[string]*pt.Tensor) { m[timestepWeights] = m["time_embedding.linear_1.weight"] },
		"shape: input_blocks.0.0.bias is [64], the netw": func(m map[string]*pt.Tensor) { m["conv_in.bias"] = m["mid_block.resnets.0.norm1.bias"] },
	} {
		all := map[string]*pt.Tensor{}
		for _, tensor := range f.Tensors {
			all[tensor.Name] = tensor.Tensor
		}
		change(all)
		if _, err := ours(all, u, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	old := map[string]*pt.Tensor{} // names from before diffusers 0.15
	for _, tensor := range f.Tensors {
		name := tensor.Name
		if strings.Contains(name, ".attentions.") {
			for now, then := range map[string]string{"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn", "group_norm": "norm"} {
				name = strings.Replace(name, "."+now+".", "."+then+".", 1)
			}
		}
		old[name] = tensor.Tensor
	}
	if got, err := ours(old, u, 0); err != nil || !reflect.DeepEqual(got, weights) {
		t.Errorf("old names: %v", err)
	}
}

// TestLearnedTimesteps: a learned timestep embedding can be read as long as training has not changed it.
func TestLearnedTimesteps(t *testing.T) {
	c, d := small() // 40 timesteps, scaled
	weights, _ := counted(t, c)
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := (Pipeline{Model: c, Diffusion: d, Weights: weights}).Write(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, unetFolder, weightsFile)
	f, err := safetensors.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want   string // of the error; "": none
		change func(table *pt.Tensor) *pt.Tensor
	}{
		{"", func(table *pt.Tensor) *pt.Tensor { return table }},
		{"not the sinusoid of scaled timesteps: it has been trained", func(table *pt.Tensor) *pt.Tensor {
			trained := as(table, table.Shape...)
			trained.Data = bytes.Clone(table.Data)
			copy(trained.Data[len(trained.Data)-4:], []byte{0, 0, 128, 63}) // 1
			return trained
		}},
		{"not 40 rows of 32 channels", func(table *pt.Tensor) *pt.Tensor {
			return &pt.Tensor{DType: table.DType, Shape: []int64{39, 32}, Data: table.Data[:39*32*4]}
		}},
		{"missing: " + timestepWeights, func(*pt.Tensor) *pt.Tensor { return nil }},
	} {
		changed := safetensors.File{Metadata: f.Metadata}
		for _, tensor := range f.Tensors {
			if tensor.Name == timestepWeights {
				tensor.Tensor = test.change(tensor.Tensor)
			}
			if tensor.Tensor != nil {
				changed.Tensors = append(changed.Tensors, tensor)
			}
		}
		if err := safetensors.WriteFile(file, &changed); err != nil {
			t.Fatal(err)
		}
		i, err := Read(filepath.Join(dir, unetFolder))
		if err == nil {
			err = i.Close()
		}
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("got %v, want %q", err, test.want)
		}
		var unsupported *UnsupportedError
		if strings.HasPrefix(test.want, "not") && (!errors.As(err, &unsupported) || unsupported.Setting != "time_embedding_type") {
			t.Errorf("%v does not name time_embedding_type", err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	unet, scheduler := configurations(t)
	dir := t.TempDir()
	put := func(name string, content []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, content, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := Find(dir); ok {
		t.Error("found a network in an empty folder")
	}
	put("unet/config.json", text(t, unet))
	put(schedulerFile, text(t, scheduler))
	if _, err := Read(filepath.Join(dir, "unet")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), weightsFile) {
		t.Errorf("without weights: %v", err)
	}
	put("unet/"+weightsFile, []byte("x"))
	if _, err := Read(filepath.Join(dir, "unet")); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("damaged weights: %v", err)
	}
	if err := safetensors.WriteFile(filepath.Join(dir, "unet", weightsFile), new(safetensors.File)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(filepath.Join(dir, "unet")); err == nil || !strings.Contains(err.Error(), "missing: ") {
		t.Errorf("no tensors: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	unet, scheduler := configurations(f)
	f.Add(text(f, unet), text(f, scheduler))
	f.Add(text(f, unet), []byte(`{"trained_betas": null, "variance_type": "learned_range"}`))
	f.Add([]byte(`{"block_out_channels": [9223372036854775807], "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "sample_size": 1e300}`), []byte(`{"beta_end": 1e400}`))
	f.Fuzz(func(t *testing.T, unet, scheduler []byte) {
		i, err := parse(unet, scheduler)
		if err != nil {
			return
		}
		if _, err := i.Model.UNet(); err != nil || i.Diffusion.Validate() != nil {
			t.Errorf("read %+v, which is not valid: %v", i.Pipeline, err)
		}
	})
}

package diffusers

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/diffusion"
	"iddpm/model"
)

func small() (model.Config, diffusion.Config) {
	return model.Config{
			ImageSize: 16, InChannels: 3, NumChannels: 32, NumResBlocks: 1, ChannelMult: []float64{1, 2}, AttentionResolutions: []int{8},
			NumHeads: 4, LearnSigma: true, UseScaleShiftNorm: true, ClassCond: true, NumClasses: 3,
		},
		diffusion.Config{Steps: 40, NoiseSchedule: diffusion.Linear, LearnSigma: true, RescaleTimesteps: true}
}

// counted is a state_dict whose elements are all different.
func counted(t *testing.T, c model.Config) (*pt.Dict, model.UNetConfig) {
	t.Helper()
	u, err := c.UNet()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := model.Plan(u)
	if err != nil {
		t.Fatal(err)
	}
	d, next := &pt.Dict{Ordered: true}, uint32(0)
	for _, p := range plan.Parameters() {
		size := int64(1)
		for _, n := range p.Shape {
			size *= n
		}
		tensor := &pt.Tensor{DType: pt.Float32, Shape: p.Shape, Data: make([]byte, 4*size)}
		for i := range size {
			next++
			tensor.Data[4*i], tensor.Data[4*i+1], tensor.Data[4*i+2] = byte(next), byte(next>>8), byte(next>>16)
		}
		d.Set(p.Name, tensor)
	}
	return d, u
}

// TestQKV: the old order of 2 heads of 1 channel is q0 k0 v0 q1 k1 v1, the new one q0 q1 k0 k1 v0 v1.
func TestQKV(t *testing.T) {
	for newOrder, rows := range map[bool]string{false: "qkvQKV", true: "qQkKvV"} {
		parts, err := splitQKV(&pt.Tensor{DType: pt.Uint8, Shape: []int64{6}, Data: []byte(rows)}, 2, newOrder)
		if err != nil || string(parts[0].Data)+string(parts[1].Data)+string(parts[2].Data) != "qQkKvV" {
			t.Errorf("%t: got %q %q %q, %v", newOrder, parts[0].Data, parts[1].Data, parts[2].Data, err)
		}
		if joined, err := joinQKV(parts, 2); err != nil || string(joined.Data) != "qkvQKV" || !slices.Equal(joined.Shape, []int64{6}) {
			t.Errorf("joined %v, %v", joined, err)
		}
	}
	if _, err := splitQKV(&pt.Tensor{DType: pt.Uint8, Shape: []int64{7}, Data: make([]byte, 7)}, 2, true); err == nil {
		t.Error("7 rows were divided")
	}
}

// TestWrite checks the files, and that every value is in them.
func TestWrite(t *testing.T) {
	c, d := small()
	weights, _ := counted(t, c)
	dir := filepath.Join(t.TempDir(), "a", "out")
	p := Pipeline{Model: c, Diffusion: d, Weights: weights, Metadata: map[string]string{"key": "value"},
		Card: Card{Name: "n", Data: "a | b\nc", Steps: 7, License: "mit", Metrics: []string{"FID 3"}, Classes: []string{"cat", "dog", "eel"}, Samples: []byte("png")}}
	files, err := p.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		name, _ := filepath.Rel(dir, f)
		all = append(all, name)
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
	want := []string{"unet/diffusion_pytorch_model.safetensors", "unet/config.json", "scheduler/scheduler_config.json", "model_index.json", "README.md", "samples.png"}
	if !slices.Equal(all, want) {
		t.Errorf("wrote %v", all)
	}
	f, err := safetensors.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	values := 0
	for _, tensor := range f.Tensors {
		if tensor.Name != timestepWeights {
			values += len(tensor.Data)
		}
	}
	before := 0
	for _, value := range weights.All() {
		before += len(value.(*pt.Tensor).Data)
	}
	if values != before || f.Metadata["key"] != "value" || f.Metadata["format"] != "pt" || f.Get(timestepWeights) == nil {
		t.Errorf("%d bytes of values instead of %d, metadata %v", values, before, f.Metadata)
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	for _, part := range []string{"license: mit", "# n", `a \| b c`, "| optimizer steps | 7 |", "FID 3", "cat, dog, eel", "![samples](samples.png)", "class_labels=labels"} {
		if err != nil || !strings.Contains(string(text), part) {
			t.Errorf("the card lacks %q: %s", part, text)
		}
	}
	var s schedulerConfig
	text, err = os.ReadFile(filepath.Join(dir, schedulerFile))
	if err := errors.Join(err, json.Unmarshal(text, &s)); err != nil || s.VarianceType != "learned_range" || len(s.TrainedBetas) != 40 || s.TrainTimesteps != 40 {
		t.Errorf("scheduler %+v, %v", s, err)
	}
	if _, err := p.Write(dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second time: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestDDIMLeavesOutVariances: stock DDIMPipeline does not expect them.
func TestDDIMLeavesOutVariances(t *testing.T) {
	c, d := small()
	weights, _ := counted(t, c)
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := (Pipeline{Model: c, Diffusion: d, Weights: weights, Scheduler: DDIM}).Write(dir); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.ReadFile(filepath.Join(dir, unetFolder, weightsFile))
	if err != nil || !slices.Equal(f.Get("conv_out.weight").Shape, []int64{3, 32, 3, 3}) || !slices.Equal(f.Get("conv_out.bias").Shape, []int64{3}) {
		t.Errorf("conv_out is %v, %v", f.Get("conv_out.weight"), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil || !strings.Contains(string(text), "DDIMPipeline") || !strings.Contains(string(text), "DDIMScheduler") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestUnsupported(t *testing.T) {
	for want, change := range map[string]func(*model.Config){
		"heads have 8 channels at level 0 and 16 at level 1":  func(c *model.Config) { c.AttentionResolutions = []int{16, 8} },
		"heads have 16 channels at level 1 and 32 at level 1": func(c *model.Config) { c.NumHeadsUpsample = 2 },
		"num-heads: attention heads have 32 channels at level": func(c *model.Config) {
			c.AttentionResolutions, c.NumHeads, c.ChannelMult = []int{16}, 1, []float64{1, 4}
			c.NumHeadsUpsample = 2
		},
		"low-resolution":                 func(c *model.Config) { c.SmallSize = 8 },
		"the first multiplier must be 1": func(c *model.Config) { c.ChannelMult = []float64{2, 2} },
		"the first level has 32":         func(c *model.Config) { c.StemChannels = 64 },
		"at least one residual block":    func(c *model.Config) { c.NumResBlocks = 0 },
	} {
		c, d := small()
		change(&c)
		u, err := c.UNet()
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		_, err = newUNet(c, u, d)
		var refused *UnsupportedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	c, d := small()
	c.AttentionResolutions, c.NumHeadChannels = []int{16, 8}, 16
	u, err := c.UNet()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newUNet(c, u, d); err != nil {
		t.Errorf("heads of one width: %v", err)
	}
}

package diffusers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/diffusion"
	"iddpm/model"
)

// Pipeline is a network with its diffusion.
type Pipeline struct {
	Model     model.Config
	Diffusion diffusion.Config
	Weights   *pt.Dict          // by the reference's names
	Metadata  map[string]string // of the safetensors file; texts

	// Scheduler is DDPM ("" too) or DDIM, whose networks have no learned variances in diffusers: these
	// outputs are left out.
	Scheduler string
	Card      Card
}

// The files of a folder.
const (
	indexFile     = "model_index.json"
	unetFolder    = "unet"
	configFile    = "config.json"
	weightsFile   = "diffusion_pytorch_model.safetensors"
	schedulerFile = "scheduler/scheduler_config.json"
	cardFile      = "README.md"
	samplesFile   = "samples.png"
)

// Write writes the folder dir, which must not exist or be empty: completely, or not at all. It
// returns the paths of the files. What UNet2DModel cannot represent is an [*UnsupportedError].
func (p Pipeline) Write(dir string) (files []string, err error) {
	contents, err := p.files()
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: name another folder", dir)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	temporary, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temporary) // nothing after the rename
	for _, f := range contents {
		path := filepath.Join(temporary, filepath.FromSlash(f.name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), f.write(path)); err != nil {
			return nil, err
		}
		files = append(files, filepath.Join(dir, filepath.FromSlash(f.name)))
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return nil, err
	}
	return files, os.Rename(temporary, dir) // replaces an empty folder
}

// file is one file of the folder.
type file struct {
	name  string
	write func(path string) error
}

func (p Pipeline) files() ([]file, error) {
	c, d := p.Model, p.Diffusion
	weights := p.Weights
	if p.Scheduler == DDIM && c.LearnSigma {
		weights = withoutVariance(weights, int64(c.InChannels))
		c.LearnSigma, d.LearnSigma = false, false
	}
	u, err := c.UNet()
	if err != nil {
		return nil, err
	}
	unet, err := newUNet(c, u, d)
	if err != nil {
		return nil, err
	}
	scheduler, err := newScheduler(d, p.Scheduler)
	if err != nil {
		return nil, err
	}
	tensors, err := theirs(weights, u)
	if err != nil {
		return nil, err
	}
	if learnsTimesteps(d) {
		table, err := timestepTable(d.Steps, u.ModelChannels, u.FreqShift)
		if err != nil {
			return nil, err
		}
		tensors.Tensors = append(tensors.Tensors, safetensors.Named{Name: timestepWeights, Tensor: table})
	}
	tensors.Metadata = map[string]string{"format": "pt"}
	for key, value := range p.Metadata {
		tensors.Metadata[key] = value
	}
	files := []file{
		{unetFolder + "/" + weightsFile, func(path string) error { return safetensors.WriteFile(path, tensors) }},
		{unetFolder + "/" + configFile, jsonFile(unet)},
		{schedulerFile, jsonFile(scheduler)},
		{indexFile, jsonFile(newIndex(scheduler.Class))},
		{cardFile, textFile(p.Card.text(c, d, scheduler))},
	}
	if p.Card.Samples != nil {
		files = append(files, file{samplesFile, textFile(p.Card.Samples)})
	}
	return files, nil
}

// timestepWeights is the table of a learned timestep embedding.
const timestepWeights = "time_proj.weight"

// withoutVariance returns the weights of a network that does not predict variances: without the last
// half of its output channels.
func withoutVariance(weights *pt.Dict, channels int64) *pt.Dict {
	less := &pt.Dict{Ordered: weights.Ordered}
	for key, value := range weights.All() {
		if t, ok := value.(*pt.Tensor); ok && (key == "out.2.weight" || key == "out.2.bias") && firstDim(t) == 2*channels {
			shape := append([]int64{channels}, t.Shape[1:]...)
			value = &pt.Tensor{DType: t.DType, Shape: shape, Data: t.Data[:len(t.Data)/2]}
		}
		less.Set(key, value)
	}
	return less
}

// theirs returns the weights by diffusers' names.
func theirs(weights *pt.Dict, u model.UNetConfig) (*safetensors.File, error) {
	plan, err := model.Plan(u)
	if err != nil {
		return nil, err
	}
	if err := plan.CheckStateDict(weights); err != nil {
		return nil, err
	}
	f := new(safetensors.File)
	put := func(name string, t *pt.Tensor) {
		f.Tensors = append(f.Tensors, safetensors.Named{Name: name, Tensor: t})
	}
	for _, m := range modules(u) {
		for _, layer := range m.layers() {
			for _, part := range []string{".weight", ".bias"} {
				value, ok := weights.Get(layer.ours + part)
				if !ok { // an embedding without bias, or a residual block without a convolution in its skip connection
					continue
				}
				t := value.(*pt.Tensor)
				if m.kind == attention && len(t.Shape) == 3 { // a 1-D convolution is a linear layer there
					t = as(t, t.Shape[0], t.Shape[1])
				}
				put(layer.theirs+part, t)
			}
		}
		if m.kind != attention {
			continue
		}
		for _, part := range []string{".weight", ".bias"} {
			value, _ := weights.Get(m.ours + ".qkv" + part)
			parts, err := splitQKV(value.(*pt.Tensor), m.heads, u.NewAttentionOrder)
			if err != nil {
				return nil, fmt.Errorf("%s.qkv%s: %w", m.ours, part, err)
			}
			for i, layer := range m.qkv() {
				put(layer.theirs+part, parts[i])
			}
		}
	}
	return f, nil
}

// index is the model_index.json of a pipeline.
type index struct {
	Class     string    `json:"_class_name"`
	Version   string    `json:"_diffusers_version"`
	Scheduler [2]string `json:"scheduler"`
	UNet      [2]string `json:"unet"`
}

func newIndex(scheduler string) index {
	return index{strings.TrimSuffix(scheduler, "Scheduler") + "Pipeline", Version, [2]string{"diffusers", scheduler}, [2]string{"diffusers", "UNet2DModel"}}
}

func jsonFile(value any) func(path string) error {
	return func(path string) error {
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		return textFile(append(text, '\n'))(path)
	}
}

func textFile(text []byte) func(path string) error {
	return func(path string) error { return os.WriteFile(path, text, 0o644) }
}

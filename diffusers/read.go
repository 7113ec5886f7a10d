package diffusers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/regularfile"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/model"
)

// maxConfig bounds the JSON files, which have a few kilobytes, with a million betas 20 MB.
const maxConfig = 64 << 20

// Imported is a folder that has been read.
type Imported struct {
	Pipeline
	Path  string   // of the weights' file, or of the index of several
	Files []string // that hold the weights: Path, then those that an index lists
	Notes []string // settings that are not the checkpoint's but of sampling, or assumed

	sinesFirst bool // in the timestep embedding
	table      bool // the weights hold a table of timestep embeddings
	mapped     []*safetensors.Mapped
}

// Close unmaps the weights of safetensors files, to be called after their last use.
func (i *Imported) Close() error {
	var errs []error
	for _, file := range i.mapped {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// Find returns the folder of the UNet2DModel that a path names: the folder of a pipeline, that of
// its network, or its file of weights. ok is false for other paths.
func Find(path string) (unet string, ok bool) {
	for _, dir := range []string{filepath.Join(path, unetFolder+"_ema"), filepath.Join(path, unetFolder), path, filepath.Dir(path)} {
		if dir == filepath.Dir(path) && !namesWeights(path) {
			continue
		}
		text, err := readConfig(filepath.Join(dir, configFile))
		var named struct {
			Class string `json:"_class_name"`
		}
		if err == nil && json.Unmarshal(text, &named) == nil && named.Class != "" {
			return dir, true
		}
	}
	return "", false
}

// namesWeights reports whether a path may be a file of weights, or their index.
func namesWeights(path string) bool {
	ext := filepath.Ext(path)
	return ext == ".safetensors" || ext == ".bin" || filepath.Base(path) == shardIndex
}

func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxConfig {
		err = fmt.Errorf("%s has %d bytes, which are too many for a configuration", path, info.Size())
	}
	if err != nil {
		return nil, err
	}
	return regularfile.Read(path)
}

// Read reads the network in a folder that [Find] has returned, and the scheduler beside it. What
// cannot be represented is an [*UnsupportedError].
func Read(unet string) (*Imported, error) {
	text, err := readConfig(filepath.Join(unet, configFile))
	if err != nil {
		return nil, err
	}
	scheduler, err := readScheduler(unet)
	if err != nil {
		return nil, err
	}
	i, err := parse(text, scheduler)
	if err != nil {
		return nil, fmt.Errorf("diffusers %s: %w", unet, err)
	}
	if err := i.readWeights(unet); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// readScheduler reads the scheduler beside a network's folder or, for those that the training script
// saves in checkpoint-N, one folder above. It is nil if there is none.
func readScheduler(unet string) ([]byte, error) {
	for _, dir := range []string{filepath.Dir(unet), filepath.Dir(filepath.Dir(unet))} {
		text, err := readConfig(filepath.Join(dir, filepath.FromSlash(schedulerFile)))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
	}
	return nil, nil
}

// parse reads both configurations; scheduler is nil without one.
func parse(unet, scheduler []byte) (*Imported, error) {
	i, c, s := new(Imported), defaultUNet(), defaultScheduler()
	if err := json.Unmarshal(unet, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	if scheduler == nil {
		i.Notes = append(i.Notes, "no scheduler: the training script's default is assumed, 1000 timesteps of the linear schedule, which predicts epsilon")
	} else if err := json.Unmarshal(scheduler, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", schedulerFile, err)
	}
	i.sinesFirst = !c.FlipSinToCos && c.TimeEmbedding == "positional"
	var err error
	if i.Model, err = c.network(); err != nil {
		return nil, err
	}
	if i.Diffusion, err = s.diffusion(); err != nil {
		return nil, err
	}
	i.Notes = append(i.Notes, s.notes()...)
	i.Model.LearnSigma = i.Diffusion.LearnSigma
	if want := map[bool]int{false: c.InChannels, true: 2 * c.InChannels}[i.Model.LearnSigma]; c.OutChannels != want {
		if c.OutChannels != 2*c.InChannels {
			return nil, unsupported("out_channels", "%d for images of %d channels", c.OutChannels, c.InChannels)
		}
		return nil, unsupported("variance_type", "%s, but the network has %d output channels for images of %d", s.VarianceType, c.OutChannels, c.InChannels)
	}
	if c.TimeEmbedding == "learned" {
		if c.TrainTimesteps == nil || *c.TrainTimesteps != i.Diffusion.Steps {
			return nil, unsupported("time_embedding_type", "learned, for another number of timesteps than the scheduler's %d", i.Diffusion.Steps)
		}
		i.Diffusion.RescaleTimesteps, i.table = true, true
	}
	u, err := i.Model.UNet()
	if err != nil {
		return nil, err
	}
	return i, u.Validate()
}

// readWeights reads the file of weights, and names them as the reference does.
func (i *Imported) readWeights(unet string) error {
	tensors, err := i.open(unet)
	if err != nil {
		return err
	}
	u, err := i.Model.UNet()
	if err != nil {
		return err
	}
	steps := 0
	if i.table {
		steps = i.Diffusion.Steps
	}
	if i.Weights, err = ours(tensors, u, steps); err != nil {
		return fmt.Errorf("diffusers %s: %w", i.Path, err)
	}
	if i.sinesFirst {
		value, _ := i.Weights.Get("time_embed.0.weight")
		i.Weights.Set("time_embed.0.weight", swapHalves(value.(*pt.Tensor)))
	}
	return nil
}

// open returns the tensors by diffusers' names. As in diffusers, an index is read before a single file.
func (i *Imported) open(unet string) (map[string]*pt.Tensor, error) {
	i.Path = filepath.Join(unet, shardIndex)
	if _, err := os.Stat(i.Path); err == nil {
		return i.openShards(i.Path)
	}
	i.Path = filepath.Join(unet, weightsFile)
	file, err := i.mapFile(i.Path)
	if err == nil {
		tensors := map[string]*pt.Tensor{}
		for _, t := range file.Tensors {
			tensors[t.Name] = t.Tensor
		}
		return tensors, nil
	}
	old := filepath.Join(unet, "diffusion_pytorch_model.bin")
	if _, statErr := os.Stat(old); !errors.Is(err, os.ErrNotExist) || statErr != nil {
		return nil, err
	}
	i.Path, i.Files = old, []string{old}
	return readStateDict(old)
}

// readStateDict returns the tensors of a PyTorch file.
func readStateDict(path string) (map[string]*pt.Tensor, error) {
	value, err := pt.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dict, ok := value.(*pt.Dict)
	if !ok {
		return nil, fmt.Errorf("%s holds a %s, not a state_dict", path, pt.TypeName(value))
	}
	tensors := map[string]*pt.Tensor{}
	for key, value := range dict.All() {
		if t, ok := value.(*pt.Tensor); ok {
			tensors[fmt.Sprint(key)] = t
		}
	}
	return tensors, nil
}

// importer takes tensors by diffusers' names.
type importer struct {
	tensors map[string]*pt.Tensor
	taken   map[string]bool
}

func (r *importer) take(name string) *pt.Tensor {
	t := r.tensors[name]
	if t != nil {
		r.taken[name] = true
	}
	return t
}

// layer takes a weight or bias of a layer, by its present or its old name.
func (r *importer) layer(layer rename, part string) *pt.Tensor {
	if t := r.take(layer.theirs + part); t != nil || layer.old == "" {
		return t
	}
	return r.take(layer.old + part)
}

// ours returns the weights by the reference's names, in its order. The table of a learned timestep
// embedding, which has rows for so many timesteps, must be the sinusoid; 0: there is no table.
func ours(tensors map[string]*pt.Tensor, u model.UNetConfig, learnedSteps int) (*pt.Dict, error) {
	plan, err := model.Plan(u)
	if err != nil {
		return nil, err
	}
	r := &importer{tensors, map[string]bool{}}
	found := map[string]*pt.Tensor{}
	for _, m := range modules(u) {
		if err := r.module(m, found); err != nil {
			return nil, err
		}
	}
	if learnedSteps > 0 {
		if err := checkTable(r.take(timestepWeights), learnedSteps, u.ModelChannels, u.FreqShift); err != nil {
			return nil, err
		}
	}
	dict := &pt.Dict{Ordered: true}
	for _, p := range plan.Parameters() {
		if t := found[p.Name]; t != nil {
			dict.Set(p.Name, t)
		}
	}
	for name := range tensors {
		if !r.taken[name] {
			return nil, fmt.Errorf("unknown tensor %s: the network of %s has no such layer", name, configFile)
		}
	}
	return dict, plan.CheckStateDict(dict)
}

// module finds the parameters of a part of the network.
func (r *importer) module(m module, found map[string]*pt.Tensor) error {
	for _, part := range []string{".weight", ".bias"} {
		for _, layer := range m.layers() {
			t := r.layer(layer, part)
			if t == nil {
				continue
			}
			if m.kind == attention && len(t.Shape) == 2 { // a linear layer is a 1-D convolution here
				t = as(t, t.Shape[0], t.Shape[1], 1)
			}
			found[layer.ours+part] = t
		}
		if m.kind != attention {
			continue
		}
		if err := r.qkv(m, part, found); err != nil {
			return err
		}
	}
	return nil
}

// qkv joins the weights or biases of queries, keys and values.
func (r *importer) qkv(m module, part string, found map[string]*pt.Tensor) error {
	var parts [3]*pt.Tensor
	for i, layer := range m.qkv() {
		if parts[i] = r.layer(layer, part); parts[i] == nil {
			return fmt.Errorf("missing: %s%s", layer.theirs, part)
		}
	}
	joined, err := joinQKV(parts, m.heads)
	if err != nil {
		return fmt.Errorf("%s: %w", m.theirs, err)
	}
	found[m.ours+".qkv"+part] = joined
	return nil
}

// swapHalves exchanges the first and the last half of the columns of a matrix with an even number of
// columns.
func swapHalves(t *pt.Tensor) *pt.Tensor {
	swapped := &pt.Tensor{DType: t.DType, Shape: t.Shape, Data: make([]byte, 0, len(t.Data))}
	row := int(t.Shape[1] * t.DType.Size())
	for at := 0; at < len(t.Data); at += row {
		swapped.Data = append(append(swapped.Data, t.Data[at+row/2:at+row]...), t.Data[at:at+row/2]...)
	}
	return swapped
}

package inference

import (
	"slices"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/model"
	"iddpm/streams"
	"iddpm/train/engine"
)

// Model is a network with its diffusion process. Its methods run on the tensor thread
// ([gotorch.Run]); call them from one goroutine at a time. On a GPU one captured CUDA graph serves
// all batches of a size, also of later calls.
type Model struct {
	config  model.Config
	process *diffusion.GaussianDiffusion
	denoise diffusion.Denoiser // evaluates the network
	device  gotorch.Device
	group   *distributed.Group
	graphs  diffusion.GraphCache
	trained []int64 // labels among which random classes are chosen
	guides  guides  // of the captured graphs

	weights  checkpoint.Weights
	owned    *model.UNet // freed with the model; nil: the caller's
	settings gotorch.Settings
}

// guides are the networks that a captured step contains in addition to the model's own.
type guides struct {
	guide      *Model
	classifier *Classifier
}

// Options describe a network in memory.
type Options struct {
	Config    model.Config                 // of the network
	Diffusion *diffusion.GaussianDiffusion // on Device
	Dtype     gotorch.DType                // compute dtype; 0: float32
	Device    gotorch.Device               // of the weights
	Classes   []int64                      // labels among which random classes are chosen; nil: all of Config

	Group           *distributed.Group // as in [LoadOptions]
	OnCaptureFailed func(error)        // as in [LoadOptions]
	NoCUDAGraphs    bool               // run every step eagerly
}

// New returns a model that evaluates a network in memory, such as that of a training run, with the
// weights that it has at the time of each call; [model.UNet.WithWeights] calls it with EMA weights. The
// network and the diffusion stay the caller's.
func New(network *model.UNet, o Options) *Model {
	m := &Model{config: o.Config, process: o.Diffusion, device: o.Device, group: o.Group, trained: o.Classes}
	m.denoise = engine.Denoiser(network, model.Input{Dtype: o.Dtype})
	m.graphs = diffusion.GraphCache{Off: o.NoCUDAGraphs, OnCaptureFailed: o.OnCaptureFailed}
	for label := range o.Config.NumClasses {
		if o.Classes == nil {
			m.trained = append(m.trained, int64(label))
		}
	}
	return m
}

// WithProcess returns a model with the same network and weights, and another diffusion process on
// the same device, such as one of fewer timesteps. Free it before m.
func (m *Model) WithProcess(process *diffusion.GaussianDiffusion) *Model {
	return &Model{
		config: m.config, process: process, denoise: m.denoise, device: m.device, group: m.group, trained: m.trained,
		graphs:  diffusion.GraphCache{Off: m.graphs.Off, OnCaptureFailed: m.graphs.OnCaptureFailed},
		weights: m.weights, settings: m.settings,
	}
}

// Config returns the configuration of the network.
func (m *Model) Config() model.Config { return m.config }

// Diffusion returns the diffusion process.
func (m *Model) Diffusion() *diffusion.GaussianDiffusion { return m.process }

// TrainedClasses returns the labels among which random classes are chosen.
func (m *Model) TrainedClasses() []int64 { return slices.Clone(m.trained) }

// cond returns the network's condition on labels, [N].
func (m *Model) cond(labels []int64) diffusion.Cond {
	if !m.config.ClassCond {
		return diffusion.Cond{}
	}
	return diffusion.Cond{Y: gotorch.FromInt64s(labels).To(m.device)}
}

// noise returns the noise of samples first to first+count-1.
func (m *Model) noise(seed uint64, first, count int) diffusion.NoiseSource {
	size, stream := int64(m.config.ImageSize), streams.SampleNoise
	if m.config.SuperRes() {
		stream = streams.UpsampleNoise
	}
	return diffusion.NoiseSource{
		Device: m.device, Seed: seed, Stream: stream, FirstImage: int64(first),
		Shape: []int64{int64(count), int64(m.config.InChannels), size, size},
	}
}

// checkLabels refuses labels that are not classes of the network.
func (m *Model) checkLabels(labels []int64) error {
	if !m.config.ClassCond {
		return nil
	}
	return checkLabels(labels, m.config.NumClasses)
}

func checkLabels(labels []int64, numClasses int) error {
	for _, label := range labels {
		if label < 0 || label >= int64(numClasses) {
			return &ClassError{Label: label, NumClasses: numClasses}
		}
	}
	return nil
}

package train

import (
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/model"
	"iddpm/runconfig"
	"iddpm/train/engine"
)

// Bench runs the steps of a real run on one synthetic batch, without files, so that they
// can be timed.
type Bench struct {
	config  runconfig.Config
	group   *distributed.Group
	engine  *engine.Engine
	threads cpuThreads
	batch   engine.Batch
	x       gotorch.Tensor // for sampling, [N, C, H, W]

	guidance *diffusion.Guidance // of Sample; nil: none
	sampling *gotorch.Graph      // nil before Sample
	noise    gotorch.Tensor      // its input, [N, C, H, W]
	sampled  gotorch.Tensor      // its output, [N, C, H, W]

	products *benchProducts // nil before Products
}

// NewBench builds the engine of c on a device. Each process of group works on its part of
// the batch.
func NewBench(c runconfig.Config, device gotorch.Device, group *distributed.Group) (*Bench, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := &Bench{config: c, group: group}
	size, n := int64(c.Model.ImageSize), int64(c.Train.BatchSize/group.Size())
	b.batch = engine.Batch{Pixels: make([]byte, n*size*size*int64(c.Model.InChannels))}
	for i := range b.batch.Pixels {
		b.batch.Pixels[i] = byte(i * 37)
	}
	if c.Model.ClassCond {
		b.batch.Labels = make([]int64, n)
	}
	return b, b.onTensorThread(func() (err error) {
		if err := resolve(&b.config, device, group, false, zap.NewNop()); err != nil {
			return err
		}
		b.x = gotorch.PhiloxNormal(device, gotorch.Float, gotorch.PhiloxKey{}, n, int64(c.Model.InChannels), size, size)
		chooseThreads(&b.config.Train, device, group, true)
		if b.engine, err = engine.New(engineOptions(b.config, device, group)); err != nil {
			return err
		}
		return b.engine.Broadcast()
	})
}

func (b *Bench) onTensorThread(f func() error) error {
	if err := gotorch.LoadLibrary(); err != nil {
		return err
	}
	return b.group.OnTensorThread(f)
}

// Train runs one optimizer step and returns its mean loss. Reading that waits for the
// device.
func (b *Bench) Train() (loss float64, err error) {
	err = b.onTensorThread(func() error {
		b.threads.adapt(b.engine.CurrentStep())
		r, err := b.engine.Step(b.batch)
		if err != nil {
			return err
		}
		defer r.Free()
		loss = r.Loss()
		return b.engine.CaptureErr() // do not time eager execution as a CUDA graph
	})
	return loss, err
}

// Guide makes Sample's steps guided by the null class with a scale. It is for networks with a null
// class, before the first step.
func (b *Bench) Guide(scale float64) {
	b.guidance = &diffusion.Guidance{Scale: scale, NullClass: int64(b.config.Model.NumClasses)}
}

// Sample runs one step of the ancestral sampler at timestep T/2, as
// [diffusion.GaussianDiffusion.SampleLoop] does, without waiting for the device.
func (b *Bench) Sample() error {
	return b.onTensorThread(func() error {
		b.threads.adapt(b.engine.CurrentStep())
		if b.sampling == nil {
			b.engine.UNet().Freeze(b.engine.Dtype())
			b.sampled, b.noise = b.x.Clone(), b.x.Clone()
			b.sampling = b.engine.NewGraph(b.sample)
		}
		gotorch.Scope(func() {
			noise := diffusion.NoiseSource{Device: b.x.Device(), Shape: b.x.Shape()}
			b.noise.CopyI(noise.At(b.engine.Diffusion().NumTimesteps() / 2))
		})
		gotorch.NoGrad(b.sampling.Run)
		return b.sampling.Err()
	})
}

// sample is a sampling step, as captured on a GPU.
func (b *Bench) sample() {
	gotorch.Scope(func() {
		process := b.engine.Diffusion()
		denoise := engine.Denoiser(b.engine.UNet(), model.Input{Dtype: b.engine.Dtype()})
		if b.guidance != nil {
			denoise = b.guidance.Denoiser(denoise)
		}
		n := b.x.Size(0)
		step := process.AtStep(process.NumTimesteps()/2, n)
		var y gotorch.Tensor
		if b.config.Model.ClassCond {
			y = gotorch.ZerosOn(b.x.Device(), gotorch.Long, n)
		}
		next, _ := process.PSample(denoise, b.x, step, b.noise, b.engine.Cond(b.x, y), true)
		b.sampled.CopyI(next)
	})
}

// Products runs only the convolutions and matrix multiplications of a training step,
// forward and backward, without waiting for the device. The first call makes their tensors.
func (b *Bench) Products() error {
	return b.onTensorThread(func() error {
		if b.products == nil {
			b.products = newBenchProducts(b.engine)
		}
		b.products.graph.Run()
		return b.products.graph.Err()
	})
}

// StepFLOPs returns the floating-point operations of a training step's convolutions and
// matrix multiplications, in the unfused network.
func (b *Bench) StepFLOPs() (total int64) {
	c := b.Config()
	for _, p := range b.Network().Products(c.Train.BatchSize, c.Model.ImageSize) {
		total += 2 * p.TrainingMACs()
	}
	return total
}

// Settings returns the process-wide settings with which a run would train: see
// [Trainer.Settings].
func (b *Bench) Settings() gotorch.Settings {
	s := b.engine.Settings()
	s.Threads = b.config.Train.Threads
	return s
}

// AdaptThreads lets the following steps lower libtorch's number of threads as a run does that
// has [Run].AdaptThreads.
func (b *Bench) AdaptThreads() {
	b.threads.start(b.x.Device(), !b.config.Train.AdaptThreads, zap.NewNop())
}

// Network returns the network that is timed.
func (b *Bench) Network() *model.UNet { return b.engine.UNet() }

// Config returns the configuration with "auto" resolved.
func (b *Bench) Config() runconfig.Config { return b.config }

// Close frees the tensors.
func (b *Bench) Close() error {
	return gotorch.Try(func() { gotorch.Run(b.free) })
}

func (b *Bench) free() {
	b.sampling.Close()
	for _, x := range []gotorch.Tensor{b.x, b.noise, b.sampled} {
		x.Free()
	}
	if b.products != nil {
		b.products.free()
	}
	if b.engine != nil && !b.group.Lost() {
		b.engine.Close()
	}
}

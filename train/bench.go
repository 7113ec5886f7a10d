package train

import (
	"errors"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/model"
)

// Bench runs the steps of a real run on one synthetic batch, without files, so that they
// can be timed.
type Bench struct {
	trainer *Trainer
	batch   data.Batch
	x       gotorch.Tensor // for sampling, [N, C, H, W]

	sampling *gotorch.Graph // nil before Sample
	noise    gotorch.Tensor // its input, [N, C, H, W]
	sampled  gotorch.Tensor // its output, [N, C, H, W]

	products *benchProducts // nil before Products
}

// NewBench builds the network, the optimizer and the EMA weights of c on a device. Each
// process of group works on its part of the batch.
func NewBench(c Config, device gotorch.Device, group *distributed.Group) (*Bench, error) {
	if err := errors.Join(c.Validate(), c.Train.CheckParts(group.Size())); err != nil {
		return nil, err
	}
	t := &Trainer{config: c, run: Run{Device: device}, log: zap.NewNop(), device: device, group: group}
	b := &Bench{trainer: t}
	size := int64(c.Model.ImageSize)
	b.batch = data.Batch{Pixels: make([]byte, int64(t.localBatch())*size*size*int64(c.Model.InChannels))}
	for i := range b.batch.Pixels {
		b.batch.Pixels[i] = byte(i * 37)
	}
	if c.Model.ClassCond {
		b.batch.Labels = make([]int64, t.localBatch())
	}
	err := t.onTensorThread(func() error {
		b.x = gotorch.PhiloxNormal(device, gotorch.Float, gotorch.PhiloxKey{}, int64(t.localBatch()), int64(c.Model.InChannels), size, size)
		if err := t.build(nil); err != nil {
			return err
		}
		return t.broadcastState()
	})
	return b, err
}

// Train runs one optimizer step and returns its mean loss. Reading that waits for the
// device.
func (b *Bench) Train() (loss float64, err error) {
	err = b.trainer.onTensorThread(func() error {
		b.trainer.adaptThreads()
		r, err := b.trainer.step(b.batch)
		for _, v := range r.values().loss {
			loss += v / float64(len(r.timesteps))
		}
		r.free()
		return errors.Join(err, b.trainer.work.graph.Err()) // do not time eager execution as a CUDA graph
	})
	return loss, err
}

// Sample runs one step of the ancestral sampler at timestep T/2, as
// [diffusion.GaussianDiffusion.SampleLoop] does, without waiting for the device.
func (b *Bench) Sample() error {
	return b.trainer.onTensorThread(func() error {
		b.trainer.adaptThreads()
		if b.sampling == nil {
			b.trainer.network.Freeze(b.trainer.precision.dtype)
			b.sampled, b.noise = b.x.Clone(), b.x.Clone()
			b.sampling = b.trainer.newGraph(b.sample)
		}
		gotorch.Scope(func() {
			noise := diffusion.NoiseSource{Device: b.trainer.device, Shape: b.x.Shape()}
			b.noise.CopyI(noise.At(b.trainer.diffusion.NumTimesteps() / 2))
		})
		gotorch.NoGrad(b.sampling.Run)
		return b.sampling.Err()
	})
}

// sample is a sampling step, as captured on a GPU.
func (b *Bench) sample() {
	t := b.trainer
	gotorch.Scope(func() {
		denoise := Denoiser(t.network, model.Input{Dtype: t.precision.dtype})
		n := b.x.Size(0)
		step := t.diffusion.AtStep(t.diffusion.NumTimesteps()/2, n)
		var y gotorch.Tensor
		if t.config.Model.ClassCond {
			y = gotorch.ZerosOn(t.device, gotorch.Long, n)
		}
		next, _ := t.diffusion.PSample(denoise, b.x, step, b.noise, t.cond(b.x, y), true)
		b.sampled.CopyI(next)
	})
}

// Products runs only the convolutions and matrix multiplications of a training step,
// forward and backward, without waiting for the device. The first call makes their tensors.
func (b *Bench) Products() error {
	return b.trainer.onTensorThread(func() error {
		if b.products == nil {
			b.products = newBenchProducts(b.trainer)
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

// Network returns the network that is timed.
func (b *Bench) Network() *model.UNet { return b.trainer.network }

// Config returns the configuration with "auto" resolved.
func (b *Bench) Config() Config { return b.trainer.config }

// Close frees the tensors.
func (b *Bench) Close() error {
	gotorch.Run(b.sampling.Close)
	b.x.Free()
	b.noise.Free()
	b.sampled.Free()
	if b.products != nil {
		b.products.free()
	}
	return b.trainer.Close()
}

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

// Bench takes the steps of a real run on one made-up batch, without files: what
// remains is what there is to time.
type Bench struct {
	trainer *Trainer
	batch   data.Batch
	x       gotorch.Tensor // for sampling, [N, C, H, W]

	sampling *gotorch.Graph // nil before Sample
	noise    gotorch.Tensor // for it, [N, C, H, W]
	drawn    gotorch.Tensor // by it, [N, C, H, W]

	products *benchProducts // nil before Products
}

// NewBench builds a run's network, optimizer and averages on a device. Of several
// processes each works on its share of the batch.
func NewBench(c Config, device gotorch.Device, group *distributed.Group) (*Bench, error) {
	if err := errors.Join(c.Validate(), c.Train.CheckParts(group.Size())); err != nil {
		return nil, err
	}
	t := &Trainer{config: c, run: Run{Device: device}, log: zap.NewNop(), device: device, group: group}
	b := &Bench{trainer: t}
	size := int64(c.Model.ImageSize)
	b.batch = data.Batch{Pixels: make([]byte, int64(t.share())*size*size*int64(c.Model.InChannels))}
	for i := range b.batch.Pixels {
		b.batch.Pixels[i] = byte(i * 37)
	}
	if c.Model.ClassCond {
		b.batch.Labels = make([]int64, t.share())
	}
	err := t.onTensorThread(func() error {
		b.x = gotorch.PhiloxNormal(device, gotorch.Float, gotorch.PhiloxKey{}, int64(t.share()), int64(c.Model.InChannels), size, size)
		if err := t.build(nil); err != nil {
			return err
		}
		return t.broadcastState()
	})
	return b, err
}

// Train takes one optimizer step and returns its loss: reading it waits for the
// device.
func (b *Bench) Train() (loss float64, err error) {
	err = b.trainer.onTensorThread(func() error {
		b.trainer.adaptThreads()
		r, err := b.trainer.step(b.batch)
		for _, v := range r.values().loss {
			loss += v / float64(len(r.timesteps))
		}
		r.free()
		return errors.Join(err, b.trainer.work.graph.Err()) // what is timed shall be what is said
	})
	return loss, err
}

// Sample takes one step of the ancestral sampler in the middle of the process, as
// [diffusion.GaussianDiffusion.SampleLoop] does, without waiting for the device.
func (b *Bench) Sample() error {
	return b.trainer.onTensorThread(func() error {
		b.trainer.adaptThreads()
		if b.sampling == nil {
			b.trainer.network.Freeze(b.trainer.precision.dtype)
			b.drawn, b.noise = b.x.Clone(), b.x.Clone()
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

// sample is the work of a sampling step.
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
		b.drawn.CopyI(next)
	})
}

// Products computes the convolutions and matrix products of a training step
// alone, their gradients included, without waiting for the device. The first call
// makes their tensors.
func (b *Bench) Products() error {
	return b.trainer.onTensorThread(func() error {
		if b.products == nil {
			b.products = newBenchProducts(b.trainer)
		}
		b.products.graph.Run()
		return b.products.graph.Err()
	})
}

// StepFLOPs returns the floating-point operations of a training step's
// convolutions and matrix products, in the network's plain form.
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
	b.drawn.Free()
	if b.products != nil {
		b.products.free()
	}
	return b.trainer.Close()
}

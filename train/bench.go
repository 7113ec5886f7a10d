package train

import (
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/model"
)

// Bench takes the steps of a real run on one made-up batch, without files: what
// remains is what there is to time.
type Bench struct {
	trainer *Trainer
	batch   data.Batch
	x       gotorch.Tensor // for sampling, [N, C, H, W]
	frozen  bool           // the network has been frozen for sampling

	products *benchProducts // nil before Products
}

// NewBench builds a run's network, optimizer and averages on a device.
func NewBench(c Config, device gotorch.Device) (*Bench, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := &Trainer{config: c, run: Run{Device: device}, log: zap.NewNop(), device: device}
	b := &Bench{trainer: t}
	size := int64(c.Model.ImageSize)
	b.batch = data.Batch{Pixels: make([]byte, int64(c.Train.BatchSize)*size*size*int64(c.Model.InChannels))}
	for i := range b.batch.Pixels {
		b.batch.Pixels[i] = byte(i * 37)
	}
	if c.Model.ClassCond {
		b.batch.Labels = make([]int64, c.Train.BatchSize)
	}
	err := t.onTensorThread(func() error {
		b.x = gotorch.PhiloxNormal(device, gotorch.Float, gotorch.PhiloxKey{}, int64(c.Train.BatchSize), int64(c.Model.InChannels), size, size)
		return t.build(nil)
	})
	return b, err
}

// Train takes one optimizer step and returns its loss: reading it waits for the
// device.
func (b *Bench) Train() (loss float64, err error) {
	err = b.trainer.onTensorThread(func() error {
		r, err := b.trainer.step(b.batch)
		for _, v := range r.values().loss {
			loss += v / float64(len(r.timesteps))
		}
		r.free()
		return err
	})
	return loss, err
}

// Sample takes one step of the ancestral sampler in the middle of the process.
func (b *Bench) Sample() error {
	t := b.trainer
	return t.onTensorThread(func() error {
		if !b.frozen {
			t.network.Freeze(t.precision.dtype)
			b.frozen = true
		}
		gotorch.NoGrad(func() {
			gotorch.Scope(func() {
				denoise := func(x, ts gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
					return t.network.Forward(x, ts, model.Input{Y: cond.Y, LowRes: cond.LowRes, Dtype: t.precision.dtype})
				}
				n := int64(t.config.Train.BatchSize)
				noise := gotorch.PhiloxNormal(t.device, gotorch.Float, gotorch.PhiloxKey{}, b.x.Shape()...)
				var y gotorch.Tensor
				if t.config.Model.ClassCond {
					y = gotorch.ZerosOn(t.device, gotorch.Long, n)
				}
				cond := t.cond(b.x, y)
				out, _ := t.diffusion.PSample(denoise, b.x, t.diffusion.AtStep(t.diffusion.NumTimesteps()/2, n), noise, cond, true)
				out.Sum().Float64()
			})
		})
		return nil
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
		b.products.run()
		return nil
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
	b.x.Free()
	if b.products != nil {
		b.products.free()
	}
	return b.trainer.Close()
}

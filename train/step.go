package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/model"
)

// The streams of random numbers that a step draws from; the network's dropout
// masks have streams of their own above these.
const (
	streamTimestep = iota + 1
	streamNoise
)

// stepResult is what one step leaves behind for the metrics: device tensors,
// read when a line of metrics is due.
type stepResult struct {
	timesteps     []int64          // [N]
	weights       []float64        // [N], of importance sampling
	loss, mse, vb []gotorch.Tensor // [n] per microbatch, unweighted; mse and vb are empty where the objective has none
	gradNorm      gotorch.Tensor
	bad           gotorch.Tensor // 1: the loss or the gradient was not finite, and the step was skipped; else 0
	noise         noiseNorms     // with Options.GradientNoise
}

// step takes one optimizer step on a batch.
func (t *Trainer) step(batch data.Batch) (r stepResult, err error) {
	gotorch.Scope(func() {
		x, y := t.upload(batch)
		r.timesteps, r.weights = t.drawTimesteps(int(x.Size(0)))
		t.optimizer.ZeroGrad()
		whole := microbatch{x: x, y: y, timesteps: r.timesteps, weights: r.weights}
		noise := gradNoise{params: t.network.Tensors()}
		for first := 0; first < len(r.timesteps); first += t.config.Train.microbatch() {
			part := whole.slice(first, t.config.Train.microbatch())
			t.backward(&r, part)
			if t.config.Train.GradientNoise {
				noise.take(len(part.timesteps))
			}
		}
		if t.config.Train.GradientNoise {
			r.noise = noise.giveBack()
		}
		t.unscale(&r)
		r.gradNorm = gotorch.ClipGradNorm(t.gradients(), t.config.Train.GradClip).MoveOut()
		t.update(&r)
	})
	t.current++
	t.position = batch.Position + int64(len(r.timesteps))
	return r, t.observeLosses(r)
}

// upload turns bytes [N, H, W, C] into x in [-1, 1], [N, C, H, W] in
// channels-last memory, and labels [N].
func (t *Trainer) upload(batch data.Batch) (x, y gotorch.Tensor) {
	size := int64(t.config.Model.ImageSize)
	channels := int64(t.config.Model.InChannels)
	n := int64(len(batch.Pixels)) / (size * size * channels)
	bytes := t.send(gotorch.FromBytes(batch.Pixels, gotorch.Byte, n, size, size, channels))
	halfRange := gotorch.FullOn(t.device, gotorch.Float, 127.5)
	x = bytes.CastTo(gotorch.Float).DivI(halfRange).AddScalarI(-1).Permute([]int64{0, 3, 1, 2})
	if t.config.Model.ClassCond {
		y = t.send(gotorch.FromInt64s(batch.Labels))
	}
	return x, y
}

// send copies host memory to the device. A GPU's copy comes after all that it was
// given before, and the host does not wait for it.
func (t *Trainer) send(host gotorch.Tensor) gotorch.Tensor {
	if t.device.Type != gotorch.CUDA {
		return host
	}
	return host.PinMemory().CUDA(t.device, true)
}

// drawTimesteps draws t and its importance weight for each of n samples from
// (seed, step, index) alone.
func (t *Trainer) drawTimesteps(n int) ([]int64, []float64) {
	u := gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, t.key(streamTimestep, 0), int64(n))
	return t.sampler.Sample(u.Float64s())
}

// key names the random numbers of one purpose in this step, from the sample
// with index first in the global batch on.
func (t *Trainer) key(stream uint32, first int) gotorch.PhiloxKey {
	return gotorch.PhiloxKey{Seed: t.seed(), Stream: stream, Step: uint32(t.current), FirstSample: int64(first)}
}

// microbatch is a part of the global batch.
type microbatch struct {
	first     int // index of its first sample in the global batch
	total     int // samples in the global batch
	x, y      gotorch.Tensor
	timesteps []int64
	weights   []float64
}

func (m microbatch) slice(first, size int) microbatch {
	total := len(m.timesteps)
	size = min(size, total-first)
	part := microbatch{first: first, total: total, timesteps: m.timesteps[first : first+size], weights: m.weights[first : first+size]}
	part.x = m.x.Narrow(0, int64(first), int64(size))
	if m.y.Defined() {
		part.y = m.y.Narrow(0, int64(first), int64(size))
	}
	return part
}

// backward adds the gradient of one microbatch's share of the global mean.
func (t *Trainer) backward(r *stepResult, m microbatch) {
	gotorch.Scope(func() {
		pass := t.newPass(m.first)
		losses := t.losses(m, pass.denoise)
		weights := t.send(gotorch.FromFloat64s(m.weights).CastTo(gotorch.Float))
		losses.Loss.Mul(weights).Sum().MulScalar(t.lossScale() / float64(m.total)).Backward()
		pass.tape.Backward()
		r.loss = keep(r.loss, losses.Loss)
		r.mse = keep(r.mse, losses.MSE)
		r.vb = keep(r.vb, losses.VB)
	})
}

// losses draws the noise of a microbatch and takes its losses.
func (t *Trainer) losses(m microbatch, denoise diffusion.Denoiser) diffusion.Losses {
	noise := gotorch.PhiloxNormal(t.device, gotorch.Float, t.key(streamNoise, m.first), m.x.Shape()...)
	return t.diffusion.TrainingLosses(denoise, m.x, t.diffusion.At(m.timesteps), noise, t.cond(m.x, m.y))
}

// cond returns what the network is told of pictures x beside their timesteps.
func (t *Trainer) cond(x, y gotorch.Tensor) diffusion.Cond {
	return diffusion.Cond{Y: y, LowRes: t.config.Model.LowRes(x)}
}

// keep appends a metric, if there is one, out of the microbatch's scope and the
// step's.
func keep(list []gotorch.Tensor, x gotorch.Tensor) []gotorch.Tensor {
	if !x.Defined() {
		return list
	}
	return append(list, x.Detach().MoveOut().MoveOut())
}

// pass is one evaluation of the network within a step.
type pass struct {
	denoise diffusion.Denoiser
	tape    *model.Tape // nil without gradient checkpointing
}

func (t *Trainer) newPass(first int) pass {
	var p pass
	if t.config.Model.UseCheckpoint {
		p.tape = new(model.Tape)
	}
	dropout := t.key(0, first)
	p.denoise = func(x, ts gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
		return t.network.Forward(x, ts, model.Input{Y: cond.Y, LowRes: cond.LowRes, Dtype: t.precision.dtype, Dropout: &dropout, Tape: p.tape})
	}
	return p
}

func (t *Trainer) gradients() []gotorch.Tensor {
	params := t.network.Tensors()
	grads := make([]gotorch.Tensor, 0, len(params))
	for _, p := range params {
		if g := p.Grad(); g.Defined() {
			grads = append(grads, g)
		}
	}
	return grads
}

// observeLosses lets a loss-aware timestep sampler learn from this step. Only
// that sampler waits for the device here.
func (t *Trainer) observeLosses(r stepResult) error {
	if !t.sampler.LossAware() || r.bad.Float64() != 0 {
		return nil
	}
	return t.sampler.Update(r.timesteps, concat(r.loss))
}

package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/streams"
)

// stepInputs are the inputs of a step on the device, as the step uses them.
type stepInputs struct {
	whole                       microbatch
	step                        gotorch.Tensor   // int64 [1]
	lr, gradScale, invLossScale gotorch.Tensor   // float64, float32, float32 []
	emaLimit                    gotorch.Tensor   // float64 []
	powerUpdates                []gotorch.Tensor // per power-function EMA, float32 []
}

// microbatch is a part of the global batch, on the device.
type microbatch struct {
	first     int            // index of its first sample in the global batch
	x, y      gotorch.Tensor // images [n, C, H, W] and labels [n]
	timesteps gotorch.Tensor // int64 [n]
	weights   gotorch.Tensor // float32 [n], of importance sampling
}

// split divides m into microbatches of a size; the last may be smaller.
func (m microbatch) split(size int) (parts []microbatch) {
	total := int(m.x.Size(0))
	for first := 0; first < total; first += size {
		n := min(size, total-first)
		cut := func(x gotorch.Tensor) gotorch.Tensor {
			if !x.Defined() {
				return x
			}
			return x.Narrow(0, int64(first), int64(n))
		}
		parts = append(parts, microbatch{first: m.first + first, x: cut(m.x), y: cut(m.y), timesteps: cut(m.timesteps), weights: cut(m.weights)})
	}
	return parts
}

// backwardAll computes the gradient of the mean loss over the global batch. If that is one
// microbatch of one process, the gradient is in the network's compute dtype, else float32.
func (c *core) backwardAll(in stepInputs, out *stepOutputs) {
	microbatches := in.whole.split(c.options.Microbatch)
	last := len(microbatches) - 1
	if !c.accumulatesGradients(len(microbatches)) {
		for _, m := range microbatches {
			c.backward(in, m, out, nil)
		}
		return
	}
	sum := c.newGradientSum()
	defer sum.free()
	for k, m := range microbatches {
		if k == last && c.overlapsAllReduce() {
			c.backward(in, m, out, sum.reduceReady)
			continue
		}
		c.backward(in, m, out, nil)
		if c.options.GradientNoise {
			out.noise = append(out.noise, gotorch.TotalNorm(c.optimizer.Gradients()))
		}
		sum.accumulate()
	}
	sum.finish()
}

// accumulatesGradients reports whether a gradientSum accumulates the gradients. Autograd's
// own accumulation needs less memory, but adds in the working weights' dtype.
func (c *core) accumulatesGradients(microbatches int) bool {
	return c.options.Group.Size() > 1 || c.options.GradientNoise || microbatches > 1 && len(c.working) > 0
}

// overlapsAllReduce reports whether the all-reduce overlaps with the backward pass: not if
// the norm of a whole microbatch's gradient is measured, and not in float16, which casts all
// weights at once.
func (c *core) overlapsAllReduce() bool {
	return c.options.Group.Size() > 1 && !c.options.GradientNoise && c.precision.Dtype != gotorch.Half
}

// backward adds the gradient of one microbatch's term of the global mean. onSegmentDone, if
// not nil, is called after every segment of the backward pass; see [model.Segments.Backward].
func (c *core) backward(in stepInputs, m microbatch, out *stepOutputs, onSegmentDone func()) {
	gotorch.Scope(func() {
		pass := c.newPass(in, m, onSegmentDone != nil)
		losses := c.losses(in, m, pass)
		losses.Loss.Mul(m.weights).Sum().Mul(in.gradScale).Backward()
		if onSegmentDone != nil {
			onSegmentDone()
		}
		pass.Segments.Backward(onSegmentDone)
		out.loss = keep(out.loss, losses.Loss)
		out.mse = keep(out.mse, losses.MSE)
		out.vb = keep(out.vb, losses.VB)
		out.top1 = keep(out.top1, losses.top1)
		out.top5 = keep(out.top5, losses.top5)
	})
}

// losses draws the noise of a microbatch and returns its losses.
func (c *core) losses(in stepInputs, m microbatch, input model.Input) losses {
	switch network := c.network.(type) {
	case *model.Classifier:
		return c.classify(network, in, m, input)
	case *model.UNet:
		t := c.diffusion.AtTensor(m.timesteps, nil)
		return losses{Losses: c.diffusion.DrawTrainingLosses(Denoiser(network, input), m.x, t, c.key(in, m, streams.TrainingNoise), c.Cond(m.x, m.y))}
	}
	panic("engine: network of another type")
}

// classify returns the cross-entropy of a classifier at x_t, or at clean images and t = 0, and its
// accuracies (Dhariwal & Nichol 2021, section 4).
func (c *core) classify(network *model.Classifier, in stepInputs, m microbatch, input model.Input) losses {
	x, t := m.x, c.diffusion.AtTensor(m.timesteps, nil)
	if !c.options.CleanImages {
		x = c.diffusion.DrawQSample(x, t, c.key(in, m, streams.TrainingNoise))
	}
	return classify(network, x, t, m.y, input)
}

// key returns the Philox key of a stream for a microbatch of this step.
func (c *core) key(in stepInputs, m microbatch, stream uint32) gotorch.PhiloxKey {
	return gotorch.PhiloxKey{Seed: c.seed(), Stream: stream, StepOf: in.step, FirstSample: int64(m.first)}
}

// Cond returns the conditioning of images x: labels y, and low-resolution images for
// super-resolution.
func (c *core) Cond(x, y gotorch.Tensor) diffusion.Cond {
	return diffusion.Cond{Y: y, LowRes: c.options.Model.LowRes(x)}
}

// keep appends a metric, if defined, moved out of the microbatch's scope.
func keep(list []gotorch.Tensor, x gotorch.Tensor) []gotorch.Tensor {
	if !x.Defined() {
		return list
	}
	return append(list, x.Detach().MoveOut())
}

// newPass returns the inputs of a forward and backward pass. inParts divides the backward pass
// into segments.
func (c *core) newPass(in stepInputs, m microbatch, inParts bool) model.Input {
	dropout := c.key(in, m, 0)
	input := model.Input{Dtype: c.precision.Dtype, Dropout: &dropout, WorkingWeights: c.working}
	if c.options.Model.UseCheckpoint || inParts {
		input.Segments = &model.Segments{RetainGraph: !c.options.Model.UseCheckpoint}
	}
	return input
}

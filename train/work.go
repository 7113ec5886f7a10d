package train

import (
	"maps"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/streams"
)

// stepWork is the device's part of an optimizer step, as a [gotorch.Graph] captures it: its
// inputs and results are the same tensors at every step.
type stepWork struct {
	t     *Trainer
	graph *gotorch.Graph

	pixels  gotorch.Tensor // uint8 [N, H, W, C]
	numbers gotorch.Tensor // float64, see write
	results gotorch.Tensor // float32, as layout says
	layout  resultLayout

	working map[*model.Parameter]gotorch.Tensor // see makeWorkingWeights

	updates bool // the step has started to update the weights: it must not be repeated
}

// The layout of numbers: three rows of N numbers, one per image, and then these.
const (
	numberStep         = iota
	numberLR           // learning rate
	numberGradScale    // factor of the sum of the losses: loss scale / batch size
	numberInvLossScale // 1 / loss scale, which unscales the gradient
	numbersPerStep     // their count
)

func (t *Trainer) newStepWork() *stepWork {
	w := &stepWork{t: t}
	n, size, channels := int64(t.localBatch()), int64(t.config.Model.ImageSize), int64(t.config.Model.InChannels)
	w.pixels = gotorch.EmptyOn(t.device, gotorch.Byte, n, size, size, channels)
	w.numbers = gotorch.EmptyOn(t.device, gotorch.Double, 3*n+numbersPerStep)
	w.graph = t.newGraph(w.run)
	w.graph.OnCaptureFailed = func(err error) {
		t.log.Warn("CUDA graph capture failed: falling back to eager execution, which is slower", zap.Error(err))
	}
	if t.group != nil {
		w.graph.Agree = t.group.SyncError
	}
	w.graph.BeforeCapture = t.optimizer.ZeroGrad // frees the eager step's gradients: the captured step has its own
	return w
}

// newGraph returns a graph of work, which a GPU captures unless CUDA graphs are disabled.
func (t *Trainer) newGraph(work func()) *gotorch.Graph {
	g := gotorch.NewGraph(t.device, work)
	g.Eager = t.config.Train.NoCUDAGraphs
	return g
}

func (w *stepWork) free() {
	w.graph.Close()
	for _, x := range slices.AppendSeq([]gotorch.Tensor{w.pixels, w.numbers, w.results}, maps.Values(w.working)) {
		x.Free()
	}
}

// makeWorkingWeights makes the bfloat16 working weights, once the master weights are
// loaded. The network computes with them and the optimizer updates them, so that a step
// casts no weights. Gradients are cast when they are accumulated. In float16 each forward
// pass casts the weights.
func (w *stepWork) makeWorkingWeights() {
	if !w.t.precision.hasWorkingWeights() {
		return
	}
	w.working = w.t.network.WorkingWeights(w.t.precision.dtype)
	list := make([]gotorch.Tensor, 0, len(w.t.network.Parameters()))
	for _, p := range w.t.network.Parameters() {
		list = append(list, w.working[p])
	}
	w.t.optimizer.SetWorkingWeights(list)
}

// write copies this rank's images, timesteps and the step's scalars to the device, without
// waiting for it.
func (w *stepWork) write(batch data.Batch, timesteps []int64, weights []float64) {
	t, n := w.t, len(timesteps)
	numbers := make([]float64, 3*n+numbersPerStep)
	for i := range timesteps {
		numbers[i], numbers[n+i] = float64(timesteps[i]), weights[i]
	}
	for i, label := range batch.Labels {
		numbers[2*n+i] = float64(label)
	}
	copy(numbers[3*n:], []float64{
		numberStep: float64(t.current), numberLR: t.config.Train.LearningRate(t.current),
		numberGradScale: t.lossScale() / float64(t.config.Train.BatchSize), numberInvLossScale: 1 / t.lossScale(),
	})
	w.pixels.CopyI(t.pinned(gotorch.FromBytes(batch.Pixels, gotorch.Byte, w.pixels.Shape()...)), true)
	w.numbers.CopyI(t.pinned(gotorch.FromFloat64s(numbers)), true)
}

// pinned returns page-locked host memory, which a GPU copies asynchronously.
func (t *Trainer) pinned(host gotorch.Tensor) gotorch.Tensor {
	if t.device.Type != gotorch.CUDA {
		return host
	}
	return host.PinMemory()
}

// stepInputs are the inputs of a step on the device, as the step uses them.
type stepInputs struct {
	whole                       microbatch
	step                        gotorch.Tensor // int64 [1]
	lr, gradScale, invLossScale gotorch.Tensor // float64, float32, float32 []
}

func (w *stepWork) inputs() (in stepInputs) {
	n := w.pixels.Size(0)
	row := func(i int64, dtype int8) gotorch.Tensor { return w.numbers.Narrow(0, i*n, n).CastTo(dtype) }
	number := func(i int64) gotorch.Tensor { return w.numbers.Select(0, 3*n+i) }
	in.step = number(numberStep).CastTo(gotorch.Long)
	in.lr, in.gradScale, in.invLossScale = number(numberLR), number(numberGradScale).CastTo(gotorch.Float), number(numberInvLossScale).CastTo(gotorch.Float)
	in.whole = microbatch{first: w.t.first(), x: PixelsToTensor(w.pixels), timesteps: row(0, gotorch.Long), weights: row(1, gotorch.Float)}
	if w.t.config.Model.ClassCond {
		in.whole.y = row(2, gotorch.Long)
	}
	return in
}

// run is the work of a step: forward and backward pass, clipping, AdamW and EMA.
func (w *stepWork) run() {
	t, out := w.t, new(stepOutputs)
	w.updates = false
	gotorch.Scope(func() {
		in := w.inputs()
		t.optimizer.ZeroGrad()
		t.backwardAll(in, out)
		gradients := t.optimizer.Gradients()
		out.gather(t.group)
		if t.precision.dtype == gotorch.Half {
			gotorch.ForeachMulI(gradients, in.invLossScale)
			gotorch.ForeachMulI(out.noise, in.invLossScale)
		}
		out.gradNorm = gotorch.TotalNorm(gradients)
		if clip := t.config.Train.GradClip; clip > 0 {
			t.optimizer.SetGradScale(gotorch.ClipCoefficient(out.gradNorm, clip))
		}
		out.nonFinite = nonFinite(out)
		if !t.phase.beginUpdate() {
			return
		}
		t.optimizer.SetLRFrom(in.lr)
		w.updates = true
		t.optimizer.StepUnless(out.nonFinite)
		w.results.Free()
		w.results, w.layout = out.pack()
	})
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
func (t *Trainer) backwardAll(in stepInputs, out *stepOutputs) {
	microbatches := in.whole.split(t.config.Train.microbatch())
	last := len(microbatches) - 1
	if !t.accumulatesGradients(len(microbatches)) {
		for _, m := range microbatches {
			t.backward(in, m, out, nil)
		}
		return
	}
	sum := t.newGradientSum()
	defer sum.free()
	for k, m := range microbatches {
		if k == last && t.overlapsAllReduce() {
			t.backward(in, m, out, sum.reduceReady)
			continue
		}
		t.backward(in, m, out, nil)
		if t.config.Train.GradientNoise {
			out.noise = append(out.noise, gotorch.TotalNorm(t.optimizer.Gradients()))
		}
		sum.accumulate()
	}
	sum.finish()
}

// accumulatesGradients reports whether a gradientSum accumulates the gradients. Autograd's
// own accumulation needs less memory, but adds in the working weights' dtype.
func (t *Trainer) accumulatesGradients(microbatches int) bool {
	return t.group.Size() > 1 || t.config.Train.GradientNoise || microbatches > 1 && len(t.work.working) > 0
}

// overlapsAllReduce reports whether the all-reduce overlaps with the backward pass: not if
// the norm of a whole microbatch's gradient is measured, and not in float16, which casts all
// weights at once.
func (t *Trainer) overlapsAllReduce() bool {
	return t.group.Size() > 1 && !t.config.Train.GradientNoise && t.precision.dtype != gotorch.Half
}

// backward adds the gradient of one microbatch's term of the global mean. onSegmentDone, if
// not nil, is called after every segment of the backward pass; see [model.Segments.Backward].
func (t *Trainer) backward(in stepInputs, m microbatch, out *stepOutputs, onSegmentDone func()) {
	gotorch.Scope(func() {
		pass := t.newPass(in, m, onSegmentDone != nil)
		losses := t.losses(in, m, pass.denoise)
		losses.Loss.Mul(m.weights).Sum().Mul(in.gradScale).Backward()
		if onSegmentDone != nil {
			onSegmentDone()
		}
		pass.segments.Backward(onSegmentDone)
		out.loss = keep(out.loss, losses.Loss)
		out.mse = keep(out.mse, losses.MSE)
		out.vb = keep(out.vb, losses.VB)
	})
}

// losses draws the noise of a microbatch and returns its losses.
func (t *Trainer) losses(in stepInputs, m microbatch, denoise diffusion.Denoiser) diffusion.Losses {
	return t.diffusion.DrawTrainingLosses(denoise, m.x, t.diffusion.AtTensor(m.timesteps, nil), t.key(in, m, streams.TrainingNoise), t.cond(m.x, m.y))
}

// key returns the Philox key of a stream for a microbatch of this step.
func (t *Trainer) key(in stepInputs, m microbatch, stream uint32) gotorch.PhiloxKey {
	return gotorch.PhiloxKey{Seed: t.seed(), Stream: stream, StepOf: in.step, FirstSample: int64(m.first)}
}

// cond returns the conditioning of images x: labels y, and low-resolution images for
// super-resolution.
func (t *Trainer) cond(x, y gotorch.Tensor) diffusion.Cond {
	return diffusion.Cond{Y: y, LowRes: t.config.Model.LowRes(x)}
}

// keep appends a metric, if defined, moved out of the microbatch's scope.
func keep(list []gotorch.Tensor, x gotorch.Tensor) []gotorch.Tensor {
	if !x.Defined() {
		return list
	}
	return append(list, x.Detach().MoveOut())
}

// pass is one forward and backward pass of the network.
type pass struct {
	denoise  diffusion.Denoiser
	segments *model.Segments // nil: the backward pass is not divided
}

// newPass prepares a pass. inParts divides the backward pass into segments.
func (t *Trainer) newPass(in stepInputs, m microbatch, inParts bool) pass {
	var p pass
	if t.config.Model.UseCheckpoint || inParts {
		p.segments = &model.Segments{RetainGraph: !t.config.Model.UseCheckpoint}
	}
	dropout := t.key(in, m, 0)
	p.denoise = Denoiser(t.network, model.Input{Dtype: t.precision.dtype, Dropout: &dropout, Segments: p.segments, WorkingWeights: t.work.working})
	return p
}

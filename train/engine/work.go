package engine

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// Batch is the images of one optimizer step that this process trains on.
type Batch struct {
	Pixels []byte  // [N, H, W, C], N of [Options.LocalBatch]
	Labels []int64 // [N], 0..NumClasses-1; nil without classes
}

// stepWork is the device's part of an optimizer step, as a [gotorch.Graph] captures it: its
// inputs and results are the same tensors at every step.
type stepWork struct {
	*core
	graph *gotorch.Graph

	pixels  gotorch.Tensor // uint8 [N, H, W, C]
	numbers gotorch.Tensor // float64, see write
	results gotorch.Tensor // float32, as layout says
	layout  resultLayout

	updates bool // the step has started to update the weights: it must not be repeated
}

// The layout of numbers: three rows of N numbers, one per image, and then these.
const (
	numberStep         = iota
	numberLR           // learning rate
	numberGradScale    // factor of the sum of the losses: loss scale / batch size
	numberInvLossScale // 1 / loss scale, which unscales the gradient
	numberEMALimit     // largest decay rate of the EMAs
	numbersPerStep     // their count; the update weights of the power-function EMAs follow
)

func newStepWork(c *core) *stepWork {
	w := &stepWork{core: c}
	o := c.options
	n, size, channels := int64(o.LocalBatch()), int64(o.Model.ImageSize), int64(o.Model.InChannels)
	w.pixels = gotorch.EmptyOn(o.Device, gotorch.Byte, n, size, size, channels)
	w.numbers = gotorch.EmptyOn(o.Device, gotorch.Double, 3*n+numbersPerStep+int64(len(o.PowerEMAs)))
	w.graph = c.newGraph(w.run)
	w.graph.OnCaptureFailed = o.OnCaptureFailed
	if o.Group != nil {
		w.graph.Agree = o.Group.SyncError
	}
	w.graph.BeforeCapture = c.optimizer.ZeroGrad // frees the eager step's gradients: the captured step has its own
	return w
}

func (w *stepWork) free() {
	w.graph.Close()
	for _, x := range []gotorch.Tensor{w.pixels, w.numbers, w.results} {
		x.Free()
	}
}

// write copies this rank's images, timesteps and the step's scalars to the device, without
// waiting for it.
func (w *stepWork) write(step int, batch Batch, timesteps []int64, weights []float64) {
	o, n := w.options, len(timesteps)
	numbers := make([]float64, 3*n+numbersPerStep, 3*n+numbersPerStep+len(o.PowerEMAs))
	for i := range timesteps {
		numbers[i], numbers[n+i] = float64(timesteps[i]), weights[i]
	}
	for i, label := range batch.Labels {
		numbers[2*n+i] = float64(label)
	}
	copy(numbers[3*n:], []float64{
		numberStep: float64(step), numberLR: o.learningRate(step),
		numberGradScale: w.lossScale() / float64(o.BatchSize), numberInvLossScale: 1 / w.lossScale(),
		numberEMALimit: EMADecay(1, step+1),
	})
	numbers = append(numbers, w.powerUpdateWeights(step+1)...)
	w.pixels.CopyI(w.pinned(gotorch.FromBytes(batch.Pixels, gotorch.Byte, w.pixels.Shape()...)), true)
	w.numbers.CopyI(w.pinned(gotorch.FromFloat64s(numbers)), true)
}

// pinned returns page-locked host memory, which a GPU copies asynchronously.
func (w *stepWork) pinned(host gotorch.Tensor) gotorch.Tensor {
	if w.options.Device.Type != gotorch.CUDA {
		return host
	}
	return host.PinMemory()
}

// inputs converts what write has copied.
func (w *stepWork) inputs() (in stepInputs) {
	n := w.pixels.Size(0)
	row := func(i int64, dtype gotorch.DType) gotorch.Tensor { return w.numbers.Narrow(0, i*n, n).CastTo(dtype) }
	number := func(i int64) gotorch.Tensor { return w.numbers.Select(0, 3*n+i) }
	in.step = number(numberStep).CastTo(gotorch.Long)
	in.lr, in.gradScale, in.invLossScale = number(numberLR), number(numberGradScale).CastTo(gotorch.Float), number(numberInvLossScale).CastTo(gotorch.Float)
	in.emaLimit = number(numberEMALimit)
	for i := range w.options.PowerEMAs {
		in.powerUpdates = append(in.powerUpdates, number(numbersPerStep+int64(i)).CastTo(gotorch.Float))
	}
	in.whole = microbatch{first: w.first(), x: PixelsToTensor(w.pixels), timesteps: row(0, gotorch.Long), weights: row(1, gotorch.Float)}
	if w.options.Model.ClassCond {
		in.whole.y = row(2, gotorch.Long)
	}
	return in
}

// lossScale returns the loss scale, which keeps float16 gradients from underflowing. It is
// 1 in other precisions.
func (c *core) lossScale() float64 {
	if c.precision.Dtype != gotorch.Half {
		return 1
	}
	return math.Exp2(c.health.Log2LossScale)
}

// run is the work of a step: forward and backward pass, clipping, AdamW and EMA.
func (w *stepWork) run() {
	out := new(stepOutputs)
	w.updates = false
	gotorch.Scope(func() {
		in := w.inputs()
		w.optimizer.ZeroGrad()
		w.backwardAll(in, out)
		gradients := w.optimizer.Gradients()
		out.gather(w.options.Group)
		if w.precision.Dtype == gotorch.Half {
			gotorch.ForeachMulI(gradients, in.invLossScale)
			gotorch.ForeachMulI(out.noise, in.invLossScale)
		}
		out.gradNorm = gotorch.TotalNorm(gradients)
		if clip := w.options.GradClip; clip > 0 {
			w.optimizer.SetGradScale(gotorch.ClipCoefficient(out.gradNorm, clip))
		}
		out.nonFinite = nonFinite(out)
		if !w.phase.beginUpdate() {
			return
		}
		w.optimizer.SetLRFrom(in.lr)
		w.updates = true
		w.optimizer.StepUnless(out.nonFinite)
		if w.options.EMAWarmup {
			w.updateEMAs(in.emaLimit, out.nonFinite)
		}
		w.updatePowerEMAs(in.powerUpdates)
		w.results.Free()
		w.results, w.layout = out.pack()
	})
}

package diffusion

import (
	"context"

	"github.com/wangkuiyi/gotorch"
)

// Recording says how a GPU goes through the steps of a loop: the zero value
// records one as a [gotorch.Graph] and replays it.
type Recording struct {
	Off     bool        // every step operator by operator
	Refused func(error) // if not nil, called in every loop that cannot be recorded: it is slower
}

// imageLoop is a loop over steps that turns x_t into its neighbour: the
// reference's p_sample_loop and ddim_sample_loop, and the inversion.
type imageLoop struct {
	first, last int
	step        func(x gotorch.Tensor, t Timesteps) (next, predXStart gotorch.Tensor)
	progress    func(t int, predXStart gotorch.Tensor) error // nil: nobody looks
}

// runLoop returns what becomes of x, which stays the caller's.
func (d *GaussianDiffusion) runLoop(ctx context.Context, x gotorch.Tensor, l imageLoop) (gotorch.Tensor, error) {
	var after func(t int) error
	var lastPredXStart gotorch.Tensor
	refused := gotorch.Try(func() {
		x = x.Clone()
		if l.progress != nil {
			lastPredXStart = gotorch.EmptyLike(x)
			after = func(t int) error { return l.progress(t, lastPredXStart) }
		}
	})
	if refused != nil {
		return gotorch.Tensor{}, refused
	}
	defer lastPredXStart.Free()
	err := d.forEachStep(ctx, l.first, l.last, x.Size(0), func(t Timesteps) {
		next, predXStart := l.step(x, t)
		x.CopyI(next)
		if lastPredXStart.Defined() {
			lastPredXStart.CopyI(predXStart)
		}
	}, after)
	if err != nil {
		x.Free()
		return gotorch.Tensor{}, err
	}
	return x, nil
}

// forEachStep goes through steps of the process, from step first to step last, up
// or down, without recording gradients. do is the device's work of one step: it
// reads and overwrites tensors of the caller's, for n pictures. A GPU records it
// once for all steps but t = 0, so it must not ask the host for anything that
// changes from step to step. after, if not nil, is called after every step; its
// error ends the loop.
func (d *GaussianDiffusion) forEachStep(ctx context.Context, first, last int, n int64, do func(t Timesteps), after func(t int) error) error {
	var r *stepRunner
	if err := gotorch.Try(func() { r = d.newStepRunner(n, do) }); err != nil {
		return err
	}
	defer r.free()
	direction := 1
	if last < first {
		direction = -1
	}
	for t := first; t != last+direction; t += direction {
		err := withoutGradients(ctx, func() error {
			r.run(t)
			if after == nil {
				return nil
			}
			return after(t)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stepRunner does the work of one step after the other.
type stepRunner struct {
	stepZero     func()         // does that of t = 0
	stepsNonzero *gotorch.Graph // does that of step t
	t            gotorch.Tensor // int64 [1]
}

func (d *GaussianDiffusion) newStepRunner(n int64, do func(t Timesteps)) *stepRunner {
	r := &stepRunner{t: gotorch.ZerosOn(d.device, gotorch.Long, 1)}
	r.stepZero = func() { do(d.AtStep(0, n)) }
	device := d.device
	if d.Recording.Off {
		device = gotorch.Device{}
	}
	r.stepsNonzero = gotorch.NewGraph(device, func() { do(d.atDeviceStep(r.t, n)) })
	r.stepsNonzero.OnRefusal = d.Recording.Refused
	return r
}

// run does the work of step t. Where t = 0 is the last, as in most loops, nothing
// is left to replay, and the recording's memory is as much as this step needs.
func (r *stepRunner) run(t int) {
	if t == 0 {
		r.stepsNonzero.Close()
		r.stepZero()
		return
	}
	r.t.FillI(float64(t))
	r.stepsNonzero.Run()
}

func (r *stepRunner) free() {
	r.stepsNonzero.Close()
	r.t.Free()
}

// withoutGradients runs f without recording gradients and in a scope of its own,
// so that a loop holds the tensors of one step only, and returns a tensor
// operator's refusal as an error. Nothing is run once ctx has ended.
func withoutGradients(ctx context.Context, f func() error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	refused := gotorch.Try(func() {
		gotorch.NoGrad(func() {
			gotorch.Scope(func() { err = f() })
		})
	})
	if refused != nil {
		return refused
	}
	return err
}

package diffusion

import (
	"context"

	"github.com/wangkuiyi/gotorch"
)

// loop runs a step at every timestep from first to last, ascending or descending, for
// one batch.
type loop struct {
	name    string // names the loop in errors
	options any    // whatever else changes the operators of a step; compared by ==

	x           gotorch.Tensor // [N, C, H, W], not modified
	cond        Cond
	noise       func(t int) gotorch.Tensor            // like x, or undefined if t needs none; nil: no timestep does
	newOutput   func(x gotorch.Tensor) gotorch.Tensor // allocates the output buffer; nil: there is none
	first, last int
	path        []int // the timesteps in order, if they are others than from first to last

	keepsHistory bool // the step reads and writes stepBuffers.history

	// step runs the operators of one timestep, in a variant. A GPU captures each variant once,
	// so step must not read anything else from the host that changes between timesteps.
	step func(b stepBuffers, t Timesteps, variant int)
	// variant returns the variant of the step at t; nil: there is only 0.
	variant func(t int) int
	// onStep, if not nil, is called after every step; its error ends the loop.
	onStep func(b stepBuffers, t int) error
}

// stepBuffers are the tensors that a step reads and writes.
type stepBuffers struct {
	x      gotorch.Tensor // [N, C, H, W]
	cond   Cond
	noise  gotorch.Tensor // like x; undefined if no timestep needs any
	output gotorch.Tensor // what onStep reads; may be undefined

	history    gotorch.Tensor // like x, what the step before has left; undefined if there is none to keep
	hasHistory gotorch.Tensor // float32 [1]: 1 after a step from t+1, else 0
}

// imageLoop is a loop from x_t to x_{t-1} or x_{t+1}: the reference's p_sample_loop and
// ddim_sample_loop, and the inversion. progress, if not nil, is called with the
// predicted x_0 after every step.
func imageLoop(l loop, progress func(t int, predXStart gotorch.Tensor) error, step func(b stepBuffers, t Timesteps, variant int) (next, predXStart gotorch.Tensor)) loop {
	if progress != nil {
		l.newOutput = gotorch.EmptyLike
		l.onStep = func(b stepBuffers, t int) error { return progress(t, b.output) }
	}
	l.step = func(b stepBuffers, t Timesteps, variant int) {
		next, predXStart := step(b, t, variant)
		b.x.CopyI(next)
		if b.output.Defined() {
			b.output.CopyI(predXStart)
		}
	}
	return l
}

// exceptLast returns the noise of the timesteps above 0: the step to x_0 adds none.
func exceptLast(noise func(t int) gotorch.Tensor) func(t int) gotorch.Tensor {
	return func(t int) (drawn gotorch.Tensor) {
		if t > 0 {
			drawn = noise(t)
		}
		return drawn
	}
}

// timesteps returns the timesteps in order.
func (l loop) timesteps() []int {
	if l.path != nil {
		return l.path
	}
	direction := 1
	if l.last < l.first {
		direction = -1
	}
	path := make([]int, direction*(l.last-l.first)+1)
	for i := range path {
		path[i] = l.first + direction*i
	}
	return path
}

// withoutGradients runs f without gradient tracking in its own scope, so that a loop
// holds the tensors of one step only. It returns an operator's panic as an error, and
// ctx's error without running f.
func withoutGradients(ctx context.Context, f func() error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	panicked := gotorch.Try(func() {
		gotorch.NoGrad(func() {
			gotorch.Scope(func() { err = f() })
		})
	})
	if panicked != nil {
		return panicked
	}
	return err
}

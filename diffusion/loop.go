package diffusion

import (
	"context"

	"github.com/wangkuiyi/gotorch"
)

// loop is a way through the steps of the process, up or down, for one batch.
type loop struct {
	name    string // what refusals call it
	options any    // what else changes the work of a step, compared by ==

	x           gotorch.Tensor // [N, C, H, W], stays the caller's
	cond        Cond
	noise       func(t int) gotorch.Tensor            // of step t, like x, or undefined where it needs none; nil: no step does
	seen        func(x gotorch.Tensor) gotorch.Tensor // makes room for what is looked at after a step; nil: nobody looks
	first, last int

	// step is the device's work of one step. A GPU records it once, so it must not
	// ask the host for anything that changes from step to step.
	step func(b stepBuffers, t Timesteps)
	// after, if not nil, is called after every step; its error ends the loop.
	after func(b stepBuffers, t int) error
}

// stepBuffers are the memory that a step reads and writes.
type stepBuffers struct {
	x     gotorch.Tensor // [N, C, H, W]
	cond  Cond
	noise gotorch.Tensor // like x; undefined where no step needs any
	seen  gotorch.Tensor // undefined where nobody looks
}

// imageLoop is a loop that turns x_t into its neighbour: the reference's
// p_sample_loop and ddim_sample_loop, and the inversion. progress, if not nil, sees
// the predicted x_0 of every step.
func imageLoop(l loop, progress func(t int, predXStart gotorch.Tensor) error, step func(b stepBuffers, t Timesteps) (next, predXStart gotorch.Tensor)) loop {
	if progress != nil {
		l.seen = gotorch.EmptyLike
		l.after = func(b stepBuffers, t int) error { return progress(t, b.seen) }
	}
	l.step = func(b stepBuffers, t Timesteps) {
		next, predXStart := step(b, t)
		b.x.CopyI(next)
		if b.seen.Defined() {
			b.seen.CopyI(predXStart)
		}
	}
	return l
}

// runImageLoop returns what becomes of x, which belongs to the caller's scope.
func (d *GaussianDiffusion) runImageLoop(ctx context.Context, r *GraphCache, l loop) (x gotorch.Tensor, err error) {
	err = d.runLoop(ctx, r, l, func(b stepBuffers) { x = b.x.Clone() })
	return x, err
}

// runLoop goes through the steps without recording gradients, and then has done
// look at where they have led, in the caller's scope.
func (d *GaussianDiffusion) runLoop(ctx context.Context, r *GraphCache, l loop, done func(b stepBuffers)) error {
	if r == nil {
		r = new(GraphCache)
		defer r.Close()
	}
	err := withoutGradients(ctx, func() error { r.begin(d, l); return nil })
	direction := 1
	if l.last < l.first {
		direction = -1
	}
	for t := l.first; err == nil && t != l.last+direction; t += direction {
		err = withoutGradients(ctx, func() error {
			r.kept.run(t, l)
			if l.after == nil {
				return nil
			}
			return l.after(r.kept.stepBuffers, t)
		})
	}
	if err == nil {
		err = gotorch.Try(func() { done(r.kept.stepBuffers) })
	}
	if err != nil {
		r.Close()
	}
	return err
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

package diffusion

import (
	"context"

	"github.com/wangkuiyi/gotorch"
)

// Recording says how a GPU goes through many steps: the zero value records one as
// a [gotorch.Graph] and replays it.
type Recording struct {
	Off     bool        // every step operator by operator
	Refused func(error) // if not nil, called in every walk that cannot be recorded: it is slower
}

// walk goes through steps of the process, from step first to step last, up or
// down, without recording gradients. do is the device's work of one step: it reads
// and overwrites tensors of the caller's, for n pictures. A GPU records it once
// for all steps but t = 0, so it must not ask the host for anything that changes
// from step to step. after, if not nil, is called after every step; its error ends
// the walk.
func (d *GaussianDiffusion) walk(ctx context.Context, first, last int, n int64, do func(t Timesteps), after func(t int) error) error {
	var w *walker
	if err := gotorch.Try(func() { w = d.newWalker(n, do) }); err != nil {
		return err
	}
	defer w.free()
	direction := 1
	if last < first {
		direction = -1
	}
	for t := first; t != last+direction; t += direction {
		err := evaluate(ctx, func() error {
			w.step(t)
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

// walker does the work of one step after the other.
type walker struct {
	first func()         // does that of t = 0
	later *gotorch.Graph // does that of the step in index
	index gotorch.Tensor // int64 [1]
}

func (d *GaussianDiffusion) newWalker(n int64, do func(t Timesteps)) *walker {
	w := &walker{index: gotorch.ZerosOn(d.device, gotorch.Long, 1)}
	w.first = func() { do(d.AtStep(0, n)) }
	device := d.device
	if d.Recording.Off {
		device = gotorch.Device{}
	}
	w.later = gotorch.NewGraph(device, func() { do(d.atIndex(w.index, n)) })
	w.later.OnRefusal = d.Recording.Refused
	return w
}

// step does the work of step t. Where t = 0 is the last, as in most walks, nothing
// is left to replay, and the recording's memory is as much as this step needs.
func (w *walker) step(t int) {
	if t == 0 {
		w.later.Close()
		w.first()
		return
	}
	w.index.FillI(float64(t))
	w.later.Run()
}

func (w *walker) free() {
	w.later.Close()
	w.index.Free()
}

// evaluate runs f without recording gradients and in a scope of its own, so that
// a loop holds the tensors of one step only, and returns a tensor operator's
// refusal as an error. Nothing is run once ctx has ended.
func evaluate(ctx context.Context, f func() error) (err error) {
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

// trip is a walk that takes pictures along: from x_t to the next x_t.
type trip struct {
	first, last int
	step        func(x gotorch.Tensor, t Timesteps) (next, predXStart gotorch.Tensor)
	progress    func(t int, predXStart gotorch.Tensor) error // nil: nobody looks
}

// take returns what becomes of x, which stays the caller's.
func (d *GaussianDiffusion) take(ctx context.Context, x gotorch.Tensor, r trip) (gotorch.Tensor, error) {
	var after func(t int) error
	var seen gotorch.Tensor
	refused := gotorch.Try(func() {
		x = x.Clone()
		if r.progress != nil {
			seen = gotorch.EmptyLike(x)
			after = func(t int) error { return r.progress(t, seen) }
		}
	})
	if refused != nil {
		return gotorch.Tensor{}, refused
	}
	defer seen.Free()
	err := d.walk(ctx, r.first, r.last, x.Size(0), func(t Timesteps) {
		next, predXStart := r.step(x, t)
		x.CopyI(next)
		if seen.Defined() {
			seen.CopyI(predXStart)
		}
	}, after)
	if err != nil {
		x.Free()
		return gotorch.Tensor{}, err
	}
	return x, nil
}

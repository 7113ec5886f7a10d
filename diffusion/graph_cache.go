package diffusion

import (
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// GraphCache captures one step of a loop as a [gotorch.Graph] on a GPU and replays it for
// all other steps, including those of later loops, such as one loop per batch of images.
// Loops that share a GraphCache must use the same network. They may differ in images,
// noise and conditions; a loop of another kind or shape replaces the captured step. The
// zero value is ready to use. It holds device memory from the first loop until Close.
type GraphCache struct {
	Off             bool        // run every step eagerly
	OnCaptureFailed func(error) // if not nil, called when capture fails and the step runs eagerly

	step *capturedStep // of the last loop; its kind is the cache key
}

// Close frees the captured step; a later loop captures a new one. Closing a nil
// GraphCache does nothing.
func (r *GraphCache) Close() {
	if r != nil && r.step != nil {
		r.step.free()
		r.step = nil
	}
}

// runImageLoop runs a loop and returns the final x, which belongs to the caller's scope.
func (d *GaussianDiffusion) runImageLoop(ctx context.Context, r *GraphCache, l loop) (x gotorch.Tensor, err error) {
	err = d.runLoop(ctx, r, l, func(b stepBuffers) { x = b.x.Clone() })
	return x, err
}

// runLoop runs all steps without gradients, then calls done in the caller's scope.
func (d *GaussianDiffusion) runLoop(ctx context.Context, r *GraphCache, l loop, done func(b stepBuffers)) error {
	if r == nil {
		r = new(GraphCache)
		defer r.Close()
	}
	err := withoutGradients(ctx, func() error { r.begin(d, l); return nil })
	for _, t := range l.timesteps() {
		if err != nil {
			break
		}
		err = withoutGradients(ctx, func() error {
			r.step.run(t, l)
			if l.onStep == nil {
				return nil
			}
			return l.onStep(r.step.stepBuffers, t)
		})
	}
	if err == nil {
		err = gotorch.Try(func() { done(r.step.stepBuffers) })
	}
	if err != nil {
		r.Close()
	}
	return err
}

// begin copies a loop's batch into the cached step's buffers, creating the step if the
// cache has none of this kind.
func (r *GraphCache) begin(d *GaussianDiffusion, l loop) {
	kind := l.kind(d)
	if r.step == nil || r.step.kind != kind {
		r.Close() // first: there may not be memory for both
		r.step = &capturedStep{kind: kind}
		r.step.allocate(l)
		r.step.prepare(l, r)
	}
	r.step.fill(l)
}

// loopKind is the cache key: loops of the same kind can replay one another's step.
type loopKind struct {
	process *GaussianDiffusion
	name    string
	options any
	noisy   bool
	output  bool
	inputs  string // their dtypes, devices and shapes
}

func (l loop) kind(d *GaussianDiffusion) loopKind {
	return loopKind{process: d, name: l.name, options: l.options, noisy: l.noise != nil, output: l.newOutput != nil,
		inputs: kindOf(l.x) + kindOf(l.cond.Y) + kindOf(l.cond.LowRes)}
}

func kindOf(t gotorch.Tensor) string {
	if !t.Defined() {
		return "none "
	}
	return fmt.Sprintf("%s %s %v ", t.Dtype(), t.Device(), t.Shape())
}

// capturedStep is one step of a loop with the buffers that it reads and writes.
type capturedStep struct {
	kind loopKind
	stepBuffers
	t       int            // current timestep, or that of the last step; -1 before the first
	deviceT gotorch.Tensor // int64 [1], t on the device; undefined without capture

	newGraph func(variant int) *gotorch.Graph
	graphs   map[int]*gotorch.Graph // by variant, made when it first runs
}

func (s *capturedStep) allocate(l loop) {
	like := func(t gotorch.Tensor) gotorch.Tensor {
		if !t.Defined() {
			return t
		}
		return gotorch.ZerosLike(t).Unscoped()
	}
	s.x, s.cond = like(l.x), Cond{Y: like(l.cond.Y), LowRes: like(l.cond.LowRes)}
	if l.noise != nil {
		s.noise = like(l.x)
	}
	if l.newOutput != nil {
		s.output = l.newOutput(l.x).Unscoped()
	}
	if l.keepsHistory {
		s.history = like(l.x)
		s.hasHistory = gotorch.ZerosOn(l.x.Device(), gotorch.Float, 1).Unscoped()
	}
}

// prepare prepares the graphs of the step; the second run of each captures it.
func (s *capturedStep) prepare(l loop, r *GraphCache) {
	d, step := s.kind.process, l.step
	if !r.Off && d.device.Type == gotorch.CUDA {
		s.deviceT = gotorch.ZerosOn(d.device, gotorch.Long, 1).Unscoped()
	}
	s.graphs = map[int]*gotorch.Graph{}
	s.newGraph = func(variant int) *gotorch.Graph {
		g := gotorch.NewGraph(d.device, func() { step(s.stepBuffers, s.timesteps(), variant) })
		g.Eager, g.OnCaptureFailed = r.Off, r.OnCaptureFailed
		return g
	}
}

// graph returns the graph of a variant.
func (s *capturedStep) graph(variant int) *gotorch.Graph {
	if g := s.graphs[variant]; g != nil {
		return g
	}
	g := s.newGraph(variant)
	for _, other := range s.graphs {
		g.Alternates(other)
	}
	s.graphs[variant] = g
	return g
}

// timesteps returns the current timestep. A captured graph reads it from deviceT.
func (s *capturedStep) timesteps() Timesteps {
	d, n := s.kind.process, s.x.Size(0)
	if s.deviceT.Defined() {
		return d.atDeviceStep(s.deviceT, n)
	}
	return d.AtStep(s.t, n)
}

// fill copies a loop's batch into the buffers.
func (s *capturedStep) fill(l loop) {
	s.t = -1
	s.x.CopyI(l.x)
	if s.cond.Y.Defined() {
		s.cond.Y.CopyI(l.cond.Y)
	}
	if s.cond.LowRes.Defined() {
		s.cond.LowRes.CopyI(l.cond.LowRes)
	}
	if s.history.Defined() { // what another batch left may not be finite
		s.history.FillI(0)
	}
}

// run executes timestep t of a loop. It copies the noise in first, since each batch
// has its own.
func (s *capturedStep) run(t int, l loop) {
	if l.noise != nil {
		if noise := l.noise(t); noise.Defined() {
			mustMatch(l.name, "noise", noise, s.x)
			s.noise.CopyI(noise)
		}
	}
	if s.hasHistory.Defined() {
		weight := 0.0 // in the first step, and after a jump
		if s.t == t+1 {
			weight = 1
		}
		s.hasHistory.FillI(weight)
	}
	s.t = t
	if s.deviceT.Defined() {
		s.deviceT.FillI(float64(t))
	}
	variant := 0
	if l.variant != nil {
		variant = l.variant(t)
	}
	s.graph(variant).Run()
}

func (s *capturedStep) free() {
	for _, g := range s.graphs {
		g.Close()
	}
	for _, t := range []gotorch.Tensor{s.x, s.cond.Y, s.cond.LowRes, s.noise, s.output, s.history, s.hasHistory, s.deviceT} {
		t.Free()
	}
}

package diffusion

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// GraphCache captures one step of a loop as a [gotorch.Graph] on a GPU and replays it for
// all other steps, including those of later loops, such as one loop per batch of images.
// Loops with the same GraphCache must use the same network, and may differ in images,
// noise and conditions; a loop of another kind or shape replaces the captured step. The
// zero value is ready to use, and holds memory from the first loop until Close.
type GraphCache struct {
	Off             bool        // run every step eagerly
	OnCaptureFailed func(error) // if not nil, called where capture fails and the step runs eagerly, which is slower

	kept *capturedStep // of the last loop; its kind is the cache key
}

// Close frees the captured step. A later loop captures another. Closing a nil GraphCache
// does nothing.
func (r *GraphCache) Close() {
	if r != nil && r.kept != nil {
		r.kept.free()
		r.kept = nil
	}
}

// begin has the kept step's buffers hold a loop's batch, or keeps a step for it.
func (r *GraphCache) begin(d *GaussianDiffusion, l loop) {
	kind := l.kind(d)
	if r.kept == nil || r.kept.kind != kind {
		r.Close() // before, since memory may not do for both
		r.kept = &capturedStep{kind: kind}
		r.kept.allocate(l)
		r.kept.prepare(l, r)
	}
	r.kept.fill(l)
}

// loopKind tells apart loops whose steps cannot be replayed for one another.
type loopKind struct {
	process *GaussianDiffusion
	name    string
	options any
	noisy   bool
	seen    bool
	inputs  string // their dtypes, devices and shapes
}

func (l loop) kind(d *GaussianDiffusion) loopKind {
	return loopKind{process: d, name: l.name, options: l.options, noisy: l.noise != nil, seen: l.seen != nil,
		inputs: kindOf(l.x) + kindOf(l.cond.Y) + kindOf(l.cond.LowRes)}
}

func kindOf(t gotorch.Tensor) string {
	if !t.Defined() {
		return "none "
	}
	return fmt.Sprintf("%s %s %v ", gotorch.DtypeName(t.Dtype()), t.Device(), t.Shape())
}

// capturedStep is the work of one step, and the memory that it works on.
type capturedStep struct {
	kind loopKind
	stepBuffers
	step     int            // at hand
	captured gotorch.Tensor // int64 [1], step on the device; undefined where nothing is captured
	graph    *gotorch.Graph // the work of step
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
	if l.seen != nil {
		s.seen = l.seen(l.x).Unscoped()
	}
}

// prepare makes the graph of the step; the second run captures it.
func (s *capturedStep) prepare(l loop, r *GraphCache) {
	d, do := s.kind.process, l.step
	if !r.Off && d.device.Type == gotorch.CUDA {
		s.captured = gotorch.ZerosOn(d.device, gotorch.Long, 1).Unscoped()
	}
	s.graph = gotorch.NewGraph(d.device, func() { do(s.stepBuffers, s.timesteps()) })
	s.graph.Eager, s.graph.OnCaptureFailed = r.Off, r.OnCaptureFailed
}

// timesteps are those of the step at hand. What is captured knows it by a tensor alone.
func (s *capturedStep) timesteps() Timesteps {
	d, n := s.kind.process, s.x.Size(0)
	if s.captured.Defined() {
		return d.atDeviceStep(s.captured, n)
	}
	return d.AtStep(s.step, n)
}

// fill writes a batch where the step reads it.
func (s *capturedStep) fill(l loop) {
	s.x.CopyI(l.x)
	if s.cond.Y.Defined() {
		s.cond.Y.CopyI(l.cond.Y)
	}
	if s.cond.LowRes.Defined() {
		s.cond.LowRes.CopyI(l.cond.LowRes)
	}
}

// run does the work of step t of a loop. The noise is drawn here, since it is
// another for each batch.
func (s *capturedStep) run(t int, l loop) {
	if l.noise != nil {
		if noise := l.noise(t); noise.Defined() {
			mustMatch(l.name, "noise", noise, s.x)
			s.noise.CopyI(noise)
		}
	}
	s.step = t
	if s.captured.Defined() {
		s.captured.FillI(float64(t))
	}
	s.graph.Run()
}

func (s *capturedStep) free() {
	s.graph.Close()
	for _, t := range []gotorch.Tensor{s.x, s.cond.Y, s.cond.LowRes, s.noise, s.seen, s.captured} {
		t.Free()
	}
}

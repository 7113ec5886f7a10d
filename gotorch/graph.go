package gotorch

// #include "iddpm.h"
// #include "iddpm_cuda.h"
import "C"

// Graph is work that is run repeatedly. On a GPU the first run is eager, the second
// captures a CUDA graph, and later runs replay it: one launch instead of one per
// operator. On the CPU every run is eager.
//
// All runs must be on one OS thread, as in [Run]: the first run switches that thread
// from the GPU's default stream to another one permanently.
//
// Every run reads its inputs from the same memory: copy the next inputs into the same
// tensors ([Tensor.CopyI]). Random numbers of a [PhiloxKey] follow the key's StepOf.
// The next run overwrites results and gradients, and may move them: the results are
// the tensors that the work last assigned to the caller's variables. The work must not
// wait for the device, nor copy from or to the host.
type Graph struct {
	// BeforeCapture, if not nil, frees results of the eager run that the capture
	// allocates again: the memory may not suffice for both.
	BeforeCapture func()

	// Agree, if not nil, is called with [Graph.Err] after the capture, whether it failed or
	// not: if it returns an error, the graph is not used. With it either all processes replay
	// their graphs, or none does.
	Agree func(err error) error

	// OnCaptureFailed, if not nil, is called once with [Graph.Err] if the capture fails and
	// every run is eager, which is slower.
	OnCaptureFailed func(error)

	// Eager keeps a GPU from capturing the work: every run is eager.
	Eager bool

	device     Device
	ahead      *runAhead
	work       func()
	warm       bool // has run once: the GPU's libraries have chosen algorithms and allocated workspaces
	captured   C.gt_cuda_graph
	captureErr error // why capture failed
}

// NewGraph returns a graph of work on device d. It does not run the work.
func NewGraph(d Device, work func()) *Graph {
	return &Graph{device: d, work: work, ahead: new(runAhead)}
}

// Alternates lets g count its runs together with those of other, whose runs alternate with
// its own: the host is at most two runs of both ahead of the GPU.
func (g *Graph) Alternates(other *Graph) { g.ahead = other.ahead }

// Run does the work, after everything submitted to the device before. The host waits only
// for the run before the last, so it is at most two runs ahead of the GPU: reports and
// interrupts are delayed by no more than that.
func (g *Graph) Run() {
	if g.device.Type != CUDA {
		g.work()
		return
	}
	g.ahead.wait()
	g.launch()
	g.ahead.mark(g.device)
}

// launch submits the work to a GPU: eagerly, by capture, or by replay.
func (g *Graph) launch() {
	if !g.Eager && g.captured == nil && g.captureErr == nil {
		leaveDefaultStream(g.device)
		if !g.warm {
			g.work()
			g.warm = true
			return
		}
		g.captureErr = g.tryCapture()
		if g.captureErr != nil && g.OnCaptureFailed != nil {
			g.OnCaptureFailed(g.captureErr)
		}
	}
	if g.captured == nil {
		g.work()
		return
	}
	check("Graph.Run", C.gt_cuda_graph_replay(g.captured))
}

func (g *Graph) tryCapture() error {
	err := Try(g.capture)
	if g.Agree != nil {
		err = g.Agree(err)
	}
	if err != nil && g.captured != nil {
		g.wait()
		C.gt_cuda_graph_free(g.captured)
		g.captured = nil
	}
	return err
}

// wait waits for the GPU and ignores its errors: the next operator reports them too, and
// they must not replace the error that led here.
func (g *Graph) wait() { _ = Try(func() { CUDASynchronize(g.device) }) }

// leaveDefaultStream switches this thread to another stream for all later work: the
// default stream cannot be captured, and libtorch keeps cuBLAS workspaces and cached
// memory per stream. With two streams, falling back to eager execution after a capture
// that ran out of memory would need even more memory.
func leaveDefaultStream(d Device) {
	if !currentCUDAStream(d).isDefault() {
		return
	}
	CUDASynchronize(d)
	EmptyCUDACache()
	newCUDAStream(d).setCurrent()
}

// Err returns why the capture failed, or nil. If it failed, every run is eager.
func (g *Graph) Err() error { return g.captureErr }

// capture runs the work under stream capture, which executes nothing. It first empties
// the allocator's cache, since a graph has its own memory pool.
func (g *Graph) capture() {
	const op = "Graph.Run"
	if g.BeforeCapture != nil {
		g.BeforeCapture()
	}
	EmptyCUDACache()
	var captured C.gt_cuda_graph
	check(op, C.gt_cuda_graph_new(C.int32_t(g.device.Index), &captured))
	err := Try(func() { check(op, C.gt_cuda_graph_begin(captured)) })
	if err == nil {
		err = Try(g.work)
		// Always end the capture: otherwise the stream accepts no more work.
		if end := Try(func() { check(op, C.gt_cuda_graph_end(captured)) }); err == nil {
			err = end
		}
	}
	if err != nil {
		C.gt_cuda_graph_free(captured)
		panic(err)
	}
	g.captured = captured
}

// Close frees the graph and the memory pool of its tensors, which must not be used
// afterwards. A later Run starts over. Closing a nil Graph does nothing.
func (g *Graph) Close() {
	if g == nil {
		return
	}
	if g.captured != nil {
		g.wait()
		C.gt_cuda_graph_free(g.captured)
		g.captured = nil
	}
	g.warm, g.captureErr = false, nil
	g.ahead.free()
}

// runAhead bounds how far the host runs ahead of a GPU. The zero value is ready to use.
type runAhead struct {
	done [2]C.gt_cuda_event // events after the last two runs: the older at next
	next int
}

// wait waits for the older of the last two runs.
func (a *runAhead) wait() {
	if e := a.done[a.next]; e != nil {
		check("Graph.Run", C.gt_cuda_event_synchronize(e))
	}
}

// mark records an event after a run, on the GPU's current stream.
func (a *runAhead) mark(d Device) {
	const op = "Graph.Run"
	if a.done[a.next] == nil {
		check(op, C.gt_cuda_event_new(C.int32_t(d.Index), &a.done[a.next]))
	}
	check(op, C.gt_cuda_event_record(a.done[a.next]))
	a.next = (a.next + 1) % len(a.done)
}

func (a *runAhead) free() {
	for _, e := range a.done {
		if e != nil {
			C.gt_cuda_event_free(e)
		}
	}
	*a = runAhead{}
}

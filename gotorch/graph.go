package gotorch

// #include "iddpm.h"
// #include "iddpm_cuda.h"
import "C"

// Graph is work that is run repeatedly. On a GPU the first run is eager, the second
// captures a CUDA graph, and from then on a run replays it: one launch in place of one
// per operator. On the CPU every run is eager.
//
// All runs belong on one OS thread, as in [Run]: the first one has that thread leave the
// GPU's default stream, for good.
//
// Every run reads its inputs from the same memory: write the
// inputs of the next time into the same tensors ([Tensor.CopyI]). What it draws by
// a [PhiloxKey] follows the key's StepOf. What it leaves behind, results and
// gradients, is overwritten the next time, and may lie elsewhere then: results
// are what the work has last assigned to the caller's variables. It must not wait
// for the device, nor copy from or to the host.
type Graph struct {
	// BeforeCapture, if not nil, frees what the eager run left behind and the capture
	// allocates again: there may not be memory for both.
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
	ahead      runAhead
	work       func()
	warm       bool // done once: the GPU's libraries have chosen algorithms and made workspaces
	captured   C.gt_cuda_graph
	captureErr error // why capture failed
}

// NewGraph says what the work is; nothing is done yet.
func NewGraph(d Device, work func()) *Graph { return &Graph{device: d, work: work} }

// Run does the work, after all that the device was given before. The host does not wait
// for a GPU to finish it, but for the run before the last, so that it is never more than
// two runs ahead: what it reports and an interrupt are then no later than that.
func (g *Graph) Run() {
	if g.device.Type != CUDA {
		g.work()
		return
	}
	g.ahead.wait()
	g.launch()
	g.ahead.mark(g.device)
}

// launch gives the work to a GPU.
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

// wait waits for the GPU. What that may say of a GPU that has failed the next
// operator says, too, and f's panic had better not be replaced by it.
func (g *Graph) wait() { _ = Try(func() { CUDASynchronize(g.device) }) }

// leaveDefaultStream has this thread use another stream of a GPU from now on, for all of
// its work: the default one cannot be captured, and libtorch keeps cuBLAS's workspaces and
// cached memory by stream. With two of them, eager execution after a capture that has run
// out of memory would need more than the capture.
func leaveDefaultStream(d Device) {
	if !GetCurrentCUDAStream(d).isDefault() {
		return
	}
	CUDASynchronize(d)
	EmptyCUDACache()
	SetCurrentCUDAStream(NewCUDAStream(d))
}

// Err returns why the capture failed, or nil. If it failed, every run is eager.
func (g *Graph) Err() error { return g.captureErr }

// capture runs the work while the stream is captured, which executes nothing. The
// allocator's cache is emptied before, since a graph has memory of its own.
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
		// End the capture in any case: otherwise the stream would take no more work.
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

// Close frees the graph and the memory that its tensors share: they must not be used any
// more. A later Run starts over. Closing a nil Graph does nothing.
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
	done [2]C.gt_cuda_event // recorded after the last runs: the oldest at next
	next int
}

// wait waits for the oldest of the last runs.
func (a *runAhead) wait() {
	if e := a.done[a.next]; e != nil {
		check("Graph.Run", C.gt_cuda_event_synchronize(e))
	}
}

// mark says that a run has been launched, on the GPU's current stream.
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

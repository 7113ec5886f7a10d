package gotorch

// #include "iddpm.h"
// #include "iddpm_cuda.h"
import "C"

// Graph is work that is done over and over. A GPU does it operator by operator
// the first time, and at the second records it: from then on it is one launch (a
// CUDA graph) in place of one per operator. On the CPU there is nothing to save,
// and every time is like the first.
//
// All runs belong on one OS thread, as in [Run]: the first one has that thread leave the
// GPU's default stream, for good.
//
// What the work reads is read anew every time, from the same memory: write the
// inputs of the next time into the same tensors ([Tensor.CopyI]). What it draws by
// a [PhiloxKey] follows the key's StepOf. What it leaves behind, results and
// gradients, is overwritten the next time, and may lie elsewhere then: results
// are what the work has last assigned to the caller's variables. It must not wait
// for the device, nor copy from or to the host.
type Graph struct {
	// BeforeRecording, if not nil, is to free what the first time has left behind and
	// the recording makes anew: the memory of both together may be too much.
	BeforeRecording func()

	// Agree, if not nil, is called with [Graph.Err] once the work has been recorded, or has
	// not: an error that it returns keeps the recording from being used. Where several
	// processes do the same work it lets all of them replay it, or none.
	Agree func(err error) error

	// OnRefusal, if not nil, is called once with [Graph.Err] where that is why all is
	// slower than it could be.
	OnRefusal func(error)

	// Eager keeps a GPU from capturing the work: every run is eager.
	Eager bool

	device   Device
	ahead    runAhead
	work     func()
	warm     bool // done once: the GPU's libraries have chosen algorithms and made workspaces
	recorded C.gt_cuda_graph
	refused  error // why it cannot be recorded
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
	if !g.Eager && g.recorded == nil && g.refused == nil {
		leaveDefaultStream(g.device)
		if !g.warm {
			g.work()
			g.warm = true
			return
		}
		g.refused = g.tryToRecord()
		if g.refused != nil && g.OnRefusal != nil {
			g.OnRefusal(g.refused)
		}
	}
	if g.recorded == nil {
		g.work()
		return
	}
	check("Graph.Run", C.gt_cuda_graph_replay(g.recorded))
}

func (g *Graph) tryToRecord() error {
	err := Try(g.record)
	if g.Agree != nil {
		err = g.Agree(err)
	}
	if err != nil && g.recorded != nil {
		g.wait()
		C.gt_cuda_graph_free(g.recorded)
		g.recorded = nil
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

// Err returns why the work could not be recorded, or nil. Run then does it
// operator by operator every time.
func (g *Graph) Err() error { return g.refused }

// record runs the work on a stream that notes what it is given and does nothing.
// Memory that the cache holds of the first time goes back before, since a
// recording has memory of its own.
func (g *Graph) record() {
	const op = "Graph.Run"
	if g.BeforeRecording != nil {
		g.BeforeRecording()
	}
	EmptyCUDACache()
	var recorded C.gt_cuda_graph
	check(op, C.gt_cuda_graph_new(C.int32_t(g.device.Index), &recorded))
	err := Try(func() { check(op, C.gt_cuda_graph_begin(recorded)) })
	if err == nil {
		err = Try(g.work)
		// The recording ends in any case: else the stream would take no more work.
		if end := Try(func() { check(op, C.gt_cuda_graph_end(recorded)) }); err == nil {
			err = end
		}
	}
	if err != nil {
		C.gt_cuda_graph_free(recorded)
		panic(err)
	}
	g.recorded = recorded
}

// Close frees the recording, and the memory that its tensors share: they must not
// be used any more. Run would begin anew. Closing a nil Graph does nothing.
func (g *Graph) Close() {
	if g == nil {
		return
	}
	if g.recorded != nil {
		g.wait()
		C.gt_cuda_graph_free(g.recorded)
		g.recorded = nil
	}
	g.warm, g.refused = false, nil
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

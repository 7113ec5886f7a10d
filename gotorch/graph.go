package gotorch

// #include "iddpm.h"
// #include "iddpm_cuda.h"
import "C"

// Graph is work that is recorded once and then done over and over: on a GPU one
// launch (a CUDA graph) in place of one per operator. On the CPU there is nothing
// to save, and Replay calls the function again.
//
// What the work reads is read anew at every replay, from the same memory: write
// the inputs of the next replay into the same tensors ([Tensor.CopyI]). What it
// draws by a [PhiloxKey] follows the key's StepOf. What it leaves behind, results
// and gradients, is overwritten by the next replay; on the CPU it may lie
// elsewhere then. It must not wait for the device, nor copy from host memory.
type Graph struct {
	device   Device
	work     func()
	recorded C.gt_cuda_graph
}

// NewGraph records work for a device without doing it, and without a trace of it
// in the tensors that exist already. Work that the device is to have done before,
// for it picks algorithms or makes workspaces, it must have done once.
func NewGraph(d Device, work func()) *Graph {
	g := &Graph{device: d, work: work}
	if d.Type == CUDA {
		g.record()
	}
	return g
}

// record runs the work on a stream of its own, which notes what it is given.
func (g *Graph) record() {
	const op = "NewGraph"
	gpu(op, g.device)
	previous := GetCurrentCUDAStream(g.device)
	CUDASynchronize(g.device)
	SetCurrentCUDAStream(NewCUDAStream(g.device))
	defer SetCurrentCUDAStream(previous)
	check(op, C.gt_cuda_graph_new(&g.recorded))
	check(op, C.gt_cuda_graph_begin(g.recorded))
	err := Try(g.work)
	// The recording ends in any case: else the stream would take no more work.
	end := Try(func() { check(op, C.gt_cuda_graph_end(g.recorded)) })
	if err == nil {
		err = end
	}
	if err != nil {
		g.Close()
		panic(err)
	}
}

// Replay does the work, after all that the device was given before.
func (g *Graph) Replay() {
	if g.device.Type != CUDA {
		g.work()
		return
	}
	if g.recorded == nil {
		panic(&Error{Op: "Graph.Replay", Message: "the graph is closed"})
	}
	check("Graph.Replay", C.gt_cuda_graph_replay(g.recorded))
}

// Close frees the recording, and the memory that its tensors share. They must not
// be used any more.
func (g *Graph) Close() {
	if g.recorded != nil {
		CUDASynchronize(g.device)
		C.gt_cuda_graph_free(g.recorded)
		g.recorded = nil
	}
}

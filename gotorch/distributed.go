package gotorch

// #include <stdlib.h>
// #include "iddpm.h"
// #include "iddpm_cuda.h"
import "C"

import (
	"cmp"
	"fmt"
	"runtime"
	"time"
	"unsafe"
)

// ProcessGroup is a group of processes, as in torch.distributed: gloo runs collectives
// on host memory, NCCL on GPUs. Processes of one machine all-reduce host memory through
// shared memory. All processes must call its methods in the same order, with tensors of
// the same shapes, from one goroutine at a time.
type ProcessGroup struct {
	rank, size int
	group      C.gt_group // nil after Close
}

// ProcessGroupOptions configures the rendezvous of a group. WorldSize, Host and
// Port are required.
type ProcessGroupOptions struct {
	Rank, WorldSize int
	Host            string // host of the store (libtorch's TCPStore), which rank 0 serves
	Port            int
	Foreign         bool          // a launcher such as torchrun serves the store, not rank 0
	Listen          int           // rank 0: file descriptor of a socket that already listens on Port; 0: none
	Local           bool          // all processes are on this machine
	NoSharedMemory  bool          // all processes all-reduce host memory through gloo, even on one machine
	Prefix          string        // of the keys in the store; must differ between attempts that share a store
	ConnectTimeout  time.Duration // for all processes to join; 0: 10 minutes
	Timeout         time.Duration // see SetTimeout
}

// Rendezvous is a process that has registered in the store, and is not connected to the
// others yet.
type Rendezvous struct {
	group   *ProcessGroup
	timeout time.Duration
}

// NewRendezvous waits until the store can be reached, and registers this process's rank
// there. It panics with an [*Error] if it cannot.
func NewRendezvous(o ProcessGroupOptions) *Rendezvous {
	const op = "NewRendezvous"
	mustLoad()
	host, prefix := C.CString(o.Host), C.CString(o.Prefix)
	defer C.free(unsafe.Pointer(host))
	defer C.free(unsafe.Pointer(prefix))
	listen := -1
	if o.Listen > 0 {
		listen = o.Listen
	}
	r := &Rendezvous{group: &ProcessGroup{rank: o.Rank, size: o.WorldSize}, timeout: o.Timeout}
	// gloo connects within its first operation, under the timeout of all operations.
	connect := orElse(o.ConnectTimeout, 10*time.Minute)
	check(op, C.gt_group_new(C.gt_group_options{
		host: host, prefix: prefix, port: C.int32_t(o.Port), listen_fd: C.int32_t(listen),
		serve: cBool(o.Rank == 0 && !o.Foreign), local: cBool(o.Local), rank: C.int32_t(o.Rank), size: C.int32_t(o.WorldSize),
		no_shared_memory: cBool(o.NoSharedMemory), connect_seconds: connect, wait_seconds: connect,
	}, &r.group.group))
	return r
}

// Registered reports whether all of these ranks have registered.
func (r *Rendezvous) Registered(ranks []int32) bool {
	if len(ranks) == 0 {
		return true
	}
	const op = "Rendezvous.Registered"
	r.group.open(op)
	var all C.int32_t
	check(op, C.gt_group_registered(r.group.group, (*C.int32_t)(&ranks[0]), C.int64_t(len(ranks)), &all))
	return all != 0
}

// Connect waits until all processes have come, and returns their group. It panics with an
// [*Error] if they do not.
func (r *Rendezvous) Connect() *ProcessGroup {
	const op = "Rendezvous.Connect"
	r.group.open(op)
	check(op, C.gt_group_connect(r.group.group))
	check(op, C.gt_group_set_timeout(r.group.group, orElse(r.timeout, aDay)))
	group := *r.group
	r.group.group = nil
	return &group
}

// Close leaves the store, unless Connect has returned a group.
func (r *Rendezvous) Close() { r.group.Close() }

const aDay = 24 * time.Hour

func orElse(d, standard time.Duration) C.double { return C.double(cmp.Or(d, standard).Seconds()) }

// SetTimeout sets how long later collectives on host memory wait for the other processes;
// 0: a day. A process that has exited is detected at once.
func (g *ProcessGroup) SetTimeout(d time.Duration) {
	const op = "ProcessGroup.SetTimeout"
	g.open(op)
	check(op, C.gt_group_set_timeout(g.group, orElse(d, aDay)))
}

// GlooReason returns why host memory is all-reduced through gloo although all processes
// are on this machine. It is empty if they use shared memory, or are on several machines.
func (g *ProcessGroup) GlooReason() string {
	g.open("ProcessGroup.GlooReason")
	return C.GoString(C.gt_group_gloo_reason(g.group))
}

// CheckNCCL panics with an [*Error] if NCCL has detected that another process of a group
// has exited. NCCL detects it between machines, not within one. Any goroutine may call it.
func CheckNCCL() {
	gpu("CheckNCCL", Device{Type: CUDA, Index: -1})
	check("CheckNCCL", C.gt_nccl_check())
}

// AbortNCCL aborts all NCCL collectives that are running or queued. Their results are
// undefined, and the groups accept no more GPU tensors. Any goroutine may call it while
// another one waits for the GPU.
func AbortNCCL() {
	gpu("AbortNCCL", Device{Type: CUDA, Index: -1})
	check("AbortNCCL", C.gt_nccl_abort())
}

// UseGPU adds NCCL collectives on a GPU to the group. Each process must use another GPU.
func (g *ProcessGroup) UseGPU(d Device) {
	const op = "ProcessGroup.UseGPU"
	g.open(op)
	index := gpu(op, d)
	check(op, C.gt_group_use_gpu(g.group, index))
}

// open panics if the group has been closed.
func (g *ProcessGroup) open(op string) {
	if g.group == nil {
		panic(&Error{Op: op, Message: "the group is closed"})
	}
}

// AllReduceAsyncI replaces every tensor by the sum of the tensors at its index over all
// processes, in one collective. All tensors have one dtype; a tensor has the same layout
// in all processes. Through shared memory, sums of 16-bit numbers are accumulated in
// float32, in the order of ranks, and rounded once.
//
// On a GPU it runs concurrently with later work, and through shared memory it runs in Wait,
// so that a faster process does not wait at every call. Later work must not use the tensors
// before Wait. Through gloo it returns with the sums.
func (g *ProcessGroup) AllReduceAsyncI(list []Tensor) {
	const op = "ProcessGroup.AllReduceAsyncI"
	g.open(op)
	p, n := cList(op, list)
	if n == 0 {
		return
	}
	check(op, C.gt_group_all_reduce(g.group, p, n))
	runtime.KeepAlive(list)
}

// Wait makes the GPU's current stream wait for all AllReduceAsyncI calls so far, for which
// the host does not wait, and completes those through shared memory.
func (g *ProcessGroup) Wait() {
	const op = "ProcessGroup.Wait"
	g.open(op)
	check(op, C.gt_group_wait(g.group))
}

// BroadcastI replaces every tensor by that of rank root. The conditions are those of
// AllReduceAsyncI.
func (g *ProcessGroup) BroadcastI(list []Tensor, root int) {
	const op = "ProcessGroup.BroadcastI"
	g.open(op)
	if root < 0 || root >= g.size {
		panic(&Error{Op: op, Message: fmt.Sprintf("there is no rank %d in a group of %d processes", root, g.size)})
	}
	p, n := cList(op, list)
	if n == 0 {
		return
	}
	check(op, C.gt_group_broadcast(g.group, p, n, C.int32_t(root)))
	runtime.KeepAlive(list)
}

// AllGather returns the tensors of all processes as [Size, ...], ordered by rank.
func (g *ProcessGroup) AllGather(t Tensor) Tensor {
	const op = "ProcessGroup.AllGather"
	g.open(op)
	r := C.gt_group_all_gather(g.group, t.defined(op))
	runtime.KeepAlive(t.owner)
	return resultOf(op, r)
}

// Close frees the group, which must not be used afterwards. First close graphs that
// captured its collectives. After a failed call do not call Close but end the process:
// the GPU may run a collective that other processes never join, and Close would wait
// for it.
func (g *ProcessGroup) Close() {
	if g == nil || g.group == nil {
		return
	}
	C.gt_group_free(g.group)
	g.group = nil
}

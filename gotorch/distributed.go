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

// ProcessGroup is several processes that work as one, as in torch.distributed:
// gloo serves tensors in host memory, and NCCL those of GPUs. Processes of one
// machine all-reduce tensors in host memory through memory that they share. All processes must
// call its methods in the same order, with tensors of the same shapes, and from
// one goroutine at a time.
type ProcessGroup struct {
	rank, size int
	group      C.gt_group // nil: closed
}

// ProcessGroupOptions say where the processes of a group meet. WorldSize, Host
// and Port are required.
type ProcessGroupOptions struct {
	Rank, WorldSize int
	Host            string // where the process of rank 0 keeps the store, libtorch's TCPStore
	Port            int
	Foreign         bool          // the store is kept by a launcher, as by torchrun, and not by rank 0
	Listen          int           // rank 0: the descriptor of a socket that listens on Port already; 0: there is none
	Local           bool          // all processes are on this machine
	NoSharedMemory  bool          // all-reduce tensors in host memory through gloo, in all processes, even on one machine
	Prefix          string        // of the keys in the store: another for every attempt that uses one store
	ConnectTimeout  time.Duration // for the others to come; 0: 10 minutes
	Timeout         time.Duration // see SetTimeout
}

// NewProcessGroup waits until all processes have come. It panics with an [*Error]
// if they do not.
func NewProcessGroup(o ProcessGroupOptions) *ProcessGroup {
	const op = "NewProcessGroup"
	r := newRendezvous(op, o)
	defer r.Close()
	return r.connect(op)
}

// Rendezvous is a process that has registered in the store, and is not connected to the
// others yet.
type Rendezvous struct {
	group   *ProcessGroup
	timeout time.Duration
}

// NewRendezvous waits until the store can be reached, and registers this process's rank
// there. It panics with an [*Error] if it cannot.
func NewRendezvous(o ProcessGroupOptions) *Rendezvous { return newRendezvous("NewRendezvous", o) }

func newRendezvous(op string, o ProcessGroupOptions) *Rendezvous {
	mustLoad()
	host, prefix := C.CString(o.Host), C.CString(o.Prefix)
	defer C.free(unsafe.Pointer(host))
	defer C.free(unsafe.Pointer(prefix))
	listen := -1
	if o.Listen > 0 {
		listen = o.Listen
	}
	r := &Rendezvous{group: &ProcessGroup{rank: o.Rank, size: o.WorldSize}, timeout: o.Timeout}
	// gloo waits for the others within its first operation, with the timeout of all.
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
func (r *Rendezvous) Connect() *ProcessGroup { return r.connect("Rendezvous.Connect") }

func (r *Rendezvous) connect(op string) *ProcessGroup {
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

// SetTimeout says how long the next calls wait for the other processes, where the host
// waits; 0: a day. A process that has ended is noticed at once.
func (g *ProcessGroup) SetTimeout(d time.Duration) {
	const op = "ProcessGroup.SetTimeout"
	g.open(op)
	check(op, C.gt_group_set_timeout(g.group, orElse(d, aDay)))
}

// GlooReason returns why tensors in host memory are all-reduced through gloo although all
// processes are on this machine. It is empty where they share memory, or are on several
// machines.
func (g *ProcessGroup) GlooReason() string {
	g.open("ProcessGroup.GlooReason")
	return C.GoString(C.gt_group_gloo_reason(g.group))
}

// Rank returns which of the processes this is, from 0.
func (g *ProcessGroup) Rank() int { return g.rank }

// Size returns how many processes there are.
func (g *ProcessGroup) Size() int { return g.size }

// CheckNCCL panics with an [*Error] where NCCL has noticed that another process of a group
// is gone: it does so between machines, but not within one. Any goroutine may call it.
func CheckNCCL() {
	gpu("CheckNCCL", Device{Type: CUDA, Index: -1})
	check("CheckNCCL", C.gt_nccl_check())
}

// AbortNCCL ends what the GPU does with those of other processes, and waits for: what it leaves
// is of no use, and groups take no tensors of a GPU any more. Any goroutine may call it, while
// another one waits for the GPU.
func AbortNCCL() {
	gpu("AbortNCCL", Device{Type: CUDA, Index: -1})
	check("AbortNCCL", C.gt_nccl_abort())
}

// UseGPU lets the group take tensors of a GPU: each process has another.
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

// AllReduceI sets every tensor to the sum of all processes' tensors at its place in
// the list, in one operation. The tensors have one dtype, and one layout in all
// processes. Through shared memory a sum of 16-bit numbers is added up in float32, by
// rank, and rounded once.
func (g *ProcessGroup) AllReduceI(list []Tensor) {
	g.allReduce("ProcessGroup.AllReduceI", list)
	g.Wait()
}

// AllReduceAsyncI is AllReduceI on a GPU beside what that is given next, which must not
// touch the tensors, nor free them, before Wait. On the CPU it is AllReduceI.
func (g *ProcessGroup) AllReduceAsyncI(list []Tensor) {
	g.allReduce("ProcessGroup.AllReduceAsyncI", list)
}

func (g *ProcessGroup) allReduce(op string, list []Tensor) {
	g.open(op)
	p, n := cList(op, list)
	if n == 0 {
		return
	}
	check(op, C.gt_group_all_reduce(g.group, p, n))
	runtime.KeepAlive(list)
}

// Wait has a GPU finish what it does beside before what it is given next. The host does
// not wait.
func (g *ProcessGroup) Wait() {
	const op = "ProcessGroup.Wait"
	g.open(op)
	check(op, C.gt_group_wait(g.group))
}

// BroadcastI sets every tensor to that of the process of rank root, as AllReduceI
// does to the sum.
func (g *ProcessGroup) BroadcastI(list []Tensor, root int) {
	const op = "ProcessGroup.BroadcastI"
	g.open(op)
	if root < 0 || root >= g.size {
		panic(&Error{Op: op, Message: fmt.Sprintf("there is no process %d of %d", root, g.size)})
	}
	p, n := cList(op, list)
	if n == 0 {
		return
	}
	check(op, C.gt_group_broadcast(g.group, p, n, C.int32_t(root)))
	runtime.KeepAlive(list)
}

// AllGather returns all processes' tensors, [Size, ...], by rank.
func (g *ProcessGroup) AllGather(t Tensor) Tensor {
	const op = "ProcessGroup.AllGather"
	g.open(op)
	r := C.gt_group_all_gather(g.group, t.defined(op))
	runtime.KeepAlive(t.owner)
	return take(op, r)
}

// Close leaves the group, which is not to be used any more. Graphs with calls of the
// group in them are to be closed before it. After a call that has failed, do not close
// it, but end the process: the GPU may be at work on what others will never join in, and
// Close would wait for it.
func (g *ProcessGroup) Close() {
	if g == nil || g.group == nil {
		return
	}
	C.gt_group_free(g.group)
	g.group = nil
}

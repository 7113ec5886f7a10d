// Package distributed is data parallelism over several processes, like torch.distributed:
// each process computes a part of every batch, and all have the same weights.
//
// [FromEnvironment] reads the launcher's variables, [InitProcessGroup] is the rendezvous,
// and [Start] is a launcher for one machine. The collectives have PyTorch's names if it
// has them:
//
//   - [Group.AllReduceAsync], all_reduce with async_op, for which [Group.Wait] waits,
//     [Group.BroadcastTensors] and [Group.AllGatherTensor] are of tensors, and are
//     operators like those of gotorch: they panic, and a CUDA graph may hold them;
//   - [AllGather], [Broadcast] and [Group.Barrier] are of objects and of time, as
//     all_gather_object and its relatives are;
//   - [Group.Within] bounds how long the processes wait for one another, and their GPUs, as
//     PyTorch's watchdog does;
//   - [Group.Leave] is for a process that ends amid a collective;
//   - [Group.SyncError], [Group.SyncStop], [Group.OnLeader], [Group.LeaderFirst] and
//     [Group.CheckSame] see to it that an error of one process ends all of them, where in
//     PyTorch the others would wait.
//
// The leader is the process of rank 0, which alone has the run folder. A nil [*Group]
// is a process by itself, to which every method applies.
package distributed

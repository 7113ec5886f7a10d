// Process groups: libtorch's own store, where the ranks meet, and gloo for tensors in host
// memory. Ranks of one machine all-reduce through memory that they share, without a copy into one
// flat tensor: shared_memory.h. GPUs have NCCL: cuda/nccl.cc.
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>

#include "handle.h"
#include "kernels/cuda_kernels.h"
#include "shared_memory.h"

using namespace iddpm;

struct gt_group_ {
  gt_group_options options;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
  std::unique_ptr<SharedMemory> shared;  // null: all-reduces use gloo
  std::string gloo_reason;               // why, where all ranks are on one machine
  NcclGroup *gpus = nullptr;
};

namespace {

constexpr int64_t kNameBytes = 128;  // of NCCL's

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds));
}

c10::intrusive_ptr<c10d::Store> meet(const gt_group_options &o) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(o.port);
  options.isServer = o.serve != 0;
  options.waitWorkers = false;
  options.timeout = milliseconds(o.connect_seconds);
  if (o.listen_fd >= 0) options.masterListenFd = o.listen_fd;
  auto store = c10::make_intrusive<c10d::TCPStore>(o.host, options);
  return c10::make_intrusive<c10d::PrefixStore>(o.prefix, store);
}

// The key by which a rank registers in the store.
std::string rank_key(int rank) { return "rank/" + std::to_string(rank); }

// While it lives libtorch logs no attempt to connect: what comes of them is an
// error, or nothing.
struct Quiet {
  const int before = FLAGS_caffe2_log_level;
  Quiet() { FLAGS_caffe2_log_level = c10::GLOG_FATAL; }
  ~Quiet() { FLAGS_caffe2_log_level = before; }
};

// The network interface to talk through: the one that GLOO_SOCKET_IFNAME names, as
// in PyTorch; else the loopback one where all are on this machine, whose name may
// lead anywhere.
std::shared_ptr<gloo::transport::Device> interface(const gt_group_options &o) {
  const char *name = std::getenv("GLOO_SOCKET_IFNAME");
  if (name != nullptr && *name != 0) return c10d::ProcessGroupGloo::createDeviceForInterface(name);
  if (o.local != 0) return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

// Has the ranks share memory if they can.
void share_memory(gt_group g) {
  const gt_group_options &o = g->options;
  if (o.size > Segment::kMaxRanks) {
    if (o.local != 0) g->gloo_reason = std::to_string(o.size) + " ranks are more than the " + std::to_string(Segment::kMaxRanks) + " that share memory";
    return;
  }
  std::string refused = o.no_shared_memory != 0 ? "shared memory is turned off" : "";
  g->shared = SharedMemory::join(*g->store, o.rank, o.size, refused, g->gloo_reason);
  if (g->shared != nullptr) g->shared->set_timeout(milliseconds(o.wait_seconds));
}

// The tensors' elements one after the other, in row-major order.
at::Tensor flat(const std::vector<at::Tensor> &list) {
  std::vector<at::Tensor> rows;
  for (const at::Tensor &t : list) rows.push_back(t.detach().reshape({-1}));
  return rows.size() == 1 ? rows[0].clone() : at::cat(rows);
}

void unflatten(const at::Tensor &flat, const std::vector<at::Tensor> &list) {
  int64_t at = 0;
  for (const at::Tensor &t : list) {
    t.detach().copy_(flat.narrow(0, at, t.numel()).view(t.sizes()));
    at += t.numel();
  }
}

// Has gloo work on all tensors at once, in place.
template <class F>
void at_once(const std::vector<at::Tensor> &list, F &&work) {
  std::vector<at::Tensor> whole{flat(list)};
  work(whole)->wait();
  unflatten(whole[0], list);
}

// Whether tensors, which must be of one kind, are for NCCL.
bool for_gpus(gt_group g, const std::vector<at::Tensor> &list) {
  for (const at::Tensor &t : list) {
    TORCH_CHECK(t.defined() && t.device() == list[0].device() && t.scalar_type() == list[0].scalar_type(),
                "a process group takes tensors of one dtype on one device");
  }
  if (!list[0].is_cuda()) return false;
  TORCH_CHECK(g->gpus != nullptr, "the process group knows of no GPU");
  return true;
}

}  // namespace

gt_error gt_group_new(gt_group_options o, gt_group *out) {
  return guard([&] {
    TORCH_CHECK(o.size > 0 && o.rank >= 0 && o.rank < o.size, "there is no process ", o.rank, " of ", o.size);
    Quiet quiet;
    auto g = std::make_unique<gt_group_>();
    g->store = meet(o);
    g->options = o;
    g->options.host = g->options.prefix = nullptr;  // the caller's
    g->store->set(rank_key(o.rank), std::string("here"));
    *out = g.release();
  });
}

gt_error gt_group_registered(gt_group g, const int32_t *ranks, int64_t n, int32_t *all) {
  return guard([&] {
    std::vector<std::string> keys;
    for (int64_t i = 0; i < n; i++) keys.push_back(rank_key(ranks[i]));
    *all = g->store->check(keys);
  });
}

gt_error gt_group_connect(gt_group g) {
  return guard([&] {
    const gt_group_options &o = g->options;
    Quiet quiet;
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(o.wait_seconds));
    options->devices.push_back(interface(o));
    g->gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(g->store, o.rank, o.size, options);
    share_memory(g);
  });
}

gt_error gt_group_set_timeout(gt_group g, double wait_seconds) {
  return guard([&] {
    static_cast<c10d::Backend &>(*g->gloo).setTimeout(milliseconds(wait_seconds));
    if (g->shared != nullptr) g->shared->set_timeout(milliseconds(wait_seconds));
  });
}

const char *gt_group_gloo_reason(gt_group g) { return g->gloo_reason.c_str(); }

// None joins where NCCL is missing in one: the others would wait for it without end.
gt_error gt_group_use_gpu(gt_group g, int32_t device) {
  return guard([&] {
    const CudaKernels &gpus = cuda_kernels();
    int rank = g->gloo->getRank(), size = g->gloo->getSize();
    std::string name(kNameBytes, 0);
    gt_error mine = guard([&] {
      gpus.nccl_load();
      if (rank == 0) name = gpus.nccl_name();
    });
    std::vector<at::Tensor> failures{at::full({1}, mine != nullptr, at::kInt)};
    g->gloo->allreduce(failures)->wait();
    if (mine != nullptr) {
      std::string why = mine;
      gt_error_free(mine);
      TORCH_CHECK(false, why);
    }
    TORCH_CHECK(failures[0].item<int>() == 0, "NCCL is not there in another process");
    std::vector<at::Tensor> bytes{at::from_blob(name.data(), {kNameBytes}, at::kByte)};
    g->gloo->broadcast(bytes, {})->wait();
    g->gpus = gpus.nccl_join(name, static_cast<at::DeviceIndex>(device), rank, size);
  });
}

gt_error gt_group_all_reduce(gt_group g, const gt_tensor *tensors, int64_t n) {
  return guard([&] {
    std::vector<at::Tensor> list = unwrap_list(tensors, n);
    if (for_gpus(g, list)) return cuda_kernels().nccl_all_reduce(g->gpus, list);
    if (g->shared != nullptr && SharedMemory::accepts(list[0].scalar_type())) return g->shared->launch(list);
    at_once(list, [&](auto &whole) { return g->gloo->allreduce(whole); });
  });
}

gt_error gt_group_wait(gt_group g) {
  return guard([&] {
    if (g->shared != nullptr) g->shared->wait();
    if (g->gpus != nullptr) cuda_kernels().nccl_wait(g->gpus);
  });
}

gt_error gt_group_broadcast(gt_group g, const gt_tensor *tensors, int64_t n, int32_t root) {
  return guard([&] {
    std::vector<at::Tensor> list = unwrap_list(tensors, n);
    if (for_gpus(g, list)) return cuda_kernels().nccl_broadcast(g->gpus, list, root);
    c10d::BroadcastOptions options;
    options.rootRank = root;
    at_once(list, [&](auto &whole) { return g->gloo->broadcast(whole, options); });
  });
}

gt_result gt_group_all_gather(gt_group g, gt_tensor t) {
  return guard_tensor([&] {
    at::Tensor mine = unwrap(t).detach().contiguous();
    std::vector<int64_t> shape = mine.sizes().vec();
    shape.insert(shape.begin(), g->gloo->getSize());
    at::Tensor all = at::empty(shape, mine.options());
    if (for_gpus(g, {mine})) {
      cuda_kernels().nccl_all_gather(g->gpus, mine, all);
      return all;
    }
    std::vector<at::Tensor> in{mine};
    std::vector<std::vector<at::Tensor>> out{all.unbind(0)};
    g->gloo->allgather(out, in)->wait();
    return all;
  });
}

void gt_group_free(gt_group g) {
  if (g->gpus != nullptr) cuda_kernels().nccl_leave(g->gpus);
  delete g;
}

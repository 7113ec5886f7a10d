// The emulated GPU has no NCCL.
#include "../kernels.h"

namespace iddpm::cuda {
namespace {

[[noreturn]] void refuse() { TORCH_CHECK(false, "the emulated GPU does not support NCCL"); }

}  // namespace

void nccl_load() { refuse(); }
std::string nccl_name() { refuse(); }
NcclGroup *nccl_join(const std::string &, at::DeviceIndex, int, int) { refuse(); }
void nccl_all_reduce(NcclGroup *, const std::vector<at::Tensor> &) { refuse(); }
void nccl_wait(NcclGroup *) { refuse(); }
void nccl_broadcast(NcclGroup *, const std::vector<at::Tensor> &, int) { refuse(); }
void nccl_all_gather(NcclGroup *, const at::Tensor &, at::Tensor &) { refuse(); }
void nccl_leave(NcclGroup *) { refuse(); }

}  // namespace iddpm::cuda

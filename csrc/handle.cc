// Slots, scopes and errors.
#include "handle.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

namespace iddpm {
namespace {

struct Scope;

struct Slot : gt_slot {
  Scope *scope;     // NULL: unscoped, or on the free list
  size_t position;  // of this slot in scope->slots
  at::Tensor tensor;
};

struct Scope {
  std::vector<Slot *> slots;
};

// All slots of the process. Slabs are never unmapped, so the generation of a stale
// gt_tensor can always be read.
class Slots {
 public:
  Slot *take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) grow();
    Slot *s = free_.back();
    free_.pop_back();
    ++live_;
    return s;
  }

  // The caller has already reset the tensors.
  void give(Slot *const *list, size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.insert(free_.end(), list, list + n);
    live_ -= static_cast<int64_t>(n);
  }

  int64_t live() {
    std::lock_guard<std::mutex> lock(mutex_);
    return live_;
  }

 private:
  static constexpr size_t kSlab = 1024;

  void grow() {
    Slot *slab = new Slot[kSlab]();
    free_.reserve(free_.capacity() + kSlab);
    for (size_t i = kSlab; i-- > 0;) free_.push_back(slab + i);
  }

  std::mutex mutex_;
  std::vector<Slot *> free_;
  int64_t live_ = 0;
};

// Leaked on purpose: cleanups may still run while the process exits.
Slots &slots() {
  static Slots *s = new Slots;
  return *s;
}

thread_local std::vector<Scope *> scope_stack;

Slot *slot_of(gt_tensor t) { return static_cast<Slot *>(t); }

void enter(Slot *s, Scope *scope) {
  s->scope = scope;
  s->scoped = scope != nullptr;
  if (scope == nullptr) return;
  s->position = scope->slots.size();
  scope->slots.push_back(s);
}

// Removes s from its scope in constant time: the last slot moves to its position.
void leave(Slot *s) {
  if (s->scope == nullptr) return;
  std::vector<Slot *> &list = s->scope->slots;
  Slot *last = list.back();
  list[s->position] = last;
  last->position = s->position;
  list.pop_back();
  s->scope = nullptr;
}

// The index of a scope in this thread's stack; -1: the scope belongs to another thread,
// and this thread must not access its slots.
int32_t depth_of(const Scope *scope) {
  for (size_t i = scope_stack.size(); i-- > 0;) {
    if (scope_stack[i] == scope) return static_cast<int32_t>(i);
  }
  return -1;
}

constexpr const char *kForeignScope = "the tensor belongs to a scope of another thread";

// Marks the tensor of that generation as freed; false: it already was.
bool kill(Slot *s, uint64_t generation) {
  return __atomic_compare_exchange_n(&s->generation, &generation, generation + 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED);
}

void bury(Slot *s) {
  s->scope = nullptr;
  s->tensor.reset();
}

}  // namespace

gt_tensor wrap(at::Tensor t) {
  Slot *s = slots().take();
  s->tensor = std::move(t);
  enter(s, scope_stack.empty() ? nullptr : scope_stack.back());
  return s;
}

const at::Tensor &unwrap(gt_tensor t) {
  static const at::Tensor *undefined = new at::Tensor;
  return t == nullptr ? *undefined : slot_of(t)->tensor;
}

std::vector<at::Tensor> unwrap_list(const gt_tensor *list, int64_t n) {
  std::vector<at::Tensor> out;
  out.reserve(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) out.push_back(unwrap(list[i]));
  return out;
}

}  // namespace iddpm

using namespace iddpm;

void gt_error_free(gt_error e) { free(e); }

int64_t gt_live_tensors(void) { return slots().live(); }

gt_error gt_free(gt_tensor t, uint64_t generation) {
  return guard([&] {
    Slot *s = slot_of(t);
    if (__atomic_load_n(&s->generation, __ATOMIC_ACQUIRE) != generation) return;
    TORCH_CHECK(s->scope == nullptr || depth_of(s->scope) >= 0, kForeignScope);
    if (!kill(s, generation)) return;
    leave(s);
    bury(s);
    slots().give(&s, 1);
  });
}

void gt_scope_push(void) { scope_stack.push_back(new Scope); }

void gt_scope_pop(void) {
  Scope *scope = scope_stack.back();
  scope_stack.pop_back();
  // Youngest first, so that an autograd graph is freed from its end without recursion.
  for (size_t i = scope->slots.size(); i-- > 0;) {
    kill(scope->slots[i], scope->slots[i]->generation);
    bury(scope->slots[i]);
  }
  slots().give(scope->slots.data(), scope->slots.size());
  delete scope;
}

gt_error gt_scope_move_out(gt_tensor t) {
  return guard([&] {
    Slot *s = slot_of(t);
    if (s->scope == nullptr) return;
    int32_t depth = depth_of(s->scope);
    TORCH_CHECK(depth >= 0, kForeignScope);
    leave(s);
    enter(s, depth == 0 ? nullptr : scope_stack[static_cast<size_t>(depth) - 1]);
  });
}

// gotorch/loader.c compares this text with its own.
#define GT_API(ret, name, args) #ret " " #name #args ";"
#define GT_STRUCT(name, bytes) #name " " #bytes ";"
extern "C" __attribute__((visibility("default"))) const char gt_declarations[] =
#include "iddpm.h"
    ;
#undef GT_API
#undef GT_STRUCT

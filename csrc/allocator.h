// The allocator of CPU tensors.
#pragma once

namespace iddpm {

// Whether the memory of freed tensors is kept for later ones, as at the start.
bool cpu_cache_enabled();

// Turns that on, or off and frees what is kept.
void enable_cpu_cache(bool on);

}  // namespace iddpm

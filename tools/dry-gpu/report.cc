// The report is a file of lines: how, kind, what, bytes. Each line is written at once, since
// a Go program exits without running C's exit handlers. scripts/dry_gpu.py sums them up.
#include <cxxabi.h>
#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "dry.h"

namespace dry {
namespace {

int open_report() {
  const char *path = getenv("DRY_GPU_REPORT");
  return path == nullptr || *path == 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

void write_line(const std::string &line) {
  static const int file = open_report();
  if (file >= 0 && write(file, line.data(), line.size()) < 0) perror("stand-in GPU: the report");
}

std::string readable(const std::string &name) {
  int failed = 0;
  char *s = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &failed);
  std::string result = s != nullptr ? s : name;
  free(s);
  return result;
}

// A number for a name: long names are written to the report once.
std::string number_of(const std::string &name) {
  static auto &numbers = *new std::unordered_map<std::string, std::string>;
  static auto &mutex = *new std::mutex;
  std::lock_guard<std::mutex> lock(mutex);
  auto [at, fresh] = numbers.try_emplace(name, std::to_string(numbers.size()));
  if (fresh) write_line("name\t" + at->second + "\t" + readable(name) + "\n");
  return at->second;
}

}  // namespace

void report(const char *how, const char *kind, const std::string &what, size_t bytes) {
  write_line(std::string(how) + "\t" + kind + "\t" + number_of(what) + "\t" + std::to_string(bytes) + "\n");
}

void violation(const std::string &text) {
  report("eager", "violation", text);
  fprintf(stderr, "stand-in GPU: %s\n", text.c_str());
  const char *strict = getenv("DRY_GPU_STRICT");
  if (strict == nullptr || *strict != '1') return;
  void *frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
  abort();
}

void unknown(const std::string &name) {
  report("eager", "unknown", name);
  fprintf(stderr, "stand-in GPU: %s is not modelled\n", name.c_str());
}

cudaError_t &last_error() {
  static thread_local cudaError_t error = cudaSuccess;
  return error;
}

// Leaked on purpose: libraries are closed at the end of the process.
State &state() {
  static State &s = *new State;
  return s;
}

}  // namespace dry

// Called by the generated stubs: see stubs.py.
DRY_API int dry_gpu_unknown(const char *name, int error) {
  dry::unknown(name);
  return error;
}

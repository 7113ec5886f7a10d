#include "segment.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <ctime>
#include <random>
#include <sstream>
#include <thread>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace iddpm {

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

namespace {

constexpr int kSpins = 100;           // looks at another rank's phase before the kernel is asked to wait
constexpr long kNap = 100 * 1000000;  // nanoseconds between two looks at whether its process still runs

constexpr char kName[] = "iddpm-all-reduce";

// The head of the segment; buffers follow.
struct Header {
  uint64_t token;  // tells this segment from all others
  Signals signals[Segment::kMaxRanks];
};
constexpr size_t kHeaderBytes = 4 * 4096;
static_assert(sizeof(Header) <= kHeaderBytes);

size_t bytes_for(int size) { return kHeaderBytes + 2 * static_cast<size_t>(size) * Segment::kBufferBytes; }

// Throws with the system's reason if a call has returned less than 0.
int checked(int64_t result, const std::string &what) {
  if (result < 0) throw std::runtime_error(what + ": " + std::strerror(errno));
  return static_cast<int>(result);
}

// Runs f, and returns what it throws, or nothing.
template <class F>
std::string refusal(F &&f) {
  try {
    f();
    return "";
  } catch (const std::exception &e) {
    return e.what();
  }
}

// The name of the running machine, until its next start. Many machines may have one host name.
std::string machine() {
  char host[256] = "", boot[64] = "";
  gethostname(host, sizeof host - 1);
  Descriptor file(checked(open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC), "/proc/sys/kernel/random/boot_id"));
  checked(read(file.get(), boot, 36), "/proc/sys/kernel/random/boot_id");
  return std::string(host) + "/" + boot;
}

// Names the namespace in which this process has its id.
std::string pid_namespace() {
  char name[64] = "";
  checked(readlink("/proc/self/ns/pid", name, sizeof name - 1), "/proc/self/ns/pid");
  return name;
}

// What a rank tells the others through the store.
struct Peer {
  int pid = 0, fd = -1;  // fd is rank 0's, of the segment
  uint64_t token = 0;
  std::string machine = "-", pid_namespace = "-", refused;

  std::string text() const {
    std::ostringstream out;
    out << pid << ' ' << fd << ' ' << token << ' ' << machine << ' ' << pid_namespace << ' ' << refused;
    return out.str();
  }

  static Peer parse(const std::string &text) {
    Peer p;
    std::istringstream in(text);
    in >> p.pid >> p.fd >> p.token >> p.machine >> p.pid_namespace >> std::ws;
    std::getline(in, p.refused);
    return p;
  }
};

// Returns each rank's text.
std::vector<std::string> exchange(c10d::Store &store, const std::string &name, int rank, int size, const std::string &mine) {
  auto key = [&](int r) { return "shared_memory/" + name + "/" + std::to_string(r); };
  store.set(key(rank), mine);
  std::vector<std::string> all;
  for (int r = 0; r < size; r++) all.push_back(store.get_to_str(key(r)));
  return all;
}

// The first rank's text that is not empty, with the rank.
std::string first_of(const std::vector<std::string> &texts) {
  for (size_t r = 0; r < texts.size(); r++) {
    if (!texts[r].empty()) return "rank " + std::to_string(r) + ": " + texts[r];
  }
  return "";
}

// Whether the ranks are on one machine and may share memory; else the reason, which is empty for
// several machines.
bool may_share(const std::vector<Peer> &peers, std::string &reason) {
  std::vector<std::string> refused;
  for (const Peer &p : peers) {
    if (p.machine != peers[0].machine) return false;
    bool apart = p.pid_namespace != peers[0].pid_namespace;
    refused.push_back(p.refused.empty() && apart ? "it is in another PID namespace (container) than rank 0" : p.refused);
  }
  reason = first_of(refused);
  return reason.empty();
}

// Makes the segment's file, which has no name. Its pages are taken now: a lack of them would later be a SIGBUS.
Descriptor create(size_t bytes, uint64_t token) {
  Descriptor fd(checked(memfd_create(kName, MFD_CLOEXEC), "memfd_create"));
  errno = posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes));
  checked(-errno, "allocating " + std::to_string(bytes >> 20) + " MiB of shared memory");
  checked(pwrite(fd.get(), &token, sizeof token, 0), "writing to shared memory");
  return fd;
}

// On a clone of rank 0's machine, which has its name, the process of that id is another one.
Descriptor open_segment(const Peer &leader) {
  std::string path = "/proc/" + std::to_string(leader.pid) + "/fd/" + std::to_string(leader.fd);
  char target[256] = "";
  checked(readlink(path.c_str(), target, sizeof target - 1), path);
  bool ours = std::string(target).find(kName) != std::string::npos;
  Descriptor fd(ours ? checked(open(path.c_str(), O_RDWR | O_CLOEXEC), path) : -1);
  uint64_t token = 0;
  if (ours) checked(pread(fd.get(), &token, sizeof token, 0), path);
  if (!ours || token != leader.token) throw std::runtime_error("process " + std::to_string(leader.pid) + " is not rank 0");
  return fd;
}

uint64_t random_token() {
  std::random_device random;
  return static_cast<uint64_t>(random()) << 32 | random();
}

// What this rank tells the others. Rank 0 makes the segment.
Peer describe(int rank, int size, const std::string &refused, Descriptor &file) {
  Peer mine;
  mine.refused = refusal([&] {
    mine.pid = getpid(), mine.machine = machine(), mine.pid_namespace = pid_namespace();
    if (!refused.empty()) throw std::runtime_error(refused);
    if (rank > 0) return;
    mine.token = random_token();
    file = create(bytes_for(size), mine.token);
    mine.fd = file.get();
  });
  return mine;
}

}  // namespace

// The ranks exchange what each has, and then whether each has got at what the others have.
std::unique_ptr<Segment> Segment::join(c10d::Store &store, int rank, int size, const std::string &refused, std::string &reason) {
  Descriptor file;  // rank 0's stays open until all have opened it
  std::vector<Peer> peers;
  for (const std::string &text : exchange(store, "peer", rank, size, describe(rank, size, refused, file).text())) peers.push_back(Peer::parse(text));
  if (!may_share(peers, reason)) return nullptr;
  std::unique_ptr<Segment> segment;
  std::string failed = refusal([&] {
    if (rank > 0) file = open_segment(peers[0]);
    segment = std::make_unique<Segment>(rank, size, file.get());
    for (const Peer &p : peers) segment->watch(p.pid);
  });
  reason = first_of(exchange(store, "ready", rank, size, failed));
  return reason.empty() ? std::move(segment) : nullptr;
}

Segment::Segment(int rank, int size, int fd) : rank_(rank), size_(size) {
  void *base = mmap(nullptr, bytes_for(size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  checked(base == MAP_FAILED ? -1 : 0, "mapping shared memory");
  base_ = static_cast<char *>(base);
}

// Those who wait for this rank learn that it has left.
Segment::~Segment() {
  signals(rank_).left.store(1, std::memory_order_release);
  wake();
  munmap(base_, bytes_for(size_));
}

void Segment::watch(int pid) {
  std::string what = "pidfd_open of process " + std::to_string(pid);
  processes_.emplace_back(checked(syscall(SYS_pidfd_open, pid, 0), what));
}

Signals &Segment::signals(int rank) const { return reinterpret_cast<Header *>(base_)->signals[rank]; }

char *Segment::buffer(int rank, int turn) const { return base_ + kHeaderBytes + (2 * rank + turn) * kBufferBytes; }

void Segment::wake() { syscall(SYS_futex, &signals(rank_).phase, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

void Segment::announce(uint32_t phase) {
  signals(rank_).phase.store(phase, std::memory_order_release);
  wake();
}

// Phases are compared as a clock's hands are: they may wrap around.
bool Segment::reached(int other, uint32_t phase) const {
  return static_cast<int32_t>(signals(other).phase.load(std::memory_order_acquire) - phase) >= 0;
}

// The last look is after the one that finds the process gone: it may have ended this phase before that.
void Segment::check_alive(int other, uint32_t phase) const {
  pollfd process{processes_[other].get(), POLLIN, 0};
  bool ended = poll(&process, 1, 0) > 0;
  bool left = signals(other).left.load(std::memory_order_acquire) != 0;
  if (ended || left) TORCH_CHECK(reached(other, phase), "rank ", other, ended ? " has ended" : " has left the group");
}

void Segment::await(int other, uint32_t phase, std::chrono::steady_clock::time_point deadline) const {
  for (int i = 0; i < kSpins && !reached(other, phase); i++) std::this_thread::yield();
  while (!reached(other, phase)) {
    check_alive(other, phase);
    TORCH_CHECK(std::chrono::steady_clock::now() < deadline, "timed out waiting for rank ", other);
    uint32_t seen = signals(other).phase.load(std::memory_order_acquire);
    timespec nap{0, kNap};
    if (!reached(other, phase)) syscall(SYS_futex, &signals(other).phase, FUTEX_WAIT, seen, &nap, nullptr, 0);
  }
}

}  // namespace iddpm

// A library to preload: it counts the calls of one kind on files under given folders, and fails some of them.
//
// The environment, read at the first call after it is set, so that a forked process can get its own:
//   FAILING_CALLS          KIND:FIRST:COUNT:ERRNO    fails COUNT calls from number FIRST on, counted from 1
//   FAILING_CALLS_UNDER    FOLDER[:FOLDER...]        absolute paths
//   FAILING_CALLS_COUNTER  a file of zeros, as long as Counters, which all processes of a program share
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

enum Kind { kWrite, kSync, kRename, kOpen, kMkdir, kRead, kKinds };
const char* const kNames[kKinds] = {"write", "sync", "rename", "open", "mkdir", "read"};

struct Counters {
  unsigned long long calls[kKinds], failed;
};

struct Plan {
  const char* under;
  int kind, error;
  unsigned long long first, count;
  Counters* counters;
};

const Plan* ThePlan() {
  static Plan plan;
  static const Plan* ready = nullptr;
  if (const Plan* found = __atomic_load_n(&ready, __ATOMIC_ACQUIRE)) return found;
  const char *text = getenv("FAILING_CALLS"), *under = getenv("FAILING_CALLS_UNDER"),
             *counter = getenv("FAILING_CALLS_COUNTER");
  if (!text || !under || !counter) return nullptr;
  char name[16];
  Plan made;
  if (sscanf(text, "%15[a-z]:%llu:%llu:%d", name, &made.first, &made.count, &made.error) != 4) return nullptr;
  made.kind = kKinds;
  for (int i = 0; i < kKinds; ++i)
    if (!strcmp(name, kNames[i])) made.kind = i;
  const int file = syscall(SYS_openat, AT_FDCWD, counter, O_RDWR | O_CLOEXEC, 0);
  if (file < 0) return nullptr;
  void* memory = mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  syscall(SYS_close, file);
  if (memory == MAP_FAILED) return nullptr;
  made.counters = static_cast<Counters*>(memory);
  made.under = strdup(under);
  static int taken = 0;
  if (__atomic_exchange_n(&taken, 1, __ATOMIC_ACQ_REL)) return __atomic_load_n(&ready, __ATOMIC_ACQUIRE);
  plan = made;
  __atomic_store_n(&ready, &plan, __ATOMIC_RELEASE);
  return &plan;
}

bool Under(const Plan& plan, const char* path) {
  for (const char* at = plan.under; *at;) {
    const size_t length = strcspn(at, ":");
    if (!strncmp(path, at, length) && (path[length] == '/' || !path[length])) return true;
    at += length + (at[length] == ':');
  }
  return false;
}

bool Count(const Plan& plan, int kind) {
  const unsigned long long number = __atomic_add_fetch(&plan.counters->calls[kind], 1, __ATOMIC_RELAXED);
  if (kind != plan.kind || number < plan.first || number >= plan.first + plan.count) return false;
  __atomic_add_fetch(&plan.counters->failed, 1, __ATOMIC_RELAXED);
  errno = plan.error;
  return true;
}

bool Absolute(int folder, const char* path, char* out) {
  if (path[0] == '/') return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
  char start[PATH_MAX];
  if (folder == AT_FDCWD) {
    if (!getcwd(start, sizeof(start))) return false;
  } else {
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", folder);
    const ssize_t length = readlink(link, start, sizeof(start) - 1);
    if (length < 0) return false;
    start[length] = 0;
  }
  return snprintf(out, PATH_MAX, "%s/%s", start, path) < PATH_MAX;
}

// Whether this call on a path has to fail; errno is set then.
bool Fails(Kind kind, int folder, const char* path) {
  const Plan* plan = ThePlan();
  char name[PATH_MAX];
  return plan && path && Absolute(folder, path, name) && Under(*plan, name) && Count(*plan, kind);
}

bool Fails(Kind kind, int file) {
  const Plan* plan = ThePlan();
  if (!plan) return false;
  const int before = errno;
  char link[64], name[PATH_MAX];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, name, sizeof(name) - 1);
  errno = before;
  if (length < 0) return false;
  name[length] = 0;
  return Under(*plan, name) && Count(*plan, kind);
}

template <class Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

bool Writes(int flags) { return flags & (O_WRONLY | O_RDWR | O_CREAT); }
bool Writes(const char* mode) { return strpbrk(mode, "wa+") != nullptr; }

}  // namespace

#define NEXT(name) static const auto next = Next<decltype(&name)>(#name)

extern "C" {

#define OPEN(name)                                                     \
  int name(const char* path, int flags, ...) {                         \
    va_list rest;                                                      \
    va_start(rest, flags);                                             \
    const mode_t mode = va_arg(rest, int);                             \
    va_end(rest);                                                      \
    NEXT(name);                                                        \
    return Writes(flags) && Fails(kOpen, AT_FDCWD, path) ? -1 : next(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                   \
  int name(int folder, const char* path, int flags, ...) {             \
    va_list rest;                                                      \
    va_start(rest, flags);                                             \
    const mode_t mode = va_arg(rest, int);                             \
    va_end(rest);                                                      \
    NEXT(name);                                                        \
    return Writes(flags) && Fails(kOpen, folder, path) ? -1 : next(folder, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                    \
  FILE* name(const char* path, const char* mode) {                     \
    NEXT(name);                                                        \
    return Writes(mode) && Fails(kOpen, AT_FDCWD, path) ? nullptr : next(path, mode); \
  }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int file, const void* data, size_t size) {
  NEXT(write);
  return Fails(kWrite, file) ? -1 : next(file, data, size);
}
ssize_t writev(int file, const struct iovec* parts, int count) {
  NEXT(writev);
  return Fails(kWrite, file) ? -1 : next(file, parts, count);
}
ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
  NEXT(pwrite);
  return Fails(kWrite, file) ? -1 : next(file, data, size, at);
}
ssize_t pwrite64(int file, const void* data, size_t size, off64_t at) {
  NEXT(pwrite64);
  return Fails(kWrite, file) ? -1 : next(file, data, size, at);
}
ssize_t sendfile(int out, int in, off_t* at, size_t size) {
  static const auto next = Next<ssize_t (*)(int, int, off_t*, size_t)>("sendfile");
  return Fails(kRead, in) || Fails(kWrite, out) ? -1 : next(out, in, at, size);
}
ssize_t sendfile64(int out, int in, off64_t* at, size_t size) {
  static const auto next = Next<ssize_t (*)(int, int, off64_t*, size_t)>("sendfile64");
  return Fails(kRead, in) || Fails(kWrite, out) ? -1 : next(out, in, at, size);
}
int ftruncate(int file, off_t size) {
  NEXT(ftruncate);
  return Fails(kWrite, file) ? -1 : next(file, size);
}
int ftruncate64(int file, off64_t size) {
  NEXT(ftruncate64);
  return Fails(kWrite, file) ? -1 : next(file, size);
}
size_t fwrite(const void* data, size_t size, size_t count, FILE* file) {
  NEXT(fwrite);
  return Fails(kWrite, fileno(file)) ? 0 : next(data, size, count, file);
}
int fflush(FILE* file) {
  NEXT(fflush);
  return file && Fails(kWrite, fileno(file)) ? EOF : next(file);
}

int fsync(int file) {
  NEXT(fsync);
  return Fails(kSync, file) ? -1 : next(file);
}
int fdatasync(int file) {
  NEXT(fdatasync);
  return Fails(kSync, file) ? -1 : next(file);
}

int rename(const char* from, const char* to) {
  NEXT(rename);
  return Fails(kRename, AT_FDCWD, to) ? -1 : next(from, to);
}
int renameat(int folder, const char* from, int target, const char* to) {
  NEXT(renameat);
  return Fails(kRename, target, to) ? -1 : next(folder, from, target, to);
}
int renameat2(int folder, const char* from, int target, const char* to, unsigned flags) {
  static const auto next = Next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  return Fails(kRename, target, to) ? -1 : next(folder, from, target, to, flags);
}

int mkdir(const char* path, mode_t mode) {
  NEXT(mkdir);
  return Fails(kMkdir, AT_FDCWD, path) ? -1 : next(path, mode);
}
int mkdirat(int folder, const char* path, mode_t mode) {
  NEXT(mkdirat);
  return Fails(kMkdir, folder, path) ? -1 : next(folder, path, mode);
}

ssize_t read(int file, void* data, size_t size) {
  NEXT(read);
  return Fails(kRead, file) ? -1 : next(file, data, size);
}
ssize_t pread(int file, void* data, size_t size, off_t at) {
  NEXT(pread);
  return Fails(kRead, file) ? -1 : next(file, data, size, at);
}
ssize_t pread64(int file, void* data, size_t size, off64_t at) {
  NEXT(pread64);
  return Fails(kRead, file) ? -1 : next(file, data, size, at);
}
size_t fread(void* data, size_t size, size_t count, FILE* file) {
  NEXT(fread);
  return Fails(kRead, fileno(file)) ? 0 : next(data, size, count, file);
}

}  // extern "C"

// A double of the CUDA driver: runs the kernels of kernels.cu on the host, the threads of a point at the same time and
// the others one after the other, and refuses what the driver refuses. EDVR_DOUBLE_ARCHITECTURES has the GPUs, such as
// 80,90; EDVR_DOUBLE_FAILS=cuLaunchKernel:719 makes a call fail; EDVR_DOUBLE_LOG is a file that gets the name of each
// call.

#include <dlfcn.h>
#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels.cu"

namespace {

bool initialised = false;
int context, module_handle;
std::map<void*, std::string> kernels;   // names of those that were requested
std::mutex mutex;                        // the emulated GPU runs one kernel at a time

// The threads of a point meet where they exchange values.
pthread_barrier_t meeting;
float exchanged[32];
thread_local int lane;

float SumOfLanes(float value, int lanes) {
  if (lanes == 1) return value;
  exchanged[lane] = value;
  pthread_barrier_wait(&meeting);
  float sum = 0.f;
  for (int i = 0; i < lanes; ++i) sum += exchanged[i];
  pthread_barrier_wait(&meeting);
  return sum;
}

int Log(const char* call, const std::string& detail = "") {
  std::lock_guard<std::mutex> lock(mutex);
  if (const char* path = std::getenv("EDVR_DOUBLE_LOG")) {
    std::FILE* file = std::fopen(path, "a");
    std::fprintf(file, "%s%s%s\n", call, detail.empty() ? "" : " ", detail.c_str());
    std::fclose(file);
  }
  const char* fails = std::getenv("EDVR_DOUBLE_FAILS");
  const std::string name = std::string(call) + ":";
  if (fails != nullptr && std::string(fails).compare(0, name.size(), name) == 0) return std::atoi(fails + name.size());
  return initialised ? 0 : 3;   // CUDA_ERROR_NOT_INITIALIZED
}

std::vector<int> Architectures() {
  std::vector<int> found;
  const char* text = std::getenv("EDVR_DOUBLE_ARCHITECTURES");
  for (const char* at = text == nullptr ? "" : text; *at != 0;) {
    found.push_back(static_cast<int>(std::strtol(at, const_cast<char**>(&at), 10)));
    if (*at == ',') ++at;
  }
  return found;
}

}  // namespace

extern "C" {

int cuInit(unsigned flags) {
  initialised = flags == 0;
  return Log("cuInit");
}
int cuDeviceGetCount(int* count) {
  *count = static_cast<int>(Architectures().size());
  return Log("cuDeviceGetCount");
}
int cuDeviceGet(int* device, int number) {
  *device = number;
  const int code = Log("cuDeviceGet");
  return code ? code : number < static_cast<int>(Architectures().size()) ? 0 : 101;   // CUDA_ERROR_INVALID_DEVICE
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  const int code = Log("cuDeviceGetAttribute");
  if (code) return code;
  if (device >= static_cast<int>(Architectures().size())) return 101;
  if (attribute != 75 && attribute != 76) return 1;   // CUDA_ERROR_INVALID_VALUE
  *value = attribute == 75 ? Architectures()[device] / 10 : Architectures()[device] % 10;
  return 0;
}
int cuCtxGetCurrent(void** result) {
  const int code = Log("cuCtxGetCurrent");
  *result = std::getenv("EDVR_DOUBLE_NO_CONTEXT") ? nullptr : &context;
  return code;
}
int cuCtxGetDevice(int* device) {
  *device = 0;
  return Log("cuCtxGetDevice");
}
int cuModuleLoadData(void** module, const void* image) {
  const int code = Log("cuModuleLoadData");
  if (code) return code;
  const std::string start(static_cast<const char*>(image), 4);
  if (start != "\x7f" "ELF" && start.compare(0, 2, "//") != 0) return 200;   // CUDA_ERROR_INVALID_IMAGE
  *module = &module_handle;
  return 0;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  const int code = Log("cuModuleGetFunction", name);
  if (code) return code;
  if (module != &module_handle) return 400;   // CUDA_ERROR_INVALID_HANDLE
  Dl_info info;
  dladdr(&context, &info);
  *function = dlsym(dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD), name);
  if (*function == nullptr) return 500;   // CUDA_ERROR_NOT_FOUND
  std::lock_guard<std::mutex> lock(mutex);
  kernels[*function] = name;
  return 0;
}
int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared_bytes, void* stream, void** arguments, void** extra) {
  std::string name;
  {
    std::lock_guard<std::mutex> lock(mutex);
    name = kernels[function];
  }
  const int code = Log("cuLaunchKernel", name + " " + std::to_string(grid_x) + " " + std::to_string(block_x));
  if (code) return code;
  if (name.empty() || stream != reinterpret_cast<void*>(0x5eed)) return 400;
  if (grid_x < 1 || grid_x > 2147483647u || block_x < 1 || block_x > 1024 || grid_y * grid_z * block_y * block_z != 1
      || shared_bytes != 0 || extra != nullptr)
    return 1;
  const bool gradient = name.compare(0, 12, "sample_grad_") == 0;
  void* p[8] = {};
  for (int i = 0; i < (gradient ? 8 : 4); ++i) {
    p[i] = *static_cast<void**>(arguments[1 + i]);
    if (p[i] == nullptr) return 700;   // CUDA_ERROR_ILLEGAL_ADDRESS
    if (reinterpret_cast<uintptr_t>(p[i]) % 4) return 716;   // CUDA_ERROR_MISALIGNED_ADDRESS
  }
  const Sizes sizes = *static_cast<Sizes*>(arguments[0]);
  const int lanes = sizes.lanes;   // exchange values inside 32 threads, a warp
  if (lanes < 1 || lanes > 32 || (lanes & (lanes - 1)) != 0 || block_x % lanes != 0) return 1;
  const auto run = [&](int own) {
    lane = own;
    gridDim.x = grid_x;
    blockDim.x = block_x;
    for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x) {
      for (threadIdx.x = own; threadIdx.x < block_x; threadIdx.x += lanes) {
        if (!gradient)
          reinterpret_cast<void (*)(Sizes, void*, void*, void*, void*)>(function)(sizes, p[0], p[1], p[2], p[3]);
        else
          reinterpret_cast<void (*)(Sizes, void*, void*, void*, void*, void*, void*, void*, void*)>(function)(
              sizes, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
      }
    }
  };
  std::lock_guard<std::mutex> lock(mutex);
  pthread_barrier_init(&meeting, nullptr, lanes);
  std::vector<std::thread> others;
  for (int own = 1; own < lanes; ++own) others.emplace_back(run, own);
  run(0);
  for (std::thread& other : others) other.join();
  pthread_barrier_destroy(&meeting);
  return 0;
}
int cuMemsetD8Async(uintptr_t memory, unsigned char value, size_t bytes, void* stream) {
  const int code = Log("cuMemsetD8Async");
  if (code) return code;
  if (memory == 0 || stream != reinterpret_cast<void*>(0x5eed)) return 1;
  std::memset(reinterpret_cast<void*>(memory), value, bytes);
  return 0;
}
int cuGetErrorName(int code, const char** name) {
  *name = code == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : code == 200 ? "CUDA_ERROR_INVALID_IMAGE" : nullptr;
  return *name == nullptr ? 1 : 0;
}

}  // extern "C"

// The part of the CUDA driver that the operators call. It is opened at run time, so that they are built without a CUDA
// toolkit and load on hosts without a GPU. Types are those of the driver's binary interface: handles are pointers.

#ifndef EDVR_OPS_CUDA_DRIVER_H_
#define EDVR_OPS_CUDA_DRIVER_H_

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace edvr {

// Kernels of one source for GPUs of several architectures, on the contexts of this process. All methods may be called
// by several threads. Those that can fail return the reason; an empty string means success.
class Driver {
 public:
  // Opens the library of the driver.
  std::string Open(const char* library) {
    std::lock_guard<std::mutex> lock(mutex_);
    void* handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    if (handle == nullptr) return dlerror();
    const std::pair<const char*, void*> wanted[] = {
        {"cuCtxGetCurrent", &get_context_}, {"cuCtxGetDevice", &get_device_},
        {"cuDeviceGetAttribute", &get_attribute_}, {"cuModuleLoadData", &load_module_},
        {"cuModuleGetFunction", &get_function_}, {"cuLaunchKernel", &launch_},
        {"cuMemsetD8Async", &set_memory_}, {"cuGetErrorName", &get_error_name_}};
    for (const auto& entry : wanted) {
      void* found = dlsym(handle, entry.first);
      if (found == nullptr) return std::string(library) + " has no " + entry.first;
      *static_cast<void**>(entry.second) = found;
    }
    return "";
  }

  // Takes the compiled kernels for GPUs of an architecture, 80 for 8.0.
  void Add(int architecture, const void* image, size_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    const char* begin = static_cast<const char*>(image);
    std::vector<char> copy(begin, begin + size);
    copy.push_back(0);   // PTX is a text
    images_[architecture] = std::move(copy);
  }

  // Clears memory, in the order of a stream.
  std::string Clear(void* stream, void* memory, size_t bytes) {
    return Explain("cuMemsetD8Async", set_memory_(reinterpret_cast<uintptr_t>(memory), 0, bytes, stream));
  }

  // Launches a kernel by name, on the current context and in the order of a stream.
  std::string Launch(void* stream, const std::string& name, int64_t threads, void** arguments) {
    void* function = nullptr;
    const std::string problem = Find(name, &function);
    if (!problem.empty()) return problem;
    const int64_t wanted = (threads + kBlock - 1) / kBlock;   // a thread continues with further points
    const unsigned blocks = static_cast<unsigned>(wanted < kMostBlocks ? wanted : kMostBlocks);
    return Explain("cuLaunchKernel", launch_(function, blocks, 1, 1, kBlock, 1, 1, 0, stream, arguments, nullptr));
  }

 private:
  static constexpr int kBlock = 256, kMostBlocks = 1 << 20;
  static constexpr int kMajor = 75, kMinor = 76;   // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR

  std::string Explain(const char* call, int code) {
    if (code == 0) return "";
    const char* text = nullptr;
    if (get_error_name_(code, &text) != 0 || text == nullptr) text = "an unknown error";
    return std::string(call) + " failed: " + text + " (" + std::to_string(code) + ")";
  }

  std::string Find(const std::string& name, void** function) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (launch_ == nullptr) return "the driver has not been opened";
    void* context = nullptr;
    std::string problem = Explain("cuCtxGetCurrent", get_context_(&context));
    if (problem.empty() && context == nullptr) problem = "this thread has no CUDA context";
    if (!problem.empty()) return problem;
    const auto known = functions_.find({context, name});
    if (known != functions_.end()) {
      *function = known->second;
      return "";
    }
    void*& module = modules_[context];
    if (module == nullptr) problem = Load(&module);
    if (problem.empty()) problem = Explain("cuModuleGetFunction", get_function_(function, module, name.c_str()));
    if (problem.empty()) functions_[{context, name}] = *function;
    return problem;
  }

  std::string Load(void** module) {
    int device = 0, major = 0, minor = 0;
    std::string problem = Explain("cuCtxGetDevice", get_device_(&device));
    if (problem.empty()) problem = Explain("cuDeviceGetAttribute", get_attribute_(&major, kMajor, device));
    if (problem.empty()) problem = Explain("cuDeviceGetAttribute", get_attribute_(&minor, kMinor, device));
    if (!problem.empty()) return problem;
    const auto image = images_.find(10 * major + minor);
    if (image == images_.end()) return "the kernels were not compiled for sm_" + std::to_string(10 * major + minor);
    return Explain("cuModuleLoadData", load_module_(module, image->second.data()));
  }

  std::mutex mutex_;
  std::map<int, std::vector<char>> images_;
  std::map<void*, void*> modules_;                             // by context
  std::map<std::pair<void*, std::string>, void*> functions_;   // by context and name
  int (*get_context_)(void**) = nullptr;
  int (*get_device_)(int*) = nullptr;
  int (*get_attribute_)(int*, int, int) = nullptr;
  int (*load_module_)(void**, const void*) = nullptr;
  int (*get_function_)(void**, void*, const char*) = nullptr;
  int (*launch_)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) = nullptr;
  int (*set_memory_)(uintptr_t, unsigned char, size_t, void*) = nullptr;
  int (*get_error_name_)(int, const char**) = nullptr;
};

}  // namespace edvr

#endif  // EDVR_OPS_CUDA_DRIVER_H_

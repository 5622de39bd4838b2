// Code that all operators share as TensorFlow kernels: names, threads, memory of tensors, shape checks, registration.

#ifndef EDVR_MODEL_NATIVE_KERNEL_H_
#define EDVR_MODEL_NATIVE_KERNEL_H_

#include <cstdint>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"

namespace edvr {

using tensorflow::OpInputList;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Status;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::InvalidArgument;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Runs work(begin, end) over [0, total) on TensorFlow's own threads.
template <typename Work>
void InParallel(OpKernelContext* context, int64_t total, int64_t cost, Work work) {
  const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers.num_threads, workers.workers, total, cost, work);
}

// Elements of an input tensor.
template <typename T>
const T* Data(const Tensor& tensor) { return reinterpret_cast<const T*>(tensor.tensor_data().data()); }

// Elements of a tensor just allocated.
template <typename T>
T* MutableData(Tensor* tensor) { return reinterpret_cast<T*>(const_cast<char*>(tensor->tensor_data().data())); }

// Returns an error for a kernel that is not [kh, kw, C, Cout] with odd sides; `name` is the operator, for the error.
inline Status CheckWeight(const char* name, const Tensor& weight) {
  if (weight.dims() != 4 || weight.dim_size(0) % 2 == 0 || weight.dim_size(1) % 2 == 0)
    return InvalidArgument(name, ": weight has shape ", weight.shape().DebugString(),
                           "; it must be [kh, kw, C, Cout] with kh and kw odd");
  return Status();
}

}  // namespace edvr

// Registers a kernel class template for both types.
#define EDVR_REGISTER(NAME, KERNEL)                                                                             \
  REGISTER_KERNEL_BUILDER(Name(NAME).Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"), KERNEL<float>); \
  REGISTER_KERNEL_BUILDER(Name(NAME).Device(tensorflow::DEVICE_CPU).TypeConstraint<double>("T"), KERNEL<double>)

#endif  // EDVR_MODEL_NATIVE_KERNEL_H_

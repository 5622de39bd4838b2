// The TensorFlow operators around the kernels of kernels.cu: the samples of a deformable convolution, and the gradients
// of a sampling. The products are TensorFlow's own.

#include <algorithm>
#include <cstdint>
#include <string>

#include "driver.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#if __has_include("xla/stream_executor/stream.h")
#include "xla/stream_executor/stream.h"
#include "xla/stream_executor/stream_executor_internal.h"
#else
#include "tensorflow/stream_executor/stream.h"
#include "tensorflow/stream_executor/stream_executor_internal.h"
#endif

namespace edvr {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Status;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::Internal;
using tensorflow::errors::InvalidArgument;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

Driver& TheDriver() {
  static Driver* driver = new Driver;   // lives as long as threads that may launch
  return *driver;
}

#ifdef EDVR_CUDA_DOUBLE   // tests run the kernels on the host
const char* const kDevice = tensorflow::DEVICE_CPU;
void* StreamOf(OpKernelContext*) { return reinterpret_cast<void*>(0x5eed); }
#else
const char* const kDevice = tensorflow::DEVICE_GPU;
void* StreamOf(OpKernelContext* context) {
  return *context->op_device_context()->stream()->implementation()->GpuStreamMemberHack();
}
#endif

// As in kernels.cu.
struct Sizes {
  int64_t points;
  int height, width, channels, groups, kernel, lanes;
};

const char* NameOf(tensorflow::DataType type) { return type == tensorflow::DT_HALF ? "f16" : "f32"; }

void* Memory(const Tensor& tensor) { return const_cast<char*>(tensor.tensor_data().data()); }

class SamplingKernel : public OpKernel {
 public:
  explicit SamplingKernel(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("deform_groups", &groups_));
    OP_REQUIRES_OK(context, context->GetAttr("kernel_size", &kernel_));
  }

 protected:
  // Reads the sizes from x, offset and mask, and checks them.
  Status ReadSizes(OpKernelContext* context, Sizes* sizes) const {
    const Tensor &x = context->input(0), &offset = context->input(1), &mask = context->input(2);
    if (x.dims() != 4)
      return InvalidArgument("deform_conv: x has shape ", x.shape().DebugString(), "; it must be [N, H, W, C]");
    const int64_t n = x.dim_size(0), h = x.dim_size(1), w = x.dim_size(2), c = x.dim_size(3);
    if (c % groups_ != 0)
      return InvalidArgument("deform_conv: deform_groups is ", groups_, ", which does not divide the ", c,
                             " channels of x");
    if (std::max({h, w, c}) > INT32_MAX / 4)
      return InvalidArgument("deform_conv: x has shape ", x.shape().DebugString(), "; a side is too long");
    const int64_t own = groups_ * kernel_ * kernel_;
    const TensorShape want_offset({n, h, w, 2 * own}), want_mask({n, h, w, own});
    if (offset.shape() != want_offset)
      return InvalidArgument("deform_conv: offset has shape ", offset.shape().DebugString(), "; it must be ",
                             want_offset.DebugString());
    if (mask.shape() != want_mask)
      return InvalidArgument("deform_conv: mask has shape ", mask.shape().DebugString(), "; it must be ",
                             want_mask.DebugString());
    const int chunks = static_cast<int>(c / groups_) / Width(context, c);
    const int lanes = std::max(std::min(chunks & -chunks, 32), 1);   // the largest power of two that divides them
    *sizes = Sizes{n * h * w * own, static_cast<int>(h), static_cast<int>(w), static_cast<int>(c),
                   static_cast<int>(groups_), static_cast<int>(kernel_), lanes};
    return Status();
  }

  TensorShape ColumnsShape(const Sizes& sizes) const {
    const int64_t own = groups_ * kernel_ * kernel_;
    return TensorShape({sizes.points / std::max<int64_t>(own, 1), own * (sizes.channels / groups_)});
  }

  // Launches a kernel whose name ends in the number of values that one instruction reads.
  void Run(OpKernelContext* context, const std::string& name, const Sizes& sizes, void** arguments) const {
    Check(context, TheDriver().Launch(StreamOf(context), name + "_" + std::to_string(Width(context, sizes.channels)),
                                      sizes.points * sizes.lanes, arguments));
  }

  static void Check(OpKernelContext* context, const std::string& problem) {
    OP_REQUIRES(context, problem.empty(), Internal("deform_conv on a GPU: ", problem));
  }

 private:
  // The values of a group's channels that one instruction reads: up to 128 bits.
  int Width(OpKernelContext* context, int64_t channels) const {
    int width = context->input_dtype(0) == tensorflow::DT_HALF ? 8 : 4;
    while (channels / groups_ % width != 0) width /= 2;
    return width;
  }

  tensorflow::int64 groups_, kernel_;
};

class SampleOp : public SamplingKernel {
 public:
  using SamplingKernel::SamplingKernel;

  void Compute(OpKernelContext* context) override {
    Sizes sizes;
    OP_REQUIRES_OK(context, ReadSizes(context, &sizes));
    Tensor* columns = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, ColumnsShape(sizes), &columns));
    if (columns->NumElements() == 0) return;
    void *x = Memory(context->input(0)), *offset = Memory(context->input(1)), *mask = Memory(context->input(2));
    void* result = Memory(*columns);
    void* arguments[] = {&sizes, &x, &offset, &mask, &result};
    Run(context, std::string("sample_") + NameOf(context->input_dtype(0)) + "_" + NameOf(context->input_dtype(1)),
        sizes, arguments);
  }
};

class SampleGradOp : public SamplingKernel {
 public:
  using SamplingKernel::SamplingKernel;

  void Compute(OpKernelContext* context) override {
    Sizes sizes;
    OP_REQUIRES_OK(context, ReadSizes(context, &sizes));
    const Tensor &columns = context->input(3), &unit = context->input(4);
    OP_REQUIRES(context, columns.shape() == ColumnsShape(sizes),
                InvalidArgument("deform_conv: the gradient of the samples has shape ", columns.shape().DebugString(),
                                "; it must be ", ColumnsShape(sizes).DebugString()));
    OP_REQUIRES(context, unit.dims() == 0, InvalidArgument("deform_conv: unit has shape ", unit.shape().DebugString(),
                                                           "; it must be a scalar"));
    Tensor* results[3] = {};
    for (int i = 0; i < 3; ++i)
      OP_REQUIRES_OK(context, context->allocate_output(i, context->input(i).shape(), &results[i]));
    if (results[0]->NumElements() > 0) {
      Check(context, TheDriver().Clear(StreamOf(context), Memory(*results[0]), results[0]->tensor_data().size()));
      if (!context->status().ok()) return;
    }
    if (sizes.points == 0) return;
    void* pointers[8];
    for (int i = 0; i < 5; ++i) pointers[i] = Memory(context->input(i));
    for (int i = 0; i < 3; ++i) pointers[5 + i] = Memory(*results[i]);
    void* arguments[9] = {&sizes};
    for (int i = 0; i < 8; ++i) arguments[1 + i] = &pointers[i];
    const std::string sums = results[0]->dtype() == tensorflow::DT_INT64 ? "i64" : "f32";
    Run(context, std::string("sample_grad_") + NameOf(context->input_dtype(0)) + "_" + NameOf(context->input_dtype(1))
                     + "_" + sums, sizes, arguments);
  }
};

Status SampleShape(InferenceContext* context) {
  ShapeHandle x;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
  context->set_output(0, context->Matrix(InferenceContext::kUnknownDim, InferenceContext::kUnknownDim));
  return Status();
}

Status SampleGradShape(InferenceContext* context) {
  for (int i = 0; i < 3; ++i) context->set_output(i, context->input(i));
  return Status();
}

REGISTER_OP("EdvrCudaSample")
    .Attr("T: {float, half}")
    .Attr("U: {float, half}")
    .Attr("deform_groups: int >= 1")
    .Attr("kernel_size: int >= 1")
    .Input("x: T").Input("offset: U").Input("mask: U")
    .Output("columns: T")
    .SetShapeFn(SampleShape);

// d_x has sums of type S: float, added in any order, or int64, multiples of 1 / unit, whose sum does not depend on it.
REGISTER_OP("EdvrCudaSampleGrad")
    .Attr("T: {float, half}")
    .Attr("U: {float, half}")
    .Attr("S: {float, int64}")
    .Attr("deform_groups: int >= 1")
    .Attr("kernel_size: int >= 1")
    .Input("x: T").Input("offset: U").Input("mask: U").Input("d_columns: T").Input("unit: float")
    .Output("d_x: S").Output("d_offset: U").Output("d_mask: U")
    .SetShapeFn(SampleGradShape);

REGISTER_KERNEL_BUILDER(Name("EdvrCudaSample").Device(kDevice), SampleOp);
REGISTER_KERNEL_BUILDER(Name("EdvrCudaSampleGrad").Device(kDevice), SampleGradOp);

}  // namespace
}  // namespace edvr

// Called once by the process that loads the library, before any operator runs.
extern "C" {

// Opens the driver. Returns the reason of a failure, which lives until the next call, or a null pointer.
const char* edvr_cuda_open(const char* library) {
  static std::string problem;
  problem = edvr::TheDriver().Open(library);
  return problem.empty() ? nullptr : problem.c_str();
}

void edvr_cuda_add(int architecture, const void* image, size_t size) {
  edvr::TheDriver().Add(architecture, image, size);
}

}  // extern "C"

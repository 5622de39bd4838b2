// The register block of the product alone, with its data in the first-level cache: the yardstick of the benchmarks.

#include <algorithm>
#include <cstdint>

#include "kernel.h"
#include "product.h"

namespace edvr {

// y[units, rows, columns]: every value is `repeats` times the dot product of a and b, added up one after the other. A
// unit is one register block of the product; all of its rows are a, all of its columns b.
template <typename T>
class RegisterBlockOp : public OpKernel {
 public:
  explicit RegisterBlockOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("units", &units_));
    OP_REQUIRES_OK(context, context->GetAttr("repeats", &repeats_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &a = context->input(0), &b = context->input(1);
    OP_REQUIRES(context, a.dims() == 1 && b.dims() == 1 && a.dim_size(0) == b.dim_size(0),
                InvalidArgument("register_block: a has shape ", a.shape().DebugString(), ", b ",
                                b.shape().DebugString(), "; they must be vectors of one length"));
    constexpr int64_t kWidth = PanelWidth<T>();
    const int64_t depth = a.dim_size(0);
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({units_, kRows, kWidth}), &result));
    T* y = MutableData<T>(result);
    std::fill_n(y, result->NumElements(), T(0));
    InParallel(context, units_, repeats_ * depth * kRows, [&](int64_t begin, int64_t end) {
      Buffer<T> rows(kRows * depth), panel(PackedSize<T>(depth, kWidth));   // each thread reads memory of its own
      for (int64_t i = 0; i < kRows; ++i) std::copy_n(Data<T>(a), depth, &rows[i * depth]);
      Pack(depth, kWidth, panel.get(), [&](int64_t p, int64_t) { return Data<T>(b)[p]; });
      for (int64_t unit = begin; unit < end; ++unit)
        for (int64_t k = 0; k < repeats_; ++k)
          MultiplyBlock<T, kRows>(depth, rows.get(), depth, 1, panel.get(), y + unit * kRows * kWidth, kWidth, kWidth,
                                  true);
    });
  }

 private:
  tensorflow::int64 units_, repeats_;
};

REGISTER_OP("EdvrRegisterBlock")
    .Attr("T: {float, double}")
    .Attr("units: int >= 1")
    .Attr("repeats: int >= 1")
    .Input("a: T").Input("b: T")
    .Output("y: T")
    .SetShapeFn([](InferenceContext* context) -> Status {
      context->set_output(0, context->UnknownShapeOfRank(3));
      return Status();
    });

EDVR_REGISTER("EdvrRegisterBlock", RegisterBlockOp);

}  // namespace edvr

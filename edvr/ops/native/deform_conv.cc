// The forward pass of the deformable convolution: samples points and multiplies them with the kernel, tile by tile.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deform_conv.h"
#include "deform_sampling.h"
#include "kernel.h"
#include "product.h"

namespace edvr {

template <typename T>
class DeformConvOp : public OpKernel {
 public:
  explicit DeformConvOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("deform_groups", &groups_));
    OP_REQUIRES_OK(context, context->GetAttr("packed", &packed_));
  }

  void Compute(OpKernelContext* context) override {
    Sizes sizes;
    OP_REQUIRES_OK(context, ReadSizes(context, groups_, packed_, true, &sizes));
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({sizes.images, sizes.height, sizes.width, sizes.cout}), &result));
    if (result->NumElements() == 0) return;
    const int64_t columns = sizes.Columns(), points = sizes.Points(), cout = sizes.cout;
    const int64_t offsets = (packed_ ? 3 : 2) * points;
    const T *x = Data<T>(context->input(0)), *offset = Data<T>(context->input(1)), *mask = Data<T>(context->input(2));
    const T *weight = Data<T>(context->input(3)), *bias = Data<T>(context->input(4));
    T* out = MutableData<T>(result);
    Buffer<T> kernel(PackedSize<T>(columns, cout));
    Pack(columns, cout, kernel.get(),
         [&](int64_t p, int64_t j) { return weight[sizes.WeightRow(p) * cout + j]; });
    const auto sample = Routines<T>::For(sizes.Run()).sample;
    const int64_t total = sizes.images * sizes.Area();

    auto work = [&](int64_t begin, int64_t end) {
      Taps<T, false> at(sizes, 0, sizes.groups);
      Buffer<T> column(kTile * columns), sigmoid(points);
      for (int64_t start = begin * kTile; start < std::min(end * kTile, total); start += kTile) {
        const int64_t count = std::min(kTile, total - start);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t p = start + i, image = p / sizes.Area(), pixel = p % sizes.Area();
          const T *own = offset + p * offsets, *shares = packed_ ? sigmoid.get() : mask + p * points;
          Fetch(own + kAhead * offsets, offsets);
          if (packed_) Sigmoid(points, own + 2 * points, sigmoid.get());
          at.Compute(pixel / sizes.width, pixel % sizes.width, own, shares);
          sample(at, x + image * sizes.Area() * sizes.channels, sizes.Run(), &column[i * columns]);
          std::memcpy(out + p * cout, bias, cout * sizeof(T));
        }
        Multiply<T>(count, cout, columns, column.get(), columns, 1, kernel.get(), out + start * cout, cout, true);
      }
    };
    InParallel(context, DivideUp(total, kTile), kTile * columns * (cout / 16 + 1), work);
  }

 private:
  static constexpr int64_t kAhead = 16;   // output points whose offsets are fetched before they are needed

  tensorflow::int64 groups_;
  bool packed_;
};

Status ForwardShape(InferenceContext* context) {
  ShapeHandle x, weight;
  DimensionHandle merged;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(3), 4, &weight));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(x, 3), context->Dim(weight, 2), &merged));
  context->set_output(0, context->MakeShape({context->Dim(x, 0), context->Dim(x, 1), context->Dim(x, 2),
                                             context->Dim(weight, 3)}));
  return Status();
}

REGISTER_OP("EdvrDeformConv")
    .Attr("T: {float, double}")
    .Attr("deform_groups: int >= 1")
    .Attr("packed: bool = false")
    .Input("x: T").Input("offset: T").Input("mask: T").Input("weight: T").Input("bias: T")
    .Output("y: T")
    .SetShapeFn(ForwardShape);

EDVR_REGISTER("EdvrDeformConv", DeformConvOp);

}  // namespace edvr

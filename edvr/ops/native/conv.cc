// The operator of plain convolutions: stride 1, "same" padding, odd kernels, with all that surrounds them in the
// network done while the values are in the cache.

#include <cstdint>
#include <string>
#include <type_traits>

#include "conv_call.h"
#include "conv_direct.h"
#include "conv_narrow.h"
#include "conv_winograd.h"
#include "kernel.h"

namespace edvr {

// y = depth_to_space(activate(conv(concat(x), weight) + bias + residual), block)
//
//   x        one or more [N, H, W, C_i]      bias      [Cout], or empty for none
//   weight   [kh, kw, sum of C_i, Cout]      residual  none, or one [M, H, W, Cout]; M divides N, and N/M images next
//   y        [N, b*H, b*W, Cout/b/b]                   to each other share one
//
// activate(v) is v where v > 0, else slope * v. With `transposed`, weight is [kh, kw, Cout, C], and is flipped: this
// is the gradient of such a convolution's input. `compute` says how: exact, by the definition with sums in its order;
// fast, by Winograd's way where that saves time, and to few channels with lanes of input channels; bf16, as fast with
// the products of Winograd's way in bfloat16.
template <typename T>
class ConvOp : public OpKernel {
 public:
  explicit ConvOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("slope", &slope_));
    OP_REQUIRES_OK(context, context->GetAttr("block", &block_));
    OP_REQUIRES_OK(context, context->GetAttr("transposed", &transposed_));
    std::string compute;
    OP_REQUIRES_OK(context, context->GetAttr("compute", &compute));
    fast_ = compute != "exact";
    rounded_ = compute == "bf16";
    OP_REQUIRES(context, !rounded_ || (kHasBFloat16 && std::is_same<T, float>::value),
                InvalidArgument("conv: compute is bf16; that needs a processor with AVX512_BF16, and float32"));
  }

  void Compute(OpKernelContext* context) override {
    ConvCall<T> call;
    OP_REQUIRES_OK(context, Read(context, &call));
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({call.images, call.height * block_, call.width * block_, call.cout / block_ / block_}),
        &result));
    if (result->NumElements() == 0) return;
    call.y = MutableData<T>(result);
    if (fast_ && NarrowConv<T>::Saves(call)) {
      const NarrowConv<T> way(call);
      InParallel(context, way.Units(), way.UnitCost(), [&](int64_t begin, int64_t end) { way.Run(begin, end); });
    } else if (fast_ && WinogradConv<T>::Saves(call)) {
      if (rounded_) {
        RunWinograd<WinogradConv<T, RoundedProducts<T>>>(context, call);
      } else {
        RunWinograd<WinogradConv<T>>(context, call);
      }
    } else {
      const DirectConv<T> way(call);
      InParallel(context, way.Units(), way.UnitCost(), [&](int64_t begin, int64_t end) { way.Run(begin, end); });
    }
  }

 private:
  template <typename Way>
  static void RunWinograd(OpKernelContext* context, const ConvCall<T>& call) {
    const Way way(call);
    InParallel(context, way.WeightUnits(), way.WeightCost(),
               [&](int64_t begin, int64_t end) { way.TransformWeights(begin, end); });
    InParallel(context, way.Units(), way.UnitCost(), [&](int64_t begin, int64_t end) { way.Run(begin, end); });
  }

  Status Read(OpKernelContext* context, ConvCall<T>* call) const {
    OpInputList inputs, residuals;
    TF_RETURN_IF_ERROR(context->input_list("x", &inputs));
    TF_RETURN_IF_ERROR(context->input_list("residual", &residuals));
    const Tensor &weight = context->input(inputs.size()), &bias = context->input(inputs.size() + 1);
    TF_RETURN_IF_ERROR(CheckWeight("conv", weight));
    call->channels = 0;
    call->block = block_;
    call->slope = T(slope_);
    call->transposed = transposed_;
    for (const Tensor& x : inputs) {
      if (x.dims() != 4 || x.dim_size(0) != inputs[0].dim_size(0) || x.dim_size(1) != inputs[0].dim_size(1) ||
          x.dim_size(2) != inputs[0].dim_size(2))
        return InvalidArgument("conv: x has shapes ", inputs[0].shape().DebugString(), " and ",
                               x.shape().DebugString(), "; they must be [N, H, W, C] and differ in C only");
      call->inputs.push_back({Data<T>(x), x.dim_size(3)});
      call->channels += x.dim_size(3);
    }
    call->images = inputs[0].dim_size(0);
    call->height = inputs[0].dim_size(1);
    call->width = inputs[0].dim_size(2);
    call->kernel_height = weight.dim_size(0);
    call->kernel_width = weight.dim_size(1);
    call->cout = weight.dim_size(transposed_ ? 2 : 3);
    if (weight.dim_size(transposed_ ? 3 : 2) != call->channels)
      return InvalidArgument("conv: weight takes ", weight.dim_size(transposed_ ? 3 : 2), " channels, x has ",
                             call->channels);
    if (call->cout % (block_ * block_) != 0)
      return InvalidArgument("conv: ", call->cout, " channels cannot be arranged in blocks of ", block_, "x", block_);
    if (bias.dims() != 1 || (bias.dim_size(0) != 0 && bias.dim_size(0) != call->cout))
      return InvalidArgument("conv: bias has shape ", bias.shape().DebugString(), "; it must be [", call->cout, "]");
    call->weight = Data<T>(weight);
    call->bias = bias.dim_size(0) == 0 ? nullptr : Data<T>(bias);
    call->residual = nullptr;
    if (residuals.size() == 0) return Status();
    const Tensor& residual = residuals[0];
    if (residual.dims() != 4 || residual.dim_size(0) == 0 || call->images % residual.dim_size(0) != 0 ||
        residual.dim_size(1) != call->height || residual.dim_size(2) != call->width ||
        residual.dim_size(3) != call->cout)
      return InvalidArgument("conv: the residual has shape ", residual.shape().DebugString(), "; for x ",
                             inputs[0].shape().DebugString(), " it must be [N or a divisor, H, W, ", call->cout, "]");
    call->residual = Data<T>(residual);
    call->images_per_residual = call->images / residual.dim_size(0);
    return Status();
  }

  float slope_;
  int block_;
  bool transposed_, fast_, rounded_;
};

REGISTER_OP("EdvrConv")
    .Attr("T: {float, double}")
    .Attr("inputs: int >= 1")
    .Attr("residuals: int >= 0")
    .Attr("slope: float = 1.0")
    .Attr("block: int >= 1 = 1")
    .Attr("transposed: bool = false")
    .Attr("compute: {'exact', 'fast', 'bf16'} = 'exact'")
    .Input("x: inputs * T").Input("weight: T").Input("bias: T").Input("residual: residuals * T")
    .Output("y: T")
    .SetShapeFn([](InferenceContext* context) -> Status {
      int inputs, block;
      bool transposed;
      ShapeHandle x, weight;
      DimensionHandle sizes[3];
      TF_RETURN_IF_ERROR(context->GetAttr("inputs", &inputs));
      TF_RETURN_IF_ERROR(context->GetAttr("block", &block));
      TF_RETURN_IF_ERROR(context->GetAttr("transposed", &transposed));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(inputs), 4, &weight));
      TF_RETURN_IF_ERROR(context->Multiply(context->Dim(x, 1), block, &sizes[0]));
      TF_RETURN_IF_ERROR(context->Multiply(context->Dim(x, 2), block, &sizes[1]));
      TF_RETURN_IF_ERROR(context->Divide(context->Dim(weight, transposed ? 2 : 3), block * block, true, &sizes[2]));
      context->set_output(0, context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], sizes[2]}));
      return Status();
    });

EDVR_REGISTER("EdvrConv", ConvOp);

}  // namespace edvr

// Modulated deformable convolution (DCNv2) on the CPU, forward and all gradients. Sampling and matrix product are fused
// tile by tile. Stride 1, "same" padding, odd kernels. The contract is that of edvr/ops/deform_conv.py:
//
//   x      [N, H, W, C]           offset [N, H, W, 2*G*K]  all dx, then all dy; each group-major, then kernel point
//   weight [kh, kw, C, Cout]      mask   [N, H, W, G*K]    K = kh*kw, row-major
//   bias   [Cout]                 output [N, H, W, Cout]
//
// or `packed`: offset [N, H, W, 3*G*K] also holds the mask, before the sigmoid and after the offsets; mask is empty.
//
// Point k of output (y, x) of group g samples channels [g*C/G, (g+1)*C/G) at
// (y - kh/2 + k/kw + dy, x - kw/2 + k%kw + dx), bilinearly. Corners outside the image are zero and keep their share of
// the weight. Derivatives at whole coordinates are those towards the right and the bottom. A point more than one pixel
// outside, or with a coordinate of NaN, contributes zero and receives zero gradient.

#ifndef EDVR_MODEL_NATIVE_DEFORM_CONV_H_
#define EDVR_MODEL_NATIVE_DEFORM_CONV_H_

#include <cstdint>

#include "kernel.h"

namespace edvr {

struct Sizes {
  int64_t images, height, width, channels, groups, kernel_height, kernel_width, cout;
  int64_t Kernel() const { return kernel_height * kernel_width; }
  int64_t Run() const { return channels / groups; }         // channels of a group
  int64_t Points() const { return groups * Kernel(); }      // sampling points of an output point
  int64_t Columns() const { return channels * Kernel(); }   // depth of the product
  int64_t Area() const { return height * width; }
  // Row of the kernel, as a matrix [K*C, Cout], for column (group, kernel point, channel) here.
  int64_t WeightRow(int64_t column) const {
    const int64_t run = Run(), group = column / (Kernel() * run), point = column / run % Kernel();
    return point * channels + group * run + column % run;
  }
};

// Reads the sizes from the inputs (x, offset, mask, weight, and bias or the gradient of the output) and checks them.
inline Status ReadSizes(OpKernelContext* context, int64_t groups, bool packed, bool has_bias, Sizes* sizes) {
  const Tensor &x = context->input(0), &offset = context->input(1), &mask = context->input(2),
               &weight = context->input(3), &last = context->input(4);
  if (x.dims() != 4)
    return InvalidArgument("deform_conv: x has shape ", x.shape().DebugString(), "; it must be [N, H, W, C]");
  TF_RETURN_IF_ERROR(CheckWeight("deform_conv", weight));
  *sizes = Sizes{x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3), groups,
                 weight.dim_size(0), weight.dim_size(1), weight.dim_size(3)};
  if (weight.dim_size(2) != sizes->channels)
    return InvalidArgument("deform_conv: weight takes ", weight.dim_size(2), " channels, x has ", sizes->channels);
  if (groups < 1 || sizes->channels % groups != 0)
    return InvalidArgument("deform_conv: deform_groups is ", groups, ", which does not divide the ", sizes->channels,
                           " channels of x");
  const int64_t n = sizes->images, h = sizes->height, w = sizes->width;
  const TensorShape want_offset({n, h, w, (packed ? 3 : 2) * sizes->Points()});
  const TensorShape want_mask = packed ? TensorShape({0}) : TensorShape({n, h, w, sizes->Points()});
  if (offset.shape() != want_offset)
    return InvalidArgument("deform_conv: offset has shape ", offset.shape().DebugString(), "; for x ",
                           x.shape().DebugString(), ", ", groups, " groups and ", sizes->Kernel(),
                           " kernel points it must be ", want_offset.DebugString());
  if (mask.shape() != want_mask)
    return InvalidArgument("deform_conv: mask has shape ", mask.shape().DebugString(), "; for x ",
                           x.shape().DebugString(), ", ", groups, " groups and ", sizes->Kernel(),
                           " kernel points it must be ", want_mask.DebugString());
  const TensorShape want_last = has_bias ? TensorShape({sizes->cout}) : TensorShape({n, h, w, sizes->cout});
  if (last.shape() != want_last)
    return InvalidArgument("deform_conv: ", has_bias ? "bias" : "the output's gradient", " has shape ",
                           last.shape().DebugString(), "; it must be ", want_last.DebugString());
  return Status();
}

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_DEFORM_CONV_H_

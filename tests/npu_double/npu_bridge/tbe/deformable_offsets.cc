// The operator of the Ascend adapter with its true attributes and defaults, in plain loops on the CPU. A host with the
// adapter has empty kernels for it: NPU_DOUBLE_EMPTY_KERNELS=1 makes them so.
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

using namespace tensorflow;  // NOLINT
using shape_inference::InferenceContext;

#define ATTRIBUTES \
  Attr("T: {float16, float32}") \
      .Attr("strides: list(int)") \
      .Attr("pads: list(int)") \
      .Attr("ksize: list(int)") \
      .Attr("dilations: list(int) = [1,1,1,1]") \
      .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'") \
      .Attr("deformable_groups: int = 1") \
      .Attr("modulated: bool = true")

REGISTER_OP("DeformableOffsets").Input("x: T").Input("offsets: T").Output("y: T").ATTRIBUTES.SetShapeFn(
    [](InferenceContext* c) {
      std::string format;
      std::vector<int> ksize;
      TF_RETURN_IF_ERROR(c->GetAttr("data_format", &format));
      TF_RETURN_IF_ERROR(c->GetAttr("ksize", &ksize));
      std::vector<shape_inference::DimensionHandle> dims(4);
      dims[format.find('N')] = c->Dim(c->input(0), format.find('N'));
      dims[format.find('C')] = c->Dim(c->input(0), format.find('C'));
      for (int i = 0; i < 2; ++i) {
        const int axis = format.find("HW"[i]);
        const int64 size = c->Value(c->Dim(c->input(1), axis)) * ksize[i];
        // an unknown height is -1, and the adapter multiplies it: the convolution that follows refuses -3
        if (size < -1)
          return errors::InvalidArgument("Negative dimension size caused by subtracting ", ksize[i], " from ", size);
        dims[axis] = c->MakeDim(size);
      }
      c->set_output(0, c->MakeShape(dims));
      return tensorflow::Status();
    });

REGISTER_OP("DeformableOffsetsGrad")
    .Input("grad: T").Input("x: T").Input("offsets: T").Output("grad_x: T").Output("grad_offsets: T")
    .ATTRIBUTES.SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(1));
      c->set_output(1, c->input(2));
      return tensorflow::Status();
    });

namespace {

template <typename T>
class DeformableOffsets : public OpKernel {
 public:
  explicit DeformableOffsets(OpKernelConstruction* c) : OpKernel(c), grad_(c->num_inputs() == 3) {
    OP_REQUIRES_OK(c, c->GetAttr("strides", &strides_));
    OP_REQUIRES_OK(c, c->GetAttr("pads", &pads_));
    OP_REQUIRES_OK(c, c->GetAttr("ksize", &ksize_));
    OP_REQUIRES_OK(c, c->GetAttr("dilations", &dilations_));
    OP_REQUIRES_OK(c, c->GetAttr("data_format", &format_));
    OP_REQUIRES_OK(c, c->GetAttr("deformable_groups", &groups_));
    OP_REQUIRES_OK(c, c->GetAttr("modulated", &modulated_));
  }

  void Compute(OpKernelContext* c) override {
    const char* empty = std::getenv("NPU_DOUBLE_EMPTY_KERNELS");
    if (empty && std::string(empty) == "1") return;
    const Tensor &x = c->input(grad_), &offsets = c->input(grad_ + 1);
    int64 size[4], out[4];  // N, H, W, C
    for (int i = 0; i < 4; ++i) {
      size[i] = x.dim_size(format_.find("NHWC"[i]));
      out[i] = offsets.dim_size(format_.find("NHWC"[i]));
    }
    const int64 kh = ksize_[0], kw = ksize_[1], points = groups_ * kh * kw;
    for (int i = 0; i < 2; ++i) {
      const int axis = format_.find("HW"[i]);
      const int64 extent = dilations_[axis] * (ksize_[i] - 1) + 1;
      const int64 wanted = (size[1 + i] + pads_[2 * i] + pads_[2 * i + 1] - extent) / strides_[axis] + 1;
      OP_REQUIRES(c, out[1 + i] == wanted && out[0] == size[0] && out[3] == 3 * points && modulated_,
                  errors::InvalidArgument("DeformableOffsets: wrong shape of offsets ", offsets.shape().DebugString(),
                                          " for x ", x.shape().DebugString()));
    }
    TensorShape shape = x.shape();
    shape.set_dim(format_.find('H'), out[1] * kh);
    shape.set_dim(format_.find('W'), out[2] * kw);
    Tensor *y = nullptr, *dx = nullptr, *doffsets = nullptr;
    std::vector<float> sums;
    if (grad_) {
      OP_REQUIRES_OK(c, c->allocate_output(0, x.shape(), &dx));
      OP_REQUIRES_OK(c, c->allocate_output(1, offsets.shape(), &doffsets));
      sums.assign(x.NumElements(), 0.f);
    } else {
      OP_REQUIRES_OK(c, c->allocate_output(0, shape, &y));
    }
    const T *in = x.flat<T>().data(), *off = offsets.flat<T>().data();
    const int64 grid[4] = {size[0], out[1] * kh, out[2] * kw, size[3]}, per_group = size[3] / groups_;
    for (int64 n = 0; n < out[0]; ++n)
      for (int64 oy = 0; oy < out[1]; ++oy)
        for (int64 ox = 0; ox < out[2]; ++ox)
          for (int64 p = 0; p < points; ++p) {
            const int64 g = p / (kh * kw), ky = p / kw % kh, kx = p % kw;
            const int64 at[3] = {Index(out, n, oy, ox, p), Index(out, n, oy, ox, points + p),
                                 Index(out, n, oy, ox, 2 * points + p)};   // all dx, all dy, all masks
            const int h = format_.find('H'), w = format_.find('W');
            const float py = oy * strides_[h] - pads_[0] + ky * dilations_[h] + static_cast<float>(off[at[1]]);
            const float px = ox * strides_[w] - pads_[2] + kx * dilations_[w] + static_cast<float>(off[at[0]]);
            const float mask = static_cast<float>(off[at[2]]);
            const float fy = std::floor(py), fx = std::floor(px), ly = py - fy, lx = px - fx;
            float dpy = 0, dpx = 0, dmask = 0;
            for (int64 ch = g * per_group; ch < (g + 1) * per_group; ++ch) {
              float corner[2][2];
              int64 where[2][2];
              for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 2; ++j) {
                  const bool inside = fy + i >= 0 && fy + i < size[1] && fx + j >= 0 && fx + j < size[2];
                  where[i][j] = inside ? Index(size, n, static_cast<int64>(fy) + i, static_cast<int64>(fx) + j, ch) : -1;
                  corner[i][j] = inside ? static_cast<float>(in[where[i][j]]) : 0.f;
                }
              const float top = corner[0][0] * (1 - lx) + corner[0][1] * lx;
              const float bottom = corner[1][0] * (1 - lx) + corner[1][1] * lx;
              const float value = top * (1 - ly) + bottom * ly;
              const int64 target = Index(grid, n, oy * kh + ky, ox * kw + kx, ch);
              if (!grad_) {
                y->flat<T>().data()[target] = static_cast<T>(value * mask);
                continue;
              }
              const float d = static_cast<float>(c->input(0).flat<T>().data()[target]);
              dmask += d * value;
              // floor and floor + 1: the derivative to the right where the point is on a whole pixel
              dpy += d * mask * (bottom - top);
              dpx += d * mask * ((corner[0][1] - corner[0][0]) * (1 - ly) + (corner[1][1] - corner[1][0]) * ly);
              for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 2; ++j)
                  if (where[i][j] >= 0) sums[where[i][j]] += d * mask * (i ? ly : 1 - ly) * (j ? lx : 1 - lx);
            }
            // the kernels of 910, A2, A3 and 950 take a point at exactly -1 for one outside
            if (py == -1 || px == -1) dpy = dpx = 0;
            if (grad_) {
              T* target = doffsets->flat<T>().data();
              target[at[0]] = static_cast<T>(dpx);
              target[at[1]] = static_cast<T>(dpy);
              target[at[2]] = static_cast<T>(dmask);
            }
          }
    for (size_t i = 0; i < sums.size(); ++i) dx->flat<T>().data()[i] = static_cast<T>(sums[i]);
  }

 private:
  int64 Index(const int64* size, int64 n, int64 y, int64 x, int64 c) const {
    return format_ == "NHWC" ? ((n * size[1] + y) * size[2] + x) * size[3] + c
                             : ((n * size[3] + c) * size[1] + y) * size[2] + x;
  }

  bool grad_, modulated_;
  int64 groups_;
  std::string format_;
  std::vector<int64> strides_, pads_, ksize_, dilations_;
};

#define REGISTER(name, type) \
  REGISTER_KERNEL_BUILDER(Name(name).Device(DEVICE_CPU).TypeConstraint<type>("T"), DeformableOffsets<type>)
REGISTER("DeformableOffsets", float);
REGISTER("DeformableOffsets", Eigen::half);
REGISTER("DeformableOffsetsGrad", float);
REGISTER("DeformableOffsetsGrad", Eigen::half);

}  // namespace

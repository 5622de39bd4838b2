// Bilinear enlargement by a whole factor, and its gradient, each in one pass over the image.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernel.h"
#include "product.h"

namespace edvr {

// A phase of the enlargement: pixel s*i + phase is (1 - share) times pixel i and `share` times the one `step` further,
// or pixel i again where there is none.
template <typename T>
struct Phase {
  Phase(int64_t phase, int64_t factor) {
    const double shift = (phase + 0.5) / factor - 0.5;
    step = shift < 0 ? -1 : 1;
    share = T(std::abs(shift));
  }
  int64_t Neighbour(int64_t i, int64_t size) const {
    return std::min(std::max<int64_t>(i + step, 0), size - 1);
  }
  int64_t step;
  T share;
};

// to = a * from + b * other; without `other` where b is 0, because infinity times 0 is not a number.
template <typename T>
void Mix(int64_t count, T a, const T* __restrict__ from, T b, const T* __restrict__ other, T* __restrict__ to) {
  if (b == T(0)) {
    for (int64_t j = 0; j < count; ++j) to[j] = a * from[j];
  } else {
    for (int64_t j = 0; j < count; ++j) to[j] = a * from[j] + b * other[j];
  }
}

template <typename T>
void AddScaled(int64_t count, T a, const T* __restrict__ from, T* __restrict__ to) {
  for (int64_t j = 0; j < count; ++j) to[j] += a * from[j];
}

// y = gain * x enlarged: x [N, H, W, C], y [N, s*H, s*W, C]; half-pixel centres, borders replicated. With `gradient`
// x is the gradient of y, and y that of x.
template <typename T>
class UpsampleOp : public OpKernel {
 public:
  explicit UpsampleOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("factor", &factor_));
    OP_REQUIRES_OK(context, context->GetAttr("gain", &gain_));
    OP_REQUIRES_OK(context, context->GetAttr("gradient", &gradient_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    OP_REQUIRES(context, x.dims() == 4 && (!gradient_ || (x.dim_size(1) % factor_ == 0 && x.dim_size(2) % factor_ == 0)),
                InvalidArgument("upsample: ", gradient_ ? "the output's gradient" : "x", " has shape ",
                                x.shape().DebugString(), "; it must be [N, H, W, C]",
                                gradient_ ? ", H and W multiples of the factor" : ""));
    const int64_t small = gradient_ ? factor_ : 1, large = gradient_ ? 1 : factor_;
    const int64_t height = x.dim_size(1) / small, width = x.dim_size(2) / small, channels = x.dim_size(3);
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({x.dim_size(0), height * large, width * large, channels}), &result));
    if (result->NumElements() == 0) return;
    const Call call{Data<T>(x), MutableData<T>(result), height, width, channels};
    InParallel(context, x.dim_size(0) * height, factor_ * factor_ * width * channels,
               [&](int64_t begin, int64_t end) {
      Buffer<T> line(width * factor_ * channels);
      for (int64_t row = begin; row < end; ++row) {
        if (gradient_) {
          ReduceRow(call, row, line.get());
        } else {
          EnlargeRow(call, row, line.get());
        }
      }
    });
  }

 private:
  struct Call {
    const T* from;
    T* to;
    int64_t height, width, channels;   // of the small image
  };

  // Writes the rows that belong to a row of the small image, counted over the images.
  void EnlargeRow(const Call& call, int64_t row, T* line) const {
    const int64_t y = row % call.height, length = call.width * call.channels, channels = call.channels;
    const T *own = call.from + row * length, gain = T(gain_);
    for (int64_t k = 0; k < factor_; ++k) {
      const Phase<T> down(k, factor_);
      Mix(length, T(1) - down.share, own, down.share, own + (down.Neighbour(y, call.height) - y) * length, line);
      T* to = call.to + (row * factor_ + k) * length * factor_;
      for (int64_t x = 0; x < call.width; ++x) {
        for (int64_t i = 0; i < factor_; ++i, to += channels) {
          const Phase<T> across(i, factor_);
          Mix(channels, gain * (T(1) - across.share), line + x * channels, gain * across.share,
              line + across.Neighbour(x, call.width) * channels, to);
        }
      }
    }
  }

  // Writes a row of the small image's gradient: rows first, into `line`, then columns.
  void ReduceRow(const Call& call, int64_t row, T* line) const {
    const int64_t channels = call.channels, length = call.width * factor_ * channels, y = row % call.height;
    const T* own = call.from + row * factor_ * length;
    std::fill_n(line, length, T(0));
    for (int64_t k = 0; k < factor_; ++k)
      Collect(k, y, call.height, [&](int64_t block, T share) {
        AddScaled(length, share, own + ((block - y) * factor_ + k) * length, line);
      });
    T* to = call.to + row * call.width * channels;
    std::fill_n(to, call.width * channels, T(0));
    for (int64_t x = 0; x < call.width; ++x, to += channels) {
      for (int64_t i = 0; i < factor_; ++i)
        Collect(i, x, call.width, [&](int64_t block, T share) {
          AddScaled(channels, T(gain_) * share, line + (block * factor_ + i) * channels, to);
        });
    }
  }

  // Calls add(j, share) for each j whose pixel s*j + phase has pixel i in it.
  template <typename Add>
  void Collect(int64_t number, int64_t i, int64_t size, Add add) const {
    const Phase<T> phase(number, factor_);
    const bool alone = phase.Neighbour(i, size) == i;
    add(i, alone ? T(1) : T(1) - phase.share);
    const int64_t other = i - phase.step;
    if (phase.share != T(0) && other >= 0 && other < size) add(other, phase.share);
  }

  int factor_;
  float gain_;
  bool gradient_;
};

REGISTER_OP("EdvrUpsample")
    .Attr("T: {float, double}")
    .Attr("factor: int >= 1")
    .Attr("gain: float = 1.0")
    .Attr("gradient: bool = false")
    .Input("x: T")
    .Output("y: T")
    .SetShapeFn([](InferenceContext* context) -> Status {
      int factor;
      bool gradient;
      ShapeHandle x;
      DimensionHandle sizes[2];
      TF_RETURN_IF_ERROR(context->GetAttr("factor", &factor));
      TF_RETURN_IF_ERROR(context->GetAttr("gradient", &gradient));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      for (int i = 0; i < 2; ++i) {
        const DimensionHandle size = context->Dim(x, 1 + i);
        if (gradient) {
          TF_RETURN_IF_ERROR(context->Divide(size, factor, true, &sizes[i]));
        } else {
          TF_RETURN_IF_ERROR(context->Multiply(size, factor, &sizes[i]));
        }
      }
      context->set_output(0, context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], context->Dim(x, 3)}));
      return Status();
    });

EDVR_REGISTER("EdvrUpsample", UpsampleOp);

}  // namespace edvr

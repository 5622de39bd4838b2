// All gradients of the deformable convolution.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deform_conv.h"
#include "deform_sampling.h"
#include "kernel.h"
#include "product.h"

namespace edvr {

// The gradients are cut in units of (a run of images, a run of groups): nothing else writes that part of the
// gradients of x, offset and mask. A unit sums its own gradient of weight and bias; the sums are added in order.
template <typename T>
class DeformConvGradOp : public OpKernel {
 public:
  explicit DeformConvGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("deform_groups", &groups_));
    OP_REQUIRES_OK(context, context->GetAttr("packed", &packed_));
  }

  void Compute(OpKernelContext* context) override {
    Sizes sizes;
    OP_REQUIRES_OK(context, ReadSizes(context, groups_, packed_, false, &sizes));
    const bool empty = sizes.images * sizes.Area() * sizes.cout == 0 || sizes.channels == 0;
    Call call(sizes, packed_);
    for (int i = 0; i < 5; ++i) call.in[i] = Data<T>(context->input(i));
    for (int i = 0; i < 5; ++i) {
      const TensorShape shape = i < 4 ? context->input(i).shape() : TensorShape({sizes.cout});
      Tensor* result = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(i, shape, &result));
      call.out[i] = MutableData<T>(result);
      // units write every value of the first three: clearing them would keep one thread busy and the others waiting
      if (empty || i >= 3) std::fill_n(call.out[i], result->NumElements(), T(0));
    }
    if (empty) return;
    InParallel(context, call.image_runs * call.group_runs, int64_t{1} << 40, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) RunUnit(call, unit / call.group_runs, unit % call.group_runs);
    });
    AddSums(call);
  }

 private:
  static constexpr int64_t kAhead = 16;   // output points whose offsets are fetched before they are needed

  struct Call {
    Call(const Sizes& s, bool is_packed)
        : sizes(s), packed(is_packed), images_per_run(std::max<int64_t>(DivideUp(s.images, kUnits), 1)),
          image_runs(DivideUp(s.images, images_per_run)),
          groups_per_run(DivideUp(s.groups, std::min(s.groups, DivideUp(kUnits, std::max<int64_t>(image_runs, 1))))),
          group_runs(DivideUp(s.groups, groups_per_run)),
          d_weight(image_runs * s.Columns() * s.cout), d_bias(image_runs * s.cout) {}
    const Sizes sizes;
    const bool packed;
    const int64_t images_per_run, image_runs, groups_per_run, group_runs;
    const T* in[5];    // x, offset, mask, weight, gradient of the output
    T* out[5];         // gradients of x, offset, mask, weight, bias
    Buffer<T> d_weight, d_bias;   // one sum for each run of images; rows of d_weight in the order of columns
  };

  // One output point of a unit. Two take turns: the gradients of a point's offsets are computed after the next one is
  // sampled.
  struct Point {
    Point(const Sizes& sizes, int64_t first_group, int64_t groups)
        : at(sizes, first_group, groups), dots(4 * at.count()), sigmoid(at.count()), mask(nullptr) {}
    Taps<T, true> at;
    Buffer<T> dots, sigmoid;
    const T* mask;
  };

  static void RunUnit(const Call& call, int64_t image_run, int64_t group_run) {
    const Sizes& sizes = call.sizes;
    const int64_t group = group_run * call.groups_per_run, groups = std::min(call.groups_per_run, sizes.groups - group);
    const int64_t per_group = sizes.Kernel() * sizes.Run(), columns = groups * per_group, cout = sizes.cout;
    const int64_t first_column = group * per_group, first_point = group * sizes.Kernel();
    const int64_t points = sizes.Points(), offsets = (call.packed ? 3 : 2) * points, own = groups * sizes.Kernel();
    const int64_t area = sizes.Area(), channels = groups * sizes.Run();
    const T *weight = call.in[3];
    T* d_weight = &call.d_weight[(image_run * sizes.Columns() + first_column) * cout];
    T* d_bias = group == 0 ? &call.d_bias[image_run * cout] : nullptr;
    std::memset(d_weight, 0, columns * cout * sizeof(T));
    if (d_bias != nullptr) std::memset(d_bias, 0, cout * sizeof(T));

    Buffer<T> transposed(PackedSize<T>(cout, columns)), packed_grad(PackedSize<T>(kTile, cout));
    Buffer<T> column(kTile * columns), d_column(kTile * columns);
    Pack(cout, columns, transposed.get(), [&](int64_t p, int64_t j) {
      return weight[sizes.WeightRow(first_column + j) * cout + p];
    });
    Point even(sizes, group, groups), odd(sizes, group, groups);
    // The unit's own channels, copied: a pixel of all channels is far from the next one in the cache.
    Buffer<T> x(area * channels), d_x(area * channels);
    const auto gradient = Routines<T>::For(sizes.Run()).gradient;

    const int64_t image_end = std::min((image_run + 1) * call.images_per_run, sizes.images);
    for (int64_t image = image_run * call.images_per_run; image < image_end; ++image) {
      const int64_t channels_at = image * area * sizes.channels + group * sizes.Run();
      CopyChannels(area, channels, call.in[0] + channels_at, sizes.channels, x.get(), channels);
      std::memset(d_x.get(), 0, area * channels * sizeof(T));
      for (int64_t start = 0; start < area; start += kTile) {
        const int64_t count = std::min(kTile, area - start);
        const T* grad = call.in[4] + (image * area + start) * cout;
        // panel by panel, so that a panel and the gradient stay in the first cache
        for (int64_t j = 0; j < columns; j += PanelWidth<T>())
          Multiply<T>(count, std::min(PanelWidth<T>(), columns - j), cout, grad, cout, 1, &transposed[j * cout],
                      &d_column[j], columns, false);
        const auto finish = [&](const Point& point, int64_t i) {
          const int64_t p = image * area + start + i;
          T *d_dx = call.out[1] + p * offsets + first_point, *d_dy = d_dx + points;
          if (call.packed) {
            OffsetGradient<T, true>(point.at, point.mask, point.dots.get(), d_dx, d_dy, d_dy + points);
          } else {
            OffsetGradient<T, false>(point.at, point.mask, point.dots.get(), d_dx, d_dy,
                                     call.out[2] + p * points + first_point);
          }
        };
        for (int64_t i = 0; i < count; ++i) {
          const int64_t pixel = start + i, p = image * area + pixel;
          Point &point = i % 2 == 0 ? even : odd, &last = i % 2 == 0 ? odd : even;
          const T* offset = call.in[1] + p * offsets;
          for (int64_t k = first_point; k < offsets; k += points) {
            Fetch(offset + kAhead * offsets + k, own);
            FetchToWrite(call.out[1] + (p + kAhead) * offsets + k, own);
          }
          point.mask = call.in[2] + p * points + first_point;
          if (call.packed) {
            Sigmoid(own, offset + 2 * points + first_point, point.sigmoid.get());
            point.mask = point.sigmoid.get();
          }
          point.at.Compute(pixel / sizes.width, pixel % sizes.width, offset, point.mask);
          gradient(point.at, x.get(), sizes.Run(), &d_column[i * columns], &column[i * columns], point.dots.get(),
                   d_x.get());
          if (i > 0) finish(last, i - 1);
        }
        finish(count % 2 == 0 ? odd : even, count - 1);
        Pack(count, cout, packed_grad.get(), [&](int64_t p, int64_t j) { return grad[p * cout + j]; });
        Multiply<T>(columns, cout, count, column.get(), 1, columns, packed_grad.get(), d_weight, cout, true);
        if (d_bias == nullptr) continue;
        for (int64_t i = 0; i < count; ++i)
          for (int64_t j = 0; j < cout; ++j) d_bias[j] += grad[i * cout + j];
      }
      CopyChannels(area, channels, d_x.get(), channels, call.out[0] + channels_at, sizes.channels);
    }
  }

  // Copies `channels` values of each of `count` pixels between images of from_row and to_row values a pixel.
  static void CopyChannels(int64_t count, int64_t channels, const T* from, int64_t from_row, T* to, int64_t to_row) {
    for (int64_t i = 0; i < count; ++i) std::copy_n(from + i * from_row, channels, to + i * to_row);
  }

  static void AddSums(const Call& call) {
    const int64_t columns = call.sizes.Columns(), cout = call.sizes.cout;
    for (int64_t run = 0; run < call.image_runs; ++run) {
      for (int64_t i = 0; i < columns; ++i) {
        const T* from = &call.d_weight[(run * columns + i) * cout];
        T* to = call.out[3] + call.sizes.WeightRow(i) * cout;
        for (int64_t j = 0; j < cout; ++j) to[j] += from[j];
      }
      for (int64_t j = 0; j < cout; ++j) call.out[4][j] += call.d_bias[run * cout + j];
    }
  }

  tensorflow::int64 groups_;
  bool packed_;
};

Status GradientShape(InferenceContext* context) {
  ShapeHandle weight;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(3), 4, &weight));
  for (int i = 0; i < 4; ++i) context->set_output(i, context->input(i));
  context->set_output(4, context->MakeShape({context->Dim(weight, 3)}));
  return Status();
}

REGISTER_OP("EdvrDeformConvGrad")
    .Attr("T: {float, double}")
    .Attr("deform_groups: int >= 1")
    .Attr("packed: bool = false")
    .Input("x: T").Input("offset: T").Input("mask: T").Input("weight: T").Input("grad: T")
    .Output("d_x: T").Output("d_offset: T").Output("d_mask: T").Output("d_weight: T").Output("d_bias: T")
    .SetShapeFn(GradientShape);

EDVR_REGISTER("EdvrDeformConvGrad", DeformConvGradOp);

}  // namespace edvr

// Modulated deformable convolution (DCNv2) on the CPU: sampling and matrix product fused tile by tile, forward and
// all gradients. Stride 1, "same" padding, odd kernels. The contract is that of edvr/model/deform_conv.py:
//
//   x      [N, H, W, C]           offset [N, H, W, 2*G*K]  all dx, then all dy; each group-major, then kernel point
//   weight [kh, kw, C, Cout]      mask   [N, H, W, G*K]    K = kh*kw, row-major
//   bias   [Cout]                 output [N, H, W, Cout]
//
// or `packed`: offset [N, H, W, 3*G*K] goes on with the mask before its sigmoid, and mask is empty.
//
// Point k of output (y, x) of group g samples channels [g*C/G, (g+1)*C/G) at
// (y - kh/2 + k/kw + dy, x - kw/2 + k%kw + dx), bilinearly; corners outside the image count as zero, keeping their
// share of the weight. Derivatives at whole coordinates are those towards the right and the bottom. A point further
// outside, or whose coordinate is not a number, contributes zero and receives zero gradient.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "product.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace edvr {

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

// -------------------------------------------------------------------------------------------------- the sizes
struct Sizes {
  int64_t images, height, width, channels, groups, kernel_height, kernel_width, cout;
  int64_t Kernel() const { return kernel_height * kernel_width; }
  int64_t Run() const { return channels / groups; }         // channels of a group
  int64_t Points() const { return groups * Kernel(); }      // sampling points of an output point
  int64_t Columns() const { return channels * Kernel(); }   // depth of the product
  int64_t Area() const { return height * width; }
  // Row of the kernel, seen as a matrix [K*C, Cout], that belongs to column (group, kernel point, channel) here.
  int64_t WeightRow(int64_t column) const {
    const int64_t run = Run(), group = column / (Kernel() * run), point = column / run % Kernel();
    return point * channels + group * run + column % run;
  }
};

Status ReadSizes(OpKernelContext* context, int64_t groups, bool packed, bool has_bias, Sizes* sizes) {
  const Tensor &x = context->input(0), &offset = context->input(1), &mask = context->input(2),
               &weight = context->input(3), &last = context->input(4);
  if (x.dims() != 4)
    return InvalidArgument("deform_conv: x has shape ", x.shape().DebugString(), "; it must be [N, H, W, C]");
  if (weight.dims() != 4 || weight.dim_size(0) % 2 == 0 || weight.dim_size(1) % 2 == 0)
    return InvalidArgument("deform_conv: weight has shape ", weight.shape().DebugString(),
                           "; it must be [kh, kw, C, Cout] with kh and kw odd");
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

// --------------------------------------------------------------------------------------------------- sampling
// Where the points [first, first + count) of one output point sample: four corners and their shares. Coordinates of
// corners are clamped into the image, shares of corners outside are zero. Arrays of structures of arrays: the loop
// that fills them is vectorised over points.
template <typename T>
class Corners {
 public:
  Corners(const Sizes& sizes, int64_t first, int64_t count)
      : sizes_(sizes), first_(first), count_(count), shift_y_(count), shift_x_(count), values_(8 * count),
        index_(4 * count), inside_(count) {
    for (int64_t j = 0; j < count; ++j) {
      const int64_t point = (first + j) % sizes.Kernel();
      shift_y_[j] = T(point / sizes.kernel_width - sizes.kernel_height / 2);
      shift_x_[j] = T(point % sizes.kernel_width - sizes.kernel_width / 2);
    }
  }

  // offset: that of the output point at (y, x), [2 * G * K].
  void Compute(int64_t y, int64_t x, const T* offset) {
    const T *__restrict__ dx = offset + first_, *__restrict__ dy = dx + sizes_.Points();
    const T height = T(sizes_.height), width = T(sizes_.width), y0 = T(y), x0 = T(x);
    const int32_t row = static_cast<int32_t>(sizes_.width);
    T *__restrict__ top = Share(0), *__restrict__ bottom = Share(1);
    T *__restrict__ left = Share(2), *__restrict__ right = Share(3);
    T *__restrict__ has_top = Has(0), *__restrict__ has_bottom = Has(1);
    T *__restrict__ has_left = Has(2), *__restrict__ has_right = Has(3);
    int32_t *__restrict__ i00 = Index(0), *__restrict__ i01 = Index(1);
    int32_t *__restrict__ i10 = Index(2), *__restrict__ i11 = Index(3);
    const T *__restrict__ shift_y = shift_y_.get(), *__restrict__ shift_x = shift_x_.get();
    int32_t* __restrict__ inside = inside_.get();
    const int64_t count = count_;
#pragma GCC ivdep
    for (int64_t j = 0; j < count; ++j) {
      T sy = y0 + shift_y[j] + dy[j], sx = x0 + shift_x[j] + dx[j];
      // NaN fails every comparison, so it is outside too. At exactly -1 the sample is zero, but its derivative towards
      // the right or the bottom is not: every point at the border starts there, where offsets are zero.
      const bool in = (sy >= T(-1)) & (sy < height) & (sx >= T(-1)) & (sx < width);
      sy = in ? sy : T(0);
      sx = in ? sx : T(0);
      const T fy = std::floor(sy), fx = std::floor(sx);
      const T with_top = fy >= T(0) ? T(1) : T(0), with_bottom = fy + T(1) < height ? T(1) : T(0);
      const T with_left = fx >= T(0) ? T(1) : T(0), with_right = fx + T(1) < width ? T(1) : T(0);
      inside[j] = in;
      has_top[j] = with_top;
      has_bottom[j] = with_bottom;
      has_left[j] = with_left;
      has_right[j] = with_right;
      bottom[j] = (sy - fy) * with_bottom;
      top[j] = (T(1) - (sy - fy)) * with_top;
      right[j] = (sx - fx) * with_right;
      left[j] = (T(1) - (sx - fx)) * with_left;
      const int32_t y_top = static_cast<int32_t>(fy * with_top), x_left = static_cast<int32_t>(fx * with_left);
      const int32_t y_bottom = static_cast<int32_t>(fy + with_bottom), x_right = static_cast<int32_t>(fx + with_right);
      i00[j] = y_top * row + x_left;
      i01[j] = y_top * row + x_right;
      i10[j] = y_bottom * row + x_left;
      i11[j] = y_bottom * row + x_right;
    }
  }

  int64_t count() const { return count_; }
  bool inside(int64_t j) const { return inside_[j] != 0; }
  T* Share(int which) const { return values_.get() + which * count_; }       // top, bottom, left, right
  T* Has(int which) const { return values_.get() + (4 + which) * count_; }   // 1 where that corner is in the image
  int32_t* Index(int which) const { return index_.get() + which * count_; }  // pixel: 00, 01, 10, 11 (row, column)

 private:
  const Sizes& sizes_;
  const int64_t first_, count_;
  Buffer<T> shift_y_, shift_x_, values_;
  Buffer<int32_t> index_, inside_;
};

// Eight channels at a time, where a group has a multiple of eight; the compiler does not find these by itself.
constexpr int64_t kLanes = 8;
template <typename T> struct LaneIndex { typedef int64_t type; };
template <> struct LaneIndex<float> { typedef int32_t type; };

template <typename T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(kLanes * sizeof(T))));
  typedef typename LaneIndex<T>::type Index __attribute__((vector_size(kLanes * sizeof(T))));

  static inline Vector Load(const T* from) {
    Vector value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  }
  static inline void Store(const Vector& value, T* to) { std::memcpy(to, &value, sizeof(value)); }
  static inline void Add(const Vector& value, T* to) { Store(Load(to) + value, to); }

  // The sums of the lanes of a, b, c and d, in lanes 0 to 3.
  static inline Vector Sums(const Vector& a, const Vector& b, const Vector& c, const Vector& d) {
    const Index even = {0, 8, 2, 10, 4, 12, 6, 14}, odd = {1, 9, 3, 11, 5, 13, 7, 15};
    const Vector ab = __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
    const Vector cd = __builtin_shuffle(c, d, even) + __builtin_shuffle(c, d, odd);
    const Index first = {0, 1, 8, 9, 4, 5, 12, 13}, second = {2, 3, 10, 11, 6, 7, 14, 15};
    const Vector halves = __builtin_shuffle(ab, cd, first) + __builtin_shuffle(ab, cd, second);
    const Index swap = {4, 5, 6, 7, 0, 1, 2, 3};
    return halves + __builtin_shuffle(halves, swap);
  }
};

// Fills column[count, run] with mask * sample of the given points; image points at the first group's first channel.
// RUN is the number of channels of a group when the compiler should know it, else 0.
template <typename T, int RUN>
void Sample(const Corners<T>& at, const T* image, const Sizes& sizes, const T* mask, T* column) {
  const int64_t run = RUN ? RUN : sizes.Run(), kernel = sizes.Kernel(), channels = sizes.channels;
  const T *top = at.Share(0), *bottom = at.Share(1), *left = at.Share(2), *right = at.Share(3);
  const int32_t *i00 = at.Index(0), *i01 = at.Index(1), *i10 = at.Index(2), *i11 = at.Index(3);
  for (int64_t first = 0; first < at.count(); first += kernel, image += run) {
    for (int64_t j = first; j < first + kernel; ++j, column += run) {
      if (!at.inside(j)) {
        std::memset(column, 0, run * sizeof(T));
        continue;
      }
      const T upper = top[j] * mask[j], lower = bottom[j] * mask[j];
      const T w00 = upper * left[j], w01 = upper * right[j], w10 = lower * left[j], w11 = lower * right[j];
      const T *v00 = image + i00[j] * channels, *v01 = image + i01[j] * channels;
      const T *v10 = image + i10[j] * channels, *v11 = image + i11[j] * channels;
      if (RUN % kLanes == 0 && RUN > 0) {
        typedef Lanes<T> L;
        for (int64_t c = 0; c < run; c += kLanes)
          L::Store(w00 * L::Load(v00 + c) + w01 * L::Load(v01 + c) + w10 * L::Load(v10 + c) + w11 * L::Load(v11 + c),
                   column + c);
      } else {
        for (int64_t c = 0; c < run; ++c) column[c] = w00 * v00[c] + w01 * v01[c] + w10 * v10[c] + w11 * v11[c];
      }
    }
  }
}

// The way back of Sample, which it repeats to fill `column`: from the column's gradient adds to the image's gradient
// and sets those of offset (dx and dy) and mask. dots: scratch [4, count].
template <typename T, int RUN>
void SampleGradient(const Corners<T>& at, const T* image, const Sizes& sizes, const T* mask, const T* grad, T* column,
                    T* dots, T* d_image, T* d_dx, T* d_dy, T* d_mask) {
  const int64_t run = RUN ? RUN : sizes.Run(), kernel = sizes.Kernel(), channels = sizes.channels, count = at.count();
  const T *top = at.Share(0), *bottom = at.Share(1), *left = at.Share(2), *right = at.Share(3);
  const T *has_top = at.Has(0), *has_bottom = at.Has(1), *has_left = at.Has(2), *has_right = at.Has(3);
  T *dot00 = dots, *dot01 = dots + count, *dot10 = dots + 2 * count, *dot11 = dots + 3 * count;
  for (int64_t first = 0; first < count; first += kernel, image += run, d_image += run) {
    for (int64_t j = first; j < first + kernel; ++j, column += run, grad += run) {
      if (!at.inside(j)) {
        std::memset(column, 0, run * sizeof(T));
        dot00[j] = dot01[j] = dot10[j] = dot11[j] = T(0);
        continue;
      }
      const T upper = top[j] * mask[j], lower = bottom[j] * mask[j];
      const T w00 = upper * left[j], w01 = upper * right[j], w10 = lower * left[j], w11 = lower * right[j];
      const int64_t p00 = at.Index(0)[j] * channels, p01 = at.Index(1)[j] * channels;
      const int64_t p10 = at.Index(2)[j] * channels, p11 = at.Index(3)[j] * channels;
      T s00 = 0, s01 = 0, s10 = 0, s11 = 0;
      if (RUN % kLanes == 0 && RUN > 0) {
        typedef Lanes<T> L;
        typename L::Vector t00 = {}, t01 = {}, t10 = {}, t11 = {};
        for (int64_t c = 0; c < run; c += kLanes) {
          const typename L::Vector g = L::Load(grad + c);
          const typename L::Vector v00 = L::Load(image + p00 + c), v01 = L::Load(image + p01 + c);
          const typename L::Vector v10 = L::Load(image + p10 + c), v11 = L::Load(image + p11 + c);
          L::Store(w00 * v00 + w01 * v01 + w10 * v10 + w11 * v11, column + c);
          t00 += g * v00;
          t01 += g * v01;
          t10 += g * v10;
          t11 += g * v11;
          // corners may coincide at the image's edge: one after the other
          L::Add(w00 * g, d_image + p00 + c);
          L::Add(w01 * g, d_image + p01 + c);
          L::Add(w10 * g, d_image + p10 + c);
          L::Add(w11 * g, d_image + p11 + c);
        }
        const typename L::Vector sums = L::Sums(t00, t01, t10, t11);
        s00 = sums[0];
        s01 = sums[1];
        s10 = sums[2];
        s11 = sums[3];
      } else {
        for (int64_t c = 0; c < run; ++c) {
          const T g = grad[c], v00 = image[p00 + c], v01 = image[p01 + c], v10 = image[p10 + c], v11 = image[p11 + c];
          column[c] = w00 * v00 + w01 * v01 + w10 * v10 + w11 * v11;
          s00 += g * v00;
          s01 += g * v01;
          s10 += g * v10;
          s11 += g * v11;
          d_image[p00 + c] += w00 * g;
          d_image[p01 + c] += w01 * g;
          d_image[p10 + c] += w10 * g;
          d_image[p11 + c] += w11 * g;
        }
      }
      dot00[j] = s00;
      dot01[j] = s01;
      dot10[j] = s10;
      dot11[j] = s11;
    }
  }
#pragma GCC ivdep
  for (int64_t j = 0; j < count; ++j) {
    // a corner outside counts as zero: so does its product with the gradient
    const T a = dot00[j] * has_top[j] * has_left[j], b = dot01[j] * has_top[j] * has_right[j];
    const T c = dot10[j] * has_bottom[j] * has_left[j], d = dot11[j] * has_bottom[j] * has_right[j];
    d_mask[j] = top[j] * (left[j] * a + right[j] * b) + bottom[j] * (left[j] * c + right[j] * d);
    d_dx[j] = mask[j] * (top[j] * (b - a) + bottom[j] * (d - c));
    d_dy[j] = mask[j] * (left[j] * (c - a) + right[j] * (d - b));
  }
}

template <typename T>
struct Routines {
  decltype(&Sample<T, 0>) sample;
  decltype(&SampleGradient<T, 0>) gradient;
  static Routines For(int64_t run) {
    switch (run) {
      case 8: return {Sample<T, 8>, SampleGradient<T, 8>};
      case 16: return {Sample<T, 16>, SampleGradient<T, 16>};
      case 64: return {Sample<T, 64>, SampleGradient<T, 64>};
      case 128: return {Sample<T, 128>, SampleGradient<T, 128>};
      default: return {Sample<T, 0>, SampleGradient<T, 0>};
    }
  }
};

// ------------------------------------------------------------------------------------------------------ the mask
inline double Exponential(double value) { return std::exp(value); }

// To float's rounding, in a form that the compiler vectorises.
inline float Exponential(float value) {
  value = value < -87.f ? -87.f : value > 87.f ? 87.f : value;
  const float power = std::floor(value * 1.44269504f + 0.5f), rest = value - power * 0.693147181f;
  const float series = 1.f + rest * (1.f + rest * (1.f / 2 + rest * (1.f / 6 + rest * (1.f / 24 + rest * (
      1.f / 120 + rest * (1.f / 720 + rest * (1.f / 5040)))))));
  const int32_t bits = (static_cast<int32_t>(power) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return series * scale;
}

template <typename T>
void Sigmoid(int64_t count, const T* __restrict__ from, T* __restrict__ to) {
  for (int64_t i = 0; i < count; ++i) to[i] = T(1) / (T(1) + Exponential(-from[i]));
}

// ------------------------------------------------------------------------------------------------- the kernels
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
      Corners<T> at(sizes, 0, points);
      Buffer<T> column(kTile * columns), sigmoid(points);
      for (int64_t start = begin * kTile; start < std::min(end * kTile, total); start += kTile) {
        const int64_t count = std::min(kTile, total - start);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t p = start + i, image = p / sizes.Area(), pixel = p % sizes.Area();
          const T *own = offset + p * offsets, *shares = packed_ ? sigmoid.get() : mask + p * points;
          if (packed_) Sigmoid(points, own + 2 * points, sigmoid.get());
          at.Compute(pixel / sizes.width, pixel % sizes.width, own);
          sample(at, x + image * sizes.Area() * sizes.channels, sizes, shares, &column[i * columns]);
          std::memcpy(out + p * cout, bias, cout * sizeof(T));
        }
        Multiply<T>(count, cout, columns, column.get(), columns, 1, kernel.get(), out + start * cout, cout, true);
      }
    };
    InParallel(context, DivideUp(total, kTile), kTile * columns * (cout / 16 + 1), work);
  }

 private:
  tensorflow::int64 groups_;
  bool packed_;
};

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
    Call call(sizes, packed_);
    for (int i = 0; i < 5; ++i) call.in[i] = Data<T>(context->input(i));
    for (int i = 0; i < 5; ++i) {
      const TensorShape shape = i < 4 ? context->input(i).shape() : TensorShape({sizes.cout});
      Tensor* result = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(i, shape, &result));
      call.out[i] = MutableData<T>(result);
      std::memset(call.out[i], 0, result->tensor_data().size());
    }
    if (sizes.images * sizes.Area() * sizes.cout == 0 || sizes.channels == 0) return;
    InParallel(context, call.image_runs * call.group_runs, int64_t{1} << 40, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) RunUnit(call, unit / call.group_runs, unit % call.group_runs);
    });
    AddSums(call);
  }

 private:
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

  static void RunUnit(const Call& call, int64_t image_run, int64_t group_run) {
    const Sizes& sizes = call.sizes;
    const int64_t group = group_run * call.groups_per_run, groups = std::min(call.groups_per_run, sizes.groups - group);
    const int64_t per_group = sizes.Kernel() * sizes.Run(), columns = groups * per_group, cout = sizes.cout;
    const int64_t first_column = group * per_group, first_point = group * sizes.Kernel();
    const int64_t points = sizes.Points(), offsets = (call.packed ? 3 : 2) * points, own = groups * sizes.Kernel();
    const int64_t area = sizes.Area(), first_channel = group * sizes.Run();
    const T *weight = call.in[3];
    T* d_weight = &call.d_weight[(image_run * sizes.Columns() + first_column) * cout];
    T* d_bias = group == 0 ? &call.d_bias[image_run * cout] : nullptr;
    std::memset(d_weight, 0, columns * cout * sizeof(T));
    if (d_bias != nullptr) std::memset(d_bias, 0, cout * sizeof(T));

    Buffer<T> transposed(PackedSize<T>(cout, columns)), packed_grad(PackedSize<T>(kTile, cout));
    Buffer<T> column(kTile * columns), d_column(kTile * columns), dots(4 * own), sigmoid(own);
    Pack(cout, columns, transposed.get(), [&](int64_t p, int64_t j) {
      return weight[sizes.WeightRow(first_column + j) * cout + p];
    });
    Corners<T> at(sizes, first_point, own);
    const auto gradient = Routines<T>::For(sizes.Run()).gradient;

    const int64_t image_end = std::min((image_run + 1) * call.images_per_run, sizes.images);
    for (int64_t image = image_run * call.images_per_run; image < image_end; ++image) {
      const int64_t channels_at = image * area * sizes.channels + first_channel;
      for (int64_t start = 0; start < area; start += kTile) {
        const int64_t count = std::min(kTile, area - start);
        const T* grad = call.in[4] + (image * area + start) * cout;
        Multiply<T>(count, columns, cout, grad, cout, 1, transposed.get(), d_column.get(), columns, false);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t pixel = start + i, p = image * area + pixel;
          const T *offset = call.in[1] + p * offsets, *mask = call.in[2] + p * points + first_point;
          T* d_dx = call.out[1] + p * offsets + first_point;
          T* d_mask = call.packed ? d_dx + 2 * points : call.out[2] + p * points + first_point;
          if (call.packed) {
            Sigmoid(own, offset + 2 * points + first_point, sigmoid.get());
            mask = sigmoid.get();
          }
          at.Compute(pixel / sizes.width, pixel % sizes.width, offset);
          gradient(at, call.in[0] + channels_at, sizes, mask, &d_column[i * columns], &column[i * columns], dots.get(),
                   call.out[0] + channels_at, d_dx, d_dx + points, d_mask);
          if (call.packed) {
            for (int64_t j = 0; j < own; ++j) d_mask[j] *= mask[j] * (T(1) - mask[j]);
          }
        }
        Pack(count, cout, packed_grad.get(), [&](int64_t p, int64_t j) { return grad[p * cout + j]; });
        Multiply<T>(columns, cout, count, column.get(), 1, columns, packed_grad.get(), d_weight, cout, true);
        if (d_bias == nullptr) continue;
        for (int64_t i = 0; i < count; ++i)
          for (int64_t j = 0; j < cout; ++j) d_bias[j] += grad[i * cout + j];
      }
    }
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

// ------------------------------------------------------------------------------------------------- registration
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

Status GradientShape(InferenceContext* context) {
  ShapeHandle weight;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(3), 4, &weight));
  for (int i = 0; i < 4; ++i) context->set_output(i, context->input(i));
  context->set_output(4, context->MakeShape({context->Dim(weight, 3)}));
  return Status();
}

REGISTER_OP("EdvrDeformConv")
    .Attr("T: {float, double}")
    .Attr("deform_groups: int >= 1")
    .Attr("packed: bool = false")
    .Input("x: T").Input("offset: T").Input("mask: T").Input("weight: T").Input("bias: T")
    .Output("y: T")
    .SetShapeFn(ForwardShape);

REGISTER_OP("EdvrDeformConvGrad")
    .Attr("T: {float, double}")
    .Attr("deform_groups: int >= 1")
    .Attr("packed: bool = false")
    .Input("x: T").Input("offset: T").Input("mask: T").Input("weight: T").Input("grad: T")
    .Output("d_x: T").Output("d_offset: T").Output("d_mask: T").Output("d_weight: T").Output("d_bias: T")
    .SetShapeFn(GradientShape);

#define EDVR_REGISTER(T)                                                                                          \
  REGISTER_KERNEL_BUILDER(Name("EdvrDeformConv").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),           \
                          DeformConvOp<T>);                                                                       \
  REGISTER_KERNEL_BUILDER(Name("EdvrDeformConvGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),       \
                          DeformConvGradOp<T>)
EDVR_REGISTER(float);
EDVR_REGISTER(double);
#undef EDVR_REGISTER

}  // namespace edvr

// Modulated deformable convolution (DCNv2) on the CPU: sampling and matrix product fused tile by tile, forward and
// all gradients. Stride 1, "same" padding, odd kernels. The contract is that of edvr/model/deform_conv.py:
//
//   x      [N, H, W, C]           offset [N, H, W, 2*G*K]  all dx, then all dy; each group-major, then kernel point
//   weight [kh, kw, C, Cout]      mask   [N, H, W, G*K]    K = kh*kw, row-major
//   bias   [Cout]                 output [N, H, W, Cout]
//
// Point k of output (y, x) of group g samples channels [g*C/G, (g+1)*C/G) at
// (y - kh/2 + k/kw + dy, x - kw/2 + k%kw + dx), bilinearly; corners outside the image count as zero, keeping their
// share of the weight. A point more than one pixel outside, or whose coordinate is not a number, contributes zero and
// receives zero gradient.
//
// Beside it, at the end, the weight gradient of plain convolutions, from the same matrix product.
//
// Work is cut by shapes alone and sums are taken in a fixed order, so results do not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"

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

// ---------------------------------------------------------------------------------------------- matrix product
// The register block of the product: kRows x (2 vectors). Chosen so that the accumulators fill the register file.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRows = 12;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kRows = 6;
#else
constexpr int kVectorBytes = 16, kRows = 6;
#endif
constexpr int64_t kTile = 96;          // output points worked on at a time; a multiple of kRows
constexpr int64_t kUnits = 32;         // pieces the gradients are cut in: enough for threads, few enough for memory
constexpr size_t kAlignment = 64;

template <typename T>
constexpr int64_t PanelWidth() { return 2 * kVectorBytes / sizeof(T); }

inline int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Scratch memory of one thread or one call; contents are not initialised.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t size) {
    void* memory = nullptr;
    if (posix_memalign(&memory, kAlignment, std::max<int64_t>(size, 1) * sizeof(T)) != 0) throw std::bad_alloc();
    data_.reset(static_cast<T*>(memory));
  }
  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free { void operator()(T* p) const { free(p); } };
  std::unique_ptr<T, Free> data_;
};

// c[ROWS, width] (+)= a[ROWS, depth] * panel[depth, PanelWidth]; a's element (i, p) is a[i * a_row + p * a_col].
template <typename T, int ROWS>
void MultiplyBlock(int64_t depth, const T* a, int64_t a_row, int64_t a_col, const T* panel, T* c, int64_t c_row,
                   int64_t width, bool accumulate) {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int64_t kHalf = kVectorBytes / sizeof(T), kWidth = 2 * kHalf;
  Vector sum[ROWS][2] = {};
  for (int64_t p = 0; p < depth; ++p) {
    Vector b0, b1;
    std::memcpy(&b0, panel + p * kWidth, sizeof(Vector));
    std::memcpy(&b1, panel + p * kWidth + kHalf, sizeof(Vector));
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const T value = a[i * a_row + p * a_col];
      sum[i][0] += value * b0;
      sum[i][1] += value * b1;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
    T* row = c + i * c_row;
    T line[kWidth];
    std::memcpy(line, sum[i], sizeof(line));
    if (width == kWidth && accumulate) {
      for (int64_t j = 0; j < kWidth; ++j) row[j] += line[j];
    } else if (accumulate) {
      for (int64_t j = 0; j < width; ++j) row[j] += line[j];
    } else {
      std::memcpy(row, line, width * sizeof(T));
    }
  }
}

// Calls MultiplyBlock for `rows` <= ROWS rows: the compiler needs their number as a constant.
template <typename T, int ROWS>
struct MultiplyRows {
  template <typename... Args>
  static void Run(int64_t rows, Args... args) {
    if (rows == ROWS) {
      MultiplyBlock<T, ROWS>(args...);
    } else {
      MultiplyRows<T, ROWS - 1>::Run(rows, args...);
    }
  }
};
template <typename T>
struct MultiplyRows<T, 0> {
  template <typename... Args>
  static void Run(int64_t, Args...) {}
};

// c[rows, cols] (+)= a[rows, depth] * b[depth, cols], b packed by Pack.
template <typename T>
void Multiply(int64_t rows, int64_t cols, int64_t depth, const T* a, int64_t a_row, int64_t a_col, const T* packed,
              T* c, int64_t c_row, bool accumulate) {
  constexpr int64_t kWidth = PanelWidth<T>();
  for (int64_t i = 0; i < rows; i += kRows) {
    for (int64_t j = 0; j < cols; j += kWidth) {
      MultiplyRows<T, kRows>::Run(std::min<int64_t>(kRows, rows - i), depth, a + i * a_row, a_row, a_col,
                                  packed + j * depth, c + i * c_row + j, c_row, std::min(kWidth, cols - j), accumulate);
    }
  }
}

template <typename T>
int64_t PackedSize(int64_t depth, int64_t cols) {
  return depth * DivideUp(cols, PanelWidth<T>()) * PanelWidth<T>();
}

// Packs b[depth, cols] in panels of PanelWidth columns, padded with zeros: [panel][depth][PanelWidth].
// element(p, j) is its value in row p and column j.
template <typename T, typename Element>
void Pack(int64_t depth, int64_t cols, T* packed, Element element) {
  constexpr int64_t kWidth = PanelWidth<T>();
  for (int64_t start = 0; start < cols; start += kWidth) {
    const int64_t width = std::min(kWidth, cols - start);
    for (int64_t p = 0; p < depth; ++p, packed += kWidth) {
      for (int64_t j = 0; j < width; ++j) packed[j] = element(p, start + j);
      for (int64_t j = width; j < kWidth; ++j) packed[j] = T(0);
    }
  }
}

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

Status ReadSizes(OpKernelContext* context, int64_t groups, bool has_bias, Sizes* sizes) {
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
  const TensorShape want_offset({n, h, w, 2 * sizes->Points()}), want_mask({n, h, w, sizes->Points()});
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
      // NaN fails every comparison, so it is outside too
      const bool in = (sy > T(-1)) & (sy < height) & (sx > T(-1)) & (sx < width);
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

// Runs work(begin, end) over [0, total) on TensorFlow's own threads.
template <typename Work>
void InParallel(OpKernelContext* context, int64_t total, int64_t cost, Work work) {
  const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers.num_threads, workers.workers, total, cost, work);
}

// ------------------------------------------------------------------------------------------------- the kernels
template <typename T>
class DeformConvOp : public OpKernel {
 public:
  explicit DeformConvOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("deform_groups", &groups_));
  }

  void Compute(OpKernelContext* context) override {
    Sizes sizes;
    OP_REQUIRES_OK(context, ReadSizes(context, groups_, true, &sizes));
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({sizes.images, sizes.height, sizes.width, sizes.cout}), &result));
    if (result->NumElements() == 0) return;
    const int64_t columns = sizes.Columns(), points = sizes.Points(), cout = sizes.cout;
    const T* x = Data(context, 0), *offset = Data(context, 1), *mask = Data(context, 2), *weight = Data(context, 3);
    const T* bias = Data(context, 4);
    T* out = reinterpret_cast<T*>(const_cast<char*>(result->tensor_data().data()));
    Buffer<T> packed(PackedSize<T>(columns, cout));
    Pack(columns, cout, packed.get(),
         [&](int64_t p, int64_t j) { return weight[sizes.WeightRow(p) * cout + j]; });
    const auto sample = Routines<T>::For(sizes.Run()).sample;
    const int64_t total = sizes.images * sizes.Area();

    auto work = [&](int64_t begin, int64_t end) {
      Corners<T> at(sizes, 0, points);
      Buffer<T> column(kTile * columns);
      for (int64_t start = begin * kTile; start < std::min(end * kTile, total); start += kTile) {
        const int64_t count = std::min(kTile, total - start);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t p = start + i, image = p / sizes.Area(), pixel = p % sizes.Area();
          at.Compute(pixel / sizes.width, pixel % sizes.width, offset + p * 2 * points);
          sample(at, x + image * sizes.Area() * sizes.channels, sizes, mask + p * points, &column[i * columns]);
          std::memcpy(out + p * cout, bias, cout * sizeof(T));
        }
        Multiply<T>(count, cout, columns, column.get(), columns, 1, packed.get(), out + start * cout, cout, true);
      }
    };
    InParallel(context, DivideUp(total, kTile), kTile * columns * (cout / 16 + 1), work);
  }

 private:
  static const T* Data(OpKernelContext* context, int i) {
    return reinterpret_cast<const T*>(context->input(i).tensor_data().data());
  }
  tensorflow::int64 groups_;
};

// The gradients are cut in units of (a run of images, a run of groups): nothing else writes that part of the
// gradients of x, offset and mask. A unit sums its own gradient of weight and bias; the sums are added in order.
template <typename T>
class DeformConvGradOp : public OpKernel {
 public:
  explicit DeformConvGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("deform_groups", &groups_));
  }

  void Compute(OpKernelContext* context) override {
    Sizes sizes;
    OP_REQUIRES_OK(context, ReadSizes(context, groups_, false, &sizes));
    Call call(sizes);
    for (int i = 0; i < 5; ++i) call.in[i] = reinterpret_cast<const T*>(context->input(i).tensor_data().data());
    for (int i = 0; i < 5; ++i) {
      const TensorShape shape = i < 4 ? context->input(i).shape() : TensorShape({sizes.cout});
      Tensor* result = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(i, shape, &result));
      call.out[i] = reinterpret_cast<T*>(const_cast<char*>(result->tensor_data().data()));
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
    explicit Call(const Sizes& s)
        : sizes(s), images_per_run(std::max<int64_t>(DivideUp(s.images, kUnits), 1)),
          image_runs(DivideUp(s.images, images_per_run)),
          groups_per_run(DivideUp(s.groups, std::min(s.groups, DivideUp(kUnits, std::max<int64_t>(image_runs, 1))))),
          group_runs(DivideUp(s.groups, groups_per_run)),
          d_weight(image_runs * s.Columns() * s.cout), d_bias(image_runs * s.cout) {}
    const Sizes sizes;
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
    const int64_t points = sizes.Points(), area = sizes.Area(), first_channel = group * sizes.Run();
    const T *weight = call.in[3];
    T* d_weight = &call.d_weight[(image_run * sizes.Columns() + first_column) * cout];
    T* d_bias = group == 0 ? &call.d_bias[image_run * cout] : nullptr;
    std::memset(d_weight, 0, columns * cout * sizeof(T));
    if (d_bias != nullptr) std::memset(d_bias, 0, cout * sizeof(T));

    Buffer<T> transposed(PackedSize<T>(cout, columns)), packed_grad(PackedSize<T>(kTile, cout));
    Buffer<T> column(kTile * columns), d_column(kTile * columns), dots(4 * groups * sizes.Kernel());
    Pack(cout, columns, transposed.get(), [&](int64_t p, int64_t j) {
      return weight[sizes.WeightRow(first_column + j) * cout + p];
    });
    Corners<T> at(sizes, first_point, groups * sizes.Kernel());
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
          at.Compute(pixel / sizes.width, pixel % sizes.width, call.in[1] + p * 2 * points);
          T* d_dx = call.out[1] + p * 2 * points + first_point;
          gradient(at, call.in[0] + channels_at, sizes, call.in[2] + p * points + first_point, &d_column[i * columns],
                   &column[i * columns], dots.get(), call.out[0] + channels_at, d_dx, d_dx + points,
                   call.out[2] + p * points + first_point);
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
};

// ------------------------------------------------------------------------- weight gradient of plain convolutions
// The gradient of the kernel of a stride-1 "same" convolution: for each tap, the product of the shifted image,
// transposed, with the gradient of the output. Tiles of whole rows are copied with their border, so that a shift is a
// constant distance. Sums are taken in a fixed order, as above.
template <typename T>
class ConvWeightGradOp : public OpKernel {
 public:
  explicit ConvWeightGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("kernel_size", &kernel_));
    OP_REQUIRES(context, kernel_.size() == 2 && kernel_[0] > 0 && kernel_[1] > 0 && kernel_[0] % 2 && kernel_[1] % 2,
                InvalidArgument("conv_weight_gradient: kernel_size must be two odd numbers"));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &grad = context->input(1);
    OP_REQUIRES(context, x.dims() == 4 && grad.dims() == 4 && x.dim_size(0) == grad.dim_size(0) &&
                             x.dim_size(1) == grad.dim_size(1) && x.dim_size(2) == grad.dim_size(2),
                InvalidArgument("conv_weight_gradient: x has shape ", x.shape().DebugString(),
                                ", the output's gradient ", grad.shape().DebugString(),
                                "; they must be [N, H, W, C] and [N, H, W, Cout]"));
    Call call{x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3), grad.dim_size(3), kernel_[0], kernel_[1]};
    call.x = reinterpret_cast<const T*>(x.tensor_data().data());
    call.grad = reinterpret_cast<const T*>(grad.tensor_data().data());
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({kernel_[0], kernel_[1], call.channels, call.cout}), &result));
    T* out = reinterpret_cast<T*>(const_cast<char*>(result->tensor_data().data()));
    const int64_t size = result->NumElements();
    std::memset(out, 0, size * sizeof(T));
    if (x.NumElements() == 0 || grad.NumElements() == 0) return;
    call.rows = std::max<int64_t>(1, std::min(call.height, kDepth / (call.width + call.kernel_width - 1)));
    const int64_t tiles = call.images * DivideUp(call.height, call.rows), per_unit = DivideUp(tiles, kUnits);
    const int64_t units = DivideUp(tiles, per_unit);
    Buffer<T> sums(units * size);
    InParallel(context, units, int64_t{1} << 40, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        std::memset(&sums[unit * size], 0, size * sizeof(T));
        RunTiles(call, unit * per_unit, std::min((unit + 1) * per_unit, tiles), &sums[unit * size]);
      }
    });
    InParallel(context, size, units, [&](int64_t begin, int64_t end) {
      for (int64_t unit = 0; unit < units; ++unit)
        for (int64_t i = begin; i < end; ++i) out[i] += sums[unit * size + i];
    });
  }

 private:
  static constexpr int64_t kDepth = 256;   // pixels of a tile, about: they fit the second-level cache

  struct Call {
    int64_t images, height, width, channels, cout, kernel_height, kernel_width;
    int64_t rows;                          // of a tile
    const T *x, *grad;
  };

  static void RunTiles(const Call& call, int64_t begin, int64_t end, T* sum) {
    const int64_t line = call.width + call.kernel_width - 1;
    const int64_t pad_y = call.kernel_height / 2, pad_x = call.kernel_width / 2;
    const int64_t lines = call.rows + call.kernel_height - 1, channels = call.channels, cout = call.cout;
    const int64_t pixels = lines * line + call.kernel_width - 1;   // the last tap of the last pixel reads that far
    Buffer<T> image(pixels * channels), packed(PackedSize<T>(call.rows * line, cout));
    std::memset(image.get(), 0, pixels * channels * sizeof(T));    // the border stays zero
    const int64_t tiles_per_image = DivideUp(call.height, call.rows);
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t n = tile / tiles_per_image, first = tile % tiles_per_image * call.rows;
      const int64_t rows = std::min(call.rows, call.height - first), depth = rows * line;
      for (int64_t r = 0; r < rows + call.kernel_height - 1; ++r) {
        const int64_t y = first + r - pad_y;
        T* to = &image[(r * line + pad_x) * channels];
        const size_t bytes = call.width * channels * sizeof(T);
        if (y < 0 || y >= call.height) {
          std::memset(to, 0, bytes);
        } else {
          std::memcpy(to, call.x + (n * call.height + y) * call.width * channels, bytes);
        }
      }
      const T* grad = call.grad + (n * call.height + first) * call.width * cout;
      Pack(depth, cout, packed.get(), [&](int64_t p, int64_t j) {
        const int64_t r = p / line, c = p % line;
        return c < call.width ? grad[(r * call.width + c) * cout + j] : T(0);
      });
      for (int64_t tap = 0; tap < call.kernel_height * call.kernel_width; ++tap) {
        const int64_t shift = tap / call.kernel_width * line + tap % call.kernel_width;
        Multiply<T>(channels, cout, depth, &image[shift * channels], 1, channels, packed.get(),
                    sum + tap * channels * cout, cout, true);
      }
    }
  }

  std::vector<int> kernel_;
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
    .Input("x: T").Input("offset: T").Input("mask: T").Input("weight: T").Input("bias: T")
    .Output("y: T")
    .SetShapeFn(ForwardShape);

REGISTER_OP("EdvrDeformConvGrad")
    .Attr("T: {float, double}")
    .Attr("deform_groups: int >= 1")
    .Input("x: T").Input("offset: T").Input("mask: T").Input("weight: T").Input("grad: T")
    .Output("d_x: T").Output("d_offset: T").Output("d_mask: T").Output("d_weight: T").Output("d_bias: T")
    .SetShapeFn(GradientShape);

REGISTER_OP("EdvrConvWeightGrad")
    .Attr("T: {float, double}")
    .Attr("kernel_size: list(int)")
    .Input("x: T").Input("grad: T")
    .Output("d_weight: T")
    .SetShapeFn([](InferenceContext* context) -> Status {
      ShapeHandle x, grad;
      std::vector<int> kernel;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &grad));
      TF_RETURN_IF_ERROR(context->GetAttr("kernel_size", &kernel));
      if (kernel.size() != 2) return InvalidArgument("conv_weight_gradient: kernel_size must be two odd numbers");
      context->set_output(0, context->MakeShape({context->MakeDim(kernel[0]), context->MakeDim(kernel[1]),
                                                 context->Dim(x, 3), context->Dim(grad, 3)}));
      return Status();
    });

#define EDVR_REGISTER(T)                                                                                          \
  REGISTER_KERNEL_BUILDER(Name("EdvrDeformConv").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),           \
                          DeformConvOp<T>);                                                                       \
  REGISTER_KERNEL_BUILDER(Name("EdvrDeformConvGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),       \
                          DeformConvGradOp<T>);                                                                   \
  REGISTER_KERNEL_BUILDER(Name("EdvrConvWeightGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),       \
                          ConvWeightGradOp<T>)
EDVR_REGISTER(float);
EDVR_REGISTER(double);
#undef EDVR_REGISTER

}  // namespace edvr

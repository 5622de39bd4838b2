// Sampling of the modulated deformable convolution, and its gradients. See deform_conv.h for the contract.

#ifndef EDVR_MODEL_NATIVE_DEFORM_SAMPLING_H_
#define EDVR_MODEL_NATIVE_DEFORM_SAMPLING_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "deform_conv.h"
#include "product.h"

namespace edvr {

// Where one sample is taken: its four neighbours, clamped to the image, and what each side has of it. Inlined, so that
// loops over points are vectorised.
template <typename T>
struct Location {
  bool in;
  T with_top, with_bottom, with_left, with_right;   // 1 where that side is in the image
  T top, bottom, left, right;                       // shares; 0 outside
  int32_t y_top, y_bottom, x_left, x_right;

  inline __attribute__((always_inline)) Location(T sy, T sx, T height, T width) {
    // NaN fails every comparison, so it is outside too. At exactly -1 the sample is zero, but its derivative towards
    // the right or the bottom is not; every point at the border is there while offsets are zero.
    in = (sy >= T(-1)) & (sy < height) & (sx >= T(-1)) & (sx < width);
    sy = in ? sy : T(0);
    sx = in ? sx : T(0);
    const T fy = std::floor(sy), fx = std::floor(sx);
    with_top = fy >= T(0) ? T(1) : T(0);
    with_bottom = fy + T(1) < height ? T(1) : T(0);
    with_left = fx >= T(0) ? T(1) : T(0);
    with_right = fx + T(1) < width ? T(1) : T(0);
    bottom = (sy - fy) * with_bottom;
    top = (T(1) - (sy - fy)) * with_top;
    right = (sx - fx) * with_right;
    left = (T(1) - (sx - fx)) * with_left;
    y_top = static_cast<int32_t>(fy * with_top);
    y_bottom = static_cast<int32_t>(fy + with_bottom);
    x_left = static_cast<int32_t>(fx * with_left);
    x_right = static_cast<int32_t>(fx + with_right);
  }
};

// The four corners and their shares for the points [first, first + count) of one output point. Coordinates of corners
// are clamped to the image; shares of corners outside are zero. The data is a structure of arrays, so that the loop
// that fills it is vectorised over points.
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
      const Location<T> at(y0 + shift_y[j] + dy[j], x0 + shift_x[j] + dx[j], height, width);
      inside[j] = at.in;
      has_top[j] = at.with_top;
      has_bottom[j] = at.with_bottom;
      has_left[j] = at.with_left;
      has_right[j] = at.with_right;
      top[j] = at.top;
      bottom[j] = at.bottom;
      left[j] = at.left;
      right[j] = at.right;
      i00[j] = at.y_top * row + at.x_left;
      i01[j] = at.y_top * row + at.x_right;
      i10[j] = at.y_bottom * row + at.x_left;
      i11[j] = at.y_bottom * row + at.x_right;
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

// Eight channels at a time, if a group has a multiple of eight; the compiler does not vectorise this loop itself.
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

// Weights and places of the four corners of all points of one output point, for sampling without gradients: mask and
// shares are multiplied, and places count groups of channels. So a point takes eight numbers in place of thirteen.
template <typename T>
class Taps {
 public:
  explicit Taps(const Sizes& sizes)
      : sizes_(sizes), count_(sizes.Points()), shift_y_(count_), shift_x_(count_), weights_(4 * count_),
        places_(4 * count_), group_(count_) {
    for (int64_t j = 0; j < count_; ++j) {
      const int64_t point = j % sizes.Kernel();
      shift_y_[j] = T(point / sizes.kernel_width - sizes.kernel_height / 2);
      shift_x_[j] = T(point % sizes.kernel_width - sizes.kernel_width / 2);
      group_[j] = static_cast<int32_t>(j / sizes.Kernel());
    }
  }

  // offset, mask: those of the output point at (y, x), [2 * G * K] and [G * K]. What is outside is as in Corners.
  void Compute(int64_t y, int64_t x, const T* offset, const T* mask) {
    const T *__restrict__ dx = offset, *__restrict__ dy = dx + count_, *__restrict__ share = mask;
    const T height = T(sizes_.height), width = T(sizes_.width), y0 = T(y), x0 = T(x);
    const int32_t column = static_cast<int32_t>(sizes_.groups), row = static_cast<int32_t>(sizes_.width) * column;
    T *__restrict__ w00 = Weight(0), *__restrict__ w01 = Weight(1);
    T *__restrict__ w10 = Weight(2), *__restrict__ w11 = Weight(3);
    int32_t *__restrict__ i00 = Place(0), *__restrict__ i01 = Place(1);
    int32_t *__restrict__ i10 = Place(2), *__restrict__ i11 = Place(3);
    const T *__restrict__ shift_y = shift_y_.get(), *__restrict__ shift_x = shift_x_.get();
    const int32_t* __restrict__ group = group_.get();
    const int64_t count = count_;
#pragma GCC ivdep
    for (int64_t j = 0; j < count; ++j) {
      const Location<T> at(y0 + shift_y[j] + dy[j], x0 + shift_x[j] + dx[j], height, width);
      const T m = at.in ? share[j] : T(0), upper = at.top * m, lower = at.bottom * m;
      w00[j] = upper * at.left;
      w01[j] = upper * at.right;
      w10[j] = lower * at.left;
      w11[j] = lower * at.right;
      const int32_t y_top = at.y_top * row + group[j], y_bottom = at.y_bottom * row + group[j];
      const int32_t x_left = at.x_left * column, x_right = at.x_right * column;
      i00[j] = y_top + x_left;
      i01[j] = y_top + x_right;
      i10[j] = y_bottom + x_left;
      i11[j] = y_bottom + x_right;
    }
  }

  int64_t count() const { return count_; }
  T* Weight(int which) const { return weights_.get() + which * count_; }        // 00, 01, 10, 11 (row, column)
  int32_t* Place(int which) const { return places_.get() + which * count_; }

 private:
  const Sizes& sizes_;
  const int64_t count_;
  Buffer<T> shift_y_, shift_x_, weights_;
  Buffer<int32_t> places_, group_;
};

// Fills column[count, run] with mask * sample of the given points of an image. RUN is the number of channels of a group
// if the compiler should know it, else 0.
template <typename T, int RUN>
void Sample(const Taps<T>& at, const T* image, int64_t group_channels, T* column) {
  const int64_t run = RUN ? RUN : group_channels;
  const T *w00 = at.Weight(0), *w01 = at.Weight(1), *w10 = at.Weight(2), *w11 = at.Weight(3);
  const int32_t *i00 = at.Place(0), *i01 = at.Place(1), *i10 = at.Place(2), *i11 = at.Place(3);
  for (int64_t j = 0; j < at.count(); ++j, column += run) {
    const T a = w00[j], b = w01[j], c = w10[j], d = w11[j];
    const T *v00 = image + i00[j] * run, *v01 = image + i01[j] * run;
    const T *v10 = image + i10[j] * run, *v11 = image + i11[j] * run;
    if (RUN % kLanes == 0 && RUN > 0) {
      typedef Lanes<T> L;
      for (int64_t k = 0; k < run; k += kLanes)
        L::Store(a * L::Load(v00 + k) + b * L::Load(v01 + k) + c * L::Load(v10 + k) + d * L::Load(v11 + k), column + k);
    } else {
      for (int64_t k = 0; k < run; ++k) column[k] = a * v00[k] + b * v01[k] + c * v10[k] + d * v11[k];
    }
  }
}

// The gradients of Sample, which is repeated to fill `column`. From the gradient of the column, adds to the gradient of
// the image and sets those of offset (dx and dy) and mask. dots: scratch [4, count].
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
          // corners may coincide at the edge of the image, so they are added one after the other
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
    // a corner outside is zero, and so is its product with the gradient
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

inline double Exponential(double value) { return std::exp(value); }

// Exact to float rounding, in a form that the compiler vectorises.
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

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_DEFORM_SAMPLING_H_

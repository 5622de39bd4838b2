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

// Weights and places of the four corners of the points of some groups of one output point. Mask and shares are
// multiplied, and places count groups of channels, so a point takes eight numbers to be sampled. The data is a
// structure of arrays, so that the loop that fills it is vectorised over points. With GRADIENTS it has the shares too,
// for the gradients of offset and mask.
template <typename T, bool GRADIENTS>
class Taps {
 public:
  // The image to sample holds the groups [first_group, first_group + groups) of x.
  Taps(const Sizes& sizes, int64_t first_group, int64_t groups)
      : sizes_(sizes), first_(first_group * sizes.Kernel()), groups_(groups), count_(groups * sizes.Kernel()),
        shift_y_(count_), shift_x_(count_), weights_(4 * count_), shares_(GRADIENTS ? 8 * count_ : 0),
        places_(4 * count_), group_(count_) {
    for (int64_t j = 0; j < count_; ++j) {
      const int64_t point = j % sizes.Kernel();
      shift_y_[j] = T(point / sizes.kernel_width - sizes.kernel_height / 2);
      shift_x_[j] = T(point % sizes.kernel_width - sizes.kernel_width / 2);
      group_[j] = static_cast<int32_t>(j / sizes.Kernel());
    }
  }

  // offset: that of the output point at (y, x), [2 * G * K]. mask: that of the points, [count]. Places are clamped to
  // the image; weights of corners outside are zero, and so are all weights of a point that is outside.
  void Compute(int64_t y, int64_t x, const T* offset, const T* mask) {
    const T *__restrict__ dx = offset + first_, *__restrict__ dy = dx + sizes_.Points(), *__restrict__ share = mask;
    const T height = T(sizes_.height), width = T(sizes_.width), y0 = T(y), x0 = T(x);
    const int32_t column = static_cast<int32_t>(groups_), row = static_cast<int32_t>(sizes_.width) * column;
    T *__restrict__ w00 = Weight(0), *__restrict__ w01 = Weight(1);
    T *__restrict__ w10 = Weight(2), *__restrict__ w11 = Weight(3);
    T *__restrict__ top = Share(0), *__restrict__ bottom = Share(1);
    T *__restrict__ left = Share(2), *__restrict__ right = Share(3);
    T *__restrict__ has_top = Has(0), *__restrict__ has_bottom = Has(1);
    T *__restrict__ has_left = Has(2), *__restrict__ has_right = Has(3);
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
      if (!GRADIENTS) continue;
      top[j] = at.top;
      bottom[j] = at.bottom;
      left[j] = at.left;
      right[j] = at.right;
      has_top[j] = at.in ? at.with_top : T(0);
      has_bottom[j] = at.in ? at.with_bottom : T(0);
      has_left[j] = at.with_left;
      has_right[j] = at.with_right;
    }
  }

  int64_t count() const { return count_; }
  T* Weight(int which) const { return weights_.get() + which * count_; }        // 00, 01, 10, 11 (row, column)
  int32_t* Place(int which) const { return places_.get() + which * count_; }    // likewise
  T* Share(int which) const { return shares_.get() + which * count_; }          // top, bottom, left, right
  T* Has(int which) const { return shares_.get() + (4 + which) * count_; }      // 1 where that side is in the image

 private:
  const Sizes& sizes_;
  const int64_t first_, groups_, count_;
  Buffer<T> shift_y_, shift_x_, weights_, shares_;
  Buffer<int32_t> places_, group_;
};

// Fills column[count, run] with mask * sample of the given points of an image. RUN is the number of channels of a group
// if the compiler should know it, else 0.
template <typename T, int RUN>
void Sample(const Taps<T, false>& at, const T* image, int64_t group_channels, T* column) {
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

// Repeats Sample to fill `column`, adds to the gradient of the image what the gradient of the column gives, and sets
// dots[4, count], the products of that gradient with the corners. They are read by OffsetGradient, later: the processor
// waits for single values that are read back as a vector.
template <typename T, int RUN>
void SampleGradient(const Taps<T, true>& at, const T* image, int64_t group_channels, const T* grad, T* column, T* dots,
                    T* d_image) {
  const int64_t run = RUN ? RUN : group_channels, count = at.count();
  const T *w00 = at.Weight(0), *w01 = at.Weight(1), *w10 = at.Weight(2), *w11 = at.Weight(3);
  const int32_t *i00 = at.Place(0), *i01 = at.Place(1), *i10 = at.Place(2), *i11 = at.Place(3);
  for (int64_t j = 0; j < count; ++j, column += run, grad += run) {
    const T a = w00[j], b = w01[j], c = w10[j], d = w11[j];
    const int64_t p00 = i00[j] * run, p01 = i01[j] * run, p10 = i10[j] * run, p11 = i11[j] * run;
    T s00 = 0, s01 = 0, s10 = 0, s11 = 0;
    if (RUN % kLanes == 0 && RUN > 0) {
      typedef Lanes<T> L;
      typename L::Vector t00 = {}, t01 = {}, t10 = {}, t11 = {};
      for (int64_t k = 0; k < run; k += kLanes) {
        const typename L::Vector g = L::Load(grad + k);
        const typename L::Vector v00 = L::Load(image + p00 + k), v01 = L::Load(image + p01 + k);
        const typename L::Vector v10 = L::Load(image + p10 + k), v11 = L::Load(image + p11 + k);
        L::Store(a * v00 + b * v01 + c * v10 + d * v11, column + k);
        t00 += g * v00;
        t01 += g * v01;
        t10 += g * v10;
        t11 += g * v11;
        // corners may coincide at the edge of the image, so they are added one after the other
        L::Add(a * g, d_image + p00 + k);
        L::Add(b * g, d_image + p01 + k);
        L::Add(c * g, d_image + p10 + k);
        L::Add(d * g, d_image + p11 + k);
      }
      const typename L::Vector sums = L::Sums(t00, t01, t10, t11);
      s00 = sums[0];
      s01 = sums[1];
      s10 = sums[2];
      s11 = sums[3];
    } else {
      for (int64_t k = 0; k < run; ++k) {
        const T g = grad[k], v00 = image[p00 + k], v01 = image[p01 + k], v10 = image[p10 + k], v11 = image[p11 + k];
        column[k] = a * v00 + b * v01 + c * v10 + d * v11;
        s00 += g * v00;
        s01 += g * v01;
        s10 += g * v10;
        s11 += g * v11;
        d_image[p00 + k] += a * g;
        d_image[p01 + k] += b * g;
        d_image[p10 + k] += c * g;
        d_image[p11 + k] += d * g;
      }
    }
    dots[j] = s00;
    dots[count + j] = s01;
    dots[2 * count + j] = s10;
    dots[3 * count + j] = s11;
  }
}

// Sets the gradients of the offsets and the mask from what SampleGradient leaves. PACKED: mask is a sigmoid, and its
// gradient that of what the sigmoid takes.
template <typename T, bool PACKED>
void OffsetGradient(const Taps<T, true>& at, const T* __restrict__ mask, const T* __restrict__ dots,
                    T* __restrict__ d_dx, T* __restrict__ d_dy, T* __restrict__ d_mask) {
  const int64_t count = at.count();
  const T *top = at.Share(0), *bottom = at.Share(1), *left = at.Share(2), *right = at.Share(3);
  const T *has_top = at.Has(0), *has_bottom = at.Has(1), *has_left = at.Has(2), *has_right = at.Has(3);
  const T *dot00 = dots, *dot01 = dots + count, *dot10 = dots + 2 * count, *dot11 = dots + 3 * count;
#pragma GCC ivdep
  for (int64_t j = 0; j < count; ++j) {
    // a corner outside is zero, and so is its product with the gradient
    const T a = dot00[j] * has_top[j] * has_left[j], b = dot01[j] * has_top[j] * has_right[j];
    const T c = dot10[j] * has_bottom[j] * has_left[j], d = dot11[j] * has_bottom[j] * has_right[j];
    const T d_sample = top[j] * (left[j] * a + right[j] * b) + bottom[j] * (left[j] * c + right[j] * d), m = mask[j];
    d_mask[j] = PACKED ? d_sample * (m * (T(1) - m)) : d_sample;
    d_dx[j] = m * (top[j] * (b - a) + bottom[j] * (d - c));
    d_dy[j] = m * (left[j] * (c - a) + right[j] * (d - b));
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

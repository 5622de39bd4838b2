// Plain convolutions to at most three channels, such as the last one of the network. Nothing here knows TensorFlow.
//
// The lanes of a vector are channels of the input, not of the output, of which there are fewer than lanes. A block of
// pixels is multiplied with the kernel straight from the image; the lanes of its sums are added some blocks later.
// Blocks go down a band of rows in strips, so that a row of the image is still in a cache when the next rows need it.

#ifndef EDVR_OPS_NATIVE_CONV_NARROW_H_
#define EDVR_OPS_NATIVE_CONV_NARROW_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "conv_call.h"
#include "product.h"

namespace edvr {

template <typename T>
class NarrowConv {
 public:
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  static constexpr int64_t kVector = kVectorBytes / sizeof(T);

  static bool Saves(const ConvCall<T>& call) {
    return call.cout <= 3 && call.inputs.size() == 1 && call.channels % kVector == 0 && call.channels > 0 &&
           call.block == 1;
  }

  // Packs the kernel: [row][column][vector of channels][Cout].
  explicit NarrowConv(const ConvCall<T>& call)
      : call_(call), vectors_(call.channels / kVector),
        kernel_(call.kernel_height * call.kernel_width * call.channels * call.cout) {
    T* to = kernel_.get();
    for (int64_t tap = 0; tap < call.kernel_height * call.kernel_width; ++tap)
      for (int64_t c = 0; c < call.channels; c += kVector)
        for (int64_t j = 0; j < call.cout; ++j)
          for (int64_t lane = 0; lane < kVector; ++lane)
            *to++ = call.Weight(tap / call.kernel_width, tap % call.kernel_width, c + lane, j);
  }

  // The units of work, bands of rows, and what one costs.
  int64_t Units() const { return call_.images * Bands(); }
  int64_t UnitCost() const {
    return kBand * call_.width * vectors_ * call_.kernel_width * call_.kernel_height * call_.cout;
  }

  // Computes units [begin, end).
  void Run(int64_t begin, int64_t end) const {
    switch (call_.cout) {
      case 1: return Run<1>(begin, end);
      case 2: return Run<2>(begin, end);
      default: return Run<3>(begin, end);
    }
  }

 private:
  static constexpr int64_t kPixels = kRows >= 12 ? 8 : 4;   // in a block: their sums fill the register file
  static constexpr int64_t kParts = 16 / sizeof(T);         // what the lanes of a sum are added to in a block

  static constexpr int64_t kBand = 16, kStrip = 64;         // rows of a band, pixels of a strip: a multiple of kPixels

  int64_t Bands() const { return DivideUp(call_.height, kBand); }

  template <int COUT>
  void Run(int64_t begin, int64_t end) const {
    const int64_t pad_y = call_.kernel_height / 2;
    Buffer<T> border(call_.kernel_height * BorderSize()), parts(kStrip * COUT * kParts);
    Buffer<const T*> lines(call_.kernel_height);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t image = unit / Bands(), first = unit % Bands() * kBand;
      for (int64_t strip = 0; strip < call_.width; strip += kStrip) {
        const int64_t strip_end = std::min(strip + kStrip, call_.width);
        for (int64_t y = first; y < std::min(first + kBand, call_.height); ++y) {
          const int64_t top = std::max<int64_t>(0, pad_y - y);
          const int64_t bottom = std::min(call_.kernel_height, call_.height + pad_y - y);
          const int64_t below = image * call_.height + std::min(y + pad_y + 1, call_.height - 1);   // for the next row
          for (int64_t x = strip; x < strip_end; x += kPixels) {
            Fetch(call_.inputs[0].x + (below * call_.width + x) * call_.channels, kPixels * call_.channels);
            for (int64_t k = top; k < bottom; ++k)
              lines[k] = Line(image * call_.height + y + k - pad_y, x, &border[k * BorderSize()]);
            Block<COUT>(lines.get(), top, bottom, &parts[(x - strip) * COUT * kParts]);
          }
          Finish<COUT>(image, y, strip, strip_end - strip, parts.get());
        }
      }
    }
  }

  int64_t BorderSize() const { return (kPixels + call_.kernel_width - 1) * call_.channels; }

  // The pixels that a block from x on needs of a row of the input; outside of the image they are zero.
  const T* Line(int64_t row, int64_t x, T* border) const {
    const int64_t channels = call_.channels, first = x - call_.kernel_width / 2;
    const int64_t length = kPixels + call_.kernel_width - 1;
    const int64_t left = std::max<int64_t>(0, first), right = std::min(call_.width, first + length);
    const T* line = call_.inputs[0].x + (row * call_.width + left) * channels;
    if (right - left == length) return line;
    std::fill_n(border, length * channels, T(0));
    if (right > left) std::copy_n(line, (right - left) * channels, border + (left - first) * channels);
    return border;
  }

  // The sums of a block over rows [top, bottom) of the kernel; lines: what they need of the image.
  template <int COUT>
  void Block(const T* const* lines, int64_t top, int64_t bottom, T* parts) const {
    const int64_t channels = call_.channels, length = call_.kernel_width * channels;
    Vector sums[kPixels][COUT] = {};
    for (int64_t k = top; k < bottom; ++k) {
      const T *line = lines[k], *weight = &kernel_[k * length * COUT];
      // columns of the kernel and their channels are one piece of memory
      for (int64_t c = 0; c < length; c += kVector, weight += COUT * kVector) {
        Vector w[COUT];
#pragma GCC unroll 3
        for (int j = 0; j < COUT; ++j) std::memcpy(&w[j], weight + j * kVector, sizeof(Vector));
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) {
          Vector value;
          std::memcpy(&value, line + p * channels + c, sizeof(value));
#pragma GCC unroll 3
          for (int j = 0; j < COUT; ++j) sums[p][j] += value * w[j];
        }
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 3
      for (int j = 0; j < COUT; ++j) Fold(sums[p][j], parts + (p * COUT + j) * kParts);
    }
  }

  // Adds the lanes of a vector until kParts are left.
  static void Fold(const Vector& sum, T* to) {
    typedef T Part __attribute__((vector_size(16)));
    Part parts[kVectorBytes / 16];
    std::memcpy(parts, &sum, sizeof(parts));
    for (int n = kVectorBytes / 32; n > 0; n /= 2)
      for (int i = 0; i < n; ++i) parts[i] += parts[i + n];
    std::memcpy(to, parts, sizeof(Part));
  }

  // Adds the parts of the sums of `count` pixels of a row from x on, bias and residual, and activates.
  template <int COUT>
  void Finish(int64_t image, int64_t y, int64_t x, int64_t count, const T* parts) const {
    T* to = call_.Output(image, y, x, 0);
    const T* residual = call_.residual == nullptr ? nullptr : call_.Residual(image, y, x);
    for (int64_t i = 0; i < count * COUT; ++i, parts += kParts) {
      T sum = parts[0] + parts[1];
      if (kParts == 4) sum += parts[kParts - 2] + parts[kParts - 1];
      if (call_.bias != nullptr) sum += call_.bias[i % COUT];
      if (residual != nullptr) sum += residual[i];
      to[i] = sum > T(0) ? sum : call_.slope * sum;
    }
  }

  const ConvCall<T>& call_;
  const int64_t vectors_;
  const Buffer<T> kernel_;
};

}  // namespace edvr

#endif  // EDVR_OPS_NATIVE_CONV_NARROW_H_

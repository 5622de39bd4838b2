// Plain convolutions by the products that define them. Nothing here knows TensorFlow.
//
// Blocks of consecutive pixels of a row are multiplied with the kernel straight from the image: a pixel's neighbours
// in a row, with their channels, are one piece of memory. Blocks at the left and right border are copied first.

#ifndef EDVR_MODEL_NATIVE_CONV_DIRECT_H_
#define EDVR_MODEL_NATIVE_CONV_DIRECT_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "conv_call.h"
#include "product.h"

namespace edvr {

template <typename T>
class DirectConv {
 public:
  // Packs the kernel: one matrix for each input and row of the kernel.
  explicit DirectConv(const ConvCall<T>& call)
      : call_(call),
        kernel_(PackedSize<T>(call.channels * call.kernel_width, call.cout) * call.kernel_height) {
    T* to = kernel_.get();
    int64_t first = 0;
    for (const auto& input : call.inputs) {
      packed_.push_back(to);
      for (int64_t row = 0; row < call.kernel_height; ++row, to += RowSize(input.channels)) {
        Pack(input.channels * call.kernel_width, call.cout, to, [&](int64_t p, int64_t j) {
          return call.Weight(row, p / input.channels, first + p % input.channels, j);
        });
      }
      first += input.channels;
    }
  }

  // The units of work, rows of the output counted over the images, and what one costs.
  int64_t Units() const { return call_.images * call_.height; }
  int64_t UnitCost() const {
    return call_.width * call_.channels * call_.kernel_width * call_.kernel_height * call_.cout / 16;
  }

  // Computes units [begin, end).
  void Run(int64_t begin, int64_t end) const {
    int64_t most = 0;
    for (const auto& input : call_.inputs) most = std::max(most, input.channels);
    Buffer<T> border((kRows + call_.kernel_width - 1) * most), line(kRows * call_.cout);
    const int64_t blocks = DivideUp(call_.width, kRows);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / call_.height, y = row % call_.height;
      for (int64_t i = 0; i < blocks; ++i) {
        // of equal size, but for one pixel
        const int64_t x = call_.width * i / blocks, count = call_.width * (i + 1) / blocks - x;
        // of the lowest row that the kernel reaches: those above have been read before
        const int64_t lowest = image * call_.height + std::min(y + call_.kernel_height / 2, call_.height - 1);
        for (const auto& input : call_.inputs)
          Fetch(input.x + (lowest * call_.width + x + kAhead) * input.channels, count * input.channels);
        T* sums = call_.block == 1 ? call_.y + (row * call_.width + x) * call_.cout : line.get();
        Sums(image, y, x, count, border.get(), sums);
        Finish(image, y, x, count, sums);
        for (int64_t k = 0; call_.block > 1 && k < count; ++k)
          call_.Store(image, y, x + k, 0, call_.cout, sums + k * call_.cout);
      }
    }
  }

 private:
  static constexpr int64_t kAhead = 3 * kRows;   // pixels that are fetched before they are needed

  int64_t RowSize(int64_t channels) const { return PackedSize<T>(channels * call_.kernel_width, call_.cout); }

  // The bare convolution at `count` pixels from (y, x) on: sums[count, Cout].
  void Sums(int64_t image, int64_t y, int64_t x, int64_t count, T* border, T* sums) const {
    const int64_t pad_y = call_.kernel_height / 2, pad_x = call_.kernel_width / 2;
    const int64_t top = std::max<int64_t>(0, pad_y - y);
    const int64_t bottom = std::min(call_.kernel_height, call_.height + pad_y - y);
    const int64_t left = std::max<int64_t>(0, x - pad_x), right = std::min(call_.width, x + count + pad_x);
    const int64_t length = count + call_.kernel_width - 1;
    bool accumulate = false;
    for (size_t i = 0; i < call_.inputs.size(); ++i) {
      const int64_t channels = call_.inputs[i].channels;
      for (int64_t k = top; k < bottom; ++k) {
        const int64_t row = (image * call_.height + y + k - pad_y) * call_.width;
        const T* a = call_.inputs[i].x + (row + left) * channels;
        if (right - left < length) {
          const int64_t before = (left - (x - pad_x)) * channels, inside = (right - left) * channels;
          std::fill(border, border + before, T(0));
          std::copy(a, a + inside, border + before);
          std::fill(border + before + inside, border + length * channels, T(0));
          a = border;
        }
        Multiply<T>(count, call_.cout, channels * call_.kernel_width, a, channels, 1,
                    packed_[i] + k * RowSize(channels), sums, call_.cout, accumulate);
        accumulate = true;
      }
    }
  }

  // Adds bias and residual, and activates.
  void Finish(int64_t image, int64_t y, int64_t x, int64_t count, T* __restrict__ sums) const {
    const int64_t cout = call_.cout;
    if (call_.bias != nullptr) {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < cout; ++j) sums[i * cout + j] += call_.bias[j];
    }
    if (call_.residual != nullptr) {
      const T* residual = call_.Residual(image, y, x);
      for (int64_t j = 0; j < count * cout; ++j) sums[j] += residual[j];
    }
    if (call_.slope != T(1)) {
      for (int64_t j = 0; j < count * cout; ++j) sums[j] = sums[j] > T(0) ? sums[j] : call_.slope * sums[j];
    }
  }

  const ConvCall<T>& call_;
  const Buffer<T> kernel_;
  std::vector<const T*> packed_;   // of each input: [kernel row][panel][kernel column, channel][PanelWidth]
};

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_CONV_DIRECT_H_

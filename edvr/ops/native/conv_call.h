// A plain convolution as the ways to compute it see it. Nothing here knows TensorFlow.

#ifndef EDVR_MODEL_NATIVE_CONV_CALL_H_
#define EDVR_MODEL_NATIVE_CONV_CALL_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace edvr {

template <typename T>
struct ConvCall {
  struct Input {
    const T* x;         // [images, height, width, channels]
    int64_t channels;
  };
  std::vector<Input> inputs;
  int64_t images, height, width, channels, kernel_height, kernel_width, cout, block;
  const T* weight;
  bool transposed;      // weight is [kh, kw, cout, channels] and is flipped
  const T* bias;        // null for none
  const T* residual;    // null for none
  int64_t images_per_residual;
  T slope;
  T* y;

  T Weight(int64_t row, int64_t column, int64_t channel, int64_t j) const {
    if (!transposed) return weight[((row * kernel_width + column) * channels + channel) * cout + j];
    row = kernel_height - 1 - row;
    column = kernel_width - 1 - column;
    return weight[((row * kernel_width + column) * cout + j) * channels + channel];
  }

  // The residual of a pixel, where there is one.
  const T* Residual(int64_t image, int64_t row, int64_t column) const {
    return residual + ((image / images_per_residual * height + row) * width + column) * cout;
  }

  // Where depth_to_space puts channel j of a pixel. The channels that follow lie behind it, up to the next multiple of
  // cout / block.
  T* Output(int64_t image, int64_t row, int64_t column, int64_t j) const {
    const int64_t piece = cout / block, k = j / piece;
    return y + (((image * height + row) * block + k) * width + column) * piece + (j - k * piece);
  }

  // Writes channels [first, first + size) of a pixel.
  void Store(int64_t image, int64_t row, int64_t column, int64_t first, int64_t size, const T* values) const {
    const int64_t piece = cout / block;
    for (int64_t j = first, next; j < first + size; j = next) {
      next = std::min(first + size, (j / piece + 1) * piece);
      std::copy_n(values + (j - first), next - j, Output(image, row, column, j));
    }
  }
};

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_CONV_CALL_H_

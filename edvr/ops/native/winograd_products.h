// The products between Winograd's transforms, in the values' own precision or in bfloat16. Nothing here knows
// TensorFlow.

#ifndef EDVR_MODEL_NATIVE_WINOGRAD_PRODUCTS_H_
#define EDVR_MODEL_NATIVE_WINOGRAD_PRODUCTS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "bfloat16.h"
#include "product.h"

namespace edvr {

// Each has: Element, what the transformed image and weights are kept as; Depth, the channels that they are padded to;
// Place, where weight (channel, j) lies in a panel; Store, a vector of the transformed image; and Run,
// m[count, PanelWidth] = v[count, depth] * panel.
template <typename T>
struct OwnProducts {
  typedef T Element;
  static int64_t Depth(int64_t channels) { return channels; }
  static int64_t Place(int64_t channel, int64_t j) { return channel * PanelWidth<T>() + j; }
  static void Store(T* to, const void* vector, int64_t count) {
    if (count * int64_t(sizeof(T)) == kVectorBytes) {
      std::memcpy(to, vector, kVectorBytes);
    } else {
      std::memcpy(to, vector, count * sizeof(T));
    }
  }
  static void Run(int64_t count, int64_t depth, const T* v, const T* panel, T* m) {
    Multiply<T>(count, PanelWidth<T>(), depth, v, depth, 1, panel, m, PanelWidth<T>(), false);
  }
};

// In bfloat16 where there is such; elsewhere, and for float64, the operator refuses before these are used.
template <typename T>
struct RoundedProducts : OwnProducts<T> {};

#if defined(__AVX512BF16__)
template <>
struct RoundedProducts<float> {
  typedef BFloat16 Element;
  static constexpr int64_t kWidth = PanelWidth<float>();
  static int64_t Depth(int64_t channels) { return (channels + 1) / 2 * 2; }
  static int64_t Place(int64_t channel, int64_t j) { return (channel / 2 * kWidth + j) * 2 + channel % 2; }
  static void Store(BFloat16* to, const void* vector, int64_t count) { StoreRounded(to, vector, count); }
  static void Run(int64_t count, int64_t depth, const BFloat16* v, const BFloat16* panel, float* m) {
    for (int64_t i = 0; i < count; i += kRows)
      MultiplyRowsRounded<kRows>::Run(std::min<int64_t>(kRows, count - i), depth, v + i * depth, depth, panel,
                                      m + i * kWidth, kWidth);
  }
};
#endif

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_WINOGRAD_PRODUCTS_H_

// Products of bfloat16 values with sums in float32, where the processor has an instruction for it (AVX512_BF16).
// Nothing here knows TensorFlow.

#ifndef EDVR_MODEL_NATIVE_BFLOAT16_H_
#define EDVR_MODEL_NATIVE_BFLOAT16_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "product.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace edvr {

#if defined(__AVX512BF16__)
constexpr bool kHasBFloat16 = true;
#else
constexpr bool kHasBFloat16 = false;
#endif

// The upper half of a float32.
struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  // Rounds to nearest, ties to even. NaN stays NaN.
  explicit BFloat16(float value) {
    uint32_t whole;
    std::memcpy(&whole, &value, sizeof(whole));
    bits = value != value ? uint16_t(whole >> 16 | 0x40) : uint16_t((whole + 0x7fff + (whole >> 16 & 1)) >> 16);
  }
};

#if defined(__AVX512BF16__)

// Rounds a vector of float32 and writes its first `count` values.
inline void StoreRounded(BFloat16* to, const void* vector, int64_t count) {
  const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(vector));
  std::memcpy(to, &rounded, count == 16 ? sizeof(rounded) : count * sizeof(BFloat16));
}

// As MultiplyBlock: depth is even, and the panel has the values of two rows next to each other.
template <int ROWS>
void MultiplyBlockRounded(int64_t depth, const BFloat16* a, int64_t a_row, const BFloat16* panel, float* c,
                          int64_t c_row) {
  __m512 sum[ROWS][2];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
  for (int64_t p = 0; p < depth; p += 2, panel += 64) {
    const __m512bh b0 = (__m512bh)_mm512_loadu_si512(panel), b1 = (__m512bh)_mm512_loadu_si512(panel + 32);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      int32_t pair;
      std::memcpy(&pair, a + i * a_row + p, sizeof(pair));
      const __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
      sum[i][0] = _mm512_dpbf16_ps(sum[i][0], value, b0);
      sum[i][1] = _mm512_dpbf16_ps(sum[i][1], value, b1);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
    _mm512_storeu_ps(c + i * c_row, sum[i][0]);
    _mm512_storeu_ps(c + i * c_row + 16, sum[i][1]);
  }
}

template <int ROWS>
struct MultiplyRowsRounded {
  template <typename... Args>
  static void Run(int64_t rows, Args... args) {
    if (rows == ROWS) {
      MultiplyBlockRounded<ROWS>(args...);
    } else {
      MultiplyRowsRounded<ROWS - 1>::Run(rows, args...);
    }
  }
};
template <>
struct MultiplyRowsRounded<0> {
  template <typename... Args>
  static void Run(int64_t, Args...) {}
};

#endif  // __AVX512BF16__

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_BFLOAT16_H_

// Winograd's transforms of F(4x4, 3x3): a 3x3 convolution of a 6x6 tile of the image gives 4x4 pixels by 36 products
// for each pair of channels in place of 144. Nothing here knows TensorFlow.
//
// The polynomials are evaluated at 0, +-a, +-b and infinity. With a*b = 1 and b = sqrt(2) the sums stay small, so
// float32 loses less than at the whole numbers +-1, +-2.

#ifndef EDVR_MODEL_NATIVE_WINOGRAD_H_
#define EDVR_MODEL_NATIVE_WINOGRAD_H_

#include <cstdint>
#include <cstring>

#include "product.h"

namespace edvr {

constexpr int kWinogradOut = 4, kWinogradIn = 6, kWinogradPoints = kWinogradIn * kWinogradIn;
constexpr double kWinogradA = 0.70710678118654752440, kWinogradB = 1.41421356237309504880;

template <typename T>
struct WinogradTransforms {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  static constexpr int64_t kLanes = kVectorBytes / sizeof(T);

  // u[6] = G * g[3]; in float64, because these are rounded once for all pixels
  static void Weight(const double* g, int64_t g_step, double* u, int64_t u_step) {
    constexpr double a = kWinogradA, b = kWinogradB, aa = a * a, bb = b * b;
    constexpr double na = 2 * aa * (aa - bb), nb = 2 * bb * (bb - aa);
    const double g0 = g[0], g1 = g[g_step], g2 = g[2 * g_step];
    u[0] = g0 / (aa * bb);
    u[u_step] = (g0 + a * g1 + aa * g2) / na;
    u[2 * u_step] = (g0 - a * g1 + aa * g2) / na;
    u[3 * u_step] = (g0 + b * g1 + bb * g2) / nb;
    u[4 * u_step] = (g0 - b * g1 + bb * g2) / nb;
    u[5 * u_step] = g2;
  }

  // v[6] = B^T * d[6]
  template <int STEP>
  static inline void Input(const Vector* d, Vector* v) {
    constexpr T a = kWinogradA, b = kWinogradB, aa = kWinogradA * kWinogradA, bb = kWinogradB * kWinogradB;
    const Vector d0 = d[0], d1 = d[STEP], d2 = d[2 * STEP], d3 = d[3 * STEP], d4 = d[4 * STEP], d5 = d[5 * STEP];
    const Vector even_a = d4 - bb * d2, odd_a = a * (d3 - bb * d1);
    const Vector even_b = d4 - aa * d2, odd_b = b * (d3 - aa * d1);
    v[0] = (aa * bb) * d0 - (aa + bb) * d2 + d4;
    v[STEP] = even_a + odd_a;
    v[2 * STEP] = even_a - odd_a;
    v[3 * STEP] = even_b + odd_b;
    v[4 * STEP] = even_b - odd_b;
    v[5 * STEP] = (aa * bb) * d1 - (aa + bb) * d3 + d5;
  }

  // y[4] = A^T * m[6]
  template <int STEP, int Y_STEP>
  static inline void Output(const Vector* m, Vector* y) {
    constexpr T a = kWinogradA, b = kWinogradB, aa = kWinogradA * kWinogradA, bb = kWinogradB * kWinogradB;
    const Vector sum_a = m[STEP] + m[2 * STEP], odd_a = a * (m[STEP] - m[2 * STEP]);
    const Vector sum_b = m[3 * STEP] + m[4 * STEP], odd_b = b * (m[3 * STEP] - m[4 * STEP]);
    y[0] = m[0] + sum_a + sum_b;
    y[Y_STEP] = odd_a + odd_b;
    y[2 * Y_STEP] = aa * sum_a + bb * sum_b;
    y[3 * Y_STEP] = aa * odd_a + bb * odd_b + m[5 * STEP];
  }

  // Transforms one vector of channels of a tile. pixels[36]: where each pixel's channels are. Products: see
  // winograd_products.h.
  template <typename Products>
  static void Tile(const T* const* pixels, int64_t channel, typename Products::Element* v, int64_t v_step,
                   int64_t count) {
    Vector d[kWinogradPoints], e[kWinogradPoints];
    if (count == kLanes) {
#pragma GCC unroll 36
      for (int i = 0; i < kWinogradPoints; ++i) std::memcpy(&d[i], pixels[i] + channel, sizeof(Vector));
    } else {
      std::memset(d, 0, sizeof(d));
      for (int i = 0; i < kWinogradPoints; ++i) std::memcpy(&d[i], pixels[i] + channel, count * sizeof(T));
    }
#pragma GCC unroll 6
    for (int i = 0; i < kWinogradIn; ++i) Input<kWinogradIn>(d + i, e + i);
#pragma GCC unroll 6
    for (int i = 0; i < kWinogradIn; ++i) {
      Input<1>(e + i * kWinogradIn, d + i * kWinogradIn);
#pragma GCC unroll 6
      for (int k = i * kWinogradIn; k < (i + 1) * kWinogradIn; ++k) Products::Store(v + k * v_step, &d[k], count);
    }
  }

  // m[6] = A * y[4], the transpose of Output
  template <int STEP, int M_STEP>
  static inline void OutputGradient(const Vector* y, Vector* m) {
    constexpr T a = kWinogradA, b = kWinogradB, aa = kWinogradA * kWinogradA, bb = kWinogradB * kWinogradB;
    const Vector y0 = y[0], y1 = y[STEP], y2 = y[2 * STEP], y3 = y[3 * STEP];
    const Vector even_a = y0 + aa * y2, odd_a = a * (y1 + aa * y3);
    const Vector even_b = y0 + bb * y2, odd_b = b * (y1 + bb * y3);
    m[0] = y0;
    m[M_STEP] = even_a + odd_a;
    m[2 * M_STEP] = even_a - odd_a;
    m[3 * M_STEP] = even_b + odd_b;
    m[4 * M_STEP] = even_b - odd_b;
    m[5 * M_STEP] = y3;
  }

  // g[3] = G^T * u[6], the transpose of Weight
  template <int STEP, int G_STEP>
  static inline void WeightBack(const Vector* u, Vector* g) {
    constexpr double a = kWinogradA, b = kWinogradB, aa = a * a, bb = b * b;
    constexpr double na = 2 * aa * (aa - bb), nb = 2 * bb * (bb - aa);
    const Vector sum_a = T(1 / na) * (u[STEP] + u[2 * STEP]), odd_a = T(a / na) * (u[STEP] - u[2 * STEP]);
    const Vector sum_b = T(1 / nb) * (u[3 * STEP] + u[4 * STEP]), odd_b = T(b / nb) * (u[3 * STEP] - u[4 * STEP]);
    g[0] = T(1 / (aa * bb)) * u[0] + sum_a + sum_b;
    g[G_STEP] = odd_a + odd_b;
    g[2 * G_STEP] = T(aa) * sum_a + T(bb) * sum_b + u[5 * STEP];
  }

  // Transforms one vector of channels of 4x4 pixels of an output's gradient, and adds their sum to `sum`; `count`
  // channels are there (none for 0 and below), the others count as zero. pixels[16]: where each pixel's channels are.
  static void Gradient(const T* const* pixels, int64_t channel, int64_t count, T* m, int64_t m_step, Vector* sum) {
    constexpr int kPixels = kWinogradOut * kWinogradOut;
    Vector d[kPixels] = {}, e[kWinogradIn * kWinogradOut], u[kWinogradPoints];
    if (count == kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < kPixels; ++i) std::memcpy(&d[i], pixels[i] + channel, sizeof(Vector));
    } else if (count > 0) {
      for (int i = 0; i < kPixels; ++i) std::memcpy(&d[i], pixels[i] + channel, count * sizeof(T));
    }
#pragma GCC unroll 16
    for (int i = 0; i < kPixels; ++i) *sum += d[i];
#pragma GCC unroll 4
    for (int i = 0; i < kWinogradOut; ++i) OutputGradient<kWinogradOut, kWinogradOut>(d + i, e + i);
#pragma GCC unroll 6
    for (int i = 0; i < kWinogradIn; ++i) OutputGradient<1, 1>(e + i * kWinogradOut, u + i * kWinogradIn);
#pragma GCC unroll 36
    for (int i = 0; i < kWinogradPoints; ++i) std::memcpy(m + i * m_step, &u[i], sizeof(Vector));
  }

  // Transforms one vector of channels of the 36 products back to 4x4 pixels.
  static void Back(const T* m, int64_t m_step, Vector* y) {
    Vector d[kWinogradPoints], e[kWinogradOut * kWinogradIn];
#pragma GCC unroll 36
    for (int i = 0; i < kWinogradPoints; ++i) std::memcpy(&d[i], m + i * m_step, sizeof(Vector));
#pragma GCC unroll 6
    for (int i = 0; i < kWinogradIn; ++i) Output<kWinogradIn, kWinogradIn>(d + i, e + i);
#pragma GCC unroll 4
    for (int i = 0; i < kWinogradOut; ++i) Output<1, 1>(e + i * kWinogradIn, y + i * kWinogradOut);
  }
};

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_WINOGRAD_H_

// Products of images with each other over their pixels: the arithmetic of the gradient of a convolution's kernel.
// Nothing here knows TensorFlow. Sums are taken in a fixed order, as in product.h.
//
// Both images are cut into panels of a few channels, [panel][pixel][width], small enough that a panel of each stays in
// the first-level cache for all taps. A tap is then a constant distance between pixels.

#ifndef EDVR_MODEL_NATIVE_CORRELATION_H_
#define EDVR_MODEL_NATIVE_CORRELATION_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "product.h"

namespace edvr {

// Pixels of a tile, about, and of one of its lines: a panel of PanelWidth channels takes 16 KiB.
constexpr int64_t kTilePixels = 16384 / (2 * kVectorBytes), kTileColumns = 32;

// An image [height, width, channels].
template <typename T>
struct Image {
  const T* data;
  int64_t height, width, channels;
};

// A rectangle of pixels; it may reach beyond the image, where pixels are zero.
struct Rectangle {
  int64_t y, x, height, width;
};

// Copies `valid` channels of `count` pixels to pixels of WIDTH channels; the others are zero.
template <typename T, int WIDTH>
void CopyPixels(int64_t count, const T* from, int64_t channels, int64_t valid, T* to) {
  for (int64_t p = 0; p < count; ++p, from += channels, to += WIDTH) {
    if (valid == WIDTH) {
      std::memcpy(to, from, WIDTH * sizeof(T));
    } else {
      for (int64_t j = 0; j < WIDTH; ++j) to[j] = j < valid ? from[j] : T(0);
    }
  }
}

// Copies the channels [first, first + WIDTH) of a part of an image.
template <typename T, int WIDTH>
void CopyPanel(const Image<T>& image, const Rectangle& part, int64_t first, T* to) {
  const int64_t left = std::min(part.width, std::max<int64_t>(0, -part.x));
  const int64_t inside = std::max<int64_t>(0, std::min(part.width, image.width - part.x) - left);
  const int64_t valid = std::min<int64_t>(WIDTH, image.channels - first);
  for (int64_t y = part.y; y < part.y + part.height; ++y, to += part.width * WIDTH) {
    if (y < 0 || y >= image.height) {
      std::fill_n(to, part.width * WIDTH, T(0));
      continue;
    }
    std::fill_n(to, left * WIDTH, T(0));
    CopyPixels<T, WIDTH>(inside, image.data + (y * image.width + part.x + left) * image.channels + first,
                         image.channels, valid, to + left * WIDTH);
    std::fill_n(to + (left + inside) * WIDTH, (part.width - left - inside) * WIDTH, T(0));
  }
}

// sum[ROWS, PanelWidth] += left, transposed, times right, over a rectangle of pixels; left has ROWS channels. A line
// of the one is left_line pixels behind the one before, of the other right_line.
template <typename T, int ROWS>
void CorrelateBlock(int64_t height, int64_t width, const T* left, int64_t left_line, const T* right,
                    int64_t right_line, T* __restrict__ sum) {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int64_t kHalf = kVectorBytes / sizeof(T), kWidth = 2 * kHalf;
  Vector block[ROWS][2] = {};
  for (int64_t y = 0; y < height; ++y) {
    const T *a = left + y * left_line * ROWS, *b = right + y * right_line * kWidth;
    for (int64_t x = 0; x < width; ++x, a += ROWS, b += kWidth) {
      Vector b0, b1;
      std::memcpy(&b0, b, sizeof(Vector));
      std::memcpy(&b1, b + kHalf, sizeof(Vector));
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i) {
        const T value = a[i];
        block[i][0] += value * b0;
        block[i][1] += value * b1;
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      Vector before;
      std::memcpy(&before, sum + i * kWidth + half * kHalf, sizeof(Vector));
      before += block[i][half];
      std::memcpy(sum + i * kWidth + half * kHalf, &before, sizeof(Vector));
    }
  }
}

// Left panels of ROWS channels and their products: the compiler needs the number as a constant.
template <typename T>
struct LeftPanel {
  void (*copy)(const Image<T>&, const Rectangle&, int64_t, T*);
  decltype(&CorrelateBlock<T, 1>) correlate;

  static LeftPanel Of(int64_t rows) { return Find<kRows>(rows); }

 private:
  template <int ROWS>
  static typename std::enable_if<(ROWS > 1), LeftPanel>::type Find(int64_t rows) {
    return rows == ROWS ? LeftPanel{CopyPanel<T, ROWS>, CorrelateBlock<T, ROWS>} : Find<ROWS - 1>(rows);
  }
  template <int ROWS>
  static typename std::enable_if<ROWS == 1, LeftPanel>::type Find(int64_t) {
    return LeftPanel{CopyPanel<T, 1>, CorrelateBlock<T, 1>};
  }
};

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_CORRELATION_H_

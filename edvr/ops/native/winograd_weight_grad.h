// The gradient of a 3x3 kernel by Winograd's F(3x3, 4x4), the transpose of F(4x4, 3x3): a tile of 6x6 pixels of the
// image and the 4x4 pixels of the output's gradient inside it give their part of the gradient by 36 products for each
// pair of channels in place of 144. Nothing here knows TensorFlow.
//
// A run of tiles is a unit of work. Its sums stay transformed, [36, C, Cout]; they are added in the order of the units,
// and transformed once.

#ifndef EDVR_OPS_NATIVE_WINOGRAD_WEIGHT_GRAD_H_
#define EDVR_OPS_NATIVE_WINOGRAD_WEIGHT_GRAD_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "correlation.h"
#include "product.h"
#include "winograd.h"
#include "winograd_products.h"

namespace edvr {

template <typename T>
class WinogradWeightGrad {
 public:
  typedef WinogradTransforms<T> Transforms;
  typedef typename Transforms::Vector Vector;
  static constexpr int64_t kWidth = PanelWidth<T>(), kLanes = Transforms::kLanes;

  // Whether this way saves time, measured with AVX2 and AVX-512: with few channels the transforms take longer than
  // they save, with few tiles the sums of the units.
  static bool Saves(const Image<T>& x, const Image<T>& grad, int64_t images, int64_t kernel_height,
                    int64_t kernel_width) {
    return kernel_height == 3 && kernel_width == 3 && x.channels >= kFewestChannels && grad.channels >= kFewestChannels &&
           x.height >= kWinogradOut && x.width >= kWinogradOut && images * x.height * x.width >= kFewestPixels;
  }

  WinogradWeightGrad(const Image<T>& x, const Image<T>& grad, int64_t images)
      : x_(x), grad_(grad), tiles_x_(DivideUp(x.width, kWinogradOut)), tiles_y_(DivideUp(x.height, kWinogradOut)),
        tiles_(images * tiles_x_ * tiles_y_), panels_(DivideUp(grad.channels, kWidth)),
        tiles_per_unit_(kBlock * DivideUp(std::max(DivideUp(tiles_, kUnits),
                                                   std::min(DivideUp(tiles_, 2), kBlocksPerUnit * kBlock)), kBlock)),
        row_(panels_ * kWidth), sums_(Units() * UnitSize()) {}

  // The units that the sums and the kernel are cut in, for threads, and what one costs. All sums must be there before
  // the first rows of the kernel.
  int64_t Units() const { return DivideUp(tiles_, tiles_per_unit_); }
  int64_t Rows() const { return x_.channels; }
  int64_t RowCost() const { return kWinogradPoints * row_ * Units(); }

  // Adds the tiles of units [begin, end).
  void Run(int64_t begin, int64_t end) const {
    const int64_t v_step = kBlock * x_.channels + kPad, y_step = kBlock * row_ + kPad;
    const int64_t most = std::max(x_.channels, grad_.channels);
    Buffer<T> zeros(most), v(kWinogradPoints * v_step), y(kWinogradPoints * y_step);
    std::fill(zeros.get(), zeros.get() + most, T(0));
    for (int64_t unit = begin; unit < end; ++unit) {
      T* sums = Sums(unit);
      std::fill_n(sums, UnitSize(), T(0));
      const int64_t last = std::min((unit + 1) * tiles_per_unit_, tiles_);
      for (int64_t first = unit * tiles_per_unit_; first < last; first += kBlock) {
        const int64_t count = std::min(int64_t{kBlock}, last - first);
        for (int64_t i = 0; i < count; ++i) {
          TransformImage(first + i, zeros.get(), &v[i * x_.channels], v_step);
          TransformGradient(first + i, zeros.get(), i, count, y.get(), y_step, Bias(unit));
        }
        for (int64_t k = 0; k < kWinogradPoints; ++k)
          Multiply<T>(x_.channels, row_, count, &v[k * v_step], 1, x_.channels, &y[k * y_step],
                      sums + k * x_.channels * row_, row_, true);
      }
    }
  }

  // Adds the sums of all units for rows (input channels) [begin, end), and writes these rows of d_weight [3, 3, C, Cout].
  void Finish(int64_t begin, int64_t end, T* d_weight) const {
    const int64_t cout = grad_.channels;
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t j = 0; j < cout; j += kLanes) {
        Vector u[kWinogradPoints] = {}, half[3 * kWinogradIn], g[9];
        for (int64_t unit = 0; unit < Units(); ++unit) {
          for (int64_t k = 0; k < kWinogradPoints; ++k) {
            Vector part;
            std::memcpy(&part, Sums(unit) + (k * x_.channels + c) * row_ + j, sizeof(part));
            u[k] += part;
          }
        }
        for (int64_t i = 0; i < kWinogradIn; ++i)
          Transforms::template WeightBack<kWinogradIn, kWinogradIn>(u + i, half + i);
        for (int64_t i = 0; i < 3; ++i) Transforms::template WeightBack<1, 1>(half + i * kWinogradIn, g + i * 3);
        for (int64_t k = 0; k < 9; ++k)
          std::memcpy(d_weight + (k * x_.channels + c) * cout + j, &g[k],
                      std::min(int64_t{kLanes}, cout - j) * sizeof(T));
      }
    }
  }

  // Adds the gradient of the bias [Cout].
  void AddBias(T* d_bias) const {
    for (int64_t unit = 0; unit < Units(); ++unit)
      for (int64_t j = 0; j < grad_.channels; ++j) d_bias[j] += Bias(unit)[j];
  }

 private:
  static constexpr int64_t kFewestChannels = 16, kFewestPixels = 4096;
  static constexpr int64_t kBlock = 48;          // tiles that are transformed and multiplied at a time
  static constexpr int64_t kBlocksPerUnit = 8;   // at least, if there are two units: then their sums take little time
  static constexpr int64_t kPad = kAlignment / sizeof(T);   // so that the matrices do not compete for places in a cache

  int64_t UnitSize() const { return kWinogradPoints * x_.channels * row_ + row_; }
  T* Sums(int64_t unit) const { return &sums_[unit * UnitSize()]; }
  T* Bias(int64_t unit) const { return Sums(unit) + kWinogradPoints * x_.channels * row_; }

  // Sets the places of SIDE x SIDE pixels of an image from (row, column) on; those outside are zeros.
  template <int SIDE>
  static void Locate(const Image<T>& image, int64_t number, int64_t row, int64_t column, const T* zeros,
                     const T** pixels) {
    for (int64_t i = 0; i < SIDE; ++i) {
      const T* line = image.data + ((number * image.height + row + i) * image.width + column) * image.channels;
      for (int64_t j = 0; j < SIDE; ++j) {
        const bool inside = row + i >= 0 && row + i < image.height && column + j >= 0 && column + j < image.width;
        pixels[i * SIDE + j] = inside ? line + j * image.channels : zeros;
      }
    }
  }

  int64_t ImageOf(int64_t tile) const { return tile / (tiles_x_ * tiles_y_); }
  int64_t RowOf(int64_t tile) const { return tile / tiles_x_ % tiles_y_ * kWinogradOut; }
  int64_t ColumnOf(int64_t tile) const { return tile % tiles_x_ * kWinogradOut; }

  void TransformImage(int64_t tile, const T* zeros, T* v, int64_t v_step) const {
    const T* pixels[kWinogradPoints];
    Locate<kWinogradIn>(x_, ImageOf(tile), RowOf(tile) - 1, ColumnOf(tile) - 1, zeros, pixels);
    for (int64_t c = 0; c < x_.channels; c += kLanes)
      Transforms::template Tile<OwnProducts<T>>(pixels, c, v + c, v_step, std::min(int64_t{kLanes}, x_.channels - c));
  }

  // Transforms the gradient's part `place` of `count` of a block, to panels [panel][tile][kWidth]; adds it to the bias.
  void TransformGradient(int64_t tile, const T* zeros, int64_t place, int64_t count, T* y, int64_t y_step,
                         T* bias) const {
    const T* pixels[kWinogradOut * kWinogradOut];
    Locate<kWinogradOut>(grad_, ImageOf(tile), RowOf(tile), ColumnOf(tile), zeros, pixels);
    for (int64_t j = 0; j < row_; j += kLanes) {
      T* to = y + (j / kWidth * count + place) * kWidth + j % kWidth;
      Vector sum;
      std::memcpy(&sum, bias + j, sizeof(sum));
      Transforms::Gradient(pixels, j, std::min(int64_t{kLanes}, grad_.channels - j), to, y_step, &sum);
      std::memcpy(bias + j, &sum, sizeof(sum));
    }
  }

  const Image<T> x_, grad_;
  const int64_t tiles_x_, tiles_y_, tiles_, panels_, tiles_per_unit_, row_;
  const Buffer<T> sums_;   // of each unit: [36, C, Cout rounded up to panels], and the bias
};

}  // namespace edvr

#endif  // EDVR_OPS_NATIVE_WINOGRAD_WEIGHT_GRAD_H_

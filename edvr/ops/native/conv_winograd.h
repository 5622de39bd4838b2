// Plain 3x3 convolutions by Winograd's F(4x4, 3x3): less than half the time of the direct way, and a little less exact.
//
// Blocks of tiles are transformed, multiplied and transformed back while they are in the second-level cache.

#ifndef EDVR_MODEL_NATIVE_CONV_WINOGRAD_H_
#define EDVR_MODEL_NATIVE_CONV_WINOGRAD_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "conv_call.h"
#include "product.h"
#include "stream.h"
#include "winograd.h"
#include "winograd_products.h"

namespace edvr {

template <typename T, typename Products = OwnProducts<T>>
class WinogradConv {
 public:
  typedef typename Products::Element Element;
  typedef WinogradTransforms<T> Transforms;
  typedef typename Transforms::Vector Vector;
  static constexpr int64_t kWidth = PanelWidth<T>();

  // Whether this way saves time, measured with AVX2 and AVX-512. With fewer channels the transforms of the image take
  // longer than they save, with fewer pixels those of the weights. Narrow outputs save time too: the direct way
  // computes a panel nine times and uses little of it.
  static bool Saves(const ConvCall<T>& call) {
    return call.kernel_height == 3 && call.kernel_width == 3 && call.channels >= 16 && call.height >= kWinogradOut &&
           call.width >= kWinogradOut && call.images * call.height * call.width >= kFewestPixels;
  }

  explicit WinogradConv(const ConvCall<T>& call)
      : call_(call), tiles_x_(DivideUp(call.width, kWinogradOut)),
        tiles_(call.images * DivideUp(call.height, kWinogradOut) * tiles_x_), tiles_per_unit_(TilesPerUnit(call)),
        panels_(DivideUp(call.cout, kWidth)), depth_(Products::Depth(call.channels)), stream_(Streams(call)),
        weights_(kWinogradPoints * PackedSize<T>(depth_, call.cout)) {
    if (depth_ > call.channels)   // the channels that pad count as zero
      std::memset(weights_.get(), 0, kWinogradPoints * panels_ * depth_ * kWidth * sizeof(Element));
  }

  // The units that the weights and the sums are cut in, for threads, and what one costs. All weights must be
  // transformed before the first sums.
  int64_t WeightUnits() const { return call_.channels; }
  int64_t WeightCost() const { return 100 * call_.cout; }
  int64_t Units() const { return DivideUp(tiles_, tiles_per_unit_); }
  int64_t UnitCost() const { return kWinogradPoints * tiles_per_unit_ * call_.channels * call_.cout / 8; }

  // Transforms the weights of channels [begin, end): [panel][point][channel][kWidth], or as the products want it.
  void TransformWeights(int64_t begin, int64_t end) const {
    double g[9 * kWidth], half[18 * kWidth], u[kWinogradPoints * kWidth];
    for (int64_t panel = 0; panel < panels_; ++panel) {
      const int64_t first = panel * kWidth, width = std::min(int64_t{kWidth}, call_.cout - first);
      std::fill(g, g + 9 * kWidth, 0.);
      for (int64_t c = begin; c < end; ++c) {
        for (int64_t k = 0; k < 9; ++k)
          for (int64_t j = 0; j < width; ++j) g[k * kWidth + j] = call_.Weight(k / 3, k % 3, c, first + j);
        for (int64_t i = 0; i < 3; ++i)   // along columns of the kernel, then along rows
          for (int64_t j = 0; j < kWidth; ++j)
            Transforms::Weight(g + i * kWidth + j, 3 * kWidth, half + i * kWidth + j, 3 * kWidth);
        for (int64_t i = 0; i < kWinogradIn; ++i)
          for (int64_t j = 0; j < kWidth; ++j)
            Transforms::Weight(half + 3 * i * kWidth + j, kWidth, u + i * kWinogradIn * kWidth + j, kWidth);
        for (int64_t k = 0; k < kWinogradPoints; ++k)
          for (int64_t j = 0; j < kWidth; ++j)
            Panel(panel, k)[Products::Place(c, j)] = Element(u[k * kWidth + j]);
      }
    }
  }

  // Computes units [begin, end).
  void Run(int64_t begin, int64_t end) const {
    const int64_t v_step = tiles_per_unit_ * depth_ + kPad, m_step = tiles_per_unit_ * kWidth + kPad;
    int64_t most = 0;
    for (const auto& input : call_.inputs) most = std::max(most, input.channels);
    Buffer<T> zeros(most), m(kWinogradPoints * m_step);
    Buffer<Element> v(kWinogradPoints * v_step);
    std::fill(zeros.get(), zeros.get() + most, T(0));
    if (depth_ > call_.channels) std::memset(v.get(), 0, kWinogradPoints * v_step * sizeof(Element));
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = unit * tiles_per_unit_, count = std::min(tiles_per_unit_, tiles_ - first);
      for (int64_t i = 0; i < count; ++i) TransformTile(At(first + i), zeros.get(), &v[i * depth_], v_step);
      for (int64_t panel = 0; panel < panels_; ++panel) {
        for (int64_t k = 0; k < kWinogradPoints; ++k) {
          Products::Run(count, depth_, &v[k * v_step], Panel(panel, k), &m[k * m_step]);
          if (panel == 0) FetchPart(first + tiles_per_unit_, k);
        }
        for (int64_t i = 0; i < count; ++i) FinishTile(At(first + i), panel * kWidth, &m[i * kWidth], m_step);
      }
    }
    if (stream_) StreamsDone();
  }

 private:
  static constexpr int64_t kFewestPixels = 256;
  static constexpr int64_t kCacheBytes = 1 << 18;   // for transformed tiles: weights and products have room beside them
  static constexpr int64_t kMostTiles = 48;         // in a unit
  static constexpr int64_t kStreamBytes = 1 << 23;  // an output of this size is not in a cache any more when it is read
  static constexpr int64_t kPad = kAlignment / sizeof(T);   // so that the matrices do not compete for places in a cache

  static int64_t TilesPerUnit(const ConvCall<T>& call) {
    const int64_t tile = kWinogradPoints * call.channels * sizeof(Element);
    return std::min(std::max<int64_t>(kCacheBytes / (tile * kRows), 1) * kRows, int64_t{kMostTiles});
  }

  // Whether the output goes to memory past the caches: what is too large for them only displaces other data.
  static bool Streams(const ConvCall<T>& call) {
    return call.images * call.height * call.width * call.cout * int64_t(sizeof(T)) >= kStreamBytes &&
           call.cout / call.block % Transforms::kLanes == 0 && reinterpret_cast<uintptr_t>(call.y) % kVectorBytes == 0;
  }

  Element* Panel(int64_t panel, int64_t point) const {
    return &weights_[(panel * kWinogradPoints + point) * depth_ * kWidth];
  }

  struct Place { int64_t image, row, column; };   // of a tile's first pixel

  Place At(int64_t tile) const {
    const int64_t line = tile / tiles_x_, tiles_y = DivideUp(call_.height, kWinogradOut);
    return {line / tiles_y, line % tiles_y * kWinogradOut, tile % tiles_x_ * kWinogradOut};
  }

  // Fetches a part of the pixels of the unit that begins with tile `first`: of some tiles those that their left
  // neighbours lack. It is done between the products, which leave the memory idle.
  inline __attribute__((always_inline)) void FetchPart(int64_t first, int64_t part) const {
    const int64_t count = std::min(tiles_per_unit_, tiles_ - first);
    for (int64_t i = count * part / kWinogradPoints; i < count * (part + 1) / kWinogradPoints; ++i) {
      const Place at = At(first + i);
      for (const auto& input : call_.inputs)
        for (int64_t row = at.row - 1; row < at.row - 1 + kWinogradIn; ++row)
          Fetch(input.x + ((at.image * call_.height + row) * call_.width + at.column + 1) * input.channels,
                kWinogradOut * input.channels);
    }
  }

  void TransformTile(Place at, const T* zeros, Element* v, int64_t v_step) const {
    for (const auto& input : call_.inputs) {
      const T* pixels[kWinogradPoints];
      for (int64_t i = 0; i < kWinogradIn; ++i) {
        const int64_t row = at.row - 1 + i, column = at.column - 1;
        const T* line = input.x + ((at.image * call_.height + row) * call_.width + column) * input.channels;
        for (int64_t j = 0; j < kWinogradIn; ++j) {
          const bool inside = row >= 0 && row < call_.height && column + j >= 0 && column + j < call_.width;
          pixels[i * kWinogradIn + j] = inside ? line + j * input.channels : zeros;
        }
      }
      for (int64_t c = 0; c < input.channels; c += Transforms::kLanes)
        Transforms::template Tile<Products>(pixels, c, v + c, v_step,
                                            std::min(int64_t{Transforms::kLanes}, input.channels - c));
      v += input.channels;
    }
  }

  // Channels [first, first + kWidth) of a tile, from the products.
  void FinishTile(Place at, int64_t first, const T* m, int64_t m_step) const {
    const int64_t rows = std::min<int64_t>(kWinogradOut, call_.height - at.row);
    const int64_t columns = std::min<int64_t>(kWinogradOut, call_.width - at.column);
    for (int64_t j = 0; j < kWidth && first + j < call_.cout; j += Transforms::kLanes) {
      Vector sums[kWinogradOut * kWinogradOut];
      Transforms::Back(m + j, m_step, sums);
      for (int64_t y = 0; y < rows; ++y)
        FinishRow(at.image, at.row + y, at.column, columns, first + j, sums + y * kWinogradOut);
    }
  }

  // One vector of channels of `count` pixels of a row: adds bias and residual, activates and stores.
  void FinishRow(int64_t image, int64_t row, int64_t column, int64_t count, int64_t first, const Vector* sums) const {
    const int64_t cout = call_.cout, step = cout / call_.block;
    const int64_t size = std::min(int64_t{Transforms::kLanes}, cout - first);
    const T* residual = call_.residual == nullptr ? nullptr : call_.Residual(image, row, column) + first;
    const Vector bias = call_.bias == nullptr ? Vector{} : Load(call_.bias + first, size);
    const bool whole = size == Transforms::kLanes && (call_.block == 1 || step % Transforms::kLanes == 0);
    T* y = call_.Output(image, row, column, first);
    for (int64_t x = 0; x < count; ++x) {
      Vector value = sums[x] + bias;
      if (residual != nullptr) value += Load(residual + x * cout, size);
      value = value > Vector{} ? value : call_.slope * value;
      if (whole && stream_) {
        Stream(y + x * step, value);
      } else if (whole) {
        std::memcpy(y + x * step, &value, sizeof(value));
      } else {
        T line[Transforms::kLanes];
        std::memcpy(line, &value, sizeof(line));
        call_.Store(image, row, column + x, first, size, line);
      }
    }
  }

  static Vector Load(const T* from, int64_t size) {
    Vector value = {};
    if (size == Transforms::kLanes) std::memcpy(&value, from, sizeof(value));
    else std::memcpy(&value, from, size * sizeof(T));
    return value;
  }

  const ConvCall<T>& call_;
  const int64_t tiles_x_, tiles_, tiles_per_unit_, panels_, depth_;
  const bool stream_;
  const Buffer<Element> weights_;
};

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_CONV_WINOGRAD_H_

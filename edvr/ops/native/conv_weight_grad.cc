// The gradient of kernel and bias of plain convolutions.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "correlation.h"
#include "kernel.h"
#include "product.h"
#include "winograd_weight_grad.h"

namespace edvr {

// The gradients of a stride-1 "same" convolution's kernel, for each tap the product of the shifted image, transposed,
// with the gradient of the output; and of its bias, the sum of that gradient.
//
// The images are cut into tiles. A run of tiles is a unit of work with separate sums, which are added in order. The
// image for which this takes less time is on the left, where panels need no padding: the convolution to RGB has three
// channels of gradient.
template <typename T>
class ConvWeightGradOp : public OpKernel {
 public:
  explicit ConvWeightGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("kernel_size", &kernel_));
    OP_REQUIRES(context, kernel_.size() == 2 && kernel_[0] > 0 && kernel_[1] > 0 && kernel_[0] % 2 && kernel_[1] % 2,
                InvalidArgument("conv_weight_gradient: kernel_size must be two odd numbers"));
    std::string compute;
    OP_REQUIRES_OK(context, context->GetAttr("compute", &compute));
    fast_ = compute == "fast";
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &grad = context->input(1);
    OP_REQUIRES(context, x.dims() == 4 && grad.dims() == 4 && x.dim_size(0) == grad.dim_size(0) &&
                             x.dim_size(1) == grad.dim_size(1) && x.dim_size(2) == grad.dim_size(2),
                InvalidArgument("conv_weight_gradient: x has shape ", x.shape().DebugString(),
                                ", the output's gradient ", grad.shape().DebugString(),
                                "; they must be [N, H, W, C] and [N, H, W, Cout]"));
    Tensor *d_weight = nullptr, *d_bias = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({kernel_[0], kernel_[1], x.dim_size(3), grad.dim_size(3)}), &d_weight));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({grad.dim_size(3)}), &d_bias));
    T *weight_sum = MutableData<T>(d_weight), *bias_sum = MutableData<T>(d_bias);
    std::fill_n(weight_sum, d_weight->NumElements(), T(0));
    std::fill_n(bias_sum, d_bias->NumElements(), T(0));
    if (grad.NumElements() == 0) return;
    const Call call(x, grad, kernel_);
    typedef WinogradWeightGrad<T> Fast;
    if (fast_ && Fast::Saves(call.input, call.grad, call.images, call.kernel_height, call.kernel_width)) {
      const Fast way(call.input, call.grad, call.images);
      InParallel(context, way.Units(), int64_t{1} << 40, [&](int64_t begin, int64_t end) { way.Run(begin, end); });
      InParallel(context, way.Rows(), way.RowCost(),
                 [&](int64_t begin, int64_t end) { way.Finish(begin, end, weight_sum); });
      way.AddBias(bias_sum);
      return;
    }
    Buffer<T> sums(call.units * call.UnitSize());
    InParallel(context, call.units, int64_t{1} << 40, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) RunUnit(call, unit, &sums[unit * call.UnitSize()]);
    });
    const int64_t taps = call.kernel_height * call.kernel_width;
    InParallel(context, call.left.panels * call.right.panels * taps, call.units * call.left.most * PanelWidth<T>(),
               [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) AddBlock(call, sums.get(), block, weight_sum);
    });
    for (int64_t unit = 0; unit < call.units; ++unit)
      for (int64_t j = 0; j < call.grad.channels; ++j) bias_sum[j] += call.Bias(sums.get(), unit)[j];
  }

 private:
  static constexpr int64_t kTilesPerUnit = 4;   // at least: then adding the sums takes about 1 % of the time

  // One of the two images, and the panels it is cut into.
  struct Side {
    Image<T> image;       // the first of the batch
    int64_t most;         // channels of every panel but the last
    int64_t panels;
    int64_t pad_y, pad_x; // what is needed around a tile
    int64_t Rows(int64_t panel) const { return std::min(most, image.channels - panel * most); }
    Rectangle Around(const Rectangle& tile) const {
      return {tile.y - pad_y, tile.x - pad_x, tile.height + 2 * pad_y, tile.width + 2 * pad_x};
    }
    Image<T> At(int64_t n) const {
      Image<T> result = image;
      result.data += n * image.height * image.width * image.channels;
      return result;
    }
  };

  struct Call {
    Call(const Tensor& x, const Tensor& d_y, const std::vector<int>& kernel)
        : kernel_height(kernel[0]), kernel_width(kernel[1]), images(x.dim_size(0)), height(x.dim_size(1)),
          width(x.dim_size(2)), input{Data<T>(x), height, width, x.dim_size(3)},
          grad{Data<T>(d_y), height, width, d_y.dim_size(3)}, input_is_left(Cost(input, grad) <= Cost(grad, input)) {
      left = Left(input_is_left ? input : grad);
      right = {input_is_left ? grad : input, PanelWidth<T>(), 0, 0, 0};
      right.panels = DivideUp(right.image.channels, right.most);
      Side& shifted = input_is_left ? left : right;
      shifted.pad_y = kernel_height / 2;
      shifted.pad_x = kernel_width / 2;
      tiles_across = DivideUp(width, kTileColumns);
      tile_width = DivideUp(width, tiles_across);
      tiles_down = DivideUp(height, std::max<int64_t>(1, kTilePixels / tile_width));
      tile_height = DivideUp(height, tiles_down);
      tiles = images * tiles_down * tiles_across;
      tiles_per_unit = std::max(DivideUp(tiles, kUnits), std::min(tiles, int64_t{kTilesPerUnit}));
      units = DivideUp(tiles, tiles_per_unit);
    }
    // Vector products a pixel; a product of fewer than four rows waits for its own results.
    static int64_t Cost(const Image<T>& on_left, const Image<T>& on_right) {
      return std::max<int64_t>(4, on_left.channels) * DivideUp(on_right.channels, PanelWidth<T>());
    }
    static Side Left(const Image<T>& image) {
      const int64_t panels = DivideUp(image.channels, kRows);
      return {image, DivideUp(image.channels, std::max<int64_t>(1, panels)), panels, 0, 0};
    }
    // Sums of a unit: [left panel][right panel][tap][most][PanelWidth], and the bias.
    int64_t BlockSize() const { return left.most * PanelWidth<T>(); }
    int64_t WeightSize() const {
      return left.panels * right.panels * kernel_height * kernel_width * BlockSize();
    }
    int64_t UnitSize() const { return WeightSize() + DivideUp(grad.channels, 16) * 16; }
    template <typename Pointer>
    Pointer Bias(Pointer sums, int64_t unit) const { return sums + unit * UnitSize() + WeightSize(); }

    const int64_t kernel_height, kernel_width, images, height, width;
    const Image<T> input, grad;
    const bool input_is_left;
    Side left, right;
    int64_t tile_height, tile_width, tiles_down, tiles_across, tiles, tiles_per_unit, units;
  };

  static void RunUnit(const Call& call, int64_t unit, T* sums) {
    std::fill_n(sums, call.UnitSize(), T(0));
    const Rectangle largest{0, 0, call.tile_height, call.tile_width};
    const Rectangle l = call.left.Around(largest), r = call.right.Around(largest);
    Buffer<T> left(l.height * l.width * call.left.most * call.left.panels);
    Buffer<T> right(r.height * r.width * call.right.most * call.right.panels);
    for (int64_t tile = unit * call.tiles_per_unit; tile < std::min((unit + 1) * call.tiles_per_unit, call.tiles);
         ++tile) {
      const int64_t across = tile % call.tiles_across, down = tile / call.tiles_across % call.tiles_down;
      const int64_t y = call.height * down / call.tiles_down, x = call.width * across / call.tiles_across;
      const Rectangle at{y, x, call.height * (down + 1) / call.tiles_down - y,
                         call.width * (across + 1) / call.tiles_across - x};
      const int64_t image = tile / call.tiles_across / call.tiles_down;
      AddTile(call, image, at, left.get(), right.get(), sums);
      AddBias(call.grad, image, at, sums + call.WeightSize());
    }
  }

  static void AddTile(const Call& call, int64_t image, const Rectangle& at, T* left, T* right, T* sums) {
    constexpr int64_t kWidth = PanelWidth<T>();
    const Rectangle l = call.left.Around(at), r = call.right.Around(at);
    for (int64_t j = 0; j < call.right.panels; ++j)
      CopyPanel<T, kWidth>(call.right.At(image), r, j * kWidth, right + j * r.height * r.width * kWidth);
    for (int64_t i = 0; i < call.left.panels; ++i) {
      const auto panel = LeftPanel<T>::Of(call.left.Rows(i));
      panel.copy(call.left.At(image), l, i * call.left.most, left);
      for (int64_t j = 0; j < call.right.panels; ++j) {
        const T* of_right = right + j * r.height * r.width * kWidth;
        for (int64_t tap_y = 0; tap_y < call.kernel_height; ++tap_y) {
          for (int64_t tap_x = 0; tap_x < call.kernel_width; ++tap_x, sums += call.BlockSize()) {
            const T *a = left, *b = of_right;
            if (call.input_is_left) {
              a += (tap_y * l.width + tap_x) * call.left.Rows(i);
            } else {
              b += (tap_y * r.width + tap_x) * kWidth;
            }
            panel.correlate(at.height, at.width, a, l.width, b, r.width, sums);
          }
        }
      }
    }
  }

  static void AddBias(const Image<T>& grad, int64_t image, const Rectangle& at, T* __restrict__ sum) {
    for (int64_t y = at.y; y < at.y + at.height; ++y) {
      const T* line = grad.data + ((image * grad.height + y) * grad.width + at.x) * grad.channels;
      for (int64_t x = 0; x < at.width; ++x, line += grad.channels)
        for (int64_t j = 0; j < grad.channels; ++j) sum[j] += line[j];
    }
  }

  // Adds a block of all units, and writes it where it belongs in the kernel.
  static void AddBlock(const Call& call, const T* sums, int64_t block, T* d_weight) {
    constexpr int64_t kWidth = PanelWidth<T>();
    const int64_t taps = call.kernel_height * call.kernel_width, tap = block % taps;
    const int64_t j = block / taps % call.right.panels, i = block / taps / call.right.panels;
    const int64_t rows = call.left.Rows(i), columns = std::min(kWidth, call.right.image.channels - j * kWidth);
    Buffer<T> total(rows * kWidth);
    std::fill_n(total.get(), rows * kWidth, T(0));
    for (int64_t unit = 0; unit < call.units; ++unit) {
      const T* from = sums + unit * call.UnitSize() + block * call.BlockSize();
      for (int64_t k = 0; k < rows * kWidth; ++k) total[k] += from[k];
    }
    T* to = d_weight + tap * call.input.channels * call.grad.channels;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t a = i * call.left.most + row, b = j * kWidth + column;
        to[(call.input_is_left ? a : b) * call.grad.channels + (call.input_is_left ? b : a)] =
            total[row * kWidth + column];
      }
    }
  }

  std::vector<int> kernel_;
  bool fast_;
};

REGISTER_OP("EdvrConvWeightGrad")
    .Attr("T: {float, double}")
    .Attr("kernel_size: list(int)")
    .Attr("compute: {'exact', 'fast'} = 'exact'")
    .Input("x: T").Input("grad: T")
    .Output("d_weight: T").Output("d_bias: T")
    .SetShapeFn([](InferenceContext* context) -> Status {
      ShapeHandle x, grad;
      std::vector<int> kernel;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &grad));
      TF_RETURN_IF_ERROR(context->GetAttr("kernel_size", &kernel));
      if (kernel.size() != 2) return InvalidArgument("conv_weight_gradient: kernel_size must be two odd numbers");
      context->set_output(0, context->MakeShape({context->MakeDim(kernel[0]), context->MakeDim(kernel[1]),
                                                 context->Dim(x, 3), context->Dim(grad, 3)}));
      context->set_output(1, context->MakeShape({context->Dim(grad, 3)}));
      return Status();
    });

EDVR_REGISTER("EdvrConvWeightGrad", ConvWeightGradOp);

}  // namespace edvr

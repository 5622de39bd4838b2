// The gradient of the kernel of plain convolutions.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernel.h"
#include "product.h"

namespace edvr {

// The gradient of the kernel of a stride-1 "same" convolution: for each tap, the product of the shifted image,
// transposed, with the gradient of the output. Tiles of whole rows are copied with their border, so that a shift is a
// constant distance. Sums are taken in a fixed order, as above.
template <typename T>
class ConvWeightGradOp : public OpKernel {
 public:
  explicit ConvWeightGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("kernel_size", &kernel_));
    OP_REQUIRES(context, kernel_.size() == 2 && kernel_[0] > 0 && kernel_[1] > 0 && kernel_[0] % 2 && kernel_[1] % 2,
                InvalidArgument("conv_weight_gradient: kernel_size must be two odd numbers"));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &grad = context->input(1);
    OP_REQUIRES(context, x.dims() == 4 && grad.dims() == 4 && x.dim_size(0) == grad.dim_size(0) &&
                             x.dim_size(1) == grad.dim_size(1) && x.dim_size(2) == grad.dim_size(2),
                InvalidArgument("conv_weight_gradient: x has shape ", x.shape().DebugString(),
                                ", the output's gradient ", grad.shape().DebugString(),
                                "; they must be [N, H, W, C] and [N, H, W, Cout]"));
    Call call{x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3), grad.dim_size(3), kernel_[0], kernel_[1]};
    call.x = Data<T>(x);
    call.grad = Data<T>(grad);
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({kernel_[0], kernel_[1], call.channels, call.cout}), &result));
    T* out = MutableData<T>(result);
    const int64_t size = result->NumElements();
    std::memset(out, 0, size * sizeof(T));
    if (x.NumElements() == 0 || grad.NumElements() == 0) return;
    call.rows = std::max<int64_t>(1, std::min(call.height, kDepth / (call.width + call.kernel_width - 1)));
    const int64_t tiles = call.images * DivideUp(call.height, call.rows), per_unit = DivideUp(tiles, kUnits);
    const int64_t units = DivideUp(tiles, per_unit);
    Buffer<T> sums(units * size);
    InParallel(context, units, int64_t{1} << 40, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        std::memset(&sums[unit * size], 0, size * sizeof(T));
        RunTiles(call, unit * per_unit, std::min((unit + 1) * per_unit, tiles), &sums[unit * size]);
      }
    });
    InParallel(context, size, units, [&](int64_t begin, int64_t end) {
      for (int64_t unit = 0; unit < units; ++unit)
        for (int64_t i = begin; i < end; ++i) out[i] += sums[unit * size + i];
    });
  }

 private:
  static constexpr int64_t kDepth = 256;   // pixels of a tile, about: they fit the second-level cache

  struct Call {
    int64_t images, height, width, channels, cout, kernel_height, kernel_width;
    int64_t rows;                          // of a tile
    const T *x, *grad;
  };

  static void RunTiles(const Call& call, int64_t begin, int64_t end, T* sum) {
    const int64_t line = call.width + call.kernel_width - 1;
    const int64_t pad_y = call.kernel_height / 2, pad_x = call.kernel_width / 2;
    const int64_t lines = call.rows + call.kernel_height - 1, channels = call.channels, cout = call.cout;
    const int64_t pixels = lines * line + call.kernel_width - 1;   // the last tap of the last pixel reads that far
    Buffer<T> image(pixels * channels), packed(PackedSize<T>(call.rows * line, cout));
    std::memset(image.get(), 0, pixels * channels * sizeof(T));    // the border stays zero
    const int64_t tiles_per_image = DivideUp(call.height, call.rows);
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t n = tile / tiles_per_image, first = tile % tiles_per_image * call.rows;
      const int64_t rows = std::min(call.rows, call.height - first), depth = rows * line;
      for (int64_t r = 0; r < rows + call.kernel_height - 1; ++r) {
        const int64_t y = first + r - pad_y;
        T* to = &image[(r * line + pad_x) * channels];
        const size_t bytes = call.width * channels * sizeof(T);
        if (y < 0 || y >= call.height) {
          std::memset(to, 0, bytes);
        } else {
          std::memcpy(to, call.x + (n * call.height + y) * call.width * channels, bytes);
        }
      }
      const T* grad = call.grad + (n * call.height + first) * call.width * cout;
      Pack(depth, cout, packed.get(), [&](int64_t p, int64_t j) {
        const int64_t r = p / line, c = p % line;
        return c < call.width ? grad[(r * call.width + c) * cout + j] : T(0);
      });
      for (int64_t tap = 0; tap < call.kernel_height * call.kernel_width; ++tap) {
        const int64_t shift = tap / call.kernel_width * line + tap % call.kernel_width;
        Multiply<T>(channels, cout, depth, &image[shift * channels], 1, channels, packed.get(),
                    sum + tap * channels * cout, cout, true);
      }
    }
  }

  std::vector<int> kernel_;
};

REGISTER_OP("EdvrConvWeightGrad")
    .Attr("T: {float, double}")
    .Attr("kernel_size: list(int)")
    .Input("x: T").Input("grad: T")
    .Output("d_weight: T")
    .SetShapeFn([](InferenceContext* context) -> Status {
      ShapeHandle x, grad;
      std::vector<int> kernel;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &grad));
      TF_RETURN_IF_ERROR(context->GetAttr("kernel_size", &kernel));
      if (kernel.size() != 2) return InvalidArgument("conv_weight_gradient: kernel_size must be two odd numbers");
      context->set_output(0, context->MakeShape({context->MakeDim(kernel[0]), context->MakeDim(kernel[1]),
                                                 context->Dim(x, 3), context->Dim(grad, 3)}));
      return Status();
    });

EDVR_REGISTER("EdvrConvWeightGrad", ConvWeightGradOp);

}  // namespace edvr

// Plain convolutions: stride 1, "same" padding, odd kernels, with all that surrounds them in the network done while the
// values are in the cache.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernel.h"
#include "product.h"

namespace edvr {

// y = depth_to_space(activate(conv(concat(x), weight) + bias + residual), block)
//
//   x        one or more [N, H, W, C_i]      bias      [Cout], or empty for none
//   weight   [kh, kw, sum of C_i, Cout]      residual  none, or one [M, H, W, Cout]; M divides N, and N/M images next
//   y        [N, b*H, b*W, Cout/b/b]                   to each other share one
//
// activate(v) is v where v > 0, else slope * v. With `transposed`, weight is [kh, kw, Cout, C], and is flipped: this
// is the gradient of such a convolution's input.
//
// Blocks of consecutive pixels of a row are multiplied with the kernel straight from the image: a pixel's neighbours
// in a row, with their channels, are one piece of memory. Blocks at the left and right border are copied first.
template <typename T>
class ConvOp : public OpKernel {
 public:
  explicit ConvOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("slope", &slope_));
    OP_REQUIRES_OK(context, context->GetAttr("block", &block_));
    OP_REQUIRES_OK(context, context->GetAttr("transposed", &transposed_));
  }

  void Compute(OpKernelContext* context) override {
    Call call;
    OP_REQUIRES_OK(context, Read(context, &call));
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, TensorShape({call.images, call.height * block_, call.width * block_, call.cout / block_ / block_}), &result));
    if (result->NumElements() == 0) return;
    call.y = MutableData<T>(result);
    // one matrix for each input and row of the kernel
    int64_t depth = 0;
    for (const Input& input : call.inputs) depth += input.channels * call.kernel_width;
    Buffer<T> packed(PackedSize<T>(depth * call.kernel_height, call.cout));
    T* to = packed.get();
    int64_t first = 0;
    for (Input& input : call.inputs) {
      input.packed = to;
      for (int64_t row = 0; row < call.kernel_height; ++row, to += input.RowSize(call)) {
        Pack(input.channels * call.kernel_width, call.cout, to, [&](int64_t p, int64_t j) {
          return call.Weight(row, p / input.channels, first + p % input.channels, j, transposed_);
        });
      }
      first += input.channels;
    }
    InParallel(context, call.images * call.height, call.width * depth * call.kernel_height * call.cout / 16,
               [&](int64_t begin, int64_t end) { RunRows(call, begin, end); });
  }

 private:
  struct Call;
  struct Input {
    const T* x;
    int64_t channels;
    const T* packed;
    int64_t RowSize(const Call& call) const { return PackedSize<T>(channels * call.kernel_width, call.cout); }
  };
  struct Call {
    std::vector<Input> inputs;
    int64_t images, height, width, channels, kernel_height, kernel_width, cout, images_per_residual;
    const T *weight, *bias, *residual;   // bias, residual: null for none
    T* y;
    T Weight(int64_t row, int64_t column, int64_t channel, int64_t j, bool transposed) const {
      if (!transposed) return weight[((row * kernel_width + column) * channels + channel) * cout + j];
      row = kernel_height - 1 - row;
      column = kernel_width - 1 - column;
      return weight[((row * kernel_width + column) * cout + j) * channels + channel];
    }
  };

  Status Read(OpKernelContext* context, Call* call) const {
    OpInputList inputs, residuals;
    TF_RETURN_IF_ERROR(context->input_list("x", &inputs));
    TF_RETURN_IF_ERROR(context->input_list("residual", &residuals));
    const Tensor &weight = context->input(inputs.size()), &bias = context->input(inputs.size() + 1);
    TF_RETURN_IF_ERROR(CheckWeight("conv", weight));
    call->channels = 0;
    for (const Tensor& x : inputs) {
      if (x.dims() != 4 || x.dim_size(0) != inputs[0].dim_size(0) || x.dim_size(1) != inputs[0].dim_size(1) ||
          x.dim_size(2) != inputs[0].dim_size(2))
        return InvalidArgument("conv: x has shapes ", inputs[0].shape().DebugString(), " and ",
                               x.shape().DebugString(), "; they must be [N, H, W, C] and differ in C only");
      call->inputs.push_back({Data<T>(x), x.dim_size(3), nullptr});
      call->channels += x.dim_size(3);
    }
    call->images = inputs[0].dim_size(0);
    call->height = inputs[0].dim_size(1);
    call->width = inputs[0].dim_size(2);
    call->kernel_height = weight.dim_size(0);
    call->kernel_width = weight.dim_size(1);
    call->cout = weight.dim_size(transposed_ ? 2 : 3);
    if (weight.dim_size(transposed_ ? 3 : 2) != call->channels)
      return InvalidArgument("conv: weight takes ", weight.dim_size(transposed_ ? 3 : 2), " channels, x has ",
                             call->channels);
    if (call->cout % (block_ * block_) != 0)
      return InvalidArgument("conv: ", call->cout, " channels cannot be arranged in blocks of ", block_, "x", block_);
    if (bias.dims() != 1 || (bias.dim_size(0) != 0 && bias.dim_size(0) != call->cout))
      return InvalidArgument("conv: bias has shape ", bias.shape().DebugString(), "; it must be [", call->cout, "]");
    call->weight = Data<T>(weight);
    call->bias = bias.dim_size(0) == 0 ? nullptr : Data<T>(bias);
    call->residual = nullptr;
    if (residuals.size() == 0) return Status();
    const Tensor& residual = residuals[0];
    if (residual.dims() != 4 || residual.dim_size(0) == 0 || call->images % residual.dim_size(0) != 0 ||
        residual.dim_size(1) != call->height || residual.dim_size(2) != call->width ||
        residual.dim_size(3) != call->cout)
      return InvalidArgument("conv: the residual has shape ", residual.shape().DebugString(), "; for x ",
                             inputs[0].shape().DebugString(), " it must be [N or a divisor, H, W, ", call->cout, "]");
    call->residual = Data<T>(residual);
    call->images_per_residual = call->images / residual.dim_size(0);
    return Status();
  }

  // Rows of the output, counted over the images.
  void RunRows(const Call& call, int64_t begin, int64_t end) const {
    int64_t most = 0;
    for (const Input& input : call.inputs) most = std::max(most, input.channels);
    Buffer<T> border(call.kernel_height * (kRows + call.kernel_width - 1) * most), line(kRows * call.cout);
    const int64_t blocks = DivideUp(call.width, kRows);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / call.height, y = row % call.height;
      for (int64_t i = 0; i < blocks; ++i) {
        // of equal size, but for one pixel
        const int64_t x = call.width * i / blocks, count = call.width * (i + 1) / blocks - x;
        T* sums = block_ == 1 ? call.y + (row * call.width + x) * call.cout : line.get();
        Sums(call, image, y, x, count, border.get(), sums);
        Finish(call, image, y, x, count, sums);
        if (block_ > 1) Arrange(call, row, x, count, sums);
      }
    }
  }

  // The bare convolution at `count` pixels from (y, x) on: sums[count, Cout].
  static void Sums(const Call& call, int64_t image, int64_t y, int64_t x, int64_t count, T* border, T* sums) {
    const int64_t pad_y = call.kernel_height / 2, pad_x = call.kernel_width / 2;
    const int64_t top = std::max<int64_t>(0, pad_y - y);
    const int64_t bottom = std::min(call.kernel_height, call.height + pad_y - y);
    const int64_t left = std::max<int64_t>(0, x - pad_x), right = std::min(call.width, x + count + pad_x);
    const int64_t length = count + call.kernel_width - 1;
    bool accumulate = false;
    for (const Input& input : call.inputs) {
      const int64_t channels = input.channels;
      for (int64_t k = top; k < bottom; ++k) {
        const int64_t row = (image * call.height + y + k - pad_y) * call.width;
        const T* a = input.x + (row + left) * channels;
        if (right - left < length) {
          const int64_t before = (left - (x - pad_x)) * channels, inside = (right - left) * channels;
          std::fill(border, border + before, T(0));
          std::copy(a, a + inside, border + before);
          std::fill(border + before + inside, border + length * channels, T(0));
          a = border;
        }
        Multiply<T>(count, call.cout, channels * call.kernel_width, a, channels, 1,
                    input.packed + k * input.RowSize(call), sums, call.cout, accumulate);
        accumulate = true;
      }
    }
  }

  // Adds bias and residual, and activates.
  void Finish(const Call& call, int64_t image, int64_t y, int64_t x, int64_t count, T* __restrict__ sums) const {
    const int64_t cout = call.cout;
    if (call.bias != nullptr) {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < cout; ++j) sums[i * cout + j] += call.bias[j];
    }
    if (call.residual != nullptr) {
      const int64_t row = image / call.images_per_residual * call.height + y;
      const T* residual = call.residual + (row * call.width + x) * cout;
      for (int64_t j = 0; j < count * cout; ++j) sums[j] += residual[j];
    }
    if (slope_ != 1.f) {
      const T slope = T(slope_);
      for (int64_t j = 0; j < count * cout; ++j) sums[j] = sums[j] > T(0) ? sums[j] : slope * sums[j];
    }
  }

  // Writes `count` pixels of a row as block_ rows of block_ times as many.
  void Arrange(const Call& call, int64_t row, int64_t x, int64_t count, const T* sums) const {
    const int64_t piece = call.cout / block_;
    for (int64_t k = 0; k < block_; ++k)
      for (int64_t i = 0; i < count; ++i)
        std::copy_n(sums + i * call.cout + k * piece, piece,
                    call.y + ((row * block_ + k) * call.width + x + i) * piece);
  }

  float slope_;
  int block_;
  bool transposed_;
};

REGISTER_OP("EdvrConv")
    .Attr("T: {float, double}")
    .Attr("inputs: int >= 1")
    .Attr("residuals: int >= 0")
    .Attr("slope: float = 1.0")
    .Attr("block: int >= 1 = 1")
    .Attr("transposed: bool = false")
    .Input("x: inputs * T").Input("weight: T").Input("bias: T").Input("residual: residuals * T")
    .Output("y: T")
    .SetShapeFn([](InferenceContext* context) -> Status {
      int inputs, block;
      bool transposed;
      ShapeHandle x, weight;
      DimensionHandle sizes[3];
      TF_RETURN_IF_ERROR(context->GetAttr("inputs", &inputs));
      TF_RETURN_IF_ERROR(context->GetAttr("block", &block));
      TF_RETURN_IF_ERROR(context->GetAttr("transposed", &transposed));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(inputs), 4, &weight));
      TF_RETURN_IF_ERROR(context->Multiply(context->Dim(x, 1), block, &sizes[0]));
      TF_RETURN_IF_ERROR(context->Multiply(context->Dim(x, 2), block, &sizes[1]));
      TF_RETURN_IF_ERROR(context->Divide(context->Dim(weight, transposed ? 2 : 3), block * block, true, &sizes[2]));
      context->set_output(0, context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], sizes[2]}));
      return Status();
    });

EDVR_REGISTER("EdvrConv", ConvOp);

}  // namespace edvr

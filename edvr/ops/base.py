"""The operations that a network may use. A network is written once against `Ops`, and each backend computes it.

NHWC throughout. Convolutions have a bias, and are stride 1 and keep the size unless stated. Variables are called
`weight` ([kh, kw, C_in, C_out]) and `bias`, in a scope named as the layer of the reference implementation, so that
checkpoints convert by renaming and transposing.

A tensor is what the backend takes for one: a tf.Tensor, a value of an ONNX graph, a shape.

Letters: N windows, T frames, B images (N or N*T), H W size, C channels, G deform groups, s scale.
"""
import abc
import contextlib
import typing

SLOPES = {None: 1.0, 'relu': 0.0, 'lrelu': 0.1}   # activation -> slope below zero
KERNEL_POINTS = 9   # of the deformable convolutions, 3x3

Tensor = typing.Any
Sizes = typing.Sequence[typing.Any]   # each an int where known, else what the backend has for an unknown size


class Ops(abc.ABC):
    """The operations of a network, for one way of computing them."""

    # names and shapes

    @abc.abstractmethod
    def scope(self, name: str) -> typing.ContextManager:
        """Returns a context that prefixes the names of layers; entered again, it shares their variables."""

    @abc.abstractmethod
    def shape(self, x: Tensor) -> typing.List[typing.Any]:
        """Returns the static shape of `x`: ints, None for unknown sizes."""

    @abc.abstractmethod
    def sizes(self, x: Tensor) -> typing.List[typing.Any]:
        """Returns the sizes of `x` for `frames` and `windows`, known or not."""

    @abc.abstractmethod
    def frames(self, x: Tensor, sizes: typing.Optional[Sizes] = None) -> Tensor:
        """Returns the frames of windows as one batch: [N, T, H, W, C] -> [N*T, H, W, C].

        Args:
          x: tensor [N, T, H, W, C].
          sizes: N, T, H, W, C, `sizes(x)` where it is known already.
        """

    @abc.abstractmethod
    def windows(self, x: Tensor, sizes: Sizes) -> Tensor:
        """Returns a batch of frames as windows: [N*T, H, W, C] -> [N, T, H, W, C].

        Args:
          x: tensor [N*T, H, W, C].
          sizes: N, T, H, W, C, of `sizes`; or N and T only.
        """

    @abc.abstractmethod
    def frame(self, x: Tensor, index: int) -> Tensor:
        """Returns frame `index` of each window: [N, T, H, W, C] -> [N, H, W, C]."""

    @abc.abstractmethod
    def as_window(self, x: Tensor) -> Tensor:
        """Returns each image as a window of one frame, which broadcasts: [N, H, W, C] -> [N, 1, H, W, C]."""

    @abc.abstractmethod
    def stack(self, x: Tensor) -> Tensor:
        """Returns the frames of a window side by side on channels: [N, T, H, W, C] -> [N, H, W, T*C]."""

    # arithmetic

    @abc.abstractmethod
    def as_float(self, x: Tensor) -> Tensor:
        """Returns uint8 as float32 in [0, 1]; other dtypes unchanged."""

    @abc.abstractmethod
    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns x + y."""

    @abc.abstractmethod
    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns x * y, with broadcasting."""

    @abc.abstractmethod
    def scale(self, x: Tensor, factor: float) -> Tensor:
        """Returns x * factor."""

    @abc.abstractmethod
    def sigmoid(self, x: Tensor) -> Tensor:
        """Returns the sigmoid of x."""

    @abc.abstractmethod
    def lrelu(self, x: Tensor) -> Tensor:
        """Returns the leaky ReLU of x, with slope 0.1."""

    @abc.abstractmethod
    def sum_channels(self, x: Tensor) -> Tensor:
        """Returns the sum over the last axis, which is kept with size 1."""

    # layers

    @abc.abstractmethod
    def conv(self, x: typing.Union[Tensor, typing.List[Tensor]], channels: int, name: str, size: int = 3,
             stride: int = 1, activation: typing.Optional[str] = None, residual: typing.Optional[Tensor] = None,
             block: int = 1, init: str = 'uniform') -> Tensor:
        """Returns depth_to_space(activation(convolution + bias + residual), block).

        Args:
          x: float [B, H, W, C], or a list of such, which is concatenated on channels.
          channels: C_out of the convolution.
          name: the scope of the layer.
          size: of the kernel, odd; the image is padded by (size - 1) / 2 on every side.
          stride: with a stride, neither residual nor block.
          activation: None, 'relu' or 'lrelu'.
          residual: float [B, H, W, C_out].
          block: of depth_to_space, whose channels are ordered (dy, dx, c); 1 for none.
          init: 'uniform', U(+-1/sqrt(fan-in)) for weight and bias; 'scaled_he', He normal times 0.1, bias 0; 'zeros'.
        Returns:
          float [B, block * ceil(H / stride), block * ceil(W / stride), C_out / block^2].
        """

    @abc.abstractmethod
    def conv_with_reference(self, x: Tensor, reference: Tensor, channels: int, frames: int, name: str,
                            activation: typing.Optional[str] = None, term: typing.Optional[Tensor] = None) -> Tensor:
        """Returns the 3x3 convolution of every frame concatenated with its window's reference.

        A convolution of a concatenation is the sum of two convolutions with the kernel split, so the reference is
        convolved only once.

        Args:
          x: float [N*T, H, W, C], frames of a window next to each other.
          reference: float [N, H, W, C]; not used if `term` is given.
          channels: C_out.
          frames: T.
          name: the scope of the layer.
          activation: None, 'relu' or 'lrelu'.
          term: the `reference_term`, where it is known already.
        Returns:
          float [N*T, H, W, C_out].
        """

    @abc.abstractmethod
    def reference_term(self, reference: Tensor, channels: int, name: str) -> Tensor:
        """Returns the term of `conv_with_reference` that all frames of a window share: float [N, H, W, C_out]."""

    @abc.abstractmethod
    def deform_conv(self, x: Tensor, offset_features: Tensor, channels: int, groups: int, name: str
                    ) -> typing.Tuple[Tensor, typing.Optional[Tensor]]:
        """Returns a modulated deformable 3x3 convolution whose offsets and masks are convolved from features.

        The convolution `conv_offset` has 27*G channels: [all dx | all dy | all mask before its sigmoid], each
        group-major, then kernel point: the order of the Ascend operator. It starts at zero.

        Args:
          x: float [B, H, W, C].
          offset_features: float [B, H, W, C].
          channels: C_out.
          groups: G.
          name: the scope of the layer.
        Returns:
          float [B, H, W, C_out], and the mean |offset| in pixels, float32 scalar, or None where nothing is measured.
        """

    @abc.abstractmethod
    def upsample(self, x: Tensor, factor: int, gain: float = 1.0) -> Tensor:
        """Returns `gain` times the bilinear enlargement with half-pixel centres: [B, H, W, C] -> [B, s*H, s*W, C]."""

    @abc.abstractmethod
    def pools(self, x: Tensor) -> typing.List[Tensor]:
        """Returns the maximum and the average over 3x3 pixels, with stride 2: two [B, ceil(H/2), ceil(W/2), C].

        Every side has one pixel of padding, which never is the maximum, and counts in the average as zero.
        """

    # shared by the backends

    def channels(self, x: Tensor) -> int:
        """Returns the number of channels of `x`."""
        return self.shape(x)[-1]

    def residual_block(self, x: Tensor, name: str) -> Tensor:
        """Returns x + conv2(relu(conv1(x))): float [B, H, W, C] both ways."""
        C = self.channels(x)
        with self.scope(name):
            y = self.conv(x, C, 'conv1', activation='relu', init='scaled_he')
            return self.conv(y, C, 'conv2', residual=x, init='scaled_he')

    def residual_blocks(self, x: Tensor, count: int, name: str, first: int = 0) -> Tensor:
        """Returns x after `count` residual blocks called `first`, `first` + 1, ... in the scope `name`."""
        with self.scope(name):
            for index in range(first, first + count):
                x = self.residual_block(x, str(index))
        return x

    def recompute(self, function: typing.Callable, inputs: typing.Sequence[Tensor]) -> typing.Any:
        """Returns `function(*inputs)`; a backend with gradients may free its values and compute them again."""
        return function(*inputs)


class NamedLayers(Ops):
    """The part of a backend without TensorFlow: its scopes are names, its shapes are kept with its tensors.

    Attributes:
      path: list of str, the scopes around.
    """

    def __init__(self) -> None:
        self.path: typing.List[str] = []

    @contextlib.contextmanager
    def scope(self, name: str) -> typing.Iterator[None]:
        self.path.append(name)
        try:
            yield
        finally:
            self.path.pop()

    def variable_name(self, *names: str) -> str:
        """Returns the name of a variable of a layer in the scopes around."""
        return '/'.join(self.path + list(names))

    def sizes(self, x: Tensor) -> typing.List[typing.Any]:
        return self.shape(x)


def times(size: typing.Optional[int], factor: int) -> typing.Optional[int]:
    """Returns size * factor; None for an unknown size."""
    return None if size is None else size * factor


def shape_after_conv(shape: Sizes, channels: int, stride: int = 1, block: int = 1) -> typing.Tuple:
    """Returns the shape (B, H, W, C) after `Ops.conv`; None for unknown sizes."""
    count, height, width = shape[:3]
    height, width = (None if size is None else -(-size // stride) * block for size in (height, width))
    return count, height, width, channels // block ** 2

"""Counts what a network computes: multiply-adds, variables, and the shapes of its values. Nothing is computed."""
import functools
import operator
import typing

from edvr.ops.base import KERNEL_POINTS, NamedLayers, Sizes, shape_after_conv, times

Shape = typing.Tuple[typing.Any, ...]   # ints, None for unknown sizes


class CountingOps(NamedLayers):
    """A tensor is its shape, a tuple of ints, or None for unknown sizes.

    Attributes:
      macs: multiply-adds of all convolutions so far; of deformable ones the product without the sampling. None
        after a convolution of unknown size.
      variables: name of each variable -> its shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs: typing.Any = 0
        self.variables: typing.Dict[str, Shape] = {}

    def shape(self, x: Shape) -> typing.List[typing.Any]:
        return list(x)

    def frames(self, x: Shape, sizes: typing.Optional[Sizes] = None) -> Shape:
        return (times(x[0], x[1]),) + tuple(x[2:])

    def windows(self, x: Shape, sizes: Sizes) -> Shape:
        return tuple(sizes[:2]) + tuple(x[1:])

    def frame(self, x: Shape, index: int) -> Shape:
        return (x[0],) + tuple(x[2:])

    def as_window(self, x: Shape) -> Shape:
        return (x[0], 1) + tuple(x[1:])

    def stack(self, x: Shape) -> Shape:
        N, T, H, W, C = x
        return N, H, W, T * C

    def as_float(self, x: Shape) -> Shape:
        return x

    def add(self, x: Shape, y: Shape) -> Shape:
        return x

    def mul(self, x: Shape, y: Shape) -> Shape:
        return x

    def scale(self, x: Shape, factor: float) -> Shape:
        return x

    def sigmoid(self, x: Shape) -> Shape:
        return x

    def lrelu(self, x: Shape) -> Shape:
        return x

    def sum_channels(self, x: Shape) -> Shape:
        return tuple(x[:-1]) + (1,)

    def conv(self, x: typing.Union[Shape, typing.List[Shape]], channels: int, name: str, size: int = 3,
             stride: int = 1, activation: typing.Optional[str] = None, residual: typing.Optional[Shape] = None,
             block: int = 1, init: str = 'uniform') -> Shape:
        inputs = x if isinstance(x, list) else [x]
        C = sum(self.channels(one) for one in inputs)
        self._add_variables(name, size, C, channels)
        self._count(shape_after_conv(inputs[0], channels, stride), size * size * C)
        return shape_after_conv(inputs[0], channels, stride, block)

    def conv_with_reference(self, x: Shape, reference: Shape, channels: int, frames: int, name: str,
                            activation: typing.Optional[str] = None, term: typing.Optional[Shape] = None) -> Shape:
        if term is None:
            self.reference_term(reference, channels, name)
        y = shape_after_conv(x, channels)
        self._count(y, 9 * self.channels(x))
        return y

    def reference_term(self, reference: Shape, channels: int, name: str) -> Shape:
        C = self.channels(reference)
        self._add_variables(name, 3, 2 * C, channels)
        y = shape_after_conv(reference, channels)
        self._count(y, 9 * C)
        return y

    def deform_conv(self, x: Shape, offset_features: Shape, channels: int, groups: int, name: str
                    ) -> typing.Tuple[Shape, None]:
        self._add_variables(name, 3, self.channels(x), channels)
        with self.scope(name):
            self.conv(offset_features, 3 * KERNEL_POINTS * groups, 'conv_offset')
        y = shape_after_conv(x, channels)
        self._count(y, KERNEL_POINTS * self.channels(x))
        return y, None

    def upsample(self, x: Shape, factor: int, gain: float = 1.0) -> Shape:
        N, H, W, C = x
        return N, times(H, factor), times(W, factor), C

    def pools(self, x: Shape) -> typing.List[Shape]:
        return [shape_after_conv(x, self.channels(x), stride=2)] * 2

    def _add_variables(self, name: str, size: int, channels_in: int, channels: int) -> None:
        self.variables[self.variable_name(name, 'weight')] = (size, size, channels_in, channels)
        self.variables[self.variable_name(name, 'bias')] = (channels,)

    def _count(self, shape: Shape, factors: int) -> None:
        known = self.macs is not None and None not in shape
        self.macs = self.macs + factors * functools.reduce(operator.mul, shape) if known else None

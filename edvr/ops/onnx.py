"""The network in ONNX operations, with given weights. Images are NCHW inside; sizes may be open."""
import typing

import numpy as np

from edvr.ops.base import KERNEL_POINTS, SLOPES, NamedLayers, Sizes, shape_after_conv, times

OPSET = 19        # the first opset with DeformConv
IR_VERSION = 9    # the version of the same release


class Value(typing.NamedTuple):
    """A value of the graph.

    Attributes:
      name: of the value.
      shape: tuple of int or None, in the order of `Ops`: [N, T, H, W, C] or [B, H, W, C].
      dtype: 'float32' or 'uint8'.
    """
    name: str
    shape: typing.Tuple
    dtype: str = 'float32'


Inputs = typing.Union[Value, typing.List[Value]]


class OnnxOps(NamedLayers):
    """Collects the nodes and constants of an ONNX graph.

    Attributes:
      nodes: list of onnx.NodeProto.
      constants: list of onnx.TensorProto.
    """

    def __init__(self, onnx: typing.Any, weights: typing.Dict[str, np.ndarray], half: bool = False) -> None:
        """Begins an empty graph.

        Args:
          onnx: the module.
          weights: names of variables -> float32 arrays, convolutions [k, k, C_in, C_out].
          half: whether weights and values are float16, between float32 or uint8 at the ends.
        """
        super().__init__()
        self._onnx, self._half = onnx, half
        self._float = np.float16 if half else np.float32
        self._weights = {name: value.astype(self._float) for name, value in weights.items()}
        self.nodes: typing.List[typing.Any] = []
        self.constants: typing.List[typing.Any] = []
        self._names: typing.Set[str] = set()

    # the ends of the graph

    def input(self, name: str, shape: Sizes, dtype: str, num_frames: int) -> Value:
        """Returns the windows of an input of the graph.

        Args:
          name: of the input.
          shape: [N, T, H, W, 3] or [N*T, H, W, 3], None for open sizes.
          dtype: 'float32' or 'uint8'.
          num_frames: T.
        """
        perm = [0, 1, 4, 2, 3] if len(shape) == 5 else [0, 3, 1, 2]
        given = Value(self.op('Transpose', name, perm=perm), tuple(shape), dtype)
        given = self._narrow(given) if dtype == 'float32' else given
        if len(shape) == 5:
            return given
        return self.windows(given, [None if shape[0] is None else shape[0] // num_frames, num_frames])

    def output(self, x: Value, name: str, dtype: str) -> None:
        """Adds the output of the graph, NHWC: float32, or uint8 of values in [0, 1]."""
        y = self.op('Transpose', x.name, perm=[0, 2, 3, 1])
        if self._half:
            y = self.op('Cast', y, to=self._onnx.TensorProto.FLOAT)
        if dtype == 'uint8':
            levels = self.constant('levels', np.float32(255))
            y = self.op('Round', self.op('Mul', y, levels))
            y = self.op('Clip', y, self.constant('black', np.float32(0)), levels)
            y = self.op('Cast', y, to=self._onnx.TensorProto.UINT8)
        self.nodes.append(self._onnx.helper.make_node('Identity', [y], [name]))

    # nodes and constants

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: typing.Any) -> typing.Any:
        """Adds a node; returns the name of its output, or the names of several."""
        number = len(self.nodes)
        names = ['%s_%d' % (kind, number)] if outputs == 1 else ['%s_%d_%d' % (kind, number, i) for i in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name: str, value: typing.Any) -> str:
        """Returns the name of a constant, which is added once."""
        if name not in self._names:
            self._names.add(name)
            self.constants.append(self._onnx.numpy_helper.from_array(np.array(value, order='C'), name))
        return name

    def _ints(self, *values: int) -> str:
        return self.constant('ints_' + '_'.join(map(str, values)), np.array(values, np.int64))

    def _kernel(self, layer: str, part: slice = slice(None), order: typing.Optional[np.ndarray] = None) -> str:
        """Returns the constant of a weight as [C_out, C_in, k, k]; part: slice of C_in, order: of C_out."""
        name = self.variable_name(layer, 'weight')
        weight = self._weights[name][:, :, part].transpose(3, 2, 0, 1)
        suffix = '' if part == slice(None) else '/%s:%s' % (part.start or 0, part.stop or '')
        return self.constant(name + suffix, weight if order is None else weight[order])

    def _bias(self, layer: str, order: typing.Optional[np.ndarray] = None) -> str:
        name = self.variable_name(layer, 'bias')
        return self.constant(name, self._weights[name] if order is None else self._weights[name][order])

    # shapes

    def shape(self, x: Value) -> typing.List[typing.Any]:
        return list(x.shape)

    def frames(self, x: Value, sizes: typing.Optional[Sizes] = None) -> Value:
        N, T, H, W, C = x.shape
        return self._reshape(x, [-1], 2, (times(N, T), H, W, C))

    def windows(self, x: Value, sizes: Sizes) -> Value:
        return self._reshape(x, [-1, sizes[1]], 1, tuple(sizes[:2]) + tuple(x.shape[1:]))

    def stack(self, x: Value) -> Value:
        N, T, H, W, C = x.shape
        return self._reshape(x, [-1, T * C], 3, (N, H, W, T * C))

    def _reshape(self, x: Value, first: typing.Sequence[int], rest: int, shape: typing.Tuple) -> Value:
        """Reshapes to `first` and the sizes of `x` from axis `rest` on."""
        sizes = self.op('Concat', self._ints(*first), self.op('Shape', x.name, start=rest), axis=0)
        return x._replace(name=self.op('Reshape', x.name, sizes), shape=shape)

    def frame(self, x: Value, index: int) -> Value:
        name = self.op('Gather', x.name, self.constant('frame_%d' % index, np.array(index, np.int64)), axis=1)
        return x._replace(name=name, shape=x.shape[:1] + x.shape[2:])

    def as_window(self, x: Value) -> Value:
        return Value(self.op('Unsqueeze', x.name, self._ints(1)), x.shape[:1] + (1,) + x.shape[1:])

    # arithmetic

    def as_float(self, x: Value) -> Value:
        if x.dtype == 'float32':
            return x
        name = self.op('Cast', x.name, to=self._onnx.TensorProto.FLOAT)
        return self._narrow(Value(self.op('Div', name, self.constant('levels', np.float32(255))), x.shape))

    def _narrow(self, x: Value) -> Value:
        """Returns a float32 value in the type of the values of this graph, which `Value.dtype` calls float32 too."""
        return x._replace(name=self.op('Cast', x.name, to=self._onnx.TensorProto.FLOAT16)) if self._half else x

    def add(self, x: Value, y: Value) -> Value:
        return Value(self.op('Add', x.name, y.name), x.shape)

    def mul(self, x: Value, y: Value) -> Value:
        return Value(self.op('Mul', x.name, y.name), x.shape)

    def scale(self, x: Value, factor: float) -> Value:
        return Value(self.op('Mul', x.name, self.constant('factor_%g' % factor, self._float(factor))), x.shape)

    def sigmoid(self, x: Value) -> Value:
        return Value(self.op('Sigmoid', x.name), x.shape)

    def lrelu(self, x: Value) -> Value:
        return self._activate(x, 'lrelu')

    def sum_channels(self, x: Value) -> Value:
        axis = self._ints(len(x.shape) - 3)
        return Value(self.op('ReduceSum', x.name, axis, keepdims=1), x.shape[:-1] + (1,))

    def _activate(self, x: Value, activation: typing.Optional[str]) -> Value:
        if activation is None:
            return x
        slope = SLOPES[activation]
        return x._replace(name=self.op('LeakyRelu', x.name, alpha=slope) if slope else self.op('Relu', x.name))

    # layers

    def conv(self, x: Inputs, channels: int, name: str, size: int = 3, stride: int = 1,
             activation: typing.Optional[str] = None, residual: typing.Optional[Value] = None, block: int = 1,
             init: str = 'uniform') -> Value:
        y = self._conv(self._concat(x), self._kernel(name), self._bias(name), channels, size, stride)
        y = self._activate(y if residual is None else self.add(y, residual), activation)
        if block == 1:
            return y
        shape = shape_after_conv(y.shape, channels, block=block)
        return Value(self.op('DepthToSpace', y.name, blocksize=block, mode='DCR'), shape)

    def _concat(self, x: Inputs) -> Value:
        if isinstance(x, Value):
            return x
        shape = x[0].shape[:3] + (sum(map(self.channels, x)),)
        return Value(self.op('Concat', *[one.name for one in x], axis=1), shape)

    def _conv(self, x: Value, kernel: str, bias: typing.Optional[str], channels: int, size: int = 3,
              stride: int = 1) -> Value:
        inputs = [x.name, kernel] + ([bias] if bias else [])
        name = self.op('Conv', *inputs, kernel_shape=[size] * 2, pads=[size // 2] * 4, strides=[stride] * 2)
        return Value(name, shape_after_conv(x.shape, channels, stride))

    def conv_with_reference(self, x: Value, reference: Value, channels: int, frames: int, name: str,
                            activation: typing.Optional[str] = None, term: typing.Optional[Value] = None) -> Value:
        C = self.channels(x)
        term = self.reference_term(reference, channels, name) if term is None else term
        y = self._conv(x, self._kernel(name, slice(0, C)), None, channels)
        y = self.add(self.windows(y, [term.shape[0], frames]), self.as_window(term))
        return self._activate(self.frames(y), activation)

    def reference_term(self, reference: Value, channels: int, name: str) -> Value:
        part = slice(self.channels(reference), None)
        return self._conv(reference, self._kernel(name, part), self._bias(name), channels)

    def deform_conv(self, x: Value, offset_features: Value, channels: int, groups: int, name: str
                    ) -> typing.Tuple[Value, None]:
        points = KERNEL_POINTS * groups
        # the network has [all dx | all dy | all mask], ONNX (dy, dx) point by point: the convolution gives this order
        dx = np.arange(points)
        order = np.concatenate([np.stack([points + dx, dx], axis=1).ravel(), 2 * points + dx])
        with self.scope(name):
            kernel, bias = self._kernel('conv_offset', order=order), self._bias('conv_offset', order)
        packed = self._conv(offset_features, kernel, bias, 3 * points)
        offset, mask = self.op('Split', packed.name, self._ints(2 * points, points), outputs=2, axis=1)
        y = self.op('DeformConv', x.name, self._kernel(name), offset, self._bias(name), self.op('Sigmoid', mask),
                    kernel_shape=[3, 3], pads=[1] * 4, offset_group=groups)
        return Value(y, shape_after_conv(x.shape, channels)), None

    def upsample(self, x: Value, factor: int, gain: float = 1.0) -> Value:
        B, H, W, C = x.shape
        factors = self.constant('x%d' % factor, np.array([1, 1, factor, factor], np.float32))
        name = self.op('Resize', x.name, '', factors, mode='linear', coordinate_transformation_mode='half_pixel')
        y = Value(name, (B, times(H, factor), times(W, factor), C))
        return y if gain == 1.0 else self.scale(y, gain)

    def pools(self, x: Value) -> typing.List[Value]:
        sizes: typing.Dict[str, typing.Any] = dict(kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
        shape = shape_after_conv(x.shape, self.channels(x), stride=2)
        return [Value(self.op('MaxPool', x.name, **sizes), shape),
                Value(self.op('AveragePool', x.name, count_include_pad=1, **sizes), shape)]

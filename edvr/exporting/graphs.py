"""The graphs of an export: their inputs, their outputs, and the part of the network between them.

An export is one graph, from windows to frames, or two: from a frame to its features, and from the features of a window
to a frame. To restore a clip, the first of the two runs once for each frame, and its results are kept for the windows
that need them. Each level of each frame is a separate input of the second, so results can stay on the device.
"""
import abc
import contextlib
import dataclasses
import functools
import typing

import tensorflow.compat.v1 as tf

from edvr.config import ModelConfig
from edvr.config.export import OPEN, InterfaceConfig
from edvr.config.model import NETWORKS
from edvr.network import networks
from edvr.ops.base import Ops

INPUT, OUTPUT = 'L_input', 'SR_output'


class End(typing.NamedTuple):
    """An input or output of a graph.

    Attributes:
      name: of its node.
      dtype: 'uint8' or 'float32'.
      shape: list of int, OPEN for sizes that are not fixed.
      axes: a word for each axis, such as 'N H W C'.
      values: the range of the values.
      channels: the order of colours; None for features.
    """
    name: str
    dtype: str
    shape: typing.List[int]
    axes: str
    values: str
    channels: typing.Optional[str] = None

    def to_json(self) -> dict:
        """Returns the fields for a description; `tensor` is the name of its tensor in TensorFlow."""
        return {name: value for name, value in dict(self._asdict(), tensor=self.name + ':0').items()
                if value is not None}

    def __str__(self) -> str:
        shape = ', '.join('?' if size == OPEN else str(size) for size in self.shape)
        return '%s %s [%s] %s' % (self.name, self.dtype, shape,
                                  ', '.join(filter(None, (self.axes, self.channels, self.values))))


@dataclasses.dataclass(frozen=True)
class Graph(abc.ABC):
    """One graph. Subclasses define its ends and what it computes.

    Attributes:
      NAME: in the description of an export.
      SUFFIX: of its file's name.
      NODES: names of nodes that such a graph has at least.
      ALIGNS: whether it has the part of the network where deformable convolutions are.
    """
    NAME: typing.ClassVar[str]
    SUFFIX: typing.ClassVar[str]
    NODES: typing.ClassVar[typing.Tuple[str, ...]]
    ALIGNS: typing.ClassVar[bool]
    model: ModelConfig
    interface: InterfaceConfig

    @property
    def deformable(self) -> bool:
        """Returns whether it has deformable convolutions, which differ among devices."""
        return self.ALIGNS and NETWORKS[self.model.network].is_deformable

    @property
    @abc.abstractmethod
    def inputs(self) -> typing.List[End]:
        """Returns its inputs."""

    @property
    @abc.abstractmethod
    def outputs(self) -> typing.List[End]:
        """Returns its outputs."""

    @abc.abstractmethod
    def compute(self, given: typing.Dict[str, tf.Tensor], ops: Ops) -> typing.List[tf.Tensor]:
        """Adds the network to the default graph.

        Args:
          given: tensors of `inputs` by name.
          ops: the operations of the network: `StockOps()`, or `ascend.exported_ops()`.
        Returns:
          Tensors of `outputs`, in their order.
        """

    def build(self, ops: Ops) -> None:
        """Adds the graph with its named ends to the default graph; `ops` are the operations of the network."""
        given = {end.name: tf.placeholder(end.dtype, [None if size == OPEN else size for size in end.shape], end.name)
                 for end in self.inputs}
        for end, value in zip(self.outputs, self.compute(given, ops)):
            tf.identity(value, end.name)

    def _frame(self) -> End:
        return _image(INPUT, self.interface.input_dtype, [1, self.interface.height, self.interface.width, 3], 'N H W C')

    def _levels(self, name_of: typing.Callable[[str], str] = str) -> typing.List[End]:
        """Returns the features of a frame; name_of: function from the name of a level to that of its node."""
        size = [None if size == OPEN else size for size in (self.interface.height, self.interface.width)]
        return [End(name_of(level), 'float32', [OPEN if axis is None else axis for axis in shape], 'N h w C',
                    'features')
                for level, shape in zip(levels(self.model), networks.feature_shapes(self.model, *size))]

    def _restored(self) -> End:
        dtype = self.interface.output_dtype
        return _image(OUTPUT, dtype, self.interface.output_shape(self.model.upscale), 'N H W C',
                      ', rounded and clipped' if dtype == 'uint8' else ', not clipped: may lie a little outside')

    def _as_output(self, sr: tf.Tensor) -> tf.Tensor:
        """Converts float32 [N, sH, sW, 3] to the type of the interface."""
        if self.interface.output_dtype == 'uint8':
            return tf.cast(tf.clip_by_value(tf.round(sr * 255), 0, 255), tf.uint8)
        return sr


class WholeGraph(Graph):
    """Restores the centre frames of windows."""
    NAME, SUFFIX, NODES, ALIGNS = 'network', '', (INPUT, OUTPUT), True

    @property
    def inputs(self) -> typing.List[End]:
        return [_image(INPUT, self.interface.input_dtype, self.interface.input_shape(self.model.num_frames),
                       'N T H W C' if self.interface.input_rank == 5 else 'N*T H W C')]

    @property
    def outputs(self) -> typing.List[End]:
        return [self._restored()]

    def compute(self, given: typing.Dict[str, tf.Tensor], ops: Ops) -> typing.List[tf.Tensor]:
        lq = given[INPUT]
        if self.interface.input_rank == 4:
            lq = _windows(lq, self.model.num_frames)
        return [self._as_output(networks.build(self.model).restore(ops, lq).sr)]


class FeaturesGraph(Graph):
    """Computes the features of a frame."""
    NAME, SUFFIX, NODES, ALIGNS = 'features', '_features.pb', (INPUT, 'features_l1'), False

    @property
    def inputs(self) -> typing.List[End]:
        return [self._frame()]

    @property
    def outputs(self) -> typing.List[End]:
        return self._levels()

    def compute(self, given: typing.Dict[str, tf.Tensor], ops: Ops) -> typing.List[tf.Tensor]:
        return list(networks.build(self.model).extract_features(ops, given[INPUT]))


class RestoringGraph(Graph):
    """Restores a frame from the features of its window's frames and from the frame itself."""
    NAME, SUFFIX, NODES, ALIGNS = 'restore', '_restore.pb', (INPUT, OUTPUT), True

    @property
    def inputs(self) -> typing.List[End]:
        return [end for index in range(self.model.num_frames)
                for end in self._levels(functools.partial(in_window, index=index))] + [self._frame()]

    @property
    def outputs(self) -> typing.List[End]:
        return [self._restored()]

    def compute(self, given: typing.Dict[str, tf.Tensor], ops: Ops) -> typing.List[tf.Tensor]:
        stacks = [tf.stack([given[in_window(level, index)] for index in range(self.model.num_frames)], axis=1)
                  for level in levels(self.model)]
        outputs = networks.build(self.model).restore_features(ops, stacks, given[INPUT])
        return [self._as_output(outputs.sr)]


WHOLE, PARTS = (WholeGraph,), (FeaturesGraph, RestoringGraph)   # the graphs of an export


def levels(model: ModelConfig) -> typing.List[str]:
    """Returns the names of the features of a frame, such as features_l1 for full resolution."""
    return ['features_l%d' % (number + 1) for number in range(len(networks.feature_shapes(model, None, None)))]


def in_window(level: str, index: int) -> str:
    """Returns the name of the input of RestoringGraph for a level of frame `index` of the window."""
    return '%s_t%d' % (level, index)


def _image(name: str, dtype: str, shape: typing.List[int], axes: str, note: str = '') -> End:
    return End(name, dtype, shape, axes, ('0 to 255, integers' if dtype == 'uint8' else '0 to 1') + note, 'RGB')


def _windows(frames: tf.Tensor, num_frames: int) -> tf.Tensor:
    """Reshapes [N*T, H, W, 3] to [N, T, H, W, 3]; known sizes stay static."""
    count, height, width, channels = frames.shape.as_list()
    batch = None if count is None else count // num_frames
    target = [OPEN if batch is None else batch, num_frames, height, width, channels]
    if None in target:
        dynamic = tf.shape(frames)
        target[2:4] = dynamic[1], dynamic[2]
    windows = tf.reshape(frames, target)
    windows.set_shape([batch, num_frames, height, width, channels])
    return windows


@contextlib.contextmanager
def no_deprecations() -> typing.Iterator[None]:
    """Suppresses TensorFlow's warnings about deprecated calls; graph mode has no replacement for them."""
    verbosity = tf.logging.get_verbosity()
    tf.logging.set_verbosity(tf.logging.ERROR)
    try:
        yield
    finally:
        tf.logging.set_verbosity(verbosity)

"""The network of a checkpoint as functions on NumPy arrays, for restoring.

On a CPU the network runs frame by frame: the same values in a half to a third of the memory. Accelerators run a whole
window at once.
"""
import abc
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config.model import ModelConfig
from edvr.config.runtime import RuntimeConfig
from edvr.devices import device_of
from edvr.network import networks
from edvr.network.engine import FeatureEngine
from edvr.ops import native_library
from edvr.restore.frame_by_frame import FrameByFrame
from edvr.restore.whole_window import WholeWindow


class NetworkEngine(FeatureEngine):
    """A graph of the network in its own session; subclasses load the weights. The output is not clipped."""

    def __init__(self, config: ModelConfig, kernels: str = 'auto', device: str = 'cpu', intra_op_threads: int = 0,
                 compute: str = 'fast', **npu: typing.Any) -> None:
        """Builds the graph and loads the weights.

        Args:
          config: of the network.
          kernels: 'auto', or one of the kernels of the device.
          device: 'cpu', 'gpu' or 'npu'.
          intra_op_threads: 0 for one per core.
          compute: how the compiled operators compute convolutions: 'exact', 'fast' or 'bf16'.
          npu: npu_dcn and soc_version of RuntimeConfig.
        Raises:
          UserError: 'bf16' without compiled operators or on a processor without it.
        """
        self.config = config
        self._device = device_of(RuntimeConfig(device=device, kernels=kernels, intra_op_threads=intra_op_threads,
                                               **npu))
        if compute == 'bf16':
            native_library.check_bfloat16(self._device.kernels)
        self._ops = self._device.ops(compute)
        self._graph = tf.Graph()
        self._networks: typing.Dict[typing.Any, typing.Union[FrameByFrame, WholeWindow]] = {}
        self._session = tf.Session(graph=self._graph, config=self._device.restoring_config())
        multiple = self.config.size_multiple
        with self._graph.as_default():
            # makes the variables; where sizes are fixed, it is not run
            self._network(np.empty([multiple, multiple, 3], np.uint8))
            self._load(tf.global_variables())

    @abc.abstractmethod
    def _load(self, variables: typing.Sequence[tf.Variable]) -> None:
        """Gives the variables their values, in `self._session`."""

    def close(self) -> None:
        self._session.close()

    def _run(self, *arguments: typing.Any) -> typing.Any:
        """Runs the session. Raises UserError for a failure that the device explains."""
        try:
            return self._session.run(*arguments)
        except tf.errors.OpError as error:
            meaning = self._device.explain(error)
            if not meaning:
                raise
            raise UserError(meaning) from error

    def features(self, frame: np.ndarray) -> typing.Tuple[np.ndarray, ...]:
        return self._network(frame).features(self._run, _as_input(frame))

    def restore(self, features: typing.Sequence[typing.Sequence[np.ndarray]], centre: np.ndarray) -> np.ndarray:
        return self._network(centre).restore(self._run, features, _as_input(centre))

    def run(self, windows: np.ndarray) -> np.ndarray:
        restored = [self._network(window[0]).restore_window(self._run, _as_input(window))
                    for window in windows]
        return restored[0][None] if len(restored) == 1 else np.stack(restored)   # one may be large: no copy

    def _network(self, frame: np.ndarray) -> typing.Union[FrameByFrame, WholeWindow]:
        """Returns the network for frames of this size and dtype, added to the graph at its first use."""
        size = frame.shape[:2] if self._device.STATIC_SHAPES else ()   # its runtime compiles a graph for one size
        key = size, frame.dtype
        if key not in self._networks:
            way = FrameByFrame if self._device.ON_HOST else WholeWindow
            with self._graph.as_default():
                self._networks[key] = way(networks.build(self.config), self._ops,
                                          tf.uint8 if frame.dtype == np.uint8 else tf.float32, *size)
        return self._networks[key]


class CheckpointEngine(NetworkEngine):
    """The network of a checkpoint."""

    READS_UINT16 = True

    def __init__(self, path: str, kernels: str = 'auto', device: str = 'cpu', use_ema: bool = True,
                 intra_op_threads: int = 0, compute: str = 'fast', **npu: typing.Any) -> None:
        """Loads the weights.

        Args:
          path: training directory or checkpoint prefix.
          use_ema: whether averaged weights are taken where the checkpoint has them.
          kernels, device, intra_op_threads, compute, npu: arguments of `NetworkEngine`.
        Raises:
          UserError: no complete checkpoint there, one of another architecture, or weights that are not finite.
        """
        self.path, self._use_ema = checkpoints.chosen(path), use_ema
        self.step = checkpoints.step_of(self.path)
        super().__init__(checkpoints.load_model_config(path), kernels, device, intra_op_threads, compute, **npu)

    def _load(self, variables: typing.Sequence[tf.Variable]) -> None:
        names = checkpoints.restore_map(self.path, variables, self._use_ema)
        with checkpoints.reading(self.path):
            tf.train.Saver(names).restore(self._session, self.path)
        for variable, value in zip(variables, self._session.run(variables)):
            if not np.all(np.isfinite(value)):
                raise UserError('%s: %s contains NaN or Inf; '
                                'take an earlier one' % (self.path, variable.op.name))


def _as_input(frames: np.ndarray) -> np.ndarray:
    """Returns the input of the network: uint8 unchanged, uint16 as float32 in [0, 1]."""
    return frames if frames.dtype == np.uint8 else frames.astype(np.float32) / np.float32(65535)

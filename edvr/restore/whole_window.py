"""Restores all frames of a window at once: the fastest way on accelerators."""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from edvr.network.base import Network
from edvr.ops.base import Ops
from edvr.restore.frame_by_frame import Run


class WholeWindow:
    """The network in the default graph, for kept features and for whole windows; methods as `FrameByFrame`."""

    def __init__(self, network: Network, ops: Ops, dtype: tf.DType, height: typing.Optional[int] = None,
                 width: typing.Optional[int] = None) -> None:
        """Builds the graph.

        Args:
          network, ops, dtype: as in `FrameByFrame`.
          height, width: of the frames, where the device compiles a graph for one size; else None.
        """
        count = network.config.num_frames
        self._frame, self._centre = (tf.placeholder(dtype, [1, height, width, 3]) for _ in range(2))
        self._levels = network.extract_features(ops, self._frame)
        # fed one by one: what was fetched goes back without a copy on the host
        self._features = [tuple(tf.placeholder(level.dtype, level.shape) for level in self._levels)
                          for _ in range(count)]
        windows = tuple(tf.stack(level, axis=1) for level in zip(*self._features))
        self._restored = network.restore_features(ops, windows, self._centre).sr
        self._window = tf.placeholder(dtype, [1, count, height, width, 3])
        self._sr = network.restore(ops, self._window).sr

    def features(self, run: Run, frame: np.ndarray) -> typing.Tuple[np.ndarray, ...]:
        """Returns the features of a frame [H, W, 3], as `FrameByFrame` does."""
        return run(self._levels, {self._frame: frame[None]})

    def restore(self, run: Run, features: typing.Sequence[typing.Sequence[np.ndarray]], centre: np.ndarray
                ) -> np.ndarray:
        """Restores the frame in the middle of a window, as `FrameByFrame` does."""
        feed = {self._centre: centre[None]}
        for placeholders, values in zip(self._features, features):
            feed.update(zip(placeholders, values))
        return run(self._restored, feed)[0]

    def restore_window(self, run: Run, window: np.ndarray) -> np.ndarray:
        """Restores from the frames of a window, as `FrameByFrame` does."""
        return run(self._sr, {self._window: window[None]})[0]

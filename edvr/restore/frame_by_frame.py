"""Restores a window frame by frame, and its last layers in strips: the values of the whole window in less memory."""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from edvr.network.base import Network
from edvr.ops.base import Ops
from edvr.restore import strips

Run = typing.Callable[[typing.Any, typing.Dict[tf.Tensor, np.ndarray]], typing.Any]   # such as tf.Session.run


class _Stage(typing.NamedTuple):
    """A stage of one frame: its inputs, the terms of the centre frame, its results."""
    inputs: typing.Tuple[tf.Tensor, ...]
    terms: typing.List[tf.Tensor]
    results: typing.Tuple[tf.Tensor, ...]


class FrameByFrame:
    """The network in parts that run one after the other, in the default graph.

    The values of a part are NumPy arrays between the parts. TensorFlow fetches and feeds them without a copy.

    The argument `run` of the methods is function(tensors, {tensor: value}) -> values, such as tf.Session.run.
    """

    def __init__(self, network: Network, ops: Ops, dtype: tf.DType) -> None:
        """Builds the graph.

        Args:
          network: the network.
          ops: the operations to use.
          dtype: tf.uint8 or tf.float32, of the frames.
        """
        self._count, self._halo_rows = network.config.num_frames, network.HALO_ROWS
        self._frame, self._centre = (tf.placeholder(dtype, [1, None, None, 3]) for _ in range(2))
        self._features = values = network.extract_features(ops, self._frame)
        self._stages = []
        for stage in network.frame_stages():
            terms = stage.reference_terms(ops, values)
            results = stage.apply(ops, values, terms)
            self._stages.append(_Stage(values, list(terms.values()), results))
            values = results
        self._frames = [tuple(tf.placeholder(tf.float32, value.shape) for value in values)
                        for _ in range(self._count)]
        self._trunk = network.trunk(ops, self._frames)
        self._restored = network.upsample_to_output(ops, self._trunk, self._centre)

    def features(self, run: Run, frame: np.ndarray) -> typing.Tuple[np.ndarray, ...]:
        """Returns the features of a frame [H, W, 3], float32 arrays: the result of `Network.extract_features`."""
        return run(self._features, {self._frame: frame[None]})

    def restore(self, run: Run, features: typing.Sequence[typing.Sequence[np.ndarray]], centre: np.ndarray
                ) -> np.ndarray:
        """Restores the frame in the middle of a window.

        Args:
          run: runs tensors of the graph with a feed.
          features: T results of `features`, in the order of the window.
          centre: [H, W, 3], the frame to restore.
        Returns:
          float32 [s*H, s*W, 3], not clipped.
        """
        return self._restore(run, features.__getitem__, centre)

    def restore_window(self, run: Run, window: np.ndarray) -> np.ndarray:
        """Restores as `restore` does, from the frames of a window, [T, H, W, 3]."""
        return self._restore(run, lambda t: self.features(run, window[t]), window[self._count // 2])

    def _restore(self, run: Run, features_of: typing.Callable[[int], typing.Sequence[np.ndarray]], centre: np.ndarray
                 ) -> np.ndarray:
        def upsample_to_output(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return run(self._restored, {self._trunk: x, self._centre: rows})
        return strips.compute(upsample_to_output, self._run_trunk(run, features_of), centre[None], self._halo_rows)

    def _run_trunk(self, run: Run, features_of: typing.Callable[[int], typing.Sequence[np.ndarray]]) -> np.ndarray:
        feed: typing.Dict[tf.Tensor, np.ndarray] = {}
        terms: typing.Dict[tf.Tensor, np.ndarray] = {}
        middle = self._count // 2
        for t in sorted(range(self._count), key=lambda t: t != middle):   # the others need terms of the centre frame
            values = features_of(t)
            for stage in self._stages:
                given = dict(zip(stage.inputs, values))
                if t == middle:
                    terms.update(zip(stage.terms, run(stage.terms, given)))
                values = run(stage.results, {**given, **{term: terms[term] for term in stage.terms}})
            feed.update(zip(self._frames[t], values))
        return run(self._trunk, feed)

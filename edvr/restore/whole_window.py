"""Restores all frames of a window at once: the fastest way on accelerators."""
import tensorflow.compat.v1 as tf

from edvr.network import edvr as network


class WholeWindow:
    """The network in the default graph, for kept features and for whole windows; methods as `FrameByFrame`."""

    def __init__(self, dtype, config, dcn_impl, height=None, width=None):
        """Builds the graph.

        Args:
          dtype, config, dcn_impl: as in `FrameByFrame`.
          height, width: int, of the frames, where the device compiles a graph for one size; else None.
        """
        self._frame, self._centre = (tf.placeholder(dtype, [1, height, width, 3]) for _ in range(2))
        self._pyramid = tuple(network.extract_features(self._frame, config, dcn_impl))
        # fed one by one: what was fetched goes back without a copy on the host
        self._features = [tuple(tf.placeholder(level.dtype, level.shape) for level in self._pyramid)
                          for _ in range(config.num_frames)]
        stacks = tuple(tf.stack(level, axis=1) for level in zip(*self._features))
        self._restored = network.restore_features(stacks, self._centre, config, dcn_impl).sr
        self._window = tf.placeholder(dtype, [1, config.num_frames, height, width, 3])
        self._sr = network.edvr(self._window, config, dcn_impl).sr

    def features(self, run, frame):
        return run(self._pyramid, {self._frame: frame[None]})

    def restore(self, run, features, centre):
        feed = {self._centre: centre[None]}
        for placeholders, pyramid in zip(self._features, features):
            feed.update(zip(placeholders, pyramid))
        return run(self._restored, feed)[0]

    def restore_window(self, run, window):
        return run(self._sr, {self._window: window[None]})[0]

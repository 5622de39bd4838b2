"""Restores a window frame by frame, and its last layers in strips: the values of the whole window in less memory."""
import tensorflow.compat.v1 as tf

from edvr.network import edvr as network
from edvr.restore import strips


class FrameByFrame:
    """The network in parts that run one after the other, in the default graph.

    The values of a part are NumPy arrays between the parts. TensorFlow fetches and feeds them without a copy.

    The argument `run` of the methods is function(tensors, {tensor: value}) -> values, such as tf.Session.run.
    """

    def __init__(self, dtype, config, dcn_impl):
        """Builds the graph.

        Args:
          dtype: tf.uint8 or tf.float32, of the frames.
          config: ModelConfig.
          dcn_impl: see `edvr.ops.deform_conv`.
        """
        self._count = config.num_frames
        self._frame, self._centre = (tf.placeholder(dtype, [1, None, None, 3]) for _ in range(2))
        self._stages = network.frame_stages(self._frame, config, dcn_impl)
        shape = self._stages.weighted.shape
        self._weighted = [tf.placeholder(tf.float32, shape) for _ in range(self._count)]
        self._refined = network.refine(self._weighted, config, dcn_impl)
        self._restored = network.enlarge(self._refined, self._centre, config, dcn_impl)

    def features(self, run, frame):
        """The pyramid of a frame [H, W, 3]: three float32 arrays, see `network.extract_features`."""
        return run(self._stages.pyramid, {self._frame: frame[None]})

    def restore(self, run, features, centre):
        """Restores the frame in the middle of a window.

        Args:
          features: T results of `features`, in the order of the window.
          centre: [H, W, 3], the frame to restore.
        Returns:
          float32 [s*H, s*W, 3], not clipped.
        """
        return self._restore(run, features.__getitem__, centre)

    def restore_window(self, run, window):
        """As `restore`, from the frames of a window, [T, H, W, 3]."""
        return self._restore(run, lambda t: self.features(run, window[t]), window[self._count // 2])

    def _restore(self, run, pyramid_of, centre):
        def enlarge(refined, rows):
            return run(self._restored, {self._refined: refined, self._centre: rows})
        return strips.compute(enlarge, self._refine(run, pyramid_of), centre[None])

    def _refine(self, run, pyramid_of):
        stages, middle = self._stages, self._count // 2
        pyramid = pyramid_of(middle)
        halves = list(stages.halves.values())
        shared = dict(zip(halves, run(halves, dict(zip(stages.pyramid, pyramid)))))
        weighted, reference = {}, None
        for t in sorted(range(self._count), key=lambda t: t != middle):   # the others need values of the centre frame
            pyramid = pyramid if t == middle else pyramid_of(t)
            weighted[t] = run(stages.aligned, {**shared, **dict(zip(stages.pyramid, pyramid))})
            if stages.reference is not None:
                aligned = {stages.aligned: weighted[t]}
                reference = run(stages.reference, aligned) if t == middle else reference
                weighted[t] = run(stages.weighted, {**aligned, stages.reference: reference})
        return run(self._refined, {place: weighted[t] for t, place in enumerate(self._weighted)})

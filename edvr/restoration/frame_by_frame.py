"""Restores a window frame by frame, and its last layers in strips: the values of the whole window in less memory."""
import tensorflow.compat.v1 as tf

from edvr.model import network
from edvr.restoration import strips


class FrameByFrame:
    """The network in parts that run one after the other, in the default graph.

    The values of a part are NumPy arrays between the parts. TensorFlow fetches and feeds them without a copy.

    Attributes:
      frame, pyramid: placeholder [1, H, W, 3] of a frame, and the tensors of its features.
    """

    def __init__(self, dtype, config, dcn_impl):
        """Builds the graph.

        Args:
          dtype: tf.uint8 or tf.float32, of the frames.
          config: ModelConfig.
          dcn_impl: see `edvr.model.deform_conv`.
        """
        self._count = config.num_frames
        self.frame, self._centre = (tf.placeholder(dtype, [1, None, None, 3]) for _ in range(2))
        self._stages = network.frame_stages(self.frame, config, dcn_impl)
        self.pyramid = self._stages.pyramid
        shape = self._stages.weighted.shape
        self._weighted = [tf.placeholder(tf.float32, shape) for _ in range(self._count)]
        self._refined = network.refine(self._weighted, config, dcn_impl)
        self._restored = network.enlarge(self._refined, self._centre, config, dcn_impl)

    def restore(self, run, pyramid_of, centre):
        """Restores the frame in the middle of a window.

        Args:
          run: function(tensors, {tensor: value}) -> values, such as tf.Session.run.
          pyramid_of: function(t) -> values of `pyramid` for the frame at place t of the window.
          centre: [1, H, W, 3], the frame to restore.
        Returns:
          float32 [s*H, s*W, 3], not clipped.
        """
        def enlarge(refined, rows):
            return run(self._restored, {self._refined: refined, self._centre: rows})
        return strips.compute(enlarge, self._refine(run, pyramid_of), centre)

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

"""Runs an export in two parts."""
import numpy as np
import tensorflow.compat.v1 as tf

from edvr.config import RuntimeConfig
from edvr.devices import DEVICES, device_of
from edvr.exporting import loading, parts
from edvr.exporting.signature import INPUT, OUTPUT


class FrozenParts(loading.GraphSession):
    """Two graphs in one session: the features of a frame are computed once, for all windows that need them.

    Attributes:
      config: ModelConfig.
      interface: InterfaceConfig: fixed sizes, types.
      content: dict, the whole description beside the graphs.
    """

    def __init__(self, path, session_config=None, device='cpu'):
        """Loads both graphs.

        Args:
          path: str, one of the three files, see `parts.paths`.
          session_config: tf.ConfigProto; None for one that uses all cores.
          device: 'cpu', 'gpu' or 'npu', the device of the session.
        Raises:
          UserError: see `parts.read`; this TensorFlow does not know an operation.
        """
        self.path = path = str(path)
        graphs, self.config, self.interface, self.content = parts.read(parts.stem_of(path))
        if 'npu' not in DEVICES[device].KERNELS:
            loading.refuse_ascend(path, graphs['restore'])
        graph = tf.Graph()
        self._session = tf.Session(graph=graph, config=session_config or device_of(RuntimeConfig()).session_config())
        with graph.as_default():
            for part, graph_def in graphs.items():
                loading.import_graph(path, graph_def, part)
        self._frame = graph.get_tensor_by_name('features/%s:0' % INPUT)
        self._levels = tuple(graph.get_tensor_by_name('features/%s:0' % name) for name in parts.LEVELS)
        self._restored = graph.get_tensor_by_name('restore/%s:0' % OUTPUT)

    def features(self, frame):
        """Computes the three levels of a frame, for `restore`.

        Args:
          frame: uint8 [H, W, 3], RGB.
        Returns:
          tuple of three float32 arrays [1, h, w, C].
        Raises:
          UserError: the graphs were exported for another size.
        """
        loading.check_size(self.path, self.config, self.interface, *frame.shape[:2])
        return self._session.run(self._levels, {self._frame: loading.as_input(frame[None], self.interface)})

    def restore(self, features, centre):
        """Restores the frame in the middle of a window.

        Args:
          features: T results of `features`, in the order of the window.
          centre: uint8 [H, W, 3], the frame to restore.
        Returns:
          float32 [sH, sW, 3]: not clipped from float graphs, multiples of 1/255 from uint8 graphs.
        """
        values = parts.feed(features, centre, self.interface)
        return loading.as_float(self._session.run(self._restored, {
            'restore/%s:0' % name: value for name, value in values.items()})[0])

    def run(self, windows):
        """Restores whole windows, without keeping features between them.

        Args:
          windows: uint8 [N, T, H, W, 3].
        Returns:
          float32 [N, sH, sW, 3].
        """
        return np.stack([self.restore([self.features(frame) for frame in window], window[len(window) // 2])
                         for window in windows])

"""Runs an exported graph: windows of uint8 frames in, float frames out, for every type of graph input and output."""
import contextlib
import os

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError

from data_tools.base.errors import UserError
from edvr.config import RuntimeConfig
from edvr.config.export import OPEN
from edvr.devices import DEVICES, device_of
from edvr.exporting import signature
from edvr.exporting.signature import INPUT, OUTPUT
from edvr.ops.ascend_nodes import OPERATOR


class NotRunnableError(UserError):
    """The graph is valid, but only an Ascend device runs its operators."""


class GraphSession:
    """Base of the classes that run exported graphs in `self._session`: a `with` block closes the session."""

    def close(self):
        self._session.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class FrozenGraph(GraphSession):
    """An exported graph in its session.

    Attributes:
      config: ModelConfig (num_frames, scale, size_multiple, ...).
      interface: InterfaceConfig: fixed sizes, types.
      content: dict, the whole description beside the graph.
    """

    def __init__(self, path, session_config=None, device='cpu'):
        """Loads a `.pb` or the folder of a SavedModel, and the description written with it.

        Args:
          path: str.
          session_config: tf.ConfigProto; None for one that uses all cores.
          device: 'cpu', 'gpu' or 'npu', the device of the session.
        Raises:
          UserError: the path is not such a graph; nodes, description or checksum are missing or wrong; this TensorFlow
            does not know an operation.
        """
        self.path = path = str(path)
        saved_model = os.path.isdir(path)
        data = read_bytes(os.path.join(path, 'saved_model.pb') if saved_model else path)
        if not saved_model:
            graph_def = parse_graph(path, data)
            if 'npu' not in DEVICES[device].KERNELS:
                refuse_ascend(path, graph_def)
        self.config, self.interface, self.content = signature.read(path, data)
        graph = tf.Graph()
        self._session = tf.Session(graph=graph, config=session_config or device_of(RuntimeConfig()).session_config())
        with graph.as_default():
            if saved_model:
                with no_deprecations():
                    tf.saved_model.loader.load(self._session, [tf.saved_model.tag_constants.SERVING], path)
            else:
                import_graph(path, graph_def)
        self._input, self._output = (_tensor(graph, path, name) for name in (INPUT, OUTPUT))

    def run(self, windows):
        """Restores windows; a graph with a fixed batch size runs several times.

        Args:
          windows: uint8 [N, T, H, W, 3], RGB.
        Returns:
          float32 [N, sH, sW, 3]: not clipped from a float graph, multiples of 1/255 from a uint8 graph.
        Raises:
          UserError: the graph was exported for another size.
        """
        windows = np.asarray(windows)
        if windows.dtype != np.uint8 or windows.ndim != 5 or windows.shape[4] != 3:
            raise ValueError('windows are %s %s; they must be uint8 [N, T, H, W, 3]' % (windows.dtype, windows.shape))
        if windows.shape[1] != self.config.num_frames:
            raise UserError('a window of %d frames, but %s takes %d'
                            % (windows.shape[1], self.path, self.config.num_frames))
        check_size(self.path, self.config, self.interface, *windows.shape[2:4])
        fixed = self.interface.batch_size
        if fixed == OPEN or not len(windows):
            return self._run(windows)
        parts = [windows[start:start + fixed] for start in range(0, len(windows), fixed)]
        return np.concatenate([self._run(filled(part, fixed))[:len(part)] for part in parts])

    def _run(self, windows):
        return as_float(self._session.run(self._output, {self._input: as_input(windows, self.interface)}))


def check_size(path, model, interface, height, width):
    """Raises UserError if a graph was exported for another size of frames.

    Args:
      path: of the graph. model: ModelConfig. interface: InterfaceConfig. height, width: ints, pixels.
    """
    fixed = (interface.height, interface.width)
    if any(want not in (OPEN, size) for want, size in zip(fixed, (height, width))):
        raise UserError('frames of %dx%d (height x width), but %s was exported for %s: export with --height and '
                        '--width of the frames, or with -1 for any size'
                        % (height, width, path, 'x'.join('any' if size == OPEN else str(size) for size in fixed)))
    if height % model.size_multiple or width % model.size_multiple:
        raise UserError('frames of %dx%d (height x width), but %s takes multiples of %d'
                        % (height, width, path, model.size_multiple))


def filled(windows, count):
    """Repeats the last window until there are `count` windows; does nothing if count is OPEN."""
    missing = max(0, count - len(windows))
    return np.concatenate([windows] + [windows[-1:]] * missing) if missing else windows


def as_input(windows, interface):
    """Converts uint8 [N, T, H, W, 3] to the type and rank of the graph's input; interface: InterfaceConfig."""
    if interface.input_dtype == 'float32':
        windows = windows.astype(np.float32) / np.float32(255)
    return windows.reshape((-1,) + windows.shape[2:]) if interface.input_rank == 4 else windows


def as_float(sr):
    """Converts the output of a graph, uint8 in 0..255 or float32 in 0..1, to float32 in 0..1."""
    return sr.astype(np.float32) / np.float32(255) if sr.dtype == np.uint8 else sr


@contextlib.contextmanager
def no_deprecations():
    """Suppresses TensorFlow's warnings about deprecated calls; graph mode has no replacement for them."""
    verbosity = tf.logging.get_verbosity()
    tf.logging.set_verbosity(tf.logging.ERROR)
    try:
        yield
    finally:
        tf.logging.set_verbosity(verbosity)


def is_exported(path):
    """Whether a path names an exported graph, which need not exist.

    An exported graph is a `.pb` file, the description of an export in parts, or the folder of a SavedModel.
    """
    path = str(path)
    return path.endswith(('.pb', '_parts.json')) or os.path.isfile(os.path.join(path, 'saved_model.pb'))


def parse_graph(path, data, ends=(INPUT, OUTPUT)):
    """GraphDef from a frozen graph's bytes.

    Raises:
      UserError: the bytes are not a GraphDef, or the input or output node of this project is missing.
    """
    graph_def = tf.GraphDef()
    try:
        graph_def.ParseFromString(data)
    except DecodeError:
        raise UserError('%s is not a frozen graph (a binary GraphDef): give the .pb that edvr.export wrote'
                        % path) from None
    missing = sorted(set(ends) - {node.name for node in graph_def.node})
    if missing:
        raise UserError('%s has no node %s: it is not a graph that edvr.export wrote'
                        % (path, ' and no node '.join(missing)))
    return graph_def


def read_bytes(path):
    """The bytes of a file. Raises UserError if it cannot be read."""
    try:
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise UserError('%s cannot be read: %s' % (path, error.strerror)) from None


def refuse_ascend(path, graph_def):
    """Raises NotRunnableError for a graph for Ascend: the adapter registers the operator with an empty CPU kernel."""
    if any(node.op == OPERATOR for node in graph_def.node):
        raise NotRunnableError('%s was exported for Ascend (--kernels=npu) and runs only there, converted by atc: '
                               'export with --kernels=tf to run it with TensorFlow %s' % (path, tf.__version__))


def import_graph(path, graph_def, name=''):
    """Adds a GraphDef to the default graph, below a name. Raises UserError if TensorFlow does not know an operation."""
    try:
        tf.import_graph_def(graph_def, name=name)
    except (ValueError, tf.errors.NotFoundError) as error:
        raise UserError('TensorFlow %s cannot load %s: %s' % (tf.__version__, path, error)) from None


def _tensor(graph, path, name):
    try:
        return graph.get_tensor_by_name(name + ':0')
    except KeyError:
        raise UserError('%s has no node %s: it is not a graph that edvr.export wrote' % (path, name)) from None

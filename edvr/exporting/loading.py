"""Runs exported graphs: windows of uint8 frames in, float frames out, for every type of graph input and output."""
import abc
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.config import RuntimeConfig
from edvr.config.export import OPEN, InterfaceConfig
from edvr.devices import DEVICES, device_of
from edvr.exporting import description
from edvr.exporting.graphs import INPUT, PARTS, Graph, in_window, levels
from edvr.network.engine import Engine, FeatureEngine
from edvr.ops.ascend_nodes import OPERATOR

Feed = typing.Dict[str, np.ndarray]   # names of inputs -> values


class NotRunnableError(UserError):
    """The graph is valid, but only an Ascend device runs its operators."""


def load(path: str, session_config: typing.Optional[tf.ConfigProto] = None,
         device: str = 'cpu', trust_graph: bool = False) -> typing.Union['FrozenGraph', 'FrozenParts']:
    """Loads an export; arguments and errors are those of `GraphSession`."""
    arguments = path, session_config, device, trust_graph
    return FrozenParts(*arguments) if description.find(str(path)).kinds == PARTS else FrozenGraph(*arguments)


class WindowRunner(Engine):
    """Base of what restores windows with exported graphs: cuts them to the batch size and converts values."""

    interface: InterfaceConfig

    def feeds(self, windows: np.ndarray) -> typing.Iterator[Feed]:
        """Yields the input of each run for uint8 [N, T, H, W, 3]; a fixed batch is filled with its last window."""
        fixed = self.interface.batch_size
        step = len(windows) if fixed == OPEN else fixed
        for start in range(0, len(windows), step):
            batch = windows[start:start + step]
            batch = np.concatenate([batch] + [batch[-1:]] * (step - len(batch)))
            given = _as_input(batch, self.interface)
            yield {INPUT: given.reshape((-1,) + given.shape[2:]) if self.interface.input_rank == 4 else given}

    def run(self, windows: np.ndarray) -> np.ndarray:
        """Restores windows; a graph with a fixed batch size runs several times.

        Args:
          windows: uint8 [N, T, H, W, 3], RGB; N >= 1.
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
        self._check_size(*windows.shape[2:4])
        return np.concatenate([self._restored(feed) for feed in self.feeds(windows)])[:len(windows)]

    def _restored(self, feed: Feed) -> np.ndarray:
        """Returns the restored frames as float32 in 0..1."""
        sr = self._run(feed)
        return sr.astype(np.float32) / np.float32(255) if sr.dtype == np.uint8 else sr

    @abc.abstractmethod
    def _run(self, feed: Feed) -> np.ndarray:
        """Returns the restored frames of one run in the type of the graph."""

    def _check_size(self, height: int, width: int) -> None:
        """Raises UserError if the graph was exported for another size of frames."""
        fixed = (self.interface.height, self.interface.width)
        if any(want not in (OPEN, size) for want, size in zip(fixed, (height, width))):
            raise UserError('frames of %dx%d (height x width), but %s was exported for %s: export with --height and '
                            '--width of the frames, or with -1 for any size' % (
                                height, width, self.path, 'x'.join('any' if size == OPEN else str(size)
                                                                   for size in fixed)))
        multiple = self.config.size_multiple
        if height % multiple or width % multiple:
            raise UserError('frames of %dx%d (height x width), but %s takes multiples of %d'
                            % (height, width, self.path, multiple))


class GraphSession(WindowRunner):
    """An export in its session; a `with` block closes the session.

    Attributes:
      content: the whole description of the export.
    """

    def __init__(self, path: str, session_config: typing.Optional[tf.ConfigProto] = None, device: str = 'cpu',
                 trust_graph: bool = False) -> None:
        """Loads the graphs.

        Args:
          path: of the export: a file of it, or its folder.
          session_config: None for one that uses all cores.
          device: 'cpu', 'gpu' or 'npu', the device of the session.
          trust_graph: whether graphs may have operations that exports do not contain.
        Raises:
          UserError: the errors of `description.read`; this TensorFlow does not know an operation.
          NotRunnableError: the graph is for Ascend and the device is another.
        """
        self.path = str(path)
        graphs, self.config, self.interface, self.content = description.read(self.path, trust_graph)
        if 'npu' not in DEVICES[device].KERNELS:
            for graph_def in graphs.values():
                self._refuse_ascend(graph_def)
        self._graphs = list(graphs)
        graph = tf.Graph()
        self._session = tf.Session(graph=graph, config=session_config or device_of(RuntimeConfig()).session_config())
        try:
            with graph.as_default():
                for part, graph_def in graphs.items():
                    tf.import_graph_def(graph_def, name=part.NAME)
        except (ValueError, tf.errors.NotFoundError) as error:
            raise UserError('TensorFlow %s cannot load %s: %s' % (tf.__version__, self.path, error)) from None

    def _refuse_ascend(self, graph_def: tf.GraphDef) -> None:
        """Raises NotRunnableError: the adapter registers the operator with an empty CPU kernel, which is no error."""
        if any(node.op == OPERATOR for node in graph_def.node):
            raise NotRunnableError('%s was exported for Ascend (--kernels=npu) and runs only there, converted by atc: '
                                   'export with --kernels=tf to run it with TensorFlow %s'
                                   % (self.path, tf.__version__))

    def _compute(self, graph: Graph, feed: Feed) -> typing.List[np.ndarray]:
        """Returns the outputs of one of the graphs, a list of arrays."""
        return self._session.run(['%s/%s:0' % (graph.NAME, end.name) for end in graph.outputs],
                                 {'%s/%s:0' % (graph.NAME, name): value for name, value in feed.items()})

    def _run(self, feed: Feed) -> np.ndarray:
        return self._compute(self._graphs[-1], feed)[0]

    def close(self) -> None:
        """Frees the session."""
        self._session.close()

    def __enter__(self) -> 'GraphSession':
        return self

    def __exit__(self, *unused: typing.Any) -> None:
        self.close()


class FrozenGraph(GraphSession):
    """A whole graph in its session."""


class FrozenParts(GraphSession, FeatureEngine):
    """Two graphs in one session: the features of a frame are computed once, for all windows that need them."""

    def features(self, frame: np.ndarray) -> typing.Tuple[np.ndarray, ...]:
        """Computes the features of a frame, for `restore`.

        Args:
          frame: uint8 [H, W, 3], RGB.
        Returns:
          float32 arrays [1, h, w, C].
        Raises:
          UserError: the graphs were exported for another size.
        """
        self._check_size(*frame.shape[:2])
        return tuple(self._compute(self._graphs[0], {INPUT: _as_input(frame[None], self.interface)}))

    def restore(self, features: typing.Sequence[typing.Sequence[np.ndarray]], centre: np.ndarray) -> np.ndarray:
        """Restores the frame in the middle of a window.

        Args:
          features: T results of `features`, in the order of the window.
          centre: uint8 [H, W, 3], the frame to restore.
        Returns:
          float32 [sH, sW, 3]: not clipped from float graphs, multiples of 1/255 from uint8 graphs.
        """
        return self._restored(self._feed(features, centre))[0]

    def _feed(self, features: typing.Sequence, centre: np.ndarray) -> Feed:
        names = levels(self.config)
        values = {in_window(level, index): value for index, of_frame in enumerate(features)
                  for level, value in zip(names, of_frame)}
        return dict(values, **{INPUT: _as_input(centre[None], self.interface)})

    def feeds(self, windows: np.ndarray) -> typing.Iterator[Feed]:
        """Yields the input of the second graph for each window of uint8 [N, T, H, W, 3]."""
        for window in windows:
            yield self._feed([self.features(frame) for frame in window], window[len(window) // 2])


def _as_input(frames: np.ndarray, interface: InterfaceConfig) -> np.ndarray:
    """Converts uint8 to the type of the graph's input."""
    return frames.astype(np.float32) / np.float32(255) if interface.input_dtype == 'float32' else frames

"""Runs exported graphs on a CPU with the compiled operators and kept features, if the network is the same."""
import sys
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.config import ModelConfig, RuntimeConfig
from edvr.config.export import InterfaceConfig
from edvr.devices import device_of
from edvr.exporting import description, loading
from edvr.exporting.graphs import Graph
from edvr.ops.stock import StockOps
from edvr.restore.engine import NetworkEngine

_VARIABLES = ('VariableV2', 'VarHandleOp')
_READS = ('Identity', 'ReadVariableOp')


def load_graph(path: str, kernels: str = 'auto', device: str = 'cpu', intra_op_threads: int = 0, compute: str = 'fast',
               trust_graph: bool = False) -> typing.Union['CompiledGraph', loading.GraphSession]:
    """Loads an exported graph for restoring.

    Args:
      path: a `.pb`, the folder of a SavedModel, or one of the files of an export in parts.
      kernels: 'tf' runs the graph unchanged. 'auto' and 'native' use its weights with the compiled operators, if this
        program builds the same network node by node.
      device: 'cpu', 'gpu' or 'npu'; operators are replaced only on a CPU. intra_op_threads: 0 for one per core.
      compute: how the compiled operators compute convolutions.
      trust_graph: whether graphs may have operations that exports do not contain.
    Returns:
      CompiledGraph, or FrozenGraph or FrozenParts for graphs that run unchanged.
    Raises:
      UserError: the errors of `description.read` and `GraphSession`; or 'bf16' for a graph that runs unchanged.
    """
    path = str(path)
    runs_on = device_of(RuntimeConfig(device=device, kernels=kernels, intra_op_threads=intra_op_threads))
    if 'native' in runs_on.KERNELS and runs_on.kernels == 'native':   # others would build what no graph uses
        exported = description.read(path, trust_graph)
        weights = same_network(exported.graphs) if exported.content['dcn_impl'] == 'tf' else None
        if weights is not None:
            return CompiledGraph(path, exported.model, exported.interface, weights, intra_op_threads, compute)
        if exported.content['dcn_impl'] == 'tf':
            print('notice: %s was made by another version and runs unchanged (slower); export it again to use the '
                  'compiled operators' % path, file=sys.stderr, flush=True)
    if compute == 'bf16':
        raise UserError('--compute=bf16 needs the compiled operators, and %s runs unchanged; use --compute=float32'
                        % path)
    return loading.load(path, runs_on.session_config(), device, trust_graph)


class CompiledGraph(NetworkEngine):
    """The network of an exported graph with its weights, computed by the compiled operators."""

    interface: InterfaceConfig

    def __init__(self, path: str, config: ModelConfig, interface: InterfaceConfig,
                 weights: typing.Dict[str, np.ndarray], intra_op_threads: int = 0, compute: str = 'fast') -> None:
        """Builds the network.

        Args:
          path: of the export.
          config: of the network.
          interface: of the graph.
          weights: names of variables -> float32 arrays.
          intra_op_threads: threads of an operator; 0 for one per core.
          compute: how the compiled operators compute convolutions.
        """
        self.path, self.interface, self._weights = path, interface, weights
        super().__init__(config, 'native', 'cpu', intra_op_threads, compute)

    def _load(self, variables: typing.Sequence[tf.Variable]) -> None:
        self._session.run([variable.initializer for variable in variables],
                          {variable.initializer.inputs[1]: self._weights[variable.op.name] for variable in variables})
        self._weights.clear()

    def restore(self, features: typing.Sequence[typing.Sequence[np.ndarray]], centre: np.ndarray) -> np.ndarray:
        return self._as_output(super().restore(features, centre))

    def run(self, windows: np.ndarray) -> np.ndarray:
        return self._as_output(super().run(windows))

    def _as_output(self, sr: np.ndarray) -> np.ndarray:
        """Rounds the values as the graph does."""
        if self.interface.output_dtype == 'float32':
            return sr
        return np.round(np.clip(sr, 0, 1) * np.float32(255)) / np.float32(255)


def same_network(graphs: typing.Dict[Graph, tf.GraphDef]) -> typing.Optional[typing.Dict[str, np.ndarray]]:
    """Returns the weights of an export, if this program builds the same graphs.

    Args:
      graphs: those of a `description.Exported`.
    Returns:
      Names of variables -> float32 arrays; None if a node, its operation, its inputs, a constant or another
      attribute differs.
    """
    weights = {}
    for graph, graph_def in graphs.items():
        of_graph = _same_graph(graph, graph_def)
        if of_graph is None:
            return None
        weights.update(of_graph)
    return weights


def _same_graph(graph: Graph, graph_def: tf.GraphDef) -> typing.Optional[typing.Dict[str, np.ndarray]]:
    with tf.Graph().as_default() as own:
        graph.build(StockOps())
        built = {node.name: node for node in
                 tf.train.export_meta_graph(graph=own, strip_default_attrs=True).graph_def.node}
    weights = {}
    for node in graph_def.node:
        other = built.get(node.name)
        if other is None:
            return None
        if node.op == 'Const' and other.op in _VARIABLES:
            weights[node.name] = tf.make_ndarray(node.attr['value'].tensor)
        elif not _same(node, other):
            return None
    wanted = {name for name, node in built.items() if node.op in _VARIABLES}
    return weights if set(weights) == wanted else None


def _same(node: tf.NodeDef, other: tf.NodeDef) -> bool:
    if node.op != other.op and not (node.op in _READS and other.op in _READS):
        return False
    if list(node.input) != list(other.input):
        return False
    return node.op in _READS or all(node.attr[name] == other.attr[name]
                                    for name in node.attr if name in other.attr and not name.startswith('_'))

"""The operations of exported graphs: a graph with any other is refused before TensorFlow imports it."""
import typing

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError

# What the exports of this and of earlier versions contain, on all versions of TensorFlow: arithmetic on tensors, and
# the loop over the windows of a batch. None reads or writes files, opens connections, keeps values after a run, runs
# Python or calls a function of the graph's library.
ALLOWED_OPS = frozenset([
    'AddV2', 'AvgPool', 'BiasAdd', 'Cast', 'ConcatV2', 'Const', 'Conv2D', 'DeformableOffsets', 'DepthToSpace', 'Enter',
    'Exit', 'Floor', 'FloorDiv', 'FloorMod', 'GatherV2', 'GreaterEqual', 'Identity', 'IdentityN', 'LeakyRelu', 'Less',
    'LoopCond', 'MatMul', 'MaxPool', 'Maximum', 'Merge', 'Minimum', 'MirrorPad', 'Mul', 'NextIteration', 'Pack', 'Pad',
    'Placeholder', 'Range', 'RealDiv', 'Relu', 'Reshape', 'Round', 'SelectV2', 'Shape', 'Sigmoid', 'Slice', 'SplitV',
    'StridedSlice', 'Sub', 'Sum', 'Switch', 'TensorArrayConcatV3', 'TensorArrayV3', 'TensorArrayWriteV3', 'Transpose'])


def check(path: str, graph_def: tf.GraphDef) -> None:
    """Checks the operations of a graph and of the functions in its library.

    Args:
      path: of the graph, for the error.
      graph_def: all nodes.
    Raises:
      UserError: an operation is not among ALLOWED_OPS; the text names it and its node.
    """
    foreign: typing.Dict[str, str] = {}   # operation -> where it is
    for node, where in _nodes(graph_def):
        if node.op not in ALLOWED_OPS:
            foreign.setdefault(node.op, 'node %r%s' % (node.name, where))
    if foreign:
        raise UserError('%s contains operations that no export of edvr.export has: %s. Such a graph may read and write '
                        'files when it runs, so it is not loaded: export the checkpoint again, or give --trust_graph '
                        'if you know who made the file and trust them'
                        % (path, ', '.join('%r (%s)' % item for item in sorted(foreign.items()))))


def _nodes(graph_def: tf.GraphDef) -> typing.Iterator[typing.Tuple[typing.Any, str]]:
    for node in graph_def.node:
        yield node, ''
    for function in graph_def.library.function:
        for node in function.node_def:
            yield node, ' of function %r' % function.signature.name

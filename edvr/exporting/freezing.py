"""Converts a checkpoint to a graph with constants, and computes the reference values of the checkpoint."""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ModelConfig, RuntimeConfig
from edvr.config.export import InterfaceConfig
from edvr.devices import device_of
from edvr.exporting.graphs import INPUT, OUTPUT, Graph, WholeGraph, no_deprecations
from edvr.ops.base import Ops
from edvr.ops.stock import StockOps


def freeze(prefix: str, graph: Graph, ops: Ops, use_ema: bool = True) -> typing.Tuple[tf.GraphDef, bool]:
    """Builds a graph with the weights of a checkpoint as constants; the same arguments give the same nodes.

    Args:
      prefix: of the checkpoint.
      graph: what to build.
      ops: the operations of the network.
      use_ema: whether to use the moving averages, if the checkpoint has them.
    Returns:
      (GraphDef, whether moving averages were used).
    Raises:
      UserError: a variable is missing, has another shape or is not finite.
    """
    with tf.Graph().as_default() as built, tf.Session() as session:
        graph.build(ops)
        averaged = _restore(session, prefix, use_ema)
        # without attributes that have their default values: an older TensorFlow does not know all of them
        graph_def = tf.train.export_meta_graph(graph=built, strip_default_attrs=True).graph_def
        with no_deprecations():
            outputs = [end.name for end in graph.outputs]
            graph_def = tf.graph_util.convert_variables_to_constants(session, graph_def, outputs)
    for node in graph_def.node:   # the name of a custom gradient has a random number
        node.attr.pop('_gradient_op_type', None)
    return graph_def, averaged


def _restore(session: tf.Session, prefix: str, use_ema: bool) -> bool:
    names = checkpoints.restore_map(prefix, tf.global_variables(), use_ema)
    with checkpoints.reader_of(prefix) as reader:
        for name in sorted(names):
            if not np.isfinite(reader.get_tensor(name)).all():
                raise UserError('%s: %s contains NaN or infinity; the training diverged: use an earlier checkpoint'
                                % (prefix, name))
        tf.train.Saver(names).restore(session, prefix)
    return any(name.endswith(checkpoints.EMA_SUFFIX) for name in names)


def reference(prefix: str, model: ModelConfig, batches: typing.Iterable[np.ndarray],
              use_ema: bool = True) -> typing.List[np.ndarray]:
    """Runs the checkpoint in a separate graph.

    Args:
      prefix: of the checkpoint.
      use_ema: take the averages of the weights.
      model: of the checkpoint.
      batches: uint8 [N, T, H, W, 3], each of any size.
    Returns:
      list of float32 [N, sH, sW, 3].
    """
    with tf.Graph().as_default(), tf.Session(config=device_of(RuntimeConfig()).session_config()) as session:
        WholeGraph(model, InterfaceConfig()).build(StockOps())
        _restore(session, prefix, use_ema)
        return [session.run(OUTPUT + ':0', {INPUT + ':0': windows}) for windows in batches]

"""Converts a checkpoint to a graph with constants, and computes the reference values of the checkpoint."""
import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import RuntimeConfig
from edvr.config.export import OPEN
from edvr.devices import device_of
from edvr.exporting.loading import no_deprecations
from edvr.exporting.signature import INPUT, OUTPUT
from edvr.network import edvr as network


def build(model, interface, dcn_impl):
    """Adds the network between the two named nodes to the default graph.

    Args:
      model: ModelConfig. interface: InterfaceConfig. dcn_impl: 'tf', or deform_conv.EXPORTED for Ascend.
    """
    lq = placeholder(interface.input_dtype, interface.input_shape(model.num_frames), INPUT)
    sr = network.edvr(lq if interface.input_rank == 5 else _windows(lq, model.num_frames), model, dcn_impl=dcn_impl).sr
    name_output(sr, interface)


def placeholder(dtype, shape, name):
    """A named input; shape: list of int, OPEN for sizes that are not fixed."""
    return tf.placeholder(dtype, [None if size == OPEN else size for size in shape], name=name)


def name_output(sr, interface):
    """Adds the output node: converts float32 [N, sH, sW, 3] to the type of the interface."""
    if interface.output_dtype == 'uint8':
        sr = tf.cast(tf.clip_by_value(tf.round(sr * 255), 0, 255), tf.uint8)
    tf.identity(sr, name=OUTPUT)


def _windows(frames, num_frames):
    """[N*T, H, W, 3] -> [N, T, H, W, 3]; known sizes stay static."""
    count, height, width, channels = frames.shape.as_list()
    batch = None if count is None else count // num_frames
    target = [OPEN if batch is None else batch, num_frames, height, width, channels]
    if None in target:
        dynamic = tf.shape(frames)
        target[2:4] = dynamic[1], dynamic[2]
    windows = tf.reshape(frames, target)
    windows.set_shape([batch, num_frames, height, width, channels])
    return windows


def freeze(prefix, model, interface, dcn_impl='tf', use_ema=True):
    """The graph of a checkpoint with its weights as constants; see `build` and `freeze_built`."""
    return freeze_built(prefix, lambda: build(model, interface, dcn_impl), [OUTPUT], use_ema)


def freeze_built(prefix, add_nodes, outputs, use_ema=True):
    """A graph with the weights of a checkpoint as constants.

    Args:
      prefix: of the checkpoint.
      add_nodes: function without arguments that adds the network, or a part of it, to the default graph.
      outputs: list of str, names of its last nodes.
      use_ema: whether to use the moving averages, if the checkpoint has them.
    Returns:
      (GraphDef, whether moving averages were used).
    Raises:
      UserError: a variable is missing, has another shape or is not finite.
    """
    with tf.Graph().as_default() as graph, tf.Session() as session:
        add_nodes()
        averaged = _restore(session, prefix, use_ema)
        # without attributes that have their default values: an older TensorFlow does not know all of them
        graph_def = tf.train.export_meta_graph(graph=graph, strip_default_attrs=True).graph_def
        with no_deprecations():
            return tf.graph_util.convert_variables_to_constants(session, graph_def, outputs), averaged


def _restore(session, prefix, use_ema):
    names = checkpoints.restore_map(prefix, tf.global_variables(), use_ema)
    reader = tf.train.load_checkpoint(prefix)
    for name in sorted(names):
        if not np.isfinite(reader.get_tensor(name)).all():
            raise UserError('%s: %s contains NaN or infinity; the training diverged: use an earlier checkpoint'
                            % (prefix, name))
    tf.train.Saver(names).restore(session, prefix)
    return any(name.endswith(checkpoints.EMA_SUFFIX) for name in names)


def reference(prefix, model, batches, use_ema=True):
    """Runs the checkpoint in a separate graph.

    Args:
      prefix, model, use_ema: see freeze.
      batches: list of uint8 [N, T, H, W, 3], each of any size.
    Returns:
      list of float32 [N, sH, sW, 3].
    """
    config = device_of(RuntimeConfig()).session_config()
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        lq = tf.placeholder(tf.uint8, [None, model.num_frames, None, None, 3])
        sr = network.edvr(lq, model, dcn_impl='tf').sr
        _restore(session, prefix, use_ema)
        return [session.run(sr, {lq: windows}) for windows in batches]

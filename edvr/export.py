"""Writes a checkpoint as one graph file, checked against the checkpoint before it gets its name.

    python -m edvr.export --checkpoint=train --output=EDVR.pb
    python -m edvr.export --checkpoint=train --dcn_impl=npu --batch_size=1 --height=180 --width=320   for Ascend
    python -m edvr.export --checkpoint=train --format=saved_model --output=serving/edvr/1              for serving

The input node is `L_input`, the output node `SR_output`. Beside EDVR.pb lies EDVR.json: shapes, types, value ranges,
checksum, the network.
"""
import contextlib
import json
import os
import shutil
import tempfile

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import checkpoints, flags
from edvr.config.export import OPEN, ExportConfig
from edvr.restoration.graph import freezing, signature
from edvr.restoration.graph.loading import FrozenGraph, NotRunnableError, no_deprecations

# a float graph computes what the checkpoint computes, in another order at most; a uint8 graph may round the other way
LIMITS = {'float32': 1e-5, 'uint8': 1.001 / 255}


def main():
    export(flags.build(ExportConfig))


def export(config, log=print):
    """Exports one graph as `config` (ExportConfig) says.

    Args:
      log: function that takes a line of text.
    Returns:
      dict, the description written beside the graph.
    Raises:
      UserError: nothing was written.
    """
    prefix = checkpoints.chosen(config.checkpoint)
    model = checkpoints.load_model_config(config.checkpoint)
    _check_size(model, config)
    destination = os.path.normpath(config.destination)
    _check_destination(destination, config.format)
    graph_def, averaged = freezing.freeze(prefix, model, config.interface, config.dcn_impl, config.use_ema)
    if config.dcn_impl == 'npu':
        freezing.check_npu_ops(graph_def)
    facts = dict(checkpoint=os.path.basename(prefix), moving_average=averaged, dcn_impl=config.dcn_impl,
                 tensorflow=tf.__version__, ops=sorted({node.op for node in graph_def.node}))
    if config.format == 'frozen':
        facts['atc'] = freezing.atc_command(destination, model, config.interface, config.soc_version)
    with _workshop(destination) as folder:
        draft = os.path.join(folder, os.path.basename(destination))
        write = _write_frozen if config.format == 'frozen' else _write_saved_model
        with files.explained(destination):
            content = write(draft, graph_def, model, config.interface, facts)
        _report(log, prefix, content)
        content['verification'] = verify(draft, prefix, config.use_ema, log)
        with files.explained(destination):
            _write_json(signature.sidecar_path(draft), content)
            _publish(draft, destination, folder)
    log('written     %s' % destination)
    return content


def verify(path, prefix, use_ema, log=print):
    """Loads an exported graph anew and compares what it gives with what the checkpoint gives, on frames of the size
    the graph is fixed to, or of two small sizes.

    Returns:
      dict: max_abs_diff (of values in 0..1) and what was compared; where this TensorFlow cannot run the graph (the
      Ascend operator), max_abs_diff None and the reason.
    Raises:
      UserError: the difference is above the limit, or not a number.
    """
    try:
        graph = FrozenGraph(path)
    except NotRunnableError as error:
        log('not run     %s; its nodes were checked' % error)
        return dict(max_abs_diff=None, reason=str(error))
    with graph:
        limit, difference = LIMITS[graph.interface.output_dtype], 0.
        sizes = _trial_sizes(graph.config, graph.interface)
        trials = [_trial_windows(count, graph.config.num_frames, height, width, seed)
                  for seed, (count, height, width) in enumerate(sizes)]
        for windows, want in zip(trials, freezing.reference(prefix, graph.config, trials, use_ema)):
            if graph.interface.output_dtype == 'uint8':
                want = np.round(np.clip(want, 0, 1) * np.float32(255)) / np.float32(255)
            # np.maximum, unlike max, keeps a NaN
            difference = float(np.maximum(difference, np.abs(graph.run(windows) - want).max()))
    if not difference <= limit:
        raise UserError('the written graph gives other values than the checkpoint: max abs difference %g, limit %g; '
                        'nothing was written' % (difference, limit))
    log('verified    max abs difference %.3g to the checkpoint, limit %.3g' % (difference, limit))
    return dict(max_abs_diff=difference, limit=limit, windows=[list(size) for size in sizes])


def _trial_sizes(model, interface):
    """(N, H, W) of the windows to try: the fixed size, else two sizes and counts."""
    step, sizes = model.size_multiple, (interface.height, interface.width)
    if OPEN not in sizes:
        return [(1 if interface.batch_size == 1 else 2,) + sizes]
    trials = [(1, 6 * step, 8 * step), (2, 8 * step, 5 * step)]
    return [(count,) + tuple(trial if size == OPEN else size for size, trial in zip(sizes, small))
            for count, *small in trials]


def _trial_windows(count, num_frames, height, width, seed):
    """uint8 [N, T, H, W, 3]: noise smoothed a little and moving, so that every part of the network has work."""
    noise = np.random.RandomState(seed).uniform(0, 255, (count, height + num_frames, width + num_frames, 3))
    smooth = (noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)) / 3
    return np.stack([smooth[:, t:t + height, t:t + width] for t in range(num_frames)], 1).astype(np.uint8)


def _check_size(model, config):
    for name, size in (('height', config.height), ('width', config.width)):
        if size != OPEN and size % model.size_multiple:
            raise UserError('--%s=%d; this network takes multiples of %d' % (name, size, model.size_multiple))


def _check_destination(destination, kind):
    """Raises UserError, before the work, where something else than an export of this kind would be replaced."""
    if kind == 'frozen' and os.path.isdir(destination):
        raise UserError('%s is a folder: give the name of a file' % destination)
    if kind == 'saved_model' and os.path.exists(destination) and not os.path.isfile(
            os.path.join(destination, 'saved_model.pb')):
        raise UserError('%s exists and is not a SavedModel: give another --output' % destination)
    files.make_dir(os.path.dirname(destination) or '.')


@contextlib.contextmanager
def _workshop(destination):
    """A folder beside the destination to work in, gone afterwards."""
    with files.explained(destination):
        folder = tempfile.mkdtemp(prefix='.export-', dir=os.path.dirname(destination) or '.')
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_frozen(path, graph_def, model, interface, facts):
    data = graph_def.SerializeToString()
    with open(path, 'wb') as file:
        file.write(data)
    content = signature.describe(model, interface, sha256=signature.checksum(data), **facts)
    _write_json(signature.sidecar_path(path), content)
    return content


def _write_saved_model(path, graph_def, model, interface, facts):
    with no_deprecations(), tf.Graph().as_default() as graph, tf.Session() as session:
        tf.import_graph_def(graph_def, name='')
        ends = [{name: tf.saved_model.build_tensor_info(graph.get_tensor_by_name(name + ':0'))}
                for name in (signature.INPUT, signature.OUTPUT)]
        serving = tf.saved_model.build_signature_def(*ends, method_name=tf.saved_model.PREDICT_METHOD_NAME)
        builder = tf.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, [tf.saved_model.SERVING],
                                             {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: serving})
        builder.save()
    with open(os.path.join(path, 'saved_model.pb'), 'rb') as file:
        content = signature.describe(model, interface, sha256=signature.checksum(file.read()), **facts)
    os.mkdir(os.path.dirname(signature.sidecar_path(path)))
    _write_json(signature.sidecar_path(path), content)
    return content


def _write_json(path, content):
    with open(path, 'w', encoding='utf-8') as file:
        json.dump(content, file, indent=2, sort_keys=True)
        file.write('\n')


def _publish(draft, destination, folder):
    """Moves the verified graph and its description to their names; between the two moves the checksum tells."""
    if os.path.isdir(draft):
        if os.path.exists(destination):
            os.replace(destination, os.path.join(folder, 'replaced'))
        os.replace(draft, destination)
        return
    os.replace(signature.sidecar_path(draft), signature.sidecar_path(destination))
    os.replace(draft, destination)


def _report(log, prefix, content):
    log('checkpoint  %s%s' % (prefix, ', moving averages of the weights' if content['moving_average'] else ''))
    for end in ('input', 'output'):
        facts = content[end]
        shape = ', '.join('?' if size == OPEN else str(size) for size in facts['shape'])
        log('%-11s %s %s [%s] %s, %s, %s' % (end, facts['name'], facts['dtype'], shape, facts['axes'],
                                             facts['channels'], facts['values']))
    if content['dcn_impl'] == 'npu':
        log('convert     %s' % content['atc'])


if __name__ == '__main__':
    flags.run(main, ExportConfig)

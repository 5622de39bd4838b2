"""Exports a checkpoint as two graphs, and verifies them together before the files get their names."""
import dataclasses
import os

import tensorflow.compat.v1 as tf

from data_tools.base import files
from edvr.config.export import OPEN
from edvr.exporting import ascend, freezing, graph_files, parts, signature, verification
from edvr.exporting.parts_loading import FrozenParts
from edvr.exporting.signature import OUTPUT
from edvr.ops import ascend_nodes
from edvr.ops.deform_conv import EXPORTED


def export_parts(prefix, model, config, log=print):
    """Exports two graphs, see `parts`.

    Args:
      prefix: of the checkpoint. model: ModelConfig. config: ExportConfig.
      log: function that takes a line of text.
    Returns:
      dict, the description written beside the graphs.
    Raises:
      UserError: nothing was written.
    """
    destination = parts.paths(os.path.normpath(config.destination)[:-len('.pb')])
    for path in destination[:2]:
        graph_files.check_destination(path, 'frozen')
    log('checkpoint  %s' % prefix)
    interface = dataclasses.replace(config.interface, batch_size=1)
    features, averaged = freezing.freeze_built(prefix, lambda: parts.build_features(model, interface),
                                               list(parts.LEVELS), config.use_ema)
    restore = _freeze_restore(prefix, model, interface, 'tf', config)
    facts = dict(checkpoint=os.path.basename(prefix), moving_average=averaged, tensorflow=tf.__version__)
    with graph_files.draft_folder(destination.sidecar) as folder:
        draft = parts.paths(os.path.join(folder, 'draft'))
        graphs = dict(features=features, restore=restore)
        _write(draft, destination, graphs, model, interface, config.soc_version, dict(facts, dcn_impl='tf'))
        with FrozenParts(draft.sidecar) as pair:
            facts['verification'], windows = verification.verify(pair, prefix, config.use_ema, log)
            feeds = [parts.feed([pair.features(frame) for frame in window], window[len(window) // 2], interface)
                     for batch in windows for window in batch] if config.kernels == 'npu' else []
        if config.kernels == 'npu':
            graphs['restore'] = _for_ascend(prefix, model, interface, config, graphs)
            facts['verification'].update(ascend.compare_on_host(graphs['restore'], restore, feeds, log))
        content = _write(draft, destination, graphs, model, interface, config.soc_version,
                         dict(facts, dcn_impl=config.kernels))
        with files.explained(destination.sidecar):
            graph_files.publish_parts(draft, destination)
    _report(log, content, destination)
    return content


def _freeze_restore(prefix, model, interface, dcn_impl, config):
    return freezing.freeze_built(prefix, lambda: parts.build_restore(model, interface, dcn_impl), [OUTPUT],
                                 config.use_ema)[0]


def _for_ascend(prefix, model, interface, config, graphs):
    """The restoring graph with the Ascend operator, after its nodes are compared with the graph in stock operations."""
    ascend.check_operations(graphs['features'])   # without deformable convolutions it is the same for all targets
    graph_def = ascend_nodes.complete(_freeze_restore(prefix, model, interface, EXPORTED, config))
    ascend.check_nodes(graph_def)
    ascend.check_against(graph_def, graphs['restore'])
    return graph_def


def _write(draft, destination, graphs, model, interface, soc_version, facts):
    """Writes both graphs and their description to the draft's folder; returns the description as a dict."""
    taken = dict(zip(('features', 'restore'), parts.inputs(model, interface)))
    given = dict(features=parts.LEVELS, restore=[OUTPUT])
    commands = {part: None if OPEN in (interface.height, interface.width) else ascend.atc_call(
        getattr(destination, part), soc_version, 'NHWC', taken[part], given[part]) for part in graphs}
    with files.explained(destination.sidecar):
        checksums = {part: graph_files.write_graph(getattr(draft, part), graph_def)
                     for part, graph_def in graphs.items()}
        content = parts.describe(model, interface, checksums, commands, **facts)
        files.write_json(draft.sidecar, content)
    return content


def _report(log, content, destination):
    signature.report_weights(log, content)
    for part in ('features', 'restore'):
        facts = content['parts'][part]
        signature.report_end(log, 'input', facts['inputs'][-1])
        if part == 'restore':
            log('input       %s to %s, the levels of %d frames' % (
                facts['inputs'][0]['name'], facts['inputs'][-2]['name'], content['num_frames']))
        for end in facts['outputs']:
            signature.report_end(log, 'output', end)
        if content['dcn_impl'] == 'npu':
            log('convert     %s' % facts['atc'])
        log('written     %s' % getattr(destination, part))
    log('written     %s' % destination.sidecar)

"""Exports a checkpoint as one graph or two, and verifies the files before they get their names."""
import os
import typing

import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ModelConfig
from edvr.config.export import OPEN, ExportConfig
from edvr.config.model import NETWORKS
from edvr.exporting import ascend, description, freezing, publishing, verification
from edvr.exporting.formats import format_of
from edvr.exporting.graphs import PARTS, Graph
from edvr.ops import ascend_nodes
from edvr.ops.ascend import exported_ops
from edvr.ops.stock import StockOps


def export(config: ExportConfig, log: typing.Callable[[str], None] = print) -> dict:
    """Exports one graph, or two with `config.parts`.

    Args:
      config: what to export.
      log: function that takes a line of text.
    Returns:
      the description written beside the graph.
    Raises:
      UserError: nothing was written.
    """
    prefix = checkpoints.chosen(config.checkpoint)
    model = checkpoints.load_model_config(config.checkpoint)
    _check_size(model, config)
    path, form = os.path.normpath(config.destination), format_of(config)
    destination = _files(path, config)
    for graph_path in destination.graphs:
        publishing.check_destination(graph_path, config.format == 'saved_model')
    log('checkpoint  %s' % prefix)
    graphs, averaged = {}, False
    for kind in destination.kinds:
        graph = kind(model, config.interface)
        graphs[graph], averaged = freezing.freeze(prefix, graph, StockOps(), config.use_ema)
    facts = dict(checkpoint=os.path.basename(prefix), moving_average=averaged, tensorflow=tf.__version__,
                 dcn_impl='onnx' if config.format == 'onnx' else config.kernels)
    with publishing.draft_folder(path) as folder:
        draft = _files(os.path.join(folder, os.path.basename(path)), config)
        _write(draft, destination, graphs, config, facts)
        with form.load(draft, next(iter(graphs))) as loaded:
            facts['verification'], windows = verification.verify(loaded, prefix, config.use_ema, log, form.limits)
            feeds = [feed for batch in windows for feed in loaded.feeds(batch)] if config.kernels == 'npu' else []
        if config.kernels == 'npu':
            if NETWORKS[model.network].is_deformable:
                facts['npu_dcn'] = ascend.placement(model, config)[2]
            graphs, checks = _for_ascend(prefix, graphs, feeds, config, log)
            facts['verification'].update(checks)
            _write(draft, destination, graphs, config, facts)
            for graph, graph_def in description.read(draft.graphs[0]).graphs.items():   # as they are in the files
                ascend.check_nodes(graph_def, graph.deformable)
        content = _describe(draft, destination, graphs, config, facts)
        publishing.publish(draft, destination)
    _report(log, content, graphs, destination)
    return content


def _files(path: str, config: ExportConfig) -> description.Files:
    return description.parts_files(path[:-len('.pb')]) if config.parts else description.whole_files(path)


def _check_size(model: ModelConfig, config: ExportConfig) -> None:
    for name, size in (('height', config.height), ('width', config.width)):
        if size != OPEN and size % model.size_multiple:
            raise UserError('--%s=%d; this network takes multiples of %d' % (name, size, model.size_multiple))
    if config.kernels == 'npu':
        ascend.check_width(model, config.width)
        ascend.check_chip(model, config.soc_version)


def _write(draft: description.Files, destination: description.Files, graphs: typing.Dict[Graph, tf.GraphDef],
           config: ExportConfig, facts: dict) -> None:
    """Writes graphs, which the destination's names describe, and their description to the draft's paths."""
    with files.explained(destination.graphs[0]):
        for (graph, graph_def), path in zip(graphs.items(), draft.graphs):
            format_of(config).write(path, graph, graph_def)
    _describe(draft, destination, graphs, config, facts)


def _describe(draft: description.Files, destination: description.Files, graphs: typing.Dict[Graph, tf.GraphDef],
              config: ExportConfig, facts: dict) -> dict:
    """Writes the description of the draft; returns it."""
    of_graphs = {graph: dict(format_of(config).facts(final, graph, graph_def, config),
                             sha256=description.checksum_of(path))
                 for (graph, graph_def), path, final in zip(graphs.items(), draft.graphs, destination.graphs)}
    content = description.describe(of_graphs, **facts)
    files.write_json(draft.sidecar, content)
    return content


def _for_ascend(prefix: str, stock: typing.Dict[Graph, tf.GraphDef], feeds: typing.List[dict], config: ExportConfig,
                log: typing.Callable[[str], None]) -> typing.Tuple[typing.Dict[Graph, tf.GraphDef], dict]:
    """Builds the graphs for Ascend and compares their nodes and values with those in stock operations.

    No host runs the operator, so the checkpoint is compared with the graphs in stock operations.

    Args:
      stock: {Graph: GraphDef}. feeds: trial inputs of the graph with deformable convolutions.
    Returns:
      ({Graph: GraphDef}, facts about the checks for the description).
    """
    graphs = dict(stock)   # without deformable convolutions a graph is the same for all targets
    deformable = next(graph for graph in stock if graph.ALIGNS)
    found, text, _ = ascend.placement(deformable.model, config)
    if deformable.deformable:
        log('operator    %s' % text)
    graph_def, _ = freezing.freeze(prefix, deformable, exported_ops(lambda *sizes: found.split), config.use_ema)
    graphs[deformable] = ascend_nodes.complete(graph_def)
    for graph, graph_def in graphs.items():
        ascend.check_nodes(graph_def, graph.deformable)
        ascend.check_against(graph_def, stock[graph])
    return graphs, ascend.compare_on_host(graphs[deformable], stock[deformable], feeds, log)


def _report(log: typing.Callable[[str], None], content: dict, graphs: typing.Dict[Graph, tf.GraphDef],
            destination: description.Files) -> None:
    if content['moving_average']:
        log('weights     moving averages')
    for graph, path in zip(graphs, destination.graphs):
        levels = [end.name for end in graph.inputs if end.channels is None]
        for end in graph.inputs:
            if end.channels:
                log('input       %s' % (end,))
        if levels:
            log('input       %s to %s, the levels of %d frames' % (levels[0], levels[-1], graph.model.num_frames))
        for end in graph.outputs:
            log('output      %s' % (end,))
        if content['dcn_impl'] == 'npu':
            log('convert     %s' % (description.of_graph(content, graph)['atc']
                                    or 'give --soc_version=CHIP for the atc command'))
        log('written     %s' % path)
    if destination.kinds == PARTS:
        log('written     %s' % destination.sidecar)

"""Exports a checkpoint as one graph, and verifies it before the file gets its name."""
import os

import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config.export import OPEN
from edvr.exporting import ascend, freezing, graph_files, loading, onnx_files, signature, verification
from edvr.exporting.onnx_network import OPSET
from edvr.exporting.parts_exporting import export_parts
from edvr.exporting.signature import INPUT
from edvr.ops import ascend_nodes
from edvr.ops.deform_conv import EXPORTED


def export(config, log=print):
    """Exports one graph, or two with `config.parts`.

    Args:
      config: ExportConfig.
      log: function that takes a line of text.
    Returns:
      dict, the description written beside the graph.
    Raises:
      UserError: nothing was written.
    """
    prefix = checkpoints.chosen(config.checkpoint)
    model = checkpoints.load_model_config(config.checkpoint)
    _check_size(model, config)
    if config.parts:
        return export_parts(prefix, model, config, log)
    destination = os.path.normpath(config.destination)
    graph_files.check_destination(destination, config.format)
    log('checkpoint  %s' % prefix)
    graph_def, averaged = freezing.freeze(prefix, model, config.interface, 'tf', config.use_ema)
    facts = dict(checkpoint=os.path.basename(prefix), moving_average=averaged, tensorflow=tf.__version__)
    with graph_files.draft_folder(destination) as folder:
        draft = os.path.join(folder, os.path.basename(destination))
        if config.kernels == 'npu':
            content = _make_npu(draft, destination, graph_def, prefix, model, config, facts, log)
        elif config.format == 'onnx':
            content = _make_onnx(draft, destination, graph_def, prefix, model, config, facts, log)
        else:
            content = _write(draft, destination, graph_def, model, config, facts)
            content['verification'], _ = _verify(draft, prefix, config, log)
        with files.explained(destination):
            files.write_json(signature.sidecar_path(draft), content)
            graph_files.publish(draft, destination, folder)
    _report(log, content)
    log('written     %s' % destination)
    return content


def _write(draft, destination, graph_def, model, config, facts, dcn_impl='tf'):
    """Writes a graph and its description to the draft's folder; returns the description as a dict."""
    facts = dict(facts, dcn_impl=dcn_impl, ops=sorted({node.op for node in graph_def.node}))
    if config.format == 'frozen':
        facts['atc'] = ascend.atc_command(destination, model, config.interface, config.soc_version)
    write = graph_files.write_frozen if config.format == 'frozen' else graph_files.write_saved_model
    with files.explained(destination):
        return write(draft, graph_def, model, config.interface, facts)


def _make_npu(draft, destination, stock, prefix, model, config, facts, log):
    """Writes the graph for Ascend to the draft's folder; returns its description.

    No host can run the operator, so the graph is compared with the same network in stock operations.

    Args:
      stock: GraphDef of the network in stock operations.
    """
    twin = os.path.join(os.path.dirname(draft), 'stock.pb')
    _write(twin, destination, stock, model, config, facts)
    facts_of_twin, windows = _verify(twin, prefix, config, log)
    graph_def = ascend_nodes.complete(freezing.freeze(prefix, model, config.interface, EXPORTED, config.use_ema)[0])
    ascend.check_nodes(graph_def)
    ascend.check_against(graph_def, stock)
    given = [{INPUT: loading.as_input(loading.filled(batch, config.batch_size), config.interface)}
             for batch in windows]
    checks = ascend.compare_on_host(graph_def, stock, given, log)
    content = _write(draft, destination, graph_def, model, config, facts, 'npu')
    ascend.check_nodes(loading.parse_graph(draft, loading.read_bytes(draft)))   # as they are in the file
    content['verification'] = dict(facts_of_twin, **checks)
    return content


def _make_onnx(draft, destination, stock, prefix, model, config, facts, log):
    """Writes the ONNX file to the draft's folder and runs it; returns its description.

    Args:
      stock: GraphDef of the network in stock operations; it holds the weights.
    """
    with files.explained(destination):
        checksum = onnx_files.write(draft, stock, model, config.interface)
    verified, _ = verification.verify(onnx_files.OnnxGraph(draft, model, config.interface), prefix, config.use_ema,
                                      log, onnx_files.LIMITS)
    return signature.describe(model, config.interface, sha256=checksum, opset=OPSET, verification=verified,
                              **dict(facts, dcn_impl='onnx'))


def _verify(path, prefix, config, log):
    with loading.FrozenGraph(path) as graph:
        return verification.verify(graph, prefix, config.use_ema, log)


def _check_size(model, config):
    for name, size in (('height', config.height), ('width', config.width)):
        if size != OPEN and size % model.size_multiple:
            raise UserError('--%s=%d; this network takes multiples of %d' % (name, size, model.size_multiple))
    if config.kernels == 'npu':
        ascend.check_width(model, config.width)


def _report(log, content):
    signature.report_weights(log, content)
    for end in ('input', 'output'):
        signature.report_end(log, end, content[end])
    if content['dcn_impl'] == 'npu':
        log('convert     %s' % content['atc'])

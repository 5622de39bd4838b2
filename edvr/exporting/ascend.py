"""Exported graphs for Ascend: the allowed operations, the checks on the host, the atc command."""
import re
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.config import ModelConfig
from edvr.config.export import OPEN, ExportConfig
from edvr.config.model import NETWORKS
from edvr.devices import npu_chips
from edvr.exporting import verification
from edvr.exporting.graphs import OUTPUT, Graph
from edvr.network import networks
from edvr.ops import ascend_nodes
from edvr.ops.stock import StockOps

KERNEL = 3              # width of the network's deformable convolutions
LIMIT = 1e-5            # difference from the same network in stock operations
CHECKED = ('the same weights give the values of the checkpoint through stock operations',
           'nodes, wiring and constants outside the deformable convolutions equal those of the stock graph',
           'this graph gives the same values when stock operations compute its deformable convolutions',
           'every %s node has all its attributes' % ascend_nodes.OPERATOR,
           'every operation is in the list of those that Ascend graphs support')
DEVICE_ONLY = ('whether atc of your CANN release converts it', 'the values of the operator on the chip, in float16 too',
               'speed and memory')

# Ops that Ascend's graph engine compiles: numeric, on tensors whose shapes follow from the shape of the input. Strings,
# files, tables, Python, resources and control flow are excluded: they would split the graph.
NPU_OPS = frozenset([
    'Add', 'AddN', 'AddV2', 'AvgPool', 'BatchToSpaceND', 'BiasAdd', 'Cast', 'ConcatV2', 'Const', 'Conv2D',
    'DeformableOffsets', 'DepthToSpace', 'ExpandDims', 'Fill', 'Identity', 'LeakyRelu', 'MatMul', 'MaxPool',
    'Maximum', 'Mean', 'Minimum', 'MirrorPad', 'Mul', 'Neg', 'NoOp', 'Pack', 'Pad', 'PadV2', 'Placeholder', 'Prod',
    'RealDiv', 'Relu', 'Reshape', 'ResizeBilinear', 'Round', 'Shape', 'Sigmoid', 'Slice', 'SpaceToBatchND',
    'Split', 'SplitV', 'Squeeze', 'StridedSlice', 'Sub', 'Sum', 'Tile', 'Transpose', 'Unpack', 'ZerosLike'])

_DCN = ('/dcn_pack/', '/cas_dcnpack/')   # scopes of the deformable convolutions


def check_chip(model: ModelConfig, soc_version: str) -> None:
    """Raises UserError for a chip that lacks the operator of the network; soc_version: empty if it is not chosen."""
    if NETWORKS[model.network].is_deformable and not npu_chips.find(soc_version).forward:
        raise UserError(
            '--soc_version=%s: the AI Core of Ascend310 and Ascend310B* has no %s; choose a chip that has it: '
            'Ascend310P*, Ascend910*, Ascend910B* (Atlas A2), Ascend910_93* (Atlas A3), Ascend950*'
            % (soc_version, ascend_nodes.OPERATOR))


def check_width(model: ModelConfig, width: int) -> None:
    """Raises UserError for input wider than the limit of the operator; width: pixels."""
    if not NETWORKS[model.network].is_deformable:
        return
    reduction = networks.feature_reduction(model)
    limit = ascend_nodes.MAX_WIDTH // KERNEL
    if width > limit * reduction:
        of_input = ', which for this network is a width of %d' % (limit * reduction) if reduction > 1 else ''
        raise UserError(
            '--width=%d: the documented limit of DeformableConv2D is a width of %d / kernel width %d = %d pixels%s. '
            'Export a tile, such as --width=640 with a --height that fits, and give the device frames in overlapping '
            'tiles of that size: edvr.restore.tiling cuts and blends them. edvr.infer --device=npu --tile=640 '
            'restores from the checkpoint in tiles without an export'
            % (width, ascend_nodes.MAX_WIDTH, KERNEL, limit, of_input))


def placement(model: ModelConfig, config: ExportConfig) -> typing.Tuple[npu_chips.Placement, str, dict]:
    """Returns how the deformable convolutions of an export run, a line about it, and JSON values about it."""
    open_batch, half = config.interface.batch_size == OPEN, config.precision_mode in npu_chips.HALF_MODES
    arguments = (config.npu_dcn, npu_chips.find(config.soc_version), model.channels, model.deform_groups, open_batch,
                 half)
    found, text = npu_chips.place(*arguments), npu_chips.describe(*arguments)
    return found, text, dict(way=config.npu_dcn, calls=model.deform_groups if found.split else 1, text=text,
                             chips=npu_chips.table(model.channels, model.deform_groups, open_batch))


def check_nodes(graph_def: tf.GraphDef, deformable: bool = True) -> None:
    """Checks the nodes of a graph for Ascend, without running it; deformable: whether it must have the operator.

    Raises:
      UserError: the operator or one of its attributes is missing, an operator is wired to the offsets of another
        layer, or Ascend graphs do not support an operation.
    """
    nodes = {node.name: node for node in graph_def.node}
    operators = [node for node in graph_def.node if node.op == ascend_nodes.OPERATOR]
    if deformable and not operators:
        raise UserError('the graph has no %s node' % ascend_nodes.OPERATOR)
    foreign = sorted({node.op for node in graph_def.node} - NPU_OPS)
    if foreign:
        raise UserError('the graph has ops that an Ascend graph does not support: %s' % ', '.join(foreign))
    for node in operators:
        wanted = ascend_nodes.attributes(node.attr['ksize'].list.i[0] if 'ksize' in node.attr else 3,
                                         node.attr['deformable_groups'].i)
        wrong = sorted(name for name in wanted if name not in node.attr or node.attr[name] != wanted[name])
        if wrong:
            raise UserError('%s: attributes missing or of another value: %s' % (node.name, ', '.join(wrong)))
        layer = re.sub(r'/deformable_conv2d(_\d+)?/[^/]*$', '/', node.name)
        for name in [node.input[1]] + list(nodes[node.input[1]].input[:-1]):   # offsets and masks, and their parts
            if not name.startswith(layer):
                raise UserError('%s: its offsets or masks come from another layer, %s' % (node.name, name))


def check_against(graph_def: tf.GraphDef, stock: tf.GraphDef) -> None:
    """Compares the graph for Ascend with that of the same network in stock operations, node by node.

    Raises:
      UserError: a node outside the deformable convolutions is missing in one graph, or its operation, inputs,
        attributes or constants differ. The text names the node.
    """
    ours, theirs = (_common(definition) for definition in (graph_def, stock))
    for name in sorted(set(ours) | set(theirs)):
        if ours.get(name) != theirs.get(name):
            raise UserError('the graph for Ascend and the same network in stock operations differ at node %s' % name)


def _common(graph_def: tf.GraphDef) -> typing.Dict[str, tf.NodeDef]:
    """Returns {name: node} of all nodes outside the deformable convolutions, and of their weights and biases."""
    return {node.name: node for node in graph_def.node if not any(scope in node.name for scope in _DCN)
            or (node.op == 'Const' and node.name.endswith(('/weight', '/bias')))}


def run_on_host(graph_def: tf.GraphDef, feeds: typing.List[typing.Dict[str, np.ndarray]]) -> typing.List[np.ndarray]:
    """Runs a graph, with stock operations for its deformable convolutions.

    A convolution whose stride equals its kernel follows each operator, or the channels that are kept of an operator for
    each group. They are replaced together.

    Args:
      feeds: names of inputs -> arrays of their types and shapes, for each run.
    Returns:
      list of float32 arrays, the restored frames of each feed, in 0..1 and before rounding.
    Raises:
      UserError: no such convolution follows an operator.
    """
    nodes = {node.name: node for node in graph_def.node}
    calls = {node.name: _calls(nodes, node) for node in graph_def.node if node.op == 'Conv2D'}
    calls = {name: found for name, found in calls.items() if found}
    operators = {node.name for node in graph_def.node if node.op == ascend_nodes.OPERATOR}
    if {call.operator.name for found in calls.values() for call in found} != operators or any(
            list(nodes[name].attr['strides'].list.i) != [1, 3, 3, 1] or nodes[name].attr['padding'].s != b'VALID'
            for name in calls):
        raise UserError('a %s node is not followed by one convolution of stride 3' % ascend_nodes.OPERATOR)
    convolutions = [node for node in graph_def.node if node.name in calls]
    replaced = set(calls)
    between = {name for found in calls.values() for call in found for name in call.between}
    rounded = [node for node in graph_def.node if node.op == 'Round']   # of a graph with uint8 output
    restored, levels = (rounded[-1].input[0], 255) if rounded else (OUTPUT, 1)
    stock = tf.GraphDef(versions=graph_def.versions)
    stock.node.extend(node for node in graph_def.node if node.name not in replaced | operators | between)
    for name in replaced:
        stock.node.add(name=name, op='Placeholder').attr['dtype'].type = tf.float32.as_datatype_enum
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.import_graph_def(stock, name='')

        def tensor(of: str) -> tf.Tensor:
            return graph.get_tensor_by_name(of if ':' in of else of + ':0')

        steps = [(tensor(node.name), _stock_product(calls[node.name], tensor, tensor(node.input[1])))
                 for node in convolutions]
        results = []
        for feed in feeds:
            values = {tensor(name): value for name, value in feed.items()}
            for place, pair in steps:   # each needs the values of those before it
                values[place] = session.run(pair, values)
            results.append(session.run(tensor(restored), values) / np.float32(levels))
        return results


def compare_on_host(graph_def: tf.GraphDef, stock: tf.GraphDef, feeds: typing.List[typing.Dict[str, np.ndarray]],
                    log: typing.Callable[[str], None]) -> dict:
    """Compares the values of a graph for Ascend with those of the same network in stock operations.

    Args:
      feeds: the same as of `run_on_host`: {input name: array}.
      log: function that takes a line of text.
    Returns:
      all checks of the graph, for its description.
    Raises:
      UserError: the errors of `run_on_host`, or the values differ.
    """
    difference = verification.compare(
        run_on_host(graph_def, feeds), run_on_host(stock, feeds), LIMIT,
        'the graph for Ascend gives other values than the same network in stock operations')
    log('verified    nodes and attributes; max abs difference %.3g with the operator in stock operations' % difference)
    log('not run     on a device: %s' % '; '.join(DEVICE_ONLY))
    return dict(max_abs_diff_to_stock_graph=difference, checked=list(CHECKED), only_on_the_device=list(DEVICE_ONLY))


class _Call(typing.NamedTuple):
    """Describes an operator before a convolution.

    Attributes:
      operator: its node.
      channels: (begin, end) of its channels that the convolution reads; None for all of them.
      between: names of the nodes from it to the convolution.
    """
    operator: tf.NodeDef
    channels: typing.Optional[typing.Tuple[int, int]]
    between: typing.Tuple[str, ...]


def _calls(nodes: typing.Dict[str, tf.NodeDef], convolution: tf.NodeDef) -> typing.List[_Call]:
    """Returns the operators that a convolution reads, in the order of its channels; none for another convolution."""
    given = nodes.get(convolution.input[0])
    if given is None:
        return []
    if given.op == ascend_nodes.OPERATOR:
        return [_Call(given, None, ())]
    found = []
    for name in given.input[:-1] if given.op == 'ConcatV2' else ():
        kept = nodes.get(name)
        if kept is None or kept.op != 'StridedSlice' or nodes[kept.input[0]].op != ascend_nodes.OPERATOR:
            return []
        begin, end = (int(tf.make_ndarray(nodes[limit].attr['value'].tensor)[-1]) for limit in kept.input[1:3])
        found.append(_Call(nodes[kept.input[0]], (begin, end), (given.name, kept.name)))
    return found


def _stock_product(calls: typing.List[_Call], tensor: typing.Callable[[str], tf.Tensor], weight: tf.Tensor
                   ) -> tf.Tensor:
    """Returns [N, H, W, C_out], the result of operators and their convolution, in stock operations."""
    products, first = [], 0
    for operator, channels, _ in calls:
        G, K = operator.attr['deformable_groups'].i, operator.attr['ksize'].list.i[0]
        offset, mask = tf.split(tensor(operator.input[1]), [2 * G * K * K, G * K * K], axis=-1)
        x = tensor(operator.input[0])
        begin, end = channels or (0, weight.shape.as_list()[2])
        products.append(StockOps().deform_conv2d(
            x[..., begin:end], offset, mask, weight[:, :, first:first + end - begin], None, G))
        first += end - begin
    return products[0] if len(products) == 1 else tf.add_n(products)


def atc_command(path: str, graph: Graph, config: ExportConfig) -> typing.Optional[str]:
    """Returns the command that converts a frozen graph for Ascend.

    None if the chip is not chosen, or if a size is open, which atc rejects.

    Args:
      path: of the graph.
      config: chip and precision mode.
    """
    if not config.soc_version or OPEN in (graph.interface.height, graph.interface.width):
        return None
    windows = len(graph.inputs[0].shape) == 5
    command = 'atc --framework=3 --model=%s --output=%s --soc_version=%s --input_format=%s' % (
        path, path[:-len('.pb')], config.soc_version, 'ND' if windows else 'NHWC')
    command += ' --input_shape="%s"' % ';'.join('%s:%s' % (end.name, ','.join(map(str, end.shape)))
                                                for end in graph.inputs)
    command += ' --out_nodes="%s"' % ';'.join('%s:0' % end.name for end in graph.outputs)
    if graph.interface.batch_size == OPEN:   # profiles to choose from when it runs
        batches = (1, 2, 4, 8)
        command += (' --dynamic_dims="%s"' % ';'.join(map(str, batches)) if windows else
                    ' --dynamic_batch_size="%s"' % ','.join(str(batch * graph.model.num_frames) for batch in batches))
    return command + ' --precision_mode=%s' % config.precision_mode

"""A graph as the check needs it: its nodes in the order of their computation, and the bytes of their results."""
from __future__ import annotations

from typing import Iterable, NamedTuple, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from edvr.ops.ascend_nodes import OPERATOR

GRADIENT = OPERATOR + 'Grad'
CHANNEL_BLOCK = 16   # the device's layout NC1HWC0 stores channels in blocks of 16
_STAND_IN, _GROUPS = '_edvr_operator', '_edvr_groups'   # attributes of a node that takes the place of an operator
_OVERRIDE = 'EdvrPlacedOperator'
# results that are their first input under another shape or name
_ALIASES = frozenset(['ExpandDims', 'Identity', 'IdentityN', 'Merge', 'PreventGradient', 'Reshape', 'Squeeze',
                      'StopGradient', 'Switch'])
_STORED = frozenset(['Const', 'VarHandleOp', 'Variable', 'VariableV2'])


class Size(NamedTuple):
    """Bytes of a tensor.

    Attributes:
      plain: as TensorFlow stores it.
      padded: with the channels of images padded to blocks of 16.
    """
    plain: int
    padded: int


class Node(NamedTuple):
    """Describes a node of a graph.

    Attributes:
      name: in the graph.
      operator: its type; that of the device for one that has no CPU kernel.
      inputs: names of the tensors that it reads.
      outputs: {name of a tensor: Size}.
      is_alias: whether its results share the memory of its inputs.
      is_stored: whether its results exist during the whole run: variables and constants.
      is_constant: whether nothing that it depends on changes between steps.
      groups, channels: of DeformableOffsets and its gradient; else 0.
    """
    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: dict[str, Size]
    is_alias: bool
    is_stored: bool
    is_constant: bool
    groups: int
    channels: int


def stand_in(operator: str, inputs: Sequence[tf.Tensor], shapes: Sequence, groups: int = 0) -> list[tf.Tensor]:
    """Adds a node in the place of an operator that this TensorFlow does not have. It is never run.

    Args:
      operator: its type on the device.
      inputs: tensors; the results have the type of the first, or float32.
      shapes: of the results.
      groups: of DeformableOffsets.
    """
    with tf.get_default_graph().gradient_override_map({'PyFunc': _OVERRIDE}):
        dtype = inputs[0].dtype if inputs else tf.float32
        results = tf.numpy_function(_never, list(inputs), [dtype] * len(shapes), name=operator)
    results = [results] if isinstance(results, tf.Tensor) else list(results)
    for result, shape in zip(results, shapes):
        result.set_shape(shape)
    results[0].op._set_attr(_STAND_IN, tf.AttrValue(s=operator.encode()))
    results[0].op._set_attr(_GROUPS, tf.AttrValue(i=groups))
    return results


def _never(*values: np.ndarray) -> None:
    raise AssertionError('a graph of the check was run')


@tf.RegisterGradient(_OVERRIDE)
def _gradient(op: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor]:
    x, offsets = op.inputs
    return stand_in(GRADIENT, [gradient, x, offsets], [x.shape, offsets.shape], op.get_attr(_GROUPS))


def sample(x: tf.Tensor, offsets: tf.Tensor, kernel: int, deform_groups: int) -> tf.Tensor:
    """Adds the operator of Ascend with its gradient, as `edvr.devices.adapter.sample`."""
    N, H, W, _ = offsets.shape.as_list()
    return stand_in(OPERATOR, [x, offsets], [[N, H * kernel, W * kernel, x.shape[-1]]], deform_groups)[0]


def nodes_of(targets: Iterable[tf.Operation]) -> list[Node]:
    """Returns the nodes that `targets` need, in the order in which they were added: forward, then backward.

    Nodes that control flow inserts before a node are added after it; they come before it here.
    """
    wanted, waiting = set(), list(targets)
    graph = waiting[0].graph
    while waiting:
        op = waiting.pop()
        if op not in wanted:
            wanted.add(op)
            waiting += _before(op)
    constant: set[tf.Operation] = set()
    nodes = []
    for op in _sorted(op for op in graph.get_operations() if op in wanted):
        if _is_constant(op, constant):
            constant.add(op)
        nodes.append(_node(op, op in constant))
    return nodes


def _before(op: tf.Operation) -> list[tf.Operation]:
    return [tensor.op for tensor in op.inputs] + list(op.control_inputs)


def _sorted(operations: Iterable[tf.Operation]) -> list[tf.Operation]:
    """Returns operations, each after those that it needs but for the next round of a loop, and else in their order."""
    found: dict[tf.Operation, None] = {}
    for operation in operations:
        waiting = [operation]
        while waiting:
            missing = [op for op in _before(waiting[-1]) if op not in found and op.type != 'NextIteration']
            if not missing:
                found[waiting.pop()] = None
            waiting += missing
    return list(found)


def _is_constant(op: tf.Operation, constant: set[tf.Operation]) -> bool:
    if op.type == 'Const' or (op.type in ('Shape', 'ShapeN', 'Size', 'Rank') and all(
            tensor.shape.is_fully_defined() for tensor in op.inputs)):
        return True
    return bool(op.inputs) and not _is_placed(op) and all(tensor.op in constant for tensor in op.inputs)


def _is_placed(op: tf.Operation) -> bool:
    return _STAND_IN in op.node_def.attr


def _node(op: tf.Operation, is_constant: bool) -> Node:
    operator, groups = op.type, 0
    if _is_placed(op):
        operator, groups = op.get_attr(_STAND_IN).decode(), op.get_attr(_GROUPS)
    elif _called(op):
        operator, groups = OPERATOR, op.get_attr(_GROUPS)
    sampled = {OPERATOR: 0, GRADIENT: 1}.get(operator)   # the input that is sampled
    # a reference to a variable is the variable
    is_alias = op.type in _ALIASES or (op.type not in _STORED and any(map(_is_reference, op.outputs)))
    return Node(op.name, operator, tuple(tensor.name for tensor in op.inputs),
                {tensor.name: _size(tensor) for tensor in op.outputs}, is_alias, op.type in _STORED, is_constant,
                groups, 0 if sampled is None else op.inputs[sampled].shape.as_list()[-1])


def _called(op: tf.Operation) -> bool:
    """Returns whether the node takes the place of the operator in an exported graph."""
    return op.type.endswith('PartitionedCall') and '_edvr_kernel' in op.node_def.attr


def _is_reference(tensor: tf.Tensor) -> bool:
    return tensor.dtype != tensor.dtype.base_dtype


def _size(tensor: tf.Tensor) -> Size:
    shape = tensor.shape.as_list() if tensor.shape.ndims is not None else None
    if shape is None or None in shape or tensor.dtype.base_dtype in (tf.resource, tf.string, tf.variant):
        return Size(0, 0)
    width = tensor.dtype.base_dtype.size
    padded = list(shape)
    if len(shape) in (4, 5) and tensor.dtype.base_dtype.is_floating:
        padded[-1] = -(-shape[-1] // CHANNEL_BLOCK) * CHANNEL_BLOCK
    return Size(*(width * int(np.prod(sizes, dtype=np.int64)) for sizes in (shape, padded)))

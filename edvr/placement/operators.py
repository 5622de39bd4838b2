"""The place of each operator of a graph: AI Core, AI CPU, graph engine, communication or host."""
from __future__ import annotations

import functools
import os
from typing import NamedTuple

from edvr.devices import npu_chips
from edvr.devices.npu_chips import Chip
from edvr.ops.ascend_nodes import OPERATOR
from edvr.placement.graph import GRADIENT, Node

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cann81_operators.tsv')
AI_CORE, AI_CPU, OTHER_NAME, ENGINE, COLLECTIVE, CONSTANT, HOST = PLACES = (
    'AI Core', 'AI CPU', 'other name', 'graph engine', 'HCCL', 'constant', 'host')
MEANINGS = {   # place -> meaning, and how it is known
    AI_CORE: 'the AI Core library of the chip has an entry of this name (read)',
    AI_CPU: 'CANN takes it, AI Core does not (read); slow if it is large',
    OTHER_NAME: 'in the library under another name (read for Mean; the others by analogy): probably AI Core',
    ENGINE: 'no computation: the local engine of the graph engine lists it (read)',
    COLLECTIVE: 'exchange between ranks',
    CONSTANT: 'depends on constants and static shapes only: folded before the start',
    HOST: 'CANN does not list it: the adapter leaves it on the host, which splits the graph'}
_OTHER_NAMES = {'Mean': 'ReduceMean', 'Sum': 'ReduceSum', 'Max': 'ReduceMax', 'Min': 'ReduceMin', 'Prod': 'ReduceProd',
                'All': 'ReduceAll', 'NpuAllocFloatStatus': 'NPUAllocFloatStatus',
                'NpuGetFloatStatus': 'NPUGetFloatStatus', 'NpuClearFloatStatus': 'NPUClearFloatStatus'}
# those of the sources of the graph engine, compiler/engines/local_engine, that training graphs or exports can contain
_ENGINE = frozenset([
    'Const', 'ControlTrigger', 'Empty', 'ExpandDims', 'GuaranteeConst', 'Identity', 'IdentityN', 'Merge', 'NoOp',
    'Placeholder', 'PlaceholderWithDefault', 'PreventGradient', 'Rank', 'ReadVariableOp', 'Reshape', 'Shape', 'ShapeN',
    'Size', 'Squeeze', 'StopGradient', 'Switch', 'VarHandleOp', 'VarIsInitializedOp', 'VariableV2'])


class Place(NamedTuple):
    """Describes the place of an operator.

    Attributes:
      place: one of PLACES.
      reason: why it is not AI Core, or an empty text.
    """
    place: str
    reason: str = ''


@functools.lru_cache(maxsize=None)
def table() -> dict[str, frozenset[str]]:
    """Returns {TensorFlow operator that CANN 8.1 takes: families of chips whose AI Core has it}."""
    with open(TABLE, encoding='utf-8') as file:
        rows = [line.rstrip('\n').split('\t') for line in file if not line.startswith('#')]
    return {name: frozenset(filter(None, chips.split(','))) for name, chips in rows}


def place_of(node: Node, chip: Chip, half: bool = False) -> Place:
    """Returns where a node runs on a chip.

    Args:
      node: of a training graph or of an export, with a fixed batch.
      chip: one that has a family.
      half: whether the options may let it compute in float16.
    """
    operator = node.operator
    if operator not in table():
        return Place(HOST, 'not among the operators of CANN 8.1')
    if operator in _ENGINE:
        return Place(ENGINE)
    if operator.startswith('Hcom'):
        return Place(COLLECTIVE)
    if node.is_constant:
        return Place(CONSTANT)
    if chip.family not in table()[operator]:
        if operator in _OTHER_NAMES:
            return Place(OTHER_NAME, _OTHER_NAMES[operator])
        return Place(AI_CPU, 'its AI Core library has no entry')
    if operator == OPERATOR:
        reason = npu_chips.obstacle(chip, node.channels, node.groups, False, half)
    elif operator == GRADIENT:
        reason = npu_chips.gradient_obstacle(chip, node.channels, node.groups)
    else:
        reason = ''
    return Place(AI_CPU, reason) if reason else Place(AI_CORE)

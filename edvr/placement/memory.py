"""An estimate of the memory of a step on a card: the tensors that live at once.

A tensor lives from the node that computes it to the last one that reads it, in the order in which the graph was built.
The device orders nodes itself, reuses buffers in its own way and needs workspaces, so this is no measurement.
"""
from __future__ import annotations

from typing import NamedTuple, Sequence

from edvr.placement.graph import Node


class Memory(NamedTuple):
    """Bytes on a card.

    Attributes:
      stored: of variables and constants, for the whole run.
      live: the most bytes of other tensors that live at once.
      padded: the same as `live`, with channels padded to blocks of 16.
    """
    stored: int
    live: int
    padded: int


class BatchMemory:
    """Estimates the memory of a step for any batch, from the same graph for the batches 1 and 2."""

    def __init__(self, one: Sequence[Node], two: Sequence[Node]) -> None:
        """Takes the nodes of the graph with a batch of 1 and of 2; raises ValueError if they are different graphs."""
        if [node.name for node in one] != [node.name for node in two]:
            raise ValueError('the graphs of the batches 1 and 2 have other nodes')
        self._one, self._two = one, two

    def of(self, batch: int) -> Memory:
        """Returns the memory of a step: each tensor's size is linear in the batch."""
        live = [_peak(self._sizes(batch, kind), self._one) for kind in (0, 1)]
        stored = sum(size.plain for node in self._one if node.is_stored for size in node.outputs.values())
        return Memory(stored, *live)

    def _sizes(self, batch: int, kind: int) -> dict[str, int]:
        sizes = {}
        for one, two in zip(self._one, self._two):
            for name, size in one.outputs.items():
                sizes[name] = size[kind] + (batch - 1) * (two.outputs[name][kind] - size[kind])
        return sizes


def _peak(sizes: dict[str, int], nodes: Sequence[Node]) -> int:
    """Returns the most bytes that live at once, without those that are stored.

    Args:
      sizes: {tensor: bytes}.
      nodes: in the order of their computation.
    """
    owner: dict[str, str] = {}   # tensor -> the one whose memory it uses; empty for stored ones
    for node in nodes:
        for number, name in enumerate(node.outputs):
            if node.is_stored:
                owner[name] = ''
            elif node.is_alias and node.inputs:
                owner[name] = owner[node.inputs[number if node.operator == 'IdentityN' else 0]]
            else:
                owner[name] = name
    last = {}
    for index, node in enumerate(nodes):
        for name in list(node.inputs) + list(node.outputs):
            last[owner[name]] = index
    ends: dict[int, list[str]] = {}
    for name, index in last.items():
        ends.setdefault(index, []).append(name)
    live = peak = 0
    for index, node in enumerate(nodes):
        live += sum(sizes[name] for name in node.outputs if owner[name] == name)
        peak = max(peak, live)
        live -= sum(sizes[name] for name in ends.get(index, []) if name)
    return peak

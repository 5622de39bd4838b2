"""Splits frames between the ranks of a restoration: pure functions."""
import typing


class Stretch(typing.NamedTuple):
    """Frames `first` to `end` (not included) of clip number `clip`."""
    clip: int
    first: int
    end: int


def missing(present):
    """The stretches of missing frames.

    Args:
      present: iterable of bool, one for each frame.
    Returns:
      list of (first, end).
    """
    found, first = [], None
    for index, there in enumerate(list(present) + [True]):
        if there and first is not None:
            found.append((first, index))
            first = None
        elif not there and first is None:
            first = index
    return found


def cut(lengths, most=0):
    """Cuts clips into stretches.

    Args:
      lengths: list of int, frames of each clip.
      most: int, the largest number of frames of a stretch; 0 does not cut. At a cut both sides read the frames that
        their windows share, so short stretches cost more.
    Returns:
      list of Stretch in order, none empty.
    """
    return [Stretch(clip, first, min(first + (most or length), length))
            for clip, length in enumerate(lengths) for first in range(0, length, most or length)]


def split(stretches, ranks, costs=None, unit=1, least=1):
    """Splits stretches into shares of about equal cost, one for each rank. The order stays, so few stretches are cut.

    The windows of both sides of a cut read the frames around it, so these frames cost twice.

    Args:
      stretches: list of Stretch, none empty.
      ranks: int, at least 1.
      costs: list of float, the cost of a frame of each clip, such as its pixels; None for equal costs.
      unit: int; stretches are cut only at its multiples.
      least: int, the smallest number of frames of a cut part and of a share.
    Returns:
      list of at most `ranks` lists of Stretch, none empty; every frame is in exactly one.
    """
    cost = (lambda clip: 1) if costs is None else costs.__getitem__
    total = sum((end - first) * cost(clip) for clip, first, end in stretches)
    ranks = max(1, min(ranks, sum(end - first for _, first, end in stretches) // least))
    shares, done = [[] for _ in range(ranks)], 0
    for clip, first, end in stretches:
        # where the share of each rank would end inside this stretch
        cuts = [first + (total * rank / ranks - done) / cost(clip) for rank in range(1, ranks)]
        edges = [first] + [_cut(place, first, end, unit, least) for place in cuts] + [end]
        for share, begin, stop in zip(shares, edges, edges[1:]):
            if begin < stop:
                share.append(Stretch(clip, begin, stop))
        done += (end - first) * cost(clip)
    return [share for share in shares if share]


def _cut(place, first, end, unit, least):
    """The frame at which to cut a stretch near `place` (float); `first` and `end` mean no cut."""
    if not first < place < end:
        return first if place <= first else end
    frame = int(place / unit + .5) * unit
    if frame - first < least or end - frame < least:
        return first if place - first < end - place else end
    return frame

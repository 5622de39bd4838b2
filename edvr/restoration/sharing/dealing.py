"""Which frames each of several ranks restores: pure functions."""
import typing


class Stretch(typing.NamedTuple):
    """Frames `first` to `end` (not included) of clip number `clip`."""
    clip: int
    first: int
    end: int


def missing(present):
    """The stretches of frames that are not there.

    Args:
      present: list of bool, one for each frame.
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
      most: int, frames of a stretch; 0 takes each clip whole. At a cut both sides read the frames that their windows
        share, so short stretches cost more.
    Returns:
      list of Stretch, none empty, in order.
    """
    return [Stretch(clip, first, min(first + (most or length), length))
            for clip, length in enumerate(lengths) for first in range(0, length, most or length)]


def deal(stretches, ranks, costs=None, unit=1, least=1):
    """Deals stretches to ranks in shares of about equal cost, in order, so that few stretches are cut.

    A stretch that is cut costs the frames around the cut twice: the windows of both sides read them.

    Args:
      stretches: list of Stretch, none empty.
      ranks: int, at least 1.
      costs: list of float, the cost of a frame of each clip, such as its pixels; None for equal ones.
      unit: int; frames are cut apart only at its multiples.
      least: int, frames below which a part is not cut off, and a share is not begun.
    Returns:
      list of at most `ranks` lists of Stretch, none empty, that have every frame once.
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
    """The frame at which a stretch is cut for the wanted `place` (float): `first` or `end` leaves it whole."""
    if not first < place < end:
        return first if place <= first else end
    frame = int(place / unit + .5) * unit
    if frame - first < least or end - frame < least:
        return first if place - first < end - place else end
    return frame

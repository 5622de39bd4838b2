"""Splits frames between the workers of a restoration: pure functions."""
import typing


class FrameRange(typing.NamedTuple):
    """Frames `first` to `end` (not included) of clip number `clip`."""
    clip: int
    first: int
    end: int


def missing(present: typing.Iterable[bool]) -> typing.List[typing.Tuple[int, int]]:
    """Returns the ranges of missing frames.

    Args:
      present: iterable of bool, one for each frame.
    Returns:
      list of (first, end).
    """
    found: typing.List[typing.Tuple[int, int]] = []
    first = None
    for index, there in enumerate(list(present) + [True]):
        if there and first is not None:
            found.append((first, index))
            first = None
        elif not there and first is None:
            first = index
    return found


def cut(lengths: typing.Iterable[int], most: int = 0) -> typing.List[FrameRange]:
    """Cuts clips into ranges.

    Args:
      lengths: frames of each clip.
      most: the largest number of frames of a range; 0 does not cut. At a cut both sides read the frames that their
        windows share, so short ranges cost more.
    Returns:
      list of FrameRange in order, none empty.
    """
    return [FrameRange(clip, first, min(first + (most or length), length))
            for clip, length in enumerate(lengths) for first in range(0, length, most or length)]


def split(ranges: typing.Sequence[FrameRange], workers: int, costs: typing.Optional[typing.Sequence[float]] = None,
          unit: int = 1, least: int = 1) -> typing.List[typing.List[FrameRange]]:
    """Splits ranges into shares of about equal cost, one for each worker. The order stays, so few ranges are cut.

    The windows of both sides of a cut read the frames around it, so these frames cost twice.

    Args:
      ranges: list of FrameRange, none empty.
      workers: at least 1.
      costs: the cost of a frame of each clip, such as its pixels; None for equal costs.
      unit: ranges are cut only at its multiples.
      least: the smallest number of frames on each side of a cut, and of a share.
    Returns:
      list of at most `workers` lists of FrameRange, none empty; every frame is in exactly one.
    """
    cost = [1.] * max((clip + 1 for clip, _, _ in ranges), default=0) if costs is None else costs
    total = sum((end - first) * cost[clip] for clip, first, end in ranges)
    workers = max(1, min(workers, sum(end - first for _, first, end in ranges) // least))
    shares: typing.List[typing.List[FrameRange]] = [[] for _ in range(workers)]
    done = 0.
    for clip, first, end in ranges:
        # where the share of each worker would end inside this range
        cuts = [first + (total * number / workers - done) / cost[clip] for number in range(1, workers)]
        edges = [first] + [_cut(place, first, end, unit, least) for place in cuts] + [end]
        for share, begin, stop in zip(shares, edges, edges[1:]):
            if begin < stop:
                share.append(FrameRange(clip, begin, stop))
        done += (end - first) * cost[clip]
    return [share for share in shares if share]


def _cut(place, first, end, unit, least):
    """Returns the frame at which to cut a range near `place` (float); `first` and `end` mean no cut."""
    if not first < place < end:
        return first if place <= first else end
    frame = int(place / unit + .5) * unit
    if frame - first < least or end - frame < least:
        return first if place - first < end - place else end
    return frame

"""The times at which the frames of a video are shown: whether their rate is constant, and which it is."""
import typing
from fractions import Fraction

_STANDARD_RATES = [Fraction(n) for n in (1, 2, 5, 6, 8, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]
_USUAL = Fraction(25)
_COARSE, _FINE = Fraction(1, 1000), Fraction(1, 90000)   # seconds
_LEAP = 10   # seconds, as ffmpeg takes it
_LARGEST = 2 ** 31   # of a denominator that containers can hold


def tolerance(rate: Fraction, unit: Fraction) -> Fraction:
    """Returns the seconds by which a frame of a constant rate may be off: rounding, and a small part of a frame.

    Args:
      rate: frames per second.
      unit: seconds of a unit of time of the file, which may be as long as a frame.
    """
    return min(Fraction(3, 2) * unit, 1 / rate / 6)


def frame_rate(times: typing.Sequence[typing.Any], unit: Fraction, stated: typing.Optional[Fraction] = None,
               last: typing.Optional[Fraction] = None) -> typing.Tuple[Fraction, bool]:
    """Returns the average rate of frames, and whether it is constant, as the time of every frame must show.

    Args:
      times: time of each frame in units; None for unknown ones.
      unit: seconds.
      stated: the rate that the file states; None for no such statement.
      last: seconds for which the last frame is shown; None if unknown.
    Returns:
      (frames per second, whether the rate is constant). The stated rate, or a usual one, that differs from the average
      by no more than the rounding of the times, is taken for it; frames without times get the stated or 25.
    """
    if len(times) == 1 and last:
        return 1 / last, True
    if len(times) < 2 or None in times or times[-1] <= times[0]:
        return stated or _USUAL, True
    span, count = times[-1] - times[0], len(times) - 1
    average = count / (span * unit)
    allowed = tolerance(average, unit) / unit
    constant = all(abs(time - times[0] - Fraction(span * i, count)) <= allowed for i, time in enumerate(times))
    if last is not None and abs(last - 1 / average) > 1 / average / 4:
        constant = False
    if constant:
        candidates = ([stated] if stated else []) + _STANDARD_RATES
        fitting = [rate for rate in candidates if abs(count / rate / unit - span) <= min(Fraction(1), allowed)]
        if fitting:
            return fitting[0], True
    return average.limit_denominator(100000), constant


def leaps(times: typing.Sequence[typing.Any], unit: Fraction) -> bool:
    """Returns whether the clock of the times of frames, as those of `frame_rate`, leaps."""
    known = [time for time in times if time is not None]
    return any(abs(later - time) * unit > _LEAP for time, later in zip(known, known[1:]))


def writable(times: typing.Sequence[int], unit: Fraction) -> typing.Tuple[typing.List[int], Fraction]:
    """Returns times that containers can hold, each later than the one before, and their unit in seconds.

    All frames keep their times, but for one that begins no later than the one before it: it is shown for 1/90000 s or
    less. A coarse unit becomes a part of it, to which the start of a video need not be rounded.
    """
    parts = 1
    if unit > _COARSE or any(later <= time for time, later in zip(times, times[1:])):
        parts = max(1, min(-(-unit // _FINE), _LARGEST // unit.denominator))
    increasing: typing.List[int] = []
    for time in times:
        increasing.append(max(time * parts, increasing[-1] + 1) if increasing else time * parts)
    return increasing, unit / parts

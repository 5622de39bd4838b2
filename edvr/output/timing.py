"""The display times of the frames of a written video."""
import typing
from fractions import Fraction

from data_tools.media.video import VideoInfo

_MICROSECOND = Fraction(1, 1000000)
RATE = Fraction(25)   # where nothing states one


def wanted_rate(fps: float, own: typing.Optional[Fraction] = None) -> Fraction:
    """Returns the rate of --fps in frames per second; for 0 that of the source, or RATE without one."""
    return Fraction(fps).limit_denominator(1001) or own or RATE


class Timing:
    """The times of frames.

    Attributes:
      rate: Fraction, frames per second, on average.
      constant: bool.
      start: float, seconds before the first frame.
      unit: Fraction, seconds of one unit of time.
    """

    def __init__(self, rate: typing.Union[Fraction, int], start: float = 0., times: typing.Tuple[int, ...] = (),
                 unit: typing.Optional[Fraction] = None, last: typing.Optional[Fraction] = None) -> None:
        """
        Args:
          rate: frames per second.
          start: seconds.
          times: the time of each frame in units after the first; empty for a constant rate.
          unit: seconds; needed with `times`.
          last: seconds for which the last frame is shown; None for the average duration.
        """
        self.rate, self.start, self._times = Fraction(rate), start, times
        self._last = last or 1 / self.rate
        self.constant = not times
        self.unit = unit if times and unit else 1 / self.rate

    @classmethod
    def of_source(cls, source: typing.Optional[VideoInfo], rate: Fraction) -> 'Timing':
        """Returns the Timing of a video, or of none; another `rate` than the source's replaces its times."""
        if source is None:
            return cls(rate)
        if source.constant_rate or rate != source.rate:
            return cls(rate, source.start)
        return cls(rate, source.start, source.times, source.time_base, source.last)

    def units(self, index: int) -> int:
        """Returns the time of a frame after the first, in units; of the one behind the last, when that ends."""
        if self.constant:
            return index
        if index < len(self._times):
            return self._times[index]
        return self._times[-1] + max(1, round(self._last / self.unit))

    def seconds(self, index: int) -> Fraction:
        """Returns the time of a frame after the first in seconds."""
        return self.units(index) * self.unit

    def microseconds(self, index: int) -> int:
        """Returns the time of a frame after the first, rounded, so that rounding errors do not accumulate."""
        return round(self.seconds(index) / _MICROSECOND)

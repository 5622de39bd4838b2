"""The display times of the frames of a written video."""
from fractions import Fraction

_MICROSECOND = Fraction(1, 1000000)


class Timing:
    """The times of frames.

    Attributes:
      rate: Fraction, frames per second, on average.
      constant: bool.
      start: float, seconds before the first frame.
      unit: Fraction, seconds of one unit of time.
    """

    def __init__(self, rate, start=0., times=(), unit=None):
        """
        Args:
          rate: Fraction.
          start: float.
          times: tuple of int, the time of each frame in units after the first; empty for a constant rate.
          unit: Fraction, seconds; needed with `times`.
        """
        self.rate, self.start, self._times = Fraction(rate), start, times
        self.constant = not times
        self.unit = unit if times else 1 / self.rate

    @classmethod
    def of_source(cls, source, rate):
        """The Timing of a VideoInfo; another `rate` replaces the times of the source. `source` None starts at 0."""
        if source is None:
            return cls(rate)
        if source.constant_rate or rate != source.rate:
            return cls(rate, source.start)
        return cls(rate, source.start, source.times, source.time_base)

    def units(self, index):
        """Time of a frame after the first, in units; after the last frame, one average duration later."""
        if self.constant:
            return index
        if index < len(self._times):
            return self._times[index]
        return self._times[-1] + max(1, round(1 / self.rate / self.unit))

    def seconds(self, index):
        """Time of a frame after the first, Fraction of seconds."""
        return self.units(index) * self.unit

    def microseconds(self, index):
        """The same, rounded to int, so that rounding errors do not accumulate."""
        return round(self.seconds(index) / _MICROSECOND)

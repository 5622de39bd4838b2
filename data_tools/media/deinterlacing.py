"""Whole frames from interlaced ones: by interpolation of the lines that a moment lacks, or from telecined film."""
import math
import typing
from fractions import Fraction

from data_tools.base.errors import UserError

YADIF, BWDIF, IVTC = 'yadif', 'bwdif', 'ivtc'
METHODS = {YADIF: 'interpolates', BWDIF: 'likewise, with a better filter, slower',
           IVTC: 'puts the fields of telecined film (29.97 frames/s) together again to its 23.976 frames/s'}
FRAME, FIELD = 'frame', 'field'
# without its comb detection after a change of scene, fieldmatch takes sharp detail for combs
_IVTC = 'fieldmatch=order=%s:combmatch=sc,yadif=mode=send_frame:deint=interlaced,decimate'
_CYCLE = 5   # telecine makes so many frames of one less


class Deinterlacing(typing.NamedTuple):
    """Describes how interlaced frames become whole ones.

    Attributes:
      method: one of METHODS; '' leaves them as they are.
      rate: FRAME makes one of each pair of fields, FIELD two.
    """
    method: str = ''
    rate: str = FRAME

    @classmethod
    def from_job(cls, job: typing.Mapping[str, typing.Any]) -> 'Deinterlacing':
        """Returns the Deinterlacing that a set was packed with, from the `job` of its manifest.

        Raises:
          UserError: an unknown method or rate.
        """
        made = cls(*job.get('deinterlace', ()))
        made.filters()
        return made

    @property
    def counts_differ(self) -> bool:
        """Returns whether the whole frames are more or fewer than the interlaced ones."""
        return self.method == IVTC or bool(self.method and self.rate == FIELD)

    def filters(self, flagged: bool = True) -> str:
        """Returns ffmpeg's filters, '' without a method.

        Args:
          flagged: whether each frame states if it is interlaced; progressive frames then stay as they are.
        Raises:
          UserError: another method or rate. No other text becomes a part of a filter, which could write files.
        """
        for name, value, known in (('method', self.method, ('', *METHODS)), ('rate', self.rate, (FRAME, FIELD))):
            if value not in known:
                raise UserError('the %s of deinterlacing is %r; it must be one of %s'
                                % (name, value, ', '.join(filter(None, known))))
        if self.method == IVTC:
            return _IVTC % 'auto'
        if not self.method:
            return ''
        every = self.rate == FIELD or not flagged   # with two frames of each, times stay regular
        return '%s=mode=send_%s:deint=%s' % (self.method, self.rate, 'all' if every else 'interlaced')

    def rate_of(self, rate: Fraction) -> Fraction:
        """Returns the frames per second of whole frames, from those of the interlaced ones."""
        return rate * (Fraction(_CYCLE - 1, _CYCLE) if self.method == IVTC else 2 if self.counts_differ else 1)

    def applied(self, info: typing.Any, count: int) -> typing.Any:
        """Returns the VideoInfo of the whole frames.

        Args:
          info: VideoInfo of the interlaced frames.
          count: of the frames that `filters` give, if `counts_differ`.
        Raises:
          UserError: telecined film without a constant rate, whose times cannot be known.
        """
        info = info._replace(deinterlaced=self if self.method else None)
        if not self.counts_differ:
            return info
        if self.method == IVTC and not info.constant_rate:
            raise UserError('%s has no constant rate, as telecined film has: --deinterlace=ivtc cannot restore its '
                            'times; use --deinterlace=%s' % (info.path, BWDIF))
        rate = self.rate_of(info.rate)
        if self.method == IVTC:   # old decimate may repeat the last frame
            return info._replace(num_frames=min(count, math.ceil(info.num_frames * rate / info.rate)), rate=rate,
                                 last=None)
        later = info.times[1:] + (info.times[-1] + round(1 / info.rate / info.time_base),) if info.times else ()
        times = tuple(time for pair in zip(info.times, later) for time in (2 * pair[0], sum(pair)))[:count]
        return info._replace(num_frames=min(count, 2 * info.num_frames), rate=rate, times=times,
                             time_base=info.time_base / 2, last=info.last and info.last / 2)


NONE = Deinterlacing()

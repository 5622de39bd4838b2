"""Options that several programs share: LQ made from GT, videos split into shots."""
import dataclasses
from typing import Iterator, Optional, Tuple

from data_tools.base.config import Config, option
from data_tools.media.degradation import DEGRADATIONS, NONE, RESIZES
from data_tools.media.deinterlacing import BWDIF, FIELD, FRAME, METHODS, YADIF, Deinterlacing
from data_tools.media.noises import NOISES, describe_strengths


@dataclasses.dataclass(frozen=True)
class DegradationConfig(Config):
    """How LQ is made from GT."""

    TITLE = 'LQ made from GT'

    degradation: str = option('bicubic', 'how LQ is made: %s' % ', '.join(
        '%s (%s)' % (name, kind.help) for name, kind in DEGRADATIONS.items()), choices=tuple(DEGRADATIONS), common=True)
    lq_resize: str = option('matlab', "how bicubic shrinks: matlab (as imresize, which made the LQ of REDS and of "
                            "published results) or pillow (Pillow's, which sets of version 1.0 have)",
                            choices=tuple(RESIZES))
    crf: Tuple[int, ...] = option((25,), 'with degradation=compressed: CRF of H.264, 0 is best, 51 worst; two numbers '
                                  'are a range from which each clip draws one', low=0, high=51)
    lq_noise: Tuple[str, ...] = option((), 'noise added after downsampling and before compression; each '
                                       'noisy clip draws one of these', choices=tuple(NOISES))
    lq_noise_probability: float = option(1., 'share of the clips that get lq_noise', low=0, high=1)
    lq_noise_strength: float = option(10., 'upper end of the lq_noise drawn: ' + describe_strengths(), low=0, high=100)

    @property
    def draws(self) -> bool:
        """Returns whether the LQ of a clip depends on its name and a seed."""
        kind = DEGRADATIONS[self.degradation]
        return kind.is_random or bool(self.lq_noise) or ('crf' in kind.parameters and len(set(self.crf)) > 1)

    def problems(self) -> Iterator[str]:
        """Yields a text for each inconsistency between fields."""
        yield from super().problems()
        if self.lq_noise and self.degradation in ('realistic', NONE):
            yield 'lq_noise is for other degradations than %s' % self.degradation
        if not 1 <= len(self.crf) <= 2 or list(self.crf) != sorted(self.crf):
            yield 'crf is %s; it must be one number, or a range such as 15,35' % ','.join(map(str, self.crf))


@dataclasses.dataclass(frozen=True)
class MadeLqConfig(DegradationConfig):
    """Whether LQ is made from GT, and how."""

    make_lq: bool = option(False, 'make LQ from GT, for clips that have only GT. GT whose sides do not divide by the '
                           'scale is cropped at the right and at the bottom', common=True)


@dataclasses.dataclass(frozen=True)
class DeinterlaceConfig(Config):
    """Holds what becomes of interlaced videos."""

    TITLE = 'interlaced videos'

    deinterlace: str = option('', 'convert interlaced videos to progressive frames; without this option they are '
                              'refused: %s. Without a value it is %s' % (
                                  '; '.join('%s %s' % item for item in METHODS.items()), YADIF),
                              choices=('',) + tuple(METHODS), bare=YADIF)
    deinterlace_rate: str = option(FRAME, 'frame makes one frame of each pair of fields, field two, at twice the rate '
                                   '(not with ivtc)', choices=(FRAME, FIELD))

    @property
    def deinterlacing(self) -> Deinterlacing:
        """Returns the two options as a value."""
        return Deinterlacing(self.deinterlace, self.deinterlace_rate)

    def problems(self) -> Iterator[str]:
        """Yields a text for each inconsistency between fields."""
        yield from super().problems()
        if self.deinterlace_rate == FIELD and self.deinterlace not in (YADIF, BWDIF):
            yield 'deinterlace_rate is field; it needs --deinterlace=%s or %s' % (YADIF, BWDIF)


@dataclasses.dataclass(frozen=True)
class ShotConfig(Config):
    """How clips are split at cuts."""

    TITLE = 'shots'

    split_shots: Optional[bool] = option(None, 'make each shot a separate clip, so that no window crosses a cut; '
                                         'default: videos are split, folders of images are not', common=True)
    shots: str = option('', 'JSON file with the shots of clips, {"NAME": [[FIRST, END], ...]}: frame numbers from 0, '
                        'END not included. Other clips are treated as without this file', path='input')
    shot_threshold: float = option(.1, "lowest scene score of ffmpeg's (0 to 1) that is a cut; lower finds more cuts",
                                   low=0, high=1)
    shot_min_frames: int = option(5, 'cuts that would make a shorter shot are ignored, such as flashes', low=1)

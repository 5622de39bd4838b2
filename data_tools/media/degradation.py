"""LQ from GT: downsampling, then noise, then compression. A new kind of degradation is one entry of DEGRADATIONS.

`bicubic` is MATLAB's `imresize` (see `imresize`), which made the LQ of REDS and of published results. With `resize` =
'pillow' it is Pillow's, which sets of earlier versions have: similar, but border handling, rounding and weights differ,
by up to 17 levels at borders and 5 inside.

`realistic` is the chain of blur, resizing, noise and compression of Real-ESRGAN and RealBasicVSR (see `realistic`).

`bd` is the papers' blur and downsampling, as the MATLAB scripts of BasicVSR and VRT make it (their BDx4 folders of
Vid4, UDM10 and Vimeo-90K): a Gaussian of sigma 1.6 in a window of 12x12 pixels, the border repeated, one value per 4x4
pixels, rounded once at the end. The even window is centred on those 4x4 pixels, so this LQ has the same phase as
bicubic's. DUF's version, which some papers use, takes 13x13 around the upper left of the 4x4 pixels and reflects
the border: its LQ is shifted by 1.5 GT pixels, and a network trained on one of the two fails on the other. Scale 3 has
a middle pixel and takes 7x7 around it, as the scripts of RDN and RCAN do (11x11 in sets of earlier versions); scale 2
takes 12x12.

Train and evaluate on one kind.
"""
import itertools
import typing
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from data_tools.base.errors import UserError
from data_tools.media import compression, imresize, realistic
from data_tools.media.noises import NOISES

if TYPE_CHECKING:
    from data_tools.media.config import DegradationConfig, MadeLqConfig

BD_SIGMA = 1.6
NONE = 'none'   # the kind whose LQ is GT
REVISION = 2    # of the pixels of `realistic`: in 1 the noise of the same draw had other random numbers
Frames = typing.Generator[np.ndarray, None, None]   # uint8 [H, W, 3] each; closing it ends its decoder


def _pillow(gt, scale):
    return np.asarray(Image.fromarray(gt).resize((gt.shape[1] // scale, gt.shape[0] // scale), Image.BICUBIC))


RESIZES = {'matlab': imresize.shrink, 'pillow': _pillow}


def make_lq(gt: np.ndarray, scale: int, path: str = 'GT frame', resize: str = 'matlab') -> np.ndarray:
    """Shrinks one frame by antialiased bicubic.

    Args:
      gt: uint8 [s*H, s*W, 3], RGB.
      scale: s.
      path: what `gt` is, for the error.
      resize: name of RESIZES.
    Returns:
      uint8 [H, W, 3].
    Raises:
      UserError: a side of `gt` is no multiple of `scale` (a silent crop would misalign GT and LQ).
    """
    _check_size(gt, scale, path)
    return RESIZES[resize](gt, scale)


def blur_and_subsample(gt: np.ndarray, scale: int, path: str = 'GT frame',
                       window: typing.Optional[int] = None) -> np.ndarray:
    """Shrinks one frame by `bd`; arguments, result and errors of `make_lq`. The default of `window` is `bd_window`."""
    _check_size(gt, scale, path)
    height, width = gt.shape[0] // scale, gt.shape[1] // scale
    weights = bd_weights(window or bd_window(scale))
    reach = (len(weights) - scale) // 2   # pixels of the window on each side of the block of `scale` pixels
    padded = np.pad(gt, [(reach, reach), (reach, reach), (0, 0)], 'edge').astype(np.float64)
    rows = sum(weight * padded[i:i + scale * height:scale] for i, weight in enumerate(weights))
    image = sum(weight * rows[:, i:i + scale * width:scale] for i, weight in enumerate(weights))
    return np.floor(image + 0.5).astype(np.uint8)   # MATLAB rounds halves up


def bd_window(scale: int) -> int:
    """Returns the side of the window of `bd` in pixels, as the module describes it."""
    return {1: 11, 3: 7}.get(scale, 12)


def bd_weights(taps: int) -> np.ndarray:
    """Returns the Gaussian of `bd` along one axis, float64 [taps]; sum 1."""
    distance = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(-distance ** 2 / (2 * BD_SIGMA ** 2))
    return weights / weights.sum()


def _check_size(gt, scale, path):
    height, width = gt.shape[:2]
    if height % scale or width % scale:
        raise UserError('%s is %dx%d (height x width), which does not divide by scale %d; crop the clip to %dx%d first'
                        % (path, height, width, scale, height // scale * scale, width // scale * scale))


class Kind(typing.NamedTuple):
    """A kind of degradation.

    Attributes:
      help: what it does, for the help of the option.
      downsample: function (gt uint8 [s*H, s*W, 3], Degradation, what `gt` is str) -> uint8 [H, W, 3].
      whole_clip: None, or a function (frames, Degradation, name of the clip) -> frames, for what depends on the other
        frames of the clip; frames are iterators of uint8 [H, W, 3], after downsampling and noise.
      parameters: the fields of Degradation that determine its pixels together with the seed, beside noise.
      published_as: the kind of LQ of published data sets that it makes, see `dataset_layouts.Layout`.
      is_random: whether pixels depend on the seed also without noise and other parameters.
      before: function (scale) -> {field of Degradation: its value in sets that do not record it}; such sets are of
        earlier versions, which had no choice. A field with this value is not recorded, so that they are continued.
    """
    help: str
    downsample: typing.Callable[[np.ndarray, 'Degradation', str], np.ndarray]
    whole_clip: typing.Optional[typing.Callable[[Frames, 'Degradation', str], Frames]] = None
    parameters: typing.Tuple[str, ...] = ()
    published_as: str = 'BI'
    is_random: bool = False
    before: typing.Callable[[int], typing.Dict[str, typing.Any]] = lambda scale: {}


def _bicubic(gt, made, path):
    return make_lq(gt, made.scale, path, made.resize)


def _whole(gt, scale, path):
    _check_size(gt, scale, path)
    return gt


def _realistic(frames, made, clip):
    """Yields the LQ of a clip, all of it from one draw; see `realistic`."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    plan = realistic.draw(made.random(clip, 'realistic'))
    degrader = realistic.Degrader(plan, first.shape[:2], made.scale)
    found: typing.Iterable[np.ndarray] = itertools.chain([first], frames)
    for drawn, through, name in zip(plan.rounds, (degrader.first_round, degrader.second_round), ('first', 'second')):
        found = _each(found, through, made, clip, name)
        if drawn.codec:
            found = compression.through_codec(found, drawn.codec[1], drawn.codec[0])
    yield from found


def _each(frames, through, made, clip, name):
    for index, frame in enumerate(frames):
        yield through(frame, made.random(clip, '%s %d' % (name, index)))


def _pillow_before(scale):
    return dict(resize='pillow')


DEGRADATIONS = {
    'bicubic': Kind('antialiased, see lq_resize', _bicubic, before=_pillow_before),
    'bd': Kind('Gaussian blur of sigma 1.6, then every scale-th pixel', lambda gt, made, path:
               blur_and_subsample(gt, made.scale, path, made.window), published_as='BD',
               before=lambda scale: dict(window=11 if scale % 2 else 12)),
    'realistic': Kind('blur, resizing, noise and compression, twice, as of real cameras and web sites',
                      lambda gt, made, path: _whole(gt, made.scale, path), whole_clip=_realistic, is_random=True,
                      before=lambda scale: dict(revision=1)),
    NONE: Kind('GT itself, with scale=1, for --degradation of edvr.train', lambda gt, made, path: gt),
    'compressed': Kind('bicubic, then H.264', _bicubic, parameters=('crf',), before=_pillow_before,
                       whole_clip=lambda frames, made, clip: compression.through_codec(frames, made.crf_of(clip))),
}


_FLAGS = dict(kind='degradation', resize='lq_resize', crf='crf', noise='lq_noise', seed='seed',
              noise_probability='lq_noise_probability', noise_strength='lq_noise_strength')   # of the fields


class Degradation(typing.NamedTuple):
    """How LQ is made from GT; a function of the clip's name and the seed, independent of the worker.

    Attributes:
      kind: name of DEGRADATIONS.
      scale: size of GT over size of LQ.
      crf: CRF of H.264 of kinds that compress: one, or the ends of the range from which each clip draws one.
      noise: names of NOISES; each noisy clip draws one.
      noise_probability: share of the clips that get noise.
      noise_strength: upper end of the strength that a noisy clip draws.
      seed: of all that is random.
      resize: name of RESIZES, for the kinds that shrink by bicubic.
      window: side of the window of `bd` in pixels; None is that of `bd_window`.
      revision: of `realistic`: REVISION, or that of the set whose LQ it describes.
    """
    kind: str
    scale: int
    crf: typing.Tuple[int, ...] = (25,)
    noise: typing.Tuple[str, ...] = ()
    noise_probability: float = 1.
    noise_strength: float = 10.
    seed: int = 0
    resize: str = 'matlab'
    window: typing.Optional[int] = None
    revision: int = REVISION

    @classmethod
    def from_config(cls, config: 'DegradationConfig', scale: int, seed: int = 0) -> 'Degradation':
        """Returns the Degradation of a DegradationConfig."""
        return cls(config.degradation, scale, config.crf, config.lq_noise, config.lq_noise_probability,
                   config.lq_noise_strength, seed, config.lq_resize)

    @classmethod
    def if_wanted(cls, config: 'MadeLqConfig', scale: int, seed: int = 0) -> typing.Optional['Degradation']:
        """Returns the Degradation of a MadeLqConfig, or None without make_lq."""
        return cls.from_config(config, scale, seed) if config.make_lq else None

    @classmethod
    def from_job(cls, job: typing.Dict[str, typing.Any]) -> typing.Optional['Degradation']:
        """Returns the Degradation that a set was packed with, or None if its LQ came with it.

        Args:
          job: the `job` of its manifest.
        Raises:
          UserError: the kind of degradation, of resizing or of noise is unknown, or the range of CRF is empty.
        """
        if not job.get('make_lq'):
            return None
        values = dict(job.get('degradation') or dict(kind='bicubic'))   # older versions had only bicubic
        choices = [('kind', values['kind'], tuple(DEGRADATIONS)),
                   ('resize', values.get('resize', 'matlab'), tuple(RESIZES))]
        choices += [('noise', name, tuple(NOISES)) for name in values.get('noise', ())]
        for key, name, known in choices:
            if name not in known:
                raise UserError("the manifest's job.degradation.%s is %r; it must be one of %s: pack the set again"
                                % (key, name, ', '.join(known)))
        if list(values.get('crf', ())) != sorted(values.get('crf', ())):
            raise UserError("the manifest's job.degradation.crf is %s; it must be one number, or the lower and the "
                            "higher end of a range: pack the set again" % values['crf'])
        before = DEGRADATIONS[values['kind']].before(job['scale'])
        values.update(scale=job['scale'], crf=tuple(values.get('crf', ())), noise=tuple(values.get('noise', ())))
        return cls(**dict(before, **values))

    def to_job(self) -> typing.Dict[str, typing.Any]:
        """Returns the parameters that determine the pixels, as a dict for JSON."""
        kind, made = DEGRADATIONS[self.kind], self._replace(window=self.window or bd_window(self.scale))
        names = kind.parameters
        names += ('noise', 'noise_probability', 'noise_strength') if self.noise else ()
        names += ('seed',) if names or kind.is_random else ()
        names += tuple(name for name, value in kind.before(self.scale).items() if getattr(made, name) != value)
        values = {name: getattr(made, name) for name in ('kind',) + names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def flags(self) -> str:
        """Returns the flags of `edvr.evaluate` and `make_lq` that give this degradation."""
        return ' '.join(['--make_lq'] + ['--%s=%s' % (_FLAGS[name], value) for name, value in self._texts().items()
                                         if name in _FLAGS])

    def _texts(self):
        """Returns {field: its value as text} of what determines the pixels."""
        values = dict(DEGRADATIONS[self.kind].before(self.scale), **self.to_job())
        return {name: ','.join(map(str, value)) if isinstance(value, list) else str(value)
                for name, value in sorted(values.items())}

    def describe(self) -> str:
        """Returns the kind with its parameters, such as 'bicubic (resize=matlab)'."""
        texts = ['%s=%s' % item for item in self._texts().items() if item[0] != 'kind']
        return '%s (%s)' % (self.kind, ', '.join(texts)) if texts else self.kind

    @property
    def is_repeatable(self) -> bool:
        """Returns whether this program makes the same pixels again, if this describes the LQ of a set."""
        return self.revision == REVISION or 'revision' not in DEGRADATIONS[self.kind].before(self.scale)

    @property
    def needs_whole_clip(self) -> bool:
        """Returns whether a frame of LQ depends on the frames before it."""
        return DEGRADATIONS[self.kind].whole_clip is not None

    def apply(self, gt: typing.Iterable[np.ndarray], clip: str, start: int = 0) -> Frames:
        """Makes the LQ frames of a clip.

        Args:
          gt: uint8 [s*H, s*W, 3] each, the frames from number `start` on; all of the clip if `needs_whole_clip`.
          clip: its name; what is random depends on it.
          start: number of the first frame of `gt`.
        Yields:
          uint8 [H, W, 3] for each.
        Raises:
          UserError: a side of a frame is no multiple of the scale; ffmpeg fails.
        """
        whole_clip, frames = DEGRADATIONS[self.kind].whole_clip, self._downsampled(gt, clip, start)
        return whole_clip(frames, self, clip) if whole_clip else frames

    def drawn(self, clip: str) -> str:
        """Returns what a clip draws, such as 'crf=23'; '' if it draws nothing that has a name."""
        return 'crf=%d' % self.crf_of(clip) if 'crf' in DEGRADATIONS[self.kind].parameters else ''

    def crf_of(self, clip: str) -> int:
        """Returns the CRF that a clip gets."""
        return int(self.random(clip, 'crf').randint(self.crf[0], self.crf[-1] + 1))

    def _downsampled(self, gt, clip, start):
        downsample, noise = DEGRADATIONS[self.kind].downsample, self._noise_of(clip)
        for index, frame in enumerate(gt, start):
            lq = downsample(frame, self, 'frame %d of clip %s' % (index, clip))
            yield noise(lq, self.random(clip, index)) if noise else lq

    def _noise_of(self, clip):
        """Returns a function (frame, RandomState) -> frame for the noise that a clip gets, of one kind; or None."""
        draw = self.random(clip, 'noise').uniform(size=3)
        if not self.noise or draw[0] >= self.noise_probability:
            return None
        kind, level = self.noise[int(draw[1] * len(self.noise))], draw[2] * self.noise_strength
        return lambda frame, random: add_noise(frame, kind, level, random)

    def random(self, clip: str, use: typing.Union[str, int]) -> np.random.RandomState:
        """Returns the random numbers of a clip for one use."""
        return np.random.RandomState([self.seed & 0xffffffff, zlib.crc32(clip.encode('utf-8')),
                                      zlib.crc32(str(use).encode('utf-8'))])


def add_noise(frame: np.ndarray, kind: str, level: float, random: np.random.RandomState) -> np.ndarray:
    """Returns a frame with noise, as the training adds it to crops.

    Args:
      frame: uint8 [H, W, 3].
      kind: name of NOISES.
      level: its strength.
    Returns:
      uint8 [H, W, 3], rounded and clipped to 0..255.
    """
    values = NOISES[kind].apply(frame.astype(np.float64), level, _Random(frame.shape, random))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class _Random:
    """The random numbers of one frame, as `data_tools.media.noises` uses them."""
    where = staticmethod(np.where)

    def __init__(self, shape, random):
        self._shape, self._random = shape, random

    def normal(self) -> np.ndarray:
        return self._random.normal(size=self._shape)

    def uniform(self) -> np.ndarray:
        return self._random.uniform(size=self._shape[:2] + (1,))

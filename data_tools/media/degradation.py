"""LQ from GT: downsampling, then noise, then compression.

`bicubic` is Pillow's: `Image.resize` with `BICUBIC` widens its kernel (a = -0.5) by the scale when it shrinks, so it
filters before it subsamples. That is the same idea as MATLAB's `imresize`, which made the LQ of REDS, but not the same
pixels: border handling, rounding and fixed-point weights differ by up to a few levels.

`bd` is the papers' blur and downsampling, as the MATLAB scripts of BasicVSR and VRT make it (their BDx4 folders of
Vid4, UDM10 and Vimeo-90K): a Gaussian of sigma 1.6 in a window of 12x12 pixels, the border repeated, one value per 4x4
pixels, rounded once at the end. The even window lies around the middle of those 4x4 pixels, so this LQ lies where
bicubic's does. DUF's version, which some papers use, takes 13x13 around the upper left of the 4x4 pixels and reflects
the border: its LQ is shifted by 1.5 GT pixels, and a network trained on one of the two fails on the other. Scale 3 has
a middle pixel and takes 11x11 around it, as the scripts of RDN and RCAN do; scale 2 takes 12x12.

Train and evaluate on one kind.
"""
import math
import typing
import zlib

import numpy as np
from PIL import Image

from data_tools.base.errors import UserError
from data_tools.media import compression
from data_tools.media.config import DEGRADATIONS

BD_SIGMA = 1.6


def make_lq(gt, scale, path='GT frame'):
    """One frame, smaller, by Pillow's antialiased bicubic.

    Args:
      gt: uint8 [s*H, s*W, 3], RGB.
      scale: int, s.
      path: str, what `gt` is, for the error.
    Returns:
      uint8 [H, W, 3].
    Raises:
      UserError: a side of `gt` is no multiple of `scale` (nothing is cropped silently: GT and LQ would not align).
    """
    height, width = _lq_size(gt, scale, path)
    return np.asarray(Image.fromarray(gt).resize((width, height), Image.BICUBIC))


def blur_and_subsample(gt, scale, path='GT frame'):
    """One frame, smaller, by `bd` as described above; arguments, result and errors of `make_lq`."""
    height, width = _lq_size(gt, scale, path)
    weights = bd_weights(scale)
    reach = (len(weights) - scale) // 2   # pixels of the window on each side of the block of `scale` pixels
    padded = np.pad(gt, [(reach, reach), (reach, reach), (0, 0)], 'edge').astype(np.float64)
    rows = sum(weight * padded[i:i + scale * height:scale] for i, weight in enumerate(weights))
    image = sum(weight * rows[:, i:i + scale * width:scale] for i, weight in enumerate(weights))
    return np.floor(image + 0.5).astype(np.uint8)   # MATLAB rounds halves up


def bd_weights(scale):
    """The Gaussian of `bd` along one axis, float64 [12] or, for odd scales, [11]; sum 1."""
    taps = 2 * math.ceil(3 * BD_SIGMA) + (1 if scale % 2 else 2)
    distance = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(-distance ** 2 / (2 * BD_SIGMA ** 2))
    return weights / weights.sum()


def _lq_size(gt, scale, path):
    height, width = gt.shape[:2]
    if height % scale or width % scale:
        raise UserError('%s is %dx%d (height x width), which does not divide by scale %d; crop the clip to %dx%d first'
                        % (path, height, width, scale, height // scale * scale, width // scale * scale))
    return height // scale, width // scale


class Degradation(typing.NamedTuple):
    """How LQ is made from GT; a function of the clip's name and the seed, whoever computes it.

    kind, crf, noise, noise_probability, noise_strength: see the options of DegradationConfig. scale: int. seed: int.
    """
    kind: str
    scale: int
    crf: typing.Tuple[int, ...] = (25,)
    noise: typing.Tuple[str, ...] = ()
    noise_probability: float = 1.
    noise_strength: float = 10.
    seed: int = 0

    @classmethod
    def from_config(cls, config, scale, seed=0):
        """The Degradation of a DegradationConfig."""
        return cls(config.degradation, scale, config.crf, config.lq_noise, config.lq_noise_probability,
                   config.lq_noise_strength, seed)

    @classmethod
    def if_wanted(cls, config, scale, seed=0):
        """The Degradation of a MadeLqConfig, or None if LQ is not to be made."""
        return cls.from_config(config, scale, seed) if config.make_lq else None

    @classmethod
    def from_job(cls, job):
        """The Degradation that a set was packed with (the `job` of its manifest), or None if its LQ was not made."""
        if not job.get('make_lq'):
            return None
        values = dict(job.get('degradation') or dict(kind='bicubic'))   # sets of older versions knew only bicubic
        if values['kind'] not in DEGRADATIONS:
            raise UserError("the manifest's job.degradation.kind is %r; it must be one of %s: pack the set again"
                            % (values['kind'], ', '.join(DEGRADATIONS)))
        return cls(**dict(values, scale=job['scale'], crf=tuple(values.get('crf', ())),
                          noise=tuple(values.get('noise', ()))))

    def to_job(self):
        """What decides the pixels, as a dict for JSON."""
        values = dict(kind=self.kind)
        if self.kind == 'compressed':
            values.update(crf=list(self.crf), seed=self.seed)
        if self.noise:
            values.update(noise=list(self.noise), noise_probability=self.noise_probability,
                          noise_strength=self.noise_strength, seed=self.seed)
        return values

    @property
    def needs_whole_clip(self):
        """Whether a frame of LQ depends on the frames before it."""
        return self.kind == 'compressed'

    def apply(self, gt, clip, start=0):
        """LQ frames of a clip.

        Args:
          gt: iterable of uint8 [s*H, s*W, 3], the frames from number `start` on; all of the clip where
            `needs_whole_clip`.
          clip: str, its name; what is random depends on it.
          start: int.
        Yields:
          uint8 [H, W, 3] for each.
        Raises:
          UserError: a side of a frame is no multiple of the scale; ffmpeg fails.
        """
        if self.kind == 'compressed':
            return compression.through_h264(self._downsampled(gt, clip, start), self.crf_of(clip))
        return self._downsampled(gt, clip, start)

    def crf_of(self, clip):
        """The CRF that a clip gets, int."""
        return int(self._random(clip, 'crf').randint(self.crf[0], self.crf[-1] + 1))

    def _downsampled(self, gt, clip, start):
        shrink = blur_and_subsample if self.kind == 'bd' else make_lq
        noise = self._noise_of(clip)
        for index, frame in enumerate(gt, start):
            lq = shrink(frame, self.scale, 'frame %d of clip %s' % (index, clip))
            yield noise(lq, self._random(clip, index)) if noise else lq

    def _noise_of(self, clip):
        """None, or a function (frame, RandomState) -> frame: the noise that a clip gets, of one kind and strength."""
        draw = self._random(clip, 'noise').uniform(size=3)
        if not self.noise or draw[0] >= self.noise_probability:
            return None
        kind, level = self.noise[int(draw[1] * len(self.noise))], draw[2] * self.noise_strength
        return lambda frame, random: add_noise(frame, kind, level, random)

    def _random(self, clip, use):
        return np.random.RandomState([self.seed & 0xffffffff, zlib.crc32(clip.encode('utf-8')),
                                      zlib.crc32(str(use).encode('utf-8'))])


def add_noise(frame, kind, level, random):
    """A frame with noise, as the training adds it to crops.

    Args:
      frame: uint8 [H, W, 3].
      kind: 'gaussian' (standard deviation `level` in grey levels), 'speckle' (`level` percent of each value) or
        'salt_pepper' (`level` percent of the pixels become black or white, half of them each).
      level: float.
      random: np.random.RandomState.
    Returns:
      uint8 [H, W, 3], rounded and clipped to 0..255.
    """
    if kind == 'salt_pepper':
        where, share = random.uniform(size=frame.shape[:2] + (1,)), level / 200
        return np.where(where < share, 0, np.where(where >= 1 - share, 255, frame)).astype(np.uint8)
    noise = random.normal(size=frame.shape)
    noisy = frame + level * noise if kind == 'gaussian' else frame * (1 + level / 100 * noise)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

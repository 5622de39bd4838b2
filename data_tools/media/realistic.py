"""The second-order degradation of the field: LQ as of real cameras, editors and web sites.

Blur, resizing, noise and compression, twice, each drawn from a range, as Real-ESRGAN (arXiv 2107.10833) makes LQ of
images and RealBasicVSR (arXiv 2111.12704) of videos, whose ranges RECIPE has. One draw holds for a clip, as one camera
and one codec would give it: kernels, sizes, levels of noise and qualities. The noise itself is new in each frame.
"""
import io
import math
import typing

import numpy as np
from PIL import Image

Frames = typing.Any   # float32 [F, H, W, 3] in grey levels (0 to 255), not clipped
Size = typing.Tuple[int, int]   # height, width in pixels
Range = typing.Tuple[float, float]

# kinds of blur kernels and their probabilities
KERNELS = (('isotropic', .45), ('anisotropic', .25), ('generalised isotropic', .12), ('generalised anisotropic', .03),
           ('plateau isotropic', .12), ('plateau anisotropic', .03))
SIDES = (7, 9, 11, 13, 15, 17, 19, 21)   # of the kernels, pixels
RESIZES = ('area', 'bilinear', 'bicubic')


class Order(typing.NamedTuple):
    """Holds the ranges of one of the two rounds.

    Attributes:
      blur: probability of a blur.
      sigma: of the Gaussian, pixels, along each axis.
      shape: exponent of generalised kernels; `plateau`: of plateau kernels.
      plateau: see `shape`.
      sinc: probability that the blur is a sinc filter, which rings.
      resize: probabilities of enlarging, shrinking and keeping the size.
      size: smallest and largest factor.
      gaussian: standard deviation, grey levels; half of the clips have Gaussian noise, the others Poisson noise.
      poisson: factor on Poisson noise.
      grey: probability that noise is the same in all channels.
      jpeg: quality.
    """
    blur: float
    sigma: Range
    shape: Range
    plateau: Range
    sinc: float
    resize: typing.Tuple[float, float, float]
    size: Range
    gaussian: Range
    poisson: Range
    grey: float
    jpeg: typing.Tuple[int, int]


class Recipe(typing.NamedTuple):
    """Holds the ranges of a degradation.

    Attributes:
      orders: of the two rounds.
      final_sinc: probability of a sinc filter at the end.
      codecs: names of encoders of ffmpeg and the ends of their CRF, one of which each round draws.
      codec: probability that a round ends with a codec.
    """
    orders: typing.Tuple[Order, Order]
    final_sinc: float
    codecs: typing.Tuple[typing.Tuple[str, int, int], ...]
    codec: float


RECIPE = Recipe(
    (Order(1., (.2, 3.), (.5, 4.), (1., 2.), .1, (.2, .7, .1), (.15, 1.5), (1., 30.), (.05, 3.), .4, (30, 95)),
     Order(.8, (.2, 1.5), (.5, 4.), (1., 2.), .1, (.3, .4, .3), (.3, 1.2), (1., 25.), (.05, 2.5), .4, (30, 95))),
    .8, (('libx264', 18, 35), ('libx265', 20, 37)), .5)


class Round(typing.NamedTuple):
    """Describes one drawn round; None leaves a stage out.

    Attributes:
      kernel: float64 [k, k], sum 1.
      factor, resize: of the size, and the name of RESIZES.
      noise, level, grey: 'gaussian' or 'poisson', its level, whether all channels have the same.
      quality: of JPEG.
      codec: (encoder, CRF) through which the whole clip passes.
    """
    kernel: typing.Optional[np.ndarray]
    factor: float
    resize: str
    noise: str
    level: float
    grey: bool
    quality: int
    codec: typing.Optional[typing.Tuple[str, int]]


class Plan(typing.NamedTuple):
    """Describes a drawn degradation.

    Attributes:
      rounds: the two rounds; the second resizes relative to the size of LQ, not of GT.
      sinc: float64 [k, k], the filter at the end, or None.
      resize: name of RESIZES of the step to the size of LQ.
      sharp_last: whether that step and the filter come after the last JPEG.
    """
    rounds: typing.Tuple[Round, Round]
    sinc: typing.Optional[np.ndarray]
    resize: str
    sharp_last: bool


def draw(random: np.random.RandomState, recipe: Recipe = RECIPE) -> Plan:
    """Returns the Plan that the random numbers determine."""
    rounds = [_round(random, order, recipe) for order in recipe.orders]
    sinc = _sinc(random) if random.uniform() < recipe.final_sinc else None
    return Plan((rounds[0], rounds[1]), sinc, RESIZES[random.randint(len(RESIZES))], random.uniform() < .5)


def _round(random, order, recipe):
    kernel = None
    if random.uniform() < order.blur:
        kernel = _sinc(random) if random.uniform() < order.sinc else _blur(random, order)
    enlarge, shrink, _ = order.resize
    place = random.uniform()
    factor = (random.uniform(1., order.size[1]) if place < enlarge else
              random.uniform(order.size[0], 1.) if place < enlarge + shrink else 1.)
    resize = RESIZES[random.randint(len(RESIZES))]
    noise = 'gaussian' if random.uniform() < .5 else 'poisson'
    level = random.uniform(*(order.gaussian if noise == 'gaussian' else order.poisson))
    grey = random.uniform() < order.grey
    quality = random.randint(order.jpeg[0], order.jpeg[1] + 1)
    codec = None
    if random.uniform() < recipe.codec:
        name, best, worst = recipe.codecs[random.randint(len(recipe.codecs))]
        codec = name, int(random.randint(best, worst + 1))
    return Round(kernel, factor, resize, noise, level, bool(grey), int(quality), codec)


def _blur(random, order):
    kinds, probabilities = zip(*KERNELS)
    kind = kinds[int(np.searchsorted(np.cumsum(probabilities), random.uniform() * sum(probabilities), 'right'))]
    side = SIDES[random.randint(len(SIDES))]
    sigma = random.uniform(*order.sigma)
    other = sigma if kind.endswith(' isotropic') or kind == 'isotropic' else random.uniform(*order.sigma)
    angle = random.uniform(-math.pi, math.pi)
    exponent = random.uniform(*(order.plateau if kind.startswith('plateau') else order.shape))
    return blur_kernel(kind, side, sigma, other, angle, exponent)


def blur_kernel(kind: str, side: int, sigma: float, other: float, angle: float, exponent: float) -> np.ndarray:
    """Returns a blur kernel, float64 [side, side], sum 1.

    With q = x' C^-1 x for the covariance C of the two deviations and the angle, it is exp(-q / 2), generalised
    exp(-q ** exponent / 2), plateau 1 / (1 + q ** exponent).

    Args:
      kind: of KERNELS.
      side: pixels, odd.
      sigma, other: standard deviations along the two axes, pixels.
      angle: of the first axis, radians.
      exponent: of generalised and plateau kernels.
    """
    axis = np.arange(side) - side // 2
    x, y = axis[None, :], axis[:, None]
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    q = (along / sigma) ** 2 + (across / other) ** 2
    kernel = (1 / (1 + q ** exponent) if kind.startswith('plateau') else
              np.exp(-.5 * (q ** exponent if kind.startswith('generalised') else q)))
    return kernel / kernel.sum()


def _sinc(random):
    side = SIDES[random.randint(len(SIDES))]
    return sinc_kernel(side, random.uniform(math.pi / 3 if side < 13 else math.pi / 5, math.pi))


def sinc_kernel(side: int, cutoff: float) -> np.ndarray:
    """Returns the circular low-pass filter with `cutoff` in radians a pixel, float64 [side, side], sum 1."""
    axis = np.arange(side) - side // 2
    radius = np.hypot(axis[None, :], axis[:, None])
    radius[side // 2, side // 2] = 1.
    kernel = cutoff * bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[side // 2, side // 2] = cutoff ** 2 / (4 * math.pi)
    return kernel / kernel.sum()


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """Returns the Bessel function J1 of the first kind, by its integral (1 / pi) * cos(t - x sin t) over 0..pi."""
    t = (np.arange(64) + .5) * math.pi / 64   # exact to rounding for the |x| < 60 that kernels have
    return np.cos(t - np.asarray(x)[..., None] * np.sin(t)).mean(-1)


class Linear:
    """Filters with a kernel, mirrored at the borders, then resizes, frames of one size.

    Both are linear, so they are done at once: the kernel is a sum of products of a column and a row (its singular
    values), of which those below a thousandth of the largest are left out.
    """

    def __init__(self, kernel: typing.Optional[np.ndarray], before: Size, after: Size, resize: str) -> None:
        """Computes the weights; `before`, `after`: sizes of a frame, resize: name of RESIZES."""
        down, across = (resize_matrix(*sides, resize) for sides in zip(before, after))
        terms = [(down, across)]
        if kernel is not None:
            columns, values, rows = np.linalg.svd(kernel)
            terms = [(_banded(down, columns[:, i] * values[i]), _banded(across, rows[i]))
                     for i in range(len(values)) if values[i] > 1e-3 * values[0]]
        self.size = after
        self._terms = [(vertical.astype(np.float32), horizontal.astype(np.float32)) for vertical, horizontal in terms]

    def __call__(self, frames: Frames) -> Frames:
        count, height, width, _ = frames.shape
        flat, total = frames.reshape(count, height, width * 3), np.float32(0)
        for vertical, horizontal in self._terms:
            part = np.matmul(vertical, flat).reshape(count, self.size[0], width, 3)
            total = total + np.tensordot(part, horizontal, (2, 1))
        return np.ascontiguousarray(np.moveaxis(total, 2, 3))


def _banded(matrix, taps):
    """Returns the matrix of filtering with `taps`, mirrored at the ends, before `matrix` [out, length]."""
    length, reach = matrix.shape[1], len(taps) // 2
    band = np.zeros([length, length])
    rows = np.arange(length)
    for tap, weight in enumerate(taps):
        place = np.abs(rows + tap - reach) % (2 * length - 2) if length > 1 else rows * 0
        np.add.at(band, (rows, np.minimum(place, 2 * length - 2 - place) if length > 1 else place), weight)
    return matrix @ band


def resize_matrix(length: int, out: int, resize: str) -> np.ndarray:
    """Returns the weights of resizing along an axis, float64 [out, length].

    Args:
      length, out: pixels before and after.
      resize: 'area' is the mean of the covered pixels, 'bilinear' and 'bicubic' (a = -0.75) interpolate between pixel
        centres without antialiasing, as OpenCV's resize does.
    """
    matrix, scale = np.zeros([out, length]), length / out
    if length == out:
        return np.eye(out)
    if resize == 'area' and scale > 1:
        starts = np.arange(out) * scale
        for pixel in range(length):
            matrix[:, pixel] = np.clip(np.minimum(starts + scale, pixel + 1) - np.maximum(starts, pixel), 0, None)
        return matrix / matrix.sum(1, keepdims=True)
    centres = (np.arange(out) + .5) * scale - .5
    first = np.floor(centres).astype(int)
    taps = range(-1, 3) if resize == 'bicubic' else range(2)
    for tap in taps:
        distance = np.abs(centres - (first + tap))
        weight = _cubic(distance) if resize == 'bicubic' else np.maximum(0., 1 - distance)
        np.add.at(matrix, (np.arange(out), np.clip(first + tap, 0, length - 1)), weight)
    return matrix


def _cubic(x, a=-.75):
    near = (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1
    far = a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.))


def noisy(frames: Frames, noise: str, level: float, grey: bool, random: np.random.RandomState) -> Frames:
    """Returns frames with new noise.

    Args:
      frames: the frames.
      noise: 'gaussian', with the standard deviation `level`, or 'poisson', `level` times the noise of as many photons
        as grey levels.
      level: see `noise`.
      grey: whether the channels get the same noise, for Poisson that of the luma.
      random: of the noise.
    """
    if noise == 'gaussian':
        shape = frames.shape[:3] + (1 if grey else 3,)
        return frames + np.float32(level) * random.standard_normal(shape).astype(np.float32)
    values = np.clip(frames @ np.float32([[.299], [.587], [.114]]) if grey else frames, 0, 255)
    return frames + np.float32(level) * (random.poisson(values).astype(np.float32) - values)


def jpeg(frames: Frames, quality: int) -> Frames:
    """Returns frames, rounded and clipped, each after JPEG with 4:2:0."""
    return np.stack([_jpeg(frame, quality) for frame in to_uint8(frames)]).astype(np.float32)


def _jpeg(frame, quality):
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, 'JPEG', quality=quality)
    with Image.open(buffer) as image:
        return np.asarray(image.convert('RGB'))


def to_uint8(frames: Frames) -> np.ndarray:
    """Returns frames rounded and clipped to uint8."""
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def _scaled(size, factor):
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


class Degrader:
    """Applies a Plan to frames of one size; the two codecs between and after its rounds are left to the caller."""

    def __init__(self, plan: Plan, gt: Size, scale: int) -> None:
        """Computes the weights of all filters; `gt`: size of a GT frame, scale: size of GT over size of LQ."""
        self._plan, lq = plan, (gt[0] // scale, gt[1] // scale)
        first, second = (_scaled(size, drawn.factor) for drawn, size in zip(plan.rounds, (gt, lq)))
        self._first = Linear(plan.rounds[0].kernel, gt, first, plan.rounds[0].resize)
        self._second = Linear(plan.rounds[1].kernel, first, second, plan.rounds[1].resize)
        self._last = Linear(plan.sinc, second, lq, plan.resize)

    def first_round(self, frames: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Returns uint8 [F, h, w, 3] of GT frames, uint8 [F, s*H, s*W, 3], before the first codec."""
        return to_uint8(self._through(frames.astype(np.float32), self._first, self._plan.rounds[0], random, True))

    def second_round(self, frames: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Returns LQ, uint8 [F, H, W, 3], of frames of the first round, before the second codec."""
        drawn, last = self._plan.rounds[1], self._plan.sharp_last
        found = self._last(self._through(frames.astype(np.float32), self._second, drawn, random, last))
        return to_uint8(found if last else jpeg(found, drawn.quality))

    def __call__(self, frames: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Returns LQ of GT frames without codecs."""
        return self.second_round(self.first_round(frames, random), random)

    def _through(self, frames, linear, drawn, random, with_jpeg):
        found = np.clip(noisy(linear(frames), drawn.noise, drawn.level, drawn.grey, random), 0, 255)
        return jpeg(found, drawn.quality) if with_jpeg else found

"""The second-order degradation of the field: LQ as of real cameras, editors and web sites.

Blur, resizing, noise and compression, twice, each drawn from a range, as Real-ESRGAN (arXiv 2107.10833) makes LQ of
images and RealBasicVSR (arXiv 2111.12704) of videos, whose ranges RECIPE has. One draw holds for a clip, as one camera
and one codec would give it: kernels, sizes, levels of noise and qualities. The noise itself is new in each frame.
"""
import functools
import io
import math
import typing

import numpy as np
from PIL import Image

Planes = typing.Any   # float32 [H, 3, W], a frame in grey levels (0 to 255), not clipped; products need no copies
Size = typing.Tuple[int, int]   # height, width in pixels
Range = typing.Tuple[float, float]

# kinds of blur kernels and their probabilities
KERNELS = (('isotropic', .45), ('anisotropic', .25), ('generalised isotropic', .12), ('generalised anisotropic', .03),
           ('plateau isotropic', .12), ('plateau anisotropic', .03))
SIDES = (7, 9, 11, 13, 15, 17, 19, 21)   # of the kernels, pixels
RESIZES = ('area', 'bilinear', 'bicubic')
DROPPED = 1e-3   # singular values of a kernel of sum 1 that are too small to be felt
BLOCK = 16  # rows or columns of a result that one matrix computes
STRIP = 64  # rows of a result, a multiple of BLOCK, whose intermediate values stay in the cache
POISSON = 4096   # values of a Poisson distribution
ROUND = np.float32(1.5 * 2 ** 23)   # a sum with it is rounded to an integer, halves to even


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
    axis = np.arange(side // 2 + 1)   # a quarter of the kernel, from its middle
    radius = np.hypot(axis[None, :], axis[:, None])
    radius[0, 0] = 1.
    quarter = cutoff * bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    quarter[0, 0] = cutoff ** 2 / (4 * math.pi)
    place = np.abs(np.arange(side) - side // 2)
    kernel = quarter[place[:, None], place]
    return kernel / kernel.sum()


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """Returns the Bessel function J1 of the first kind, by its integral (1 / pi) * cos(t - x sin t) over 0..pi."""
    t = (np.arange(64) + .5) * math.pi / 64   # exact to rounding for the |x| < 60 that kernels have
    return np.cos(t - np.asarray(x)[..., None] * np.sin(t)).mean(-1)


class Linear:
    """Filters with a kernel, mirrored at the borders, then resizes, planes of one size.

    Both are linear, so they are done at once, by products of matrices: the kernel is a sum of products of a column and
    a row (its singular values), of which those under DROPPED are left out. A block of BLOCK rows or columns of the
    result depends on few of the source, so each block has a matrix of its own; that of rows has all columns of the
    kernel, because they read the same rows.
    """

    def __init__(self, kernel: typing.Optional[np.ndarray], before: Size, after: Size, resize: str) -> None:
        """Computes the weights; `before`, `after`: sizes of a frame, resize: name of RESIZES."""
        columns, rows = np.ones([1, 1]), np.ones([1, 1])
        if kernel is not None:
            left, values, right = np.linalg.svd(kernel)
            kept = values > DROPPED
            columns, rows = (left * values).T[kept], right[kept]
            columns = columns / (columns.sum(1) @ rows.sum(1))   # flat areas keep their value
        self._after, self._terms = after, len(columns)
        down = across = _Bands(before[0], after[0], resize, columns.shape[1])
        if (before[0], after[0]) != (before[1], after[1]):
            across = _Bands(before[1], after[1], resize, rows.shape[1])
        stacked, turned = down.matrices(columns).transpose(1, 0, 2), across.matrices(rows).transpose(0, 2, 1)
        self._down, self._across = [], []   # (slice of the source, slice of the result, weights)
        for source, out in down.blocks:   # weights: [rows * terms, rows of the source]
            width = source.stop - source.start
            self._down.append((source, out, stacked[out, :, :width].reshape(-1, width)))
        for source, out in across.blocks:   # [terms, 1, columns of the source, columns]
            weights = np.ascontiguousarray(turned[:, :source.stop - source.start, out])
            self._across.append((source, out, weights[:, np.newaxis]))

    def __call__(self, planes: Planes) -> Planes:
        height, count, width = planes.shape
        flat, (rows, columns), terms = planes.reshape(height, count * width), self._after, self._terms
        found = np.empty([rows, count, columns], np.float32)
        part = np.empty([min(rows, STRIP) * terms, count * width], np.float32)
        results = np.empty([terms, min(rows, STRIP), count, columns], np.float32)
        for first in range(0, rows, STRIP):
            strip = found[first:first + STRIP]
            for source, out, weights in self._down[first // BLOCK:(first + STRIP) // BLOCK]:
                np.matmul(weights, flat[source], out=part[(out.start - first) * terms:(out.stop - first) * terms])
            filtered = part[:len(strip) * terms].reshape(-1, terms, count, width).transpose(1, 2, 0, 3)
            result = results[:, :len(strip)] if terms > 1 else strip[np.newaxis]
            for source, out, weights in self._across:
                np.matmul(filtered[..., source], weights, out=result.transpose(0, 2, 1, 3)[..., out])
            if terms > 1:
                np.add.reduce(result, 0, out=strip)
        return found


class _Bands:
    """Knows which pixels of an axis each pixel of the filtered and resized axis depends on.

    Attributes:
      blocks: (slice of the source, slice of the result) of each block of the result.
    """

    def __init__(self, length: int, out: int, resize: str, taps: int) -> None:
        """Computes the places; `length`, `out`, `resize`: of `resize_taps`, taps: those of the filter before."""
        places, weights = resize_taps(length, out, resize)
        last = max(length - 1, 1)
        places = np.abs(places[:, :, np.newaxis] + np.arange(taps) - taps // 2) % (2 * last)   # mirrored at the ends
        places = np.minimum(np.minimum(places, 2 * last - places), length - 1).reshape(out, -1)
        starts = np.arange(0, out, BLOCK)
        low, high = np.minimum.reduceat(places.min(1), starts), np.maximum.reduceat(places.max(1), starts) + 1
        self.blocks = [(slice(begin, end), slice(start, min(start + BLOCK, out)))
                       for begin, end, start in zip(low.tolist(), high.tolist(), starts.tolist())]
        self._width = width = int((high - low).max())
        self._index = (places - np.repeat(low, BLOCK)[:out, np.newaxis] + width * np.arange(out)[:, np.newaxis]).ravel()
        self._weights = weights[:, :, np.newaxis]

    def matrices(self, filters: np.ndarray) -> np.ndarray:
        """Returns float32 [filters, pixels of the result, pixels of its block's source] of float64 [filters, taps]."""
        size = len(self._weights) * self._width
        found = [np.bincount(self._index, (self._weights * one).ravel(), size) for one in filters]
        return np.array(found, np.float32).reshape(len(filters), -1, self._width)


def resize_taps(length: int, out: int, resize: str) -> typing.Tuple[np.ndarray, np.ndarray]:
    """Returns the pixels that each pixel of a resized axis is a sum of, int [out, taps], and their weights, float64.

    Args:
      length, out: pixels before and after.
      resize: 'area' is the mean of the covered pixels, 'bilinear' and 'bicubic' (a = -0.75) interpolate between pixel
        centres without antialiasing, as OpenCV's resize does.
    """
    scale, index = length / out, np.arange(out)[:, np.newaxis]
    if length == out:
        return index, np.ones([out, 1])
    if resize == 'area' and scale > 1:
        places = np.floor(index * scale).astype(int) + np.arange(math.ceil(scale) + 1)
        weights = np.clip(np.minimum((index + 1) * scale, places + 1) - np.maximum(index * scale, places), 0, None)
        return np.minimum(places, length - 1), weights / weights.sum(1, keepdims=True)
    centres = (index + .5) * scale - .5
    places = np.floor(centres).astype(int) + (np.arange(-1, 3) if resize == 'bicubic' else np.arange(2))
    distance = np.abs(centres - places)
    return (np.clip(places, 0, length - 1),
            _cubic(distance) if resize == 'bicubic' else np.maximum(0., 1 - distance))


def _cubic(x, a=-.75):
    near = (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1
    far = a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.))


def noisy(planes: Planes, noise: str, level: float, grey: bool, random: np.random.RandomState) -> Planes:
    """Returns the planes of a frame with new noise, not clipped.

    Args:
      planes: those of one frame.
      noise: 'gaussian', with the standard deviation `level`, or 'poisson', `level` times the noise of as many photons
        as grey levels.
      level: see `noise`.
      grey: whether the channels get the same noise, for Poisson that of the luma.
      random: of the noise.
    """
    shape = planes.shape[:1] + (1 if grey else 3,) + planes.shape[2:]
    numbers = np.frombuffer(random.bytes(2 * int(np.prod(shape))), '<u2')
    if noise == 'gaussian':
        found = _normal_quantiles().take(numbers, mode='clip')   # checks no index
    else:
        values = np.float32([.299, .587, .114]) @ planes if grey else planes
        places = to_uint8(values).ravel().astype(np.intp)
        places *= POISSON
        places += numbers & (POISSON - 1)
        found = _poisson_quantiles().take(places, mode='clip').astype(np.float32)
    found *= np.float32(level)
    return planes + found.reshape(shape)


@functools.lru_cache(maxsize=None)
def _normal_quantiles():
    """Returns 65536 equally likely values of the standard normal distribution, float32."""
    places = np.linspace(-5, 5, 20001)
    below = [.5 + .5 * math.erf(place / math.sqrt(2)) for place in places]
    return np.interp((np.arange(65536) + .5) / 65536, below, places).astype(np.float32)


@functools.lru_cache(maxsize=None)
def _poisson_quantiles():
    """Returns POISSON equally likely values, less the mean, of the Poisson distributions of means 0 to 255: int8."""
    counts, means = np.arange(512), np.arange(256)[:, np.newaxis]
    factorials = np.concatenate([[0.], np.cumsum(np.log(counts[1:]))])
    below = np.cumsum(np.exp(counts * np.log(np.maximum(means, 1e-9)) - means - factorials), 1)
    likely = (np.arange(POISSON) + .5) / POISSON
    return np.array([np.searchsorted(row, likely) for row in below] - means, np.int8).ravel()


def jpeg(planes: np.ndarray, quality: int) -> np.ndarray:
    """Returns a frame, uint8 [H, W, 3] in memory of [H, 3, W], of planes, uint8 [H, 3, W], after JPEG with 4:2:0."""
    height, _, width = planes.shape
    size, buffer = (width, height), io.BytesIO()
    layout = 'raw', 'RGB;L'   # that of planes
    Image.frombuffer('RGB', size, np.ascontiguousarray(planes), *layout, 0, 1).save(buffer, 'JPEG', quality=quality)
    decoded = Image.frombytes('RGB', size, buffer.getvalue(), 'jpeg', 'RGB', '')   # Image.open would parse the header
    return np.swapaxes(np.frombuffer(decoded.tobytes(*layout), np.uint8).reshape(height, 3, width), 1, 2)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Returns grey levels, float32 from -32768 to 32767, rounded and clipped to uint8."""
    found = (values + ROUND).view(np.int32).astype(np.int16)   # the low bits of the sum are the integer
    return np.clip(found, 0, 255, out=found).astype(np.uint8)


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

    def first_round(self, frame: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Returns uint8 [h, w, 3] of a GT frame, uint8 [s*H, s*W, 3], before the first codec."""
        drawn = self._plan.rounds[0]
        return jpeg(to_uint8(self._noisy(frame, self._first, drawn, random)), drawn.quality)

    def second_round(self, frame: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Returns LQ, uint8 [H, W, 3], of a frame of the first round, before the second codec."""
        drawn = self._plan.rounds[1]
        planes = self._noisy(frame, self._second, drawn, random)
        if self._plan.sharp_last:
            frame = np.swapaxes(to_uint8(self._last(_planes(jpeg(to_uint8(planes), drawn.quality)))), 1, 2)
        else:
            frame = jpeg(to_uint8(self._last(np.clip(planes, 0, 255, out=planes))), drawn.quality)
        return np.ascontiguousarray(frame)

    def __call__(self, frame: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Returns LQ of a GT frame without codecs."""
        return self.second_round(self.first_round(frame, random), random)

    def _noisy(self, frame, linear, drawn, random):
        return noisy(linear(_planes(frame)), drawn.noise, drawn.level, drawn.grey, random)


def _planes(frame):
    """Returns float32 [H, 3, W] of uint8 [H, W, 3]."""
    return np.ascontiguousarray(np.swapaxes(frame.astype(np.float32), 1, 2))   # no second copy of what `jpeg` returns

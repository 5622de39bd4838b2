"""A drawn scene: textured planes that move in front of each other, changing light, and grain.

A texture is a dead-leaves image: shapes of many sizes, each in front of earlier ones, as objects are in photographs.
Only operations that give the same bits on every NumPy and Pillow are used: uniform draws of RandomState, integer and
elementary float arithmetic, Pillow's fixed-point resizing and affine transforms.
"""
import math
import typing

import numpy as np
from PIL import Image, ImageFilter

OVERSAMPLING = 2                       # a scene is drawn with this many pixels for each of the frame, along each axis
_LEAVES = 40, 22, 12, 7                # sides of the rectangles, in units of the finest detail
_PATTERNS = np.logical_and, np.logical_or, np.logical_xor   # of rows and columns: windows, bars, checks
_REACH = .1                            # largest shift of the background, as a share of the frame's sides
_ZOOM, _TURN = .06, .045               # largest relative change of size, and angle in radians, of the background


class Sway(typing.NamedTuple):
    """A smooth oscillation.

    Attributes:
      size: its largest value.
      period: frames.
      phase: share of the period at frame 0.
    """
    size: float
    period: float
    phase: float

    def at(self, t: float) -> float:
        """Returns the value at frame `t`."""
        return self.size * math.sin(2 * math.pi * (t / self.period + self.phase))


class Plane(typing.NamedTuple):
    """A texture with an affine motion; lengths in pixels of the drawing.

    Attributes:
      paint: RGB image.
      cover: L image of the same size, the opacity.
      place: (x, y) of its centre in the frame, on average.
      shift: a Sway for x and one for y.
      turn: Sway of the angle, radians.
      zoom: Sway of the size, relative.
    """
    paint: Image.Image
    cover: Image.Image
    place: typing.Tuple[float, float]
    shift: typing.Tuple[Sway, Sway]
    turn: Sway
    zoom: Sway

    def draw(self, image: Image.Image, t: float) -> None:
        """Draws the plane as it is at frame `t` into `image`, in place."""
        x, y = (place + shift.at(t) for place, shift in zip(self.place, self.shift))
        scale, angle = 1 + self.zoom.at(t), self.turn.at(t)
        c, s = math.cos(angle) * scale, math.sin(angle) * scale
        # Pillow's matrix maps a pixel of the output to one of the input: (x, y) shows the centre of the texture
        matrix = (c, -s, self.paint.width / 2. - c * x + s * y, s, c, self.paint.height / 2. - s * x - c * y)
        paint, cover = (layer.transform(image.size, Image.AFFINE, matrix, Image.BILINEAR)
                        for layer in (self.paint, self.cover))
        image.paste(paint, (0, 0), cover)


class Scene:
    """All of one clip that does not depend on time."""

    def __init__(self, seed: typing.Sequence[int], height: int, width: int) -> None:
        """Draws the planes.

        Args:
          seed: chooses the scene and its motion.
          height, width: GT pixels.
        """
        rng = np.random.RandomState(seed)
        self._seed, self._size = list(seed), (width, height)
        H, W = height * OVERSAMPLING, width * OVERSAMPLING
        detail = int(OVERSAMPLING * min(5., max(4., height / 160.)) * _uniform(rng, .8, 1.3))
        # the fastest motion is 0.6 to 2 GT pixels a frame in small frames, in proportion more in large ones
        speed = OVERSAMPLING * _uniform(rng, .6, 2.) * max(1., height / 180.)
        # large enough for every shift, turn and zoom
        sides = [int((1 + _ZOOM) * (1 + 2 * _REACH) * (side + _TURN * other)) + 4 for side, other in ((H, W), (W, H))]
        self._planes = [_plane(rng, sides, detail, (W / 2., H / 2.), (_REACH * W, _REACH * H), speed, 1.)]
        for _ in range(_integer(rng, 3, 6)):
            sides = [int(side * _uniform(rng, .15, .5)) for side in (H, W)]
            place = W * rng.random_sample(), H * rng.random_sample()
            self._planes.append(_plane(rng, sides, detail, place, (.3 * W, .2 * H), speed * _uniform(rng, .4, 1.5), 3.,
                                       is_round=rng.random_sample() < .5))
        self._light = Sway(_uniform(rng, .02, .06), _uniform(rng, 20, 60), rng.random_sample())

    def frame(self, t: int) -> np.ndarray:
        """Returns GT frame `t`: uint8 [height, width, 3]."""
        image = Image.new('RGB', tuple(side * OVERSAMPLING for side in self._size))
        for plane in self._planes:
            plane.draw(image, t)
        gain = 1 + self._light.at(t)
        tones = [min(255, int(i * gain + .5)) for i in range(256)]
        image = image.resize(self._size, Image.BILINEAR).point(tones * 3)
        grain = np.random.RandomState(self._seed + [t]).random_sample(self._size[::-1] + (1,)) * 7 - 3
        return np.clip(np.asarray(image) + grain.astype(np.int16), 0, 255).astype(np.uint8)


def _uniform(rng, low, high):
    return low + (high - low) * rng.random_sample()


def _integer(rng, low, high):
    """Returns an int of low..high, both included."""
    return low + int((high - low + 1) * rng.random_sample())


def _pick(rng, items):
    """Returns one of the items."""
    return items[_integer(rng, 0, len(items) - 1)]


def _plane(rng, sides, detail, place, reach, speed, freedom, is_round=False):
    """Makes a Plane of `sides` (height, width); `freedom` multiplies the turn and the zoom of the background."""
    shift = []
    for size in reach:
        size *= _uniform(rng, .5, 1.)
        shift.append(Sway(size, max(24., 2 * math.pi * size / speed), rng.random_sample()))
    turn, zoom = (Sway(_uniform(rng, .2, 1.) * freedom * most, _uniform(rng, 40, 90), rng.random_sample())
                  for most in (_TURN, _ZOOM))
    y, x = (((2 * np.arange(side) + 1 - side) / side) ** 2 for side in sides)
    inside = np.add.outer(y, x) <= (1 if is_round else 2)
    # a lens softens all edges
    paint = Image.fromarray(_texture(rng, sides[0], sides[1], detail)).filter(ImageFilter.BoxBlur(1))
    down, across = shift
    return Plane(paint, Image.fromarray(inside.astype(np.uint8) * 255), place, (down, across), turn, zoom)


def _texture(rng, height, width, detail):
    """Returns uint8 [height, width, 3]: rectangles with windows, bars or checks, large ones behind small ones."""
    paint = np.empty((height, width, 3), np.int32)
    palette = [_colour(rng) for _ in range(6)]
    paint[:] = palette[0]
    for side in _LEAVES:
        side *= detail
        for _ in range(1 + height * width // (3 * side * side)):
            h, w = (_integer(rng, side // 2, 2 * side) for _ in range(2))
            y, x = _integer(rng, -h, height), _integer(rng, -w, width)
            leaf = paint[max(0, y):max(0, y + h), max(0, x):max(0, x + w)]
            leaf[:] = _pick(rng, palette)
            rows, columns = (np.arange(length) % period < period // 2 for length, period in zip(
                leaf.shape, (_integer(rng, 2, 8) * detail for _ in range(2))))
            leaf[_pick(rng, _PATTERNS).outer(rows, columns)] = _pick(rng, palette)
    shade = 256 + sum(_noise(rng, height, width, cell, weight)
                      for cell, weight in ((40 * detail, 40), (8 * detail, 24), (2 * detail, 12), (2, 10)))
    return np.clip(paint * shade[..., None] >> 8, 0, 255).astype(np.uint8)


def _colour(rng):
    """Returns a natural, not too saturated colour: a grey level, and an offset for each channel."""
    return np.clip(_uniform(rng, 40, 220) + (rng.random_sample(3) - .5) * 70, 20, 235).astype(np.int32)


def _noise(rng, height, width, cell, weight):
    """Returns int32 [height, width]: a smooth random field of cells of `cell` pixels, within +-weight."""
    shape = height // cell + 2, width // cell + 2
    field = Image.fromarray((rng.random_sample(shape) * 256).astype(np.uint8))
    field = np.asarray(field.resize((shape[1] * cell, shape[0] * cell), Image.BICUBIC))
    return (field[:height, :width].astype(np.int32) - 128) * weight // 128

"""A moving scene: a moving camera, objects in front of a background, light and grain."""
import math
import typing

import numpy as np
from PIL import Image, ImageFilter

from data_tools.sample import painting
from data_tools.sample.painting import OVERSAMPLING, integer, noise, pick, uniform

_SHARE = .1          # range of the camera's motion, as a share of the frame's sides


class Sway(typing.NamedTuple):
    """A smooth oscillation over time: `size` at most, in `period` frames."""
    size: float
    period: float
    phase: float

    def at(self, t):
        return self.size * math.sin(2 * math.pi * (t / self.period + self.phase))


class Sprite(typing.NamedTuple):
    """An object in front of the background; lengths in pixels of the painting."""
    paint: Image.Image
    cover: Image.Image
    x: float           # of the centre at frame 0, from the painting's left edge
    y: float
    speed: float       # pixels a frame along x
    depth: float       # 1 moves with the background, 2 twice as much when the camera moves
    turn: Sway         # radians
    bob: Sway          # pixels along y
    size: Sway         # relative


class Scene:
    """Everything about one clip except time.

    Args:
      seed: int, the scene and its motion.
      height, width: int, GT pixels.
    """

    def __init__(self, seed, height, width):
        rng = np.random.RandomState(seed)
        self.height, self.width = height, width
        H, W = height * OVERSAMPLING, width * OVERSAMPLING
        u = int(OVERSAMPLING * min(5., max(4., height / 160.)) * uniform(rng, .8, 1.3))
        self.max_zoom, max_turn = 1.06, .045
        wide = W * (self.max_zoom * (1 + max_turn * H / W) + 2 * _SHARE) + 4
        high = H * (self.max_zoom * (1 + max_turn * W / H) + 2 * _SHARE) + 4
        self.background = _softened(painting.street(rng, int(high), int(wide), u))
        # Fastest motion about 0.4 to 3 GT pixels a frame on small frames, in proportion more on large ones.
        fastest = OVERSAMPLING * uniform(rng, .6, 2.) * max(1., height / 180.)
        reach = _SHARE * uniform(rng, .5, 1.)
        self.pan_x, self.pan_y = (
            Sway(side * reach, max(24., 2 * math.pi * side * reach / (fastest * part)), rng.random_sample())
            for side, part in ((W, 1.), (H, .6)))
        self.turn = Sway(uniform(rng, .2, 1.) * max_turn, uniform(rng, 30, 70), rng.random_sample())
        self.zoom = Sway(uniform(rng, .2, 1.) * (self.max_zoom - 1), uniform(rng, 30, 70), rng.random_sample())
        self.light = Sway(uniform(rng, .02, .06), uniform(rng, 20, 60), rng.random_sample())
        self.sprites = [self._sprite(rng, kind, u, fastest) for kind in self._kinds(rng)]
        self.grain = noise(rng, height + 61, width + 67, (1, 1, 2), (3, 3, 2)).astype(np.int8)
        self.grain_places = rng.random_sample((97, 2))

    @staticmethod
    def _kinds(rng):
        kinds = [painting.bus, painting.sign, painting.foliage, painting.ball]
        return [pick(rng, kinds) for _ in range(integer(rng, 3, 4))] + [painting.bus] + (
            [painting.post] if rng.random_sample() < .5 else [])

    def _sprite(self, rng, kind, u, fastest):
        paint, cover = kind(rng, u)
        width, height = self.background.size
        still = kind in (painting.foliage, painting.post)
        level = {painting.bus: .82, painting.foliage: .85, painting.post: .5,
                 painting.sign: .45, painting.ball: .65}[kind]
        loose = kind in (painting.sign, painting.ball)
        speed = 0. if still else fastest * uniform(rng, .4, 1.5) * pick(rng, (-1, 1))
        return Sprite(
            _softened(paint), Image.fromarray(cover), uniform(rng, .15, .85) * width,
            height * (level + uniform(rng, -.08, .08)), speed, uniform(rng, 1.05, 1.4),
            Sway(uniform(rng, .1, .5) if loose else .01, uniform(rng, 30, 80), rng.random_sample()),
            Sway(height * uniform(rng, .01, .08) if loose else 0., uniform(rng, 20, 50), rng.random_sample()),
            Sway(uniform(rng, .03, .2) if loose else .01, uniform(rng, 30, 80), rng.random_sample()))

    def frame(self, t):
        """GT frame `t`: uint8 [height, width, 3]."""
        size = self.width * OVERSAMPLING, self.height * OVERSAMPLING
        camera = self.pan_x.at(t), self.pan_y.at(t)
        angle, zoom = self.turn.at(t), 1 + self.zoom.at(t)
        centre = self.background.width / 2., self.background.height / 2.
        view = _view(size, (centre[0] + camera[0], centre[1] + camera[1]), angle, zoom)
        image = self.background.transform(size, Image.AFFINE, view, Image.BILINEAR)
        for sprite in self.sprites:
            self._draw(image, sprite, t, camera, angle, zoom)
        gain = 1 + self.light.at(t)
        tones = [min(255, int((20 + .8 * i) * gain + .5)) for i in range(256)]   # haze: no deep black, no pure white
        image = image.resize((self.width, self.height), Image.BILINEAR).point(tones * 3)
        top, left = (int(part * room) for part, room in zip(self.grain_places[t % 97], (61, 67)))
        grain = self.grain[top:top + self.height, left:left + self.width, None]
        return np.clip(np.asarray(image).astype(np.int16) + grain, 0, 255).astype(np.uint8)

    def _draw(self, image, sprite, t, camera, angle, zoom):
        span = self.background.width + 2 * sprite.paint.width
        x = (sprite.x + sprite.speed * t + sprite.paint.width) % span - sprite.paint.width
        y = sprite.y + sprite.bob.at(t)
        turn, scale = angle + sprite.turn.at(t), zoom / (1 + sprite.size.at(t))
        # the sprite's centre in the frame: inverse of the view, the camera's way taken `depth` times
        dx = x - self.background.width / 2. - camera[0] * sprite.depth
        dy = y - self.background.height / 2. - camera[1] * sprite.depth
        c, s = math.cos(angle) / zoom, math.sin(angle) / zoom
        centre = image.width / 2. + c * dx + s * dy, image.height / 2. - s * dx + c * dy
        w, h = sprite.paint.size
        c, s = abs(math.cos(turn)) / scale, abs(math.sin(turn)) / scale
        reach = (w * c + h * s) / 2 + 2, (w * s + h * c) / 2 + 2
        box = [max(0, math.floor(centre[0] - reach[0])), max(0, math.floor(centre[1] - reach[1])),
               min(image.width, math.ceil(centre[0] + reach[0])),
               min(image.height, math.ceil(centre[1] + reach[1]))]
        if box[0] >= box[2] or box[1] >= box[3]:
            return
        size = box[2] - box[0], box[3] - box[1]
        matrix = _view((2 * (centre[0] - box[0]), 2 * (centre[1] - box[1])), (w / 2., h / 2.), turn, scale)
        part = sprite.paint.transform(size, Image.AFFINE, matrix, Image.BILINEAR)
        image.paste(part, tuple(box), sprite.cover.transform(size, Image.AFFINE, matrix, Image.BILINEAR))


def _softened(paint):
    """As soft as a lens makes a photograph; painted edges are sharper than any camera's."""
    return Image.fromarray(paint).filter(ImageFilter.BoxBlur(1))


def _view(size, centre, angle, zoom):
    """Pillow's affine matrix, output pixel -> input pixel: the middle of `size` shows `centre`."""
    c, s = math.cos(angle) * zoom, math.sin(angle) * zoom
    return (c, -s, centre[0] - (c * size[0] - s * size[1]) / 2., s, c, centre[1] - (s * size[0] + c * size[1]) / 2.)

"""Makes clips that look like video, in REDS layout: GT, and LQ by antialiased bicubic downscaling.

Street scenes with a moving camera (pan, turn, zoom), things that move in front, a slight change of light and mild
grain. The same flags give the same pixels on any machine. Use them to try the programs without a data set:

    python -m data_tools.make_sample_clips --output_dir=clips --num_clips=8 --num_frames=12 --gt_size=128x192

A run that was interrupted continues when started again.
"""
import math
import os
import re
import typing

import numpy as np
from absl import flags
from PIL import Image, ImageFilter

from data_tools import cli, sample_scenes, sharding
from data_tools.clips import SCALES
from data_tools.files import make_dir, read_json, write_json
from data_tools.images import read_image, write_png
from data_tools.make_lq import make_lq
from data_tools.sample_scenes import OVERSAMPLING, integer, noise, pick, uniform

FLAGS = flags.FLAGS
SCENES_VERSION = 1   # raise when the same flags give other pixels
SPEC_FILE = 'sample_clips.json'
COMPRESS_LEVEL = 3   # twice as fast as Pillow's 6, and grain does not compress further
_SHARE = .1          # how far the camera wanders, as a share of the frame's sides


class Sway(typing.NamedTuple):
    """A smooth oscillation over time: `size` at most, in `period` frames."""
    size: float
    period: float
    phase: float

    def at(self, t):
        return self.size * math.sin(2 * math.pi * (t / self.period + self.phase))


class Sprite(typing.NamedTuple):
    """A thing in front of the background; lengths in pixels of the painting."""
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
    """All of one clip but time.

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
        self.background = _softened(sample_scenes.street(rng, int(high), int(wide), u))
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
        kinds = [sample_scenes.bus, sample_scenes.sign, sample_scenes.foliage, sample_scenes.ball]
        return [pick(rng, kinds) for _ in range(integer(rng, 3, 4))] + [sample_scenes.bus] + (
            [sample_scenes.post] if rng.random_sample() < .5 else [])

    def _sprite(self, rng, kind, u, fastest):
        paint, cover = kind(rng, u)
        width, height = self.background.size
        still = kind in (sample_scenes.foliage, sample_scenes.post)
        level = {sample_scenes.bus: .82, sample_scenes.foliage: .85, sample_scenes.post: .5,
                 sample_scenes.sign: .45, sample_scenes.ball: .65}[kind]
        loose = kind in (sample_scenes.sign, sample_scenes.ball)
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


def write_clip_part(folders, seed, height, width, scale, start, stop):
    """Renders frames `start`..`stop - 1` of a clip into folders (GT, LQ); frames already there stay."""
    scene = None
    for t in range(start, stop):
        gt_path, lq_path = (os.path.join(folder, '%08d.png' % t) for folder in folders)
        if os.path.exists(gt_path) and os.path.exists(lq_path):
            sharding.report(1)
            continue
        if not os.path.exists(gt_path):
            scene = scene or Scene(seed, height, width)
            gt = scene.frame(t)
            write_png(gt_path, gt, COMPRESS_LEVEL)
        else:
            gt = read_image(gt_path)
        write_png(lq_path, make_lq(gt, scale), COMPRESS_LEVEL)
        sharding.report(1, os.path.getsize(gt_path) + os.path.getsize(lq_path))


def clip_seed(seed, index):
    """Seed of a clip's RandomState: clips of neighbouring seeds and indices share nothing."""
    return [int(seed), int(index), SCENES_VERSION]


def make_clips(output_dir, num_clips, num_frames, height, width, scale=4, seed=0, first_clip=0, num_workers=1):
    """Writes clips `first_clip`.. to `output_dir`/images/truth/NNN and /images/blur<scale>/NNN.

    Raises:
      cli.UserError: sizes that do not fit, or a folder that holds something else.
    """
    side = 4 * scale   # LQ sides are multiples of 4: the network halves them twice
    if height % side or width % side:
        raise cli.UserError('--gt_size=%dx%d: both must be multiples of %d (4 times the scale)' % (height, width, side))
    spec = dict(num_clips=num_clips, num_frames=num_frames, gt_size=[height, width], scale=scale, seed=seed,
                first_clip=first_clip, scenes_version=SCENES_VERSION)
    _claim(output_dir, spec)
    tasks = []
    parts = max(1, min(num_frames, -(-num_workers // num_clips)))
    for index in range(first_clip, first_clip + num_clips):
        folders = [os.path.join(output_dir, 'images', kind, '%03d' % index) for kind in ('truth', 'blur%d' % scale)]
        for folder in folders:
            make_dir(folder)
        edges = [num_frames * i // parts for i in range(parts + 1)]
        tasks += [(folders, clip_seed(seed, index), height, width, scale) + edge for edge in zip(edges, edges[1:])]
    sharding.run(write_clip_part, tasks, num_workers, 'sample clips', num_clips * num_frames, 'frame')


def _claim(output_dir, spec):
    """Notes in the folder what it holds; refuses a folder that holds something else."""
    path = os.path.join(output_dir, SPEC_FILE)
    if os.path.exists(path):
        known = read_json(path)
        if known != spec:
            raise cli.UserError('%s holds other sample clips (%s); give another --output_dir or remove it'
                                % (output_dir, ', '.join('%s=%s' % item for item in sorted(known.items()))))
        return
    if os.path.isdir(output_dir) and os.listdir(output_dir):
        raise cli.UserError('%s is not empty and was not made by this program; give another --output_dir' % output_dir)
    make_dir(output_dir)
    write_json(path, spec)


def parse_size(text):
    """(height, width) from `HxW`."""
    match = re.match(r'^(\d+)x(\d+)$', text)
    if not match or not all(int(side) for side in match.groups()):
        raise cli.UserError('--gt_size=%s: it must be HEIGHTxWIDTH in pixels, as 720x1280' % text)
    return int(match.group(1)), int(match.group(2))


def main():
    if not FLAGS.output_dir:
        raise cli.UserError('--output_dir is missing: the folder to write the clips to')
    height, width = parse_size(FLAGS.gt_size)
    make_clips(FLAGS.output_dir, FLAGS.num_clips, FLAGS.num_frames, height, width, int(FLAGS.scale), FLAGS.seed,
               FLAGS.first_clip, FLAGS.num_workers or len(os.sched_getaffinity(0)))
    print('%d clips of %d frames, GT %dx%d, LQ x%s in %s' % (FLAGS.num_clips, FLAGS.num_frames, height, width,
                                                             FLAGS.scale, FLAGS.output_dir))


def define_flags():
    flags.DEFINE_string('output_dir', None, 'folder to write to; images/truth/NNN and images/blur<scale>/NNN inside')
    flags.DEFINE_integer('num_clips', 8, 'number of clips', lower_bound=1)
    flags.DEFINE_integer('num_frames', 12, 'frames of each clip (REDS has 100)', lower_bound=1)
    flags.DEFINE_string('gt_size', '128x192', 'GT size in pixels, HEIGHTxWIDTH; REDS is 720x1280')
    flags.DEFINE_enum('scale', '4', [str(s) for s in SCALES], 'GT size / LQ size')
    flags.DEFINE_integer('seed', 0, 'another seed gives other scenes', lower_bound=0, upper_bound=2 ** 32 - 1)
    flags.DEFINE_integer('first_clip', 0, 'number of the first clip; its scene depends on it', lower_bound=0)
    flags.DEFINE_integer('num_workers', 0, 'processes; 0 takes one for each core this process may use', lower_bound=0)


if __name__ == '__main__':
    define_flags()
    cli.run(main)

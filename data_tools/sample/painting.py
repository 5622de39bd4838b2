"""Painted street scenes for sample clips: facades, ground, sky, and sprites that move in front of them.

Only operations that give the same bits on every NumPy and Pillow: uniform draws of RandomState, integer and elementary
float arithmetic, Pillow's fixed-point resizing. `u` is the size of the finest detail in pixels of the painting, which
is `OVERSAMPLING` times finer than the frame.
"""
import numpy as np
from PIL import Image

OVERSAMPLING = 2


def uniform(rng, low, high):
    return low + (high - low) * rng.random_sample()


def integer(rng, low, high):
    """An int of low..high, both included."""
    return low + int((high - low + 1) * rng.random_sample())


def pick(rng, items):
    return items[integer(rng, 0, len(items) - 1)]


def colour(rng, low=40, high=220, spread=60):
    """A natural, not too saturated colour: a grey level, and an offset for each channel."""
    grey = uniform(rng, low, high)
    return np.array([min(255, max(0, int(grey + uniform(rng, -spread, spread)))) for _ in range(3)], np.int32)


def noise(rng, height, width, cells, weights):
    """Sum of smooth random fields, one for each cell size (pixels): int32 [height, width], each within +-weight."""
    total = np.zeros((height, width), np.int32)
    for cell, weight in zip(cells, weights):
        cell = max(1, int(cell))
        shape = height // cell + 2, width // cell + 2
        field = (rng.random_sample(shape) * 256).astype(np.uint8)
        if cell > 1:
            image = Image.fromarray(field).resize((shape[1] * cell, shape[0] * cell), Image.BICUBIC)
            field = np.asarray(image)
        total += (field[:height, :width].astype(np.int32) - 128) * int(weight) // 128
    return total


def shaded(paint, by):
    """`paint` (int32 [H,W,3]) with brightness changed by `by` (int32 [H,W], 256 = twice as bright), as int32."""
    return np.clip(paint * (256 + by[..., None]) >> 8, 0, 255)


def masonry(rng, height, width, row, column, joint, base, vary, shift=True):
    """Bricks, tiles, panels or boards: int32 [height, width, 3]. `column` 0 means no vertical joints."""
    y = np.arange(height)[:, None]
    x = np.arange(width)[None, :]
    rows = y // row
    x = x + rows % 2 * (column // 2) if shift else x + 0 * rows
    columns = x // column if column else 0 * x
    bricks = ((rng.random_sample((height // row + 1, int(columns.max()) + 1)) - .5) * 2 * vary).astype(np.int32)
    paint = np.clip(base + bricks[rows, columns][..., None], 0, 255)
    joints = (y % row < joint) | (x % column < joint if column else False)
    mortar = np.clip(base + (45 if base.sum() < 330 else -45), 0, 255)
    edge = (y % row == joint) if joint else (y % row == 0)   # light falls from above: the upper edge is bright
    paint = np.where(edge[..., None] & ~joints[..., None], np.clip(paint + 25, 0, 255), paint)
    return np.where(joints[..., None], mortar, paint)


_STROKES = ((0, 0, 5, 1), (0, 0, 1, 3), (0, 3, 5, 1), (4, 0, 1, 3), (2, 0, 1, 7), (0, 3, 1, 4), (4, 3, 1, 4),
            (0, 6, 5, 1))   # x, y, width, height in a cell of 5 x 7
_GLYPHS = ('01235670', '0123567', '0157', '04', '0126', '7510', '01237', '0123', '1356', '42', '157', '1340', '156047',
           '2', '01356', '12367', '0157346', '153', '6340')


def text(rng, paint, y, x, width, u, ink):
    """Writes glyphs of 5u x 7u, one line, into `paint` in place."""
    while width >= 5 * u:
        if rng.random_sample() > .12:   # else a space between words
            for stroke in pick(rng, _GLYPHS):
                left, top, w, h = (n * u for n in _STROKES[int(stroke)])
                paint[y + top:y + top + h, x + left:x + left + w] = ink
        x, width = x + 7 * u, width - 7 * u


def window(rng, paint, y, x, height, width, u, frame):
    """A window with frame, bars, glass, and often blinds or curtains, into `paint` in place."""
    paint[y + height:y + height + 2 * u, x - u:x + width + u] = np.minimum(frame + 20, 255)
    paint[y + height + 2 * u:y + height + 3 * u, x - u:x + width + u] //= 2
    paint[y:y + height, x:x + width] = frame
    top, left, h, w = y + u, x + u, height - 2 * u, width - 2 * u
    glass = colour(rng, 30, 90, 15) + np.array([0, 5, 15])
    ramp = np.arange(h)[:, None, None] * integer(rng, 10, 60) // max(1, h)
    pane = np.broadcast_to(np.clip(glass + ramp, 0, 255), (h, w, 3)).copy()
    kind = rng.random_sample()
    if kind < .4:      # blinds, pulled down some way
        drop = integer(rng, h // 4, h)
        slats = np.arange(drop)[:, None] % (2 * u) < u
        pane[:drop] = np.where(slats[..., None], colour(rng, 170, 230, 12), pane[:drop] + 25)
    elif kind < .65:   # curtains with folds
        cloth = colour(rng, 110, 210, 40)
        for side in (slice(0, w // 4), slice(w - w // 4, w)):
            folds = (np.arange(w)[None, side] % (3 * u) * 30 // (3 * u))
            pane[:, side] = np.clip(cloth - folds[..., None], 0, 255)
    elif kind < .85:   # a slanting reflection of the sky
        slant = (np.arange(w)[None, :] + np.arange(h)[:, None] // 2 + integer(rng, 0, w)) % (w + h // 2) < w // 3
        pane[slant] = np.clip(pane[slant] + 55, 0, 255)
    paint[top:top + h, left:left + w] = pane
    bars = integer(rng, 1, 2)
    for i in range(1, bars + 1):
        middle = x + width * i // (bars + 1)
        paint[y:y + height, middle - u // 2:middle - u // 2 + u] = frame
    bar = y + height * integer(rng, 2, 3) // 5
    paint[bar:bar + u, x:x + width] = frame


def shop(rng, paint, u):
    """Shop front over the whole of `paint`, in place: sign with lettering, striped awning, glass with goods."""
    height, width = paint.shape[:2]
    board, ink = colour(rng, 30, 110, 60), colour(rng, 200, 245, 20)
    paint[:] = board // 2
    paint[u:12 * u, u:width - u] = board
    size = max(1, u)
    text(rng, paint, 3 * u, 4 * u, width - 8 * u, size, ink)
    stripes = np.arange(width)[None, :, None] // (4 * u) % 2 == 0
    fall = np.arange(8 * u)[:, None, None] * 40 // (8 * u)
    cloth = np.where(stripes, colour(rng, 60, 150, 80), np.array([225, 220, 210]))
    paint[12 * u:20 * u] = np.clip(cloth - fall, 0, 255)
    x = 3 * u
    while x + 14 * u < width:
        w = integer(rng, 12, 22) * u
        pane = paint[22 * u:height - 3 * u, x:min(x + w, width - 2 * u)]
        pane[:] = colour(rng, 40, 80, 10)
        for _ in range(5):
            h, goods = integer(rng, 3, 9) * u, integer(rng, 2, 6) * u
            left = integer(rng, 0, max(0, pane.shape[1] - goods))
            pane[max(0, pane.shape[0] - h):, left:left + goods] = colour(rng, 70, 220, 70)
        x += w + 2 * u


def facade(rng, height, width, u):
    """A house front, int32 [height, width, 3]."""
    base = pick(rng, ([150, 75, 60], [175, 120, 85], [190, 175, 150], [120, 125, 130], [205, 195, 185], [95, 80, 75],
                      [140, 150, 135])) + colour(rng, 0, 1, 15)
    row, column, joint, vary = pick(rng, ((4 * u, 10 * u, u, 22), (4 * u, 9 * u, u, 30), (3 * u, 0, u // 2 + 1, 10),
                                          (14 * u, 20 * u, u // 2 + 1, 8), (6 * u, 12 * u, u, 16)))
    paint = masonry(rng, height, width, row, column, joint, np.clip(base, 20, 235), vary)
    frame = colour(rng, 190, 240, 12) if rng.random_sample() < .7 else colour(rng, 40, 80, 20)
    w, h = integer(rng, 11, 17) * u, integer(rng, 15, 22) * u
    gap_x, gap_y = integer(rng, 8, 14) * u, integer(rng, 9, 13) * u
    for y in range(8 * u, height - h - 4 * u, h + gap_y):
        for x in range(gap_x // 2 + u, width - w - 2 * u, w + gap_x):
            window(rng, paint, y, x, h, w, u, frame)
        if rng.random_sample() < .4:   # a ledge between floors
            ledge = y + h + gap_y // 2
            paint[ledge:ledge + u] = np.clip(paint[ledge:ledge + u] + 40, 0, 255)
            paint[ledge + u:ledge + 2 * u] //= 2
    paint[:3 * u] = np.clip(base + 30, 0, 255)   # cornice
    teeth = np.arange(width) // (2 * u) % 2 == 0
    paint[3 * u:5 * u, teeth] = np.clip(base - 40, 0, 255)
    if height > 40 * u and rng.random_sample() < .8:
        shop(rng, paint[height - min(40 * u, height // 2):], u)
    paint[:, :u] = paint[:, :u] * 2 // 3
    return shaded(paint, noise(rng, height, width, (40 * u, 9 * u, 3 * u, 3, 2, 1), (30, 22, 10, 10, 12, 10)))


def street(rng, height, width, u):
    """The whole background: sky, a row of houses, pavement and road. uint8 [height, width, 3]."""
    sky = np.array([120, 160, 205]) + colour(rng, 0, 1, 25)
    ramp = np.arange(height)[:, None, None] * 90 // height
    paint = np.broadcast_to(np.clip(sky + ramp, 0, 255), (height, width, 3)).astype(np.int32)
    clouds = noise(rng, height, width, (height // 3, height // 8, height // 20), (70, 40, 20))
    paint = np.clip(paint + np.maximum(clouds, 0)[..., None], 0, 255)
    foot = int(height * uniform(rng, .68, .8))
    x = 0
    while x < width:
        w = integer(rng, 50, 95) * u
        roof = int(height * uniform(rng, .0, .3))
        house = facade(rng, foot - roof, min(w, width - x), u)
        paint[roof:foot, x:x + w] = house
        x += w
    paint[foot:] = _ground(rng, height - foot, width, u)
    return paint.astype(np.uint8)


def _ground(rng, height, width, u):
    """Pavement and road seen at an angle: rows grow towards the viewer, joints converge."""
    flat = masonry(rng, 40 * u, width, 8 * u, 8 * u, u, colour(rng, 120, 165, 10), 14, shift=False)
    road = colour(rng, 70, 95, 6)
    flat[22 * u:24 * u] = [200, 198, 190]
    flat[24 * u:] = road
    dashes = np.arange(width) % (30 * u) < 18 * u
    flat[31 * u:33 * u, dashes] = [225, 222, 210]
    flat = shaded(flat, noise(rng, 40 * u, width, (24 * u, 6 * u, 2, 1), (25, 25, 28, 16))).astype(np.uint8)
    depth = .45   # the far edge shows 1/depth times more of the street than the near one
    centre, k = width / 2., (1 / depth - 1) / height
    # output (x, y) -> input: both divided by 1 + k*y, so that one step down covers less and less street
    matrix = (1 / depth * .45, centre * k, centre * (1 - 1 / depth * .45), 0, 40. * u / height / depth, 0, 0, k)
    return np.asarray(Image.fromarray(flat).transform((width, height), Image.PERSPECTIVE, matrix, Image.BILINEAR)
                      ).astype(np.int32)


def _disc(height, width):
    """Coverage of the largest ellipse, one pixel soft: uint8 [height, width]."""
    y = (np.arange(height)[:, None] * 2 + 1 - height) / float(height)
    x = (np.arange(width)[None, :] * 2 + 1 - width) / float(width)
    return np.clip((1 - (x * x + y * y)) * min(height, width) / 4 * 255 + 128, 0, 255).astype(np.uint8)


def bus(rng, u):
    """Sprite: paint uint8 [H,W,3] and coverage uint8 [H,W]."""
    height, width = 24 * u, integer(rng, 44, 66) * u
    body = colour(rng, 90, 190, 80)
    paint = np.broadcast_to(body, (height, width, 3)).astype(np.int32)
    paint[13 * u:15 * u] = colour(rng, 200, 240, 20)
    for x in range(3 * u, width - 9 * u, 9 * u):
        window(rng, paint, 2 * u, x, 8 * u, 8 * u, max(1, u // 2), body // 3)
    text(rng, paint, 16 * u, 14 * u, width - 30 * u, max(1, u // 2), np.array([240, 238, 225]))
    paint = shaded(paint, noise(rng, height, width, (12 * u, 2, 1), (24, 10, 8)))
    cover = np.full((height, width), 255, np.uint8)
    cover[20 * u:] = 0
    size = 8 * u
    for x in (4 * u, width - 12 * u):
        wheel = _disc(size, size)
        hub = np.zeros((size, size), np.uint8)
        hub[size // 4:size - size // 4, size // 4:size - size // 4] = _disc(size - size // 4 * 2, size - size // 4 * 2)
        tyre = np.where(hub[..., None] > 128, [170, 170, 175], [25, 25, 28])
        area = np.s_[height - size:, x:x + size]
        paint[area] = np.where(wheel[..., None] > 0, tyre, paint[area])
        cover[area] = np.maximum(cover[area], wheel)
    return paint.astype(np.uint8), cover


def sign(rng, u):
    """Sprite: a board with lettering."""
    width, lines = integer(rng, 32, 56) * u, integer(rng, 1, 3)
    height = (4 + 10 * lines) * u
    board, ink = colour(rng, 190, 240, 25), colour(rng, 20, 80, 50)
    if rng.random_sample() < .5:
        board, ink = ink, board
    paint = np.broadcast_to(board, (height, width, 3)).astype(np.int32)
    for band in (np.s_[:u], np.s_[-u:], np.s_[:, :u], np.s_[:, -u:]):
        paint[band] = ink
    for line in range(lines):
        text(rng, paint, (3 + 10 * line) * u, 4 * u, width - 8 * u, u, ink)
    paint = shaded(paint, noise(rng, height, width, (10 * u, 2, 1), (20, 8, 8)))
    return paint.astype(np.uint8), np.full((height, width), 255, np.uint8)


def ball(rng, u):
    """Sprite: a patterned disc."""
    size = integer(rng, 14, 26) * u
    cell = integer(rng, 3, 5) * u
    y, x = np.arange(size)[:, None], np.arange(size)[None, :]
    pattern = (y // cell + x // cell) % 2 == 0 if rng.random_sample() < .5 else (y // cell) % 2 + 0 * x == 0
    paint = np.where(pattern[..., None], colour(rng, 60, 130, 90), colour(rng, 180, 235, 30))
    light = (size - (y + x)) * 70 // size   # bright above left, dark below right
    paint = shaded(paint, light + noise(rng, size, size, (4 * u, 2), (16, 8)))
    return paint.astype(np.uint8), _disc(size, size)


def foliage(rng, u):
    """Sprite: a bush with a ragged outline."""
    height, width = integer(rng, 26, 44) * u, integer(rng, 34, 60) * u
    leaves = noise(rng, height, width, (6 * u, 3 * u, u), (50, 80, 70))
    green = np.array([70, 110, 45]) + colour(rng, 0, 1, 25)
    paint = shaded(np.broadcast_to(np.clip(green, 0, 255), (height, width, 3)).astype(np.int32), leaves)
    y = (np.arange(height)[:, None] * 2 + 1 - height) / float(height)
    x = (np.arange(width)[None, :] * 2 + 1 - width) / float(width)
    reach = ((1 - (x * x + y * y)) * 400).astype(np.int32)
    cover = np.clip((np.minimum(reach - 60, 200) + leaves) * 4, 0, 255)
    cover[reach <= 0] = 0
    return paint.astype(np.uint8), cover.astype(np.uint8)


def post(rng, u):
    """Sprite: a tall pole with rings."""
    height, width = 120 * u, integer(rng, 3, 5) * u
    x = np.arange(width)[None, :, None]
    paint = np.clip(colour(rng, 60, 140, 20) + 60 - np.abs(x * 2 - width // 2) * 90 // width, 0, 255)
    paint = np.broadcast_to(paint, (height, width, 3)).astype(np.int32)
    paint[np.arange(height) % (20 * u) < 2 * u] //= 2
    return paint.astype(np.uint8), np.full((height, width), 255, np.uint8)

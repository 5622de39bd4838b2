"""The tiles of --tile=auto: within the memory, and the least work."""
import re

import pytest
from facts import raises_facts

from data_tools.base.errors import UserError
from edvr.config import ModelConfig
from edvr.config.restoration import RestoreConfig
from edvr.restore import memory, tile_choice, tiling
from edvr.restore.tile_choice import choose, smallest

BYTES = 1000.   # for each pixel of a tile


def restored_pixels(frame, tile, overlap=64, multiple=4):
    return len(tiling.Tiling(frame, tile, overlap, multiple, 1).boxes) * tile[0] * tile[1]


def test_a_frame_that_fits_is_not_cut():
    assert choose((100, 120), 16, 4, BYTES, 100 * 120 * BYTES) == ((100, 120), False)
    assert choose((8, 8), 64, 4, BYTES, 64 * BYTES).tile == (8, 8)


@pytest.mark.parametrize('frame', [(1080, 1920), (2160, 3840), (100, 1920), (1920, 100), (64, 64)])
@pytest.mark.parametrize('side', [300, 500, 900])
@pytest.mark.parametrize('overlap, multiple', [(64, 4), (30, 16), (0, 4)])
def test_tiles_fit_in_the_memory_and_no_square_is_less_work(frame, side, overlap, multiple):
    frame = tiling.padded_size(*frame, multiple)
    tile, keeps = choose(frame, overlap, multiple, BYTES, side ** 2 * BYTES)
    assert tile[0] * tile[1] <= side ** 2 and not keeps
    assert all(one <= whole and one % multiple == 0 for one, whole in zip(tile, frame))
    work = restored_pixels(frame, tile, overlap, multiple)
    square = [min(side // multiple * multiple, whole) for whole in frame]
    assert work <= restored_pixels(frame, square, overlap, multiple)


def test_the_work_hardly_grows_with_the_frame():
    """1080p and 2160p in tiles of the same memory."""
    extra = [restored_pixels(frame, choose(frame, 64, 4, BYTES, 900 ** 2 * BYTES).tile) / (frame[0] * frame[1])
             for frame in ((1080, 1920), (2160, 3840))]
    assert max(extra) < 1.2 and max(extra) / min(extra) < 1.1


def test_features_are_kept_where_that_is_less_work():
    frame, pixels = (1080, 1920), 1080 * 1920
    plenty = choose(frame, 64, 4, BYTES, 2 * pixels * BYTES, kept_bytes=500., kept_memory=pixels * 500.)
    assert plenty == (frame, True)
    assert choose(frame, 64, 4, BYTES, 2 * pixels * BYTES, 500., pixels * 499.) == (frame, False)
    assert choose(frame, 64, 4, BYTES, 2 * pixels * BYTES, 500., 0) == (frame, False)
    # kept features would leave memory for small tiles only, which are more work
    memory = pixels * 1.2 * 500. + 300 ** 2 * BYTES
    small = choose(frame, 64, 4, BYTES, memory, 500., memory)
    assert not small.keeps and restored_pixels(frame, small.tile) < 1.2 * pixels
    memory = pixels * 1.2 * 500. + 700 ** 2 * BYTES   # here they leave enough
    large = choose(frame, 64, 4, BYTES, memory, 500., memory)
    assert large.keeps
    assert large.tile[0] * large.tile[1] * BYTES + restored_pixels(frame, large.tile) * 500. <= memory


@pytest.mark.parametrize('frame', [(1080, 1920), (68, 400), (8, 8), (132, 1000)])
@pytest.mark.parametrize('overlap', [0, 30, 64])
def test_the_smallest_tile_is_what_fits_last(frame, overlap):
    least = smallest(frame, overlap, 4)
    pixels = least[0] * least[1]
    assert choose(frame, overlap, 4, BYTES, pixels * BYTES).tile == least
    assert choose(frame, overlap, 4, BYTES, (pixels - 1) * BYTES) is None


NETWORK = ModelConfig(num_frames=5)


def plan(size=(48, 400), fixed=(0, 0), keeps_features=True, **options):
    return tile_choice.plan(size, RestoreConfig(**options), NETWORK, lambda: memory.Footprint(2 ** 30, 1e5), fixed,
                            keeps_features)


def test_tiles_from_a_memory_budget():
    tiles, cache_bytes = plan(tile='auto', tile_overlap=16, memory_gb=64.)
    assert len(tiles.boxes) == 1 and cache_bytes == 4 * 2 ** 30
    tiles, cache_bytes = plan(tile='auto', tile_overlap=16, memory_gb=1.05 + 48 * 200 * 1e5 / 2 ** 30, cached=False)
    assert len(tiles.boxes) > 1 and cache_bytes == 0
    assert plan(tile='0', keeps_features=False)[1] == 0


def test_too_little_memory_is_reported_with_the_memory_that_suffices():
    """A frame that is one tile high: its smallest tile is no square."""
    options = dict(size=(68, 2000), tile='auto', tile_overlap=64)
    with pytest.raises(UserError, match='--memory_gb') as caught:
        plan(memory_gb=1., **options)
    needed = re.search(r'the smallest tile, 68x(\d+), about (\S+) GB: raise it, or lower --tile_overlap',
                       str(caught.value))
    assert 128 <= int(needed.group(1)) < 192
    assert len(plan(memory_gb=float(needed.group(2)) + .01, cached=False, **options)[0].boxes) > 1
    with pytest.raises(UserError, match='--memory_gb'):
        plan(memory_gb=float(needed.group(2)) - .01, **options)


def test_tiles_of_exported_graphs_and_of_accelerators():
    def sides(tiles):
        return {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in tiles.boxes}
    for tile in ('auto', '0', '128'):
        assert sides(plan(tile=tile, fixed=(64, 64))[0]) == {(64, 64)}
    with raises_facts(UserError, '--tile=auto', 'memory of this host'):
        plan(tile='auto', device='gpu')

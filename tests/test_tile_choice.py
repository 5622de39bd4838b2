"""The tiles of --tile=auto: within the memory, and the least work."""
import pytest

from data_tools.base.errors import UserError
from edvr.restore import tiling
from edvr.restore.tile_choice import choose

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


def test_too_little_memory_is_reported():
    with pytest.raises(UserError, match=r'leaves 0.00 GB for a tile, enough for 40 pixels a side; at least 128 are'):
        choose((1080, 1920), 64, 4, BYTES, 40 * 40 * BYTES)

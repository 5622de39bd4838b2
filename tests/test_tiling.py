"""Tiles: their positions, their blending, their memory."""
import numpy as np
import pytest
from facts import raises_facts

from data_tools.base.errors import UserError
from edvr.restore import tiling


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (2, 3), (8, 12), (9, 5)])
def test_pad_reflects_and_crops_back(size):
    frame = np.random.RandomState(0).randint(0, 256, size + (3,)).astype(np.uint8)
    wanted = tiling.padded_size(*size, multiple=4)
    padded = tiling.pad(frame, wanted)
    assert padded.shape[:2] == wanted and all(side % 4 == 0 and side - 4 < old for side, old in zip(wanted, size))
    np.testing.assert_array_equal(padded[:size[0], :size[1]], frame)
    if size[0] == 9:
        np.testing.assert_array_equal(padded[9:, :5], frame[[7, 6, 5]])


def test_pad_up_to_a_fixed_size():
    assert tiling.padded_size(10, 30, 4, (16, 16)) == (16, 32)
    assert tiling.pad(np.zeros([2, 3, 3], np.uint8), (64, 64)).shape == (64, 64, 3)


@pytest.mark.parametrize('multiple', [4, 16])
@pytest.mark.parametrize('length', [64, 80, 112, 176, 256, 720])
def test_tiles_cover_an_axis_with_enough_overlap(length, multiple):
    tile, overlap = 64, 24
    begins = tiling.starts(length, tile, overlap, multiple)
    assert begins[0] == 0 and begins[-1] + tile == length
    assert all(begin % multiple == 0 for begin in begins)
    assert all(0 < after - before <= tile - overlap for before, after in zip(begins, begins[1:]))
    assert len(begins) <= -(-(length - tile) // ((tile - overlap) // multiple * multiple)) + 1   # no more than needed


@pytest.mark.parametrize('size', [(64, 64), (100, 64), (68, 132), (48, 200)])
@pytest.mark.parametrize('overlap', [0, 8, 32])
def test_blending_cut_tiles_gives_the_frame_back(size, overlap):
    scale = 2
    tiles = tiling.Tiling(size, (64, 64), overlap, 4, scale)
    frame = np.random.RandomState(0).rand(*(side * scale for side in size), 3).astype(np.float32)
    cut = [frame[tuple(slice(part.start * scale, part.stop * scale) for part in box)] for box in tiles.boxes]
    np.testing.assert_allclose(tiles.blend(cut), frame, atol=1e-6)


def test_pixels_near_a_cut_do_not_count():
    overlap = 32
    tiles = tiling.Tiling((64, 160), (64, 64), overlap, 4, 1)
    damaged = []
    for _, columns in tiles.boxes:
        tile = np.ones([64, 64, 3], np.float32)
        if columns.start > 0:
            tile[:, :overlap * 3 // 8] = 1e30
        if columns.stop < 160:
            tile[:, -(overlap * 3 // 8):] = 1e30
        damaged.append(tile)
    np.testing.assert_allclose(tiles.blend(damaged), 1, atol=1e-6)


def test_blend_has_no_step_where_tiles_disagree():
    tiles = tiling.Tiling((64, 96), (64, 64), 32, 4, 4)
    blended = tiles.blend([np.zeros([256, 256, 1], np.float32), np.ones([256, 256, 1], np.float32)])
    steps = np.diff(blended[0, :, 0])
    assert blended[0, 0, 0] == 0 and blended[0, -1, 0] == 1
    assert steps.min() >= 0 and steps.max() < 1.01 / (32 / 4 * 4)


def test_text_for_the_user():
    assert str(tiling.Tiling((96, 160), (64, 96), 32, 4, 4)) == '4 tiles of 64x96'
    assert str(tiling.Tiling((96, 160), (96, 160), 32, 4, 4)) == 'the whole frame'


def test_unusable_tiles_are_refused():
    with raises_facts(UserError, 'tile', 66, 'multiple of 4'):
        tiling.Tiling((100, 100), (66, 66), 16, 4, 4)
    with raises_facts(UserError, 'tile', 64, 'tile_overlap 40', 'twice'):
        tiling.Tiling((100, 100), (64, 64), 40, 4, 4)

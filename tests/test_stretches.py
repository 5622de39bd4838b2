"""Clips cut into stretches."""
import pytest

from edvr.restoration.output.stretches import cut


@pytest.mark.parametrize('lengths, most, expected', [
    ([3, 1], 0, [(0, 0, 3), (1, 0, 1)]),
    ([7, 2], 3, [(0, 0, 3), (0, 3, 6), (0, 6, 7), (1, 0, 2)]),
    ([6], 3, [(0, 0, 3), (0, 3, 6)]),
    ([], 3, []),
])
def test_every_frame_is_in_one_stretch(lengths, most, expected):
    assert [tuple(item) for item in cut(lengths, most)] == expected

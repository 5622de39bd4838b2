import pytest

from data_tools.media.windows import FILLS, window_indices


@pytest.mark.parametrize('fill, first, last', [
    ('replicate', [0, 0, 0, 1, 2], [97, 98, 99, 99, 99]),
    ('reflection', [2, 1, 0, 1, 2], [97, 98, 99, 98, 97]),
    ('reflection_circle', [4, 3, 0, 1, 2], [97, 98, 99, 96, 95]),
    ('circle', [3, 4, 0, 1, 2], [97, 98, 99, 95, 96])])
def test_ends_of_a_clip(fill, first, last):
    assert window_indices(0, 100, 5, fill) == first
    assert window_indices(99, 100, 5, fill) == last


def test_inside_nothing_is_filled():
    for fill in FILLS:
        assert window_indices(7, 20, 5, fill) == [5, 6, 7, 8, 9]
        assert window_indices(7, 20, 3, fill, interval=3) == [4, 7, 10]
        assert window_indices(4, 20, 1, fill) == [4]


@pytest.mark.parametrize('fill', FILLS)
def test_short_clips_stay_in_range(fill):
    for length in (1, 2, 3, 4):
        for index in range(length):
            indices = window_indices(index, length, 7, fill)
            assert len(indices) == 7 and indices[3] == index and set(indices) <= set(range(length))


def test_wrong_arguments():
    with pytest.raises(ValueError, match='mirror'):
        window_indices(0, 5, 5, 'mirror')
    with pytest.raises(ValueError, match='centre frame 5'):
        window_indices(5, 5, 5)

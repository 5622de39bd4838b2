"""The eight versions of an image."""
import numpy as np
import pytest

from edvr.restore import ensemble


def test_versions_differ_and_are_the_flips_and_transpositions():
    image = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    versions = [ensemble.transform(image, index) for index in range(ensemble.NUM_TRANSFORMS)]
    np.testing.assert_array_equal(versions[0], image)
    np.testing.assert_array_equal(versions[1], image[:, ::-1])
    np.testing.assert_array_equal(versions[2], image[::-1])
    np.testing.assert_array_equal(versions[4], image.transpose(1, 0, 2))
    assert len({(version.shape, version.tobytes()) for version in versions}) == 8


@pytest.mark.parametrize('index', range(ensemble.NUM_TRANSFORMS))
def test_restore_undoes_transform_at_any_scale(index):
    image = np.random.RandomState(0).rand(3, 5, 3)
    np.testing.assert_array_equal(ensemble.inverse(ensemble.transform(image, index), index), image)
    enlarged = image.repeat(2, 0).repeat(2, 1)
    turned = ensemble.transform(image, index).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(ensemble.inverse(turned, index), enlarged)

"""The last layers in strips: the values of the whole image."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from helpers import ops_of
from helpers import session as unoptimized_session

from edvr.config import ModelConfig
from edvr.network import networks
from edvr.ops import native_library
from edvr.restore import strips

TINY = dict(channels=16, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)


@pytest.mark.parametrize('height', [4, 128, 180, 1080, 2160])
@pytest.mark.parametrize('width', [4, 1920])
def test_strips_cover_the_rows(height, width):
    found = strips.bounds(height, width)
    assert found[0][0] == 0 and found[-1][1] == height
    assert all(end == first for (_, end), (first, _) in zip(found, found[1:]))
    assert all(first % 4 == 0 and first < end for first, end in found)
    assert len(found) == 1 if height * width <= 2 ** 16 else 2 <= len(found) <= 4


@pytest.mark.parametrize('options', [dict(), dict(scale=2), dict(scale=3), dict(hr_in=True)], ids=str)
@pytest.mark.parametrize('dcn_impl', ['tf', pytest.param('native', marks=pytest.mark.skipif(
    native_library.compiler() is None, reason='no C++ compiler'))])
def test_strips_give_the_whole_image(options, dcn_impl, monkeypatch):
    config, random, height = ModelConfig(**dict(TINY, **options)), np.random.RandomState(0), 44
    ratio = 4 if config.hr_in else 1
    x, centre = random.randn(1, height, 20, 16), random.rand(1, ratio * height, ratio * 20, 3)
    with tf.Graph().as_default(), unoptimized_session() as session:
        tf.set_random_seed(0)
        inputs = tf.placeholder(tf.float32, [1, None, None, 16]), tf.placeholder(tf.float32, [1, None, None, 3])
        network = networks.build(config)
        sr = network.upsample_to_output(ops_of(dcn_impl), *inputs)
        session.run(tf.global_variables_initializer())

        def function(*values):
            calls.append(values[0].shape[1])
            return session.run(sr, dict(zip(inputs, values)))
        results = []
        for small in (2 ** 16, 0):
            calls = []
            monkeypatch.setattr(strips, '_SMALL', small)
            results.append(strips.compute(function, x, centre, network.HALO_ROWS))
    assert calls == [16, 20, 20, 12]   # strips of 12, 12, 12 and 8 rows with 4 rows of each neighbour
    np.testing.assert_allclose(results[1], results[0], atol=2e-6, rtol=0)
    assert results[0].shape == (config.upscale * ratio * height, config.upscale * ratio * 20, 3)

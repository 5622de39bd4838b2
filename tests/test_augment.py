import zlib

import numpy as np
import pytest
from helpers import smooth_frames

from edvr.data import augment, noise, record_reader
from edvr.data.input_pipeline import tf


def _numbers(frames, rows, columns, **flips):
    choice = dict(dict.fromkeys(('horizontal', 'vertical', 'transpose', 'backwards'), False), **flips)
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(augment.pixel_numbers(*(tf.constant(x, tf.int32) for x in (frames, rows, columns)),
                                                 **{key: tf.constant(value) for key, value in choice.items()}))


@pytest.mark.parametrize('bits', range(16))
def test_all_decisions_against_numpy(bits):
    horizontal, vertical, transpose, backwards = (bool(bits >> i & 1) for i in range(4))
    stack = np.random.RandomState(0).randint(0, 256, (6, 2, 7, 3))   # [H, F, W, 3]
    got = stack.reshape(-1, 3)[_numbers([0, 7], 14 * np.arange(1, 5), 2 + np.arange(4), horizontal=horizontal,
                                        vertical=vertical, transpose=transpose, backwards=backwards)]
    expected = stack[1:5, :, 2:6].transpose(1, 0, 2, 3)   # [F, h, w, 3]
    expected = expected[::-1] if backwards else expected
    expected = expected[:, ::-1] if vertical else expected
    expected = expected[:, :, ::-1] if horizontal else expected
    expected = expected.transpose(0, 2, 1, 3) if transpose else expected
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize('shape', [(1, 1, 1, 3), (2, 3, 3, 3), (1, 8, 8, 3), (5, 7, 7, 3)])
def test_recorrelate(shape):
    image = np.random.RandomState(1).randint(0, 256, shape).astype(np.uint8)
    green = image[..., 1]
    packed = np.stack([image[..., 0] - green, green, image[..., 2] - green], -1)
    with tf.Graph().as_default(), tf.Session() as session:
        np.testing.assert_array_equal(session.run(record_reader.recorrelate(tf.constant(packed))), image)


def _noisy(kind, level, lq, seed=(1, 2)):
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(noise.noisy(tf.constant(lq), kind, tf.constant(level, tf.float32),
                                       tf.constant(seed, tf.int64)))


def test_noise_has_the_requested_strength():
    lq = np.full((3, 64, 64, 3), 120, np.uint8)
    gaussian = _noisy('gaussian', 8., lq).astype(float) - 120
    assert abs(gaussian.mean()) < .3 and abs(gaussian.std() - 8) < .3
    speckle = _noisy('speckle', 10., lq).astype(float) - 120
    assert abs(speckle.std() - 12) < .4
    pepper = _noisy('salt_pepper', 20., lq)
    assert abs((pepper == 0).all(-1).mean() - .1) < .015 and abs((pepper == 255).all(-1).mean() - .1) < .015
    assert ((pepper == 120).all(-1) | (pepper == 0).all(-1) | (pepper == 255).all(-1)).all()
    np.testing.assert_array_equal(_noisy('gaussian', 8., lq), _noisy('gaussian', 8., lq))
    assert (_noisy('gaussian', 8., lq) != _noisy('gaussian', 8., lq, (1, 3))).any()


def test_noise_is_drawn_for_its_share():
    lq = np.full((1, 8, 8, 3), 120, np.uint8)
    with tf.Graph().as_default(), tf.Session() as session:
        draw = tf.placeholder(tf.float32, [3])
        noisy = noise.add_noise(tf.constant(lq), draw, tf.constant([1, 2], tf.int64),
                                ('gaussian', 'salt_pepper'), .5, 50.)
        assert (session.run(noisy, {draw: [.6, 0, .9]}) == lq).all()
        assert len(np.unique(session.run(noisy, {draw: [.4, 0, .9]}))) > 10
        assert set(np.unique(session.run(noisy, {draw: [.4, .9, .9]}))) <= {0, 120, 255}


def test_noise_is_that_of_earlier_versions():
    lq = smooth_frames(3, 48, 72)[:, ::2, ::2]
    with tf.Graph().as_default(), tf.Session() as session:
        draw = tf.placeholder(tf.float32, [3])
        noisy = noise.add_noise(tf.constant(lq), draw, tf.constant([5, 7], tf.int64),
                                ('gaussian', 'salt_pepper', 'speckle'), .5, 50.)
        pixels = [session.run(noisy, {draw: [.4, kind, .35]}) for kind in (.2, .5, .8)]
    assert [zlib.crc32(values.tobytes()) for values in pixels] == [1972501164, 2418631663, 282912699]

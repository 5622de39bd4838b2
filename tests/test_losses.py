"""Losses and PSNR against their formulas."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from edvr.config.losses import LOSSES, REDUCTIONS
from edvr.network import losses

RANDOM = np.random.RandomState(0)
SR, GT = RANDOM.rand(2, 4, 5, 3) * 1.4 - 0.2, RANDOM.randint(0, 256, (2, 4, 5, 3))
DIFFERENCE = SR - GT / 255.0


def value(build):
    with tf.Graph().as_default(), tf.Session() as session:
        sr = tf.constant(SR, tf.float32)
        return session.run(build(sr, tf.constant(GT, tf.uint8))), session.run(build(sr, tf.constant(GT / 255.0,
                                                                                                   tf.float32)))


@pytest.mark.parametrize('reduction', tuple(REDUCTIONS))
@pytest.mark.parametrize('kind', tuple(LOSSES))
def test_loss(kind, reduction):
    wanted = {'charbonnier': np.sqrt(DIFFERENCE ** 2 + 1e-12), 'l1': np.abs(DIFFERENCE), 'l2': DIFFERENCE ** 2}[kind]
    wanted = wanted.sum() if reduction == 'sum' else wanted.mean()
    assert value(lambda sr, gt: losses.loss(sr, gt, kind, reduction)) == pytest.approx((wanted, wanted), rel=1e-5)


def test_charbonnier_has_a_gradient_where_all_is_right():
    with tf.Graph().as_default(), tf.Session() as session:
        sr = tf.zeros([1, 2, 2, 3])
        assert not session.run(tf.gradients(losses.loss(sr, tf.zeros([1, 2, 2, 3])), sr)[0]).any()


@pytest.mark.parametrize('epsilon', [1e-6, 1e-2])
def test_the_epsilon_of_charbonnier(epsilon):
    wanted = np.sqrt(DIFFERENCE ** 2 + epsilon).mean()
    assert value(lambda sr, gt: losses.loss(sr, gt, reduction='mean', epsilon=epsilon)) == pytest.approx(
        (wanted, wanted), rel=1e-5)


def test_the_loss_of_each_sample():
    wanted = np.sqrt(DIFFERENCE ** 2 + 1e-12).mean((1, 2, 3))
    for found in value(losses.of_samples):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_unknown_loss():
    with pytest.raises(ValueError, match=r"'huber'.*charbonnier, l1"):
        losses.loss(None, None, 'huber')


def test_psnr():
    clipped = np.clip(SR, 0, 1) - GT / 255.0
    wanted = np.mean(-10 * np.log10((clipped ** 2).mean(axis=(1, 2, 3))))
    assert value(losses.psnr) == pytest.approx((wanted, wanted), rel=1e-5)
    with tf.Graph().as_default(), tf.Session() as session:
        assert session.run(losses.psnr(tf.ones([1, 2, 2, 3]), tf.ones([1, 2, 2, 3]))) == pytest.approx(100)

"""The learning rate against NumPy, at every boundary, and independent of the start of a run."""
import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts

from edvr.config import ConfigError, TrainingConfig
from edvr.training.schedule import learning_rate


def expected(step, config):
    """Step by step, as in SGDR's paper and BasicSR's scheduler."""
    rate, start = config.learning_rate_min, 0
    for period, weight in zip(config.periods, config.weights):
        if step <= start + period:
            half = (config.learning_rate - config.learning_rate_min) / 2
            rate = config.learning_rate_min + weight * half * (1 + math.cos(math.pi * (step - start) / period))
            break
        start += period
    if config.warmup_steps:
        rate *= min(1, (step + 1) / config.warmup_steps)
    return rate


def rates(steps, config):
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        rate = learning_rate(step, config)
        return [session.run(rate, {step: value}) for value in steps]


@pytest.mark.parametrize('fields', [
    dict(steps=40),
    dict(steps=40, cosine_periods=(10, 20, 5), restart_weights=(1., .5, .25)),
    dict(steps=40, cosine_periods=(30,), warmup_steps=7),
    dict(steps=3, cosine_periods=(1, 1, 1), learning_rate_min=1e-5)])
def test_against_numpy(fields):
    config = TrainingConfig(**fields)
    steps = range(45)
    np.testing.assert_allclose(rates(steps, config), [expected(step, config) for step in steps], rtol=2e-5, atol=1e-10)


def test_published_recipe():
    config = TrainingConfig(steps=600000, cosine_periods=(150000,) * 4, restart_weights=(1., .5, .5, .5))
    values = rates([0, 75000, 150000, 150001, 300001, 599999, 600000, 700000], config)
    np.testing.assert_allclose(values, [4e-4, 2.0005e-4, 1e-7, 2e-4, 2e-4, 1e-7, 1e-7, 1e-7], rtol=2e-3)


@pytest.mark.parametrize('fields, facts', [
    (dict(cosine_periods=(10, 20), restart_weights=(1.,)), ['restart_weights', 1, 'cosine_periods', 2]),
    (dict(cosine_periods=(10, 0)), ['cosine_periods', 0, 'at least 1']),
    (dict(learning_rate=1e-8), ['learning_rate_min', 1e-07, 'above learning_rate']),
    (dict(image_every=5, val_dir=''), ['image_every', 5, 'no val_dir']),
    (dict(steps=0), ['steps', 0, 'at least 1'])])
def test_wrong_options_are_refused(fields, facts):
    with raises_facts(ConfigError, *facts):
        TrainingConfig(**fields)

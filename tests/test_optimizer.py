"""Adam against NumPy, a closed gate that leaves no trace, rates per variable, clipping, moving averages."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from edvr.config import TrainingConfig
from edvr.training import optimizer

NAMES = ('edvr/conv/weight', 'edvr/pcd_align/conv_offset/weight', 'edvr/fusion/weight')


class Problem:
    """Three variables, gradients and a gate to feed, one update."""

    def __init__(self, resource, **fields):
        self.config = TrainingConfig(**fields)
        self.variables = [tf.get_variable(name, [4], use_resource=resource,
                                          initializer=tf.random_normal_initializer(seed=i))
                          for i, name in enumerate(NAMES)]
        self.gradients = [tf.placeholder(tf.float32, [4]) for _ in NAMES]
        self.gate, self.step = tf.placeholder(tf.float32, []), tf.placeholder(tf.int64, [])
        self.rates = optimizer.rates(self.step, self.config, self.config.offset_rate)
        adam = optimizer.GatedAdam(tf.constant(self.config.learning_rate), self.config, self.rates)
        adam.gate = self.gate
        self.shadows = optimizer.shadow_variables(self.variables)
        pairs = optimizer.scale(list(zip(self.gradients, self.variables)), self.gate)
        with tf.control_dependencies([adam.apply_gradients(pairs)]):
            self.update = optimizer.update_shadows(self.shadows, self.variables, self.step, .9, self.gate)
        self.session = tf.Session()
        self.session.run(tf.global_variables_initializer())

    def run(self, gradients, gate=1., step=0):
        fed = list(zip(self.gradients, gradients)) + [(self.gate, gate), (self.step, step)]
        self.session.run(self.update, dict(fed))

    def state(self):
        return self.session.run(tf.global_variables())


@pytest.fixture(params=[False, True], ids=['ref', 'resource'])
def problem(request):
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        yield lambda **fields: Problem(request.param, **fields)


def test_adam_and_averages_against_numpy(problem):
    problem = problem(learning_rate=.1, beta2=.95, offset_rate=.25)
    rng = np.random.RandomState(0)
    values = problem.session.run(problem.variables)
    shadows = [value.copy() for value in values]
    m, v = [0.] * 3, [0.] * 3
    for t in range(1, 6):
        gradients = rng.normal(size=[3, 4])
        problem.run(gradients, step=t - 1)
        decay = min(.9, t / (9 + t))
        for i, rate in enumerate((.1, .025, .1)):
            m[i] = .9 * m[i] + .1 * gradients[i]
            v[i] = .95 * v[i] + .05 * gradients[i] ** 2
            values[i] = values[i] - rate * np.sqrt(1 - .95 ** t) / (1 - .9 ** t) * m[i] / (np.sqrt(v[i]) + 1e-8)
            shadows[i] = decay * shadows[i] + (1 - decay) * values[i]
    np.testing.assert_allclose(problem.session.run(problem.variables), values, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(problem.session.run(problem.shadows), shadows, rtol=2e-5, atol=1e-6)


def test_closed_gate_leaves_every_bit(problem):
    problem = problem(learning_rate=.1)
    rng = np.random.RandomState(0)
    for step in range(3):
        problem.run(rng.normal(size=[3, 4]), step=step)
    before = problem.state()
    for bad in (np.nan, np.inf, 1e30):
        problem.run(np.full([3, 4], bad), gate=0., step=3)
    after = problem.state()
    assert len(before) == 3 * 4 + 2   # variable, two slots, average; two powers
    for old, new in zip(before, after):
        np.testing.assert_array_equal(old, new)
    problem.run(rng.normal(size=[3, 4]), step=4)
    assert all((old != new).any() for old, new in zip(before, problem.state()))


def test_only_the_fusion_learns_at_first(problem):
    problem = problem(tsa_only_steps=2, learning_rate=.1)
    start = problem.session.run(problem.variables)
    for step in range(2):
        problem.run(np.ones([3, 4]), step=step)
    values = problem.session.run(problem.variables)
    np.testing.assert_array_equal(start[:2], values[:2])
    assert (start[2] != values[2]).all()
    problem.run(np.ones([3, 4]), step=2)
    assert all((old != new).all() for old, new in zip(values, problem.session.run(problem.variables)))


def test_norm_counts_what_learns_and_clipping_keeps_direction():
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        variables = [tf.get_variable(name, [2]) for name in NAMES]
        gradients = [(tf.constant(value), variable)
                     for value, variable in zip(([3., 0.], [0., 4.], [0., 12.]), variables)]
        rates = optimizer.rates(step, TrainingConfig(tsa_only_steps=10), 1.)
        norm = optimizer.global_norm(gradients, rates)
        assert session.run(norm, {step: 10}) == pytest.approx(13)
        assert session.run(norm, {step: 9}) == pytest.approx(12)
        clipped = optimizer.scale(gradients, optimizer.clip_factor(norm, 6.5))
        np.testing.assert_allclose(session.run([g for g, _ in clipped], {step: 10}), [[1.5, 0], [0, 2], [0, 6]])
        same = optimizer.scale(gradients, optimizer.clip_factor(norm, 14.))
        np.testing.assert_allclose(session.run([g for g, _ in same], {step: 10}), [[3, 0], [0, 4], [0, 12]])
        fixed = optimizer.global_norm(gradients, optimizer.rates(step, TrainingConfig(), 0.))
        assert session.run(fixed) == pytest.approx(np.hypot(3, 12))   # offsets that do not learn do not count

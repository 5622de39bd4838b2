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
        adam = optimizer.GatedAdam(tf.constant(self.config.learning_rate), self.config, self.rates,
                                   self.step)
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


class TorchAdam:
    """Adam of one variable as PyTorch computes it, in float64; it has no state before its first gradient."""

    def __init__(self, value, config, rate):
        self.value, self.config, self.rate, self.m, self.v, self.t = value.astype(np.float64), config, rate, 0., 0., 0

    def step(self, gradient):
        config, self.t = self.config, self.t + 1
        self.m = config.beta1 * self.m + (1 - config.beta1) * gradient
        self.v = config.beta2 * self.v + (1 - config.beta2) * gradient ** 2
        root = np.sqrt(self.v) / np.sqrt(1 - config.beta2 ** self.t) + config.adam_epsilon
        self.value = self.value - self.rate / (1 - config.beta1 ** self.t) * self.m / root


def test_adam_and_averages_against_numpy(problem):
    """Each step; gradients near epsilon show where it is added."""
    problem = problem(learning_rate=.1, beta2=.95, offset_rate=.25, adam_epsilon=1e-3)
    rng = np.random.RandomState(0)
    values = problem.session.run(problem.variables)
    shadows = [value.copy() for value in values]
    adams = [TorchAdam(value, problem.config, rate) for value, rate in zip(values, (.1, .025, .1))]
    for t in range(1, 6):
        gradients = 1e-3 * rng.normal(size=[3, 4])
        problem.run(gradients, step=t - 1)
        decay = min(.9, t / (9 + t))
        for i, adam in enumerate(adams):
            adam.step(gradients[i])
            shadows[i] = decay * shadows[i] + (1 - decay) * adam.value
        np.testing.assert_allclose(problem.session.run(problem.variables), [adam.value for adam in adams], rtol=2e-5,
                                   atol=1e-6)
        np.testing.assert_allclose(problem.session.run(problem.shadows), shadows, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize('first', [2, 4])
def test_frozen_variables_start_as_in_pytorch(problem, first):
    """They train from update `tsa_only_steps` on, with moments and bias correction of a new optimizer."""
    problem = problem(learning_rate=.1, tsa_only_steps=first, adam_epsilon=1e-3)
    rng = np.random.RandomState(0)
    adams = [TorchAdam(value, problem.config, .1) for value in problem.session.run(problem.variables)]
    for update in range(1, first + 5):
        gradients = 1e-2 * rng.normal(size=[3, 4])
        if update == first + 1:   # a skipped update between changes nothing
            problem.run(np.full([3, 4], np.nan), gate=0., step=update - 1)
        problem.run(gradients, step=update - 1)
        for name, adam, gradient in zip(NAMES, adams, gradients):
            if update >= first or 'fusion' in name:
                adam.step(gradient)
        np.testing.assert_allclose(problem.session.run(problem.variables), [adam.value for adam in adams], rtol=2e-5,
                                   atol=1e-6)


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
    problem = problem(tsa_only_steps=3, learning_rate=.1)
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
        rates = optimizer.rates(step, TrainingConfig(tsa_only_steps=11), 1.)
        norm = optimizer.global_norm(gradients, rates)
        assert session.run(norm, {step: 10}) == pytest.approx(13)
        assert session.run(norm, {step: 9}) == pytest.approx(12)
        clipped = optimizer.scale(gradients, optimizer.clip_factor(norm, 6.5))
        np.testing.assert_allclose(session.run([g for g, _ in clipped], {step: 10}), [[1.5, 0], [0, 2], [0, 6]])
        same = optimizer.scale(gradients, optimizer.clip_factor(norm, 14.))
        np.testing.assert_allclose(session.run([g for g, _ in same], {step: 10}), [[3, 0], [0, 4], [0, 12]])
        fixed = optimizer.global_norm(gradients, optimizer.rates(step, TrainingConfig(), 0.))
        assert session.run(fixed) == pytest.approx(np.hypot(3, 12))   # offsets that do not learn do not count


def test_losses_over_the_switch_equal_pytorch():
    """Two layers, trained as BasicSR trains with `tsa_iter: 4`: its third update is the last with frozen variables."""
    torch = pytest.importorskip('torch')
    rng = np.random.RandomState(0)
    inputs, truth = rng.normal(size=[12, 8, 5]).astype(np.float32), rng.normal(size=[12, 8, 3]).astype(np.float32)
    starts = [rng.normal(size=shape).astype(np.float32) for shape in ([5, 6], [6, 3])]
    weights = [torch.nn.Parameter(torch.from_numpy(start.copy())) for start in starts]
    adam, theirs = torch.optim.Adam(weights, lr=.05, betas=(.9, .99)), []
    for update in range(1, 13):
        if update == 1:
            weights[0].requires_grad = False
        elif update == 4:
            weights[0].requires_grad = True
        adam.zero_grad()
        x, y = torch.from_numpy(inputs[update - 1]), torch.from_numpy(truth[update - 1])
        loss = torch.sqrt((torch.tanh(x @ weights[0]) @ weights[1] - y) ** 2 + 1e-12).sum()
        loss.backward()
        adam.step()
        theirs.append(loss.item())
    config, ours = TrainingConfig(tsa_only_steps=4), []
    with tf.Graph().as_default(), tf.Session() as session:
        x, y, step = (tf.placeholder(*item) for item in ((tf.float32, [8, 5]), (tf.float32, [8, 3]), (tf.int64, [])))
        variables = [tf.get_variable(name, initializer=start)
                     for name, start in zip(('edvr/conv/weight', 'edvr/fusion/weight'), starts)]
        loss = tf.reduce_sum(tf.sqrt((tf.tanh(x @ variables[0]) @ variables[1] - y) ** 2 + 1e-12))
        rates = optimizer.rates(step, config, 1.)
        adam = optimizer.GatedAdam(tf.constant(.05), config, rates, step)
        update = adam.apply_gradients(adam.compute_gradients(loss, variables))
        session.run(tf.global_variables_initializer())
        for number in range(12):
            feed = {x: inputs[number], y: truth[number], step: number}
            ours.append(session.run([loss, update], feed)[0])
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)

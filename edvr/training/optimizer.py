"""Adam with a gate that skips updates and a learning rate for each group of variables; moving averages of weights.

Skipping an update uses no control flow, which accelerators handle badly. With a closed gate (0) the decays are 1 and
the learning rate and the gradients are 0, so each update adds exactly 0: weights, slots and powers keep their bits.
"""
import typing

import tensorflow.compat.v1 as tf

from edvr.checkpoints import EMA_SUFFIX, name_of
from edvr.config import TrainingConfig

FUSION = 'edvr/fusion/'
OFFSETS = 'conv_offset'

Rates = typing.Callable[[tf.Variable], typing.Union[float, tf.Tensor]]   # factor on the learning rate of a variable
Terms = typing.Tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]   # rate, beta1, beta2, epsilon of an update
Gradients = typing.Sequence[typing.Tuple[tf.Tensor, tf.Variable]]


class GatedAdam(tf.train.AdamOptimizer):
    """Computes Adam (arXiv 1412.6980) as PyTorch does, with the slots and checkpoint names of tf.train.AdamOptimizer.

    Epsilon is added after the bias correction. Variables that are frozen at first have moments of 0 until they train,
    and their bias correction counts from there, as in PyTorch, whose optimizer has no state for them before.

    Attributes:
      gate: float32 tensor [], 1 applies the update, 0 changes nothing; set before `apply_gradients`.
      calls: float32 variable [] that counts the updates, or None. Loss scaling runs `apply_gradients` only where
        nothing overflowed, so a step without a count was skipped by it.
    """

    def __init__(self, learning_rate: tf.Tensor, config: TrainingConfig, rates: Rates, step: tf.Tensor) -> None:
        """Sets the rates; the gate is open.

        Args:
          learning_rate: float32 tensor [].
          config: of the run.
          rates: function(variable) -> factor on the learning rate, float or float32 tensor [].
          step: int tensor [], updates done before this one.
        """
        super().__init__(learning_rate, config.beta1, config.beta2, config.adam_epsilon, name='Adam')
        self._rates = rates
        self._updates = tf.cast(step, tf.float32) - first_full_update(config)   # of late variables
        self._has_late = bool(first_full_update(config))
        self.gate = tf.constant(1.)
        self.calls: typing.Optional[tf.Variable] = None
        # of the superclass, which sets them in `_prepare`
        self._lr_t: tf.Tensor
        self._beta1_t: tf.Tensor
        self._beta2_t: tf.Tensor
        self._epsilon_t: tf.Tensor
        self._usual: Terms
        self._late: Terms   # of the variables that are frozen at first

    def count_calls(self) -> None:
        """Creates `calls`, outside the control flow of loss scaling."""
        self.calls = tf.get_variable('guard/updates', [], tf.float32, tf.zeros_initializer(), trainable=False,
                                     collections=[tf.GraphKeys.LOCAL_VARIABLES])

    def _finish(self, update_ops, name_scope):
        self._beta1_t, self._beta2_t = self._usual[1:3]   # they update the powers
        update = super()._finish(update_ops, name_scope)
        return update if self.calls is None else tf.group(update, self.calls.assign_add(1.))

    def _prepare(self):
        super()._prepare()
        beta1, beta2, epsilon, closed = self._beta1_t, self._beta2_t, self._epsilon_t, 1. - self.gate
        remaining1, remaining2 = (1. - tf.convert_to_tensor(power) for power in self._get_beta_accumulators())
        rate = self._lr_t * self.gate
        # TensorFlow adds epsilon to the root of the mean squared gradient before its bias correction;
        # x * 1 + 0 and x * 0 + 1 are exact
        self._usual = (rate, beta1 * self.gate + closed, beta2 * self.gate + closed, epsilon * tf.sqrt(remaining2))
        if self._has_late:
            late1, late2 = (1. - tf.pow(beta, tf.maximum(self._updates + 1., 1.)) for beta in (beta1, beta2))
            # the operation corrects by the powers of all updates; before the first, moments decay by 0
            correction = tf.sqrt(late2 / remaining2) * remaining1 / late1
            kept = tf.cast(self._updates >= 0., tf.float32) * self.gate
            self._late = (rate * correction, beta1 * kept + closed, beta2 * kept + closed, epsilon * tf.sqrt(late2))

    def _apply_dense(self, grad, var):
        return super()._apply_dense(self._select(grad, var), var)

    def _resource_apply_dense(self, grad, var):
        return super()._resource_apply_dense(self._select(grad, var), var)

    def _select(self, grad, var):
        """Sets rate, decays and epsilon of a variable; returns its gradient, 0 while it is frozen."""
        late = self._has_late and not name_of(var).startswith(FUSION)
        rate, self._beta1_t, self._beta2_t, self._epsilon_t = self._late if late else self._usual
        self._lr_t = rate * self._rates(var)
        return tf.math.multiply_no_nan(grad, tf.cast(self._updates >= 0., tf.float32)) if late else grad


def first_full_update(config: TrainingConfig) -> int:
    """Returns how many updates at the start change only the fusion: one fewer than `tsa_only_steps`, as in BasicSR."""
    return max(0, config.tsa_only_steps - 1)


def rates(step: tf.Tensor, config: TrainingConfig, offset_rate: float) -> Rates:
    """Returns the factor on the learning rate of each variable.

    Args:
      step: int tensor [], updates done before this one.
      config: has `tsa_only_steps`, see `first_full_update`.
      offset_rate: factor for the convolutions that compute DCN offsets.
    Returns:
      function(variable) -> float or float32 tensor [].
    """
    first = first_full_update(config)
    others = tf.cast(step >= first, tf.float32) if first else None

    def rate(variable):
        name = name_of(variable)
        factor = offset_rate if OFFSETS in name else 1.
        return factor if others is None or name.startswith(FUSION) else factor * others
    return rate


def global_norm(gradients: Gradients, rates: Rates) -> tf.Tensor:
    """Returns the L2 norm over the gradients of all variables trained at this step, float32 tensor [].

    Args:
      gradients: list of (gradient, variable).
      rates: as in GatedAdam; a variable counts unless its factor is 0.
    """
    squares = []
    for gradient, variable in gradients:
        rate = rates(variable)
        learns = tf.cast(rate > 0, tf.float32) if tf.is_tensor(rate) else float(rate > 0)
        squares.append(2. * tf.nn.l2_loss(gradient) * learns)
    return tf.sqrt(tf.add_n(squares))


def clip_factor(norm: tf.Tensor, limit: float) -> tf.Tensor:
    """Returns the factor that reduces the norm of the gradients to at most `limit` (0: none), float32 tensor []."""
    return limit / tf.maximum(norm, limit) if limit else tf.constant(1.)


def scale(gradients: Gradients, factor: tf.Tensor, exact_zero: bool = True) -> Gradients:
    """Returns gradients times `factor` (float32 tensor []); with exact_zero, NaN times 0 and infinity times 0 are 0."""
    multiply = tf.math.multiply_no_nan if exact_zero else tf.multiply
    return [(multiply(gradient, factor), variable) for gradient, variable in gradients]


def shadow_variables(variables: typing.Sequence[tf.Variable]) -> typing.List[tf.Variable]:
    """Returns the moving average of each variable, `<variable>/ExponentialMovingAverage`, float32, created if new.

    An average is initialised with the same tensor as its variable, so one run of the initialisers gives both one value.
    """
    with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
        return [tf.get_variable(
            name_of(variable) + EMA_SUFFIX, initializer=variable.initial_value, trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA) for variable in variables]


def ema_decay(step: int, decay: float) -> float:
    """Returns the decay that `update_shadows` uses after `step` updates."""
    return min(decay, (1. + step) / (10. + step))


def update_shadows(shadows: typing.Sequence[tf.Variable], variables: typing.Sequence[tf.Variable], step: tf.Tensor,
                   decay: float, gate: tf.Tensor) -> tf.Operation:
    """Updates the averages; call it under control dependencies on the update of the variables.

    Args:
      shadows, variables: lists of variables, float32.
      step: int tensor [], updates done before this one: at the start the decay is (1 + step) / (10 + step).
      decay: of later steps.
      gate: float32 tensor [], 0 changes nothing.
    """
    step = tf.cast(step, tf.float32)
    share = gate * (1. - tf.minimum(decay, (1. + step) / (10. + step)))
    return tf.group(*[shadow.assign_sub((shadow.read_value() - variable.read_value()) * share)
                      for shadow, variable in zip(shadows, variables)])

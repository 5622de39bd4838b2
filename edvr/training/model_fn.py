"""The model_fn of training: network, loss, guarded update, and the numbers that the hooks read.

It contains only numeric operations, so that all of it can run on an accelerator.
"""
import typing

import tensorflow.compat.v1 as tf

from edvr.config import ModelConfig, TrainingConfig
from edvr.devices.base import Device
from edvr.network import losses, networks
from edvr.network.base import Outputs
from edvr.training import optimizer, update_guard
from edvr.training.micro_batches import MicroBatches
from edvr.training.schedule import learning_rate
from edvr.training.warm_start import initialise_from

LEVELS = ('l3', 'l2', 'l1', 'cas')   # of deformable convolutions; a network may have none
SET = 'set'   # feature: the number of the set of each sample
SHARE, LOSS = 'set_share/', 'set_loss/'
DATA_WAIT = 'data_wait'   # feature: seconds that the step waited for its batch, float32 []
# the numbers in the vector that hooks fetch, in its order; the offsets, if the network has any
WATCHED = (('loss', 'psnr', 'learning_rate', 'gradient_norm', 'faults', 'streak', 'skipped', DATA_WAIT)
           + tuple('offset_' + level for level in LEVELS))
# after these, if several sets are mixed: of each set its share of the samples, then of each the sum over its samples of
# their loss (mean over the values of a sample), divided by the number of samples
STEP_KEY, WATCHED_KEY = 'edvr/step', 'edvr/watched'   # graph collections; the first element is the first replica's


def offsets_of(values: typing.Mapping[str, float]) -> typing.Dict[str, float]:
    """Returns {level: mean |offset|} of the deformable convolutions that the network has.

    Args:
      values: {name of WATCHED: float}.
    """
    return {level: values['offset_' + level] for level in LEVELS if 'offset_' + level in values}


def named(values: typing.Sequence[float], sets: typing.Sequence[str] = ()) -> typing.Dict[str, float]:
    """Returns {name of WATCHED, or SHARE or LOSS and the name of a set: value} of the vector that hooks fetch."""
    first = len(values) - 2 * len(sets)
    names = WATCHED[:first] + tuple(kind + name for kind in (SHARE, LOSS) for name in sets)
    return dict(zip(names, values))


def make_model_fn(model_config: ModelConfig, training_config: TrainingConfig, device: Device,
                  offset_rate: typing.Optional[float] = None, sets: int = 0, micro_batches: int = 1
                  ) -> typing.Callable[..., tf.estimator.EstimatorSpec]:
    """Returns a model_fn for `Device.make_estimator`.

    The features are {'lq': uint8 [N, T, h, w, 3]}, where it is measured 'data_wait', and of several sets 'set', int32
    [N]; the labels are the GT frames, uint8 [N, s*h, s*w, 3].

    Args:
      model_config, training_config: the configuration.
      device: where it runs.
      offset_rate: replaces training_config.offset_rate after a rollback, or None.
      sets: number of sets that the data mixes; 0 if it is of one.
      micro_batches: slices in which a step computes its batch.
    """
    if offset_rate is None:
        offset_rate = training_config.offset_rate
    ops = device.ops()
    if training_config.offset_fidelity_weight:
        ops.offset_bound = training_config.offset_fidelity_bound

    def restore(lq):
        return networks.build(model_config).restore(ops, lq, training_config.recompute_alignment)

    def judged(outputs, gt):
        with device.full_precision_scope():
            return judge(outputs, gt, training_config, device.loss_factor(training_config.loss_reduction))

    def numbers(lq, gt, of_samples=None):
        """Returns the values of `judge` and of each set, as parts of sums over slices; of_samples: feature SET."""
        outputs = restore(lq)
        values = judged(outputs, gt)
        with device.full_precision_scope():
            if sets:
                values += _of_sets(outputs.sr, gt, of_samples, sets, training_config)
            if micro_batches == 1:
                return values
            are_sums = [training_config.loss_reduction == 'sum'] + [False] * (len(values) - 1)
            return [value if is_sum else value / micro_batches for value, is_sum in zip(values, are_sums)]

    def model_fn(features, labels, mode):
        if mode != tf.estimator.ModeKeys.TRAIN:
            outputs = restore(features['lq'])
            if mode == tf.estimator.ModeKeys.PREDICT:
                return tf.estimator.EstimatorSpec(mode, predictions={'sr': outputs.sr})
            loss, psnr = judged(outputs, labels)[:2]
            return tf.estimator.EstimatorSpec(mode, loss=loss, eval_metric_ops={'psnr': tf.metrics.mean(psnr)})
        batch = MicroBatches(numbers, [features['lq'], labels] + ([features[SET]] if sets else []), micro_batches,
                             device.full_precision_scope)
        shadows = begin_weights(training_config)
        train_op, gate = _update(batch, sets, features.get(DATA_WAIT), shadows, offset_rate, training_config, device)
        loss = batch.sums[0]
        with device.full_precision_scope():
            # the Estimator ends a run whose loss is NaN; here the guard decides, and it gets the true loss
            shown = tf.math.multiply_no_nan(loss, gate)
        return tf.estimator.EstimatorSpec(mode, loss=shown, train_op=train_op)
    return model_fn


def judge(outputs: Outputs, gt: tf.Tensor, config: TrainingConfig, factor: float = 1.) -> typing.List[tf.Tensor]:
    """Returns loss, PSNR and the mean |offset| of each level that the network has: float32 tensors [].

    Args:
      outputs: of the network; with an offset-fidelity loss its `ops` must have an `offset_bound`.
      gt: uint8 [N, s*h, s*w, 3].
      config: the loss.
      factor: on the loss, see `Device.loss_factor`.
    """
    loss = losses.loss(outputs.sr, gt, config.loss, config.loss_reduction, config.charbonnier_epsilon)
    means, excess = _split(outputs.offset_means, config)
    loss = factor * (loss + excess * _values(gt, config) if excess is not None else loss)
    return [loss, losses.psnr(outputs.sr, gt)] + [means[level] for level in LEVELS if level in means]


def begin_weights(config: TrainingConfig) -> typing.List[tf.Variable]:
    """Initialises the trainable variables with the weights of `init_from`, and creates their moving averages.

    Returns:
      The averages; empty without EMA.
    """
    variables = tf.trainable_variables()
    if config.init_from:
        # before the averages, which begin with the variables' initial values
        initialise_from(config.init_from, variables, config.init_from_ema)
    return optimizer.shadow_variables(variables) if config.ema_decay else []


def _update(batch, sets, data_wait, shadows, offset_rate, config, device):
    """Builds the guarded update of a MicroBatches: (train_op, gate).

    Numbers of steps and sums exceed the largest float16: all that is not a gradient of the network keeps float32.
    """
    global_step = tf.train.get_global_step()
    # `+ 0` copies: a plain read of the variable may show its value after the update
    step = global_step.read_value() + 0
    with device.full_precision_scope():
        rate = learning_rate(step, config)
        rates = optimizer.rates(step, config, offset_rate)
        adam = optimizer.GatedAdam(rate, config, rates, step)
    wrapped = device.wrap_optimizer(adam)
    gradients = wrapped.compute_gradients(batch.loss, tf.trainable_variables())
    _require_gradients(gradients)
    with device.full_precision_scope():
        norm = optimizer.global_norm(gradients, rates)
        means = device.average(batch.sums)
        faults = update_guard.faults_of(means[0], norm, means[2:len(means) - 2 * sets], config.offset_limit)
        gate = adam.gate = tf.cast(tf.equal(faults, 0.), tf.float32)
    # a dynamic loss scale detects infinities itself, to lower its scale; a fixed one applies any gradient
    dynamic = device.config.loss_scale == 'dynamic'
    scale = device.loss_scale(wrapped)
    with device.full_precision_scope():
        if scale is not None:
            scale += 0.   # copied before the update, as the step
            calls = _counted_calls(adam, device)
        # the factor of a closed gate is 0 even where the norm, and so the clipping factor, is NaN
        factor = tf.math.multiply_no_nan(optimizer.clip_factor(norm, config.clip_norm), gate)
        gradients = optimizer.scale(gradients, factor, exact_zero=not dynamic)
    before = [] if scale is None else [scale, calls]
    # float16 has no epsilon of 1e-9
    with tf.control_dependencies(before), device.full_precision_scope():
        update = wrapped.apply_gradients(gradients)
    with tf.control_dependencies([update]), device.full_precision_scope():
        if scale is not None:
            applied = None if adam.calls is None else adam.calls.read_value() > calls
            faults = update_guard.overflows(faults, applied, scale, dynamic)
        verdict = update_guard.verdict(tf.identity(faults))
        averages = optimizer.update_shadows(shadows, tf.trainable_variables(), step, config.ema_decay, verdict.gate)
        watched = tf.stack([means[0], means[1], rate, norm, verdict.faults, verdict.streak, verdict.skipped,
                            tf.constant(-1.) if data_wait is None else data_wait] + means[2:])
    with tf.control_dependencies([averages, watched]):
        train_op = global_step.assign_add(1)
    tf.add_to_collection(STEP_KEY, step + 1)
    tf.add_to_collection(WATCHED_KEY, watched)
    return tf.group(train_op), gate


def _split(measured, config):
    """Returns ({level: mean |offset|}, the weighted offset-fidelity loss, or None without it); see `StockOps`."""
    if not config.offset_fidelity_weight:
        return measured, None
    parts = {level: tf.unstack(pair) for level, pair in measured.items()}
    excess = tf.add_n([over for _, over in parts.values()]) if parts else tf.constant(0.)
    return {level: mean for level, (mean, _) in parts.items()}, config.offset_fidelity_weight * excess


def _values(labels, config):
    """Returns the number of values that the loss sums; 1. for a mean."""
    return tf.cast(tf.size(labels), tf.float32) if config.loss_reduction == 'sum' else 1.


def _of_sets(sr, labels, numbers, count, config):
    """Returns share and summed loss of each set as WATCHED describes them, float32 tensors []."""
    members = tf.one_hot(numbers, count)
    samples = losses.of_samples(sr, labels, config.loss, config.charbonnier_epsilon)[:, None]
    return tf.unstack(tf.reduce_mean(members, 0)) + tf.unstack(tf.reduce_mean(members * samples, 0))


def _counted_calls(adam, device):
    """Returns the updates that Adam did before this one: float32 tensor []; 0 if only Inf shows an overflow."""
    if not device.HIDES_OVERFLOWS:
        return tf.constant(0.)
    adam.count_calls()
    return adam.calls.read_value() + 0.


def _require_gradients(gradients):
    without = [variable.name for gradient, variable in gradients if gradient is None]
    if without:
        raise ValueError('no gradient reaches %s: these variables are not used by the network' % ', '.join(without))

"""NPULossScaleOptimizer: the loss scaled, gradients scaled back, updates skipped on overflow on any rank."""
import tensorflow.compat.v1 as tf

from ...hccl import hccl_ops
from .npu_plugin import is_inf_nan_enabled

if not tf.__version__.startswith('1.15'):
    raise ImportError('npu_device.compat.v1 has no loss scale optimizer')


class NPULossScaleOptimizer(tf.train.Optimizer):
    def __init__(self, opt, loss_scale_manager, is_distributed=False):
        super().__init__(False, 'NPULossScaleOptimizermodule')
        self._opt, self._manager, self._is_distributed = opt, loss_scale_manager, is_distributed

    def compute_gradients(self, loss, *args, **kwargs):
        scale = self._manager.get_loss_scale()
        pairs = self._opt.compute_gradients(loss * tf.cast(scale, loss.dtype.base_dtype), *args, **kwargs)
        if not is_inf_nan_enabled():
            # values saturate, and a flag on the device remembers it: what comes out of here looks finite
            raw = [gradient for gradient, _ in pairs if gradient is not None]
            self._overflow = 1. - tf.to_float(_all_finite(raw))
            pairs = [(None if gradient is None else _saturated(gradient), variable) for gradient, variable in pairs]
        inverse = tf.reciprocal(scale)
        return [(None if gradient is None else gradient * tf.cast(inverse, gradient.dtype), variable)
                for gradient, variable in pairs]

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        grads_and_vars = list(grads_and_vars)
        given = [gradient for gradient, _ in grads_and_vars if gradient is not None]
        if is_inf_nan_enabled():
            finite = _all_finite(given)   # of what is given here: nothing else says that there was an overflow
        else:
            with tf.control_dependencies(given):
                status = tf.identity(self._overflow)
            finite = tf.equal(hccl_ops.allreduce(status, 'sum') if self._is_distributed else status, 0.)
        update = tf.cond(finite, lambda: tf.group(self._opt.apply_gradients(grads_and_vars, global_step, name)),
                         tf.no_op)
        return tf.group(update, self._manager.update_loss_scale(finite))


def _all_finite(values):
    return tf.reduce_all([tf.reduce_all(tf.is_finite(value)) for value in values])


def _saturated(value):
    largest = value.dtype.max
    return tf.where(tf.is_nan(value), tf.zeros_like(value), tf.clip_by_value(value, -largest, largest))

"""NPULossScaleOptimizer: the loss scaled, gradients scaled back, updates skipped on overflow on any rank."""
import tensorflow as tf

from npu_bridge.hccl import hccl_ops


class NPULossScaleOptimizer(tf.train.Optimizer):
    def __init__(self, opt, loss_scale_manager, is_distributed=False):
        super().__init__(False, 'NPULossScaleOptimizermodule')
        self._opt, self._manager, self._is_distributed = opt, loss_scale_manager, is_distributed

    def compute_gradients(self, loss, *args, **kwargs):
        scale = self._manager.get_loss_scale()
        pairs = self._opt.compute_gradients(loss * tf.cast(scale, loss.dtype.base_dtype), *args, **kwargs)
        # the device has a sticky overflow flag; here the gradients are looked at instead
        finite = [tf.reduce_all(tf.is_finite(gradient)) for gradient, _ in pairs if gradient is not None]
        self._float_status = 1. - tf.to_float(tf.reduce_all(finite))
        return [(None if gradient is None else gradient / tf.cast(scale, gradient.dtype), variable)
                for gradient, variable in pairs]

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        grads_and_vars = list(grads_and_vars)
        with tf.control_dependencies([gradient for gradient, _ in grads_and_vars if gradient is not None]):
            status = tf.identity(self._float_status)
        if self._is_distributed:
            status = hccl_ops.allreduce(status, 'sum')
        finite = tf.equal(status, 0.)
        update = tf.cond(finite, lambda: tf.group(self._opt.apply_gradients(grads_and_vars, global_step, name)),
                         tf.no_op)
        return tf.group(update, self._manager.update_loss_scale(finite))

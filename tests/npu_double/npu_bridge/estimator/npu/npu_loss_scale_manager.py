"""Loss scales: fixed, or by exponential updates."""
import tensorflow.compat.v1 as tf


class FixedLossScaleManager:
    def __init__(self, loss_scale):
        if loss_scale < 1:
            raise ValueError('loss scale must be at least 1.')
        self._loss_scale = loss_scale

    def get_loss_scale(self):
        return tf.constant(self._loss_scale, tf.float32)

    def update_loss_scale(self, finite_grads):
        return tf.no_op()


class ExponentialUpdateLossScaleManager:
    def __init__(self, init_loss_scale, incr_every_n_steps, decr_every_n_nan_or_inf=2, incr_ratio=2, decr_ratio=0.8):
        self._every = (incr_every_n_steps, decr_every_n_nan_or_inf)
        self._ratios = (incr_ratio, decr_ratio)
        self._loss_scale = self._state('loss_scale', float(init_loss_scale), tf.float32)
        self._good_steps = self._state('good_steps', 0, tf.int32)
        self._bad_steps = self._state('bad_steps', 0, tf.int32)

    @staticmethod
    def _state(name, value, dtype):
        return tf.get_variable(name, dtype=dtype, initializer=tf.constant(value, dtype), trainable=False)

    def get_loss_scale(self):
        return self._loss_scale.read_value()

    def update_loss_scale(self, finite_grads):
        """Counts this step; changes the scale when a count is full. A good step leaves the count of bad ones."""
        def counted(own, every, ratio, further):
            def full():
                scale = tf.maximum(self._loss_scale * ratio, 1.)
                assign = tf.cond(tf.is_finite(scale), lambda: tf.group(self._loss_scale.assign(scale)), tf.no_op)
                return tf.group(self._good_steps.assign(0), self._bad_steps.assign(0), assign)
            return tf.cond(own + 1 >= every, full, lambda: tf.group(own.assign_add(1), *further()))
        good, bad = self._good_steps, self._bad_steps
        return tf.cond(finite_grads, lambda: counted(good, self._every[0], self._ratios[0], lambda: []),
                       lambda: counted(bad, self._every[1], self._ratios[1], lambda: [good.assign(0)]))

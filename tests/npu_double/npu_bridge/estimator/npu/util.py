"""Loops of several steps on the device."""
import tensorflow.compat.v1 as tf


def set_iteration_per_loop(sess, train_op, iterations_per_loop=1):
    if not isinstance(train_op, tf.Operation):
        raise ValueError('train_op must be an Operation')
    if iterations_per_loop == 1:
        return train_op
    return wrap_train_op(train_op)


def wrap_train_op(train_op):
    with tf.control_dependencies([train_op]):
        return tf.no_op(name='IterationOp')


def loop_variables():
    """The LOCAL variables that the device's loop reads."""
    return {name: tf.get_variable('npu_runconfig/' + name, [], tf.int64, tf.zeros_initializer(), trainable=False,
                                  collections=[tf.GraphKeys.LOCAL_VARIABLES], use_resource=True)
            for name in ('iterations_per_loop', 'loop_cond', 'zero', 'one')}

"""Scopes that mark operations for the device; nothing on a CPU."""
import contextlib

import tensorflow.compat.v1 as tf

from . import releases


@contextlib.contextmanager
def keep_dtype_scope():
    mark = tf.AttrValue(b=True) if releases.current() == releases.EARLY else tf.AttrValue(i=1)
    with tf.get_default_graph()._attr_scope({'_keep_dtype': mark}):
        yield


@contextlib.contextmanager
def without_npu_compile_scope():
    with tf.get_default_graph()._attr_scope({'_without_npu_compile': tf.AttrValue(b=True)}):
        yield

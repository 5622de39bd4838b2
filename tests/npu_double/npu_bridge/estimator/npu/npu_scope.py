"""Scopes that mark operations for the device; nothing on a CPU."""
import contextlib

import tensorflow as tf


@contextlib.contextmanager
def keep_dtype_scope():
    with tf.get_default_graph()._attr_scope({'_keep_dtype': tf.AttrValue(b=True)}):
        yield


@contextlib.contextmanager
def without_npu_compile_scope():
    with tf.get_default_graph()._attr_scope({'_without_npu_compile': tf.AttrValue(b=True)}):
        yield

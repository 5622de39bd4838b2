"""Sets TensorFlow to graph mode, through `tensorflow.compat.v1` in each of its versions.

This module switches off the eager execution and the control flow of TensorFlow 2, before any graph is built. A package
whose modules build graphs imports it first. Code that builds no graph (help, flags, the process that starts the ranks
of a job) does not load TensorFlow. A missing one is a UserError that names the remedy.
"""
from data_tools.base import tensorflow_package

tensorflow_package.load()
import tensorflow.compat.v1 as tf  # noqa: E402 (checked by the line above)

tf.logging.set_verbosity(tf.logging.ERROR)   # the next line and much of TensorFlow 1.15 log deprecation warnings
tf.disable_v2_behavior()
tf.logging.set_verbosity(tf.logging.WARN)

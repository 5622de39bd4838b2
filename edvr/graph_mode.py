"""TensorFlow as all of `edvr` uses it: in graph mode, through `tensorflow.compat.v1` in each of its versions.

TensorFlow 2's eager execution and control flow are switched off here, before any graph is built. A package whose
modules build graphs imports this module first. What builds none (help, flags, the process that starts the ranks of a
job) does without TensorFlow.
"""
import tensorflow.compat.v1 as tf

tf.logging.set_verbosity(tf.logging.ERROR)   # the next line and much of TensorFlow 1.15 log deprecation warnings
tf.disable_v2_behavior()
tf.logging.set_verbosity(tf.logging.WARN)

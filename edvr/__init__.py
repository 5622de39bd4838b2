"""EDVR (arXiv 1905.02716): video restoration trained from TFRecords, on Ascend NPUs, GPUs and CPUs.

Graph mode on both TensorFlows: everything is written against `tensorflow.compat.v1`, so TensorFlow 2's
eager execution and control flow are switched off here, before any graph is built.
"""
import os
import warnings

# TensorFlow reads this when it is loaded: its start-up chatter (errors about absent GPUs included) hides the
# program's own lines. Real failures still arrive as Python exceptions.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
with warnings.catch_warnings():
    # TensorFlow 1.15 uses NumPy spellings that NumPy itself warns about, a screenful at each start.
    warnings.simplefilter('ignore', FutureWarning)
    import tensorflow.compat.v1 as tf

tf.logging.set_verbosity(tf.logging.ERROR)   # the next line and half of TensorFlow 1.15 warn of their own deprecation
tf.disable_v2_behavior()
tf.logging.set_verbosity(tf.logging.WARN)

"""EDVR (arXiv 1905.02716): video restoration trained from TFRecords, on Ascend NPUs, GPUs and CPUs.

Importing this package does not load TensorFlow, which takes seconds: see `edvr.graph_mode`.
"""
import os
import warnings

from data_tools.base import entry

entry.require_program(__file__)
# TensorFlow reads this when it is loaded: its start-up chatter (errors about absent GPUs included) hides the program's
# own lines. Real failures still arrive as Python exceptions.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# TensorFlow 1.15 uses NumPy spellings that NumPy warns of, a screenful at each start.
warnings.filterwarnings('ignore', category=FutureWarning, module=r'(tensorflow|tensorboard)\.')

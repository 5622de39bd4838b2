"""EDVR (arXiv 1905.02716): video restoration trained from TFRecords, on Ascend NPUs, GPUs and CPUs.

    from edvr import Restorer      # frames in memory in, restored frames out

Importing this package does not load TensorFlow, which takes seconds: see `edvr.graph_mode`. `Restorer` loads it.
"""
import importlib
import os
import warnings

from data_tools.base.version import __version__ as __version__

# TensorFlow reads this when it is loaded: its start-up messages (also errors about absent GPUs) would hide the lines of
# the program. Failures are still raised as Python exceptions.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# TensorFlow 1.15 uses NumPy spellings that NumPy warns of, a screenful at each start.
warnings.filterwarnings('ignore', category=FutureWarning, module=r'(tensorflow|tensorboard)\.')

_PUBLIC = {'Restorer': 'edvr.restore.restorer'}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError('module %r has no attribute %r' % (__name__, name))
    return getattr(importlib.import_module(_PUBLIC[name]), name)

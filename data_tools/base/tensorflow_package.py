"""TensorFlow, which is no hard requirement: a PC installs it by the extra `tf`, an Ascend host has its own."""
import re
import resource
import sys
from typing import Any

from data_tools.base.errors import UserError

OLDEST, LAST = (1, 15), (2, 15)   # 2.16 and later have no Estimator
LAST_PYTHON = (3, 11)             # of TensorFlow 2.15
_LEAST_ADDRESS_SPACE = 2 ** 31    # bytes; with less it does not report an error but crashes


def load() -> Any:
    """Returns the module tensorflow.compat.v1.

    Raises:
      UserError: TensorFlow is not installed, does not load, or is a version without the interfaces used here; the text
        names the remedy for this Python. Or the address space is limited to less than it needs.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if 0 <= limit < _LEAST_ADDRESS_SPACE:
        raise UserError('the address space of this process is limited to %.2f GiB (ulimit -v); TensorFlow needs at '
                        'least 2 GiB, more for more cores: raise the limit' % (limit / 2 ** 30))
    try:
        import tensorflow.compat.v1 as tf
    except ModuleNotFoundError as error:
        if error.name != 'tensorflow':
            raise UserError('TensorFlow does not load: %s; %s' % (error, _remedy())) from error
        raise UserError('TensorFlow is not installed in %s; %s' % (sys.executable, _remedy())) from None
    except (ImportError, TypeError) as error:   # a library or another package that it does not work with
        raise UserError('TensorFlow does not load: %s: %s; %s'
                        % (type(error).__name__, ' '.join(str(error).split()), _remedy())) from error
    found = re.match(r'(\d+)\.(\d+)', tf.__version__)
    if not found or not OLDEST <= (int(found.group(1)), int(found.group(2))) <= LAST:
        raise UserError('TensorFlow %s is installed; it must be 1.15 or 2.6 to 2.15, the last with Estimator; %s'
                        % (tf.__version__, _remedy()))
    return tf


def _remedy() -> str:
    if sys.version_info[:2] > LAST_PYTHON:
        return ('Python %d.%d has no TensorFlow for this project: use Python 3.9 to 3.11 (TensorFlow 2.15, the last '
                'with Estimator) or 3.7 (TensorFlow 1.15)' % sys.version_info[:2])
    return ("pip install 'edvr[tf]', in a checkout pip install '.[tf]'; on an Ascend host install the TensorFlow of "
            'its adapter instead (docs/install.md)')

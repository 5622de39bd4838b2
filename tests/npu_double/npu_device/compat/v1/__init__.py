import os

import npu_device

__version__ = npu_device.__version__
__path__ = [os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))),
                         'npu_bridge')]

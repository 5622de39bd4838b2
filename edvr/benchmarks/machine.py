"""Describes the machine of a measurement: processor, cores, instruction sets, libraries."""
import os
import platform
import re
from typing import Dict, Union

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.worker_pool import available_cores
from edvr.config import RuntimeConfig
from edvr.ops import native_library

# the instruction sets that decide the speed of float arithmetic, as /proc/cpuinfo spells them on x86 and on aarch64
INSTRUCTION_SETS = ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'asimd', 'sve', 'bf16')


def describe(runtime: RuntimeConfig) -> Dict[str, Union[str, int]]:
    """Describes the machine and the libraries of this process.

    Returns:
      processor, instruction_sets, cores (that this process may use), threads (of one operation),
      memory_gb, system, python, tensorflow, numpy, compiler, device.
    """
    info = _read('/proc/cpuinfo')
    name = re.search(r'^model name\s*: (.*)$', info, re.M)
    flags = set(re.findall(r'\S+', ' '.join(re.findall(r'^(?:flags|Features)\s*: (.*)$', info, re.M)[:1])))
    memory = re.search(r'^MemTotal: +(\d+) kB', _read('/proc/meminfo'), re.M)
    return dict(processor=name.group(1) if name else platform.machine(),
                instruction_sets=' '.join(name for name in INSTRUCTION_SETS if name in flags), cores=available_cores(),
                threads=runtime.intra_op_threads or available_cores(),
                memory_gb=round(int(memory.group(1)) / 2 ** 20) if memory else 0,
                system='%s %s' % (platform.system(), platform.machine()), python=platform.python_version(),
                tensorflow=tf.__version__, numpy=np.__version__,
                compiler=os.path.basename(native_library.compiler() or 'none'), device=runtime.device)


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ''

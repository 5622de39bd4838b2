"""Where a run comes from: what must be known, beside its configuration, to repeat it."""
import glob
import os
import platform
import socket
import subprocess
import sys

import numpy as np
import tensorflow.compat.v1 as tf

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# files in which CANN names its version, the first that is there
CANN_VERSION = ('{home}/version.cfg', '{home}/version.info', '{home}/*/version.info',
                '{home}/*/ascend_toolkit_install.info')
CANN_HOMES = ('ASCEND_TOOLKIT_HOME', 'ASCEND_HOME_PATH')


def describe(device, replicas, manifest, command=None):
    """What a session of a run is made with, for JSON.

    Args:
      device: str. replicas: int.
      manifest: str, checksum of the data set's manifest, or None without one.
      command: data_tools.base.command_line.CommandLine of the program, or None where a library call trains.
    Returns:
      dict; a value that cannot be found is None.
    """
    return {
        'versions': dict(_versions(), code=revision()),
        'host': '%s, %s, %d cores' % (socket.gethostname(), platform.platform(), os.cpu_count() or 0),
        'device': '%d x %s' % (replicas, device),
        'data': manifest,
        'command': [os.path.basename(sys.argv[0])] + command.typed if command else None,
        'flagfiles': dict(command.flagfiles) if command else {},
    }


def _versions():
    # an adapter that is used has been loaded by now; its package need not be loaded to describe a CPU run
    return {'python': platform.python_version(), 'tensorflow': tf.__version__, 'numpy': np.__version__,
            'npu_bridge': getattr(sys.modules.get('npu_bridge'), '__version__', None), 'cann': cann_version()}


def revision(root=ROOT):
    """The git revision of the code, with '+' behind it where files differ from it; None outside of a checkout."""
    if not os.path.exists(os.path.join(root, '.git')):
        return None   # installed; a repository around it is another one's

    def git(*arguments):
        return subprocess.run(('git', '-C', root) + arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              universal_newlines=True, timeout=30, check=True).stdout.strip()
    try:
        return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.SubprocessError):
        return None


def cann_version():
    """The version of CANN by its own files: str, or None where there is none."""
    homes = [os.environ[name] for name in CANN_HOMES if os.environ.get(name)]
    for home in homes + ['/usr/local/Ascend/cann', '/usr/local/Ascend/ascend-toolkit/latest']:
        for pattern in CANN_VERSION:
            for path in sorted(glob.glob(pattern.format(home=glob.escape(home)))):
                text = _first_version(path)
                if text:
                    return text
    return None


def _first_version(path):
    try:
        with open(path, errors='replace') as file:
            lines = [line.strip() for line in file if 'version' in line.lower()]
    except OSError:
        return None
    return lines[0] if lines else None


def as_text(origin):
    """The description as Markdown for TensorBoard."""
    lines = ['| | |', '|---|---|']
    for name, value in sorted(origin['versions'].items()):
        lines.append('| %s | %s |' % (name, value or 'unknown'))
    for name in ('host', 'device', 'data'):
        lines.append('| %s | %s |' % (name, origin.get(name) or 'none'))
    if origin['command']:
        lines += ['', '### command', '', '```', ' '.join(origin['command']), '```']
    for path, text in sorted(origin['flagfiles'].items()):
        lines += ['', '### ' + path, '', '```', text.rstrip(), '```']
    return '\n'.join(lines)

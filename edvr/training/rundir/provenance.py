"""The origin of a run: what is needed, beside its configuration, to repeat it."""
import glob
import os
import platform
import socket
import subprocess
import sys
from typing import Any, Dict, List, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.command_line import CommandLine
from edvr.devices.npu import ADAPTERS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# files in which CANN states its version; the first that exists is read
CANN_VERSION = ('{home}/version.cfg', '{home}/version.info', '{home}/*/version.info',
                '{home}/*/ascend_toolkit_install.info')
CANN_HOMES = ('ASCEND_TOOLKIT_HOME', 'ASCEND_HOME_PATH')


def describe(device: str, replicas: int, manifest: Optional[str],
             command: Optional[CommandLine] = None, versions: Optional[Dict[str, str]] = None) -> Dict[str, Any]:
    """Describes the start of a session of a run, for JSON.

    Args:
      manifest: checksum of the data set's manifest, or None without one.
      command: of the program, or None if a library call trains.
      versions: of the device, of `Device.versions`.
    Returns:
      dict; a value that cannot be found is None.
    """
    return {
        'versions': dict(_versions(), code=revision(), **versions or {}),
        'host': '%s, %s, %d cores' % (socket.gethostname(), platform.platform(), os.cpu_count() or 0),
        'device': '%d x %s' % (replicas, device),
        'data': manifest,
        'command': _program() + command.typed if command else None,
        'flagfiles': dict(command.flagfiles) if command else {},
    }


def _program() -> List[str]:
    spec = sys.modules['__main__'].__spec__
    return ['python', '-m', spec.name] if spec else [os.path.basename(sys.argv[0])]


def _versions() -> Dict[str, Optional[str]]:
    # an adapter in use is loaded by now; a CPU run does not load it only to describe itself
    adapters = {name: getattr(sys.modules.get(name), '__version__', None) for name in ADAPTERS}
    return dict(adapters, python=platform.python_version(), tensorflow=tf.__version__, numpy=np.__version__,
                cann=cann_version())


def revision(root: str = ROOT) -> Optional[str]:
    """Returns the git revision of the code, with '+' behind it if files differ from it; None outside of a checkout."""
    if not os.path.exists(os.path.join(root, '.git')):
        return None   # an installed package; a repository around it belongs to something else

    def git(*arguments: str) -> str:
        return subprocess.run(('git', '-C', root) + arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              universal_newlines=True, timeout=30, check=True).stdout.strip()
    try:
        return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.SubprocessError):
        return None


def cann_version() -> Optional[str]:
    """Returns the version of CANN, read from its own files, or None without CANN."""
    homes = [os.environ[name] for name in CANN_HOMES if os.environ.get(name)]
    for home in homes + ['/usr/local/Ascend/cann', '/usr/local/Ascend/ascend-toolkit/latest']:
        for pattern in CANN_VERSION:
            for path in sorted(glob.glob(pattern.format(home=glob.escape(home)))):
                text = _first_version(path)
                if text:
                    return text
    return None


def _first_version(path: str) -> Optional[str]:
    try:
        with open(path, errors='replace') as file:
            lines = [line.strip() for line in file if 'version' in line.lower()]
    except OSError:
        return None
    return lines[0] if lines else None


def as_text(origin: Dict[str, Any]) -> str:
    """Returns the description as Markdown for TensorBoard."""
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

"""What all tests share: the repository's packages on the path, and where to run programs from."""
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


@pytest.fixture
def run_program():
    """Runs `python -m MODULE ARGS` as a user would; returns the finished process with text `stdout` and `stderr`."""
    def run(module, *arguments, env=None, timeout=300, **options):
        return subprocess.run([sys.executable, '-m', module] + [str(argument) for argument in arguments], cwd=ROOT,
                              env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, timeout=timeout, **options)
    return run

"""`from edvr import Restorer`: the lines in README run, importing the package loads no TensorFlow."""
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint

import edvr
from edvr.restore.pixels import to_uint8


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('api')
    tiny_checkpoint(folder / 'run')
    return folder


def test_the_lines_in_readme_run(folder, monkeypatch):
    with open(os.path.join(ROOT, 'README.md')) as file:
        code, = re.findall(r'```python\n(.*?)```', file.read(), re.S)
    frames, shown = smooth_frames(4, 12, 20), []
    monkeypatch.chdir(str(folder))
    names = dict(frames=frames, stream=iter(frames), show=shown.append)
    exec(compile(code, 'README.md', 'exec'), names)
    assert names['sharp'].shape == (4, 48, 80, 3) and names['sharp'].dtype == np.uint8
    np.testing.assert_array_equal(names['sharp'], [to_uint8(image) for image in shown])


def test_arrays_in_arrays_out(folder):
    frames = smooth_frames(3, 12, 20)
    with edvr.Restorer(str(folder / 'run')) as restorer:
        want = np.stack(list(restorer.restore_clip(iter(frames))))
        np.testing.assert_array_equal(restorer.restore(frames, np.float32), want)
        with pytest.raises(ValueError, match='dtype is'):
            restorer.restore(frames, np.int16)
        with pytest.raises(ValueError, match='at least one frame'):
            restorer.restore(frames[:0])
    with raises_facts(AttributeError, "'edvr'", "'Other'"):
        edvr.Other  # noqa: B018


def test_importing_the_package_loads_no_tensorflow():
    code = 'import sys, edvr; sys.exit("tensorflow" in sys.modules)'
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)

"""The lines of docs/install.md that make OpenVINO read an ONNX export give the values of the checkpoint."""
import os
import re

import numpy as np
import pytest
from conftest import ROOT
from helpers import smooth_frames, tiny_checkpoint

from edvr.config.export import ExportConfig
from edvr.exporting.export_job import export
from edvr.restore.restorer import Restorer


@pytest.mark.parametrize('model', [dict(), dict(scale=2, with_tsa=False, deform_groups=1)])
def test_documented_lines(tmp_path, monkeypatch, model):
    for package in ('openvino', 'onnx', 'onnxruntime'):
        pytest.importorskip(package)
    with open(os.path.join(ROOT, 'docs', 'install.md')) as file:
        lines, = (block for block in re.findall(r'```python\n(.*?)```', file.read(), re.S) if 'openvino' in block)
    prefix = tiny_checkpoint(tmp_path / 'train', **model)
    monkeypatch.chdir(tmp_path)
    export(ExportConfig(checkpoint=prefix, output='EDVR.onnx', format='onnx'), lambda line: None)
    with Restorer(prefix, kernels='tf') as restorer:
        frames = smooth_frames(restorer.config.num_frames, 16, 24)[None]
        expected = restorer.engine.run(frames)
    names = dict(frames=frames)
    exec(lines, names)
    assert names['sr'].shape == expected.shape and np.abs(names['sr'] - expected).max() < 2e-6

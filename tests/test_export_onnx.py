"""An ONNX export has the values of its checkpoint in onnxruntime; without a runtime nothing is written."""
import json
import os
import sys

import numpy as np
import pytest
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ConfigError
from edvr.config.export import ExportConfig
from edvr.exporting import freezing
from edvr.exporting.export_job import export
from edvr.ops import onnx as onnx_ops


def run(checkpoint, path, **options):
    return export(ExportConfig(checkpoint=checkpoint, output=str(path), format='onnx', **options), lambda line: None)


@pytest.fixture
def runtime():
    """onnxruntime, where it has the deformable convolution for CPUs."""
    onnx, runtime = pytest.importorskip('onnx'), pytest.importorskip('onnxruntime')
    info, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    names = dict(x=[1, 1, 1, 1], w=[1, 1, 1, 1], o=[1, 2, 1, 1])
    graph = onnx.helper.make_graph([onnx.helper.make_node('DeformConv', list(names), ['y'])], 'try',
                                   [info(name, float32, shape) for name, shape in names.items()],
                                   [info('y', float32, [1, 1, 1, 1])])
    model = onnx.helper.make_model(graph, ir_version=onnx_ops.IR_VERSION,
                                   opset_imports=[onnx.helper.make_opsetid('', onnx_ops.OPSET)])
    try:
        runtime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    except Exception as error:
        pytest.skip('onnxruntime %s: %s' % (runtime.__version__, str(error).splitlines()[0]))
    return runtime


@pytest.mark.parametrize('model, options', [
    (dict(), dict()),
    (dict(scale=3, with_tsa=False), dict(input_rank=4, input_dtype='float32', batch_size=2, height=12, width=20)),
    (dict(hr_in=True, with_predeblur=True), dict(output_dtype='uint8')),
    (dict(hr_in=True), dict(batch_size=1)),
    (dict(), dict(half=True)),
    (dict(scale=2, with_predeblur=True), dict(half=True, output_dtype='uint8')),
    (dict(with_tsa=False), dict(half=True, input_rank=4, input_dtype='float32', batch_size=2, height=12, width=20))])
def test_networks_and_interfaces(runtime, tmp_path, model, options):
    prefix = tiny_checkpoint(tmp_path / 'train', ema=True, **model)
    content = run(prefix, tmp_path / 'EDVR.onnx', **options)
    assert sorted(os.listdir(str(tmp_path))) == ['EDVR.onnx', 'EDVR.onnx.json', 'train']
    assert json.loads((tmp_path / 'EDVR.onnx.json').read_text()) == content
    half, rounded = 'half' in options, 'output_dtype' in options
    limit = (2.001 if half else 1.001) / 255 if rounded else 4e-3 if half else 1e-4
    assert content['verification']['max_abs_diff'] <= limit
    assert content['precision'] == ('float16' if half else 'float32')
    proto = pytest.importorskip('onnx').load(str(tmp_path / 'EDVR.onnx'))
    types = {constant.data_type for constant in proto.graph.initializer if constant.name.endswith(('weight', 'bias'))}
    assert types == {10 if half else 1}   # FLOAT16, FLOAT
    session = runtime.InferenceSession(str(tmp_path / 'EDVR.onnx'), providers=['CPUExecutionProvider'])
    assert [end.name for end in session.get_inputs() + session.get_outputs()] == ['L_input', 'SR_output']
    network = checkpoints.load_model_config(prefix)
    size = (12, 20) if 'height' in options else (32, 48)
    windows = np.stack([smooth_frames(3, *size, seed=seed) for seed in range(max(1, options.get('batch_size', 2)))])
    want, = freezing.reference(prefix, network, [windows])
    given = windows.reshape((-1,) + windows.shape[2:]) if 'input_rank' in options else windows
    given = given.astype(np.float32) / 255 if 'input_dtype' in options else given
    got, = session.run(None, {'L_input': given})
    if 'output_dtype' in options:
        assert np.abs(got / 255. - np.clip(want, 0, 1)).max() <= 0.5 / 255 + (4e-3 if half else 1e-4)
    else:
        assert got.dtype == np.float32 and np.abs(got - want).max() < (4e-3 if half else 1e-4)


def test_a_file_that_differs_is_not_written(runtime, tmp_path, monkeypatch):
    prefix = tiny_checkpoint(tmp_path / 'train')
    monkeypatch.setattr(onnx_ops, 'SLOPES', dict(onnx_ops.SLOPES, lrelu=.2))
    with raises_facts(UserError, 'checkpoint', 'max abs difference', 'nothing was written'):
        run(prefix, tmp_path / 'EDVR.onnx')
    assert os.listdir(str(tmp_path)) == ['train']


@pytest.mark.parametrize('name', ['onnx', 'onnxruntime'])
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, name):
    prefix = tiny_checkpoint(tmp_path / 'train')
    if name == 'onnxruntime':
        pytest.importorskip('onnx')
    monkeypatch.setitem(sys.modules, name, None)
    with raises_facts(UserError, 'onnx', 'onnxruntime', '%s cannot be imported' % name, '.[onnx]'):
        run(prefix, tmp_path / 'EDVR.onnx')
    assert os.listdir(str(tmp_path)) == ['train']


@pytest.mark.parametrize('options, text', [
    (dict(output='x.pb', format='onnx'), 'the name must end in .onnx'),
    (dict(output='x.onnx'), 'must end in .pb'),
    (dict(format='onnx', parts=True), 'the parts are frozen graphs'),
    (dict(half=True), 'float16 is for --format=onnx')])
def test_options_that_contradict_each_other(options, text):
    with pytest.raises(ConfigError, match=text):
        ExportConfig(checkpoint='train', **options)

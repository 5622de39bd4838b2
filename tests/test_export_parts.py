"""An export in two parts restores what its checkpoint restores, with kept features; files of two exports do not mix."""
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ConfigError
from edvr.config.export import ExportConfig
from edvr.config.restoration import RestoreConfig
from edvr.exporting import description, freezing
from edvr.exporting.export_job import export
from edvr.exporting.loading import FrozenParts
from edvr.ops import ascend_nodes, native_library
from edvr.output.infer_job import settings_of
from edvr.restore.compiled_graph import CompiledGraph
from edvr.restore.restorer import Restorer

FILES = ['EDVR_features.pb', 'EDVR_parts.json', 'EDVR_restore.pb']


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp('train'), ema=True)


def run(checkpoint, folder, log=lambda line: None, **options):
    return export(ExportConfig(checkpoint=checkpoint, output=str(folder / 'EDVR.pb'), parts=True, **options), log)


@pytest.fixture(scope='module')
def pair(checkpoint, tmp_path_factory):
    """(folder, description, lines of the log) of an export in stock operations, for any size."""
    folder, lines = tmp_path_factory.mktemp('pair'), []
    content = run(checkpoint, folder, lines.append)
    return folder, content, lines


@pytest.fixture(scope='module')
def restored(checkpoint):
    """A clip, and what the checkpoint restores of it."""
    clip = smooth_frames(5, 16, 24)
    with Restorer(checkpoint, kernels='tf') as restorer:
        return clip, restorer.restore(clip, np.float32)


def test_the_pair_lies_with_its_description(pair):
    folder, content, lines = pair
    assert sorted(os.listdir(str(folder))) == FILES
    assert json.loads((folder / 'EDVR_parts.json').read_text()) == content
    assert content['verification']['max_abs_diff'] <= 1e-5 and content['moving_average']
    features, restore = content['parts']['features'], content['parts']['restore']
    assert [end['name'] for end in features['inputs']] == ['L_input']
    assert [end['shape'] for end in features['outputs']] == [[1, -1, -1, 8]] * 3
    assert len(restore['inputs']) == 3 * 3 + 1 and restore['outputs'][0]['name'] == 'SR_output'
    assert features['atc'] is None and any('SR_output float32 [1, ?, ?, 3]' in line for line in lines)


def test_kept_features_serve_the_graphs_as_they_are(pair, restored):
    clip, want = restored
    calls = []
    with Restorer(str(pair[0] / 'EDVR_features.pb'), kernels='tf') as restorer:
        engine = restorer.engine
        assert isinstance(engine, FrozenParts)
        features = engine.features
        engine.features = lambda frame: calls.append(frame) or features(frame)
        assert np.abs(restorer.restore(clip, np.float32) - want).max() < 1e-5
    assert len(calls) == len(clip)


@pytest.mark.skipif(not native_library.available(), reason='needs a C++ compiler')
@pytest.mark.parametrize('name', FILES)
def test_each_of_the_files_finds_the_others(pair, restored, name):
    clip, want = restored
    path = str(pair[0] / name)
    with Restorer(path) as restorer:   # by the compiled operators
        assert isinstance(restorer.engine, CompiledGraph)
        assert np.abs(restorer.restore(clip, np.float32) - want).max() < 1e-5
    assert settings_of(RestoreConfig(checkpoint=path))['network'].startswith('EDVR_parts.json (')


def test_fixed_sizes_and_other_types_at_the_ends(checkpoint, restored, tmp_path):
    clip, want = restored
    run(checkpoint, tmp_path, height=16, width=24, input_dtype='float32', output_dtype='uint8')
    path = str(tmp_path / 'EDVR_restore.pb')
    for impl in ('tf', 'auto'):
        with Restorer(path, kernels=impl) as restorer:
            got = restorer.restore(clip, np.float32)
            assert np.abs(got - np.clip(want, 0, 1)).max() <= 0.5 / 255 + 1e-5
            np.testing.assert_allclose(got * 255, np.round(got * 255), atol=1e-4)
    with FrozenParts(path) as graphs, raises_facts(UserError, '16x20', '16x24'):
        graphs.features(clip[0, :, :20])


@pytest.mark.parametrize('model', [dict(hr_in=True, with_predeblur=True), dict(scale=3, with_tsa=False)])
def test_other_networks(tmp_path, model):
    content = run(tiny_checkpoint(tmp_path / 'train', **model), tmp_path)
    assert content['verification']['max_abs_diff'] <= 1e-5
    with Restorer(str(tmp_path / 'EDVR_parts.json')) as restorer:
        size = 32 if 'hr_in' in model else 36
        assert restorer.restore(smooth_frames(2, 32 if 'hr_in' in model else 12, 32 if 'hr_in' in model else 12)
                                ).shape == (2, size, size, 3)


def copy(pair, folder):
    for name in FILES:
        shutil.copy(str(pair[0] / name), str(folder / name))
    return folder


@pytest.mark.parametrize('missing', FILES)
def test_a_missing_file_is_named(pair, tmp_path, missing):
    folder = copy(pair, tmp_path)
    (folder / missing).unlink()
    given = 'EDVR_restore.pb' if missing == 'EDVR_features.pb' else 'EDVR_features.pb'
    with raises_facts(UserError, missing, 'missing', 'copy them together'):
        Restorer(str(folder / given))


def test_parts_of_different_weights_are_refused(pair, tmp_path):
    folder = copy(pair, tmp_path)
    other = tmp_path / 'other'
    run(tiny_checkpoint(tmp_path / 'train', seed=1), other, height=16, width=24)
    shutil.copy(str(other / 'EDVR_features.pb'), str(folder / 'EDVR_features.pb'))
    for name in FILES:
        with raises_facts(UserError, 'EDVR_features.pb', 'EDVR_parts.json', 'different weights or exports'):
            Restorer(str(folder / name))


def test_a_whole_graph_may_have_any_name(checkpoint, tmp_path):
    path = str(tmp_path / 'my_features.pb')
    export(ExportConfig(checkpoint=checkpoint, output=path), log=lambda line: None)
    with Restorer(path) as restorer:
        assert restorer.restore(smooth_frames(2, 8, 8)).shape == (2, 32, 32, 3)


@pytest.mark.skipif(not native_library.available(), reason='needs a C++ compiler')
def test_parts_that_this_program_would_build_differently_run_as_they_are(pair, tmp_path, capfd):
    folder = copy(pair, tmp_path)
    graph_def = tf.GraphDef()
    graph_def.ParseFromString((folder / 'EDVR_restore.pb').read_bytes())
    next(node for node in graph_def.node if node.op == 'LeakyRelu').attr['alpha'].f = .3
    data = graph_def.SerializeToString()
    (folder / 'EDVR_restore.pb').write_bytes(data)
    content = json.loads((folder / 'EDVR_parts.json').read_text())
    content['parts']['restore']['sha256'] = description.checksum(data)
    (folder / 'EDVR_parts.json').write_text(json.dumps(content), encoding='utf-8-sig')   # as an editor saves it
    with Restorer(str(folder / 'EDVR_parts.json')) as restorer:
        assert isinstance(restorer.engine, FrozenParts)
    assert 'made by another version and runs unchanged' in capfd.readouterr().err


def test_a_pair_that_differs_is_not_written_and_the_old_one_stays(checkpoint, tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).write_bytes(b'old')
    monkeypatch.setattr(freezing, 'reference', lambda prefix, model, batches, use_ema: [
        np.zeros((len(batch), batch.shape[2] * 4, batch.shape[3] * 4, 3), np.float32) for batch in batches])
    with raises_facts(UserError, 'checkpoint', 'nothing was written'):
        run(checkpoint, tmp_path, height=8, width=8)
    assert sorted(os.listdir(str(tmp_path))) == FILES
    assert {(tmp_path / name).read_bytes() for name in FILES} == {b'old'}


@pytest.fixture(scope='module')
def npu_pair(checkpoint, tmp_path_factory):
    folder, lines = tmp_path_factory.mktemp('npu'), []
    return folder, run(checkpoint, folder, lines.append, kernels='npu', height=16, width=24,
                       soc_version='Ascend910B1'), lines


def test_the_pair_for_ascend(npu_pair):
    folder, content, lines = npu_pair
    graphs = description.read(str(folder / 'EDVR_parts.json')).graphs
    assert [sum(node.op == ascend_nodes.OPERATOR for node in graph_def.node) for graph_def in graphs.values()] == [0, 4]
    facts = content['verification']
    assert facts['max_abs_diff'] <= 1e-5 and facts['max_abs_diff_to_stock_graph'] <= 1e-5
    assert content['parts']['features']['atc'].endswith(
        'EDVR_features --soc_version=Ascend910B1 --input_format=NHWC --input_shape="L_input:1,16,24,3" '
        '--out_nodes="features_l1:0;features_l2:0;features_l3:0" --precision_mode=allow_fp32_to_fp16')
    command = content['parts']['restore']['atc']
    assert 'features_l1_t0:1,16,24,8;features_l2_t0:1,8,12,8;features_l3_t0:1,4,6,8;features_l1_t1:' in command
    assert 'L_input:1,16,24,3" --out_nodes="SR_output:0" ' in command
    assert sum(line.startswith('convert     atc') for line in lines) == 2
    with pytest.raises(UserError, match='runs only there, converted by atc'):
        Restorer(str(folder / 'EDVR_features.pb'))


def test_a_pair_for_ascend_that_differs_is_not_written(checkpoint, tmp_path, monkeypatch):
    complete = ascend_nodes.complete

    def changed(graph_def):
        result = complete(graph_def)
        del result.node[len(result.node) - 1:]
        return result

    monkeypatch.setattr(ascend_nodes, 'complete', changed)
    with pytest.raises(UserError, match='differ at node'):
        run(checkpoint, tmp_path, kernels='npu', height=16, width=24)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('options, text', [
    (dict(output='x', format='saved_model'), 'the parts are frozen graphs'),
    (dict(batch_size=2), 'one frame and one window in a run'),
    (dict(input_rank=4), 'the parts take single frames')])
def test_options_that_contradict_each_other(options, text):
    with pytest.raises(ConfigError, match=text):
        ExportConfig(checkpoint='train', parts=True, **options)


def test_the_weights_are_those_of_the_checkpoint(checkpoint, pair):
    """Each variable is in one of the parts, averaged."""
    reader = tf.train.load_checkpoint(checkpoint)
    model = checkpoints.load_model_config(checkpoint)
    constants = {}
    for graph_def in description.read(str(pair[0] / 'EDVR_parts.json')).graphs.values():
        constants.update({node.name: tf.make_ndarray(node.attr['value'].tensor) for node in graph_def.node
                          if node.op == 'Const' and node.name.endswith(('/weight', '/bias'))})
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith(('/weight', '/bias'))]
    assert set(constants) == set(names) and model.channels == 8
    for name in names:
        np.testing.assert_array_equal(constants[name], reader.get_tensor(name + checkpoints.EMA_SUFFIX))

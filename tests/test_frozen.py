"""Exported graphs are run whatever their ends are, and refused when something is wrong with them."""
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint

from data_tools.base.errors import UserError
from edvr.config.export import ExportConfig
from edvr.exporting import description, freezing
from edvr.exporting.description import is_exported
from edvr.exporting.export_job import export
from edvr.exporting.loading import FrozenGraph
from edvr.ops import native_library
from edvr.restore.compiled_graph import CompiledGraph, same_network
from edvr.restore.restorer import Restorer

FIXED = dict(batch_size=2, height=16, width=24, input_rank=4, input_dtype='float32', output_dtype='uint8')


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A graph fixed to batches of 2, rank 4, 16x24, float in, uint8 out; and what its checkpoint gives."""
    folder = tmp_path_factory.mktemp('frozen')
    prefix = tiny_checkpoint(folder / 'train')
    path = str(folder / 'EDVR.pb')
    export(ExportConfig(checkpoint=prefix, output=path, **FIXED), log=lambda line: None)
    windows = np.stack([smooth_frames(3, 16, 24, seed) for seed in range(3)])
    with FrozenGraph(path) as graph:
        want, = freezing.reference(prefix, graph.config, [windows])
    return path, windows, want


def test_a_graph_of_a_fixed_batch_takes_any_number_of_windows(exported):
    path, windows, want = exported
    with FrozenGraph(path) as graph:
        assert graph.config.num_frames == 3
        for count in (3, 1):
            got = graph.run(windows[:count])
            assert got.dtype == np.float32 and got.shape == (count, 64, 96, 3)
            assert np.abs(got - np.clip(want[:count], 0, 1)).max() <= 0.5 / 255 + 1e-5
            np.testing.assert_allclose(got * 255, np.round(got * 255), atol=1e-4)


def test_windows_that_do_not_fit_are_refused_with_both_sizes(exported):
    path, windows, _ = exported
    with FrozenGraph(path) as graph:
        with raises_facts(UserError, '16x20', '16x24'):
            graph.run(windows[:, :, :, :20])
        with raises_facts(UserError, 'window', '2 frames', 3):
            graph.run(windows[:, :2])
        with pytest.raises(ValueError, match='must be uint8'):
            graph.run(windows.astype(np.float32))


def _copy(path, folder):
    for suffix in ('.pb', '.json'):
        shutil.copy(os.path.splitext(path)[0] + suffix, str(folder))
    return str(folder / 'EDVR.pb')


def test_a_damaged_file_is_refused(exported, tmp_path):
    path = _copy(exported[0], tmp_path)
    with open(path, 'r+b') as file:   # one bit in the middle of the weights
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UserError, match=r'SHA-256 differ|not a frozen graph'):
        FrozenGraph(path)


def test_a_graph_without_its_description_or_with_a_foreign_one_is_refused(exported, tmp_path):
    path = _copy(exported[0], tmp_path)
    sidecar = tmp_path / 'EDVR.json'
    content = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(dict(content, version=99)))
    with raises_facts(UserError, 'version 99', 'version 1'):
        FrozenGraph(path)
    sidecar.write_text('[]')
    with raises_facts(UserError, 'does not describe', 'EDVR graph'):
        FrozenGraph(path)
    sidecar.write_text('{')
    with pytest.raises(UserError, match='is not JSON'):
        FrozenGraph(path)
    sidecar.unlink()
    with raises_facts(UserError, 'EDVR.json', 'missing', 'copy them together'):
        FrozenGraph(path)


def test_files_that_are_no_such_graph_are_refused(tmp_path):
    path = str(tmp_path / 'x.pb')
    with pytest.raises(UserError, match=r'x\.pb is missing'):
        FrozenGraph(path)
    with open(path, 'wb') as file:
        file.write(b'\xff\xff\xffnot a protobuf')
    with pytest.raises(UserError, match='is not a frozen graph'):
        FrozenGraph(path)
    with tf.Graph().as_default() as graph:
        tf.identity(tf.placeholder(tf.float32, name='L_input'), name='elsewhere')
    with open(path, 'wb') as file:
        file.write(graph.as_graph_def().SerializeToString())
    with pytest.raises(UserError, match='has no node SR_output'):
        FrozenGraph(path)


def test_is_exported_goes_by_the_look(tmp_path):
    (tmp_path / 'model').mkdir()
    assert not is_exported(tmp_path / 'model')
    (tmp_path / 'model' / 'saved_model.pb').write_bytes(b'')
    assert is_exported(tmp_path / 'model')
    assert is_exported('absent.pb')
    assert not is_exported('train/model.ckpt-7')


needs_compiler = pytest.mark.skipif(not native_library.available(), reason='no compiled operators here')


@needs_compiler
@pytest.mark.parametrize('fields, limit', [
    ({}, 1e-5),
    (FIXED, 1.001 / 255)])
def test_on_a_cpu_the_compiled_operators_compute_a_graph(exported, tmp_path, fields, limit):
    """With kept features, the values of the graph, and in its type."""
    path, clip = exported[0], smooth_frames(4, 16, 24)
    if fields != FIXED:
        path = str(tmp_path / 'EDVR.pb')
        export(ExportConfig(checkpoint=tiny_checkpoint(tmp_path / 'train'), output=path, **fields),
               log=lambda line: None)
    with Restorer(path) as restorer, Restorer(path, kernels='tf') as as_it_is:
        assert isinstance(restorer.engine, CompiledGraph) and isinstance(as_it_is.engine, FrozenGraph)
        got, want = (np.stack(list(each.restore_clip(clip))) for each in (restorer, as_it_is))
        whole = restorer.engine.run(np.stack([clip[:3]]))[0]
    assert np.abs(got - want).max() < limit and np.abs(whole - want[1]).max() < limit
    if 'output_dtype' in fields:
        np.testing.assert_allclose(got * 255, np.round(got * 255), atol=1e-4)


@needs_compiler
@pytest.mark.parametrize('change', ['attribute', 'wiring', 'constant', 'node', 'nothing'])
def test_a_graph_of_another_network_runs_as_it_is(exported, tmp_path, change, capfd):
    """Its own nodes count, not those that this program would build."""
    graph_def, path = tf.GraphDef(), pathlib.Path(exported[0])
    graph_def.ParseFromString(path.read_bytes())
    content = json.loads(path.with_suffix('.json').read_text())
    lrelus = [node for node in graph_def.node if node.op == 'LeakyRelu']
    if change == 'attribute':
        lrelus[0].attr['alpha'].f = .3
    elif change == 'wiring':
        lrelus[-1].input[0] = lrelus[-2].name
    elif change == 'constant':
        node = next(node for node in graph_def.node if (node.op == 'Const' and '/upsample' in node.name.lower())
                    or (node.op == 'Const' and node.name.endswith('mul/y')))
        node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(3 * tf.make_ndarray(node.attr['value'].tensor)))
    elif change == 'node':
        lrelus[0].name += '_other'
    data = graph_def.SerializeToString()
    (tmp_path / 'EDVR.pb').write_bytes(data)
    (tmp_path / 'EDVR.json').write_text(json.dumps(dict(content, sha256=description.checksum(data))))
    found = same_network(description.read(str(tmp_path / 'EDVR.pb')).graphs)
    assert (found is None) == (change != 'nothing')
    if change == 'attribute':
        with Restorer(str(tmp_path / 'EDVR.pb')) as restorer:
            assert isinstance(restorer.engine, FrozenGraph)
        assert 'made by another version and runs unchanged' in capfd.readouterr().err
        with raises_facts(UserError, 'bf16', 'compiled operators', 'EDVR.pb'):
            Restorer(str(tmp_path / 'EDVR.pb'), compute='bf16')

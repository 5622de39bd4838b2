"""Networks from strangers: a graph with foreign operations is refused before it is imported, a .meta file is unread."""
import dataclasses
import glob
import json
import os
import sys
import tarfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import ROOT
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from data_tools.base.errors import UserError
from data_tools.media.images import write_png
from edvr.config import ModelConfig
from edvr.config.export import ExportConfig, InterfaceConfig
from edvr.exporting import description
from edvr.exporting.allowed_ops import ALLOWED_OPS
from edvr.exporting.export_job import export
from edvr.exporting.graphs import PARTS, WHOLE
from edvr.ops.stock import StockOps
from edvr.pytorch import weights
from edvr.restore.network_info import NetworkInfo
from edvr.restore.restorer import Restorer

CLIP = smooth_frames(3, 16, 16)
MODELS = [dict(), dict(with_tsa=False), dict(with_predeblur=True), dict(with_predeblur=True, hr_in=True),
          dict(hr_in=True), dict(scale=2), dict(scale=3), dict(network='plain')]
INTERFACES = [dict(), dict(input_rank=4), dict(input_dtype='float32'), dict(output_dtype='uint8'),
              dict(batch_size=2, height=16, width=24, input_rank=4, output_dtype='uint8')]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp('train'))


@pytest.fixture(name='exported', scope='module')
def all_formats(checkpoint, tmp_path_factory):
    """A function from 'frozen', 'parts' or 'saved_model' to the path of a fresh export of that kind."""
    folder, paths = tmp_path_factory.mktemp('exports'), {}

    def of_kind(kind):
        if kind not in paths:
            path = str(folder / kind) + ('' if kind == 'saved_model' else '.pb')
            export(ExportConfig(checkpoint=checkpoint, output=path, parts=kind == 'parts',
                                format='saved_model' if kind == 'saved_model' else 'frozen'), log=lambda line: None)
            paths[kind] = str(folder / 'parts_parts.json') if kind == 'parts' else path
        return paths[kind]
    return of_kind


def write_hostile(folder, exported, kind, marker, place='node'):
    """Writes an export whose graph writes the file `marker`, with a description that fits; returns its path.

    place: 'node'; 'function', in the library; 'main_op', of a SavedModel; 'variable', a SavedModel that keeps state.
    """
    @tf.function
    def act():
        tf.io.write_file(marker, 'written')

    with open(description.find(exported(kind)).sidecar) as file:
        content = json.load(file)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        lq = tf.placeholder(tf.uint8, [None, 3, None, None, 3], 'L_input')
        sr = tf.image.resize_nearest_neighbor(tf.cast(lq[:, 1], tf.float32) / 255, 4 * tf.shape(lq)[2:4])
        write, state = [], None
        if place == 'variable':
            state = tf.get_variable('state', [], use_resource=True)
            session.run(state.initializer)
            sr += state
        elif place == 'function':
            with tf.control_dependencies([sr]):
                act()
            write = [node for node in graph.get_operations() if 'PartitionedCall' in node.type]
        else:
            write = [tf.io.write_file(marker, 'written')]
        with tf.control_dependencies(write if place != 'main_op' else []):
            tf.identity(sr, 'SR_output')
        path = str(folder / ('hostile' if kind == 'saved_model' else 'hostile.pb'))
        if kind == 'saved_model':
            builder = tf.saved_model.Builder(path)
            builder.add_meta_graph_and_variables(session, [tf.saved_model.SERVING],
                                                 main_op=write[0] if place == 'main_op' else None)
            builder.save()
            os.mkdir(os.path.join(path, 'assets.extra'))
        else:
            with open(path, 'wb') as file:
                file.write(graph.as_graph_def().SerializeToString())
    with open(description.find(path).sidecar, 'w') as file:
        json.dump(dict(content, sha256=description.checksum_of(path)), file)
    return path


PLACES = [('frozen', 'node'), ('frozen', 'function'), ('saved_model', 'node'), ('saved_model', 'function'),
          ('saved_model', 'main_op')]


@pytest.fixture
def infer(run_program, tmp_path):
    """function (path of a network, more arguments): runs edvr.infer on CLIP."""
    (tmp_path / 'clip').mkdir()
    for index, frame in enumerate(CLIP):
        write_png(str(tmp_path / 'clip' / ('%d.png' % index)), frame)
    return lambda path, *more: run_program('edvr.infer', '--checkpoint=' + path, '--input=%s' % (tmp_path / 'clip'),
                                           '--output=%s' % (tmp_path / 'out'), *more)


@pytest.mark.parametrize('kind, place', PLACES)
def test_infer_refuses_a_graph_that_writes_files_and_names_the_operation(exported, infer, tmp_path, kind, place):
    marker = tmp_path / 'marker'
    path = write_hostile(tmp_path, exported, kind, str(marker), place)
    result = infer(path)
    assert result.returncode == 1 and 'Traceback' not in result.stderr
    for part in (path, "'WriteFile'", '--trust_graph') + (('of function',) if place == 'function' else ()):
        assert part in result.stderr
    assert not marker.exists()


def test_infer_runs_it_with_trust_graph(exported, infer, tmp_path):
    result = infer(write_hostile(tmp_path, exported, 'frozen', str(tmp_path / 'marker')), '--trust_graph')
    assert result.returncode == 0 and (tmp_path / 'marker').exists() and len(os.listdir(str(tmp_path / 'out'))) >= 3


@pytest.mark.parametrize('kernels', ['auto', 'tf'])
def test_the_api_refuses_it_too(exported, tmp_path, kernels):
    marker = tmp_path / 'marker'
    with pytest.raises(UserError, match=r"hostile\.pb .*'WriteFile'"):
        Restorer(write_hostile(tmp_path, exported, 'frozen', str(marker)), kernels=kernels)
    assert not marker.exists()


def test_a_part_is_refused_by_its_own_name(exported, tmp_path):
    old = description.find(exported('parts'))
    new = description.parts_files(str(tmp_path / 'hostile'))
    with open(old.sidecar) as file:
        content = json.load(file)
    for kind, source, target in zip(PARTS, old.graphs, new.graphs):
        graph_def = tf.GraphDef()
        with open(source, 'rb') as file:
            graph_def.ParseFromString(file.read())
        if kind is PARTS[1]:
            graph_def.node.add(name='act', op='ReadFile', input=['L_input'])
        data = graph_def.SerializeToString()
        with open(target, 'wb') as file:
            file.write(data)
        content['parts'][kind.NAME]['sha256'] = description.checksum(data)
    with open(new.sidecar, 'w') as file:
        json.dump(content, file)
    with pytest.raises(UserError, match=r"hostile_restore\.pb .*'ReadFile' \(node 'act'\)"):
        Restorer(new.sidecar)


def test_a_saved_model_with_variables_is_refused(exported, tmp_path):
    with pytest.raises(UserError, match=r"'VarHandleOp' \(node 'state'\)"):
        Restorer(write_hostile(tmp_path, exported, 'saved_model', '', 'variable'))


@pytest.mark.parametrize('kind, place', PLACES)
def test_trust_graph_runs_the_graph_but_no_initialization(exported, tmp_path, kind, place):
    """The hostile graphs do write their file: the tests that they are refused do not pass by chance."""
    marker = tmp_path / 'marker'
    with Restorer(write_hostile(tmp_path, exported, kind, str(marker), place), trust_graph=True) as restorer:
        sr = restorer.restore(CLIP)
    np.testing.assert_array_equal(sr, CLIP.repeat(4, 1).repeat(4, 2))
    assert marker.exists() == (place != 'main_op')


@pytest.mark.parametrize('data, text', [(b'\xff\xff\xffno protobuf', 'is not a SavedModel'),
                                        (b'', 'has no graph for serving')])
def test_a_folder_without_a_graph_for_serving_is_refused(exported, tmp_path, data, text):
    path = write_hostile(tmp_path, exported, 'saved_model', '')
    with open(os.path.join(path, 'saved_model.pb'), 'wb') as file:
        file.write(data)
    sidecar = description.find(path).sidecar
    with open(sidecar) as file:
        content = json.load(file)
    with open(sidecar, 'w') as file:
        json.dump(dict(content, sha256=description.checksum(data)), file)
    with pytest.raises(UserError, match=text):
        Restorer(path)


@pytest.mark.parametrize('kind', ['frozen', 'parts', 'saved_model'])
def test_fresh_exports_load(exported, kind):
    with Restorer(exported(kind), kernels='tf') as restorer:
        assert restorer.restore(CLIP).shape == (3, 64, 64, 3)


def golden_ops():
    """The operations of all graphs in tests/conformance."""
    ops = set()
    for archive in glob.glob(os.path.join(ROOT, 'tests', 'conformance', '*.tar.xz')):
        with tarfile.open(archive) as file:
            for member in file.getmembers():
                if member.name.endswith('.pb'):
                    data = file.extractfile(member).read()
                    if member.name.endswith('saved_model.pb'):
                        graph_def = SavedModel.FromString(data).meta_graphs[0].graph_def
                    else:
                        graph_def = tf.GraphDef.FromString(data)
                    assert not graph_def.library.function
                    ops |= {node.op for node in graph_def.node}
    return ops


def built_ops(model, interface):
    """The operations of all graphs of an export; its variables become constants."""
    ops = set()
    for kind in WHOLE + PARTS:
        with tf.Graph().as_default() as built:
            graph = kind(model, interface)
            graph.build(StockOps())
            graph_def = tf.graph_util.extract_sub_graph(built.as_graph_def(), [end.name for end in graph.outputs])
        assert not graph_def.library.function
        ops |= {node.op for node in graph_def.node}
    return ops - {'VariableV2'}


def test_allowed_is_what_exports_of_all_versions_and_variants_contain():
    tiny = ModelConfig(num_frames=3, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)
    built = set().union(*[built_ops(dataclasses.replace(tiny, **fields), InterfaceConfig()) for fields in MODELS],
                        *[built_ops(tiny, InterfaceConfig(**fields)) for fields in INTERFACES])
    assert built <= ALLOWED_OPS
    assert golden_ops() | built == ALLOWED_OPS


def test_a_meta_file_is_never_imported(checkpoint, tmp_path):
    """Beside a checkpoint, TensorFlow's savers write a graph that other programs run; here it may hold anything."""
    prefix = tiny_checkpoint(tmp_path / 'train')
    with open(prefix + '.meta', 'wb') as file:
        file.write(b'\xff\xff\xffno protobuf')
    with Restorer(checkpoint) as want, Restorer(str(tmp_path / 'train')) as got:
        np.testing.assert_array_equal(got.restore(CLIP), want.restore(CLIP))
    content = export(ExportConfig(checkpoint=prefix, output=str(tmp_path / 'EDVR.pb')), log=lambda line: None)
    assert content['checkpoint'] == os.path.basename(prefix)


def test_an_onnx_file_is_never_loaded(monkeypatch, tmp_path):
    """Its operators are those of onnxruntime, which may also be told to load data from other files."""
    monkeypatch.setitem(sys.modules, 'onnx', None)
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    (tmp_path / 'EDVR.onnx').write_bytes(b'\x08\x08')
    for use in (NetworkInfo.at, Restorer, weights.export_weights):
        with raises_facts(UserError, tmp_path / 'EDVR.onnx', 'ONNX', 'checkpoint', '.pb'):
            use(str(tmp_path / 'EDVR.onnx'), *[str(tmp_path / 'x.safetensors')] * (use is weights.export_weights))

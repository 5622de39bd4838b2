"""Files of version 1.0.0 (tests/conformance) serve as they did: a change that breaks them breaks what users have.

Each format of network restores the same clip to the same pixels, on each TensorFlow, by each loader and backend.
Records decode to the same crops. Training directories continue with the same losses. The files are described in
tests/conformance/make_golden.py.
"""
import importlib
import json
import os
import re
import sys
import tarfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import ROOT
from npu_fixtures import needs_tf1, no_job, npu  # noqa: F401 fixtures

import edvr
from data_tools.base.errors import UserError
from edvr.ops import native_library

FOLDER = os.path.join(ROOT, 'tests', 'conformance')
sys.path.insert(0, FOLDER)
import make_golden  # noqa: E402

TAGS = 'tf1.15', 'tf2.15'
CHECKPOINTS = ['%s_%s' % (name, tag) for name in ('plain', 'averaged') for tag in TAGS]
EXPORTS = {'%s_%s' % (name, tag): file % tag for tag in TAGS for name, file in
           (('frozen', 'frozen_%s.pb'), ('parts', 'parts_%s_parts.json'), ('saved_model', 'saved_model_%s'))}
STOCK = dict(dcn_impl='tf')
BACKENDS = {'stock': STOCK, 'exact': dict(dcn_impl='native', exact=True), 'fast': dict(dcn_impl='native')}
# stock operations run all files; each way of the compiled ones runs each kind, and files of each TensorFlow
COMPILED = {'plain_tf1.15': 'exact', 'plain_tf2.15': 'fast', 'averaged_tf1.15': 'fast', 'averaged_tf2.15': 'exact',
            'frozen_tf1.15': 'exact', 'frozen_tf2.15': 'fast', 'parts_tf1.15': 'fast', 'parts_tf2.15': 'exact'}


def with_backends(names):
    """Returns the pairs (name, backend) to test; the compiled operators run no SavedModel."""
    needs_compiler = pytest.mark.skipif(not native_library.available(), reason='needs a C++ compiler')
    return [(name, 'stock') for name in names] + [pytest.param(name, COMPILED[name], marks=needs_compiler)
                                                  for name in names if name in COMPILED]


@pytest.fixture(scope='module')
def golden(tmp_path_factory):
    """Unpacks archives: a function from a name to the folder that holds what is in it."""
    folder = tmp_path_factory.mktemp('golden')

    def unpack(name, into=folder):
        if not os.path.exists(str(into / name)):
            with tarfile.open(os.path.join(FOLDER, name + '.tar.xz')) as file:
                file.extractall(str(into))
        return into
    return unpack


@pytest.fixture(scope='module')
def clip():
    """frames, uint8 [3, H, W, 3]; sr, float32 [3, 4H, 4W, 3]; sr_without_average, float32 [4H, 4W, 3]."""
    with np.load(os.path.join(FOLDER, 'clip.npz')) as file:
        return dict(file)


def check(path, clip, limit=1e-5, **options):
    """Restores the clip and compares it with the golden pixels."""
    with edvr.Restorer(str(path), **options) as restorer:
        sr = restorer.restore(clip['frames'], np.float32)
        pixels = restorer.restore(clip['frames'])
    assert np.abs(sr - clip['sr']).max() <= limit
    check_pixels(pixels, clip['sr'], limit)


def check_pixels(pixels, sr, limit=1e-5):
    """All pixels are those of the golden values, but for values that lie within `limit` of a border of rounding."""
    certain = np.abs(sr * 255 % 1 - .5) > 255 * limit
    assert pixels.dtype == np.uint8 and certain.mean() > .98
    np.testing.assert_array_equal(pixels[certain], np.round(sr * 255)[certain])


def test_every_archive_is_tested():
    names = [name[:-len('.tar.xz')] for name in os.listdir(FOLDER) if name.endswith('.tar.xz')]
    assert sorted(names) == sorted(CHECKPOINTS + list(EXPORTS) + list(make_golden.RECORDS)
                                   + ['clips', 'ascend', 'onnx', 'pytorch', 'restoration'])


@pytest.mark.parametrize('name, backend', with_backends(CHECKPOINTS))
def test_checkpoints(golden, clip, name, backend):
    folder = golden(name) / name
    check(folder, clip, **BACKENDS[backend])
    if name.startswith('averaged'):
        with edvr.Restorer(str(folder / 'model.ckpt-2'), use_ema=False, **BACKENDS[backend]) as restorer:
            assert np.abs(restorer.restore(clip['frames'], np.float32)[1] - clip['sr_without_average']).max() <= 1e-5


def test_a_checkpoint_without_kept_features(golden, clip):
    name = CHECKPOINTS[-1]
    check(golden(name) / name / 'best', clip, cached=False, **STOCK)


@pytest.mark.parametrize('name, backend', with_backends(sorted(EXPORTS)))
def test_exports(golden, clip, name, backend, capfd):
    check(golden(name) / EXPORTS[name], clip, **BACKENDS[backend])
    if name.endswith('tf' + '.'.join(tf.__version__.split('.')[:2])):
        # a graph of this TensorFlow that is no longer recognized would still run, several times slower
        assert 'was made by another version' not in capfd.readouterr().err


def test_a_graph_for_ascend_is_refused_on_a_host(golden):
    with pytest.raises(UserError, match='converted by atc'):
        edvr.Restorer(str(golden('ascend') / 'ascend.pb'))


@needs_tf1
def test_a_graph_for_ascend_by_its_operator(npu, golden, clip):  # noqa: F811
    importlib.import_module('npu_bridge.tbe.npu_cube_ops')   # registers the operator, with arithmetic on the CPU
    graph_def = tf.GraphDef()
    graph_def.ParseFromString((golden('ascend') / 'ascend.pb').read_bytes())
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph_def, name='')
        sr, = session.run('SR_output:0', {'L_input:0': clip['frames'][np.newaxis]})
    assert np.abs(sr - clip['sr'][1]).max() <= 1e-5


def test_an_onnx_graph(golden, clip):
    runtime = pytest.importorskip('onnxruntime')
    session = runtime.InferenceSession(str(golden('onnx') / 'network.onnx'), providers=['CPUExecutionProvider'])
    sr, = session.run(['SR_output'], {'L_input': clip['frames'][np.newaxis]})
    assert np.abs(sr[0] - clip['sr'][1]).max() <= 1e-4


def test_pytorch_weights(golden, clip, run_program, tmp_path):
    pytest.importorskip('torch')
    result = run_program('edvr.import_weights', '--from=%s' % (golden('pytorch') / 'pytorch.pth'),
                         '--output_dir=%s' % (tmp_path / 'run'))
    assert result.returncode == 0, result.stderr
    check(tmp_path / 'run', clip, **STOCK)


@pytest.mark.parametrize('name', make_golden.RECORDS)
def test_records_decode_to_the_same_pixels(golden, run_program, name):
    source = golden('clips') / 'clips' / ('truth' if name.endswith('made') else '')
    result = run_program('data_tools.check_tfrecords', '--data_dir=%s' % (golden(name) / name), '--deep',
                         '--source=%s' % source)
    assert result.returncode == 0, result.stdout + result.stderr
    assert '6 windows' in result.stdout


@pytest.mark.parametrize('name', make_golden.RECORDS)
def test_records_give_the_same_crops(golden, name):
    with open(os.path.join(FOLDER, 'crops.json')) as file:
        assert make_golden.crops(str(golden(name) / name)) == json.load(file)[name]


@pytest.mark.parametrize('name', CHECKPOINTS)
def test_training_directories_continue(golden, run_program, tmp_path, name):
    """No option of the old config.json differs, the averages and the optimizer's state are found, the losses are the
    same. The .meta file, which may hold anything, is not imported."""
    golden(name, tmp_path)
    (tmp_path / name / 'model.ckpt-2.meta').write_bytes(b'\xff\xff\xffno protobuf')
    golden('raw_given', tmp_path)
    more = ['--ema_decay=0.9'] if name.startswith('averaged') else []
    result = run_program('edvr.train', *(list(make_golden.RECIPE) + more + [
        '--data_dir=raw_given', '--model_dir=' + name, '--steps=4']), cwd=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'continuing %s at step 2' % name in result.stdout
    with open(os.path.join(FOLDER, 'losses.json')) as file:
        want = json.load(file)[name.split('_')[0]]
    got = {step: float(loss) for step, loss in re.findall(r'Step:(\d+), .*loss:([\d.]+)', result.stdout)}
    assert got == {step: pytest.approx(loss, rel=1e-5) for step, (loss, _) in want.items()}
    with open(str(tmp_path / name / 'config.json')) as file:
        assert len(json.load(file)['sessions']) == 2


def test_a_restoration_that_was_stopped_continues(golden, clip, run_program, tmp_path):
    golden('restoration', tmp_path)
    name = 'averaged_tf1.15'
    result = run_program('edvr.infer', '--checkpoint=%s' % (golden(name) / name), '--input=%s' % (tmp_path / 'lq'),
                         '--output=%s' % (tmp_path / 'restored'), '--dcn_impl=tf')
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'restored 1 frames' in result.stdout
    image = importlib.import_module('PIL.Image')
    for number, sr in enumerate(clip['sr']):
        check_pixels(np.array(image.open(str(tmp_path / 'restored' / ('%08d.png' % number)))), sr)

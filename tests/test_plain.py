"""--network=plain: values against plain NumPy; trained, evaluated, restored and exported by the same programs."""
import json
import os

import numpy as np
import numpy_edvr
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
from helpers import session as unoptimized_session
from helpers import smooth_frames, tiny_checkpoint
from test_network import randomise
from training_runs import steps

from data_tools.base.errors import UserError
from data_tools.media.degradation import make_lq
from data_tools.media.images import write_png
from edvr import checkpoints
from edvr.config import ConfigError, ModelConfig
from edvr.config import model as model_config
from edvr.config.export import ExportConfig
from edvr.exporting.export_job import export
from edvr.network import networks
from edvr.ops.stock import StockOps
from edvr.pytorch import weights
from edvr.restore.restorer import Restorer

PLAIN = dict(network='plain', num_frames=3, channels=8, num_extract_block=1, num_reconstruct_block=2)


class Plain(numpy_edvr.Network):
    """The network in plain NumPy."""

    def restore(self, frames):
        """[T, H, W, 3] in [0, 1] -> [s*H, s*W, 3]."""
        T = self.config.num_frames
        x = self.blocks(self.first(frames), 'feature_extraction', range(self.config.num_extract_block))
        x = np.concatenate([x[t:t + 1] for t in range(T)], axis=-1)
        x = numpy_edvr.lrelu(self.conv(x, 'fusion/concat_conv'))
        return self.reconstruct(x, frames[T // 2:T // 2 + 1])[0]


@pytest.mark.parametrize('options', [{}, dict(num_frames=5, scale=2), dict(scale=3), dict(hr_in=True),
                                     dict(with_predeblur=True)])
def test_values_and_gradients(options):
    config = ModelConfig(**dict(PLAIN, **options))
    frames = np.random.RandomState(3).randint(0, 256, (2, config.num_frames, 16, 32, 3)).astype(np.uint8)
    with tf.Graph().as_default(), unoptimized_session() as session:
        lq = tf.placeholder(tf.uint8, [None, config.num_frames, None, None, 3])
        outputs = networks.build(config).restore(StockOps(), lq)
        variables = tf.trainable_variables()
        assert {variable.op.name: tuple(variable.shape.as_list())
                for variable in variables} == networks.variable_shapes(config)
        gradients = tf.gradients(tf.reduce_sum(tf.square(outputs.sr)), variables)
        reference = Plain(randomise(session), config)
        sr, norms = session.run([outputs.sr, [tf.reduce_max(tf.abs(gradient)) for gradient in gradients]], {lq: frames})
    assert np.abs(sr - np.stack([reference.restore(window / 255.) for window in frames])).max() < 1e-4
    assert outputs.offset_means == {}
    assert all(norm > 0 for norm in norms)


def test_counted_work():
    config = ModelConfig(**PLAIN)
    first, block, fused = 9 * 3 * 8, 2 * 9 * 8 * 8, 9 * 24 * 8
    enlarged = 9 * 8 * 32 + 4 * 9 * 8 * 256 + 16 * (9 * 64 * 64 + 9 * 64 * 3)
    assert networks.macs(config, 8, 12) == 8 * 12 * (3 * (first + block) + fused + 2 * block + enlarged)
    assert networks.extraction_macs(config, 8, 12) == 8 * 12 * (first + block)
    assert networks.feature_shapes(config, 8, 12) == [(1, 8, 12, 8)]


def test_the_options_know_the_networks_of_the_table():
    assert set(model_config.NETWORKS) == set(networks.NETWORKS)
    for name, kind in model_config.NETWORKS.items():
        deformable = any('conv_offset' in variable for variable in networks.variable_shapes(ModelConfig(network=name)))
        assert kind.is_deformable == deformable, name
    assert ModelConfig(**dict(PLAIN, channels=6)).channels == 6   # deform_groups need not divide it
    with pytest.raises(ConfigError, match=r"network is 'basicvsr'.* edvr, plain"):
        ModelConfig(network='basicvsr')


def test_a_description_without_the_network_is_of_edvr(tmp_path):
    checkpoints.save_model_config(str(tmp_path), ModelConfig(channels=8))
    path = str(tmp_path / 'model.json')
    with open(path) as file:
        values = json.load(file)
    assert values.pop('network') == 'edvr'
    with open(path, 'w') as file:
        json.dump(values, file)
    assert checkpoints.load_model_config(str(tmp_path)) == ModelConfig(channels=8)


@pytest.fixture(scope='module')
def run_directory(tmp_path_factory):
    """A training directory with random weights, as of `edvr.train --network=plain`."""
    return os.path.dirname(tiny_checkpoint(tmp_path_factory.mktemp('plain'), **PLAIN))


def restored(path, frames, **options):
    restorer = Restorer(path, **options)
    return np.stack(list(restorer.restore_clip(iter(frames))))


@pytest.mark.parametrize('options', [dict(dcn_impl='native'), dict(dcn_impl='tf'), dict(dcn_impl='tf', cached=False)])
def test_each_way_of_restoring(run_directory, options):
    frames = smooth_frames(5, 12, 20)
    reference = Plain(weights.load(run_directory)[0], ModelConfig(**PLAIN))
    order = [[2, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 2]]   # reflection_circle
    wanted = np.stack([reference.restore(frames[window] / 255.) for window in order])
    np.testing.assert_allclose(restored(run_directory, frames, **options), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize('name, options', [('a.pb', {}), ('folder', dict(format='saved_model')),
                                           ('a.onnx', dict(format='onnx')), ('a.pb', dict(parts=True, batch_size=1)),
                                           ('a.pb', dict(kernels='npu', height=12, width=20, batch_size=1))])
def test_an_export_equals_the_checkpoint(run_directory, tmp_path, name, options):
    if name.endswith('.onnx'):
        pytest.importorskip('onnxruntime')
    path = str(tmp_path / name)
    # the export itself compares the file with the checkpoint
    lines = []
    export(ExportConfig(checkpoint=run_directory, output=path, **options), log=lines.append)
    assert any(line.startswith('verified') for line in lines)
    if not name.endswith('.onnx'):
        path = path.replace('.pb', '_parts.json') if options.get('parts') else path
        frames = smooth_frames(4, 12, 20)
        np.testing.assert_allclose(restored(path, frames), restored(run_directory, frames), atol=1e-5, rtol=0)


def test_weights_for_pytorch_are_refused(run_directory, tmp_path):
    pytest.importorskip('torch')
    with pytest.raises(UserError, match=r'network=plain'):
        weights.export_weights(run_directory, str(tmp_path / 'a.pth'))


def test_programs(tmp_path, run_program):
    """Trained, stopped, continued, evaluated and restored from the command line."""
    folder, directory = tiny_training.make_set(tmp_path / 'set'), str(tmp_path / 'run')
    arguments = [argument for argument in tiny_training.arguments(
        folder, directory, kernels='auto', recompute_alignment=True, eval_every=0) if '--network=' not in argument]
    trained = run_program('edvr.train', *(arguments + ['--network=plain']))
    assert trained.returncode == 0, trained.stderr
    found = steps(trained.stdout)
    assert sorted(found) == [1, 2, 3, 4, 5, 6] and found[6][-1] == 'none'   # no offsets
    again = run_program('edvr.train', *arguments)
    assert again.returncode != 0 and "network was 'plain', is 'edvr'" in again.stderr
    for name in ('000', '011'):
        for index, frame in enumerate(smooth_frames(4, 48, 64, int(name))):
            for side, image in (('truth', frame), ('blur4', make_lq(frame, 4))):
                os.makedirs(str(tmp_path / 'clips' / side / name), exist_ok=True)
                write_png(str(tmp_path / 'clips' / side / name / ('%08d.png' % index)), image)
    evaluated = run_program('edvr.evaluate', '--checkpoint=' + directory, '--data_dir=%s' % (tmp_path / 'clips'),
                            '--clips=', '--device=cpu', '--json=%s' % (tmp_path / 'result.json'))
    assert evaluated.returncode == 0, evaluated.stderr
    inferred = run_program('edvr.infer', '--checkpoint=' + directory, '--device=cpu',
                           '--input=%s' % (tmp_path / 'clips' / 'blur4' / '000'), '--output=%s' % (tmp_path / 'sr'))
    assert inferred.returncode == 0, inferred.stderr
    assert len([name for name in os.listdir(str(tmp_path / 'sr')) if name.endswith('.png')]) == 4

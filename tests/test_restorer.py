"""Streaming with kept features against whole windows; sizes, tiles, ensemble, graphs, bad input."""
import collections
import contextlib
import functools
import gc
import itertools
import json
import os
import shutil
import weakref

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import session as unoptimized_session
from helpers import smooth_frames, tiny_checkpoint

from data_tools.base.config import ConfigError
from data_tools.base.errors import UserError
from data_tools.media.windows import FILLS, window_indices
from edvr import checkpoints
from edvr.config import ModelConfig
from edvr.config.export import ExportConfig
from edvr.config.restoration import RestoreConfig
from edvr.exporting.export_job import export
from edvr.network.engine import Engine, FeatureEngine
from edvr.ops import layers, native_library
from edvr.restore import ensemble, memory, strips
from edvr.restore.engine import CheckpointEngine
from edvr.restore.restorer import Restorer


def amplify(prefix, names=('conv_last', 'conv_hr', 'upconv'), factor=3.):
    """Makes the network's share of the output as large as a trained network's: fresh weights hardly change the base."""
    with tf.Graph().as_default(), unoptimized_session() as session:
        reader = tf.train.NewCheckpointReader(prefix)
        variables = [tf.Variable(reader.get_tensor(name) * (factor if any(part in name for part in names) else 1),
                                 name=name, dtype=reader.get_variable_to_dtype_map()[name])
                     for name in reader.get_variable_to_shape_map()]
        session.run(tf.global_variables_initializer())
        tf.train.Saver(variables).save(session, prefix, write_meta_graph=False)
    return prefix


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('five'))
    amplify(tiny_checkpoint(folder, num_frames=5))
    return folder


@pytest.fixture(scope='module')
def restorer(checkpoint):
    with Restorer(checkpoint, kernels='tf') as restorer:
        yield restorer


@pytest.fixture(scope='module')
def seven(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('seven'))
    amplify(tiny_checkpoint(folder, num_frames=7))
    with Restorer(folder, kernels='tf') as restorer:
        yield restorer


@pytest.fixture(scope='module')
def hr_in(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('hr_in'))
    tiny_checkpoint(folder, hr_in=True)
    with Restorer(folder, kernels='tf') as restorer:
        yield restorer


@pytest.fixture(scope='module')
def whole_windows():
    """Function of a Restorer, frames and a fill: every window by itself, all its frames at once, as on a GPU."""
    with contextlib.ExitStack() as stack:
        @functools.lru_cache(maxsize=None)
        def engine(path):
            return stack.enter_context(contextlib.closing(CheckpointEngine(path, 'tf', 'gpu')))

        def restored(restorer, frames, fill='reflection_circle'):
            windows = [window_indices(i, len(frames), restorer.config.num_frames, fill) for i in range(len(frames))]
            return engine(restorer.path).run(np.stack([frames[window] for window in windows]))
        yield restored


def variant(restorer, engine=None, **options):
    """A Restorer with other options around the same engine."""
    return Restorer(restorer.options, engine or restorer.engine, **options)


class Counting(FeatureEngine):
    """An engine that counts the calls of its methods."""

    def __init__(self, engine):
        self._engine, self.calls = engine, collections.Counter()
        self.path, self.config = engine.path, engine.config

    def features(self, frame):
        self.calls['features'] += 1
        return self._engine.features(frame)

    def restore(self, features, centre):
        self.calls['restore'] += 1
        return self._engine.restore(features, centre)

    def run(self, windows):
        self.calls['run'] += 1
        return self._engine.run(windows)


@pytest.mark.parametrize('num_frames, fill', [(5, fill) for fill in FILLS] + [(7, 'reflection_circle')])
def test_kept_features_give_what_whole_windows_give(restorer, seven, whole_windows, num_frames, fill):
    other = variant({5: restorer, 7: seven}[num_frames], fill=fill)
    for length in (1, 2, num_frames - 1, num_frames, num_frames + 4):
        frames = smooth_frames(length, 8, 12, seed=length)
        streamed = list(other.restore_clip(iter(frames)))
        assert len(streamed) == length
        assert streamed[0].shape == (32, 48, 3) and streamed[0].dtype == np.float32
        np.testing.assert_allclose(np.stack(streamed), whole_windows(other, frames, fill), atol=1e-5, rtol=0)


def test_frames_matter(restorer, whole_windows):
    """The network of these tests is sensitive to its neighbours, or equal results would mean nothing."""
    frames = smooth_frames(5, 16, 16)
    centre = whole_windows(restorer, frames)[2]
    swapped = whole_windows(restorer, frames[[1, 0, 2, 3, 4]])[2]
    assert np.abs(centre - swapped).max() > 2e-4


@pytest.mark.parametrize('options', [{'cached': False}, {'cache_gb': 0.}, {'cache_gb': 1e-6}])
def test_without_room_for_features_windows_are_computed_completely(restorer, options):
    frames = smooth_frames(6, 8, 8)
    expected = list(restorer.restore_clip(frames))
    engine = Counting(restorer.engine)
    restored = list(variant(restorer, engine, **options).restore_clip(frames))
    np.testing.assert_allclose(restored, expected, atol=1e-5, rtol=0)
    assert engine.calls == {'run': 6}


def test_reading_is_lazy_and_memory_bounded(restorer):
    class Frame(np.ndarray):
        """An array that can be watched."""
    alive, read = [], []

    def source():
        for frame in smooth_frames(14, 4, 4):
            frame = frame.view(Frame)
            alive.append(weakref.ref(frame))
            read.append(len(read))
            yield frame

    for index, _ in enumerate(restorer.restore_clip(source())):
        assert len(read) == min(max(index + 3, 5), 14)
        assert sum(reference() is not None for reference in alive) <= 5 + 1   # one more in the source's own hand
    assert index == 13


def test_start_skips_frames_and_changes_nothing(restorer):
    frames = smooth_frames(9, 8, 8)
    everything = list(restorer.restore_clip(frames))
    for start in (1, 5, 8, 9, 12):
        rest = list(restorer.restore_clip(iter(frames), start=start))
        assert len(rest) == max(9 - start, 0)
        for got, expected in zip(rest, everything[start:]):
            np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


def test_no_frames_give_no_frames(restorer):
    assert list(restorer.restore_clip([])) == []


@pytest.mark.parametrize('size', [(1, 1), (2, 9), (7, 10), (5, 4)])
def test_any_size_is_padded_by_reflection_and_cropped_back(restorer, whole_windows, size):
    frames = smooth_frames(5, *size)
    height, width = (-(-side // 4) * 4 for side in size)
    padded = np.stack([np.pad(frame, [(0, height - size[0]), (0, width - size[1]), (0, 0)], 'reflect')
                       for frame in frames])
    restored = list(restorer.restore_clip(frames))
    expected = whole_windows(restorer, padded)[:, :size[0] * 4, :size[1] * 4]
    np.testing.assert_allclose(np.stack(restored), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('size', [(60, 103), (97, 75)])
def test_tiles_equal_the_whole_frame(restorer, size):
    frames = smooth_frames(2, *size)
    whole = list(restorer.restore_clip(frames))
    tiled = list(variant(restorer, tile=64, tile_overlap=32).restore_clip(frames))
    for got, expected in zip(tiled, whole):
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() < 1e-3
    bare = next(variant(restorer, tile=48, tile_overlap=0).restore_clip(frames))
    assert np.abs(bare - whole[0]).max() > 1e-3   # without overlap the seams show: the test above can fail


def test_default_overlap_hides_the_tiles(restorer):
    frames = smooth_frames(1, 64, 158)
    whole, = restorer.restore_clip(frames)
    tiled, = variant(restorer, tile=128).restore_clip(frames)
    assert np.abs(tiled - whole).max() < 1e-3


def test_tiles_from_a_memory_budget(restorer, monkeypatch):
    """What follows from the measured memory is in test_tile_choice."""
    measured = functools.lru_cache(maxsize=None)(memory.footprint)   # takes seconds
    monkeypatch.setattr(memory, 'footprint', measured)
    frames = smooth_frames(1, 48, 400)
    auto = variant(restorer, tile='auto', tile_overlap=16, memory_gb=64.)
    next(auto.restore_clip(frames))
    assert str(auto.tiling) == 'the whole frame'
    with raises_facts(UserError, '--memory_gb=0.1', 'too little', 'raise it'):
        next(variant(auto, memory_gb=.1).restore_clip(frames))
    base, per_pixel = measured(restorer.engine)
    assert base > 50e6 and per_pixel > 100
    monkeypatch.setattr(memory, 'footprint', lambda engine: memory.Footprint(2 ** 30, 1e5))
    little = variant(auto, memory_gb=1.05 + 48 * 200 * 1e5 / 2 ** 30, cached=False)
    next(little.restore_clip(frames))
    assert len(little.tiling.boxes) > 1


def test_memory_for_a_pixel_counts_what_later_runs_add():
    """The heap of the C library fragments, so the first run does not show what tiles take."""
    class Allocating(Engine):
        config, kept = ModelConfig(num_frames=3), []

        def run(self, windows):
            pixels = windows.shape[2] * windows.shape[3]
            assert windows.shape[:2] == (1, 3)
            self.kept.append(np.ones(pixels * 1000, np.uint8))   # the C library always maps more than 32 MB

    gc.collect()   # what earlier tests leave would be freed during the measurement
    before = memory.resident()
    base, per_pixel = memory.footprint(Allocating())
    assert base - before < 20e6
    assert 2900 < per_pixel < 3600   # three times 1000, and a margin


def test_memory_of_kept_features(restorer, hr_in):
    """Counted without computing them; they are kept as long as they fit."""
    for each in (restorer, hr_in):
        count = each.config.num_frames
        frames = smooth_frames(count, 32, 48)
        size = count * sum(level.nbytes for level in each.engine.features(frames[0]))
        assert memory.kept_bytes_per_pixel(each.config) == size / (32 * 48)
        for cache_bytes, calls in ((size, {'features': count, 'restore': count}), (size - 1, {'run': count})):
            engine = Counting(each.engine)
            list(variant(each, engine, cache_gb=cache_bytes / 2 ** 30).restore_clip(frames))
            assert engine.calls == calls


@pytest.mark.parametrize('with_tsa', [True, False])
def test_accelerators_restore_whole_windows_to_the_same_values(tmp_path, with_tsa, monkeypatch):
    """On a CPU frame by frame and in strips; here a graph for a GPU runs on the CPU."""
    monkeypatch.setattr(strips, '_SMALL', 0)
    prefix = amplify(tiny_checkpoint(tmp_path, num_frames=3, with_tsa=with_tsa))
    frames = smooth_frames(3, 40, 24)
    windows = np.stack([frames, frames[::-1]])
    with contextlib.closing(CheckpointEngine(prefix, 'tf', 'gpu')) as whole:
        expected = whole.run(windows)
        restored = whole.restore([whole.features(frame) for frame in frames], frames[1])
    np.testing.assert_allclose(restored, expected[0], atol=1e-5, rtol=0)
    for kernels in ['tf'] + ['native'] * (native_library.compiler() is not None):
        with contextlib.closing(CheckpointEngine(prefix, kernels)) as engine:
            np.testing.assert_allclose(engine.run(windows), expected, atol=1e-5, rtol=0, err_msg=kernels)
            restored = engine.restore([engine.features(frame) for frame in frames], frames[1])
        np.testing.assert_allclose(restored, expected[0], atol=1e-5, rtol=0, err_msg=kernels)


def test_ensemble_is_the_mean_of_the_versions(restorer, whole_windows):
    frames = smooth_frames(5, 8, 12)
    expected = np.mean([ensemble.inverse(whole_windows(restorer, np.stack(
        [ensemble.transform(frame, k) for frame in frames]))[2], k) for k in range(8)], axis=0)
    got = list(variant(restorer, ensemble=True).restore_clip(frames))[2]
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)
    assert np.abs(got - list(restorer.restore_clip(frames))[2]).max() > 1e-4


@pytest.fixture(scope='module')
def half(tmp_path_factory):
    """A Restorer of a network of scale 2 with predeblurring, without TSA."""
    folder = str(tmp_path_factory.mktemp('half'))
    tiny_checkpoint(folder, scale=2, with_predeblur=True, with_tsa=False)
    with Restorer(folder, kernels='tf') as restorer:
        yield restorer


@pytest.mark.parametrize('name, scale', [('half', 2), ('hr_in', 1)])
def test_variants_of_the_network(request, whole_windows, name, scale):
    restorer = request.getfixturevalue(name)
    frames = smooth_frames(4, 16, 32)
    restored = list(restorer.restore_clip(frames))
    assert restored[0].shape == (16 * scale, 32 * scale, 3)
    wanted = whole_windows(restorer, frames, restorer.options.fill)
    np.testing.assert_allclose(restored, wanted, atol=1e-5, rtol=0)
    odd = next(restorer.restore_clip(frames[:, :9, :21]))
    assert odd.shape == (9 * scale, 21 * scale, 3)


def test_averaged_weights_are_taken_on_request(tmp_path):
    tiny_checkpoint(tmp_path, ema=True)
    frame = smooth_frames(1, 8, 8)[0]
    features = []
    for use_ema in (True, False):
        with Restorer(str(tmp_path), use_ema=use_ema) as restorer:
            features.append(restorer.engine.features(frame)[2])
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_properties_of_the_network(restorer, checkpoint):
    assert restorer.path == os.path.join(checkpoint, 'model.ckpt-7') and restorer.step == 7
    assert (restorer.config.num_frames, restorer.config.scale) == (5, 4)


def test_a_configuration_and_its_short_form(restorer, checkpoint):
    config = RestoreConfig(checkpoint=checkpoint, fill='circle', tile='64', tile_overlap=8, kernels='tf')
    assert Restorer(config, restorer.engine).options == config
    short = Restorer(checkpoint, restorer.engine, fill='circle', tile=64, tile_overlap=8, kernels='tf')
    assert short.options == config
    assert Restorer(config, restorer.engine, fill='replicate').options == config.replace(fill='replicate')
    with pytest.raises(ConfigError, match=r'^fill is'):
        Restorer(checkpoint, fill='round')


def test_exported_graph_restores_the_same_and_other_sizes_in_tiles(restorer, checkpoint, tmp_path):
    path = str(tmp_path / 'fixed.pb')
    export(ExportConfig(checkpoint=checkpoint, output=path, height=48, width=64, batch_size=1), log=lambda line: None)
    with Restorer(path) as exported:
        assert exported.step is None and exported.path == path
        frames = smooth_frames(6, 46, 61)
        np.testing.assert_allclose(list(exported.restore_clip(iter(frames))), list(restorer.restore_clip(frames)),
                                   atol=1e-5, rtol=0)
        for size in ((30, 130), (70, 33)):
            frames = smooth_frames(1, *size)
            got, expected = next(exported.restore_clip(frames)), next(restorer.restore_clip(frames))
            assert got.shape == expected.shape
            # where a frame ends inside a tile, the reflected border is longer than in the whole frame
            inside = np.abs(got - expected)[:size[0] * 2, :size[1] * 2]
            assert inside.max() < 1e-3


def test_bad_frames_are_named(restorer):
    frames = list(smooth_frames(6, 8, 8))
    with raises_facts(UserError, 'frame 3', '4x8', '8x8'):
        list(restorer.restore_clip(frames[:3] + [frames[3][:4]]))
    with pytest.raises(UserError, match='frame 0 is float32'):
        next(restorer.restore_clip([frames[0].astype(np.float32)]))
    with pytest.raises(UserError, match='ended after 6 of 7 frames'):
        list(restorer.restore_clip(frames, length=7))
    assert len(list(itertools.islice(restorer.restore_clip(itertools.cycle(frames)), 8))) == 8


def test_no_network_is_named(tmp_path):
    with pytest.raises(UserError, match='--checkpoint is not given'):
        Restorer('')
    with pytest.raises(UserError, match='no checkpoint in this directory'):
        Restorer(str(tmp_path))
    with pytest.raises(UserError, match=r'nowhere\.pb'):
        Restorer(str(tmp_path / 'nowhere.pb'))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    amplify(tiny_checkpoint(tmp_path), names=('edvr/conv_hr',), factor=np.nan)
    with pytest.raises(UserError, match=r'edvr/conv_hr/\S+ contains NaN or Inf'):
        Restorer(str(tmp_path))


def test_another_architecture_names_the_variable_that_differs(tmp_path):
    tiny_checkpoint(tmp_path)
    shutil.copy(str(tmp_path / checkpoints.MODEL_FILE), str(tmp_path / 'kept'))
    narrow = ModelConfig.from_dict(json.loads((tmp_path / 'kept').read_text()))
    checkpoints.save_model_config(str(tmp_path), narrow.replace(channels=16))
    with raises_facts(UserError, '[3, 3, 3, 8]', '[3, 3, 3, 16]'):
        Restorer(str(tmp_path))
    checkpoints.save_model_config(str(tmp_path), narrow.replace(num_reconstruct_block=2))
    with pytest.raises(UserError, match=r'has no variable edvr/\S*reconstruction\S*'):
        Restorer(str(tmp_path))


def test_a_gpu_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.config.experimental, 'list_physical_devices', lambda kind: [])
    with raises_facts(UserError, '--device=gpu', 'TensorFlow', 'no GPU'):
        Restorer(str(tmp_path), device='gpu')


@pytest.mark.skipif(native_library.compiler() is None, reason='no C++ compiler')
def test_exact_and_fast_convolutions_agree(tmp_path):
    """A network as deep as the default one, wide enough for the fast way, with weights fresh and as after training."""
    prefix = tiny_checkpoint(tmp_path, channels=32, deform_groups=4, num_extract_block=5, num_reconstruct_block=10)
    frames = smooth_frames(3, 20, 28)
    with tf.Graph().as_default(), tf.Session() as session:
        base = session.run(layers.upsample(tf.constant(frames / np.float32(255)), 4))
    for share in (0., .1):   # of the network in the output: hardly any, and as much as after training
        with Restorer(prefix, kernels='native', exact=True) as exact, Restorer(prefix, kernels='native') as fast:
            want, got = (restorer.restore(frames, np.float32) for restorer in (exact, fast))
        assert np.abs(want - base).max() > share
        np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)
        assert not np.array_equal(got, want)
        amplify(prefix)


def test_bfloat16_is_refused_where_it_cannot_be_computed(checkpoint, monkeypatch):
    with raises_facts(UserError, 'compiled operators', '--kernels is tf'):
        Restorer(checkpoint, kernels='tf', compute='bf16')
    # as with a compiler that is older than the processor
    monkeypatch.setattr(native_library, 'FLAGS', native_library.FLAGS + ['-march=haswell'])
    with raises_facts(UserError, 'CPU', 'compiler', 'AVX512_BF16'):
        native_library.check_bfloat16('native')
    with pytest.raises(ConfigError, match='exact is set and compute is bf16'):
        RestoreConfig(exact=True, compute='bf16')

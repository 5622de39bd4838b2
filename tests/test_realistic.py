"""The degradation of real videos: each stage against plain NumPy, draws that depend on seed and clip, sets of it."""
import io
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from facts import check_facts, raises_facts
from helpers import smooth_frames
from packed import pack, write_video
from PIL import Image

from data_tools.base.config import ConfigError
from data_tools.base.errors import UserError
from data_tools.media import images, realistic
from data_tools.media.degradation import Degradation
from data_tools.packing import verification
from data_tools.packing.config import PackConfig
from data_tools.record.manifest import Manifest
from edvr.config import DataConfig
from edvr.config.inspection import InspectConfig
from edvr.data import inspection, on_the_fly
from edvr.data.input_pipeline import tf, train_dataset


def test_blur_kernels():
    for kind, formula in (('isotropic', lambda q: np.exp(-q / 2)),
                          ('generalised anisotropic', lambda q: np.exp(-q ** 1.7 / 2)),
                          ('plateau anisotropic', lambda q: 1 / (1 + q ** 1.7))):
        kernel = realistic.blur_kernel(kind, 9, 1.5, 2.5, .6, 1.7)
        turn = np.array([[math.cos(.6), math.sin(.6)], [-math.sin(.6), math.cos(.6)]])
        wanted = np.zeros((9, 9))
        for y in range(9):
            for x in range(9):
                along, across = turn @ [x - 4, y - 4]
                wanted[y, x] = formula((along / 1.5) ** 2 + (across / 2.5) ** 2)
        np.testing.assert_allclose(kernel, wanted / wanted.sum(), rtol=1e-12)
        assert kernel.sum() == pytest.approx(1)


def test_sinc_passes_what_is_below_its_cutoff():
    np.testing.assert_allclose(realistic.bessel_j1(np.array([0., 1., 2.5, 10., 40.])),
                               [0., .4400505857, .4970941025, .0434727462, .1260383180], atol=1e-9)
    response = np.abs(np.fft.fft2(realistic.sinc_kernel(21, 1.5), (64, 64)))
    assert response[0, 0] == pytest.approx(1) and response[0, 8] == pytest.approx(1, abs=.15)   # .79 radians a pixel
    assert response[0, 24] < .1 and response[24, 24] < .1   # 2.4


@pytest.mark.parametrize('resize', realistic.RESIZES)
@pytest.mark.parametrize('length, out', [(12, 5), (12, 12), (7, 16), (12, 4)])
def test_resizing(resize, length, out):
    values, wanted = np.random.RandomState(0).uniform(size=length), []
    for i in range(out):
        if resize == 'area' and out < length:
            fine = np.repeat(values, out)   # each pixel in `out` parts
            wanted.append(fine[i * length:(i + 1) * length].mean())
            continue
        centre = (i + .5) * length / out - .5
        first, rest = math.floor(centre), centre - math.floor(centre)
        if resize == 'bicubic':
            weights = [((-.75 * (rest + 1) + 3.75) * (rest + 1) - 6) * (rest + 1) + 3,
                       (1.25 * rest - 2.25) * rest * rest + 1, (1.25 * (1 - rest) - 2.25) * (1 - rest) ** 2 + 1]
            weights.append(1 - sum(weights))
            places = np.clip(np.arange(first - 1, first + 3), 0, length - 1)
            wanted.append(np.dot(weights, values[places]))
        else:
            wanted.append((1 - rest) * values[max(first, 0)] + rest * values[min(first + 1, length - 1)])
    places, weights = realistic.resize_taps(length, out, resize)
    np.testing.assert_allclose((values[places] * weights).sum(1), wanted, atol=1e-12)


@pytest.mark.parametrize('kernel', [realistic.blur_kernel('anisotropic', 7, .6, 2.5, .7, 1.),
                                    realistic.blur_kernel('generalised isotropic', 21, 2.5, 2.5, 0., 3.),
                                    realistic.sinc_kernel(13, 1.2)])
@pytest.mark.parametrize('size', [(9, 12), (70, 45)])
def test_filtering_mirrors_at_the_borders(kernel, size):
    side, (height, width) = len(kernel), size
    frame = np.random.RandomState(0).uniform(0, 255, (height, width, 3)).astype(np.float32)
    mirrored = [np.pad(np.arange(length), side // 2, 'reflect') for length in size]
    padded, wanted = frame[mirrored[0]][:, mirrored[1]], 0.
    for y in range(side):
        for x in range(side):
            wanted = wanted + kernel[y, x] * padded[y:y + height, x:x + width]
    planes = np.ascontiguousarray(frame.transpose(0, 2, 1))
    found = realistic.Linear(kernel, size, size, 'bilinear')(planes)
    assert np.abs(found.transpose(0, 2, 1) - wanted).max() < .5   # small singular values are left out
    for resize, after in (('area', (height // 2, width // 3)), ('bicubic', (height + 5, width * 2))):
        small = realistic.Linear(kernel, size, after, resize)(planes)
        np.testing.assert_allclose(small, realistic.Linear(None, size, after, resize)(found), atol=.02)


def test_noise():
    random = np.random.RandomState(0)
    for noise, level, value, deviation in (('gaussian', 8., 100, 8.), ('poisson', 2., 100, 20.), ('poisson', 1., 4, 2.),
                                           ('poisson', .5, 250, .5 * 250 ** .5)):
        for grey in (False, True):
            flat = np.full((200, 3, 200), value, np.float32)
            found = realistic.noisy(flat, noise, level, grey, random) - flat
            assert found.std() == pytest.approx(deviation, rel=.02) and abs(found.mean()) < .02 * deviation
            assert (found[:, 0] == found[:, 2]).all() == grey
            assert abs(np.corrcoef(found[:, 0, 1:].ravel(), found[:, 0, :-1].ravel())[0, 1]) < .03


def test_noise_has_the_distribution_of_its_name():
    flat, random = np.full((300, 3, 300), 4, np.float32), np.random.RandomState(1)
    found = realistic.noisy(flat, 'poisson', 1., False, random)
    for count in range(12):
        assert (found == count).mean() == pytest.approx(math.exp(-4) * 4 ** count / math.factorial(count), abs=2e-3)
    found = realistic.noisy(flat, 'gaussian', 1., False, random) - flat
    for place in (-3., -1.5, 0., .4, 2., 3.5):
        assert (found < place).mean() == pytest.approx(.5 + .5 * math.erf(place / 2 ** .5), abs=3e-3)


def test_jpeg_loses_more_at_a_lower_quality():
    frame, = smooth_frames(1, 32, 48)
    planes = np.ascontiguousarray(frame.transpose(0, 2, 1))
    errors = [np.abs(realistic.jpeg(planes, quality) - frame.astype(float)).mean() for quality in (95, 30)]
    assert 0 < errors[0] < 8 and errors[1] > 1.5 * errors[0]


@pytest.mark.parametrize('height, width', [(1, 1), (31, 45), (130, 16)])
def test_jpeg_is_that_of_an_image(height, width):
    frame, buffer = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8), io.BytesIO()
    Image.fromarray(frame).save(buffer, 'JPEG', quality=60)
    np.testing.assert_array_equal(realistic.jpeg(frame.transpose(0, 2, 1), 60), np.asarray(Image.open(buffer)))


def test_grey_levels_are_rounded_and_clipped():
    values = np.concatenate([np.arange(-600, 900, .25), [-32768, 32767, .49999997, 254.50002]]).astype(np.float32)
    np.testing.assert_array_equal(realistic.to_uint8(values), np.clip(np.rint(values), 0, 255))


def test_draws_are_of_the_recipe():
    plans = [realistic.draw(np.random.RandomState(seed)) for seed in range(300)]
    for number, order in enumerate(realistic.RECIPE.orders):
        rounds = [plan.rounds[number] for plan in plans]
        assert np.mean([drawn.kernel is not None for drawn in rounds]) == pytest.approx(order.blur, abs=.08)
        assert all(order.size[0] <= drawn.factor <= order.size[1] for drawn in rounds)
        assert np.mean([drawn.factor < 1 for drawn in rounds]) == pytest.approx(order.resize[1], abs=.1)
        assert all(order.jpeg[0] <= drawn.quality <= order.jpeg[1] for drawn in rounds)
        assert {drawn.resize for drawn in rounds} == set(realistic.RESIZES)
        assert {drawn.codec and drawn.codec[0] for drawn in rounds} == {None, 'libx264', 'libx265'}
        assert all(drawn.kernel is None or (drawn.kernel.shape[0] % 2 and drawn.kernel.sum() == pytest.approx(1))
                   for drawn in rounds)


def test_lq_of_a_clip_depends_on_seed_and_name():
    gt = smooth_frames(3, 48, 64)
    made = Degradation('realistic', 4, seed=2)
    frames = np.array(list(made.apply(iter(gt), 'a')))
    assert frames.shape == (3, 12, 16, 3) and frames.dtype == np.uint8
    np.testing.assert_array_equal(list(made.apply(iter(gt), 'a')), frames)
    for other in (made.apply(iter(gt), 'b'), made._replace(seed=3).apply(iter(gt), 'a')):
        assert np.abs(np.array(list(other)).astype(int) - frames).max() > 8
    assert made.to_job() == dict(kind='realistic', seed=2, revision=2)
    assert Degradation.from_job(dict(make_lq=True, scale=4, degradation=made.to_job())).to_job() == made.to_job()
    assert list(made.apply(iter(()), 'a')) == []
    with raises_facts(UserError, '50x64', 'scale 4'):
        list(made.apply(iter(np.zeros((1, 50, 64, 3), np.uint8)), 'a'))


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp('gt') / 'clips'
    for number in range(2):
        os.makedirs(str(root / ('%03d' % number)))
        for frame, image in enumerate(smooth_frames(4, 48, 64, seed=number)):
            images.write_png(str(root / ('%03d' % number) / ('%08d.png' % frame)), image)
    return str(root)


def test_versions_of_clips(source, tmp_path, capsys):
    folder = pack(source, tmp_path / 'set', make_lq=True, degradation='realistic', versions=3)
    manifest = Manifest.read(folder)
    assert [name for name, _ in manifest.job['clips']] == [
        name + version for name in ('000', '001') for version in ('', '_version1', '_version2')]
    assert manifest.records == 24 and manifest.job['versions'] == 3
    assert verification.check_set(folder, True, source) == 0
    plain = Manifest.read(pack(source, tmp_path / 'one', make_lq=True, degradation='realistic'))
    assert 'versions' not in plain.job and plain.records == 8
    # the versions differ, the first is that of a set with one
    made = Degradation('realistic', 4)
    first, second = (np.array(list(made.apply(iter(smooth_frames(4, 48, 64, seed=0)), name)))
                     for name in ('000', '000_version1'))
    assert np.abs(first.astype(int) - second).mean() > 1


def test_sets_of_the_first_revision(source, tmp_path):
    """They are read and continued in training; their pixels cannot be made again."""
    folder = pack(source, tmp_path / 'set', make_lq=True, degradation='realistic')
    manifest = Manifest.read(folder)
    job = dict(manifest.job, degradation=dict(kind='realistic', seed=0))
    made = Degradation.from_job(job)
    assert made.to_job() == job['degradation'] and made.revision == 1
    assert len(list(made.apply(iter(smooth_frames(2, 48, 64)), 'a'))) == 2
    manifest._replace(job=job).write(folder)
    assert verification.check_set(folder, True) == 0
    with raises_facts(UserError, folder, 'realistic', 'revision=1', '--source', 'pack'):
        verification.check_set(folder, True, source)


@pytest.mark.parametrize('fields, facts', [
    (dict(versions=2), ['--versions=2', '--make_lq']),
    (dict(versions=2, make_lq=True), ['--versions=2', 'bicubic', 'equal', '--lq_noise']),
    (dict(versions=2, make_lq=True, degradation='compressed', crf=(25,)), ['--versions=2', 'compressed', 'equal']),
    (dict(make_lq=True, degradation='none'), ['--degradation=none', '--scale must be 1', 4]),
    (dict(make_lq=True, degradation='realistic', lq_noise=('gaussian',)), ['lq_noise', 'realistic'])])
def test_options_that_do_not_fit(fields, facts):
    with raises_facts(ConfigError, *facts):
        PackConfig(data_dir='clips', **fields)


@pytest.mark.parametrize('fields', [dict(degradation='realistic'), dict(lq_noise=('gaussian',)),
                                    dict(degradation='compressed', crf=(15, 35))])
def test_degradations_that_draw_have_versions(fields):
    assert PackConfig(data_dir='clips', versions=2, make_lq=True, **fields).draws


def test_deep_videos_are_refused(tmp_path, capsys):
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'x.mkv', smooth_frames(6, 48, 64), '-c:v', 'ffv1', '-pix_fmt', 'yuv420p10le')
    with raises_facts(UserError, 'realistic', '8 bits', 'x', 'convert'):
        pack(str(tmp_path / 'videos'), tmp_path / 'set', make_lq=True, degradation='realistic')
    assert 'packed' not in capsys.readouterr().out


@pytest.fixture(scope='module')
def gt_set(source, tmp_path_factory):
    return pack(source, tmp_path_factory.mktemp('gt_set') / 'set', make_lq=True, degradation='none', scale=1)


def config(folder, **options):
    return DataConfig(**dict(dict(data_dir=folder, batch_size=4, patch_size=8, degradation='realistic', map_threads=2,
                                  deterministic=True), **options))


def batches(data, count, start_step=0):
    with tf.Graph().as_default(), tf.Session() as session:
        element = tf.data.make_one_shot_iterator(train_dataset(data, 3, 4, 4, start_step=start_step)).get_next()
        return [session.run(element) for _ in range(count)]


def test_lq_on_the_fly(gt_set):
    """A function of seed and sample number; it is the GT of its sample, made small and worse."""
    whole = batches(config(gt_set), 5)
    for inputs, gt in whole:
        assert inputs['lq'].shape == (4, 3, 8, 8, 3) and gt.shape == (4, 32, 32, 3)
        small = gt.reshape(4, 8, 4, 8, 4, 3).mean((2, 4))
        error = np.abs(inputs['lq'][:, 1] - small).mean((1, 2, 3))
        assert (error > .5).all() and np.median(error) < 40
    for (inputs, gt), (expected, expected_gt) in zip(batches(config(gt_set), 2, start_step=3), whole[3:]):
        np.testing.assert_array_equal(inputs['lq'], expected['lq'])
        np.testing.assert_array_equal(gt, expected_gt)
    (other, gt), = batches(config(gt_set, seed=1), 1)
    assert not np.array_equal(other['lq'], whole[0][0]['lq'])


def test_on_the_fly_degrades_each_frame():
    frames, number = np.array(smooth_frames(3, 32, 32)), 2 ** 33 + 5
    with tf.Graph().as_default(), tf.Session() as session:
        found = session.run(on_the_fly.degrade(tf.constant(frames), 4, 7, tf.constant(number, tf.int64)))
    random = np.random.RandomState([7, 5, 2])
    degrader = realistic.Degrader(realistic.draw(random), (32, 32), 4)
    np.testing.assert_array_equal(found, [degrader(frame, random) for frame in frames])


def test_sets_and_options_that_do_not_fit(gt_set, source, tmp_path):
    with raises_facts(UserError, gt_set, '--degradation=packed', '--degradation=realistic'):
        train_dataset(config(gt_set, degradation='packed'), 3, 4, 4)
    made = pack(source, tmp_path / 'set', make_lq=True)
    with raises_facts(UserError, made, 'without', '--degradation=realistic', '--degradation=packed'):
        train_dataset(config(made), 3, 4, 4)
    with raises_facts(UserError, 'patch_size is 16', 'GT frames of 48x64'):
        train_dataset(config(gt_set, patch_size=16), 3, 4, 4)


def test_sheets(gt_set, tmp_path):
    sheets, lines = inspection.look(InspectConfig(output_dir=str(tmp_path), crops=4), config(gt_set))
    assert sheets['crops'].shape[0] > 64 and sheets['crops'].std() > 5
    check_facts(lines[0], gt_set, '8 windows', 'LQ none')


@pytest.mark.parametrize('module', ['edvr.train', 'data_tools.make_tfrecords', 'data_tools.make_lq'])
def test_matrix_products_take_one_thread(module):
    """Samples and clips are degraded in parallel; threads of NumPy's own would compete with them."""
    code = 'import os, %s, numpy; numpy.ones([512, 512]) @ numpy.ones([512, 512]); ' % module
    environment = {name: value for name, value in os.environ.items() if not name.endswith('_NUM_THREADS')}
    done = subprocess.run([sys.executable, '-c', code + 'print(len(os.listdir("/proc/self/task")))'], timeout=100,
                          cwd=ROOT, env=environment, stdout=subprocess.PIPE, universal_newlines=True)
    assert done.stdout == '1\n'

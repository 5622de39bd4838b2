"""LQ from GT: values against plain NumPy, and randomness that depends on seed and clip only."""
import dataclasses
import zlib
from fractions import Fraction

import numpy as np
import pytest
from facts import raises_facts
from helpers import smooth_frames
from PIL import Image

from data_tools.base.config import ConfigError
from data_tools.base.errors import UserError
from data_tools.media import degradation, imresize
from data_tools.media.config import DegradationConfig, MadeLqConfig
from data_tools.media.degradation import Degradation
from data_tools.media.noises import NOISES


def image(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize('scale, taps, first', [(4, 12, -4), (3, 7, -2), (3, 11, -4), (2, 12, -5)])
def test_bd_is_the_gaussian_around_the_middle_of_each_block(scale, taps, first):
    gt = image(8 * scale, 5 * scale)
    # the two-dimensional window, pixel by pixel; `first`: of the window relative to the block's first pixel
    distance = np.arange(taps) - (taps - 1) / 2
    kernel = np.exp(-(distance[:, None] ** 2 + distance[None] ** 2) / (2 * 1.6 ** 2))
    kernel /= kernel.sum()
    expected = np.zeros((8, 5, 3))
    for y in range(8):
        for x in range(5):
            for i in range(taps):
                for j in range(taps):
                    row = min(max(y * scale + first + i, 0), gt.shape[0] - 1)
                    column = min(max(x * scale + first + j, 0), gt.shape[1] - 1)
                    expected[y, x] += kernel[i, j] * gt[row, column]
    lq = degradation.blur_and_subsample(gt, scale, window=taps)
    if taps != 11:   # of earlier versions
        np.testing.assert_array_equal(lq, degradation.blur_and_subsample(gt, scale))
    assert lq.dtype == np.uint8
    np.testing.assert_array_equal(lq, np.floor(expected + 0.5))


def test_bd_lies_where_bicubic_does():
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)   # 4 levels a pixel
    inner = (slice(2, -2), slice(2, -2))
    blurred, shrunk = (function(ramp, 4)[inner].astype(int)
                       for function in (degradation.blur_and_subsample, degradation.make_lq))
    assert np.abs(blurred - shrunk).max() <= 1
    assert blurred[0, 0, 0] == 4 * (8 + 1.5)   # the third LQ pixel: the middle of GT pixels 8 to 11


def test_sides_that_do_not_divide_are_refused():
    with raises_facts(UserError, 'x.png', '10x12', 'scale 4'):
        degradation.blur_and_subsample(image(10, 12), 4, 'x.png')


def test_kinds():
    gt = [image(16, 24, seed) for seed in range(3)]
    for kind, function in (('bicubic', degradation.make_lq), ('bd', degradation.blur_and_subsample)):
        frames = list(Degradation(kind, 4).apply(iter(gt), 'a'))
        np.testing.assert_array_equal(frames, [function(frame, 4) for frame in gt])
    np.testing.assert_array_equal(next(Degradation('bicubic', 2, resize='pillow').apply(gt, 'a')),
                                  np.asarray(Image.fromarray(gt[0]).resize((12, 8), Image.BICUBIC)))


def test_noise_values():
    flat = np.full((64, 64, 3), 100, np.uint8)
    noisy = degradation.add_noise(flat, 'gaussian', 8, np.random.RandomState(1))
    expected = np.random.RandomState(1).normal(size=flat.shape) * 8 + 100
    np.testing.assert_array_equal(noisy, np.rint(expected).astype(np.uint8))
    speckled = degradation.add_noise(flat, 'speckle', 8, np.random.RandomState(1))
    np.testing.assert_array_equal(speckled, noisy)   # 8 percent of 100
    peppered = degradation.add_noise(flat, 'salt_pepper', 10, np.random.RandomState(1))
    where = np.random.RandomState(1).uniform(size=(64, 64))
    np.testing.assert_array_equal(peppered[..., 0], np.where(where < 0.05, 0, np.where(where >= 0.95, 255, 100)))
    np.testing.assert_array_equal(peppered[..., 0], peppered[..., 2])


def test_noise_depends_on_seed_clip_and_frame_only():
    gt = [image(16, 16)] * 4
    made = Degradation('bicubic', 4, noise=('gaussian', 'speckle'), noise_strength=30, seed=3)
    frames = list(made.apply(gt, 'a'))
    np.testing.assert_array_equal(list(made.apply(gt[2:], 'a', 2)), frames[2:])
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(list(made.apply(gt, 'b')), frames)
    assert not np.array_equal(list(made._replace(seed=4).apply(gt, 'a')), frames)
    none = made._replace(noise_probability=0.)
    np.testing.assert_array_equal(next(none.apply(gt, 'a')), degradation.make_lq(gt[0], 4))


def test_compression_loses_more_at_a_higher_crf_and_repeats_itself():
    gt = smooth_frames(6, 60, 72)[..., :1].repeat(3, -1)   # LQ of 15x18: odd, which 4:2:0 cannot hold
    plain = np.array([degradation.make_lq(frame, 4) for frame in gt]).astype(int)
    losses = []
    for crf in (5, 40):
        made = Degradation('compressed', 4, crf=(crf,))
        frames = np.array(list(made.apply(iter(gt), 'a')))
        assert frames.shape == (6, 15, 18, 3)
        np.testing.assert_array_equal(list(made.apply(iter(gt), 'a')), frames)
        losses.append(np.abs(frames - plain).mean())
    assert losses[0] < 2 and losses[1] > 3 * losses[0]
    assert list(Degradation('compressed', 4).apply(iter(()), 'a')) == []


def test_crf_of_a_range():
    made = Degradation('compressed', 4, crf=(15, 18), seed=1)
    drawn = {made.crf_of('clip%d' % i) for i in range(50)}
    assert drawn == {15, 16, 17, 18}
    assert made.crf_of('a') == made.crf_of('a')


def test_a_job_keeps_what_decides_the_pixels():
    config = MadeLqConfig(make_lq=True, degradation='compressed', crf=(15, 35), lq_noise=('gaussian',))
    made = Degradation.if_wanted(config, 4, seed=5)
    job = dict(make_lq=True, scale=4, degradation=made.to_job())
    assert Degradation.from_job(job) == made
    assert Degradation('bicubic', 4, seed=9).to_job() == {'kind': 'bicubic', 'resize': 'matlab'}   # nothing is random
    assert Degradation.from_job(dict(make_lq=True, scale=2)) == Degradation('bicubic', 2, crf=(), resize='pillow')
    assert Degradation.from_job(dict(make_lq=False, scale=2)) is Degradation.from_job({}) is None
    assert Degradation.if_wanted(MadeLqConfig(), 4) is None


def test_options():
    for crf in ((), (1, 2, 3), (30, 20)):
        with raises_facts(ConfigError, 'one number', '15,35'):
            DegradationConfig(crf=crf)


def checksum(frames):
    return zlib.crc32(np.array(frames).tobytes())


def test_pixels_and_draws_are_those_of_earlier_versions():
    gt = smooth_frames(3, 48, 72)
    shrunk = {(kind, scale): checksum(list(Degradation(kind, scale, resize='pillow', window=11 if scale == 3 else None
                                                       ).apply(gt, 'a')))
              for kind in ('bicubic', 'bd') for scale in (2, 3, 4)}
    assert shrunk == {('bicubic', 2): 3734274266, ('bicubic', 3): 2510456989, ('bicubic', 4): 3200755996,
                      ('bd', 2): 1016680901, ('bd', 3): 1772090726, ('bd', 4): 181586777}
    noisy = {kind: checksum(degradation.add_noise(gt[0, ::2, ::2], kind, 17.5, np.random.RandomState(3)))
             for kind in ('gaussian', 'salt_pepper', 'speckle')}
    assert noisy == dict(gaussian=2644565374, salt_pepper=3142681961, speckle=62584243)
    made = Degradation('bicubic', 4, noise=('gaussian', 'speckle', 'salt_pepper'), noise_strength=30,
                       noise_probability=.9, seed=3, resize='pillow')
    assert [checksum(list(made.apply(gt, clip))) for clip in 'abcdef'] == [
        4077785264, 2835661289, 999369229, 702103670, 4134426691, 3615327508]
    compressed = Degradation('compressed', 4, crf=(15, 35), seed=1)
    assert [compressed.crf_of(clip) for clip in 'abcdef'] == [18, 33, 32, 34, 25, 27]


def test_jobs_are_those_of_earlier_versions():
    """A set that has no word on the resize has Pillow's, and such a job is written so that it is continued."""
    noise = dict(noise=('gaussian', 'speckle'), noise_probability=.5, noise_strength=30., seed=3)
    in_job = dict(noise, noise=['gaussian', 'speckle'])
    pillow = dict(resize='pillow')
    for made, values in [
            (Degradation('bd', 4, **pillow), dict(kind='bd')), (Degradation('bd', 3, window=11), dict(kind='bd')),
            (Degradation('bicubic', 3, **pillow), dict(kind='bicubic')),
            (Degradation('bd', 4, **noise), dict(in_job, kind='bd')),
            (Degradation('compressed', 4, crf=(15, 35), seed=1, **pillow),
             dict(kind='compressed', crf=[15, 35], seed=1)),
            (Degradation('compressed', 2, **dict(noise, **pillow)), dict(in_job, kind='compressed', crf=[25]))]:
        assert made.to_job() == values
        again = Degradation.from_job(dict(make_lq=True, scale=made.scale, degradation=values))
        gt = smooth_frames(2, 24, 48)
        if made.kind != 'compressed':
            np.testing.assert_array_equal(list(again.apply(gt, 'a')), list(made.apply(gt, 'a')))
        assert again.resize == 'pillow' or made.kind == 'bd'


def test_jobs_of_today_say_what_differs():
    assert Degradation('compressed', 4, seed=1).to_job() == dict(kind='compressed', crf=[25], seed=1, resize='matlab')
    assert Degradation('bd', 3).to_job() == dict(kind='bd', window=7)
    for made in (Degradation('bicubic', 4), Degradation('bd', 3), Degradation('compressed', 2, crf=(15, 35))):
        again = Degradation.from_job(dict(make_lq=True, scale=made.scale, degradation=made.to_job()))
        assert again.to_job() == made.to_job() and (again.resize, again.kind) == (made.resize, made.kind)
    assert Degradation('bicubic', 4).describe() == 'bicubic (resize=matlab)'
    assert Degradation('bicubic', 4, resize='pillow').describe() == 'bicubic (resize=pillow)'
    assert Degradation('compressed', 4, crf=(15, 35)).describe() == 'compressed (crf=15,35, resize=matlab, seed=0)'


def matlab(image, scale):
    """imresize(image, scale) in double precision, as MATLAB's source defines it, before rounding; scale: Fraction."""
    image = image.astype(object)   # sums of fractions are exact
    for axis in (0, 1):
        length, width = image.shape[axis], max(4, 4 / scale)
        rows = []
        for k in range(1, int(length * scale) + 1):
            u = k / scale + (1 - 1 / scale) / 2
            indices = [int(np.floor(u - width / 2)) + i for i in range(int(np.ceil(width)) + 2)]
            x = [abs((u - i) * min(scale, 1)) for i in indices]
            weights = [3 * v ** 3 / 2 - 5 * v ** 2 / 2 + 1 if v <= 1 else
                       (-v ** 3 + 5 * v ** 2 - 8 * v + 4) / 2 if v <= 2 else 0 for v in x]
            mirrored = list(range(length)) + list(range(length))[::-1]
            taken = [np.take(image, mirrored[(i - 1) % (2 * length)], axis) for i in indices]
            rows.append(sum(weight * row for weight, row in zip(weights, taken)) / sum(weights))
        image = np.stack(rows, axis)
    return image


@pytest.mark.parametrize('factor', [2, 3, 4])
@pytest.mark.parametrize('function', ['shrink', 'enlarge'])
@pytest.mark.parametrize('kind', ['noise', 'steps', 'tiny'])
def test_bicubic_is_matlabs_to_the_bit(factor, function, kind):
    size = (factor, factor) if kind == 'tiny' else (6 * factor, 4 * factor)   # mirrored several times
    size = size if function == 'shrink' else tuple(side // factor for side in size)
    gt = image(*size) if kind != 'steps' else np.where(image(*size) < 128, 0, 255).astype(np.uint8)
    wanted = matlab(gt, Fraction(1, factor) if function == 'shrink' else Fraction(factor))
    wanted = np.clip(np.floor((wanted + Fraction(1, 2)).astype(float)), 0, 255)
    found = getattr(imresize, function)(gt, factor)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, wanted)


def test_options_name_every_kind():
    fields = {field.name: field.metadata for field in dataclasses.fields(DegradationConfig)}
    assert fields['degradation']['choices'] == tuple(degradation.DEGRADATIONS)
    assert fields['lq_noise']['choices'] == tuple(NOISES)
    for name in degradation.DEGRADATIONS:
        assert name in fields['degradation']['help']
    for name in NOISES:
        assert name in fields['lq_noise_strength']['help']


def test_a_job_of_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match=r"'blur9'.*bicubic, bd"):
        Degradation.from_job(dict(make_lq=True, scale=4, degradation=dict(kind='blur9')))

"""Metrics of sequences: motion is found, flicker is measured, VMAF is ffmpeg's."""
import numpy as np
import pytest
from facts import raises_facts
from helpers import smooth_frames

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg_choice
from edvr.config import ConfigError
from edvr.config.restoration import EvaluateConfig
from edvr.evaluation import temporal


def moving(count=3, height=70, width=90, step=(3, -5)):
    """A textured picture that moves by `step` (rows, columns) a frame: uint8 [count, height, width, 3]."""
    world = np.random.RandomState(1).uniform(0, 255, [40, 50, 3])
    world = np.repeat(np.repeat(world, 5, 0), 5, 1).astype(np.uint8)
    return [world[60 - step[0] * i:][:height, 80 - step[1] * i:][:, :width] for i in range(count)]


@pytest.mark.parametrize('step', [(0, 0), (3, -5), (-7, 11), (16, 0)])
def test_motion_is_that_of_the_blocks(step):
    before, now = (frame[..., 0].astype(np.float32) for frame in moving(2, step=step))
    rows, columns = temporal.motion(before, now)
    inside = np.s_[20:48, 20:64]   # what was in the frame before
    np.testing.assert_array_equal((rows - np.arange(70)[:, None])[inside], -step[0])
    np.testing.assert_array_equal((columns - np.arange(90))[inside], -step[1])


def warp(images, truths):
    with temporal.Warp() as found:
        for image, truth in zip(images, truths):
            found.add(image, truth)
        return found.numbers()


def test_the_truth_and_a_constant_error_are_consistent_and_flicker_is_not():
    truth = moving()
    assert warp(truth, truth) == [None, 0., 0.]
    darker = [(frame // 2).astype(np.uint8) for frame in truth]
    offset = [frame + np.uint8(0) for frame in truth]
    flicker = [np.clip(frame.astype(int) + (8 if i % 2 else 0), 0, 255).astype(np.uint8)
               for i, frame in enumerate(offset)]
    first, second, third = warp(flicker, truth)
    assert first is None and 5 < second < 8 and 5 < third < 8   # 8 levels of RGB are 6.9 of luma, less where it clips
    assert max(warp(darker, truth)[1:]) < second   # what moves with the motion costs little


def test_vmaf_is_high_for_the_truth_and_lower_for_noise():
    truth = smooth_frames(4, 96, 128)
    noisy = [np.clip(frame + np.random.RandomState(i).normal(0, 30, frame.shape), 0, 255).astype(np.uint8)
             for i, frame in enumerate(truth)]
    try:
        temporal.Vmaf.check()
    except UserError as error:
        assert 'IMAGEIO_FFMPEG_EXE' in str(error)
        pytest.skip('this ffmpeg has no libvmaf with its model')
    found = []
    for images in (truth, noisy):
        with temporal.Vmaf() as vmaf:
            for image, frame in zip(images, truth):
                vmaf.add(image, frame)
            found.append(vmaf.numbers())
    assert [len(numbers) for numbers in found] == [4, 4]
    assert min(found[0]) > 90 and max(found[1]) < min(found[0]) - 10


def test_an_ffmpeg_without_vmaf_is_refused_with_the_remedy(monkeypatch, tmp_path):
    """As the one of 2019, whose model is a file that it does not bring."""
    program = tmp_path / 'ffmpeg'
    program.write_text('#!/bin/sh\n[ "$1" = -version ] && echo "ffmpeg version 4.2.2" && exit\n'
                       'echo "No such filter: libvmaf" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv(ffmpeg_choice.VARIABLE, str(program))
    with raises_facts(UserError, '--metrics=vmaf', '4.2.2', 'libvmaf', 'IMAGEIO_FFMPEG_EXE'):
        temporal.Vmaf.check()


def test_metrics_that_are_measured():
    assert [EvaluateConfig().measures(name) for name in ('psnr', 'ssim', 'vmaf', 'warp')] == [True, True, False, False]
    assert not EvaluateConfig(ssim=False).measures('ssim') and not EvaluateConfig(metrics=('warp',)).measures('ssim')
    assert EvaluateConfig(metrics=('warp', 'vmaf')).temporal == ('vmaf', 'warp')
    with raises_facts(ConfigError, 'metrics', 'lpips', 'vmaf'):
        EvaluateConfig(metrics=('lpips',))

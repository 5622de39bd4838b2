"""ICC profiles of images: kept in written PNG files, or converted; wrong ones are named."""
import os

import numpy as np
import pytest
from facts import check_facts, raises_facts
from icc_profiles import SRGB, profile
from PIL import Image, ImageCms

from data_tools.base.errors import UserError
from data_tools.lq.writer import write_clip
from data_tools.media import clips, icc, images
from data_tools.media.degradation import Degradation
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.output import infer_job
from edvr.sharing.workers import ThisProcess

WIDE = profile()
GREEN = (0, 200, 0)   # by WIDE: more saturated than sRGB can be
SOFT = (120, 160, 130)
CUT, CMYK = WIDE[:-8], WIDE[:16] + b'CMYK' + WIDE[20:]


def write(folder, *found, kind='png', mode='RGB', colour=GREEN):
    """Images of one colour, each with the profile given."""
    os.makedirs(str(folder))
    for index, data in enumerate(found):
        options = dict(icc_profile=data) if data else {}
        if kind == 'jpg':
            options.update(quality=100, subsampling=0)
        Image.new('RGB', (18, 14), colour).convert(mode).save(
            os.path.join(str(folder), '%03d.%s' % (index, kind)), **options)
    return str(folder)


@pytest.fixture(name='restore')
def restore_with_the_shared_network(restorer, checkpoint, tmp_path):
    """Runs infer on a folder; returns the first written image."""
    def run(folder, output='out', **options):
        job = infer_job.prepare(restorer, RestoreConfig(checkpoint=checkpoint), InferConfig(
            input=str(folder), output=str(tmp_path / output), **options))
        infer_job.run(job, ThisProcess(restorer))
        return Image.open(str(tmp_path / output / '000.png')) if job.to_video is False else None
    return run


@pytest.mark.parametrize('kind', ['png', 'jpg', 'webp', 'tif'])
def test_a_profile_is_kept_in_the_written_png(restore, tmp_path, capsys, kind):
    written = restore(write(tmp_path / 'clip', WIDE, WIDE, WIDE, kind=kind))
    assert written.info['icc_profile'] == WIDE
    check_facts(capsys.readouterr().out, 'Wide RGB', 'kept', '--icc=srgb')


@pytest.mark.parametrize('kind', ['png', 'jpg'])
def test_colours_are_converted_on_request(tmp_path, kind):
    folder = write(tmp_path / 'clip', WIDE, kind=kind, colour=SOFT)
    plain, converted = (images.read_image(os.path.join(folder, '000.' + kind), convert) for convert in (False, True))
    assert np.abs(plain - np.array(SOFT)).max() <= (kind == 'jpg')
    # the linear values of P3's primaries in those of sRGB, by hand
    linear = (np.array(SOFT) / 255) ** 2.2
    matrix = np.array([[1.2249, -.2247, 0], [-.0420, 1.0419, 0], [-.0197, -.0786, 1.0979]])
    want = matrix @ linear
    want = 255 * (1.055 * want ** (1 / 2.4) - .055)
    assert np.abs(converted - want).max() < 2.5 and np.abs(plain - want).max() > 5


def test_the_restored_frames_are_those_of_the_converted_ones(restorer, restore, tmp_path, capsys):
    folder = write(tmp_path / 'clip', WIDE, WIDE, b'', colour=SOFT)
    written = restore(folder, icc='srgb')
    check_facts(capsys.readouterr().out, 'Wide RGB', 'sRGB')
    assert 'icc_profile' not in written.info
    frames = [images.read_image(os.path.join(folder, '%03d.png' % index), True) for index in range(3)]
    want = next(restorer.restore_clip(iter(frames)))
    assert np.abs(np.asarray(written) / 255 - np.clip(want, 0, 1)).max() < .003


def test_a_run_is_not_continued_with_other_colours(restore, tmp_path):
    folder = write(tmp_path / 'clip', WIDE, WIDE, WIDE)
    restore(folder)
    with raises_facts(UserError, 'icc', '--overwrite'):
        restore(folder, icc='srgb')


def test_frames_of_one_clip_with_different_profiles(restore, tmp_path):
    folder = write(tmp_path / 'clip', WIDE, WIDE, b'')
    with raises_facts(UserError, '000.png', '002.png', 'Wide RGB', '--icc=srgb'):
        restore(folder)
    restore(folder, icc='srgb')
    # sRGB under any name, and none at all, mean the same
    with open(os.path.join(folder, '000.png'), 'rb') as file:
        assert not icc.is_srgb(icc.embedded(Image.open(file)))
    same = write(tmp_path / 'same', ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes(), b'', b'')
    assert 'icc_profile' not in restore(same, 'same_out').info


@pytest.mark.parametrize('data, reason', [(CUT, 'cut'), (CMYK, 'CMYK'), (b'junk', 'damaged'),
                                          (profile(space=b'GRAY'), 'grey')])
def test_a_wrong_profile_is_named_and_ignored(restore, tmp_path, capsys, data, reason):
    for choice in ('keep', 'srgb'):
        written = restore(write(tmp_path / choice, data, data, data), choice + '_out', icc=choice)
        check_facts(capsys.readouterr().out, '000.png', reason, 'ignored')
        assert 'icc_profile' not in written.info


def test_grey_images(restore, tmp_path, capsys):
    grey = profile('Dark grey', gamma=1.4, space=b'GRAY')
    folder = write(tmp_path / 'clip', grey, grey, grey, mode='L', colour=SOFT)
    assert 'icc_profile' not in restore(folder).info
    check_facts(capsys.readouterr().out, 'Dark grey', '--icc=srgb')
    before, after = (images.read_image(os.path.join(folder, '000.png'), convert) for convert in (False, True))
    assert after.shape == before.shape and after.min() > before.max() + 20


def test_a_video_cannot_keep_a_profile(restore, tmp_path, capsys):
    folder = write(tmp_path / 'clip', WIDE, WIDE, WIDE)
    restore(folder, 'a.mkv')
    check_facts(capsys.readouterr().out, 'Wide RGB', 'a.mkv', '--icc=srgb')


def test_pictures_of_a_preview_and_made_lq_keep_it(restorer, checkpoint, tmp_path):
    folder = write(tmp_path / 'gt', WIDE, WIDE, WIDE)
    job = infer_job.prepare(restorer, RestoreConfig(checkpoint=checkpoint), InferConfig(
        input=folder, output=str(tmp_path / 'out'), preview=1))
    infer_job.preview(job, restorer)
    assert Image.open(str(tmp_path / 'out_preview' / '001.png')).info['icc_profile'] == WIDE
    clip, = clips.find_clips(folder, 2, degradation=Degradation('bicubic', 2), need_lq=True)
    write_clip(clip, str(tmp_path), 0)
    assert Image.open(str(tmp_path / '000.png')).info['icc_profile'] == WIDE


def test_lq_and_gt_of_different_profiles_are_named(tmp_path, capsys):
    write(tmp_path / 'lq' / 'a', WIDE)
    write(tmp_path / 'gt' / 'a', profile('Other', SRGB))
    clips.find_clips(str(tmp_path), 1)
    check_facts(capsys.readouterr().out, 'LQ', 'GT', 'ICC', 'a')

"""Contact sheets: the pixels of the crops and clips, where they belong."""
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import check_facts, raises_facts
from helpers import smooth_frames
from packed import flip_byte, pack, write_clips, write_video

from data_tools.base.errors import UserError
from data_tools.media import contact_sheet
from data_tools.media.clips import find_clips
from data_tools.media.images import read_image
from data_tools.record.manifest import Manifest
from edvr.config import DataConfig
from edvr.config.inspection import InspectConfig
from edvr.data import inspection

CAPTION, GAP = contact_sheet.CAPTION, contact_sheet.GAP


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('inspect')
    return pack(write_clips(path / 'clips'), path / 'set', num_shards=2)


def test_a_sheet_keeps_pixels_and_places():
    small, large = np.zeros((4, 6, 3), np.uint8), np.full((8, 12, 3), 9, np.uint8)
    small[1, 2] = 200
    page = contact_sheet.sheet([('a', [small, large]), ('b', [large]), ('Straße', [large])], 2, 8)
    width = 2 * 12 + 2 + GAP
    assert page.shape == (2 * (8 + CAPTION + GAP), 2 * width, 3)
    np.testing.assert_array_equal(page[CAPTION:CAPTION + 8, :12], small.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(page[CAPTION:CAPTION + 8, 14:26], large)
    np.testing.assert_array_equal(page[CAPTION:CAPTION + 8, width:width + 12], large)
    second = CAPTION + 8 + GAP + CAPTION
    np.testing.assert_array_equal(page[second:second + 8, :12], large)


def test_crops_are_those_of_the_input_pipeline(folder):
    data = DataConfig(data_dir=folder, patch_size=8, flip=False, transpose=False)
    page = inspection.crop_sheet(data, Manifest.read(folder), 4, 4)
    assert page.shape == (2 * (32 + CAPTION + GAP), 2 * (4 * 32 + 3 * 2 + GAP), 3)
    # the first cell: LQ of the centre, its pixels as squares of 4, and GT; the same place of one frame of the source
    lq, gt = page[CAPTION:CAPTION + 32:4, 34:66:4], page[CAPTION:CAPTION + 32, 102:134]
    source = os.path.join(os.path.dirname(folder), 'clips')
    places = [(clip.name, index, y, x) for clip in find_clips(source)
              for index, frame in enumerate(clip.gt.read()) for y in range(0, 17, 4) for x in range(0, 33, 4)
              if np.array_equal(frame[y:y + 32, x:x + 32], gt)]
    (name, index, y, x), = places
    small = read_image(os.path.join(source, 'blur4', name, '%08d.png' % index))
    np.testing.assert_array_equal(small[y // 4:y // 4 + 8, x // 4:x // 4 + 8], lq)


def test_program(run_program, folder, tmp_path):
    scenes = np.concatenate([smooth_frames(length, 28, 36, seed) for seed, length in enumerate((7, 6))])
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'x.mkv', scenes)
    process = run_program('edvr.inspect_data', '--data_dir=' + folder, '--source=%s' % (tmp_path / 'videos'),
                          '--output_dir=%s' % (tmp_path / 'out'), '--patch_size=8', '--crops=2')
    assert process.returncode == 0, process.stderr
    check_facts(process.stdout, 'x_shot001', '7-12', '6 frames', '36x28')
    check_facts(process.stdout, '13 windows of 3 frames', 'scale 4', '2 clips of 6 to 7 frames', 'raw')
    assert json.loads((tmp_path / 'out' / 'shots.json').read_text()) == {'x': [[0, 7], [7, 13]]}
    events = [value for path in (tmp_path / 'out').glob('events*')
              for event in tf.train.summary_iterator(str(path)) for value in event.summary.value]
    assert sorted(value.tag for value in events) == ['inspection/clips', 'inspection/crops']
    clips = read_image(str(tmp_path / 'out' / 'clips.png'))
    height = inspection._THUMBNAIL
    width = round(36 * height / 28)
    middle = (height // 2, width // 2)
    for place, frame in ((0, 0), (width + 2, 6)):   # the first and the last frame of the first shot
        cell = clips[CAPTION:CAPTION + height, place:place + width]
        np.testing.assert_array_equal(cell[middle], scenes[frame][14, 18])


def test_clips_of_a_packed_set(folder):
    cells = inspection.set_cells(folder, Manifest.read(folder), 10)
    assert [caption for caption, _ in cells] == ['000: 6 frames, GT 64x48, LQ 16x12',
                                                 '001: 7 frames, GT 64x48, LQ 16x12']
    assert len(inspection.set_cells(folder, Manifest.read(folder), 1)) == 1


def test_damaged_records_are_named(folder, tmp_path):
    copied = str(tmp_path / 'set')
    shutil.copytree(folder, copied)
    path = os.path.join(copied, 'shard-00000-of-00002.tfrecord')
    flip_byte(path, 400)
    manifest = Manifest.read(copied)
    with raises_facts(UserError, 'record 0', path, 'checksum'):
        inspection.set_cells(copied, manifest, 10)
    data = DataConfig(data_dir=copied, patch_size=8, read_threads=1)
    with pytest.raises(UserError, match=r'record 0 of %s is damaged' % path):
        inspection.crop_sheet(data, manifest, 4, 4)


def test_what_cannot_be_shown(tmp_path):
    config = InspectConfig(output_dir=str(tmp_path / 'out'))
    with raises_facts(UserError, '--data_dir', 'make_tfrecords', '--source'):
        inspection.look(config, DataConfig(data_dir=''))
    with pytest.raises(UserError, match='no clips of GT frames found'):
        inspection.look(config.replace(source=str(tmp_path)), DataConfig(data_dir=''))


def test_lq_is_shown_only_where_there_is_no_gt(tmp_path):
    """LQ in place of GT that cannot be read would hide the damage."""
    config = InspectConfig(output_dir=str(tmp_path / 'out'), source=write_clips(tmp_path / 'clips', (2,)))
    path = tmp_path / 'clips' / 'truth' / '000' / '00000000.png'
    path.write_bytes(path.read_bytes()[:20])
    with raises_facts(UserError, path):
        inspection.look(config, DataConfig(data_dir=''))
    shutil.rmtree(str(tmp_path / 'clips' / 'truth'))
    assert inspection.look(config, DataConfig(data_dir=''))[1] == ['000: 0-1, 2 frames, 16x12']

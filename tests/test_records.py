import os
import shutil

import malformed_images
import numpy as np
import pytest
from facts import raises_facts
from packed import edit_json, pack, write_clips

from data_tools.base.errors import UserError
from data_tools.record import record_format, tile_codec
from data_tools.record.manifest import Manifest
from edvr.data import augment, record_reader  # noqa: F401 (edvr switches eager execution off)


def _window(seed=0, height=18, width=26, frames=3, scale=4, smooth=False):
    rng = np.random.RandomState(seed)
    lq = rng.randint(0, 256, (frames, height, width, 3)).astype(np.uint8)
    gt = rng.randint(0, 256, (scale * height, scale * width, 3)).astype(np.uint8)
    if smooth:
        gt = (np.add.outer(np.arange(scale * height), np.arange(scale * width))[..., None] // 3 + [0, 40, 90]).astype(
            np.uint8)
    return record_format.Window('clip ä', 1, list(range(frames)), 9, 1, scale, lq, gt)


@pytest.mark.parametrize('tiles', [(0, 0), (8, 20), (0, 16), (64, 100), (13, 7)])
def test_lossless(tiles):
    window = _window()
    decoded = record_format.decode(record_format.encode(window, *tiles))
    np.testing.assert_array_equal(decoded.lq, window.lq)
    np.testing.assert_array_equal(decoded.gt, window.gt)
    assert decoded[:6] == window[:6]


def test_every_filter_decodes():
    for image in (np.random.RandomState(0).randint(0, 256, (9, 11, 3)), np.zeros((4, 5, 3)),
                  np.arange(256)[:, None, None].repeat(3, 1).repeat(3, 2), np.arange(270).reshape(1, 90, 3) % 256):
        image = image.astype(np.uint8)
        np.testing.assert_array_equal(tile_codec.decode_png(tile_codec.encode_png(image)), image)
        np.testing.assert_array_equal(tile_codec.recorrelate(tile_codec.decorrelate(image)), image)


@pytest.mark.parametrize('kind', ['BMP', 'GIF', 'JPEG', 'WEBP', 'EPS, a program'])
def test_a_tile_of_another_format_is_no_tile(kind):
    data = malformed_images.REFUSED[kind][0] if ' ' in kind else malformed_images.saved(kind=kind)
    with pytest.raises(ValueError, match='does not decode'):
        tile_codec.decode_png(data)


def test_smooth_images_shrink():
    assert len(record_format.encode(_window(smooth=True), 0, 24)) < len(record_format.encode(_window(smooth=True))) / 2


def test_any_changed_byte_is_noticed():
    record = record_format.encode(_window(height=4, width=4), 0, 0)
    for position in list(range(0, 120)) + [len(record) - 1]:
        changed = bytearray(record)
        changed[position] ^= 0x10
        with pytest.raises(record_format.RecordError):
            record_format.decode(bytes(changed))


def test_other_version_and_other_bytes():
    record = bytearray(record_format.encode(_window()))
    record[4] = 99
    with raises_facts(record_format.RecordError, 'version 99', 'version %d' % record_format.FORMAT_VERSION):
        record_format.header(bytes(record))
    with pytest.raises(record_format.RecordError, match='too few'):
        record_format.header(b'EDVR')
    with pytest.raises(record_format.RecordError, match='does not start like'):
        record_format.header(b'x' * 200)


def test_manifest(tmp_path):
    folder = pack(write_clips(tmp_path / 'clips'), tmp_path / 'set')
    manifest = Manifest.read(folder)
    assert manifest.records == 13 and manifest.sizes == [(12, 16)] and manifest.num_frames == 3
    assert [shard.records for shard in manifest.shards] == [5, 4, 4]
    (tmp_path / 'set' / manifest.shards[1].name).unlink()
    with raises_facts(UserError, '1 of 3', 'missing', 'shard-00001-of-00003'):
        manifest.check_shards(folder)
    with pytest.raises(UserError, match=r'has no manifest\.json'):
        Manifest.read(str(tmp_path))
    path = tmp_path / 'set' / 'manifest.json'
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 7'))
    with raises_facts(UserError, 'version 7', 'version 1'):
        Manifest.read(folder)
    path.write_text('{"format_ver')
    with pytest.raises(UserError, match='is not JSON'):
        Manifest.read(folder)


@pytest.fixture(scope='module')
def packed_set(tmp_path_factory):
    root = tmp_path_factory.mktemp('manifest')
    return pack(write_clips(root / 'clips', (6,)), root / 'set', num_shards=2)


@pytest.mark.parametrize('change, facts', [
    (lambda v: v.update(num_frames='3'), ['num_frames is "3"', 'whole number of 1 to']),
    (lambda v: v.update(scale=5), ['scale is 5', '1, 2, 3, 4']),
    (lambda v: v.update(gt_tile=9), ['job.gt_tile is 0', 'of the set', 9]),
    (lambda v: v.update(gt_tile=-9), ['gt_tile is -9', 'whole number of 0 to']),
    (lambda v: v.update(encoding='tiles'), ['gt_tile is 0', 'at least 8', 'encoding is tiles']),
    (lambda v: v.update(sizes=[[12, 0]]), ['sizes[0][1] is 0', 'whole number of 1 to']),
    (lambda v: v.update(sizes=[12, 16]), ['sizes[0] is 12', 'list of two values']),
    (lambda v: v.pop('sizes'), ['sizes is missing']),
    (lambda v: v.update(shards=v['shards'][:1]),
     ['job.num_shards is 2', 'listed', 1]),
    (lambda v: v.update(records=7), ['records is 7', 'sum', 6]),
    (lambda v: v['job'].update(windows=7), ['job.windows is 7', 'sum']),
    (lambda v: v['job'].update(clips=[['000', 3], ['000', 3]]), ['job.clips is "000"', 'unique']),
    (lambda v: v['job'].update(clips={'000': 6}), ['job.clips is {"000": 6}', 'list']),
    (lambda v: v['shards'][1].update(name='../x'), ['shards[1].name is "../x"', 'shard-00001-of-00002.tfrecord']),
    (lambda v: v['shards'][1].update(name=v['shards'][0]['name']), ['shards[1].name is "shard-00000-of-00002']),
    (lambda v: v['shards'][0].update(records=-3), ['shards[0].records is -3', 'whole number of 1 to']),
    (lambda v: v['shards'][0].update(bytes=100), ['shards[0].bytes is 100', 'at least 240', '3 records']),
    (lambda v: v['shards'][0].update(crc=2 ** 32), ['shards[0].crc is 4294967296']),
    (lambda v: v['shards'][0].pop('record_crcs'), ['shards[0].record_crcs is []', 'one number for each']),
    (lambda v: v['shards'][0]['record_crcs'].pop(), ['shards[0].record_crcs is [', 'one number for each'])])
def test_wrong_manifests_are_refused_by_field_and_value(packed_set, tmp_path, change, facts):
    shutil.copy(os.path.join(packed_set, 'manifest.json'), str(tmp_path))
    edit_json(str(tmp_path / 'manifest.json'), change)
    with raises_facts(UserError, 'manifest.json', 'pack the set again', *facts):
        Manifest.read(str(tmp_path))

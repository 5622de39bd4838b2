import numpy as np
import pytest
from packed import pack, write_clips

from data_tools.base.errors import UserError
from data_tools.record import layout, tile_codec
from data_tools.record.manifest import Manifest
from edvr.data import augment, record_reader  # noqa: F401 (edvr switches eager execution off)


def _window(seed=0, height=18, width=26, frames=3, scale=4, smooth=False):
    rng = np.random.RandomState(seed)
    lq = rng.randint(0, 256, (frames, height, width, 3)).astype(np.uint8)
    gt = rng.randint(0, 256, (scale * height, scale * width, 3)).astype(np.uint8)
    if smooth:
        gt = (np.add.outer(np.arange(scale * height), np.arange(scale * width))[..., None] // 3 + [0, 40, 90]).astype(
            np.uint8)
    return layout.Window('clip ä', 1, list(range(frames)), 9, 1, scale, lq, gt)


@pytest.mark.parametrize('tiles', [(0, 0), (8, 20), (0, 16), (64, 100), (13, 7)])
def test_lossless(tiles):
    window = _window()
    decoded = layout.decode(layout.encode(window, *tiles))
    np.testing.assert_array_equal(decoded.lq, window.lq)
    np.testing.assert_array_equal(decoded.gt, window.gt)
    assert decoded[:6] == window[:6]


def test_every_filter_decodes():
    for image in (np.random.RandomState(0).randint(0, 256, (9, 11, 3)), np.zeros((4, 5, 3)),
                  np.arange(256)[:, None, None].repeat(3, 1).repeat(3, 2), np.arange(270).reshape(1, 90, 3) % 256):
        image = image.astype(np.uint8)
        np.testing.assert_array_equal(tile_codec.decode_png(tile_codec.encode_png(image)), image)
        np.testing.assert_array_equal(tile_codec.recorrelate(tile_codec.decorrelate(image)), image)


def test_smooth_images_shrink():
    assert len(layout.encode(_window(smooth=True), 0, 24)) < len(layout.encode(_window(smooth=True))) / 2


def test_any_changed_byte_is_noticed():
    record = layout.encode(_window(height=4, width=4), 0, 0)
    for position in list(range(0, 120)) + [len(record) - 1]:
        changed = bytearray(record)
        changed[position] ^= 0x10
        with pytest.raises(layout.RecordError):
            layout.decode(bytes(changed))


def test_other_version_and_other_bytes():
    record = bytearray(layout.encode(_window()))
    record[4] = 99
    with pytest.raises(layout.RecordError, match='format version 99.*reads version %d' % layout.FORMAT_VERSION):
        layout.header(bytes(record))
    with pytest.raises(layout.RecordError, match='too few'):
        layout.header(b'EDVR')
    with pytest.raises(layout.RecordError, match='does not start like'):
        layout.header(b'x' * 200)


def test_manifest(tmp_path):
    folder = pack(write_clips(tmp_path / 'clips'), tmp_path / 'set')
    manifest = Manifest.read(folder)
    assert manifest.records == 13 and manifest.sizes == [(12, 16)] and manifest.num_frames == 3
    assert [shard.records for shard in manifest.shards] == [5, 4, 4]
    (tmp_path / 'set' / manifest.shards[1].name).unlink()
    with pytest.raises(UserError, match='1 of 3 shards are missing: shard-00001-of-00003'):
        manifest.check_shards(folder)
    with pytest.raises(UserError, match=r'has no manifest\.json'):
        Manifest.read(str(tmp_path))
    path = tmp_path / 'set' / 'manifest.json'
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 7'))
    with pytest.raises(UserError, match='format version 7; this program reads version 1'):
        Manifest.read(folder)
    path.write_text('{"format_ver')
    with pytest.raises(UserError, match='is not JSON'):
        Manifest.read(folder)

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import images

RGB = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype(np.uint8)


def test_round_trip(tmp_path):
    path = str(tmp_path / 'a.png')
    images.write_png(path, RGB)
    np.testing.assert_array_equal(images.read_image(path), RGB)
    assert os.listdir(str(tmp_path)) == ['a.png']


def test_lossless_conversions(tmp_path):
    path = str(tmp_path / 'a.png')
    grey = RGB[..., 0]
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(images.read_image(path), np.repeat(grey[..., None], 3, 2))
    opaque = np.dstack([RGB, np.full((5, 7), 255, np.uint8)])
    Image.fromarray(opaque).save(path)
    np.testing.assert_array_equal(images.read_image(path), RGB)
    palette = Image.fromarray(grey % 4).convert('P')
    palette.putpalette(list(range(256)) * 3)
    palette.save(path)
    np.testing.assert_array_equal(images.read_image(path), np.asarray(palette.convert('RGB')))


def _chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data) & 0xffffffff)


def test_interlaced(tmp_path):
    # Adam7 of a 2x1 image: pass 1 has pixel 0, pass 6 has pixel 1
    data = b'\0' + bytes(RGB[0, 0]) + b'\0' + bytes(RGB[0, 1])
    png = b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', struct.pack('>IIBBBBB', 2, 1, 8, 2, 0, 0, 1)) + _chunk(
        b'IDAT', zlib.compress(data)) + _chunk(b'IEND', b'')
    (tmp_path / 'a.png').write_bytes(png)
    np.testing.assert_array_equal(images.read_image(str(tmp_path / 'a.png')), RGB[:1, :2])


def test_refused_with_path(tmp_path):
    path = str(tmp_path / 'frame.png')
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 256).save(path)
    with pytest.raises(UserError, match=r'frame\.png has .*8-bit'):
        images.read_image(path)
    deep = b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 16, 2, 0, 0, 0)) + _chunk(
        b'IDAT', zlib.compress(b'\0' + b'abcdef')) + _chunk(b'IEND', b'')
    (tmp_path / 'frame.png').write_bytes(deep)
    with pytest.raises(UserError, match=r'frame\.png has 16 bits'):
        images.read_image(path)
    alpha = np.dstack([RGB, np.full((5, 7), 255, np.uint8)])
    alpha[2, 2, 3] = 100
    Image.fromarray(alpha).save(path)
    with pytest.raises(UserError, match=r'frame\.png is transparent.*100'):
        images.read_image(path)
    with pytest.raises(UserError, match=r'cannot read frame .*absent\.png'):
        images.read_image(str(tmp_path / 'absent.png'))


@pytest.mark.parametrize('cut', [10, 60, -30])
def test_truncated(tmp_path, cut):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, 'PNG')
    (tmp_path / 'frame.png').write_bytes(buffer.getvalue()[:cut])
    with pytest.raises(UserError, match=r'frame\.png'):
        images.read_image(str(tmp_path / 'frame.png'))


def test_atomic_path_keeps_the_old_file(tmp_path):
    path = str(tmp_path / 'a.txt')
    files.write_bytes(path, b'old')
    with pytest.raises(RuntimeError), files.atomic_path(path) as partial:
        with open(partial, 'w') as file:
            file.write('new')
        raise RuntimeError
    assert (tmp_path / 'a.txt').read_text() == 'old' and os.listdir(str(tmp_path)) == ['a.txt']


def test_full_disk_is_told(tmp_path):
    if not os.path.exists('/dev/full'):
        pytest.skip('no /dev/full')
    with pytest.raises(UserError, match='cannot write here: the disk is full'), files.explained('here'), open(
            '/dev/full', 'wb', buffering=0) as file:
        file.write(b'x')
